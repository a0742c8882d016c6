"""The QT interval: who is at risk, what is watched, and what prolongation asks: S62-S65, D13."""

from datetime import datetime
from fractions import Fraction

from dosing.rules.engine import doses
from dosing.rules.engine.advice import DueTest, Effect, Finding, next_test, raised
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
    today,
    undecided,
)
from dosing.rules.engine.comedication import of_group
from dosing.rules.engine.electrolytes import disturbances, unknown
from dosing.rules.engine.facts import CaseFacts, EventKind, Observation, RegimenStatus
from dosing.rules.engine.quantities import day, shown
from dosing.rules.engine.rows import DrugGroup, Severity
from dosing.rules.engine.rulebook import RuleBook
from dosing.rules.engine.trough import last_trough_on, values

QTCF = "qtcf"
_RISKS = {
    EventKind.CONGESTIVE_HEART_FAILURE: "congestive heart failure",
    EventKind.BRADYARRHYTHMIA: "bradyarrhythmia",
}
# The bands of D13 in rising order: the finding that a row leads to, what is done, the next ECG.
_TIERS = (
    ("QT-WATCH", "watch it", "ECG-REPEAT", Effect.NONE),
    (
        "QT-PROLONGED",
        "correct potassium, magnesium and calcium, and reduce tacrolimus (consider a lower dose)",
        "ECG-REPEAT",
        Effect.ASKS_FOR_LESS,
    ),
    (
        "QT-SEVERE",
        "hold tacrolimus, or at least reduce it, and correct potassium, magnesium and calcium",
        "ECG-NOW",
        Effect.ASKS_FOR_LESS,
    ),
)
_ORDER = {tier[0]: number for number, tier in enumerate(_TIERS)}
_PROLONGED = ("QT-PROLONGED", "QT-SEVERE")


def risks(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[str, ...]:
    """Why the patient is at risk of QT prolongation, in words; empty for no risk (S62)."""
    events = case.current_events(at, *_RISKS)
    return tuple(_RISKS[event.kind] for event in events) + disturbances(case, book, at)


def qt_interval(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """S62 and S63 for a patient at risk, S64 for QT prolongation, S65 for both."""
    why, seen = risks(case, book, at), case.newest(QTCF, at)
    places = [] if seen is None else _places(seen, case, book, at)
    found = _risk(why, case, book, at)
    if seen is not None:
        found += _prolonged(seen, places, case, book, at)
        if _gravest(places) in _PROLONGED:
            why += (f"QTcF {reported(seen, at)}",)
    if case.current_events(at, EventKind.TORSADES_DE_POINTES):
        why += ("torsades de pointes",)
    return found + _torsades(case, book, at) + _levels(why, case, book, at)


def _risk(
    why: tuple[str, ...], case: CaseFacts, book: RuleBook, at: datetime
) -> tuple[Finding, ...]:
    """S62, S63: ECGs, and electrolytes that are watched and corrected."""
    if not why:
        return ()
    begin = f"At risk of QT prolongation ({'; '.join(why)}): "
    inputs = (("qt_risk", "; ".join(why)),)
    code = "QT-ECG"
    again = _next_ecg(case, book, at, code)
    seen = case.newest(QTCF, at)
    last = "none is on record" if seen is None else f"the last QTcF is {reported(seen, at)}"
    found = raised(
        book,
        code,
        f"{begin}record an ECG at baseline and periodically while the risk lasts; {last}."
        f"{f' The next one is due on {day(again[0].due)}.' if again else ''}",
        inputs=inputs,
        due_tests=again,
    )
    code = "QT-ELECTROLYTES"
    missing = unknown(case, at)
    never = f" Never measured: {', '.join(missing)}." if missing else ""
    found += raised(
        book,
        code,
        f"{begin}monitor potassium, magnesium and calcium and correct them.{never}",
        inputs=inputs,
        due_tests=tuple(test for each in missing for test in today(book, each, code, at)),
    )
    return found


def _torsades(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """S64, D13: torsades de pointes hold tacrolimus."""
    found: tuple[Finding, ...] = ()
    code = "QT-TORSADES"
    for event in case.current_events(at, EventKind.TORSADES_DE_POINTES):
        since = "" if event.started_on is None else f" since {day(event.started_on)}"
        found += raised(
            book,
            code,
            f"Torsades de pointes{since}: hold tacrolimus, correct potassium, magnesium and "
            "calcium, and treat it as an emergency.",
            inputs=(("event", event.kind.value),),
            proposal=doses.hold("hold: torsades de pointes"),
            due_tests=asked(case, book, "ECG-NOW", event.started_on or at.date(), code, at),
            effect=Effect.ASKS_FOR_LESS,
        )
    return found


def _prolonged(
    seen: Observation,
    places: list[tuple[Standing, str]],
    case: CaseFacts,
    book: RuleBook,
    at: datetime,
) -> tuple[Finding, ...]:
    """S64 by the graver of the band of the QTcF and its rise from the own baseline.

    Where the book grades it STOP, tacrolimus is held (D13, "One proposal" of the case format).
    """
    found: tuple[Finding, ...] = ()
    gravest = _gravest(places)
    if not gravest and any(place.undecided for place, _ in places):
        found += undecided(book, "QT-UNDECIDED", "QTcF", seen, at)
    for code, what, series, effect in _TIERS:
        same = [(place, words) for place, words in places if place.finding == code == gravest]
        if not same:
            continue
        again = next_test(book, series, day_of(seen, at), code)
        prolonging = partners(case, book, at, DrugGroup.PROLONGS_QT)
        row = book.index.findings.get(code)
        stops = row is not None and row.severity is Severity.STOP
        found += raised(
            book,
            code,
            f"QTcF {reported(seen, at)} is {' and '.join(words for _, words in same)}: {what}."
            f"{f' Repeat the ECG{by_when(again)}.' if again else ''}"
            f"{f' Review what prolongs QT: {prolonging}.' if prolonging else ''}"
            f"{MAY_BE_WORSE if all(place.open_ended for place, _ in same) else ''}",
            inputs=((QTCF, reported(seen, at)),),
            proposal=doses.hold(f"hold: QTcF {reported(seen, at)}") if stops else None,
            due_tests=again,
            effect=effect,
        )
    return found


def _levels(
    why: tuple[str, ...], case: CaseFacts, book: RuleBook, at: datetime
) -> tuple[Finding, ...]:
    """S65: frequent tacrolimus levels while QT is prolonged or at risk."""
    if not why:
        return ()
    code = "QT-LEVELS"
    due: tuple[DueTest, ...] = ()
    regimen = case.regimen
    if regimen is not None and regimen.status is RegimenStatus.ACTIVE:
        since = regimen.dose_since
        begun = at.date() if since is None else since.astimezone(at.tzinfo).date()
        due = next_test(book, "QT-LEVELS", last_trough_on(case, book, at) or begun, code)
    return raised(
        book,
        code,
        f"QT is prolonged or at risk ({'; '.join(why)}): measure tacrolimus levels frequently"
        f"{f', the next one on {day(due[0].due)}' if due else ''}.",
        inputs=(("qt_risk", "; ".join(why)),),
        due_tests=due,
    )


def _gravest(places: list[tuple[Standing, str]]) -> str:
    """The gravest band that is certain; empty for none."""
    known = [place.finding for place, _ in places if place.finding in _ORDER]
    return max(known, key=_ORDER.__getitem__, default="")


def _places(
    seen: Observation, case: CaseFacts, book: RuleBook, at: datetime
) -> list[tuple[Standing, str]]:
    """Where a QTcF stands by itself and by its rise from the own baseline, each in words."""
    thresholds, said = book.index.thresholds, values(seen)
    place = standing(thresholds.get(QTCF, ()), said, book)
    found = [(place, "" if place.row is None else limits(place.row))]
    days = book.index.numbers.get("QT-ECG-LOOK-BACK-DAYS")
    known = None if days is None else own_baseline(case, QTCF, int(days), at)
    if known is None:
        return found
    own, before_start = known
    rise = standing(
        thresholds.get("qtcf-rise", ()), scaled(said, Fraction(1), -own.canonical), book
    )
    which = "" if before_start else " (the earliest on record)"
    higher = shown(seen.canonical - own.canonical)
    found.append(
        (
            rise,
            f"{seen.comparator or ''}{higher} ms more than the patient's own baseline of "
            f"{reported(own, at)}{which}",
        )
    )
    return found


def _next_ecg(case: CaseFacts, book: RuleBook, at: datetime, code: str) -> tuple[DueTest, ...]:
    """D4, D13: a recent ECG before the start, one after each change, then every few months."""
    seen = case.newest(QTCF, at)
    if seen is None:
        return today(book, QTCF, code, at)
    done_on, regimen = day_of(seen, at), case.regimen
    if regimen is None:
        days = book.index.numbers.get("QT-ECG-LOOK-BACK-DAYS")
        recent = days is None or (at.date() - done_on).days <= days
        return () if recent else today(book, QTCF, code, at)
    since = regimen.dose_since
    changes = [
        regimen.started_on,
        None if since is None else since.astimezone(at.tzinfo).date(),
        *(
            drug.started_on
            for drug, _ in of_group(case, book, at, DrugGroup.PROLONGS_QT)
            if not drug.planned
        ),
    ]
    known = [on for on in changes if on is not None and on <= at.date()]
    if known:
        after = next_test(book, "ECG-AFTER-CHANGE", max(known), code, last_done=done_on)
        if after:
            return after
    return next_test(book, "ECG-PERIODIC", done_on, code)
