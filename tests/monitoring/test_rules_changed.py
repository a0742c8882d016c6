"""Other rules hold: every patient is reviewed under them, in the background and to the end."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from kombu.exceptions import OperationalError

from dosing.models import Assessment
from dosing.rules.selectors import published_book, published_version, rows_to_approve
from dosing.rules.services import approve_locally
from monitoring.models import Review, SweepCause, SweepRun
from monitoring.selectors import last_sweep, stalled_sweeps
from monitoring.tasks import nightly_sweep, resume_sweeps, sweep_under_new_rules
from patients.models import Patient
from patients.selectors import facts_number
from tacroweb.accounts.models import Clinic
from tacroweb.accounts.roles import Role
from tacroweb.audit.models import LedgerEntry
from tests.factories import a_clinic, a_newer_book, a_patient, a_person, a_signature
from tests.monitoring.conftest import START, start
from tests.monitoring.test_sweep import broken


@pytest.fixture
def published(patient: Patient, django_capture_on_commit_callbacks: Callable[..., Any]) -> SweepRun:
    """A newer book is published after a night in which everything was reviewed."""
    nightly_sweep()
    with django_capture_on_commit_callbacks(execute=True):
        a_newer_book(at=timezone.now())
    return SweepRun.objects.get(cause=SweepCause.RULES)


def test_publishing_has_every_patient_on_tacrolimus_reviewed_under_the_new_book(
    clinic: Clinic, patient: Patient, published: SweepRun
) -> None:
    elsewhere = a_patient(a_clinic(), at=START - timedelta(days=10))
    start(elsewhere)
    a_patient(clinic, at=START)
    book = published_version()
    assert Review.objects.get(patient=patient).rule_book != book
    sweep_under_new_rules(run_id=published.pk)
    published.refresh_from_db()
    assert (published.patients, published.failures) == (2, "")
    assert published.finished_at is not None
    for each in (patient, elsewhere):
        assert Review.objects.get(patient=each).rule_book == book
        assert Assessment.objects.filter(patient=each).latest("pk").rule_book == book
    entry = LedgerEntry.objects.filter(chain__name=f"clinic:{clinic.pk}").latest("seq")
    assert (entry.actor_name, entry.reason) == ("TacroWeb", "Review under changed rules")


def test_delivered_twice_or_followed_by_the_night_it_stores_nothing_twice(
    published: SweepRun,
) -> None:
    sweep_under_new_rules(run_id=published.pk)
    stored, entries = Assessment.objects.count(), LedgerEntry.objects.count()
    sweep_under_new_rules(run_id=published.pk)
    nightly_sweep()
    assert (Assessment.objects.count(), LedgerEntry.objects.count()) == (stored, entries)


def test_one_patient_who_cannot_be_reviewed_stops_nobody(
    clinic: Clinic, patient: Patient, published: SweepRun
) -> None:
    broken(patient)
    after = a_patient(clinic, at=START - timedelta(days=10))
    start(after)
    sweep_under_new_rules(run_id=published.pk)
    published.refresh_from_db()
    assert (published.patients, published.failed) == (2, 1)
    assert published.finished_at is not None
    assert Review.objects.get(patient=after).rule_book == published_version()


def test_what_was_interrupted_is_taken_up_where_it_stopped(
    clinic: Clinic, patient: Patient, published: SweepRun
) -> None:
    after = a_patient(clinic, at=START - timedelta(days=10))
    start(after)
    now = timezone.now()
    assert not stalled_sweeps(now)
    assert [*stalled_sweeps(now + timedelta(minutes=3))] == [published]
    resume_sweeps()
    Review.objects.update_or_create(
        patient=patient,
        defaults={"clinic": clinic, "at": now, "rule_book": published_version(),
                  "facts_version": facts_number(patient)},
    )  # fmt: skip
    sweep_under_new_rules(run_id=published.pk)
    published.refresh_from_db()
    assert published.patients == 1
    assert not stalled_sweeps(now + timedelta(days=1))


def test_without_a_broker_the_sweep_is_kept_for_later(
    clinic: Clinic,
    patient: Patient,
    monkeypatch: pytest.MonkeyPatch,
    django_capture_on_commit_callbacks: Callable[..., Any],
) -> None:
    def away(*args: object, **kwargs: object) -> None:
        raise OperationalError("connection refused")

    monkeypatch.setattr(sweep_under_new_rules, "apply_async", away)
    with django_capture_on_commit_callbacks(execute=True):
        book = a_newer_book(at=timezone.now())
    assert published_version() == book
    assert stalled_sweeps(timezone.now() + timedelta(minutes=3)).count() == 1


def test_a_local_approval_has_the_patients_of_its_clinic_reviewed(
    clinic: Clinic, patient: Patient, django_capture_on_commit_callbacks: Callable[..., Any]
) -> None:
    elsewhere = a_patient(a_clinic(), at=START - timedelta(days=10))
    start(elsewhere)
    nightly_sweep()
    stored = Assessment.objects.filter(patient=patient).count()
    others = Assessment.objects.filter(patient=elsewhere).count()
    code = next(
        code
        for code, tables in rows_to_approve(published_book()).items()
        if "local_targets" not in tables
    )
    approver = a_person(clinic, Role.RULE_APPROVER)
    by = a_signature(clinic, user=approver, role=Role.RULE_APPROVER, reason="Our own decision.")
    with django_capture_on_commit_callbacks(execute=True):
        approve_locally(clinic=clinic, row_code=code, at=timezone.now(), by=by)
    run = SweepRun.objects.get(cause=SweepCause.RULES)
    assert run.clinic == clinic
    sweep_under_new_rules(run_id=run.pk)
    run.refresh_from_db()
    assert run.patients == 1
    newest = Assessment.objects.filter(patient=patient).latest("pk")
    assert Assessment.objects.filter(patient=patient).count() == stored + 1
    assert [each["row"] for each in newest.case["local_approvals"]] == [code]
    assert Assessment.objects.filter(patient=elsewhere).count() == others


def test_such_a_sweep_is_not_taken_for_the_nightly_one(published: SweepRun) -> None:
    last = last_sweep()
    assert last is not None
    assert last.cause == SweepCause.NIGHT
    assert last.finished_at is not None


def test_the_schedule_takes_up_what_was_interrupted(settings: Any) -> None:
    names = {entry["task"] for entry in settings.CELERY_BEAT_SCHEDULE.values()}
    assert resume_sweeps.name in names
