"""How the tables of rules are listed in the back office, and which rows are edited together."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet

from dosing.rules import models as rules
from dosing.rules import words
from dosing.rules.loading import engine_row
from dosing.rules.models import TABLES, RuleRow
from tacroweb.accounts.history import plain

ORIGIN = ("statements", "origin", "source", "citations", ("reviewed_by", "reviewed_on"))
STANDING = ("enabled", "needs_local_approval")
COMMON = ("statements", "origin", "source", "citations", "reviewed_by", "reviewed_on", *STANDING)
ENDS = (("low", "low_included"), ("high", "high_included"))
BOUNDS = ("low", "low_included", "high", "high_included", "unit")


def _said(name: str, order: str, say: Callable[[Any], str]) -> Callable[[RuleRow], str]:
    @admin.display(description=name, ordering=order)
    def said(row: RuleRow) -> str:
        return say(engine_row(row))

    said.__name__ = name.replace(" ", "_")
    return said


STRETCH = _said("stretch", "low", words.stretch)
AMOUNT = _said("value", "value", lambda row: words.amount(row.value, row.unit))
DOSE = _said("dose", "low", lambda row: words.span(row.low, row.high, row.unit))
SHARE = _said("share", "numerator", lambda row: _share(row.numerator, row.denominator))
VALID = _said(
    "a trough", "valid_from_h", lambda row: words.span(row.valid_from_h, row.valid_to_h, "h")
)
USABLE = _said(
    "usable", "usable_from_h", lambda row: words.span(row.usable_from_h, row.usable_to_h, "h")
)
STRENGTH = _said("strength", "strength_mg", lambda row: words.amount(row.strength_mg, "mg"))
APPROVAL = _said(
    "local approval",
    "needs_local_approval",
    lambda row: "needed" if row.needs_local_approval else "",
)


def _share(numerator: int | None, denominator: int | None) -> str:
    return "" if numerator is None else f"{numerator}/{denominator}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """Rows that are edited on the page of another: those of `model` with `column` as `of` says.

    Of the same table they are the row's siblings; they are added on pages of their own.
    """

    model: type[RuleRow]
    title: str
    column: str
    of: str
    fields: tuple[Any, ...]
    may_add: bool = False

    def of_row(self, row: RuleRow | None) -> QuerySet[Any]:
        """The rows beside this one."""
        if row is None or row.pk is None:
            return self.model.objects.none()
        found: QuerySet[Any] = self.model.objects.filter(book=row.book).select_related("book")
        if self.column:
            found = found.filter(**{self.column: getattr(row, self.of)})
        if isinstance(row, self.model):
            found = found.exclude(pk=row.pk)
        return found.order_by(*SHOWN[rules_table(self.model)].order)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """How a table is listed."""

    columns: tuple[Any, ...] = ()
    filters: tuple[str, ...] = ()
    order: tuple[str, ...] = ("code",)
    beside: tuple[Beside, ...] = ()


def named(fields: Iterable[Any]) -> Iterator[str]:
    """The names in a list of fields, some of which share a line."""
    for each in fields:
        yield from (each,) if isinstance(each, str) else each


def rules_table(model: type[RuleRow]) -> str:
    """The name of the table as books and the engine know it."""
    return next(name for name, each in TABLES.items() if each is model)


def _siblings(model: type[RuleRow], title: str, column: str, *fields: Any) -> tuple[Beside, ...]:
    return (Beside(model=model, title=title, column=column, of=column, fields=fields),)


SHOWN: dict[str, Shown] = {
    "findings": Shown(columns=("severity",), filters=("severity",)),
    "numbers": Shown(columns=(AMOUNT,)),
    "ratios": Shown(columns=(SHARE,)),
    "starting_doses": Shown(columns=("basis", DOSE)),
    "level_bands": Shown(
        columns=(STRETCH, "band"),
        order=("low", "high", "code"),
        beside=_siblings(rules.LevelBand, "The other bands", "", *BOUNDS, "band", "enabled"),
    ),
    "level_windows": Shown(columns=("formulation", VALID, USABLE)),
    "dose_steps": Shown(
        columns=("side", STRETCH, SHARE),
        filters=("side",),
        order=("side", "low", "code"),
        beside=_siblings(
            rules.DoseStep, "The other steps of this side", "side", *BOUNDS,
            "numerator", "denominator", "enabled",
        ),
    ),
    "roundings": Shown(columns=("act", "mode")),
    "strengths": Shown(columns=("formulation", "form", STRENGTH), filters=("formulation",)),
    "drug_classes": Shown(
        columns=("drug", "seed_class", "label_class", "fda_class"),
        filters=("seed_class", "label_class", "fda_class"),
        order=("drug",),
    ),
    "drug_groups": Shown(
        columns=("group", "drug", plain("factor")), filters=("group",), order=("group", "drug")
    ),
    "interactions": Shown(
        columns=("drugs", "change", "effect", "act", SHARE, "severity"),
        filters=("change", "effect", "act", "severity"),
        beside=(
            Beside(
                model=rules.ModifyingFactor,
                title="Modifying factors, each with its own action",
                column="interaction",
                of="code",
                fields=(("code", "drug"), "factor", "action", *ORIGIN, STANDING),
                may_add=True,
            ),
        ),
    ),
    "modifying_factors": Shown(
        columns=("interaction", "drug", "factor", "action"), order=("interaction", "code")
    ),
    "hold_drugs": Shown(columns=("drug",), order=("drug",)),
    "drug_notes": Shown(columns=("drug", "change", "note"), filters=("change",), order=("drug",)),
    "thresholds": Shown(
        columns=("quantity", STRETCH, "finding"),
        filters=("quantity",),
        order=("quantity", "low", "code"),
        beside=_siblings(
            rules.Threshold, "The other stretches of this quantity", "quantity", *BOUNDS,
            "finding", "enabled",
        ),
    ),
    "local_targets": Shown(columns=("stage", "option")),
    "baseline_items": Shown(
        columns=("name", "analyte", "look_back_days", "finding"), filters=("finding",)
    ),
    "due_tests": Shown(
        columns=("series", "number", "analyte", "earliest_day", "due_day", "latest_day"),
        filters=("series",),
        order=("series", "number"),
        beside=_siblings(
            rules.DueTest, "The other tests of this series", "series",
            "number", "analyte", "earliest_day", "due_day", "latest_day", "enabled",
        ),
    ),
    "schedules": Shown(
        columns=("analyte", "phase", "condition", "every_days", "grace_days", "finding"),
        filters=("phase", "analyte"),
        order=("analyte", "phase", "code"),
        beside=_siblings(
            rules.Schedule, "The other phases of this test", "analyte",
            "phase", "condition", "every_days", "grace_days", "enabled",
        ),
    ),
    "contraindications": Shown(columns=("kind", "name", "finding"), filters=("kind",)),
    "vaccines": Shown(columns=("atc", "name"), order=("atc",)),
    "companion_regimens": Shown(
        columns=("regimen", "step", "drug", "route", DOSE),
        filters=("regimen", "drug"),
        order=("regimen", "step"),
    ),
    "outcomes": Shown(
        columns=("measure", plain("value"), "unit", "patients"), filters=("measure",)
    ),
    "citations": Shown(columns=("title", "identifier", "read"), filters=("read",)),
}  # fmt: skip
