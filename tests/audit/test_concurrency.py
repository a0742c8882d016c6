"""Many hands at once: every act has its entry, and the chain has no break."""

import threading
from collections.abc import Callable

import pytest
from django.db import connection

from patients.models import Patient
from tacroweb.accounts.models import Clinic
from tacroweb.audit.append_only import install_triggers
from tacroweb.audit.models import LedgerChain, LedgerEntry
from tacroweb.audit.signature import Signature
from tacroweb.audit.verify import verify

from .conftest import registered

pytestmark = pytest.mark.django_db(transaction=True)


def at_once(writers: int, write: Callable[[int], None]) -> None:
    """Run the writers together; a failure of one is a failure of the test."""
    errors: list[BaseException] = []
    start = threading.Barrier(writers)

    def run(number: int) -> None:
        try:
            start.wait()
            write(number)
        except BaseException as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_eight_writers_leave_one_chain_without_a_break(clinic: Clinic, by: Signature) -> None:
    each = 10 if connection.vendor == "postgresql" else 4

    def write(writer: int) -> None:
        for number in range(each):
            registered(clinic=clinic, mrn=f"{writer}-{number}", by=by)

    install_triggers(connection)
    at_once(8, write)
    chain = LedgerChain.objects.get(name=by.chain)
    assert chain.head_seq == LedgerEntry.objects.filter(chain=chain).count() == 8 * each
    assert Patient.objects.count() == 8 * each
    assert verify().breaks == ()


def test_the_first_two_acts_of_a_new_chain_may_come_together(clinic: Clinic, by: Signature) -> None:
    assert not LedgerChain.objects.filter(name=by.chain).exists()
    at_once(2, lambda writer: registered(clinic=clinic, mrn=f"{writer}", by=by) and None)
    assert LedgerChain.objects.get(name=by.chain).head_seq == 2
    assert verify().breaks == ()


def test_acts_signed_during_a_verification_are_no_breaks(clinic: Clinic, by: Signature) -> None:
    install_triggers(connection)
    done = threading.Event()
    reports = []

    def write(worker: int) -> None:
        if worker:
            for number in range(6):
                registered(clinic=clinic, mrn=f"{number}", by=by)
            done.set()
        else:
            while not done.is_set():
                reports.append(verify())

    at_once(2, write)
    assert reports
    assert {found for report in reports for found in report.breaks} == set()
