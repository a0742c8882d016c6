"""From each statement of the protocol to what implements it and what proves it.

A statement is traced when rows of the book cite it, a function of the engine raises one of them,
and two cases exercise it: one in which it fires and one that comes close and stays silent.
"""

from collections.abc import Container, Iterator
from dataclasses import dataclass

from dosing.rules.cases import Exercised, Index
from dosing.rules.engine.rows import FindingRow, Origin, Row
from dosing.rules.engine.rulebook import RuleBook
from dosing.rules.functions import Function, raised_by
from dosing.rules.protocol import Protocol, Statement
from dosing.rules.words import table_key


@dataclass(frozen=True, slots=True, kw_only=True)
class CitingRow:
    """A row of one table that cites a statement."""

    table: str
    row: Row

    @property
    def key(self) -> str:
        """The table as addresses and anchors spell it."""
        return table_key(self.table)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What makes one statement executable in one book, and what shows it at work and silent."""

    statement: Statement
    rows: tuple[CitingRow, ...]
    functions: tuple[Function, ...]
    fires: tuple[Exercised, ...]
    silent: tuple[Exercised, ...]
    approved: frozenset[str] = frozenset()  # codes of rows that the reader's clinic has approved

    @property
    def enabled(self) -> tuple[CitingRow, ...]:
        """The rows that act."""
        return tuple(each for each in self.rows if each.row.enabled)

    @property
    def disabled(self) -> tuple[CitingRow, ...]:
        """The rows that are off."""
        return tuple(each for each in self.rows if not each.row.enabled)

    @property
    def origins(self) -> tuple[Origin, ...]:
        """Where the rows that act come from, the protocol itself first."""
        found = {each.row.origin for each in self.enabled}
        return tuple(origin for origin in Origin if origin in found)

    @property
    def unapproved(self) -> bool:
        """Whether a row that acts is in use without the approval that it needs."""
        return any(waits(each.row, self.approved) for each in self.enabled)

    @property
    def gaps(self) -> tuple[str, ...]:
        """What is missing, in words; nothing for a statement that is traced whole."""
        return tuple(
            words
            for words, there in (
                ("no row that is on cites it", self.enabled),
                ("no function of the engine raises it", self.functions),
                ("no case shows it at work", self.fires),
                ("no case comes close and keeps it silent", self.silent),
            )
            if not there
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How many rows of a book come from where, and how many act without the approval they need."""

    origin: Origin
    enabled: int
    disabled: int
    unapproved: int


def waits(row: Row, approved: Container[str] = ()) -> bool:
    """Whether a row acts without the approval that it needs; `approved` are codes of rows."""
    return row.enabled and row.needs_local_approval and row.code not in approved


def traces(
    document: Protocol,
    book: RuleBook,
    index: Index,
    approved: frozenset[str] = frozenset(),
) -> tuple[Trace, ...]:
    """Every statement in the order of the document."""
    citing: dict[str, list[CitingRow]] = {}
    for table, rows in book.tables().items():
        for row in rows:
            for code in dict.fromkeys(row.statements):
                citing.setdefault(code, []).append(CitingRow(table=table, row=row))
    return tuple(
        _trace(statement, tuple(citing.get(statement.code, ())), book, index, approved)
        for statement in document.statements
    )


def trace(
    statement: Statement,
    book: RuleBook,
    index: Index,
    approved: frozenset[str] = frozenset(),
) -> Trace:
    """One statement."""
    rows = tuple(
        CitingRow(table=table, row=row)
        for table, rows in book.tables().items()
        for row in rows
        if statement.code in row.statements
    )
    return _trace(statement, rows, book, index, approved)


def _trace(
    statement: Statement,
    rows: tuple[CitingRow, ...],
    book: RuleBook,
    index: Index,
    approved: frozenset[str],
) -> Trace:
    raised = {
        function.name: function
        for each in rows
        if isinstance(each.row, FindingRow) and each.row.enabled
        for function in raised_by(each.row.code, book)
    }
    return Trace(
        statement=statement,
        rows=rows,
        functions=tuple(raised[name] for name in sorted(raised)),
        fires=_first(statement.fires, index.citing(statement.code)),
        silent=_first(statement.silent, index.silent(statement.code, statement.silent)),
        approved=approved,
    )


def _first(name: str, cases: tuple[Exercised, ...]) -> tuple[Exercised, ...]:
    """The chosen case before the others."""
    return tuple(sorted(cases, key=lambda each: each.name != name))


def tallies(book: RuleBook, approved: Container[str] = ()) -> tuple[Tally, ...]:
    """The rows of a book by where they come from; `approved` are codes of rows."""
    rows = [row for table in book.tables().values() for row in table]
    return tuple(
        Tally(
            origin=origin,
            enabled=sum(row.enabled for row in rows if row.origin is origin),
            disabled=sum(not row.enabled for row in rows if row.origin is origin),
            unapproved=sum(waits(row, approved) for row in rows if row.origin is origin),
        )
        for origin in Origin
    )


def report(found: tuple[Trace, ...]) -> Iterator[str]:
    """The traceability table as lines of text, one statement a line."""
    for each in found:
        where = ", ".join(function.name for function in each.functions) or "-"
        rows = f"{len(each.enabled)} on, {len(each.disabled)} off"
        shown = each.fires[0].name if each.fires else "-"
        quiet = each.silent[0].name if each.silent else "-"
        line = (
            f"{each.statement.code:<4} {rows:<15} {where}  fires: {shown} ({len(each.fires)})  "
            f"silent: {quiet} ({len(each.silent)})"
        )
        yield f"{line}  MISSING: {'; '.join(each.gaps)}" if each.gaps else line
