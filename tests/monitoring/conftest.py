"""Patients on tacrolimus, made through the services."""

from datetime import datetime, timedelta
from decimal import Decimal
from io import StringIO

import pytest
from django.core.management import call_command

from dosing.checks import Answer, AnswerReason, Prescription, Product, questions
from dosing.models import Factor, Formulation, Intent, ReasonCode
from dosing.rules.engine.facts import TACROLIMUS_LEVEL
from dosing.rules.models import RuleBook
from dosing.services import assess_patient, start_regimen
from monitoring.models import MonitoringTask
from monitoring.selectors import open_tasks
from patients.models import Patient
from tacroweb.accounts.models import Clinic
from tests.factories import a_clinic, a_patient, by_system, recorded

START = datetime.fromisoformat("2026-01-12T09:00:00+01:00")


@pytest.fixture
def clinic(db: None) -> Clinic:
    clinic = a_clinic()
    if not RuleBook.objects.exists():
        call_command("seed_rules", stdout=StringIO())
    return clinic


def start(patient: Patient, *, at: datetime = START, total: str = "3") -> None:
    """Start tacrolimus in two equal doses, answering whatever the protocol asks."""
    by = by_system(patient.clinic)
    assessment = assess_patient(patient=patient, intent=Intent.START, at=at, by=by)
    start_regimen(
        patient=patient,
        product=Product(formulation=Formulation.IR, brand="Prograf"),
        prescription=Prescription(
            morning_mg=Decimal(total) / 2,
            evening_mg=Decimal(total) / 2,
            reason_code=ReasonCode.START,
            reason_text="Fixed dose.",
            answers={
                question.key: Answer(reason=AnswerReason.WILL_MONITOR)
                for question in questions(assessment.advice)
            },
            confirmed=True,
        ),
        assessment=assessment,
        factor=Factor.PASSWORD,
        at=at,
        by=by,
    )


@pytest.fixture
def patient(clinic: Clinic) -> Patient:
    """A patient who started 3 mg/day on 12-Jan-2026 and has nothing else on record."""
    patient = a_patient(clinic, at=START - timedelta(days=10))
    start(patient)
    return patient


def level(patient: Patient, value: str, *, at: datetime, hours: str | None = "12.0") -> None:
    """A tacrolimus level drawn and recorded at `at`."""
    recorded(patient, "tacrolimus-trough", value, "ng/mL", at, hours_since_dose=hours)


def open_troughs(patient: Patient) -> list[MonitoringTask]:
    """The open tasks for a trough, beside those of the calendar of other tests."""
    return [task for task in open_tasks(patient) if task.analyte.key == TACROLIMUS_LEVEL]
