"""Live vaccines, contraindications, pregnancy: what is barred, asked and let through."""

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from dosing.rules import casefile
from dosing.rules.engine import facts
from dosing.rules.engine.advice import Advice, Finding, Outcome
from dosing.rules.engine.facts import (
    ClinicalEvent,
    EventKind,
    Immunisation,
    Intent,
    Pregnancy,
    Route,
    Sex,
)
from dosing.rules.engine.rows import Origin, Severity
from dosing.rules.engine.rulebook import RuleBook
from patients.vocabulary import vocabulary
from tests.engine.given import (
    AT,
    advice,
    book,
    case,
    codes,
    drug,
    first_book,
    level,
    proposed,
    regimen,
)
from tests.engine.test_advice import changed

TODAY = AT.date()
YELLOW_FEVER = {"vaccine": "yellow fever", "atc": ("J07BL01",), "live": True}
START: dict[str, Any] = {"intent": Intent.START, "regimen": None}


def vaccine(**changes: Any) -> Immunisation:
    return Immunisation(**(YELLOW_FEVER | changes))


def turned_on(*rows: tuple[str, str]) -> RuleBook:
    """The seed book with these rows, of a table and a code, turned on."""
    made = book()
    for table, code in rows:
        kept = tuple(
            replace(row, enabled=True) if row.code == code else row for row in getattr(made, table)
        )
        assert kept != getattr(made, table)
        made = replace(made, **{table: kept})
    return made


def said(answer: Advice, code: str) -> Finding:
    (found,) = [each for each in answer.findings if each.code == code]
    return found


def test_a_planned_live_vaccine_is_named_with_its_code_and_day() -> None:
    answer = advice(case(immunisations=(vaccine(planned_on=date(2026, 4, 1)),)))
    found = said(answer, "LIVE-VACCINE-PLANNED")
    assert found.message == (
        "Yellow fever (J07BL01) is planned for 01-Apr-2026: it is a live vaccine, and live "
        "vaccines are avoided while tacrolimus is taken."
    )
    assert dict(found.inputs) == {
        "vaccine": "yellow fever",
        "atc": "J07BL01",
        "planned_on": "2026-04-01",
    }
    assert found.severity is Severity.STOP


def test_a_live_vaccine_that_was_given_warns_with_its_day() -> None:
    answer = advice(case(immunisations=(vaccine(given_on=TODAY),)))
    found = said(answer, "LIVE-VACCINE-GIVEN")
    assert found.message == (
        "Yellow fever (J07BL01), a live vaccine, was given on 02-Mar-2026 while tacrolimus was "
        "taken: live vaccines are avoided during the treatment."
    )
    assert dict(found.inputs) == {
        "vaccine": "yellow fever",
        "atc": "J07BL01",
        "given_on": "2026-03-02",
    }


def test_a_dose_given_tomorrow_is_planned_and_one_planned_last_week_still_is() -> None:
    tomorrow = advice(case(immunisations=(vaccine(given_on=TODAY + timedelta(days=1)),)))
    assert dict(said(tomorrow, "LIVE-VACCINE-PLANNED").inputs)["planned_on"] == "2026-03-03"
    last_week = vaccine(planned_on=TODAY - timedelta(days=7))
    assert "LIVE-VACCINE-PLANNED" in codes(advice(case(immunisations=(last_week,))))


def test_a_dose_counts_from_the_first_day_of_the_treatment() -> None:
    begun = regimen().started_on
    assert begun is not None
    for given_on, counts in ((begun, True), (begun - timedelta(days=1), False)):
        answer = advice(case(immunisations=(vaccine(given_on=given_on),)))
        assert ("LIVE-VACCINE-GIVEN" in codes(answer)) is counts
    undated = case(
        regimen=regimen(started_on=None), immunisations=(vaccine(given_on=date(2020, 1, 1)),)
    )
    assert "LIVE-VACCINE-GIVEN" in codes(advice(undated))
    before = case(**START, immunisations=(vaccine(given_on=TODAY),))
    assert not codes(advice(before)) & {"LIVE-VACCINE-GIVEN", "LIVE-VACCINE-PLANNED"}


def test_the_code_decides_and_not_what_the_record_calls_live() -> None:
    inactivated = vaccine(vaccine="x", atc=("J07BK03",), live=True, planned_on=TODAY)
    assert not codes(advice(case(immunisations=(inactivated,)))) & {"LIVE-VACCINE-PLANNED"}
    named = vaccine(vaccine="x", live=False, planned_on=TODAY)
    assert "LIVE-VACCINE-PLANNED" in codes(advice(case(immunisations=(named,))))
    several = vaccine(atc=("J07ZZ99", "J07BF02"), planned_on=TODAY)
    found = said(advice(case(immunisations=(several,))), "LIVE-VACCINE-PLANNED")
    assert found.message.startswith("Poliomyelitis, oral, trivalent (J07BF02) is planned")
    nothing = vaccine(atc=(), planned_on=TODAY)
    assert "LIVE-VACCINE-PLANNED" not in codes(advice(case(immunisations=(nothing,))))


def test_each_dose_is_a_finding_of_its_own() -> None:
    two = (vaccine(planned_on=TODAY), vaccine(atc=("J07BD52",), vaccine="MMR", given_on=TODAY))
    assert codes(advice(case(immunisations=two))) >= {"LIVE-VACCINE-PLANNED", "LIVE-VACCINE-GIVEN"}
    assert not codes(advice(case(immunisations=two), first_book())) & {"LIVE-VACCINE-PLANNED"}


def test_every_live_vaccine_of_the_vocabulary_has_its_row_and_options_are_off() -> None:
    live = {
        code: known.origin for known in vocabulary().vaccines if known.live for code in known.atc
    }
    rows = {row.atc: row for row in book().vaccines}
    assert set(rows) == set(live)
    for code, origin in live.items():
        assert rows[code].origin == origin
        assert rows[code].enabled is (origin == Origin.SEED)
    zoster = vaccine(vaccine="zoster, live", atc=("J07BK02",), planned_on=TODAY)
    assert not codes(advice(case(immunisations=(zoster,)))) & {"LIVE-VACCINE-PLANNED"}
    on = turned_on(("vaccines", "LIVE-J07BK02"))
    assert "LIVE-VACCINE-PLANNED" in codes(advice(case(immunisations=(zoster,)), on))


def test_the_label_asks_for_immunisations_before_the_start_where_it_is_turned_on() -> None:
    on = turned_on(("findings", "VACCINES-BEFORE-START"))
    assert "VACCINES-BEFORE-START" not in codes(advice(case(**START)))
    assert "VACCINES-BEFORE-START" in codes(advice(case(**START), on))
    assert "VACCINES-BEFORE-START" not in codes(advice(case(), on))


def test_sirolimus_is_barred_by_its_row_with_the_reason_of_the_row() -> None:
    answer = advice(case(co_medications=(drug("sirolimus"),), observations=(level("4.0"),)))
    found = said(answer, "CONTRAINDICATED-DRUG")
    assert found.message == (
        "Sirolimus is on the list: do not combine it with tacrolimus. Excess mortality, graft loss "
        "and complications (S73)."
    )
    assert found.inputs == (("drug", "sirolimus"),)
    assert found.statements == ("S73",)
    assert proposed(answer) is None
    planned = case(co_medications=(drug("sirolimus", None, planned=True),))
    assert said(advice(planned), "CONTRAINDICATED-DRUG").message.startswith(
        "Sirolimus is about to be given: do not combine it"
    )


@pytest.mark.parametrize(
    "changes",
    [{"route": Route.TOPICAL}, {"stopped_on": TODAY}],
)
def test_sirolimus_that_is_not_systemic_or_not_taken_is_let_be(changes: dict[str, Any]) -> None:
    answer = advice(case(co_medications=(drug("sirolimus", **changes),)))
    assert "CONTRAINDICATED-DRUG" not in codes(answer)


def test_a_contraindication_that_is_turned_off_is_silent() -> None:
    given = case(co_medications=(drug("sirolimus"),))
    for table, code in (
        ("contraindications", "SIROLIMUS"),
        ("findings", "CONTRAINDICATED-DRUG"),
    ):
        off = changed(table, code, enabled=False)
        assert "CONTRAINDICATED-DRUG" not in codes(advice(given, off))


def test_cyclosporine_is_barred_where_a_clinic_turns_the_label_on() -> None:
    given = case(**START, co_medications=(drug("cyclosporine"),))
    assert proposed(advice(given)) == "START 4.5"
    on = turned_on(
        ("contraindications", "CYCLOSPORINE"), ("findings", "CONTRAINDICATED-CYCLOSPORINE")
    )
    answer = advice(given, on)
    assert said(answer, "CONTRAINDICATED-CYCLOSPORINE").severity is Severity.STOP
    assert proposed(answer) is None
    half = turned_on(("contraindications", "CYCLOSPORINE"))
    assert proposed(advice(given, half)) == "START 4.5"


def test_another_inhibitor_of_mtor_asks_for_care_and_bars_nothing() -> None:
    given = case(co_medications=(drug("everolimus"),), observations=(level("4.0"),))
    on = turned_on(("contraindications", "EVEROLIMUS"), ("findings", "CAUTION-MTOR"))
    answer = advice(given, on)
    assert said(answer, "CAUTION-MTOR").message == (
        "Everolimus is on the list: take care when it is combined with tacrolimus. It acts on mTOR "
        "as sirolimus does (X12); no source, a local option."
    )
    assert proposed(answer) == "CHANGE 4.5"


def test_congenital_long_qt_bars_a_start_where_a_clinic_turns_the_label_on() -> None:
    known = ClinicalEvent(kind=EventKind.CONGENITAL_LONG_QT)
    given = case(**START, events=(known,))
    on = turned_on(
        ("contraindications", "CONGENITAL-LONG-QT"), ("findings", "CONTRAINDICATED-LONG-QT")
    )
    assert proposed(advice(given)) == "START 4.5"
    answer = advice(given, on)
    found = said(answer, "CONTRAINDICATED-LONG-QT")
    assert found.message == (
        "Congenital long QT is on record: do not give tacrolimus. The label avoids tacrolimus in "
        "congenital long QT (X18)."
    )
    assert found.inputs == (("event", "CONGENITAL_LONG_QT"),)
    assert proposed(answer) is None
    other = case(**START, events=(ClinicalEvent(kind=EventKind.TREMOR),))
    assert "CONTRAINDICATED-LONG-QT" not in codes(advice(other, on))
    mild = replace(
        on,
        findings=tuple(
            replace(row, severity=Severity.CAUTION) if row.code == found.code else row
            for row in on.findings
        ),
    )
    assert "take care with tacrolimus" in said(advice(given, mild), found.code).message
    assert proposed(advice(given, mild)) == "START 4.5"


def test_options_of_the_label_ship_off() -> None:
    for row in (*book().contraindications, *book().vaccines):
        assert row.enabled is (row.origin is Origin.SEED), row.code


def patient(**changes: Any) -> facts.Patient:
    return facts.Patient(weight_kg=Decimal(62), **changes)


def test_a_pregnancy_is_told_and_registered() -> None:
    answer = advice(case(patient=patient(pregnancy=Pregnancy.YES)))
    harm = said(answer, "PREGNANCY-HARM")
    assert harm.message == (
        "The patient is pregnant: explain that tacrolimus can harm a fetus (prematurity, birth "
        "defects, low birth weight)."
    )
    assert harm.inputs == said(answer, "PREGNANCY-REGISTRY").inputs == (("pregnancy", "YES"),)
    assert harm.severity is Severity.WARN
    planning = advice(case(patient=patient(pregnancy=Pregnancy.PLANNING)))
    assert said(planning, "PREGNANCY-HARM").message.startswith("The patient plans a pregnancy: ")
    assert "PREGNANCY-REGISTRY" not in codes(planning)


def test_a_possible_pregnancy_is_made_sure_and_cites_nothing() -> None:
    answer = advice(case(patient=patient(pregnancy=Pregnancy.POSSIBLE)))
    found = said(answer, "PREGNANCY-POSSIBLE")
    assert found.message.startswith("A pregnancy is possible, and tacrolimus can harm a fetus")
    assert found.inputs == (("pregnancy", "POSSIBLE"),)
    assert found.statements == ()
    assert not codes(answer) & {"PREGNANCY-HARM", "PREGNANCY-REGISTRY", "PREGNANCY-NOT-ASKED"}


def test_a_pregnancy_that_nobody_asked_about_could_not_be_checked() -> None:
    for sex in (Sex.FEMALE, Sex.OTHER, None):
        answer = advice(case(patient=patient(sex=sex)))
        found = said(answer, "PREGNANCY-NOT-ASKED")
        assert found.message.startswith(
            "It is not recorded whether the patient is pregnant or plans"
        )
        shown = "not known" if sex is None else sex.value
        assert dict(found.inputs) == {"sex": shown, "pregnancy": "not known"}
        assert answer.outcome is Outcome.COULD_NOT_CHECK
    man = advice(case(patient=patient(sex=Sex.MALE)))
    assert man.outcome is Outcome.ADVICE
    no = advice(case(patient=patient(pregnancy=Pregnancy.NO)))
    assert not [code for code in codes(no) if code.startswith("PREGNANCY")]


def test_contraception_is_advised_before_the_start_whatever_the_sex() -> None:
    for sex in Sex:
        start = case(**START, patient=patient(sex=sex, pregnancy=Pregnancy.NO))
        assert dict(said(advice(start), "CONTRACEPTION").inputs) == {
            "sex": sex.value,
            "contraception": "not known",
        }
    for settled in (
        case(**START, patient=patient(contraception=True)),
        case(**START, patient=patient(pregnancy=Pregnancy.YES)),
        case(),
    ):
        assert "CONTRACEPTION" not in codes(advice(settled))
    refused = case(**START, patient=patient(contraception=False))
    assert dict(said(advice(refused), "CONTRACEPTION").inputs)["contraception"] == "no"


def test_who_breast_feeds_is_referred() -> None:
    answer = advice(case(patient=patient(lactating=True)))
    assert said(answer, "LACTATION").inputs == (("lactating", "yes"),)
    for lactating in (False, None):
        assert "LACTATION" not in codes(advice(case(patient=patient(lactating=lactating))))


def test_a_vaccine_of_the_case_file_carries_its_codes() -> None:
    given = casefile.encode_case(case(), AT)
    given["immunisations"] = [{"vaccine": "OPV", "planned_on": "2026-04-01"}]
    facts_read, at = casefile.decode_case(given)
    assert at == AT
    assert "LIVE-VACCINE-PLANNED" in codes(advice(facts_read))
