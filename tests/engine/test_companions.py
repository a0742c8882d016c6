"""What is given beside tacrolimus at the start: doses with their sums (S11-S15)."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from math import isqrt
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dosing.rules.engine import facts
from dosing.rules.engine.advice import Advice, Finding
from dosing.rules.engine.companions import root_to_hundredths, sum_of
from dosing.rules.engine.facts import Comparator, Intent, Sard
from dosing.rules.engine.rows import CompanionRegimenRow
from dosing.rules.engine.rulebook import RuleBook
from tests.engine.given import AT, advice, book, case, codes, drug, first_book
from tests.engine.test_advice import changed

TODAY = AT.date()
SEVERE = facts.Diagnosis(ild=True, sard=Sard.IIM, severe_at_presentation=True)
CODES = {"COMPANION-PULSE", "COMPANION-LOW-DOSE", "COMPANION-TAPER", "COMPANION-TACROLIMUS"}


def start(**changes: Any) -> facts.CaseFacts:
    given = {
        "intent": Intent.START,
        "regimen": None,
        "diagnosis": SEVERE,
        "patient": facts.Patient(weight_kg=Decimal(62), height_cm=Decimal(162)),
    }
    return case(**(given | changes))


def said(answer: Advice, code: str) -> Finding:
    (found,) = [each for each in answer.findings if each.code == code]
    return found


def row(code: str, rules: RuleBook | None = None) -> CompanionRegimenRow:
    return next(each for each in (rules or book()).companion_regimens if each.code == code)


def test_the_regimens_are_named_with_their_sums() -> None:
    answer = advice(start())
    assert said(answer, "COMPANION-PULSE").message == (
        "Regimen A1: two courses of pulses, then a low dose, step 1: methylprednisolone 1000 mg by "
        "infusion into a vein on 3 days a week for 2 weeks: 2 courses, 6 × 1000 mg = 6000 mg in "
        "all."
    )
    assert dict(said(answer, "COMPANION-PULSE").inputs) == {
        "regimen": "A1",
        "infusions": "6",
        "total_mg": "6000",
    }
    assert said(answer, "COMPANION-LOW-DOSE").message == (
        "Regimen A1: two courses of pulses, then a low dose, step 2: prednisone 10 mg/day by mouth."
    )
    assert said(answer, "COMPANION-TAPER").message == (
        "Regimen A2: a dose by weight that falls slowly, with or without the pulses of A1: "
        "prednisone 0.6 to 1 mg/kg/day by mouth, reduced slowly; 0.6 to 1 mg/kg/day × 62 kg = "
        "37.2 to 62 mg/day."
    )
    assert dict(said(answer, "COMPANION-TAPER").inputs) == {
        "regimen": "A2",
        "weight_kg": "62",
        "weight": "as recorded",
        "computed_mg_per_day": "37.2 to 62",
    }
    assert "add oral tacrolimus" in said(answer, "COMPANION-TACROLIMUS").message


def test_cyclophosphamide_is_by_body_surface() -> None:
    found = said(advice(start()), "COMPANION-CYCLOPHOSPHAMIDE")
    assert found.message == (
        "Consider adding cyclophosphamide to tacrolimus and high-dose corticosteroid (severe "
        "disease at presentation): cyclophosphamide 500 mg/m² a month by infusion into a vein; "
        "√(162 cm × 62 kg / 3600) = 1.67 m² (Mosteller, to 0.01 m²), 500 mg/m² × 1.67 m² = 835 mg."
    )
    assert dict(found.inputs) == {
        "severe_at_presentation": "yes",
        "rapidly_progressive": "not known",
        "weight_kg": "62",
        "height_cm": "162",
        "weight": "as recorded",
        "height": "as recorded",
        "bsa_m2": "1.67",
        "computed_mg": "835",
    }
    both = replace(SEVERE, rapidly_progressive=True)
    words = "severe disease at presentation and rapidly progressive disease"
    assert words in said(advice(start(diagnosis=both)), "COMPANION-CYCLOPHOSPHAMIDE").message


def test_a_measured_height_comes_before_the_recorded_one() -> None:
    def height(value: str, comparator: Comparator | None = None) -> facts.Observation:
        return facts.Observation(
            analyte="height",
            value=Decimal(value),
            unit="cm",
            canonical=Fraction(value),
            at=AT - timedelta(days=400),
            comparator=comparator,
        )

    measured = said(advice(start(observations=(height("180"),))), "COMPANION-CYCLOPHOSPHAMIDE")
    assert dict(measured.inputs)["height"] == "measured 26-Jan-2025"
    assert dict(measured.inputs)["bsa_m2"] == "1.76"
    above = height("180", Comparator.MORE)
    recorded = said(advice(start(observations=(above,))), "COMPANION-CYCLOPHOSPHAMIDE")
    assert dict(recorded.inputs)["height"] == "as recorded"


def test_what_a_dose_lacks_is_due_and_the_dose_stands_without_a_number() -> None:
    nothing = advice(start(patient=facts.Patient()))
    taper = said(nothing, "COMPANION-TAPER")
    assert taper.message.endswith(
        "prednisone 0.6 to 1 mg/kg/day by mouth, reduced slowly; no weight is recorded, so the "
        "daily dose is not computed."
    )
    assert dict(taper.inputs) == {"regimen": "A2", "weight_kg": "not known"}
    assert [(test.analyte, test.statements) for test in taper.due_tests] == [("weight", ("S13",))]
    cyc = said(nothing, "COMPANION-CYCLOPHOSPHAMIDE")
    assert cyc.message.endswith(
        "; no weight and no height is recorded, so the dose is not computed."
    )
    assert dict(cyc.inputs)["weight_kg"] == dict(cyc.inputs)["height_cm"] == "not known"
    assert [(t.analyte, t.earliest, t.due, t.latest, t.statements) for t in cyc.due_tests] == [
        (analyte, TODAY, TODAY, TODAY, ("S15",)) for analyte in ("weight", "height")
    ]
    short = advice(start(patient=facts.Patient(weight_kg=Decimal(62))))
    assert [t.analyte for t in said(short, "COMPANION-CYCLOPHOSPHAMIDE").due_tests] == ["height"]
    tall = advice(start(patient=facts.Patient(height_cm=Decimal(162))))
    assert [t.analyte for t in said(tall, "COMPANION-CYCLOPHOSPHAMIDE").due_tests] == ["weight"]


def test_without_the_formula_the_dose_per_surface_stands() -> None:
    off = changed("numbers", "BSA-MOSTELLER-DIVISOR", enabled=False)
    found = said(advice(start(), off), "COMPANION-CYCLOPHOSPHAMIDE")
    assert found.message.endswith("; the book has no formula for the body surface.")
    assert not found.due_tests


def test_they_are_for_a_start_in_myositis() -> None:
    assert codes(advice(start())) >= CODES | {"COMPANION-CYCLOPHOSPHAMIDE"}
    for other in (
        start(intent=Intent.REVIEW),
        start(diagnosis=replace(SEVERE, sard=Sard.RA)),
        start(diagnosis=replace(SEVERE, ild=None)),
    ):
        assert not [code for code in codes(advice(other)) if code.startswith("COMPANION")]
    assert not [code for code in codes(advice(start(), first_book())) if "COMPANION" in code]


def test_cyclophosphamide_that_is_taken_is_not_proposed() -> None:
    code = "COMPANION-CYCLOPHOSPHAMIDE"
    assert code not in codes(advice(start(co_medications=(drug("cyclophosphamide", TODAY),))))
    planned = drug("cyclophosphamide", None, planned=True)
    assert code not in codes(advice(start(co_medications=(planned,))))
    over = drug("cyclophosphamide", TODAY - timedelta(days=90), stopped_on=TODAY)
    assert code in codes(advice(start(co_medications=(over,))))
    skin = drug("cyclophosphamide", TODAY, route=facts.Route.TOPICAL)
    assert code in codes(advice(start(co_medications=(skin,))))
    assert code in codes(advice(start(co_medications=(drug("lisinopril", TODAY),))))


def test_the_rows_decide() -> None:
    """An option that a clinic turns on instead is said and computed with its own numbers."""
    rows = tuple(
        replace(each, enabled=each.code == "CYC-BIWEEKLY") if each.regimen == "CYC" else each
        for each in book().companion_regimens
    )
    cyc = said(
        advice(start(), replace(book(), companion_regimens=rows)), "COMPANION-CYCLOPHOSPHAMIDE"
    )
    assert "500 to 1000 mg/m² every 2 weeks" in cyc.message
    assert cyc.message.endswith("500 to 1000 mg/m² × 1.67 m² = 835 to 1670 mg.")
    often = changed("companion_regimens", "CYC-500", every="")
    assert (
        "500 mg/m² by infusion"
        in said(advice(start(), often), "COMPANION-CYCLOPHOSPHAMIDE").message
    )
    once = changed("companion_regimens", "A1-PULSE", weeks=None, route="SC", taper=True)
    assert said(advice(start(), once), "COMPANION-PULSE").message.endswith(
        "step 1: methylprednisolone 1000 mg, reduced slowly."
    )
    three = changed("companion_regimens", "A1-PULSE", days_a_week=None)
    assert said(advice(start(), three), "COMPANION-PULSE").inputs == (("regimen", "A1"),)
    range_of = changed("companion_regimens", "A1-PULSE", low=Decimal(500))
    assert (
        "6 × 500 to 1000 mg = 3000 to 6000 mg in all"
        in said(advice(start(), range_of), "COMPANION-PULSE").message
    )
    gone = replace(book(), companion_regimens=())
    assert codes(advice(start(), gone)) & {*CODES, "COMPANION-CYCLOPHOSPHAMIDE"} == {
        "COMPANION-TACROLIMUS"
    }
    assert not said(advice(start(patient=facts.Patient())), "COMPANION-PULSE").due_tests
    silent = changed("findings", "COMPANION-TAPER", enabled=False)
    assert "COMPANION-TAPER" not in codes(advice(start(patient=facts.Patient()), silent))


def test_the_sum_of_a_step_stands_alone() -> None:
    pulse = sum_of(row("A1-PULSE"), start(), book(), AT)
    assert pulse is not None
    assert (pulse.low, pulse.high, pulse.arithmetic, pulse.kg) == (1000, 1000, "1000 mg", None)
    low = sum_of(row("A1-LOW-DOSE"), start(), book(), AT)
    assert low is not None
    assert low.arithmetic == "10 mg/day"
    taper = sum_of(row("A2-TAPER"), start(), book(), AT)
    assert taper is not None
    assert (taper.low, taper.high, taper.kg) == (Fraction("37.2"), 62, 62)
    cyc = sum_of(row("CYC-500"), start(), book(), AT)
    assert cyc is not None
    assert (cyc.low, cyc.high, cyc.kg, cyc.m2) == (835, 835, 62, Fraction("1.67"))
    light = start(patient=facts.Patient(height_cm=Decimal(162)))
    short = start(patient=facts.Patient(weight_kg=Decimal(62)))
    assert sum_of(row("A2-TAPER"), light, book(), AT) is None
    assert sum_of(row("CYC-500"), light, book(), AT) is None
    assert sum_of(row("CYC-500"), short, book(), AT) is None
    off = changed("numbers", "BSA-MOSTELLER-DIVISOR", enabled=False)
    assert sum_of(row("CYC-500"), start(), off, AT) is None


@pytest.mark.parametrize(
    ("square", "root"),
    [
        ("0", "0"),
        ("4", "2"),
        ("2.79", "1.67"),
        ("2.7555", "1.66"),  # 1.65997…
        ("2.755600", "1.66"),
        ("2.7722", "1.66"),  # 1.66499…
        ("2.772225", "1.67"),  # 1.665 exactly: a tie goes up
        ("2.7723", "1.67"),
    ],
)
def test_the_root_is_to_the_nearest_hundredth(square: str, root: str) -> None:
    assert root_to_hundredths(Fraction(square)) == Fraction(root)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.fractions(min_value=0, max_value=10, max_denominator=10_000))
def test_the_root_is_never_off_by_more_than_half_a_hundredth(square: Fraction) -> None:
    root = root_to_hundredths(square)
    half = Fraction(1, 200)
    assert max(root - half, Fraction(0)) ** 2 <= square < (root + half) ** 2
    assert isqrt(int(root * 100) ** 2) == root * 100
