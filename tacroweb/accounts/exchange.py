"""Rows of a table from a file and to one: each cell strictly read, the whole file or nothing.

A file is tried out by carrying it out for real and rolling it back, so that the preview refuses
what the services refuse. It adds and changes rows and never removes one.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import tablib
from django.core.exceptions import ValidationError
from django.core.validators import DecimalValidator
from django.db import models
from import_export.fields import Field
from import_export.instance_loaders import CachedInstanceLoader
from import_export.resources import ModelResource
from import_export.results import Result, RowResult
from import_export.widgets import Widget

from tacroweb.accounts.history import Change, shown
from tacroweb.audit.ledger import open_act
from tacroweb.audit.signature import Signature
from tacroweb.fields import read_day, read_decimal
from tacroweb.numbers import MAX_DECIMALS
from tacroweb.refusals import Refusal
from tacroweb.sheets import Sheet

PLAIN = re.compile(r"(0|[1-9][0-9]*)\.[0-9]+")


class FileRefused(Refusal):
    """Nothing of a file was taken."""

    code = "import_refused"


class Column(Widget):
    """How a column of a table is written in a file and read from it, strictly."""

    def __init__(self, column: "models.Field[Any, Any]") -> None:
        super().__init__()
        self.column = column

    def clean(self, value: str, row: Any = None, **kwargs: Any) -> Any:
        """The value that a cell says. Raises `ValueError` with a sentence."""
        try:
            return self._value(value)
        except ValidationError as error:
            raise ValueError(" ".join(error.messages)) from error

    def _value(self, text: str) -> Any:
        column = self.column
        if isinstance(column, models.BooleanField):
            return _flag(text)
        if not text:
            if column.null or column.empty_strings_allowed:
                return None if column.null else ""
            raise ValidationError("This cell cannot be empty.")
        if column.choices and text not in (words := [str(key) for key, _ in column.flatchoices]):
            raise ValidationError(f"{text} is not one of {', '.join(words)}.")
        match column:
            case models.DecimalField():
                return _decimal(column, text)
            case models.IntegerField():
                if "." in text:
                    raise ValidationError("Write a whole number, such as 6.")
                return int(read_decimal(text))
            case models.DateField():
                return read_day(text)
        return text

    def render(self, value: Any, obj: Any = None, **kwargs: Any) -> Any:
        return value


def _decimal(column: "models.DecimalField[Any, Any]", text: str) -> Decimal:
    if column.decimal_places > MAX_DECIMALS and PLAIN.fullmatch(text):
        value = Decimal(text)  # a factor of the shipped vocabulary may have more than is typed
        DecimalValidator(column.max_digits, column.decimal_places)(value)
        return value
    return read_decimal(text)


def _flag(text: str) -> bool:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    raise ValidationError("Write true or false.")


class KeyColumn(Column):
    """A row of another table, by a key that people know."""

    def __init__(self, column: Any, key: str) -> None:
        super().__init__(column)
        self.key = key

    def _value(self, text: str) -> Any:
        found = self.column.related_model.objects.filter(**{self.key: text}).first()  # type: ignore[union-attr]
        if found is None:
            raise ValidationError(f"There is no {self.column.verbose_name} {text!r}.")
        return found

    def render(self, value: Any, obj: Any = None, **kwargs: Any) -> Any:
        return getattr(value, self.key, None)


class TableResource(ModelResource):
    """Rows of one table. `import_id_fields` find the row that a row of a file is about.

    `keys` names, for a column that points at another table, what its rows are known by. A row is
    written by `write`, which calls the table's service.
    """

    keys: dict[str, str] = {}
    any_case = True  # whether two names that differ by capitals alone are one
    by: Signature  # set by `take_in`

    class Meta:
        skip_unchanged = True
        report_skipped = True
        skip_html_diff = True
        store_instance = True
        use_transactions = True
        clean_model_instances = False  # the services validate
        instance_loader_class = CachedInstanceLoader

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name, field in self.fields.items():
            column = self._meta.model._meta.get_field(name)
            key = self.keys.get(name)
            field.widget = KeyColumn(column, key) if key else Column(column)

    def required(self) -> list[str]:
        """The columns without which no row can be added."""
        columns = [self._meta.model._meta.get_field(name) for name in self.fields]
        return [each.name for each in columns if not (each.blank or each.has_default())]

    def do_instance_save(self, instance: Any, is_create: bool) -> None:
        self.write(instance, is_new=is_create, by=self.by)

    def write(self, instance: Any, *, is_new: bool, by: Signature) -> None:
        """Call the service. Raises what it raises."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Note what a preview compares with, before anything is written."""

    def faults_of_file(self, sheet: Sheet) -> list[str]:
        """What is wrong between the rows of a file: one of them that stands there twice."""
        names = self.get_import_id_fields()
        places = [sheet.headings.index(name) for name in names]
        seen: dict[tuple[str, ...], int] = {}
        faults = []
        for number, cells in sheet.rows:
            key = tuple(cells[place] for place in places)
            if self.any_case:
                key = tuple(name.casefold() for name in key)
            if (first := seen.setdefault(key, number)) != number:
                told = " ".join(cells[place] for place in places)
                faults.append(f"Row {number}: {told} stands in row {first} already.")
        return faults

    def faults_of_table(self, numbers: dict[Any, int]) -> list[str]:
        """What is wrong with the table as the file leaves it; `numbers`: its rows by their key."""
        return []

    def remarks(self) -> Any:
        """What else should be known before the file is taken, for the page."""
        return None


def table_resource(
    base: type[TableResource], model: type[models.Model], columns: Sequence[str], key: Sequence[str]
) -> type[TableResource]:
    """The resource of a model with these columns, in their order."""
    inner = type("Meta", (base.Meta,), {"model": model, "fields": columns, "import_id_fields": key})
    fields = {name: Field(attribute=name, column_name=name) for name in columns}
    return type(f"{model.__name__}Resource", (base,), {"Meta": inner, **fields})


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenRow:
    """One row of a file and what becomes of it."""

    number: int
    name: str
    is_new: bool
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a file does, row by row, or why it does nothing."""

    rows: tuple[TakenRow, ...] = ()
    same: int = 0
    faults: tuple[str, ...] = ()
    remarks: Any = None

    @property
    def added(self) -> int:
        return sum(row.is_new for row in self.rows)

    @property
    def changed(self) -> int:
        return len(self.rows) - self.added


class _RolledBack(Exception):
    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome


def take_in(
    resource: TableResource, sheet: Sheet, *, act: str, by: Signature, keep: bool
) -> Outcome:
    """Write what a file says, all or nothing, as one act; without `keep` only see what it would do.

    A file with a fault is never kept. A file that changes nothing writes nothing.
    """
    resource.by = by
    if faults := resource.faults_of_file(sheet):
        return Outcome(faults=tuple(faults))
    dataset = tablib.Dataset(headers=list(sheet.headings))
    for _, cells in sheet.rows:
        dataset.append(cells)
    if not keep:
        resource.prepare()
    try:
        with open_act(act, by=by):
            result = resource.import_data(dataset, retain_instance_in_row_result=True)
            outcome = _outcome(resource, sheet, result)
            if outcome.faults or not keep:
                raise _RolledBack(outcome)
    except _RolledBack as done:
        return done.outcome
    return outcome


def _outcome(resource: TableResource, sheet: Sheet, result: Result) -> Outcome:
    for error in result.base_errors:
        raise error.error
    rows, faults, same, numbers = [], [], 0, {}
    columns = {name: resource._meta.model._meta.get_field(name) for name in resource.fields}
    for (number, _), row in zip(sheet.rows, result.rows, strict=True):
        for error in row.errors:
            if not isinstance(error.error, Refusal):
                raise error.error
            faults.append(f"Row {number}: {error.error.message}")
        if row.validation_error is not None:
            faults += [f"Row {number}, {told}" for told in _told(row.validation_error, columns)]
        if row.errors or row.validation_error is not None:
            continue
        key = tuple(getattr(row.instance, name) for name in resource.get_import_id_fields())
        numbers[key[0] if len(key) == 1 else key] = number
        if row.import_type == RowResult.IMPORT_TYPE_SKIP:
            same += 1
            continue
        changes = tuple(_changes(columns, row.original, row.instance))
        rows.append(
            TakenRow(number=number, name=str(row.instance), is_new=row.is_new(), changes=changes)
        )
    if not faults:
        faults = resource.faults_of_table(numbers)
    return Outcome(
        rows=tuple(rows),
        same=same,
        faults=tuple(faults),
        remarks=None if faults else resource.remarks(),
    )


def _told(error: ValidationError, columns: Collection[str]) -> Iterator[str]:
    told = error.message_dict if hasattr(error, "error_dict") else {"": error.messages}
    for name, texts in told.items():
        for text in texts:
            yield f"column {name}: {text}" if name in columns else text


def _changes(columns: dict[str, Any], old: Any, new: Any) -> Iterator[Change]:
    for name, column in columns.items():
        before = None if old is None else getattr(old, name)
        now = getattr(new, name)
        told = (shown(column, before), shown(column, now))
        if before != now and told != (None, None):
            yield name, *told
