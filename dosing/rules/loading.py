"""Between the stored rows of a rule book and the engine's: read once a process and digest."""

from collections.abc import Callable, Iterable
from dataclasses import fields
from decimal import Decimal
from enum import Enum
from functools import cache, lru_cache
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

from dosing.rules import toml_book
from dosing.rules.engine import rows, rulebook
from dosing.rules.models import PARTED_BY, TABLES, RuleBook, RuleBookStatus, RuleRow
from tacroweb.numbers import format_decimal
from tacroweb.refusals import Refusal


class NoRuleBook(Refusal, ValueError):
    """Stored rows that contradict one another so that they are no book. Only those of a draft."""

    code = "no_rule_book"


def engine_book(row: RuleBook) -> rulebook.RuleBook:
    """The engine's book of a stored one: the same object while version and SHA-256 are the same.

    `row.text` may be deferred: it is fetched only for a book without rows, one of an earlier
    release. A draft has no digest and is read anew each time. Raises `NoRuleBook`.
    """
    return _settled(row.version, row.sha256) if row.sha256 else stored_book(row)


@lru_cache(maxsize=16)
def _settled(version: str, sha256: str) -> rulebook.RuleBook:
    return stored_book(RuleBook.objects.defer("text").get(version=version))


def stored_book(row: RuleBook) -> rulebook.RuleBook:
    """The book as it is stored at this moment: one query a table.

    Raises `NoRuleBook` for a draft, and `ValueError` for a settled book that was broken since.
    """
    try:
        tables = {name: _read(model, row) for name, model in TABLES.items()}
        if row.sha256 and not any(tables.values()):
            return toml_book.read(row.text)
        return rulebook.RuleBook(version=row.version, title=row.title, **tables)
    except ValueError as error:
        if row.status != RuleBookStatus.DRAFT:
            raise  # it was a book when it was settled: nobody can mend it row by row
        raise NoRuleBook(
            f"The rows of rule book {row.version} contradict one another: {error}. Mend that row "
            "in the back office, or discard the draft."
        ) from error


def engine_row(stored: RuleRow) -> rows.Row:
    """One stored row as the engine reads it. Raises `ValueError` for a word that is not known."""
    given = {name: read(getattr(stored, name)) for name, read in _readers(type(stored))}
    return stored.engine_row(**given)


def columns_of(row: rows.Row) -> dict[str, Any]:
    """The columns of the engine's row, as its model stores them."""
    return {each.name: _column(getattr(row, each.name)) for each in fields(row)}


def model_rows(book: rulebook.RuleBook, stored: RuleBook) -> Iterable[list[RuleRow]]:
    """New rows, table by table, that give `book` when they are read as those of `stored`."""
    for name, found in book.tables().items():
        yield [TABLES[name](book=stored, **columns_of(row)) for row in found]


def _read(model: type[RuleRow], book: RuleBook) -> tuple[Any, ...]:
    readers = _readers(model)
    names, reads = zip(*readers, strict=True)
    found = model.objects.filter(book=book).order_by("pk").values_list(*names)
    return tuple(
        model.engine_row(
            **{name: read(value) for name, read, value in zip(names, reads, values, strict=True)}
        )
        for values in found.iterator(chunk_size=2_000)
    )


@cache
def _readers(model: type[RuleRow]) -> tuple[tuple[str, Callable[[Any], Any]], ...]:
    """For each field of a row how its column is read."""
    hints = get_type_hints(model.engine_row)
    return tuple((each.name, _reader(hints[each.name])) for each in fields(model.engine_row))


def _reader(hint: Any) -> Callable[[Any], Any]:
    if get_origin(hint) is tuple:
        return _parted
    kind = next(each for each in get_args(hint) or (hint,) if each is not NoneType)
    if kind is Decimal:
        return _plain
    if kind is rows.Severity:
        return _severity
    return kind if issubclass(kind, Enum) else _as_stored


def _as_stored(value: Any) -> Any:
    return value


def _parted(text: str) -> tuple[str, ...]:
    return tuple(text.split(PARTED_BY)) if text else ()


def _severity(name: str) -> rows.Severity:
    if name not in rows.Severity.__members__:
        raise ValueError(f"{name} is no severity")
    return rows.Severity[name]


def _plain(value: Decimal | None) -> Decimal | None:
    """Without the zeros that the column adds."""
    return None if value is None else Decimal(format_decimal(value))


def _column(value: object) -> object:
    match value:
        case tuple():
            return PARTED_BY.join(value)
        case rows.Severity():
            return value.name
        case Enum():
            return value.value
    return value
