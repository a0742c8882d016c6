"""Interactions as rows: what a start, a stop or a change of dose asks, and who says so."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from dosing.rules.engine import facts
from dosing.rules.engine.advice import Action, Finding, Outcome
from dosing.rules.engine.assess import assess
from dosing.rules.engine.comedication import events
from dosing.rules.engine.rows import INTERACTING, DoseAct, DrugClass, Origin, Severity
from dosing.rules.engine.rulebook import RuleBook
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
    found,
    level,
    proposed,
    regimen,
)

TODAY = AT.date()
LONG_AGO = date(2025, 1, 1)
START = facts.Intent.START


def ago(days: int) -> date:
    return TODAY - timedelta(days=days)


def split(name: str, code: str, **changes: Any) -> RuleBook:
    """The book with one drug taken out of the azoles' row into one of its own."""
    azoles = next(row for row in book().interactions if row.code == "AZOLES-STARTED")
    others = replace(azoles, drugs=tuple(each for each in azoles.drugs if each != name))
    alone = replace(azoles, code=code, drugs=(name,), **changes)
    rows = [row for row in book().interactions if row is not azoles]
    return replace(book(), interactions=(*rows, others, alone))


def enabled(*pairs: tuple[str, str]) -> RuleBook:
    rules = book()
    for table, code in pairs:
        rules = changed(table, code, rules, enabled=True)
    return rules


def test_every_classed_drug_has_an_answer_to_its_start_and_its_stop_in_both_forms() -> None:
    for rules in (book(), first_book()):
        for name, (drug_class, _) in rules.index.drug_classes.items():
            if drug_class in INTERACTING:
                for change in ("STARTED", "STOPPED"):
                    assert (name, change) in rules.index.interactions, (name, change)
    acts = {key: row.act for key, row in first_book().index.interactions.items()}
    assert acts == {key: row.act for key, row in book().index.interactions.items() if key in acts}
    assert set(acts) == set(book().index.interactions)


def test_every_interaction_fills_the_fields_of_a_minimal_record() -> None:
    for row in book().interactions:
        assert row.drugs
        assert row.with_drugs == ("tacrolimus",)
        for text in (
            row.consequence,
            row.seriousness,
            row.mechanism,
            row.action,
            row.frequency_of_exposure,
            row.frequency_of_harm,
            row.evidence,
        ):
            assert text.endswith("."), (row.code, text)
    codes_of_rows = {row.code for row in book().interactions}
    for factor in book().modifying_factors:
        assert factor.interaction in codes_of_rows
        assert factor.factor
        assert factor.action.endswith(".")


def test_label_rows_ship_off() -> None:
    for row in book().interactions:
        assert row.enabled is (row.origin is not Origin.LABEL), row.code


def test_a_fraction_changed_for_voriconazole_alone_changes_its_dose_and_no_other() -> None:
    half = split(
        "voriconazole",
        "VORICONAZOLE-STARTED",
        numerator=1,
        denominator=2,
        origin=Origin.LOCAL,
        source="The clinic's pharmacy committee.",
        needs_local_approval=True,
    )
    voriconazole = case(co_medications=(drug("voriconazole", TODAY),))
    posaconazole = case(co_medications=(drug("posaconazole", TODAY),))
    assert proposed(advice(voriconazole)) == proposed(advice(posaconazole)) == "CHANGE 1.0"
    assert proposed(advice(voriconazole, half)) == "CHANGE 1.5"
    assert advice(posaconazole, half) == advice(posaconazole)
    said = found(advice(voriconazole, half), "INT-AZOLE-STARTED")
    assert said.source == "The clinic's pharmacy committee. Needs local approval."
    assert said.origin is Origin.LOCAL
    assert "to 1/2 of the original dose: 3.0 mg/day × 1/2 = 1.5 mg/day" in said.message
    # The protocol still speaks for what it lists: troughs, rise and toxicity.
    assert found(advice(voriconazole, half), "INT-STRONG-TROUGHS").origin is Origin.SEED


def test_severity_and_statements_of_the_leading_finding_are_those_of_its_row() -> None:
    stronger = split(
        "voriconazole", "VORICONAZOLE-STARTED", severity=Severity.STOP, statements=("S38",)
    )
    said = found(
        advice(case(co_medications=(drug("voriconazole", TODAY),)), stronger), "INT-AZOLE-STARTED"
    )
    assert (said.severity, said.statements) == (Severity.STOP, ("S38",))
    calmer = changed("interactions", "MODERATE-STARTED", severity=Severity.WARN)
    fluconazole = case(co_medications=(drug("fluconazole", TODAY),))
    assert found(advice(fluconazole), "INT-MODERATE-STARTED").severity is Severity.CAUTION
    assert found(advice(fluconazole, calmer), "INT-MODERATE-STARTED").severity is Severity.WARN


def test_a_cut_is_rounded_as_the_row_of_roundings_says() -> None:
    given_case = case(
        regimen=regimen(morning_mg=Decimal(3), evening_mg=Decimal("2.5")),
        co_medications=(drug("voriconazole", TODAY),),
    )
    assert proposed(advice(given_case)) == "CHANGE 1.5"
    nearest = changed("roundings", "ROUND-INTERACTION", mode="NEAREST")
    answer = advice(given_case, nearest)
    assert proposed(answer) == "CHANGE 2.0"
    assert answer.proposal is not None
    assert ", rounded to 2.0 mg/day" in answer.proposal.arithmetic


def test_a_cut_without_a_fraction_asks_for_less_without_a_number() -> None:
    given_case = case(co_medications=(drug("voriconazole", TODAY),))
    answer = advice(
        given_case, changed("interactions", "AZOLES-STARTED", numerator=None, denominator=None)
    )
    assert {"INT-STRONG-STARTED", "INT-STRONG-TROUGHS"} <= codes(answer)
    assert proposed(answer) is None


def test_a_row_of_its_own_can_ask_another_act_of_an_azole() -> None:
    held = split("itraconazole", "ITRACONAZOLE-STARTED", act=DoseAct.HOLD)
    answer = advice(case(co_medications=(drug("itraconazole", TODAY),)), held)
    assert proposed(answer) == "HOLD"
    assert {"S38", "S39", "S40", "S41"} <= cited(answer)  # the statements that its row names
    avoided = split("itraconazole", "ITRACONAZOLE-STARTED", act=DoseAct.AVOID)
    answer = advice(case(co_medications=(drug("itraconazole", TODAY),)), avoided)
    assert {"INT-GRAPEFRUIT", "INT-STRONG-TROUGHS"} <= codes(answer)
    assert proposed(answer) is None


def test_a_moderate_inhibitor_can_be_cut_by_a_row_and_stays_monitored() -> None:
    moderate = next(row for row in book().interactions if row.code == "MODERATE-STARTED")
    alone = replace(
        moderate,
        code="FLUCONAZOLE-STARTED",
        drugs=("fluconazole",),
        act=DoseAct.CUT_TO_FRACTION,
        numerator=1,
        denominator=2,
    )
    others = replace(moderate, drugs=tuple(set(moderate.drugs) - {"fluconazole"}))
    rows = [row for row in book().interactions if row is not moderate]
    rules = replace(book(), interactions=(*rows, alone, others))
    answer = advice(case(co_medications=(drug("fluconazole", TODAY),)), rules)
    assert proposed(answer) == "CHANGE 1.5"
    monitored = found(answer, "INT-MODERATE-STARTED")
    assert monitored.message.endswith("monitor the tacrolimus trough closely.")
    assert monitored.due_tests


def test_an_inducer_can_be_followed_by_a_row_and_keeps_its_risk() -> None:
    follow = changed("interactions", "INDUCERS-STARTED", act=DoseAct.FOLLOW_TROUGH)
    answer = advice(case(co_medications=(drug("rifampin", TODAY),)), follow)
    assert {"INT-MODERATE-STARTED", "INT-INDUCER-RISK"} <= codes(answer)
    assert "INT-INDUCER-STARTED" not in codes(answer)
    high = case(co_medications=(drug("rifampin", ago(9)),), observations=(level("12", at=AT),))
    assert "INT-MODERATE-HIGH" not in codes(advice(high, follow))


def test_a_label_drug_acts_once_its_interaction_and_its_class_are_on() -> None:
    given_case = case(co_medications=(drug("nelfinavir", TODAY),))
    interaction = ("interactions", "LABEL-STRONG-STARTED")
    drug_class = ("drug_classes", "CLASS-NELFINAVIR")
    for off in (enabled(), enabled(interaction), enabled(drug_class)):
        assert not cited(advice(given_case, off)) & {"S38", "S41", "S44"}
    on = enabled(interaction, drug_class)
    answer = advice(given_case, on)
    assert {"S38", "S41", "S44"} <= cited(answer)
    # None of it is said to come from the protocol.
    for code in ("INT-STRONG-STARTED", "INT-STRONG-TROUGHS", "INT-STRONG-RISE"):
        assert found(answer, code).origin is Origin.LABEL
        assert found(answer, code).source.startswith("Label section 7")
    letermovir = case(co_medications=(drug("letermovir", TODAY),))
    assert "S38" not in cited(advice(letermovir, on))


LOWERS = (
    ("interactions", "LABEL-LOWERS-STARTED"),
    ("interactions", "LABEL-LOWERS-STOPPED"),
)


def test_a_drug_without_a_class_acts_by_its_interaction_alone() -> None:
    on = enabled(*LOWERS)
    begun = advice(case(co_medications=(drug("caspofungin", TODAY),)), on)
    said = found(begun, "INT-MODERATE-STARTED")
    assert said.statements == ("S38",)
    assert "monitor the tacrolimus trough: the level may fall." in said.message
    assert {test.statements for test in said.due_tests} == {("S38",)}
    assert not cited(begun) & {"S45", "S46", "S50"}
    ended = advice(case(co_medications=(drug("caspofungin", LONG_AGO, stopped_on=TODAY),)), on)
    after = found(ended, "INT-OTHER-STOPPED")
    assert "the level may rise back" in after.message
    assert [test.due for test in after.due_tests] == [TODAY + timedelta(days=7)]
    undated = advice(case(co_medications=(drug("caspofungin", None),)), on)
    assert undated.outcome is Outcome.COULD_NOT_CHECK
    assert "Record the start date." in found(undated, "INT-OTHER-UNDATED").message
    start = case(intent=START, regimen=None, co_medications=(drug("caspofungin", LONG_AGO),))
    before = found(advice(start, on), "INT-OTHER-AT-START")
    assert before.message.endswith(
        "Tacrolimus levels can fall. Monitor the tacrolimus trough: the level may fall."
    )
    assert before.origin is Origin.LABEL
    stopped = replace(start, co_medications=(drug("caspofungin", LONG_AGO, stopped_on=TODAY),))
    assert "will rise" in found(advice(stopped, on), "INT-INDUCER-STOPPED-BEFORE-START").message


def test_a_start_without_a_row_for_the_stop_says_nothing_when_it_stops() -> None:
    on = enabled(LOWERS[0])
    stopped = case(co_medications=(drug("caspofungin", LONG_AGO, stopped_on=TODAY),))
    assert events(stopped, on, AT) == ()


def test_a_cobicistat_that_stops_is_raised_back_from_and_followed() -> None:
    stopped = drug("cobicistat", ago(20), stopped_on=ago(1))
    answer = advice(case(co_medications=(stopped,)))
    said = found(answer, "INT-INHIBITOR-STOPPED")
    assert said.origin is Origin.GUIDELINE
    assert said.due_tests
    assert proposed(answer) is None
    since = regimen(dose_since=datetime(2026, 3, 2, 8, tzinfo=UTC))
    later = found(advice(case(regimen=since, co_medications=(stopped,))), "INT-STOP-FOLLOW-UP")
    assert later.origin is Origin.GUIDELINE


def test_factors_are_said_with_their_action_and_those_that_are_off_are_not() -> None:
    answer = advice(case(co_medications=(drug("itraconazole", TODAY),)))
    message = found(answer, "INT-AZOLE-STARTED").message
    assert "was 0.42 of its value in 142 lung recipients" in message
    assert "itraconazole may need at least as large a cut" in message
    assert "voriconazole" not in message.lower()
    assert "CYP3A5" not in message
    on = changed("modifying_factors", "FACTOR-CYP3A5", enabled=True)
    ketoconazole = case(co_medications=(drug("ketoconazole", TODAY),))
    assert "CYP3A5" in found(advice(ketoconazole, on), "INT-AZOLE-STARTED").message
    bare = changed("modifying_factors", "FACTOR-ITRACONAZOLE", factor="")
    said = found(
        advice(case(co_medications=(drug("itraconazole", TODAY),)), bare), "INT-AZOLE-STARTED"
    )
    assert said.message.endswith(
        " Itraconazole may need at least as large a cut: watch the first trough."
    )
    assert proposed(answer) == "CHANGE 1.0"


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("fluconazole", "STARTED", "From 200 mg/day of fluconazole"),
        ("clarithromycin", "STARTED", "half the dose (a cut of 50 %"),
        ("ritonavir", "STARTED", "hold from 12 hours before the first dose"),
        ("ritonavir", "STOPPED", "with 20 to 25 % of the earlier dose"),
        ("rifampin", "STARTED", "2 to 5 times the dose"),
        ("itraconazole", "STOPPED", "lasts a week or more after the last dose"),
        ("amiodarone", "STOPPED", "lasts weeks to months"),
        ("phenobarbital", "STOPPED", "fades over 3 to 4 weeks"),
        ("St John's wort", "STOPPED", "fades over about 2 weeks"),
    ],
)
def test_each_factor_reaches_the_message_of_its_drug(name: str, change: str, words: str) -> None:
    stopped = {"stopped_on": TODAY} if change == "STOPPED" else {}
    taken = drug(name, ago(3), **stopped)
    answer = advice(case(co_medications=(taken,)))
    assert any(words in each.message for each in answer.findings)


def test_several_drugs_are_named_together_and_never_multiplied() -> None:
    two = case(co_medications=(drug("voriconazole", TODAY), drug("posaconazole", ago(1))))
    answer = advice(two)
    said = found(answer, "INT-SEVERAL")
    assert said.message.startswith("Posaconazole and voriconazole act on tacrolimus at once")
    assert proposed(answer) == "CHANGE 1.0"
    three = replace(two, co_medications=(*two.co_medications, drug("rifampin", None)))
    said = found(advice(three), "INT-SEVERAL")
    assert said.message.startswith("Posaconazole, rifampin and voriconazole act")
    old = replace(two, co_medications=(drug("voriconazole", TODAY), drug("rifampin", LONG_AGO)))
    assert "INT-SEVERAL" not in codes(advice(old))
    same = case(
        co_medications=(
            drug("voriconazole", ago(1), route=facts.Route.IV),
            drug("voriconazole", TODAY, route=facts.Route.ORAL),
        )
    )
    assert "INT-SEVERAL" not in codes(advice(same))
    assert "INT-SEVERAL" not in codes(advice(replace(two, regimen=None)))


def test_an_inhibitor_and_an_inducer_propose_the_cut_alone() -> None:
    both = case(
        co_medications=(drug("rifampin", TODAY), drug("voriconazole", TODAY)),
        observations=(level("4.0", at=AT - timedelta(days=3)),),
    )
    answer = advice(both)
    assert proposed(answer) == "CHANGE 1.0"
    assert {"INT-AZOLE-STARTED", "INT-INDUCER-STARTED", "INT-SEVERAL"} <= codes(answer)


def azole(on: date, **changes: Any) -> facts.CoMedication:
    given = {
        "daily_dose_mg": Decimal(400),
        "dose_changed_on": on,
        "daily_dose_before_mg": Decimal(200),
    }
    return drug("voriconazole", date(2026, 1, 20), **(given | changes))


def test_a_changed_azole_asks_for_early_troughs_from_the_day_of_the_change() -> None:
    answer = advice(case(co_medications=(azole(ago(1)),)))
    said = found(answer, "INT-AZOLE-DOSE-CHANGED")
    assert said.message.startswith(
        "Voriconazole was changed from 200 to 400 mg/day on 01-Mar-2026:"
    )
    assert [test.due for test in said.due_tests] == [TODAY + timedelta(days=1)]
    assert ("change", "DOSE_CHANGED") in said.inputs
    assert said.origin is Origin.LOCAL
    assert said.source.endswith("Needs local approval.")
    unknown = found(
        advice(case(co_medications=(azole(ago(1), daily_dose_mg=None),))),
        "INT-AZOLE-DOSE-CHANGED",
    )
    assert "was changed from 200 mg/day to another dose on" in unknown.message


def test_a_start_and_a_change_are_two_reasons_with_a_test_each() -> None:
    begun = replace(azole(ago(1)), started_on=ago(9))
    answer = advice(case(co_medications=(begun,)))
    assert {"INT-AZOLE-STARTED", "INT-STRONG-TROUGHS", "INT-AZOLE-DOSE-CHANGED"} <= codes(answer)
    days = sorted(test.due for test in answer.due_tests if "S41" in test.statements)
    assert days == [ago(9) + timedelta(days=2), ago(1) + timedelta(days=2)]
    undated = replace(azole(ago(1)), started_on=None)
    assert {"INT-AZOLE-UNDATED", "INT-AZOLE-DOSE-CHANGED"} <= codes(
        advice(case(co_medications=(undated,)))
    )
    planned = replace(azole(ago(1)), planned=True)
    assert "INT-AZOLE-DOSE-CHANGED" not in codes(advice(case(co_medications=(planned,))))


def test_a_changed_azole_is_silent_in_the_first_book_and_before_a_start() -> None:
    given_case = case(co_medications=(azole(ago(1)),))
    assert "S38" not in cited(advice(given_case, first_book()))
    start = case(intent=START, regimen=None, co_medications=(azole(ago(1)),))
    assert "INT-AZOLE-DOSE-CHANGED" not in codes(advice(start))


def test_a_level_from_before_the_change_waits_for_the_troughs_of_the_change() -> None:
    given_case = case(
        co_medications=(azole(ago(1)),), observations=(level("12.4", at=AT - timedelta(days=2)),)
    )
    said = found(advice(given_case), "TROUGH-ABOVE-TARGET")
    assert "which the level cannot show yet" in said.message
    assert said.due_tests == ()
    assert proposed(advice(given_case)) is None


def approval(row: str, on: date = date(2026, 2, 1)) -> facts.LocalApproval:
    return facts.LocalApproval(row=row, approved_on=on)


def test_an_approved_row_says_so_in_place_of_the_need() -> None:
    given_case = case(observations=(level("12.4"),))
    need = found(advice(given_case), "TROUGH-ABOVE-TARGET")
    assert need.source.endswith("bands and step D19. Needs local approval.")
    settled = replace(given_case, local_approvals=(approval("TROUGH-ABOVE-TARGET"),))
    answer = advice(settled)
    given = found(answer, "TROUGH-ABOVE-TARGET")
    assert given.source.endswith("bands and step D19. Approved locally on 01-Feb-2026.")
    assert replace(given, source=need.source) == need
    assert proposed(answer) == proposed(advice(given_case))


def test_an_approval_of_another_row_or_of_tomorrow_settles_nothing() -> None:
    given_case = case(observations=(level("12.4"),))
    for other in (approval("TROUGH-VERY-LOW"), approval("TROUGH-ABOVE-TARGET", date(2026, 3, 3))):
        answer = advice(replace(given_case, local_approvals=(other,)))
        assert found(answer, "TROUGH-ABOVE-TARGET").source.endswith("Needs local approval.")
    in_range = case(observations=(level("7"),), local_approvals=(approval("TROUGH-IN-TARGET"),))
    assert "Approved" not in found(advice(in_range), "TROUGH-IN-TARGET").source


def test_a_finding_of_two_rows_needs_both_and_names_the_later_day() -> None:
    taken = case(co_medications=(drug("fluconazole", TODAY),))
    code = "INT-MODERATE-STARTED"
    assert found(advice(taken), code).to_approve == (code, "MODERATE-STARTED")
    one = replace(taken, local_approvals=(approval(code),))
    assert found(advice(one), code).source.endswith("Needs local approval.")
    both = (approval(code), approval("MODERATE-STARTED", date(2026, 2, 20)))
    settled = found(advice(replace(taken, local_approvals=both)), code)
    assert settled.source.endswith("cadence D17c. Approved locally on 20-Feb-2026.")


def test_the_proposal_of_a_hold_is_that_of_one_drug_whatever_comes_first() -> None:
    one, other = drug("cobicistat", TODAY), drug("ritonavir", TODAY)
    assert advice(case(co_medications=(one, other))) == advice(case(co_medications=(other, one)))
    answer = assess(case(co_medications=(one, other)), book(), at=AT)
    assert answer.proposal is not None
    assert answer.proposal.action is Action.HOLD


def test_grapefruit_is_avoided_by_a_row_and_never_an_event() -> None:
    juice = drug("grapefruit", LONG_AGO)
    assert events(case(co_medications=(juice,)), book(), AT) == ()
    said = found(advice(case(co_medications=(juice,))), "INT-GRAPEFRUIT")
    assert said.message == (
        "Grapefruit is on the list: avoid it entirely, it raises tacrolimus levels and toxicity."
    )
    skin = replace(juice, route=facts.Route.TOPICAL)
    assert "INT-GRAPEFRUIT" not in codes(advice(case(co_medications=(skin,))))
    off = changed("interactions", "GRAPEFRUIT-TAKEN", enabled=False)
    assert "INT-GRAPEFRUIT" not in codes(advice(case(co_medications=(juice,)), off))
    assert first_book().index.drug_classes["grapefruit"][0] is DrugClass.GRAPEFRUIT


def marked() -> RuleBook:
    """Every interaction on, each with a source, a severity and statements of its own.

    Four drugs of the protocol are listed by the label alone, so that their rows speak for them.
    """
    rows = tuple(
        replace(
            row,
            enabled=True,
            source=f"{row.code}.",
            origin=Origin.LOCAL,
            severity=Severity.ADVISE,
            statements=("S24",),
            needs_local_approval=True,
        )
        for row in book().interactions
    )
    unlisted = ("voriconazole", "fluconazole", "rifampin", "telaprevir")
    classes = tuple(
        replace(row, seed_class="") if row.drug in unlisted else row for row in book().drug_classes
    )
    return replace(book(), interactions=rows, drug_classes=classes)


YESTERDAY = ago(1)
STARTS = {
    "planned": {"started_on": None, "planned": True},
    "taken": {"started_on": YESTERDAY},
    "undated": {"started_on": None},
    "answered": {"started_on": ago(27)},  # still open, and the dose was set a day later
    "changed": {
        "started_on": LONG_AGO,
        "dose_changed_on": YESTERDAY,
        "daily_dose_mg": Decimal(400),
        "daily_dose_before_mg": Decimal(200),
    },
    "stopped": {"started_on": LONG_AGO, "stopped_on": YESTERDAY},
    "stop answered": {"started_on": LONG_AGO, "stopped_on": ago(27)},
}
SET_SINCE = regimen(dose_since=datetime.combine(ago(26), AT.timetz()))
LESS, NEITHER = "ASKS_FOR_LESS", "NONE"


@pytest.mark.parametrize(
    ("name", "state", "code", "row", "leads", "effect"),
    [
        ("voriconazole", "undated", "INT-AZOLE-UNDATED", "AZOLES-STARTED", False, LESS),
        ("telaprevir", "undated", "INT-STRONG-UNDATED", "STRONG-STARTED", False, LESS),
        ("fluconazole", "undated", "INT-MODERATE-UNDATED", "MODERATE-STARTED", False, NEITHER),
        ("rifampin", "undated", "INT-INDUCER-UNDATED", "INDUCERS-STARTED", False, NEITHER),
        ("cobicistat", "undated", "INT-HOLD-UNDATED", "BOOSTERS-STARTED", True, LESS),
        ("caspofungin", "undated", "INT-OTHER-UNDATED", "LABEL-LOWERS-STARTED", True, NEITHER),
        ("voriconazole", "taken", "INT-AZOLE-STARTED", "AZOLES-STARTED", True, LESS),
        ("voriconazole", "taken", "INT-STRONG-TROUGHS", "AZOLES-STARTED", False, NEITHER),
        ("voriconazole", "taken", "INT-STRONG-RISE", "AZOLES-STARTED", False, NEITHER),
        ("voriconazole", "taken", "INT-STRONG-TOXICITY", "AZOLES-STARTED", False, NEITHER),
        ("voriconazole", "changed", "INT-AZOLE-DOSE-CHANGED", "AZOLES-STARTED", False, NEITHER),
        ("telaprevir", "taken", "INT-STRONG-STARTED", "STRONG-STARTED", True, LESS),
        ("cobicistat", "taken", "INT-BOOSTER-STARTED", "BOOSTERS-STARTED", True, LESS),
        ("cobicistat", "answered", "INT-BOOSTER-FOLLOW-UP", "BOOSTERS-STARTED", False, NEITHER),
        ("fluconazole", "taken", "INT-MODERATE-STARTED", "MODERATE-STARTED", True, NEITHER),
        ("fluconazole", "answered", "INT-MODERATE-HIGH", "MODERATE-STARTED", False, LESS),
        (
            "efavirenz",
            "taken",
            "INT-MODERATE-STARTED",
            "FDA-MODERATE-INDUCERS-STARTED",
            True,
            NEITHER,
        ),
        ("rifampin", "taken", "INT-INDUCER-STARTED", "INDUCERS-STARTED", True, NEITHER),
        ("rifampin", "taken", "INT-INDUCER-RISK", "INDUCERS-STARTED", False, NEITHER),
        ("voriconazole", "stopped", "INT-INHIBITOR-STOPPED", "INHIBITORS-STOPPED", True, NEITHER),
        ("rifampin", "stopped", "INT-INDUCER-STOPPED", "INDUCERS-STOPPED", True, LESS),
        ("caspofungin", "stopped", "INT-OTHER-STOPPED", "LABEL-LOWERS-STOPPED", True, NEITHER),
        ("rifampin", "stop answered", "INT-STOP-FOLLOW-UP", "INDUCERS-STOPPED", False, NEITHER),
    ],
)
def test_each_finding_is_graded_and_sourced_by_its_row(
    name: str, state: str, code: str, row: str, leads: bool, effect: str
) -> None:
    taken = drug(name, **STARTS[state])
    high = level("14", at=AT - timedelta(days=2))
    answer = advice(
        case(regimen=SET_SINCE, co_medications=(taken,), observations=(high,)), marked()
    )
    said = found(answer, code)
    said_by(said, row, leads=leads)
    assert said.effect == effect
    assert ("drug", name) in said.inputs
    assert ("change", events(case(co_medications=(taken,)), marked(), AT)[-1].change) in said.inputs


def said_by(said: Finding, row: str, *, leads: bool) -> None:
    """`row` gives source and origin; where it leads, the severity and every statement too."""
    own = marked().index.findings[said.code]
    assert said.source == f"{row}. Needs local approval."
    assert said.origin is Origin.LOCAL
    assert said.to_approve == ((own.code, row) if own.needs_local_approval else (row,))
    graded = (Severity.ADVISE, ("S24",)) if leads else (own.severity, own.statements)
    assert (said.severity, said.statements) == graded
    assert {test.statements for test in said.due_tests} <= {said.statements}


@pytest.mark.parametrize(
    ("name", "state", "code", "row", "leads"),
    [
        ("voriconazole", "taken", "INT-AZOLE-AT-START", "AZOLES-STARTED", False),
        ("telaprevir", "planned", "INT-STRONG-AT-START", "STRONG-STARTED", False),
        ("fluconazole", "undated", "INT-MODERATE-AT-START", "MODERATE-STARTED", False),
        ("rifampin", "answered", "INT-INDUCER-AT-START", "INDUCERS-STARTED", False),
        ("cobicistat", "taken", "INT-HOLD-AT-START", "BOOSTERS-STARTED", True),
        ("caspofungin", "taken", "INT-OTHER-AT-START", "LABEL-LOWERS-STARTED", True),
        (
            "voriconazole",
            "stopped",
            "INT-INHIBITOR-STOPPED-BEFORE-START",
            "INHIBITORS-STOPPED",
            False,
        ),
        ("rifampin", "stopped", "INT-INDUCER-STOPPED-BEFORE-START", "INDUCERS-STOPPED", False),
    ],
)
def test_each_finding_before_a_start_is_graded_and_sourced_by_its_row(
    name: str, state: str, code: str, row: str, leads: bool
) -> None:
    taken = drug(name, **STARTS[state])
    for intent in (START, facts.Intent.REVIEW):
        given_case = case(intent=intent, regimen=None, co_medications=(taken,))
        said = found(advice(given_case, marked()), code)
        said_by(said, row, leads=leads)
        # On therapy with no dose recorded, what it asks of the dose cannot be checked.
        assert said.unchecked is (intent is facts.Intent.REVIEW)


def test_a_hold_at_start_by_a_row_names_the_class_of_the_drug_too() -> None:
    rules = replace(
        marked(),
        interactions=tuple(
            replace(row, act=DoseAct.HOLD) if row.code == "STRONG-STARTED" else row
            for row in marked().interactions
        ),
    )
    answer = advice(case(intent=START, regimen=None, co_medications=(drug("telaprevir"),)), rules)
    said_by(found(answer, "INT-HOLD-AT-START"), "STRONG-STARTED", leads=True)
    said_by(found(answer, "INT-STRONG-AT-START"), "STRONG-STARTED", leads=False)
    assert proposed(answer) == "HOLD"


@pytest.mark.parametrize(
    ("name", "state", "code"),
    [
        ("voriconazole", "taken", "INT-AZOLE-STARTED"),
        ("telaprevir", "taken", "INT-STRONG-STARTED"),
        ("cobicistat", "taken", "INT-BOOSTER-STARTED"),
        ("rifampin", "taken", "INT-INDUCER-STARTED"),
        ("voriconazole", "stopped", "INT-INHIBITOR-STOPPED"),
        ("rifampin", "stopped", "INT-INDUCER-STOPPED"),
    ],
)
def test_whether_a_dose_of_no_known_date_was_set_for_the_drug_cannot_be_checked(
    name: str, state: str, code: str
) -> None:
    taken = (drug(name, **STARTS[state]),)
    undated = advice(case(regimen=regimen(dose_since=None), co_medications=taken))
    assert found(undated, code).unchecked
    assert undated.outcome is Outcome.COULD_NOT_CHECK
    assert not found(advice(case(co_medications=taken)), code).unchecked


@pytest.mark.parametrize(
    ("taken", "code"),
    [
        (drug("cobicistat", ago(10)), "INT-BOOSTER-STARTED"),
        (drug("cobicistat", ago(27)), "INT-BOOSTER-FOLLOW-UP"),
        (drug("rifampin", ago(27)), "INT-INDUCER-RISK"),
        (drug("voriconazole", LONG_AGO, stopped_on=ago(10)), "INT-INHIBITOR-STOPPED"),
        (drug("caspofungin", LONG_AGO, stopped_on=ago(10)), "INT-OTHER-STOPPED"),
        (drug("voriconazole", LONG_AGO, stopped_on=ago(27)), "INT-STOP-FOLLOW-UP"),
    ],
)
def test_a_level_since_the_event_answers_its_test_and_the_next_is_asked(
    taken: facts.CoMedication, code: str
) -> None:
    asked = case(regimen=SET_SINCE, co_medications=(taken,))
    (first,) = found(advice(asked, marked()), code).due_tests
    drawn = level("7", at=datetime.combine(first.latest, AT.timetz()))
    (later,) = found(advice(replace(asked, observations=(drawn,)), marked()), code).due_tests
    assert first.due < later.due
