"""What the database itself refuses: a settled row or book changed by whoever speaks SQL."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.core.exceptions import ValidationError
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from dosing.governance.impact import continue_impact, start_impact
from dosing.models import ImpactDifference, ImpactRun
from dosing.rules.models import (
    STEPS,
    TABLES,
    Finding,
    LintAnswer,
    LocalApproval,
    Number,
    RuleBook,
    RuleBookStatus,
)
from dosing.rules.selectors import published_version
from dosing.rules.services import add_book, approve_locally, withdraw_local_approval
from tacroweb.accounts.roles import Role
from tacroweb.audit.append_only import held_models, install_triggers, unprotected_tables
from tacroweb.audit.ledger import open_act, service
from tacroweb.audit.signature import Signature, UnsignedWrite
from tests.factories import a_clinic, a_patient, a_person, a_signature, by_system
from tests.roof.conftest import dose
from tests.rules.test_books import later_text

pytestmark = pytest.mark.django_db
BY = by_system(reason="a test of the triggers")
sqlite_only = pytest.mark.skipif(
    "connection.vendor != 'sqlite'", reason="there is no such statement on PostgreSQL"
)
postgres_only = pytest.mark.skipif(
    "connection.vendor != 'postgresql'", reason="there is no such statement on SQLite"
)


@pytest.fixture
def draft() -> RuleBook:
    return add_book(text=later_text(), by=BY)


def run(sql: str, *values: object) -> int:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.rowcount


def refused(sql: str, *values: object) -> None:
    connection.check_constraints()  # none of the test's own is pending, which would refuse as well
    with pytest.raises(DatabaseError, match="append-only"):
        run(sql, *values)


def test_every_table_of_rows_and_the_books_are_held() -> None:
    assert set(held_models()) == {
        RuleBook,
        *TABLES.values(),
        LintAnswer,
        LocalApproval,
        ImpactRun,
        ImpactDifference,
    }
    assert unprotected_tables(connection) == []


@pytest.mark.parametrize("model", TABLES.values(), ids=TABLES)
def test_rows_of_a_settled_book_are_neither_added_changed_nor_removed(
    model: type[Number], draft: RuleBook
) -> None:
    table = model._meta.db_table
    columns = [f'"{column.column}"' for column in model._meta.concrete_fields]
    values = ", ".join("CASE WHEN 1 = 1 THEN 7 END" if "book" in name else name for name in columns)
    book = published_version()
    if not model.objects.filter(book=book).exists():
        # The row need not be whole: the trigger comes before every other check.
        refused(f"INSERT INTO {table} (id, book_id, code) VALUES (1, %s, 'FORGED')", book.pk)
        return
    assert values
    refused(f"UPDATE {table} SET source = 'another' WHERE book_id = %s", book.pk)
    refused(f"UPDATE {table} SET book_id = %s WHERE book_id = %s", draft.pk, book.pk)
    refused(f"UPDATE {table} SET book_id = %s WHERE book_id = %s", book.pk, draft.pk)
    refused(f"DELETE FROM {table} WHERE book_id = %s", book.pk)
    others = ", ".join(name for name in columns if name not in ('"id"', '"book_id"', '"code"'))
    refused(
        f"INSERT INTO {table} (book_id, code, {others}) SELECT {book.pk}, 'FORGED', {others} "
        f"FROM {table} WHERE book_id = %s",
        draft.pk,
    )


@pytest.mark.parametrize("status", ["IN_REVIEW", "RETIRED"])
def test_a_book_in_review_or_retired_is_settled_too(draft: RuleBook, status: str) -> None:
    assert run("UPDATE rules_number SET source = 'another' WHERE book_id = %s", draft.pk)
    run("UPDATE rules_rulebook SET status = %s WHERE id = %s", status, draft.pk)
    refused("UPDATE rules_number SET source = 'a third' WHERE book_id = %s", draft.pk)
    refused("DELETE FROM rules_finding WHERE book_id = %s", draft.pk)


@sqlite_only
@pytest.mark.parametrize("recursive", ["ON", "OFF"])
def test_a_settled_row_is_not_replaced_by_one_of_a_draft(draft: RuleBook, recursive: str) -> None:
    settled = Number.objects.filter(book=published_version()).order_by("pk")[0]
    own = Number.objects.filter(book=draft).order_by("pk")[0]
    run(f"PRAGMA recursive_triggers={recursive}")
    try:
        refused("UPDATE OR REPLACE rules_number SET id = %s WHERE id = %s", settled.pk, own.pk)
        columns = [f'"{column.column}"' for column in Number._meta.concrete_fields][1:]
        names = ", ".join(columns)
        refused(
            f"INSERT OR REPLACE INTO rules_number (id, {names}) SELECT {settled.pk}, {names} "
            "FROM rules_number WHERE id = %s",
            own.pk,
        )
        refused(
            "INSERT OR REPLACE INTO rules_rulebook (id, version, title, status, text, sha256, "
            "shipped_sha256) VALUES (%s, '2026-02', '', 'DRAFT', '', '', '')",
            published_version().pk,
        )
        run("UPDATE rules_rulebook SET status = 'IN_REVIEW' WHERE id = %s", draft.pk)
        refused("UPDATE OR REPLACE rules_rulebook SET status = 'PUBLISHED' WHERE id = %s", draft.pk)
    finally:
        run("PRAGMA recursive_triggers=ON")


@postgres_only
def test_truncating_or_posing_as_a_replica_does_not_get_past_the_triggers() -> None:
    refused("TRUNCATE rules_number")
    refused("TRUNCATE rules_rulebook CASCADE")
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
    refused("UPDATE rules_number SET source = 'another'")
    refused("DELETE FROM rules_rulebook")


@pytest.mark.parametrize("column", ["version", "title", "text", "sha256", "shipped_sha256"])
def test_the_words_of_a_book_that_is_no_draft_are_settled(draft: RuleBook, column: str) -> None:
    words = f"UPDATE rules_rulebook SET {column} = 'another' WHERE id = %s"
    refused(words, published_version().pk)
    assert run(words, draft.pk) == 1
    run("UPDATE rules_rulebook SET status = 'IN_REVIEW' WHERE id = %s", draft.pk)
    refused(words.replace("another", "a third"), draft.pk)
    refused(words.replace("SET", "SET status = 'PUBLISHED',").replace("another", "x"), draft.pk)


def test_a_book_sent_back_may_lose_its_text_and_nothing_else(draft: RuleBook) -> None:
    run("UPDATE rules_rulebook SET status = 'IN_REVIEW', text = 't', sha256 = 's' WHERE id = %s",
        draft.pk)  # fmt: skip
    back = "UPDATE rules_rulebook SET status = 'DRAFT', text = '', sha256 = ''"
    refused(f"{back}, title = 'another' WHERE id = %s", draft.pk)
    refused("UPDATE rules_rulebook SET status = 'DRAFT', text = 'another' WHERE id = %s", draft.pk)
    assert run(f"{back} WHERE id = %s", draft.pk) == 1


@pytest.mark.parametrize("begin", RuleBookStatus.values)
@pytest.mark.parametrize("end", RuleBookStatus.values)
def test_a_book_moves_forward_only(draft: RuleBook, begin: str, end: str) -> None:
    run("UPDATE rules_rulebook SET status = 'RETIRED' WHERE status = 'PUBLISHED'")
    path = {
        "DRAFT": (),
        "IN_REVIEW": ("IN_REVIEW",),
        "PUBLISHED": ("IN_REVIEW", "PUBLISHED"),
        "RETIRED": ("RETIRED",),
    }
    for status in path[begin]:
        run("UPDATE rules_rulebook SET status = %s WHERE id = %s", status, draft.pk)
    move = "UPDATE rules_rulebook SET status = %s WHERE id = %s"
    if begin == end or (begin, end) in STEPS:
        assert run(move, end, draft.pk) == 1
    else:
        refused(move, end, draft.pk)


def test_a_step_has_its_day_and_a_draft_its_origin_for_good(draft: RuleBook) -> None:
    book = published_version()
    for column in ("published_at", "retired_at"):
        change = f"UPDATE rules_rulebook SET {column} = '2026-01-02 03:04:05+00:00' WHERE id = %s"
        refused(change, book.pk)
        refused(change, draft.pk)
    refused("UPDATE rules_rulebook SET published_at = NULL WHERE id = %s", book.pk)
    refused("UPDATE rules_rulebook SET based_on_id = %s WHERE id = %s", book.pk, draft.pk)
    retired = (
        "UPDATE rules_rulebook SET status = 'RETIRED', retired_at = '2026-03-02 03:04:05+00:00'"
    )
    assert run(f"{retired} WHERE id = %s", draft.pk) == 1
    refused("UPDATE rules_rulebook SET retired_at = NULL WHERE id = %s", draft.pk)


def test_the_answer_to_a_warning_is_settled_with_its_book(draft: RuleBook) -> None:
    answer = LintAnswer(book=draft, kind="VALUE", table="numbers", message="m", sha256="s")
    answer.reason = "Agreed"
    with open_act("A test", by=BY):
        answer.sign(BY).save()
    change = "UPDATE rules_lintanswer SET reason = %s WHERE id = %s"
    assert run(change, "Agreed by the committee", answer.pk) == 1
    refused("DELETE FROM rules_lintanswer WHERE id = %s", answer.pk)
    run("UPDATE rules_rulebook SET status = 'IN_REVIEW' WHERE id = %s", draft.pk)
    refused(change, "another", answer.pk)
    refused(
        'INSERT INTO rules_lintanswer (book_id, kind, "table", row, value, message, sha256, '
        "reason) VALUES (%s, 'VALUE', 'numbers', '', '', 'm', 'other', 'forged')",
        draft.pk,
    )


def test_a_local_approval_is_ended_and_never_changed() -> None:
    now = timezone.now()
    clinic = a_clinic()
    person = a_person(clinic, Role.RULE_APPROVER)
    by = a_signature(clinic, user=person, role=Role.RULE_APPROVER, reason="Decided by the board")
    given = approve_locally(
        clinic=clinic, row_code="RENAL-TARGET-R1", low=Decimal(5), high=Decimal(7), at=now, by=by
    )
    table = "UPDATE rules_localapproval SET"
    refused(f"{table} low = 3 WHERE id = %s", given.pk)
    refused(f"{table} low = NULL, high = NULL WHERE id = %s", given.pk)
    refused(f"{table} approved_at = '2026-01-02 03:04:05+00:00' WHERE id = %s", given.pk)
    refused("DELETE FROM rules_localapproval WHERE id = %s", given.pk)
    withdraw_local_approval(approval=given, at=now, by=by)
    refused(f"{table} ended_at = NULL, ended_as = '' WHERE id = %s", given.pk)


def test_an_impact_is_settled_when_it_has_ended(draft: RuleBook) -> None:
    now = timezone.now()
    patient = a_patient(a_clinic(), at=now - timedelta(days=30))
    dose(patient, "6", at=now - timedelta(days=20))
    run_ = start_impact(book=draft, at=now, asked_by="A test")
    assert run("UPDATE dosing_impactrun SET asked_by = 'Another' WHERE id = %s", run_.pk) == 1
    written = {"run": run_, "patient": patient, "clinic": patient.clinic, "failure": "A test."}
    ImpactDifference.objects.create(**written)
    refused("UPDATE dosing_impactdifference SET text = '{}'")
    while continue_impact(run_.pk, at=now):
        pass
    refused("UPDATE dosing_impactrun SET done = 7 WHERE id = %s", run_.pk)
    refused("DELETE FROM dosing_impactrun WHERE id = %s", run_.pk)
    refused("DELETE FROM dosing_impactdifference")
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        ImpactDifference.objects.create(**written)
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        ImpactRun.objects.create(
            book=published_version(),
            against=published_version(),
            asked_by="A forger",
            started_at=now,
            moved_at=now,
            patients=0,
        )


def test_a_book_begins_as_a_draft_and_is_never_removed(draft: RuleBook) -> None:
    for status in ("IN_REVIEW", "PUBLISHED", "RETIRED"):
        refused(
            "INSERT INTO rules_rulebook (version, title, status, text, sha256, shipped_sha256) "
            "VALUES ('2026-77', '', %s, '', '', '')",
            status,
        )
    refused("DELETE FROM rules_rulebook WHERE id = %s", draft.pk)
    refused("DELETE FROM rules_rulebook WHERE id = %s", published_version().pk)


def test_a_lost_trigger_is_seen_and_comes_back() -> None:
    table = "rules_number"
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute(f"DROP TRIGGER append_only_held_update_{table}")
        else:
            cursor.execute(
                f"CREATE OR REPLACE FUNCTION append_only_held_{table}() RETURNS trigger "
                "LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$"
            )
    assert unprotected_tables(connection) == [table]
    install_triggers(connection)
    assert unprotected_tables(connection) == []


# The same in the models


@service("A row changed past the services")
def change(*, row: Number, by: Signature, **values: object) -> None:
    for name, value in values.items():
        setattr(row, name, value)
    row.sign(by).save()


@service("A row removed past the services")
def remove(*, row: Number, by: Signature) -> None:
    row.sign(by).delete()


def test_the_model_refuses_to_write_a_row_of_a_settled_book(draft: RuleBook) -> None:
    row = Number.objects.filter(book=published_version()).select_related("book")[0]
    with pytest.raises(ValidationError, match="its rows are settled"):
        change(row=row, by=BY, value=3)
    with pytest.raises(ValidationError, match="its rows are settled"):
        remove(row=row, by=BY)
    own = Number.objects.filter(book=draft).select_related("book")[0]
    with pytest.raises(ValidationError, match="its rows are settled"):
        change(row=own, by=BY, book=published_version())
    with pytest.raises(UnsignedWrite):
        Number.objects.get(pk=own.pk).delete()
    assert Number.objects.filter(pk=own.pk).exists()


def test_the_model_refuses_to_change_the_words_or_the_way_of_a_settled_book() -> None:
    @service("A book changed past the services")
    def changed(*, by: Signature, **values: str) -> None:
        book = RuleBook.objects.get(status=RuleBookStatus.PUBLISHED)
        for name, value in values.items():
            setattr(book, name, value)
        book.sign(by).save()

    for values in ({"text": "another"}, {"title": "another"}, {"version": "2026-77"}):
        with pytest.raises(ValidationError, match="only changed while it is a draft"):
            changed(by=BY, **values)
    with pytest.raises(ValidationError, match="published cannot become draft"):
        changed(by=BY, status="DRAFT")
    assert Finding.objects.filter(book__status=RuleBookStatus.PUBLISHED).exists()
