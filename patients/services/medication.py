"""Recording the drugs taken beside tacrolimus."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from patients.models import CoMedication, Drug, Patient
from patients.selectors import drug_named
from tacroweb.audit.ledger import service
from tacroweb.audit.signature import Signature
from tacroweb.templatetags.quantities import clinical_date

from .facts import (
    AlreadyRecorded,
    NotCurrent,
    check_day,
    fresh,
    need_reason,
    open_facts,
    refuse_if,
)

CORRECTABLE = (
    "drug",
    "unlisted_name",
    "route",
    "daily_dose_mg",
    "started_on",
    "stopped_on",
    "planned",
    "dose_changed_on",
    "daily_dose_before_mg",
)


@service("Drug recorded")
def record_co_medication(
    *,
    patient: Patient,
    drug: Drug | None = None,
    unlisted_name: str = "",
    route: str = "",
    daily_dose_mg: Decimal | None = None,
    started_on: date | None = None,
    stopped_on: date | None = None,
    planned: bool = False,
    at: datetime,
    by: Signature,
) -> CoMedication:
    """Record a drug that is taken, was taken, or (`planned`) is about to be prescribed.

    A name outside the vocabulary is kept as unlisted and never refused; a name that the vocabulary
    knows becomes the listed drug, so that it is checked. A contraindicated drug is recorded like
    any other: facts are never refused. Raises `ValidationError` at the field, `AlreadyRecorded`.
    """
    open_facts([patient], by=by)
    row = CoMedication(
        patient=patient,
        drug=drug,
        unlisted_name=unlisted_name,
        route=route,
        daily_dose_mg=daily_dose_mg,
        started_on=started_on,
        stopped_on=stopped_on,
        planned=planned,
    )
    _check(row, at=at)
    if (
        CoMedication.objects.filter(patient=patient, withdrawn=False)
        .filter(**{name: getattr(row, name) for name in CORRECTABLE})
        .exists()
    ):
        raise AlreadyRecorded(f"{row} is recorded already with the same route, dose and days.")
    row.sign(by).save()
    return row


@service("Drug stopped")
def stop_co_medication(
    *, co_medication: CoMedication, stopped_on: date, at: datetime, by: Signature
) -> CoMedication:
    """Note the day on which a drug was stopped (its last day).

    Raises `NotCurrent` when a day is noted already; `ValidationError` at `stopped_on`.
    """
    open_facts([co_medication.patient], by=by)
    row = fresh(co_medication)
    if row.stopped_on is not None or row.withdrawn or row.planned:
        raise NotCurrent(f"{row} is not being taken, so it cannot be stopped. Correct it instead.")
    row.stopped_on = stopped_on
    _check(row, at=at)
    row.sign(by).save()
    return row


@service("Dose of a drug changed")
def change_co_medication_dose(
    *,
    co_medication: CoMedication,
    daily_dose_mg: Decimal,
    on: date,
    at: datetime,
    by: Signature,
) -> CoMedication:
    """Note that a drug is taken at another dose from the day `on`, mg/day; the dose before is kept.

    A fact like any other: never refused for what it means. Two changes of one day are one, and one
    that is taken back on its own day is none. Raises `NotCurrent` for a drug that is not taken;
    `ValidationError` at `daily_dose_mg` (the dose that is taken already, or no dose known before)
    and at `on` (before the drug began or before the newest change, or a day to come).
    """
    open_facts([co_medication.patient], by=by)
    row = fresh(co_medication)
    if row.stopped_on is not None or row.withdrawn or row.planned:
        raise NotCurrent(f"{row} is not being taken, so its dose does not change.")
    errors: dict[str, str] = {}
    if row.daily_dose_mg is None:
        errors["daily_dose_mg"] = (
            "The dose taken until now is not recorded. Correct the drug first, then change its "
            "dose."
        )
    elif daily_dose_mg == row.daily_dose_mg:
        errors["daily_dose_mg"] = "This is the dose that is taken already."
    if row.dose_changed_on is not None and on < row.dose_changed_on:
        errors["on"] = (
            f"A later change is recorded, of {clinical_date(row.dose_changed_on)}. Give a day "
            "from then on, or correct the drug."
        )
    if row.started_on is not None and on < row.started_on:
        errors["on"] = "The drug had not been started on this day."
    check_day(errors, "on", on, row.patient, at=at)
    refuse_if(errors)
    if row.daily_dose_mg is not None:
        doses = dict(row.doses_before)
        if doses.setdefault(on, row.daily_dose_mg) == daily_dose_mg:
            del doses[on]
        row.keep_doses_before(list(doses.items()))
    row.daily_dose_mg = daily_dose_mg
    _check(row, at=at)
    row.sign(by).save()
    return row


@service("Drug corrected")
def correct_co_medication(
    *, co_medication: CoMedication, at: datetime, by: Signature, **changes: Any
) -> CoMedication:
    """Put right what was recorded of a drug, or note that a planned one was started, with a reason.

    Raises `ValidationError` at the field, `NotCurrent` when it was withdrawn meanwhile.
    """
    if unknown := changes.keys() - set(CORRECTABLE):
        raise TypeError(f"A co-medication has no {', '.join(sorted(unknown))}.")
    need_reason(by)
    open_facts([co_medication.patient], by=by)
    row = fresh(co_medication)
    if row.withdrawn:
        raise NotCurrent("This drug has been withdrawn from the record meanwhile.")
    for name, value in changes.items():
        setattr(row, name, value)
    if row.dose_changed_on is None and row.daily_dose_before_mg is None:
        row.keep_doses_before(row.doses_before)  # the change before it is the newest again
    _check(row, at=at)
    row.sign(by).save()
    return row


def _check(row: CoMedication, *, at: datetime) -> None:
    row.unlisted_name = " ".join(row.unlisted_name.split())
    if row.drug is None and (listed := drug_named(row.unlisted_name)):
        row.drug, row.unlisted_name = listed, ""
    errors: dict[str, str] = {}
    if row.drug is None and not row.unlisted_name:
        errors["drug"] = "Name the drug."
    if row.daily_dose_mg is not None and row.daily_dose_mg <= 0:
        errors["daily_dose_mg"] = "A daily dose is more than 0 mg."
    check_day(errors, "started_on", row.started_on, row.patient, at=at, future=row.planned)
    check_day(errors, "stopped_on", row.stopped_on, row.patient, at=at)
    if row.planned and row.stopped_on:
        errors["stopped_on"] = "A drug that is only planned has not been stopped."
    if row.started_on and row.stopped_on and row.stopped_on < row.started_on:
        errors["stopped_on"] = "The stop date is before the start date."
    _check_change(errors, row, at=at)
    refuse_if(errors)


def _check_change(errors: dict[str, str], row: CoMedication, *, at: datetime) -> None:
    """Note what cannot be of the newest change of dose, each sentence at its field."""
    changed = row.dose_changed_on
    check_day(errors, "dose_changed_on", changed, row.patient, at=at)
    if changed is None:
        if row.daily_dose_before_mg is not None:
            errors["dose_changed_on"] = "Give the day on which the dose changed."
        return
    if row.daily_dose_before_mg is None:
        errors["daily_dose_before_mg"] = "Give the dose that was taken before the change."
    elif row.daily_dose_before_mg <= 0:
        errors["daily_dose_before_mg"] = "A daily dose is more than 0 mg."
    elif row.daily_dose_before_mg == row.daily_dose_mg:
        errors["daily_dose_before_mg"] = "A change is from one dose to another: these are alike."
    if row.daily_dose_mg is None:
        errors["daily_dose_mg"] = "The dose was changed: give the one that is taken now."
    if row.planned:
        errors["dose_changed_on"] = "The dose of a drug that is only planned has not changed."
    if row.started_on and changed < row.started_on:
        errors["dose_changed_on"] = "The dose cannot change before the drug is started."
    if row.stopped_on and changed > row.stopped_on:
        errors["stopped_on"] = "The dose was changed after this day."
    days = [day for day, _ in row.doses_before]
    if days != sorted(set(days)):
        errors["dose_changed_on"] = "An earlier change of dose is recorded of that day or later."
    elif row.started_on and days and days[0] < row.started_on:
        errors.setdefault("started_on", "The dose was changed before this day.")
