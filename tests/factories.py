"""Test data made by the same services as the product's, so that it is signed and audited too."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

from django.core.management import call_command

from dosing.rules.models import RuleBook
from dosing.rules.services import draft_book, publish_book, submit_for_review
from patients.models import Analyte, CoMedication, Observation, Patient
from patients.selectors import analyte_named, drug_named
from patients.services import record_co_medication, record_observation, register_patient
from tacroweb.accounts.models import Clinic, User
from tacroweb.accounts.roles import Role
from tacroweb.accounts.services import add_clinic, add_user, grant_role
from tacroweb.audit.signature import Channel, Signature

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
PASSWORD = "Dawn-chorus-42"
_numbers = count(1)


def by_system(clinic: Clinic | None = None, reason: str = "test") -> Signature:
    """The software's own hand, at a clinic or for the installation."""
    clinic_id = clinic.pk if clinic else None
    return Signature.system(channel=Channel.COMMAND, reason=reason, clinic_id=clinic_id)


def vocabulary() -> None:
    """Drugs, analytes and units in the database; quick when they are there."""
    if not Analyte.objects.exists():
        call_command("seed_vocabulary", verbosity=0)


def a_clinic(name: str = "", time_zone: str = "Europe/Berlin") -> Clinic:
    """A clinic with the vocabulary to work with."""
    vocabulary()
    name = name or f"Clinic {next(_numbers)}"
    return add_clinic(name=name, time_zone=time_zone, by=by_system())


def a_newer_book(*, at: datetime = NOW) -> RuleBook:
    """The rules in force once more, as the next version: drafted, reviewed and published."""
    by = by_system(reason="a newer rule book to test with")
    book = submit_for_review(book=draft_book(at=at, by=by), at=at, by=by)
    return publish_book(book=book, at=at, by=for_all(a_person(a_clinic(), Role.RULE_APPROVER)))


def for_all(user: User, reason: str = "A test of the rules.") -> Signature:
    """A person's hand under an act on a rule book, which belongs to the installation."""
    return Signature(
        actor_id=user.pk,
        actor_name=user.display_name,
        role="Rule approver",
        clinic_id=None,
        channel=Channel.WEB,
        reason=reason,
    )


def a_person(clinic: Clinic, *roles: Role, username: str = "", is_staff: bool = False) -> User:
    """A person with these roles at the clinic since 2020; the password is `PASSWORD`."""
    username = username or f"person{next(_numbers)}"
    user = add_user(
        username=username,
        password=PASSWORD,
        first_name="Robin",
        last_name=username.title(),
        is_staff=is_staff,
        by=by_system(),
    )
    for role in roles:
        grant_role(
            user=user, clinic=clinic, role=role, from_on=date(2020, 1, 1), by=by_system(clinic)
        )
    return user


def a_prescriber(clinic: Clinic) -> User:
    """A person who may prescribe."""
    return a_person(clinic, Role.PRESCRIBER)


def a_signature(
    clinic: Clinic, *, user: User | None = None, role: Role = Role.PRESCRIBER, reason: str = ""
) -> Signature:
    """A person's hand at the clinic; without `user` a new prescriber."""
    user = user or a_person(clinic, role)
    return Signature(
        actor_id=user.pk,
        actor_name=user.display_name,
        role=role.label,
        clinic_id=clinic.pk,
        channel=Channel.WEB,
        reason=reason,
    )


def a_patient(clinic: Clinic | None = None, *, at: datetime = NOW, **registered: Any) -> Patient:
    """A woman born in 1971 with anti-MDA5 dermatomyositis, 61.5 kg and 162 cm a week ago.

    Give `diagnosis={}` or `weight_kg=None` for a patient of whom that is not known.
    """
    clinic = clinic or a_clinic()
    number = next(_numbers)
    diagnosis = {
        "ild": True,
        "sard": "IIM",
        "subtype": "CADM",
        "anti_mda5": True,
        "severe_at_presentation": True,
        "rapidly_progressive": False,
        "line": "FIRST",
    }
    weight_kg = registered.pop("weight_kg", "61.5")
    values = {
        "mrn": f"{number:010d}",
        "family_name": "Okafor",
        "given_name": "Amara",
        "birth_date": date(1971, 3, 14),
        "sex": "FEMALE",
        "pregnancy": "NO",
        "lactating": False,
        "infection_risk": "STANDARD",
        "hcv_antiviral_course": False,
        "allergy_status": "NONE_KNOWN",
        "diagnosis": diagnosis,
    }
    patient = register_patient(clinic=clinic, at=at, by=by_system(clinic), **(values | registered))
    if weight_kg:
        recorded(patient, "weight", weight_kg, "kg", at - timedelta(days=7))
        recorded(patient, "height", "162", "cm", at - timedelta(days=7))
    return patient


def recorded(
    patient: Patient,
    analyte: str,
    value: str,
    unit: str,
    at: datetime,
    *,
    hours_since_dose: str | None = None,
    by: Signature | None = None,
) -> Observation:
    """A result drawn at `at` and recorded at once."""
    row = analyte_named(analyte)
    assert row is not None, f"{analyte} is not in the vocabulary"
    return record_observation(
        patient=patient,
        analyte=row,
        entered=value,
        unit=unit,
        drawn_at=at,
        hours_since_dose=Decimal(hours_since_dose) if hours_since_dose else None,
        at=at,
        by=by or by_system(patient.clinic),
    )


def takes(
    patient: Patient,
    drug: str,
    since: date | None = None,
    *,
    until: date | None = None,
    at: datetime = NOW,
    by: Signature | None = None,
    **recorded: Any,
) -> CoMedication:
    """A drug taken by the patient; one outside the vocabulary is recorded as unlisted."""
    listed = drug_named(drug)
    return record_co_medication(
        patient=patient,
        drug=listed,
        unlisted_name="" if listed else drug,
        started_on=since,
        stopped_on=until,
        at=at,
        by=by or by_system(patient.clinic),
        **({"route": "ORAL"} | recorded),
    )
