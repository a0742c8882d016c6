"""The calendar of tests: phases, conditions, windows, and what is said of a late one."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from dosing.rules.engine import facts
from dosing.rules.engine.advice import Advice, DueTest, Finding
from dosing.rules.engine.calendars import dose_phase, level_phase
from dosing.rules.engine.facts import EventKind, RegimenStatus, Route
from dosing.rules.engine.quantities import months_after, whole_months
from dosing.rules.engine.rows import Condition, Phase
from dosing.rules.engine.rulebook import RuleBook
from tests.engine.given import AT, advice, book, case, codes, drug, first_book, level, regimen
from tests.engine.test_advice import changed

TODAY = AT.date()


def ago(days: int) -> datetime:
    return AT - timedelta(days=days)


# In the canonical units, so that no result is a finding of another topic.
NORMAL = {"potassium": "4.2", "magnesium": "0.8", "creatinine": "80", "egfr": "90"}


def result(analyte: str, days: int, value: str = "", **changes: Any) -> facts.Observation:
    value = value or NORMAL.get(analyte, "5")
    given = {
        "analyte": analyte,
        "value": Decimal(value),
        "unit": "1",
        "canonical": Fraction(value),
        "at": ago(days),
    }
    return facts.Observation(**(given | changes))


def started(days: int, **changes: Any) -> facts.Regimen:
    """A regimen whose dose has not changed since its start, so many days ago."""
    return regimen(**({"started_on": ago(days).date(), "dose_since": ago(days)} | changes))


def due(answer: Advice, analyte: str) -> list[DueTest]:
    """The tests of the calendar, without those that a finding of another topic asks for."""
    calendar = {"S25", "S26", "S29", "S30", "S31", "S32", "S33", "S34", "S35"}
    return [
        test
        for test in answer.due_tests
        if test.analyte == analyte and set(test.statements) <= calendar
    ]


def said(answer: Advice, code: str) -> Finding:
    (found,) = [each for each in answer.findings if each.code == code]
    return found


def without(table: str, code: str) -> RuleBook:
    return changed(table, code, enabled=False)


@pytest.mark.parametrize(
    ("on", "months", "expected"),
    [
        (date(2026, 1, 31), 1, date(2026, 2, 28)),
        (date(2024, 1, 31), 1, date(2024, 2, 29)),
        (date(2026, 11, 30), 3, date(2027, 2, 28)),
        (date(2026, 3, 15), 0, date(2026, 3, 15)),
        (date(2026, 12, 1), 1, date(2027, 1, 1)),
    ],
)
def test_a_month_later_is_the_same_day_or_the_last(on: date, months: int, expected: date) -> None:
    assert months_after(on, months) == expected


@pytest.mark.parametrize(
    ("begun", "today", "expected"),
    [
        (date(2025, 9, 2), date(2026, 3, 2), 6),
        (date(2025, 9, 3), date(2026, 3, 2), 5),
        (date(2026, 1, 31), date(2026, 2, 28), 1),
        (date(2026, 1, 31), date(2026, 2, 27), 0),
        (date(2026, 5, 1), date(2026, 3, 2), 0),
    ],
)
def test_months_are_counted_on_the_calendar(begun: date, today: date, expected: int) -> None:
    assert whole_months(begun, today) == expected


def test_a_book_of_the_first_form_has_no_calendar() -> None:
    assert advice(case(regimen=started(200)), first_book()).due_tests == tuple(
        test for found in advice(case(regimen=started(200)), first_book()).findings
        for test in found.due_tests
    )  # fmt: skip


def test_a_start_has_no_calendar() -> None:
    before = case(intent=facts.Intent.START, regimen=None)
    assert "OVERDUE-RENAL" not in codes(advice(before))
    assert not due(advice(before), "hba1c")
    assert not due(advice(case(intent=facts.Intent.START)), "hba1c")
    assert not due(advice(case(regimen=None)), "hba1c")


def test_a_test_may_be_done_as_early_as_it_may_be_late() -> None:
    (test,) = due(advice(case(observations=(result("creatinine", 5),))), "creatinine")
    assert test == DueTest(
        analyte="creatinine",
        earliest=ago(5).date() + timedelta(days=11),
        due=ago(5).date() + timedelta(days=14),
        latest=ago(5).date() + timedelta(days=17),
        statements=("S30",),
    )


def test_what_is_late_is_named_with_its_days_and_keeps_its_date() -> None:
    given = case(
        regimen=started(30),
        observations=(
            result("creatinine", 20),
            result("bun", 40),
            result("potassium", 20),
            result("magnesium", 20),
        ),
    )
    answer = advice(given)
    renal = said(answer, "OVERDUE-RENAL")
    assert renal.message == (
        "Overdue: urea nitrogen (BUN), due on 14-Feb-2026 (every 14 days from 31-Jan-2026; last on "
        "21-Jan-2026); creatinine, due on 24-Feb-2026 (every 14 days; last on 10-Feb-2026). The "
        "dose has not been stable for long."
    )
    assert dict(renal.inputs) == {
        "phase": "TITRATION",
        "bun": "last 2026-01-21, due 2026-02-14, latest 2026-02-17",
        "creatinine": "last 2026-02-10, due 2026-02-24, latest 2026-02-27",
    }
    assert [(test.analyte, test.due) for test in renal.due_tests] == [
        ("bun", date(2026, 2, 14)),
        ("creatinine", date(2026, 2, 24)),
    ]
    both = said(answer, "OVERDUE-ELECTROLYTES").message
    assert both.startswith("Overdue: magnesium, potassium, due on 24-Feb-2026 (every 14 days;")
    cbc = said(answer, "OVERDUE-CBC").message
    assert "due on 14-Feb-2026 (every 14 days from 31-Jan-2026; no result)" in cbc


def test_a_late_test_is_asked_for_once() -> None:
    answer = advice(case(regimen=started(30), observations=(result("creatinine", 20),)))
    assert len(due(answer, "creatinine")) == len(due(answer, "potassium")) == 1


def test_the_phase_is_said_with_its_months() -> None:
    stable = case(
        regimen=started(400),
        observations=(
            *(level("7", at=ago(days)) for days in (390, 380, 200)),
            result("creatinine", 200),
        ),
    )
    answer = advice(stable)
    months = "became stable 3 months ago or more."
    assert said(answer, "OVERDUE-RENAL").message.endswith(f"The dose {months}")
    assert said(answer, "OVERDUE-TROUGH-STABLE").message.endswith(f"The trough {months}")
    early = case(regimen=started(60), observations=(level("7", at=ago(50)), level("7", at=ago(40))))
    assert said(advice(early), "OVERDUE-TROUGH-STABLE").message == (
        "Overdue: tacrolimus trough, due on 18-Feb-2026 (every 28 days; last on 21-Jan-2026). The "
        "trough became stable less than 3 months ago."
    )


def test_the_first_trough_has_the_days_of_its_series_and_its_own_words() -> None:
    late = advice(case(regimen=started(8)))
    first = said(late, "OVERDUE-TROUGH-TITRATION")
    assert first.message == (
        "Overdue: tacrolimus trough, due on 25-Feb-2026 (no result). The trough is not stable yet."
    )
    (asked,) = [test for test in late.due_tests if test.analyte == "tacrolimus-trough"]
    assert (asked.statements, asked.latest) == (("S23",), ago(1).date())
    assert dict(first.inputs)["tacrolimus-trough"] == "last none, due 2026-02-25, latest 2026-03-01"
    in_time = advice(case(regimen=started(7)))
    assert not due(in_time, "tacrolimus-trough")


def test_without_the_series_or_the_day_of_the_dose_the_first_trough_has_the_days_of_the_row() -> (
    None
):
    no_series = replace(
        book(), due_tests=tuple(row for row in book().due_tests if row.series != "FIRST-TROUGH")
    )
    (first,) = due(advice(case(regimen=started(20)), no_series), "tacrolimus-trough")
    assert (first.due, first.latest) == (ago(13).date(), ago(11).date())
    undated = case(regimen=started(20, dose_since=None))
    (again,) = due(advice(undated), "tacrolimus-trough")
    assert (again.due, again.latest) == (ago(13).date(), ago(11).date())
    silent = without("findings", "FIRST-TROUGH")
    assert len(due(advice(case(regimen=started(20)), silent), "tacrolimus-trough")) == 1


def test_without_any_day_the_tests_are_due_today_and_never_late() -> None:
    given = case(regimen=regimen(started_on=None, dose_since=None))
    answer = advice(given)
    assert not [code for code in codes(answer) if code.startswith("OVERDUE")]
    assert [(t.earliest, t.due, t.latest) for t in due(answer, "creatinine")] == [
        (TODAY, TODAY, TODAY + timedelta(days=3))
    ]


def test_without_a_start_the_dose_is_the_start() -> None:
    given = case(regimen=regimen(started_on=None, dose_since=ago(4)))
    assert due(advice(given), "creatinine")[0].due == ago(4).date() + timedelta(days=14)


def test_a_result_of_the_moment_counts_in_the_offset_asked() -> None:
    late_evening = result("creatinine", 0, at=datetime(2026, 2, 25, 23, 30, tzinfo=UTC))
    (test,) = due(advice(case(observations=(late_evening,))), "creatinine")
    assert test.due == date(2026, 2, 25) + timedelta(days=14)


@pytest.mark.parametrize(
    ("days", "phase"),
    [
        (41, Phase.TITRATION),
        (42, Phase.EARLY),
        ((TODAY - date(2025, 10, 22)).days, Phase.EARLY),  # 42 days later, 3 months less a day
        ((TODAY - date(2025, 10, 21)).days, Phase.STABLE),
    ],
)
def test_the_phase_of_tests_follows_the_age_of_the_dose(days: int, phase: Phase) -> None:
    assert dose_phase(started(days), book(), AT) is phase


def test_a_dose_of_unknown_age_is_not_stable_nor_is_one_without_the_number() -> None:
    assert dose_phase(started(400, dose_since=None), book(), AT) is Phase.TITRATION
    off = without("numbers", "DOSE-STABLE-DAYS")
    assert dose_phase(started(400), off, AT) is Phase.TITRATION
    assert dose_phase(started(50), without("numbers", "TEST-EARLY-MONTHS"), AT) is Phase.STABLE


def in_target(*days: int, **changes: Any) -> facts.CaseFacts:
    return case(
        regimen=started(300, **changes),
        observations=tuple(level("7", at=ago(each)) for each in days),
    )


@pytest.mark.parametrize(
    ("given", "phase"),
    [
        (in_target(), Phase.TITRATION),
        (in_target(10), Phase.TITRATION),
        (in_target(16, 10), Phase.TITRATION),
        (in_target(17, 10), Phase.EARLY),
        (in_target(17, 14, 10), Phase.EARLY),
        (in_target(120, 97, 10), Phase.STABLE),  # stable since 25-Nov-2025
        (in_target(120, 89, 10), Phase.EARLY),  # stable since 03-Dec-2025
        (in_target(120, 90, 10), Phase.STABLE),  # stable since 02-Dec-2025: 3 months today
        (in_target(17, 10, dose_since=None), Phase.TITRATION),
    ],
)
def test_the_phase_of_the_trough(given: facts.CaseFacts, phase: Phase) -> None:
    assert level_phase(given, book(), AT) is phase


def test_a_trough_outside_the_target_or_before_the_dose_begins_again() -> None:
    kept = (level("7", at=ago(30)), level("7", at=ago(20)))
    out = case(regimen=started(300), observations=(*kept, level("4", at=ago(10))))
    assert level_phase(out, book(), AT) is Phase.TITRATION
    above = case(regimen=started(300), observations=(*kept, level("11", at=ago(10))))
    assert level_phase(above, book(), AT) is Phase.TITRATION
    changed_since = case(regimen=started(300, dose_since=ago(25)), observations=kept)
    assert level_phase(changed_since, book(), AT) is Phase.TITRATION
    exactly = case(regimen=started(300, dose_since=ago(33)), observations=kept)
    assert level_phase(exactly, book(), AT) is Phase.EARLY
    assert level_phase(exactly, without("numbers", "LEVEL-STABLE-DAYS"), AT) is Phase.TITRATION
    assert level_phase(case(regimen=None), book(), AT) is Phase.TITRATION


def test_a_weekly_trough_waits_until_the_new_dose_can_show() -> None:
    given = case(regimen=started(60, dose_since=ago(1)), observations=(level("7", at=ago(6)),))
    (test,) = due(advice(given), "tacrolimus-trough")
    assert (test.earliest, test.due, test.latest) == (
        TODAY + timedelta(days=2),
        TODAY + timedelta(days=2),
        TODAY + timedelta(days=4),
    )
    hours = changed("numbers", "STEADY-STATE-HOURS", value=Decimal(73))
    (later,) = due(advice(given, hours), "tacrolimus-trough")
    assert later.due == TODAY + timedelta(days=3)


def test_a_mistimed_level_is_no_trough_of_the_calendar() -> None:
    given = case(
        regimen=started(60),
        observations=(level("7", at=ago(20)), level("7", at=ago(1), hours_since_dose=Decimal(3))),
    )
    assert due(advice(given), "tacrolimus-trough")[0].due == ago(13).date()


def test_a_held_regimen_keeps_its_tests_without_troughs() -> None:
    held = case(regimen=started(60, status=RegimenStatus.HELD))
    answer = advice(held)
    assert not due(answer, "tacrolimus-trough")
    assert due(answer, "creatinine")


def every(given: facts.CaseFacts, analyte: str, rules: RuleBook | None = None) -> int:
    """The interval in force for a test that was done today."""
    with_result = replace(given, observations=(*given.observations, result(analyte, 0)))
    (test,) = due(advice(with_result, rules), analyte)
    return (test.due - TODAY).days


def event(kind: EventKind, **changes: Any) -> facts.ClinicalEvent:
    return facts.ClinicalEvent(kind=kind, **changes)


@pytest.mark.parametrize("kind", [EventKind.CONGESTIVE_HEART_FAILURE, EventKind.BRADYARRHYTHMIA])
def test_a_qt_risk_makes_potassium_weekly_in_the_first_weeks(kind: EventKind) -> None:
    assert every(case(regimen=started(10)), "potassium") == 14
    assert every(case(regimen=started(10), events=(event(kind),)), "potassium") == 7
    assert every(case(regimen=started(10), events=(event(kind),)), "magnesium") == 7
    assert every(case(regimen=started(21), events=(event(kind),)), "potassium") == 7
    assert every(case(regimen=started(22), events=(event(kind),)), "potassium") == 14
    over = event(kind, resolved_on=TODAY)
    assert every(case(regimen=started(10), events=(over,)), "potassium") == 14
    undated = case(regimen=started(10, started_on=None, dose_since=None), events=(event(kind),))
    assert every(undated, "potassium") == 7
    off = without("numbers", "FIRST-WEEKS-DAYS")
    assert every(case(regimen=started(10), events=(event(kind),)), "potassium", off) == 14


def test_kidney_disease_makes_potassium_weekly() -> None:
    failing = case(regimen=started(10), events=(event(EventKind.RENAL_FAILURE),))
    assert every(failing, "potassium") == 7
    for value, days in (("59.9", 7), ("60", 14)):
        given = case(regimen=started(10), observations=(result("egfr", 3, value),))
        assert every(given, "potassium") == days
    low = case(regimen=started(10), observations=(result("egfr", 3, "40"),))
    assert every(low, "potassium", replace(book(), thresholds=())) == 14


def test_renal_tests_are_monthly_to_month_6_and_hba1c_is_of_the_first_year() -> None:
    """A row of the first months counts for a test that comes due in them."""
    five = case(regimen=regimen(started_on=date(2025, 9, 30), dose_since=ago(150)))
    assert every(five, "creatinine") == 28
    past = case(regimen=regimen(started_on=date(2025, 9, 29), dose_since=ago(150)))
    assert every(past, "creatinine") == 84
    year = case(regimen=regimen(started_on=date(2025, 5, 25), dose_since=ago(150)))
    assert every(year, "hba1c") == 84
    over = replace(year, regimen=regimen(started_on=date(2025, 5, 24), dose_since=ago(150)))
    assert not due(advice(replace(over, observations=(result("hba1c", 0),))), "hba1c")
    undated = case(regimen=regimen(started_on=None, dose_since=None))
    assert every(undated, "hba1c") == 84
    assert every(five, "creatinine", without("numbers", "FIRST-MONTHS")) == 84


def test_pulses_make_hba1c_sooner() -> None:
    def hba1c(*taken: facts.CoMedication, rules: RuleBook | None = None) -> int:
        return every(case(regimen=started(60), co_medications=taken), "hba1c", rules)

    def pulse(stopped: int | None, **changes: Any) -> facts.CoMedication:
        stopped_on = None if stopped is None else ago(stopped).date()
        given = {"stopped_on": stopped_on, "route": Route.IV} | changes
        return drug("methylprednisolone", ago(120).date(), **given)

    assert hba1c(pulse(90)) == hba1c(pulse(None)) == 42
    assert hba1c(pulse(91)) == 84
    assert hba1c(pulse(10, route=Route.ORAL)) == 84
    assert hba1c(pulse(None, planned=True)) == 84
    assert hba1c(drug("voriconazole", ago(100).date(), route=Route.IV)) == 84
    assert hba1c(drug("lisinopril", ago(100).date(), route=Route.IV)) == 84
    assert hba1c(pulse(1), rules=without("numbers", "PULSE-STEROID-DAYS")) == 84


def test_the_pressure_comes_with_every_visit() -> None:
    assert every(case(regimen=started(20)), "systolic-bp") == 7
    assert every(in_target(17, 10), "systolic-bp") == 84
    young = case(regimen=started(20), observations=(level("7", at=ago(14)), level("7", at=ago(7))))
    assert every(young, "diastolic-bp") == 14


def test_a_finding_or_a_row_that_is_turned_off_asks_for_nothing() -> None:
    given = case(regimen=started(60))
    assert not due(advice(given, without("findings", "OVERDUE-RENAL")), "creatinine")
    off = without("schedules", "RENAL-CREATININE-EARLY")
    assert not due(advice(given, off), "creatinine")
    assert due(advice(given, off), "bun")


def test_a_test_without_a_name_in_the_baseline_is_named_by_its_key() -> None:
    egfr = changed("schedules", "RENAL-BUN-EARLY", analyte="egfr")
    assert (
        "Overdue: egfr, " in said(advice(case(regimen=started(60)), egfr), "OVERDUE-RENAL").message
    )


def test_the_phase_is_said_without_a_number_that_is_off() -> None:
    given = case(regimen=started(60))
    off = without("numbers", "TEST-EARLY-MONTHS")
    words = said(advice(given, off), "OVERDUE-RENAL")
    assert words.message.endswith("The dose became stable 0 months ago or more.")


def test_conditions_are_words_that_the_engine_knows() -> None:
    row = next(row for row in book().schedules if row.code == "ELECTROLYTES-POTASSIUM-QT-RISK")
    assert row.conditions == (Condition.FIRST_WEEKS, Condition.QT_RISK)
    assert replace(row, condition="").conditions == ()
    with pytest.raises(ValueError, match="schedules: ELECTROLYTES-POTASSIUM-QT-RISK: 'FULL_MOON'"):
        changed("schedules", row.code, condition="QT_RISK and FULL_MOON")
