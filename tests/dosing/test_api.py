"""The API: the same acts as the pages, with the same sentences."""

import json
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.test import Client

from dosing.models import DoseOrder, Regimen
from patients.models import Patient
from tacroweb.accounts.models import User
from tacroweb.accounts.roles import Role, Scope
from tacroweb.accounts.services import issue_token
from tests.dosing.conftest import ordered
from tests.factories import NOW, PASSWORD, a_clinic, a_patient, a_person, by_system, recorded, takes


@pytest.fixture(autouse=True)
def _today() -> Any:
    with time_machine.travel(NOW, tick=False):
        yield


class Api:
    """A program with a token."""

    def __init__(self, patient: Patient, role: Role = Role.PRESCRIBER, *scopes: Scope) -> None:
        self.client = Client()
        self.user: User = a_person(patient.clinic, role)
        _, key = issue_token(
            user=self.user,
            clinic=patient.clinic,
            name="test",
            scopes=scopes or tuple(Scope),
            expires_at=NOW + timedelta(days=1),
            by=by_system(patient.clinic),
        )
        self.headers = {"Authorization": f"Bearer {key}"}

    def post(self, path: str, body: Any) -> tuple[int, Any]:
        text = body if isinstance(body, str) else json.dumps(body)
        response = self.client.post(
            f"/api/v1/{path}/", text, content_type="application/json", headers=self.headers
        )
        return response.status_code, response.json()

    def get(self, path: str) -> tuple[int, Any]:
        response = self.client.get(f"/api/v1/{path}", headers=self.headers)
        return response.status_code, response.json()

    def assess(self, patient: Patient) -> Any:
        status, made = self.post("assessments", {"patient": str(patient.public_id)})
        assert status == 201, made
        return made


def order_on(made: Any, morning: str, evening: str, **changes: Any) -> dict[str, Any]:
    """A signed dose with every question of the assessment answered."""
    return {
        "assessment": made["id"],
        "morning_mg": morning,
        "evening_mg": evening,
        "reason_code": "OTHER",
        "reason_text": "agreed at the board",
        "answers": {
            each["key"]: {"reason": "ACKNOWLEDGED" if each["acknowledge"] else "WILL_MONITOR"}
            for each in made["questions"]
        },
        "password": PASSWORD,
    } | changes


def test_start_order_hold_resume_and_stop_through_the_api(patient: Patient) -> None:
    api = Api(patient)
    made = api.assess(patient)
    assert made["intent"] == "START"
    assert made["advice"]["proposal"]["total_daily_mg"] == "4.5"
    assert made["case"]["patient"]["birth_date"] == "1971-03-14"
    start = order_on(made, "2.5", "2.0", reason_code="START", reason_text="")
    start |= {"patient": str(patient.public_id), "formulation": "IR", "brand": "Prograf"}
    status, regimen = api.post("regimens", start)
    assert status == 201, regimen
    assert regimen["order"]["decision"] == "ACCEPTED"
    assert regimen["order"]["total_daily_mg"] == "4.5"
    assert regimen["order"]["signature"]["printed_name"] == api.user.display_name

    made = api.assess(patient)
    status, order = api.post("orders", order_on(made, "2", "2", regimen=regimen["id"]))
    assert status == 201, order
    assert (order["total_daily_mg"], order["decision"]) == ("4", "MODIFIED")

    hold = {"reason_code": "INFECTION", "password": PASSWORD}
    status, held = api.post(f"regimens/{regimen['id']}/hold", hold)
    assert (status, held["status"]) == (200, "HELD")
    status, refused = api.post(f"regimens/{regimen['id']}/hold", hold)
    assert (status, refused["code"]) == (409, "no_active_regimen")

    made = api.assess(patient)
    status, refused = api.post("orders", order_on(made, "1", "1", regimen=regimen["id"]))
    assert (status, refused["code"]) == (409, "no_active_regimen")
    status, resumed = api.post(f"regimens/{regimen['id']}/resume", order_on(made, "1", "1"))
    assert (status, resumed["status"], resumed["order"]["total_daily_mg"]) == (200, "ACTIVE", "2")

    stop = {"reason_code": "COMPLETED", "password": PASSWORD}
    status, stopped = api.post(f"regimens/{regimen['id']}/stop", stop)
    assert (status, stopped["status"], stopped["order"]) == (200, "STOPPED", None)
    status, listed = api.get(f"orders/?patient={patient.public_id}")
    assert [each["total_daily_mg"] for each in listed["results"]] == ["2", "4", "4.5"]


def test_each_refusal_has_its_code_and_its_fields(on_tacrolimus: Regimen) -> None:
    patient = on_tacrolimus.patient
    takes(patient, "voriconazole", NOW.date())
    api = Api(patient)
    made = api.assess(patient)
    regimen = str(on_tacrolimus.public_id)

    status, body = api.post("orders", order_on(made, "1", "1", regimen=regimen, answers={}))
    assert (status, body["code"]) == (409, "unanswered_finding")
    assert set(body["fields"]) == {f"answers.{each['key']}" for each in made["questions"]}

    bare = {"regimen": regimen, "reason_code": "LEVEL_LOW", "reason_text": " "}
    status, body = api.post("orders", order_on(made, "1", "1", **bare))
    assert (status, body["code"], set(body["fields"])) == (409, "bare_override", {"reason_text"})

    status, body = api.post("orders", order_on(made, "4", "4", regimen=regimen))
    assert (status, body["code"], set(body["fields"])) == (409, "dose_not_confirmed", {"confirmed"})

    status, body = api.post("orders", order_on(made, "1", "1", regimen=regimen, password="guess"))
    assert (status, list(body["fields"])) == (400, ["password"])

    shown = {"regimen": regimen, "shown_sha256": "0" * 64}
    status, body = api.post("orders", order_on(made, "1", "1", **shown))
    assert (status, body["code"]) == (409, "shown_changed")

    recorded(patient, "potassium", "4.1", "mmol/L", NOW)
    status, body = api.post("orders", order_on(made, "1", "1", regimen=regimen))
    assert (status, body["code"]) == (409, "stale_assessment")
    assert DoseOrder.objects.count() == 1


@pytest.mark.parametrize("dose", ["1,5", "1_5", ".5", "5.", "-0", "1e1", "NaN", "１.５"])
def test_a_number_that_is_not_plain_is_refused_at_its_field(
    on_tacrolimus: Regimen, dose: str
) -> None:
    api = Api(on_tacrolimus.patient)
    made = api.assess(on_tacrolimus.patient)
    body = order_on(made, dose, "1", regimen=str(on_tacrolimus.public_id))
    status, answer = api.post("orders", body)
    assert (status, list(answer["fields"])) == (400, ["morning_mg"])


def test_a_json_number_an_unknown_key_and_a_key_given_twice_are_refused(
    on_tacrolimus: Regimen,
) -> None:
    api = Api(on_tacrolimus.patient)
    made = api.assess(on_tacrolimus.patient)
    body = order_on(made, "2", "2", regimen=str(on_tacrolimus.public_id))
    assert api.post("orders", body | {"morning_mg": 2})[0] == 400
    assert api.post("orders", body | {"decision": "ACCEPTED"})[1]["fields"].keys() == {"decision"}
    twice = json.dumps(body)[:-1] + ', "morning_mg": "20"}'
    assert api.post("orders", twice)[0] == 400
    assert DoseOrder.objects.count() == 1


def test_another_clinics_records_are_as_unknown_as_none(on_tacrolimus: Regimen) -> None:
    order = DoseOrder.objects.get()
    stranger = a_patient(a_clinic())
    api = Api(stranger)
    for path in (
        f"assessments/{order.assessment.public_id}/",
        f"regimens/{on_tacrolimus.public_id}/",
        f"orders/{order.public_id}/",
    ):
        assert api.get(path)[0] == 404
    for path in ("assessments/", "regimens/", "orders/"):
        assert api.get(path)[1]["results"] == []
    patient = str(on_tacrolimus.patient.public_id)
    assert api.post("assessments", {"patient": patient})[1]["fields"].keys() == {"patient"}
    made = api.assess(stranger)
    body = order_on(made, "2", "2", regimen=str(on_tacrolimus.public_id))
    assert api.post("orders", body)[1]["fields"].keys() == {"regimen"}
    hold = {"reason_code": "INFECTION", "password": PASSWORD}
    assert api.post(f"regimens/{on_tacrolimus.public_id}/hold", hold)[0] == 404


def test_roles_and_scopes_bound_what_may_be_signed(on_tacrolimus: Regimen) -> None:
    patient = on_tacrolimus.patient
    nurse = Api(patient, Role.NURSE)
    made = nurse.assess(patient)
    body = order_on(made, "2", "2", regimen=str(on_tacrolimus.public_id))
    assert nurse.post("orders", body)[0] == 403
    reader = Api(patient, Role.PRESCRIBER, Scope.PATIENTS_READ)
    assert reader.get("orders/")[0] == 200
    assert reader.post("orders", body)[0] == 403
    assert reader.post("assessments", {"patient": str(patient.public_id)})[0] == 403


def test_lists_cost_the_same_however_long(
    on_tacrolimus: Regimen, django_assert_num_queries: Any
) -> None:
    api = Api(on_tacrolimus.patient)
    for days in (20, 15, 10):
        ordered(on_tacrolimus, "1", f"{days / 10:g}", at=NOW - timedelta(days=days))
    for path in ("orders/", "regimens/", "assessments/"):
        with django_assert_num_queries(5 if path == "regimens/" else 3, exact=False):
            assert api.get(path)[0] == 200
