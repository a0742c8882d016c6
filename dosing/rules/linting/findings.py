"""What the linter says of a book: one finding a defect, with the row and the value."""

from dataclasses import dataclass
from enum import StrEnum

# No interval, window or look-back of a treatment is longer; far beyond it days leave the calendar.
TEN_YEARS_DAYS = 3650


class Level(StrEnum):
    """A book with an ERROR cannot be published; a WARNING needs a reason."""

    ERROR = "ERROR"
    WARNING = "WARNING"


@dataclass(frozen=True, slots=True, kw_only=True)
class LintFinding:
    """One defect. `check` is stable (GAP, OVERLAP …), `message` a finished sentence.

    `row` is the code of the row, of both rows joined by ", " where two contradict each other, and
    empty where the defect is of the whole table. `value` is the number or word that is wrong, with
    its unit.
    """

    level: Level
    check: str
    table: str
    row: str
    value: str
    message: str


def error(check: str, table: str, row: str, value: str, message: str) -> LintFinding:
    """A defect with which a book cannot be published."""
    return LintFinding(
        level=Level.ERROR, check=check, table=table, row=row, value=str(value), message=message
    )


def warning(check: str, table: str, row: str, value: str, message: str) -> LintFinding:
    """Something that a person must give a reason for."""
    return LintFinding(
        level=Level.WARNING, check=check, table=table, row=row, value=str(value), message=message
    )


def order(found: LintFinding) -> tuple[bool, str, str, str, str, str]:
    """Errors first, then by table, row, check, value and message."""
    return (
        found.level is not Level.ERROR,
        found.table,
        found.row,
        found.check,
        found.value,
        found.message,
    )
