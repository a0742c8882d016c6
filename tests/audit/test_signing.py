"""No write without a hand under it, and one entry for each act."""

import json
from dataclasses import replace

import pytest
from django.db import DatabaseError, transaction

from patients.models import Patient
from tacroweb.accounts.models import Clinic, User
from tacroweb.accounts.services import add_user
from tacroweb.audit.ledger import row_digests, service
from tacroweb.audit.models import LedgerChain, LedgerEntry
from tacroweb.audit.signature import Signature, UnsignedWrite

from .conftest import registered, renamed


def test_an_unsigned_row_is_refused_before_any_sql(
    clinic: Clinic, django_assert_num_queries
) -> None:
    with django_assert_num_queries(0), pytest.raises(UnsignedWrite):
        Patient(clinic=clinic, mrn="1").save()


def test_a_signed_row_outside_every_service_is_refused_before_any_sql(
    clinic: Clinic, by: Signature, django_assert_num_queries
) -> None:
    with django_assert_num_queries(0), pytest.raises(UnsignedWrite):
        Patient(clinic=clinic, mrn="1").sign(by).save()


@pytest.mark.parametrize("write", ["update", "delete", "bulk_create", "create", "get_or_create"])
@pytest.mark.parametrize("model", [Patient, Clinic, User])
def test_no_manager_writes_past_the_signature(model, write: str) -> None:
    with pytest.raises(UnsignedWrite):
        getattr(model.objects.all(), write)()


def test_a_row_is_never_deleted(clinic: Clinic) -> None:
    with pytest.raises(UnsignedWrite):
        clinic.delete()


def test_a_service_without_a_signature_is_refused(clinic: Clinic) -> None:
    with pytest.raises(UnsignedWrite):
        registered(clinic=clinic, mrn="1", by=None)


def test_a_signature_serves_one_attempt_even_a_failed_one(clinic: Clinic, by: Signature) -> None:
    patient = registered(clinic=clinic, mrn="1", by=by)

    @service("Two saves under one signature")
    def twice(*, by: Signature) -> None:
        patient.family_name = ""
        patient.sign(by)
        with pytest.raises(Exception, match="cannot be blank"):
            patient.save()
        patient.family_name = "Okafor"
        patient.save()

    with pytest.raises(UnsignedWrite):
        twice(by=by)


def test_a_signed_row_is_saved_whole(clinic: Clinic, by: Signature) -> None:
    patient = registered(clinic=clinic, mrn="1", by=by)

    @service("Half a row")
    def half(*, by: Signature) -> None:
        patient.sign(by).save(update_fields=["family_name"])

    with pytest.raises(UnsignedWrite):
        half(by=by)


def test_with_history_switched_off_nothing_is_written(
    clinic: Clinic, by: Signature, settings
) -> None:
    settings.SIMPLE_HISTORY_ENABLED = False
    with pytest.raises(UnsignedWrite):
        registered(clinic=clinic, mrn="1", by=by)
    assert not Patient.objects.exists()


def test_an_act_leaves_one_entry_with_the_digest_of_every_row(
    clinic: Clinic, by: Signature
) -> None:
    @service("Two patients registered")
    def both(*, by: Signature) -> None:
        registered(clinic=clinic, mrn="1", by=by)
        registered(clinic=clinic, mrn="2", by=by)

    both(by=by)
    entry = LedgerEntry.objects.get(chain__name=f"clinic:{clinic.pk}")
    said = json.loads(entry.text)
    kept = [("patients.historicalpatient", row.pk) for row in Patient.history.order_by("pk")]
    assert said["act"] == "Two patients registered"
    assert said["reason"] == "Because."
    subjects = sorted(f"patient:{pk}" for pk in Patient.objects.values_list("pk", flat=True))
    assert said["subjects"] == subjects
    assert sorted(row.subject for row in entry.subjects.all()) == subjects
    assert [(label, pk, digest) for label, pk, digest in said["rows"]] == [
        (*row, dict(row_digests(kept))[row]) for row in kept
    ]
    assert len(kept) == 2


def test_entries_of_a_chain_follow_each_other(clinic: Clinic, by: Signature) -> None:
    patient = registered(clinic=clinic, mrn="1", by=by)
    renamed(patient=patient, family_name="Okafor-Lind", by=by)
    first, second = LedgerEntry.objects.filter(chain__name=by.chain).order_by("seq")
    assert (first.seq, second.seq) == (1, 2)
    assert second.prev_hash == first.hash
    assert LedgerChain.objects.get(name=by.chain).head_hash == second.hash


def test_a_service_that_writes_nothing_leaves_no_entry(by: Signature) -> None:
    @service("Nothing")
    def nothing(*, by: Signature) -> None:
        """Writes nothing."""

    before = LedgerEntry.objects.count()
    nothing(by=by)
    assert LedgerEntry.objects.count() == before


def test_an_inner_service_is_signed_by_the_same_hand(clinic: Clinic, by: Signature) -> None:
    @service("Outer")
    def outer(*, by: Signature) -> None:
        registered(clinic=clinic, mrn="1", by=replace(by, clinic_id=None))

    with pytest.raises(UnsignedWrite, match="another hand"):
        outer(by=by)


def test_an_inner_service_that_fails_leaves_nothing_where_the_outer_goes_on(
    clinic: Clinic, by: Signature
) -> None:
    @service("Inner")
    def inner(*, by: Signature) -> None:
        registered(clinic=clinic, mrn="half", by=by)
        raise LookupError

    @service("Outer")
    def outer(*, by: Signature) -> None:
        with pytest.raises(LookupError):
            inner(by=by)
        registered(clinic=clinic, mrn="whole", by=by)

    outer(by=by)
    assert [patient.mrn for patient in Patient.objects.all()] == ["whole"]
    entry = LedgerEntry.objects.get(chain__name=by.chain)
    assert len(json.loads(entry.text)["rows"]) == 1


def test_when_the_ledger_cannot_be_written_nothing_is(clinic: Clinic, by: Signature) -> None:
    registered(clinic=clinic, mrn="1", by=by)
    chain = LedgerChain.objects.get(name=by.chain)
    # The head says an old number, so the next entry collides with one that is there.
    LedgerChain.objects.filter(pk=chain.pk).update(head_seq=0)
    with pytest.raises(DatabaseError), transaction.atomic():
        registered(clinic=clinic, mrn="2", by=by)
    assert [patient.mrn for patient in Patient.objects.all()] == ["1"]
    assert Patient.history.count() == 1
    assert LedgerEntry.objects.filter(chain=chain).count() == 1


def test_a_sign_in_may_note_itself_unsigned_but_nothing_else_of_a_person(by: Signature) -> None:
    user = add_user(username="sato", password="Dawn-chorus-42", by=by)
    user.save(update_fields=["last_login"])
    user.is_active = False
    with pytest.raises(UnsignedWrite):
        user.save(update_fields=["is_active"])
    with pytest.raises(UnsignedWrite):
        user.save()


def test_the_history_row_bears_the_hand(clinic: Clinic, by: Signature) -> None:
    row = registered(clinic=clinic, mrn="1", by=by).history.get()
    assert (row.history_actor, row.history_role, row.history_channel) == (
        "TacroWeb",
        "SYSTEM",
        "WEB",
    )
    assert row.history_change_reason == "Because."
    assert row.history_request_id == by.request_id
