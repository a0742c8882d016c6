"""Which rule book is in force, and any earlier one."""

from dosing.rules.engine import rulebook
from dosing.rules.loading import engine_book
from dosing.rules.models import RuleBook, RuleBookStatus
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


def published_book() -> rulebook.RuleBook:
    """The book in force. Asks for its version each time, so a new one counts at once everywhere."""
    return engine_book(published_version())


def book_version(version: str) -> rulebook.RuleBook:
    """The book of this version, whatever its status. Raises `RuleBook.DoesNotExist`."""
    return engine_book(RuleBook.objects.defer("text").get(version=version))
