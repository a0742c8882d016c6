"""The main job by a program with a token: J1, start and adjust; J2, an azole comes and goes."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.core.management import call_command
from django.test import Client

from tacroweb.accounts.models import Clinic
from tacroweb.accounts.roles import Role, Scope
from tacroweb.accounts.services import issue_token
from tacroweb.audit.verify import verify
from tests.factories import PASSWORD, a_clinic, a_person, by_system

pytestmark = pytest.mark.django_db(transaction=True)

START = datetime(2026, 11, 2, 9, tzinfo=UTC)  # a Monday, 10:00 in Berlin


class Api:
    """A program that holds one token and speaks JSON."""

    def __init__(self, key: str) -> None:
        self.client = Client(headers={"Authorization": f"Bearer {key}"})

    def get(self, path: str, **query: str) -> Any:
        response = self.client.get(f"/api/v1/{path}/", query)
        assert response.status_code == 200, response.content
        return response.json()

    def post(self, path: str, expect: int = 201, **body: Any) -> Any:
        response = self.client.post(
            f"/api/v1/{path}/", json.dumps(body), content_type="application/json"
        )
        assert response.status_code == expect, response.content
        return response.json()


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(START, tick=True) as traveller:
        yield traveller


@pytest.fixture
def clinic(clock: time_machine.Traveller, transactional_db: None) -> Clinic:
    call_command("seed_rules", verbosity=0)
    return a_clinic("North")


@pytest.fixture
def api(clinic: Clinic) -> Api:
    """A prescriber's own program, allowed everything that a token can be allowed."""
    prescriber = a_person(clinic, Role.PRESCRIBER, username="sato")
    _, key = issue_token(
        user=prescriber,
        clinic=clinic,
        name="journey",
        scopes=list(Scope),
        expires_at=START + timedelta(days=90),
        by=by_system(clinic),
    )
    return Api(key)


@pytest.fixture
def patient(api: Api) -> str:
    """Registered through the API, with weight and height; the id."""
    patient = api.post(
        "patients",
        mrn="0041182207",
        family_name="Okafor",
        given_name="Amara",
        birth_date="1971-03-14",
        sex="FEMALE",
        pregnancy="NO",
        lactating=False,
        infection_risk="STANDARD",
        hcv_antiviral_course=False,
        allergy_status="NONE_KNOWN",
        diagnosis={
            "ild": True,
            "sard": "IIM",
            "subtype": "CADM",
            "anti_mda5": True,
            "severe_at_presentation": True,
            "rapidly_progressive": False,
            "line": "FIRST",
        },
    )["id"]
    for analyte, value, unit in (("weight", "61.5", "kg"), ("height", "162", "cm")):
        result(api, patient, analyte, value, unit)
    return patient


def result(api: Api, patient: str, analyte: str, value: str, unit: str, **more: str) -> Any:
    drawn_at = (datetime.now(tz=UTC) - timedelta(hours=1)).isoformat(timespec="seconds")
    return api.post(
        "observations",
        patient=patient,
        analyte=analyte,
        value=value,
        unit=unit,
        **({"drawn_at": drawn_at} | more),
    )


def answers(assessment: Any) -> dict[str, Any]:
    return {
        question["key"]: {"reason": "ACKNOWLEDGED" if question["acknowledge"] else "WILL_MONITOR"}
        for question in assessment["questions"]
    }


def codes(assessment: Any) -> set[str]:
    return {finding["code"] for finding in assessment["advice"]["findings"]}


def started(api: Api, patient: str) -> Any:
    """Prograf as proposed; the regimen."""
    assessment = api.post("assessments", patient=patient)
    proposal = assessment["advice"]["proposal"]
    return api.post(
        "regimens",
        patient=patient,
        formulation="IR",
        brand="Prograf",
        assessment=assessment["id"],
        morning_mg=proposal["morning_mg"],
        evening_mg=proposal["evening_mg"],
        reason_code="START",
        answers=answers(assessment),
        password=PASSWORD,
    )


def ordered(api: Api, regimen: str, assessment: Any, reason_code: str, **more: Any) -> Any:
    """The next dose, as proposed unless `more` says otherwise."""
    proposal = assessment["advice"]["proposal"]
    body = {
        "regimen": regimen,
        "assessment": assessment["id"],
        "morning_mg": proposal["morning_mg"],
        "evening_mg": proposal["evening_mg"],
        "reason_code": reason_code,
        "answers": answers(assessment),
        "password": PASSWORD,
    }
    return api.post("orders", **(body | more))


def test_j1_baseline_start_trough_adjust(
    api: Api, patient: str, clock: time_machine.Traveller
) -> None:
    first = api.post("assessments", patient=patient)
    assert {"BASE-GATE", "BASE-POTASSIUM"} <= codes(first)

    result(api, patient, "potassium", "4.2", "mmol/L")
    start = {
        "patient": patient,
        "formulation": "IR",
        "brand": "Prograf",
        "assessment": first["id"],
        "morning_mg": "2.5",
        "evening_mg": "2",
        "reason_code": "START",
        "answers": answers(first),
        "password": PASSWORD,
    }
    stale = api.post("regimens", expect=409, **start)
    assert stale["code"] == "stale_assessment"
    fresh = api.post("assessments", patient=patient)
    assert "BASE-POTASSIUM" not in codes(fresh)
    proposal = fresh["advice"]["proposal"]
    assert proposal["arithmetic"].startswith("0.075 mg/kg/day × 61.5 kg = 4.61")

    start |= {"assessment": fresh["id"]}
    silent = api.post("regimens", expect=409, **(start | {"answers": {}}))
    assert silent["code"] == "unanswered_finding"
    assert "answers.BASE-GATE" in silent["fields"]
    wrong = api.post("regimens", expect=400, **(start | {"password": "guessed"}))
    assert "password" in wrong["fields"]
    bare = start | {"morning_mg": "3", "answers": answers(fresh)}
    assert api.post("regimens", expect=409, **bare)["code"] == "bare_override"
    assert api.get("orders", patient=patient)["results"] == []

    regimen = api.post("regimens", **(start | {"answers": answers(fresh)}))
    assert regimen["order"]["total_daily_mg"] == "4.5"
    assert regimen["order"]["decision"] == "ACCEPTED"
    assert regimen["order"]["signature"]["printed_name"] == "Robin Sato"
    due = api.get("tasks", patient=patient, status="OPEN")["results"]
    (task,) = [each for each in due if each["analyte"] == "tacrolimus-trough"]
    assert task["due_on"] == "2026-11-05"
    assert {"creatinine", "potassium", "wbc", "alt"} <= {each["analyte"] for each in due}

    clock.move_to(START + timedelta(days=4))
    trough = result(api, patient, "tacrolimus-trough", "14.6", "ng/mL", hours_since_dose="12")
    done = api.get(f"tasks/{task['id']}")
    assert (done["status"], done["observation"]) == ("DONE", trough["id"])
    review = api.post("assessments", patient=patient)
    assert review["intent"] == "REVIEW"
    lower = review["advice"]["proposal"]
    assert lower["action"] == "CHANGE"
    assert Decimal(lower["total_daily_mg"]) < Decimal("4.5")
    order = ordered(api, regimen["id"], review, "LEVEL_HIGH")
    assert order["rule_book"] == review["rule_book"]

    newest, oldest = api.get("orders", patient=patient)["results"]
    assert newest["id"] == order["id"]
    assert oldest["closed_at"] == newest["since"]
    acts = api.get("history", patient=patient, act="Dose changed")["results"]
    assert [(act["person"], act["channel"]) for act in acts] == [("Robin Sato", "API")]
    assert acts[0]["reason"] == "Level above target"
    rows = api.get(f"history/{acts[0]['id']}")["rows"]
    assert any(row["title"].startswith("Dose order: ") and row["is_new"] for row in rows)
    assert verify().breaks == ()


def test_j2_an_azole_comes_and_goes(api: Api, patient: str, clock: time_machine.Traveller) -> None:
    regimen = started(api, patient)
    clock.move_to(START + timedelta(days=14))
    today = date(2026, 11, 16)
    taken = api.post(
        "co-medications",
        patient=patient,
        drug="voriconazole",
        route="ORAL",
        started_on=today.isoformat(),
    )
    assert taken["checked"] is True
    with_azole = api.post("assessments", patient=patient)
    proposal = with_azole["advice"]["proposal"]
    assert proposal["arithmetic"].startswith("4.5 mg/day × 1/3 = 1.5 mg/day")
    due = api.get("tasks", patient=patient, status="OPEN", overdue="false")["results"]
    early = [task for task in due if "S41" in task["statements"]]
    assert [task["analyte"] for task in early] == ["tacrolimus-trough"]
    assert date.fromisoformat(early[0]["latest_on"]) <= today + timedelta(days=3)
    reduced = ordered(api, regimen["id"], with_azole, "INHIBITOR_STARTED")
    assert reduced["total_daily_mg"] == "1.5"

    clock.move_to(START + timedelta(days=28))
    stopped_on = date(2026, 11, 30).isoformat()
    api.post(f"co-medications/{taken['id']}/stop", expect=200, stopped_on=stopped_on)
    without = api.post("assessments", patient=patient)
    statements = {
        statement
        for finding in without["advice"]["findings"]
        for statement in finding["statements"]
    }
    assert statements & {"S52", "S53"}
    acts = [act["act"] for act in api.get("history", patient=patient)["results"]]
    assert acts.count("Dose changed") == 1
    assert {"Drug recorded", "Drug stopped"} <= set(acts)
    assert verify().breaks == ()


def test_a_token_of_another_clinic_finds_nothing_of_this_patient(
    api: Api, patient: str, clinic: Clinic
) -> None:
    regimen = started(api, patient)
    south = a_clinic("South")
    _, key = issue_token(
        user=a_person(south, Role.PRESCRIBER),
        clinic=south,
        name="theirs",
        scopes=list(Scope),
        expires_at=START + timedelta(days=1),
        by=by_system(south),
    )
    theirs = Api(key)
    for path in (
        f"patients/{patient}",
        f"regimens/{regimen['id']}",
        f"orders/{regimen['order']['id']}",
        f"assessments/{regimen['order']['assessment']}",
    ):
        assert theirs.client.get(f"/api/v1/{path}/").status_code == 404, path
    for resource in (
        "patients", "observations", "co-medications", "events", "assessments", "regimens",
        "orders", "tasks",
    ):  # fmt: skip
        assert theirs.get(resource)["results"] == [], resource
    assert "Okafor" not in json.dumps(theirs.get("history"))
    theirs.post("assessments", expect=400, patient=patient)
    theirs.post(
        f"regimens/{regimen['id']}/stop",
        expect=404,
        reason_code="OTHER",
        reason_text="mine",
        password=PASSWORD,
    )
