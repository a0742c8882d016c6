"""A clinic, a patient, and people who are signed in."""

import pytest
from django.test import Client
from rest_framework.test import APIClient

from patients.models import Patient
from tacroweb.accounts.models import Clinic
from tacroweb.accounts.roles import Role
from tacroweb.audit.ledger import GENESIS
from tacroweb.audit.models import LedgerChain, LedgerEntry
from tacroweb.audit.signature import Signature
from tests.factories import NOW, a_clinic, a_patient, a_person, a_signature, by_system


@pytest.fixture
def clinic(db: None) -> Clinic:
    return a_clinic()


@pytest.fixture
def patient(clinic: Clinic) -> Patient:
    return a_patient(clinic, weight_kg=None)


@pytest.fixture
def by(clinic: Clinic) -> Signature:
    return a_signature(clinic, reason="as told by the patient")


@pytest.fixture
def stranger(db: None) -> Patient:
    """A patient of another clinic."""
    return a_patient(a_clinic(), family_name="Marker", mrn="MARKER-1")


@pytest.fixture
def page(clinic: Clinic) -> Client:
    """A browser in which a nurse of the clinic is signed in."""
    client = Client()
    client.force_login(a_person(clinic, Role.NURSE))
    return client


@pytest.fixture
def api(clinic: Clinic) -> APIClient:
    """A program's connection with a session of the clinic's prescriber."""
    client = APIClient()
    client.force_login(a_person(clinic, Role.PRESCRIBER))
    return client


@pytest.fixture
def broken_ledger(clinic: Clinic, patient: Patient) -> None:
    """The next entry's number is taken already, so that appending it fails."""
    chain = LedgerChain.objects.get(name=by_system(clinic).chain)
    LedgerEntry.objects.create(
        chain=chain,
        seq=chain.head_seq + 1,
        recorded_at=NOW,
        act="in the way",
        text="",
        prev_hash=GENESIS[:-1] + "f",
        hash="f" * 64,
    )
