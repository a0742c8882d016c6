"""Questions about patients, their facts and the vocabulary."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime
from typing import TypeVar
from uuid import UUID

from django.db.models import OuterRef, Q, QuerySet, Subquery

from tacroweb.accounts.models import Clinic

from .models import (
    Analyte,
    ClinicalEvent,
    CoMedication,
    Diagnosis,
    Drug,
    FactsVersion,
    Immunisation,
    Observation,
    Patient,
    PatientFact,
)
from .vocabulary import vocabulary

F = TypeVar("F", bound=PatientFact)
TACROLIMUS_LEVEL = "tacrolimus-trough"
WEIGHT = "weight"
HEIGHT = "height"


def patients_of(clinic: Clinic) -> QuerySet[Patient]:
    """The clinic's patients by name."""
    return Patient.objects.filter(clinic=clinic).order_by("family_name", "given_name", "id")


def patient_of(clinic: Clinic, public_id: UUID | str) -> Patient:
    """One patient of the clinic with the diagnosis; `Patient.DoesNotExist` for any other id."""
    return patients_of(clinic).select_related("clinic", "diagnosis").get(public_id=public_id)


def search_patients(clinic: Clinic, text: str) -> QuerySet[Patient]:
    """Patients whose names or MRN hold every word of `text`; an MRN may be typed in groups."""
    found = patients_of(clinic)
    words = Q()
    for word in text.split():
        # SQLite folds the case of ASCII letters only, so the usual spellings are asked for as well.
        either = Q(mrn__istartswith=word)
        for spelling in {word, word.lower(), word.upper(), word.capitalize()}:
            either |= Q(family_name__icontains=spelling) | Q(given_name__icontains=spelling)
        words &= either
    return found.filter(words | Q(mrn__istartswith="".join(text.split())))


def diagnosis_of(patient: Patient) -> Diagnosis | None:
    """The disease as it stands, None before any is recorded."""
    try:
        return patient.diagnosis
    except Diagnosis.DoesNotExist:
        return None


def current_observations(*patients: Patient) -> QuerySet[Observation]:
    """The results that stand: not replaced, not withdrawn; newest first."""
    return (
        Observation.objects.filter(patient__in=patients, withdrawn=False, replaced_by__isnull=True)
        .select_related("analyte")
        .order_by("-drawn_at", "-id")
    )


def newest(patient: Patient, *keys: str) -> dict[str, Observation]:
    """The newest standing result of each analyte named; an analyte without one is left out."""
    last = Subquery(
        Observation.objects.filter(
            patient=patient, analyte=OuterRef("pk"), withdrawn=False, replaced_by__isnull=True
        )
        .order_by("-drawn_at", "-id")
        .values("pk")[:1]
    )
    chosen = Analyte.objects.filter(key__in=keys).annotate(last=last).values("last")
    rows = Observation.objects.filter(pk__in=chosen).select_related("analyte")
    return {row.analyte.key: row for row in rows}


def co_medications_of(*patients: Patient) -> QuerySet[CoMedication]:
    """Every drug recorded, taken now, planned or stopped; those not stopped first."""
    return (
        CoMedication.objects.filter(patient__in=patients, withdrawn=False)
        .select_related("drug")
        .order_by("stopped_on", "-started_on", "id")
    )


def events_of(*patients: Patient) -> QuerySet[ClinicalEvent]:
    """The clinical events, newest first."""
    return ClinicalEvent.objects.filter(patient__in=patients, withdrawn=False).order_by(
        "-started_on", "-id"
    )


def immunisations_of(*patients: Patient) -> QuerySet[Immunisation]:
    """The vaccines planned and given, newest record first."""
    return Immunisation.objects.filter(patient__in=patients, withdrawn=False).order_by("-id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The rows of a patient's record that stand, read once by whoever shows and judges them."""

    results: tuple[Observation, ...]
    drugs: tuple[CoMedication, ...]
    events: tuple[ClinicalEvent, ...]
    immunisations: tuple[Immunisation, ...]


def record_of(patient: Patient) -> Record:
    """Everything recorded of the patient that stands: one query a table."""
    return Record(
        results=tuple(current_observations(patient)),
        drugs=tuple(co_medications_of(patient)),
        events=tuple(events_of(patient)),
        immunisations=tuple(immunisations_of(patient)),
    )


def records_of(patients: Collection[Patient]) -> dict[int, Record]:
    """The records of many patients by their key: one query a table, however many they are.

    Analytes and drugs are read once and shared by the rows that name them.
    """
    results = _by_patient(
        current_observations(*patients).select_related(None).prefetch_related("analyte")
    )
    drugs = _by_patient(co_medications_of(*patients).select_related(None).prefetch_related("drug"))
    events, immunisations = (
        _by_patient(events_of(*patients)),
        _by_patient(immunisations_of(*patients)),
    )
    return {
        patient.pk: Record(
            results=tuple(results.get(patient.pk, ())),
            drugs=tuple(drugs.get(patient.pk, ())),
            events=tuple(events.get(patient.pk, ())),
            immunisations=tuple(immunisations.get(patient.pk, ())),
        )
        for patient in patients
    }


def _by_patient(rows: QuerySet[F]) -> dict[int, list[F]]:
    """The rows of each patient, in the order of the query."""
    found: dict[int, list[F]] = {}
    for row in rows:
        found.setdefault(row.patient_id, []).append(row)
    return found


def facts_number(patient: Patient) -> int:
    """How often the patient's facts have changed; an assessment made at another number is stale."""
    return FactsVersion.objects.values_list("number", flat=True).get(patient=patient)


def today_at(clinic: Clinic, at: datetime) -> date:
    """The clinic's day at an instant."""
    return at.astimezone(clinic.zone).date()


def age_on(birth_date: date, day: date) -> int:
    """Completed years; someone born on 29 February has a birthday on 1 March in other years."""
    return day.year - birth_date.year - ((day.month, day.day) < (birth_date.month, birth_date.day))


def drug_named(name: str) -> Drug | None:
    """The drug of the vocabulary with this generic name or, failing that, this alias; any case."""
    wanted = " ".join(name.split()).casefold()
    if not wanted:
        return None
    aliased = None
    for drug in Drug.objects.order_by("id"):
        if drug.generic_name.casefold() == wanted:
            return drug
        if wanted in (alias.strip().casefold() for alias in drug.aliases.splitlines()):
            aliased = aliased or drug
    return aliased


def drug_choices() -> list[str]:
    """Every name that finds a drug, for suggestions while typing."""
    found: set[str] = set()
    for drug in Drug.objects.all():
        found |= {drug.generic_name, *(alias.strip() for alias in drug.aliases.splitlines())}
    return sorted(filter(None, found), key=str.casefold)


def vaccine_choices() -> list[str]:
    """The vaccines of the vocabulary; any other is given by its ATC code under J07."""
    return sorted((vaccine.name for vaccine in vocabulary().vaccines), key=str.casefold)


def known_vaccine(text: str) -> str | None:
    """The name under which a vaccine is recorded, or its ATC code under J07; None for others."""
    vaccine = vocabulary().vaccine(text)
    return vaccine.name if vaccine else None


def is_live(vaccine: str) -> bool:
    """Whether a vaccine, by name or ATC code, is live by the list of the vocabulary (S74)."""
    known = vocabulary().vaccine(vaccine)
    return known is not None and known.live


def analytes() -> QuerySet[Analyte]:
    """The analytes of the vocabulary with their units."""
    return Analyte.objects.prefetch_related("units").order_by("name")


def analyte_named(text: str) -> Analyte | None:
    """The analyte with this key, LOINC code or name."""
    return analytes_by_name().get(text.strip().casefold())


def analytes_by_name() -> dict[str, Analyte]:
    """Every analyte under its key, its LOINC code and its name, casefolded."""
    named: dict[str, Analyte] = {}
    rows = list(analytes())
    for attribute in ("name", "loinc", "key"):
        named |= {
            getattr(row, attribute).casefold(): row for row in rows if getattr(row, attribute)
        }
    return named
