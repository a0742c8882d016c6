"""The rule book in its tables: what the file says, they say; read once; delivered once."""

from dataclasses import fields
from datetime import date
from decimal import Decimal
from enum import Enum
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.db import connection, models
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from dosing.rules import casefile, toml_book
from dosing.rules.engine import rows, rulebook
from dosing.rules.engine.assess import assess
from dosing.rules.loading import engine_book, engine_row, stored_book
from dosing.rules.management.commands import seed_rules
from dosing.rules.models import TABLES, RuleBook, RuleBookStatus, RuleRow
from dosing.rules.selectors import (
    NoPublishedBook,
    book_version,
    published_book,
    published_version,
)
from dosing.rules.services import (
    BookNotPublishable,
    add_book,
    content_sha256,
    deliver_book,
    digest_of_text,
)
from tacroweb.audit.ledger import canonical
from tacroweb.audit.models import LedgerEntry
from tacroweb.audit.verify import verify
from tests.engine.given import FIRST_SEED, SEED
from tests.engine.test_golden import GOLDEN
from tests.factories import NOW, a_newer_book, by_system

BY = by_system(reason="a test of the rule book")
SHIPPED = sorted(SEED.parent.glob("*.toml"))
ENGINE_TABLES = {
    name: get_args(hint)[0]
    for name, hint in get_type_hints(rulebook.RuleBook).items()
    if get_args(hint)
}


def later_text(version: str = "2026-08") -> str:
    return SEED.read_text().replace('version = "2026-02"', f'version = "{version}"')


# The tables


def test_there_is_a_table_for_each_kind_of_row() -> None:
    assert {name: model.engine_row for name, model in TABLES.items()} == ENGINE_TABLES
    assert list(TABLES) == list(toml_book.read(SEED.read_text()).tables())


@pytest.mark.parametrize("model", TABLES.values(), ids=TABLES)
def test_each_field_of_a_row_has_its_column_and_no_column_is_more(model: type[RuleRow]) -> None:
    columns = {column.name: column for column in model._meta.concrete_fields}
    hints = get_type_hints(model.engine_row)
    assert set(columns) == {"id", "book"} | set(hints)
    for each in fields(model.engine_row):
        column, hint = columns[each.name], hints[each.name]
        kinds = set(get_args(hint)) if get_origin(hint) is not tuple else set()
        kind = next(iter((kinds or {hint}) - {NoneType}))
        assert column.null is (NoneType in kinds), each.name
        if kind is Decimal:
            assert isinstance(column, models.DecimalField)
        elif kind is bool:
            assert isinstance(column, models.BooleanField)
        elif kind is int:
            assert isinstance(column, models.PositiveIntegerField)
        elif kind is date:
            assert isinstance(column, models.DateField)
        else:
            assert isinstance(column, models.CharField | models.TextField), each.name
        if isinstance(kind, type) and issubclass(kind, Enum):
            stored = {each.name if kind is rows.Severity else each.value for each in kind}
            assert {value for value, _ in column.choices} == stored
        if isinstance(each.default, bool):
            assert column.default is each.default, each.name


@pytest.mark.django_db
@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_what_went_through_the_tables_is_the_file(file: Path) -> None:
    direct = toml_book.read(file.read_text())
    stored = RuleBook.objects.get(version=file.stem)
    assert stored_book(stored) == engine_book(stored) == direct
    assert repr(stored_book(stored)) == repr(direct)  # a number with the same digits too
    assert stored.title == direct.title
    row = TABLES["findings"].objects.filter(book=stored).order_by("pk")[0]
    assert engine_row(row) == direct.findings[0]


@pytest.mark.django_db
def test_the_first_book_out_of_its_tables_answers_to_the_byte() -> None:
    book = book_version("2026-01")
    for kept in GOLDEN:
        case, at = casefile.decode_case(kept["case"])
        answer = casefile.encode_advice(assess(case, book, at=at))
        assert canonical(answer) == canonical(kept["advice"]), kept["name"]


@pytest.mark.django_db
def test_a_book_is_read_once_a_process_and_asked_for_once_a_use(
    django_assert_num_queries: Any,
) -> None:
    book = published_book()
    with django_assert_num_queries(1):
        assert published_book() is book
    row = published_version()
    with django_assert_num_queries(len(TABLES)):
        stored_book(row)


@pytest.mark.django_db
def test_a_draft_is_read_as_it_stands() -> None:
    draft = add_book(text=later_text(), by=BY)
    before = engine_book(draft)
    assert before == engine_book(draft) is not before
    digest = content_sha256(draft)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE rules_number SET value = 12 WHERE code = 'MAX-MG-PER-DAY' AND book_id = %s",
            [draft.pk],
        )
    assert engine_book(draft).index.numbers["MAX-MG-PER-DAY"] == 12
    assert content_sha256(draft) != digest


@pytest.mark.django_db
def test_a_book_of_an_earlier_release_is_read_from_its_text() -> None:
    text = later_text()
    with connection.cursor() as cursor:
        for table in ("rules_rulebook", "rules_historicalrulebook"):
            cursor.execute(f"SELECT count(*) FROM {table}")
        # As the release before this one stored it: no title, no rows, settled by its text.
        cursor.execute(
            "INSERT INTO rules_rulebook (version, title, status, text, sha256, shipped_sha256) "
            "VALUES ('2026-08', '', 'DRAFT', %s, %s, '')",
            [text, digest_of_text(text)],
        )
    old = RuleBook.objects.get(version="2026-08")
    assert engine_book(old) == toml_book.read(text)
    assert content_sha256(old) == digest_of_text(text)


# The text

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
DECIMALS = st.decimals(0, 999_999, places=6) | st.decimals(0, 9_999, places=1)


def values(hint: Any) -> st.SearchStrategy[Any]:
    if get_origin(hint) is tuple:
        return st.lists(TEXTS, max_size=3).map(tuple)
    kinds = get_args(hint) or (hint,)
    if len(kinds) > 1:
        return st.one_of(*map(values, kinds))
    if issubclass(hint, Enum):
        return st.sampled_from(list(hint))
    return {
        str: TEXTS,
        bool: st.booleans(),
        int: st.integers(1, 10_000),
        date: st.dates(),
        Decimal: DECIMALS,
        NoneType: st.none(),
    }[hint]


def rows_of(kind: type[rows.Row]) -> st.SearchStrategy[tuple[rows.Row, ...]]:
    hints = get_type_hints(kind)
    row = st.builds(kind, **{name: values(hint) for name, hint in hints.items()})
    return st.lists(row, max_size=2, unique_by=lambda row: row.code).map(tuple)


@st.composite
def books(draw: st.DrawFn) -> rulebook.RuleBook:
    """The shipped book with some of its tables replaced by anything that can be said."""
    shipped = toml_book.read(SEED.read_text())
    free = set(ENGINE_TABLES) - {"numbers", "ratios", "due_tests", "drug_classes", "schedules"}
    names = draw(st.lists(st.sampled_from(sorted(free)), max_size=4))
    tables = shipped.tables() | {name: draw(rows_of(ENGINE_TABLES[name])) for name in names}
    named = {"version": draw(TEXTS.filter(bool)), "title": draw(TEXTS.filter(bool))}
    try:
        return rulebook.RuleBook(**named, **tables)
    except ValueError:  # rows that contradict one another are no book
        reject()


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=60)
@given(books())
def test_a_book_written_and_read_is_the_same_book(book: rulebook.RuleBook) -> None:
    text = toml_book.write(book)
    again = toml_book.read(text)
    assert again == book
    assert toml_book.write(again) == text


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_a_shipped_book_written_and_read_is_the_same_book(file: Path) -> None:
    book = toml_book.read(file.read_text())
    assert toml_book.read(toml_book.write(book)) == book


# Delivery


@pytest.mark.django_db
def test_the_shipped_books_are_there_to_the_letter_and_the_last_is_in_force() -> None:
    stored = RuleBook.objects.order_by("version")
    assert [book.text for book in stored] == [file.read_text() for file in SHIPPED]
    for book in stored:
        assert book.sha256 == book.shipped_sha256 == digest_of_text(book.text)
    *former, last = stored
    assert {book.status for book in former} == {RuleBookStatus.RETIRED}
    assert last.status == RuleBookStatus.PUBLISHED
    assert published_book() == toml_book.read(SHIPPED[-1].read_text())


@pytest.mark.django_db
def test_each_delivered_row_has_its_signed_history_and_one_entry_lists_them_all() -> None:
    entry = LedgerEntry.objects.filter(act="Rule book delivered").latest("pk")
    book = published_version()
    for name, model in TABLES.items():
        versions = model.history.filter(book_id=book.pk)
        assert versions.count() == model.objects.filter(book=book).count()
        for kept in versions:
            assert (kept.history_type, kept.history_actor) == ("+", "TacroWeb")
            assert kept.history_subject == f"rulebook:{book.version}", name
            assert f'["rules.historical{model._meta.model_name}",{kept.pk},' in entry.text
    assert verify().breaks == ()


@pytest.mark.django_db
def test_a_text_that_is_no_book_or_a_version_in_use_is_refused_and_nothing_written() -> None:
    before = LedgerEntry.objects.count()
    with pytest.raises(ValidationError, match="not a rule book"):
        add_book(text="version = 3", by=BY)
    with pytest.raises(ValidationError, match="already exists"):
        add_book(text=SEED.read_text(), by=BY)
    assert LedgerEntry.objects.count() == before
    draft = add_book(text=later_text(), by=BY)
    with pytest.raises(ValidationError):
        add_book(text=later_text("2026-09"), by=BY)
    assert RuleBook.objects.filter(status=RuleBookStatus.DRAFT).get() == draft


@pytest.mark.django_db
def test_a_row_that_the_tables_cannot_hold_stops_the_whole_book() -> None:
    text = later_text().replace('code = "MAX-MG-PER-DAY"', 'code = "MAX MG PER DAY"')
    text += '\n[[numbers]]\ncode = "MAX-MG-PER-DAY"\nvalue = "1"\nunit = "1"\nstatements = []\n'
    text += 'origin = "LOCAL"\nsource = "none"\n'
    with pytest.raises(ValidationError, match="A code is letters"):
        add_book(text=text, by=BY)
    assert not RuleBook.objects.filter(version="2026-08").exists()


@pytest.mark.django_db
def test_seeding_again_changes_nothing_and_a_changed_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = LedgerEntry.objects.count()
    call_command("seed_rules", verbosity=0)
    assert LedgerEntry.objects.count() == before
    monkeypatch.setattr(seed_rules, "SEED", tmp_path)
    (tmp_path / "2026-01.toml").write_text(FIRST_SEED.read_text() + "\n")
    with pytest.raises(CommandError, match="A book never changes"):
        call_command("seed_rules", verbosity=0)


@pytest.mark.django_db
def test_where_a_book_is_in_force_a_new_one_waits_for_approval_and_only_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(seed_rules, "SEED", tmp_path)
    for version in ("2026-08", "2026-09"):
        (tmp_path / f"{version}.toml").write_text(later_text(version))
    call_command("seed_rules")
    said = capsys.readouterr().out
    assert "2026-08 of this release is a draft and waits for approval" in said
    assert "2026-09 of this release is not added yet: rule book 2026-08 is draft" in said
    assert published_version().version == "2026-02"
    draft = RuleBook.objects.get(version="2026-08")
    assert (draft.status, draft.text, draft.sha256) == (RuleBookStatus.DRAFT, "", "")
    call_command("seed_rules")
    assert not RuleBook.objects.filter(version="2026-09").exists()
    with pytest.raises(BookNotPublishable, match="waits as a draft"):
        deliver_book(text=later_text("2026-10"), at=NOW, by=BY)


@pytest.mark.django_db
def test_a_shipped_book_whose_number_was_given_here_takes_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own = a_newer_book()
    assert own.version == "2026-03"
    monkeypatch.setattr(seed_rules, "SEED", tmp_path)
    (tmp_path / "2026-03.toml").write_text(later_text("2026-03"))
    call_command("seed_rules")
    assert "2026-03 of this release, here 2026-04, is a draft" in capsys.readouterr().out
    draft = RuleBook.objects.get(version="2026-04")
    assert draft.shipped_sha256 == digest_of_text(later_text("2026-03"))
    call_command("seed_rules")
    assert capsys.readouterr().out == ""
    assert published_version() == own


@pytest.mark.django_db
def test_a_file_that_names_another_version_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seed_rules, "SEED", tmp_path)
    (tmp_path / "2026-08.toml").write_text(later_text("2026-09"))
    with pytest.raises(CommandError, match="says that it is version 2026-09"):
        call_command("seed_rules", verbosity=0)
    assert not RuleBook.objects.filter(version="2026-09").exists()


@pytest.mark.django_db
def test_without_a_published_book_one_is_told_what_to_do() -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE rules_rulebook SET status = 'RETIRED'")
    with pytest.raises(NoPublishedBook, match=r"manage\.py seed_rules"):
        published_book()
