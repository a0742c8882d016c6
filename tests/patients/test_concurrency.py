"""Two people at one record: the facts are held by one of them at a time."""

import threading
from collections import Counter
from collections.abc import Callable

import pytest
from django.db import connection

from patients.models import Observation, Patient
from patients.selectors import facts_number
from patients.services import AlreadyRecorded, NotCurrent, import_results, stop_co_medication
from tacroweb.refusals import Refusal
from tests.factories import NOW, a_patient, by_system, recorded, takes

pytestmark = pytest.mark.django_db(transaction=True)


def together(*acts: Callable[[], object]) -> Counter[str]:
    """Run the acts at the same time; how often each outcome came."""
    outcomes: Counter[str] = Counter()
    start = threading.Barrier(len(acts))

    def run(act: Callable[[], object]) -> None:
        start.wait()
        try:
            act()
            outcomes["done"] += 1
        except Refusal as refusal:
            outcomes[type(refusal).__name__] += 1
        except Exception as error:
            outcomes[repr(error)] += 1
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


@pytest.fixture
def patient() -> Patient:
    return a_patient(weight_kg=None)


def test_one_result_entered_by_two_people_is_one_result(patient: Patient) -> None:
    before = facts_number(patient)
    outcomes = together(
        *[lambda: recorded(patient, "potassium", "4.2", "mmol/L", NOW) for _ in range(3)]
    )
    assert outcomes == {"done": 1, AlreadyRecorded.__name__: 2}
    assert facts_number(patient) == before + 1


def test_one_drug_is_stopped_by_one_person(patient: Patient) -> None:
    drug, by = takes(patient, "fluconazole"), by_system(patient.clinic)
    outcomes = together(
        *[
            lambda: stop_co_medication(co_medication=drug, stopped_on=NOW.date(), at=NOW, by=by)
            for _ in range(2)
        ]
    )
    assert outcomes == {"done": 1, NotCurrent.__name__: 1}


def test_one_file_sent_twice_at_once_adds_its_rows_once(patient: Patient) -> None:
    other = a_patient(patient.clinic, weight_kg=None)
    rows = [f"{one.mrn},potassium,4.2,mmol/L,2026-03-01 08:00" for one in (patient, other)]
    by = by_system(patient.clinic)

    def send(rows: list[str]) -> None:
        text = "\n".join(["mrn,analyte,value,unit,drawn_at", *rows])
        import_results(clinic=patient.clinic, text=text, at=NOW, by=by)

    outcomes = together(lambda: send(rows), lambda: send(rows[::-1]))
    assert outcomes == {"done": 2}
    assert Observation.objects.count() == 2
