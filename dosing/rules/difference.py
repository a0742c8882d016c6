"""What one rule book says otherwise than another: table by table, row by row."""

from collections.abc import Iterator
from dataclasses import dataclass

from dosing.rules.engine.rows import ContraindicationRow, DrugClass, DrugClassRow, Row, VaccineRow
from dosing.rules.engine.rulebook import RuleBook

REMOVED_CONTRAINDICATION = "removed contraindication"
LOWERED_SEVERITY = "lowered severity"


@dataclass(frozen=True, slots=True, kw_only=True)
class RowChange:
    """A row that was added (no `old`), removed (no `new`) or changed.

    `flags` name what a reviewer must not miss.
    """

    code: str
    old: Row | None
    new: Row | None
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TableChange:
    """What differs in one table; rows in the order of the book that has them."""

    table: str
    added: tuple[RowChange, ...]
    removed: tuple[RowChange, ...]
    changed: tuple[RowChange, ...]

    @property
    def rows(self) -> tuple[RowChange, ...]:
        """All of them: removed, changed, added."""
        return self.removed + self.changed + self.added


def diff(old: RuleBook, new: RuleBook) -> tuple[TableChange, ...]:
    """The tables in which the books differ. A row is known by its code; its place says nothing."""
    found = []
    tables = new.tables()
    for table, rows in old.tables().items():
        before = {row.code: row for row in rows}
        after = {row.code: row for row in tables[table]}
        change = TableChange(
            table=table,
            added=tuple(
                RowChange(code=code, old=None, new=row)
                for code, row in after.items()
                if code not in before
            ),
            removed=tuple(
                RowChange(code=code, old=row, new=None, flags=tuple(_flags(row, None)))
                for code, row in before.items()
                if code not in after
            ),
            changed=tuple(
                RowChange(
                    code=code,
                    old=row,
                    new=after[code],
                    flags=tuple(_flags(row, after[code])),
                )
                for code, row in before.items()
                if code in after and after[code] != row
            ),
        )
        if change.rows:
            found.append(change)
    return tuple(found)


def _flags(old: Row, new: Row | None) -> Iterator[str]:
    if _bars(old) - _bars(new):
        yield REMOVED_CONTRAINDICATION
    was, now = getattr(old, "severity", None), getattr(new, "severity", None)
    if was is not None and now is not None and now < was:
        yield LOWERED_SEVERITY


def _bars(row: Row | None) -> frozenset[str]:
    """What an enabled row bars beside tacrolimus."""
    match row:
        case ContraindicationRow(enabled=True):
            return frozenset({f"{row.kind} {row.name}"})
        case VaccineRow(enabled=True):
            return frozenset({f"VACCINE {row.atc}"})
        case DrugClassRow(enabled=True) if (
            row.seed_class or row.label_class
        ) == DrugClass.CONTRAINDICATED:
            return frozenset({f"DRUG {row.drug}"})
    return frozenset()
