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
from dosing.rules.engine.comedication import Change, Event, events, is_open
from dosing.rules.engine.facts import CaseFacts, Observation, Regimen, RegimenStatus
from dosing.rules.engine.quantities import day, shown
from dosing.rules.engine.rows import INHIBITORS, Band
from dosing.rules.engine.rulebook import RuleBook
from dosing.rules.engine.trough import (
    Side,
    alarm,
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
    SWITCHED = "SWITCHED"


def why_not(
    level: Observation,
    regimen: Regimen,
    still_open: tuple[Event, ...],
    book: RuleBook,
    at: datetime,
) -> tuple[Bar, str] | None:
    """Why a level cannot carry a dose change, as a kind and in words; None if it can.

    It must be exact, a trough with its hours known, drawn at least 72 h after the dose was set, and
    later than the day of every interaction that is `still_open` and of the last change of product.
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
    for event in still_open:
        if drawn_on <= event.on:
            return Bar.INTERACTION, f"{event.words}, which the level cannot show yet"
    switched_on = regimen.switched_on
    if switched_on is not None and switched_on <= at.date() and drawn_on <= switched_on:
        words = f"the product was changed on {day(switched_on)}, which the level cannot show yet"
        return Bar.SWITCHED, words
    return None


def level_bands(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """S9 outside the target, S27 inside it, alarms at the book's absolute limits (D19).

    The newest trough is placed. A newer sample that is no trough only alarms. The proposal comes
    from the newest level that may carry one, unless a newer level speaks for the other side.
    """
    regimen = case.regimen
    newest = next(levels(case, at), None)
    if regimen is None or newest is None:
        return ()
    placed = newest_trough(case, book, at)
    still_open = tuple(event for event in events(case, book, at) if is_open(event, book, at))
    basis = next(
        (
            level
            for level in levels(case, at)
            if why_not(level, regimen, still_open, book, at) is None
        ),
        None,
    )
    found: tuple[Finding, ...] = ()
    newer: list[Side | None] = []
    if newest is not placed:
        band = alarm(values(newest), book)
        if band is Band.FAR_BELOW:
            newer.append(Side.BELOW)
            found += _outside("TROUGH-VERY-LOW", newest, None, regimen, still_open, book, at)
        elif band is Band.TOXIC:
            newer.append(Side.ABOVE)
            found += _toxic(newest, regimen, book, at)
    if placed is not None and placed is not basis:
        newer.append(side(placed, regimen, book))
        found += _placed(placed, None, regimen, still_open, book, at)
    if basis is not None:
        here = side(basis, regimen, book)
        agreed = all(other in (None, here) for other in newer)
        if basis is placed or (agreed and here is not Side.INSIDE):
            found += _placed(basis, basis if agreed else None, regimen, still_open, book, at)
    return found


def _placed(
    level: Observation,
    basis: Observation | None,
    regimen: Regimen,
    still_open: tuple[Event, ...],
    book: RuleBook,
    at: datetime,
) -> tuple[Finding, ...]:
    """The finding for a trough: which band it lies in and, if it is the basis, the dose."""
    band = alarm(values(level), book)
    if band is Band.TOXIC:
        return _toxic(level, regimen, book, at)
    where = side(level, regimen, book)
    words = f"Trough {level_words(level, at)}"
    inputs = _inputs(level, regimen, book, at)
    aim = target_words(regimen, book)
    if where is Side.BELOW or where is Side.ABOVE:
        alarming = _ALARMS.get((where, band)) if band is not None else None
        code = alarming or _CODES[where]
        found = _outside(code, level, basis, regimen, still_open, book, at)
        if band is not None and alarming is None:
            found += raised(
                book,
                "TROUGH-ALARM-ACROSS",
                f"{words} is {_beyond(band, book)}, although the patient's own target is {aim}.",
                inputs=inputs,
            )
        return found
    if band is not None:
        return raised(
            book,
            "TROUGH-ALARM",
            f"{words} is {_beyond(band, book)}, although the patient's own target is {aim}.",
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


_CODES = {Side.BELOW: "TROUGH-BELOW-TARGET", Side.ABOVE: "TROUGH-ABOVE-TARGET"}
_ALARMS = {
    (Side.BELOW, Band.FAR_BELOW): "TROUGH-VERY-LOW",
    (Side.ABOVE, Band.FAR_ABOVE): "TROUGH-VERY-HIGH",
}
_BANDS = {
    "TROUGH-VERY-LOW": "is far below",
    "TROUGH-BELOW-TARGET": "is below",
    "TROUGH-ABOVE-TARGET": "is above",
    "TROUGH-VERY-HIGH": "is far above",
}


def _beyond(band: Band, book: RuleBook) -> str:
    """Where an alarm band begins, as a message says it: "above 20 ng/mL"."""
    row, limit = book.index.bands[band], shown(book.index.limits[band])
    if band is Band.FAR_BELOW:
        return f"{'at most' if row.high_included else 'below'} {limit} ng/mL"
    return f"{'at least' if row.low_included else 'above'} {limit} ng/mL"


def _named(level: Observation, regimen: Regimen, book: RuleBook, at: datetime) -> str:
    kind = "Trough" if is_trough(level, book.index.windows.get(regimen.formulation)) else "Level"
    return f"{kind} {level_words(level, at)}"


def _toxic(
    level: Observation, regimen: Regimen, book: RuleBook, at: datetime
) -> tuple[Finding, ...]:
    """D19: a level in the highest alarm band holds tacrolimus, trough or not."""
    code, beyond = "TROUGH-TOXIC", _beyond(Band.TOXIC, book)
    return raised(
        book,
        code,
        f"{_named(level, regimen, book, at)} is {beyond}: hold tacrolimus and repeat the level.",
        inputs=_inputs(level, regimen, book, at),
        proposal=doses.hold(f"hold: {level_words(level, at)} is {beyond}"),
        due_tests=next_test(book, "LEVEL-REPEAT", at.date(), code),
    )


def _outside(
    code: str,
    level: Observation,
    basis: Observation | None,
    regimen: Regimen,
    still_open: tuple[Event, ...],
    book: RuleBook,
    at: datetime,
) -> tuple[Finding, ...]:
    """S9 with the dose that follows, or with the reason why none does."""
    words = _named(level, regimen, book, at)
    message = f"{words} {_BANDS[code]} the target of {target_words(regimen, book)}."
    if code == "TROUGH-VERY-LOW":
        message += " Check adherence and inducing drugs."
    above = code in ("TROUGH-ABOVE-TARGET", "TROUGH-VERY-HIGH")
    proposed: DoseProposal | None = None
    extra: tuple[Finding, ...] = ()
    if basis is None:
        barred = why_not(level, regimen, still_open, book, at)
        kind_of_bar = barred[0] if barred is not None else None
        reason = barred[1] if barred is not None else "a newer level speaks against it"
        message += f" It changes no dose: {reason}."
        due = _next_level(kind_of_bar, code, regimen, book, at)
    else:
        proposed, said, extra = _titrate(basis, regimen, _most(regimen, still_open, book), book)
        message += f" {said}"
        due = next_test(book, "LEVEL-RECHECK", at.date(), code)
    return extra + raised(
        book,
        code,
        message,
        inputs=_inputs(level, regimen, book, at),
        proposal=proposed,
        due_tests=due,
        effect=Effect.ASKS_FOR_LESS if above else Effect.NONE,
    )


def _next_level(
    bar: Bar | None, code: str, regimen: Regimen, book: RuleBook, at: datetime
) -> tuple[DueTest, ...]:
    """When to draw again after a level that changes no dose.

    Interactions and a change of product have tests of their own.
    """
    since = regimen.dose_since
    if bar in (Bar.INTERACTION, Bar.SWITCHED, Bar.NOT_TROUGH):
        return ()
    if bar is Bar.NOT_STEADY and since is not None:
        return next_test(book, "LEVEL-RECHECK", since.astimezone(at.tzinfo).date(), code)
    return next_test(book, "LEVEL-REPEAT", at.date(), code)


def _most(regimen: Regimen, still_open: tuple[Event, ...], book: RuleBook) -> Fraction:
    """What a raise never passes, mg/day: the book's maximum (D21) or the dose before an inhibitor.

    The latter counts while the stop of an inhibitor is recent (S52).
    """
    most = book.index.numbers["MAX-MG-PER-DAY"]
    before = regimen.dose_before_inhibitor_mg_per_day
    if before is not None and any(
        event.change is Change.STOPPED and event.drug_class in INHIBITORS for event in still_open
    ):
        return min(most, Fraction(before))
    return most


def _titrate(
    level: Observation, regimen: Regimen, most: Fraction, book: RuleBook
) -> tuple[DoseProposal | None, str, tuple[Finding, ...]]:
    """New dose = old × middle of the target / observed, limited and rounded (D19, D20).

    The step is at most the book's share for the distance from the target; rounding never passes
    that limit, nor turns a fall into a rise; a raise never passes `most` mg/day.
    """
    step = doses.step_mg(book, regimen.formulation)
    if step is None:
        return None, "No dose is proposed for once-daily products: decide the dose yourself.", ()
    if regimen.status is RegimenStatus.HELD:
        return None, "Tacrolimus is held, so no dose is proposed.", ()
    low, high = target(regimen, book)
    observed, current = level.canonical, Fraction(regimen.total_daily_mg)
    middle = (low + high) / 2
    below = observed <= low  # at the low end itself where the book leaves it out of the target
    share = _share(below, low - observed if below else observed - high, book)
    if share is None:
        return None, "The rule book has no step for this distance: decide the dose yourself.", ()
    if below:
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
    rounding = book.index.roundings["TITRATION"]
    total = doses.dispensable(capped, step, rounding, lowest=lowest, highest=highest)
    reached_mg = current if total is None else total
    if reached_mg < doses.lowest_mg_per_day(step):  # a present dose of one capsule a day included
        said = f"The dose that follows ({sum_shown}) cannot be dispensed."
        return None, said, _below_capsules(sum_shown, below, step, book)
    if total is None or total == current:
        return None, f"The nearest dispensable dose is the present one ({sum_shown}).", ()
    said_already = capped == total and capped not in (computed, limit)
    reached = "" if said_already else doses.rounded(computed, total, rounding)
    given = doses.proposal(Action.CHANGE, total, step, f"{sum_shown}{reached}")
    return given, f"{given.arithmetic}: {given.taken}.", ()


def _share(below: bool, distance: Fraction, book: RuleBook) -> Fraction | None:
    """The share of the dose that a level this far (ng/mL) from the target may change (D19)."""
    for row in book.index.steps["BELOW" if below else "ABOVE"]:
        if row.holds(distance):
            return Fraction(row.numerator, row.denominator)
    return None


def _below_capsules(
    sum_shown: str, below: bool, step: Fraction, book: RuleBook
) -> tuple[Finding, ...]:
    asked, decide = (
        ("more", "the dose yourself") if below else ("less", "whether to hold tacrolimus")
    )
    return raised(
        book,
        "TROUGH-NOT-DISPENSABLE",
        f"The level asks for {asked} ({sum_shown}), and that cannot be dispensed as two doses of "
        f"{shown(step)} mg capsules: no dose is proposed. Decide {decide}.",
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
