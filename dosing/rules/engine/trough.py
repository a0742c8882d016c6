"""The tacrolimus level: is it a trough, where does it stand, what dose follows (S9, S27, S28)."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from fractions import Fraction

from dosing.rules.engine import doses
from dosing.rules.engine.advice import (
    Action,
    DoseProposal,
    DueTest,
    Effect,
    Finding,
    next_test,
    raised,
)
from dosing.rules.engine.comedication import events, is_open
from dosing.rules.engine.facts import (
    TACROLIMUS_LEVEL,
    CaseFacts,
    Observation,
    Regimen,
    RegimenStatus,
)
from dosing.rules.engine.quantities import Comparator, day, shown
from dosing.rules.engine.rulebook import LevelWindowRow, RuleBook

_UNIT = "ng/mL"


class Side(StrEnum):
    """Where a level lies against the patient's target."""

    BELOW = "BELOW"
    INSIDE = "INSIDE"
    ABOVE = "ABOVE"


class Bar(StrEnum):
    """Why a level cannot carry a dose change."""

    NOT_EXACT = "NOT_EXACT"
    NOT_TROUGH = "NOT_TROUGH"
    NOT_STEADY = "NOT_STEADY"
    INTERACTION = "INTERACTION"


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """All values a result may stand for; None is unbounded. An exact result has both ends equal."""

    low: Fraction | None
    low_in: bool
    high: Fraction | None
    high_in: bool

    def below(self, limit: Fraction) -> bool:
        """Whether every value is less than `limit`."""
        return self.high is not None and (
            self.high < limit or (self.high == limit and not self.high_in)
        )

    def above(self, limit: Fraction) -> bool:
        """Whether every value is more than `limit`."""
        return self.low is not None and (
            self.low > limit or (self.low == limit and not self.low_in)
        )


def values(level: Observation) -> Range:
    """What the laboratory's answer says, in ng/mL: a comparator leaves one end open."""
    at = level.canonical
    if level.comparator is None:
        return Range(low=at, low_in=True, high=at, high_in=True)
    if level.comparator in (Comparator.LESS, Comparator.AT_MOST):
        closed = level.comparator is Comparator.AT_MOST
        return Range(low=Fraction(0), low_in=True, high=at, high_in=closed)
    closed = level.comparator is Comparator.AT_LEAST
    return Range(low=at, low_in=closed, high=None, high_in=False)


def level_words(level: Observation, at: datetime) -> str:
    """The level as reported, with its unit and its day."""
    number = shown(level.value, at_least=1, at_most=3)
    words = f"{level.comparator or ''}{number} {level.unit}"
    if level.unit != _UNIT:
        words += f" ({level.comparator or ''}{shown(level.canonical, at_least=1)} {_UNIT})"
    return f"{words} on {day(level.at.astimezone(at.tzinfo).date())}"


def levels(case: CaseFacts, at: datetime) -> tuple[Observation, ...]:
    """The tacrolimus levels of this regimen, newest first."""
    if case.regimen is None:
        return ()
    begun = case.regimen.started_on
    return tuple(
        level
        for level in case.results(TACROLIMUS_LEVEL, at)
        if begun is None or level.at.astimezone(at.tzinfo).date() >= begun
    )


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
    numbers = book.index.numbers
    return numbers["TARGET-LOW-NG-PER-ML"], numbers["TARGET-HIGH-NG-PER-ML"]


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
    known = levels(case, at)
    if not known or case.regimen is None:
        return ()
    newest = known[0]
    words = level_words(newest, at)
    window = book.index.windows.get(case.regimen.formulation)
    hours = newest.hours_after_dose
    if window is None:
        return ()
    usual = f"{shown(window.valid_from_h)} to {shown(window.valid_to_h)} h"
    allowed = f"{shown(window.usable_from_h)} to {shown(window.usable_to_h)} h"
    today = at.date()
    if hours is None:
        code = "SAMPLE-HOURS-UNKNOWN"
        message = (
            f"The level {words} has no time since the last dose: whether it is a trough is not "
            "known, so it changes no dose. Record the time or repeat the draw "
            f"{allowed} after a dose."
        )
    elif not is_trough(newest, window):
        code = "SAMPLE-NOT-TROUGH"
        message = (
            f"The level {words} was drawn {shown(hours)} h after the dose and is not a trough "
            f"({allowed}): it changes no dose. Repeat the draw immediately before the next dose."
        )
    elif not window.valid_from_h <= hours <= window.valid_to_h:
        return raised(
            book,
            "SAMPLE-FLAGGED",
            f"The level {words} was drawn {shown(hours)} h after the dose, outside {usual}: "
            "usable, with this in mind.",
            inputs=(("hours_since_dose", shown(hours)),),
        )
    else:
        return ()
    return raised(
        book,
        code,
        message,
        inputs=(("hours_since_dose", "not known" if hours is None else shown(hours)),),
        due_tests=next_test(book, "LEVEL-REPEAT", today, code),
    )


def why_not(
    level: Observation, regimen: Regimen, case: CaseFacts, book: RuleBook, at: datetime
) -> tuple[Bar, str] | None:
    """Why a level cannot carry a dose change, as a kind and in words; None if it can.

    It must be exact, a trough with its hours known, drawn at least 72 h after the dose was set, and
    later than the day of every interaction that is still open.
    """
    if level.comparator is not None:
        return Bar.NOT_EXACT, "it is reported with a comparator, not as an exact value"
    if not is_trough(level, book.index.windows.get(regimen.formulation)):
        return Bar.NOT_TROUGH, "it is not known to be a trough"
    if regimen.dose_since is None:
        return Bar.NOT_STEADY, "it is not recorded since when this dose is taken"
    if level.at < regimen.dose_since:
        return Bar.NOT_STEADY, "it was drawn before the present dose was set"
    hours = book.index.numbers["STEADY-STATE-HOURS"]
    if level.at - regimen.dose_since < timedelta(seconds=int(hours * 3600)):
        return Bar.NOT_STEADY, f"it was drawn less than {shown(hours)} h after the dose was set"
    drawn_on = level.at.astimezone(at.tzinfo).date()
    for event in events(case, book, at):
        if is_open(event, book, at) and drawn_on <= event.on:
            return Bar.INTERACTION, f"{event.words}, which the level cannot show yet"
    return None


def level_bands(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """S9 outside the target, S27 inside it, alarms at the book's absolute limits (D19).

    The newest trough is placed. A newer sample that is no trough only alarms. The proposal comes
    from the newest level that may carry one, unless a newer level speaks for the other side.
    """
    regimen = case.regimen
    known = levels(case, at)
    if regimen is None or not known:
        return ()
    newest = known[0]
    placed = newest_trough(case, book, at)
    basis = next(
        (level for level in known if why_not(level, regimen, case, book, at) is None), None
    )
    found: tuple[Finding, ...] = ()
    newer: list[Side | None] = []
    if newest is not placed:
        said = values(newest)
        if said.below(book.index.numbers["ALARM-LOW-NG-PER-ML"]):
            newer.append(Side.BELOW)
            found += _outside("TROUGH-VERY-LOW", newest, None, regimen, case, book, at)
        elif said.above(book.index.numbers["ALARM-TOXIC-NG-PER-ML"]):
            newer.append(Side.ABOVE)
            found += _outside("TROUGH-TOXIC", newest, None, regimen, case, book, at)
    if placed is not None and placed is not basis:
        newer.append(side(placed, regimen, book))
        found += _placed(placed, None, regimen, case, book, at)
    if basis is not None:
        here = side(basis, regimen, book)
        agreed = all(other in (None, here) for other in newer)
        if basis is placed or (agreed and here is not Side.INSIDE):
            found += _placed(basis, basis if agreed else None, regimen, case, book, at)
    return found


def side(level: Observation, regimen: Regimen, book: RuleBook) -> Side | None:
    """Where the level lies against the patient's target; None if a comparator leaves it open."""
    low, high = target(regimen, book)
    said = values(level)
    if said.below(low):
        return Side.BELOW
    if said.above(high):
        return Side.ABOVE
    inside = (
        said.low is not None and said.low >= low and said.high is not None and said.high <= high
    )
    return Side.INSIDE if inside else None


def _placed(
    level: Observation,
    basis: Observation | None,
    regimen: Regimen,
    case: CaseFacts,
    book: RuleBook,
    at: datetime,
) -> tuple[Finding, ...]:
    """The finding for a trough: which band it lies in and, if it is the basis, the dose."""
    numbers = book.index.numbers
    said = values(level)
    low_alarm = said.below(numbers["ALARM-LOW-NG-PER-ML"])
    high_alarm = said.above(numbers["ALARM-HIGH-NG-PER-ML"])
    if said.above(numbers["ALARM-TOXIC-NG-PER-ML"]):
        return _outside("TROUGH-TOXIC", level, None, regimen, case, book, at)
    where = side(level, regimen, book)
    if where is Side.BELOW:
        code = "TROUGH-VERY-LOW" if low_alarm else "TROUGH-BELOW-TARGET"
        return _outside(code, level, basis, regimen, case, book, at)
    if where is Side.ABOVE:
        code = "TROUGH-VERY-HIGH" if high_alarm else "TROUGH-ABOVE-TARGET"
        return _outside(code, level, basis, regimen, case, book, at)
    words = f"Trough {level_words(level, at)}"
    inputs = _inputs(level, regimen, book, at)
    aim = _target_words(regimen, book)
    if low_alarm or high_alarm:
        limit = "ALARM-LOW-NG-PER-ML" if low_alarm else "ALARM-HIGH-NG-PER-ML"
        relation = "below" if low_alarm else "above"
        return raised(
            book,
            "TROUGH-ALARM",
            f"{words} is {relation} {shown(numbers[limit])} ng/mL, although the patient's own "
            f"target is {aim}.",
            inputs=inputs,
        )
    if where is None:
        return raised(
            book,
            "TROUGH-UNDECIDED",
            f"{words} may lie inside or outside the target of {aim}: it is reported with a "
            "comparator and changes no dose. Repeat it with an exact value.",
            inputs=inputs,
            due_tests=next_test(book, "LEVEL-REPEAT", at.date(), "TROUGH-UNDECIDED"),
        )
    return raised(
        book, "TROUGH-IN-TARGET", f"{words} is within the target of {aim}.", inputs=inputs
    )


_BANDS = {
    "TROUGH-VERY-LOW": "is far below",
    "TROUGH-BELOW-TARGET": "is below",
    "TROUGH-ABOVE-TARGET": "is above",
    "TROUGH-VERY-HIGH": "is far above",
}


def _outside(
    code: str,
    level: Observation,
    basis: Observation | None,
    regimen: Regimen,
    case: CaseFacts,
    book: RuleBook,
    at: datetime,
) -> tuple[Finding, ...]:
    """S9 with the dose that follows, or with the reason why none does."""
    inputs = _inputs(level, regimen, book, at)
    kind = "Trough" if is_trough(level, book.index.windows.get(regimen.formulation)) else "Level"
    words = f"{kind} {level_words(level, at)}"
    if code == "TROUGH-TOXIC":
        limit = shown(book.index.numbers["ALARM-TOXIC-NG-PER-ML"])
        return raised(
            book,
            code,
            f"{words} is above {limit} ng/mL: hold tacrolimus and repeat the level.",
            inputs=inputs,
            proposal=doses.hold(f"hold: {level_words(level, at)} is above {limit} ng/mL"),
            due_tests=next_test(book, "LEVEL-REPEAT", at.date(), code),
        )
    message = f"{words} {_BANDS[code]} the target of {_target_words(regimen, book)}."
    if code == "TROUGH-VERY-LOW":
        message += " Check adherence and inducing drugs."
    above = code in ("TROUGH-ABOVE-TARGET", "TROUGH-VERY-HIGH")
    proposed: DoseProposal | None = None
    extra: tuple[Finding, ...] = ()
    if basis is None:
        barred = why_not(level, regimen, case, book, at)
        kind_of_bar = barred[0] if barred is not None else None
        reason = barred[1] if barred is not None else "a newer level speaks against it"
        message += f" It changes no dose: {reason}."
        due = _next_level(kind_of_bar, code, regimen, book, at)
    else:
        proposed, said, extra = _titrate(basis, regimen, book)
        message += f" {said}"
        due = next_test(book, "LEVEL-RECHECK", at.date(), code)
    return extra + raised(
        book,
        code,
        message,
        inputs=inputs,
        proposal=proposed,
        due_tests=due,
        effect=Effect.ASKS_FOR_LESS if above else Effect.NONE,
    )


def _next_level(
    bar: Bar | None, code: str, regimen: Regimen, book: RuleBook, at: datetime
) -> tuple[DueTest, ...]:
    """When to draw again after a level that changes no dose; interactions have their own tests."""
    since = regimen.dose_since
    if bar is Bar.INTERACTION or bar is Bar.NOT_TROUGH:
        return ()
    if bar is Bar.NOT_STEADY and since is not None:
        return next_test(book, "LEVEL-RECHECK", since.astimezone(at.tzinfo).date(), code)
    return next_test(book, "LEVEL-REPEAT", at.date(), code)


def _titrate(
    level: Observation, regimen: Regimen, book: RuleBook
) -> tuple[DoseProposal | None, str, tuple[Finding, ...]]:
    """New dose = old × middle of the target / observed, limited and rounded (D19, D20).

    The step is at most 25 % at the edge of the target and 50 % elsewhere; rounding never passes
    that limit, nor turns a fall into a rise; a raise never passes the book's maximum (D21).
    """
    numbers, ratios = book.index.numbers, book.index.ratios
    step = doses.step_mg(book, regimen.formulation)
    if step is None:
        return None, "No dose is proposed for once-daily products: decide the dose yourself.", ()
    if regimen.status is RegimenStatus.HELD:
        return None, "Tacrolimus is held, so no dose is proposed.", ()
    low, high = target(regimen, book)
    observed, current = level.canonical, Fraction(regimen.total_daily_mg)
    middle = (low + high) / 2
    edge = (
        low - observed < numbers["EDGE-BELOW-NG-PER-ML"]
        and observed - high < numbers["EDGE-ABOVE-NG-PER-ML"]
    )
    share = ratios["EDGE-STEP-LIMIT" if edge else "STEP-LIMIT"]
    if observed < low:
        lowest, highest, limit = current, current * (1 + share), current * (1 + share)
        highest = min(highest, max(current, numbers["MAX-MG-PER-DAY"]))
        sign = "+"
    else:
        lowest, highest, limit = current * (1 - share), current, current * (1 - share)
        sign = "−"
    computed = current * middle / observed if observed else limit
    capped = min(max(computed, lowest), highest)
    sum_shown = (
        f"{doses.mg(current)} mg/day × {shown(middle)}/{shown(observed, at_most=3)} = "
        f"{shown(computed, at_least=1)}"
        if observed
        else f"{doses.mg(current)} mg/day"
    )
    if capped != computed or not observed:
        sum_shown += (
            f", limited to {sign}{shown(share * 100)} %"
            if capped == limit
            else f", limited to {shown(capped)} mg/day"
        )
    total = doses.nearest(capped, step, lowest=lowest, highest=highest)
    if total is None or total == current:
        return None, f"The nearest dispensable dose is the present one ({sum_shown}).", ()
    if total < doses.lowest_mg_per_day(step):
        said = f"The dose that follows ({sum_shown}) cannot be dispensed."
        return None, said, _below_capsules(sum_shown, step, book)
    given = doses.proposal(
        Action.CHANGE, total, step, f"{sum_shown}{doses.rounded(computed, total)}"
    )
    return given, f"{given.arithmetic}: {given.taken}.", ()


def _below_capsules(sum_shown: str, step: Fraction, book: RuleBook) -> tuple[Finding, ...]:
    return raised(
        book,
        "TROUGH-NOT-DISPENSABLE",
        f"The level asks for less ({sum_shown}), and that cannot be dispensed as two doses of "
        f"{shown(step)} mg capsules: no dose is proposed. Decide whether to hold tacrolimus.",
    )


def _target_words(regimen: Regimen, book: RuleBook) -> str:
    low, high = target(regimen, book)
    return f"{shown(low)} to {shown(high)} ng/mL"


def _inputs(
    level: Observation, regimen: Regimen, book: RuleBook, at: datetime
) -> tuple[tuple[str, str], ...]:
    hours = level.hours_after_dose
    return (
        ("level_ng_per_ml", f"{level.comparator or ''}{shown(level.canonical, at_most=3)}"),
        ("level_at", level.at.astimezone(at.tzinfo).isoformat()),
        ("hours_since_dose", "not known" if hours is None else shown(hours)),
        ("target_ng_per_ml", _target_words(regimen, book)),
        ("total_daily_mg", shown(regimen.total_daily_mg, at_least=1)),
    )
