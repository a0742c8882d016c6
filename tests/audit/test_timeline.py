"""What the auditor reads: who, when, through what, why, and every field old and new in words."""

import csv
import io
import json
import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from dosing.rules.services import draft_book
from monitoring.services import review_patient
from patients.models import Patient
from patients.services import correct_patient, stop_co_medication
from tacroweb.accounts.models import Clinic
from tacroweb.accounts.roles import Role
from tacroweb.audit.append_only import drop_triggers
from tacroweb.audit.ledger import service
from tacroweb.audit.models import LedgerEntry
from tacroweb.audit.signature import Signature
from tacroweb.audit.timeline import REVIEW, acts_about, in_words, visible_acts
from tacroweb.audit.views import ROWS, inert
from tests.dosing.conftest import started
from tests.factories import NOW, a_clinic, a_patient, a_person, a_signature, recorded, takes


@pytest.fixture
def clinic(db: None) -> Clinic:
    call_command("seed_rules", verbosity=0)
    return a_clinic("North")


@pytest.fixture
def patient(clinic: Clinic) -> Patient:
    return a_patient(clinic, mrn="0041182207", weight_kg=None)


@pytest.fixture
def auditor(clinic: Clinic, client: Client) -> Client:
    client.force_login(a_person(clinic, Role.AUDITOR, username="auditor"))
    return client


def told(patient: Patient) -> dict[str, list[tuple[str, str | None, str | None]]]:
    """Of the newest act about the patient: each row's title and changes."""
    subject = patient.audit_subject()
    newest = list(acts_about(patient.clinic, subject)[:1])
    return {row.title: list(row.changes) for row in in_words(newest, subject=subject)[0].rows}


def test_a_correction_says_each_field_old_and_new(patient: Patient) -> None:
    by = a_signature(patient.clinic, reason="Misread passport.")
    correct_patient(
        patient=patient, family_name="Okafor-Lind", birth_date=date(1972, 3, 14), at=NOW, by=by
    )
    assert told(patient) == {
        "Patient: OKAFOR-LIND, Amara": [
            ("Family name", "Okafor", "Okafor-Lind"),
            ("Birth date", "14-Mar-1971", "14-Mar-1972"),
        ]
    }
    assert acts_about(patient.clinic, patient.audit_subject())[0].reason == "Misread passport."


def test_a_result_is_told_with_its_unit_and_the_clinics_time(patient: Patient) -> None:
    recorded(patient, "tacrolimus-trough", "7.0", "ng/mL", NOW, hours_since_dose="12")
    with timezone.override(patient.clinic.zone):
        (title, changes) = next(iter(told(patient).items()))
    assert title.endswith("7.0\N{NO-BREAK SPACE}ng/mL")
    said = {name: new for name, _, new in changes}
    assert said["Drawn"] == "02-Mar-2026 10:00"
    assert said["Hours since dose"] in ("12", "12\N{NO-BREAK SPACE}h")
    assert "Withdrawn" not in said


def test_a_drug_is_told_by_its_name_and_choices_by_their_words(patient: Patient) -> None:
    taken = takes(patient, "voriconazole", date(2026, 3, 1))
    (title, changes) = next(iter(told(patient).items()))
    assert title == "Co-medication: voriconazole"
    assert ("Drug", None, "voriconazole") in changes
    assert ("Route", None, "Oral") in changes
    by = a_signature(patient.clinic)
    stop_co_medication(
        co_medication=taken, stopped_on=date(2026, 3, 9), at=NOW + timedelta(9), by=by
    )
    assert ("Stopped", None, "09-Mar-2026") in told(patient)[title]


def test_a_dose_change_links_to_why_and_says_the_reason(patient: Patient, auditor: Client) -> None:
    order = started(patient)
    newest = acts_about(patient.clinic, patient.audit_subject())[0]
    assert (newest.act, newest.reason) == ("Tacrolimus started", "agreed at the board")
    page = auditor.get(reverse("audit:patient", args=[patient.public_id]))
    why = reverse("dosing:why", args=[patient.public_id, order.public_id])
    assert f'href="{why}"' in page.content.decode()
    assert auditor.get(why).status_code == 200
    text = page.content.decode().replace("\N{NO-BREAK SPACE}", " ")
    assert "Dose order: 3 mg a day" in text
    assert "1.5 mg" in text
    assert "1.50" not in text


def test_a_line_of_an_import_shows_in_each_patients_timeline_only_its_own_rows(
    clinic: Clinic, patient: Patient
) -> None:
    other = a_patient(clinic, weight_kg=None)
    values = ((patient, "4.1"), (other, "4.9"))

    @service("Results imported")
    def imported(*, by: Signature) -> None:
        for who, value in values:
            recorded(who, "potassium", value, "mmol/L", NOW, by=by)

    imported(by=a_signature(clinic))
    for who, value in values:
        (title,) = told(who)
        assert title.endswith(f" {value}\N{NO-BREAK SPACE}mmol/L")


def test_the_number_of_queries_does_not_depend_on_the_acts(
    patient: Patient, auditor: Client, django_assert_max_num_queries
) -> None:
    url = reverse("audit:patient", args=[patient.public_id])

    def queries() -> int:
        with django_assert_max_num_queries(100) as captured:
            assert auditor.get(url).status_code == 200
        return len(captured)

    def more(day: int) -> None:
        recorded(patient, "potassium", "4.1", "mmol/L", NOW + timedelta(day))
        takes(patient, "voriconazole", date(2026, 3, 1) + timedelta(day), at=NOW + timedelta(day))

    more(1)
    few = queries()
    for day in range(2, 10):
        more(day)
    assert queries() == few


def shown_in(page: Any) -> list[int]:
    """The acts of a page of the timeline, newest first, those under another act with it."""
    lines = page.context["lines"]
    return [one.entry.pk for line in lines for one in (*line.reviews, line)]


def test_a_review_stands_folded_under_the_act_that_set_it_off(
    patient: Patient, auditor: Client
) -> None:
    started(patient)
    by = a_signature(patient.clinic)
    recorded(patient, "potassium", "4.1", "mmol/L", NOW, by=by)
    assert review_patient(patient=patient, at=NOW + timedelta(hours=1), by=by)
    url = reverse("audit:patient", args=[patient.public_id])
    first = auditor.get(url)
    line = first.context["lines"][0]
    assert line.entry.act != REVIEW
    assert [one.entry.act for one in line.reviews] == [REVIEW]
    assert re.search(r"Then the tasks were reviewed: \d+ opened</summary>", first.content.decode())
    alone = auditor.get(reverse("audit:acts"), {"act": REVIEW})
    assert {one.entry.act for one in alone.context["lines"]} == {REVIEW}


def test_a_drafted_book_says_how_many_rows_it_copied_and_pages_them(
    clinic: Clinic, auditor: Client
) -> None:
    by = a_signature(clinic, role=Role.RULE_EDITOR, reason="Voriconazole again.")
    book = draft_book(at=NOW, by=replace(by, clinic_id=None))
    entry = visible_acts(clinic)[0]
    rows = len(json.loads(entry.text)["rows"])
    told = f"{rows - 1} rows copied from rule book {book.based_on}, none changed"
    listed = auditor.get(reverse("audit:acts")).content.decode()
    assert f"<summary>{told}</summary>" in listed
    first = auditor.get(reverse("audit:entry", args=[entry.pk]))
    assert told in first.content.decode()
    assert len(first.context["line"].rows) == ROWS
    end = auditor.get(reverse("audit:entry", args=[entry.pk]), {"page": "999"})
    assert len(end.context["line"].rows) == (rows - 1) % ROWS + 1


def test_an_act_of_many_rows_says_of_what_and_folds_them(patient: Patient, auditor: Client) -> None:
    several_recorded(patient=patient, by=a_signature(patient.clinic))
    page = auditor.get(reverse("audit:patient", args=[patient.public_id])).content.decode()
    assert "<summary>5 rows: Result (5)</summary>" in page


@service("Results recorded together")
def several_recorded(*, patient: Patient, by: Signature) -> None:
    """Five results in one act, as an upload writes them."""
    for day in range(5):
        recorded(patient, "potassium", "4.1", "mmol/L", NOW + timedelta(day), by=by)


def test_pages_go_on_where_the_last_one_ended(patient: Patient, auditor: Client) -> None:
    for day in range(30):
        recorded(patient, "potassium", "4.1", "mmol/L", NOW + timedelta(day))
    url = reverse("audit:patient", args=[patient.public_id])
    seen: list[int] = []
    page = auditor.get(url)
    seen += shown_in(page)
    assert len(seen) == 20
    while page.context["older"]:
        page = auditor.get(url, {"before": page.context["older"]})
        seen += shown_in(page)
    assert seen == sorted(set(seen), reverse=True)
    assert len(seen) == acts_about(patient.clinic, patient.audit_subject()).count()
    assert auditor.get(url, {"before": "x"}).status_code == 404


def test_the_auditor_finds_a_patient_by_number_or_name_but_opens_no_chart(
    patient: Patient, auditor: Client
) -> None:
    url = reverse("audit:patient", args=[patient.public_id])
    for text in ("0041182207", "004 118 2207", "okafor amara"):
        assert auditor.post(reverse("audit:find"), {"text": text}).url == url
    assert b"No patient of this clinic" in auditor.post("/audit/find/", {"text": "Nobody"}).content
    asked = auditor.get("/audit/find/")
    assert asked.status_code == 200
    assert b"Find" in asked.content
    assert b"No patient of this clinic" not in asked.content
    assert auditor.get(reverse("chart", args=[patient.public_id])).status_code == 403
    a_patient(patient.clinic, given_name="Bea", weight_kg=None)
    both = auditor.post(reverse("audit:find"), {"text": "okafor"})
    assert len(both.context["patients"]) == 2


def test_of_another_clinic_nothing_is_found(patient: Patient, client: Client) -> None:
    south = a_clinic("South")
    client.force_login(a_person(south, Role.AUDITOR, Role.PRESCRIBER))
    entry = acts_about(patient.clinic, patient.audit_subject())[0]
    for url in (
        reverse("audit:patient", args=[patient.public_id]),
        reverse("audit:entry", args=[entry.pk]),
        f"/api/v1/history/{entry.pk}/",
    ):
        assert client.get(url).status_code == 404
    assert b"Okafor" not in client.get(reverse("audit:acts")).content
    assert b"OKAFOR" not in client.post(reverse("audit:find"), {"text": "okafor"}).content
    assert b"0041182207" not in b"".join(client.get(reverse("audit:export")))
    theirs = client.get("/api/v1/history/", {"patient": str(patient.public_id)}).json()
    assert theirs["results"] == []


def test_of_the_installation_only_vocabulary_and_rules_are_shown(clinic: Clinic) -> None:
    shared = visible_acts(clinic).filter(chain__name="system")
    subjects = {row.subject.partition(":")[0] for act in shared for row in act.subjects.all()}
    assert subjects >= {"drug", "analyte", "rulebook"}
    assert not subjects & {"user", "clinic", "membership", "apitoken", "patient"}


def test_acts_are_filtered_by_person_act_channel_and_day(
    clinic: Clinic, patient: Patient, auditor: Client
) -> None:
    nurse = a_person(clinic, Role.NURSE, username="nils")
    by = a_signature(clinic, user=nurse, role=Role.NURSE)
    recorded(patient, "potassium", "4.1", "mmol/L", NOW, by=by)

    page = auditor.get(reverse("audit:acts"), {"person": "nils"}).content.decode()
    assert "OKAFOR, Amara" in page

    def shown(**asked: str) -> set[str]:
        page = auditor.get(reverse("audit:acts"), asked)
        assert page.status_code == 200
        return {line.entry.actor_name for line in page.context["lines"]}

    assert shown(person="nils") == {"Robin Nils"}
    assert shown(act="result", channel="WEB") == {"Robin Nils"}
    assert shown(channel="TASK") == set()
    today = f"{datetime.now(tz=clinic.zone):%Y-%m-%d}"
    assert "Robin Nils" in shown(since=today, until=today)
    assert shown(until="2020-01-01") == set()
    wrong = auditor.get(reverse("audit:acts"), {"since": today, "until": "2020-01-01"})
    assert b"before the first" in wrong.content
    for ends in ({"since": "0001-01-01"}, {"until": "9999-12-31"}):
        assert b"Check the year" in auditor.get(reverse("audit:acts"), ends).content
        assert auditor.get(reverse("audit:export"), ends).status_code == 400


def test_an_act_is_shown_whole_and_says_whether_it_verifies(
    patient: Patient, auditor: Client
) -> None:
    entry = acts_about(patient.clinic, patient.audit_subject()).last()
    url = reverse("audit:entry", args=[entry.pk])
    page = auditor.get(url).content.decode()
    assert "This entry and its rows verify" in page
    assert entry.hash in page
    assert entry.prev_hash in page
    connection.check_constraints()
    drop_triggers(connection)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE patients_historicalpatient SET family_name = 'Nobody'")
    assert "This evidence does not hold" in auditor.get(url).content.decode()


def test_the_export_holds_the_filtered_acts_and_no_formula(
    clinic: Clinic, patient: Patient, auditor: Client
) -> None:
    by = a_signature(clinic, reason="=HYPERLINK(1)")
    correct_patient(
        patient=patient, family_name="Lind", birth_date=date(1971, 3, 14), at=NOW, by=by
    )
    response = auditor.get(reverse("audit:export"), {"act": "correct"})
    text = b"".join(response.streaming_content).decode()
    (row,) = csv.DictReader(io.StringIO(text))
    assert row["reason"] == "'=HYPERLINK(1)"
    assert row["patients"] == "0041182207"
    entry = LedgerEntry.objects.latest("pk")
    assert row["hash"] == entry.hash
    by_its_clock = entry.recorded_at.astimezone(clinic.zone)
    assert row["time"] == by_its_clock.isoformat(timespec="seconds")
    assert by_its_clock.utcoffset() != timedelta(0)
    assert response["Content-Type"] == "text/csv; charset=utf-8"


@pytest.mark.parametrize(
    "risky", ["=1", "+1", "-1", "@x", " =1", "\t=1", "\r=1", "\N{FULLWIDTH EQUALS SIGN}1"]
)
def test_what_a_spreadsheet_would_run_is_made_inert(risky: str) -> None:
    assert inert(risky) == f"'{risky}"


@pytest.mark.parametrize("plain", ["", "Started", "3 mg", "a=b"])
def test_plain_cells_stay_as_they_are(plain: str) -> None:
    assert inert(plain) == plain


def test_without_the_permission_the_audit_is_closed(clinic: Clinic, patient: Patient) -> None:
    client = Client()
    client.force_login(a_person(clinic, Role.RULE_EDITOR))
    for name in ("acts", "export"):
        assert client.get(reverse(f"audit:{name}")).status_code == 403
    assert client.get(reverse("audit:patient", args=[patient.public_id])).status_code == 403
    assert client.get("/api/v1/history/").status_code == 403


def test_the_api_tells_the_same_history(patient: Patient, auditor: Client) -> None:
    by = a_signature(patient.clinic, reason="Misread passport.")
    correct_patient(
        patient=patient, family_name="Lind", birth_date=date(1971, 3, 14), at=NOW, by=by
    )
    listed = auditor.get("/api/v1/history/", {"patient": str(patient.public_id)}).json()
    newest = listed["results"][0]
    assert newest["reason"] == "Misread passport."
    whole = auditor.get(f"/api/v1/history/{newest['id']}/").json()
    assert whole["rows"][0]["changes"] == [{"field": "Family name", "old": "Okafor", "new": "Lind"}]
    for method in ("post", "put", "patch", "delete"):
        refused = getattr(auditor, method)(f"/api/v1/history/{newest['id']}/")
        assert refused.status_code in (403, 405)
    assert datetime.fromisoformat(newest["at"]).astimezone(UTC) > NOW
