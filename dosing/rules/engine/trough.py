"""The tacrolimus level: is the sample a trough, and where does it stand (S27, S28)."""

from collections.abc import Iterator
from datetime import date, datetime
from enum import StrEnum
from fractions import Fraction
from typing import NamedTuple

from dosing.rules.engine.advice import (
    Finding,
    next_test,
    raised,
)
from dosing.rules.engine.facts import (
    TACROLIMUS_LEVEL,
    CaseFacts,
    Observation,
    Regimen,
    once_a_question,
)
from dosing.rules.engine.quantities import ZERO, Comparator, begins, compared, day, shown
from dosing.rules.engine.rows import Band, LevelWindowRow
from dosing.rules.engine.rulebook import RuleBook

_UNIT = "ng/mL"


class Side(StrEnum):
    """Where a level lies against the patient's target."""

    BELOW = "BELOW"
    INSIDE = "INSIDE"
    ABOVE = "ABOVE"


class Range(NamedTuple):
    """All values a result may stand for; without a high end unbounded. One value has both alike."""

    low: Fraction
    low_in: bool
    high: Fraction | None
    high_in: bool

    @property
    def exact(self) -> bool:
        """Whether it is one value."""
        return self.low is self.high or self.low == self.high

    def below(self, limit: Fraction, *, or_at: bool = False) -> bool:
        """Whether every value is less than `limit` (or at it)."""
        if self.high is None:
            return False
        order = compared(self.high, limit)
        return order < 0 or (order == 0 and (or_at or not self.high_in))

    def above(self, limit: Fraction, *, or_at: bool = False) -> bool:
        """Whether every value is more than `limit` (or at it)."""
        order = compared(self.low, limit)
        return order > 0 or (order == 0 and (or_at or not self.low_in))


def values(level: Observation) -> Range:
    """What the laboratory's answer says, in ng/mL: a comparator leaves one end open."""
    at = level.canonical
    if level.comparator is None:
        return exactly(at)
    if level.comparator in (Comparator.LESS, Comparator.AT_MOST):
        closed = level.comparator is Comparator.AT_MOST
        return Range(low=ZERO, low_in=True, high=at, high_in=closed)
    closed = level.comparator is Comparator.AT_LEAST
    return Range(low=at, low_in=closed, high=None, high_in=False)


def exactly(value: Fraction) -> Range:
    """The range of one value, ng/mL."""
    return Range(value, True, value, True)


def level_words(level: Observation, at: datetime) -> str:
    """The level as reported, with its unit and its day."""
    number = shown(level.value, at_least=1, at_most=3)
    words = f"{level.comparator or ''}{number} {level.unit}"
    if level.unit != _UNIT:
        words += f" ({level.comparator or ''}{shown(level.canonical, at_least=1)} {_UNIT})"
    return f"{words} on {day(level.at.astimezone(at.tzinfo).date())}"


def levels(case: CaseFacts, at: datetime) -> Iterator[Observation]:
    """The tacrolimus levels of this regimen, newest first."""
    if case.regimen is None:
        return
    begun = case.regimen.started_on
    first = None if begun is None else begins(begun, at)
    for level in case.results(TACROLIMUS_LEVEL, at):
        if first is not None and level.at < first:
            return
        yield level


def is_trough(level: Observation, window: LevelWindowRow | None) -> bool:
    """Whether the hours after the dose are known and within the usable window (D3)."""
    hours = level.hours_after_dose
    return (
        window is not None
        and hours is not None
        and window.usable_from_h <= hours <= window.usable_to_h
    )


def troughs(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Observation, ...]:
    """The levels that are troughs by their hours, newest first."""
    if case.regimen is None:
        return ()
    window = book.index.windows.get(case.regimen.formulation)
    return tuple(level for level in levels(case, at) if is_trough(level, window))


@once_a_question
def newest_trough(case: CaseFacts, book: RuleBook, at: datetime) -> Observation | None:
    """The newest level that is a trough by its hours."""
    if case.regimen is None:
        return None
    window = book.index.windows.get(case.regimen.formulation)
    return next((level for level in levels(case, at) if is_trough(level, window)), None)


def last_trough_on(case: CaseFacts, book: RuleBook, at: datetime) -> date | None:
    """The day of the newest trough: it answers the tests that were due by then."""
    newest = newest_trough(case, book, at)
    return None if newest is None else newest.at.astimezone(at.tzinfo).date()


def target(regimen: Regimen, book: RuleBook) -> tuple[Fraction, Fraction]:
    """The patient's target trough in ng/mL, the book's where none is set (S27, X6)."""
    low, high = regimen.target_low_ng_per_ml, regimen.target_high_ng_per_ml
    if low is not None and high is not None:
        return Fraction(low), Fraction(high)
    return book.index.target


def alarm(said: Range, book: RuleBook) -> Band | None:
    """The alarm band that all of these values reach, whatever the target (D19); None in between.

    Values that reach two of them, as ">15" does, are in the milder one.
    """
    bands, limits = book.index.bands, book.index.limits
    for band in (Band.TOXIC, Band.FAR_ABOVE):
        if said.above(limits[band], or_at=bands[band].low_included):
            return band
    far_below = bands[Band.FAR_BELOW]
    low = said.below(limits[Band.FAR_BELOW], or_at=far_below.high_included)
    return Band.FAR_BELOW if low else None


def band_of(value: Fraction, regimen: Regimen | None, book: RuleBook) -> Band:
    """The one band in which a trough of exactly `value` ng/mL lies (S9, S27, D19).

    The alarm bands are absolute; between them the patient's own target decides, and without one
    the book's. The ends of the rows decide at a limit. In a book that the linter passes this is the
    band of the one row that holds the value.
    """
    said = exactly(value)
    if (alarming := alarm(said, book)) is not None:
        return alarming
    where = _side(said, book.index.target if regimen is None else target(regimen, book), book)
    if where is Side.INSIDE:
        return Band.IN_TARGET
    return Band.BELOW if where is Side.BELOW else Band.ABOVE


def high_since(case: CaseFacts, book: RuleBook, at: datetime, since: date) -> Observation | None:
    """The newest trough if it was drawn after the day `since` and is above the target (S47)."""
    newest = newest_trough(case, book, at)
    if newest is None or case.regimen is None:
        return None
    _, high = target(case.regimen, book)
    if newest.at.astimezone(at.tzinfo).date() > since and values(newest).above(high):
        return newest
    return None


def sample(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """S28: was the newest level drawn as a trough? If not, it changes no dose and is repeated."""
    newest = next(levels(case, at), None)
    if newest is None or case.regimen is None:
        return ()
    window = book.index.windows.get(case.regimen.formulation)
    hours = newest.hours_after_dose
    if window is None:
        return ()
    trough = is_trough(newest, window)
    if trough and hours is not None and window.valid_from_h <= hours <= window.valid_to_h:
        return ()
    words = level_words(newest, at)
    usual = f"{shown(window.valid_from_h)} to {shown(window.valid_to_h)} h"
    toxic = alarm(values(newest), book) is Band.TOXIC
    again = "Repeat the level." if toxic else "Repeat the draw immediately before the next dose."
    allowed = f"{shown(window.usable_from_h)} to {shown(window.usable_to_h)} h"
    today = at.date()
    if hours is None:
        code = "SAMPLE-HOURS-UNKNOWN"
        message = (
            f"The level {words} has no time since the last dose: whether it is a trough is not "
            "known, so it changes no dose. Record the time or repeat the draw "
            f"{allowed} after a dose."
        )
    elif not trough:
        code = "SAMPLE-NOT-TROUGH"
        message = (
            f"The level {words} was drawn {shown(hours)} h after the dose and is not a trough "
            f"({allowed}): no dose is computed from it. {again}"
        )
    else:
        return raised(
            book,
            "SAMPLE-FLAGGED",
            f"The level {words} was drawn {shown(hours)} h after the dose, outside {usual}: "
            "usable, with this in mind.",
            inputs=(("hours_since_dose", shown(hours)),),
        )
    return raised(
        book,
        code,
        message,
        inputs=(("hours_since_dose", "not known" if hours is None else shown(hours)),),
        due_tests=next_test(book, "LEVEL-REPEAT", today, code),
    )


def side(level: Observation, regimen: Regimen, book: RuleBook) -> Side | None:
    """Where the level lies against the patient's target; None if a comparator leaves it open."""
    return _side(values(level), target(regimen, book), book)


def _side(said: Range, aim: tuple[Fraction, Fraction], book: RuleBook) -> Side | None:
    """The ends of a patient's own target are in or out as those of the book's are."""
    (low, high), row = aim, book.index.bands[Band.IN_TARGET]
    if said.below(low, or_at=not row.low_included):
        return Side.BELOW
    if said.above(high, or_at=not row.high_included):
        return Side.ABOVE
    if said.exact:
        return Side.INSIDE
    inside = said.above(low, or_at=row.low_included) and said.below(high, or_at=row.high_included)
    return Side.INSIDE if inside else None


def target_words(regimen: Regimen, book: RuleBook) -> str:
    """The target as a message says it."""
    low, high = target(regimen, book)
    return f"{shown(low)} to {shown(high)} ng/mL"


def own_target(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """X6: the patient's own target is not the protocol's, and the reader is told so."""
    regimen = case.regimen
    if regimen is None or target(regimen, book) == book.index.target:
        return ()
    usual = " to ".join(shown(end) for end in book.index.target)
    return raised(
        book,
        "TARGET-OWN",
        f"This patient's own target is {target_words(regimen, book)}; the protocol's is {usual} "
        "ng/mL. A target for the first months needs a reason and a day on which it ends.",
        inputs=(("target_ng_per_ml", target_words(regimen, book)),),
    )
