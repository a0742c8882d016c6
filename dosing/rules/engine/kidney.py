"""Renal dysfunction against the patient's own baseline: S54-S56 with D14, D15."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from fractions import Fraction
from itertools import takewhile

from dosing.rules.engine import doses
from dosing.rules.engine.advice import DoseProposal, Effect, Finding, next_test, raised
from dosing.rules.engine.bands import (
    MAY_BE_WORSE,
    Standing,
    asked,
    by_when,
    day_of,
    limits,
    own_baseline,
    partners,
    reported,
    scaled,
    standing,
    undecided,
)
from dosing.rules.engine.facts import CaseFacts, EventKind, Observation, once_a_question
from dosing.rules.engine.quantities import begins, day, months_after, round_down, shown
from dosing.rules.engine.rows import DrugGroup
from dosing.rules.engine.rulebook import RuleBook
from dosing.rules.engine.trough import target, target_words, values

CREATININE = "creatinine"
EGFR = "egfr"
LAST_STAGE = "KIDNEY-R3"
# The stages in rising order: the finding that a row leads to and what it asks of the dose (S55),
# then the stage, the finding about the target (S54) and the tests that follow.
_STAGES = (
    ("KIDNEY-R1", "consider a lower dose", "R1", "KIDNEY-TARGET-R1", "REPEAT"),
    ("KIDNEY-R2", "reduce the dose or stop for a time", "R2", "KIDNEY-TARGET-R2", "REPEAT"),
    (
        "KIDNEY-R3",
        "hold tacrolimus and call nephrology",
        "R3",
        "KIDNEY-TARGET-R3",
        "REPEAT-NOW",
    ),
)
_ORDER = {stage[0]: number for number, stage in enumerate(_STAGES)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Dysfunction:
    """The gravest stage of acute dysfunction: its finding, what shows it, and since when."""

    code: str
    words: str
    on: date
    inputs: tuple[tuple[str, str], ...]
    open_ended: bool = False


def kidney(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """S54-S56 at the stage of D14; without a stage the chronic track, or a rise worth a repeat."""
    if not case.on_tacrolimus:
        return ()
    found = dysfunction(case, book, at)
    if found is not None:
        return _staged(found, case, book, at)
    return _unclear(case, book, at) + _chronic(case, book, at)


@once_a_question
def dysfunction(case: CaseFacts, book: RuleBook, at: datetime) -> Dysfunction | None:
    """The gravest stage that is certain on tacrolimus: by creatinine, or as renal failure.

    By creatinine: the ratio to the own baseline, the rise within 48 h, the absolute limit. A graded
    renal failure counts as the stage of its grade, another one as the last stage.
    """
    seen = [*_by_creatinine(case, book, at), *_by_event(case, at)]
    if not seen:
        return None
    gravest = max(_ORDER[each.code] for each in seen)
    same = [each for each in seen if _ORDER[each.code] == gravest]
    return Dysfunction(
        code=same[0].code,
        words="; ".join(each.words for each in same),
        on=max(each.on for each in same),
        inputs=tuple(pair for each in same for pair in each.inputs),
        open_ended=all(each.open_ended for each in same),
    )


def _by_event(case: CaseFacts, at: datetime) -> list[Dysfunction]:
    found = []
    for event in case.current_events(at, EventKind.RENAL_FAILURE):
        graded = len(_STAGES) if event.grade is None else min(event.grade, len(_STAGES))
        grade = "no grade" if event.grade is None else f"grade {event.grade}"
        since = "" if event.started_on is None else f" since {day(event.started_on)}"
        found.append(
            Dysfunction(
                code=_STAGES[graded - 1][0],
                words=f"renal failure ({grade}){since}",
                on=event.started_on or at.date(),
                inputs=(("event", event.kind.value), ("grade", grade)),
            )
        )
    return found


def _by_creatinine(case: CaseFacts, book: RuleBook, at: datetime) -> list[Dysfunction]:
    newest = case.newest(CREATININE, at)
    if newest is None:
        return []
    found = []
    for place, words in _creatinine_places(case, book, at):
        if place.finding in _ORDER:
            found.append(
                Dysfunction(
                    code=place.finding,
                    words=words,
                    on=day_of(newest, at),
                    inputs=((CREATININE, reported(newest, at)),),
                    open_ended=place.open_ended,
                )
            )
    return found


@once_a_question
def _creatinine_places(
    case: CaseFacts, book: RuleBook, at: datetime
) -> tuple[tuple[Standing, str], ...]:
    """Where the newest creatinine stands on each of the three scales, in words where it says so."""
    newest = case.newest(CREATININE, at)
    if newest is None:
        return ()
    absolute = standing(book.index.thresholds.get("creatinine", ()), values(newest), book)
    words = ""
    if absolute.row is not None and absolute.finding:
        words = f"{_creatinine(newest, at)} is {limits(absolute.row)}"
    found = [(absolute, words)]
    if _drawn_on_tacrolimus(newest, case, at):
        found += [*_against_baseline(newest, case, book, at), *_in_hours(newest, case, book, at)]
    return tuple(found)


def _creatinine(newest: Observation, at: datetime) -> str:
    return f"creatinine {reported(newest, at)}"


def _against_baseline(
    newest: Observation, case: CaseFacts, book: RuleBook, at: datetime
) -> Iterator[tuple[Standing, str]]:
    """How many times the patient's own baseline it is."""
    days = book.index.numbers.get("KIDNEY-BASELINE-DAYS")
    baseline = None if days is None else own_baseline(case, CREATININE, int(days), at)
    if baseline is None or days is None:
        return
    own, before_start = baseline
    place = standing(
        book.index.thresholds.get("creatinine-ratio", ()),
        scaled(values(newest), 1 / own.canonical),
        book,
    )
    if not place.finding:
        yield place, ""
        return
    # Rounded down, so that what is shown never reaches a limit that was not reached.
    ratio = round_down(newest.canonical / own.canonical, Fraction(1, 100))
    which = (
        ""
        if before_start
        else f" (the earliest on record: none is known from the {shown(days)} days before the "
        "start)"
    )
    yield (
        place,
        f"{_creatinine(newest, at)} is {newest.comparator or ''}{shown(ratio)} times the "
        f"patient's own baseline of {reported(own, at)}{which}",
    )


def _in_hours(
    newest: Observation, case: CaseFacts, book: RuleBook, at: datetime
) -> Iterator[tuple[Standing, str]]:
    """How much more it is than the lowest one of the hours before it."""
    hours = book.index.numbers.get("KIDNEY-RISE-HOURS")
    if hours is None:
        return
    first = newest.at - timedelta(seconds=int(hours * 3600))
    earlier = [
        seen
        for seen in takewhile(lambda seen: seen.at >= first, case.results(CREATININE, at))
        if seen.comparator is None and seen.at < newest.at
    ]
    if not earlier:
        return
    lowest = min(earlier, key=_canonical)
    place = standing(
        book.index.thresholds.get("creatinine-rise-48h", ()),
        scaled(values(newest), Fraction(1), -lowest.canonical),
        book,
    )
    if not place.finding:
        yield place, ""
        return
    rise = newest.canonical - lowest.canonical
    yield (
        place,
        f"{_creatinine(newest, at)} is {newest.comparator or ''}{shown(rise)} mg/dL more than "
        f"{reported(lowest, at)}, within {shown(hours)} h",
    )


def _canonical(seen: Observation) -> Fraction:
    return seen.canonical


def _drawn_on_tacrolimus(seen: Observation, case: CaseFacts, at: datetime) -> bool:
    begun = case.regimen.started_on if case.regimen is not None else None
    return begun is None or day_of(seen, at) >= begun


def _staged(now: Dysfunction, case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """S54, S55 and S56 at one stage; the last stage holds tacrolimus."""
    found: tuple[Finding, ...] = ()
    more = MAY_BE_WORSE if now.open_ended else ""
    for code, what, stage, lowered, repeat in _STAGES:
        if code != now.code:
            continue
        hold: DoseProposal | None = None
        if code == LAST_STAGE:
            hold = doses.hold(f"hold: {now.words}")
        found += raised(
            book,
            code,
            f"Renal dysfunction, stage {stage} ({now.words}): {what}.{_option(code, book)}{more}",
            inputs=now.inputs,
            proposal=hold,
            effect=Effect.ASKS_FOR_LESS,
        )
        found += raised(
            book,
            lowered,
            f"Renal dysfunction, stage {stage}: lower the target trough"
            f"{_present_target(case, book)}. {_approved_target(stage, case, book)}",
            inputs=now.inputs,
        )
        code = "KIDNEY-MONITOR"
        again = next_test(book, f"CREATININE-{repeat}", now.on, code)
        hard = partners(case, book, at, DrugGroup.NEPHROTOXIC)
        review = f" Review what is hard on the kidney: {hard}." if hard else ""
        found += raised(
            book,
            code,
            "Monitor renal function closely and adjust: creatinine and potassium again"
            f"{by_when(again)}.{review}",
            inputs=now.inputs,
            due_tests=again + asked(case, book, f"POTASSIUM-{repeat}", now.on, code, at),
        )
    return found + _trough(now.on, case, book, at)


def _option(code: str, book: RuleBook) -> str:
    """The share of D14 for this stage as text: an option that waits for approval, no proposal."""
    percent = book.index.numbers.get(f"{code}-LESS-PERCENT")
    if percent is None:
        return ""
    return f" Option that waits for local approval: {shown(percent)} % less."


def _present_target(case: CaseFacts, book: RuleBook) -> str:
    return "" if case.regimen is None else f" (now {target_words(case.regimen, book)})"


def _approved_target(stage: str, case: CaseFacts, book: RuleBook) -> str:
    """D15: the clinic's own number for the stage, or that there is none and what was suggested."""
    row = book.index.local_targets.get(stage)
    given = None if row is None else case.approval(row.code)
    if row is not None and given is not None:
        low, high = (row.low, row.high) if given.low is None else (given.low, given.high)
        if low is not None and high is not None:
            return (
                f"The clinic has approved {shown(low)} to {shown(high)} {row.unit} for this stage "
                f"({day(given.approved_on)})."
            )
    option = f" Suggested and not approved: {row.option}." if row is not None else ""
    return (
        "The protocol gives no number and the clinic has approved none: decide the target "
        f"yourself.{option}"
    )


def _trough(on: date, case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """S26, D2: a renal change calls for a trough, to exclude one above the target."""
    code = "KIDNEY-TROUGH"
    due = asked(case, book, "TROUGH-CHECK", on, code, at)
    if case.regimen is None or not due:
        return ()
    _, high = target(case.regimen, book)
    return raised(
        book,
        code,
        f"Renal function has changed: check the tacrolimus trough{by_when(due)}, to exclude one "
        f"above {shown(high)} ng/mL.",
        due_tests=due,
    )


def _unclear(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """A creatinine or an eGFR with a comparator that may or may not be renal dysfunction."""
    found: tuple[Finding, ...] = ()
    creatinine, egfr = case.newest(CREATININE, at), case.newest(EGFR, at)
    unclear = any(place.undecided for place, _ in _creatinine_places(case, book, at))
    if creatinine is not None and unclear:
        found += undecided(book, "KIDNEY-UNDECIDED", "Creatinine", creatinine, at)
    if egfr is not None and _low_filtration(egfr, case, book, at).undecided:
        found += undecided(book, "KIDNEY-UNDECIDED", "eGFR", egfr, at)
    return found


def _chronic(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """The chronic track of D14: a rise over 12 months, or an eGFR below the limit.

    A rise that is younger than the days of the row is not chronic yet: it is a result to repeat
    (S30) and does not lower the target.
    """
    code = "KIDNEY-CHRONIC"
    shown_by: list[tuple[Observation, str]] = []
    egfr = case.newest(EGFR, at)
    if egfr is not None:
        place = _low_filtration(egfr, case, book, at)
        if place.row is not None and place.finding == code:
            shown_by.append((egfr, f"eGFR {reported(egfr, at)} is {limits(place.row)}"))
    slow = _risen(case, book, at, settled=True)
    if slow is not None:
        shown_by.append(slow)
    if shown_by:
        words = "; ".join(each for _, each in shown_by)
        on = max(day_of(seen, at) for seen, _ in shown_by)
        return raised(
            book,
            code,
            f"Chronic renal dysfunction ({words}): lower the target trough"
            f"{_present_target(case, book)}, for which the protocol gives no number, consider a "
            "lower dose, and monitor renal function closely.",
            inputs=tuple((seen.analyte, reported(seen, at)) for seen, _ in shown_by),
            effect=Effect.ASKS_FOR_LESS,
        ) + _trough(on, case, book, at)
    young = _risen(case, book, at, settled=False)
    if young is None:
        return ()
    newest, words = young
    code = "KIDNEY-RISING"
    again = next_test(book, "CREATININE-REPEAT", day_of(newest, at), code)
    return raised(
        book,
        code,
        f"{words[0].upper()}{words[1:]}: repeat it{by_when(again)}.",
        inputs=((newest.analyte, reported(newest, at)),),
        due_tests=again,
    ) + _trough(day_of(newest, at), case, book, at)


def _low_filtration(egfr: Observation, case: CaseFacts, book: RuleBook, at: datetime) -> Standing:
    """Where the eGFR stands; nowhere if it is from before the treatment."""
    if not _drawn_on_tacrolimus(egfr, case, at):
        return Standing()
    return standing(book.index.thresholds.get(EGFR, ()), values(egfr), book)


def _risen(
    case: CaseFacts, book: RuleBook, at: datetime, *, settled: bool
) -> tuple[Observation, str] | None:
    """The newest creatinine, if it has risen past the limit against the lowest of 12 months.

    With `settled` only results that are older than the days of the row are compared.
    """
    numbers = book.index.numbers
    newest = case.newest(CREATININE, at)
    months, days = numbers.get("KIDNEY-CHRONIC-MONTHS"), numbers.get("KIDNEY-CHRONIC-DAYS")
    if newest is None or months is None or days is None:
        return None
    if not _drawn_on_tacrolimus(newest, case, at):
        return None
    drawn_on = day_of(newest, at)
    first = begins(months_after(drawn_on, -int(months)), at)
    before = newest.at
    if settled:
        before = min(before, begins(drawn_on + timedelta(days=1 - int(days)), at))
    earlier = [
        seen
        for seen in takewhile(lambda seen: seen.at >= first, case.results(CREATININE, at))
        if seen.comparator is None and seen.canonical.numerator > 0 and seen.at < before
    ]
    if not earlier:
        return None
    lowest = min(earlier, key=_canonical)
    place = standing(
        book.index.thresholds.get("creatinine-rise", ()),
        scaled(values(newest), 100 / lowest.canonical, Fraction(-100)),
        book,
    )
    if place.row is None or not place.finding:
        return None
    rise = 100 * newest.canonical / lowest.canonical - 100
    return newest, (
        f"creatinine {reported(newest, at)} is {newest.comparator or ''}{shown(rise)} % more than "
        f"{reported(lowest, at)}, {limits(place.row)} within {shown(months)} months"
    )
