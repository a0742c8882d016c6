"""What pages and API share of a rule book under way: its difference in words, whose hand it is."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from dosing.rules.difference import diff
from dosing.rules.engine.rows import Row
from dosing.rules.engine.rulebook import RuleBook as EngineBook
from dosing.rules.words import differences, table_key, table_title, told
from tacroweb.accounts.access import Access
from tacroweb.audit.signature import Signature


def for_installation(access: Access, reason: str = "") -> Signature:
    """The person's hand under an act on a rule book, which belongs to the installation."""
    return replace(access.sign(reason), clinic_id=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One line of the difference between two books."""

    table: str
    table_key: str
    code: str
    kind: str
    field: str = ""
    old: str = ""
    new: str = ""
    flag: str = ""


def changes_of(old: EngineBook, new: EngineBook) -> Iterator[Change]:
    """The difference between two books line by line, in words, what must not be missed first."""
    found = [(table.table, change) for table in diff(old, new) for change in table.rows]
    found.sort(key=lambda each: not each[1].flags)
    for table, change in found:
        flag = ", ".join(change.flags).capitalize()
        common = {
            "table": table_title(table),
            "table_key": table_key(table),
            "code": change.code,
            "flag": flag,
        }
        if change.old is not None and change.new is not None:
            for field, was, now in differences(change.old, change.new):
                yield Change(kind="CHANGED", field=field, old=was, new=now, **common)
                common["flag"] = ""
        elif change.new is not None:
            yield Change(kind="ADDED", new=row_words(change.new), **common)
        elif change.old is not None:
            yield Change(kind="REMOVED", old=row_words(change.old), **common)


def row_words(row: Row) -> str:
    """A whole row in one line."""
    return "; ".join(f"{each.label}: {each.text}" for each in told(row) if each.text)
