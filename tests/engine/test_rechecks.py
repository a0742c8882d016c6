"""Drugs beside the CYP3A4 lists, changes that ask for a trough, and options by text alone."""

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from dosing.rules.engine import facts
from dosing.rules.engine.advice import Effect
from dosing.rules.engine.rows import Origin, Severity
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
CANNABIDIOL = "CANNABIDIOL-TAKEN"


def ago(days: int) -> date:
    return TODAY - timedelta(days=days)


def due(answer: Any, code: str) -> list[date]:
    return [test.due for test in found(answer, code).due_tests]


# S66


def test_cannabidiol_has_close_troughs_while_its_start_is_recent() -> None:
    recent = case(co_medications=(drug("cannabidiol", ago(4)),))
    assert due(advice(recent), CANNABIDIOL) == [ago(1)]
    seen = replace(recent, observations=(level("7", at=AT - timedelta(days=1)),))
    assert due(advice(seen), CANNABIDIOL) == [ago(4) + timedelta(days=10)]
    for days, tests in ((27, 1), (28, 0)):
        old = case(co_medications=(drug("cannabidiol", ago(days)),))
        assert len(due(advice(old), CANNABIDIOL)) == tests
        assert "S66" in cited(advice(old))
    start = case(intent=START, regimen=None, co_medications=(drug("cannabidiol", ago(4)),))
    assert due(advice(start), CANNABIDIOL) == []


def test_cannabidiol_asks_for_less_as_long_as_it_is_taken() -> None:
    def effect(on: date | None, *observations: facts.Observation) -> Effect:
        given_case = case(co_medications=(drug("cannabidiol", on),), observations=observations)
        return found(advice(given_case), CANNABIDIOL).effect

    assert effect(ago(4)) is Effect.ASKS_FOR_LESS
    assert effect(ago(4), level("4.2", at=AT - timedelta(days=3))) is Effect.ASKS_FOR_LESS
    assert effect(None, level("4.2", at=AT - timedelta(days=3))) is Effect.ASKS_FOR_LESS


def test_the_message_of_cannabidiol_says_what_is_not_known() -> None:
    undated = found(advice(case(co_medications=(drug("cannabidiol", None),))), CANNABIDIOL)
    assert undated.message.endswith("Its start date is not recorded: record it.")
    assert ("since", "not known") in undated.inputs
    dated = found(advice(case(co_medications=(drug("cannabidiol", ago(4)),))), CANNABIDIOL)
    assert dated.message.startswith("Cannabidiol is taken: it may raise tacrolimus levels.")
    assert dated.message.endswith("consider a lower dose.")
    assert ("since", "2026-02-26") in dated.inputs
    planned = found(
        advice(case(co_medications=(drug("cannabidiol", None, planned=True),))), CANNABIDIOL
    )
    assert planned.message.startswith("Cannabidiol is about to be given:")
    assert [test.due for test in planned.due_tests] == [TODAY + timedelta(days=3)]
    future = found(
        advice(case(co_medications=(drug("cannabidiol", TODAY + timedelta(days=9)),))), CANNABIDIOL
    )
    assert ("since", TODAY.isoformat()) in future.inputs


# S67


def test_a_hepatitis_c_course_is_said_once_for_all_its_drugs() -> None:
    two = (drug("ledipasvir/sofosbuvir", ago(20), ingredients=("ledipasvir", "sofosbuvir")),)
    both = (*two, drug("glecaprevir", ago(5)))
    said = found(advice(case(co_medications=both)), "HCV-COURSE")
    assert "hepatitis C (ledipasvir/sofosbuvir and glecaprevir):" in said.message
    assert said.effect is Effect.NONE
    assert [test.due for test in said.due_tests] == [ago(2)]
    assert dict(said.inputs)["hcv_antiviral_course"] == "not known"
    patient = facts.Patient(hcv_antiviral_course=True)
    recorded = found(advice(case(patient=patient)), "HCV-COURSE")
    assert "hepatitis C: changes of liver function" in recorded.message
    assert recorded.message.endswith("Its start date is not recorded: record it.")
    assert dict(recorded.inputs) == {"drugs": "not recorded", "hcv_antiviral_course": "yes"}
    no = replace(patient, hcv_antiviral_course=False)
    assert "HCV-COURSE" not in codes(advice(case(patient=no)))
    assert "HCV-COURSE" in codes(advice(case(patient=no, co_medications=both)))


# S68


def test_mycophenolate_never_touches_the_dose_of_tacrolimus() -> None:
    taken = case(
        co_medications=(drug("mycophenolate mofetil", LONG_AGO),), observations=(level("12.4"),)
    )
    answer = advice(taken)
    said = found(answer, "MYCOPHENOLATE-TAKEN")
    assert "not the dose of tacrolimus" in said.message
    assert (said.effect, said.proposal, said.due_tests) == (Effect.NONE, None, ())
    assert answer.proposal == advice(replace(taken, co_medications=())).proposal


def test_none_of_it_is_said_by_the_first_book() -> None:
    drugs = tuple(
        drug(name, ago(3)) for name in ("cannabidiol", "sofosbuvir", "mycophenolate mofetil")
    )
    given_case = case(
        regimen=regimen(switched_on=ago(2), switched_from="Prograf (IR)"), co_medications=drugs
    )
    assert not cited(advice(given_case, first_book())) & {"S26", "S66", "S67", "S68"}
    assert {"S26", "S66", "S67", "S68"} <= cited(advice(given_case))


# D32


def switched(days: int, **changes: Any) -> facts.Regimen:
    given = {"switched_on": ago(days), "switched_from": "Prograf (IR)", "brand": "Adport"}
    return regimen(**(given | changes))


def test_a_switch_of_product_is_checked_by_a_trough() -> None:
    code = "RECHECK-PRODUCT-SWITCHED"
    answer = advice(case(regimen=switched(1)))
    said = found(answer, code)
    assert said.message.startswith(
        "The product was changed from Prograf (IR) to Adport (IR) on 01-Mar-2026: products are not "
        "interchangeable"
    )
    assert "label gives" not in said.message
    assert due(answer, code) == [ago(1) + timedelta(days=3)]
    unnamed = found(advice(case(regimen=switched(1, brand=None))), code)
    assert "to another product (IR) on" in unnamed.message
    assert code in codes(advice(case(regimen=switched(27))))
    assert code in codes(advice(case(regimen=switched(0))))
    assert code not in codes(advice(case(regimen=switched(28))))
    assert code not in codes(advice(case(regimen=switched(-1))))
    assert code not in codes(advice(case(regimen=None)))
    done = case(regimen=switched(9), observations=(level("7"),))
    assert due(advice(done), code) == []


def test_the_share_for_envarsus_is_text_from_a_row() -> None:
    code = "RECHECK-PRODUCT-SWITCHED"
    lcp = case(
        regimen=switched(
            1, formulation=facts.Formulation.LCP, morning_mg=Decimal(3), evening_mg=Decimal(0)
        )
    )
    answer = advice(lcp)
    assert "the label gives 80 % of the total daily dose; no dose is" in found(answer, code).message
    assert proposed(answer) is None
    other = changed("numbers", "SWITCH-IR-TO-LCP-PERCENT", value=Decimal(70))
    assert "gives 70 %" in found(advice(lcp, other), code).message
    off = changed("numbers", "SWITCH-IR-TO-LCP-PERCENT", enabled=False)
    assert "label gives" not in found(advice(lcp, off), code).message
    er = replace(lcp, regimen=replace(lcp.regimen, formulation=facts.Formulation.ER))
    assert "label gives" not in found(advice(er), code).message


def test_a_level_of_the_old_product_changes_no_dose() -> None:
    drawn = level("12.4", at=AT - timedelta(days=9))
    for days, dose in ((9, None), (10, "CHANGE 2.0"), (-1, "CHANGE 2.0")):
        answer = advice(case(regimen=switched(days), observations=(drawn,)))
        assert proposed(answer) == dose, days
    said = found(advice(case(regimen=switched(9), observations=(drawn,))), "TROUGH-ABOVE-TARGET")
    assert "the product was changed on 21-Feb-2026, which the level cannot show yet" in said.message
    assert said.due_tests == ()


# D2: the end of a drug


def test_the_end_of_cannabidiol_or_of_a_course_is_checked_by_a_trough() -> None:
    code = "RECHECK-DRUG-STOPPED"

    def answer(name: str, days: int, **changes: Any) -> Any:
        taken = drug(name, LONG_AGO, stopped_on=ago(days), **changes)
        return advice(case(co_medications=(taken,)))

    assert due(answer("cannabidiol", 1), code) == [ago(1) + timedelta(days=3)]
    assert code in codes(answer("sofosbuvir", 27))
    assert code in codes(answer("cannabidiol", 0))
    assert code not in codes(answer("cannabidiol", 28))
    assert code not in codes(answer("cannabidiol", -1))
    assert code not in codes(answer("cannabidiol", 1, route=facts.Route.TOPICAL))
    assert code not in codes(answer("mycophenolate mofetil", 1))
    assert code not in codes(answer("telaprevir", 1))
    stopped = drug("cannabidiol", LONG_AGO, stopped_on=ago(1))
    again = case(co_medications=(stopped, drug("cannabidiol", TODAY)))
    assert code not in codes(advice(again))
    assert code not in codes(advice(case(regimen=None, co_medications=(stopped,))))
    message = found(answer("cannabidiol", 1), code).message
    assert message.startswith("Cannabidiol was stopped on 01-Mar-2026: the tacrolimus level can")


# X22

STEROID = "RECHECK-STEROID-CHANGED"


def pills(
    mg: str | None, begun: date = date(2026, 1, 5), name: str = "prednisone", **changes: Any
) -> facts.CoMedication:
    return drug(name, begun, daily_dose_mg=None if mg is None else Decimal(mg), **changes)


def tapered(before: str, now: str, days: int = 1, **changes: Any) -> facts.CoMedication:
    return pills(now, dose_changed_on=ago(days), daily_dose_before_mg=Decimal(before), **changes)


def _until(days: int, mg: str) -> facts.EarlierDose:
    return facts.EarlierDose(until=ago(days), daily_dose_mg=Decimal(mg))


def steroids(*taken: facts.CoMedication, **changes: Any) -> Any:
    return advice(case(co_medications=taken, **changes))


@pytest.mark.parametrize(
    ("taken", "says"),
    [
        ((tapered("25", "15"),), True),
        ((tapered("24.9", "15"),), False),
        ((tapered("15", "25"),), True),
        ((pills("25", stopped_on=ago(1)), pills("15", ago(1))), True),
        ((pills("24", stopped_on=ago(1)), pills("15", ago(1))), False),
        ((pills("10", stopped_on=ago(1)),), True),
        ((pills("10", ago(1)),), True),
        ((pills("16", name="methylprednisolone", stopped_on=ago(1)), pills("20", ago(1))), False),
        ((pills("16", name="methylprednisolone", stopped_on=ago(1)), pills("30", ago(1))), True),
        ((pills("8", name="methylprednisolone", stopped_on=ago(1)),), True),
        ((pills("7.9", name="methylprednisolone", stopped_on=ago(1)),), False),
        ((tapered("25", "15", days=27),), True),
        ((tapered("24", "15", earlier_doses=(_until(5, "33"),)),), True),
        ((tapered("24", "15", earlier_doses=(_until(40, "33"),)),), False),
        ((tapered("25", "15", days=28),), False),
        ((tapered("25", "15", days=-1),), False),
        ((tapered("25", "15", route=facts.Route.INHALED),), False),
        ((tapered("25", "15", planned=True),), False),
        ((pills(None, stopped_on=ago(1)), pills("15", ago(1))), False),
        ((pills(None), tapered("25", "15")), False),
        ((drug("cyclosporine", ago(1), daily_dose_mg=Decimal(100)),), False),
        ((pills("20", ago(20), stopped_on=ago(15)),), True),
        ((tapered("25", "15", days=9), pills("15", ago(9))), False),
    ],
)
def test_a_change_of_steroid_counts_in_either_spelling(
    taken: tuple[facts.CoMedication, ...], says: bool
) -> None:
    assert (STEROID in codes(steroids(*taken))) is says


def test_a_steroid_taken_since_nobody_knows_when_was_there_before() -> None:
    undated = replace(tapered("25", "15"), started_on=None)
    assert STEROID in codes(steroids(undated))


def test_the_message_of_a_taper_says_from_what_to_what_and_which_way_the_level_goes() -> None:
    down = found(steroids(tapered("25", "15")), STEROID)
    assert down.severity is Severity.ADVISE
    assert down.message == (
        "Since 01-Mar-2026 the corticosteroid has changed from 25 to 15 mg/day in "
        "prednisone-equivalents, by 10 mg/day or more: corticosteroids speed up the loss of "
        "tacrolimus, so the level can rise. Check the trough again."
    )
    assert "so the level can fall" in found(steroids(tapered("15", "25")), STEROID).message
    assert down.source.endswith("Needs local approval.")


def test_a_taper_in_steps_is_checked_after_the_step_that_made_it_enough() -> None:
    steps = (
        pills("30", stopped_on=ago(20)),
        pills("25", ago(20), stopped_on=ago(8)),
        pills("20", ago(8), stopped_on=ago(2)),
        pills("19", ago(2)),
    )
    answer = steroids(*steps)
    said = found(answer, STEROID)
    assert said.message.startswith("Since 10-Feb-2026 the corticosteroid has changed from 30 to 19")
    assert due(answer, STEROID) == [ago(8) + timedelta(days=3)]
    after_first = level("7", at=AT - timedelta(days=9))
    assert due(steroids(*steps, observations=(after_first,)), STEROID) != []
    after_second = level("7", at=AT - timedelta(days=4))
    assert due(steroids(*steps, observations=(after_second,)), STEROID) == []


def test_a_step_of_unknown_dose_in_between_hides_no_change() -> None:
    steps = (
        pills("30", stopped_on=ago(20)),
        pills(None, ago(20), stopped_on=ago(8)),
        pills("20", ago(8)),
    )
    assert due(steroids(*steps), STEROID) == [ago(8) + timedelta(days=3)]


def test_what_changed_before_tacrolimus_is_no_change_of_this_treatment() -> None:
    began = regimen(started_on=ago(5))
    assert STEROID not in codes(steroids(tapered("25", "15", days=5), regimen=began))
    assert STEROID in codes(steroids(tapered("25", "15", days=4), regimen=began))
    unknown = regimen(started_on=None)
    assert STEROID in codes(steroids(tapered("25", "15", days=5), regimen=unknown))
    assert STEROID not in codes(steroids(tapered("25", "15"), regimen=None))


def test_the_limit_and_the_equivalence_are_rows() -> None:
    given_case = case(co_medications=(tapered("25", "15"),))
    wider = changed("numbers", "STEROID-CHANGE-MG-PER-DAY", value=Decimal(11))
    assert STEROID not in codes(advice(given_case, wider))
    off = changed("numbers", "STEROID-CHANGE-MG-PER-DAY", enabled=False)
    assert STEROID not in codes(advice(given_case, off))
    unknown = changed("drug_groups", "PREDNISONE-EQUIVALENT-PREDNISONE", factor=None)
    assert STEROID not in codes(advice(given_case, unknown))


# D22, D31, X2, X3


def starting(**changes: Any) -> facts.CaseFacts:
    patient = facts.Patient(weight_kg=Decimal(62), **changes)
    return case(intent=START, regimen=None, patient=patient)


def test_the_genotype_is_text_once_a_book_turns_it_on() -> None:
    on = changed("findings", "START-CYP3A5", enabled=True)
    makes = starting(cyp3a5=facts.Cyp3a5.EXPRESSER)
    assert "START-CYP3A5" not in codes(advice(makes))
    answer = advice(makes, on)
    said = found(answer, "START-CYP3A5")
    assert "1.5 to 2 times the usual dose, at most 0.3 mg/kg/day" in said.message
    assert said.proposal is None
    assert proposed(answer) == "START 4.5"
    none = found(advice(starting(cyp3a5=facts.Cyp3a5.NON_EXPRESSER), on), "START-CYP3A5")
    assert "makes no CYP3A5: the guideline starts with the usual dose" in none.message
    assert "START-CYP3A5" not in codes(advice(starting(), on))
    assert "START-CYP3A5" not in codes(advice(replace(makes, intent=facts.Intent.REVIEW), on))
    unknown = replace(makes, diagnosis=facts.Diagnosis())
    assert "START-CYP3A5" not in codes(advice(unknown, on))
    for code in ("CYP3A5-TIMES-LOW", "CYP3A5-TIMES-HIGH"):
        without = changed("numbers", code, on, enabled=False)
        assert "START-CYP3A5" not in codes(advice(makes, without))


def test_the_liver_decides_by_the_score_of_its_rows() -> None:
    for score, code, dose in (
        (5, None, "START 4.5"),
        (6, None, "START 4.5"),
        (7, "HEPATIC-MODERATE", "START 4.5"),
        (9, "HEPATIC-MODERATE", "START 4.5"),
        (10, "HEPATIC-SEVERE", None),
        (15, "HEPATIC-SEVERE", None),
    ):
        answer = advice(starting(child_pugh=score))
        assert codes(answer) & {"HEPATIC-MODERATE", "HEPATIC-SEVERE"} == ({code} if code else set())
        assert proposed(answer) == dose
    assert not codes(advice(starting())) & {"HEPATIC-MODERATE", "HEPATIC-SEVERE"}
    severe = found(advice(starting(child_pugh=11)), "HEPATIC-SEVERE")
    assert severe.message == (
        "Child-Pugh score 11, and from 10 on impairment of the liver is severe: start lower than "
        "usual and check troughs more closely. No source gives a number, so no starting dose is "
        "proposed: decide the dose yourself."
    )
    assert severe.origin is Origin.GUIDELINE
    off = changed("thresholds", "CHILD-PUGH-SEVERE", enabled=False)
    assert "HEPATIC-SEVERE" not in codes(advice(starting(child_pugh=11), off))
    moderate = found(advice(starting(child_pugh=8)), "HEPATIC-MODERATE")
    assert moderate.message.startswith("Child-Pugh score 8: impaired liver function can raise")


def test_on_therapy_a_severe_impairment_asks_for_closer_troughs() -> None:
    patient = facts.Patient(child_pugh=10)
    said = found(advice(case(patient=patient)), "HEPATIC-SEVERE")
    assert said.message.endswith(
        "check troughs more closely than usual. No source gives an interval."
    )
    assert said.effect is Effect.NONE
    nothing = case(patient=patient, regimen=None)
    assert "HEPATIC-SEVERE" not in codes(advice(nothing))
    again = case(patient=patient, intent=START)
    assert found(advice(again), "HEPATIC-SEVERE").effect is Effect.NONE


def test_alternatives_stand_beside_the_first_line_and_the_exception_is_off() -> None:
    start = case(intent=START, regimen=None)
    assert "mycophenolate, which the ACR/CHEST" in found(advice(start), "SEL-ALTERNATIVES").message
    rapid = facts.Diagnosis(
        ild=True, sard=facts.Sard.SSC, line=facts.Line.FIRST, rapidly_progressive=True
    )
    ssc = replace(start, diagnosis=rapid)
    on = changed("findings", "SEL-RAPIDLY-PROGRESSIVE", enabled=True)
    assert "SEL-RAPIDLY-PROGRESSIVE" not in codes(advice(ssc))
    assert {"SEL-RAPIDLY-PROGRESSIVE", "SEL-NOT-FIRST-LINE"} <= codes(advice(ssc, on))
    slow = replace(ssc, diagnosis=replace(rapid, rapidly_progressive=False))
    assert "SEL-RAPIDLY-PROGRESSIVE" not in codes(advice(slow, on))
    assert "SEL-ALTERNATIVES" not in codes(advice(ssc))


def test_the_groups_of_the_book_hold_what_the_protocol_names() -> None:
    groups = {group.value: set(rows) for group, rows in book().index.groups.items()}
    assert groups["CANNABIDIOL"] == {"cannabidiol"}
    assert groups["MYCOPHENOLATE"] == {"mycophenolate mofetil", "mycophenolic acid"}
    assert {"sofosbuvir", "glecaprevir", "elbasvir", "telaprevir"} <= groups["HCV_ANTIVIRAL"]
    assert groups["PREDNISONE_EQUIVALENT"] == {
        "prednisone",
        "prednisolone",
        "methylprednisolone",
    }
