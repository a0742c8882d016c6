"""Rule books in the API: read whole, compared, linted, and taken from step to step."""

import pytest
from django.test import Client

from dosing.rules.models import Number, RuleBook
from dosing.rules.services import edit_row
from tacroweb.accounts.models import Clinic, User
from tacroweb.accounts.roles import Role
from tests.dosing.test_governance_pages import (
    computed,
    in_review,
    on_voriconazole,
    signed_in,
    with_a_quarter,
)
from tests.factories import PASSWORD, a_clinic, a_person, for_all

BOOKS = "/api/v1/rule-books/"


@pytest.fixture
def clinic(db: None) -> Clinic:
    return a_clinic("North")


@pytest.fixture
def editor(clinic: Clinic) -> User:
    return a_person(clinic, Role.RULE_EDITOR)


def post(client: Client, path: str, **body: object) -> tuple[int, dict[str, object]]:
    answer = client.post(BOOKS + path, body, content_type="application/json")
    return answer.status_code, answer.json()


def test_a_book_is_read_with_every_row(editor: User) -> None:
    client = signed_in(editor)
    listed = client.get(BOOKS).json()["results"]
    assert [(each["version"], each["status"]) for each in listed] == [
        ("2026-02", "PUBLISHED"),
        ("2026-01", "RETIRED"),
    ]
    whole = client.get(f"{BOOKS}2026-02/").json()
    azoles = next(row for row in whole["tables"]["interactions"] if row["code"] == "AZOLES-STARTED")
    assert (azoles["numerator"], azoles["denominator"]) == (1, 3)
    assert whole["tables"]["starting_doses"][0]["low"] == "0.075"
    assert client.get(f"{BOOKS}1999-01/").status_code == 404


def test_a_draft_is_opened_compared_linted_and_given_up(editor: User) -> None:
    client = signed_in(editor)
    assert post(client, "")[0] == 400
    assert post(client, "", reason="why", begin_with="1999-01")[0] == 400
    status, opened = post(client, "", reason="To try something")
    assert (status, opened["status"]) == (201, "DRAFT")
    version = opened["version"]
    assert post(client, "", reason="Another")[0] == 409
    assert client.get(f"{BOOKS}{version}/changes/").json() == []
    assert client.get(f"{BOOKS}{version}/lint/").json() == []
    assert client.get(f"{BOOKS}{version}/impact/").status_code == 404
    assert post(client, f"{version}/discard/", reason="Only a try")[1]["status"] == "RETIRED"
    status, back = post(client, "", reason="Back to the first", begin_with="2026-01")
    assert (status, back["based_on"]) == (201, "2026-01")


def test_a_change_is_weighed_and_approved_by_another(clinic: Clinic, editor: User) -> None:
    on_voriconazole(clinic)
    book = in_review(with_a_quarter(editor), editor)
    approver = signed_in(a_person(clinic, Role.RULE_APPROVER))
    changes = approver.get(f"{BOOKS}{book.version}/changes/").json()
    said = {change["field"]: (change["old"], change["new"]) for change in changes}
    assert ["1/3" in said["Dose"][0], "1/4" in said["Dose"][1]] == [True, True]
    assert set(said) == {"Dose", "Origin", "Source"}
    for warned in approver.get(f"{BOOKS}{book.version}/lint/").json():
        assert (warned["level"], warned["accepted"]) == ("WARNING", "Agreed by the committee")
    signed = {"reason": "Agreed", "password": PASSWORD}
    assert post(approver, f"{book.version}/approve/", **signed)[1]["code"] == "impact_not_seen"
    computed(book)
    weighed = approver.get(f"{BOOKS}{book.version}/impact/").json()
    assert (weighed["done"], weighed["up_to_date"], weighed["cut_short"]) == (1, True, "")
    assert weighed["counts"] == {"own": 1, "elsewhere": 0, "failed": 0}
    listed = approver.get(f"{BOOKS}{book.version}/impact/patients/").json()
    assert listed["results"][0]["new"]["proposal"]["total_daily_mg"] == "1.5"
    assert listed["results"][0]["failure"] == ""
    reading = signed_in(a_person(clinic, Role.AUDITOR))
    assert reading.get(f"{BOOKS}{book.version}/impact/patients/").json()["results"] == []
    wrong = post(approver, f"{book.version}/approve/", reason="Agreed", password="no")
    assert wrong[0] == 400
    editing = signed_in(editor)
    assert post(editing, f"{book.version}/approve/", **signed)[0] == 403
    assert post(approver, f"{book.version}/approve/", **signed)[1]["status"] == "PUBLISHED"
    assert post(approver, f"{book.version}/approve/", **signed)[0] == 409


def test_a_book_in_review_is_given_back(clinic: Clinic, editor: User) -> None:
    book = in_review(with_a_quarter(editor), editor)
    approver = signed_in(a_person(clinic, Role.RULE_APPROVER))
    assert post(approver, f"{book.version}/give-back/", reason="One third")[1]["status"] == "DRAFT"


def test_who_decides_may_ask_for_the_impact_and_who_edited_takes_it_back(
    clinic: Clinic, editor: User
) -> None:
    """The same as on the page."""
    book = in_review(with_a_quarter(editor), editor)
    approver = signed_in(a_person(clinic, Role.RULE_APPROVER))
    assert post(approver, f"{book.version}/impact/")[0] == 202
    back = post(signed_in(editor), f"{book.version}/give-back/", reason="One more number")
    assert back[1]["status"] == "DRAFT"


def test_a_draft_that_contradicts_itself_is_told_as_such(clinic: Clinic, editor: User) -> None:
    book = with_a_quarter(editor)
    row = Number.objects.get(book=book, code="MAX-MG-PER-DAY")
    row.enabled = False
    edit_row(row=row, by=for_all(editor))
    client = signed_in(editor)
    for path in ("", "lint/", "changes/"):
        answer = client.get(f"{BOOKS}{book.version}/{path}")
        assert (answer.status_code, answer.json()["code"]) == (409, "no_rule_book"), path
    assert post(client, f"{book.version}/impact/")[1]["code"] == "no_rule_book"
    assert post(client, f"{book.version}/submit/", reason="why")[1]["code"] == "book_not_sound"
    assert client.get(BOOKS).status_code == 200


def test_a_reader_takes_no_step(clinic: Clinic, editor: User) -> None:
    client = signed_in(a_person(clinic, Role.NURSE))
    assert client.get(BOOKS).status_code == 200
    assert post(client, "", reason="why")[0] == 403
    book = with_a_quarter(editor)
    for step in ("submit", "discard", "give-back", "approve", "impact"):
        assert post(client, f"{book.version}/{step}/", reason="why")[0] == 403
    assert RuleBook.objects.get(pk=book.pk).status == "DRAFT"
