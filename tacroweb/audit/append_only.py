"""Triggers that keep evidence from being changed, and rows that are settled from being edited."""

from collections.abc import Iterator
from dataclasses import dataclass

from django.apps import apps
from django.db import models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from .models import AppendOnlyModel, HistoryRow, LedgerEntry, LedgerSubject

PREFIX = "append_only_"
HELD = f"{PREFIX}held_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """When the database itself refuses to change a row of a table that is no evidence.

    Conditions in the SQL that SQLite and PostgreSQL share, over NEW and OLD. A model that declares
    one (`hold()`, a class method) has its triggers installed and watched like those of evidence.
    """

    insert: str
    update: str
    delete: str
    refusal: str


def held_models() -> Iterator[type[models.Model]]:
    """Every model whose rows are held under a condition of its own."""
    for model in apps.get_models():
        if hasattr(model, "hold"):
            yield model


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
        for model in (*protected_models(), *held_models()):
            if model._meta.db_table in existing:
                for statement in _statements(connection.vendor, model):
                    cursor.execute(statement)


def drop_triggers(connection: BaseDatabaseWrapper, *, prefix: str = PREFIX) -> None:
    """Remove the triggers: for reinstalling, and for test databases that must be emptied.

    With the prefix `HELD` only those that read another table: SQLite cannot rebuild a table while
    a trigger elsewhere names it, so a migration begins without them.
    """
    with connection.cursor() as cursor:
        for name, table, _ in _installed(connection):
            if name.startswith(prefix):
                on_table = f' ON "{table}"' if connection.vendor == "postgresql" else ""
                cursor.execute(f'DROP TRIGGER "{name}"{on_table}')


def unprotected_tables(connection: BaseDatabaseWrapper) -> list[str]:
    """Tables that lack one of their triggers, or where it was disabled or hollowed out."""
    installed = set(_installed(connection))
    return sorted(
        model._meta.db_table
        for model in (*protected_models(), *held_models())
        if not set(_expected(connection.vendor, model)) <= installed
    )


_PG_REFUSAL = """
BEGIN RAISE EXCEPTION 'append-only: % rows are never changed or removed', TG_TABLE_NAME
USING ERRCODE = 'integrity_constraint_violation'; END """

_PG_FUNCTION = f"""
CREATE OR REPLACE FUNCTION {PREFIX}refuse() RETURNS trigger LANGUAGE plpgsql AS $${_PG_REFUSAL}$$"""


def _pg_held(hold: Hold) -> str:
    refuse = (
        f"RAISE EXCEPTION 'append-only: {hold.refusal}' "
        "USING ERRCODE = 'integrity_constraint_violation'"
    )
    return f"""
BEGIN
IF TG_OP = 'INSERT' THEN IF {hold.insert} THEN {refuse}; END IF; RETURN NEW; END IF;
IF TG_OP = 'UPDATE' THEN IF {hold.update} THEN {refuse}; END IF; RETURN NEW; END IF;
IF {hold.delete} THEN {refuse}; END IF; RETURN OLD;
END """


def _expected(vendor: str, model: type[models.Model]) -> Iterator[tuple[str, str, str]]:
    """What `_installed` should find for a table: (trigger, table, what it does)."""
    table = model._meta.db_table
    hold = _hold_of(model)
    if vendor == "postgresql":
        yield f"{PREFIX}truncate_{table}", table, f"A {_PG_REFUSAL}"
        if hold:
            yield f"{HELD}{table}", table, f"A {_pg_held(hold)}"
        else:
            yield f"{PREFIX}row_{table}", table, f"A {_PG_REFUSAL}"
    else:
        for statement in _statements(vendor, model):
            yield statement.split('"')[1], table, statement


def _statements(vendor: str, model: type[models.Model]) -> list[str]:
    hold = _hold_of(model)
    if vendor == "postgresql":
        return _pg_statements(model._meta.db_table, hold)
    return _held_on_sqlite(model, hold) if hold else _evidence_on_sqlite(model)


def _hold_of(model: type[models.Model]) -> Hold | None:
    declared = getattr(model, "hold", None)
    return declared() if declared else None


def _pg_statements(table: str, hold: Hold | None) -> list[str]:
    truncate = f'"{PREFIX}truncate_{table}"'
    if hold:
        row = f'"{HELD}{table}"'
        function, events = row, "INSERT OR UPDATE OR DELETE"
        statements = [
            f"CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql "
            f"AS $${_pg_held(hold)}$$"
        ]
    else:
        row = f'"{PREFIX}row_{table}"'
        function, events = f"{PREFIX}refuse", "UPDATE OR DELETE"
        statements = []
    return [
        *statements,
        f'CREATE TRIGGER {row} BEFORE {events} ON "{table}" '
        f"FOR EACH ROW EXECUTE FUNCTION {function}()",
        f'CREATE TRIGGER {truncate} BEFORE TRUNCATE ON "{table}" '
        f"FOR EACH STATEMENT EXECUTE FUNCTION {PREFIX}refuse()",
        # ALWAYS: a session that poses as a replica does not get past them either.
        f'ALTER TABLE "{table}" ENABLE ALWAYS TRIGGER {row}',
        f'ALTER TABLE "{table}" ENABLE ALWAYS TRIGGER {truncate}',
    ]


def _evidence_on_sqlite(model: type[models.Model]) -> list[str]:
    table = model._meta.db_table
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


def _held_on_sqlite(model: type[models.Model], hold: Hold) -> list[str]:
    table = model._meta.db_table
    refuse = f"SELECT RAISE(ABORT, 'append-only: {hold.refusal}')"
    # What INSERT or UPDATE OR REPLACE would overwrite: another row of that key that is held.
    pk = model._meta.pk.column
    gone = " OR ".join(
        f'EXISTS (SELECT 1 FROM "{table}" AS held WHERE '  # noqa: S608  # names of ours
        + " AND ".join(f'held."{column}" = NEW."{column}"' for column in columns)
        + f" AND ({hold.delete.replace('OLD.', 'held.')}))"
        for columns in _unique_keys(model)
    )
    others = gone.replace("AS held WHERE", f'AS held WHERE held."{pk}" <> OLD."{pk}" AND')
    return [
        f'CREATE TRIGGER "{HELD}{kind}_{table}" BEFORE {kind.upper()} ON "{table}" '
        f"WHEN {condition} BEGIN {refuse}; END"
        for kind, condition in (
            ("insert", f"({hold.insert}) OR {gone}"),
            ("update", f"({hold.update}) OR {others}"),
            ("delete", hold.delete),
        )
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
