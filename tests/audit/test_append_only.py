"""Evidence is neither changed nor removed by whoever speaks SQL with the application's rights."""

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction

from tacroweb.accounts.models import Clinic
from tacroweb.audit.append_only import (
    drop_triggers,
    held_models,
    install_triggers,
    protected_models,
    unprotected_tables,
)
from tacroweb.audit.models import LedgerEntry
from tacroweb.audit.signature import Signature

from .conftest import registered

postgres_only = pytest.mark.skipif(
    "connection.vendor != 'postgresql'", reason="there is no such statement on SQLite"
)
sqlite_only = pytest.mark.skipif(
    "connection.vendor != 'sqlite'", reason="there is no such statement on PostgreSQL"
)

ENTRY = "audit_ledgerentry"
HISTORY = "patients_historicalpatient"
COPY = (
    f"INTO {ENTRY} (id, chain_id, seq, recorded_at, act, actor_name, role, channel, request_id, "
    "reason, text, prev_hash, hash) SELECT {id}, chain_id, {seq}, recorded_at, 'forged', "
    "actor_name, role, channel, request_id, reason, text, {prev}, hash "
    f"FROM {ENTRY} WHERE id = {{of}}"
)


def refused(sql: str) -> None:
    connection.check_constraints()  # none of the test's own is pending, which would refuse as well
    with (
        pytest.raises(DatabaseError, match="append-only"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(sql)


def test_every_evidence_table_is_protected_after_migrate(db: None) -> None:
    assert LedgerEntry in list(protected_models())
    assert unprotected_tables(connection) == []


@pytest.mark.parametrize(
    "sql",
    [
        f"UPDATE {ENTRY} SET reason = 'another'",
        f"DELETE FROM {ENTRY}",
        f"UPDATE {HISTORY} SET family_name = 'Other'",
        f"DELETE FROM {HISTORY}",
    ],
)
def test_rows_are_neither_updated_nor_deleted(clinic: Clinic, by: Signature, sql: str) -> None:
    registered(clinic=clinic, mrn="1", by=by)
    refused(sql)


@pytest.mark.parametrize("key", ["id", "seq", "prev"])
@pytest.mark.parametrize("recursive", ["ON", "OFF"])
@sqlite_only
def test_insert_or_replace_over_any_key_is_refused(
    clinic: Clinic, by: Signature, key: str, recursive: str
) -> None:
    registered(clinic=clinic, mrn="1", by=by)
    entry = LedgerEntry.objects.order_by("-id")[0]
    new = {"id": 900, "seq": 900, "prev": "'no such hash'"} | {
        key: {"id": str(entry.pk), "seq": str(entry.seq), "prev": "prev_hash"}[key]
    }
    with connection.cursor() as cursor:
        cursor.execute(f"PRAGMA recursive_triggers={recursive}")
    try:
        refused("INSERT OR REPLACE " + COPY.format(of=entry.pk, **new))
        refused("REPLACE " + COPY.format(of=entry.pk, **new))
    finally:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA recursive_triggers=ON")


def test_an_upsert_is_refused(clinic: Clinic, by: Signature) -> None:
    registered(clinic=clinic, mrn="1", by=by)
    entry = LedgerEntry.objects.order_by("-id")[0]
    copy = COPY.format(of=entry.pk, id=entry.pk, seq=900, prev="'no such hash'")
    refused(f"INSERT {copy} AND true ON CONFLICT (id) DO UPDATE SET reason = 'another'")


@postgres_only
def test_truncate_is_refused(clinic: Clinic, by: Signature) -> None:
    registered(clinic=clinic, mrn="1", by=by)
    refused(f"TRUNCATE {HISTORY}")
    refused(f"TRUNCATE {ENTRY}, audit_ledgersubject")
    refused("TRUNCATE audit_ledgerchain CASCADE")


@postgres_only
def test_posing_as_a_replica_does_not_get_past_the_triggers(clinic: Clinic, by: Signature) -> None:
    registered(clinic=clinic, mrn="1", by=by)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
    refused(f"UPDATE {HISTORY} SET family_name = 'Other'")
    refused(f"DELETE FROM {ENTRY}")
    refused(f"TRUNCATE {HISTORY}")


def test_lost_triggers_are_seen_and_come_back_with_the_next_migrate(db: None) -> None:
    drop_triggers(connection)
    every = [*protected_models(), *held_models()]
    assert len(unprotected_tables(connection)) == len(every)
    call_command("migrate", verbosity=0)
    assert unprotected_tables(connection) == []
    install_triggers(connection)
    assert unprotected_tables(connection) == []


@sqlite_only
def test_a_trigger_hollowed_out_under_its_own_name_is_seen(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TRIGGER append_only_update_{HISTORY}")
        cursor.execute(
            f"CREATE TRIGGER append_only_update_{HISTORY} BEFORE UPDATE ON {HISTORY} "
            "BEGIN SELECT 1; END"
        )
    assert unprotected_tables(connection) == [HISTORY]


@postgres_only
def test_a_disabled_trigger_is_seen(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {HISTORY} DISABLE TRIGGER append_only_row_{HISTORY}")
    assert unprotected_tables(connection) == [HISTORY]


@postgres_only
def test_a_trigger_function_that_refuses_nothing_is_seen(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE OR REPLACE FUNCTION append_only_refuse() RETURNS trigger LANGUAGE plpgsql "
            "AS $$ BEGIN RETURN NEW; END $$"
        )
    every = [*protected_models(), *held_models()]
    assert len(unprotected_tables(connection)) == len(every)
