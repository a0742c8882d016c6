"""Adding a rule book and putting it in force."""

import hashlib
from datetime import datetime

from django.core.exceptions import ValidationError

from dosing.rules import toml_book
from dosing.rules.models import RuleBook, RuleBookStatus
from tacroweb.audit.ledger import service
from tacroweb.audit.signature import Signature
from tacroweb.refusals import Refusal


class BookNotPublishable(Refusal):
    """The book is in force already, or it was and has been replaced."""

    code = "book_not_publishable"


def digest_of_text(text: str) -> str:
    """The SHA-256 by which a book's text is known."""
    return hashlib.sha256(text.encode()).hexdigest()


@service("Rule book added")
def add_book(*, text: str, by: Signature) -> RuleBook:
    """Keep a book's TOML, to the letter, as the draft of the version that it names.

    Raises `ValidationError` when the text is not a rule book, its version is there already, or
    another draft is open.
    """
    try:
        version = toml_book.read(text).version
    except ValueError as error:
        raise ValidationError({"text": f"This is not a rule book: {error}"}) from error
    book = RuleBook(
        version=version, status=RuleBookStatus.DRAFT, text=text, sha256=digest_of_text(text)
    )
    book.sign(by).save()
    return book


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
    for former in books.values():
        if former.status == RuleBookStatus.PUBLISHED:
            former.status, former.retired_at = RuleBookStatus.RETIRED, at
            former.sign(by).save()
    stored.status, stored.published_at = RuleBookStatus.PUBLISHED, at
    stored.sign(by).save()
    return stored
