"""A result against the bands of the book: the row that holds it, in words, and its repeat."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from fractions import Fraction

from dosing.rules.engine.advice import DueTest, Finding, next_test, raised
from dosing.rules.engine.comedication import of_group
from dosing.rules.engine.facts import TACROLIMUS_LEVEL, CaseFacts, Observation
from dosing.rules.engine.quantities import day, shown
from dosing.rules.engine.rows import DrugGroup, ThresholdRow
from dosing.rules.engine.rulebook import RuleBook
from dosing.rules.engine.trough import Range, last_trough_on

# What is added to a finding where a comparator leaves a graver band possible.
MAY_BE_WORSE = " It may be worse: repeat it with an exact value."
_PRINTED = (
    ("mm[Hg]", "mmHg"),
    ("{1.73_m2}", "1.73 m²"),
    ("10*3/uL", "×10³/µL"),
    ("10*9/L", "×10⁹/L"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a quantity stands: the row that certainly holds of it; none, nothing is certain.

    `open_ended` says that a comparator leaves other rows possible too.
    """

    row: ThresholdRow | None = None
    open_ended: bool = False

    @property
    def finding(self) -> str:
        """The finding that the row leads to; empty for none."""
        return "" if self.row is None else self.row.finding

    @property
    def undecided(self) -> bool:
        """Whether the result must be repeated before anything can be said of it."""
        return self.row is None and self.open_ended


def standing(rows: Sequence[ThresholdRow], said: Range, book: RuleBook) -> Standing:
    """The row of one quantity that holds all that `said` may stand for, in the rows' unit.

    A comparator decides a band only if all its values lie in it. Where each band that is possible
    says something, the mildest of them is certain; where one says nothing, nothing is.
    """
    if said.exact:
        return Standing(row=next((row for row in rows if row.holds(said.low)), None))
    possible = [row for row in rows if _may_hold(row, said)]
    if len({row.finding for row in possible}) <= 1:
        return Standing(row=possible[0] if possible else None)
    findings = book.index.findings
    speaking = [row for row in possible if row.finding in findings]
    if len(speaking) < len(possible):
        return Standing(open_ended=bool(speaking))
    if said.high is not None:  # "<": of two bands alike the upper one is the milder
        speaking.reverse()
    mildest = min(speaking, key=lambda row: findings[row.finding].severity)
    return Standing(row=mildest, open_ended=True)


def _may_hold(row: ThresholdRow, said: Range) -> bool:
    """Whether one of the values of an open range lies in the row."""
    ends_before = row.high is not None and (
        row.high < said.low or (row.high == said.low and not (row.high_included and said.low_in))
    )
    begins_after = (
        row.low is not None
        and said.high is not None
        and (
            row.low > said.high
            or (row.low == said.high and not (row.low_included and said.high_in))
        )
    )
    return not ends_before and not begins_after


def scaled(said: Range, by: Fraction, plus: Fraction = Fraction(0)) -> Range:
    """All values × `by` (more than 0) + `plus`: a ratio, another unit, a correction."""
    low, high = said.low * by + plus, said.high
    if high is not None:
        high = low if said.exact else high * by + plus
    return Range(low, said.low_in, high, said.high_in)


def limits(row: ThresholdRow) -> str:
    """The stretch of a row as a message says it: "from 5 to below 5.5 mmol/L"."""
    unit = "" if row.unit == "1" else f" {unit_words(row.unit)}"
    low = "" if row.low is None else shown(row.low, at_most=4)
    high = "" if row.high is None else shown(row.high, at_most=4)
    if row.low is None:
        return f"{'at most' if row.high_included else 'below'} {high}{unit}"
    if row.high is None:
        return f"{low}{unit} or more" if row.low_included else f"above {low}{unit}"
    first = "from" if row.low_included else "above"
    return f"{first} {low} {'to' if row.high_included else 'to below'} {high}{unit}"


def unit_words(unit: str) -> str:
    """A UCUM unit as a message prints it."""
    for written, printed in _PRINTED:
        unit = unit.replace(written, printed)
    return unit


def day_of(seen: Observation, at: datetime) -> date:
    """The day of a result in the offset of `at`."""
    return seen.at.astimezone(at.tzinfo).date()


def reported(seen: Observation, at: datetime) -> str:
    """The result as the laboratory gave it, with its unit and its day."""
    number = f"{seen.comparator or ''}{shown(seen.value, at_most=3)}"
    return f"{number} {unit_words(seen.unit)} on {day(day_of(seen, at))}"


def own_baseline(
    case: CaseFacts, analyte: str, look_back_days: int, at: datetime
) -> tuple[Observation, bool] | None:
    """The patient's own value to compare with: the last one up to so many days before the start.

    Without such a one, or without a known start, the earliest on record; the flag is then False.
    Only exact values above 0 count.
    """
    known = [
        seen
        for seen in case.results(analyte, at)
        if seen.comparator is None and seen.canonical.numerator > 0
    ]
    if not known:
        return None
    begun = case.regimen.started_on if case.regimen is not None else None
    if begun is not None:
        first = begun - timedelta(days=look_back_days)
        for seen in known:
            if first <= day_of(seen, at) <= begun:
                return seen, True
    return known[-1], False


def asked(
    case: CaseFacts, book: RuleBook, series: str, opened_on: date, code: str, at: datetime
) -> tuple[DueTest, ...]:
    """The next test of `series` that no result of its analyte answers yet, for finding `code`."""
    tests = book.index.series.get(series)
    if not tests:
        return ()
    if tests[0].analyte == TACROLIMUS_LEVEL:
        last_done = last_trough_on(case, book, at)
    else:
        newest = case.newest(tests[0].analyte, at)
        last_done = None if newest is None else day_of(newest, at)
    return next_test(book, series, opened_on, code, last_done=last_done)


def today(book: RuleBook, analyte: str, code: str, at: datetime) -> tuple[DueTest, ...]:
    """A test of something that is not known at all, for finding `code`: due today."""
    row = book.index.findings.get(code)
    if row is None:
        return ()
    on = at.date()
    return (DueTest(analyte=analyte, earliest=on, due=on, latest=on, statements=row.statements),)


def by_when(tests: tuple[DueTest, ...]) -> str:
    """How a message says when a test is repeated at the latest: " by 08-Mar-2026"."""
    return f" by {day(tests[0].latest)}" if tests else ""


def undecided(
    book: RuleBook, code: str, name: str, seen: Observation, at: datetime
) -> tuple[Finding, ...]:
    """A comparator leaves open whether anything must be said: the result is repeated."""
    row, days = book.index.findings.get(code), book.index.numbers.get("RESULT-REPEAT-DAYS")
    drawn_on = day_of(seen, at)
    due: tuple[DueTest, ...] = ()
    if row is not None and days is not None:
        latest = drawn_on + timedelta(days=int(days))
        due = (
            DueTest(
                analyte=seen.analyte,
                earliest=drawn_on,
                due=latest,
                latest=latest,
                statements=row.statements,
            ),
        )
    return raised(
        book,
        code,
        f"{name} {reported(seen, at)} may lie on either side of a limit: it is reported with a "
        "comparator. Repeat it with an exact value.",
        inputs=((seen.analyte, f"{seen.comparator or ''}{shown(seen.value, at_most=3)}"),),
        due_tests=due,
    )


def partners(case: CaseFacts, book: RuleBook, at: datetime, *groups: DrugGroup) -> str:
    """The drugs of these groups that are taken or about to be, as a message lists them."""
    names = {row.drug for group in groups for _, row in of_group(case, book, at, group)}
    return ", ".join(sorted(names))
