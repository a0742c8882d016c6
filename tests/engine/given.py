"""Valid facts and the seed book, to be changed in the one place a test is about."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

from dosing.rules import toml_book
from dosing.rules.engine import facts
from dosing.rules.engine.advice import Advice, Finding
from dosing.rules.engine.assess import assess
from dosing.rules.engine.quantities import Comparator
from dosing.rules.engine.rulebook import RuleBook

ROOT = Path(__file__).parents[2]
SEED = ROOT / "dosing/rules/seed/2026-02.toml"
FIRST_SEED = ROOT / "dosing/rules/seed/2026-01.toml"
AT = datetime(2026, 3, 2, 9, tzinfo=UTC)


@cache
def book() -> RuleBook:
    return toml_book.read(SEED.read_text(encoding="utf-8"))


@cache
def first_book() -> RuleBook:
    """Book 2026-01, whose answers never change."""
    return toml_book.read(FIRST_SEED.read_text(encoding="utf-8"))


def changed(table: str, code: str, rules: RuleBook | None = None, **changes: Any) -> RuleBook:
    """The seed book, or another, with one row changed."""
    before = rules or book()
    rows = tuple(
        replace(row, **changes) if row.code == code else row for row in getattr(before, table)
    )
    assert rows != getattr(before, table)
    return replace(before, **{table: rows})


def regimen(**changes: Any) -> facts.Regimen:
    given = {
        "status": facts.RegimenStatus.ACTIVE,
        "formulation": facts.Formulation.IR,
        "morning_mg": Decimal("1.5"),
        "evening_mg": Decimal("1.5"),
        "started_on": date(2026, 1, 12),
        "dose_since": datetime(2026, 2, 2, 8, tzinfo=UTC),
    }
    return facts.Regimen(**(given | changes))


def case(**changes: Any) -> facts.CaseFacts:
    """A patient with myositis on 3.0 mg/day, with nothing wrong."""
    given = {
        "intent": facts.Intent.REVIEW,
        "patient": facts.Patient(weight_kg=Decimal(62), pregnancy=facts.Pregnancy.NO),
        "diagnosis": facts.Diagnosis(ild=True, sard=facts.Sard.IIM, line=facts.Line.FIRST),
        "regimen": regimen(),
    }
    return facts.CaseFacts(**(given | changes))


def level(value: str, *, at: datetime | None = None, **changes: Any) -> facts.Observation:
    """A tacrolimus level in ng/mL, 12 h after the dose, drawn yesterday."""
    given = {
        "analyte": facts.TACROLIMUS_LEVEL,
        "value": Decimal(value),
        "unit": "ng/mL",
        "canonical": Fraction(value),
        "at": at or AT - timedelta(days=1),
        "hours_since_dose": Decimal(12),
    }
    return facts.Observation(**(given | changes))


def drug(
    name: str, started_on: date | None = date(2026, 3, 1), **changes: Any
) -> facts.CoMedication:
    return facts.CoMedication(drug=name, started_on=started_on, **changes)


def less_than(value: str) -> facts.Observation:
    return level(value, comparator=Comparator.LESS)


def advice(facts_given: facts.CaseFacts, rules: RuleBook | None = None) -> Advice:
    return assess(facts_given, rules or book(), at=AT)


def cited(answer: Advice) -> set[str]:
    return {statement for found in answer.findings for statement in found.statements}


def codes(answer: Advice) -> set[str]:
    return {found.code for found in answer.findings}


def proposed(answer: Advice) -> str | None:
    """The reconciled proposal in short: "CHANGE 1.0", "HOLD", or None."""
    if answer.proposal is None:
        return None
    total = answer.proposal.total_daily_mg
    return answer.proposal.action.value + ("" if total is None else f" {total:.1f}")


def found(answer: Advice, code: str) -> Finding:
    """The one finding of this code."""
    (only,) = (each for each in answer.findings if each.code == code)
    return only
