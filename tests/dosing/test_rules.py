"""The rule book's life: added to the letter, published once, replaced and kept."""

from pathlib import Path

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.db import connection

from dosing import rules
from dosing.rules import toml_book
from dosing.rules.management.commands import seed_rules
from dosing.rules.models import RuleBook, RuleBookStatus
from dosing.rules.selectors import (
    NoPublishedBook,
    book_version,
    published_book,
    published_version,
)
from dosing.rules.services import BookNotPublishable, add_book, publish_book
from tacroweb.audit.models import LedgerEntry
from tests.factories import NOW, by_system

pytestmark = pytest.mark.django_db
SEED = Path(rules.__path__[0]) / "seed" / "2026-01.toml"
BY = by_system(reason="a test of the rule book")


def a_later_text(version: str = "2026-02") -> str:
    return SEED.read_text().replace('version = "2026-01"', f'version = "{version}"')


def test_the_seeded_book_is_the_file_to_the_letter() -> None:
    row = RuleBook.objects.get()
    assert row.text == SEED.read_text()
    assert row.status == RuleBookStatus.PUBLISHED
    assert published_book() == toml_book.read(SEED.read_text())


def test_the_book_is_read_once_a_process_and_asked_for_once_a_use(
    django_assert_num_queries: object,
) -> None:
    book = published_book()
    with django_assert_num_queries(1):  # type: ignore[operator]
        assert published_book() is book


def test_a_newly_published_book_is_used_at_once_and_the_former_is_kept() -> None:
    first = published_book()
    second = publish_book(book=add_book(text=a_later_text(), by=BY), at=NOW, by=BY)
    assert published_version() == second
    assert published_book().version == "2026-02"
    former = RuleBook.objects.get(version="2026-01")
    assert (former.status, former.retired_at) == (RuleBookStatus.RETIRED, NOW)
    assert book_version("2026-01") == first
    act = LedgerEntry.objects.latest("pk")
    assert (act.act, act.reason) == ("Rule book published", BY.reason)


def test_publishing_needs_a_reason_and_happens_once() -> None:
    book = add_book(text=a_later_text(), by=BY)
    with pytest.raises(ValidationError, match="Say why"):
        publish_book(book=book, at=NOW, by=BY.because(""))
    publish_book(book=book, at=NOW, by=BY)
    for version in ("2026-01", "2026-02"):
        with pytest.raises(BookNotPublishable, match="Draft a new version"):
            publish_book(book=RuleBook.objects.get(version=version), at=NOW, by=BY)


def test_a_text_that_is_no_book_or_a_version_in_use_is_refused() -> None:
    with pytest.raises(ValidationError, match="not a rule book"):
        add_book(text="version = 3", by=BY)
    with pytest.raises(ValidationError, match="already exists"):
        add_book(text=SEED.read_text(), by=BY)
    add_book(text=a_later_text(), by=BY)
    with pytest.raises(ValidationError):
        add_book(text=a_later_text("2026-03"), by=BY)


def test_seeding_again_changes_nothing_and_a_changed_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = LedgerEntry.objects.count()
    call_command("seed_rules", verbosity=0)
    assert LedgerEntry.objects.count() == before
    monkeypatch.setattr(seed_rules, "SEED", tmp_path)
    (tmp_path / "2026-01.toml").write_text(SEED.read_text() + "\n")
    with pytest.raises(CommandError, match="A book never changes"):
        call_command("seed_rules", verbosity=0)


def test_seeding_adds_the_books_that_are_missing_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seed_rules, "SEED", tmp_path)
    for version in ("2026-03", "2026-02"):
        (tmp_path / f"{version}.toml").write_text(a_later_text(version))
    call_command("seed_rules", verbosity=0)
    assert published_version().version == "2026-03"
    (tmp_path / "2026-04.toml").write_text(a_later_text("2026-05"))
    with pytest.raises(CommandError, match="says that it is version 2026-05"):
        call_command("seed_rules", verbosity=0)
    assert not RuleBook.objects.filter(version="2026-05").exists()


def test_without_a_published_book_one_is_told_what_to_do() -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE rules_rulebook SET status = 'RETIRED'")
    with pytest.raises(NoPublishedBook, match=r"manage\.py seed_rules"):
        published_book()
