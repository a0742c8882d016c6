"""Many rows added in one act, and rows that may be removed: as signed as any single one."""

import json
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection

from dosing.rules.models import Number, RuleBook
from dosing.rules.services import add_book
from tacroweb.audit import ledger
from tacroweb.audit.ledger import service
from tacroweb.audit.models import LedgerEntry, add_all
from tacroweb.audit.signature import Signature, UnsignedWrite
from tacroweb.audit.verify import verify
from tests.factories import by_system
from tests.rules.test_books import later_text

pytestmark = pytest.mark.django_db
BY = by_system(reason="Many at once.")


@pytest.fixture
def draft() -> RuleBook:
    return add_book(text=later_text(), by=BY)


def numbers(draft: RuleBook, *codes: str, **changes: Any) -> list[Number]:
    given = {"value": "1.5", "unit": "mg", "origin": "LOCAL", "source": "A test."} | changes
    return [Number(book=draft, code=code, **given) for code in codes]


@service("Rows added together")
def together(*, rows: list[Number], by: Signature) -> None:
    add_all(rows, by=by)


@service("Rows added one by one")
def one_by_one(*, rows: list[Number], by: Signature) -> None:
    for row in rows:
        row.sign(by).save()


@service("Row removed")
def remove(*, row: Number, signed: bool = True, by: Signature) -> None:
    if signed:
        row.sign(by)
    row.delete()


def kept(code: str) -> dict[str, Any]:
    """The newest version of a row, without its keys and its time."""
    version = Number.history.filter(code=code).latest("history_id")
    apart = {"_state", "id", "history_id", "history_date", "code"}
    return {name: value for name, value in vars(version).items() if name not in apart}


def test_rows_added_together_leave_what_single_saves_leave(draft: RuleBook) -> None:
    one_by_one(rows=numbers(draft, "A", "B"), by=BY)
    single = LedgerEntry.objects.latest("pk")
    rows = numbers(draft, "C", "D")
    together(rows=rows, by=BY)
    joint = LedgerEntry.objects.latest("pk")
    assert kept("A") == kept("B") == kept("C") == kept("D")
    assert [row.pk for row in rows] == [Number.objects.get(code=code).pk for code in "CD"]
    said, other = json.loads(single.text), json.loads(joint.text)
    assert [row[0] for row in said["rows"]] == [row[0] for row in other["rows"]]
    assert said["subjects"] == other["subjects"] == [draft.audit_subject()]
    assert (single.reason, single.actor_name) == (joint.reason, joint.actor_name)
    assert verify().breaks == ()


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"source": ""}, ValidationError),
        ({"origin": "NOBODY"}, ValidationError),
        ({"source": "a\u202eb"}, ValidationError),
        ({"code": "MAX-MG-PER-DAY"}, IntegrityError),
    ],
    ids=["empty", "no such word", "unseen", "taken"],
)
def test_one_bad_row_among_many_leaves_nothing(
    draft: RuleBook, changes: dict[str, str], error: type[Exception]
) -> None:
    before = Number.objects.count(), Number.history.count(), LedgerEntry.objects.count()
    good, bad = numbers(draft, "A", "B")
    for name, value in changes.items():
        setattr(bad, name, value)
    with pytest.raises(error):
        together(rows=[good, bad], by=BY)
    assert before == (
        Number.objects.count(),
        Number.history.count(),
        LedgerEntry.objects.count(),
    )


def test_without_an_act_or_with_rows_that_are_there_nothing_is_added(draft: RuleBook) -> None:
    with pytest.raises(UnsignedWrite):
        add_all(numbers(draft, "A"), by=BY)
    old = Number.objects.filter(book=draft)[0]
    with pytest.raises(UnsignedWrite, match="Only new rows"):
        together(rows=[*numbers(draft, "A"), old], by=BY)
    together(rows=[], by=BY)
    assert not Number.objects.filter(code="A").exists()


def test_a_signature_serves_one_addition(draft: RuleBook) -> None:
    rows = numbers(draft, "A")
    together(rows=rows, by=BY)
    with pytest.raises(UnsignedWrite):
        rows[0].save()


def test_a_row_is_removed_under_a_signature_and_its_history_stays(draft: RuleBook) -> None:
    row = Number.objects.filter(book=draft)[0]
    pk, code = row.pk, row.code
    with pytest.raises(UnsignedWrite, match="without sign"):
        remove(row=row, signed=False, by=BY)
    with pytest.raises(UnsignedWrite, match="no act is open"):
        row.sign(BY).delete()
    remove(row=row, by=BY)
    assert not Number.objects.filter(pk=pk).exists()
    last = Number.history.filter(id=pk).latest("history_id")
    assert (last.history_type, last.code, last.history_change_reason) == ("-", code, BY.reason)
    entry = LedgerEntry.objects.latest("pk")
    assert f'["rules.historicalnumber",{last.pk},' in entry.text
    assert verify().breaks == ()


def test_a_removal_without_history_or_ledger_removes_nothing(
    draft: RuleBook, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = Number.objects.filter(book=draft)[0]
    pk = row.pk
    settings.SIMPLE_HISTORY_ENABLED = False
    with pytest.raises(UnsignedWrite, match="history is switched off"):
        remove(row=row, by=BY)
    settings.SIMPLE_HISTORY_ENABLED = True

    def fails(*args: object) -> None:
        raise OSError("no ledger")

    monkeypatch.setattr(ledger, "append", fails)
    with pytest.raises(OSError, match="no ledger"):
        remove(row=Number.objects.get(pk=pk), by=BY)
    assert Number.objects.filter(pk=pk).exists()


def test_a_row_that_vanished_or_came_back_past_the_services_is_found(draft: RuleBook) -> None:
    gone, back = Number.objects.filter(book=draft).order_by("pk")[:2]
    remove(row=Number.objects.get(pk=back.pk), by=BY)
    names = ", ".join(f'"{column.column}"' for column in Number._meta.concrete_fields[1:])
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM rules_number WHERE id = %s", [gone.pk])
        cursor.execute(
            f"INSERT INTO rules_number (id, {names}) SELECT {back.pk}, {names} "
            f"FROM rules_historicalnumber WHERE id = %s AND history_type = '-'",
            [back.pk],
        )
    found = [f"{broken.kind}: {broken.detail}" for broken in verify().breaks]
    assert found == [
        f"missing row: rules.number {gone.pk} is gone; this entry left it there",
        f"changed row: rules.number {back.pk} is no longer what this entry left",
    ]
