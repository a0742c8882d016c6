"""The pages and the API on which the protocol and its rule books are read."""

import importlib
import re
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import time_machine
from django.apps import apps
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse
from django.utils.html import escape

from dosing.models import Assessment, Intent, Regimen, StatementCount
from dosing.reading.selectors import Fired, fired_at
from dosing.rules import cases
from dosing.rules.engine.rulebook import RuleBook as EngineBook
from dosing.rules.models import TABLES
from dosing.rules.protocol import CODES
from dosing.rules.selectors import book_version, published_version
from dosing.rules.services import approve_locally, draft_book, edit_row, submit_for_review
from dosing.rules.words import table_key
from dosing.services import assess_patient
from dosing.services.counts import count_statements, mend_counts, miscounts, statements_in
from patients.models import Patient
from tacroweb.accounts.models import Clinic
from tacroweb.accounts.roles import Role, Scope
from tacroweb.accounts.services import issue_token
from tests.factories import (
    NOW,
    a_clinic,
    a_patient,
    a_person,
    a_signature,
    for_all,
    takes,
)


@pytest.fixture(autouse=True)
def _today() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


def reader(clinic: Clinic, role: Role = Role.AUDITOR) -> Client:
    client = Client()
    client.force_login(a_person(clinic, role))
    return client


def page(client: Client, name: str, *args: str) -> str:
    response = client.get(reverse(f"dosing:{name}", args=args))
    assert response.status_code == 200, response.status_code
    return str(response.content.decode())


@pytest.fixture
def clinic(db: None) -> Clinic:
    return a_clinic()


def book() -> EngineBook:
    return book_version(published_version().version)


# The protocol


def test_every_statement_stands_on_the_page_in_the_order_of_the_document(clinic: Clinic) -> None:
    text = page(reader(clinic), "protocol")
    places = [text.index(f'id="{code}"') for code in CODES]
    assert len(places) == 84
    assert text.index('id="S52"') < text.index('id="S39"')
    assert text.index('id="S84"') == max(places)


def test_the_page_says_at_its_top_what_is_seed_label_and_local(clinic: Clinic) -> None:
    text = page(reader(clinic), "protocol")
    top = text[: text.index('id="S1"')]
    assert "written by an AI" in top
    assert "Reference 6 could not be identified" in top
    rows = [row for table in book().tables().values() for row in table]
    unapproved = sum(row.enabled and row.needs_local_approval for row in rows)
    assert f"{unapproved} rows act without that approval" in top
    for origin in ("Protocol", "Label", "Guideline", "Local"):
        assert f"{origin}</span>" in top


def test_a_statement_names_its_rows_its_function_and_its_cases(clinic: Clinic) -> None:
    text = page(reader(clinic), "statement", "S40")
    assert "one third" in text
    assert "interactions._cut" in text
    assert "INT-AZOLE-STARTED" in text
    assert "Cut to a fraction: 1/3 of the dose" in text
    assert "voriconazole-started" in text
    assert "3.0 mg/day × 1/3 = 1.0 mg/day" in text
    assert "As expected" in text
    assert "Not as expected" not in text
    assert "Prescribing information of tacrolimus" in text


def test_every_statement_has_a_page_whose_cases_are_as_expected(clinic: Clinic) -> None:
    client = reader(clinic)
    for code in CODES:
        text = page(client, "statement", code)
        assert f"<h1>{code}: " in text
        assert "As expected" in text, code
        assert "Not as expected" not in text, code


def test_what_is_inconsistent_is_told_where_the_statement_is_read(clinic: Clinic) -> None:
    client = reader(clinic)
    assert "merges two trials" in page(client, "statement", "S12")
    assert "not equivalent" in page(client, "statement", "S7")
    assert "gives no number for the lower target" in page(client, "protocol")


def test_a_case_shows_its_facts_and_what_is_said_of_them(clinic: Clinic) -> None:
    text = page(reader(clinic), "case", "voriconazole-started")
    assert "As expected" in text
    assert "&quot;drug&quot;: &quot;voriconazole&quot;" in text
    assert "Proposes a change to 1.0 mg/day." in text
    missing = reader(clinic).get(reverse("dosing:case", args=["no-such-case"]))
    assert missing.status_code == 404


def test_without_the_case_files_only_the_names_are_told(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cases, "FOLDER", tmp_path)
    client = reader(clinic)
    assert "are not installed here" in page(client, "case", "voriconazole-started")
    text = page(client, "statement", "S40")
    assert "As expected" not in text


def test_what_is_no_statement_is_not_found(clinic: Clinic) -> None:
    for code in ("S85", "S0", "D17", "s40"):
        assert reader(clinic).get(reverse("dosing:statement", args=[code])).status_code == 404


@pytest.mark.parametrize("role", [Role.RULE_EDITOR, Role.NURSE, Role.ADMINISTRATOR])
def test_whoever_reads_the_rules_reads_the_protocol(clinic: Clinic, role: Role) -> None:
    text = page(reader(clinic, role), "protocol")
    assert f'href="{reverse("dosing:protocol")}" aria-current="page"' in text


# How often it fired


def assessed(patient: Patient, *, days_ago: int = 0) -> Assessment:
    return assess_patient(
        patient=patient,
        intent=Intent.START,
        at=NOW - timedelta(days=days_ago),
        by=a_signature(patient.clinic),
    )


def test_an_assessment_counts_each_statement_once_and_at_its_own_clinic(clinic: Clinic) -> None:
    patient = a_patient(clinic, at=NOW - timedelta(days=400))
    takes(patient, "voriconazole", NOW.date() - timedelta(days=2))
    takes(patient, "itraconazole", NOW.date() - timedelta(days=2))
    made = assessed(patient)
    cited = [code for found in made.advice["findings"] for code in found["statements"]]
    assert len(cited) > len(set(cited))
    assert fired_at(clinic, today=NOW.date()) == {
        code: Fired(ever=1, recently=1) for code in statements_in(made.advice)
    }
    assert fired_at(a_clinic(), today=NOW.date()) == {}


def test_the_last_ninety_days_are_counted_apart(clinic: Clinic) -> None:
    patient = a_patient(clinic, at=NOW - timedelta(days=400))
    for days_ago in (0, 89, 90, 300):
        assessed(patient, days_ago=days_ago)
    assert fired_at(clinic, today=NOW.date())["S1"] == Fired(ever=4, recently=2)
    text = page(reader(clinic), "statement", "S1")
    assert "Fired in 4 assessments at" in text
    assert "2 of them in the last 90 days" in text
    assert "Has not fired" in page(reader(clinic), "statement", "S51")


def test_a_day_is_the_clinics_own(db: None) -> None:
    clinic = a_clinic(time_zone="Pacific/Auckland")
    made = assessed(a_patient(clinic, at=NOW - timedelta(days=1)))
    assert str(StatementCount.objects.filter(statement="S1").get().on) == "2026-03-02"
    assert made.advice["at"].startswith("2026-03-02T22:00")


def test_what_is_not_stored_is_not_counted(clinic: Clinic, monkeypatch: Any) -> None:
    patient = a_patient(clinic)

    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError("the ledger is away")

    monkeypatch.setattr("tacroweb.audit.ledger.append", fail)
    with pytest.raises(RuntimeError):
        assessed(patient)
    assert not Assessment.objects.exists()
    assert not StatementCount.objects.exists()


def test_the_counts_are_proven_from_the_stored_assessments(on_tacrolimus: Regimen) -> None:
    out = StringIO()
    call_command("statement_counts", stdout=out)
    assert "are what the stored assessments give" in out.getvalue()
    count_statements(Assessment.objects.latest("pk"))
    wrong = list(miscounts())
    assert wrong
    assert all(kept == right + 1 for _, kept, right in wrong)
    out = StringIO()
    with pytest.raises(CommandError) as error:
        call_command("statement_counts", stdout=out)
    assert error.value.returncode == 1
    assert "counted 2, stored 1" in out.getvalue()
    call_command("statement_counts", "--mend", stdout=StringIO())
    assert list(miscounts()) == []
    assert mend_counts() == 0


def test_what_was_assessed_before_is_counted_when_the_table_is_made(
    on_tacrolimus: Regimen,
) -> None:
    kept = list(StatementCount.objects.order_by("pk").values_list("statement", "on", "assessments"))
    assert kept
    StatementCount.objects.all().delete()
    (file,) = Path("dosing/migrations").glob("*_statement_counts.py")
    importlib.import_module(f"dosing.migrations.{file.stem}").count(apps, None)
    again = StatementCount.objects.values_list("statement", "on", "assessments")
    assert sorted(again) == sorted(kept)


# The book


def test_the_book_stands_under_clinical_headings(clinic: Clinic) -> None:
    text = page(reader(clinic), "book")
    for title in ("Interactions", "Monitoring", "Numbers and fractions", "Findings"):
        assert f"<h2>{title}</h2>" in text
    assert "1/3" in text
    assert "0.075 mg/kg/day" in text
    for name, rows in book().tables().items():
        for row in rows:
            assert f'id="{table_key(name)}-{row.code}"' in text, row.code


def test_an_earlier_book_is_read_the_same_way(clinic: Clinic) -> None:
    text = page(reader(clinic), "book-version", "2026-01")
    assert "AZOLE-FRACTION" in text
    unknown = reader(clinic).get(reverse("dosing:book-version", args=["1999-01"]))
    assert unknown.status_code == 404


def test_the_versions_beside_a_book_are_a_list_with_commas_between(clinic: Clinic) -> None:
    draft = draft_book(at=NOW, by=for_all(a_person(clinic, Role.RULE_EDITOR)))
    text = page(reader(clinic), "book")
    told = text[text.index("Other versions:") :].partition("</p>")[0]
    plain = re.sub(r"<[^>]+>", "", told)
    assert plain == f"Other versions: {draft} (draft), 2026-01 (retired)."
    assert re.search(r'<th scope="row" class="nowrap"><a [^>]+><code>DOSE-FIXED</code>', text)


def test_a_row_of_the_draft_leads_who_may_edit_it_to_where_it_is_edited(clinic: Clinic) -> None:
    editor = a_person(clinic, Role.RULE_EDITOR)
    draft = draft_book(at=NOW, by=for_all(editor))
    row = TABLES["level_bands"].objects.get(book=draft, code="BAND-ABOVE")
    link = reverse("admin:rules_levelband_change", args=[row.pk])
    args = ("level-bands", "BAND-ABOVE")
    client = Client()
    client.force_login(editor)
    assert f'href="{link}">Edit this row</a>' in page(client, "row", draft.version, *args)
    assert client.get(link).context["has_change_permission"]
    assert "Edit this row" not in page(client, "row", published_version().version, *args)
    assert "Edit this row" not in page(reader(clinic), "row", draft.version, *args)
    submit_for_review(book=draft, at=NOW, by=for_all(editor))
    assert "Edit this row" not in page(client, "row", draft.version, *args)


def test_a_row_shows_its_evidence_its_statements_and_what_it_was(clinic: Clinic) -> None:
    version = published_version().version
    text = page(reader(clinic), "row", version, "findings", "INT-AZOLE-STARTED")
    assert "one third of the original dose" in text
    assert reverse("dosing:statement", args=["S40"]) in text
    assert "interactions._cut" in text
    assert "voriconazole-started" in text
    assert "2026-01" in text
    assert "Needs local approval" in text
    ratio = page(reader(clinic), "row", "2026-01", "ratios", "AZOLE-FRACTION")
    assert "<dd>1/3</dd>" in ratio


def test_every_row_of_the_book_has_a_page(clinic: Clinic) -> None:
    client, version = reader(clinic), published_version().version
    for name, rows in book().tables().items():
        for row in (rows[:1], rows[-1:]):
            for each in row:
                page(client, "row", version, table_key(name), each.code)


def test_a_row_that_is_not_there_is_not_found(clinic: Clinic) -> None:
    client, version = reader(clinic), published_version().version
    for args in (
        (version, "findings", "NO-SUCH-ROW"),
        (version, "no-such-table", "INT-AZOLE-STARTED"),
        (version, "level_windows", "WINDOW-IR"),
        ("1999-01", "findings", "INT-AZOLE-STARTED"),
    ):
        assert client.get(reverse("dosing:row", args=args)).status_code == 404


def test_a_draft_tells_whose_hand_changed_a_row_and_how_it_differs_from_the_book_in_force(
    clinic: Clinic,
) -> None:
    editor = a_person(clinic, Role.RULE_EDITOR)
    draft = draft_book(at=NOW, by=for_all(editor, "A quarter is asked for"))
    stored = TABLES["interactions"].objects.get(book=draft, code="AZOLES-STARTED")
    stored.denominator = 4
    edit_row(row=stored, by=for_all(editor, "Fewer toxic levels last year"))
    client = reader(clinic)
    text = page(client, "row", draft.version, "interactions", "AZOLES-STARTED")
    assert "Cut to a fraction: 1/4 of the dose" in text
    assert f"by {editor.display_name}: Fewer toxic levels last year" in text
    assert "Denominator" not in text
    assert f"Copied from {published_version().version}" in text
    assert "A quarter is asked for" not in text
    untouched = page(client, "row", draft.version, "interactions", "MODERATE-STARTED")
    assert f"Copied from {published_version().version}" in untouched
    assert "Put in" in untouched
    changed = client.get(
        reverse("dosing:row", args=[draft.version, "interactions", "AZOLES-STARTED"])
    )
    newest, before, *_ = changed.context["editions"]
    assert (newest.book.version, newest.state) == (draft.version, "Changed.")
    third, quarter = (f"Cut to a fraction: {share} of the dose" for share in ("1/3", "1/4"))
    assert newest.differences == (("Dose", third, quarter),)
    assert changed.context["hands"][0]["changes"] == [("Dose", third, quarter)]
    assert (before.book.version, before.state) == (published_version().version, "Put in.")
    assert "1/4" in page(client, "book-version", draft.version)


def test_a_draft_that_contradicts_itself_says_so_and_has_no_rows_to_read(clinic: Clinic) -> None:
    by = for_all(a_person(clinic, Role.RULE_EDITOR), "A test")
    draft = draft_book(at=NOW, by=by)
    stored = TABLES["strengths"].objects.get(book=draft, code="IR-CAPSULE-1")
    stored.strength_mg = Decimal(0)
    edit_row(row=stored, by=by)
    client = reader(clinic)
    assert "This book cannot be read" in page(client, "book-version", draft.version)
    args = [draft.version, "strengths", "IR-CAPSULE-1"]
    assert client.get(reverse("dosing:row", args=args)).status_code == 404


def test_what_the_clinic_has_approved_is_marked_so_there_and_only_there(clinic: Clinic) -> None:
    approver = a_person(clinic, Role.RULE_APPROVER)
    by = a_signature(clinic, user=approver, reason="Agreed at the board")
    approve_locally(clinic=clinic, row_code="WINDOW-IR", at=NOW, by=by)
    version = published_version().version
    here = page(reader(clinic), "row", version, "level-windows", "WINDOW-IR")
    assert "Approved at your clinic" in here
    assert "Needs local approval" not in here
    elsewhere = page(reader(a_clinic()), "row", version, "level-windows", "WINDOW-IR")
    assert "Needs local approval" in elsewhere
    assert "In use without local approval" in elsewhere
    rows = [row for table in book().tables().values() for row in table]
    unapproved = sum(row.enabled and row.needs_local_approval for row in rows)
    assert f"{unapproved - 1} rows act without that approval" in page(reader(clinic), "protocol")


def test_a_citation_names_the_rows_that_rest_on_it(clinic: Clinic) -> None:
    version = published_version().version
    cited = next(row for row in book().thresholds if row.citations)
    text = page(reader(clinic), "row", version, "thresholds", cited.code)
    citation = next(row for row in book().citations if row.code == cited.citations[0])
    assert escape(citation.title) in text
    back = page(reader(clinic), "row", version, "citations", citation.code)
    assert reverse("dosing:row", args=[version, "thresholds", cited.code]) in back


# The API


def test_the_api_tells_the_whole_protocol(clinic: Clinic) -> None:
    assessed(a_patient(clinic))
    client = reader(clinic, Role.NURSE)
    answer = client.get("/api/v1/protocol/").json()
    assert answer["rule_book"] == published_version().version
    assert answer["statements"][0]["code"] == "S1"
    assert {each["code"] for each in answer["statements"]} == set(CODES)
    assert {each["origin"] for each in answer["origins"]} == {
        "SEED",
        "LABEL",
        "GUIDELINE",
        "LOCAL",
    }
    first = answer["statements"][0]
    assert (first["fired"], first["fired_last_90_days"]) == (1, 1)
    one = client.get("/api/v1/protocol/S40/").json()
    assert {"interactions._cut"} <= {each["name"] for each in one["functions"]}
    assert one["references"] == [5]
    assert one in answer["statements"]
    assert client.get("/api/v1/protocol/S85/").status_code == 404


def test_a_token_needs_the_scope_of_the_rules(clinic: Clinic) -> None:
    user = a_person(clinic, Role.API_CLIENT)
    answers = []
    for scopes in ([Scope.PATIENTS_READ], [Scope.RULES_READ]):
        _, key = issue_token(
            user=user,
            clinic=clinic,
            name=scopes[0],
            scopes=scopes,
            expires_at=NOW + timedelta(days=1),
            by=a_signature(clinic),
        )
        headers = {"Authorization": f"Bearer {key}"}
        answers.append(Client().get("/api/v1/protocol/", headers=headers).status_code)
    assert answers == [403, 200]
