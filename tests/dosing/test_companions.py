"""Companion treatment: signed, tapered and stopped, and the record that goes along with it."""

import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from dosing.case import case_of
from dosing.checks import AnswerReason, DoseNotConfirmed, UnansweredFinding, questions
from dosing.companion.steps import (
    CompanionPrescription,
    ListedAnswer,
    rhythm_words,
    step_named,
    steps,
    steps_of,
)
from dosing.models import (
    Assessment,
    CompanionMeaning,
    CompanionOrder,
    Factor,
    Regimen,
    SignedCompanion,
)
from dosing.rules.engine.advice import Advice
from dosing.rules.selectors import published_book
from dosing.selectors import open_companion
from dosing.services import (
    CompanionInForce,
    CompanionNotInForce,
    ShownChanged,
    StaleAssessment,
    UnansweredDrug,
    advise,
    order_companion,
    review_companion,
    stop_companion,
    stop_digest,
    taper_companion,
)
from patients.models import CoMedication, Patient
from patients.selectors import facts_number
from patients.services import NotCurrent, change_co_medication_dose, stop_co_medication
from patients.signals import patient_changed
from tacroweb.accounts.roles import Role
from tacroweb.audit.models import LedgerEntry
from tests.dosing.conftest import answered, assessed
from tests.dosing.test_api import Api
from tests.factories import (
    NOW,
    PASSWORD,
    a_clinic,
    a_patient,
    a_person,
    a_signature,
    by_system,
    recorded,
    takes,
)

TODAY = NOW.date()
LATER = NOW + timedelta(days=14)


def wanted(made: Assessment, dose: str | None = None, **changes: Any) -> CompanionPrescription:
    values: dict[str, Any] = {
        "dose": None if dose is None else Decimal(dose),
        "answers": answered(made),
    }
    return CompanionPrescription(**(values | changes))


def order(patient: Patient, step: str, dose: str | None = None, **changes: Any) -> CompanionOrder:
    at = changes.pop("at", NOW)
    made = changes.pop("assessment", None) or assessed(patient, at=at)
    by = changes.pop("by", None) or a_signature(patient.clinic)
    shown = changes.pop("shown_sha256", "")
    return order_companion(
        patient=patient,
        step=step,
        prescription=wanted(made, dose, **changes),
        assessment=made,
        factor=Factor.PASSWORD,
        at=at,
        by=by,
        shown_sha256=shown,
    )


def taper(stands: CompanionOrder, dose: str | None, **changes: Any) -> CompanionOrder:
    at = changes.pop("at", LATER)
    made = changes.pop("assessment", None) or assessed(stands.patient, at=at)
    return taper_companion(
        order=stands,
        prescription=wanted(made, dose, **changes),
        assessment=made,
        factor=Factor.PASSWORD,
        at=at,
        by=a_signature(stands.patient.clinic),
    )


def stop(stands: CompanionOrder, **changes: Any) -> SignedCompanion:
    values: dict[str, Any] = {"reason_text": "in remission", "factor": Factor.PASSWORD}
    values |= {"at": LATER, "by": a_signature(stands.patient.clinic)}
    return stop_companion(order=stands, **(values | changes))


def taken(patient: Patient) -> list[tuple[Any, ...]]:
    """Each drug as the record has it."""
    return [
        (str(row), row.daily_dose_mg, row.daily_dose_before_mg, row.started_on, row.stopped_on)
        for row in CoMedication.objects.filter(patient=patient).order_by("pk")
    ]


def advice_on(patient: Patient, at: Any = NOW) -> Advice:
    return advise(patient, at=at)[1]


def cited(patient: Patient, at: Any = NOW) -> set[str]:
    return {one for found in advice_on(patient, at).findings for one in found.statements}


# What the regimens come to


def test_the_steps_of_the_book_are_computed_for_the_patient(patient: Patient) -> None:
    found = {step.row.code: step for step in steps_of(assessed(patient))}
    pulse, low_dose = found["A1-PULSE"], found["A1-LOW-DOSE"]
    assert (pulse.single, pulse.unit, pulse.rhythm) == (
        1000, "mg", "on 3 days a week for 2 weeks",
    )  # fmt: skip
    assert pulse.words == (
        "A1, step 1: methylprednisolone 1000 mg intravenous, on 3 days a week for 2 weeks"
    )
    assert (low_dose.single, low_dose.unit, low_dose.rhythm) == (10, "mg/d", "every day")
    by_weight = found["A2-TAPER"]
    assert (by_weight.low, by_weight.high, by_weight.single) == (
        Decimal("36.9"), Decimal("61.5"), None,
    )  # fmt: skip
    assert by_weight.arithmetic == "0.6 to 1 mg/kg/day × 61.5 kg = 36.9 to 61.5 mg/day"
    assert by_weight.rhythm == "every day, reduced slowly"
    monthly = found["CYC-500"]
    assert monthly.sum is not None
    assert monthly.sum.m2 == Fraction(166, 100)  # √(162 × 61.5 / 3600) = 1.6636
    assert (monthly.single, monthly.rhythm) == (830, "once a month")
    assert "CYC-600" not in found


def test_without_a_weight_nothing_is_computed_and_the_step_says_so(db: None) -> None:
    made = assessed(a_patient(a_clinic(), weight_kg=None))
    found = {step.row.code: step for step in steps_of(made)}
    assert found["A2-TAPER"].sum is None
    assert found["A2-TAPER"].arithmetic == (
        "0.6 to 1 mg/kg/day: not computed, for the weight must be known"
    )
    assert "weight and height must be known" in found["CYC-500"].arithmetic
    assert found["A2-TAPER"].words == ("A2, step 1: prednisone by mouth, every day, reduced slowly")
    assert found["A1-PULSE"].single == 1000


def test_a_rhythm_is_said_as_the_row_says_it(patient: Patient) -> None:
    case, book = case_of(patient, at=NOW), published_book()
    monthly = next(each.row for each in steps(case, book, NOW) if each.row.code == "CYC-500")
    assert rhythm_words(replace(monthly, every="every 2 weeks")) == "every 2 weeks"
    assert rhythm_words(replace(monthly, every="")) == "once"


# Ordering


def test_an_order_is_signed_and_the_drug_enters_the_record(patient: Patient) -> None:
    assert "S10" in cited(patient)
    made = assessed(patient)
    by = a_signature(patient.clinic)
    row = order(patient, "A2-TAPER", "50", assessment=made, by=by)
    assert (row.regimen_code, row.step, row.drug, row.route) == ("A2", 1, "prednisone", "ORAL")
    assert (row.dose, row.unit, row.rhythm) == (50, "mg/d", "every day, reduced slowly")
    assert row.words == "prednisone 50 mg/day by mouth, every day, reduced slowly"
    assert (row.weight_kg, row.body_surface_m2) == (Decimal("61.5"), None)
    assert row.arithmetic == (
        "0.6 to 1 mg/kg/day × 61.5 kg = 36.9 to 61.5 mg/day; ordered: 50 mg/day"
    )
    assert (row.since, row.closed_at, row.tapers) == (NOW, None, None)
    assert row.reason == "Companion regimen A2, step 1"
    assert json.loads(row.answers).keys() == {each.key for each in questions(made.advice)}
    (signed,) = row.signatures.all()
    assert (signed.meaning, signed.printed_name, signed.role, signed.factor) == (
        CompanionMeaning.STARTED, by.actor_name, "Prescriber", "PASSWORD",
    )  # fmt: skip
    assert taken(patient) == [("prednisone", 50, None, TODAY, None)]
    assert row.co_medication == CoMedication.objects.get()
    act = LedgerEntry.objects.latest("pk")
    assert (act.act, act.reason) == ("Companion treatment ordered", row.reason)
    assert {label for label, _, _ in json.loads(act.text)["rows"]} == {
        "patients.historicalcomedication",
        "dosing.historicalcompanionorder",
        "dosing.signedcompanion",
    }
    assert "S10" not in cited(patient)


def test_where_the_regimen_names_one_dose_none_need_be_typed(patient: Patient) -> None:
    pulse = order(patient, "A1-PULSE")
    assert (pulse.dose, pulse.unit) == (1000, "mg")
    infusion = order(patient, "CYC-500")
    assert (infusion.dose, infusion.body_surface_m2) == (830, Decimal("1.66"))
    assert infusion.arithmetic.endswith("500 mg/m² × 1.66 m² = 830 mg")
    # No day of a pulse is like another: the record has no daily dose of it.
    assert taken(patient) == [
        ("methylprednisolone", None, None, TODAY, None),
        ("cyclophosphamide", None, None, TODAY, None),
    ]
    with pytest.raises(ValidationError) as refused:
        order(patient, "A2-TAPER")
    assert refused.value.message_dict == {"dose": ["Enter the dose in mg/day."]}


def test_a_drug_that_is_taken_already_goes_on_at_the_dose_of_the_order(patient: Patient) -> None:
    began = TODAY - timedelta(days=10)
    takes(patient, "prednisone", began, daily_dose_mg=Decimal(20))
    order(patient, "A2-TAPER", "40")
    assert taken(patient) == [("prednisone", 40, 20, began, None)]


def test_a_drug_whose_dose_was_not_known_or_that_was_planned_is_put_right(
    patient: Patient,
) -> None:
    began = TODAY - timedelta(days=10)
    takes(patient, "prednisone", began)
    takes(patient, "cyclophosphamide", planned=True, route="IV")
    order(patient, "A2-TAPER", "40")
    order(patient, "CYC-500")
    assert taken(patient) == [
        ("prednisone", 40, None, began, None),
        ("cyclophosphamide", None, None, TODAY, None),
    ]
    assert not CoMedication.objects.filter(planned=True).exists()


def test_the_same_dose_by_the_same_route_changes_nothing_but_the_order(patient: Patient) -> None:
    takes(patient, "prednisone", TODAY, daily_dose_mg=Decimal(40))
    other = takes(patient, "methylprednisolone", TODAY, daily_dose_mg=Decimal(8))
    before, both = facts_number(patient), {str(other.pk): ListedAnswer.GOES_ON}
    row = order(patient, "A2-TAPER", "40", listed=both)
    assert facts_number(patient) == before + 1
    with pytest.raises(UnansweredDrug) as refused:
        order(patient, "A1-PULSE")
    assert "Methylprednisolone 8 mg/day by mouth is on the list." in str(refused.value)
    order(patient, "A1-PULSE", listed=both | {str(row.co_medication_id): ListedAnswer.GOES_ON})
    # By mouth and by infusion are two drugs of the record.
    assert len(taken(patient)) == 3


def test_an_order_raises_the_facts_and_tells_monitoring_once(
    patient: Patient, django_capture_on_commit_callbacks: Any
) -> None:
    made = assessed(patient)
    before, told = facts_number(patient), []

    def listen(*, patient_id: int, **kwargs: object) -> None:
        told.append(patient_id)

    patient_changed.connect(listen)
    try:
        with django_capture_on_commit_callbacks(execute=True):
            order(patient, "A2-TAPER", "40", assessment=made)
    finally:
        patient_changed.disconnect(listen)
    assert told == [patient.pk]
    assert facts_number(patient) == before + 1


# What is asked and refused


@pytest.mark.parametrize(
    ("step", "dose", "asked"),
    [
        ("A2-TAPER", "36.9", set()),
        ("A2-TAPER", "61.5", set()),
        ("A2-TAPER", "36", {"reason_text"}),
        ("A2-TAPER", "62.5", {"reason_text"}),
        ("A2-TAPER", "123", {"reason_text", "confirmed"}),
        ("A2-TAPER", "615", {"reason_text", "typed_again_mg"}),
        ("A1-LOW-DOSE", "10", set()),
        ("A1-LOW-DOSE", "7.5", {"reason_text"}),
        ("CYC-500", "850", {"reason_text"}),
    ],
)
def test_a_dose_that_is_not_the_regimens_is_explained_and_meant(
    patient: Patient, step: str, dose: str, asked: set[str]
) -> None:
    made = assessed(patient)
    given: dict[str, Any] = {"assessment": made}
    for name, met in (
        ("reason_text", "agreed at the board"),
        ("confirmed", True),
        ("typed_again_mg", Decimal(dose)),
    ):
        if name in asked:
            with pytest.raises(DoseNotConfirmed) as refused:
                order(patient, step, dose, **given)
            assert name in refused.value.fields
            given[name] = met
    row = order(patient, step, dose, **given)
    assert row.reason == given.get("reason_text", row.reason)
    assert row.dose == Decimal(dose)


def test_without_a_weight_the_dose_is_the_prescribers_with_a_reason(db: None) -> None:
    patient = a_patient(a_clinic(), weight_kg=None)
    with pytest.raises(DoseNotConfirmed, match="could not be computed"):
        order(patient, "A2-TAPER", "40")
    row = order(patient, "A2-TAPER", "40", reason_text="60 kg by the patient's word")
    assert row.arithmetic == (
        "0.6 to 1 mg/kg/day: not computed, for the weight must be known; ordered: 40 mg/day"
    )


@pytest.mark.parametrize(("dose", "words"), [("0", "more than 0 mg"), ("-1", "more than 0 mg")])
def test_no_dose_is_none(patient: Patient, dose: str, words: str) -> None:
    with pytest.raises(ValidationError, match=words) as refused:
        order(patient, "A2-TAPER", dose)
    assert list(refused.value.message_dict) == ["dose"]
    assert not CompanionOrder.objects.exists()


def test_a_step_that_the_book_has_not_is_refused(patient: Patient) -> None:
    made = assessed(patient)
    for code in ("A9", "CYC-600"):
        with pytest.raises(ValidationError) as refused:
            step_named(made, code)
        assert list(refused.value.message_dict) == ["step"]


def test_one_drug_is_ordered_once_at_a_time(patient: Patient) -> None:
    order(patient, "A2-TAPER", "40")
    with pytest.raises(CompanionInForce, match=r"Prednisone is ordered already, 40 mg/day \(A2\)"):
        order(patient, "A1-LOW-DOSE")
    second = CompanionOrder.objects.get()
    second.pk, second.public_id = None, uuid4()
    with pytest.raises(ValidationError, match="This drug is ordered already"):
        second.validate_constraints()


def test_every_finding_that_asks_is_answered(patient: Patient) -> None:
    takes(patient, "sirolimus", TODAY)
    made = assessed(patient)
    asked = questions(made.advice)
    assert {each.finding["severity"] for each in asked} >= {"STOP", "CAUTION"}
    for question in asked:
        said = answered(made)
        del said[question.key]
        with pytest.raises(UnansweredFinding) as refused:
            order(patient, "A2-TAPER", "40", assessment=made, answers=said)
        assert set(refused.value.fields) == {f"answers.{question.key}"}
    critical = next(each.key for each in asked if not each.acknowledge)
    merely_seen = answered(made)
    merely_seen[critical] = replace(merely_seen[critical], reason=AnswerReason.ACKNOWLEDGED)
    with pytest.raises(UnansweredFinding):
        order(patient, "A2-TAPER", "40", assessment=made, answers=merely_seen)
    assert not CompanionOrder.objects.exists()
    order(patient, "A2-TAPER", "40", assessment=made)


def test_a_stale_assessment_is_not_signed_on(patient: Patient) -> None:
    made = assessed(patient)
    recorded(patient, "potassium", "4.2", "mmol/L", NOW)
    with pytest.raises(StaleAssessment):
        order(patient, "A2-TAPER", "40", assessment=made)
    made = assessed(patient)
    order(patient, "A2-TAPER", "40", assessment=made)
    with pytest.raises(StaleAssessment):
        order(patient, "CYC-500", assessment=made)
    with pytest.raises(ValidationError, match="another patient"):
        order(a_patient(patient.clinic), "CYC-500", assessment=assessed(patient))


def test_beside_a_course_the_assessment_is_a_review(on_tacrolimus: Regimen) -> None:
    patient = on_tacrolimus.patient
    row = order(patient, "A2-TAPER", "40")
    assert row.assessment.intent == "REVIEW"


def test_nobody_orders_tapers_or_stops_for_another_clinic(patient: Patient) -> None:
    stranger = a_signature(a_clinic())
    row = order(patient, "A2-TAPER", "40")
    with pytest.raises(PermissionDenied):
        order(patient, "CYC-500", by=stranger)
    with pytest.raises(PermissionDenied):
        stop(row, by=stranger)


def test_what_was_shown_is_what_is_signed(patient: Patient) -> None:
    made = assessed(patient)

    def shown(dose: str) -> str:
        return review_companion(
            patient,
            step="A2-TAPER",
            prescription=wanted(made, dose),
            assessment=made,
            at=NOW,
        ).shown_sha256

    with pytest.raises(ShownChanged):
        order(patient, "A2-TAPER", "40", assessment=made, shown_sha256=shown("50"))
    row = order(patient, "A2-TAPER", "40", assessment=made, shown_sha256=shown("40"))
    assert len(row.signatures.get().shown_sha256) == 64


# Tapering


def test_a_taper_closes_the_last_order_and_points_back(patient: Patient) -> None:
    first = order(patient, "A2-TAPER", "50")
    second = taper(first, "40")
    first.refresh_from_db()
    assert first.closed_at == second.since == LATER
    assert second.tapers == first
    assert (second.dose, second.reason) == (40, "Taper of A2")
    assert second.arithmetic == "50 mg/day − 10 mg/day = 40 mg/day"
    assert second.co_medication == first.co_medication
    assert second.signatures.get().meaning == CompanionMeaning.TAPERED
    assert taken(patient) == [("prednisone", 40, 50, TODAY, None)]
    assert first.co_medication.pk == CoMedication.objects.get(dose_changed_on=LATER.date()).pk
    case = case_of(patient, at=LATER)
    (drug,) = case.co_medications
    assert (drug.daily_dose_mg, drug.daily_dose_before_mg) == (40, 50)
    assert drug.dose_changed_on == LATER.date()
    kept = CompanionOrder.history.filter(id=first.pk).order_by("history_id")
    assert [row.closed_at for row in kept] == [None, LATER]


def test_a_dose_that_does_not_fall_says_why(patient: Patient) -> None:
    first = order(patient, "A2-TAPER", "40")
    with pytest.raises(ValidationError, match="nothing to sign"):
        taper(first, "40")
    with pytest.raises(ValidationError, match="Enter the dose in mg/day"):
        taper(first, None)
    for dose, reason, asked in (
        ("50", "", "reason_text"),
        ("80", "relapse", "confirmed"),
        ("400", "relapse", "typed_again_mg"),
    ):
        with pytest.raises(DoseNotConfirmed) as refused:
            taper(first, dose, reason_text=reason)
        assert asked in refused.value.fields
    assert CompanionOrder.objects.get().dose == 40
    raised = taper(first, "80", reason_text="relapse", confirmed=True)
    assert raised.arithmetic == "40 mg/day + 40 mg/day = 80 mg/day"
    assert raised.reason == "relapse"


def test_an_order_is_tapered_or_stopped_once(patient: Patient) -> None:
    first = order(patient, "A2-TAPER", "40")
    second = taper(first, "30")
    for act in (lambda: taper(first, "20"), lambda: stop(first)):
        with pytest.raises(CompanionNotInForce, match="tapered or stopped meanwhile"):
            act()
    stop(second)
    with pytest.raises(CompanionNotInForce):
        stop(second)


def test_a_taper_follows_what_the_record_says_meanwhile(patient: Patient) -> None:
    first = order(patient, "A2-TAPER", "50")
    change_co_medication_dose(
        co_medication=first.co_medication,
        daily_dose_mg=Decimal(45),
        on=TODAY,
        at=NOW,
        by=by_system(patient.clinic),
    )
    second = taper(first, "40")
    assert taken(patient) == [("prednisone", 40, 45, TODAY, None)]
    stop_co_medication(
        co_medication=first.co_medication, stopped_on=LATER.date(), at=LATER,
        by=by_system(patient.clinic),
    )  # fmt: skip
    with pytest.raises(NotCurrent, match="not being taken"):
        taper(second, "30")
    stop(second)
    assert open_companion(patient, "prednisone") is None


def test_an_infusion_is_reduced_without_a_change_in_the_record(patient: Patient) -> None:
    first = order(patient, "CYC-500")
    before = facts_number(patient)
    second = taper(first, "600")
    assert (second.dose, second.body_surface_m2) == (600, None)
    assert facts_number(patient) == before + 1
    assert taken(patient) == [("cyclophosphamide", None, None, TODAY, None)]


# Stopping


def test_a_stop_ends_the_order_and_the_drug(patient: Patient) -> None:
    row = order(patient, "A2-TAPER", "40")
    with pytest.raises(ValidationError) as refused:
        stop(row, reason_text=" ")
    assert list(refused.value.message_dict) == ["reason_text"]
    with pytest.raises(ShownChanged):
        stop(row, shown_sha256="0" * 64)
    with pytest.raises(ValidationError, match="another patient"):
        stop(row, assessment=assessed(a_patient(patient.clinic)))
    signed = stop(row, shown_sha256=stop_digest(row))
    assert (signed.meaning, signed.reason, signed.order) == (
        CompanionMeaning.STOPPED, "in remission", row,
    )  # fmt: skip
    row.refresh_from_db()
    assert row.closed_at == LATER
    assert taken(patient) == [("prednisone", 40, None, TODAY, LATER.date())]
    assert "S10" in cited(patient, LATER + timedelta(days=1))
    again = order(patient, "A1-LOW-DOSE", at=LATER)
    assert again.co_medication != row.co_medication


def test_without_its_ledger_entry_nothing_is_written(
    patient: Patient, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = order(patient, "A2-TAPER", "40")
    made, by = assessed(patient), a_signature(patient.clinic)
    then = assessed(patient, at=LATER)
    watched: Any = (CompanionOrder, SignedCompanion, CoMedication, CoMedication.history.model)
    before = [list(model._base_manager.order_by("pk").values()) for model in watched]

    def broken(act: object) -> None:
        raise OSError("the ledger cannot be written")

    monkeypatch.setattr("tacroweb.audit.ledger.append", broken)
    for act in (
        lambda: order(patient, "CYC-500", assessment=made, by=by),
        lambda: taper_companion(
            order=row,
            prescription=wanted(then, "30"),
            assessment=then,
            factor=Factor.PASSWORD,
            at=LATER,
            by=by,
        ),
        lambda: stop(row, by=by),
    ):
        with pytest.raises(OSError, match="ledger"):
            act()
    assert [list(model._base_manager.order_by("pk").values()) for model in watched] == before


# A second drug of the same kind


def test_a_second_corticosteroid_is_not_ordered_without_a_word(patient: Patient) -> None:
    began = TODAY - timedelta(days=30)
    other = takes(patient, "prednisolone", began, daily_dose_mg=Decimal(50))
    with pytest.raises(UnansweredDrug) as refused:
        order(patient, "A2-TAPER", "45")
    assert refused.value.fields == {
        f"listed.{other.pk}": "Prednisolone 50 mg/day is on the list. Does prednisone replace it?"
    }
    assert not CompanionOrder.objects.exists()


def test_where_it_is_replaced_the_record_ends_the_other_in_the_same_act(patient: Patient) -> None:
    began = TODAY - timedelta(days=30)
    other = takes(patient, "prednisolone", began, daily_dose_mg=Decimal(50))
    row = order(patient, "A2-TAPER", "45", listed={str(other.pk): ListedAnswer.REPLACED})
    assert taken(patient) == [
        ("prednisolone", 50, None, began, TODAY),
        ("prednisone", 45, None, TODAY, None),
    ]
    assert row.reason == "Companion regimen A2, step 1; replaces prednisolone 50 mg/day"
    assert LedgerEntry.objects.latest("pk").act == "Companion treatment ordered"


def test_both_may_be_meant_and_the_order_keeps_that(patient: Patient) -> None:
    other = takes(patient, "prednisolone", None, daily_dose_mg=None)
    row = order(patient, "A2-TAPER", "45", listed={str(other.pk): ListedAnswer.GOES_ON})
    assert row.reason == "Companion regimen A2, step 1; prednisolone goes on beside it"
    assert [each[0] for each in taken(patient)] == ["prednisolone", "prednisone"]
    assert all(each[-1] is None for each in taken(patient))


def test_what_becomes_of_the_other_drug_is_part_of_what_was_shown(patient: Patient) -> None:
    other = takes(patient, "prednisolone", None, daily_dose_mg=Decimal(50))
    made, key = assessed(patient), str(other.pk)
    shown = review_companion(
        patient,
        step="A2-TAPER",
        prescription=wanted(made, "45", listed={key: ListedAnswer.GOES_ON}),
        assessment=made,
        at=NOW,
    ).shown_sha256
    with pytest.raises(ShownChanged):
        order(
            patient,
            "A2-TAPER",
            "45",
            assessment=made,
            listed={key: ListedAnswer.REPLACED},
            shown_sha256=shown,
        )


def test_an_order_that_the_other_drug_was_taken_by_ends_with_it(patient: Patient) -> None:
    pulse = order(patient, "A1-PULSE")
    key = str(pulse.co_medication_id)
    low = order(patient, "A1-LOW-DOSE", listed={key: ListedAnswer.REPLACED})
    pulse.refresh_from_db()
    assert pulse.closed_at == low.since
    ends = pulse.signatures.get(meaning=CompanionMeaning.STOPPED)
    assert ends.reason == "Companion regimen A1, step 2; replaces methylprednisolone"
    assert taken(patient)[0][-1] == TODAY


@pytest.mark.parametrize(
    ("drug", "recorded"),
    [
        ("prednisone", {}),  # the one that is ordered goes on at another dose
        ("prednisolone", {"route": "TOPICAL"}),
        ("prednisolone", {"until": TODAY}),
        ("prednisolone", {"planned": True}),
        ("voriconazole", {}),
        ("prednisolone forte", {}),  # outside the vocabulary: nobody knows its kind
    ],
)
def test_what_is_no_second_drug_of_the_kind_is_not_asked(
    patient: Patient, drug: str, recorded: dict[str, Any]
) -> None:
    since = None if recorded.get("planned") else TODAY - timedelta(days=9)
    takes(patient, drug, since, **recorded)
    assert order(patient, "A2-TAPER", "45").reason == "Companion regimen A2, step 1"


def test_an_answer_about_another_drug_is_refused_at_its_field(patient: Patient) -> None:
    with pytest.raises(ValidationError) as refused:
        order(patient, "A2-TAPER", "45", listed={"99": ListedAnswer.REPLACED})
    assert "99: no drug of the same kind" in refused.value.message_dict["listed"][0]


# Pages


@pytest.fixture
def page(patient: Patient) -> Any:
    client = Client()
    client.force_login(a_person(patient.clinic, Role.PRESCRIBER))
    with time_machine.travel(NOW, tick=False):
        yield client


def address(name: str, patient: Patient, *args: object) -> str:
    return reverse(f"dosing:{name}", args=[patient.public_id, *args])


def chart(client: Client, patient: Patient) -> str:
    return client.get(reverse("chart", args=[patient.public_id])).content.decode()


def filled(made: Assessment, **changes: str) -> dict[str, str]:
    """The form of a new order filled in, every question answered."""
    fields = {"act": "companion", "step": "A2-TAPER", "dose": "50", "reason_text": ""}
    for question in questions(made.advice):
        fields[f"answer_{question.key}"] = "on" if question.acknowledge else "WILL_MONITOR"
    return fields | changes


def assess(client: Client, patient: Patient, **typed: str) -> Assessment:
    to = client.post(address("assess", patient), {"act": "companion"} | typed)["Location"]
    made = Assessment.objects.latest("pk")
    assert to.startswith(address("companion", patient, made.public_id))
    return made


def signed(client: Client, patient: Patient, made: Assessment, **changes: str) -> Any:
    fields = filled(made, **changes)
    reviewed = client.post(address("companion-review", patient, made.public_id), fields)
    assert "review" in reviewed.context, reviewed.context["form"].errors
    fields |= {"shown_sha256": reviewed.context["review"].shown_sha256, "password": PASSWORD}
    return client.post(address("companion-sign", patient, made.public_id), fields | changes)


def test_companion_treatment_is_ordered_tapered_and_stopped_on_pages(
    patient: Patient, page: Client
) -> None:
    assert "No companion regimen is in force" in chart(page, patient)
    made = assess(page, patient)
    form = address("companion", patient, made.public_id)
    text = page.get(form).content.decode()
    assert "prednisone 36.9 to 61.5 mg/day by mouth, every day, reduced slowly" in text
    assert "0.6 to 1 mg/kg/day × 61.5 kg = 36.9 to 61.5 mg/day" in text
    assert "500 mg/m² × 1.66 m² = 830 mg). Needs local approval." in text
    review = page.post(
        address("companion-review", patient, made.public_id), filled(made)
    ).content.decode()
    assert "How it was computed" in review
    assert "61.5\N{NO-BREAK SPACE}kg" in review
    assert signed(page, patient, made)["Location"] == reverse("chart", args=[patient.public_id])
    shown = chart(page, patient)
    assert "prednisone 50 mg/day by mouth, every day, reduced slowly" in shown
    # Once in the medication, marked as what it is; no second line, and no stop past the order.
    medication = shown.partition('id="medication"')[2].partition('id="companions"')[0]
    assert medication.count("Prednisone") == 2  # the line, and the name of its link
    assert "Companion treatment" in medication
    assert (
        reverse("patients:drug-stop", args=[patient.public_id, CoMedication.objects.get().pk])
        not in medication
    )

    row = CompanionOrder.objects.get()
    made = assess(page, patient, tapers=str(row.public_id))
    tapered = page.get(
        address("companion", patient, made.public_id) + f"?tapers={row.public_id}"
    ).content.decode()
    assert "Taper companion treatment" in tapered
    assert "Now: <b>prednisone 50 mg/day" in tapered
    fields = {"tapers": str(row.public_id), "dose": "40"}
    assert signed(page, patient, made, **fields).status_code == 302
    row.refresh_from_db()
    assert row.tapered_by.dose == 40
    assert "Before (1)" in chart(page, patient)

    end = address("companion-stop", patient, row.tapered_by.public_id)
    digest = page.get(end).context["form"]["shown_sha256"].value()
    bare = page.post(end, {"shown_sha256": digest, "password": PASSWORD})
    assert list(bare.context["form"].errors) == ["reason_text"]
    why = {"shown_sha256": digest, "reason_text": "in remission"}
    wrong = page.post(end, why | {"password": "guess"})
    assert list(wrong.context["form"].errors) == ["password"]
    assert page.post(end, why | {"password": PASSWORD}).status_code == 302
    assert page.get(end)["Location"] == reverse("chart", args=[patient.public_id])
    assert "No companion regimen is in force" in chart(page, patient)


@pytest.mark.parametrize(
    ("wrong", "field", "words"),
    [
        ({"step": ""}, "step", "Choose the step to order."),
        ({"step": "A9"}, "step", "Select a valid choice"),
        ({"dose": "40,5"}, "dose", "with a point"),
        ({"dose": "1e1"}, "dose", "without an exponent"),
        ({"dose": "40.1234"}, "dose", "decimal places"),
        ({"dose": "0"}, "dose", "more than 0 mg"),
        ({"dose": ""}, "dose", "Enter the dose in mg/day."),
        ({"dose": "30"}, "reason_text", "is not what the regimen comes to"),
    ],
)
def test_what_is_refused_is_told_at_its_field_and_stays_typed(
    patient: Patient, page: Client, wrong: dict[str, str], field: str, words: str
) -> None:
    made = assess(page, patient)
    answer = page.post(address("companion-review", patient, made.public_id), filled(made, **wrong))
    assert words in " ".join(answer.context["form"].errors[field])
    assert not CompanionOrder.objects.exists()


def test_an_unusual_dose_is_confirmed_on_the_review(patient: Patient, page: Client) -> None:
    made = assess(page, patient)
    fields = {"dose": "123", "reason_text": "board decision"}
    refused = signed(page, patient, made, **fields)
    assert refused.status_code == 409
    assert "confirm that this is meant" in refused.content.decode()
    assert signed(page, patient, made, **fields, confirmed="on").status_code == 302


def test_signing_needs_the_password_and_what_was_reviewed(patient: Patient, page: Client) -> None:
    made = assess(page, patient)
    sign = address("companion-sign", patient, made.public_id)
    unseen = page.post(sign, filled(made) | {"password": PASSWORD}).content.decode()
    assert "Review the order first" in unseen
    forged = page.post(sign, filled(made) | {"password": PASSWORD, "shown_sha256": "0" * 64})
    assert forged.status_code == 409
    wrong = signed(page, patient, made, password="guess").content.decode()
    assert "This is not your password. Nothing was signed." in wrong
    assert not CompanionOrder.objects.exists()
    assert signed(page, patient, made).status_code == 302
    again = page.post(sign, filled(made) | {"password": PASSWORD, "shown_sha256": "0" * 64})
    assert again.status_code == 409
    assert CompanionOrder.objects.count() == 1


def test_the_form_and_the_review_ask_whether_the_other_drug_is_replaced(
    patient: Patient, page: Client
) -> None:
    other = takes(patient, "prednisolone", TODAY, daily_dose_mg=Decimal(50))
    made, name = assess(page, patient), f"listed_{other.pk}"
    text = page.get(address("companion", patient, made.public_id)).content.decode()
    assert (
        "Prednisolone 50 mg/day is on the list. Does methylprednisolone or prednisone replace it?"
        in text
    )
    review = address("companion-review", patient, made.public_id)
    for given, words in (
        ({}, "Prednisolone 50 mg/day is on the list. Does prednisone replace it?"),
        ({name: "PERHAPS"}, "Select a valid choice."),
    ):
        refused = page.post(review, filled(made, **given))
        assert words in refused.context["form"].errors[name][0]
    shown = page.post(review, filled(made, **{name: "REPLACED"})).content.decode()
    assert "Does prednisone replace it? <b>Yes, it is replaced" in shown
    assert "Is replaced: the record notes today as its last day" in shown
    assert signed(page, patient, made, **{name: "REPLACED"}).status_code == 302
    other.refresh_from_db()
    assert other.stopped_on == TODAY
    assert "replaces prednisolone 50 mg/day" in chart(page, patient)


def test_a_step_of_another_kind_leaves_the_question_unasked(patient: Patient, page: Client) -> None:
    takes(patient, "prednisolone", TODAY, daily_dose_mg=Decimal(50))
    made = assess(page, patient)
    assert signed(page, patient, made, step="CYC-500", dose="").status_code == 302


def test_a_stale_page_is_assessed_anew_with_what_was_typed(patient: Patient, page: Client) -> None:
    made = assess(page, patient)
    recorded(patient, "potassium", "4.2", "mmol/L", NOW - timedelta(hours=1))
    stale = page.post(address("companion-review", patient, made.public_id), filled(made))
    assert stale.status_code == 409
    assert "Assess again" in stale.content.decode()
    anew = assess(page, patient, **filled(made))
    text = page.get(address("companion", patient, anew.public_id)).content.decode()
    assert 'name="dose" value="50"' in text
    assert anew != made


def test_a_get_where_a_form_was_sent_leads_to_the_form(patient: Patient, page: Client) -> None:
    made = assess(page, patient)
    for name in ("companion-review", "companion-sign"):
        to = page.get(address(name, patient, made.public_id))["Location"]
        assert to == address("companion", patient, made.public_id)
    edit = page.post(address("companion", patient, made.public_id), filled(made))
    assert 'name="dose" value="50"' in edit.content.decode()


def test_the_regimens_stand_by_step_and_each_is_ordered_from_its_finding(
    patient: Patient, page: Client
) -> None:
    shown = chart(page, patient)
    places = [
        shown.index(f'name="finding" value="COMPANION-{step}"')
        for step in ("PULSE", "LOW-DOSE", "TAPER")
    ]
    assert places == sorted(places)
    to = page.post(
        address("assess", patient), {"act": "companion", "finding": "COMPANION-LOW-DOSE"}
    )["Location"]
    assert page.get(to).context["form"]["step"].value() == "A1-LOW-DOSE"
    made = Assessment.objects.latest("pk")
    form = page.get(to + "?finding=COMPANION-TAPER")
    assert form.context["form"]["step"].value() == "A2-TAPER"
    assert page.get(to + "?finding=x").context["form"]["step"].value() is None
    text = form.content.decode()
    link = address("companion", patient, made.public_id) + "?finding=COMPANION-PULSE#order_step"
    assert link in text
    assert link in page.get(address("assessment", patient, made.public_id)).content.decode()


def test_each_step_says_what_goes_into_the_dose(patient: Patient, page: Client) -> None:
    made = assess(page, patient)
    text = page.get(address("companion", patient, made.public_id)).content.decode()
    assert "Leave the dose empty for 1000 mg each time, or enter another." in text
    assert "Leave the dose empty for 10 mg a day, or enter another." in text
    assert "Enter the mg a day, from 36.9 to 61.5." in text
    assert text.count('class="names-dose"') == 3


def test_the_chart_says_where_the_record_has_gone_on_without_the_order(
    patient: Patient, page: Client
) -> None:
    row = order(patient, "A2-TAPER", "50")
    by = by_system(patient.clinic)
    change_co_medication_dose(
        co_medication=row.co_medication, daily_dose_mg=Decimal(45), on=TODAY, at=NOW, by=by
    )
    assert "The record says: 45\N{NO-BREAK SPACE}mg/day." in chart(page, patient)
    stop_co_medication(co_medication=row.co_medication, stopped_on=TODAY, at=NOW, by=by)
    assert "The record says: stopped 02-Mar-2026." in chart(page, patient)


def test_the_assessment_page_leads_to_companion_treatment(patient: Patient, page: Client) -> None:
    order(patient, "A2-TAPER", "50")
    made = assessed(patient)
    text = page.get(address("assessment", patient, made.public_id)).content.decode()
    assert "prednisone 50 mg/day by mouth" in text
    assert address("companion", patient, made.public_id) in text


def test_a_nurse_reads_and_another_clinic_finds_nothing(patient: Patient) -> None:
    row = order(patient, "A2-TAPER", "50")
    made = row.assessment
    nurse, stranger = Client(), Client()
    nurse.force_login(a_person(patient.clinic, Role.NURSE))
    stranger.force_login(a_person(a_clinic(), Role.PRESCRIBER))
    with time_machine.travel(NOW, tick=False):
        shown = chart(nurse, patient)
        assert "prednisone 50 mg/day by mouth" in shown
        assert address("companion-stop", patient, row.public_id) not in shown
        for name, key in (
            ("companion", made.public_id),
            ("companion-review", made.public_id),
            ("companion-sign", made.public_id),
            ("companion-stop", row.public_id),
        ):
            assert nurse.post(address(name, patient, key), {}).status_code == 403
            assert stranger.post(address(name, patient, key), {}).status_code == 404
        other = a_patient(patient.clinic)
        prescriber = Client()
        prescriber.force_login(a_person(patient.clinic, Role.PRESCRIBER))
        form = address("companion", patient, made.public_id)
        assert prescriber.get(f"{form}?tapers=x").status_code == 404
        assert prescriber.get(address("companion-stop", other, row.public_id)).status_code == 404


def test_the_chart_costs_the_same_for_any_number_of_orders(patient: Patient, page: Client) -> None:
    row = order(patient, "A2-TAPER", "60")
    counts = []
    for doses in ((), ("50", "40", "30", "20")):
        for dose in doses:
            row = taper(row, dose, at=NOW)
        with CaptureQueriesContext(connection) as seen:
            chart(page, patient)
        counts.append(len(seen))
    assert counts[0] == counts[1]


# The API


def test_companion_treatment_through_the_api(patient: Patient) -> None:
    with time_machine.travel(NOW, tick=False):
        api = Api(patient)
        made = api.assess(patient)
        status, offered = api.get(f"companion-orders/steps/?assessment={made['id']}")
        assert status == 200, offered
        by_weight = next(each for each in offered if each["step"] == "A2-TAPER")
        assert (by_weight["low"], by_weight["high"], by_weight["unit"]) == ("36.9", "61.5", "mg/d")
        assert by_weight["needs_local_approval"] is False
        body = {
            "patient": str(patient.public_id),
            "assessment": made["id"],
            "step": "A2-TAPER",
            "dose": "50",
            "answers": {
                each["key"]: {"reason": "ACKNOWLEDGED" if each["acknowledge"] else "WILL_MONITOR"}
                for each in made["questions"]
            },
            "password": PASSWORD,
        }
        for wrong, code, field in (
            ({"dose": 50}, 400, "dose"),
            ({"dose": "50.1234"}, 400, "dose"),
            ({"dose": "0"}, 400, "dose"),
            ({"dose": None}, 400, "dose"),
            ({"step": "A9"}, 400, "step"),
            ({"regimen": "A2"}, 400, "regimen"),
            ({"password": "guess"}, 400, "password"),
            ({"patient": str(a_patient(a_clinic()).public_id)}, 400, "patient"),
            ({"dose": "30"}, 409, "reason_text"),
        ):
            status, refused = api.post("companion-orders", body | wrong)
            assert (status, list(refused["fields"])) == (code, [field]), refused
        status, refused = api.post("companion-orders", body | {"answers": {}})
        assert (status, refused["code"]) == (409, "unanswered_finding")
        status, first = api.post("companion-orders", body)
        assert status == 201, first
        assert (first["regimen"], first["dose"], first["weight_kg"]) == ("A2", "50", "61.5")
        assert [each["meaning"] for each in first["signatures"]] == ["STARTED"]
        drugs = api.get(f"co-medications/?patient={patient.public_id}")[1]["results"]
        assert [(each["drug"], each["daily_dose_mg"]) for each in drugs] == [("prednisone", "50")]
        assert drugs[0]["id"] == first["co_medication"]

        made = api.assess(patient)
        again = body | {"assessment": made["id"], "step": "A1-LOW-DOSE", "dose": None}
        again["answers"] = {
            each["key"]: {"reason": "ACKNOWLEDGED" if each["acknowledge"] else "WILL_MONITOR"}
            for each in made["questions"]
        }
        status, refused = api.post("companion-orders", again)
        assert (status, refused["code"]) == (409, "companion_in_force")
        taper = {key: again[key] for key in ("assessment", "answers", "password")}
        taper["dose"] = "40"
        status, second = api.post(f"companion-orders/{first['id']}/taper", taper)
        assert status == 201, second
        assert (second["tapers"], second["dose"]) == (first["id"], "40")
        status, refused = api.post(f"companion-orders/{first['id']}/taper", taper)
        assert (status, refused["code"]) == (409, "stale_assessment")
        end = {"reason_text": "in remission", "password": PASSWORD}
        status, refused = api.post(f"companion-orders/{first['id']}/stop", end)
        assert (status, refused["code"]) == (409, "companion_not_in_force")
        status, stopped = api.post(f"companion-orders/{second['id']}/stop", end)
        assert (status, stopped["closed_at"]) == (200, "2026-03-02T10:00:00+01:00")
        assert [each["meaning"] for each in stopped["signatures"]] == ["TAPERED", "STOPPED"]
        whose = f"companion-orders/?patient={patient.public_id}"
        assert len(api.get(whose)[1]["results"]) == 2
        assert api.get(whose + "&in_force=true")[1]["results"] == []

        nurse, stranger = Api(patient, Role.NURSE), Api(a_patient(a_clinic()))
        assert nurse.post("companion-orders", body)[0] == 403
        assert nurse.get(f"companion-orders/{first['id']}/")[0] == 200
        assert stranger.get(f"companion-orders/{first['id']}/")[0] == 404
        assert stranger.get("companion-orders/")[1]["results"] == []
        status, refused = stranger.get(f"companion-orders/steps/?assessment={made['id']}")
        assert (status, list(refused["fields"])) == (400, ["assessment"])
        assert stranger.get("companion-orders/steps/")[0] == 400


def test_the_api_asks_and_takes_what_becomes_of_the_other_drug(patient: Patient) -> None:
    other = takes(patient, "prednisolone", TODAY, daily_dose_mg=Decimal(50))
    with time_machine.travel(NOW, tick=False):
        api = Api(patient)
        made = api.assess(patient)
        offered = api.get(f"companion-orders/steps/?assessment={made['id']}")[1]
        asked = {each["step"]: each["listed"] for each in offered}
        question = "Prednisolone 50 mg/day is on the list. Does prednisone replace it?"
        assert asked["A2-TAPER"] == [{"co_medication": other.pk, "question": question}]
        assert asked["CYC-500"] == []
        body = {
            "patient": str(patient.public_id),
            "assessment": made["id"],
            "step": "A2-TAPER",
            "dose": "50",
            "answers": {
                each["key"]: {"reason": "ACKNOWLEDGED" if each["acknowledge"] else "WILL_MONITOR"}
                for each in made["questions"]
            },
            "password": PASSWORD,
        }
        status, refused = api.post("companion-orders", body)
        assert (status, refused["code"]) == (409, "drug_on_the_list")
        assert refused["fields"] == {f"listed.{other.pk}": question}
        for wrong in ({str(other.pk): "MAYBE"}, {"0": "REPLACED"}, ["REPLACED"]):
            status, refused = api.post("companion-orders", body | {"listed": wrong})
            assert status == 400
            assert next(iter(refused["fields"])).startswith("listed")
        status, made_now = api.post(
            "companion-orders", body | {"listed": {str(other.pk): "REPLACED"}}
        )
        assert status == 201, made_now
        assert made_now["reason"].endswith("; replaces prednisolone 50 mg/day")


def test_a_list_costs_the_same_however_long(patient: Patient) -> None:
    row = order(patient, "A2-TAPER", "60", at=NOW)
    with time_machine.travel(NOW, tick=False):
        api = Api(patient)
        counts = []
        for doses in ((), ("50", "40", "30")):
            for dose in doses:
                row = taper(row, dose, at=NOW)
            with CaptureQueriesContext(connection) as seen:
                assert api.get("companion-orders/")[0] == 200
            counts.append(len(seen))
    assert counts[0] == counts[1]


def test_the_trail_names_each_act_and_its_signature(patient: Patient) -> None:
    row = taper(order(patient, "A2-TAPER", "50"), "40")
    stop(row)
    client = Client()
    client.force_login(a_person(patient.clinic, Role.AUDITOR))
    text = client.get(reverse("audit:patient", args=[patient.public_id])).content.decode()
    for words in (
        "Companion treatment ordered",
        "Companion treatment tapered",
        "Companion treatment stopped",
        "Companion treatment: A2, prednisone 40 mg/day",
        "Signature: tapered companion treatment",
        "Co-medication: prednisone",
    ):
        assert words in text
