"""Companion treatment: what the named regimens come to for a patient, and what an order is asked.

The steps are rows of the rule book (A1, A2, CYC); the sums are the engine's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

from django.core.exceptions import ValidationError

from dosing.checks import CONFIRM_FROM, TYPE_AGAIN_FROM, Answer
from dosing.models import Assessment, CompanionOrder, CompanionUnit, route_words
from dosing.rules import casefile
from dosing.rules.engine.companions import CompanionSum, sum_of
from dosing.rules.engine.facts import CaseFacts
from dosing.rules.engine.quantities import shown
from dosing.rules.engine.rows import CompanionRegimenRow
from dosing.rules.engine.rulebook import RuleBook
from dosing.rules.loading import engine_book
from tacroweb.numbers import format_decimal

PLACES = Decimal("0.001")  # of a dose, as it is stored


@dataclass(frozen=True, slots=True, kw_only=True)
class CompanionStep:
    """One step of a regimen for one patient: the row, its rhythm, and its dose where it is known.

    `sum` is None where a weight or height lacks, so that nobody can say what the dose comes to.
    """

    row: CompanionRegimenRow
    unit: CompanionUnit
    rhythm: str
    sum: CompanionSum | None

    @property
    def low(self) -> Decimal | None:
        """The least dose of the regimen, in `unit`, to the places of an order."""
        return None if self.sum is None else _stored(self.sum.low)

    @property
    def high(self) -> Decimal | None:
        """The most."""
        return None if self.sum is None else _stored(self.sum.high)

    @property
    def single(self) -> Decimal | None:
        """The dose where the regimen names just one."""
        return self.low if self.low == self.high else None

    @property
    def words(self) -> str:
        """For example "A2, step 1: prednisone 36.9 to 61.5 mg/day by mouth, reduced slowly"."""
        drug = f"{self.row.regimen}, step {self.row.step}: {self.row.drug}"
        if self.low is None or self.high is None:
            return f"{drug} {route_words(self.row.route)}, {self.rhythm}"
        ends = dict.fromkeys(format_decimal(end) for end in (self.low, self.high))
        dose = f"{' to '.join(ends)} {self.unit.label}"
        return f"{drug} {dose} {route_words(self.row.route)}, {self.rhythm}"

    @property
    def arithmetic(self) -> str:
        """The sum, or what it lacks."""
        if self.sum is not None:
            return self.sum.arithmetic
        lacks = "weight" if self.row.unit == "mg/kg/d" else "weight and height"
        return f"{dose_range(self.row)}: not computed, for the {lacks} must be known"

    def holds(self, dose: Decimal) -> bool:
        """Whether `dose` is one that the regimen names for this patient."""
        return self.low is not None and self.high is not None and self.low <= dose <= self.high


@dataclass(frozen=True, slots=True, kw_only=True)
class CompanionPrescription:
    """A companion dose as the prescriber wants it, with an answer to each question.

    Without a `dose` it is the regimen's, where that names just one. `confirmed` and
    `typed_again_mg` (the dose once more) are given when the service asks.
    """

    dose: Decimal | None = None
    reason_text: str = ""
    answers: Mapping[str, Answer]
    confirmed: bool = False
    typed_again_mg: Decimal | None = None


def steps_of(assessment: Assessment) -> tuple[CompanionStep, ...]:
    """Every step that the book of the assessment names, for the facts of the assessment."""
    case, at = casefile.decode_case(assessment.case)
    return steps(case, engine_book(assessment.rule_book), at)


def steps(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[CompanionStep, ...]:
    """Every step that the book names, in the order of the book's regimens."""
    return tuple(
        CompanionStep(
            row=row,
            unit=(
                CompanionUnit.MG_PER_DAY if row.unit in ("mg/d", "mg/kg/d") else CompanionUnit.MG
            ),
            rhythm=rhythm_words(row),
            sum=sum_of(row, case, book, at),
        )
        for rows in book.index.companions.values()
        for row in rows
    )


def step_named(assessment: Assessment, code: str) -> CompanionStep:
    """The step of this row. Raises `ValidationError` at `step` for a row that the book has not."""
    for step in steps_of(assessment):
        if step.row.code == code:
            return step
    raise ValidationError(
        {"step": "Rule book " + assessment.rule_book.version + " names no such step."}
    )


def rhythm_words(row: CompanionRegimenRow) -> str:
    """How often the dose is given: "every day", "on 3 days a week for 2 weeks", "once a month"."""
    if row.unit in ("mg/d", "mg/kg/d"):
        return "every day, reduced slowly" if row.taper else "every day"
    if row.days_a_week is not None and row.weeks is not None:
        return f"on {row.days_a_week} days a week for {row.weeks} weeks"
    if not row.every:
        return "once"
    return row.every if row.every.startswith("every") else f"once {row.every}"


def dose_range(row: CompanionRegimenRow) -> str:
    """The dose as the row states it: "0.6 to 1 mg/kg/day"."""
    unit = {"mg/d": "mg/day", "mg/kg/d": "mg/kg/day", "mg/m2": "mg/m²"}.get(row.unit, row.unit)
    ends = dict.fromkeys(shown(end) for end in (row.low, row.high))
    return f"{' to '.join(ends)} {unit}"


def start_confirmations(step: CompanionStep, dose: Decimal) -> dict[str, str]:
    """What the prescriber is asked of a first dose: input -> sentence; empty for the regimen's own.

    The inputs are those of a dose of tacrolimus: `reason_text`, `typed_again_mg`, `confirmed`.
    """
    typed = f"{format_decimal(dose)} {step.unit.label}"
    if step.high is None:
        return {
            "reason_text": f"The dose of {dose_range(step.row)} could not be computed: say in "
            f"words what {typed} is based on."
        }
    if step.holds(dose):
        return {}
    asked = {
        "reason_text": f"{typed} is not what the regimen comes to ({step.arithmetic}): say in "
        "words why."
    }
    return asked | _how_far(dose, step.high, typed, "the most that the regimen comes to")


def taper_confirmations(order: CompanionOrder, dose: Decimal) -> dict[str, str]:
    """What the prescriber is asked of the next dose: nothing where it falls."""
    if dose < order.dose:
        return {}
    unit = order.get_unit_display()
    typed = f"{format_decimal(dose)} {unit}"
    asked = {
        "reason_text": f"A taper falls, and {typed} is above {format_decimal(order.dose)} {unit}: "
        "say in words why."
    }
    return asked | _how_far(dose, order.dose, typed, "the dose in force")


def _how_far(dose: Decimal, from_dose: Decimal, typed: str, what: str) -> dict[str, str]:
    times = Fraction(dose) / Fraction(from_dose)
    against = f"{typed} is {shown(times, at_most=1)} times {what}"
    if times >= TYPE_AGAIN_FROM:
        return {"typed_again_mg": f"{against}: type the dose once more."}
    if times >= CONFIRM_FROM:
        return {"confirmed": f"{against}: confirm that this is meant."}
    return {}


def open_companion_confirmations(
    prescription: CompanionPrescription, dose: Decimal, asked: Mapping[str, str]
) -> dict[str, str]:
    """Which of the questions the prescription does not meet yet."""
    met = {
        "reason_text": bool(prescription.reason_text.strip()),
        "typed_again_mg": prescription.typed_again_mg == dose,
        "confirmed": prescription.confirmed,
    }
    return {name: text for name, text in asked.items() if not met[name]}


def _stored(value: Fraction) -> Decimal:
    return (Decimal(round(value / Fraction(PLACES))) * PLACES).normalize()
