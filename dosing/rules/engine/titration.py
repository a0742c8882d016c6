"""What follows from a level: the band it lies in and the dose (S9, S27 with D19, D20)."""

from datetime import datetime, timedelta
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
from dosing.rules.engine.comedication import Change, events, is_open
from dosing.rules.engine.facts import CaseFacts, Observation, Regimen, RegimenStatus
from dosing.rules.engine.quantities import shown
from dosing.rules.engine.rows import INHIBITORS
from dosing.rules.engine.rulebook import RuleBook
from dosing.rules.engine.trough import (
    Side,
    is_trough,
    level_words,
    levels,
    newest_trough,
    side,
    target,
    target_words,
    values,
)


class Bar(StrEnum):
    """Why a level cannot carry a dose change."""

    NOT_EXACT = "NOT_EXACT"
    NOT_TROUGH = "NOT_TROUGH"
    NOT_STEADY = "NOT_STEADY"
    INTERACTION = "INTERACTION"


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
    aim = target_words(regimen, book)
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
    message = f"{words} {_BANDS[code]} the target of {target_words(regimen, book)}."
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
        proposed, said, extra = _titrate(basis, regimen, _most(regimen, case, book, at), book)
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


def _most(regimen: Regimen, case: CaseFacts, book: RuleBook, at: datetime) -> Fraction:
    """What a raise never passes, mg/day: the book's maximum (D21) or the dose before an inhibitor.

    The latter counts while the stop of an inhibitor is recent (S52).
    """
    most = book.index.numbers["MAX-MG-PER-DAY"]
    before = regimen.dose_before_inhibitor_mg_per_day
    if before is not None and any(
        event.change is Change.STOPPED
        and event.drug_class in INHIBITORS
        and is_open(event, book, at)
        for event in events(case, book, at)
    ):
        return min(most, Fraction(before))
    return most


def _titrate(
    level: Observation, regimen: Regimen, most: Fraction, book: RuleBook
) -> tuple[DoseProposal | None, str, tuple[Finding, ...]]:
    """New dose = old × middle of the target / observed, limited and rounded (D19, D20).

    The step is at most 25 % at the edge of the target and 50 % elsewhere; rounding never passes
    that limit, nor turns a fall into a rise; a raise never passes `most` mg/day.
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
        highest = min(highest, max(current, most))
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
        else f"{doses.mg(current)} mg/day × {shown(1 + share)} = {shown(limit, at_least=1)}"
    )
    if capped != computed:
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
    said_already = capped == total and capped not in (computed, limit)
    reached = "" if said_already else doses.rounded(computed, total)
    given = doses.proposal(Action.CHANGE, total, step, f"{sum_shown}{reached}")
    return given, f"{given.arithmetic}: {given.taken}.", ()


def _below_capsules(sum_shown: str, step: Fraction, book: RuleBook) -> tuple[Finding, ...]:
    return raised(
        book,
        "TROUGH-NOT-DISPENSABLE",
        f"The level asks for less ({sum_shown}), and that cannot be dispensed as two doses of "
        f"{shown(step)} mg capsules: no dose is proposed. Decide whether to hold tacrolimus.",
    )


def _inputs(
    level: Observation, regimen: Regimen, book: RuleBook, at: datetime
) -> tuple[tuple[str, str], ...]:
    hours = level.hours_after_dose
    low, high = target(regimen, book)
    return (
        ("level_ng_per_ml", f"{level.comparator or ''}{shown(level.canonical, at_most=3)}"),
        ("level_at", level.at.astimezone(at.tzinfo).isoformat()),
        ("hours_since_dose", "not known" if hours is None else shown(hours)),
        ("target_ng_per_ml", f"{shown(low)} to {shown(high)}"),
        ("dose_mg_per_day", shown(regimen.total_daily_mg, at_least=1)),
    )
