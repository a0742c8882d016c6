"""The edges that no case file shows: rows turned off, unknown facts, one proposal out of many."""

import time
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from functools import cache
from typing import Any

import pytest

from dosing.rules import casefile
from dosing.rules.engine import doses, facts
from dosing.rules.engine.advice import Action, Outcome, next_test, raised, reconcile
from dosing.rules.engine.assess import assess
from dosing.rules.engine.quantities import compared, round_nearest, shown
from dosing.rules.engine.rulebook import REQUIRED_NUMBERS, REQUIRED_SERIES
from dosing.rules.engine.trough import troughs
from tests.engine.given import (
    AT,
    advice,
    book,
    case,
    changed,
    cited,
    codes,
    drug,
    first_book,
    less_than,
    level,
    proposed,
    regimen,
)
from tests.engine.test_cases import CASES
from tests.engine.test_golden import KEPT, digest_of

TODAY = AT.date()
MONTH = timedelta(days=28)


def test_a_moment_without_an_offset_is_refused() -> None:
    with pytest.raises(ValueError, match="offset"):
        assess(case(), book(), at=datetime(2026, 3, 2))  # noqa: DTZ001 the point of the test


def test_what_was_worked_out_for_one_question_is_not_the_answer_to_another() -> None:
    started = {"co_medications": (drug("voriconazole", started_on=TODAY - timedelta(days=3)),)}
    same, off = case(**started), changed("drug_classes", "CLASS-VORICONAZOLE", enabled=False)
    western = timezone(timedelta(hours=-10))  # the same instant is still yesterday there
    for rules in (book(), first_book(), off, book()):
        for at in (AT, AT.astimezone(western), AT + timedelta(days=40), AT):
            asked = assess(same, rules, at=at)
            assert asked == assess(case(**started), rules, at=at)
            assert ("INT-AZOLE-STARTED" in codes(asked)) is (rules is not off and at < AT + MONTH)


def test_numbers_of_every_kind_are_compared_exactly() -> None:
    third = Fraction(1, 3)
    assert compared(third, Decimal("0.3333333333333333333333333333333333")) == 1
    assert compared(Decimal("8.10"), Fraction(81, 10)) == 0
    assert compared(27, Fraction(55, 2)) == -1


def test_days_are_those_of_the_offset_asked_in() -> None:
    """23:30 in London is the next day in Berlin: the event is 27 or 28 days old."""
    given_case = case(co_medications=(drug("voriconazole", date(2026, 2, 2)),))
    late = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)
    berlin = late.astimezone(__import__("zoneinfo").ZoneInfo("Europe/Berlin"))
    assert "S41" in cited(assess(given_case, book(), at=late))
    assert "S41" not in cited(assess(given_case, book(), at=berlin))


@pytest.mark.parametrize("zone", ["Etc/GMT+12", "Pacific/Kiritimati"])
def test_no_answer_depends_on_the_time_zone_of_the_machine(
    zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Days are those of the moment's own offset, on either side of the date line."""
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("TZ", zone)
        time.tzset()
        try:
            for path in CASES:
                assert digest_of(path) == KEPT[path.stem], path.stem
        finally:
            elsewhere.undo()
            time.tzset()


# What a book of row tables must hold; every other row may be turned off.
NEEDED = {
    "numbers": REQUIRED_NUMBERS,
    "due_tests": {row.code for row in book().due_tests if row.series in REQUIRED_SERIES},
    "starting_doses": {row.code for row in book().starting_doses},
    "level_bands": {row.code for row in book().level_bands},
    "dose_steps": {row.code for row in book().dose_steps},
    "roundings": {row.code for row in book().roundings},
}


@cache
def kept_cases() -> tuple[tuple[facts.CaseFacts, datetime], ...]:
    return tuple(casefile.read_case(path.read_text(encoding="utf-8")) for path in CASES)


@pytest.mark.parametrize("table", [name for name, rows in book().tables().items() if rows])
def test_a_book_answers_with_any_table_turned_off(table: str) -> None:
    """Nothing fails for want of a row, and no message has a hole where its words would stand."""
    needed, rows = NEEDED.get(table, set()), book().tables()[table]
    off: Any = {
        table: tuple(replace(row, enabled=row.enabled and row.code in needed) for row in rows)
    }
    rules = replace(book(), **off)
    for given_case, at in kept_cases()[::3]:
        for said in assess(given_case, rules, at=at).findings:
            assert said.message.endswith("."), said
            assert "None" not in said.message, said


def test_a_finding_that_the_book_turns_off_is_not_raised_and_asks_for_no_test() -> None:
    given_case = case(co_medications=(drug("voriconazole", TODAY),))
    off = changed("findings", "INT-STRONG-TROUGHS", enabled=False)
    answer = advice(given_case, off)
    assert "INT-STRONG-TROUGHS" not in codes(answer)
    assert "S41" not in cited(answer)
    assert next_test(off, "STRONG-STARTED", TODAY, "INT-STRONG-TROUGHS") == ()


def test_a_baseline_item_or_a_test_that_is_turned_off_is_not_asked_for() -> None:
    start = case(intent=facts.Intent.START, regimen=None)
    off = changed("baseline_items", "BASELINE-GLUCOSE", enabled=False)
    assert "S19" in cited(advice(start))
    assert "S19" not in cited(advice(start, off))
    later = changed("due_tests", "STRONG-STARTED-1", enabled=False)
    assert later.index.series["STRONG-STARTED"][0].number == 2


def test_the_dose_in_force_is_no_proposal() -> None:
    """One third of the original dose is taken already when the second azole begins."""
    reduced = regimen(
        morning_mg=Decimal("0.5"),
        evening_mg=Decimal("0.5"),
        dose_before_inhibitor_mg_per_day=Decimal(3),
    )
    answer = advice(case(regimen=reduced, co_medications=(drug("posaconazole", TODAY),)))
    assert "S40" in cited(answer)
    assert proposed(answer) is None


def test_a_sirolimus_stop_leaves_no_start_behind() -> None:
    start = case(intent=facts.Intent.START, regimen=None, co_medications=(drug("sirolimus"),))
    assert proposed(advice(start)) is None


def test_a_series_that_is_done_asks_for_no_more() -> None:
    done = TODAY + timedelta(days=60)
    code = "INT-STRONG-TROUGHS"
    assert next_test(book(), "STRONG-STARTED", TODAY, code, last_done=done) == ()


def test_a_trough_answers_the_tests_due_by_its_day_and_the_next_one_follows() -> None:
    given_case = case(
        co_medications=(drug("fluconazole", TODAY - timedelta(days=6)),),
        observations=(level("8", at=AT - timedelta(days=2)),),
    )
    days = [test.due for test in advice(given_case).due_tests if "S46" in test.statements]
    assert days == [TODAY - timedelta(days=6) + timedelta(days=11)]


def test_a_mistimed_level_answers_no_test_and_an_overdue_one_keeps_its_date() -> None:
    started = TODAY - timedelta(days=10)
    given_case = case(
        co_medications=(drug("voriconazole", started),),
        observations=(level("8", hours_since_dose=Decimal(3)),),
    )
    strong = [test for test in advice(given_case).due_tests if "S41" in test.statements]
    assert [test.due for test in strong] == [started + timedelta(days=2)]


def test_each_reason_has_its_own_due_test() -> None:
    given_case = case(
        co_medications=(drug("voriconazole", TODAY), drug("rifampin", TODAY)),
    )
    reasons = [
        test.statements
        for test in advice(given_case).due_tests
        if test.analyte == facts.TACROLIMUS_LEVEL
    ]
    assert len(reasons) == len(set(reasons)) == 3


def test_without_a_dose_date_an_azole_could_not_be_checked() -> None:
    given_case = case(
        regimen=regimen(dose_since=None), co_medications=(drug("voriconazole", TODAY),)
    )
    answer = advice(given_case)
    assert answer.outcome is Outcome.COULD_NOT_CHECK
    assert proposed(answer) == "CHANGE 1.0"


def test_without_a_dose_date_a_level_changes_no_dose() -> None:
    given_case = case(regimen=regimen(dose_since=None), observations=(level("12.4"),))
    answer = advice(given_case)
    assert {"S9"} <= cited(answer)
    assert proposed(answer) is None
    assert "FIRST-TROUGH" not in codes(advice(case(regimen=regimen(dose_since=None))))


def test_a_newer_alarm_on_the_other_side_takes_the_change_back() -> None:
    """12.4 yesterday asks for less; 2.0 four hours after a dose today says the opposite."""
    today = level("2.0", at=AT - timedelta(hours=1), hours_since_dose=Decimal(4))
    answer = advice(case(observations=(level("12.4"), today)))
    assert {"TROUGH-VERY-LOW", "TROUGH-ABOVE-TARGET"} <= codes(answer)
    assert proposed(answer) is None
    assert any("a newer level speaks against it" in found.message for found in answer.findings)


def test_a_newer_comparator_on_the_same_side_leaves_the_older_level_its_change() -> None:
    older = level("4.0", at=AT - timedelta(days=4))
    answer = advice(case(observations=(older, less_than("5.0"))))
    assert proposed(answer) == "CHANGE 4.5"
    opposite = level("12.4", at=AT - timedelta(days=4))
    assert proposed(advice(case(observations=(opposite, less_than("2.0"))))) is None


def test_a_newer_comparator_after_a_level_in_target_adds_nothing_of_the_older() -> None:
    older = level("7.0", at=AT - timedelta(days=4))
    assert "TROUGH-IN-TARGET" not in codes(advice(case(observations=(older, less_than("5.0")))))


def test_a_level_of_zero_is_limited_like_any_other() -> None:
    assert proposed(advice(case(observations=(level("0"),)))) == "CHANGE 4.5"


def test_at_the_maximum_a_low_level_proposes_nothing_more() -> None:
    at_most = regimen(morning_mg=Decimal(6), evening_mg=Decimal(6))
    answer = advice(case(regimen=at_most, observations=(level("4.6"),)))
    assert "TROUGH-BELOW-TARGET" in codes(answer)
    assert proposed(answer) is None


def test_a_dose_that_capsules_cannot_make_is_brought_to_one_that_they_can() -> None:
    granules = regimen(morning_mg=Decimal("1.2"), evening_mg=Decimal("1.2"))
    assert proposed(advice(case(regimen=granules, observations=(level("12.4"),)))) == "CHANGE 1.5"
    narrow = regimen(morning_mg=Decimal("0.7"), evening_mg=Decimal("0.7"))
    assert proposed(advice(case(regimen=narrow, observations=(level("10.1"),)))) is None


def test_a_formulation_without_a_window_places_no_level() -> None:
    without = replace(
        book(), level_windows=tuple(row for row in book().level_windows if row.formulation != "IR")
    )
    answer = advice(case(observations=(level("12.4"),)), without)
    assert not codes(answer) & {"TROUGH-ABOVE-TARGET", "SAMPLE-NOT-TROUGH"}
    assert proposed(answer) is None


def test_a_level_before_the_regimen_belongs_to_another_course() -> None:
    before = level("25", at=datetime(2026, 1, 1, 8, tzinfo=UTC))
    assert proposed(advice(case(observations=(before,)))) is None
    unknown = regimen(started_on=None)
    assert proposed(advice(case(regimen=unknown, observations=(before,)))) == "HOLD"


def test_the_books_maximum_limits_the_start_and_capsules_turned_off_give_none() -> None:
    start = case(intent=facts.Intent.START, regimen=None)
    lower = changed("numbers", "MAX-MG-PER-DAY", value=Decimal(4))
    assert proposed(advice(start, lower)) == "START 4.0"
    none = replace(book(), strengths=())
    answer = advice(start, none)
    assert "START-BY-WEIGHT" in codes(answer)
    assert proposed(answer) is None


def test_a_start_is_not_proposed_where_tacrolimus_is_taken_already() -> None:
    assert proposed(advice(case(intent=facts.Intent.START))) is None


def test_a_comparator_is_no_weight() -> None:
    heavy = facts.Observation(
        analyte="weight",
        value=Decimal(200),
        unit="kg",
        canonical=Fraction(200),
        at=AT,
        comparator=less_than("1").comparator,
    )
    start = case(intent=facts.Intent.START, regimen=None, observations=(heavy,))
    assert proposed(advice(start)) == "START 4.5"


def test_one_third_is_kept_as_two_whole_numbers() -> None:
    """3.0 × 0.333 rounded down would be 0.5."""
    given_case = case(co_medications=(drug("voriconazole", TODAY),))
    assert proposed(advice(given_case)) == "CHANGE 1.0"
    half = changed("interactions", "AZOLES-STARTED", numerator=1, denominator=2)
    assert proposed(advice(given_case, half)) == "CHANGE 1.5"


def test_of_two_reductions_the_lower_is_proposed_and_says_so() -> None:
    given_case = case(
        regimen=regimen(morning_mg=Decimal(3), evening_mg=Decimal(3)),
        co_medications=(drug("voriconazole", TODAY - timedelta(days=2)),),
        observations=(level("12.4"),),
    )
    answer = advice(given_case)
    assert answer.proposal is not None
    assert proposed(answer) == "CHANGE 2.0"
    assert answer.proposal.arithmetic.endswith("(the lowest of 2.0 mg/day, 3.5 mg/day)")


def test_a_drug_that_stopped_before_tacrolimus_and_is_closed_says_nothing_at_the_start() -> None:
    stopped = drug("rifampin", date(2025, 1, 1), stopped_on=date(2025, 6, 1))
    start = case(intent=facts.Intent.START, regimen=None, co_medications=(stopped,))
    assert "S38" not in cited(advice(start))


def test_cobicistat_at_the_start_and_without_a_date() -> None:
    boosted = (drug("cobicistat", date(2025, 1, 1)),)
    start = advice(case(intent=facts.Intent.START, regimen=None, co_medications=boosted))
    assert proposed(start) == "HOLD"
    assert "S41" not in cited(start)
    undated = advice(case(co_medications=(drug("cobicistat", None),)))
    assert undated.outcome is Outcome.COULD_NOT_CHECK
    assert "S44" in cited(undated)


def test_an_ongoing_azole_that_is_older_than_the_regimen_is_never_cut() -> None:
    """Even when nobody recorded since when the dose is taken."""
    given_case = case(
        regimen=regimen(started_on=TODAY - timedelta(days=5), dose_since=None),
        co_medications=(drug("voriconazole", TODAY - timedelta(days=9)),),
    )
    assert "S40" not in cited(advice(given_case))


def test_a_future_infection_is_not_current() -> None:
    event = facts.ClinicalEvent(
        kind=facts.EventKind.INFECTION, grade=4, started_on=TODAY + timedelta(days=1)
    )
    assert "S72" not in cited(advice(case(events=(event,))))


def test_a_proposal_is_dispensable_or_it_is_none() -> None:
    step = Fraction(1, 2)
    given_dose = doses.proposal(Action.CHANGE, Fraction(5, 2), step, "sum")
    assert (given_dose.morning_mg, given_dose.evening_mg) == (Decimal("1.5"), Decimal("1.0"))
    assert given_dose.arithmetic == "sum; 2.5 mg/day = 1.5 + 1.0"
    assert given_dose.taken == "1.5 mg in the morning and 1 mg in the evening"
    assert doses.hold("why").taken == ""
    for total in (Fraction(1, 2), Fraction(0), Fraction(4, 3)):
        with pytest.raises(ValueError, match="dispensable"):
            doses.proposal(Action.CHANGE, total, step, "sum")


def test_rounding_stays_within_its_limits() -> None:
    half = Fraction(1, 2)
    assert round_nearest(Fraction(9, 4), half) == 2
    assert round_nearest(Fraction(223, 100), half, lowest=Fraction(9, 4)) == Fraction(5, 2)
    assert round_nearest(Fraction(37, 10), half, highest=Fraction(18, 5)) == Fraction(7, 2)
    assert round_nearest(Fraction(1), half, lowest=Fraction(11, 10), highest=Fraction(6, 5)) is None


def test_numbers_are_shown_in_plain_digits() -> None:
    assert shown(Decimal("3"), at_least=1) == "3.0"
    assert shown(Fraction(1, 3)) == "0.33"
    assert shown(Decimal("0.50")) == "0.5"
    assert shown(Decimal("-1.5")) == "-1.5"
    assert shown(Fraction(20), at_most=0) == "20"


@pytest.mark.parametrize(
    ("table", "change", "says"),
    [
        ("findings", lambda rows: (*rows, rows[0]), "stands twice"),
        ("numbers", lambda rows: rows[1:], "is missing"),
        ("due_tests", lambda rows: (), "STRONG-STARTED is missing"),
        ("strengths", lambda rows: (replace(rows[0], strength_mg=Decimal(0)),), "more than 0 mg"),
        ("drug_classes", lambda rows: (replace(rows[0], seed_class="ODD"),), "unknown class"),
        (
            "drug_classes",
            lambda rows: (replace(rows[0], seed_class="", label_class=""),),
            "no class",
        ),
    ],
)
def test_a_book_that_contradicts_itself_is_refused(table: str, change: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        replace(book(), **{table: change(getattr(book(), table))})


def test_the_troughs_are_the_levels_with_the_right_hours_newest_first() -> None:
    good, older = level("7"), level("8", at=AT - timedelta(days=9))
    mistimed = level("9", at=AT, hours_since_dose=Decimal(3))
    given_case = case(observations=(mistimed, older, good))
    assert troughs(given_case, book(), AT) == (good, older)
    assert troughs(case(regimen=None, observations=(good,)), book(), AT) == ()


def test_after_an_inhibitor_has_stopped_a_raise_ends_at_the_dose_before_it() -> None:
    given_case = case(
        regimen=regimen(
            morning_mg=Decimal("1.5"),
            evening_mg=Decimal("1.0"),
            dose_before_inhibitor_mg_per_day=Decimal(3),
        ),
        co_medications=(
            drug("fluconazole", date(2026, 1, 1), stopped_on=TODAY - timedelta(days=9)),
        ),
        observations=(level("3.5"),),
    )
    assert "S52" in cited(advice(given_case))
    assert proposed(advice(given_case)) == "CHANGE 3.0"
    assert proposed(advice(replace(given_case, co_medications=()))) == "CHANGE 3.5"


def test_on_therapy_without_a_regimen_an_interaction_could_not_be_checked() -> None:
    given_case = case(regimen=None, co_medications=(drug("voriconazole"),))
    answer = advice(given_case)
    assert answer.outcome is Outcome.COULD_NOT_CHECK
    assert {"S41"} <= cited(answer)
    assert "S40" not in cited(answer)


def test_the_inputs_of_a_finding_are_words() -> None:
    unknown = case(intent=facts.Intent.START, regimen=None, diagnosis=facts.Diagnosis())
    outside = next(each for each in advice(unknown).findings if each.code == "SEL-NO-ILD")
    assert outside.statements == ()
    assert dict(outside.inputs) == {"ild": "not known", "sard": "not known"}
    none = facts.Diagnosis(ild=False, sard=facts.Sard.NONE)
    outside = next(
        each
        for each in advice(replace(unknown, diagnosis=none)).findings
        if each.code == "SEL-NO-ILD"
    )
    assert dict(outside.inputs) == {"ild": "no", "sard": "NONE"}


def test_the_dose_in_force_is_no_proposal_and_a_held_regimen_is_not_changed() -> None:
    """Steps 4 and 5 of "One proposal", whatever a finding proposes."""
    half = Fraction(1, 2)
    same = raised(
        book(),
        "TROUGH-BELOW-TARGET",
        "…",
        proposal=doses.proposal(Action.CHANGE, Fraction(3), half, "3.0 mg/day"),
    )
    lower = raised(
        book(),
        "TROUGH-ABOVE-TARGET",
        "…",
        proposal=doses.proposal(Action.CHANGE, Fraction(2), half, "2.0 mg/day"),
    )
    assert reconcile(same, regimen()) is None
    assert reconcile(lower, regimen(status=facts.RegimenStatus.HELD)) is None
    chosen = reconcile(same + lower, regimen())
    assert chosen is not None
    assert chosen.total_daily_mg == 2
    assert chosen.arithmetic == "2.0 mg/day (the lowest of 2.0 mg/day, 3.0 mg/day)"


@pytest.mark.parametrize("year", ["0001", "1799", "2200", "9999"])
def test_a_moment_at_the_end_of_the_calendar_is_refused(year: str) -> None:
    """An offset could carry it out of the calendar."""
    text = casefile.written(casefile.encode_case(case(), AT))
    with pytest.raises(casefile.CaseError, match=r"case\.at: must be an instant"):
        casefile.read_case(text.replace('"at":"2026', f'"at":"{year}'))
