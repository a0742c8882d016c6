"""A rule book's way: drafted, edited, linted, put forward, approved by another, gone back to."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError

from dosing.rules import toml_book
from dosing.rules.difference import diff
from dosing.rules.linter import Level, LintFinding
from dosing.rules.loading import engine_book
from dosing.rules.models import TABLES, Finding, LintAnswer, Number, RuleBook, RuleBookStatus
from dosing.rules.selectors import (
    answered_warnings,
    hands_in,
    lint_of,
    newest_version,
    newest_versions,
    published_book,
    published_version,
    without_answer,
)
from dosing.rules.services import (
    BookNotPublishable,
    BookNotSound,
    DraftOpen,
    NotADraft,
    NotTheApprover,
    StaleRow,
    add_row,
    answer_warning,
    digest_of_text,
    discard_draft,
    draft_book,
    edit_row,
    publish_book,
    remove_row,
    return_to_draft,
    rollback_book,
    submit_for_review,
)
from dosing.rules.signals import rule_book_published
from tacroweb.accounts.models import Clinic
from tacroweb.accounts.roles import Role
from tacroweb.accounts.services import end_role
from tacroweb.audit import ledger
from tacroweb.audit.models import LedgerEntry
from tacroweb.audit.signature import Signature, UnsignedWrite
from tacroweb.audit.timeline import in_words
from tacroweb.audit.verify import verify
from tests.factories import NOW, a_person, a_signature, by_system, for_all

pytestmark = pytest.mark.django_db
Hand = Signature


def row_of(book: RuleBook, code: str, table: str = "numbers") -> Any:
    return TABLES[table].objects.select_related("book").get(book=book, code=code)


def changed(book: RuleBook, value: str = "12", *, by: Hand) -> Number:
    """The guard on the dose as another number: a change of which the linter only warns."""
    row = row_of(book, "MAX-MG-PER-DAY")
    row.value = value
    edit_row(row=row, seen=newest_version(row), by=by)
    return row_of(book, "MAX-MG-PER-DAY")


def accepted(book: RuleBook, *, by: Hand) -> None:
    """A reason for whatever the linter warns of."""
    for found in without_answer(lint_of(book, at=NOW), book=book):
        answer_warning(book=book, found=found, at=NOW, by=by)


def submitted(book: RuleBook, *, by: Hand) -> RuleBook:
    accepted(book, by=by)
    return submit_for_review(book=book, at=NOW, by=by)


def state() -> tuple[Any, ...]:
    """Everything that a refused act must leave as it was."""
    return (
        LedgerEntry.objects.count(),
        list(RuleBook.objects.order_by("pk").values()),
        RuleBook.history.count(),
        Number.history.count(),
        Finding.history.count(),
        LintAnswer.history.count(),
    )


@pytest.fixture
def no_ledger(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def fails(*args: object) -> None:
        raise OSError("no ledger")

    return lambda: monkeypatch.setattr(ledger, "append", fails)


# Drafting


def test_a_draft_begins_with_the_rows_in_force_under_the_next_version(draft: RuleBook) -> None:
    published = published_version()
    assert (draft.version, draft.status) == ("2026-03", RuleBookStatus.DRAFT)
    assert (draft.based_on, draft.text, draft.sha256) == (published, "", "")
    assert diff(engine_book(published), engine_book(draft)) == ()
    entry = LedgerEntry.objects.latest("pk")
    assert (entry.act, entry.chain.name) == ("Rule book drafted", "system")
    assert entry.subjects.get().subject == "rulebook:2026-03"
    assert verify().breaks == ()


def test_the_version_counts_on_within_the_year(editor: Hand) -> None:
    later = draft_book(title="Next year’s", at=NOW.replace(year=2027), by=editor)
    assert (later.version, later.title) == ("2027-01", "Next year’s")


def test_one_draft_at_a_time_with_a_reason_and_without_a_clinic(
    draft: RuleBook, editor: Hand, clinic: Clinic
) -> None:
    before = state()
    with pytest.raises(DraftOpen, match="2026-03 is draft: one is worked on at a time"):
        draft_book(at=NOW, by=editor)
    with pytest.raises(DraftOpen):
        rollback_book(to=RuleBook.objects.get(version="2026-01"), at=NOW, by=editor)
    assert before == state()
    submitted(draft, by=editor)
    of_clinic = a_signature(clinic, reason="My clinic’s book.")
    before = state()
    with pytest.raises(DraftOpen, match="is in review"):
        draft_book(at=NOW, by=editor)
    with pytest.raises(ValidationError, match="Say why"):
        draft_book(at=NOW, by=editor.because(" "))
    with pytest.raises(UnsignedWrite, match="sign without a clinic"):
        draft_book(at=NOW, by=of_clinic)
    assert before == state()


def test_a_draft_whose_entry_cannot_be_written_is_none(
    editor: Hand, no_ledger: Callable[[], None]
) -> None:
    before = state()
    no_ledger()
    with pytest.raises(OSError, match="no ledger"):
        draft_book(at=NOW, by=editor)
    assert before == state()


def test_a_draft_is_given_up_and_kept(draft: RuleBook, editor: Hand, approver: Hand) -> None:
    with pytest.raises(ValidationError, match="Say why"):
        discard_draft(book=draft, at=NOW, by=editor.because(""))
    given_up = discard_draft(book=draft, at=NOW, by=editor)
    assert (given_up.status, given_up.published_at) == (RuleBookStatus.RETIRED, None)
    assert published_version().version == "2026-02"
    with pytest.raises(NotADraft, match="retired: its rows are settled"):
        discard_draft(book=draft, at=NOW, by=editor)
    with pytest.raises(BookNotPublishable):
        publish_book(book=given_up, at=NOW, by=approver)
    with pytest.raises(ValidationError, match="never in force"):
        rollback_book(to=given_up, at=NOW, by=editor)
    assert draft_book(at=NOW, by=editor).version == "2026-04"


# Rows


def test_a_row_is_changed_with_its_history(draft: RuleBook, editor: Hand) -> None:
    row = changed(draft, by=editor)
    assert engine_book(draft).index.numbers[row.code] == 12
    last, first = row.history.order_by("-history_id")
    assert (last.history_type, last.history_actor) == ("~", editor.actor_name)
    assert last.history_change_reason == editor.reason
    assert (first.history_type, first.value) == ("+", 10)
    assert newest_versions(Number, draft)[row.pk] == newest_version(row) == last.pk
    assert verify().breaks == ()


def test_what_is_as_it_was_is_not_written_again(draft: RuleBook, editor: Hand) -> None:
    before = state()
    changed(draft, "10.000", by=editor)
    assert before == state()


def test_a_row_is_added_and_removed_with_its_history(draft: RuleBook, editor: Hand) -> None:
    added = Number(book=draft, code="OWN-NUMBER", value="3", unit="d", origin="LOCAL", source="We.")
    add_row(row=added, by=editor)
    pk = added.pk
    assert [row.code for row in engine_book(draft).numbers][-1] == "OWN-NUMBER"
    with pytest.raises(ValidationError, match="there already"):
        add_row(row=added, by=editor)
    with pytest.raises(ValidationError, match="with this code already"):
        add_row(row=Number(book=draft, code="OWN-NUMBER", value="3", unit="d", origin="LOCAL",
                           source="We."), by=editor)  # fmt: skip
    remove_row(row=added, seen=newest_version(added), by=editor.because("No use."))
    last = Number.history.filter(id=pk).latest("history_id")
    assert (last.history_type, last.history_change_reason) == ("-", "No use.")
    assert diff(published_book(), engine_book(draft)) == ()
    assert verify().breaks == ()


def test_the_audit_tells_the_acts_on_a_draft_in_words(draft: RuleBook, editor: Hand) -> None:
    changed(draft, by=editor)
    remove_row(row=row_of(draft, "MAX-MG-PER-DAY"), by=editor)
    removed, edited = LedgerEntry.objects.select_related("chain").order_by("-pk")[:2]
    (line, other) = in_words([removed, edited])
    assert [(row.title, row.is_removed, row.changes) for row in line.rows] == [
        ("Number: MAX-MG-PER-DAY", True, ())
    ]
    assert [(row.is_removed, row.changes) for row in other.rows] == [
        (False, (("Value", "10", "12"),))
    ]


def test_an_act_on_a_row_needs_a_reason_and_a_sound_value(draft: RuleBook, editor: Hand) -> None:
    row = row_of(draft, "MAX-MG-PER-DAY")
    new = Number(book=draft, code="NEW", value="3", unit="d", origin="LOCAL", source="We.")
    before = state()
    for act in (
        lambda by: edit_row(row=row, by=by),
        lambda by: remove_row(row=row, by=by),
        lambda by: add_row(row=new, by=by),
    ):
        with pytest.raises(ValidationError, match="Say why"):
            act(editor.because(" "))
    row.code = "ANOTHER"
    with pytest.raises(ValidationError, match="names the row in every book"):
        edit_row(row=row, by=editor)
    for name, value, words in (
        ("value", "12.3456789", "12 digits|6 decimal"),
        ("value", "ten", "must be a decimal"),
        ("statements", "S7,S9", "Part them by a comma and a blank"),
        ("statements", "S7, S7", "stands twice"),
        ("origin", "HEARSAY", "not a valid choice"),
        ("unit", "", "cannot be blank"),
    ):
        row = row_of(draft, "MAX-MG-PER-DAY")
        setattr(row, name, value)
        with pytest.raises(ValidationError, match=words):
            edit_row(row=row, by=editor)
    assert before == state()


@pytest.mark.parametrize("act", [edit_row, remove_row])
def test_of_two_editors_the_second_is_told_who_was_first_and_what_changed(
    draft: RuleBook, editor: Hand, clinic: Clinic, act: Any
) -> None:
    row = row_of(draft, "MAX-MG-PER-DAY")
    seen = newest_version(row)
    other = for_all(a_person(clinic, Role.RULE_EDITOR), "I was first.")
    changed(draft, "11", by=other)
    before = state()
    row.value = 9
    with pytest.raises(StaleRow) as refused:
        act(row=row, seen=seen, by=editor)
    assert "MAX-MG-PER-DAY was changed by" in refused.value.message
    assert f"{other.actor_name} (I was first.)" in refused.value.message
    assert "value from “10.000000” to “11.000000”" in refused.value.message
    assert before == state()
    remove_row(row=row_of(draft, "MAX-MG-PER-DAY"), by=other)
    with pytest.raises(StaleRow, match="not in this draft any more: removed by"):
        act(row=row, seen=seen, by=editor)


def test_a_row_of_a_book_that_is_no_draft_is_settled(draft: RuleBook, editor: Hand) -> None:
    settled = row_of(published_version(), "MAX-MG-PER-DAY")
    own = row_of(draft, "MAX-MG-PER-DAY")
    submitted(draft, by=editor)
    before = state()
    for row in (settled, own):
        for act in (edit_row, remove_row):
            with pytest.raises(NotADraft, match="its rows are settled"):
                act(row=row, by=editor)
    with pytest.raises(NotADraft):
        add_row(row=Number(book=draft, code="NEW", value="3", unit="d", origin="LOCAL",
                           source="We."), by=editor)  # fmt: skip
    assert before == state()


@pytest.mark.parametrize("act", [edit_row, remove_row])
def test_an_act_on_a_row_whose_entry_cannot_be_written_leaves_it(
    draft: RuleBook, editor: Hand, act: Any, no_ledger: Callable[[], None]
) -> None:
    row = row_of(draft, "MAX-MG-PER-DAY")
    row.value = 9
    before = state()
    no_ledger()
    with pytest.raises(OSError, match="no ledger"):
        act(row=row, by=editor)
    assert before == state()
    assert row_of(draft, "MAX-MG-PER-DAY").value == 10


# Linter and review


def test_a_book_with_an_error_is_not_put_forward(draft: RuleBook, editor: Hand) -> None:
    row = row_of(draft, "IR-CAPSULE-1", "strengths")
    row.strength_mg = 0
    edit_row(row=row, by=editor)
    before = state()
    wrong = "contradict one another: strengths: IR-CAPSULE-1 must be more"
    with pytest.raises(BookNotSound, match=wrong):
        submit_for_review(book=draft, at=NOW, by=editor)
    row.strength_mg = 1
    edit_row(row=row, by=editor)
    row = row_of(draft, "MAX-MG-PER-DAY")
    row.source = " x"
    row.citations = "NO-SUCH-CITATION"
    edit_row(row=row, by=editor)
    assert before[0] + 2 == state()[0]
    with pytest.raises(BookNotSound, match=r"1 error must be mended first\. .*NO-SUCH-CITATION"):
        submit_for_review(book=draft, at=NOW, by=editor)
    draft.refresh_from_db()
    assert draft.status == RuleBookStatus.DRAFT


def lowered(draft: RuleBook, *, by: Hand) -> LintFinding:
    """A finding made less severe, which the linter warns of."""
    row = row_of(draft, "SEL-NOT-FIRST-LINE", "findings")
    row.severity = "CAUTION"
    edit_row(row=row, by=by)
    (found,) = (
        found
        for found in lint_of(draft, at=NOW)
        if found.level is Level.WARNING and found.row == row.code and found.check == "SEVERITY"
    )
    return found


def test_a_warning_needs_a_reason_which_is_kept(draft: RuleBook, editor: Hand) -> None:
    found = lowered(draft, by=editor)
    with pytest.raises(BookNotSound, match=r"needs? a reason first\. .*SEL-NOT-FIRST-LINE"):
        submit_for_review(book=draft, at=NOW, by=editor)
    with pytest.raises(ValidationError, match="Say why"):
        answer_warning(book=draft, found=found, at=NOW, by=editor.because(""))
    answer = answer_warning(book=draft, found=found, at=NOW, by=editor.because("Agreed in 2026."))
    again = answer_warning(book=draft, found=found, at=NOW, by=editor.because("Agreed in May."))
    assert answer.pk == again.pk
    (kept,) = answered_warnings(draft).values()
    assert (kept.reason, kept.row, kept.message) == ("Agreed in May.", found.row, found.message)
    accepted(draft, by=editor)
    assert submit_for_review(book=draft, at=NOW, by=editor).status == RuleBookStatus.IN_REVIEW


def test_only_what_the_linter_warns_of_is_answered(
    draft: RuleBook, editor: Hand, no_ledger: Callable[[], None]
) -> None:
    found = lowered(draft, by=editor)
    before = state()
    for other in (replace(found, message="It said so."), replace(found, level=Level.ERROR)):
        with pytest.raises(ValidationError, match="does not warn of this any more"):
            answer_warning(book=draft, found=other, at=NOW, by=editor)
    with pytest.raises(NotADraft):
        answer_warning(book=published_version(), found=found, at=NOW, by=editor)
    no_ledger()
    with pytest.raises(OSError, match="no ledger"):
        answer_warning(book=draft, found=found, at=NOW, by=editor)
    assert before == state()


def test_a_book_put_forward_says_its_text_and_comes_back_without(
    draft: RuleBook, editor: Hand, approver: Hand
) -> None:
    with pytest.raises(ValidationError, match="Say why"):
        submit_for_review(book=draft, at=NOW, by=editor.because(""))
    before = engine_book(draft)
    book = submitted(draft, by=editor)
    assert book.text == toml_book.write(before)
    assert book.sha256 == digest_of_text(book.text)
    assert engine_book(book) == before
    with pytest.raises(NotADraft):
        submit_for_review(book=draft, at=NOW, by=editor)
    with pytest.raises(ValidationError, match="Say why"):
        return_to_draft(book=book, by=approver.because(""))
    back = return_to_draft(book=book, by=approver.because("The number is too high."))
    assert (back.status, back.text, back.sha256) == (RuleBookStatus.DRAFT, "", "")
    changed(back, by=editor)
    with pytest.raises(BookNotPublishable, match="is a draft"):
        return_to_draft(book=back, by=approver)
    assert engine_book(submitted(back, by=editor)).index.numbers["MAX-MG-PER-DAY"] == 12


# Approval


def test_another_person_approves_and_the_rules_change_at_once(
    draft: RuleBook,
    editor: Hand,
    approver: Hand,
    django_capture_on_commit_callbacks: Callable[..., Any],
) -> None:
    heard = []
    former = published_version()

    def listen(*, version: str, **kwargs: object) -> None:
        heard.append(version)

    rule_book_published.connect(listen)
    changed(draft, by=editor)
    submitted(draft, by=editor)
    with django_capture_on_commit_callbacks(execute=True):
        book = publish_book(book=draft, at=NOW, by=approver.because("Checked against the label."))
    rule_book_published.disconnect(listen)
    assert (book.status, book.published_at, heard) == (
        RuleBookStatus.PUBLISHED,
        NOW,
        ["2026-03"],
    )
    assert published_book().index.numbers["MAX-MG-PER-DAY"] == 12
    former.refresh_from_db()
    assert (former.status, former.retired_at) == (RuleBookStatus.RETIRED, NOW)
    entry = LedgerEntry.objects.filter(act="Rule book published").latest("pk")
    assert (entry.actor_name, entry.reason) == (approver.actor_name, "Checked against the label.")
    assert verify().breaks == ()


def test_whoever_had_a_hand_in_a_draft_does_not_approve_it(
    draft: RuleBook, editor: Hand, clinic: Clinic, approver: Hand
) -> None:
    def both() -> Hand:
        person = a_person(clinic, Role.RULE_EDITOR, Role.RULE_APPROVER)
        return for_all(person, "Both roles.")

    changer, adder, remover, answerer, drafter_too = (both() for _ in range(5))
    changed(draft, by=changer)
    own = Number(book=draft, code="OWN", value="3", unit="d", origin="LOCAL", source="We.")
    add_row(row=own, by=adder)
    remove_row(row=row_of(draft, "OWN"), by=remover)
    lowered(draft, by=changer)
    accepted(draft, by=answerer)
    book = submit_for_review(book=draft, at=NOW, by=drafter_too)
    before = state()
    for hand in (changer, adder, remover, answerer):
        with pytest.raises(NotTheApprover, match="had a hand in rule book 2026-03 yourself"):
            publish_book(book=book, at=NOW, by=hand)
    with pytest.raises(NotTheApprover, match="Only a person who may approve"):
        publish_book(book=book, at=NOW, by=editor)
    assert hands_in(book) == {hand.actor_id for hand in (editor, changer, adder, remover, answerer)}
    assert before == state()
    back = return_to_draft(book=book, by=approver)
    submit_for_review(book=back, at=NOW, by=approver)
    assert publish_book(book=book, at=NOW, by=approver).status == RuleBookStatus.PUBLISHED


def test_whoever_drafted_does_not_approve(clinic: Clinic) -> None:
    hand = for_all(a_person(clinic, Role.RULE_EDITOR, Role.RULE_APPROVER), "Both roles.")
    book = submitted(draft_book(at=NOW, by=hand), by=hand)
    with pytest.raises(NotTheApprover, match="yourself"):
        publish_book(book=book, at=NOW, by=hand)


def test_the_permission_must_be_held_on_the_day(
    draft: RuleBook, editor: Hand, clinic: Clinic
) -> None:
    person = a_person(clinic, Role.RULE_APPROVER)
    book = submitted(draft, by=editor)
    end_role(
        membership=person.memberships.get(),
        until_on=NOW.date().replace(day=1),
        by=by_system(clinic),
    )
    before = state()
    for hand in (for_all(person), by_system(reason="The software itself.")):
        with pytest.raises(NotTheApprover, match="Only a person who may approve"):
            publish_book(book=book, at=NOW, by=hand)
    assert before == state()


def test_a_book_is_published_once_with_a_reason_and_from_review_only(
    draft: RuleBook, editor: Hand, approver: Hand
) -> None:
    with pytest.raises(BookNotPublishable, match="Put it forward for review first"):
        publish_book(book=draft, at=NOW, by=approver)
    book = submitted(draft, by=editor)
    with pytest.raises(ValidationError, match="Say why"):
        publish_book(book=book, at=NOW, by=approver.because(""))
    publish_book(book=book, at=NOW, by=approver)
    before = state()
    for version in ("2026-01", "2026-02", "2026-03"):
        with pytest.raises(BookNotPublishable, match="Draft a new version"):
            publish_book(book=RuleBook.objects.get(version=version), at=NOW, by=approver)
    assert before == state()


def test_what_became_an_error_meanwhile_is_not_published(
    draft: RuleBook, editor: Hand, approver: Hand
) -> None:
    """A day of review that is still to come, by the day on which it is published."""
    row = row_of(draft, "MAX-MG-PER-DAY")
    row.reviewed_by, row.reviewed_on = "Dr Sato", NOW.date()
    edit_row(row=row, by=editor)
    book = submitted(draft, by=editor)
    before = state()
    with pytest.raises(BookNotSound, match="error must be mended"):
        publish_book(book=book, at=NOW - timedelta(days=2), by=approver)
    assert before == state()


@pytest.mark.parametrize("step", ["submit", "return", "publish", "discard"])
def test_a_step_whose_entry_cannot_be_written_is_not_made(
    draft: RuleBook, editor: Hand, approver: Hand, step: str, no_ledger: Callable[[], None]
) -> None:
    if step in ("return", "publish"):
        submitted(draft, by=editor)
    act = {
        "submit": lambda: submit_for_review(book=draft, at=NOW, by=editor),
        "return": lambda: return_to_draft(book=draft, by=approver),
        "publish": lambda: publish_book(book=draft, at=NOW, by=approver),
        "discard": lambda: discard_draft(book=draft, at=NOW, by=editor),
    }[step]
    before = state()
    no_ledger()
    with pytest.raises(OSError, match="no ledger"):
        act()
    assert before == state()
    assert published_version().version == "2026-02"


# Going back


def test_going_back_is_a_new_book_that_goes_the_same_way(
    editor: Hand, approver: Hand, no_ledger: Callable[[], None]
) -> None:
    earlier = RuleBook.objects.get(version="2026-01")
    with pytest.raises(ValidationError, match="Say why"):
        rollback_book(to=earlier, at=NOW, by=editor.because(""))
    draft = rollback_book(to=earlier, at=NOW, by=editor.because("Back to the first book."))
    assert (draft.version, draft.based_on) == ("2026-03", earlier)
    assert diff(engine_book(earlier), engine_book(draft)) == ()
    with pytest.raises(BookNotPublishable):
        publish_book(book=draft, at=NOW, by=approver)
    assert published_version().version == "2026-02"
    discard_draft(book=draft, at=NOW, by=editor)
    before = state()
    no_ledger()
    with pytest.raises(OSError, match="no ledger"):
        rollback_book(to=earlier, at=NOW, by=editor)
    assert before == state()
