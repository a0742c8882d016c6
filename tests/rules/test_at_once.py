"""Two hands on one rule book at the same moment, and a migration beside the held tables."""

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader

from dosing.rules.models import RuleBook, RuleBookStatus
from dosing.rules.selectors import newest_version
from dosing.rules.services import (
    BookNotPublishable,
    DraftOpen,
    NotADraft,
    StaleRow,
    draft_book,
    edit_row,
    publish_book,
    submit_for_review,
)
from tacroweb.accounts.models import Clinic
from tacroweb.accounts.roles import Role
from tacroweb.audit.append_only import install_triggers, unprotected_tables
from tacroweb.audit.apps import _make_way
from tacroweb.audit.verify import verify
from tacroweb.refusals import Refusal
from tests.audit.test_concurrency import at_once
from tests.factories import NOW, a_clinic, a_person, by_system, for_all
from tests.rules.test_governance import row_of, submitted

pytestmark = pytest.mark.django_db(transaction=True)
BY = by_system(reason="Two at once.")
sqlite_only = pytest.mark.skipif(
    "connection.vendor != 'sqlite'", reason="PostgreSQL does not rebuild tables"
)


def people(clinic: Clinic, role: Role) -> list:
    return [for_all(a_person(clinic, role), f"Hand {number}.") for number in (1, 2)]


def test_of_two_who_publish_draft_or_edit_at_once_one_wins() -> None:
    clinic = a_clinic()
    refused: list[Refusal] = []

    def both(act: object) -> list[Refusal]:
        refused.clear()

        def attempt(number: int) -> None:
            try:
                act(number)
            except Refusal as error:
                refused.append(error)

        at_once(2, attempt)
        return list(refused)

    install_triggers(connection)
    (loser,) = both(lambda number: draft_book(at=NOW, by=BY))
    assert isinstance(loser, DraftOpen)
    draft = RuleBook.objects.get(status=RuleBookStatus.DRAFT)

    editors = people(clinic, Role.RULE_EDITOR)
    seen = newest_version(row_of(draft, "MAX-MG-PER-DAY"))

    def change(number: int) -> None:
        row = row_of(draft, "MAX-MG-PER-DAY")
        row.value = 8 + number
        edit_row(row=row, seen=seen, by=editors[number])

    (loser,) = both(change)
    assert isinstance(loser, StaleRow)

    submitted(draft, by=BY)
    approvers = people(clinic, Role.RULE_APPROVER)
    (loser,) = both(lambda number: publish_book(book=draft, at=NOW, by=approvers[number]))
    assert isinstance(loser, BookNotPublishable)
    assert RuleBook.objects.get(status=RuleBookStatus.PUBLISHED) == draft
    assert verify().breaks == ()


def test_a_row_is_not_edited_into_a_book_that_is_put_forward_at_the_same_moment() -> None:
    install_triggers(connection)
    draft = draft_book(at=NOW, by=BY)
    refused: list[Refusal] = []

    def act(number: int) -> None:
        try:
            if number:
                submit_for_review(book=draft, at=NOW, by=BY)
            else:
                row = row_of(draft, "MAX-MG-PER-DAY")
                row.source = "In other words."
                edit_row(row=row, by=BY)
        except Refusal as error:
            refused.append(error)

    at_once(2, act)
    book = RuleBook.objects.get(pk=draft.pk)
    edited = row_of(book, "MAX-MG-PER-DAY").source == "In other words."
    assert book.status == RuleBookStatus.IN_REVIEW
    assert ("In other words." in book.text) == edited
    assert [type(error) for error in refused] == ([] if edited else [NotADraft])


@sqlite_only
def test_a_migration_that_rebuilds_the_books_finds_no_trigger_in_its_way() -> None:
    """SQLite renames no table while a trigger elsewhere names one that is just not there."""
    install_triggers(connection)
    bare = MigrationLoader(connection).project_state().apps.get_model("rules", "RuleBook")
    _make_way(using="default", plan=[])
    assert unprotected_tables(connection) == []
    _make_way(using="default", plan=["a migration"])
    assert "rules_rulebook" in unprotected_tables(connection)
    with connection.schema_editor() as editor:
        editor._remake_table(bare)
    call_command("migrate", verbosity=0)
    assert unprotected_tables(connection) == []
    assert RuleBook.objects.count() == 2
