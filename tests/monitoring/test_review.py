"""Due tests become tasks; results close them."""

import threading
from datetime import date, datetime, timedelta

import pytest
from django.core.exceptions import ValidationError
from django.db import DatabaseError, connection, transaction

from dosing.models import Assessment, Factor, ReasonCode
from dosing.rules.engine.advice import DueTest
from dosing.selectors import current_regimen
from dosing.services import stop_regimen
from monitoring.models import MonitoringTask, Review, TaskStatus
from monitoring.selectors import open_tasks, review_failure
from monitoring.services import (
    NOT_ASKED,
    NOT_TAKEN,
    TaskClosed,
    cancel_task,
    review_patient,
    samples,
)
from patients.models import CoMedication, Patient
from patients.services import stop_co_medication, withdraw_fact, withdraw_observation
from tacroweb.accounts.roles import Role
from tacroweb.audit.ledger import GENESIS
from tacroweb.audit.models import LedgerChain, LedgerEntry
from tests.factories import a_patient, a_signature, by_system, takes
from tests.monitoring.conftest import START, level, open_troughs

DAY = timedelta(days=1)
REVIEWED = START + 20 * DAY


def review(patient: Patient, at: datetime) -> Assessment | None:
    return review_patient(patient=patient, at=at, by=by_system(patient.clinic))


def open_now(patient: Patient) -> list[tuple[str, date, date, date]]:
    return [
        (task.statements, task.earliest_on, task.due_on, task.latest_on)
        for task in open_troughs(patient)
    ]


def asked(patient: Patient, statement: str) -> list[MonitoringTask]:
    """The open tasks that this statement asks for."""
    return [task for task in open_tasks(patient) if statement in task.why]


def on_voriconazole(patient: Patient) -> datetime:
    """In target, then voriconazole; the day after is returned."""
    level(patient, "6.8", at=START + 10 * DAY)
    takes(patient, "voriconazole", (START + 20 * DAY).date(), at=START + 20 * DAY)
    return START + 21 * DAY


def test_the_start_opens_the_first_trough(patient: Patient) -> None:
    assessment = review(patient, START)
    (task,) = asked(patient, "S23")
    assert (task.analyte.key, task.why) == ("tacrolimus-trough", ["S23"])
    assert (task.earliest_on, task.due_on, task.latest_on) == (
        date(2026, 1, 15),
        date(2026, 1, 15),
        date(2026, 1, 19),
    )
    assert task.assessment == assessment


def test_voriconazole_opens_an_early_trough_and_a_trough_closes_it(patient: Patient) -> None:
    at = on_voriconazole(patient)
    review(patient, at)
    (task,) = asked(patient, "S41")
    assert "S41" in task.why
    assert (task.earliest_on, task.latest_on) == (at.date(), at.date() + 2 * DAY)

    level(patient, "9.1", at=at + DAY)
    review(patient, at + DAY + timedelta(hours=3))
    task.refresh_from_db()
    assert task.status == TaskStatus.DONE
    assert task.observation is not None
    assert task.observation.entered == "9.1"
    (following,) = asked(patient, "S41")
    assert following.earliest_on == at.date() + 3 * DAY


def test_a_mistimed_level_closes_nothing_and_asks_for_another_draw(patient: Patient) -> None:
    at = on_voriconazole(patient)
    review(patient, at)
    (task,) = asked(patient, "S41")
    level(patient, "6.9", at=at + DAY, hours="4.0")
    review(patient, at + DAY + timedelta(hours=1))
    assert not MonitoringTask.objects.filter(patient=patient, status=TaskStatus.DONE).exists()
    task.refresh_from_db()
    assert task.status == TaskStatus.OPEN
    assert {"S41", "S28"} <= set(task.why)  # one draw answers both


def test_a_level_before_the_window_closes_nothing(patient: Patient) -> None:
    level(patient, "6.8", at=START + 10 * DAY)
    takes(patient, "voriconazole", (START + 20 * DAY).date(), at=START + 20 * DAY)
    review(patient, START + 20 * DAY)
    level(patient, "7.0", at=START + 20 * DAY + timedelta(hours=2))
    review(patient, START + 20 * DAY + timedelta(hours=3))
    (task,) = asked(patient, "S41")
    assert "S41" in task.why


def test_a_result_entered_late_closes_its_task(patient: Patient) -> None:
    at = on_voriconazole(patient)
    review(patient, at + 2 * DAY)
    (task,) = asked(patient, "S41")
    level(patient, "9.1", at=at + DAY)
    review(patient, at + 2 * DAY + timedelta(hours=1))
    task.refresh_from_db()
    assert task.status == TaskStatus.DONE


def test_an_overdue_test_keeps_its_day_and_stays_open(patient: Patient) -> None:
    review(patient, START)
    before = open_now(patient)
    for later in (10, 20, 40):
        review(patient, START + later * DAY)
    assert open_now(patient) == before


def test_a_repeat_asked_for_again_each_night_keeps_its_first_day(patient: Patient) -> None:
    at = START + 10 * DAY
    level(patient, "6.9", at=at, hours="4.0")
    review(patient, at + timedelta(hours=2))
    (repeat,) = [task for task in open_tasks(patient) if "S28" in task.why]
    for night in range(1, 6):
        review(patient, at + night * DAY)
    repeat.refresh_from_db()
    assert (repeat.status, repeat.due_on) == (TaskStatus.OPEN, at.date() + DAY)


def test_a_review_run_again_writes_nothing(patient: Patient) -> None:
    at = on_voriconazole(patient)
    assert review(patient, at) is not None
    written = LedgerEntry.objects.count()
    assert review(patient, at + timedelta(hours=1)) is None
    assert review(patient, at + DAY) is None
    assert LedgerEntry.objects.count() == written
    assert MonitoringTask.history.count() == MonitoringTask.objects.count()


def test_a_new_fact_is_assessed_even_where_no_test_follows(patient: Patient) -> None:
    level(patient, "6.8", at=START + 10 * DAY)
    review(patient, START + 10 * DAY)
    stored = Assessment.objects.count()
    takes(patient, "omeprazole", (START + 11 * DAY).date(), at=START + 11 * DAY)
    assert review(patient, START + 11 * DAY) is not None
    assert Assessment.objects.count() == stored + 1


def test_what_the_protocol_no_longer_asks_for_is_cancelled_with_a_note(patient: Patient) -> None:
    at = on_voriconazole(patient)
    review(patient, at)
    (task,) = asked(patient, "S41")
    drug = CoMedication.objects.get(patient=patient)
    withdraw_fact(fact=drug, at=at, by=by_system(patient.clinic, "Entered for another patient"))
    review(patient, at)
    task.refresh_from_db()
    assert (task.status, task.closing_note) == (TaskStatus.CANCELLED, NOT_ASKED)
    assert task.cancelled_by is None
    assert not asked(patient, "S41")


def test_stopping_the_drug_asks_for_troughs_of_its_own(patient: Patient) -> None:
    at = on_voriconazole(patient)
    review(patient, at)
    drug = CoMedication.objects.get(patient=patient)
    level(patient, "8.0", at=at + DAY)
    stopped = at + 5 * DAY
    stop_co_medication(
        co_medication=drug, stopped_on=stopped.date(), at=stopped, by=by_system(patient.clinic)
    )
    review(patient, stopped)
    assert any("S52" in task.why for task in open_tasks(patient))


def test_who_stops_tacrolimus_has_no_tasks(patient: Patient) -> None:
    review(patient, START)
    regimen = current_regimen(patient)
    assert regimen is not None
    stop_regimen(
        regimen=regimen,
        reason_code=ReasonCode.PATIENT_CHOICE,
        factor=Factor.PASSWORD,
        at=START + DAY,
        by=by_system(patient.clinic),
    )
    assert review(patient, START + DAY) is None
    tasks = MonitoringTask.objects.filter(patient=patient)
    assert tasks
    for task in tasks:
        assert (task.status, task.closing_note) == (TaskStatus.CANCELLED, NOT_TAKEN)


def test_who_takes_no_tacrolimus_is_not_assessed(patient: Patient) -> None:
    other = a_patient(patient.clinic, at=START)
    assert review(other, REVIEWED) is None
    assert not Assessment.objects.filter(patient=other).exists()
    assert not open_tasks(other)


def test_a_withdrawn_result_opens_the_test_again(patient: Patient) -> None:
    at = on_voriconazole(patient)
    review(patient, at)
    before = open_now(patient)
    level(patient, "9.1", at=at + timedelta(hours=1))
    review(patient, at + timedelta(hours=2))
    assert open_now(patient) != before
    done = MonitoringTask.objects.filter(patient=patient, status=TaskStatus.DONE).first()
    assert done is not None
    result = done.observation
    assert result is not None
    withdraw_observation(
        observation=result, at=at + timedelta(hours=3), by=by_system(patient.clinic, "Wrong tube")
    )
    review(patient, at + timedelta(hours=3))
    assert open_now(patient) == before


def test_a_cancelled_task_names_person_and_reason_and_is_not_opened_again(
    patient: Patient,
) -> None:
    review(patient, START)
    (task,) = asked(patient, "S23")
    by = a_signature(patient.clinic, role=Role.NURSE, reason="Drawn elsewhere")
    cancelled = cancel_task(task=task, at=START + DAY, by=by)
    assert (cancelled.status, cancelled.closing_note) == (TaskStatus.CANCELLED, "Drawn elsewhere")
    assert cancelled.cancelled_by_id == by.actor_id
    review(patient, START + 2 * DAY)
    assert not open_troughs(patient)
    with pytest.raises(TaskClosed):
        cancel_task(task=task, at=START + DAY, by=by)


@pytest.mark.parametrize("reason", ["", "   ", "x" * 301])
def test_a_task_is_not_cancelled_without_a_reason_of_fitting_length(
    patient: Patient, reason: str
) -> None:
    review(patient, START)
    (task,) = asked(patient, "S23")
    with pytest.raises(ValidationError) as refused:
        cancel_task(task=task, at=START, by=by_system(patient.clinic, reason))
    assert "reason" in refused.value.message_dict
    task.refresh_from_db()
    assert task.status == TaskStatus.OPEN


def test_when_the_ledger_cannot_be_written_no_task_is_opened(patient: Patient) -> None:
    chain = LedgerChain.objects.get(name=by_system(patient.clinic).chain)
    LedgerEntry.objects.create(  # the next entry's number is taken
        chain=chain,
        seq=chain.head_seq + 1,
        recorded_at=START,
        act="in the way",
        text="",
        prev_hash=GENESIS[:-1] + "f",
        hash="f" * 64,
    )
    stored = Assessment.objects.count()
    with pytest.raises(DatabaseError), transaction.atomic():
        review(patient, START)
    assert not MonitoringTask.objects.exists()
    assert not Review.objects.exists()
    assert Assessment.objects.count() == stored


@pytest.mark.django_db(transaction=True)
def test_two_reviews_at_once_open_one_task(patient: Patient) -> None:
    errors: list[BaseException] = []
    ready = threading.Barrier(2)

    def run() -> None:
        try:
            ready.wait()
            review(patient, START)
        except BaseException as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    (task,) = asked(patient, "S23")
    assert MonitoringTask.history.filter(id=task.pk).count() == 1
    analytes = [task.analyte.key for task in open_tasks(patient)]
    assert len(analytes) == len(set(analytes))


def test_tests_whose_windows_share_a_day_are_one_sample() -> None:
    def due(earliest: int, due: int, latest: int, *statements: str) -> DueTest:
        return DueTest(
            analyte="tacrolimus-trough",
            earliest=date(2026, 3, earliest),
            due=date(2026, 3, due),
            latest=date(2026, 3, latest),
            statements=statements,
        )

    merged = samples(
        [
            due(5, 5, 9, "S9"),
            due(3, 4, 6, "S46"),
            due(1, 2, 3, "S41", "S38"),
            due(12, 12, 12, "S41"),
        ]
    )
    assert [(s.earliest.day, s.due.day, s.latest.day, s.statements) for s in merged] == [
        (3, 3, 3, "S38, S41, S46"),
        (5, 5, 9, "S9"),
        (12, 12, 12, "S41"),
    ]


def test_a_review_that_worked_clears_an_earlier_failure(patient: Patient) -> None:
    Review.objects.create(
        patient=patient, clinic=patient.clinic, at=START, failure="No rule book is published."
    )
    assert review_failure(patient)
    review(patient, START)
    assert review_failure(patient) == ""
