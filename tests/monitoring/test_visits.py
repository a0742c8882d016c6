"""Open tests by patient and visit: one line for what can be done on one day."""

from collections.abc import Iterator
from datetime import date, timedelta
from itertools import count

import pytest
from django.core.exceptions import ValidationError
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from monitoring.models import MonitoringTask, TaskStatus
from monitoring.selectors import Visit, open_tasks, visits, worklist
from monitoring.services import TaskClosed, cancel_task, cancel_tasks, review_patient
from patients.models import Analyte, Patient
from patients.vocabulary import PANELS, vocabulary
from tacroweb.accounts.models import Clinic
from tacroweb.accounts.roles import Role
from tacroweb.audit.models import LedgerEntry
from tests.factories import a_clinic, a_patient, a_person, a_signature, by_system
from tests.monitoring.conftest import start

TODAY = date(2026, 3, 10)
KEYS = sorted(key for keys in PANELS.values() for key in keys)
_numbers = count(1)


def due(
    key: str, first: int, due_day: int, last: int, *, patient: int = 1, why: str = "S29"
) -> MonitoringTask:
    """An open task of a patient, its days counted from today; nothing is stored."""
    analyte = vocabulary().analyte(key)
    assert analyte is not None
    return MonitoringTask(
        pk=next(_numbers),
        patient_id=patient,
        analyte=Analyte(key=key, name=analyte.name),
        statements=why,
        earliest_on=TODAY + timedelta(first),
        due_on=TODAY + timedelta(due_day),
        latest_on=TODAY + timedelta(last),
    )


def keys(visit: Visit) -> set[str]:
    return {test.analyte.key for test in visit.tests}


def test_one_blood_draw_is_one_line_named_by_its_panels() -> None:
    (visit,) = visits(
        [
            due("ast", -2, 1, 4, why="S34"),
            due("potassium", 0, 3, 6, why="S31"),
            due("alt", -2, 1, 4, why="S34"),
            due("neutrophils", -2, 1, 4),
            due("wbc", -2, 1, 4, why="S9, S29"),
        ],
        today=TODAY,
    )
    assert visit.words == "Blood count with differential · Potassium · Liver tests"
    assert visit.statements == "S9, S29, S31, S34"
    assert (visit.due_on, visit.latest_on) == (date(2026, 3, 11), date(2026, 3, 14))
    assert [test.analyte.key for test in visit.tests] == [
        "wbc", "neutrophils", "potassium", "alt", "ast",
    ]  # fmt: skip


def test_the_tightest_days_count_and_the_line_says_from_when_all_can_be_done() -> None:
    (visit,) = visits([due("alt", 1, 5, 10), due("wbc", 8, 11, 14)], today=TODAY)
    assert (visit.due_on, visit.latest_on) == (TODAY + timedelta(5), TODAY + timedelta(10))
    assert visit.together_on == TODAY + timedelta(8)


@pytest.mark.parametrize(("first", "lines"), [(4, 1), (5, 2)])
def test_windows_that_share_no_day_are_two_visits(first: int, lines: int) -> None:
    found = visits([due("alt", -2, 1, 4), due("wbc", first, 8, 11)], today=TODAY)
    assert len(found) == lines


@pytest.mark.parametrize(("first", "lines"), [(0, 1), (1, 2)])
def test_what_may_be_done_today_is_done_with_what_is_overdue(first: int, lines: int) -> None:
    found = visits(
        [due("alt", -9, -6, -3), due("wbc", -30, -28, -26), due("potassium", first, 3, 6)],
        today=TODAY,
    )
    assert len(found) == lines
    assert {"alt", "wbc"} <= keys(found[0])
    assert found[0].latest_on == TODAY - timedelta(26)


def test_a_trough_is_a_line_of_its_own_that_names_the_same_days() -> None:
    trough, others = visits(
        [due("tacrolimus-trough", 1, 1, 5), due("alt", 3, 6, 9), due("wbc", 2, 5, 8)], today=TODAY
    )
    assert trough.words == "Tacrolimus level"
    assert trough.same_day == (TODAY + timedelta(3), TODAY + timedelta(5))
    assert others.same_day is None


def test_a_trough_that_fits_no_other_test_names_no_day() -> None:
    found = visits([due("tacrolimus-trough", 1, 1, 5), due("alt", -9, -6, -3)], today=TODAY)
    assert [visit.same_day for visit in found] == [None, None]


def test_an_overdue_trough_is_drawn_today_with_the_others() -> None:
    trough, _ = visits([due("tacrolimus-trough", -9, -9, -5), due("alt", -2, 1, 4)], today=TODAY)
    assert trough.same_day == (TODAY, TODAY)


def test_patients_come_one_after_another_the_longest_due_first() -> None:
    found = visits(
        [due("alt", 0, 3, 6, patient=1), due("tacrolimus-trough", 4, 4, 5, patient=2),
         due("wbc", 20, 23, 26, patient=1), due("wbc", -2, 1, 4, patient=2)],
        today=TODAY,
    )  # fmt: skip
    assert [visit.tests[0].patient_id for visit in found] == [2, 2, 1, 1]
    assert visits([], today=TODAY) == ()


tests_due = st.builds(
    lambda key, first, until_due, until_late, patient: due(
        key, first, first + until_due, first + until_due + until_late, patient=patient
    ),
    st.sampled_from(KEYS), st.integers(-40, 40), st.integers(0, 9), st.integers(0, 9),
    st.integers(1, 2),
)  # fmt: skip


@given(st.lists(tests_due, max_size=25))
def test_every_test_stands_on_one_line_that_a_day_can_answer(tasks: list[MonitoringTask]) -> None:
    found = visits(tasks, today=TODAY)
    assert sorted(test.pk for visit in found for test in visit.tests) == sorted(
        task.pk for task in tasks
    )
    for visit in found:
        assert len({test.patient_id for test in visit.tests}) == 1
        assert "tacrolimus-trough" not in keys(visit) or len(visit.tests) == 1
        last = min(max(test.latest_on, TODAY) for test in visit.tests)
        assert visit.together_on <= last
        late = any(test.latest_on < TODAY for test in visit.tests)
        assert (visit.latest_on < TODAY) == late
        if visit.same_day is not None:
            first, last = visit.same_day
            assert TODAY <= first <= last
    assert found == visits(list(reversed(tasks)), today=TODAY)


def test_every_panel_names_analytes_of_the_vocabulary_and_none_twice() -> None:
    named = [key for keys in PANELS.values() for key in keys]
    assert sorted(named) == sorted(analyte.key for analyte in vocabulary().analytes)


# In the database, on pages


@pytest.fixture
def late(clinic: Clinic) -> Patient:
    """On tacrolimus for 30 days and never tested since."""
    return begun(clinic, 30)


def begun(clinic: Clinic, days: int) -> Patient:
    at = timezone.now() - timedelta(days=days)
    patient = a_patient(clinic, at=at - timedelta(days=10))
    start(patient, at=at)
    review_patient(patient=patient, at=timezone.now(), by=by_system(clinic))
    return patient


def of_the_draw(patient: Patient) -> list[MonitoringTask]:
    """The tests of the patient's largest visit."""
    found = visits(open_tasks(patient), today=timezone.localdate())
    return list(max(found, key=lambda visit: len(visit.tests)).tests)


@pytest.fixture
def nurse(clinic: Clinic) -> Iterator[Client]:
    client = Client()
    client.force_login(a_person(clinic, Role.NURSE))
    return client


def path_of(tasks: list[MonitoringTask]) -> str:
    return f"/tasks/cancel/?{Visit(tests=tuple(tasks)).query}"


def test_a_patient_with_the_whole_calendar_takes_few_lines(clinic: Clinic, late: Patient) -> None:
    found = worklist(clinic, today=timezone.localdate())
    assert len(open_tasks(late)) > 15
    assert len(found.visits) <= 3
    assert (found.counts.overdue, found.counts.patients, found.more) == (1, 1, 0)


def test_the_page_takes_the_same_queries_for_more_visits(
    clinic: Clinic, late: Patient, nurse: Client
) -> None:
    taken = []
    for _ in range(2):
        with CaptureQueriesContext(connection) as queries:
            nurse.get("/tasks/")
        taken.append(len(queries))
        begun(clinic, 30)
    assert taken[0] == taken[1] <= 9


def test_the_page_names_the_panels_and_unfolds_the_tests(late: Patient, nurse: Client) -> None:
    page = nurse.get("/tasks/").content.decode()
    assert "Blood count with differential · Renal function · Electrolytes · Liver tests" in page
    assert page.count("White cells") >= 1
    draw = of_the_draw(late)
    assert f"<summary>{len(draw)} tests</summary>" in page
    assert f"Cancel all {len(draw)}" in page


def test_a_visit_is_cancelled_as_one_act_each_task_signed(late: Patient, nurse: Client) -> None:
    draw = of_the_draw(late)
    others = len(open_tasks(late)) - len(draw)
    page = nurse.get(path_of(draw)).content.decode()
    assert all(task.analyte.name in page for task in draw)
    assert nurse.post(path_of(draw), {"reason": " "}).status_code == 400
    before = LedgerEntry.objects.count()
    done = nurse.post(path_of(draw), {"reason": "All drawn at the family doctor"})
    assert (done.status_code, done["Location"]) == (302, f"/patients/{late.public_id}/")
    for task in draw:
        task.refresh_from_db()
        assert task.status == TaskStatus.CANCELLED
        assert task.closing_note == "All drawn at the family doctor"
        assert task.cancelled_by is not None
    assert len(open_tasks(late)) == others
    assert LedgerEntry.objects.count() == before + 1
    entry = LedgerEntry.objects.latest("pk")
    assert (entry.act, entry.reason) == ("Tasks cancelled", "All drawn at the family doctor")
    review_patient(patient=late, at=timezone.now(), by=by_system(late.clinic))
    assert len(open_tasks(late)) == others


def test_where_one_is_closed_already_none_is_cancelled(late: Patient, nurse: Client) -> None:
    draw = of_the_draw(late)
    by = a_signature(late.clinic, reason="Declined")
    cancel_task(task=draw[0], at=timezone.now(), by=by)
    with pytest.raises(TaskClosed, match=rf"{draw[0].analyte} \(no longer due\)"):
        cancel_tasks(tasks=draw, at=timezone.now(), by=by)
    refused = nurse.post(path_of(draw), {"reason": "Twice"})
    assert refused.status_code == 400
    assert "Nothing changed" in refused.content.decode()
    draw[1].refresh_from_db()
    assert draw[1].status == TaskStatus.OPEN


def test_tasks_are_cancelled_together_only_with_a_reason_and_of_one_patient(
    clinic: Clinic, late: Patient, nurse: Client
) -> None:
    mixed = [open_tasks(late)[0], open_tasks(begun(clinic, 30))[0]]
    for tasks in ([], mixed):
        with pytest.raises(ValueError, match="unpack"):
            cancel_tasks(tasks=tasks, at=timezone.now(), by=by_system(clinic, "No"))
    with pytest.raises(ValidationError):
        cancel_tasks(tasks=of_the_draw(late), at=timezone.now(), by=by_system(clinic, " "))
    assert nurse.get(path_of(mixed)).status_code == 404
    assert nurse.get("/tasks/cancel/").status_code == 404


@pytest.mark.parametrize("task", ["0", "x", "-1", "٣", "9" * 30, ""])
def test_a_visit_of_tasks_that_are_none_is_not_there(nurse: Client, task: str) -> None:
    assert nurse.get("/tasks/cancel/", {"task": task}).status_code == 404


def test_tasks_of_another_clinic_are_not_cancelled_with_ones_own(
    late: Patient, nurse: Client
) -> None:
    theirs = of_the_draw(begun(a_clinic(), 30))
    for tasks in (theirs, [*of_the_draw(late), theirs[0]]):
        assert nurse.post(path_of(tasks), {"reason": "Mine"}).status_code == 404
    theirs[0].refresh_from_db()
    assert theirs[0].status == TaskStatus.OPEN
