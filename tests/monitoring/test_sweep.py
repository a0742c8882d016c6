"""The nightly sweep, and the review in the request that changed the record."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from dosing.rules.models import RuleBook
from monitoring.models import MonitoringTask, Review, SweepRun
from monitoring.selectors import (
    failed_reviews,
    last_sweep,
    open_tasks,
    review_failure,
    sweep_missed,
)
from monitoring.tasks import nightly_sweep
from patients.models import Observation, Patient
from tacroweb.accounts.models import Clinic
from tacroweb.audit.models import LedgerEntry
from tests.factories import a_clinic, a_patient, takes
from tests.monitoring.conftest import START, level, open_troughs, start


def sweep() -> SweepRun:
    return SweepRun.objects.get(pk=nightly_sweep())


def broken(patient: Patient) -> None:
    """A level that someone has overwritten in the database, past every service."""
    level(patient, "6.8", at=START + timedelta(days=5))
    result = Observation.objects.filter(patient=patient).latest("pk")
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE patients_observation SET entered = 'haemolysed' WHERE id = %s", [result.pk]
        )


def test_the_sweep_opens_what_is_due_for_every_patient_on_tacrolimus(
    clinic: Clinic, patient: Patient
) -> None:
    elsewhere = a_patient(a_clinic(time_zone="America/New_York"), at=START - timedelta(days=10))
    start(elsewhere)
    a_patient(clinic, at=START)
    run = sweep()
    assert (run.patients, run.failures) == (2, "")
    assert run.finished_at is not None
    assert len(open_troughs(patient)) == len(open_troughs(elsewhere)) == 1
    entry = LedgerEntry.objects.filter(chain__name=f"clinic:{elsewhere.clinic_id}").latest("seq")
    assert (entry.actor_name, entry.reason) == ("TacroWeb", "Nightly sweep")


def test_a_second_sweep_finds_nobody_left(patient: Patient) -> None:
    sweep()
    tasks, entries = MonitoringTask.history.count(), LedgerEntry.objects.count()
    assert sweep().patients == 0
    assert (MonitoringTask.history.count(), LedgerEntry.objects.count()) == (tasks, entries)


def test_a_patient_whose_facts_changed_since_is_swept_again(patient: Patient) -> None:
    sweep()
    level(patient, "6.8", at=START + timedelta(days=5))
    assert sweep().patients == 1
    assert not any("S23" in task.why for task in open_tasks(patient))


def test_one_patient_who_cannot_be_reviewed_stops_nobody(clinic: Clinic, patient: Patient) -> None:
    broken(patient)
    after = a_patient(clinic, at=START - timedelta(days=10))
    start(after)
    run = sweep()
    assert (run.patients, run.failed) == (2, 1)
    assert f"patient {patient.pk}: " in run.failures
    assert not open_tasks(patient)
    assert len(open_troughs(after)) == 1
    assert "haemolysed" in review_failure(patient) or review_failure(patient)
    assert [review.patient for review in failed_reviews(clinic)] == [patient]
    assert not failed_reviews(a_clinic())


def test_without_a_rule_book_every_failure_says_so(patient: Patient) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE rules_rulebook SET status = 'RETIRED'")
    assert not RuleBook.objects.filter(status="PUBLISHED").exists()
    assert "No rule book is published" in sweep().failures
    assert "No rule book is published" in review_failure(patient)


def test_the_command_sweeps_and_reports_failures(
    patient: Patient, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("sweep")
    assert "1 patients looked at, 0 failed." in capsys.readouterr().out
    broken(patient)
    with pytest.raises(CommandError, match=f"patient {patient.pk}: "):
        call_command("sweep")


def test_a_sweep_that_did_not_run_is_told_from_one_that_did(clinic: Clinic) -> None:
    now = timezone.now()
    assert sweep_missed(last_sweep(), at=now)
    SweepRun.objects.create(started_at=now)
    assert sweep_missed(last_sweep(), at=now)
    sweep()
    assert not sweep_missed(last_sweep(), at=timezone.now())
    assert sweep_missed(last_sweep(), at=timezone.now() + timedelta(hours=27))


def test_a_change_of_the_record_is_reviewed_after_its_commit(
    patient: Patient, django_capture_on_commit_callbacks: Callable[..., Any]
) -> None:
    level(patient, "6.8", at=START + timedelta(days=5))
    yesterday = timezone.now() - timedelta(days=1)
    with django_capture_on_commit_callbacks(execute=True):
        takes(patient, "voriconazole", yesterday.date(), at=yesterday)
    assert any("S41" in task.why for task in open_troughs(patient))
    assert not review_failure(patient)


def test_a_review_that_fails_loses_no_write_and_is_shown(
    patient: Patient, django_capture_on_commit_callbacks: Callable[..., Any]
) -> None:
    broken(patient)
    yesterday = timezone.now() - timedelta(days=1)
    with django_capture_on_commit_callbacks(execute=True):
        drug = takes(patient, "voriconazole", yesterday.date(), at=yesterday)
    drug.refresh_from_db()
    assert review_failure(patient)
    assert Review.objects.get(patient=patient).failure


def test_the_schedule_names_the_sweep(settings: Any) -> None:
    names = {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()}
    assert nightly_sweep.name in names
