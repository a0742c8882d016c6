"""What is true of a patient, and the vocabulary it is said in."""

import json
import uuid
from collections.abc import Sequence
from datetime import date
from decimal import Decimal

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q

from tacroweb.accounts.models import Clinic
from tacroweb.audit.ledger import canonical
from tacroweb.audit.models import TrackedModel
from tacroweb.numbers import format_decimal


class Drug(TrackedModel):
    """A drug of the vocabulary. Rules name drugs by `generic_name`; aliases help to find them."""

    generic_name = models.CharField(max_length=120, unique=True)
    aliases = models.TextField(blank=True, help_text="one a line")
    ingredients = models.TextField(
        blank=True, help_text="of a combination: one generic name a line; their rules all apply"
    )
    atc_codes = models.CharField(
        "ATC codes", max_length=120, blank=True, help_text="blank-separated"
    )
    rxcui = models.CharField("RxCUI", max_length=20, blank=True)
    code_source = models.CharField(max_length=200, blank=True)
    codes_verified = models.BooleanField(default=False)

    def __str__(self) -> str:
        return self.generic_name


class Analyte(TrackedModel):
    """A measurable quantity, its canonical unit and the limits between which it is plausible."""

    key = models.CharField(max_length=40, unique=True)
    name = models.CharField(max_length=120)
    loinc = models.CharField("LOINC", max_length=20, blank=True)
    canonical_unit = models.CharField(max_length=40)
    plausible_low = models.DecimalField(max_digits=14, decimal_places=6, null=True, blank=True)
    plausible_high = models.DecimalField(max_digits=14, decimal_places=6, null=True, blank=True)
    reference_low = models.DecimalField(max_digits=14, decimal_places=6, null=True, blank=True)
    reference_high = models.DecimalField(max_digits=14, decimal_places=6, null=True, blank=True)
    limits_source = models.CharField(max_length=300, blank=True)
    limits_origin = models.CharField(max_length=10, default="LOCAL")
    limits_approved = models.BooleanField(default=False)

    def __str__(self) -> str:
        return self.name


class AnalyteUnit(TrackedModel):
    """A unit accepted for an analyte: canonical = value × numerator / denominator, exactly."""

    analyte = models.ForeignKey(Analyte, on_delete=models.PROTECT, related_name="units")
    unit = models.CharField(max_length=40, help_text="UCUM")
    factor_numerator = models.DecimalField(max_digits=20, decimal_places=8)
    factor_denominator = models.DecimalField(max_digits=20, decimal_places=8, default=Decimal(1))
    source = models.CharField(max_length=300)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("analyte", "unit"), name="analyte_unit_once"),
            models.CheckConstraint(
                condition=Q(factor_numerator__gt=0, factor_denominator__gt=0),
                name="analyte_unit_factor_positive",
            ),
        )

    def __str__(self) -> str:
        return f"{self.analyte} in {self.unit}"


class Sex(models.TextChoices):
    FEMALE = "FEMALE", "Female"
    MALE = "MALE", "Male"


class Pregnancy(models.TextChoices):
    NO = "NO", "No"
    POSSIBLE = "POSSIBLE", "Possible"
    PLANNING = "PLANNING", "Planning"
    YES = "YES", "Yes"


class InfectionRisk(models.TextChoices):
    STANDARD = "STANDARD", "Standard"
    HIGH = "HIGH", "High"


class Cyp3a5(models.TextChoices):
    EXPRESSER = "EXPRESSER", "Expresser"
    NON_EXPRESSER = "NON_EXPRESSER", "Non-expresser"


class AllergyStatus(models.TextChoices):
    NOT_RECORDED = "NOT_RECORDED", "Not recorded"
    NONE_KNOWN = "NONE_KNOWN", "None known"
    RECORDED = "RECORDED", "Recorded"


CHILD_PUGH = (5, 15)  # five items of 1 to 3 points each


class Patient(TrackedModel):
    """A person under care at one clinic. Weight and height are observations."""

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    clinic = models.ForeignKey(Clinic, on_delete=models.PROTECT, related_name="patients")
    mrn = models.CharField("MRN", max_length=40)
    family_name = models.CharField(max_length=120)
    given_name = models.CharField(max_length=120)
    birth_date = models.DateField()
    sex = models.CharField(max_length=10, choices=Sex.choices)
    pregnancy = models.CharField(max_length=10, choices=Pregnancy.choices, blank=True)
    lactating = models.BooleanField(null=True, blank=True)
    infection_risk = models.CharField(max_length=10, choices=InfectionRisk.choices, blank=True)
    cyp3a5 = models.CharField("CYP3A5", max_length=15, choices=Cyp3a5.choices, blank=True)
    hcv_antiviral_course = models.BooleanField(null=True, blank=True)
    contraception = models.BooleanField(null=True, blank=True)
    child_pugh = models.PositiveSmallIntegerField(
        "Child-Pugh score",
        null=True,
        blank=True,
        validators=[MinValueValidator(CHILD_PUGH[0]), MaxValueValidator(CHILD_PUGH[1])],
    )
    allergy_status = models.CharField(
        max_length=15, choices=AllergyStatus.choices, default=AllergyStatus.NOT_RECORDED
    )
    allergies = models.CharField(max_length=400, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("clinic", "mrn"),
                name="patient_mrn_once_a_clinic",
                violation_error_message="A patient with this MRN is registered already.",
            ),
            models.CheckConstraint(
                condition=Q(child_pugh__isnull=True) | Q(child_pugh__range=CHILD_PUGH),
                name="patient_child_pugh_in_range",
                violation_error_message="A Child-Pugh score is 5 to 15.",
            ),
        )
        indexes = (
            models.Index(fields=("clinic", "family_name", "given_name"), name="patient_by_name"),
        )

    def __str__(self) -> str:
        return f"{self.family_name.upper()}, {self.given_name}"

    def audit_subject(self) -> str:
        return f"patient:{self.pk}"


class FactsVersion(models.Model):
    """Counts the changes of a patient's facts. A counter, not a fact: it is not tracked itself.

    Whoever writes a fact raises it and so holds its row lock until commit; an assessment notes the
    number it was made at, so that a stale one can be told.
    """

    patient = models.OneToOneField(Patient, on_delete=models.PROTECT, related_name="facts_version")
    number = models.PositiveBigIntegerField(default=0)

    def __str__(self) -> str:
        return f"facts {self.number} of patient {self.patient_id}"


class PatientFact(TrackedModel):
    """Base of everything recorded about a patient."""

    patient = models.ForeignKey(Patient, on_delete=models.PROTECT, related_name="%(class)ss")

    class Meta:
        abstract = True

    def audit_subject(self) -> str:
        return f"patient:{self.patient_id}"


class Sard(models.TextChoices):
    IIM = "IIM", "Inflammatory myopathy (IIM)"
    RA = "RA", "Rheumatoid arthritis"
    SSC = "SSC", "Systemic sclerosis"
    SJOGREN = "SJOGREN", "Sjögren’s syndrome"
    MCTD = "MCTD", "Mixed connective tissue disease"
    SLE = "SLE", "Systemic lupus erythematosus"
    OTHER = "OTHER", "Another systemic autoimmune rheumatic disease"
    NONE = "NONE", "No systemic autoimmune rheumatic disease"


class Subtype(models.TextChoices):
    DM = "DM", "Dermatomyositis"
    PM = "PM", "Polymyositis"
    CADM = "CADM", "Clinically amyopathic dermatomyositis"
    ASYS = "ASYS", "Antisynthetase syndrome"
    IMNM = "IMNM", "Immune-mediated necrotising myopathy"


class Line(models.TextChoices):
    FIRST = "FIRST", "First line"
    PROGRESSION = "PROGRESSION", "Progression"


class Diagnosis(PatientFact):
    """The disease as it stands; a new assessment of it is a new version of this one row."""

    patient = models.OneToOneField(Patient, on_delete=models.PROTECT, related_name="diagnosis")
    ild = models.BooleanField("interstitial lung disease", null=True, blank=True)
    sard = models.CharField("rheumatic disease", max_length=10, choices=Sard.choices, blank=True)
    subtype = models.CharField(max_length=10, choices=Subtype.choices, blank=True)
    anti_mda5 = models.BooleanField("anti-MDA5 positive", null=True, blank=True)
    other_antibodies = models.CharField(
        max_length=200, blank=True, help_text="such as anti-Jo-1, anti-Ro52; no rule reads them"
    )
    severe_at_presentation = models.BooleanField(null=True, blank=True)
    rapidly_progressive = models.BooleanField(null=True, blank=True)
    line = models.CharField("line of treatment", max_length=15, choices=Line.choices, blank=True)

    class Meta:
        verbose_name_plural = "diagnoses"

    def __str__(self) -> str:
        return self.get_subtype_display() or self.get_sard_display() or "Not known"


class Route(models.TextChoices):
    ORAL = "ORAL", "Oral"
    IV = "IV", "Intravenous"
    SC = "SC", "Subcutaneous"
    IM = "IM", "Intramuscular"
    TOPICAL = "TOPICAL", "Topical"
    OPHTHALMIC = "OPHTHALMIC", "Eye"
    INHALED = "INHALED", "Inhaled"
    NASAL = "NASAL", "Nasal"
    VAGINAL = "VAGINAL", "Vaginal"
    RECTAL = "RECTAL", "Rectal"
    TRANSDERMAL = "TRANSDERMAL", "Transdermal"


class CoMedication(PatientFact):
    """A drug taken or about to be prescribed beside tacrolimus; grapefruit and supplements too."""

    drug = models.ForeignKey(
        Drug, on_delete=models.PROTECT, null=True, blank=True, related_name="+"
    )
    unlisted_name = models.CharField(max_length=200, blank=True)
    route = models.CharField(max_length=15, choices=Route.choices, blank=True)
    daily_dose_mg = models.DecimalField(
        "daily dose, mg", max_digits=9, decimal_places=3, null=True, blank=True
    )
    started_on = models.DateField(null=True, blank=True)
    stopped_on = models.DateField(null=True, blank=True)
    dose_changed_on = models.DateField(
        null=True, blank=True, help_text="the newest change of dose; earlier ones are in history"
    )
    daily_dose_before_mg = models.DecimalField(
        "daily dose before, mg", max_digits=9, decimal_places=3, null=True, blank=True
    )
    earlier_doses = models.TextField(
        blank=True,
        help_text="JSON: [day, mg] of each dose before that, until the day, oldest first",
    )
    planned = models.BooleanField(default=False)
    withdrawn = models.BooleanField(default=False, help_text="entered in error")

    class Meta:
        constraints = (
            models.CheckConstraint(
                condition=Q(drug__isnull=False, unlisted_name="")
                | (Q(drug__isnull=True) & ~Q(unlisted_name="")),
                name="co_medication_listed_or_named",
                violation_error_message="Choose a drug, or name the one that is not listed.",
            ),
            models.CheckConstraint(
                condition=Q(stopped_on__isnull=True)
                | Q(started_on__isnull=True)
                | Q(stopped_on__gte=F("started_on")),
                name="co_medication_stop_not_before_start",
                violation_error_message="The stop date is before the start date.",
            ),
            models.CheckConstraint(
                condition=Q(daily_dose_mg__isnull=True) | Q(daily_dose_mg__gt=0),
                name="co_medication_dose_positive",
                violation_error_message="A daily dose is more than 0 mg.",
            ),
            models.CheckConstraint(
                condition=Q(dose_changed_on__isnull=True, daily_dose_before_mg__isnull=True)
                | Q(
                    dose_changed_on__isnull=False,
                    daily_dose_before_mg__gt=0,
                    daily_dose_mg__isnull=False,
                ),
                name="co_medication_change_has_both_doses",
                violation_error_message="A change of dose has its day, and the dose before it.",
            ),
            models.CheckConstraint(
                condition=Q(dose_changed_on__isnull=True)
                | (
                    (Q(started_on__isnull=True) | Q(dose_changed_on__gte=F("started_on")))
                    & (Q(stopped_on__isnull=True) | Q(dose_changed_on__lte=F("stopped_on")))
                ),
                name="co_medication_change_while_taken",
                violation_error_message="A dose changes between the first and the last day.",
            ),
            models.CheckConstraint(
                condition=Q(earlier_doses="") | Q(dose_changed_on__isnull=False),
                name="co_medication_earlier_doses_before_a_change",
                violation_error_message="Earlier changes of dose stand before a newest one.",
            ),
        )

    def __str__(self) -> str:
        return self.unlisted_name or str(self.drug)

    @property
    def doses_before(self) -> tuple[tuple[date, Decimal], ...]:
        """Every dose before the present one, mg/day, with the day until which it was taken."""
        kept = [
            (date.fromisoformat(day), Decimal(mg))
            for day, mg in json.loads(self.earlier_doses or "[]")
        ]
        if self.dose_changed_on is not None and self.daily_dose_before_mg is not None:
            kept.append((self.dose_changed_on, self.daily_dose_before_mg))
        return tuple(kept)

    def keep_doses_before(self, doses: Sequence[tuple[date, Decimal]]) -> None:
        """Put `doses` (as `doses_before`) into the columns: the newest into its own two."""
        told = [[day.isoformat(), format_decimal(mg)] for day, mg in doses[:-1]]
        self.earlier_doses = canonical(told) if told else ""
        self.dose_changed_on, self.daily_dose_before_mg = doses[-1] if doses else (None, None)


# How long after a dose a level can still be timed. LOCAL and not approved: no source gives a limit.
LONGEST_SINCE_DOSE_H = Decimal(240)


class Observation(PatientFact):
    """A result, as entered and in the canonical unit. Corrected by a row that replaces it."""

    analyte = models.ForeignKey(Analyte, on_delete=models.PROTECT, related_name="+")
    entered = models.CharField(max_length=30, help_text="exactly as typed, with any comparator")
    unit_entered = models.CharField(max_length=40)
    comparator = models.CharField(max_length=2, blank=True)
    value = models.DecimalField(max_digits=20, decimal_places=8, help_text="in the canonical unit")
    drawn_at = models.DateTimeField()
    hours_since_dose = models.DecimalField(
        max_digits=5,
        decimal_places=2,
        null=True,
        blank=True,
        validators=[MinValueValidator(Decimal(0)), MaxValueValidator(LONGEST_SINCE_DOSE_H)],
    )
    assay = models.CharField(max_length=60, blank=True)
    replaces = models.OneToOneField(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="replaced_by"
    )
    withdrawn = models.BooleanField(default=False, help_text="entered in error")

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("patient", "analyte", "drawn_at", "entered", "unit_entered"),
                condition=Q(replaces__isnull=True, withdrawn=False),
                name="observation_once",
                violation_error_message="This result is recorded already.",
            ),
        )
        indexes = (
            models.Index(fields=("patient", "analyte", "-drawn_at"), name="observation_newest"),
        )

    def __str__(self) -> str:
        return f"{self.analyte_id} {self.entered} {self.unit_entered}"


class EventKind(models.TextChoices):
    TREMOR = "TREMOR", "Tremor"
    HEADACHE = "HEADACHE", "Headache"
    MENTAL_STATUS_CHANGE = "MENTAL_STATUS_CHANGE", "Mental status change"
    SEIZURE = "SEIZURE", "Seizure"
    VISUAL_DISTURBANCE = "VISUAL_DISTURBANCE", "Visual disturbance"
    PRES = "PRES", "Posterior reversible encephalopathy (PRES)"
    INFECTION = "INFECTION", "Infection"
    MYOCARDIAL_HYPERTROPHY = "MYOCARDIAL_HYPERTROPHY", "Myocardial hypertrophy"
    RENAL_FAILURE = "RENAL_FAILURE", "Renal failure"
    VENTRICULAR_DYSFUNCTION_SYMPTOMS = (
        "VENTRICULAR_DYSFUNCTION_SYMPTOMS",
        "Symptoms of ventricular dysfunction",
    )
    CONGESTIVE_HEART_FAILURE = "CONGESTIVE_HEART_FAILURE", "Congestive heart failure"
    BRADYARRHYTHMIA = "BRADYARRHYTHMIA", "Bradyarrhythmia"
    CONGENITAL_LONG_QT = "CONGENITAL_LONG_QT", "Congenital long QT"
    DIARRHOEA = "DIARRHOEA", "Diarrhoea"
    HYPERSENSITIVITY = "HYPERSENSITIVITY", "Hypersensitivity"
    TORSADES_DE_POINTES = "TORSADES_DE_POINTES", "Torsades de pointes"
    # Of the past: the day on which it was over ends the illness, not the history.
    HERPES_ZOSTER = "HERPES_ZOSTER", "Herpes zoster (shingles)"
    CMV_DISEASE = "CMV_DISEASE", "Cytomegalovirus (CMV) disease"
    LATENT_TUBERCULOSIS = "LATENT_TUBERCULOSIS", "Latent tuberculosis"
    HEPATITIS_B_CORE_ANTIBODY = "HEPATITIS_B_CORE_ANTIBODY", "Hepatitis B core antibody positive"


# An infection is serious from this grade on, and one that nobody graded may be (S72).
SERIOUS_GRADE = 3


class ClinicalEvent(PatientFact):
    """Something that happened to the patient, graded 1–4 where graded, until it is resolved."""

    kind = models.CharField(max_length=40, choices=EventKind.choices)
    grade = models.PositiveSmallIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1), MaxValueValidator(4)]
    )
    started_on = models.DateField()
    resolved_on = models.DateField(null=True, blank=True)
    note = models.CharField(max_length=400, blank=True)
    resolution = models.CharField(
        max_length=400, blank=True, help_text="how it was documented that it is over"
    )
    withdrawn = models.BooleanField(default=False, help_text="entered in error")

    class Meta:
        constraints = (
            models.CheckConstraint(
                condition=Q(resolved_on__isnull=True) | Q(resolved_on__gte=F("started_on")),
                name="event_resolved_not_before_start",
                violation_error_message="The event is resolved before it starts.",
            ),
        )

    def __str__(self) -> str:
        return self.get_kind_display()

    @property
    def needs_documented_resolution(self) -> bool:
        """Whether tacrolimus may have been held for it, to be resumed once it is controlled."""
        return self.kind == EventKind.INFECTION and (
            self.grade is None or self.grade >= SERIOUS_GRADE
        )


class VaccineRoute(models.TextChoices):
    ORAL = "ORAL", "Oral"
    IM = "IM", "Intramuscular"
    SC = "SC", "Subcutaneous"
    ID = "ID", "Intradermal"
    INTRANASAL = "INTRANASAL", "Intranasal"


class Immunisation(PatientFact):
    """A vaccine planned or given: a generic name of the vocabulary or an ATC code under J07."""

    vaccine = models.CharField(max_length=120)
    route = models.CharField(max_length=12, choices=VaccineRoute.choices, blank=True)
    planned_on = models.DateField(null=True, blank=True)
    given_on = models.DateField(null=True, blank=True)
    withdrawn = models.BooleanField(default=False, help_text="called off, or entered in error")

    class Meta:
        constraints = (
            models.CheckConstraint(
                condition=Q(planned_on__isnull=False, given_on__isnull=True)
                | Q(planned_on__isnull=True, given_on__isnull=False),
                name="immunisation_planned_or_given",
                violation_error_message="Give the day it is planned, or the day it was given.",
            ),
        )

    def __str__(self) -> str:
        return self.vaccine
