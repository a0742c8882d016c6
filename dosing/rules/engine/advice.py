"""What the engine answers: findings, the one proposal, due tests."""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum

from dosing.rules.engine.quantities import Mg, MgPerDay
from dosing.rules.engine.rulebook import Origin, Severity


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


@dataclass(frozen=True, slots=True, kw_only=True)
class DueTest:
    """One test to do, for one reason; days in the offset of the moment asked."""

    analyte: str
    earliest: date
    due: date
    latest: date
    statements: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing the protocol says of this case, with the facts it used."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """The whole answer, findings by severity (highest first) then code."""

    rule_book: str
    at: datetime
    outcome: Outcome
    findings: tuple[Finding, ...]
    proposal: DoseProposal | None
    due_tests: tuple[DueTest, ...]
