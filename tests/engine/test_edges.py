"""On the day itself, at the limit itself, two things at once: where one sign more would be wrong.

Written against the mutants of the engine that no case file told from the engine (`make mutation`).
"""

import time
from collections import Counter
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from dosing.rules.engine import doses, facts
from dosing.rules.engine.advice import Action, Advice, Effect, Outcome
from dosing.rules.engine.assess import assess
from dosing.rules.engine.bands import limits, reported, standing
from dosing.rules.engine.calendars import level_phase
from dosing.rules.engine.companions import sum_of
from dosing.rules.engine.facts import EventKind, RegimenStatus
from dosing.rules.engine.quantities import Comparator
from dosing.rules.engine.rows import DoseAct, DrugClass, Origin, Phase, Severity, ThresholdRow
from dosing.rules.engine.starting import weight_kg
from dosing.rules.engine.trough import Range, Side, exactly, side, values
from tests.engine.given import (
    AT,
    advice,
    book,
    case,
    changed,
    codes,
    drug,
    first_book,
    found,
    level,
    proposed,
    regimen,
)
from tests.engine.test_companions import SEVERE
from tests.engine.test_interactions import marked, said_by
from tests.engine.test_toxicity import event, seen

TODAY = AT.date()
DAY = timedelta(days=1)
YESTERDAY = TODAY - DAY


def message(code: str, **given: Any) -> str:
    return found(advice(case(**given)), code).message


def all_of(answer: Advice, code: str) -> list[str]:
    return [each.message for each in answer.findings if each.code == code]


# Levels.


@pytest.mark.parametrize(
    ("sign", "value", "where"),
    [
        ("<=", "10", Side.INSIDE),
        ("<", "10", Side.INSIDE),
        ("<", "8", Side.INSIDE),
        ("<=", "10.1", None),
        ("<", "10.1", None),
        (">=", "0", None),
        (">", "10", Side.ABOVE),
        (">=", "10", None),
    ],
)
def test_a_comparator_inside_a_target_that_begins_at_zero(
    sign: str, value: str, where: Side | None
) -> None:
    aim = regimen(target_low_ng_per_ml=Decimal(0), target_high_ng_per_ml=Decimal(10))
    assert side(level(value, comparator=Comparator(sign)), aim, book()) is where


def test_a_target_with_one_end_is_refused() -> None:
    for ends in ({"target_low_ng_per_ml": Decimal(4)}, {"target_high_ng_per_ml": Decimal(8)}):
        with pytest.raises(ValueError, match="target"):
            regimen(**ends)


def test_one_value_is_neither_below_nor_above_itself() -> None:
    five = exactly(Fraction(5))
    assert not five.below(Fraction(5))
    assert not five.above(Fraction(5))
    assert five.below(Fraction(5), or_at=True)
    assert five.above(Fraction(5), or_at=True)


def test_a_level_is_said_with_three_decimals_at_most() -> None:
    said = found(advice(case(observations=(level("12.3456"),))), "TROUGH-ABOVE-TARGET")
    assert said.message.startswith("Trough 12.346 ng/mL on 01-Mar-2026 is above")
    assert ("level_ng_per_ml", "12.346") in said.inputs


def test_a_level_drawn_with_the_dose_is_too_early_and_one_before_it_is_of_another_dose() -> None:
    since = datetime(2026, 3, 1, 8, tzinfo=AT.tzinfo)
    of_now = regimen(dose_since=since)
    assert "It changes no dose: it was drawn less than 72 h after the dose was set." in message(
        "TROUGH-ABOVE-TARGET", regimen=of_now, observations=(level("12.4", at=since),)
    )
    before = level("12.4", at=since - timedelta(minutes=1))
    assert "It changes no dose: it was drawn before the present dose was set." in message(
        "TROUGH-ABOVE-TARGET", regimen=of_now, observations=(before,)
    )
    assert "It changes no dose: it is not recorded since when this dose is taken." in message(
        "TROUGH-ABOVE-TARGET", regimen=regimen(dose_since=None), observations=(before,)
    )


def test_a_level_of_the_day_of_an_interaction_cannot_show_it_yet() -> None:
    taken = (drug("fluconazole", YESTERDAY),)
    given = {"co_medications": taken, "observations": (level("12.4"),)}
    assert "which the level cannot show yet" in message("TROUGH-ABOVE-TARGET", **given)
    assert "INT-MODERATE-HIGH" not in codes(advice(case(**given)))
    today = {"co_medications": taken, "observations": (level("12.4", at=AT),)}
    assert "INT-MODERATE-HIGH" in codes(advice(case(**today)))
    assert "cannot show yet" not in message("TROUGH-ABOVE-TARGET", **today)


def test_a_level_of_the_day_of_a_switch_cannot_show_it_yet() -> None:
    switched = regimen(switched_on=TODAY, switched_from="Prograf (IR)")
    assert "the product was changed on 02-Mar-2026, which the level cannot show yet." in message(
        "TROUGH-ABOVE-TARGET", regimen=switched, observations=(level("12.4", at=AT),)
    )
    tomorrow = regimen(switched_on=TODAY + DAY, switched_from="Prograf (IR)")
    assert "cannot show yet" not in message(
        "TROUGH-ABOVE-TARGET", regimen=tomorrow, observations=(level("12.4", at=AT),)
    )


@pytest.mark.parametrize(
    ("value", "code", "effect"),
    [
        ("12.4", "TROUGH-ABOVE-TARGET", Effect.ASKS_FOR_LESS),
        ("16", "TROUGH-VERY-HIGH", Effect.ASKS_FOR_LESS),
        ("4", "TROUGH-BELOW-TARGET", Effect.NONE),
        ("2", "TROUGH-VERY-LOW", Effect.NONE),
    ],
)
def test_a_level_above_the_target_takes_every_raise_away(
    value: str, code: str, effect: Effect
) -> None:
    assert found(advice(case(observations=(level(value),))), code).effect is effect


def test_why_a_level_changes_no_dose_is_a_sentence() -> None:
    today = level("2.0", at=AT - timedelta(hours=1), hours_since_dose=Decimal(4))
    answer = advice(case(observations=(level("12.4"), today)))
    assert found(answer, "TROUGH-ABOVE-TARGET").message.endswith(
        "It changes no dose: a newer level speaks against it."
    )
    no_step = changed("dose_steps", "STEP-ABOVE", enabled=False)
    assert found(
        advice(case(observations=(level("14"),)), no_step), "TROUGH-ABOVE-TARGET"
    ).message == (
        "Trough 14.0 ng/mL on 01-Mar-2026 is above the target of 5 to 10 ng/mL. The rule book has "
        "no step for this distance: decide the dose yourself."
    )


def test_the_sum_of_a_titration_shows_a_whole_dose_as_a_dose() -> None:
    assert "3.0 mg/day × 7.5/4.5 = 5.0, limited to +25 %" in message(
        "TROUGH-BELOW-TARGET", observations=(level("4.5"),)
    )
    four = regimen(morning_mg=Decimal(2), evening_mg=Decimal(2))
    assert "4.0 mg/day × 1.5 = 6.0" in message(
        "TROUGH-VERY-LOW", regimen=four, observations=(level("0"),)
    )


def test_a_raise_is_rounded_down_where_the_nearest_step_passes_its_limit() -> None:
    """3.5 mg/day and a quarter more are 4.375; the nearest step is 4.5, the last below it 4.0."""
    now = regimen(morning_mg=Decimal(2), evening_mg=Decimal("1.5"))
    assert proposed(advice(case(regimen=now, observations=(level("4.6"),)))) == "CHANGE 4.0"


@pytest.mark.parametrize(
    "taken",
    [
        drug("rifampin", date(2026, 1, 1), stopped_on=TODAY - 9 * DAY),  # stopped, no inhibitor
        drug("fluconazole", TODAY - 9 * DAY),  # an inhibitor, not stopped
    ],
)
def test_only_an_inhibitor_that_stopped_limits_a_raise_to_the_dose_before_it(
    taken: facts.CoMedication,
) -> None:
    now = regimen(
        morning_mg=Decimal("1.5"),
        evening_mg=Decimal(1),
        dose_before_inhibitor_mg_per_day=Decimal(3),
    )
    answer = advice(case(regimen=now, co_medications=(taken,), observations=(level("3.5"),)))
    raised = found(answer, "TROUGH-BELOW-TARGET").proposal
    assert raised is not None
    assert raised.total_daily_mg == Decimal("3.5")


# Weights, heights and the sums that come of them.


def weight(value: str, days: int) -> facts.Observation:
    return seen("weight", value, at=AT - timedelta(days=days))


def test_a_measured_weight_counts_to_the_last_day_of_its_row_beside_a_stated_one() -> None:
    for days, kg in ((28, 70), (29, 62)):
        known = weight_kg(case(observations=(weight("70", days),)), book(), AT)
        assert known is not None
        assert known[0] == kg


def test_the_sum_of_a_companion_is_of_the_newest_weight_and_height() -> None:
    by_weight = next(row for row in book().companion_regimens if row.unit == "mg/kg/d")
    by_surface = next(row for row in book().companion_regimens if row.unit == "mg/m2")
    patient = facts.Patient(weight_kg=Decimal(62), height_cm=Decimal(150))
    measured = case(
        patient=patient, observations=(weight("80", 5), seen("height", "180", at=AT - 5 * DAY))
    )
    daily = sum_of(by_weight, measured, book(), AT)
    assert daily is not None
    assert daily.kg == 80
    pulse = sum_of(by_surface, measured, book(), AT)
    assert pulse is not None
    assert pulse.m2 == 2  # √(180 × 80 / 3600)


def test_a_dose_by_weight_is_said_with_all_its_decimals() -> None:
    by_weight = next(row for row in book().companion_regimens if row.unit == "mg/kg/d")
    odd = replace(by_weight, low=Decimal("0.625"), high=Decimal("0.6251"))
    of_patient = sum_of(odd, case(patient=facts.Patient(weight_kg=Decimal("62.33"))), book(), AT)
    assert of_patient is not None
    assert of_patient.arithmetic == (
        "0.625 to 0.6251 mg/kg/day × 62.33 kg = 38.9562 to 38.9625 mg/day"
    )


# Results against their bands.


def test_the_ends_of_a_row_are_said_with_four_decimals_at_most() -> None:
    row = replace(
        book().index.thresholds["potassium"][1], low=Decimal("1.23456"), high=Decimal("2.34567")
    )
    assert limits(row) == "from 1.2346 to below 2.3457 mmol/L"


def test_a_result_is_said_with_three_decimals_at_most_and_with_its_comparator() -> None:
    exact = seen("potassium", "4.12345")
    assert reported(exact, AT) == "4.123 mmol/L on 01-Mar-2026"
    open_ended = seen("potassium", "4.98765", sign=">")
    said = found(advice(case(observations=(open_ended,))), "ELECTROLYTE-UNDECIDED")
    assert said.inputs == (("potassium", ">4.988"),)
    assert said.message.startswith("Potassium >4.988 mmol/L on 01-Mar-2026 may lie")


@pytest.mark.parametrize(
    ("sign", "included", "finding"),
    [(">=", True, ""), (">", True, "HIGH"), (">=", False, "HIGH")],
)
def test_a_row_that_holds_its_upper_end_may_hold_a_result_from_there(
    sign: str, included: bool, finding: str
) -> None:
    rows = book().index.thresholds["potassium"]
    findings = book().index.findings
    high = next(row.finding for row in rows if row.finding in findings)
    lower = replace(rows[0], low=None, high=Decimal(5), high_included=included, finding="")
    upper = replace(lower, low=Decimal(5), high=None, low_included=not included, finding=high)
    both: tuple[ThresholdRow, ...] = (lower, upper)
    place = standing(both, values(seen("potassium", "5", sign=sign)), book())
    assert place.finding == (high if finding else "")
    assert place.undecided is (not finding)
    below = standing(both, Range(Fraction(0), True, Fraction(5), included), book())
    assert below.row is lower
    assert not below.open_ended


def test_a_test_that_is_turned_off_leaves_no_day_in_the_words() -> None:
    off = replace(
        book(),
        due_tests=tuple(
            replace(row, enabled=row.enabled and not row.series.startswith(("ECG", "POTASSIUM")))
            for row in book().due_tests
        ),
    )
    qt = found(advice(case(observations=(seen("qtcf", "485"),)), off), "QT-PROLONGED").message
    assert "Repeat" not in qt
    assert qt.endswith("(consider a lower dose).")
    potassium = found(advice(case(observations=(seen("potassium", "5.6"),)), off), "POTASSIUM-HIGH")
    assert "Repeat" not in potassium.message
    gone = replace(
        book(),
        due_tests=tuple(
            replace(row, enabled=row.enabled and not row.series.startswith("CREATININE"))
            for row in book().due_tests
        ),
    )
    doubled = case(observations=(BASELINE, seen("creatinine", "2.0")))
    assert found(advice(doubled, gone), "KIDNEY-MONITOR").message == (
        "Monitor renal function closely and adjust: creatinine and potassium again."
    )


# The kidney.

BASELINE = seen("creatinine", "1.0", at=datetime(2026, 1, 5, 8, tzinfo=AT.tzinfo))


def test_a_baseline_of_exactly_one_counts() -> None:
    for value, code in (("1.5", "KIDNEY-R1"), ("2.0", "KIDNEY-R2"), ("3.0", "KIDNEY-R3")):
        answer = advice(case(observations=(BASELINE, seen("creatinine", value))))
        assert f"is {value.removesuffix('.0')} times the patient's own baseline" in (
            found(answer, code).message
        )


def test_a_ratio_is_shown_in_hundredths_rounded_down() -> None:
    assert "is 1.99 times the patient's own baseline" in message(
        "KIDNEY-R1", observations=(BASELINE, seen("creatinine", "1.998"))
    )


def test_creatinine_and_egfr_with_comparators_are_both_repeated() -> None:
    open_ended = (seen("creatinine", "1.4", sign=">"), seen("egfr", "95", sign="<"))
    answer = advice(case(observations=(BASELINE, *open_ended)))
    said = all_of(answer, "KIDNEY-UNDECIDED")
    assert [each.split()[0] for each in said] == ["Creatinine", "eGFR"]


def test_the_slow_rise_compares_from_the_first_moment_of_its_months_and_never_with_itself() -> None:
    """Twelve months before 01-Mar-2026 the first moment of that day still counts."""
    long_on = regimen(started_on=date(2024, 1, 1))
    newest = seen("creatinine", "1.4")
    for at, code in (
        (datetime(2025, 3, 1, 0, 0, tzinfo=AT.tzinfo), True),
        (datetime(2025, 2, 28, 23, 59, tzinfo=AT.tzinfo), False),
    ):
        first = seen("creatinine", "1.0", at=at)
        answer = advice(case(regimen=long_on, observations=(first, newest)))
        assert ("KIDNEY-CHRONIC" in codes(answer)) is code


def test_an_approval_with_one_number_is_refused_and_none_is_invented() -> None:
    with pytest.raises(ValueError, match="both"):
        facts.LocalApproval(row="RENAL-TARGET-R1", approved_on=TODAY, low=Decimal(5))
    row = next(row for row in book().local_targets if row.code == "RENAL-TARGET-R1")
    half = changed("local_targets", row.code, low=Decimal(4), high=None)
    given = case(
        observations=(BASELINE, seen("creatinine", "1.6")),
        local_approvals=(facts.LocalApproval(row=row.code, approved_on=TODAY),),
    )
    assert "the clinic has approved none" in found(advice(given, half), "KIDNEY-TARGET-R1").message


# Infection.


def test_every_infection_is_said_and_none_hides_another() -> None:
    serious = event(EventKind.INFECTION, 3)
    mild = event(EventKind.INFECTION, 1)
    ungraded = event(EventKind.INFECTION)
    for order in ((serious, mild, ungraded), (ungraded, mild, serious), (mild, serious, ungraded)):
        answer = advice(case(events=order))
        assert {"INFECTION-SERIOUS", "INFECTION-CURRENT", "INFECTION-UNGRADED"} <= codes(answer)
        assert proposed(answer) == "HOLD"
        assert answer.outcome is Outcome.COULD_NOT_CHECK
    zoster = (event(EventKind.HERPES_ZOSTER, 3), event(EventKind.HERPES_ZOSTER, 1))
    loose = event(EventKind.HERPES_ZOSTER)
    cmv = event(EventKind.CMV_DISEASE)
    for kinds in ((cmv, cmv, *zoster, loose), (loose, *zoster, cmv), (*zoster[::-1], loose, cmv)):
        answer = advice(case(events=kinds))
        assert codes(answer) >= {
            "INFECTION-CMV",
            "INFECTION-ZOSTER",
            "INFECTION-CURRENT",
            "INFECTION-ZOSTER-UNGRADED",
        }
        assert len(all_of(answer, "INFECTION-CMV")) == kinds.count(cmv)
        assert found(answer, "INFECTION-TO-RESUME").inputs[0][0] == "event"
        assert len(found(answer, "INFECTION-TO-RESUME").inputs) == 1


def test_every_reason_for_prophylaxis_is_said() -> None:
    answer = advice(
        case(
            patient=facts.Patient(weight_kg=Decimal(62), infection_risk=facts.InfectionRisk.HIGH),
            co_medications=(drug("cyclophosphamide", YESTERDAY),),
            events=(event(EventKind.LATENT_TUBERCULOSIS, started_on=TODAY),),
        )
    )
    assert codes(answer) >= {
        "PROPHYLAXIS-HIGH-RISK",
        "PROPHYLAXIS-PNEUMOCYSTIS",
        "PROPHYLAXIS-SPECIALIST",
    }
    tomorrow = case(events=(event(EventKind.LATENT_TUBERCULOSIS, started_on=TODAY + DAY),))
    assert "PROPHYLAXIS-SPECIALIST" not in codes(advice(tomorrow))


def test_lymphocytes_with_a_comparator_are_low_only_if_all_they_may_be_is() -> None:
    rows = book().index.thresholds["lymphocytes"]
    limit = next(row.high for row in rows if row.finding)
    assert limit is not None
    for sign, low in (("<", True), (">", False)):
        given = case(observations=(seen("lymphocytes", str(limit), sign=sign),))
        said = all_of(advice(given), "PROPHYLAXIS-PNEUMOCYSTIS")
        assert bool(said) is low


def test_a_steroid_that_stops_today_is_not_taken_today_and_an_unknown_dose_adds_nothing() -> None:
    thirty = drug("prednisone", date(2025, 12, 1), daily_dose_mg=Decimal(30))
    code = "PROPHYLAXIS-PNEUMOCYSTIS"
    assert code in codes(advice(case(co_medications=(thirty,))))
    for stopped_on, said in ((TODAY, False), (TODAY + DAY, True)):
        ends = replace(thirty, stopped_on=stopped_on)
        assert (code in codes(advice(case(co_medications=(ends,))))) is said
    nearly = replace(thirty, daily_dose_mg=Decimal("19.5"))
    unknown = drug("methylprednisolone", date(2025, 12, 1))
    assert code not in codes(advice(case(co_medications=(nearly, unknown))))


# Heart, nerves, other drugs, outcomes.


def test_an_ecg_is_asked_for_after_a_change_of_today() -> None:
    failing = event(EventKind.CONGESTIVE_HEART_FAILURE)
    ecg = seen("qtcf", "430", at=AT - 20 * DAY)
    begun = drug("ciprofloxacin", TODAY)
    quiet = case(events=(failing,), observations=(ecg,))
    changed_today = replace(quiet, co_medications=(begun,))
    before = found(advice(quiet), "QT-ECG").due_tests[0]
    after = found(advice(changed_today), "QT-ECG").due_tests[0]
    series = book().index.series["ECG-AFTER-CHANGE"][0]
    assert after.due == TODAY + timedelta(days=series.due_day)
    assert after != before


def test_two_torsades_are_said_and_both_risk_and_torsades_ask_for_levels() -> None:
    two = (
        event(EventKind.TORSADES_DE_POINTES),
        event(EventKind.TORSADES_DE_POINTES, started_on=TODAY),
    )
    answer = advice(case(events=(*two, event(EventKind.BRADYARRHYTHMIA))))
    assert len(all_of(answer, "QT-TORSADES")) == 2
    assert "(bradyarrhythmia; torsades de pointes)" in found(answer, "QT-LEVELS").message


def test_the_graver_band_is_the_later_one_and_not_the_later_name() -> None:
    """QT-WATCH comes after QT-SEVERE by its letters and before it by what it asks."""
    baseline = seen("qtcf", "430", at=datetime(2026, 1, 5, 8, tzinfo=AT.tzinfo))
    answer = advice(case(observations=(baseline, seen("qtcf", "502"))))
    assert "QT-SEVERE" in codes(answer)
    assert not codes(answer) & {"QT-WATCH", "QT-PROLONGED"}
    risen = advice(
        case(
            observations=(
                replace(baseline, value=Decimal(400), canonical=Fraction(400)),
                seen("qtcf", "465"),
            )
        )
    )
    assert "QT-SEVERE" in codes(risen)
    assert "QT-WATCH" not in codes(risen)


def test_a_course_that_begins_today_is_not_a_plan() -> None:
    begun = case(co_medications=(drug("sofosbuvir", TODAY),))
    said = found(advice(begun), "HCV-COURSE")
    assert "Its start date is not recorded" not in said.message
    assert said.due_tests


def test_without_a_result_before_the_start_the_earliest_is_the_baseline() -> None:
    long_on = regimen(started_on=date(2025, 6, 1))
    results = tuple(
        seen("fvc-percent", value, at=AT - timedelta(days=days))
        for value, days in (("60", 240), ("66", 120), ("72", 1))
    )
    said = message("OUTCOME-RESPONSE", regimen=long_on, observations=results)
    assert "FVC 60 % of predicted on 05-Jul-2025, the earliest on record, 72 % of" in said
    assert "(+20 % of the baseline)" in said


def test_a_planned_live_vaccine_is_said_with_its_day() -> None:
    planned = facts.Immunisation(
        vaccine="MMR", atc=("J07BD52",), planned_on=TODAY + DAY, route=facts.VaccineRoute.IM
    )
    assert "is planned for 03-Mar-2026:" in message(
        "LIVE-VACCINE-PLANNED", immunisations=(planned,)
    )


def test_a_held_regimen_has_no_day_for_the_next_level() -> None:
    held = regimen(status=RegimenStatus.HELD)
    answer = advice(case(regimen=held, events=(event(EventKind.BRADYARRHYTHMIA),)))
    assert found(answer, "QT-LEVELS").message.endswith("measure tacrolimus levels frequently.")


# Two of a kind: each says what it says alone, whichever comes first.

LONG_AGO = date(2025, 1, 1)
NO_REGIMEN = {"intent": facts.Intent.START, "regimen": None}
ENDED = {"stopped_on": YESTERDAY}
OTHER_DAY = {"started_on": TODAY - 5 * DAY}
LABELS = replace(
    book(),
    findings=tuple(replace(row, enabled=True) for row in book().findings),
    contraindications=tuple(replace(row, enabled=True) for row in book().contraindications),
)


def vaccine(atc: str, **days: date) -> facts.Immunisation:
    return facts.Immunisation(vaccine=atc, atc=(atc,), **days)


def taken(*drugs: facts.CoMedication, **more: Any) -> dict[str, Any]:
    return {"co_medications": drugs, **more}


def results(*of: facts.Observation) -> dict[str, Any]:
    return {"observations": of}


def events_of(*of: facts.ClinicalEvent) -> dict[str, Any]:
    return {"events": of}


@pytest.mark.parametrize(
    ("given", "silent"),
    [
        (taken(drug("rifampin", None), drug("voriconazole", None)), {"INT-SEVERAL"}),
        (
            taken(drug("rifampin", LONG_AGO, **ENDED), drug("fluconazole", LONG_AGO, **ENDED)),
            {"INT-SEVERAL"},
        ),
        (taken(drug("rifampin"), drug("fluconazole")), {"INT-SEVERAL"}),
        (
            taken(
                drug(
                    "voriconazole",
                    LONG_AGO,
                    dose_changed_on=YESTERDAY,
                    daily_dose_mg=Decimal(400),
                    daily_dose_before_mg=Decimal(200),
                ),
                drug("fluconazole", LONG_AGO),
                drug("rifampin", LONG_AGO),
                **NO_REGIMEN,
            ),
            set(),
        ),
        (taken(drug("grapefruit"), drug("aspirin"), drug("grapefruit", LONG_AGO)), set()),
        (
            taken(
                drug("grapefruit", route=facts.Route.TOPICAL),
                drug("sirolimus"),
                drug("sirolimus", LONG_AGO),
                drug("cyclosporine"),
                drug("grapefruit"),
            ),
            set(),
        ),
        (
            taken(
                facts.CoMedication(drug=facts.UNLISTED, name="Moonwort"),
                facts.CoMedication(drug=facts.UNLISTED, name="Feverfew"),
            ),
            set(),
        ),
        (taken(drug("mycophenolate mofetil"), drug("mycophenolic acid", LONG_AGO)), set()),
        (taken(drug("cannabidiol"), drug("cannabidiol", LONG_AGO)), set()),
        (
            taken(
                drug("aspirin", LONG_AGO, **ENDED),
                drug("sofosbuvir", LONG_AGO, stopped_on=TODAY - 60 * DAY),
                drug("cannabidiol", LONG_AGO, **ENDED),
                drug("sofosbuvir", LONG_AGO, **ENDED),
            ),
            set(),
        ),
        (
            taken(
                drug("spironolactone"),
                drug("lisinopril"),
                drug("losartan"),
                **results(seen("potassium", "5.6")),
            ),
            {"POTASSIUM-HIGH", "POTASSIUM-ECG"},
        ),
        (
            {
                "immunisations": (
                    vaccine("J07BB02", planned_on=TODAY + DAY),
                    vaccine("J07BD52", planned_on=TODAY + DAY),
                    vaccine("J07BD52", given_on=YESTERDAY),
                    vaccine("J07BK01", given_on=YESTERDAY),
                    vaccine("J07BL01", planned_on=TODAY + 3 * DAY),
                )
            },
            set(),
        ),
        (events_of(event(EventKind.INFECTION), event(EventKind.INFECTION, **OTHER_DAY)), set()),
        (
            events_of(
                event(EventKind.MYOCARDIAL_HYPERTROPHY),
                event(EventKind.MYOCARDIAL_HYPERTROPHY, **OTHER_DAY),
            ),
            {"HEART-ECHO"},
        ),
        (
            events_of(event(EventKind.CONGENITAL_LONG_QT), event(EventKind.HYPERSENSITIVITY)),
            set(),
        ),
        (events_of(event(EventKind.DIARRHOEA), event(EventKind.DIARRHOEA, **OTHER_DAY)), set()),
        (results(seen("neutrophils", "0.4"), seen("platelets", "20"), seen("alt", "900")), set()),
        (
            results(
                seen("neutrophils", "1.4", sign=">"),
                seen("platelets", "20", sign=">"),
                seen("systolic-bp", "120", sign=">"),
                seen("diastolic-bp", "60", sign=">"),
                seen("potassium", "3", sign=">"),
                seen("magnesium", "1", sign=">"),
            ),
            set(),
        ),
    ],
)
def test_each_of_several_says_what_it_says_alone(given: dict[str, Any], silent: set[str]) -> None:
    """Nothing that is said of one alone is lost beside the others, in any order.

    `silent`: what is said once for all of them, in words that name them together.
    """
    lists = {"co_medications", "events", "immunisations", "observations"}
    kinds = [key for key in given if key in lists]
    several = kinds[0]
    rest = {key: value for key, value in given.items() if key != several}
    quiet = spoken(rest)
    expected: Counter[tuple[str, str]] = Counter()
    for each in given[several]:
        own = spoken(rest | {several: (each,)}) - quiet
        expected += Counter({key: n for key, n in own.items() if key[0] not in silent})
    assert expected
    for order in (given[several], given[several][::-1]):
        missing = expected - spoken(rest | {several: order})
        # What is asked of a dose that is held, or is answered by another, is said in other words.
        assert not missing, missing


def spoken(given: dict[str, Any]) -> Counter[tuple[str, str]]:
    """What the topics say, by code and words; what the calendar misses is another matter."""
    said = advice(case(**given), LABELS).findings
    return Counter(
        (each.code, each.message) for each in said if not each.code.startswith("OVERDUE-")
    )


# What ships turned off still says the right thing once it is on.


def optional(code: str, **given: Any) -> Any:
    return found(advice(case(**given), LABELS), code)


def test_the_options_of_guideline_and_label_are_whole_sentences() -> None:
    maker = facts.Patient(weight_kg=Decimal(62), cyp3a5=facts.Cyp3a5.EXPRESSER)
    said = optional("START-CYP3A5", patient=maker, **NO_REGIMEN)
    assert said.message == (
        "The patient makes CYP3A5: the guideline starts with 1.5 to 2 times the usual dose, at "
        "most 0.3 mg/kg/day, and goes on by levels. It was written for transplants, not for "
        "interstitial lung disease, so no dose is proposed from it."
    )
    assert said.inputs == (("cyp3a5", "EXPRESSER"),)
    other = facts.Patient(weight_kg=Decimal(62), cyp3a5=facts.Cyp3a5.NON_EXPRESSER)
    assert optional("START-CYP3A5", patient=other, **NO_REGIMEN).message.startswith(
        "The patient makes no CYP3A5: the guideline starts with the usual dose. It was written"
    )
    rapid = facts.Diagnosis(
        ild=True, sard=facts.Sard.SSC, line=facts.Line.FIRST, rapidly_progressive=True
    )
    said = optional("SEL-RAPIDLY-PROGRESSIVE", diagnosis=rapid, **NO_REGIMEN)
    assert said.message == (
        "For rapidly progressive disease the ACR/CHEST guideline names calcineurin inhibitors "
        "among the options, whatever the rheumatic disease; the protocol makes no such exception."
    )
    assert said.inputs == (("sard", "SSC"), ("line", "FIRST"))
    nursing = facts.Patient(weight_kg=Decimal(62), lactating=True)
    assert optional("LACTATION", patient=nursing).message == (
        "The patient is breast-feeding: ask a specialist before tacrolimus is given."
    )
    assert optional("VACCINES-BEFORE-START", **NO_REGIMEN).message == (
        "Complete the immunisations that are needed before the first dose of tacrolimus."
    )


# Starting doses.


def test_a_starting_dose_at_the_guard_is_not_above_it() -> None:
    tenth = changed("starting_doses", "DOSE-BY-WEIGHT", low=Decimal("0.1"))
    for kg, above in (("100", False), ("100.1", True)):
        answer = advice(case(observations=(seen("weight", kg, at=AT),), **NO_REGIMEN), tenth)
        assert ("START-ABOVE-MAXIMUM" in codes(answer)) is above


def test_the_sums_of_a_start_have_four_decimals_at_most() -> None:
    odd = changed("starting_doses", "DOSE-BY-WEIGHT", low=Decimal("0.07123"))
    patient = facts.Patient(weight_kg=Decimal("99.99"))
    answer = advice(case(patient=patient, **NO_REGIMEN), odd)
    said = found(answer, "START-BY-WEIGHT")
    assert "0.071 mg/kg/day × 99.99 kg = 7.1223" in said.message
    assert ("computed_mg_per_day", "7.1223") in said.inputs
    assert "the weight-based dose, 7.1223 mg/day, is above" in found(answer, "START-FIXED").message
    assert "Start tacrolimus at 0.071 mg/kg/day" in found(answer, "SEL-SUMMARY").message
    without = replace(odd, strengths=())
    bare = found(advice(case(patient=patient, **NO_REGIMEN), without), "START-BY-WEIGHT")
    assert bare.inputs == said.inputs


def test_outside_the_protocol_bars_a_start() -> None:
    outside = facts.Diagnosis(ild=False, sard=facts.Sard.IIM, line=facts.Line.FIRST)
    answer = advice(case(diagnosis=outside, **NO_REGIMEN))
    assert answer.outcome is Outcome.OUTSIDE_PROTOCOL
    assert [each.code for each in answer.findings if each.effect is Effect.BARS_START] == [
        "SEL-NO-ILD"
    ]


# Interactions.


def test_an_azole_of_the_day_of_the_start_met_the_original_dose() -> None:
    begun = regimen(started_on=YESTERDAY, dose_since=AT - 2 * DAY)
    for on, cut in ((YESTERDAY, True), (YESTERDAY - DAY, False)):
        answer = advice(case(regimen=begun, co_medications=(drug("voriconazole", on),)))
        assert ("INT-AZOLE-STARTED" in codes(answer)) is cut


def test_grapefruit_is_graded_and_sourced_by_its_row() -> None:
    local = changed(
        "interactions",
        "GRAPEFRUIT-TAKEN",
        source="The clinic.",
        origin=Origin.LOCAL,
        severity=Severity.CAUTION,
        statements=("S38",),
    )
    said = found(advice(case(co_medications=(drug("grapefruit"),)), local), "INT-GRAPEFRUIT")
    assert (said.source, said.origin) == ("The clinic.", Origin.LOCAL)
    assert (said.severity, said.statements) == (Severity.CAUTION, ("S38",))


def test_a_moderate_inhibitor_with_another_act_is_followed_in_the_words_of_the_protocol() -> None:
    cut = changed(
        "interactions",
        "MODERATE-STARTED",
        act=DoseAct.REDUCE,
        source="The clinic.",
        origin=Origin.LOCAL,
    )
    said = found(advice(case(co_medications=(drug("fluconazole"),)), cut), "INT-MODERATE-STARTED")
    assert said.message.endswith("monitor the tacrolimus trough closely.")
    assert said.origin is Origin.SEED


def test_every_factor_of_a_drug_is_said() -> None:
    factors = [
        replace(row, enabled=True, drug="", factor=f"Factor {number}", action=f"Act {number}.")
        for number, row in enumerate(
            row for row in book().modifying_factors if row.interaction == "AZOLES-STARTED"
        )
    ]
    assert len(factors) > 1
    rules = replace(book(), modifying_factors=tuple(factors))
    said = found(advice(case(co_medications=(drug("voriconazole"),)), rules), "INT-AZOLE-STARTED")
    for number in range(len(factors)):
        assert f" Factor {number}: act {number}." in said.message


def test_a_trough_since_a_stop_answers_it_and_the_next_is_asked() -> None:
    stopped = drug("cannabidiol", LONG_AGO, stopped_on=TODAY - 12 * DAY)
    asked = case(co_medications=(stopped,))
    (first,) = found(advice(asked), "RECHECK-DRUG-STOPPED").due_tests
    drawn = level("7", at=datetime.combine(first.latest, AT.timetz()))
    later = found(advice(replace(asked, observations=(drawn,))), "RECHECK-DRUG-STOPPED").due_tests
    assert first not in later


def test_a_fall_of_the_steroid_of_less_than_a_milligram_is_a_fall() -> None:
    """From 5 to 4.5 mg/day since the start of tacrolimus (S82, S83)."""
    tapered = drug(
        "prednisone",
        LONG_AGO,
        daily_dose_mg=Decimal("4.5"),
        dose_changed_on=TODAY - 10 * DAY,
        daily_dose_before_mg=Decimal(5),
    )
    answer = advice(case(co_medications=(tapered,)))
    assert {"OUTCOME-STEROID-SPARING", "OUTCOME-STEROID-TOXICITY"} <= codes(answer)


def test_both_falls_of_lung_function_are_said_with_their_inputs() -> None:
    long_on = regimen(started_on=date(2025, 6, 1))
    fallen = tuple(
        seen(analyte, value, at=AT - timedelta(days=days))
        for analyte in ("fvc-percent", "dlco-percent")
        for value, days in (("80", 300), ("50", 1))
    )
    said = found(advice(case(regimen=long_on, observations=fallen)), "OUTCOME-WORSE")
    assert [name for name, _ in said.inputs] == ["fvc-percent", "dlco-percent"]
    first, second = said.message.removeprefix("Worse than before the treatment: ").split("; ")
    assert first.startswith("FVC")
    assert second.startswith("DLCO")


def test_a_mistimed_alarm_is_said_beside_the_trough_that_is_placed() -> None:
    for value, code in (("2.0", "TROUGH-VERY-LOW"), ("25", "TROUGH-TOXIC")):
        alarm = level(value, at=AT - timedelta(hours=1), hours_since_dose=Decimal(4))
        placed = level("12.4", at=AT - 2 * DAY, comparator=Comparator.MORE)
        basis = level("4", at=AT - 4 * DAY)
        answer = advice(case(observations=(alarm, placed, basis)))
        assert {code, "TROUGH-ABOVE-TARGET"} <= codes(answer)


def test_a_level_drawn_at_the_last_hour_of_its_window_needs_no_remark() -> None:
    window = book().index.windows[facts.Formulation.IR]
    for hours, remark in ((window.valid_to_h, False), (window.valid_to_h + 1, True)):
        drawn = level("7", hours_since_dose=hours)
        assert ("SAMPLE-FLAGGED" in codes(advice(case(observations=(drawn,))))) is remark


def test_an_own_target_is_said_where_only_the_books_is_missing_from_it() -> None:
    own = regimen(target_low_ng_per_ml=Decimal(8), target_high_ng_per_ml=Decimal(12))
    said = found(advice(case(regimen=own)), "TARGET-OWN")
    assert said.message.startswith("This patient's own target is 8 to 12 ng/mL; the protocol's is")
    assert said.inputs == (("target_ng_per_ml", "8 to 12 ng/mL"),)


def test_a_dose_that_cannot_be_given_twice_a_day_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match=r"^a proposal must be dispensable in two doses$"):
        doses.proposal(Action.CHANGE, Fraction(1, 2), Fraction(1, 2), "sum")


def test_months_of_the_trough_and_of_the_dose_are_their_own_numbers() -> None:
    apart = changed("numbers", "LEVEL-EARLY-MONTHS", value=Decimal(7))
    settled = regimen(
        started_on=date(2025, 6, 1), dose_since=datetime(2025, 6, 1, tzinfo=AT.tzinfo)
    )
    steady = tuple(level("7", at=AT - timedelta(days=days)) for days in (100, 110))
    answer = advice(case(regimen=settled, observations=steady), apart)
    assert "became stable less than 7 months ago" in found(answer, "OVERDUE-TROUGH-STABLE").message


def test_a_mistimed_level_between_two_troughs_breaks_no_stability() -> None:
    settled = regimen(
        started_on=date(2025, 6, 1), dose_since=datetime(2025, 6, 1, tzinfo=AT.tzinfo)
    )
    given = case(
        regimen=settled,
        observations=(
            level("7", at=AT - 10 * DAY),
            level("7", at=AT - 15 * DAY, hours_since_dose=Decimal(3)),
            level("7", at=AT - 20 * DAY),
        ),
    )
    assert level_phase(given, book(), AT) is Phase.EARLY


def test_a_label_drug_that_cannot_be_cut_is_said_by_its_row() -> None:
    least = regimen(morning_mg=Decimal("0.5"), evening_mg=Decimal("0.5"))
    answer = advice(case(regimen=least, co_medications=(drug("voriconazole"),)), marked())
    said_by(found(answer, "INT-NOT-DISPENSABLE"), "AZOLES-STARTED", leads=False)


def test_before_a_start_a_changed_azole_hides_no_other_drug() -> None:
    azole = drug(
        "voriconazole",
        LONG_AGO,
        dose_changed_on=YESTERDAY,
        daily_dose_mg=Decimal(400),
        daily_dose_before_mg=Decimal(200),
    )
    answer = advice(case(**taken(azole, drug("rifampin", LONG_AGO), **NO_REGIMEN)))
    assert {"INT-AZOLE-AT-START", "INT-INDUCER-AT-START"} <= codes(answer)


# Comparators, and results that cannot be compared.


def test_a_comparator_on_two_sides_of_a_limit_is_repeated_on_every_scale() -> None:
    late = seen("creatinine", "1.0", at=AT - 30 * timedelta(hours=1))
    within = case(observations=(BASELINE, late, seen("creatinine", "1.2", sign=">", at=AT)))
    assert "KIDNEY-UNDECIDED" in codes(advice(within))
    calcium = case(observations=(seen("calcium", "8", sign=">"), seen("albumin", "4")))
    assert "CALCIUM-UNDECIDED" in codes(advice(calcium))
    limit = next(row.high for row in book().index.thresholds["lymphocytes"] if row.finding)
    assert limit is not None
    lymphocytes = seen("lymphocytes", str(limit + 1), sign="<")
    assert not all_of(advice(case(observations=(lymphocytes,))), "PROPHYLAXIS-PNEUMOCYSTIS")
    electrolytes = (
        seen("potassium", "3.0", sign=">"),
        seen("magnesium", "0.6", "mmol/L", sign=">"),
    )
    answer = advice(case(observations=electrolytes))
    assert len(all_of(answer, "ELECTROLYTE-UNDECIDED")) == 2
    pressures = (seen("systolic-bp", "120", sign=">"), seen("diastolic-bp", "115"))
    both = codes(advice(case(observations=pressures)))
    assert "PRESSURE-UNDECIDED" in both
    assert both & {"PRESSURE-HIGH", "PRESSURE-VERY-HIGH", "PRESSURE-URGENT"}


def test_a_ratio_of_one_and_three_quarters_is_shown_as_that() -> None:
    assert "is 1.75 times the patient's own baseline" in message(
        "KIDNEY-R1", observations=(BASELINE, seen("creatinine", "1.75"))
    )


def test_a_change_from_nothing_has_no_percentage() -> None:
    long_on = regimen(started_on=date(2025, 6, 1))
    scores = tuple(
        seen("quality-of-life", value, at=AT - timedelta(days=days))
        for value, days in (("0", 300), ("12", 1))
    )
    said = message("OUTCOME-RESPONSE", regimen=long_on, observations=scores)
    assert "12 points on 01-Mar-2026;" in said or "12 points on 01-Mar-2026." in said


# A finding or a row that is off hides no other.


def test_a_calendar_whose_finding_is_off_leaves_the_others() -> None:
    first, *others = book().index.schedules
    off = changed("findings", first, enabled=False)
    late = codes(advice(case(), off))
    assert first not in late
    assert late & set(others)


def test_a_contraindication_whose_finding_is_off_leaves_the_others() -> None:
    first = next(iter(LABELS.index.contraindications.values()))
    off = replace(
        LABELS,
        findings=tuple(replace(row, enabled=row.code != first.finding) for row in LABELS.findings),
    )
    rows = LABELS.index.contraindications.values()
    several = case(
        **taken(*(drug(row.name) for row in rows if row.kind == "DRUG")),
        **events_of(*(event(EventKind(row.name)) for row in rows if row.kind == "EVENT")),
    )
    said = {row.finding for row in rows}
    assert codes(advice(several, LABELS)) >= said
    assert codes(advice(several, off)) >= said - {first.finding}


def test_each_contraindicated_drug_of_the_first_book_is_said() -> None:
    rules = changed(
        "drug_classes", "CLASS-CYCLOSPORINE", first_book(), seed_class=DrugClass.CONTRAINDICATED
    )
    both = case(co_medications=(drug("sirolimus"), drug("cyclosporine")))
    assert len(all_of(advice(both, rules), "CONTRAINDICATED-DRUG")) == 2


def test_an_unlisted_drug_counts_until_the_day_on_which_it_stopped() -> None:
    herb = facts.CoMedication(drug=facts.UNLISTED, name="Moonwort", started_on=LONG_AGO)
    for stopped_on, said in ((TODAY, False), (TODAY + DAY, True)):
        ends = replace(herb, stopped_on=stopped_on)
        assert ("DRUG-NOT-CHECKED" in codes(advice(case(**taken(ends))))) is said


def test_two_drugs_of_one_kind_are_both_said_beside_a_high_potassium() -> None:
    two = case(
        **taken(drug("lisinopril"), drug("enalapril"), drug("losartan")),
        **results(seen("potassium", "5.6")),
    )
    assert len(all_of(advice(two), "POTASSIUM-DRUG-HIGH")) == 3


# Levels and days, once more.


def test_a_level_of_the_first_moment_of_the_course_belongs_to_it() -> None:
    begun = regimen(started_on=TODAY - 5 * DAY, dose_since=None)
    midnight = datetime(2026, 2, 25, tzinfo=AT.tzinfo)
    for at, code in ((midnight, True), (midnight - timedelta(seconds=1), False)):
        answer = advice(case(regimen=begun, observations=(level("25", at=at),)))
        assert ("TROUGH-TOXIC" in codes(answer)) is code


def test_a_toxic_level_speaks_against_a_raise_from_an_older_one() -> None:
    toxic = level("25", at=AT - timedelta(hours=1), hours_since_dose=Decimal(4))
    answer = advice(case(observations=(toxic, level("4", at=AT - 2 * DAY))))
    below = found(answer, "TROUGH-BELOW-TARGET")
    assert below.proposal is None
    assert below.message.endswith("It changes no dose: a newer level speaks against it.")
    assert proposed(answer) == "HOLD"


def test_a_steroid_is_compared_with_the_day_before_each_change() -> None:
    """40 mg until three days ago, then 38, and 20 since yesterday: from 38 to 20."""
    first = drug("prednisone", LONG_AGO, stopped_on=TODAY - 2 * DAY, daily_dose_mg=Decimal(40))
    second = drug(
        "prednisone",
        TODAY - 2 * DAY,
        daily_dose_mg=Decimal(20),
        dose_changed_on=YESTERDAY,
        daily_dose_before_mg=Decimal(38),
    )
    said = found(advice(case(co_medications=(first, second))), "RECHECK-STEROID-CHANGED")
    assert "from 38 to 20 mg/day in prednisone-equivalents" in said.message


@pytest.mark.parametrize("zone", ["Etc/GMT+12", "Pacific/Kiritimati"])
def test_the_days_in_words_are_those_of_the_moments_offset(
    zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What no case file measures near midnight: a height, an outcome, a steady trough."""
    settled = regimen(
        started_on=date(2025, 6, 1), dose_since=datetime(2025, 6, 1, tzinfo=AT.tzinfo)
    )
    morning, night = timedelta(hours=1), timedelta(hours=-14)
    given = [
        case(
            intent=facts.Intent.START,
            regimen=None,
            diagnosis=SEVERE,
            observations=(
                seen("height", "180", at=AT - DAY - near),
                seen("weight", "80", at=AT - DAY - near),
            ),
        )
        for near in (morning, night)
    ] + [
        case(
            regimen=settled,
            co_medications=(drug("fluconazole", TODAY - 3 * DAY),),
            observations=(
                seen("fvc-percent", "60", at=AT - 300 * DAY - near),
                seen("fvc-percent", "70", at=AT - 98 * DAY - near),
                level("12", at=AT - 3 * DAY - near),
                level("7", at=AT - 120 * DAY - near),
                level("7", at=AT - 127 * DAY - near),
            ),
        )
        for near in (morning, night)
    ]
    # A result of the first day that answers the test after six months, and one of the day before.
    second = next(row for row in book().due_tests if row.code == "RESPONSE-FVC-2")
    first_day = datetime(2025, 6, 1, tzinfo=AT.tzinfo) + second.earliest_day * DAY
    for drawn in (first_day + timedelta(hours=8), first_day - timedelta(hours=1)):
        answered = case(regimen=settled, observations=(seen("fvc-percent", "70", at=drawn),))
        given.append(answered)
    # Seven days by the calendar here, six by that of the other side of the date line.
    late, early = AT - 127 * DAY + timedelta(hours=14), AT - 120 * DAY - timedelta(hours=1)
    weekly = case(regimen=settled, observations=(level("7", at=late), level("7", at=early)))
    assert level_phase(weekly, book(), AT) is not Phase.TITRATION
    given.append(weekly)
    at_home = [(advice(each), level_phase(each, book(), AT)) for each in given]
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("TZ", zone)
        time.tzset()
        try:
            abroad = [
                (assess(replace(each), book(), at=AT), level_phase(each, book(), AT))
                for each in given
            ]
        finally:
            elsewhere.undo()
            time.tzset()
    assert abroad == at_home


def test_before_the_first_dose_a_changed_azole_hides_no_other_drug() -> None:
    """The azole's change says nothing before tacrolimus; what comes after it in the list does."""
    changed_azole = drug(
        "voriconazole",
        LONG_AGO,
        daily_dose_mg=Decimal(400),
        dose_changed_on=YESTERDAY,
        daily_dose_before_mg=Decimal(200),
    )
    for others in (
        (changed_azole, drug("rifampin", TODAY)),
        (drug("rifampin", TODAY), changed_azole),
    ):
        answer = advice(case(co_medications=others, **NO_REGIMEN))
        said = " ".join(each.message for each in answer.findings)
        assert "ifampin" in said
        assert "oriconazole" in said


def test_each_step_of_cyclophosphamide_is_said() -> None:
    steps = book().index.companions["CYC"]
    more = replace(steps[-1], code="CYC-MORE", step=steps[-1].step + 1, low=Decimal(1))
    rules = replace(book(), companion_regimens=(*book().companion_regimens, more))
    answer = advice(case(diagnosis=SEVERE, **NO_REGIMEN), rules)
    assert len(all_of(answer, "COMPANION-CYCLOPHOSPHAMIDE")) == len(steps) + 1
