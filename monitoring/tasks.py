"""What runs by itself: the review after a change of the record, and the nightly sweep."""

import logging
from contextlib import suppress
from datetime import datetime, time

from celery import shared_task
from django.db import DatabaseError
from django.utils import timezone

from monitoring.models import Review, SweepRun
from monitoring.selectors import due_for_review
from monitoring.services import review_patient
from patients.models import Patient
from tacroweb.accounts.models import Clinic
from tacroweb.audit.signature import Channel, Signature
from tacroweb.refusals import Refusal

logger = logging.getLogger(__name__)


def review_after_change(*, patient_id: int, by: Signature, **kwargs: object) -> None:
    """Review a patient whose record has just changed, in the request that changed it.

    What was written stays written and the person gets their page, whatever happens here: a review
    that fails is noted for the chart and the worklist, and the next sweep tries again.
    """
    _reviewed(patient_id, by=by.because("Review after a change of the record"))


@shared_task(name="monitoring.tasks.nightly_sweep")
def nightly_sweep(*, channel: str = Channel.TASK) -> int:
    """Review every patient who is due for it today; returns the number of the `SweepRun`.

    Each patient has a transaction of their own, and one that fails stops nobody. Run again, it
    takes only those that are left.
    """
    run = SweepRun.objects.create(started_at=timezone.now())
    for clinic in Clinic.objects.order_by("pk"):
        midnight = datetime.combine(timezone.localdate(timezone=clinic.zone), time(), clinic.zone)
        by = Signature.system(channel=channel, reason="Nightly sweep", clinic_id=clinic.pk)
        for patient_id in due_for_review(clinic, since=midnight).values_list("pk", flat=True):
            if failure := _reviewed(patient_id, by=by):
                run.failures += f"patient {patient_id}: {failure}\n"
            run.patients += 1
            if failure or run.patients % 100 == 0:
                run.save(update_fields=["patients", "failures"])
    run.finished_at = timezone.now()
    run.save()
    return run.pk


def _reviewed(patient_id: int, *, by: Signature) -> str:
    """Review one patient; what went wrong, in one line, or ""."""
    at = timezone.now()
    try:
        patient = Patient.objects.select_related("clinic").get(pk=patient_id)
        review_patient(patient=patient, at=at, by=by)
    except Exception as error:
        logger.exception("patient %s could not be reviewed", patient_id)
        words = error.message if isinstance(error, Refusal) else f"{type(error).__name__}: {error}"
        failure = " ".join(words.split())[:300]
        with suppress(DatabaseError):  # with no database there is no page to say it on either
            patient = Patient.objects.get(pk=patient_id)
            Review.objects.update_or_create(
                patient=patient,
                defaults={"clinic_id": patient.clinic_id, "at": at, "failure": failure},
            )
        return failure
    return ""
