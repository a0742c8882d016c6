"""A clinic and a hand to sign with."""

from datetime import date
from typing import Any

import pytest

from patients.models import Patient
from tacroweb.accounts.models import Clinic
from tacroweb.accounts.services import add_clinic
from tacroweb.audit.ledger import service
from tacroweb.audit.signature import Channel, Signature


@service("Patient registered")
def registered(*, clinic: Clinic, mrn: str, by: Signature, **more: Any) -> Patient:
    """The smallest service there is: one tracked row."""
    patient = Patient(
        clinic=clinic,
        mrn=mrn,
        family_name=more.get("family_name", "Okafor"),
        given_name="Amara",
        birth_date=date(1971, 3, 14),
        sex="FEMALE",
    )
    patient.sign(by).save()
    return patient


@service("Patient corrected")
def renamed(*, patient: Patient, family_name: str, by: Signature) -> Patient:
    """A second version of the row."""
    patient.family_name = family_name
    patient.sign(by).save()
    return patient


@pytest.fixture
def clinic(db: None) -> Clinic:
    system = Signature.system(channel=Channel.COMMAND, reason="A clinic to test with.")
    return add_clinic(name="North", time_zone="Europe/Berlin", by=system)


@pytest.fixture
def by(clinic: Clinic) -> Signature:
    return Signature.system(channel=Channel.WEB, reason="Because.", clinic_id=clinic.pk)
