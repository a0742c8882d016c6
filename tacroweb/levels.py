"""The tacrolimus levels of one patient: each against the target of its day, and time in target."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

from dosing.case import observation_fact
from dosing.models import Regimen
from dosing.rules.engine import trough
from dosing.rules.engine.facts import Observation as Level
from dosing.rules.engine.quantities import shown
from dosing.rules.engine.rows import LevelWindowRow
from dosing.rules.engine.rulebook import RuleBook
from dosing.selectors import Terms
from patients.models import Observation
from tacroweb.timeline import Status, TargetBand, TroughPoint

DAYS_IN_TARGET = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The target trough in force for one stretch of time, ng/mL."""

    since: datetime
    until: datetime | None
    low: Decimal
    high: Decimal
    window: LevelWindowRow | None

    @property
    def words(self) -> str:
        """ "5 to 10 ng/mL"."""
        return f"{shown(self.low)} to {shown(self.high)} ng/mL"


def targets(terms: Iterable[Terms], book: RuleBook, at: datetime) -> tuple[Target, ...]:
    """The target of each stretch of the courses, oldest first: its own, else the book's (S27, X6).

    A course begins with its first day and ends with its last, in the zone of `at`; within it a new
    target or product counts from the signature on.
    """
    usual = book.index.target
    return tuple(
        Target(
            since=each.since or midnight(each.regimen.started_on, at),
            until=each.until or _end(each.regimen, at),
            low=each.target_low_ng_per_ml or Decimal(shown(usual[0])),
            high=each.target_high_ng_per_ml or Decimal(shown(usual[1])),
            window=book.index.windows.get(each.formulation),
        )
        for each in terms
    )


def _end(regimen: Regimen, at: datetime) -> datetime | None:
    """The end of the last day of a course; None while it goes on."""
    last = regimen.stopped_on
    return None if last is None else midnight(last + timedelta(days=1), at)


def target_at(found: Sequence[Target], moment: datetime) -> Target | None:
    """The target that was in force at a moment; None where no tacrolimus was ordered."""
    for target in reversed(found):
        if target.since <= moment and (target.until is None or moment < target.until):
            return target
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedLevel:
    """A level, the target it is judged against, and where it stands by the engine's own tests."""

    row: Observation
    level: Level
    target: Target | None
    status: Status
    note: str

    @property
    def point(self) -> TroughPoint:
        """The level as the timeline draws it."""
        return TroughPoint(
            at=self.row.drawn_at,
            value=Decimal(as_reported(self.row).lstrip("<>= ")),
            comparator=self.row.comparator,
            status=self.status,
            label=self.note,
            href="#results",
        )


def place(row: Observation, found: Sequence[Target], at: datetime) -> PlacedLevel:
    """Is this level a trough (S28, D3), and is it in the target of its time (S27)?

    Where a comparator leaves it open ("<8.0" against 5 to 10), it is not placed either.
    """
    level = observation_fact(row)
    target = target_at(found, row.drawn_at)
    status: Status = "doubtful"
    note = ""
    if target is None:
        note = "no tacrolimus ordered that day"
    elif level.hours_since_dose is None:
        note = "hours since the dose not known"
    elif not trough.is_trough(level, target.window):
        note = f"{shown(level.hours_since_dose)} h after the dose"
    else:
        low, high = Fraction(target.low), Fraction(target.high)
        seen = trough.values(level)
        if seen.below(low):
            status = "below"
        elif seen.above(high):
            status = "above"
        elif level.comparator is None:
            status = "in_target"
        else:
            note = "reported only as a limit"
    return PlacedLevel(row=row, level=level, target=target, status=status, note=note)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeInTarget:
    """Share of the days between troughs that lay in the target, and how many days that were."""

    percent: int
    days: int


def time_in_target(
    troughs: Sequence[tuple[datetime, Fraction]],
    *,
    low: Fraction,
    high: Fraction,
    since: datetime,
    until: datetime,
) -> TimeInTarget | None:
    """Share of time in target by linear interpolation between troughs in ng/mL, oldest first.

    The method of Rosendaal (Thromb Haemost 1993;69:236): between two troughs the level is taken to
    change evenly; nothing is assumed before the first or after the last. Exact until the percentage
    is rounded, half up. None where fewer than two troughs reach into the window, or cover no day.
    """
    inside = covered = Fraction(0)
    for (t1, v1), (t2, v2) in pairwise(troughs):
        span = Fraction((t2 - t1) // timedelta(microseconds=1))
        if span <= 0 or t2 <= since or t1 >= until:
            continue
        start = Fraction((max(t1, since) - t1) // timedelta(microseconds=1)) / span
        end = Fraction((min(t2, until) - t1) // timedelta(microseconds=1)) / span
        covered += (end - start) * span
        if v1 == v2:
            inside += (end - start) * span if low <= v1 <= high else 0
            continue
        crossed = sorted(((low - v1) / (v2 - v1), (high - v1) / (v2 - v1)))
        inside += max(Fraction(0), min(end, crossed[1]) - max(start, crossed[0])) * span
    days = round(covered / 86_400_000_000)
    if not days:
        return None
    percent = (100 * inside / covered + Fraction(1, 2)) // 1
    return TimeInTarget(percent=int(percent), days=days)


def recent_time_in_target(
    placed: Iterable[PlacedLevel], target: Target, at: datetime
) -> TimeInTarget | None:
    """Over the last 90 days, of the exact troughs of the regimen that has this target."""
    known = sorted(
        (each.row.drawn_at, each.level.canonical)
        for each in placed
        if each.target is target and each.status != "doubtful" and not each.row.comparator
    )
    return time_in_target(
        known,
        low=Fraction(target.low),
        high=Fraction(target.high),
        since=at - timedelta(days=DAYS_IN_TARGET),
        until=at,
    )


def bands(found: Sequence[Target]) -> tuple[TargetBand, ...]:
    """The target of each stretch as the timeline draws it; alike ones that meet are one band."""
    drawn: list[TargetBand] = []
    for target in found:
        before = drawn[-1] if drawn else None
        if (
            before is not None
            and before.until == target.since
            and (before.low, before.high) == (target.low, target.high)
        ):
            drawn[-1] = replace(before, until=target.until)
        else:
            drawn.append(
                TargetBand(since=target.since, until=target.until, low=target.low, high=target.high)
            )
    return tuple(drawn)


def as_reported(row: Observation) -> str:
    """The value in the canonical unit: as typed if it was typed in that unit, else converted."""
    if row.unit_entered == row.analyte.canonical_unit:
        return row.entered
    return f"{row.comparator}{shown(row.value)}"


def midnight(day: date, at: datetime) -> datetime:
    """The beginning of a day in the zone of `at`."""
    return datetime.combine(day, time(), tzinfo=at.tzinfo)
