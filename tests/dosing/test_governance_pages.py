"""The pages on which a rule book is drafted, checked, weighed and approved, and a case is tried."""

import json
from datetime import timedelta
from decimal import Decimal

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from dosing.governance.impact import (
    UNFIT,
    ImpactNotSeen,
    ImpactSettled,
    approve_book,
    continue_impact,
    newest_impact,
    seen_impact,
    stalled_runs,
    start_impact,
)
from dosing.models import ImpactRun
from dosing.rules.models import Interaction, LocalApproval, Number, RuleBook
from dosing.rules.selectors import lint_of
from dosing.rules.services import (
    BookNotPublishable,
    answer_warning,
    discard_draft,
    draft_book,
    edit_row,
    submit_for_review,
)
from patients.models import Patient
from tacroweb.accounts.models import Clinic, User
from tacroweb.accounts.roles import Role
from tests.engine.given import ROOT
from tests.factories import PASSWORD, a_clinic, a_patient, a_person, for_all, takes
from tests.roof.conftest import dose

AZOLES = "AZOLES-STARTED"
WORKBENCH = "/rules/change/"
IMPACT = f"{WORKBENCH}impact/"


@pytest.fixture
def clinic(db: None) -> Clinic:
    return a_clinic("North")


@pytest.fixture
def editor(clinic: Clinic) -> User:
    return a_person(clinic, Role.RULE_EDITOR)


@pytest.fixture
def approver(clinic: Clinic) -> User:
    return a_person(clinic, Role.RULE_APPROVER)


def signed_in(person: User) -> Client:
    client = Client()
    client.force_login(person)
    return client


def on_voriconazole(clinic: Clinic, days: int = 1) -> Patient:
    """A patient on 6 mg/day of tacrolimus who has just begun voriconazole."""
    now = timezone.now()
    patient = a_patient(clinic, at=now - timedelta(days=60))
    dose(patient, "6", at=now - timedelta(days=50))
    takes(patient, "voriconazole", (now - timedelta(days=days)).date(), at=now)
    return patient


def with_a_quarter(editor: User) -> RuleBook:
    """A draft in which azoles cut to one quarter."""
    at = timezone.now()
    book = draft_book(at=at, by=for_all(editor))
    row = Interaction.objects.get(book=book, code=AZOLES)
    row.denominator, row.origin, row.source = 4, "LOCAL", "The clinic's audit: one quarter."
    edit_row(row=row, by=for_all(editor, "One quarter is enough"))
    return book


def in_review(book: RuleBook, editor: User) -> RuleBook:
    """The draft put forward, each warning of the linter accepted."""
    at, by = timezone.now(), for_all(editor, "Agreed by the committee")
    for found in lint_of(book, at=at):
        answer_warning(book=book, found=found, at=at, by=by)
    return submit_for_review(book=book, at=at, by=by)


def computed(book: RuleBook) -> ImpactRun:
    run = start_impact(book=book, at=timezone.now(), asked_by="A test")
    while continue_impact(run.pk, at=timezone.now()):
        pass
    run.refresh_from_db()
    return run


# The impact


def test_the_impact_names_who_would_get_another_advice_with_old_and_new(
    clinic: Clinic, editor: User
) -> None:
    patient = on_voriconazole(clinic)
    unmoved = a_patient(clinic)
    run = computed(with_a_quarter(editor))
    assert (run.patients, run.done, run.cut_short) == (1, 1, "")
    [difference] = run.differences.all()
    assert difference.patient == patient != unmoved
    assert difference.clinic == clinic
    old, new = difference.sides["old"], difference.sides["new"]
    assert (old["proposal"]["total_daily_mg"], new["proposal"]["total_daily_mg"]) == ("2.0", "1.5")
    assert "1/3" in old["findings"][0]["message"]
    assert "1/4" in new["findings"][0]["message"]


def test_who_only_reads_the_rules_sees_how_many_and_no_names(clinic: Clinic, editor: User) -> None:
    patient = on_voriconazole(clinic)
    computed(with_a_quarter(editor))
    for role, named in (
        (Role.RULE_EDITOR, True),
        (Role.PRESCRIBER, True),
        (Role.AUDITOR, False),
        (Role.ADMINISTRATOR, False),
    ):
        page = signed_in(a_person(clinic, role)).get(IMPACT).content.decode()
        assert "1 patient would get other advice" in page
        assert (str(patient) in page) is named, role


def test_a_book_that_cannot_be_applied_is_not_approved(clinic: Clinic, editor: User) -> None:
    """Whatever the linter overlooks, the impact finds: it says why and bars the approval."""
    patient = on_voriconazole(clinic)
    book = with_a_quarter(editor)
    book = in_review(book, editor)
    run = start_impact(book=book, at=timezone.now(), asked_by="A test")
    run.differences.create(patient=patient, clinic=clinic, failure=f"{UNFIT} year -7974")
    ImpactRun.objects.filter(pk=run.pk).update(finished_at=timezone.now(), done=1)
    approver = a_person(clinic, Role.RULE_APPROVER)
    page = signed_in(approver).get(IMPACT).content.decode()
    assert "year -7974" in page
    assert str(patient) in page
    assert "1 patient: those of your clinic stand first" in page
    elsewhere = a_person(a_clinic("South"), Role.RULE_APPROVER)
    page = signed_in(elsewhere).get(IMPACT).content.decode()
    assert "1 patient: those of your clinic stand first" in page
    assert str(patient) not in page
    with pytest.raises(ImpactNotSeen, match="cannot be assessed under this rule book"):
        approve_book(book=book, at=timezone.now(), by=for_all(approver, "Agreed"))
    book.refresh_from_db()
    assert book.status == "IN_REVIEW"


def test_a_number_with_which_nothing_can_be_computed_is_a_failure_of_the_book(
    clinic: Clinic, editor: User
) -> None:
    on_voriconazole(clinic)
    book = draft_book(at=timezone.now(), by=for_all(editor))
    row = Number.objects.get(book=book, code="STEADY-STATE-HOURS")
    row.value = Decimal(99_999_999)
    edit_row(row=row, by=for_all(editor))
    run = computed(book)
    assert run.done == run.patients == 1
    assert [each.failure[: len(UNFIT)] for each in run.differences.all()] == [UNFIT]


def test_who_gets_the_same_advice_is_not_listed(clinic: Clinic, editor: User) -> None:
    on_voriconazole(clinic, days=40)
    run = computed(with_a_quarter(editor))
    assert (run.done, run.differences.count()) == (1, 0)


def test_a_batch_that_is_delivered_twice_counts_nobody_twice(clinic: Clinic, editor: User) -> None:
    on_voriconazole(clinic)
    run = computed(with_a_quarter(editor))
    assert not continue_impact(run.pk, at=timezone.now())
    run.refresh_from_db()
    assert (run.done, run.differences.count()) == (1, 1)


def test_an_edit_meanwhile_ends_the_run_and_says_so(clinic: Clinic, editor: User) -> None:
    on_voriconazole(clinic)
    book = with_a_quarter(editor)
    run = start_impact(book=book, at=timezone.now(), asked_by="A test")
    row = Interaction.objects.get(book=book, code=AZOLES)
    row.denominator = 5
    edit_row(row=row, by=for_all(editor))
    continue_impact(run.pk, at=timezone.now())
    run.refresh_from_db()
    assert run.finished_at is not None
    assert "edited meanwhile" in run.cut_short
    assert run.done == 0
    assert seen_impact(book) is None
    page = signed_in(editor).get(IMPACT).content.decode()
    assert "edited meanwhile" in page
    assert "0 patients" not in page
    row.denominator = 4  # as it was: what was cut short is still nothing that anybody has seen
    edit_row(row=row, by=for_all(editor))
    assert seen_impact(book) is None


def test_a_run_of_a_book_that_was_decided_meanwhile_ends(clinic: Clinic, editor: User) -> None:
    on_voriconazole(clinic)
    book = with_a_quarter(editor)
    run = start_impact(book=book, at=timezone.now(), asked_by="A test")
    discard_draft(book=book, at=timezone.now(), by=for_all(editor))
    assert not continue_impact(run.pk, at=timezone.now())
    run.refresh_from_db()
    assert run.cut_short == "The rule book was retired meanwhile."
    assert not run.differences.exists()


def test_the_impact_of_a_book_in_force_stays_as_it_was_approved(
    clinic: Clinic, editor: User, approver: User
) -> None:
    book = in_review(with_a_quarter(editor), editor)
    run = computed(book)
    approve_book(book=book, at=timezone.now(), by=for_all(approver))
    book.refresh_from_db()
    with pytest.raises(ImpactSettled):
        start_impact(book=book, at=timezone.now(), asked_by="A test")
    assert newest_impact(book) == run


def test_the_second_of_two_who_approve_hears_that_it_is_in_force(
    clinic: Clinic, editor: User, approver: User
) -> None:
    at = timezone.now()
    book = in_review(with_a_quarter(editor), editor)
    computed(book)
    late = RuleBook.objects.get(pk=book.pk)  # the page that the second still has before them
    approve_book(book=book, at=at, by=for_all(approver))
    with pytest.raises(BookNotPublishable, match="published already"):
        approve_book(book=late, at=at, by=for_all(a_person(clinic, Role.RULE_APPROVER)))


def test_a_long_impact_is_read_in_pages(
    clinic: Clinic, editor: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    patients = {on_voriconazole(clinic) for _ in range(3)}
    computed(with_a_quarter(editor))
    monkeypatch.setattr("dosing.governance.views.SHOWN_PATIENTS", 2)
    client = signed_in(editor)
    pages = [client.get(f"{WORKBENCH}?page={page}") for page in (1, 2)]
    shown = [[each["patient"] for each in page.context["named"]] for page in pages]
    assert [len(each) for each in shown] == [2, 1]
    assert {*shown[0], *shown[1]} == patients
    assert "3 patients would get other advice" in pages[1].content.decode()


def test_a_run_that_nobody_is_at_is_found_again(clinic: Clinic, editor: User) -> None:
    at = timezone.now()
    run = start_impact(book=with_a_quarter(editor), at=at, asked_by="A test")
    assert not stalled_runs(at)
    assert list(stalled_runs(at + timedelta(minutes=3))) == [run]


def test_a_book_is_not_approved_before_its_impact_was_there_to_be_seen(
    clinic: Clinic, editor: User, approver: User
) -> None:
    at = timezone.now()
    book = in_review(with_a_quarter(editor), editor)
    with pytest.raises(ImpactNotSeen):
        approve_book(book=book, at=at, by=for_all(approver))
    book.refresh_from_db()
    assert book.status == "IN_REVIEW"
    computed(book)
    assert approve_book(book=book, at=at, by=for_all(approver)).status == "PUBLISHED"


# The pages


def test_a_change_goes_its_whole_way_through_the_pages(
    clinic: Clinic, editor: User, approver: User
) -> None:
    patient = on_voriconazole(clinic)
    other = a_clinic("South")
    on_voriconazole(other)
    editing, approving = signed_in(editor), signed_in(approver)
    assert "No change is under way" in editing.get(WORKBENCH).content.decode()
    opened = {"act": "open", "begin_with": "2026-02", "reason": "One quarter is enough"}
    assert editing.post(WORKBENCH, opened).status_code == 302
    book = RuleBook.objects.get(status="DRAFT")
    row = Interaction.objects.get(book=book, code=AZOLES)
    row.denominator, row.origin, row.source = 4, "LOCAL", "The clinic's audit: one quarter."
    edit_row(row=row, by=for_all(editor, "One quarter is enough"))

    page = editing.get(WORKBENCH).content.decode()
    assert "1/4 of the dose" in page
    assert "Compute the impact" in page
    for found in _warnings(editing):
        accepted = {"act": "accept", "finding": found["key"], f"{found['key'][:12]}-reason": "Seen"}
        assert editing.post(WORKBENCH, accepted).status_code == 302
    assert editing.post(WORKBENCH, {"act": "submit"}).status_code == 422
    submitted = {"act": "submit", "submit-reason": "Azoles cut to one quarter"}
    assert editing.post(WORKBENCH, submitted).status_code == 302
    book.refresh_from_db()
    assert book.status == "IN_REVIEW"

    computed(book)
    page = approving.get(WORKBENCH).content.decode()
    assert str(patient.mrn) in page.replace("\N{NO-BREAK SPACE}", "").replace(" ", "")
    assert "1 of North, 1 of other clinics" in page
    signed = {"act": "approve", "approve-reason": "Agreed by the committee"}
    wrong = approving.post(WORKBENCH, signed | {"approve-password": "not it"})
    assert wrong.status_code == 422
    assert "This is not your password" in wrong.content.decode()
    assert approving.post(WORKBENCH, signed | {"approve-password": PASSWORD}).status_code == 302
    book.refresh_from_db()
    assert book.status == "PUBLISHED"


def _warnings(client: Client) -> list[dict[str, str]]:
    found: list[dict[str, str]] = client.get(WORKBENCH).context["warnings"]
    return found


def test_who_edited_the_draft_does_not_approve_it_and_the_page_says_so(clinic: Clinic) -> None:
    both = a_person(clinic, Role.RULE_EDITOR, Role.RULE_APPROVER)
    book = in_review(with_a_quarter(both), both)
    computed(book)
    client = signed_in(both)
    assert "You edited this draft" in client.get(WORKBENCH).content.decode()
    tried = {"act": "approve", "approve-reason": "Mine", "approve-password": PASSWORD}
    page = client.post(WORKBENCH, tried, follow=True).content.decode()
    assert "Somebody else has to approve it" in page
    book.refresh_from_db()
    assert book.status == "IN_REVIEW"


@pytest.mark.parametrize("act", ["open", "submit", "discard", "approve", "accept", "impact"])
def test_a_reader_of_rules_changes_nothing(clinic: Clinic, act: str) -> None:
    client = signed_in(a_person(clinic, Role.PRESCRIBER))
    assert client.get(WORKBENCH).status_code == 200
    assert client.post(WORKBENCH, {"act": act}).status_code == 403
    assert not RuleBook.objects.filter(status__in=("DRAFT", "IN_REVIEW")).exists()


def test_an_unknown_act_is_not_found(editor: User) -> None:
    assert signed_in(editor).post(WORKBENCH, {"act": "erase"}).status_code == 404


def test_a_draft_is_given_up_with_a_reason(editor: User) -> None:
    book = with_a_quarter(editor)
    client = signed_in(editor)
    assert client.post(WORKBENCH, {"act": "discard"}).status_code == 422
    discarded = {"act": "discard", "discard-reason": "Not now"}
    assert client.post(WORKBENCH, discarded).status_code == 302
    book.refresh_from_db()
    assert book.status == "RETIRED"


def test_the_progress_is_asked_for_until_the_end(clinic: Clinic, editor: User) -> None:
    on_voriconazole(clinic)
    book = with_a_quarter(editor)
    run = start_impact(book=book, at=timezone.now(), asked_by="A test")
    client = signed_in(editor)
    assert 'hx-trigger="every 2s"' in client.get("/rules/change/impact/").content.decode()
    continue_impact(run.pk, at=timezone.now())
    done = client.get("/rules/change/impact/").content.decode()
    assert "hx-trigger" not in done
    assert "1 patient would get other advice" in done
    assert newest_impact(book) == run


# A draft that contradicts itself


@pytest.fixture
def contradictory(editor: User) -> RuleBook:
    """A draft that lacks a number without which nothing can be assessed."""
    book = draft_book(at=timezone.now(), by=for_all(editor))
    row = Number.objects.get(book=book, code="MAX-MG-PER-DAY")
    row.enabled = False
    edit_row(row=row, by=for_all(editor))
    return book


WRONG = "numbers: MAX-MG-PER-DAY is missing or not enabled"


def test_a_draft_that_contradicts_itself_says_so_and_can_be_given_up(
    contradictory: RuleBook, editor: User
) -> None:
    client = signed_in(editor)
    page = client.get(WORKBENCH).content.decode()
    assert WRONG in page
    assert "cannot be compared" in page
    for act in ("impact", "accept", "submit"):
        told = client.post(WORKBENCH, {"act": act, "submit-reason": "Why"}, follow=True)
        assert told.status_code == 200
        assert WRONG in told.content.decode()
    assert not ImpactRun.objects.exists()
    tried = client.post(
        "/rules/change/try/", {"act": "assess", "example": "voriconazole-started"}
    ).context["answers"]
    assert tried[0]["proposal"]["total_daily_mg"] == "1.0"
    assert WRONG in tried[1]["unreadable"]
    assert client.post(WORKBENCH, {"act": "discard", "discard-reason": "No"}).status_code == 302


def test_a_run_ends_when_its_draft_comes_to_contradict_itself(clinic: Clinic, editor: User) -> None:
    book = with_a_quarter(editor)
    run = start_impact(book=book, at=timezone.now(), asked_by="A test")
    row = Number.objects.get(book=book, code="MAX-MG-PER-DAY")
    row.enabled = False
    edit_row(row=row, by=for_all(editor))
    assert not continue_impact(run.pk, at=timezone.now())
    run.refresh_from_db()
    assert "edited meanwhile" in run.cut_short


def test_the_impact_of_a_draft_that_came_to_contradict_itself_is_of_an_earlier_state(
    clinic: Clinic, editor: User
) -> None:
    book = with_a_quarter(editor)
    computed(book)
    row = Number.objects.get(book=book, code="MAX-MG-PER-DAY")
    row.enabled = False
    edit_row(row=row, by=for_all(editor))
    for address in (IMPACT, WORKBENCH):
        assert signed_in(editor).get(address).status_code == 200
    assert "earlier state" in signed_in(editor).get(IMPACT).content.decode()
    answer = signed_in(editor).get(f"/api/v1/rule-books/{book.version}/impact/")
    assert answer.json()["up_to_date"] is False


@pytest.mark.parametrize("name", ["lint_rules", "traceability", "assess_case"])
def test_a_command_says_why_such_a_draft_cannot_be_read(contradictory: RuleBook, name: str) -> None:
    files = [str(ROOT / "tests/cases/voriconazole-started.json")] if name == "assess_case" else []
    with pytest.raises(CommandError, match=WRONG) as refused:
        call_command(name, *files, "--book", contradictory.version)
    assert refused.value.returncode == 2


# A case


def test_a_case_is_tried_under_both_books_and_nothing_is_kept(editor: User) -> None:
    with_a_quarter(editor)
    client = signed_in(editor)
    loaded = client.post("/rules/change/try/", {"act": "load", "example": "voriconazole-started"})
    assert "voriconazole" in loaded.content.decode()
    tried = client.post("/rules/change/try/", {"act": "assess", "example": "voriconazole-started"})
    before, after = tried.context["answers"]
    assert before["proposal"]["total_daily_mg"] == "1.0"
    assert after["proposal"] is None  # 3.0 mg/day × 1/4 cannot be dispensed in two doses
    own = json.loads((ROOT / "tests/cases/voriconazole-started.json").read_text())["case"]
    typed = client.post("/rules/change/try/", {"act": "assess", "case": json.dumps(own)})
    assert len(typed.context["answers"]) == 2


@pytest.mark.parametrize("text", ["{", '{"at": 1}', "", "[]", "\x00"])
def test_a_case_that_cannot_be_read_is_told_at_the_field(editor: User, text: str) -> None:
    answer = signed_in(editor).post("/rules/change/try/", {"act": "assess", "case": text})
    assert answer.status_code == 422
    assert answer.context["form"].errors["case"]


# A clinic's own decisions


def test_a_clinic_gives_the_number_that_the_book_leaves_blank(
    clinic: Clinic, approver: User
) -> None:
    client = signed_in(approver)
    address = "/rules/approvals/RENAL-TARGET-R1/"
    assert "Needs local approval" in client.get("/rules/approvals/").content.decode()
    given = {
        "act": "approve",
        "low": "5",
        "high": "7",
        "reason": "Board of 3 March",
        "password": PASSWORD,
    }
    for wrong in ({"low": "7", "high": "5"}, {"low": ""}, {"password": "no"}, {"reason": ""}):
        assert client.post(address, given | wrong).status_code == 422, wrong
    blank = client.post(address, given | {"low": ""}).content.decode()
    assert "Give the lower end of your clinic’s target." in blank
    assert client.post(address, given | {"act": "else"}).status_code == 404
    assert not LocalApproval.objects.exists()
    assert client.post(address, given).status_code == 302
    approval = LocalApproval.objects.get(clinic=clinic, ended_at=None)
    assert (approval.row_code, str(approval.low), approval.unit) == (
        "RENAL-TARGET-R1",
        "5.000000",
        "ng/mL",
    )
    page = client.get("/rules/approvals/").content.decode()
    assert "5 to 7 ng/mL" in page
    assert "5 to 7 ng/mL" in client.get(address).content.decode()
    assert client.post(address, {"act": "withdraw"}).status_code == 422
    end = {"act": "withdraw", "withdraw-reason": "Too low", "withdraw-password": PASSWORD}
    assert client.post(address, end | {"withdraw-password": "no"}).status_code == 422
    assert client.post(address, end).status_code == 302
    again = client.post(address, end, follow=True).content.decode()
    assert "Nothing of RENAL-TARGET-R1 is approved" in again
    assert not LocalApproval.objects.filter(ended_at=None).exists()


def test_a_code_of_two_tables_is_decided_with_both_rows_in_sight(approver: User) -> None:
    page = signed_in(approver).get("/rules/approvals/HEART-HIGH-TROUGHS/")
    assert [each["title"] for each in page.context["rows"]] == ["Findings", "Numbers"]


def test_only_an_approver_decides_for_the_clinic(editor: User) -> None:
    client = signed_in(editor)
    assert client.get("/rules/approvals/").status_code == 200
    assert client.get("/rules/approvals/RENAL-TARGET-R1/").status_code == 403


def test_a_row_that_needs_no_approval_is_not_found(approver: User) -> None:
    assert signed_in(approver).get("/rules/approvals/NO-SUCH-ROW/").status_code == 404
