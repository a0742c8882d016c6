"""Two people at once, on real threads and real connections."""

from collections.abc import Callable
from decimal import Decimal
from threading import Barrier, Thread
from typing import Any

import pytest
from django.db import connection

from dosing.companion.steps import CompanionPrescription
from dosing.models import (
    Assessment,
    CompanionOrder,
    DoseOrder,
    Factor,
    Intent,
    Regimen,
    StatementCount,
)
from dosing.services import (
    StaleAssessment,
    assess_patient,
    order_companion,
    order_dose,
    start_regimen,
    taper_companion,
)
from dosing.services.counts import miscounts
from patients.models import CoMedication, Patient
from tacroweb.audit.signature import Signature
from tests.dosing.conftest import PROGRAF, answered, assessed, prescription, started
from tests.factories import NOW, a_clinic, a_patient, a_signature, recorded, takes

pytestmark = pytest.mark.django_db(transaction=True)


def at_once(*acts: Callable[[], Any]) -> list[Any]:
    """Run the acts on threads of their own, released together; what each gave or raised."""
    ready, results = Barrier(len(acts)), [None] * len(acts)

    def run(number: int, act: Callable[[], Any]) -> None:
        try:
            ready.wait()
            results[number] = act()
        except Exception as error:  # handed to the test
            results[number] = error
        finally:
            connection.close()

    threads = [Thread(target=run, args=each) for each in enumerate(acts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def starts(patient: Patient, made: Assessment, by: Signature) -> Callable[[], DoseOrder]:
    return lambda: start_regimen(
        patient=patient,
        product=PROGRAF,
        prescription=prescription(made, "1", "1"),
        assessment=made,
        factor=Factor.PASSWORD,
        at=NOW,
        by=by,
    )


def orders(
    regimen: Regimen, made: Assessment, morning: str, by: Signature
) -> Callable[[], DoseOrder]:
    return lambda: order_dose(
        regimen=regimen,
        prescription=prescription(made, morning, "1"),
        assessment=made,
        factor=Factor.PASSWORD,
        at=NOW,
        by=by,
    )


def test_of_two_who_start_at_once_one_starts_and_one_is_told_to_assess_again() -> None:
    patient = a_patient()
    made = [assessed(patient) for _ in range(3)]
    by = a_signature(patient.clinic)
    results = at_once(*(starts(patient, each, by) for each in made))
    assert sorted(type(each) is DoseOrder for each in results) == [False, False, True]
    assert [type(each) for each in results if not isinstance(each, DoseOrder)] == [
        StaleAssessment
    ] * 2
    assert (Regimen.objects.count(), DoseOrder.objects.count()) == (1, 1)


def test_of_two_who_change_the_dose_at_once_one_does_and_one_is_told_to_assess_again() -> None:
    patient = a_patient()
    regimen = started(patient).regimen
    made = [assessed(patient) for _ in range(2)]
    by = a_signature(patient.clinic)
    results = at_once(
        *(orders(regimen, each, dose, by) for each, dose in zip(made, ("1", "2"), strict=True))
    )
    refused = [each for each in results if isinstance(each, Exception)]
    assert [type(each) for each in refused] == [StaleAssessment]
    assert "Assess again" in str(refused[0])
    assert DoseOrder.objects.filter(closed_at__isnull=True).count() == 1
    assert DoseOrder.objects.count() == 2


def test_an_assessment_never_bears_the_number_of_facts_it_did_not_read() -> None:
    patient = a_patient()
    by = a_signature(patient.clinic)

    def assess() -> Assessment:
        return assess_patient(patient=patient, intent=Intent.START, at=NOW, by=by)

    def record(value: str) -> Callable[[], object]:
        return lambda: recorded(patient, "potassium", value, "mmol/L", NOW, by=by)

    base = assess().facts_version
    results = at_once(assess, record("4.1"), assess, record("4.2"), assess)
    assert not [each for each in results if isinstance(each, Exception)]
    for made in (each for each in results if isinstance(each, Assessment)):
        read = [each for each in made.case["observations"] if each["analyte"] == "potassium"]
        assert made.facts_version == base + len(read)


def test_of_four_who_assess_at_once_at_one_clinic_each_is_counted() -> None:
    clinic = a_clinic()
    patients = [a_patient(clinic) for _ in range(4)]
    takes(patients[0], "voriconazole", NOW.date())
    takes(patients[1], "rifampin", NOW.date())
    by = a_signature(clinic)

    def assesses(patient: Patient) -> Callable[[], Assessment]:
        return lambda: assess_patient(patient=patient, intent=Intent.START, at=NOW, by=by)

    results = at_once(*map(assesses, patients))
    assert all(isinstance(each, Assessment) for each in results), results
    assert StatementCount.objects.get(clinic=clinic, statement="S1").assessments == 4
    assert list(miscounts()) == []


def test_of_two_who_taper_at_once_one_does_and_the_record_changes_once() -> None:
    patient = a_patient()
    made = assessed(patient)
    by = a_signature(patient.clinic)
    first = order_companion(
        patient=patient,
        step="A2-TAPER",
        prescription=CompanionPrescription(dose=Decimal(50), answers=answered(made)),
        assessment=made,
        factor=Factor.PASSWORD,
        at=NOW,
        by=by,
    )
    then = assessed(patient)

    def tapers(dose: int) -> Callable[[], CompanionOrder]:
        return lambda: taper_companion(
            order=first,
            prescription=CompanionPrescription(dose=Decimal(dose), answers=answered(then)),
            assessment=then,
            factor=Factor.PASSWORD,
            at=NOW,
            by=by,
        )

    done = at_once(tapers(40), tapers(30))
    (tapered,) = (each for each in done if isinstance(each, CompanionOrder))
    (refused,) = (each for each in done if isinstance(each, StaleAssessment))
    assert "recorded after this assessment" in refused.message
    assert CompanionOrder.objects.get(closed_at=None) == tapered
    (drug,) = CoMedication.objects.filter(patient=patient)
    assert drug.daily_dose_mg == tapered.dose
