"""The clinic's tasks on pages and in the API."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from monitoring.models import MonitoringTask, TaskStatus
from monitoring.selectors import Counts, counts, due_within_a_week, open_tasks, worklist
from monitoring.services import cancel_task, review_patient
from patients.models import Patient
from tacroweb.accounts.models import Clinic, User
from tacroweb.accounts.roles import Role
from tests.factories import a_clinic, a_patient, a_person, by_system
from tests.monitoring.conftest import open_troughs, start

DAY = timedelta(days=1)


def started(clinic: Clinic, days_ago: int) -> MonitoringTask:
    """The first-trough task (days 3 to 7) of a patient who started so many days ago.

    It is left as the only open one.
    """
    at = timezone.now() - days_ago * DAY
    patient = a_patient(clinic, at=at - 10 * DAY)
    start(patient, at=at)
    review_patient(patient=patient, at=at, by=by_system(clinic))
    (trough,) = open_troughs(patient)
    for task in open_tasks(patient):
        if task != trough:
            cancel_task(task=task, at=at, by=by_system(clinic, "Not looked at here"))
    return trough


@pytest.fixture
def nurse(clinic: Clinic) -> User:
    return a_person(clinic, Role.NURSE)


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def api(user: User) -> APIClient:
    client = APIClient()
    client.force_login(user)
    return client


def test_the_worklist_counts_and_lists_what_is_due_longest_due_first(clinic: Clinic) -> None:
    late, now, soon = started(clinic, 9), started(clinic, 4), started(clinic, 1)
    started(a_clinic(), 9)
    today = timezone.localdate(timezone=clinic.zone)
    found = worklist(clinic, today=today)
    assert [visit.tests for visit in found.visits] == [(late,), (now,), (soon,)]
    assert found.counts == Counts(overdue=1, today=1, week=1, patients=3)
    assert found.more == 0
    assert worklist(clinic, today=today, limit=1).more == 2


def test_worklist_and_counts_take_three_queries_whatever_the_rows(
    clinic: Clinic, django_assert_num_queries: Any
) -> None:
    today = timezone.localdate(timezone=clinic.zone)
    for _ in range(2):
        started(clinic, 9)
        with django_assert_num_queries(2):
            [(str(visit.patient), visit.words) for visit in worklist(clinic, today=today).visits]
        with django_assert_num_queries(1):
            counts(clinic, today=today)


def test_the_page_lists_open_tasks_and_filters_them(clinic: Clinic, nurse: User) -> None:
    late, soon = started(clinic, 9), started(clinic, 1)
    client = signed_in(nurse)
    everything = client.get("/tasks/").content.decode()
    assert str(late.patient.public_id) in everything
    assert str(soon.patient.public_id) in everything
    assert "overdue" in everything
    overdue = client.get("/tasks/?due=overdue").content.decode()
    assert str(late.patient.public_id) in overdue
    assert str(soon.patient.public_id) not in overdue
    today = client.get("/tasks/?due=today").content.decode()
    assert "No test is due now." in today
    assert "2 patients have open tests that this list leaves out." in today
    assert client.get("/tasks/?due=someday").status_code == 404


def test_the_page_takes_the_same_queries_for_more_tasks(
    clinic: Clinic, nurse: User, django_assert_max_num_queries: Any
) -> None:
    client = signed_in(nurse)
    for _ in range(2):
        started(clinic, 9)
        with django_assert_max_num_queries(9):
            client.get("/tasks/")


def test_the_page_opens_on_what_is_due_or_overdue_and_counts_the_rest(
    clinic: Clinic, nurse: User
) -> None:
    late, at = started(clinic, 9), timezone.now()
    far = a_patient(clinic)
    start(far, at=at)
    review_patient(patient=far, at=at, by=by_system(clinic))
    today = timezone.localdate(timezone=clinic.zone)
    for task in open_tasks(far).filter(due_within_a_week(today)):
        cancel_task(task=task, at=at, by=by_system(clinic, "Drawn elsewhere"))
    assert open_tasks(far)
    client = signed_in(nurse)
    opening = client.get("/tasks/").content.decode()
    assert str(late.patient.public_id) in opening
    assert str(far.public_id) not in opening
    assert "Due or overdue (1)" in opening
    assert "All open (2)" in opening
    assert str(far.public_id) in client.get("/tasks/?due=all").content.decode()


def test_an_empty_clinic_is_told_that_nothing_is_open(nurse: User) -> None:
    client = signed_in(nurse)
    opening = client.get("/tasks/").content.decode()
    assert "No test is overdue or due within 7 days." in opening
    assert "leaves out" not in opening
    assert "No test is open" in client.get("/tasks/?due=all").content.decode()


def test_a_task_is_cancelled_with_a_reason_on_its_page(clinic: Clinic, nurse: User) -> None:
    task = started(clinic, 9)
    client = signed_in(nurse)
    url = f"/tasks/{task.pk}/cancel/"
    assert task.patient.mrn[-4:] in client.get(url).content.decode()
    refused = client.post(url, {"reason": " "})
    assert refused.status_code == 400
    task.refresh_from_db()
    assert task.status == TaskStatus.OPEN

    done = client.post(url, {"reason": "Drawn at the family doctor"})
    assert (done.status_code, done["Location"]) == (302, f"/patients/{task.patient.public_id}/")
    task.refresh_from_db()
    assert (task.status, task.cancelled_by) == (TaskStatus.CANCELLED, nurse)
    again = client.post(url, {"reason": "Twice"})
    assert "closed already" in again.content.decode()


def test_tasks_of_another_clinic_are_not_there(clinic: Clinic, nurse: User) -> None:
    theirs = started(a_clinic(), 9)
    client = signed_in(nurse)
    assert str(theirs.patient.public_id) not in client.get("/tasks/").content.decode()
    assert client.get(f"/tasks/{theirs.pk}/cancel/").status_code == 404
    assert client.post(f"/tasks/{theirs.pk}/cancel/", {"reason": "Mine"}).status_code == 404
    assert api(nurse).get(f"/api/v1/tasks/{theirs.pk}/").status_code == 404
    answer = api(nurse).post(f"/api/v1/tasks/{theirs.pk}/cancel/", {"reason": "Mine"})
    assert answer.status_code == 404
    assert api(nurse).get("/api/v1/tasks/").json()["results"] == []
    theirs.refresh_from_db()
    assert theirs.status == TaskStatus.OPEN


def test_an_auditor_sees_no_tasks(clinic: Clinic) -> None:
    auditor = a_person(clinic, Role.AUDITOR)
    task = started(clinic, 9)
    assert signed_in(auditor).get("/tasks/").status_code == 403
    assert signed_in(auditor).get(f"/tasks/{task.pk}/cancel/").status_code == 403
    assert api(auditor).get("/api/v1/tasks/").status_code == 403


def test_the_api_lists_filters_and_cancels(clinic: Clinic, nurse: User) -> None:
    late, soon = started(clinic, 9), started(clinic, 1)
    client = api(nurse)
    (shown,) = client.get("/api/v1/tasks/", {"overdue": "true"}).json()["results"]
    assert shown == {
        "id": late.pk,
        "patient": str(late.patient.public_id),
        "analyte": "tacrolimus-trough",
        "panel": "Tacrolimus",
        "statements": ["S23"],
        "earliest_on": late.earliest_on.isoformat(),
        "due_on": late.due_on.isoformat(),
        "latest_on": late.latest_on.isoformat(),
        "status": "OPEN",
        "overdue": True,
        "assessment": str(late.assessment.public_id),
        "observation": None,
        "closed_at": None,
        "closing_note": "",
    }
    assert [task["id"] for task in ids(client, overdue="false", status="OPEN")] == [soon.pk]
    assert [
        task["id"] for task in ids(client, patient=str(soon.patient.public_id), status="OPEN")
    ] == [soon.pk]
    assert ids(client, status="DONE") == []
    assert client.get("/api/v1/tasks/", {"status": "LATE"}).status_code == 400

    assert client.post(f"/api/v1/tasks/{late.pk}/cancel/", {"reason": ""}).status_code == 400
    cancelled = client.post(f"/api/v1/tasks/{late.pk}/cancel/", {"reason": "Drawn elsewhere"})
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "CANCELLED")
    again = client.post(f"/api/v1/tasks/{late.pk}/cancel/", {"reason": "Twice"})
    assert (again.status_code, again.json()["code"]) == (409, "task_closed")


def ids(client: APIClient, **query: str) -> list[dict[str, Any]]:
    return list(client.get("/api/v1/tasks/", query).json()["results"])


def test_open_tasks_of_a_patient_take_one_query(
    patient: Patient, django_assert_num_queries: Any
) -> None:
    review_patient(patient=patient, at=timezone.now(), by=by_system(patient.clinic))
    with django_assert_num_queries(1):
        [str(task.analyte) for task in open_tasks(patient)]
