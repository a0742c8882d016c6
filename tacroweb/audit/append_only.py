"""Triggers that keep evidence from being changed: history rows, ledger entries, assessments."""

from collections.abc import Iterator

from django.apps import apps
from django.db import models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from .models import AppendOnlyModel, HistoryRow, LedgerEntry, LedgerSubject

PREFIX = "append_only_"


def protected_models() -> Iterator[type[models.Model]]:
    """Every model whose rows are evidence."""
    for model in apps.get_models():
        if issubclass(model, HistoryRow | AppendOnlyModel | LedgerEntry | LedgerSubject):
            yield model


def install_triggers(connection: BaseDatabaseWrapper) -> None:
    """(Re)install the triggers on every evidence table that exists. Idempotent.

    Run after each migrate, because SQLite drops a table's triggers silently when it rebuilds it.
    """
    existing = set(connection.introspection.table_names())
    # All or nothing: no instant, and no crash, leaves a table open.
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        drop_triggers(connection)
        if connection.vendor == "postgresql":
            cursor.execute(_PG_FUNCTION)
        for model in protected_models():
            if model._meta.db_table in existing:
                for statement in _statements(connection.vendor, model):
                    cursor.execute(statement)


def drop_triggers(connection: BaseDatabaseWrapper) -> None:
    """Remove the triggers: for reinstalling, and for test databases that must be emptied."""
    with connection.cursor() as cursor:
        for name, table, _ in _installed(connection):
            on_table = f' ON "{table}"' if connection.vendor == "postgresql" else ""
            cursor.execute(f'DROP TRIGGER "{name}"{on_table}')


def unprotected_tables(connection: BaseDatabaseWrapper) -> list[str]:
    """Evidence tables that lack one of their triggers, or where it was disabled or hollowed out."""
    installed = set(_installed(connection))
    return sorted(
        model._meta.db_table
        for model in protected_models()
        if not set(_expected(connection.vendor, model)) <= installed
    )


_PG_REFUSAL = """
BEGIN RAISE EXCEPTION 'append-only: % rows are never changed or removed', TG_TABLE_NAME
USING ERRCODE = 'integrity_constraint_violation'; END """

_PG_FUNCTION = f"""
CREATE OR REPLACE FUNCTION {PREFIX}refuse() RETURNS trigger LANGUAGE plpgsql AS $${_PG_REFUSAL}$$"""


def _expected(vendor: str, model: type[models.Model]) -> Iterator[tuple[str, str, str]]:
    """What `_installed` should find for a table: (trigger, table, what it does)."""
    table = model._meta.db_table
    if vendor == "postgresql":
        for kind in ("row", "truncate"):
            yield f"{PREFIX}{kind}_{table}", table, f"A {_PG_REFUSAL}"
    else:
        for statement in _statements(vendor, model):
            yield statement.split('"')[1], table, statement


def _statements(vendor: str, model: type[models.Model]) -> list[str]:
    table = model._meta.db_table
    if vendor == "postgresql":
        row, truncate = (f'"{PREFIX}{kind}_{table}"' for kind in ("row", "truncate"))
        return [
            f'CREATE TRIGGER {row} BEFORE UPDATE OR DELETE ON "{table}" '
            f"FOR EACH ROW EXECUTE FUNCTION {PREFIX}refuse()",
            f'CREATE TRIGGER {truncate} BEFORE TRUNCATE ON "{table}" '
            f"FOR EACH STATEMENT EXECUTE FUNCTION {PREFIX}refuse()",
            # ALWAYS: a session that poses as a replica does not get past them either.
            f'ALTER TABLE "{table}" ENABLE ALWAYS TRIGGER {row}',
            f'ALTER TABLE "{table}" ENABLE ALWAYS TRIGGER {truncate}',
        ]
    refuse = f"SELECT RAISE(ABORT, 'append-only: {table} rows are never changed or removed')"
    # INSERT OR REPLACE would overwrite a row over any of its keys without a delete trigger.
    taken = " OR ".join(
        f'EXISTS (SELECT 1 FROM "{table}" WHERE '  # noqa: S608  # names of ours
        + " AND ".join(f'"{column}" = NEW."{column}"' for column in columns)
        + ")"
        for columns in _unique_keys(model)
    )
    return [
        f'CREATE TRIGGER "{PREFIX}update_{table}" BEFORE UPDATE ON "{table}" BEGIN {refuse}; END',
        f'CREATE TRIGGER "{PREFIX}delete_{table}" BEFORE DELETE ON "{table}" BEGIN {refuse}; END',
        f'CREATE TRIGGER "{PREFIX}replace_{table}" BEFORE INSERT ON "{table}" '
        f"WHEN {taken} BEGIN {refuse}; END",
    ]


def _unique_keys(model: type[models.Model]) -> Iterator[list[str]]:
    yield from ([str(field.column)] for field in model._meta.concrete_fields if field.unique)
    for constraint in model._meta.total_unique_constraints:
        yield [str(model._meta.get_field(name).column) for name in constraint.fields]  # type: ignore[union-attr]


def _installed(connection: BaseDatabaseWrapper) -> list[tuple[str, str, str]]:
    sql = {
        "sqlite": "SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'trigger'",
        "postgresql": (
            "SELECT t.tgname, c.relname, t.tgenabled::text || ' ' || p.prosrc FROM pg_trigger t "
            "JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace "
            "JOIN pg_proc p ON p.oid = t.tgfoid "
            "WHERE NOT t.tgisinternal AND n.nspname = current_schema()"
        ),
    }[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return [row for row in cursor.fetchall() if row[0].startswith(PREFIX)]
