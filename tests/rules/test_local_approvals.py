"""A clinic's own decision on a row that waits for one: given, superseded, withdrawn, lapsed."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import PermissionDenied, ValidationError

from dosing.case import case_of
from dosing.models import Intent
from dosing.rules.engine import facts
from dosing.rules.engine.rows import LocalTargetRow, Row
from dosing.rules.models import LocalApproval
from dosing.rules.selectors import (
    approvals_changed,
    approvals_of,
    lapsed_approvals,
    local_approvals,
    published_book,
    rows_to_approve,
)
from dosing.rules.services import NothingToApprove, approve_locally, withdraw_local_approval
from dosing.rules.signals import local_approvals_changed
from dosing.services import assess_patient, staleness
from tacroweb.accounts.models import Clinic
from tacroweb.accounts.roles import Role
from tacroweb.audit import ledger
from tacroweb.audit.models import LedgerEntry
from tacroweb.audit.signature import Signature
from tests.factories import NOW, a_clinic, a_patient, a_person, a_signature

pytestmark = pytest.mark.django_db
LATER = NOW + timedelta(hours=1)


@pytest.fixture
def by(clinic: Clinic) -> Signature:
    """The hand of an approver of the clinic, under an act of the clinic."""
    user = a_person(clinic, Role.RULE_APPROVER)
    return a_signature(clinic, user=user, role=Role.RULE_APPROVER, reason="Our own decision.")


def first(*, target: bool) -> tuple[str, Row]:
    """A row of the book in force that waits for approval, of local targets or of another table."""
    for code, tables in rows_to_approve(published_book()).items():
        if ("local_targets" in tables) is target:
            return code, next(iter(tables.values()))
    raise LookupError


def test_a_row_is_approved_and_stands_among_the_facts(clinic: Clinic, by: Signature) -> None:
    code, _ = first(target=False)
    approve_locally(clinic=clinic, row_code=code, at=NOW, by=by)
    (given,) = local_approvals(clinic, book=published_book(), at=LATER)
    day = NOW.astimezone(clinic.zone).date()
    assert given == facts.LocalApproval(row=code, approved_on=day)
    assert local_approvals(clinic, book=published_book(), at=NOW - timedelta(hours=1)) == ()
    assert local_approvals(a_clinic(), book=published_book(), at=LATER) == ()
    patient = a_patient(clinic, at=NOW)
    assert case_of(patient, intent=Intent.START, at=LATER).local_approvals == (given,)
    entry = LedgerEntry.objects.filter(act="Rule row approved locally").get()
    assert (entry.chain.name, entry.reason) == (f"clinic:{clinic.pk}", "Our own decision.")


def test_a_local_target_takes_the_clinics_numbers(clinic: Clinic, by: Signature) -> None:
    code, row = first(target=True)
    assert isinstance(row, LocalTargetRow)
    for low, high in ((None, None), (Decimal(4), None)):
        with pytest.raises(ValidationError, match="both limits"):
            approve_locally(clinic=clinic, row_code=code, low=low, high=high, at=NOW, by=by)
    for low, high in ((6, 4), (0, 4), (100, 200), (1, 6), (4, 11)):
        with pytest.raises(ValidationError, match="within 3 to 10 ng/mL"):
            approve_locally(
                clinic=clinic, row_code=code, low=Decimal(low), high=Decimal(high), at=NOW, by=by
            )
    approval = approve_locally(
        clinic=clinic, row_code=code, low=Decimal(4), high=Decimal(6), at=NOW, by=by
    )
    assert approval.unit == row.unit
    (given,) = local_approvals(clinic, book=published_book(), at=LATER)
    assert (given.low, given.high) == (4, 6)
    other, _ = first(target=False)
    with pytest.raises(ValidationError, match="has its own number"):
        approve_locally(clinic=clinic, row_code=other, low=Decimal(4), high=Decimal(6), at=NOW,
                        by=by)  # fmt: skip


def test_a_later_approval_supersedes_and_a_withdrawn_one_is_none(
    clinic: Clinic, by: Signature
) -> None:
    code, _ = first(target=True)
    numbers = {"low": Decimal(4), "high": Decimal(6)}
    former = approve_locally(clinic=clinic, row_code=code, **numbers, at=NOW, by=by)
    newer = approve_locally(clinic=clinic, row_code=code, low=Decimal(3), high=Decimal(5),
                            at=LATER, by=by)  # fmt: skip
    former.refresh_from_db()
    assert (former.ended_as, former.ended_at) == ("SUPERSEDED", LATER)
    assert [*approvals_of(clinic)] == [newer]
    assert [each.low for each in local_approvals(clinic, book=published_book(), at=NOW)] == [4]
    assert [each.low for each in local_approvals(clinic, book=published_book(), at=LATER)] == [3]
    withdraw_local_approval(approval=newer, at=LATER + timedelta(hours=1), by=by)
    assert not approvals_of(clinic)
    with pytest.raises(NothingToApprove, match="ended already"):
        withdraw_local_approval(approval=newer, at=LATER, by=by)


def test_whoever_may_not_approve_there_changes_nothing(clinic: Clinic, by: Signature) -> None:
    code, _ = first(target=False)
    approval = approve_locally(clinic=clinic, row_code=code, at=NOW, by=by)
    elsewhere = a_clinic()
    stranger = a_signature(clinic, user=a_person(elsewhere, Role.RULE_APPROVER), reason="Not mine.")
    nurse = a_signature(clinic, user=a_person(clinic, Role.NURSE), reason="Not mine.")
    of_elsewhere = a_signature(
        elsewhere, user=a_person(elsewhere, Role.RULE_APPROVER), reason="Not mine."
    )
    before = LocalApproval.history.count()
    for hand in (stranger, nurse, of_elsewhere):
        with pytest.raises(PermissionDenied):
            approve_locally(clinic=clinic, row_code=code, at=LATER, by=hand)
        with pytest.raises(PermissionDenied):
            withdraw_local_approval(approval=approval, at=LATER, by=hand)
    for act in (
        lambda: approve_locally(clinic=clinic, row_code=code, at=LATER, by=by.because(" ")),
        lambda: withdraw_local_approval(approval=approval, at=LATER, by=by.because(" ")),
    ):
        with pytest.raises(ValidationError, match="Say why"):
            act()
    assert LocalApproval.history.count() == before


def test_only_a_row_that_waits_is_approved(clinic: Clinic, by: Signature) -> None:
    settled = next(row.code for row in published_book().findings if not row.needs_local_approval)
    for code in (settled, "NO-SUCH-ROW"):
        with pytest.raises(NothingToApprove, match=f"No row {code} of rule book"):
            approve_locally(clinic=clinic, row_code=code, at=NOW, by=by)


def test_an_approval_whose_entry_cannot_be_written_is_none(
    clinic: Clinic, by: Signature, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _ = first(target=False)
    approval = approve_locally(clinic=clinic, row_code=code, at=NOW, by=by)

    def fails(*args: object) -> None:
        raise OSError("no ledger")

    monkeypatch.setattr(ledger, "append", fails)
    for act in (
        lambda: approve_locally(clinic=clinic, row_code=code, at=LATER, by=by),
        lambda: withdraw_local_approval(approval=approval, at=LATER, by=by),
    ):
        with pytest.raises(OSError, match="no ledger"):
            act()
    assert [*approvals_of(clinic)] == [approval]
    assert LocalApproval.history.count() == 1


def test_an_approval_lapses_with_a_book_that_says_something_else(
    clinic: Clinic, by: Signature
) -> None:
    code, row = first(target=False)
    approval = approve_locally(clinic=clinic, row_code=code, at=NOW, by=by)
    book = published_book()
    (table,) = rows_to_approve(book, {code})[code]

    def with_row(**changes: Any) -> Any:
        rows = tuple(
            replace(each, **changes) if each.code == code else each for each in book.tables()[table]
        )
        return replace(book, version="2027-01", **{table: rows})

    for same in (with_row(), with_row(source="In other words.", reviewed_by="Dr Sato")):
        assert lapsed_approvals([approval], book=same) == []
        assert len(local_approvals(clinic, book=same, at=LATER)) == 1
    assert row.enabled
    for other in (with_row(statements=("S1",)), with_row(needs_local_approval=False)):
        assert lapsed_approvals([approval], book=other) == [approval]
        assert local_approvals(clinic, book=other, at=LATER) == ()


def test_an_assessment_made_before_is_stale_and_whoever_reviews_hears_of_it(
    clinic: Clinic, by: Signature, django_capture_on_commit_callbacks: Callable[..., Any]
) -> None:
    patient = a_patient(clinic, at=NOW)
    hand = a_signature(clinic)
    made = assess_patient(patient=patient, intent=Intent.START, at=NOW, by=hand)
    assert staleness(patient, made, at=LATER) == ""
    heard = []

    def listen(*, clinic_id: int, **kwargs: object) -> None:
        heard.append(clinic_id)

    local_approvals_changed.connect(listen)
    code, _ = first(target=False)
    with django_capture_on_commit_callbacks(execute=True):
        approval = approve_locally(
            clinic=clinic, row_code=code, at=NOW + timedelta(minutes=5), by=by
        )
    assert "What your clinic has approved" in staleness(patient, made, at=LATER)
    made = assess_patient(
        patient=patient, intent=Intent.START, at=NOW + timedelta(minutes=10), by=hand
    )
    assert staleness(patient, made, at=LATER) == ""
    with django_capture_on_commit_callbacks(execute=True):
        withdraw_local_approval(approval=approval, at=NOW + timedelta(minutes=15), by=by)
    local_approvals_changed.disconnect(listen)
    assert "What your clinic has approved" in staleness(patient, made, at=LATER)
    assert heard == [clinic.pk, clinic.pk]
    assert not approvals_changed(clinic.pk, since=LATER)
