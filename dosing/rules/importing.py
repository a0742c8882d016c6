"""Rows of a draft from a file: what a table may not say twice, and what the linter says then."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from typing import Any

from django.db.models import Max, QuerySet

from dosing.rules.linter import LintFinding
from dosing.rules.linting.findings import order
from dosing.rules.models import (
    PARTED_BY,
    TABLES,
    Citation,
    DrugClass,
    Interaction,
    RuleBook,
    RuleBookStatus,
    RuleRow,
)
from dosing.rules.selectors import lint_of
from dosing.rules.services import add_row, edit_row
from tacroweb.accounts.exchange import TableResource, table_resource
from tacroweb.audit.models import LedgerSubject
from tacroweb.audit.signature import Signature

TABLE_OF = {model: name for name, model in TABLES.items()}


def open_draft() -> RuleBook | None:
    """The book whose rows can be edited, without its text."""
    return RuleBook.objects.defer("text").filter(status=RuleBookStatus.DRAFT).first()


def hold_draft() -> None:
    """Keep others from editing or settling the draft until the transaction ends."""
    RuleBook.objects.select_for_update().filter(status=RuleBookStatus.DRAFT).first()


def draft_state() -> str:
    """The draft and the newest act on it: any edit of it makes another."""
    draft = open_draft()
    if draft is None:
        return ""
    acts = LedgerSubject.objects.filter(subject=draft.audit_subject())
    return f"{draft} {acts.aggregate(newest=Max('entry_id'))['newest']}"


@dataclass(frozen=True, slots=True)
class Lint:
    """What the linter would say of the draft as a file leaves it, beside what it says now.

    `unreadable` is why the rows would be no rule book at all.
    """

    new: tuple[LintFinding, ...] = ()
    mended: tuple[LintFinding, ...] = ()
    others: int = 0
    unreadable: str = ""


def contradictions(book: RuleBook, model: type[RuleRow]) -> Iterator[tuple[str, str]]:
    """Rows of one table that say what another row says already, or cite what is not there.

    Each as (code, sentence), once for each of the rows concerned.
    """
    rows = list(model.objects.filter(book=book).order_by("pk"))
    yield from _codes_alike(rows)
    if model is DrugClass:
        yield from _drugs_twice(rows)
    elif model is Interaction:
        yield from _pairs_reversed(rows)
    if model is not Citation:
        known = set(Citation.objects.filter(book=book).values_list("code", flat=True))
        for row in rows:
            for code in parted(row.citations):
                if code not in known:
                    yield row.code, f"{row.code} cites {code}, which the draft’s citations lack."


def parted(text: str) -> list[str]:
    """The texts of a column that holds several."""
    return text.split(PARTED_BY) if text else []


def _codes_alike(rows: list[Any]) -> Iterator[tuple[str, str]]:
    seen: dict[str, str] = {}
    for row in rows:
        if (first := seen.setdefault(row.code.casefold(), row.code)) != row.code:
            told = f"{row.code} differs from {first} by capital letters alone."
            yield row.code, told
            yield first, told


def _drugs_twice(rows: list[Any]) -> Iterator[tuple[str, str]]:
    seen: dict[str, str] = {}
    for row in rows:
        if (first := seen.setdefault(row.drug.casefold(), row.code)) != row.code:
            told = f"{row.code} classes {row.drug} a second time: {first} does already."
            yield row.code, told
            yield first, told


def _pairs_reversed(rows: list[Any]) -> Iterator[tuple[str, str]]:
    """Of a pair of drugs A–B and B–A, on the same change, one row has to go."""
    seen: dict[tuple[str, str, str], str] = {}
    for row in rows:
        for one, other in product(parted(row.drugs), parted(row.with_drugs)):
            one, other = one.casefold(), other.casefold()
            first = seen.get((row.change, other, one))
            if first is not None and first != row.code:
                told = (
                    f"{row.code} has {one} and {other} the other way round than {first}. Keep one "
                    "of them."
                )
                yield row.code, told
                yield first, told
            seen.setdefault((row.change, one, other), row.code)


class RowResource(TableResource):
    """The rows of one table of a draft, found by their code."""

    def __init__(
        self, *, book: RuleBook | None = None, at: datetime | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.book = book
        self.at = at  # against which the linter holds the last reviews
        self.before: frozenset[LintFinding] | None = None

    def get_queryset(self) -> QuerySet[Any]:
        rows: QuerySet[Any] = self._meta.model.objects.filter(book=self.book)
        return rows.select_related("book")

    def init_instance(self, row: Any = None) -> RuleRow:
        made: RuleRow = self._meta.model(book=self.book)
        return made

    def write(self, instance: RuleRow, *, is_new: bool, by: Signature) -> None:
        if is_new:
            add_row(row=instance, by=by)
        else:
            edit_row(row=instance, by=by)

    def prepare(self) -> None:
        try:
            self.before = self._linted()
        except ValueError:
            self.before = frozenset()

    def faults_of_table(self, numbers: dict[Any, int]) -> list[str]:
        # A contradiction has two rows: it is told once, of the first that the file has.
        faults: dict[str, str] = {}
        for code, sentence in contradictions(self._book(), self._meta.model):
            if code in numbers:
                faults.setdefault(sentence, f"Row {numbers[code]}: {sentence}")
        return list(faults.values())

    def remarks(self) -> Lint | None:
        if self.before is None:
            return None
        try:
            after = self._linted()
        except ValueError as error:
            return Lint(unreadable=str(error))
        return Lint(
            new=tuple(sorted(after - self.before, key=order)),
            mended=tuple(sorted(self.before - after, key=order)),
            others=len(after & self.before),
        )

    def _linted(self) -> frozenset[LintFinding]:
        if self.at is None:
            raise TypeError("The linter asks for the time.")
        return frozenset(lint_of(self._book(), at=self.at))

    def _book(self) -> RuleBook:
        if self.book is None:
            raise TypeError("Rows are imported into a book.")
        return self.book


def row_resource(model: type[RuleRow]) -> type[TableResource]:
    """The resource of a rule table: the columns of the engine's row, in the model's order."""
    columns = [
        column.name
        for column in model._meta.concrete_fields
        if not column.primary_key and column.name != "book"
    ]
    return table_resource(RowResource, model, columns, ("code",))
