"""Companion treatment: what the named regimens come to for a patient, and what an order is asked.

The steps are rows of the rule book (A1, A2, CYC); the sums are the engine's.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models

from dosing.checks import CONFIRM_FROM, TYPE_AGAIN_FROM, Answer
from dosing.models import Assessment, CompanionOrder, CompanionUnit, route_words
from dosing.rules import casefile
from dosing.rules.engine.companions import CompanionSum, sum_of
from dosing.rules.engine.facts import LOCAL_ROUTES, CaseFacts
from dosing.rules.engine.quantities import shown
from dosing.rules.engine.rows import CompanionRegimenRow, DrugClass, DrugGroup
from dosing.rules.engine.rulebook import RuleBook
from dosing.rules.loading import engine_book
from patients.models import CoMedication
from patients.selectors import co_medications_of, today_at
from patients.vocabulary import vocabulary
from tacroweb.numbers import format_decimal

PLACES = Decimal("0.001")  # of a dose, as it is stored
# The groups whose drugs are given for one end; those of the others share an effect only.
ALIKE = (DrugGroup.PREDNISONE_EQUIVALENT, DrugGroup.MYCOPHENOLATE, DrugGroup.CYCLOPHOSPHAMIDE)

# Which step of which regimen a finding of the protocol's combination therapy asks for (S11-S15).
STEP_OF_FINDING = {
    "COMPANION-PULSE": ("A1", 1),
    "COMPANION-LOW-DOSE": ("A1", 2),
    "COMPANION-TAPER": ("A2", 1),
    "COMPANION-CYCLOPHOSPHAMIDE": ("CYC", 1),
}


class ListedAnswer(models.TextChoices):
    """What becomes of a drug of the same kind that is on the list when another is ordered."""

    REPLACED = "REPLACED", "Yes, it is replaced: the record notes today as its last day"
    GOES_ON = "GOES_ON", "No, it goes on beside the new drug: I mean both"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedDrug:
    """A drug that is taken already, of the same kind as the one that a step would add to it."""

    row: CoMedication
    words: str
    question: str

    @property
    def key(self) -> str:
        """What its answer is given by."""
        return str(self.row.pk)


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
    `typed_again_mg` (the dose once more) are given when the service asks. `listed` says of each
    drug of the same kind on the list, by its key, whether it is replaced.
    """

    dose: Decimal | None = None
    reason_text: str = ""
    answers: Mapping[str, Answer]
    listed: Mapping[str, ListedAnswer] = field(default_factory=dict)
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


def listed_drugs(
    assessment: Assessment, rows: Iterable[CompanionRegimenRow], at: datetime
) -> dict[str, tuple[ListedDrug, ...]]:
    """For each row of the book, by its code, the drugs of its kind that are taken beside it.

    Alike are two corticosteroids, and two drugs of one of the book's groups `ALIKE`. Not among them
    is the drug that the order itself goes on with at another dose.
    """
    book, patient = engine_book(assessment.rule_book), assessment.patient
    today = today_at(patient.clinic, at)
    taken = [
        (row, kinds)
        for row in co_medications_of(patient)
        if row.stopped_on is None
        and not row.planned
        and row.route not in LOCAL_ROUTES
        and (row.started_on is None or row.started_on <= today)
        and (kinds := _kinds(book, str(row)))
    ]
    return {
        step.code: tuple(
            _listed(row, step)
            for row, kinds in taken
            if kinds & _kinds(book, step.drug) and not _goes_on(row, step)
        )
        for step in rows
    }


def _goes_on(row: CoMedication, step: CompanionRegimenRow) -> bool:
    """Whether a drug of the record is the one that is ordered, by that route or by one unknown."""
    return str(row) == step.drug and row.route in ("", step.route)


def _kinds(book: RuleBook, drug: str) -> set[str]:
    """The classes and groups by which two drugs are alike."""
    known, index = vocabulary().drug(drug), book.index
    found: set[str] = set()
    for name in known.ingredients if known else (drug,):
        found |= {row.group for row in index.groups_of.get(name, ()) if row.group in ALIKE}
        if name in index.drug_classes and index.drug_classes[name][0] is DrugClass.CORTICOSTEROID:
            found.add(DrugClass.CORTICOSTEROID)
    return found


def _listed(row: CoMedication, step: CompanionRegimenRow) -> ListedDrug:
    words, ordered = str(row), step.drug
    if row.daily_dose_mg is not None:
        words += f" {format_decimal(row.daily_dose_mg)} mg/day"
    if str(row) == step.drug:
        words += f" {route_words(row.route)}"
        ordered += f" {route_words(step.route)}"
    stands = f"{words[:1].upper()}{words[1:]} is on the list."
    return ListedDrug(row=row, words=words, question=f"{stands} Does {ordered} replace it?")


def in_order_of_steps(cards: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Findings as they stand, but those of the regimens by regimen and step among themselves."""
    found = list(cards)
    steps_first = iter(
        sorted(
            (card for card in found if card["code"] in STEP_OF_FINDING),
            key=lambda card: STEP_OF_FINDING[card["code"]],
        )
    )
    return [next(steps_first) if card["code"] in STEP_OF_FINDING else card for card in found]


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
