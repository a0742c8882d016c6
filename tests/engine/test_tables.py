"""The tables of the dose in books of both forms: first doses, level bands, steps, roundings."""

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from dosing.rules.engine import doses, facts
from dosing.rules.engine.rows import Band, Origin, RoundingRow, Severity
from dosing.rules.engine.rulebook import RuleBook
from dosing.rules.engine.trough import band_of, target
from tests.engine.given import (
    advice,
    book,
    case,
    changed,
    codes,
    first_book,
    found,
    less_than,
    level,
    proposed,
    regimen,
)

START = facts.Intent.START
EDGES = {
    "0": Band.FAR_BELOW,
    "2.9999": Band.FAR_BELOW,
    "3": Band.BELOW,
    "4.9999": Band.BELOW,
    "5": Band.IN_TARGET,
    "10": Band.IN_TARGET,
    "10.0001": Band.ABOVE,
    "15": Band.ABOVE,
    "15.0001": Band.FAR_ABOVE,
    "20": Band.FAR_ABOVE,
    "20.0001": Band.TOXIC,
    "400": Band.TOXIC,
}


def own(low: str, high: str, **changes: Any) -> facts.Regimen:
    return regimen(
        target_low_ng_per_ml=Decimal(low), target_high_ng_per_ml=Decimal(high), **changes
    )


@pytest.mark.parametrize(("value", "band"), EDGES.items())
def test_every_value_lies_in_one_band_in_a_book_of_either_form(value: str, band: Band) -> None:
    for rules in (book(), first_book()):
        assert band_of(Fraction(value), None, rules) is band
        assert band_of(Fraction(value), regimen(), rules) is band
    assert [row.band for row in book().level_bands if row.holds(Fraction(value))] == [band]


@pytest.mark.parametrize(
    ("code", "changes", "value", "band"),
    [
        ("BAND-FAR-BELOW", {"high_included": True}, "3", Band.FAR_BELOW),
        ("BAND-IN-TARGET", {"low_included": False}, "5", Band.BELOW),
        ("BAND-IN-TARGET", {"high_included": False}, "10", Band.ABOVE),
        ("BAND-FAR-ABOVE", {"low_included": True}, "15", Band.FAR_ABOVE),
        ("BAND-TOXIC", {"low_included": True}, "20", Band.TOXIC),
        ("BAND-TOXIC", {"low": Decimal(25)}, "24", Band.FAR_ABOVE),
        ("BAND-IN-TARGET", {"high": Decimal(8)}, "9", Band.ABOVE),
        ("BAND-IN-TARGET", {"low": Decimal(4)}, "4", Band.IN_TARGET),
    ],
)
def test_the_ends_of_the_rows_decide(
    code: str, changes: dict[str, Any], value: str, band: Band
) -> None:
    assert band_of(Fraction(value), regimen(), changed("level_bands", code, **changes)) is band


@pytest.mark.parametrize(
    ("aim", "value", "band"),
    [
        (("12", "14"), "11", Band.BELOW),
        (("12", "14"), "12", Band.IN_TARGET),
        (("12", "14"), "14", Band.IN_TARGET),
        (("12", "14"), "14.5", Band.ABOVE),
        (("12", "18"), "15.5", Band.FAR_ABOVE),
        (("1", "4"), "2", Band.FAR_BELOW),
        (("1", "4"), "4.5", Band.ABOVE),
        (("16", "18"), "15", Band.BELOW),
    ],
)
def test_a_patients_own_target_moves_the_target_bands_and_no_alarm(
    aim: tuple[str, str], value: str, band: Band
) -> None:
    assert band_of(Fraction(value), own(*aim), book()) is band
    assert target(own(*aim), book()) == (Fraction(aim[0]), Fraction(aim[1]))


def test_the_ends_of_an_own_target_are_in_or_out_as_the_books_are() -> None:
    half_open = changed("level_bands", "BAND-IN-TARGET", low_included=False)
    assert band_of(Fraction(12), own("12", "14"), half_open) is Band.BELOW
    answer = advice(case(observations=(level("5.0"),)), half_open)
    assert "TROUGH-BELOW-TARGET" in codes(answer)
    assert proposed(answer) == "CHANGE 3.5"


def test_an_alarm_says_where_it_begins_in_the_words_of_its_row() -> None:
    closed = changed("level_bands", "BAND-TOXIC", low_included=True)
    assert (
        "is at least 20 ng/mL"
        in found(advice(case(observations=(level("20"),)), closed), "TROUGH-TOXIC").message
    )
    low = case(regimen=own("2", "6"), observations=(level("3"),))
    reached = changed("level_bands", "BAND-FAR-BELOW", high_included=True)
    assert "is at most 3 ng/mL" in found(advice(low, reached), "TROUGH-ALARM").message
    below = case(regimen=own("2", "6"), observations=(level("2.5"),))
    assert "is below 3 ng/mL" in found(advice(below), "TROUGH-ALARM").message
    above = case(regimen=own("12", "18"), observations=(level("16"),))
    assert "is above 15 ng/mL" in found(advice(above), "TROUGH-ALARM").message


def test_an_alarm_on_the_other_side_of_the_own_target_is_said_beside_it() -> None:
    answer = advice(case(regimen=own("16", "18"), observations=(level("15.5"),)))
    across = found(answer, "TROUGH-ALARM-ACROSS")
    assert across.severity is Severity.WARN
    assert "is above 15 ng/mL, although the patient's own target is 16 to 18" in across.message
    assert "TROUGH-BELOW-TARGET" in codes(answer)
    low = advice(case(regimen=own("1", "2"), observations=(level("2.5"),)))
    assert {"TROUGH-ABOVE-TARGET", "TROUGH-ALARM-ACROSS"} <= codes(low)
    usual = advice(case(observations=(level("15.5"),)))
    assert "TROUGH-ALARM-ACROSS" not in codes(usual)
    first = advice(case(regimen=own("16", "18"), observations=(level("15.5"),)), first_book())
    assert "TROUGH-ALARM-ACROSS" not in codes(first)


def test_a_comparator_is_in_a_band_only_with_all_its_values() -> None:
    assert "TROUGH-VERY-LOW" in codes(advice(case(observations=(less_than("3"),))))
    assert "TROUGH-BELOW-TARGET" in codes(advice(case(observations=(less_than("4"),))))
    closed = changed("level_bands", "BAND-FAR-BELOW", high_included=True)
    at_most = level("3", comparator=facts.Comparator.AT_MOST)
    assert "TROUGH-BELOW-TARGET" in codes(advice(case(observations=(at_most,))))
    assert "TROUGH-VERY-LOW" in codes(advice(case(observations=(at_most,)), closed))


def test_an_own_target_is_told_from_the_protocols() -> None:
    said = found(advice(case(regimen=own("10", "12"))), "TARGET-OWN")
    assert said.statements == ()
    assert "own target is 10 to 12 ng/mL; the protocol's is 5 to 10 ng/mL" in said.message
    assert "TARGET-OWN" not in codes(advice(case()))
    assert "TARGET-OWN" not in codes(advice(case(regimen=own("5", "10"))))
    assert "TARGET-OWN" not in codes(advice(case(regimen=None)))


@pytest.mark.parametrize(
    ("value", "dose"),
    [("4.1", "CHANGE 3.5"), ("4.0", "CHANGE 4.5"), ("11.9", "CHANGE 2.5"), ("15.0", "CHANGE 1.5")],
)
def test_the_step_is_the_books_share_for_the_distance(value: str, dose: str) -> None:
    for rules in (book(), first_book()):
        assert proposed(advice(case(observations=(level(value),)), rules)) == dose


def test_another_share_or_another_distance_is_followed() -> None:
    low = case(observations=(level("4.0"),))
    wider = changed("dose_steps", "STEP-BELOW-EDGE", high=Decimal(2))
    wider = changed("dose_steps", "STEP-BELOW", wider, low=Decimal(2))
    assert proposed(advice(low, wider)) == "CHANGE 3.5"
    third = changed("dose_steps", "STEP-BELOW", numerator=1, denominator=3)
    answer = advice(low, third)
    assert proposed(answer) == "CHANGE 4.0"
    assert "limited to +33.33 %" in found(answer, "TROUGH-BELOW-TARGET").message


def test_a_distance_without_a_step_changes_no_dose() -> None:
    gap = changed("dose_steps", "STEP-BELOW", low=Decimal(2))
    answer = advice(case(observations=(level("3.5"),)), gap)
    assert proposed(answer) is None
    assert "no step for this distance" in found(answer, "TROUGH-BELOW-TARGET").message


def test_of_two_steps_for_one_distance_the_first_code_counts_whatever_their_order() -> None:
    twice = changed("dose_steps", "STEP-BELOW", low=Decimal(0))
    turned = replace(twice, dose_steps=twice.dose_steps[::-1])
    low = case(observations=(level("4.5"),))
    assert advice(low, twice) == advice(low, turned)


def rounding(act: str, mode: str) -> RuleBook:
    return changed("roundings", f"ROUND-{act}", mode=mode)


def test_a_start_is_rounded_as_its_row_says() -> None:
    heavy = facts.Patient(weight_kg=Decimal(70))
    start = case(intent=START, regimen=None, patient=heavy)
    assert proposed(advice(start)) == "START 5.0"
    light = case(intent=START, regimen=None, patient=facts.Patient(weight_kg=Decimal(65)))
    assert proposed(advice(light)) == "START 5.0"
    down = advice(light, rounding("START", "DOWN"))
    assert proposed(down) == "START 4.5"
    assert down.proposal is not None
    assert ", rounded down to 4.5 mg/day" in down.proposal.arithmetic


def test_a_titration_is_rounded_as_its_row_says_and_never_past_a_cap() -> None:
    high = case(observations=(level("12"),))
    assert proposed(advice(high)) == "CHANGE 2.0"
    assert proposed(advice(high, rounding("TITRATION", "DOWN"))) == "CHANGE 1.5"
    # 3.0 × 7.5/11 = 2.05, limited to 2.25: the multiple below that would pass the limit.
    edge = case(observations=(level("11"),))
    assert proposed(advice(edge, rounding("TITRATION", "DOWN"))) == "CHANGE 2.5"


def test_a_dose_is_dispensable_within_its_limits_or_it_is_none() -> None:
    step = Fraction(1, 2)
    down = RoundingRow(
        code="D", act="START", mode="DOWN", statements=(), origin=Origin.LOCAL, source="…"
    )
    near = replace(down, mode="NEAREST")
    assert doses.dispensable(Fraction("2.4"), step, down) == 2
    assert doses.dispensable(Fraction("2.4"), step, near) == Fraction(5, 2)
    assert doses.dispensable(Fraction("2.4"), step, down, lowest=Fraction("2.2")) == Fraction(5, 2)
    narrow = {"lowest": Fraction("2.1"), "highest": Fraction("2.4")}
    assert doses.dispensable(Fraction("2.2"), step, down, **narrow) is None
    assert doses.cut(Fraction(3), Fraction(1, 3), step) == 1


def test_the_first_doses_are_rows() -> None:
    start = case(intent=START, regimen=None)
    half = changed("starting_doses", "DOSE-BY-WEIGHT", low=Decimal("0.05"), high=Decimal("0.05"))
    assert proposed(advice(start, half)) == "START 3.0"
    wide = changed("starting_doses", "DOSE-FIXED", high=Decimal(5))
    assert "1 to 5 mg/day" in found(advice(start, wide), "START-FIXED").message
    assert "0.05 mg/kg/day or 1 to 3 mg/day" in found(advice(start, half), "SEL-SUMMARY").message


def without(table: str, code: str, rules: RuleBook | None = None) -> Any:
    held = getattr(rules or book(), table)
    kept = tuple(row for row in held if row.code != code)
    assert len(kept) < len(held)
    return kept


@pytest.mark.parametrize(
    ("table", "rows", "says"),
    [
        ("starting_doses", without("starting_doses", "DOSE-FIXED"), "FIXED is missing"),
        ("level_bands", without("level_bands", "BAND-TOXIC"), "TOXIC is missing"),
        ("dose_steps", book().dose_steps[:2], "ABOVE is missing"),
        ("roundings", without("roundings", "ROUND-START"), "START is missing"),
        ("dose_steps", (replace(book().dose_steps[0], numerator=0),), "above 0"),
        ("interactions", (replace(book().interactions[0], denominator=0),), "above 0"),
        ("interactions", (replace(book().interactions[0], numerator=None),), "above 0"),
    ],
)
def test_a_book_of_tables_that_lacks_what_topics_read_is_refused(
    table: str, rows: Any, says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        replace(book(), **{table: rows})


@pytest.mark.parametrize(
    ("code", "end"),
    [
        ("BAND-IN-TARGET", "low"),
        ("BAND-IN-TARGET", "high"),
        ("BAND-TOXIC", "low"),
        ("BAND-FAR-BELOW", "high"),
    ],
)
def test_a_band_that_a_level_enters_needs_the_end_at_which_it_does(code: str, end: str) -> None:
    with pytest.raises(ValueError, match=f"{code} needs its {end} end"):
        changed("level_bands", code, **{end: None})


def test_a_row_that_is_turned_off_is_missing() -> None:
    with pytest.raises(ValueError, match="BELOW is missing"):
        changed("level_bands", "BAND-BELOW", enabled=False)
    fixed = changed("dose_steps", "STEP-BELOW-EDGE", enabled=False)
    assert [row.code for row in fixed.index.steps["BELOW"]] == ["STEP-BELOW"]


@pytest.mark.parametrize(
    ("table", "rows", "says"),
    [
        ("numbers", without("numbers", "TARGET-LOW-NG-PER-ML", first_book()), "TARGET-LOW"),
        ("numbers", without("numbers", "START-FIXED-LOW-MG-PER-DAY", first_book()), "START-FIXED"),
        ("ratios", without("ratios", "STEP-LIMIT", first_book()), "STEP-LIMIT is missing"),
        ("ratios", without("ratios", "AZOLE-FRACTION", first_book()), "AZOLE-FRACTION is missing"),
        ("ratios", (replace(first_book().ratios[0], denominator=0),), "above 0"),
        (
            "drug_notes",
            (replace(first_book().drug_notes[0], change="PAUSED"),),
            "STARTED or STOPPED",
        ),
    ],
)
def test_a_book_of_the_first_form_needs_its_numbers(table: str, rows: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        replace(first_book(), **{table: rows})


def test_both_forms_say_the_same_of_the_dose() -> None:
    old, new = first_book().index, book().index
    assert old.target == new.target == (5, 10)
    assert old.limits == new.limits
    for name in ("WEIGHT", "FIXED"):
        assert (old.starting[name].low, old.starting[name].high) == (
            new.starting[name].low,
            new.starting[name].high,
        )
    assert {act: row.mode for act, row in old.roundings.items()} == {
        act: row.mode for act, row in new.roundings.items()
    }
    for side in ("BELOW", "ABOVE"):
        assert [(row.low, row.high, row.numerator, row.denominator) for row in old.steps[side]] == [
            (row.low, row.high, row.numerator, row.denominator) for row in new.steps[side]
        ]
