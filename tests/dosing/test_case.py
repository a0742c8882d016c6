"""Rows become facts: what goes in, what stays out, and how the original dose is found."""

from datetime import date, timedelta
from decimal import Decimal

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext

from dosing.case import case_of
from dosing.models import Intent, Regimen
from dosing.rules import casefile
from dosing.rules.engine.facts import UNLISTED
from patients.models import Patient
from patients.services import (
    change_co_medication_dose,
    correct_co_medication,
    correct_observation,
    correct_patient,
    record_event,
    record_immunisation,
    withdraw_observation,
)
from tests.dosing.conftest import ordered, started
from tests.factories import NOW, a_signature, by_system, recorded, takes

TODAY = NOW.date()


def a_full_record(patient: Patient) -> None:
    takes(patient, "prednisone", TODAY - timedelta(days=10), daily_dose_mg=Decimal("37.5"))
    takes(patient, "Paxlovid", TODAY - timedelta(days=2), until=TODAY - timedelta(days=1))
    takes(patient, "Grandmother's tea", TODAY - timedelta(days=3), route="")
    recorded(patient, "potassium", "4.2", "mmol/L", NOW - timedelta(days=3))
    recorded(patient, "creatinine", "88", "umol/L", NOW - timedelta(days=3))
    recorded(
        patient,
        "tacrolimus-trough",
        "<2.0",
        "ng/mL",
        NOW - timedelta(days=1),
        hours_since_dose="12",
    )
    record_event(
        patient=patient,
        kind="TREMOR",
        grade=1,
        started_on=TODAY - timedelta(days=4),
        at=NOW,
        by=by_system(patient.clinic),
    )
    record_immunisation(
        patient=patient,
        vaccine="J07BL01",
        planned_on=TODAY + timedelta(days=9),
        at=NOW,
        by=by_system(patient.clinic),
    )


def test_a_case_of_rows_survives_the_case_format(on_tacrolimus: Regimen) -> None:
    patient = on_tacrolimus.patient
    a_full_record(patient)
    local = NOW.astimezone(patient.clinic.zone)
    case = case_of(patient, at=NOW)
    assert len(case.co_medications) == 3
    assert len(case.observations) == 5
    assert case.immunisations[0].live
    text = casefile.written(casefile.encode_case(case, local))
    assert casefile.read_case(text) == (case, local)


def test_a_combination_brings_its_ingredients_and_an_unlisted_drug_its_name(
    patient: Patient,
) -> None:
    a_full_record(patient)
    case = case_of(patient, at=NOW)
    combination = next(drug for drug in case.co_medications if "ritonavir" in drug.ingredients)
    assert combination.drug == "nirmatrelvir/ritonavir"
    unlisted = next(drug for drug in case.co_medications if drug.drug == UNLISTED)
    assert (unlisted.name, unlisted.ingredients, unlisted.route) == ("Grandmother's tea", (), None)


def test_a_result_replaced_withdrawn_or_drawn_later_is_no_fact(patient: Patient) -> None:
    by = a_signature(patient.clinic, reason="mistyped")
    wrong = recorded(patient, "potassium", "5.2", "mmol/L", NOW - timedelta(days=3))
    correct_observation(
        observation=wrong,
        entered="4.2",
        unit="mmol/L",
        drawn_at=wrong.drawn_at,
        at=NOW,
        by=by,
    )
    gone = recorded(patient, "magnesium", "0.8", "mmol/L", NOW - timedelta(days=3))
    withdraw_observation(observation=gone, at=NOW, by=by)
    recorded(patient, "calcium", "2.3", "mmol/L", NOW + timedelta(hours=1))
    seen = {(each.analyte, each.value) for each in case_of(patient, at=NOW).observations}
    assert ("potassium", Decimal("4.2")) in seen
    assert {name for name, _ in seen} == {"potassium", "weight", "height"}
    assert ("potassium", Decimal("5.2")) not in seen


def test_the_intent_follows_the_regimen_unless_it_is_given(on_tacrolimus: Regimen) -> None:
    assert case_of(on_tacrolimus.patient, at=NOW).intent == "REVIEW"
    assert case_of(on_tacrolimus.patient, intent=Intent.START, at=NOW).intent == "START"


def test_the_circumstances_and_the_changes_of_a_dose_go_in(patient: Patient) -> None:
    by = by_system(patient.clinic)
    correct_patient(patient=patient, contraception=False, child_pugh=9, at=NOW, by=by)
    patient.refresh_from_db()
    row = takes(patient, "prednisone", TODAY - timedelta(days=30), daily_dose_mg=Decimal(40))
    for days, dose in ((20, 30), (10, 20), (1, 10)):
        row = change_co_medication_dose(
            co_medication=row,
            daily_dose_mg=Decimal(dose),
            on=TODAY - timedelta(days=days),
            at=NOW,
            by=by,
        )
    case = case_of(patient, at=NOW)
    assert (case.patient.contraception, case.patient.child_pugh) == (False, 9)
    (drug,) = case.co_medications
    assert (drug.daily_dose_mg, drug.daily_dose_before_mg) == (10, 20)
    assert drug.dose_changed_on == TODAY - timedelta(days=1)
    assert [(dose.until, dose.daily_dose_mg) for dose in drug.earlier_doses] == [
        (TODAY - timedelta(days=20), 40),
        (TODAY - timedelta(days=10), 30),
    ]
    local = NOW.astimezone(patient.clinic.zone)
    assert casefile.read_case(casefile.written(casefile.encode_case(case, local)))[0] == case
    # As it was seven days ago: the change of yesterday had not come.
    (then,) = case_of(patient, at=NOW - timedelta(days=7)).co_medications
    assert (then.daily_dose_mg, then.daily_dose_before_mg) == (20, 30)
    assert then.dose_changed_on == TODAY - timedelta(days=10)
    (first,) = case_of(patient, at=NOW - timedelta(days=25)).co_medications
    assert (first.daily_dose_mg, first.dose_changed_on) == (40, None)


def before(regimen: Regimen) -> Decimal | None:
    found = case_of(regimen.patient, at=NOW).regimen
    assert found is not None
    return found.dose_before_inhibitor_mg_per_day


def test_the_original_dose_is_the_one_in_force_when_the_inhibitor_began(
    on_tacrolimus: Regimen,
) -> None:
    assert before(on_tacrolimus) is None
    ordered(on_tacrolimus, "2", "2", at=NOW - timedelta(days=20))
    takes(on_tacrolimus.patient, "voriconazole", TODAY - timedelta(days=10))
    ordered(on_tacrolimus, "0.5", "0.5", at=NOW - timedelta(days=10))
    assert before(on_tacrolimus) == 4


def test_of_two_inhibitors_the_first_decides(on_tacrolimus: Regimen) -> None:
    takes(on_tacrolimus.patient, "diltiazem", TODAY - timedelta(days=20))
    ordered(on_tacrolimus, "1", "1", at=NOW - timedelta(days=15))
    takes(on_tacrolimus.patient, "voriconazole", TODAY - timedelta(days=10))
    assert before(on_tacrolimus) == 3


@pytest.mark.parametrize(("days_ago", "expected"), [(27, Decimal(3)), (28, None)])
def test_a_stopped_inhibitor_counts_while_its_event_is_open(
    patient: Patient, days_ago: int, expected: Decimal | None
) -> None:
    regimen = started(patient, at=NOW - timedelta(days=60)).regimen
    stopped_on = TODAY - timedelta(days=days_ago)
    takes(patient, "voriconazole", TODAY - timedelta(days=40), until=stopped_on)
    ordered(regimen, "0.5", "0.5", at=NOW - timedelta(days=39))
    assert before(regimen) == expected


def test_an_inhibitor_older_than_the_regimen_met_no_dose(on_tacrolimus: Regimen) -> None:
    takes(on_tacrolimus.patient, "diltiazem", date(2020, 1, 1))
    assert before(on_tacrolimus) is None
    takes(on_tacrolimus.patient, "voriconazole", TODAY)
    assert before(on_tacrolimus) == 3


def test_a_cream_is_no_inhibitor(on_tacrolimus: Regimen) -> None:
    takes(on_tacrolimus.patient, "ketoconazole", TODAY - timedelta(days=3), route="TOPICAL")
    assert before(on_tacrolimus) is None


def test_a_dose_cut_in_advance_is_not_taken_for_the_original_one(on_tacrolimus: Regimen) -> None:
    with time_machine.travel(NOW):  # the day of writing is history's own
        planned = takes(on_tacrolimus.patient, "voriconazole", planned=True)
    ordered(on_tacrolimus, "0.5", "0.5", at=NOW)
    assert before(on_tacrolimus) == 3
    later = NOW + timedelta(days=2)
    correct_co_medication(
        co_medication=planned,
        planned=False,
        started_on=later.date(),
        at=later,
        by=a_signature(on_tacrolimus.patient.clinic, reason="begun"),
    )
    found = case_of(on_tacrolimus.patient, at=later).regimen
    assert found is not None
    assert found.dose_before_inhibitor_mg_per_day == 3


def test_the_number_of_queries_does_not_depend_on_the_rows(on_tacrolimus: Regimen) -> None:
    patient = Patient.objects.select_related("clinic", "diagnosis").get(pk=on_tacrolimus.patient_id)
    takes(patient, "voriconazole", TODAY)
    with CaptureQueriesContext(connection) as few:
        case_of(patient, at=NOW)
    a_full_record(patient)
    takes(patient, "clarithromycin", TODAY)
    for days in range(1, 9):
        recorded(patient, "potassium", "4.1", "mmol/L", NOW - timedelta(days=days + 30))
    with CaptureQueriesContext(connection) as many:
        case_of(patient, at=NOW)
    assert len(many) == len(few) <= 10
