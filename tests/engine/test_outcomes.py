"""Expected outcomes beside the patient's own: S80-S84, D29."""

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from dosing.rules.engine import facts
from dosing.rules.engine.advice import Advice, DueTest, Finding
from dosing.rules.engine.facts import Comparator, Intent, Route, Sard
from dosing.rules.engine.quantities import months_after
from dosing.rules.engine.rows import Severity
from dosing.rules.engine.rulebook import RuleBook
from tests.engine.given import AT, advice, book, case, codes, drug, first_book, regimen
from tests.engine.test_advice import changed

TODAY = AT.date()
BEGUN = date(2025, 7, 2)  # eight months
BEFORE, LATER = date(2025, 6, 20), date(2026, 2, 20)
NOT_MYOSITIS = facts.Diagnosis(ild=True, sard=Sard.SSC, line=facts.Line.PROGRESSION)


def result(analyte: str, value: str, on: date, **changes: Any) -> facts.Observation:
    given = {
        "analyte": analyte,
        "value": Decimal(value),
        "unit": "%",
        "canonical": Fraction(value),
        "at": AT - (TODAY - on),
    }
    return facts.Observation(**(given | changes))


def treated(begun: date | None = BEGUN, **changes: Any) -> facts.CaseFacts:
    return case(**({"regimen": regimen(started_on=begun)} | changes))


def pair(analyte: str, before: str, later: str) -> tuple[facts.Observation, ...]:
    return result(analyte, before, BEFORE), result(analyte, later, LATER)


def said(answer: Advice, code: str) -> Finding:
    (found,) = [each for each in answer.findings if each.code == code]
    return found


def without(table: str, code: str) -> RuleBook:
    return changed(table, code, enabled=False)


def test_the_response_is_the_patients_own() -> None:
    given = treated(
        observations=(
            *pair("fvc-percent", "62", "68"),
            *pair("dlco-percent", "48", "45.6"),
            *pair("six-minute-walk", "380", "380"),
        )
    )
    found = said(advice(given), "OUTCOME-RESPONSE")
    assert found.message == (
        "Month 8 of tacrolimus: gains in FVC, DLCO, exercise capacity and quality of life can be "
        "expected within 6 to 12 months. FVC 62 % of predicted on 20-Jun-2025, 68 % of predicted "
        "on 20-Feb-2026 (+9.7 % of the baseline); DLCO 48 % of predicted on 20-Jun-2025, 45.6 % of "
        "predicted on 20-Feb-2026 (−5 % of the baseline); six-minute walk 380 m on 20-Jun-2025, "
        "380 m on 20-Feb-2026 (+0 % of the baseline); quality of life: no two results to compare."
    )
    assert dict(found.inputs) == {"started_on": "2025-07-02", "months": "8"}
    assert found.severity is Severity.INFO


def test_the_baseline_is_the_newest_before_the_start_else_the_earliest() -> None:
    several = (
        result("fvc-percent", "80", date(2025, 1, 1)),
        result("fvc-percent", "62", BEGUN),
        result("fvc-percent", "66", date(2025, 12, 1)),
        result("fvc-percent", "70", LATER),
    )
    message = said(advice(treated(observations=several)), "OUTCOME-RESPONSE").message
    assert "FVC 62 % of predicted on 02-Jul-2025, 70 % of predicted on 20-Feb-2026" in message
    late = said(advice(treated(observations=several[2:])), "OUTCOME-RESPONSE").message
    assert (
        "FVC 66 % of predicted on 01-Dec-2025, the earliest on record, 70 % of predicted on "
        "20-Feb-2026 (+6.1 % of the baseline)"
    ) in late
    old = said(advice(treated(observations=several[:2])), "OUTCOME-RESPONSE").message
    assert "FVC: no two results to compare" in old
    one = said(advice(treated(observations=several[3:])), "OUTCOME-RESPONSE").message
    assert "FVC: no two results to compare" in one


def test_a_comparator_or_a_baseline_of_0_is_not_computed_with() -> None:
    open_ended = (
        result("fvc-percent", "62", BEFORE),
        result("fvc-percent", "40", LATER, comparator=Comparator.LESS),
    )
    answer = advice(treated(observations=open_ended))
    assert "FVC: no two results to compare" in said(answer, "OUTCOME-RESPONSE").message
    assert "OUTCOME-WORSE" not in codes(answer)
    zero = advice(treated(observations=pair("fvc-percent", "0", "60")))
    assert said(zero, "OUTCOME-RESPONSE").message.count("% of the baseline") == 0
    assert "OUTCOME-WORSE" not in codes(zero)


@pytest.mark.parametrize(
    ("begun", "fires"),
    [
        (date(2025, 9, 2), True),
        (date(2025, 9, 3), False),
        (date(2015, 9, 3), True),
        (None, False),
    ],
)
def test_it_is_said_from_the_first_month_on_in_which_it_can_be_expected(
    begun: date | None, fires: bool
) -> None:
    assert ("OUTCOME-RESPONSE" in codes(advice(treated(begun)))) is fires
    assert ("OUTCOME-DURATION" in codes(advice(treated(begun)))) is fires


def test_only_at_a_review_of_the_protocols_patients() -> None:
    steroid = (drug("prednisone", BEFORE, daily_dose_mg=Decimal(10)),)
    given = treated(co_medications=steroid, observations=pair("fvc-percent", "62", "40"))
    every = {
        "OUTCOME-RESPONSE",
        "OUTCOME-WORSE",
        "OUTCOME-SURVIVAL",
        "OUTCOME-STEROID-SPARING",
        "OUTCOME-DURATION",
    }
    assert codes(advice(given)) >= every
    for none in (
        replace(given, intent=Intent.START),
        replace(given, regimen=None),
        replace(given, diagnosis=facts.Diagnosis(ild=True)),
    ):
        assert not [code for code in codes(advice(none)) if code.startswith("OUTCOME")]
        assert not [test for test in advice(none).due_tests if test.analyte == "fvc-percent"]
    other = replace(given, diagnosis=NOT_MYOSITIS)
    assert {code for code in codes(advice(other)) if code.startswith("OUTCOME")} == {
        "OUTCOME-WORSE",
        "OUTCOME-STEROID-SPARING",
        "OUTCOME-DURATION",
    }
    assert not [test for test in advice(other).due_tests if test.analyte == "fvc-percent"]
    assert not [c for c in codes(advice(given, first_book())) if c.startswith("OUTCOME")]


def test_without_its_row_or_window_nothing_is_said() -> None:
    assert "OUTCOME-RESPONSE" not in codes(
        advice(treated(), without("outcomes", "RESPONSE-WINDOW"))
    )
    for open_end in ({"from_month": None}, {"to_month": None}):
        rows = changed("outcomes", "RESPONSE-WINDOW", **open_end)
        assert "OUTCOME-RESPONSE" not in codes(advice(treated(), rows))
    gone = without("outcomes", "TREATMENT-DURATION")
    assert "OUTCOME-DURATION" not in codes(advice(treated(), gone))
    unbounded = changed("outcomes", "TREATMENT-DURATION", from_month=None)
    assert "OUTCOME-DURATION" not in codes(advice(treated(), unbounded))


def asked_days(given: facts.CaseFacts, analyte: str) -> list[tuple[date, date, date]]:
    asked: list[DueTest] = [test for test in advice(given).due_tests if test.analyte == analyte]
    return [(test.earliest, test.due, test.latest) for test in asked]


def test_fvc_and_dlco_are_due_at_3_6_and_12_months() -> None:
    begun = TODAY - timedelta(days=10)
    given = treated(begun)

    def window(*days: int) -> list[tuple[date, ...]]:
        return [tuple(begun + timedelta(days=each) for each in days)]

    assert asked_days(given, "fvc-percent") == window(77, 91, 105)
    assert asked_days(given, "dlco-percent") == window(77, 91, 105)
    assert not asked_days(given, "six-minute-walk")
    long_ago = TODAY - timedelta(days=400)
    started = treated(long_ago)
    done = replace(started, observations=(result("fvc-percent", "60", long_ago + timedelta(77)),))
    assert asked_days(done, "fvc-percent")[0][1] == long_ago + timedelta(days=182)
    assert asked_days(done, "dlco-percent")[0][1] == long_ago + timedelta(days=91)
    all_done = replace(started, observations=(result("fvc-percent", "60", TODAY),))
    assert not asked_days(all_done, "fvc-percent")
    statements = {t.statements for t in advice(given).due_tests if t.analyte == "fvc-percent"}
    assert statements == {("S80",)}


@pytest.mark.parametrize(
    ("analyte", "later", "flagged"),
    [
        ("fvc-percent", "45", True),  # 10 % of 50 exactly
        ("fvc-percent", "45.01", False),
        ("fvc-percent", "55", False),
        ("dlco-percent", "42.5", True),  # 15 % of 50 exactly
        ("dlco-percent", "42.51", False),
        ("six-minute-walk", "10", False),
    ],
)
def test_a_fall_is_flagged_from_the_limit_on(analyte: str, later: str, flagged: bool) -> None:
    answer = advice(treated(TODAY - timedelta(days=40), observations=(
        result(analyte, "50", TODAY - timedelta(days=50)), result(analyte, later, TODAY),
    )))  # fmt: skip
    assert ("OUTCOME-WORSE" in codes(answer)) is flagged


def test_two_falls_are_refractory_and_one_needs_a_second_sign() -> None:
    fvc, dlco = pair("fvc-percent", "62", "50"), pair("dlco-percent", "48", "40")
    one = said(advice(treated(observations=fvc)), "OUTCOME-WORSE")
    assert one.message == (
        "Worse than before the treatment: FVC 62 % of predicted on 20-Jun-2025, 50 % of predicted "
        "on 20-Feb-2026 (−19.4 % of the baseline), a fall of 10 % or more. Together with a second "
        "sign, such as symptoms, it meets the definition of refractory disease."
    )
    assert one.inputs == (("fvc-percent", "−19.4 %"),)
    assert one.severity is Severity.CAUTION
    both = said(advice(treated(observations=fvc + dlco)), "OUTCOME-WORSE")
    assert "DLCO 48 % of predicted" in both.message
    assert "a fall of 15 % or more" in both.message
    assert both.message.endswith(
        "Two signs of worsening together meet the definition of refractory disease."
    )
    off = without("numbers", "FVC-WORSE-PERCENT")
    assert "OUTCOME-WORSE" not in codes(advice(treated(observations=fvc), off))


def test_the_figure_of_the_trial_has_its_interval_and_its_n() -> None:
    steroid = (drug("prednisone", BEFORE),)
    given = treated(co_medications=steroid)
    assert said(advice(given), "OUTCOME-SURVIVAL").message == (
        "With tacrolimus and a corticosteroid 88 % were alive at 52 weeks in the trial in "
        "polymyositis and dermatomyositis, 95 % confidence interval 67.3 to 96.0 %, n = 26. The "
        "trial had no valid control arm."
    )
    assert "OUTCOME-SURVIVAL" not in codes(advice(treated()))
    assert "OUTCOME-SURVIVAL" not in codes(advice(given, without("outcomes", "SURVIVAL-52-WEEKS")))
    bare = changed("outcomes", "SURVIVAL-52-WEEKS", value=None, low=None, high=None, patients=None)
    assert said(advice(given, bare), "OUTCOME-SURVIVAL").message == (
        "With tacrolimus and a corticosteroid were alive at 52 weeks in the trial in polymyositis "
        "and dermatomyositis, 95 % confidence interval. The trial had no valid control arm."
    )


def sparing(*taken: facts.CoMedication, begun: date = BEGUN) -> Advice:
    return advice(treated(begun, co_medications=taken))


def pred(dose: int | None, started: date, stopped: date | None = None, **more: Any) -> Any:
    mg = None if dose is None else Decimal(dose)
    return drug("prednisone", started, stopped_on=stopped, daily_dose_mg=mg, **more)


def test_the_fall_of_the_corticosteroid_is_counted_in_prednisone() -> None:
    answer = sparing(pred(40, BEFORE, LATER), pred(10, LATER))
    found = said(answer, "OUTCOME-STEROID-SPARING")
    assert found.message == (
        "Tacrolimus lets the corticosteroid fall, by 20 mg/day or more on average, and some "
        "patients stop it. Here: 40 mg/day on 02-Jul-2025, 10 mg/day now (40 − 10 = 30 mg/day, as "
        "prednisone)."
    )
    assert dict(found.inputs) == {"at_start_mg_per_day": "40", "now_mg_per_day": "10"}
    assert said(answer, "OUTCOME-STEROID-TOXICITY").inputs == found.inputs
    methyl = drug("methylprednisolone", BEFORE, stopped_on=LATER, daily_dose_mg=Decimal(16))
    assert dict(said(sparing(methyl), "OUTCOME-STEROID-SPARING").inputs) == {
        "at_start_mg_per_day": "20",
        "now_mg_per_day": "0",
    }


def test_a_changed_dose_was_the_one_before_it() -> None:
    changed_dose = pred(15, BEFORE, dose_changed_on=LATER, daily_dose_before_mg=Decimal(40))
    found = said(sparing(changed_dose), "OUTCOME-STEROID-SPARING")
    assert dict(found.inputs) == {"at_start_mg_per_day": "40", "now_mg_per_day": "15"}
    on_the_day = pred(15, BEFORE, dose_changed_on=BEGUN, daily_dose_before_mg=Decimal(40))
    assert dict(said(sparing(on_the_day), "OUTCOME-STEROID-SPARING").inputs) == {
        "at_start_mg_per_day": "15",
        "now_mg_per_day": "15",
    }


def test_of_a_taper_in_steps_the_first_dose_is_the_one_at_the_start() -> None:
    steps = pred(
        5,
        BEFORE,
        dose_changed_on=LATER,
        daily_dose_before_mg=Decimal(10),
        earlier_doses=(
            facts.EarlierDose(until=BEGUN + timedelta(days=30), daily_dose_mg=Decimal(40)),
            facts.EarlierDose(until=BEGUN + timedelta(days=60), daily_dose_mg=Decimal(20)),
        ),
    )
    found = said(sparing(steps), "OUTCOME-STEROID-SPARING")
    assert dict(found.inputs) == {"at_start_mg_per_day": "40", "now_mg_per_day": "5"}


def test_the_days_of_start_and_stop_are_sharp() -> None:
    def at_start(taken: facts.CoMedication) -> str:
        answer = sparing(taken, pred(60, BEFORE, date(2026, 1, 1)))
        return dict(said(answer, "OUTCOME-STEROID-SPARING").inputs)["at_start_mg_per_day"]

    assert at_start(pred(5, BEGUN)) == "65"
    assert at_start(pred(5, BEGUN + timedelta(days=1))) == "60"
    assert at_start(pred(5, BEFORE, BEGUN)) == "60"
    assert at_start(pred(5, BEFORE, BEGUN + timedelta(days=1))) == "65"


def test_infusions_plans_and_other_routes_are_left_out() -> None:
    pulse = drug(
        "methylprednisolone", BEFORE, stopped_on=BEGUN + timedelta(days=3), route=Route.IV,
        daily_dose_mg=Decimal(1000),
    )  # fmt: skip
    planned = pred(20, BEFORE, planned=True)
    oral = pred(40, BEFORE, LATER, route=Route.ORAL)
    found = said(sparing(pulse, planned, oral), "OUTCOME-STEROID-SPARING")
    assert dict(found.inputs) == {"at_start_mg_per_day": "40", "now_mg_per_day": "0"}


def test_a_dose_that_is_not_known_is_not_guessed() -> None:
    for unknown in (pred(None, BEFORE), drug("prednisone", None, daily_dose_mg=Decimal(5))):
        answer = sparing(pred(40, BEFORE, LATER), unknown)
        found = said(answer, "OUTCOME-STEROID-SPARING")
        assert found.message.endswith("The patient's own doses are not all recorded.")
        assert dict(found.inputs)["at_start_mg_per_day"] == "not known"
        assert "OUTCOME-STEROID-TOXICITY" not in codes(answer)
    now_unknown = sparing(pred(40, BEFORE, LATER), pred(None, LATER))
    assert dict(said(now_unknown, "OUTCOME-STEROID-SPARING").inputs) == {
        "at_start_mg_per_day": "40",
        "now_mg_per_day": "not known",
    }
    factors = tuple(replace(row, factor=None) for row in book().drug_groups)
    no_factor = advice(
        treated(co_medications=(pred(40, BEFORE),)), replace(book(), drug_groups=factors)
    )
    assert "not all recorded" in said(no_factor, "OUTCOME-STEROID-SPARING").message


def test_it_is_said_once_the_dose_has_fallen_or_a_response_can_be_expected() -> None:
    young = TODAY - timedelta(days=60)
    fallen = sparing(pred(40, BEFORE, LATER), pred(35, LATER), begun=young)
    assert codes(fallen) >= {"OUTCOME-STEROID-SPARING", "OUTCOME-STEROID-TOXICITY"}
    same = sparing(pred(40, BEFORE), begun=young)
    assert not codes(same) & {"OUTCOME-STEROID-SPARING", "OUTCOME-STEROID-TOXICITY"}
    risen = sparing(pred(40, BEFORE, LATER), pred(45, LATER))
    assert "OUTCOME-STEROID-SPARING" in codes(risen)
    assert "OUTCOME-STEROID-TOXICITY" not in codes(risen)
    assert "OUTCOME-STEROID-SPARING" not in codes(sparing())
    six = months_after(TODAY, -6)
    assert "OUTCOME-STEROID-SPARING" in codes(sparing(pred(40, BEFORE), begun=six))
    five = six + timedelta(days=1)
    assert "OUTCOME-STEROID-SPARING" not in codes(sparing(pred(40, BEFORE), begun=five))


def test_without_the_rows_of_the_book_it_is_silent_or_waits_for_a_fall() -> None:
    given = treated(co_medications=(pred(40, BEFORE),))
    for off in (
        without("outcomes", "STEROID-FALL"),
        changed("outcomes", "STEROID-FALL", value=None),
        without("outcomes", "RESPONSE-WINDOW"),
        changed("outcomes", "RESPONSE-WINDOW", from_month=None),
    ):
        assert "OUTCOME-STEROID-SPARING" not in codes(advice(given, off))


def test_the_duration_is_said_with_its_doubt() -> None:
    found = said(advice(treated()), "OUTCOME-DURATION")
    assert found.message == (
        "Month 8 of tacrolimus. Treatment in studies lasted 6 to 110 months, 39 on average: long "
        "treatment is often needed and well tolerated. The source of these figures is not "
        "identified."
    )
    assert dict(found.inputs) == {"started_on": "2025-07-02", "months": "8"}
    bare = changed("outcomes", "TREATMENT-DURATION", value=None)
    assert "6 to 110 months: long" in said(advice(treated(), bare), "OUTCOME-DURATION").message
