"""The whole protocol over one case: a visible list of questions, one reconciled answer."""

from collections.abc import Callable
from datetime import datetime, timezone

from dosing.rules.engine import (
    calendars,
    cautions,
    companions,
    electrolytes,
    heart,
    infection,
    interactions,
    kidney,
    neurotoxicity,
    other_drugs,
    outcomes,
    pregnancy,
    qt,
    rechecks,
    schedule,
    selection,
    starting,
    stoplights,
    titration,
    trough,
    vaccines,
)
from dosing.rules.engine.advice import Advice, DueTest, Finding, Outcome, approved, reconcile
from dosing.rules.engine.facts import CaseFacts
from dosing.rules.engine.rulebook import RuleBook

Topic = Callable[[CaseFacts, RuleBook, datetime], tuple[Finding | DueTest, ...]]

# Kept with each assessment. Raised whenever the same facts and book could give another advice
# than before.
ENGINE_VERSION = "2"

# A topic answers with findings, and with tests that are due without one: a satisfied check is no
# finding.
TOPICS: tuple[Topic, ...] = (
    selection.outside,
    selection.summary,
    selection.first_line,
    selection.over_cyclosporine,
    starting.by_weight,
    starting.fixed,
    starting.with_corticosteroid,
    starting.genotype,
    starting.hepatic,
    companions.companions,
    companions.cyclophosphamide,
    schedule.baseline,
    schedule.first_trough,
    calendars.calendar,
    trough.sample,
    trough.own_target,
    titration.level_bands,
    interactions.interactions,
    interactions.grapefruit,
    other_drugs.cannabidiol,
    other_drugs.hepatitis_c,
    other_drugs.mycophenolate,
    rechecks.after_switch,
    rechecks.after_stop,
    rechecks.after_steroid_change,
    stoplights.rechecks,
    kidney.kidney,
    electrolytes.electrolytes,
    electrolytes.potassium_beside,
    qt.qt_interval,
    neurotoxicity.neurotoxicity,
    heart.hypertrophy,
    heart.high_troughs,
    heart.echocardiography,
    stoplights.blood_counts,
    stoplights.liver_tests,
    stoplights.blood_pressure,
    infection.information,
    infection.prophylaxis,
    infection.serious_infection,
    infection.opportunistic,
    infection.to_resume,
    cautions.contraindicated,
    cautions.unchecked_drugs,
    vaccines.live_vaccines,
    vaccines.complete_first,
    pregnancy.pregnancy,
    pregnancy.contraception,
    pregnancy.lactation,
    outcomes.response_tests,
    outcomes.response,
    outcomes.worsening,
    outcomes.survival,
    outcomes.steroid_sparing,
    outcomes.duration,
)


def assess(case: CaseFacts, book: RuleBook, *, at: datetime) -> Advice:
    """What the protocol says of this case at the moment `at`.

    The same inputs always give the same answer; days are counted in the offset of `at`. Never
    raises for clinical reasons; ValueError when `at` carries no offset.
    """
    offset = at.utcoffset()
    if offset is None:
        raise ValueError("the moment of an assessment must carry an offset")
    # A stored case knows only this offset, and must count the days of summer and winter alike
    # when it is evaluated again. The moment is this question's own (`once_a_question`).
    at = at.replace(tzinfo=timezone(offset), fold=0)
    raised: list[Finding] = []
    due: list[DueTest] = []
    for topic in TOPICS:
        for answer in topic(case, book, at):
            if isinstance(answer, DueTest):
                due.append(answer)
            else:
                raised.append(answer)
    if case.local_approvals:
        raised = [approved(found, case, at.date()) for found in raised]
    findings = tuple(sorted(raised, key=_order))
    if selection.outside_protocol(case):
        outcome = Outcome.OUTSIDE_PROTOCOL
    elif any(found.unchecked for found in findings):
        outcome = Outcome.COULD_NOT_CHECK
    else:
        outcome = Outcome.ADVICE
    due += [test for found in findings for test in found.due_tests]
    return Advice(
        rule_book=book.version,
        at=at,
        outcome=outcome,
        findings=findings,
        proposal=reconcile(findings, case.regimen),
        due_tests=tuple(sorted(due, key=lambda test: (test.due, test.analyte, test.statements))),
    )


def _order(found: Finding) -> tuple[int, str, str]:
    return (-found.severity, found.code, found.message)
