"""Which rule book is in force, what the linter says of another, what a clinic has approved."""

from collections.abc import Container, Iterable
from dataclasses import replace
from datetime import datetime

from django.db.models import Max, Q, QuerySet

from dosing.rules.engine import facts, rows, rulebook
from dosing.rules.linter import Level, LintFinding, lint
from dosing.rules.loading import engine_book, stored_book
from dosing.rules.models import (
    OPEN,
    TABLES,
    LintAnswer,
    LocalApproval,
    RuleBook,
    RuleBookStatus,
    RuleRow,
)
from dosing.rules.toml_book import delivered
from tacroweb.accounts.models import Clinic
from tacroweb.audit.ledger import digest_of
from tacroweb.refusals import Refusal


class NoPublishedBook(Refusal):
    """No rule book is in force, so nothing can be assessed."""

    code = "no_published_book"


def published_version() -> RuleBook:
    """The row of the book in force, without its text. One query; raises `NoPublishedBook`."""
    row = RuleBook.objects.filter(status=RuleBookStatus.PUBLISHED).defer("text").first()
    if row is None:
        raise NoPublishedBook(
            "No rule book is published. Ask whoever runs TacroWeb to run: manage.py seed_rules"
        )
    return row


def book_under_way() -> RuleBook | None:
    """The draft, or the book in review, without its text; one at most."""
    return RuleBook.objects.filter(status__in=OPEN).defer("text").order_by("-status").first()


def published_book() -> rulebook.RuleBook:
    """The book in force. Asks for its version each time, so a new one counts at once everywhere."""
    return engine_book(published_version())


def book_version(version: str) -> rulebook.RuleBook:
    """The book of this version, whatever its status. Raises `RuleBook.DoesNotExist` and, for a
    draft, `NoRuleBook`."""
    return engine_book(RuleBook.objects.defer("text").get(version=version))


def newest_version(row: RuleRow) -> int:
    """The number of the row's newest version, by which an editor says which one they saw."""
    found: int = row.history.latest("history_id").pk
    return found


def newest_versions(model: type[RuleRow], book: RuleBook) -> dict[int, int]:
    """The same of every row of one table of a book, by the row's key; one query."""
    found = model.history.filter(book_id=book.pk).values_list("id").annotate(Max("history_id"))
    return dict(found.order_by())


def lint_of(book: RuleBook, *, at: datetime) -> tuple[LintFinding, ...]:
    """What the linter says of a book as it stands, beside the one in force.

    Raises `NoRuleBook` for rows that contradict one another.
    """
    in_force = RuleBook.objects.filter(status=RuleBookStatus.PUBLISHED).exclude(pk=book.pk).first()
    return lint(
        stored_book(book),
        published=engine_book(in_force) if in_force else None,
        delivered=delivered(),
        today=at.date(),
    )


def lint_sha256(found: LintFinding) -> str:
    """The digest by which a warning is found again, in the same words about the same value."""
    return digest_of(
        {
            "kind": found.check,
            "table": found.table,
            "row": found.row,
            "value": found.value,
            "message": found.message,
        }
    )


def answered_warnings(book: RuleBook) -> dict[str, LintAnswer]:
    """The reasons for which warnings are accepted in this book, by `lint_sha256`."""
    return {answer.sha256: answer for answer in LintAnswer.objects.filter(book=book)}


def without_answer(found: Iterable[LintFinding], *, book: RuleBook) -> list[LintFinding]:
    """The warnings among the linter's findings that nobody has given a reason for yet."""
    answered = answered_warnings(book)
    return [
        each for each in found if each.level is Level.WARNING and lint_sha256(each) not in answered
    ]


def hands_in(book: RuleBook) -> set[int]:
    """Everybody who had a hand in what a book says: who drafted it, added, changed or removed a
    row, or gave a reason for a warning. They may not approve it."""
    kept = [
        RuleBook.history.filter(id=book.pk, history_type="+"),
        LintAnswer.history.filter(book_id=book.pk),
        *(model.history.filter(book_id=book.pk) for model in TABLES.values()),
    ]
    hands: set[int | None] = set()
    for versions in kept:
        hands.update(versions.order_by().values_list("history_user_id", flat=True).distinct())
    return {hand for hand in hands if hand is not None}


def approvals_of(clinic: Clinic, *, at: datetime | None = None) -> QuerySet[LocalApproval]:
    """The clinic's approvals that stand (at a moment), newest first, with their books."""
    approvals = LocalApproval.objects.filter(clinic=clinic).select_related("book")
    if at is None:
        approvals = approvals.filter(ended_at__isnull=True)
    else:
        approvals = approvals.filter(approved_at__lte=at).filter(
            Q(ended_at__isnull=True) | Q(ended_at__gt=at)
        )
    return approvals.defer("book__text").order_by("-approved_at", "-pk")


def approvals_changed(clinic_id: int, *, since: datetime) -> bool:
    """Whether the clinic has approved a row or ended an approval since then."""
    changed = Q(approved_at__gt=since) | Q(ended_at__gt=since)
    return LocalApproval.objects.filter(changed, clinic=clinic_id).exists()


def local_approvals(
    clinic: Clinic, *, book: rulebook.RuleBook, at: datetime
) -> tuple[facts.LocalApproval, ...]:
    """What the clinic has approved at `at`, as facts of a case. One query.

    Only for the rows that `book` still has as they were approved: what is said there otherwise has
    to be approved anew.
    """
    given = list(approvals_of(clinic, at=at))
    lapsed = lapsed_approvals(given, book=book)
    return tuple(
        facts.LocalApproval(
            row=each.row_code,
            approved_on=each.approved_at.astimezone(clinic.zone).date(),
            low=each.low,
            high=each.high,
        )
        for each in given
        if each not in lapsed
    )


def lapsed_approvals(
    given: Iterable[LocalApproval], *, book: rulebook.RuleBook
) -> list[LocalApproval]:
    """Those whose row is gone from `book`, or says something else there. Other words about the
    same numbers are nothing else."""
    before = {each.book.version: each.book for each in given}
    codes = {each.row_code for each in given}
    now = rows_to_approve(book, codes) if set(before) - {book.version} else {}
    then = {
        version: rows_to_approve(engine_book(row), codes)
        for version, row in before.items()
        if version != book.version
    }
    return [
        each
        for each in given
        if each.book.version in then
        and then[each.book.version].get(each.row_code) != now.get(each.row_code)
    ]


def rows_to_approve(
    book: rulebook.RuleBook, codes: Container[str] | None = None
) -> dict[str, dict[str, rows.Row]]:
    """The rows that wait for local approval by code and table, in their substance alone; of these
    `codes` where they are given."""
    found: dict[str, dict[str, rows.Row]] = {}
    for table, every in book.tables().items():
        for row in every:
            if row.needs_local_approval and (codes is None or row.code in codes):
                bare = replace(row, source="", citations=(), reviewed_by="", reviewed_on=None)
                found.setdefault(row.code, {})[table] = bare
    return found
