"""From a stored rule book to the engine's: read once a process and version."""

from functools import lru_cache

from dosing.rules import toml_book
from dosing.rules.engine import rulebook
from dosing.rules.models import RuleBook


def engine_book(row: RuleBook) -> rulebook.RuleBook:
    """The engine's book of a stored one: the same object while version and SHA-256 are the same.

    `row.text` may be deferred: it is fetched only when this process has not read the version yet.
    """
    return _read(row.version, row.sha256)


@lru_cache(maxsize=16)
def _read(version: str, sha256: str) -> rulebook.RuleBook:
    return toml_book.read(RuleBook.objects.values_list("text", flat=True).get(version=version))
