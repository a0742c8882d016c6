"""What was ordered, on which assessment, under whose signature."""

import json
import uuid
from decimal import Decimal
from typing import Any, cast

from django.db import models
from django.db.models import F, Q

from dosing.rules.models import RuleBook
from patients.models import CoMedication, Patient, Route
from tacroweb.accounts.models import Clinic
from tacroweb.audit.append_only import Hold
from tacroweb.audit.models import AppendOnlyModel, TrackedModel
from tacroweb.numbers import format_decimal


class Intent(models.TextChoices):
    START = "START", "Thinking of starting"
    REVIEW = "REVIEW", "On therapy"


class Assessment(AppendOnlyModel):
    """An advice kept with the facts, the rule book and the engine version that gave it."""

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    patient = models.ForeignKey(Patient, on_delete=models.PROTECT, related_name="assessments")
    rule_book = models.ForeignKey(RuleBook, on_delete=models.PROTECT, related_name="assessments")
    engine_version = models.CharField(max_length=20)
    intent = models.CharField(max_length=10, choices=Intent.choices)
    at = models.DateTimeField()
    facts_version = models.PositiveBigIntegerField()
    case_text = models.TextField(help_text="the facts: the case format, canonical JSON")
    advice_text = models.TextField(help_text="the answer: canonical JSON")

    class Meta:
        indexes = (models.Index(fields=("patient", "-at"), name="assessment_newest"),)

    def __str__(self) -> str:
        return f"assessment {self.pk} of patient {self.patient_id}"

    @property
    def case(self) -> dict[str, Any]:
        """The facts in the case format."""
        return cast("dict[str, Any]", json.loads(self.case_text))

    @property
    def advice(self) -> dict[str, Any]:
        """The answer in the case format."""
        return cast("dict[str, Any]", json.loads(self.advice_text))

    def audit_subject(self) -> str:
        return f"patient:{self.patient_id}"


class Formulation(models.TextChoices):
    IR = "IR", "Immediate release, twice daily"
    ER = "ER", "Extended release (Advagraf, Astagraf), once daily"
    LCP = "LCP", "LCP extended release (Envarsus), once daily"


def product_words(brand: str, formulation: str) -> str:
    """A product as it stands in a sentence: "Prograf, immediate release, twice daily"."""
    label = str(Formulation(formulation).label)
    # "LCP extended release" keeps its letters.
    words = label if label[1:2].isupper() else label[:1].lower() + label[1:]
    return f"{brand}, {words}"


class RegimenStatus(models.TextChoices):
    ACTIVE = "ACTIVE", "Active"
    HELD = "HELD", "Held"
    STOPPED = "STOPPED", "Stopped"


class Regimen(TrackedModel):
    """One course of tacrolimus: product and target. The doses are its orders."""

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    patient = models.ForeignKey(Patient, on_delete=models.PROTECT, related_name="regimens")
    formulation = models.CharField(max_length=5, choices=Formulation.choices)
    brand = models.CharField(max_length=60)
    target_low_ng_per_ml = models.DecimalField(
        max_digits=5, decimal_places=2, null=True, blank=True, help_text="empty: the rule book's"
    )
    target_high_ng_per_ml = models.DecimalField(
        max_digits=5, decimal_places=2, null=True, blank=True, help_text="empty: the rule book's"
    )
    target_reason = models.TextField(blank=True)
    status = models.CharField(
        max_length=10, choices=RegimenStatus.choices, default=RegimenStatus.ACTIVE
    )
    started_on = models.DateField()
    stopped_on = models.DateField(null=True, blank=True)
    switched_on = models.DateField(
        null=True, blank=True, help_text="the newest change of the product"
    )
    switched_from = models.CharField(
        max_length=80, blank=True, help_text="the product taken before it, in words"
    )

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("patient",),
                condition=Q(status__in=("ACTIVE", "HELD")),
                name="regimen_one_active_a_patient",
                violation_error_message="This patient has an active tacrolimus regimen already.",
            ),
            models.CheckConstraint(
                condition=Q(target_low_ng_per_ml__isnull=True, target_high_ng_per_ml__isnull=True)
                | (
                    Q(target_low_ng_per_ml__gt=0)
                    & Q(target_high_ng_per_ml__gt=F("target_low_ng_per_ml"))
                    & ~Q(target_reason="")
                ),
                name="regimen_target_is_a_range_with_a_reason",
                violation_error_message="A target of its own needs both limits and a reason.",
            ),
            models.CheckConstraint(
                condition=Q(status="STOPPED", stopped_on__isnull=False)
                | (~Q(status="STOPPED") & Q(stopped_on__isnull=True)),
                name="regimen_stopped_with_a_day",
            ),
            models.CheckConstraint(
                condition=Q(switched_on__isnull=True, switched_from="")
                | (Q(switched_on__isnull=False) & ~Q(switched_from="")),
                name="regimen_switch_has_day_and_former_product",
            ),
        )

    def __str__(self) -> str:
        return f"{self.brand} ({self.formulation})"

    @property
    def product(self) -> str:
        """The product as it stands in a sentence."""
        return product_words(self.brand, self.formulation)

    def audit_subject(self) -> str:
        return f"patient:{self.patient_id}"


class ReasonCode(models.TextChoices):
    START = "START", "Start of therapy"
    LEVEL_LOW = "LEVEL_LOW", "Level below target"
    LEVEL_HIGH = "LEVEL_HIGH", "Level above target"
    INHIBITOR_STARTED = "INHIBITOR_STARTED", "Interaction: inhibitor started"
    INHIBITOR_STOPPED = "INHIBITOR_STOPPED", "Interaction: inhibitor stopped"
    INDUCER_STARTED = "INDUCER_STARTED", "Interaction: inducer started"
    INDUCER_STOPPED = "INDUCER_STOPPED", "Interaction: inducer stopped"
    ADVERSE_EFFECT = "ADVERSE_EFFECT", "Adverse effect"
    INFECTION = "INFECTION", "Infection"
    RENAL = "RENAL", "Renal function"
    SUPPLY = "SUPPLY", "Supply of the product"
    RESUMED = "RESUMED", "Resumed after a hold"
    CONTRAINDICATED = "CONTRAINDICATED", "Contraindication"
    NO_RESPONSE = "NO_RESPONSE", "Insufficient response"
    COMPLETED = "COMPLETED", "Treatment completed"
    PATIENT_CHOICE = "PATIENT_CHOICE", "The patient’s decision"
    OTHER = "OTHER", "Another reason (say which)"


class Decision(models.TextChoices):
    ACCEPTED = "ACCEPTED", "As proposed"
    MODIFIED = "MODIFIED", "Other than proposed"
    OVERRIDDEN = "OVERRIDDEN", "Against an alert"


class DoseOrder(TrackedModel):
    """A dose in force from one instant until the next order closes it. Never edited."""

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    regimen = models.ForeignKey(Regimen, on_delete=models.PROTECT, related_name="orders")
    assessment = models.ForeignKey(Assessment, on_delete=models.PROTECT, related_name="orders")
    morning_mg = models.DecimalField(max_digits=5, decimal_places=2)
    evening_mg = models.DecimalField(max_digits=5, decimal_places=2)
    since = models.DateTimeField(help_text="in force from")
    closed_at = models.DateTimeField(null=True, blank=True)
    reason_code = models.CharField(max_length=20, choices=ReasonCode.choices)
    reason_text = models.TextField(blank=True)
    decision = models.CharField(max_length=12, choices=Decision.choices)
    answers = models.TextField(
        blank=True, help_text="JSON: what the prescriber answered to each STOP, WARN and CAUTION"
    )

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("regimen",), condition=Q(closed_at__isnull=True), name="order_one_open"
            ),
            models.CheckConstraint(
                condition=Q(morning_mg__gt=Decimal(0), evening_mg__gte=Decimal(0)),
                name="order_dose_positive",
                violation_error_message="A dose is more than 0 mg. To pause tacrolimus, hold it.",
            ),
            models.CheckConstraint(
                condition=~Q(reason_code=""),
                name="order_has_a_reason",
                violation_error_message="Say why the dose changes.",
            ),
            models.CheckConstraint(
                condition=(Q(decision="ACCEPTED") & ~Q(reason_code="OTHER")) | ~Q(reason_text=""),
                name="order_departure_is_explained",
                violation_error_message="Say in words why the dose departs from the proposal.",
            ),
            models.CheckConstraint(
                condition=Q(closed_at__isnull=True) | Q(closed_at__gte=F("since")),
                name="order_closed_after_it_began",
            ),
        )

    def __str__(self) -> str:
        return f"{self.morning_mg} + {self.evening_mg} mg"

    def audit_subject(self) -> str:
        return self.regimen.audit_subject()

    @property
    def total_daily_mg(self) -> Decimal:
        """Morning and evening dose together, mg/day."""
        return self.morning_mg + self.evening_mg


class Meaning(models.TextChoices):
    STARTED = "STARTED", "Started tacrolimus"
    CHANGED = "CHANGED", "Changed the dose"
    SWITCHED = "SWITCHED", "Switched the product"
    TARGET_CHANGED = "TARGET_CHANGED", "Changed the target"
    HELD = "HELD", "Held tacrolimus"
    RESUMED = "RESUMED", "Resumed tacrolimus"
    STOPPED = "STOPPED", "Stopped tacrolimus"


class Factor(models.TextChoices):
    """What proved that the signer was the signer."""

    PASSWORD = "PASSWORD", "Password"  # a name, no secret


class SignatureRow(AppendOnlyModel):
    """Base of a signature: who, in which role, which factor proved it, why, what was shown."""

    printed_name = models.CharField(max_length=200)
    role = models.CharField(max_length=100)
    factor = models.CharField(max_length=20, choices=Factor.choices)
    reason = models.TextField(help_text="in words")
    signed_at = models.DateTimeField()
    shown_sha256 = models.CharField(max_length=64)

    class Meta:
        abstract = True


class SignedOrder(SignatureRow):
    """The signature under one act on a course of tacrolimus, and what the act means."""

    regimen = models.ForeignKey(Regimen, on_delete=models.PROTECT, related_name="signatures")
    order = models.OneToOneField(
        DoseOrder, on_delete=models.PROTECT, null=True, blank=True, related_name="signature"
    )
    assessment = models.ForeignKey(
        Assessment, on_delete=models.PROTECT, null=True, blank=True, related_name="signatures"
    )
    meaning = models.CharField(max_length=20, choices=Meaning.choices)
    reason_code = models.CharField(max_length=20, choices=ReasonCode.choices)
    former = models.TextField(
        blank=True, help_text="JSON: the product or the target that a switch or a change replaced"
    )

    class Meta:
        constraints = (
            models.CheckConstraint(
                condition=~Q(reason="") & ~Q(reason_code=""),
                name="signature_has_a_reason",
                violation_error_message="Say why.",
            ),
        )
        indexes = (models.Index(fields=("regimen", "signed_at"), name="signature_in_order"),)

    def __str__(self) -> str:
        return f"{self.get_meaning_display()}: {self.printed_name}"

    def audit_subject(self) -> str:
        return self.regimen.audit_subject()

    @property
    def replaced(self) -> dict[str, Any]:
        """The columns of the course that this act changed, as they were; numbers in plain text."""
        return cast("dict[str, Any]", json.loads(self.former or "{}"))


def route_words(route: str) -> str:
    """A route as it stands behind a dose: "by mouth", "intravenous"."""
    return "by mouth" if route == Route.ORAL else str(Route(route).label).lower()


class CompanionUnit(models.TextChoices):
    MG_PER_DAY = "mg/d", "mg/day"
    MG = "mg", "mg"


class CompanionOrder(TrackedModel):
    """One step of a companion regimen of the rule book, in force until it is tapered or stopped.

    Never edited: a taper is an order of its own that closes this one and points back at it.
    """

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    patient = models.ForeignKey(Patient, on_delete=models.PROTECT, related_name="companion_orders")
    assessment = models.ForeignKey(
        Assessment, on_delete=models.PROTECT, related_name="companion_orders"
    )
    co_medication = models.ForeignKey(
        CoMedication,
        on_delete=models.PROTECT,
        related_name="companion_orders",
        help_text="the drug as the record has it",
    )
    tapers = models.OneToOneField(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="tapered_by"
    )
    regimen_code = models.CharField("regimen", max_length=20, help_text="A1, A2, CYC")
    step = models.PositiveSmallIntegerField()
    title = models.CharField(max_length=200)
    drug = models.CharField(max_length=120)
    route = models.CharField(max_length=15, choices=Route.choices)
    dose = models.DecimalField(max_digits=9, decimal_places=3)
    unit = models.CharField(max_length=10, choices=CompanionUnit.choices)
    rhythm = models.CharField(max_length=120, help_text="in words")
    weight_kg = models.DecimalField(max_digits=6, decimal_places=2, null=True, blank=True)
    body_surface_m2 = models.DecimalField(
        "body surface", max_digits=4, decimal_places=2, null=True, blank=True
    )
    arithmetic = models.CharField(max_length=400, help_text="the sum that the dose comes from")
    since = models.DateTimeField(help_text="in force from")
    closed_at = models.DateTimeField(null=True, blank=True)
    reason = models.TextField()
    answers = models.TextField(
        blank=True, help_text="JSON: what the prescriber answered to each STOP, WARN and CAUTION"
    )

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("patient", "drug"),
                condition=Q(closed_at__isnull=True),
                name="companion_one_open_a_drug",
                violation_error_message="This drug is ordered already.",
            ),
            models.CheckConstraint(
                condition=Q(dose__gt=0),
                name="companion_dose_positive",
                violation_error_message="A dose is more than 0 mg. To end the drug, stop it.",
            ),
            models.CheckConstraint(
                condition=Q(closed_at__isnull=True) | Q(closed_at__gte=F("since")),
                name="companion_closed_after_it_began",
            ),
            models.CheckConstraint(
                condition=~Q(reason="") & ~Q(arithmetic=""),
                name="companion_has_reason_and_sum",
                violation_error_message="Say why, and what the dose comes from.",
            ),
        )

    def __str__(self) -> str:
        return f"{self.regimen_code}, {self.drug} {self.dose_words}"

    def audit_subject(self) -> str:
        return f"patient:{self.patient_id}"

    @property
    def dose_words(self) -> str:
        """The dose with its unit, without trailing zeros."""
        return f"{format_decimal(self.dose)} {self.get_unit_display()}"

    @property
    def words(self) -> str:
        """For example "prednisone 40 mg/day by mouth, every day, reduced slowly"."""
        return f"{self.drug} {self.dose_words} {route_words(self.route)}, {self.rhythm}"


class CompanionMeaning(models.TextChoices):
    STARTED = "STARTED", "Started companion treatment"
    TAPERED = "TAPERED", "Tapered companion treatment"
    STOPPED = "STOPPED", "Stopped companion treatment"


class SignedCompanion(SignatureRow):
    """The signature under one act of companion treatment."""

    order = models.ForeignKey(CompanionOrder, on_delete=models.PROTECT, related_name="signatures")
    assessment = models.ForeignKey(
        Assessment,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="companion_signatures",
    )
    meaning = models.CharField(max_length=10, choices=CompanionMeaning.choices)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("order", "meaning"), name="companion_signed_once"),
            models.CheckConstraint(
                condition=~Q(reason=""),
                name="companion_signature_has_a_reason",
                violation_error_message="Say why.",
            ),
        )

    def __str__(self) -> str:
        return f"{self.get_meaning_display()}: {self.printed_name}"

    def audit_subject(self) -> str:
        return self.order.audit_subject()


class ImpactRun(models.Model):
    """What a rule book under review would change for the patients on tacrolimus, kept with it.

    An operational record: it can be made again while the book is worked on, so it is not tracked.
    It goes on from `last_patient` wherever it was interrupted; `moved_at` says that somebody is at
    it. Once it has ended it stays as it is: somebody approved a book on it.
    """

    book = models.ForeignKey(RuleBook, on_delete=models.PROTECT, related_name="impact_runs")
    book_sha256 = models.CharField(max_length=64, help_text="of the book as it stood")
    against = models.ForeignKey(RuleBook, on_delete=models.PROTECT, related_name="+")
    asked_by = models.CharField(max_length=200)
    started_at = models.DateTimeField()
    moved_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    patients = models.PositiveIntegerField(help_text="on tacrolimus when it was asked for")
    done = models.PositiveIntegerField(default=0)
    last_patient = models.PositiveBigIntegerField(default=0)
    cut_short = models.TextField(blank=True, help_text="why it ended before the last patient")

    class Meta:
        indexes = (models.Index(fields=("book", "-id"), name="impact_newest"),)

    def __str__(self) -> str:
        return f"impact of {self.book_id}: {self.done} of {self.patients}"

    @classmethod
    def hold(cls) -> Hold:
        """Begun while its book is worked on, and settled when it has ended."""
        status = "SELECT status FROM rules_rulebook WHERE id = NEW.book_id"
        return Hold(
            insert=f"COALESCE(({status}), '') NOT IN ('DRAFT', 'IN_REVIEW')",
            update="OLD.finished_at IS NOT NULL OR NEW.book_id <> OLD.book_id",
            delete="1 = 1",
            refusal="the impact of a rule book is settled when it has ended",
        )


class ImpactDifference(models.Model):
    """One patient whose advice would be another, old and new side by side. Part of its run.

    Or one who could not be assessed, and why: then there is no `text`.
    """

    run = models.ForeignKey(ImpactRun, on_delete=models.PROTECT, related_name="differences")
    patient = models.ForeignKey(Patient, on_delete=models.PROTECT, related_name="+")
    clinic = models.ForeignKey(
        Clinic, on_delete=models.PROTECT, related_name="+", help_text="of the patient"
    )
    text = models.TextField(
        blank=True, help_text="JSON: what only the old and what only the new book says"
    )
    failure = models.TextField(blank=True, help_text="why the patient could not be assessed")

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("run", "patient"), name="impact_once_a_patient"),
        )
        indexes = (models.Index(fields=("run", "clinic"), name="impact_by_clinic"),)

    def __str__(self) -> str:
        return f"{self.run_id}: patient {self.patient_id}"

    @classmethod
    def hold(cls) -> Hold:
        """Written as part of its run, and settled with it."""
        ended = "SELECT 1 FROM dosing_impactrun WHERE id = NEW.run_id AND finished_at IS NOT NULL"
        return Hold(
            insert=f"EXISTS ({ended})",
            update="1 = 1",
            delete="1 = 1",
            refusal="the impact of a rule book is settled when it has ended",
        )

    @property
    def sides(self) -> dict[str, Any]:
        """`old` and `new`: outcome, proposal, findings and due tests that the other lacks."""
        return cast("dict[str, Any]", json.loads(self.text or "{}"))


class StatementCount(models.Model):
    """How many assessments of a clinic, made on one of its days, cited a statement.

    Counted in the act that stores the assessment, so that it is exact, and proven from the stored
    advices at any time (`statement_counts`): it is no evidence itself. One row a statement and day
    is read at once, however many assessments there are.
    """

    clinic = models.ForeignKey(Clinic, on_delete=models.PROTECT, related_name="+")
    on = models.DateField(help_text="the day of the assessments, in the clinic’s zone")
    statement = models.CharField(max_length=8)
    assessments = models.PositiveIntegerField()

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("clinic", "statement", "on"), name="statement_count_one_a_day"
            ),
        )

    def __str__(self) -> str:
        return f"{self.statement} on {self.on}: {self.assessments}"
