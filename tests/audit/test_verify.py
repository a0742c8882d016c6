"""verify_audit: 0 when all holds, 1 naming the first break, 2 when it could not be run."""

import io
import unicodedata
from dataclasses import replace

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from patients.models import Patient
from tacroweb.accounts.models import Clinic
from tacroweb.audit.append_only import drop_triggers, install_triggers
from tacroweb.audit.ledger import hash_entry
from tacroweb.audit.models import LedgerChain, LedgerEntry
from tacroweb.audit.signature import Signature
from tacroweb.audit.verify import NO_CHAIN, RowSet, check_entry, check_links, verify

from .conftest import registered, renamed


@pytest.fixture
def patient(clinic: Clinic, by: Signature) -> Patient:
    """Five acts: two registrations and three corrections of the first patient."""
    patient = registered(clinic=clinic, mrn="1", by=by)
    for name in ("Okafor-Lind", "Lind", "Lind-Sato"):
        renamed(patient=patient, family_name=name, by=by)
    registered(clinic=clinic, mrn="2", by=by)
    return patient


@pytest.fixture
def attacker(patient: Patient) -> "Attacker":
    """Somebody with the database's own rights: the triggers go first."""
    attacker = Attacker(patient)
    connection.check_constraints()  # as a commit would, so that the tables can be altered
    drop_triggers(connection)
    return attacker


class Attacker:
    def __init__(self, patient: Patient) -> None:
        self.chain = LedgerChain.objects.get(name=f"clinic:{patient.clinic_id}")
        self.versions = list(patient.history.order_by("history_id"))

    def run(self, sql: str, *params: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute(sql, params)

    def remove_entry(self, seq: int) -> None:
        where = "FROM audit_ledgerentry WHERE chain_id = %s AND seq = %s"
        key = self.chain.pk, seq
        self.run(f"DELETE FROM audit_ledgersubject WHERE entry_id = (SELECT id {where})", *key)
        self.run(f"DELETE {where}", *key)

    def found(self) -> list[tuple[str, int, str]]:
        """What the verification says once the triggers are back, as if nothing had been."""
        connection.check_constraints()
        install_triggers(connection)
        return [(found.chain, found.seq, found.kind) for found in verify().breaks]


def verify_audit(*arguments: str) -> tuple[int, str, str]:
    """Exit code, output and error output of the command."""
    out, err = io.StringIO(), io.StringIO()
    try:
        call_command("verify_audit", *arguments, stdout=out, stderr=err)
    except CommandError as error:
        return error.returncode, out.getvalue(), f"{err.getvalue()}{error}"
    return 0, out.getvalue(), err.getvalue()


def test_untouched_evidence_verifies(patient: Patient) -> None:
    code, out, err = verify_audit()
    assert (code, err) == (0, "")
    assert out.startswith(f"The audit holds: {LedgerEntry.objects.count()} entries, ")
    assert out.endswith(" rows, no break.\n")


def test_one_history_row_edited_with_raw_sql_names_the_entry_that_listed_it(
    attacker: Attacker,
) -> None:
    attacker.run(
        "UPDATE patients_historicalpatient SET family_name = 'Nobody' WHERE history_id = %s",
        attacker.versions[1].pk,
    )
    install_triggers(connection)
    code, _, err = verify_audit()
    assert code == 1
    assert err.startswith(f"{attacker.chain.name} 2: altered row: patients.historicalpatient ")


@pytest.mark.skipif("connection.vendor != 'sqlite'", reason="SQLite takes words for numbers")
def test_a_value_that_cannot_even_be_read_is_an_altered_row(attacker: Attacker) -> None:
    attacker.run("UPDATE patients_historicalpatient SET birth_date = 'soon', history_date = 'x'")
    assert {kind for _, _, kind in attacker.found()} == {"altered row", "changed row"}


def test_a_removed_history_row_is_missing(attacker: Attacker) -> None:
    attacker.run(
        "DELETE FROM patients_historicalpatient WHERE history_id = %s", attacker.versions[2].pk
    )
    assert attacker.found() == [(attacker.chain.name, 3, "missing row")]


def test_a_history_row_written_past_the_services_is_unlisted(attacker: Attacker) -> None:
    columns = [field.column for field in Patient.history.model._meta.concrete_fields]
    names = ", ".join(columns)
    values = ", ".join("9000000" if name == "history_id" else name for name in columns)
    attacker.run(
        f"INSERT INTO patients_historicalpatient ({names}) SELECT {values} "
        "FROM patients_historicalpatient WHERE history_id = %s",
        attacker.versions[-1].pk,
    )
    assert attacker.found() == [(NO_CHAIN, 0, "unlisted row")]


def test_a_live_row_changed_with_raw_sql_names_the_entry_of_its_last_version(
    attacker: Attacker,
) -> None:
    attacker.run("UPDATE patients_patient SET sex = 'MALE' WHERE mrn = '1'")
    assert attacker.found() == [(attacker.chain.name, 4, "changed row")]


def test_a_live_row_removed_with_raw_sql_is_missing(attacker: Attacker) -> None:
    attacker.run("DELETE FROM patients_patient WHERE mrn = '2'")
    assert attacker.found() == [(attacker.chain.name, 5, "missing row")]


def test_an_altered_entry_is_named(attacker: Attacker) -> None:
    attacker.run(
        "UPDATE audit_ledgerentry SET text = replace(text, 'Because', 'Why not') "
        "WHERE chain_id = %s AND seq = 3",
        attacker.chain.pk,
    )
    first, *more = attacker.found()
    assert first == (attacker.chain.name, 3, "altered entry")
    assert {seq for _, seq, _ in more} <= {3}


@pytest.mark.parametrize("column", ["act", "actor_name", "reason", "request_id"])
def test_a_column_that_no_longer_repeats_the_text_is_an_altered_entry(
    attacker: Attacker, column: str
) -> None:
    attacker.run(
        f"UPDATE audit_ledgerentry SET {column} = 'x' WHERE chain_id = %s AND seq = 2",
        attacker.chain.pk,
    )
    assert attacker.found() == [(attacker.chain.name, 2, "altered entry")]


def test_an_entry_that_no_longer_points_at_its_patient_is_altered(attacker: Attacker) -> None:
    attacker.run(
        "DELETE FROM audit_ledgersubject WHERE entry_id = (SELECT id FROM audit_ledgerentry "
        "WHERE chain_id = %s AND seq = 2)",
        attacker.chain.pk,
    )
    assert attacker.found() == [(attacker.chain.name, 2, "altered entry")]


def test_a_moved_time_is_an_altered_entry(attacker: Attacker) -> None:
    attacker.run(
        "UPDATE audit_ledgerentry SET recorded_at = '2020-01-01 00:00:00' "
        "WHERE chain_id = %s AND seq = 2",
        attacker.chain.pk,
    )
    assert attacker.found() == [(attacker.chain.name, 2, "altered entry")]


def test_an_entry_rewritten_with_a_fitting_hash_breaks_the_next_link(attacker: Attacker) -> None:
    entry = LedgerEntry.objects.get(chain=attacker.chain, seq=2)
    text = entry.text.replace("Because", "Why not")
    attacker.run(
        "UPDATE audit_ledgerentry SET reason = 'Why not.', text = %s, hash = %s WHERE id = %s",
        text,
        hash_entry(entry.prev_hash, text),
        entry.pk,
    )
    assert attacker.found() == [(attacker.chain.name, 3, "reordered")]


def test_a_removed_entry_is_missing(attacker: Attacker) -> None:
    attacker.remove_entry(2)
    assert attacker.found() == [
        (attacker.chain.name, 2, "missing entry"),
        (NO_CHAIN, 0, "unlisted row"),
    ]


def test_entries_that_changed_places_are_reordered(attacker: Attacker) -> None:
    for old, new in ((2, 900), (3, 2), (900, 3)):
        attacker.run(
            "UPDATE audit_ledgerentry SET seq = %s WHERE chain_id = %s AND seq = %s",
            new,
            attacker.chain.pk,
            old,
        )
    found = attacker.found()
    assert found[0] == (attacker.chain.name, 2, "reordered")
    assert {kind for _, _, kind in found} == {"reordered", "altered entry"}


def test_a_chain_cut_at_its_end_is_truncated(attacker: Attacker) -> None:
    attacker.remove_entry(5)
    assert attacker.found()[0] == (attacker.chain.name, 5, "truncated")


def test_a_chain_cut_with_its_head_leaves_rows_that_no_entry_lists(attacker: Attacker) -> None:
    fourth = LedgerEntry.objects.get(chain=attacker.chain, seq=4)
    attacker.remove_entry(5)
    attacker.run(
        "UPDATE audit_ledgerchain SET head_seq = 4, head_hash = %s WHERE id = %s",
        fourth.hash,
        attacker.chain.pk,
    )
    assert attacker.found() == [(NO_CHAIN, 0, "unlisted row")]


def test_two_entries_with_one_number_are_a_fork() -> None:
    one, two = (hash_entry("0" * 64, text) for text in ("one", "two"))
    walk = [(1, "0" * 64, "one", one), (1, "0" * 64, "two", two)]
    first, last = check_links(walk, chain="clinic:1")
    assert (first.seq, first.kind) == (1, "forked")
    assert last == (2, 1, two)


def test_lost_triggers_are_a_break(patient: Patient) -> None:
    drop_triggers(connection)
    assert {found.kind for found in verify().breaks} == {"unprotected table"}
    assert verify_audit()[0] == 1


def test_all_breaks_are_printed_on_request(attacker: Attacker) -> None:
    attacker.run("UPDATE patients_historicalpatient SET family_name = 'Nobody'")
    install_triggers(connection)
    _, _, first = verify_audit()
    _, _, every = verify_audit("--all")
    assert first.count("altered row") == 1
    assert every.count("altered row") == 5


def test_without_its_tables_the_verification_could_not_run(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE audit_ledgerchain RENAME TO elsewhere")
    code, _, err = verify_audit()
    assert code == 2
    assert "could not be checked" in err


def test_a_reason_in_decomposed_letters_verifies(clinic: Clinic, by: Signature) -> None:
    reason = unicodedata.normalize("NFD", "Müller überprüft")
    registered(clinic=clinic, mrn="1", by=replace(by, reason=reason))
    assert verify().breaks == ()


def test_one_entry_can_be_checked_alone(attacker: Attacker) -> None:
    entry = LedgerEntry.objects.get(chain=attacker.chain, seq=2)
    assert list(check_entry(entry)) == []
    attacker.run(
        "UPDATE patients_historicalpatient SET family_name = 'Nobody' WHERE history_id = %s",
        attacker.versions[1].pk,
    )
    assert [found.kind for found in check_entry(entry)] == ["altered row"]


def test_the_set_of_listed_rows_holds_any_key() -> None:
    rows = RowSet()
    for pk in (1, 8, 65_536, 9_000_000_000_000):
        rows.add(pk)
        rows.add(pk)
    assert rows.count == 4
    assert [pk for pk in (0, 1, 2, 8, 65_535, 65_536, 9_000_000_000_000) if pk in rows] == [
        1,
        8,
        65_536,
        9_000_000_000_000,
    ]
