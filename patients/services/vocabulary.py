"""Maintaining the vocabulary: drugs, analytes and their units."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import OuterRef, Subquery

from patients.models import Analyte, AnalyteUnit, Drug
from patients.vocabulary import plain_unit
from tacroweb.audit.ledger import service
from tacroweb.audit.signature import Signature

from .facts import need_reason


@service("Drug of the vocabulary saved")
def save_drug(*, drug: Drug, by: Signature) -> Drug:
    """Add or change a drug of the vocabulary. Needs a reason.

    Raises `ValidationError` for a name or alias that another drug bears: a name finds one drug.
    """
    need_reason(by)
    names = [drug.generic_name, *drug.aliases.splitlines()]
    drug.generic_name, *aliases = [" ".join(name.split()) for name in names]
    drug.aliases = "\n".join(filter(None, aliases))
    ours = {name.casefold() for name in (drug.generic_name, *aliases) if name}
    for other in Drug.objects.exclude(pk=drug.pk):
        theirs = {name.strip().casefold() for name in other.aliases.splitlines()}
        if taken := ours & {other.generic_name.casefold(), *theirs}:
            raise ValidationError({"aliases": f"{taken.pop()} already finds {other}."})
    drug.sign(by).save()
    return drug


@service("Analyte of the vocabulary saved")
def save_analyte(*, analyte: Analyte, by: Signature) -> Analyte:
    """Change the names and limits of an analyte. Needs a reason.

    Its key and canonical unit stay: results are stored under them. Raises `ValidationError`.
    """
    need_reason(by)
    stands = Analyte.objects.get(pk=analyte.pk)
    for name in ("key", "canonical_unit"):
        if getattr(stands, name) != getattr(analyte, name):
            raise ValidationError({name: "Results are stored under it: it cannot be changed."})
    for kind in ("plausible", "reference"):
        low, high = getattr(analyte, f"{kind}_low"), getattr(analyte, f"{kind}_high")
        if low is not None and high is not None and low >= high:
            raise ValidationError({f"{kind}_high": "The high limit must be above the low one."})
    analyte.sign(by).save()
    return analyte


@service("Unit of the vocabulary added")
def add_unit(*, unit: AnalyteUnit, by: Signature) -> AnalyteUnit:
    """Accept a further unit for an analyte, with its exact factor. Needs a reason.

    A unit is never changed or removed: stored results were converted with it. Raises
    `ValidationError`.
    """
    need_reason(by)
    if unit.pk is not None:
        raise ValidationError("Results were converted with this unit: it cannot be changed.")
    unit.unit = plain_unit(unit.unit)
    unit.sign(by).save()
    return unit


@service("Vocabulary seeded")
def seed_rows(
    *,
    drugs: Iterable[Mapping[str, Any]],
    analytes: Iterable[Mapping[str, Any]],
    units: Iterable[tuple[str, Mapping[str, Any]]],
    by: Signature,
) -> tuple[int, list[str]]:
    """Bring the vocabulary to what the shipped file says, where nobody decided otherwise.

    Rows that are missing are added; a row whose newest version was written by the software follows
    the file; a row that a person has changed since is left alone. `units` come with their analyte's
    key. Returns how many rows were written and the names of those left alone. A second run with the
    same file writes nothing.
    """
    written, left = _follow(Drug, {row["generic_name"]: row for row in drugs}, "generic_name", by)
    more, kept = _follow(Analyte, {row["key"]: row for row in analytes}, "key", by)
    written, left = written + more, left + kept
    owners = {row.key: row for row in Analyte.objects.all()}
    wanted: dict[str, Mapping[str, Any]] = {}
    for key, unit in units:
        wanted[f"{owners[key].pk} {unit['unit']}"] = {"analyte_id": owners[key].pk, **unit}
    more, kept = _follow(AnalyteUnit, wanted, "", by)
    return written + more, left + kept


def _follow(
    model: type[Drug] | type[Analyte] | type[AnalyteUnit],
    wanted: Mapping[str, Mapping[str, Any]],
    key: str,
    by: Signature,
) -> tuple[int, list[str]]:
    history: Any = model.history
    last_actor = Subquery(
        history.filter(id=OuterRef("pk")).order_by("-history_id").values("history_user")[:1],
        output_field=models.BigIntegerField(),
    )
    rows: Iterable[Any] = model.objects.annotate(last_actor=last_actor)
    stand = {getattr(row, key) if key else f"{row.analyte_id} {row.unit}": row for row in rows}
    written, left = 0, []
    for name, values in wanted.items():
        row = stand.get(name)
        if row is None:
            row = model()
        elif all(getattr(row, field) == value for field, value in values.items()):
            continue
        elif row.last_actor is not None:
            left.append(str(row))
            continue
        for field, value in values.items():
            setattr(row, field, value)
        row.sign(by).save()
        written += 1
    return written, left
