"""What pages and API share of a rule book under way: its difference in words, whose hand it is."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from dosing.rules.difference import RowChange, diff
from dosing.rules.engine.rows import Row
from dosing.rules.engine.rulebook import RuleBook as EngineBook
from dosing.rules.words import table_title, told, words
from tacroweb.accounts.access import Access
from tacroweb.audit.signature import Signature


def for_installation(access: Access, reason: str = "") -> Signature:
    """The person's hand under an act on a rule book, which belongs to the installation."""
    return replace(access.sign(reason), clinic_id=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One line of the difference between two books."""

    table: str
    code: str
    kind: str
    field: str = ""
    old: str = ""
    new: str = ""
    flag: str = ""


def changes_of(old: EngineBook, new: EngineBook) -> Iterator[Change]:
    """The difference between two books line by line, in words, what must not be missed first."""
    found = [
        (table_title(table.table), change) for table in diff(old, new) for change in table.rows
    ]
    found.sort(key=lambda each: not each[1].flags)
    for table, change in found:
        flag = ", ".join(change.flags).capitalize()
        common = {"table": table, "code": change.code, "flag": flag}
        if change.old is None and change.new is not None:
            yield Change(kind="ADDED", new=row_words(change.new), **common)
        elif change.new is None and change.old is not None:
            yield Change(kind="REMOVED", old=row_words(change.old), **common)
        else:
            yield from _fields(change, common)


def _fields(change: RowChange, common: dict[str, str]) -> Iterator[Change]:
    for each in change.fields:
        yield Change(
            kind="CHANGED",
            field=words(each.name),
            old=field_words(each.old),
            new=field_words(each.new),
            **common,
        )
        common = common | {"flag": ""}


def row_words(row: Row) -> str:
    """A whole row in one line."""
    return "; ".join(f"{each.label}: {each.text}" for each in told(row) if each.text)


def field_words(value: object) -> str:
    """One field's value as a person reads it."""
    match value:
        case None | "" | ():
            return "empty"
        case bool():
            return "yes" if value else "no"
        case tuple():
            return ", ".join(map(str, value))
    return str(getattr(value, "name", value))
