"""Registering patients, correcting their registration, recording the disease."""

import re
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

from django.core.exceptions import PermissionDenied, ValidationError

from patients.models import (
    CHILD_PUGH,
    AllergyStatus,
    ClinicalEvent,
    CoMedication,
    Diagnosis,
    FactsVersion,
    Observation,
    Patient,
    Pregnancy,
    Sard,
    Sex,
)
from patients.selectors import diagnosis_of, today_at
from tacroweb.accounts.models import Clinic
from tacroweb.audit.ledger import service
from tacroweb.audit.signature import Signature

from .facts import OLDEST_YEARS, hold_facts, need_reason, open_facts, refuse_if
from .results import Result, write_results

IDENTITY = ("mrn", "family_name", "given_name", "birth_date", "sex")
CIRCUMSTANCES = (
    "pregnancy",
    "lactating",
    "infection_risk",
    "cyp3a5",
    "hcv_antiviral_course",
    "contraception",
    "child_pugh",
    "allergy_status",
    "allergies",
)
DISEASE = (
    "ild",
    "sard",
    "subtype",
    "anti_mda5",
    "other_antibodies",
    "severe_at_presentation",
    "rapidly_progressive",
    "line",
)
_MRN = re.compile(r"[A-Za-z0-9][A-Za-z0-9./_-]*")


@service("Patient registered")
def register_patient(
    *,
    clinic: Clinic,
    mrn: str,
    family_name: str,
    given_name: str,
    birth_date: date,
    sex: str,
    pregnancy: str = "",
    lactating: bool | None = None,
    infection_risk: str = "",
    cyp3a5: str = "",
    hcv_antiviral_course: bool | None = None,
    contraception: bool | None = None,
    child_pugh: int | None = None,
    allergy_status: str = AllergyStatus.NOT_RECORDED,
    allergies: str = "",
    diagnosis: Mapping[str, Any] | None = None,
    results: Sequence[Result] = (),
    at: datetime,
    by: Signature,
) -> Patient:
    """Take a patient into the clinic's care, with the disease and first results (weight, height).

    Raises `ValidationError` at the field (of a result: at its analyte's key) for an MRN in use, a
    birth date that cannot be, or circumstances that contradict each other; `PermissionDenied` for
    another clinic.
    """
    if clinic.pk != by.clinic_id:
        raise PermissionDenied("A patient is registered at one's own clinic.")
    patient = Patient(
        clinic=clinic,
        mrn=mrn,
        family_name=family_name,
        given_name=given_name,
        birth_date=birth_date,
        sex=sex,
        pregnancy=pregnancy,
        lactating=lactating,
        infection_risk=infection_risk,
        cyp3a5=cyp3a5,
        hcv_antiviral_course=hcv_antiviral_course,
        contraception=contraception,
        child_pugh=child_pugh,
        allergy_status=allergy_status,
        allergies=allergies,
    )
    _save_checked(patient, at=at, by=by)
    FactsVersion.objects.create(patient=patient)
    open_facts([patient], by=by)
    if diagnosis:
        _save_disease(Diagnosis(patient=patient), diagnosis, by=by)
    for result in results:
        try:
            write_results(patient, [result], at=at, by=by)
        except ValidationError as error:
            places = {"value": result.analyte.key, "unit": result.analyte.key}
            told = error.message_dict.items()
            raise ValidationError(
                {places.get(name, name): texts for name, texts in told}
            ) from error
    return patient


@service("Registration corrected")
def correct_patient(
    *, patient: Patient, seen: int | None = None, at: datetime, by: Signature, **changes: Any
) -> Patient:
    """Change what is registered; who the person is (MRN, names, birth, sex) only with a reason.

    Nothing is written when nothing differs. Raises `ValidationError` like `register_patient`, and
    when something on record would then have happened before the birth; `NotCurrent` when the facts
    are no longer those of version `seen`.
    """
    if unknown := changes.keys() - {*IDENTITY, *CIRCUMSTANCES}:
        raise TypeError(f"A registration has no {', '.join(sorted(unknown))}.")
    hold_facts([patient], by=by, seen=seen)
    current = Patient.objects.select_related("clinic").get(pk=patient.pk)
    before = {name: getattr(current, name) for name in (*IDENTITY, *CIRCUMSTANCES)}
    for name, value in changes.items():
        setattr(current, name, value)
    _tidy(current)
    changed = {name for name, value in before.items() if getattr(current, name) != value}
    if not changed:
        return current
    open_facts([patient], by=by)
    if changed & set(IDENTITY):
        need_reason(by)
    if "birth_date" in changed and current.birth_date is not None:
        _check_nothing_before_birth(current)
    _save_checked(current, at=at, by=by)
    return current


@service("Diagnosis recorded")
def record_diagnosis(
    *, patient: Patient, seen: int | None = None, by: Signature, **disease: Any
) -> Diagnosis:
    """Record the disease as it is now judged: every field of `DISEASE`; what is left out is not
    known. Raises `ValidationError`, such as for a myositis subtype without myositis, and
    `NotCurrent` when the facts are no longer those of version `seen`."""
    open_facts([patient], by=by, seen=seen)
    patient = Patient.objects.select_related("diagnosis").get(pk=patient.pk)
    return _save_disease(diagnosis_of(patient) or Diagnosis(patient=patient), disease, by=by)


def _save_disease(row: Diagnosis, disease: Mapping[str, Any], *, by: Signature) -> Diagnosis:
    if unknown := disease.keys() - set(DISEASE):
        raise TypeError(f"A diagnosis has no {', '.join(sorted(unknown))}.")
    not_known = Diagnosis()
    for name in DISEASE:
        setattr(row, name, disease.get(name, getattr(not_known, name)))
    if row.subtype and row.sard != Sard.IIM:
        raise ValidationError({"subtype": "Only an inflammatory myopathy has this subtype."})
    row.sign(by).save()
    return row


def _tidy(patient: Patient) -> None:
    patient.mrn = "".join(str(patient.mrn).split())
    for name in ("family_name", "given_name", "allergies"):
        setattr(patient, name, " ".join(str(getattr(patient, name)).split()))


def _save_checked(patient: Patient, *, at: datetime, by: Signature) -> None:
    _tidy(patient)
    errors: dict[str, str] = {}
    if patient.mrn and not _MRN.fullmatch(patient.mrn):
        errors["mrn"] = "An MRN is letters and digits, with . / - _ between them."
    others = Patient.objects.filter(clinic=patient.clinic_id, mrn__iexact=patient.mrn)
    if others.exclude(pk=patient.pk).exists():
        errors["mrn"] = "A patient with this MRN is registered already."
    today = today_at(patient.clinic, at)
    if patient.birth_date and patient.birth_date > today:
        errors["birth_date"] = "The birth date is in the future."
    elif patient.birth_date and patient.birth_date.year < today.year - OLDEST_YEARS:
        errors["birth_date"] = f"Check the year: this is more than {OLDEST_YEARS} years ago."
    if patient.sex == Sex.MALE and patient.pregnancy not in ("", Pregnancy.NO):
        errors["pregnancy"] = "This contradicts the sex recorded."
    if patient.sex == Sex.MALE and patient.lactating:
        errors["lactating"] = "This contradicts the sex recorded."
    if patient.child_pugh is not None and not CHILD_PUGH[0] <= patient.child_pugh <= CHILD_PUGH[1]:
        errors["child_pugh"] = f"A Child-Pugh score is {CHILD_PUGH[0]} to {CHILD_PUGH[1]}."
    if patient.allergy_status == AllergyStatus.RECORDED and not patient.allergies:
        errors["allergies"] = "Name the allergies."
    if patient.allergy_status != AllergyStatus.RECORDED and patient.allergies:
        errors["allergy_status"] = "Allergies are named: choose “Recorded”."
    refuse_if(errors)
    patient.sign(by).save()


def _check_nothing_before_birth(patient: Patient) -> None:
    born = patient.birth_date
    midnight = datetime(born.year, born.month, born.day, tzinfo=patient.clinic.zone)
    if (
        Observation.objects.filter(patient=patient, withdrawn=False, drawn_at__lt=midnight).exists()
        or CoMedication.objects.filter(
            patient=patient, withdrawn=False, started_on__lt=born
        ).exists()
        or ClinicalEvent.objects.filter(
            patient=patient, withdrawn=False, started_on__lt=born
        ).exists()
    ):
        raise ValidationError({"birth_date": "Something is on record before this day."})
