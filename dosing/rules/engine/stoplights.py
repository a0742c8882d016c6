"""Limits of what is monitored, and what calls for a trough: S26, S29, S34, S35, D2, D11, D30."""

from datetime import date, datetime

from dosing.rules.engine.advice import Effect, Finding, raised
from dosing.rules.engine.bands import (
    MAY_BE_WORSE,
    Standing,
    asked,
    by_when,
    day_of,
    limits,
    reported,
    standing,
    undecided,
)
from dosing.rules.engine.facts import CaseFacts, EventKind, Observation
from dosing.rules.engine.quantities import day
from dosing.rules.engine.rulebook import RuleBook
from dosing.rules.engine.trough import values

_COUNTS = (
    ("wbc", "White cells", "are"),
    ("neutrophils", "Neutrophils", "are"),
    ("platelets", "Platelets", "are"),
    ("mcv", "Mean cell volume", "is"),
    ("eosinophils", "Eosinophils", "are"),
)
_LIVER = (("alt", "ALT", "is"), ("ast", "AST", "is"), ("albumin", "Albumin", "is"))
_ENZYMES = ("alt", "ast")
_PRESSURES = (
    ("systolic-bp", "systolic blood pressure"),
    ("diastolic-bp", "diastolic blood pressure"),
)
# The bands of D11 in rising order: the finding that a row leads to, and what is done.
_PRESSURE_TIERS = (
    ("PRESSURE-HIGH", "review it and its treatment"),
    ("PRESSURE-VERY-HIGH", "treat it without delay"),
    (
        "PRESSURE-URGENT",
        "this is urgent. Look for signs of posterior reversible encephalopathy syndrome: headache, "
        "visual disturbance, altered mental status, seizure",
    ),
)
_ORDER = {code: number for number, (code, _) in enumerate(_PRESSURE_TIERS)}


def blood_counts(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """D30, S29: blood counts past their stop-lights."""
    return _lights(_COUNTS, "COUNT-STOPLIGHT", "COUNT-UNDECIDED", case, book, at)


def liver_tests(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """D30, S34: liver tests past their stop-lights."""
    return _lights(_LIVER, "LIVER-STOPLIGHT", "LIVER-UNDECIDED", case, book, at)


def _lights(
    tests: tuple[tuple[str, str, str], ...],
    code: str,
    unclear: str,
    case: CaseFacts,
    book: RuleBook,
    at: datetime,
) -> tuple[Finding, ...]:
    found: tuple[Finding, ...] = ()
    for analyte, name, verb in tests:
        seen = case.newest(analyte, at)
        if seen is None:
            continue
        place = _place(seen, book)
        if place.undecided:
            found += undecided(book, unclear, name, seen, at)
        if place.row is None or place.finding != code:
            continue
        what = (
            "contact the prescriber and consider stopping tacrolimus if nothing else explains it"
            if case.on_tacrolimus
            else "explain it before tacrolimus is started"
        )
        found += raised(
            book,
            code,
            f"{name} {reported(seen, at)} {verb} {limits(place.row)}: {what}.",
            inputs=((analyte, reported(seen, at)),),
            effect=Effect.ASKS_FOR_LESS,
        )
    return found


def _place(seen: Observation, book: RuleBook) -> Standing:
    return standing(book.index.thresholds.get(seen.analyte, ()), values(seen), book)


def blood_pressure(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """D11, S35: the graver band of the newest systolic and diastolic pressure."""
    found: tuple[Finding, ...] = ()
    places = []
    for analyte, name in _PRESSURES:
        seen = case.newest(analyte, at)
        if seen is None:
            continue
        place = _place(seen, book)
        if place.undecided:
            found += undecided(book, "PRESSURE-UNDECIDED", name.capitalize(), seen, at)
        if place.row is not None and place.finding in _ORDER:
            places.append((place, seen, f"{name} {reported(seen, at)} is {limits(place.row)}"))
    gravest = max((_ORDER[place.finding] for place, _, _ in places), default=None)
    for code, what in _PRESSURE_TIERS:
        if gravest is None or _ORDER[code] != gravest:
            continue
        same = [each for each in places if each[0].finding == code]
        words = " and ".join(words for _, _, words in same)
        more = MAY_BE_WORSE if all(place.open_ended for place, _, _ in same) else ""
        found += raised(
            book,
            code,
            f"{words[0].upper()}{words[1:]}: {what}.{more}",
            inputs=tuple((seen.analyte, reported(seen, at)) for _, seen, _ in same),
        )
    return found


def rechecks(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """S26, D2: diarrhoea or a change of the liver calls for a trough that none has answered yet."""
    if case.regimen is None:
        return ()
    found: tuple[Finding, ...] = ()
    for event in case.current_events(at, EventKind.DIARRHOEA):
        since = "" if event.started_on is None else f" since {day(event.started_on)}"
        opened_on = event.started_on or at.date()
        found += _recheck(
            "DIARRHOEA-TROUGH", f"Diarrhoea{since} can raise the level", opened_on, case, book, at
        )
    raised_on = [
        day_of(seen, at)
        for seen in (case.newest(analyte, at) for analyte in _ENZYMES)
        if seen is not None and _place(seen, book).finding == "LIVER-STOPLIGHT"
    ]
    if raised_on:
        found += _recheck(
            "LIVER-TROUGH",
            "A change of the liver changes the level",
            max(raised_on),
            case,
            book,
            at,
        )
    return found


def _recheck(
    code: str, words: str, opened_on: date, case: CaseFacts, book: RuleBook, at: datetime
) -> tuple[Finding, ...]:
    due = asked(case, book, "TROUGH-CHECK", opened_on, code, at)
    if not due:
        return ()
    return raised(book, code, f"{words}: check the tacrolimus trough{by_when(due)}.", due_tests=due)
