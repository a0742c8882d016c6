"""People before the roof's pages, and patients with a story; everything is written by services."""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from dosing.checks import Answer, AnswerReason, Prescription, Product, questions
from dosing.models import DoseOrder, Factor, Formulation, Intent, ReasonCode
from dosing.selectors import current_regimen
from dosing.services import assess_patient, hold_regimen, order_dose, start_regimen
from monitoring.services import review_patient
from patients.models import Patient
from tacroweb.accounts.models import Clinic
from tacroweb.accounts.roles import Role
from tests.factories import a_clinic, a_patient, a_person, a_signature, by_system, recorded


def ago(days: int) -> datetime:
    """The same time of day so many days ago: pages read the clock."""
    return timezone.now() - timedelta(days=days)


@pytest.fixture
def clinic(db: None) -> Clinic:
    return a_clinic()


@pytest.fixture
def browse(clinic: Clinic) -> Callable[..., Client]:
    """`browse(Role.NURSE)`: somebody signed in, at the clinic unless another is named."""

    def browse(*roles: Role, at: Clinic = clinic, is_staff: bool = False) -> Client:
        client = Client()
        client.force_login(a_person(at, *roles, is_staff=is_staff))
        return client

    return browse


def on_tacrolimus(clinic: Clinic, *, days: int = 60, total: str = "3", **who: Any) -> Patient:
    """A patient who started so many days ago and has not been reviewed since."""
    patient = a_patient(clinic, at=ago(days + 10), **who)
    dose(patient, total, at=ago(days))
    return patient


def dose(patient: Patient, total: str, *, at: datetime) -> DoseOrder:
    """Start or change to this daily total, whatever the protocol asks being answered."""
    evening = Decimal(total) // 1 / 2  # whole capsules of 0.5 mg, the larger dose in the morning
    by = a_signature(patient.clinic)
    regimen = current_regimen(patient)
    intent = Intent.REVIEW if regimen else Intent.START
    assessment = assess_patient(patient=patient, intent=intent, at=at, by=by)
    prescription = Prescription(
        morning_mg=Decimal(total) - evening,
        evening_mg=evening,
        reason_code=ReasonCode.START if intent == Intent.START else ReasonCode.OTHER,
        reason_text="Agreed in the clinic.",
        answers={
            question.key: Answer(
                reason=AnswerReason.ACKNOWLEDGED
                if question.acknowledge
                else AnswerReason.WILL_MONITOR
            )
            for question in questions(assessment.advice)
        },
        confirmed=True,
    )
    act: dict[str, Any] = {
        "prescription": prescription,
        "assessment": assessment,
        "factor": Factor.PASSWORD,
        "at": at,
        "by": by,
    }
    if regimen is not None:
        return order_dose(regimen=regimen, **act)
    product = Product(formulation=Formulation.IR, brand="Prograf")
    return start_regimen(patient=patient, product=product, **act)


def serum_tested(patient: Patient, *, days: int = 1) -> None:
    """The serum tests that the protocol warns of when they are overdue, done so many days ago."""
    for analyte, value, unit in (
        ("creatinine", "0.8", "mg/dL"),
        ("bun", "14", "mg/dL"),
        ("potassium", "4.2", "mmol/L"),
        ("magnesium", "2.0", "mg/dL"),
    ):
        recorded(patient, analyte, value, unit, ago(days))


def hold(patient: Patient, *, at: datetime) -> None:
    """Hold tacrolimus for an infection."""
    regimen = current_regimen(patient)
    assert regimen is not None
    hold_regimen(
        regimen=regimen,
        reason_code=ReasonCode.INFECTION,
        reason_text="Pneumonia.",
        factor=Factor.PASSWORD,
        at=at,
        by=a_signature(patient.clinic),
    )


def reviewed(patient: Patient, *, at: datetime | None = None) -> Patient:
    """The patient after the tasks have been compared with the protocol."""
    review_patient(patient=patient, at=at or timezone.now(), by=by_system(patient.clinic))
    return patient


def trough(patient: Patient, value: str, *, days: int, hours: str | None = "12") -> None:
    """A tacrolimus level of so many days ago, in ng/mL."""
    recorded(patient, "tacrolimus-trough", value, "ng/mL", ago(days), hours_since_dose=hours)
