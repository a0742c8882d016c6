"""What runs by itself: the review after a change of the record or the rules, the nightly sweep."""

import logging
from contextlib import suppress
from datetime import datetime, time

from celery import shared_task
from django.db import DatabaseError
from django.utils import timezone
from kombu.exceptions import OperationalError

from monitoring.models import Review, SweepCause, SweepRun
from monitoring.selectors import due_for_review, stalled_sweeps
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
        _sweep(run, clinic, since=midnight, by=by)
    _finish(run)
    return run.pk


def review_after_rules_changed(*, clinic_id: int | None = None, **kwargs: object) -> None:
    """Have every patient reviewed under the rules that hold now, of one clinic or of all.

    What is due is in the database, so that a message that does not come through costs minutes.
    """
    now = timezone.now()
    run = SweepRun.objects.create(
        cause=SweepCause.RULES, clinic_id=clinic_id, started_at=now, moved_at=now
    )
    try:
        sweep_under_new_rules.delay(run_id=run.pk)
    except OperationalError:
        logger.warning("sweep %s could not be sent: it is taken up within minutes", run.pk)


@shared_task(name="monitoring.tasks.sweep_under_new_rules")
def sweep_under_new_rules(*, run_id: int) -> None:
    """Review every patient who has not been reviewed since the rules changed.

    Delivered again, or interrupted and taken up, it takes only those that are left.
    """
    run = SweepRun.objects.select_related("clinic").get(pk=run_id)
    if run.finished_at is not None:
        return
    for clinic in [run.clinic] if run.clinic else Clinic.objects.order_by("pk"):
        by = Signature.system(
            channel=Channel.TASK, reason="Review under changed rules", clinic_id=clinic.pk
        )
        _sweep(run, clinic, since=run.started_at, by=by)
    _finish(run)


@shared_task(name="monitoring.tasks.resume_sweeps")
def resume_sweeps() -> None:
    """Send the sweeps on their way again that nobody is at."""
    for pk in stalled_sweeps(timezone.now()).values_list("pk", flat=True):
        sweep_under_new_rules.delay(run_id=pk)


def _sweep(run: SweepRun, clinic: Clinic, *, since: datetime, by: Signature) -> None:
    for patient_id in due_for_review(clinic, since=since).values_list("pk", flat=True):
        if failure := _reviewed(patient_id, by=by):
            run.failures += f"patient {patient_id}: {failure}\n"
        run.patients += 1
        if failure or run.patients % 100 == 0:
            run.moved_at = timezone.now()
            run.save(update_fields=["patients", "failures", "moved_at"])


def _finish(run: SweepRun) -> None:
    run.finished_at = run.moved_at = timezone.now()
    run.save()


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
