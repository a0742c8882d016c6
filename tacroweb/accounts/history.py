"""Versions of rows as people read them: whose hand, when, why, each field before and after."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from django.contrib import admin
from django.db import models

from tacroweb.numbers import format_decimal
from tacroweb.templatetags.quantities import clinical_date, clinical_datetime

Change = tuple[str, str | None, str | None]

LONG = 2_000  # characters of one value that are shown


def shown(column: "models.Field[Any, Any]", value: Any) -> str | None:
    """A stored value as people read it; None where there is none."""
    if value is None or value == "":
        return None
    if column.choices:
        return str(dict(column.flatchoices).get(value, value))
    match value:
        case bool():
            return "Yes" if value else "No"
        case Decimal():
            return format_decimal(value)
        case datetime():
            return clinical_datetime(value)
        case date():
            return clinical_date(value)
    text = str(value)
    return f"{text[:LONG]}… ({len(text):,} characters)" if len(text) > LONG else text


@dataclass(frozen=True, slots=True)
class Version:
    """One entry of a row's history: whose hand, when, why, and each field before and after."""

    record: Any
    act: str
    changes: tuple[Change, ...]


ACTS = {"+": "Added", "~": "Changed", "-": "Removed"}


def versions(model: type[models.Model], pk: Any) -> list[Version]:
    """The history of one row, newest first; of a removed row too."""
    kept = list(model.history.filter(**{model._meta.pk.attname: pk}).order_by("history_id"))  # type: ignore[attr-defined]
    found = []
    for before, record in zip([None, *kept], kept, strict=False):
        old = None if record.history_type == "-" else before
        changes = tuple(changes_between(model, old, record))
        found.append(Version(record, ACTS[record.history_type], changes))
    return found[::-1]


def changes_between(model: type[models.Model], old: Any, new: Any) -> Iterator[Change]:
    """Each column in which two versions differ, by its name; without `old` each that is filled."""
    for column in model._meta.concrete_fields:
        if column.primary_key or not hasattr(new, column.attname):
            continue
        before, now = getattr(old, column.attname, None), getattr(new, column.attname)
        if before == now:
            continue
        name = str(column.verbose_name)
        if column.is_relation:
            before, now = getattr(old, column.name, None), getattr(new, column.name)
        told = (shown(column, before), shown(column, now))
        if told != (None, None):
            yield f"{name[:1].upper()}{name[1:]}", *told


def plain(name: str) -> Callable[[models.Model], str]:
    """A column of a list: a number without the zeros that its table adds."""

    @admin.display(description=name.replace("_", " "), ordering=name)
    def said(row: models.Model) -> str:
        value = getattr(row, name)
        return "" if value is None else format_decimal(value)

    said.__name__ = name
    return said
