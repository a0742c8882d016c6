"""The heart muscle: hypertrophy with high troughs, and when to look: S77-S79, D27."""

from datetime import date, datetime

from dosing.rules.engine.advice import Effect, Finding, raised
from dosing.rules.engine.bands import asked, by_when, day_of, limits, reported, standing
from dosing.rules.engine.facts import CaseFacts, EventKind, Observation, once_a_question
from dosing.rules.engine.kidney import LAST_STAGE, dysfunction
from dosing.rules.engine.quantities import day, shown
from dosing.rules.engine.rows import Band
from dosing.rules.engine.rulebook import RuleBook
from dosing.rules.engine.trough import alarm, level_words, troughs, values

BNP = "nt-probnp"
_REASONS = {
    EventKind.RENAL_FAILURE: "renal failure",
    EventKind.VENTRICULAR_DYSFUNCTION_SYMPTOMS: "symptoms of ventricular dysfunction",
}
_HIGH = frozenset({Band.FAR_ABOVE, Band.TOXIC})


def hypertrophy(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """S79: diagnosed myocardial hypertrophy asks for less or none; the protocol has no number."""
    found: tuple[Finding, ...] = ()
    for event in case.current_events(at, EventKind.MYOCARDIAL_HYPERTROPHY):
        since = "" if event.started_on is None else f" (diagnosed on {day(event.started_on)})"
        what = (
            "reduce tacrolimus or stop it. The protocol gives no number: decide the dose yourself"
            if case.on_tacrolimus
            else "tacrolimus would have to be reduced or stopped: settle it before it is started"
        )
        found += raised(
            book,
            "HEART-HYPERTROPHY",
            f"Myocardial hypertrophy{since}: {what}.",
            inputs=(("event", event.kind.value),),
            effect=Effect.ASKS_FOR_LESS,
        )
    return found


def high_troughs(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """S77: a trough of this treatment was far above the target."""
    high = _high(case, book, at)
    if not high:
        return ()
    words = ", ".join(level_words(level, at) for level in high)
    many = (
        "1 trough of this treatment was"
        if len(high) == 1
        else (f"{len(high)} troughs of this treatment were")
    )
    return raised(
        book,
        "HEART-HIGH-TROUGHS",
        "Myocardial hypertrophy has been reported with tacrolimus, mainly with high troughs. "
        f"{many} above "
        f"{shown(book.index.limits[Band.FAR_ABOVE])} ng/mL: {words}.",
        inputs=(("high_troughs", str(len(high))),),
    )


def echocardiography(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """S78: consider an echocardiogram for each trigger of D27 that none has followed."""
    found: tuple[Finding, ...] = ()
    code = "HEART-ECHO"
    for words, since in _triggers(case, book, at):
        due = asked(case, book, "ECHO", since, code, at)
        if not due:
            continue
        found += raised(
            book,
            code,
            f"{words[0].upper()}{words[1:]}: consider echocardiography{by_when(due)}.",
            inputs=(("trigger", words),),
            due_tests=due,
        )
    return found


def _triggers(case: CaseFacts, book: RuleBook, at: datetime) -> list[tuple[str, date]]:
    """What makes one look at the heart, each in words with the day since when."""
    found = []
    for event in case.current_events(at, *_REASONS):
        since = "" if event.started_on is None else f" since {day(event.started_on)}"
        found.append((f"{_REASONS[event.kind]}{since}", event.started_on or at.date()))
    renal = dysfunction(case, book, at) if case.on_tacrolimus else None
    named = case.current_events(at, EventKind.RENAL_FAILURE)
    if renal is not None and renal.code == LAST_STAGE and not named:
        found.append((f"renal failure ({renal.words})", renal.on))
    bnp = _risen_bnp(case, book, at)
    if bnp is not None:
        found.append(bnp)
    high = _repeatedly_high(case, book, at)
    if high:
        words = f"{len(high)} troughs above {shown(book.index.limits[Band.FAR_ABOVE])} ng/mL"
        found.append((words, day_of(high[0], at)))
    return found


def _risen_bnp(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[str, date] | None:
    """An NT-proBNP above the limit of the row that is not lower than the one before it."""
    known = case.results(BNP, at)
    if not known:
        return None
    newest = known[0]
    place = standing(book.index.thresholds.get(BNP, ()), values(newest), book)
    if place.row is None or not place.finding:
        return None
    before = next((seen for seen in known[1:] if seen.comparator is None), None)
    if before is not None and newest.canonical <= before.canonical:
        return None
    compared = "" if before is None else f", after {reported(before, at)}"
    return f"NT-proBNP {reported(newest, at)} is {limits(place.row)}{compared}", day_of(newest, at)


def _repeatedly_high(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Observation, ...]:
    """The troughs of this treatment in the alarm bands, if they are many enough for an echo."""
    needed = book.index.numbers.get("HEART-HIGH-TROUGHS")
    if needed is None:
        return ()
    high = _high(case, book, at)
    return high if len(high) >= needed else ()


@once_a_question
def _high(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Observation, ...]:
    """The troughs of this treatment in the alarm bands, newest first."""
    return tuple(level for level in troughs(case, book, at) if alarm(values(level), book) in _HIGH)
