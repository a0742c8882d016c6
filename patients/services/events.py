"""Recording clinical events and vaccines, and withdrawing what was entered in error."""

from datetime import date, datetime
from typing import TypeVar

from patients.models import ClinicalEvent, CoMedication, Immunisation, Patient
from patients.selectors import known_vaccine
from tacroweb.audit.ledger import service
from tacroweb.audit.signature import Signature

from .facts import (
    AlreadyRecorded,
    NotCurrent,
    check_day,
    fresh,
    need_reason,
    open_facts,
    refuse_if,
)

F = TypeVar("F", CoMedication, ClinicalEvent, Immunisation)


@service("Event recorded")
def record_event(
    *,
    patient: Patient,
    kind: str,
    grade: int | None = None,
    started_on: date,
    resolved_on: date | None = None,
    note: str = "",
    resolution: str = "",
    at: datetime,
    by: Signature,
) -> ClinicalEvent:
    """Record something that happened, graded 1 to 4 where graded (None: not known).

    `resolution` says how it was documented that it is over; a serious infection that is over needs
    it. Raises `ValidationError` at the field, `AlreadyRecorded` for the same kind and first day.
    """
    open_facts([patient], by=by)
    row = ClinicalEvent(
        patient=patient,
        kind=kind,
        grade=grade,
        started_on=started_on,
        resolved_on=resolved_on,
        note=" ".join(note.split()),
        resolution=resolution,
    )
    _check_event(row, at=at)
    if ClinicalEvent.objects.filter(
        patient=patient, kind=kind, started_on=started_on, grade=grade, withdrawn=False
    ).exists():
        raise AlreadyRecorded(f"{row} from this day is recorded already.")
    row.sign(by).save()
    return row


@service("Event resolved")
def resolve_event(
    *,
    event: ClinicalEvent,
    resolved_on: date,
    resolution: str = "",
    at: datetime,
    by: Signature,
) -> ClinicalEvent:
    """Note the day on which an event was over, and how that was documented.

    An infection of grade 3 or more, or one that nobody graded, holds tacrolimus until it is
    controlled (S72): without `resolution` it is not over. Raises `NotCurrent`, `ValidationError`.
    """
    open_facts([event.patient], by=by)
    row = fresh(event)
    if row.resolved_on is not None or row.withdrawn:
        raise NotCurrent(f"{row} is resolved or withdrawn already.")
    row.resolved_on, row.resolution = resolved_on, resolution
    _check_event(row, at=at)
    row.sign(by).save()
    return row


def _check_event(row: ClinicalEvent, *, at: datetime) -> None:
    errors: dict[str, str] = {}
    check_day(errors, "started_on", row.started_on, row.patient, at=at)
    check_day(errors, "resolved_on", row.resolved_on, row.patient, at=at)
    if row.started_on and row.resolved_on and row.resolved_on < row.started_on:
        errors["resolved_on"] = "The event cannot be over before it began."
    row.resolution = " ".join(row.resolution.split())
    if row.resolution and row.resolved_on is None:
        errors["resolved_on"] = "Say on which day it was over."
    elif row.resolved_on and not row.resolution and row.needs_documented_resolution:
        errors["resolution"] = "Say how it was documented that the infection is controlled."
    refuse_if(errors)


@service("Vaccine recorded")
def record_immunisation(
    *,
    patient: Patient,
    vaccine: str,
    route: str = "",
    planned_on: date | None = None,
    given_on: date | None = None,
    at: datetime,
    by: Signature,
) -> Immunisation:
    """Record a vaccine planned or given: a name of the vocabulary or an ATC code under J07 (S74).

    Raises `ValidationError`: a name that is neither could not be told live from inactivated.
    """
    open_facts([patient], by=by)
    row = Immunisation(
        patient=patient,
        vaccine=known_vaccine(vaccine) or "",
        route=route,
        planned_on=planned_on,
        given_on=given_on,
    )
    errors: dict[str, str] = {}
    if not row.vaccine:
        errors["vaccine"] = (
            "Choose a vaccine of the list or give its ATC code, such as J07BL01 for yellow fever."
        )
    if (planned_on is None) == (given_on is None):
        errors["given_on"] = "Give the day it was given, or else the day it is planned."
    check_day(errors, "planned_on", planned_on, patient, at=at, future=True)
    check_day(errors, "given_on", given_on, patient, at=at)
    refuse_if(errors)
    if Immunisation.objects.filter(
        patient=patient,
        vaccine=row.vaccine,
        planned_on=planned_on,
        given_on=given_on,
        withdrawn=False,
    ).exists():
        raise AlreadyRecorded(f"{row.vaccine} on this day is recorded already.")
    row.sign(by).save()
    return row


@service("Vaccine given")
def give_immunisation(
    *, immunisation: Immunisation, given_on: date, at: datetime, by: Signature
) -> Immunisation:
    """Note that a planned vaccine was given. Raises `NotCurrent`, `ValidationError`."""
    open_facts([immunisation.patient], by=by)
    row = fresh(immunisation)
    if row.given_on is not None or row.withdrawn:
        raise NotCurrent(f"{row.vaccine} is given or called off already.")
    errors: dict[str, str] = {}
    check_day(errors, "given_on", given_on, row.patient, at=at)
    refuse_if(errors)
    row.given_on, row.planned_on = given_on, None
    row.sign(by).save()
    return row


@service("Fact withdrawn")
def withdraw_fact(*, fact: F, at: datetime, by: Signature) -> F:
    """Take a drug, event or vaccine that was entered in error, or called off, out of the facts.

    The row and its history stay. Needs a reason. Raises `NotCurrent` when withdrawn already.
    """
    need_reason(by)
    open_facts([fact.patient], by=by)
    row = fresh(fact)
    if row.withdrawn:
        raise NotCurrent(f"{row} is withdrawn already.")
    row.withdrawn = True
    row.sign(by).save()
    return row
