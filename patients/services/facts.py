"""What every write of a patient's facts begins with, and the checks of days that they share."""

from collections.abc import Iterable
from datetime import date, datetime
from functools import partial
from typing import TypeVar

from django.core.exceptions import PermissionDenied, ValidationError
from django.db import models, transaction
from django.db.models import F

from patients.models import FactsVersion, Patient
from patients.selectors import today_at
from patients.signals import patient_changed
from tacroweb.audit.signature import Signature
from tacroweb.refusals import Refusal

OLDEST_YEARS = 130
M = TypeVar("M", bound=models.Model)


class AlreadyRecorded(Refusal):
    """The same fact stands in the record already; nothing was added."""

    code = "already_recorded"


class NotCurrent(Refusal):
    """The fact has been corrected, withdrawn, stopped or resolved meanwhile."""

    code = "not_current"


def hold_facts(patients: Iterable[Patient], *, by: Signature, seen: int | None = None) -> None:
    """Lock the patients' facts until commit, in one order, so that two imports cannot wait for each
    other.

    Raises `PermissionDenied` when a patient belongs to another clinic than the signature's, and
    `NotCurrent` when `seen` is given and the facts are not those of that version any more.
    """
    ours = list(patients)
    if any(patient.clinic_id != by.clinic_id for patient in ours):
        raise PermissionDenied("This patient belongs to another clinic.")
    held = FactsVersion.objects.select_for_update().filter(patient__in=ours).order_by("patient_id")
    if any(seen not in (None, facts.number) for facts in held):
        raise NotCurrent(
            "The record of this patient changed while this page was open. Compare what stands "
            "below with the chart, then save again."
        )


def open_facts(patients: Iterable[Patient], *, by: Signature, seen: int | None = None) -> None:
    """Hold the patients' facts and raise their versions, for something is about to be written;
    monitoring is told after the commit. Raises as `hold_facts`."""
    ours = list(patients)
    hold_facts(ours, by=by, seen=seen)
    for patient in ours:
        FactsVersion.objects.filter(patient=patient).update(number=F("number") + 1)
        transaction.on_commit(
            partial(patient_changed.send, sender=Patient, patient_id=patient.pk, by=by),
            robust=True,  # what was written stands, whatever happens to the review that follows
        )


def fresh(row: M) -> M:
    """The row as it is now that the facts are locked: the one in hand may be a page's age old."""
    return type(row)._default_manager.get(pk=row.pk)


def need_reason(by: Signature) -> None:
    """A correction says why. Raises `ValidationError` at `reason`."""
    if not by.reason:
        raise ValidationError({"reason": "Say why this is changed."})


def check_day(
    errors: dict[str, str], name: str, day: date | None, patient: Patient, *, at: datetime,
    future: bool = False,
) -> None:  # fmt: skip
    """Note at `name` a day before the patient's birth, or after today where that cannot be."""
    if day is None:
        return
    if day < patient.birth_date:
        errors[name] = "This day is before the patient was born."
    elif not future and day > today_at(patient.clinic, at):
        errors[name] = "This day is in the future."
    elif day.year > at.year + OLDEST_YEARS:
        errors[name] = "Check the year."


def refuse_if(errors: dict[str, str]) -> None:
    """Raise what was noted as one `ValidationError`, each sentence at its field."""
    if errors:
        raise ValidationError({name: [text] for name, text in errors.items()})
