"""The API of patients and their facts: strict in, exact out, and nothing of another clinic."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient

from patients.models import CoMedication, Observation, Patient
from patients.selectors import facts_number
from tacroweb.accounts.models import Clinic
from tacroweb.accounts.roles import Role, Scope
from tacroweb.accounts.services import issue_token
from tests.factories import NOW, a_patient, a_person, by_system, recorded, takes

V1 = "/api/v1/"
NEW = {
    "mrn": "0041182207",
    "family_name": "Sato",
    "given_name": "Rin",
    "birth_date": "1960-05-01",
    "sex": "FEMALE",
    "pregnancy": None,
    "diagnosis": {"ild": True, "sard": "IIM", "anti_mda5": True},
}


def potassium(patient: Patient, **changes: Any) -> dict[str, Any]:
    body = {
        "patient": str(patient.public_id),
        "analyte": "potassium",
        "value": "4.20",
        "unit": "mmol/L",
        "drawn_at": "2026-03-01T08:00:00+01:00",
    }
    return body | changes


def test_a_patient_is_registered_read_and_corrected(api: APIClient) -> None:
    made = api.post(V1 + "patients/", NEW)
    assert made.status_code == 201, made.data
    address = f"{V1}patients/{made.data['id']}/"
    read = api.get(address).data
    assert read["pregnancy"] is None
    assert read["diagnosis"]["sard"] == "IIM"
    assert read["diagnosis"]["subtype"] is None
    assert read["facts_version"] == 1
    assert api.post(V1 + "patients/", NEW).data["fields"]["mrn"]
    refused = api.post(address + "correct/", {"family_name": "Saito"})
    assert (refused.status_code, list(refused.data["fields"])) == (400, ["reason"])
    kept = api.post(address + "correct/", {"family_name": "Saito", "reason": "misspelt"})
    assert (kept.data["family_name"], kept.data["given_name"]) == ("Saito", "Rin")
    disease = api.post(address + "diagnosis/", {"ild": True, "sard": "SSC"})
    assert disease.data["diagnosis"]["anti_mda5"] is None


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"birth_date": "2999-01-01"}, "birth_date"),
        ({"birth_date": "01.05.1960"}, "birth_date"),
        ({"sex": "X"}, "sex"),
        ({"clinic": 1}, "clinic"),
        ({"id": "5b6f3f2e-0000-4000-8000-000000000000"}, "id"),
        ({"diagnosis": {"sard": "RA", "subtype": "DM"}}, "subtype"),
    ],
)
def test_a_registration_refused_names_the_field(change: dict, field: str, api: APIClient) -> None:
    answer = api.post(V1 + "patients/", NEW | change)
    assert answer.status_code == 400
    assert field in answer.data["fields"]
    assert not Patient.objects.exists()


def test_patients_are_searched_in_the_body(api: APIClient, patient: Patient) -> None:
    found = api.post(V1 + "patients/search/", {"text": patient.mrn})
    assert [row["id"] for row in found.data] == [str(patient.public_id)]
    assert api.post(V1 + "patients/search/", {"text": "Marker"}).data == []


def test_a_result_is_recorded_exactly_and_once(api: APIClient, patient: Patient) -> None:
    body = potassium(patient)
    made = api.post(V1 + "observations/", body)
    assert made.status_code == 201, made.data
    assert made.data["value"] == "4.20"
    assert made.data["canonical_value"] == "4.2"
    assert made.data["canonical_unit"] == "mmol/L"
    again = api.post(V1 + "observations/", body | {"value": "4.2"})
    assert (again.status_code, again.data["code"]) == (409, "already_recorded")
    level = api.post(
        V1 + "observations/",
        potassium(patient, analyte="11253-2", value="<2.0", unit="ng/mL", hours_since_dose="12.5"),
    )
    assert (level.data["analyte"], level.data["comparator"]) == ("tacrolimus-trough", "<")
    assert level.data["hours_since_dose"] == "12.5"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"value": 4.2}, "value"),
        ({"value": 4}, "value"),
        ({"value": "4,2"}, "value"),
        ({"value": "4_2"}, "value"),
        ({"value": "４.2"}, "value"),
        ({"value": "1e1"}, "value"),
        ({"value": "NaN"}, "value"),
        ({"value": "400"}, "value"),
        ({"hours_since_dose": 12}, "hours_since_dose"),
        ({"hours_since_dose": "12.555"}, "hours_since_dose"),
        ({"unit": "mg/L"}, "unit"),
        ({"unit": ""}, "unit"),
        ({"analyte": "nonsense"}, "analyte"),
        ({"analyte": 7}, "analyte"),
        ({"drawn_at": "2026-03-01T08:00:00"}, "drawn_at"),
        ({"drawn_at": "2999-03-01T08:00:00Z"}, "drawn_at"),
        ({"drawn_at": "1950-03-01T08:00:00Z"}, "drawn_at"),
        ({"patient": "00000000-0000-4000-8000-000000000000"}, "patient"),
        ({"patient": "x"}, "patient"),
        ({"hours_since_doze": "12"}, "hours_since_doze"),
    ],
)
def test_a_result_refused_names_the_field_and_writes_nothing(
    change: dict, field: str, api: APIClient, patient: Patient
) -> None:
    answer = api.post(V1 + "observations/", potassium(patient) | change)
    assert answer.status_code == 400
    assert list(answer.data["fields"]) == [field]
    assert not Observation.objects.exists()


def test_a_key_sent_twice_is_refused(api: APIClient, patient: Patient) -> None:
    body = '{"value": "4.2", "value": "42"}'
    answer = api.generic("POST", V1 + "observations/", body, content_type="application/json")
    assert answer.status_code == 400
    assert "twice" in answer.json()["message"]


def test_a_result_is_corrected_and_withdrawn(api: APIClient, patient: Patient) -> None:
    first = api.post(V1 + "observations/", potassium(patient)).data
    body = {"value": "5.2", "unit": "mmol/L", "drawn_at": first["drawn_at"]}
    address = f"{V1}observations/{first['id']}/"
    assert list(api.post(address + "correct/", body).data["fields"]) == ["reason"]
    right = api.post(address + "correct/", body | {"reason": "misread"})
    assert (right.status_code, right.data["replaces"]) == (201, first["id"])
    assert api.get(address).status_code == 404
    listed = api.get(V1 + "observations/", {"patient": str(patient.public_id)}).data["results"]
    assert [row["value"] for row in listed] == ["5.2"]
    address = f"{V1}observations/{right.data['id']}/withdraw/"
    assert api.post(address, {"reason": "not hers"}).status_code == 200
    assert api.post(address, {"reason": "not hers"}).status_code == 404


def test_a_drug_is_recorded_stopped_corrected_and_withdrawn(
    api: APIClient, patient: Patient
) -> None:
    body = {"patient": str(patient.public_id), "drug": "Rifampicin", "started_on": "2026-02-01"}
    made = api.post(V1 + "co-medications/", body | {"daily_dose_mg": "600", "route": "ORAL"})
    assert made.status_code == 201, made.data
    assert (made.data["drug"], made.data["checked"]) == ("rifampin", True)
    assert made.data["daily_dose_mg"] == "600"
    address = f"{V1}co-medications/{made.data['id']}/"
    stopped = api.post(address + "stop/", {"stopped_on": "2026-02-20"})
    assert stopped.data["stopped_on"] == "2026-02-20"
    assert api.post(address + "stop/", {"stopped_on": "2026-02-20"}).status_code == 409
    assert api.post(address + "correct/", {"route": "IV"}).status_code == 400
    right = api.post(address + "correct/", {"route": "IV", "reason": "an infusion"})
    assert (right.data["route"], right.data["drug"]) == ("IV", "rifampin")
    assert api.post(address + "withdraw/", {"reason": "never taken"}).status_code == 200
    assert api.get(address).status_code == 404


def test_a_dose_is_changed_and_the_one_before_is_kept(api: APIClient, patient: Patient) -> None:
    body = {"patient": str(patient.public_id), "drug": "prednisone", "started_on": "2026-02-01"}
    made = api.post(V1 + "co-medications/", body | {"daily_dose_mg": "40"}).data
    assert (made["dose_changed_on"], made["daily_dose_before_mg"]) == (None, None)
    address = f"{V1}co-medications/{made['id']}/"
    change = {"daily_dose_mg": "30", "on": "2026-02-20", "reason": "taper"}
    now = api.post(address + "change-dose/", change)
    assert now.status_code == 200, now.data
    assert (now.data["daily_dose_mg"], now.data["daily_dose_before_mg"]) == ("30", "40")
    assert now.data["dose_changed_on"] == "2026-02-20"
    assert now.data["doses_before"] == [{"until": "2026-02-20", "daily_dose_mg": "40"}]
    for wrong, field in (
        ({"daily_dose_mg": 20}, "daily_dose_mg"),
        ({"daily_dose_mg": "30"}, "daily_dose_mg"),
        ({"daily_dose_mg": "20", "on": "2026-02-19"}, "on"),
        ({"daily_dose_mg": "20", "on": None}, "on"),
        ({"dose": "20"}, "dose"),
    ):
        answer = api.post(address + "change-dose/", change | wrong)
        assert (answer.status_code, list(answer.data["fields"])) == (400, [field])
    right = {"daily_dose_before_mg": "45", "reason": "misread"}
    assert api.post(address + "correct/", right).data["daily_dose_before_mg"] == "45"
    refused = api.post(V1 + "co-medications/", body | {"dose_changed_on": "2026-02-20"})
    assert list(refused.data["fields"]) == ["dose_changed_on"]


def test_circumstances_are_kept_and_refused_at_their_field(
    api: APIClient, patient: Patient
) -> None:
    address = f"{V1}patients/{patient.public_id}/"
    kept = api.post(address + "correct/", {"contraception": True, "child_pugh": 11})
    assert (kept.data["contraception"], kept.data["child_pugh"]) == (True, 11)
    for wrong in (4, 16, "7", 7.5):
        answer = api.post(address + "correct/", {"child_pugh": wrong})
        assert (answer.status_code, list(answer.data["fields"])) == (400, ["child_pugh"])
    unknown = {"contraception": None, "child_pugh": None}
    assert api.post(address + "correct/", unknown).data["child_pugh"] is None


def test_a_serious_infection_ends_with_its_documentation(api: APIClient, patient: Patient) -> None:
    body = {"patient": str(patient.public_id), "kind": "INFECTION", "grade": 3}
    body["started_on"] = "2026-02-01"
    made = api.post(V1 + "events/", body).data
    address = f"{V1}events/{made['id']}/resolve/"
    bare = api.post(address, {"resolved_on": "2026-02-03"})
    assert (bare.status_code, list(bare.data["fields"])) == (400, ["resolution"])
    ended = api.post(address, {"resolved_on": "2026-02-03", "resolution": "cultures negative"})
    assert ended.data["resolution"] == "cultures negative"


def test_a_drug_outside_the_vocabulary_comes_back_unchecked(
    api: APIClient, patient: Patient
) -> None:
    body = {"patient": str(patient.public_id), "drug": "unlisted"}
    assert list(api.post(V1 + "co-medications/", body).data["fields"]) == ["name"]
    for drug in ({"drug": "unlisted", "name": "moon tea"}, {"drug": "sun tea"}):
        made = api.post(V1 + "co-medications/", body | drug)
        assert (made.data["drug"], made.data["checked"]) == ("unlisted", False)
        assert made.data["name"].endswith("tea")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"daily_dose_mg": 600}, "daily_dose_mg"),
        ({"daily_dose_mg": "0"}, "daily_dose_mg"),
        ({"daily_dose_mg": "1,5"}, "daily_dose_mg"),
        ({"started_on": "2999-01-01"}, "started_on"),
        ({"route": "EAR"}, "route"),
    ],
)
def test_a_drug_refused_names_the_field(
    change: dict, field: str, api: APIClient, patient: Patient
) -> None:
    body = {"patient": str(patient.public_id), "drug": "fluconazole"} | change
    answer = api.post(V1 + "co-medications/", body)
    assert (answer.status_code, list(answer.data["fields"])) == (400, [field])
    assert not CoMedication.objects.exists()


def test_events_and_vaccines(api: APIClient, patient: Patient) -> None:
    whose = {"patient": str(patient.public_id)}
    event = api.post(
        V1 + "events/", whose | {"kind": "TREMOR", "grade": 2, "started_on": "2026-02-01"}
    )
    assert event.status_code == 201, event.data
    address = f"{V1}events/{event.data['id']}/"
    assert api.post(address + "resolve/", {"resolved_on": "2026-01-01"}).status_code == 400
    resolved = api.post(address + "resolve/", {"resolved_on": "2026-02-03"})
    assert resolved.data["resolved_on"] == "2026-02-03"
    assert api.post(address + "resolve/", {"resolved_on": "2026-02-03"}).status_code == 409
    assert api.post(address + "withdraw/", {"reason": "another patient"}).status_code == 200
    planned = (timezone.now() + timedelta(days=9)).date().isoformat()
    vaccine = api.post(V1 + "immunisations/", whose | {"vaccine": "J07BL01", "planned_on": planned})
    assert vaccine.status_code == 201, vaccine.data
    address = f"{V1}immunisations/{vaccine.data['id']}/"
    given = api.post(address + "give/", {"given_on": "2026-02-03"})
    assert (given.data["planned_on"], given.data["given_on"]) == (None, "2026-02-03")
    assert api.post(V1 + "immunisations/", whose | {"vaccine": "the usual"}).status_code == 400


def test_another_clinics_patient_is_as_unknown_as_none(
    api: APIClient, stranger: Patient, patient: Patient
) -> None:
    rows = {
        "observations": recorded(stranger, "potassium", "4.2", "mmol/L", NOW).pk,
        "co-medications": takes(stranger, "fluconazole").pk,
    }
    before = facts_number(stranger)
    assert api.get(f"{V1}patients/{stranger.public_id}/").status_code == 404
    assert api.post(f"{V1}patients/{stranger.public_id}/correct/", {}).status_code == 404
    nobody = {"patient": "00000000-0000-4000-8000-000000000000"}
    for name, more in (
        ("observations", potassium(stranger)),
        ("co-medications", {"drug": "fluconazole"}),
        ("events", {"kind": "TREMOR", "started_on": "2026-02-01"}),
        ("immunisations", {"vaccine": "J07BL01", "given_on": "2026-02-01"}),
    ):
        theirs = api.post(f"{V1}{name}/", more | {"patient": str(stranger.public_id)})
        unknown = api.post(f"{V1}{name}/", more | nobody)
        assert theirs.status_code == unknown.status_code == 400
        assert theirs.data == unknown.data
        listed = api.get(f"{V1}{name}/", {"patient": str(stranger.public_id)})
        assert listed.data["results"] == []
        assert api.get(f"{V1}{name}/").data["results"] == []
    for name, pk in rows.items():
        assert api.get(f"{V1}{name}/{pk}/").status_code == 404
        assert api.post(f"{V1}{name}/{pk}/withdraw/", {"reason": "x"}).status_code == 404
    assert facts_number(stranger) == before


def test_a_token_reads_only_what_its_scope_allows(clinic: Clinic, patient: Patient) -> None:
    _, key = issue_token(
        user=a_person(clinic, Role.API_CLIENT),
        clinic=clinic,
        name="laboratory",
        scopes=[Scope.PATIENTS_READ],
        expires_at=timezone.now() + timedelta(days=1),
        by=by_system(clinic),
    )
    program = APIClient(HTTP_AUTHORIZATION=f"Bearer {key}")
    assert program.get(V1 + "patients/").status_code == 200
    assert program.post(V1 + "observations/", potassium(patient)).status_code == 403
    assert APIClient().get(V1 + "patients/").status_code == 401
    assert not Observation.objects.exists()


@pytest.mark.parametrize("name", ["patients", "observations", "co-medications"])
def test_a_list_costs_the_same_for_any_number_of_rows(
    name: str, api: APIClient, clinic: Clinic
) -> None:
    counts = []
    for more in (1, 6):
        for number in range(more):
            patient = a_patient(clinic, weight_kg=None)
            recorded(patient, "potassium", f"4.{number}", "mmol/L", NOW)
            takes(patient, "fluconazole")
        with CaptureQueriesContext(connection) as seen:
            answer = api.get(f"{V1}{name}/")
        assert answer.status_code == 200
        counts.append(len(seen))
    assert counts[0] == counts[1] <= 6


def test_nothing_is_put_patched_or_deleted(api: APIClient, patient: Patient) -> None:
    row = recorded(patient, "potassium", "4.2", "mmol/L", NOW)
    for address in (f"{V1}patients/{patient.public_id}/", f"{V1}observations/{row.pk}/"):
        for method in ("put", "patch", "delete"):
            assert getattr(api, method)(address, {}).status_code in (403, 405)
    row.refresh_from_db()
    assert not row.withdrawn
