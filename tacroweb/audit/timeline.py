"""The ledger in words: each act with the fields it changed, old and new, as a person reads them."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from django.apps import apps
from django.db import models
from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.urls import reverse

from dosing.checks import AnswerReason
from dosing.models import (
    Assessment,
    CompanionOrder,
    DoseOrder,
    Regimen,
    SignedCompanion,
    SignedOrder,
)
from dosing.rules.models import RuleBook
from patients.models import CoMedication, Observation, Patient
from tacroweb.accounts.models import ApiToken, Clinic, Membership, User
from tacroweb.numbers import format_decimal
from tacroweb.templatetags.components import CHANNELS, UNITS
from tacroweb.templatetags.quantities import (
    NBSP,
    clinical_date,
    clinical_datetime,
    mg,
    printed_unit,
)

from .models import HistoryRow, LedgerEntry, LedgerSubject

SHOWN_ROWS = 8  # of one act in a list of acts; the act's own page has them all, in pages
OPEN_ROWS = 3  # of an act that writes more, the list says how many, and shows them when opened
REVIEW_ROWS = 100  # a review is told by what became of all its tasks
SHOWN_KINDS = 3
LONG_TEXT = 300

# Of the installation's own chain, what every auditor may read: the vocabulary and the rules.
SHARED_SUBJECTS = ("drug:", "analyte:", "analyteunit:", "rulebook:")
# What says nothing to a reader: keys, whose record it is (on the page already), secrets' digests.
HIDDEN = {"id", "public_id", "patient", "clinic", "digest"}

REVIEW = "Tasks reviewed"  # what monitoring calls its review of a patient
ASSESSMENT = "Assessment"
BOOK = "Rule book"
DRAFTED = ("Rule book drafted", "Rule book drafted from an earlier one")
# Fields whose own words are the programmer's.
NAMES = {
    "based_on": "Based on",
    "hcv_antiviral_course": "On treatment for hepatitis C",
    "lactating": "Breast-feeding",
    "contraception": "Contraception in place",
    "reason_code": "Reason",
    "reason_text": "In words",
}
# The fields of a new row that its title is made of.
TITLED: dict[type[models.Model], frozenset[str]] = {
    Observation: frozenset({"Analyte", "Entered", "Unit entered", "Value"}),
    CoMedication: frozenset({"Drug"}),
}

KINDS: dict[type[models.Model], str] = {
    CoMedication: "Co-medication",
    CompanionOrder: "Companion treatment",
    Observation: "Result",
    User: "Person",
    Membership: "Role",
    ApiToken: "API token",
}

Change = tuple[str, str | None, str | None]


@dataclass(frozen=True, slots=True)
class RowChange:
    """One row that an act wrote: what it is, new or removed, each field old and new."""

    title: str
    is_new: bool
    changes: tuple[Change, ...]
    href: str = ""
    link: str = ""
    titled: frozenset[str] = frozenset()
    is_removed: bool = False

    @property
    def brief(self) -> tuple[Change, ...]:
        """The changes without those that the title of a new row says already."""
        return tuple(change for change in self.changes if change[0] not in self.titled)


@dataclass(slots=True)
class ActLine:
    """One act as it is shown: the ledger's entry, its rows, and how many rows are left out.

    `reviews` are the reviews of the tasks that this act set off, where they are shown under it.
    """

    entry: LedgerEntry
    rows: list[RowChange] = field(default_factory=list)
    left_out: int = 0
    patients: list[Patient] = field(default_factory=list)
    reviews: list["ActLine"] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)

    @property
    def is_long(self) -> bool:
        """Whether a list of acts shows its rows only when asked."""
        return self.kinds.total() > OPEN_ROWS

    @property
    def summary(self) -> str:
        """How many rows it wrote, and of what: "12 rows: Result (11), Co-medication (1)"."""
        if self.entry.act in DRAFTED:
            said = (new for row in self.rows for name, _, new in row.changes if name == "Based on")
            copied = sum(count for kind, count in self.kinds.items() if kind != BOOK)
            if source := next(said, None):
                return f"{copied} rows copied from rule book {source}, none changed"
        told = [f"{kind} ({count})" for kind, count in self.kinds.most_common(SHOWN_KINDS)]
        if more := len(self.kinds) - len(told):
            told.append(f"and {more} other kind{'' if more == 1 else 's'}")
        total = self.kinds.total()
        return f"{total} row{'' if total == 1 else 's'}: {', '.join(told)}"

    @property
    def is_review(self) -> bool:
        """Whether the machine did it in the wake of an act, or at night: no person's own act."""
        return self.entry.act == REVIEW

    @property
    def outcome(self) -> str:
        """What a review did beside storing its assessment: "7 opened, 2 done"."""
        done: Counter[str] = Counter()
        for row in self.rows:
            if row.title == ASSESSMENT:
                continue
            status = next((new for name, _, new in row.changes if name == "Status" and new), "")
            done["opened" if row.is_new else status.lower() or "changed"] += 1
        told = sorted(done.items(), key=lambda each: each[0] != "opened")
        return ", ".join(f"{count} {what}" for what, count in told) or "no task changed"

    @property
    def channel(self) -> str:
        """The door, in words."""
        return CHANNELS.get(self.entry.channel, self.entry.channel)


def visible_acts(clinic: Clinic) -> QuerySet[LedgerEntry]:
    """The acts that the clinic's auditors may read, newest first.

    The clinic's own chain, and from the installation's the acts on vocabulary and rules.
    """
    shared = Q()
    for prefix in SHARED_SUBJECTS:
        shared |= Q(subjects__subject__startswith=prefix)
    system = LedgerEntry.objects.filter(shared, chain__name="system").values("pk")
    return (
        LedgerEntry.objects.filter(Q(chain__name=f"clinic:{clinic.pk}") | Q(pk__in=system))
        .select_related("chain")
        .order_by("-pk")
    )


def acts_about(clinic: Clinic, subject: str) -> QuerySet[LedgerEntry]:
    """The clinic's acts that touched one record, such as "patient:12", newest first."""
    return (
        LedgerEntry.objects.filter(chain__name=f"clinic:{clinic.pk}", subjects__subject=subject)
        .select_related("chain")
        .order_by("-pk")
    )


def in_words(
    entries: Sequence[LedgerEntry],
    *,
    subject: str | None = None,
    at_most: int = SHOWN_ROWS,
    after: int = 0,
) -> list[ActLine]:
    """The acts with their changes; of one `subject` only, where it is given.

    At most `at_most` rows of an act are shown and the rest counted, but a review's are all there;
    `after` so many rows, where an act is shown in pages. The number of queries depends
    on how many tables the acts touched, never on how many acts or rows.
    """

    def limit(line: ActLine) -> int:
        return max(at_most, REVIEW_ROWS) if line.is_review else at_most

    lines = [ActLine(entry) for entry in entries]
    claims: list[tuple[ActLine, str, int]] = []
    for line in lines:
        rows = json.loads(line.entry.text)["rows"]
        if subject is None:
            line.kinds = Counter(_kind_of(label) for label, _, _ in rows)
            rows = rows[after:]
            line.left_out = max(0, len(rows) - limit(line))
            rows = rows[: limit(line)]
        claims += [(line, label, pk) for label, pk, _ in rows]
    found: dict[tuple[str, int], RowChange] = {}
    for label in dict.fromkeys(label for _, label, _ in claims):
        keys = [pk for _, name, pk in claims if name == label]
        found |= {(label, pk): row for pk, row in _rows(label, keys, subject)}
    for line, label, pk in claims:
        if row := found.get((label, pk)):
            if subject is not None:
                line.kinds[_kind_of(label)] += 1
            if len(line.rows) < limit(line):
                line.rows.append(row)
            else:
                line.left_out += 1
    return lines


def under_their_causes(lines: Sequence[ActLine]) -> list[ActLine]:
    """The lines, newest first, with each review put under the act of the same request before it.

    A review whose cause is not among the lines keeps a line of its own.
    """
    kept: list[ActLine] = []
    waiting: list[ActLine] = []
    for line in lines:
        if waiting and line.entry.request_id != waiting[0].entry.request_id:
            kept += waiting
            waiting = []
        if line.is_review:
            waiting.append(line)
        else:
            line.reviews, waiting = waiting, []
            kept.append(line)
    return kept + waiting


def name_patients(lines: Sequence[ActLine], clinic: Clinic) -> None:
    """Put on each line of a list of acts the clinic's patients whose records it touched."""
    about = LedgerSubject.objects.filter(
        entry__in=[line.entry.pk for line in lines], subject__startswith="patient:"
    ).order_by("pk")
    keys: dict[int, list[int]] = {}
    for row in about:
        keys.setdefault(row.entry_id, []).append(int(row.subject.partition(":")[2]))
    shown = {pk for of_entry in keys.values() for pk in of_entry[:SHOWN_ROWS]}
    patients = Patient.objects.filter(clinic=clinic).in_bulk(shown)
    for line in lines:
        named = keys.get(line.entry.pk, [])[:SHOWN_ROWS]
        line.patients = [patients[pk] for pk in named if pk in patients]


def _rows(label: str, keys: list[int], subject: str | None) -> Iterable[tuple[int, RowChange]]:
    model = apps.get_model(label)
    if issubclass(model, HistoryRow):
        yield from _history_rows(model, keys, subject)
    elif model is Assessment:
        yield from _assessments(keys, subject)
    elif model is SignedOrder:
        yield from _signatures(SignedOrder.objects.select_related("regimen"), keys, subject)
    elif model is SignedCompanion:
        yield from _signatures(SignedCompanion.objects.select_related("order"), keys, subject)


def _history_rows(
    model: type[models.Model], keys: list[int], subject: str | None
) -> Iterable[tuple[int, RowChange]]:
    """Each version beside the one before it."""
    tracked: type[models.Model] = model.instance_type  # type: ignore[attr-defined]
    pk = tracked._meta.pk.attname
    earlier = model._base_manager.filter(
        **{pk: OuterRef(pk), "history_id__lt": OuterRef("history_id")}
    ).order_by("-history_id")
    versions: QuerySet[Any] = model._base_manager.annotate(
        before=Subquery(earlier.values("history_id")[:1])
    )
    if subject is None:
        versions = versions.filter(pk__in=keys)
    else:  # an import of thousands of rows may hold few of this patient's
        versions = versions.filter(history_subject=subject, pk__gte=min(keys), pk__lte=max(keys))
    wanted = set(keys)
    rows = [row for row in versions if row.pk in wanted]
    befores = model._base_manager.in_bulk({row.before for row in rows if row.before})
    fields = [
        field
        for field in tracked._meta.concrete_fields
        if field.name not in HIDDEN and any(kept.name == field.name for kept in model._meta.fields)
    ]
    related = _related(tracked, [*rows, *befores.values()])
    for row in rows:
        old = befores.get(row.before)
        if row.history_type == "-":
            title = _title(tracked, row, related)
            yield row.pk, RowChange(title, False, (), is_removed=True)
        else:
            yield row.pk, _row_change(tracked, fields, row, old, related)


Related = Mapping[type[models.Model], Mapping[Any, models.Model]]


def _related(tracked: type[models.Model], rows: Iterable[models.Model]) -> Related:
    """Every row that a foreign key of these versions points at: one query a table."""
    keys: dict[type[models.Model], set[Any]] = {}
    rows = list(rows)
    for column in tracked._meta.concrete_fields:
        if column.many_to_one or column.one_to_one:
            target = column.related_model
            values = {getattr(row, column.attname, None) for row in rows}
            keys.setdefault(target, set()).update(values - {None})  # type: ignore[arg-type]
    return {target: _readable(target).in_bulk(wanted) for target, wanted in keys.items() if wanted}


def _readable(model: type[models.Model]) -> QuerySet[Any]:
    """The rows with what their names are made of."""
    if model is Observation:
        return Observation.objects.select_related("analyte")
    if model is Assessment:
        return Assessment.objects.only("pk", "at")
    if model is Regimen:
        return Regimen.objects.select_related("patient")
    if model is RuleBook:
        return RuleBook.objects.defer("text")
    return model._base_manager.all()


def _row_change(
    tracked: type[models.Model],
    fields: Sequence["models.Field[Any, Any]"],
    row: Any,
    old: Any,
    related: Related,
) -> RowChange:
    changes = []
    for column in fields:
        now, before = getattr(row, column.attname), getattr(old, column.attname, None)
        # Of a new row, what is empty or a flag as it begins (not withdrawn) says nothing.
        silent = (None, "", False) if column.has_default() else (None, "")
        if now in silent if old is None else now == before:
            continue
        name, unit = _name_and_unit(column)
        told = _value(column, now, unit, related)
        if old is not None:
            changes.append((name, _value(column, before, unit, related), told))
        elif told is not None:
            changes.append((name, None, told))
    href = link = ""
    if tracked is DoseOrder and old is None:
        regimen: Any = related[Regimen][row.regimen_id]
        href = reverse("dosing:why", args=[regimen.patient.public_id, row.public_id])
        link = "Why this dose"
    titled = TITLED.get(tracked, frozenset()) if old is None else frozenset()
    return RowChange(_title(tracked, row, related), old is None, tuple(changes), href, link, titled)


def _kind_of(label: str) -> str:
    """What the rows of a table are called, by the label that the ledger keeps: "Result"."""
    model = apps.get_model(label)
    if model is Assessment:
        return ASSESSMENT
    if issubclass(model, HistoryRow):
        return _kind(model.instance_type)  # type: ignore[attr-defined]
    return "Signature" if model in (SignedOrder, SignedCompanion) else _kind(model)


def _kind(tracked: type[models.Model]) -> str:
    return KINDS.get(tracked, _sentence(str(tracked._meta.verbose_name)))


def _title(tracked: type[models.Model], row: Any, related: Related) -> str:
    """What the row is and which one: "Co-medication: voriconazole"."""
    kind = _kind(tracked)
    thing = tracked(
        **{
            column.attname: getattr(row, column.attname)
            for column in tracked._meta.concrete_fields
            if hasattr(row, column.attname)
        }
    )
    for column in tracked._meta.concrete_fields:
        target = related.get(column.related_model, {}) if column.is_relation else {}  # type: ignore[arg-type]
        if (there := target.get(getattr(thing, column.attname))) is not None:
            setattr(thing, column.name, there)
    which = _which(thing)
    return f"{kind}: {which}" if which else kind


def _which(thing: models.Model) -> str:
    if isinstance(thing, Observation):
        return f"{thing.analyte} {thing.entered}{NBSP}{printed_unit(thing.unit_entered)}"
    if isinstance(thing, DoseOrder):
        return f"{mg(thing.total_daily_mg)} a day"
    return str(thing)


def _value(column: "models.Field[Any, Any]", value: Any, unit: str, related: Related) -> str | None:
    """A stored value as it is read: choices by their words, keys by their names, clean numbers."""
    if value is None or value == "":
        return None
    if column.is_relation:
        thing = related.get(column.related_model, {}).get(value)  # type: ignore[arg-type]
        if isinstance(thing, Assessment):
            return f"of {clinical_datetime(thing.at)}"
        return _which(thing) if thing else f"number {value}"
    if column.choices:
        return str(dict(column.flatchoices).get(value, value))
    if column.name == "answers":
        return _answers(value)
    match value:
        case bool():
            text = "Yes" if value else "No"
        case Decimal():
            text = format_decimal(value)
        case datetime():
            text = clinical_datetime(value)
        case date():
            text = clinical_date(value)
        case str() if len(value) > LONG_TEXT:
            text = f"{value[:LONG_TEXT]}… ({len(value):,} characters)"
        case _:
            text = str(value)
    return f"{text}{NBSP}{unit}" if unit else text


def _answers(text: str) -> str | None:
    """What was answered to each finding, one after the other; None if nothing was asked."""
    try:
        told = "; ".join(
            f"{key}: {AnswerReason(said['reason']).label}"
            + (f" ({said['text']})" if said.get("text") else "")
            for key, said in json.loads(text).items()
        )
    except (ValueError, AttributeError, KeyError, TypeError):
        return text
    return told or None


def _name_and_unit(column: "models.Field[Any, Any]") -> tuple[str, str]:
    """The field's own words, and the unit that its name ends with."""
    if column.name in NAMES:
        return NAMES[column.name], ""
    for suffix, unit in UNITS:
        if column.name.endswith(suffix):
            name = str(column.verbose_name).removesuffix(suffix.replace("_", " "))
            return _sentence(name.removesuffix(f", {unit}").rstrip(", ")), unit
    name = str(column.verbose_name)
    for ending in (" on", " at"):
        name = name.removesuffix(ending)
    return _sentence(name), ""


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _assessments(keys: list[int], subject: str | None) -> Iterable[tuple[int, RowChange]]:
    rows = Assessment.objects.select_related("rule_book", "patient").filter(pk__in=keys[:500])
    rows = rows.defer("case_text", "advice_text", "rule_book__text")
    for row in rows:
        if subject in (None, row.audit_subject()):
            changes: tuple[Change, ...] = (
                ("Asked", None, row.get_intent_display()),
                ("Rule book", None, row.rule_book.version),
            )
            href = reverse("dosing:assessment", args=[row.patient.public_id, row.public_id])
            yield row.pk, RowChange(ASSESSMENT, True, changes, href, "What it said")


def _signatures(
    rows: QuerySet[Any], keys: list[int], subject: str | None
) -> Iterable[tuple[int, RowChange]]:
    row: SignedOrder | SignedCompanion
    for row in rows.filter(pk__in=keys[:500]):
        if subject in (None, row.audit_subject()):
            changes: tuple[Change, ...] = (
                ("Signed by", None, f"{row.printed_name}, {row.role}"),
                ("Proved by", None, row.factor.lower()),
                ("Reason", None, row.reason),
                ("Shown (SHA-256)", None, row.shown_sha256),
            )
            title = f"Signature: {row.get_meaning_display().lower()}"
            yield row.pk, RowChange(title, True, changes)
