"""The life of a rule book: delivered or drafted, edited, reviewed, put in force, retired.

And what each clinic decides for itself on the rows that wait for its approval.
"""

import hashlib
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any

from django.core.exceptions import PermissionDenied, ValidationError
from django.db import transaction
from django.db.models import Q

from dosing.rules import toml_book
from dosing.rules.engine import rows, rulebook
from dosing.rules.engine.quantities import shown
from dosing.rules.linter import Level, LintFinding
from dosing.rules.loading import NoRuleBook, engine_book, model_rows, stored_book
from dosing.rules.models import (
    OPEN,
    LintAnswer,
    LocalApproval,
    RuleBook,
    RuleBookStatus,
    RuleRow,
)
from dosing.rules.selectors import (
    answered_warnings,
    hands_in,
    lint_of,
    lint_sha256,
    published_version,
    rows_to_approve,
    without_answer,
)
from dosing.rules.signals import local_approvals_changed, rule_book_published
from tacroweb.accounts.models import Clinic, Membership
from tacroweb.accounts.roles import PERMISSIONS, Permission, Role
from tacroweb.audit.ledger import service
from tacroweb.audit.models import add_all
from tacroweb.audit.signature import Signature, UnsignedWrite
from tacroweb.refusals import Refusal

SHOWN = 3  # findings named in a refusal; the linter's list shows all


class BookNotPublishable(Refusal):
    """The book is not in review: nobody has put it forward, or it is in force already or was."""

    code = "book_not_publishable"


class DraftOpen(Refusal):
    """There is a draft, or a book in review, already: one at a time."""

    code = "draft_open"


class NotADraft(Refusal):
    """The book is no draft any more, so its rows are settled."""

    code = "not_a_draft"


class StaleRow(Refusal):
    """Somebody else has changed or removed the row since it was read."""

    code = "stale_row"


class BookNotSound(Refusal):
    """The linter has found an error, or a warning that nobody has given a reason for."""

    code = "book_not_sound"


class NotTheApprover(Refusal):
    """Who approves must hold the permission, and must have had no hand in the draft."""

    code = "not_the_approver"


class NothingToApprove(Refusal):
    """No row of the book in force waits for this approval, or it has been given or ended."""

    code = "nothing_to_approve"


def digest_of_text(text: str) -> str:
    """The SHA-256 by which a book's text is known."""
    return hashlib.sha256(text.encode()).hexdigest()


def content_sha256(book: RuleBook) -> str:
    """The digest of what the book says at this moment, a draft too; it changes with any row."""
    return book.sha256 or digest_of_text(toml_book.write(stored_book(book)))


@service("Rule book added")
def add_book(*, text: str, by: Signature, shipped: bool = False) -> RuleBook:
    """Keep a book's TOML as the rows of a draft of the version that it names.

    One that is `shipped` with a release takes the next number where its own is taken. Raises
    `ValidationError` when the text is not a rule book, its version is there already, or another
    draft is open.
    """
    try:
        book = toml_book.read(text)
    except ValueError as error:
        raise ValidationError({"text": f"This is not a rule book: {error}"}) from error
    if not shipped:
        return _add(book, by=by)
    versions = list(RuleBook.objects.values_list("version", flat=True))
    if book.version in versions:
        book = replace(book, version=_next_version(versions, year=book.version.partition("-")[0]))
    return _add(book, shipped_sha256=digest_of_text(text), by=by)


@service("Rule book delivered")
def deliver_book(*, text: str, at: datetime, by: Signature) -> RuleBook:
    """Put a book that comes with this release in force at once, its text to the letter.

    For an installation without a rule book: nobody there has decided anything yet, and without one
    nobody can be treated. Raises `BookNotPublishable` where a book did not come that way or a
    person had a hand in one, and as `add_book`.
    """
    decided = RuleBook.objects.filter(Q(shipped_sha256="") | Q(status__in=OPEN)).exists()
    if by.actor_id or decided or RuleBook.history.filter(history_user__isnull=False).exists():
        raise BookNotPublishable(
            "This installation has rule books of its own: a book that comes with a release waits "
            "as a draft until somebody approves it."
        )
    book = add_book(text=text, shipped=True, by=by)
    _settle(book, text, by=by)
    return _put_in_force(book, at=at, by=by)


@service("Rule book drafted")
def draft_book(*, title: str = "", at: datetime, by: Signature) -> RuleBook:
    """Open a draft with the rows of the book in force, under the next version of the year.

    Raises `ValidationError` without a reason, `DraftOpen`, and `NoPublishedBook`.
    """
    return _draft_from(published_version(), title=title, at=at, by=by)


@service("Rule book drafted from an earlier one")
def rollback_book(*, to: RuleBook, title: str = "", at: datetime, by: Signature) -> RuleBook:
    """Open a draft with the rows of an earlier book: a new version, which goes the same way.

    Raises `ValidationError` without a reason or for a book that was never in force, `DraftOpen`.
    """
    if to.published_at is None:
        raise ValidationError(f"Rule book {to} was never in force: there is no going back to it.")
    return _draft_from(to, title=title, at=at, by=by)


@service("Rule row changed")
def edit_row(*, row: RuleRow, seen: int | None = None, by: Signature) -> RuleRow:
    """Write the changed `row` of a draft. What is as it was is not written again.

    `seen` is the version that the editor saw (`newest_version`); without it the caller has read the
    row within the same transaction. Raises `ValidationError` without a reason or for a wrong value
    or another code, `NotADraft`, and `StaleRow` when somebody else was there first.
    """
    _for_all(by)
    book = _locked_draft(row.book)
    stored = _as_seen(row, seen)
    if stored.code != row.code:
        raise ValidationError(
            {"code": "The code names the row in every book. Remove the row and add another."}
        )
    row.book = book
    row.clean_fields()
    if _values(row) != _values(stored):
        row.sign(by).save()
    return row


@service("Rule row added")
def add_row(*, row: RuleRow, by: Signature) -> RuleRow:
    """Add a row to the draft that it names. Raises as `edit_row`."""
    _for_all(by)
    if row.pk is not None:
        raise ValidationError("This row is there already.")
    row.book = _locked_draft(row.book)
    row.sign(by).save()
    return row


@service("Rule row removed")
def remove_row(*, row: RuleRow, seen: int | None = None, by: Signature) -> None:
    """Remove a row from a draft; its history stays. Raises as `edit_row`."""
    _for_all(by)
    book = _locked_draft(row.book)
    stored = _as_seen(row, seen)
    stored.book = book
    stored.sign(by).delete()


@service("Warning of a rule book accepted")
def answer_warning(
    *, book: RuleBook, found: LintFinding, at: datetime, by: Signature
) -> LintAnswer:
    """Keep the reason in `by` for which a warning of the linter is accepted in a draft.

    A second answer to the same warning replaces the first. Raises `ValidationError` without a
    reason or for what the linter does not say, and `NotADraft`.
    """
    _for_all(by)
    book = _locked_draft(book)
    if found.level is not Level.WARNING or found not in lint_of(book, at=at):
        raise ValidationError("The linter does not warn of this any more. Look at its list again.")
    sha256 = lint_sha256(found)
    answer = answered_warnings(book).get(sha256) or LintAnswer(
        book=book,
        kind=found.check,
        table=found.table,
        row=found.row,
        value=found.value,
        message=found.message,
        sha256=sha256,
    )
    answer.reason = by.reason
    answer.sign(by).save()
    return answer


@service("Rule book put forward for review")
def submit_for_review(*, book: RuleBook, at: datetime, by: Signature) -> RuleBook:
    """Settle a draft: its rows are held, its text is written, and others look at it.

    Raises `ValidationError` without a reason, `NotADraft`, `DraftOpen` while another book is in
    review, and `BookNotSound`.
    """
    _for_all(by)
    book = _locked_draft(book)
    _check_sound(book, at=at)
    _settle(book, toml_book.write(stored_book(book)), by=by)
    return book


@service("Rule book sent back to its editors")
def return_to_draft(*, book: RuleBook, by: Signature) -> RuleBook:
    """Open the rows of a book in review again. Raises `ValidationError` without a reason and
    `BookNotPublishable` for a book that is not in review."""
    _for_all(by)
    book = _in_review(locked_books()[book.pk])
    book.status, book.text, book.sha256 = RuleBookStatus.DRAFT, "", ""
    book.sign(by).save()
    return book


@service("Rule book discarded")
def discard_draft(*, book: RuleBook, at: datetime, by: Signature) -> RuleBook:
    """Give a draft up: its rows are kept, retired without ever having been in force.

    Raises `ValidationError` without a reason and `NotADraft`.
    """
    _for_all(by)
    book = _locked_draft(book)
    book.status, book.retired_at = RuleBookStatus.RETIRED, at
    book.sign(by).save()
    return book


@service("Rule book published")
def publish_book(*, book: RuleBook, at: datetime, by: Signature) -> RuleBook:
    """Put a book in force that is in review, and retire the one before it, both or neither.

    Whoever has a task that depends on the rules hears of it after the commit
    (`rule_book_published`). Raises `ValidationError` without a reason, `BookNotPublishable` for a
    book that is not in review, `NotTheApprover`, and `BookNotSound`.
    """
    _for_all(by)
    # Every book is locked: of two who publish at once, the second waits and sees the first.
    stored = _in_review(locked_books()[book.pk])
    _check_approver(stored, at=at, by=by)
    _check_sound(stored, at=at)
    _put_in_force(stored, at=at, by=by)
    transaction.on_commit(
        partial(rule_book_published.send, sender=RuleBook, version=stored.version)
    )
    return stored


@service("Rule row approved locally")
def approve_locally(
    *,
    clinic: Clinic,
    row_code: str,
    low: Decimal | None = None,
    high: Decimal | None = None,
    at: datetime,
    by: Signature,
) -> LocalApproval:
    """Keep a clinic's decision that a row of the book in force holds there, for the reason in `by`.

    `low` and `high` are the clinic's own numbers for a row of local targets, in its unit, and
    belong to no other row. What the clinic had approved of the row before is superseded. Raises
    `PermissionDenied` for another clinic's or without the permission, `ValidationError` without a
    reason or at a number, and `NothingToApprove`.
    """
    _check_own(clinic, at=at, by=by)
    book = published_version()
    waiting = rows_to_approve(engine_book(book), {row_code}).get(row_code)
    if waiting is None:
        raise NothingToApprove(f"No row {row_code} of rule book {book} waits for local approval.")
    target = waiting.get("local_targets")
    if target is None and (low is not None or high is not None):
        raise ValidationError({"low": "This row has its own number: approve it without another."})
    if target is not None and (low is None or high is None):
        raise ValidationError({"low": "The book gives no number here: give both limits."})
    if low is not None and high is not None:
        _check_target(low, high, engine_book(book))
    for former in LocalApproval.objects.select_for_update().filter(
        clinic=clinic, row_code=row_code, ended_at=None
    ):
        _end(former, "SUPERSEDED", at=at, by=by)
    approval = LocalApproval(
        clinic=clinic,
        book=book,
        row_code=row_code,
        low=low,
        high=high,
        unit=target.unit if isinstance(target, rows.LocalTargetRow) else "",
        approved_at=at,
    )
    approval.sign(by).save()
    _tell_clinic(clinic)
    return approval


def _check_target(low: Decimal, high: Decimal, book: rulebook.RuleBook) -> None:
    """A lowered target lies where no level alarms and is not above the book's own (S54, D15)."""
    least, most = book.index.limits[rows.Band.FAR_BELOW], book.index.target[1]
    if not least <= low < high <= most:
        raise ValidationError(
            {
                "low": f"A lower target lies within {shown(least)} to {shown(most)} ng/mL, its low "
                "end below its high end."
            }
        )


@service("Local approval withdrawn")
def withdraw_local_approval(
    *, approval: LocalApproval, at: datetime, by: Signature
) -> LocalApproval:
    """End a clinic's approval, for the reason in `by`. Raises as `approve_locally`."""
    _check_own(approval.clinic, at=at, by=by)
    stored = LocalApproval.objects.select_for_update().get(pk=approval.pk)
    if stored.ended_at is not None:
        raise NothingToApprove(
            f"The approval of {stored.row_code} has ended already "
            f"({stored.get_ended_as_display().lower()})."
        )
    _end(stored, "WITHDRAWN", at=at, by=by)
    _tell_clinic(approval.clinic)
    return stored


def _need_reason(by: Signature) -> None:
    if not by.reason:
        raise ValidationError({"reason": "Say why."})


def _for_all(by: Signature) -> None:
    """What every act on a book begins with: it is the installation's, and it has a reason."""
    if by.clinic_id is not None:
        raise UnsignedWrite("A rule book belongs to the installation: sign without a clinic.")
    _need_reason(by)


def locked_books() -> dict[int, RuleBook]:
    """Every book, locked until commit, as they stand once nobody else holds them.

    Asked for anew: whoever waited for the locks does not see in the same query what was added
    meanwhile.
    """
    list(RuleBook.objects.select_for_update().order_by("pk").values_list("pk"))
    return {row.pk: row for row in RuleBook.objects.order_by("pk")}


def _locked_draft(book: RuleBook) -> RuleBook:
    """The draft, locked until commit: whoever edits or settles it waits for the one before."""
    stored = RuleBook.objects.select_for_update().get(pk=book.pk)
    if stored.status != RuleBookStatus.DRAFT:
        raise NotADraft(
            f"Rule book {stored} is {stored.get_status_display().lower()}: its rows are settled. "
            "Draft a new version to change them."
        )
    return stored


def _in_review(stored: RuleBook) -> RuleBook:
    if stored.status == RuleBookStatus.DRAFT:
        raise BookNotPublishable(f"Rule book {stored} is a draft. Put it forward for review first.")
    if stored.status != RuleBookStatus.IN_REVIEW:
        raise BookNotPublishable(
            f"Rule book {stored} is {stored.get_status_display().lower()} already. Draft a new "
            "version to change the rules."
        )
    return stored


def _draft_from(source: RuleBook, *, title: str, at: datetime, by: Signature) -> RuleBook:
    _for_all(by)
    books = locked_books().values()
    for waiting in books:
        if waiting.status in OPEN:
            raise DraftOpen(
                f"Rule book {waiting} is {waiting.get_status_display().lower()}: one is worked on "
                "at a time. Publish or discard it first."
            )
    book = engine_book(source)
    version = _next_version([row.version for row in books], year=str(at.year))
    return _add(
        replace(book, version=version, title=title.strip() or book.title), based_on=source, by=by
    )


def _next_version(versions: list[str], *, year: str) -> str:
    numbers = [0]
    for version in versions:
        of_year, _, number = version.partition("-")
        if of_year == year and number.isdigit():
            numbers.append(int(number))
    return f"{year}-{max(numbers) + 1:02d}"


def _as_seen(row: RuleRow, seen: int | None) -> RuleRow:
    """The row as it is stored. Raises `StaleRow` if that is not the version that was seen."""
    newest = row.history.latest("history_id")
    hand = f"{newest.history_actor} ({newest.history_change_reason})"
    stored = type(row).objects.filter(pk=row.pk, book=row.book_id).first()
    if stored is None:
        raise StaleRow(f"{newest.code} is not in this draft any more: removed by {hand}.")
    if seen is not None and newest.pk != seen:
        before = row.history.filter(pk=seen).first()
        raise StaleRow(
            f"{newest.code} was changed by {hand} after you opened it: "
            f"{_told(before, newest) or 'its values'}. Open it again, then save."
        )
    return stored


def _told(before: Any, after: Any) -> str:
    """Each field that differs between two versions of a row, old and new."""
    told = [
        f"{column.verbose_name} from “{old}” to “{new}”"
        for column in after.instance_type._meta.concrete_fields
        if before is not None
        and (old := getattr(before, column.attname)) != (new := getattr(after, column.attname))
    ]
    return ", ".join(told)


def _values(row: RuleRow) -> list[Any]:
    return [getattr(row, column.attname) for column in row._meta.concrete_fields]


def _add(
    book: rulebook.RuleBook,
    *,
    shipped_sha256: str = "",
    based_on: RuleBook | None = None,
    by: Signature,
) -> RuleBook:
    """A new draft with the rows of `book`."""
    stored = RuleBook(
        version=book.version,
        title=book.title,
        status=RuleBookStatus.DRAFT,
        shipped_sha256=shipped_sha256,
        based_on=based_on,
    )
    stored.sign(by).save()
    for table in model_rows(book, stored):
        add_all(table, by=by)
    return stored


def _check_sound(book: RuleBook, *, at: datetime) -> None:
    """Raises `BookNotSound` for what the linter finds and nobody has given a reason for."""
    try:
        found = lint_of(book, at=at)
    except NoRuleBook as error:
        raise BookNotSound(error.message) from error
    if errors := [each for each in found if each.level is Level.ERROR]:
        raise BookNotSound(_listed(errors, "error must be mended", "errors must be mended"))
    if unanswered := without_answer(found, book=book):
        raise BookNotSound(_listed(unanswered, "warning needs a reason", "warnings need a reason"))


def _listed(findings: list[LintFinding], one: str, many: str) -> str:
    words = one if len(findings) == 1 else many
    more = "" if len(findings) <= SHOWN else " …"
    first = " ".join(found.message for found in findings[:SHOWN])
    return f"{len(findings)} {words} first. {first}{more}"


def _check_approver(book: RuleBook, *, at: datetime, by: Signature) -> None:
    if not _may_approve(by, at=at):
        raise NotTheApprover("Only a person who may approve rule books can publish one.")
    if by.actor_id in hands_in(book):
        raise NotTheApprover(
            f"You have had a hand in rule book {book} yourself. Somebody else has to approve it."
        )


def _may_approve(by: Signature, *, at: datetime, clinic: Clinic | None = None) -> bool:
    """Whether the hand holds a role that approves rules, on its day, there or anywhere."""
    if by.actor_id is None:
        return False
    held = Membership.objects.filter(user=by.actor_id, user__is_active=True)
    if clinic is not None:
        held = held.filter(clinic=clinic)
    return any(
        Permission.APPROVE_RULES in PERMISSIONS[Role(each.role)]
        and each.holds_on(at.astimezone(each.clinic.zone).date())
        for each in held.select_related("clinic")
    )


def _check_own(clinic: Clinic, *, at: datetime, by: Signature) -> None:
    if by.clinic_id != clinic.pk:
        raise PermissionDenied("This approval belongs to another clinic.")
    if not _may_approve(by, at=at, clinic=clinic):
        raise PermissionDenied("You may not approve rules at this clinic.")
    _need_reason(by)


def _end(approval: LocalApproval, how: str, *, at: datetime, by: Signature) -> None:
    approval.ended_at, approval.ended_as = at, how
    approval.sign(by).save()


def _tell_clinic(clinic: Clinic) -> None:
    transaction.on_commit(
        partial(local_approvals_changed.send, sender=LocalApproval, clinic_id=clinic.pk)
    )


def _settle(book: RuleBook, text: str, *, by: Signature) -> None:
    """Leave DRAFT: from now on the book says `text`, and its rows are held."""
    book.status, book.text, book.sha256 = RuleBookStatus.IN_REVIEW, text, digest_of_text(text)
    book.sign(by).save()


def _put_in_force(book: RuleBook, *, at: datetime, by: Signature) -> RuleBook:
    for former in RuleBook.objects.filter(status=RuleBookStatus.PUBLISHED):
        former.status, former.retired_at = RuleBookStatus.RETIRED, at
        former.sign(by).save()
    book.status, book.published_at = RuleBookStatus.PUBLISHED, at
    book.sign(by).save()
    return book
