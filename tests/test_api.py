"""The API's roof: what it reads, how it refuses, and that it describes itself."""

import base64
import json

import pytest
from django.db import OperationalError
from django.test import Client

from tacroweb.accounts.models import Clinic
from tacroweb.accounts.roles import Role
from tests.factories import a_clinic, a_person


@pytest.fixture
def clinic(db: None) -> Clinic:
    return a_clinic("North")


@pytest.fixture
def nurse(clinic: Clinic, client: Client) -> Client:
    client.force_login(a_person(clinic, Role.NURSE))
    return client


def refusal(response) -> tuple[int, str]:
    """Status and code; the body is always of the one shape."""
    body = response.json()
    assert set(body) == {"code", "message", "fields"}
    assert body["message"]
    assert isinstance(body["fields"], dict)
    return response.status_code, body["code"]


def post(client: Client, text: str | bytes, content_type: str = "application/json"):
    return client.post("/api/v1/patients/", text, content_type=content_type)


@pytest.mark.parametrize(
    "text",
    [
        '{"mrn": "1", "mrn": "2"}',
        '{"mrn": NaN}',
        '{"mrn": Infinity}',
        '{"mrn": -Infinity}',
        "{",
        '"\\ud800',
        '{"sex": "\\ud800"}',
        '{"\\uDFFF": 1}',
        b"\xff\xfe{",
        "[" * 100_000,
        '{"mrn": ' + "9" * 5_000 + "}",
    ],
)
def test_json_that_cannot_be_meant_is_refused(nurse: Client, text: str | bytes) -> None:
    assert refusal(post(nurse, text)) == (400, "parse_error")


def test_a_body_larger_than_anything_here_needs_is_not_read(nurse: Client, settings) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1_000
    assert refusal(post(nurse, json.dumps({"mrn": "1" * 2_000}))) == (413, "too_large")


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded"])
def test_another_content_type_is_refused(nurse: Client, content_type: str) -> None:
    response = post(nurse, '{"mrn": "1"}', content_type)
    assert refusal(response) == (415, "unsupported_media_type")


def test_a_key_that_is_not_read_is_refused_at_its_name(nurse: Client) -> None:
    response = post(nurse, json.dumps({"mrn": "1", "clinic": 7}))
    assert refusal(response)[0] == 400
    assert "clinic" in response.json()["fields"]


def test_a_number_with_a_point_and_no_quotes_is_refused_with_a_hint(nurse: Client) -> None:
    body = (
        '{"patient": "00000000-0000-0000-0000-000000000000", "analyte": "weight", "value": 61.5, '
    )
    body += '"unit": "kg", "drawn_at": "2026-01-01T08:00:00+01:00"}'
    response = nurse.post("/api/v1/observations/", body, content_type="application/json")
    assert refusal(response)[0] == 400
    assert "quotes" in str(response.json()["fields"]["value"])


@pytest.mark.parametrize("position", ["p=abc", "p=1e400", "p=" + "9" * 30, "p=2026-11-02"])
def test_a_cursor_that_no_page_has_given_leads_nowhere(nurse: Client, position: str) -> None:
    cursor = base64.b64encode(position.encode()).decode()
    response = nurse.get("/api/v1/history/", {"cursor": cursor})
    assert refusal(response) == (404, "not_found")


@pytest.mark.parametrize(
    ("path", "name", "value"),
    [
        ("patients", "patient__clinic", "2"),
        ("patients", "ordering", "clinic__name"),
        ("observations", "pateint", "00000000-0000-0000-0000-000000000000"),
        ("tasks", "overdue", "maybe"),
        ("history", "since", "0001-01-01T00:00:00+14:00"),
        ("history", "until", "9999-12-31T23:59:59-14:00"),
        ("history", "since", "yesterday"),
    ],
)
def test_a_filter_that_cannot_be_meant_is_refused_at_its_name(
    nurse: Client, path: str, name: str, value: str
) -> None:
    response = nurse.get(f"/api/v1/{path}/", {name: value})
    assert refusal(response)[0] == 400
    assert set(response.json()["fields"]) == {name}


def test_acts_are_filtered_by_instants_with_or_without_their_offset(nurse: Client) -> None:
    for since in ("2020-01-01T00:00:00+01:00", "2020-01-01 00:00"):
        everything = nurse.get("/api/v1/history/", {"since": since}).json()["results"]
        assert everything == nurse.get("/api/v1/history/").json()["results"] != []
    assert nurse.get("/api/v1/history/", {"since": "2199-01-01T00:00Z"}).json()["results"] == []


@pytest.mark.parametrize(
    "path", ["/api/v1/", "/api/v1/nothing/", "/api/", "/api/v1/history/999999/"]
)
def test_an_address_that_leads_nowhere_answers_in_json(nurse: Client, path: str) -> None:
    assert refusal(nurse.get(path)) == (404, "not_found")


def test_a_method_that_is_not_there_is_405(nurse: Client) -> None:
    assert refusal(nurse.delete("/api/v1/patients/")) == (405, "method_not_allowed")


def test_the_anonymous_are_asked_for_a_token(client: Client, db: None) -> None:
    for path in ("/api/v1/patients/", "/api/v1/schema/", "/api/v1/docs/"):
        response = client.get(path)
        assert response.status_code == 401
        assert response["WWW-Authenticate"] == "Bearer"
    assert refusal(client.get("/api/v1/patients/")) == (401, "not_authenticated")


def test_a_session_alone_writes_nothing_without_its_csrf_token(clinic: Clinic) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(a_person(clinic, Role.NURSE))
    assert refusal(post(client, "{}"))[0] == 403


def test_a_mistake_of_ours_answers_in_json_and_tells_nothing(nurse: Client, monkeypatch) -> None:
    nurse.raise_request_exception = False
    monkeypatch.setattr("tacroweb.audit.api.visible_acts", lambda clinic: 1 / 0)
    response = nurse.get("/api/v1/history/")
    assert refusal(response) == (500, "server_error")
    assert "Zero" not in response.content.decode()


def test_a_database_that_does_not_answer_is_503_and_says_what_to_do(
    nurse: Client, monkeypatch
) -> None:
    def locked(*args: object, **kwargs: object) -> None:
        raise OperationalError("database is locked")

    nurse.raise_request_exception = False
    monkeypatch.setattr("tacroweb.audit.api.visible_acts", locked)
    monkeypatch.setattr("tacroweb.views.worklist", locked)
    response, page = nurse.get("/api/v1/history/"), nurse.get("/")
    assert refusal(response) == (503, "unavailable")
    assert page.status_code == 503
    assert b"Try again in a minute" in page.content
    assert response["Retry-After"] == page["Retry-After"] == "10"


def test_the_schema_is_made_without_a_warning(nurse: Client, capsys) -> None:
    response = nurse.get("/api/v1/schema/", headers={"Accept": "application/vnd.oai.openapi+json"})
    assert response.status_code == 200
    schema = json.loads(response.content)
    said = capsys.readouterr()
    assert "warning" not in f"{said.out}{said.err}".lower()
    paths = set(schema["paths"])
    for resource in (
        "patients", "observations", "co-medications", "events", "assessments", "regimens",
        "orders", "tasks", "history",
    ):  # fmt: skip
        assert f"/api/v1/{resource}/" in paths


def test_the_browsable_page_holds_nothing_inline_and_nothing_from_outside(nurse: Client) -> None:
    page = nurse.get("/api/v1/docs/")
    assert page.status_code == 200
    text = page.content.decode()
    assert "<style" not in text
    assert "://" not in text
    script = nurse.get("/api/v1/docs/?script=")
    assert script["Content-Type"].startswith("application/javascript")
