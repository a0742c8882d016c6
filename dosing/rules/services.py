"""The life of a rule book: delivered or drafted, edited, reviewed, put in force, retired."""

import hashlib
from datetime import datetime

from django.core.exceptions import ValidationError
from django.db.models import Q

from dosing.rules import toml_book
from dosing.rules.engine import rulebook
from dosing.rules.loading import model_rows, stored_book
from dosing.rules.models import OPEN, RuleBook, RuleBookStatus
from tacroweb.audit.ledger import service
from tacroweb.audit.models import add_all
from tacroweb.audit.signature import Signature
from tacroweb.refusals import Refusal


class BookNotPublishable(Refusal):
    """The book is in force already, or it was and has been replaced."""

    code = "book_not_publishable"


def digest_of_text(text: str) -> str:
    """The SHA-256 by which a book's text is known."""
    return hashlib.sha256(text.encode()).hexdigest()


def content_sha256(book: RuleBook) -> str:
    """The digest of what the book says at this moment, a draft too; it changes with any row."""
    return book.sha256 or digest_of_text(toml_book.write(stored_book(book)))


@service("Rule book added")
def add_book(*, text: str, by: Signature, shipped: bool = False) -> RuleBook:
    """Keep a book's TOML as the rows of a draft of the version that it names.

    Raises `ValidationError` when the text is not a rule book, its version is there already, or
    another draft is open.
    """
    try:
        book = toml_book.read(text)
    except ValueError as error:
        raise ValidationError({"text": f"This is not a rule book: {error}"}) from error
    return _add(book, shipped_sha256=digest_of_text(text) if shipped else "", by=by)


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


@service("Rule book published")
def publish_book(*, book: RuleBook, at: datetime, by: Signature) -> RuleBook:
    """Put a book in force and retire the one before it, both or neither.

    Raises `ValidationError` without a reason and `BookNotPublishable` for a book that is or was
    in force.
    """
    if not by.reason:
        raise ValidationError("Say why this rule book is published.")
    # Every book is locked: of two who publish at once, the second waits and sees the first.
    books = {row.pk: row for row in RuleBook.objects.select_for_update().order_by("pk")}
    stored = books[book.pk]
    if stored.status not in (RuleBookStatus.DRAFT, RuleBookStatus.IN_REVIEW):
        raise BookNotPublishable(
            f"Rule book {stored.version} is {stored.get_status_display().lower()} already. "
            "Draft a new version to change the rules."
        )
    if stored.status == RuleBookStatus.DRAFT:
        _settle(stored, toml_book.write(stored_book(stored)), by=by)
    return _put_in_force(stored, at=at, by=by)


def _add(book: rulebook.RuleBook, *, shipped_sha256: str = "", by: Signature) -> RuleBook:
    """A new draft with the rows of `book`."""
    stored = RuleBook(
        version=book.version,
        title=book.title,
        status=RuleBookStatus.DRAFT,
        shipped_sha256=shipped_sha256,
    )
    stored.sign(by).save()
    for rows in model_rows(book, stored):
        add_all(rows, by=by)
    return stored


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
