"""Hours, days and phases: when a sample is a trough, what is due when, and how often."""

from collections.abc import Iterator
from itertools import pairwise

from dosing.rules.engine.facts import Formulation
from dosing.rules.engine.rows import Phase, ScheduleRow
from dosing.rules.engine.rulebook import RuleBook
from dosing.rules.linting.findings import TEN_YEARS_DAYS, LintFinding, error

# What the protocol itself bounds, in days: the longest three months and the longest month there
# are, and the phases for which it says so (S29 "every 1-3 months", S30 "at least monthly
# initially").
_SEED_BOUNDS = {
    "S29": (92, "3 months", frozenset(Phase)),
    "S30": (31, "a month", frozenset({Phase.TITRATION, Phase.EARLY})),
}


def level_windows(book: RuleBook) -> Iterator[LintFinding]:
    """D3: every formulation has a window, and the usable hours contain the valid ones."""
    for row in book.level_windows:
        if row.formulation not in set(Formulation):
            yield error(
                "FORMULATION",
                "level_windows",
                row.code,
                row.formulation,
                f"{row.code} is for the formulation {row.formulation!r}, which is not one of "
                f"{', '.join(Formulation)}.",
            )
        ends = (row.usable_from_h, row.valid_from_h, row.valid_to_h, row.usable_to_h)
        if ends[0] <= 0 or list(ends) != sorted(ends):
            yield error(
                "WINDOW",
                "level_windows",
                row.code,
                f"{row.valid_from_h} to {row.valid_to_h} h",
                f"{row.code}: a sample is usable from {row.usable_from_h} to {row.usable_to_h} h "
                f"and valid from {row.valid_from_h} to {row.valid_to_h} h after the dose; the "
                "usable hours must contain the valid ones.",
            )
    for formulation in Formulation:
        if formulation.value not in book.index.windows:
            yield error(
                "WINDOW",
                "level_windows",
                "",
                formulation,
                f"No window for {formulation} is enabled: none of its levels would be a trough.",
            )


def look_backs(book: RuleBook) -> Iterator[LintFinding]:
    """D4: a baseline result may be some days old."""
    for row in book.baseline_items:
        if not 1 <= row.look_back_days <= TEN_YEARS_DAYS:
            yield error(
                "RANGE",
                "baseline_items",
                row.code,
                f"{row.look_back_days} d",
                f"{row.code} looks back {row.look_back_days} days: it must be at least one day "
                "and at most ten years.",
            )


def due_tests(book: RuleBook) -> Iterator[LintFinding]:
    """A test is due between its earliest and latest day; a series is numbered from 1 on."""
    for row in book.due_tests:
        if not 0 <= row.earliest_day <= row.due_day <= row.latest_day <= TEN_YEARS_DAYS:
            days = f"{row.earliest_day}, {row.due_day}, {row.latest_day}"
            yield error(
                "WINDOW",
                "due_tests",
                row.code,
                f"days {days}",
                f"{row.code} has its earliest, due and latest day on {days}: they must not go "
                "back, nor begin before day 0, nor end after ten years.",
            )
    for series, rows in book.index.series.items():
        for number, row in enumerate(rows, start=1):
            if row.number != number:
                yield error(
                    "SERIES",
                    "due_tests",
                    row.code,
                    str(row.number),
                    f"{row.code} is test {row.number} of {series}, where test {number} is due: a "
                    "series is numbered from 1 without a gap.",
                )
                break
        for earlier, later in pairwise(rows):
            if later.due_day <= earlier.due_day or later.earliest_day <= earlier.earliest_day:
                yield error(
                    "SERIES",
                    "due_tests",
                    f"{earlier.code}, {later.code}",
                    f"day {later.due_day}",
                    f"{later.code} is due on day {later.due_day} (from {later.earliest_day}), not "
                    f"after {earlier.code} on day {earlier.due_day} (from "
                    f"{earlier.earliest_day}).",
                )


def schedules(book: RuleBook) -> Iterator[LintFinding]:
    """Each test has one interval for everyone in each phase, within what the protocol bounds.

    A condition only ever shortens an interval, so it needs no row in every phase; one that is
    longer than everyone's never counts.
    """
    first: dict[tuple[str, str, Phase, str], ScheduleRow] = {}
    for row in book.schedules:
        if not (1 <= row.every_days <= TEN_YEARS_DAYS and 0 <= row.grace_days <= TEN_YEARS_DAYS):
            yield error(
                "RANGE",
                "schedules",
                row.code,
                f"{row.every_days} d, {row.grace_days} d of grace",
                f"{row.code} is every {row.every_days} days with {row.grace_days} days of grace: "
                "the interval is at least one day, the grace not below 0, neither above ten years.",
            )
        if not row.enabled:
            continue
        yield from _within_seed(row, book)
        condition = " and ".join(sorted(row.conditions))
        held = first.setdefault((row.finding, row.analyte, row.phase, condition), row)
        if held is not row:
            yield error(
                "PHASE",
                "schedules",
                f"{held.code}, {row.code}",
                row.phase,
                f"{row.analyte} of {row.finding} has two intervals in the phase {row.phase}"
                f"{f' if {condition}' if condition else ''}: {held.every_days} d in {held.code} "
                f"and {row.every_days} d in {row.code}.",
            )
    for (finding, analyte, phase, condition), row in first.items():
        everyone = first.get((finding, analyte, phase, ""))
        if condition and everyone is not None and row.every_days > everyone.every_days:
            yield error(
                "REACH",
                "schedules",
                f"{everyone.code}, {row.code}",
                f"{row.every_days} d",
                f"{row.code} never counts: its {row.every_days} days are longer than the "
                f"{everyone.every_days} days for everyone in {everyone.code}.",
            )
    yield from _phases_without_a_row(
        [row for (*_, condition), row in first.items() if not condition]
    )


def _phases_without_a_row(everyone: list[ScheduleRow]) -> Iterator[LintFinding]:
    by_analyte: dict[str, list[ScheduleRow]] = {}
    for row in everyone:
        by_analyte.setdefault(row.analyte, []).append(row)
    for analyte, rows in by_analyte.items():
        codes = sorted(row.code for row in rows)
        for phase in Phase:
            if all(row.phase is not phase for row in rows):
                yield error(
                    "PHASE",
                    "schedules",
                    ", ".join(codes),
                    phase,
                    f"{analyte} has no interval in the phase {phase}: all there is, is "
                    f"{' and '.join(codes)}.",
                )


def _within_seed(row: ScheduleRow, book: RuleBook) -> Iterator[LintFinding]:
    finding = book.index.findings.get(row.finding)
    cited = set(row.statements) | set(finding.statements if finding is not None else ())
    for statement, (most, words, phases) in _SEED_BOUNDS.items():
        if statement in cited and row.phase in phases and row.every_days > most:
            yield error(
                "SEED-BOUND",
                "schedules",
                row.code,
                f"{row.every_days} d",
                f"{row.code} asks for {row.analyte} every {row.every_days} days in the phase "
                f"{row.phase}: the protocol allows at most {words} ({statement}).",
            )
