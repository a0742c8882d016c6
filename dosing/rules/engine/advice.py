"""What the engine answers: findings, the one proposal, due tests."""

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from dosing.rules.engine.facts import CaseFacts, Regimen, RegimenStatus
from dosing.rules.engine.quantities import Mg, MgPerDay, day, shown
from dosing.rules.engine.rows import InteractionRow, Origin, Row, Severity
from dosing.rules.engine.rulebook import RuleBook


class Action(StrEnum):
    START = "START"
    CHANGE = "CHANGE"
    HOLD = "HOLD"
    STOP = "STOP"
    NONE = "NONE"


class Outcome(StrEnum):
    ADVICE = "ADVICE"
    OUTSIDE_PROTOCOL = "OUTSIDE_PROTOCOL"
    COULD_NOT_CHECK = "COULD_NOT_CHECK"


class Effect(StrEnum):
    """What a finding does to the dose beside its own proposal."""

    NONE = "NONE"
    ASKS_FOR_LESS = "ASKS_FOR_LESS"
    BARS_START = "BARS_START"
    BARS_START_AND_RAISES = "BARS_START_AND_RAISES"


@dataclass(frozen=True, slots=True, kw_only=True)
class DoseProposal:
    """A dose to order, or a hold (no doses). `arithmetic` shows the sum, not only the answer."""

    action: Action
    arithmetic: str
    morning_mg: Mg | None = None
    evening_mg: Mg | None = None

    @property
    def total_daily_mg(self) -> MgPerDay | None:
        """Both doses of the day together, mg/day; None for a hold."""
        if self.morning_mg is None or self.evening_mg is None:
            return None
        return MgPerDay(self.morning_mg + self.evening_mg)

    @property
    def taken(self) -> str:
        """The two doses in words, as they are taken; empty for a hold."""
        if self.morning_mg is None or self.evening_mg is None:
            return ""
        morning, evening = shown(self.morning_mg), shown(self.evening_mg)
        return f"{morning} mg in the morning and {evening} mg in the evening"


class DueTest(NamedTuple):
    """One test to do, for one reason; days in the offset of the moment asked."""

    analyte: str
    earliest: date
    due: date
    latest: date
    statements: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing the protocol says of this case, with the facts it used.

    `to_approve` are the codes of the rows behind it that a clinic should approve before it relies
    on them.
    """

    code: str
    statements: tuple[str, ...]
    severity: Severity
    message: str
    source: str
    origin: Origin
    inputs: tuple[tuple[str, str], ...] = ()
    proposal: DoseProposal | None = None
    due_tests: tuple[DueTest, ...] = ()
    effect: Effect = Effect.NONE
    unchecked: bool = False
    to_approve: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """The whole answer, findings by severity (highest first) then code."""

    rule_book: str
    at: datetime
    outcome: Outcome
    findings: tuple[Finding, ...]
    proposal: DoseProposal | None
    due_tests: tuple[DueTest, ...]


NOT_APPROVED = " Needs local approval."


def raised(
    book: RuleBook,
    code: str,
    message: str,
    *,
    inputs: tuple[tuple[str, str], ...] = (),
    proposal: DoseProposal | None = None,
    due_tests: tuple[DueTest, ...] = (),
    effect: Effect = Effect.NONE,
    unchecked: bool = False,
    rule: InteractionRow | None = None,
    leads: bool = False,
) -> tuple[Finding, ...]:
    """The finding `code` as the book grades and sources it; nothing where it is turned off.

    `rule` is the interaction it is about: then that gives source and origin, and where it `leads`
    the statements and the severity too. One without a source, of a book of the first form, leaves
    all of it to the finding's row.
    """
    row = book.index.findings.get(code)
    if row is None:
        return ()
    speaks: Row = row
    statements, severity = row.statements, row.severity
    if rule is not None and rule.source:
        speaks = rule
        if leads:
            statements, severity = rule.statements, rule.severity
            due_tests = tuple(test._replace(statements=statements) for test in due_tests)
    to_approve = [row.code] if row.needs_local_approval else []
    if speaks is not row and speaks.needs_local_approval:
        to_approve.append(speaks.code)
    return (
        Finding(
            code=code,
            statements=statements,
            severity=severity,
            message=message,
            source=f"{speaks.source}{NOT_APPROVED}" if to_approve else speaks.source,
            origin=speaks.origin,
            inputs=inputs,
            proposal=proposal,
            due_tests=due_tests,
            effect=effect,
            unchecked=unchecked,
            to_approve=tuple(to_approve),
        ),
    )


def approved(found: Finding, case: CaseFacts, today: date) -> Finding:
    """The finding with its source as the patient's clinic has settled it: every row behind it."""
    given = [case.approval(code) for code in found.to_approve]
    days = [each.approved_on for each in given if each is not None and each.approved_on <= today]
    if not days or len(days) < len(given):
        return found
    settled = found.source.removesuffix(NOT_APPROVED)
    return replace(found, source=f"{settled} Approved locally on {day(max(days))}.")


def next_test(
    book: RuleBook, series: str, opened_on: date, code: str, *, last_done: date | None = None
) -> tuple[DueTest, ...]:
    """The first test of `series` that no result answers yet, for the statements of finding `code`.

    `opened_on` is day 0 of the series. A result answers every test that could be done by its day;
    a test that is overdue keeps its date.
    """
    row = book.index.findings.get(code)
    if row is None:
        return ()
    done_on_day = None if last_done is None else (last_done - opened_on).days
    for test in book.index.series.get(series, ()):
        if done_on_day is None or test.earliest_day > done_on_day:
            return (
                DueTest(
                    analyte=test.analyte,
                    earliest=opened_on + timedelta(days=test.earliest_day),
                    due=opened_on + timedelta(days=test.due_day),
                    latest=opened_on + timedelta(days=test.latest_day),
                    statements=row.statements,
                ),
            )
    return ()


def reconcile(findings: tuple[Finding, ...], regimen: Regimen | None) -> DoseProposal | None:
    """The one proposal out of all that the findings propose ("One proposal" of the case format).

    A hold wins over every dose. A bar on another act removes a start and raises. Otherwise the
    lowest total stands, a raise only where nothing asks for less. A held regimen is not changed,
    and the dose in force is no proposal.
    """
    proposed = [found.proposal for found in findings if found.proposal is not None]
    for held in proposed:
        if held.action is Action.HOLD:
            return held
    current = regimen.total_daily_mg if regimen is not None else None
    effects = {found.effect for found in findings}
    less = Effect.ASKS_FOR_LESS in effects or Effect.BARS_START_AND_RAISES in effects
    no_start = Effect.BARS_START in effects or Effect.BARS_START_AND_RAISES in effects
    standing = [
        (total, dose)
        for dose in proposed
        if (total := dose.total_daily_mg) is not None
        and not (no_start and dose.action is Action.START)
        and not (less and current is not None and total > current)
    ]
    if not standing:
        return None
    lowest, chosen = min(standing, key=_by_total)
    if regimen is not None and (regimen.status is RegimenStatus.HELD or lowest == current):
        return None
    totals = sorted({total for total, _ in standing})
    if len(totals) > 1:
        others = ", ".join(f"{shown(total, at_least=1)} mg/day" for total in totals)
        chosen = replace(chosen, arithmetic=f"{chosen.arithmetic} (the lowest of {others})")
    return chosen


def _by_total(standing: tuple[MgPerDay, DoseProposal]) -> MgPerDay:
    return standing[0]
