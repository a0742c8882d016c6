"""Data of the dosing tests, written by services."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from dosing.checks import Answer, AnswerReason, Prescription, Product, questions
from dosing.models import (
    Assessment,
    DoseOrder,
    Factor,
    Formulation,
    Intent,
    ReasonCode,
    Regimen,
    RegimenStatus,
)
from dosing.selectors import current_regimen
from dosing.services import assess_patient, order_dose, resume_regimen, start_regimen
from patients.models import Patient
from tests.factories import NOW, a_clinic, a_patient, a_signature

PROGRAF = Product(formulation=Formulation.IR, brand="Prograf")


def answered(assessment: Assessment, **changes: Answer) -> dict[str, Answer]:
    """An answer to every question of the assessment."""
    return {
        question.key: Answer(
            reason=AnswerReason.ACKNOWLEDGED if question.acknowledge else AnswerReason.WILL_MONITOR
        )
        for question in questions(assessment.advice)
    } | changes


def prescription(
    assessment: Assessment, morning: str, evening: str, **changes: Any
) -> Prescription:
    """A dose with every question answered and words for a departure."""
    values: dict[str, Any] = {
        "morning_mg": Decimal(morning),
        "evening_mg": Decimal(evening),
        "reason_code": ReasonCode.OTHER,
        "reason_text": "agreed at the board",
        "answers": answered(assessment),
    }
    return Prescription(**(values | changes))


def assessed(patient: Patient, *, at: datetime = NOW) -> Assessment:
    """A stored assessment: START, or REVIEW for a patient on tacrolimus."""
    intent = Intent.REVIEW if current_regimen(patient) else Intent.START
    return assess_patient(patient=patient, intent=intent, at=at, by=a_signature(patient.clinic))


def started(
    patient: Patient,
    morning: str = "1.5",
    evening: str = "1.5",
    *,
    at: datetime = NOW,
    **changes: Any,
) -> DoseOrder:
    """A course of tacrolimus with its first dose."""
    assessment = assessed(patient, at=at)
    return start_regimen(
        patient=patient,
        product=changes.pop("product", PROGRAF),
        prescription=prescription(assessment, morning, evening, **changes),
        assessment=assessment,
        factor=Factor.PASSWORD,
        at=at,
        by=a_signature(patient.clinic),
    )


def ordered(
    regimen: Regimen, morning: str, evening: str, *, at: datetime, **changes: Any
) -> DoseOrder:
    """The next dose of a course, on a fresh assessment; it ends a hold."""
    regimen = Regimen.objects.get(pk=regimen.pk)
    assessment = assessed(regimen.patient, at=at)
    act = resume_regimen if regimen.status == RegimenStatus.HELD else order_dose
    return act(
        regimen=regimen,
        prescription=prescription(assessment, morning, evening, **changes),
        assessment=assessment,
        factor=Factor.PASSWORD,
        at=at,
        by=a_signature(regimen.patient.clinic),
    )


@pytest.fixture
def patient(db: None) -> Patient:
    """A patient who could start tacrolimus, with no baseline results."""
    return a_patient(a_clinic())


@pytest.fixture
def on_tacrolimus(patient: Patient) -> Regimen:
    """A course of 1.5 + 1.5 mg that began thirty days before NOW."""
    return started(patient, at=NOW - timedelta(days=30)).regimen
