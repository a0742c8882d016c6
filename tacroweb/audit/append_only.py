"""Triggers that keep evidence from being changed: history rows, ledger entries, stored assessments."""

from collections.abc import Iterator

from django.apps import apps
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from .models import AppendOnlyModel, HistoryRow, LedgerEntry

PREFIX = "append_only_"


def protected_models() -> Iterator[type[models.Model]]:
    """Every model whose rows are evidence."""
    for model in apps.get_models():
        if issubclass(model, HistoryRow | AppendOnlyModel | LedgerEntry):
            yield model


def install_triggers(connection: BaseDatabaseWrapper) -> None:
    """(Re)install the triggers on every evidence table that exists. Idempotent.

    Run after each migrate, because SQLite drops a table's triggers silently when it rebuilds it.
    """
    drop_triggers(connection)
    existing = set(connection.introspection.table_names())
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute(_PG_FUNCTION)
        for model in protected_models():
            if (table := model._meta.db_table) in existing:
                for statement in _statements(connection.vendor, table, model._meta.pk.column):  # type: ignore[union-attr]
                    cursor.execute(statement)


def drop_triggers(connection: BaseDatabaseWrapper) -> None:
    """Remove the triggers: for reinstalling, and for test databases that must be emptied."""
    with connection.cursor() as cursor:
        for name, table in _installed(connection):
            on_table = f' ON "{table}"' if connection.vendor == "postgresql" else ""
            cursor.execute(f'DROP TRIGGER "{name}"{on_table}')


def unprotected_tables(connection: BaseDatabaseWrapper) -> list[str]:
    """Evidence tables that lack one of their triggers."""
    installed = set(_installed(connection))
    return sorted(
        table
        for model in protected_models()
        for table in [model._meta.db_table]
        if not {(f"{PREFIX}{kind}_{table}", table) for kind in _KINDS[connection.vendor]}
        <= installed
    )


_KINDS = {"sqlite": ("update", "delete", "replace"), "postgresql": ("row", "truncate")}

_PG_FUNCTION = f"""
CREATE OR REPLACE FUNCTION {PREFIX}refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'append-only: % rows are never changed or removed', TG_TABLE_NAME
USING ERRCODE = 'integrity_constraint_violation'; END $$"""


def _statements(vendor: str, table: str, key: str) -> list[str]:
    if vendor == "postgresql":
        row, truncate = (f'"{PREFIX}{kind}_{table}"' for kind in _KINDS[vendor])
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
    return [
        f'CREATE TRIGGER "{PREFIX}update_{table}" BEFORE UPDATE ON "{table}" BEGIN {refuse}; END',
        f'CREATE TRIGGER "{PREFIX}delete_{table}" BEFORE DELETE ON "{table}" BEGIN {refuse}; END',
        # INSERT OR REPLACE would overwrite a row without firing the delete trigger.
        f'CREATE TRIGGER "{PREFIX}replace_{table}" BEFORE INSERT ON "{table}" '
        f'WHEN EXISTS (SELECT 1 FROM "{table}" WHERE "{key}" = NEW."{key}") BEGIN {refuse}; END',
    ]


def _installed(connection: BaseDatabaseWrapper) -> list[tuple[str, str]]:
    sql = {
        "sqlite": "SELECT name, tbl_name FROM sqlite_master WHERE type = 'trigger'",
        "postgresql": (
            "SELECT t.tgname, c.relname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid "
            "JOIN pg_namespace n ON n.oid = c.relnamespace "
            "WHERE NOT t.tgisinternal AND n.nspname = current_schema()"
        ),
    }[connection.vendor]
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return [(name, table) for name, table in cursor.fetchall() if name.startswith(PREFIX)]
