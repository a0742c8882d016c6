"""Signs of neurotoxicity, graded by D16, and the trough that goes with them: S37, S57, S58."""

from datetime import date, datetime

from dosing.rules.engine import doses
from dosing.rules.engine.advice import DoseProposal, DueTest, Effect, Finding, raised
from dosing.rules.engine.bands import asked, by_when
from dosing.rules.engine.facts import CaseFacts, ClinicalEvent, EventKind
from dosing.rules.engine.quantities import day, shown
from dosing.rules.engine.rulebook import RuleBook
from dosing.rules.engine.trough import last_trough_on, level_words, newest_trough, target, values

_SIGNS = {
    EventKind.TREMOR: "tremor",
    EventKind.HEADACHE: "headache",
    EventKind.VISUAL_DISTURBANCE: "visual disturbance",
    EventKind.MENTAL_STATUS_CHANGE: "mental-status change",
    EventKind.SEIZURE: "seizure",
    EventKind.PRES: "posterior reversible encephalopathy syndrome (PRES)",
}
_BY_GRADE = frozenset({EventKind.TREMOR, EventKind.HEADACHE})
_GRAVE = frozenset({EventKind.MENTAL_STATUS_CHANGE, EventKind.SEIZURE, EventKind.PRES})
_CHECKS = ("MAGNESIUM-CHECK", "SYSTOLIC-CHECK", "DIASTOLIC-CHECK")
# The steps of D16: the finding, what is done, what is measured beside the trough.
_STEPS = (
    ("NEURO-N1", "consider a lower dose of tacrolimus", ()),
    ("NEURO-N2", "reduce tacrolimus or hold it, and check magnesium and blood pressure", _CHECKS),
    (
        "NEURO-N3",
        "hold tacrolimus, arrange an urgent MRI of the brain, control blood pressure and check "
        "magnesium",
        _CHECKS,
    ),
)
_MILD, _LIMITING, _DANGER = (step[0] for step in _STEPS)


def neurotoxicity(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """S37, S57 for each sign at its step of D16, and S58 once: the trough.

    A seizure, altered mental status or PRES bars a start too; the other signs count only while
    tacrolimus is given.
    """
    signs = [
        event
        for event in case.current_events(at, *_SIGNS)
        if case.on_tacrolimus or event.kind in _GRAVE
    ]
    found: tuple[Finding, ...] = ()
    for event in signs:
        found += _sign(event, case, book, at)
    if signs and case.on_tacrolimus:
        found += _trough(signs, case, book, at)
    return found


def _step(event: ClinicalEvent) -> str:
    if event.kind in _GRAVE:
        return _DANGER
    mild = event.kind in _BY_GRADE and event.grade == 1
    return _MILD if mild else _LIMITING


def _sign(
    event: ClinicalEvent, case: CaseFacts, book: RuleBook, at: datetime
) -> tuple[Finding, ...]:
    opened_on = event.started_on or at.date()
    grade = "grade not recorded" if event.grade is None else f"grade {event.grade}"
    since = "" if event.started_on is None else f" since {day(event.started_on)}"
    name = _SIGNS[event.kind]
    words = f"{name[0].upper()}{name[1:]} ({grade}){since}"
    found: tuple[Finding, ...] = ()
    for code, what, series in _STEPS:
        if code != _step(event):
            continue
        hold: DoseProposal | None = None
        if code == _DANGER:
            hold = doses.hold(f"hold: {name}{since}")
        due: tuple[DueTest, ...] = ()
        for each in series:
            due += asked(case, book, each, opened_on, code, at)
        option = _option(opened_on, case, book, at) if code == _MILD else ""
        found += raised(
            book,
            code,
            f"{words}: {what}.{option}",
            inputs=(("event", event.kind.value), ("grade", grade)),
            proposal=hold,
            due_tests=due,
            effect=Effect.ASKS_FOR_LESS,
        )
    return found


def _option(opened_on: date, case: CaseFacts, book: RuleBook, at: datetime) -> str:
    """D16: the share for a mild sign, if a trough since then is at the upper limit or above it."""
    percent = book.index.numbers.get("NEURO-N1-LESS-PERCENT")
    level = newest_trough(case, book, at)
    done_on = last_trough_on(case, book, at)
    if percent is None or level is None or case.regimen is None or done_on is None:
        return ""
    _, high = target(case.regimen, book)
    if done_on < opened_on or not values(level).above(high, or_at=True):
        return ""
    return (
        f" The trough {level_words(level, at)} is at the upper limit of {shown(high)} ng/mL or "
        f"above it: {shown(percent)} % less is an option that waits for local approval."
    )


def _trough(
    signs: list[ClinicalEvent], case: CaseFacts, book: RuleBook, at: datetime
) -> tuple[Finding, ...]:
    """S58: the trough since the newest sign; a level in range does not exclude neurotoxicity."""
    code = "NEURO-TROUGH"
    opened_on = max(event.started_on or at.date() for event in signs)
    due = asked(case, book, "NEURO-TROUGH", opened_on, code, at)
    level = newest_trough(case, book, at)
    known = "no trough is known" if level is None else f"the newest is {level_words(level, at)}"
    check = f"check the tacrolimus trough{by_when(due)}" if due else "the trough was checked"
    return raised(
        book,
        code,
        f"Signs of neurotoxicity: {check} ({known}). They may go with levels at or above the "
        "target, but a level inside it does not exclude them.",
        inputs=(("trough", "not known" if level is None else level_words(level, at)),),
        due_tests=due if case.regimen is not None else (),
    )
