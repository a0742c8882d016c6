"""The pages on which the protocol and its rule books are read: statements, cases, books, rows."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from dosing.reading.selectors import Fired, approved_rows, fired_at
from dosing.rules import cases, words
from dosing.rules.cases import Exercised
from dosing.rules.engine.rows import CitationRow, FindingRow, InteractionRow, Origin, Row
from dosing.rules.engine.rulebook import RuleBook as EngineBook
from dosing.rules.functions import Function, raised_by
from dosing.rules.loading import engine_book, engine_row
from dosing.rules.models import TABLES, RuleBook, RuleBookStatus
from dosing.rules.protocol import CODES, Section, Statement, protocol
from dosing.rules.selectors import (
    NoPublishedBook,
    approvals_of,
    published_version,
)
from dosing.rules.traceability import CitingRow, Trace, tallies, trace, traces, waits
from tacroweb.accounts.access import access_of, requires
from tacroweb.accounts.roles import Permission

SHOWN_AT_WORK, SHOWN_SILENT = 6, 4  # cases of a statement that are put to the book on its page
EARLIER_BOOKS = 12  # in which a row's history is looked up
# What a row's origin is called where rows of several stand side by side, and its tone.
ORIGIN_BADGES = {
    Origin.SEED: ("Protocol", "ok"),
    Origin.LABEL: ("Label", "info"),
    Origin.GUIDELINE: ("Guideline", "info"),
    Origin.LOCAL: ("Local", "neutral"),
}
ORIGIN_WORDS = {
    Origin.SEED: "What the protocol document itself says.",
    Origin.LABEL: "What the label of the drug adds; off until a clinic turns it on.",
    Origin.GUIDELINE: "What guidelines and studies add.",
    Origin.LOCAL: "Settings of this installation, where no source has a number.",
}
NOT_APPROVED = ("Needs local approval", "warning")
Badge = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One statement on the page of the protocol."""

    statement: Statement
    trace: Trace
    fired: Fired
    badges: tuple[Badge, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedCase:
    """One case put to the book in force: what it must give and what is said of the statement."""

    case: Exercised
    expected: tuple[str, ...]
    findings: tuple[Mapping[str, Any], ...]
    advice: Mapping[str, Any]
    departures: tuple[str, ...]


@require_safe
@requires(Permission.READ_RULES)
def protocol_page(request: HttpRequest) -> HttpResponse:
    """The document's sections in order, each statement with what implements and proves it."""
    document = protocol()
    context: dict[str, Any] = {"document": document}
    try:
        row = published_version()
    except NoPublishedBook as error:
        return render(request, "dosing/protocol.html", context | {"missing": error.message})
    book = engine_book(row)
    clinic = access_of(request).clinic
    approved = approved_rows(clinic, book, at=timezone.now())
    found = {each.statement.code: each for each in traces(document, book, cases.index(), approved)}
    fired = fired_at(clinic, today=timezone.localdate())
    counted = tallies(book, approved)
    return render(
        request,
        "dosing/protocol.html",
        context
        | {
            "row": row,
            "whose": [
                (*ORIGIN_BADGES[each.origin], ORIGIN_WORDS[each.origin], each) for each in counted
            ],
            "unapproved": sum(each.unapproved for each in counted),
            "contents": [(each, _numbers(each)) for each in document.sections],
            "parts": list(_parts(document.sections, found, fired)),
            "untraced": [each.statement for each in found.values() if each.gaps],
        },
    )


def _parts(
    sections: Iterable[Section], found: Mapping[str, Trace], fired: Mapping[str, Fired]
) -> Iterator[tuple[str, list[tuple[Section, list[Entry]]]]]:
    """The sections under the headings of the document, each with its statements."""
    part, held = "", list[tuple[Section, list[Entry]]]()
    for section in sections:
        if held and section.part != part:
            yield part, held
            held = []
        part = section.part
        entries = [
            Entry(
                statement=each,
                trace=found[each.code],
                fired=fired.get(each.code, Fired()),
                badges=_badges(found[each.code]),
            )
            for each in section.statements
        ]
        held.append((section, entries))
    yield part, held


def _numbers(section: Section) -> str:
    """The statements of a section in short: S2 to S6, or each where they do not follow."""
    codes = [each.code for each in section.statements]
    numbers = [int(code[1:]) for code in codes]
    if len(codes) > 2 and numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f"{codes[0]} to {codes[-1]}"
    return ", ".join(codes)


def _badges(found: Trace) -> tuple[Badge, ...]:
    """Where the rows that act come from, and whether one waits for approval."""
    badges = [ORIGIN_BADGES[origin] for origin in found.origins]
    return (*badges, NOT_APPROVED) if found.unapproved else tuple(badges)


@require_safe
@requires(Permission.READ_RULES)
def statement(request: HttpRequest, code: str) -> HttpResponse:
    """One statement whole: source, rows, functions, and its cases put to the book in force."""
    document = protocol()
    if code not in CODES:
        raise Http404
    each = document.statement(code)
    order = [one.code for one in document.statements]
    place = order.index(code)
    context: dict[str, Any] = {
        "document": document,
        "statement": each,
        "section": document.section_of(code),
        "sources": document.sources_of(each),
        "items": document.items_of(each),
        "before": order[place - 1] if place else "",
        "after": order[place + 1] if place + 1 < len(order) else "",
    }
    try:
        row = published_version()
    except NoPublishedBook as error:
        return render(request, "dosing/statement.html", context | {"missing": error.message})
    book = engine_book(row)
    clinic = access_of(request).clinic
    approved = approved_rows(clinic, book, at=timezone.now())
    found = trace(each, book, cases.index(), approved)
    fired = fired_at(clinic, today=timezone.localdate())
    return render(
        request,
        "dosing/statement.html",
        context
        | {
            "row": row,
            "trace": found,
            "badges": _badges(found),
            "approved": approved,
            "tables": list(_by_table(found.rows)),
            "fired": fired.get(code, Fired()),
            "at_work": list(_tried(found.fires[:SHOWN_AT_WORK], code, book)),
            "silent": list(_tried(found.silent[:SHOWN_SILENT], code, book)),
            "more_at_work": found.fires[SHOWN_AT_WORK:],
            "more_silent": found.silent[SHOWN_SILENT:],
        },
    )


def _by_table(found: Iterable[CitingRow]) -> Iterator[tuple[str, str, list[tuple[Row, str]]]]:
    """The rows that cite a statement, table by table: key, title, and each row in one line."""
    held: dict[str, list[tuple[Row, str]]] = {}
    for each in found:
        held.setdefault(each.table, []).append((each.row, _line(each.row)))
    for table, rows in held.items():
        yield words.table_key(table), words.table_title(table), rows


def _line(row: Row) -> str:
    """A row in one line."""
    return " · ".join(each.text for each in words.told(row) if each.text)


def _tried(found: Iterable[Exercised], statement: str, book: EngineBook) -> Iterator[TriedCase]:
    """The cases put to `book` now; one whose file is not installed is left out."""
    for each in found:
        if trial := cases.tried(each.name, book):
            yield TriedCase(
                case=each,
                expected=trial.expected,
                findings=tuple(
                    finding
                    for finding in trial.advice["findings"]
                    if statement in finding["statements"]
                ),
                advice=trial.advice,
                departures=trial.departures,
            )


@require_safe
@requires(Permission.READ_RULES)
def case(request: HttpRequest, name: str) -> HttpResponse:
    """One case: its facts, what it must give, and what the book in force says of it."""
    try:
        found = cases.index().named(name)
    except KeyError as error:
        raise Http404 from error
    context: dict[str, Any] = {"case": found}
    text = cases.text_of(name)
    if text is not None:
        context["facts"] = json.dumps(json.loads(text)["case"], indent=1, ensure_ascii=False)
        try:
            row = published_version()
        except NoPublishedBook as error:
            context["missing"] = error.message
        else:
            context |= {"row": row, "trial": cases.tried(name, engine_book(row))}
    return render(request, "dosing/case.html", context)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One kind of row of a rule book, or a part of it, as a table."""

    key: str
    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Row, tuple[words.Told, ...], tuple[Row, ...]], ...]


@require_safe
@requires(Permission.READ_RULES)
def book(request: HttpRequest, version: str | None = None) -> HttpResponse:
    """A rule book to read, under the headings by which a clinician looks for a rule."""
    try:
        row = _book_row(version)
    except NoPublishedBook as error:
        return render(request, "dosing/book.html", {"missing": error.message})
    context: dict[str, Any] = {
        "row": row,
        "others": RuleBook.objects.defer("text").exclude(pk=row.pk).order_by("-version"),
    }
    try:
        found = engine_book(row)
    except ValueError as error:  # a draft whose rows contradict one another
        return render(request, "dosing/book.html", context | {"broken": str(error)})
    approved = approved_rows(access_of(request).clinic, found, at=timezone.now())
    context |= {
        "book": found,
        "approved": approved,
        "tallies": [(*ORIGIN_BADGES[each.origin], each) for each in tallies(found, approved)],
        "headings": [
            (heading, list(_tables(held, found)), sum(map(len, held.values())))
            for heading, held in words.headings(found)
        ],
    }
    return render(request, "dosing/book.html", context)


def _book_row(version: str | None) -> RuleBook:
    """The stored book of this version, or the one in force. Raises `Http404`, `NoPublishedBook`."""
    if version is None:
        return published_version()
    try:
        return RuleBook.objects.defer("text").get(version=version)
    except RuleBook.DoesNotExist as error:
        raise Http404 from error


# Tables that are long and fall into parts by what their first column says.
PARTED = frozenset({"thresholds", "companion_regimens", "drug_groups"})


def _tables(held: Mapping[str, tuple[Row, ...]], book: EngineBook) -> Iterator[Table]:
    for name, rows in held.items():
        told = [(row, words.told(row)) for row in rows]
        if name not in PARTED:
            yield _table(name, words.table_title(name), told, book)
            continue
        parts: dict[str, list[tuple[Row, tuple[words.Told, ...]]]] = {}
        for row, cells in told:
            parts.setdefault(cells[0].text, []).append((row, cells[1:]))
        for part, inside in parts.items():
            yield _table(name, part, inside, book)


def _table(
    name: str, title: str, told: list[tuple[Row, tuple[words.Told, ...]]], book: EngineBook
) -> Table:
    return Table(
        key=words.table_key(name),
        name=name,
        title=title,
        columns=tuple(cell.label for cell in told[0][1]),
        rows=tuple((row, cells, _factors(row, book)) for row, cells in told),
    )


def _factors(row: Row, book: EngineBook) -> tuple[Row, ...]:
    """The modifying factors of an interaction; of another row none."""
    if not isinstance(row, InteractionRow):
        return ()
    return tuple(each for each in book.modifying_factors if each.interaction == row.code)


@dataclass(frozen=True, slots=True, kw_only=True)
class Edition:
    """A row as one rule book has it: how it differs from the book before that had it."""

    book: RuleBook
    state: str
    differences: tuple[tuple[str, str, str], ...] = ()


@require_safe
@requires(Permission.READ_RULES)
def row(request: HttpRequest, version: str, table: str, code: str) -> HttpResponse:
    """One row: its fields, its evidence, what it implements, what exercises it, its history."""
    stored = _book_row(version)
    name = table.replace("-", "_")
    try:
        found = engine_book(stored)
    except ValueError as error:
        raise Http404 from error
    held = {each.code: each for each in found.tables().get(name, ())}
    if code not in held or table != words.table_key(name):
        raise Http404
    each = held[code]
    raises = _raised_codes(each)
    exercising: dict[str, Exercised] = {
        one.name: one for raised in raises for one in cases.index().raising(raised)
    }
    by_statement = not exercising
    if by_statement:
        exercising = {
            one.name: one
            for statement in each.statements
            for one in cases.index().citing(statement)
        }
    citations = {one.code: one for one in found.citations}
    document = protocol()
    clinic = access_of(request).clinic
    approved = approved_rows(clinic, found, at=timezone.now())
    return render(
        request,
        "dosing/row.html",
        {
            "book": stored,
            "row": each,
            "edit": _edited_at(request, stored, name, code),
            "table": table,
            "title": words.table_title(name),
            "told": words.told(each),
            "origin": ORIGIN_BADGES[each.origin],
            "citations": [(one, citations.get(one)) for one in each.citations],
            "statements": [document.statement(one) for one in each.statements if one in CODES],
            "factors": _factors(each, found),
            "functions": _functions(raises, found),
            "cases": list(exercising.values()),
            "by_statement": by_statement,
            "approved": approved,
            "waits": waits(each, approved),
            "approvals": list(approvals_of(clinic).filter(row_code=code)),
            "editions": list(_editions(stored, name, code)),
            "hands": list(_hands(stored, name, code)),
            "cited_by": list(_cited_by(each, found)),
        },
    )


def _edited_at(request: HttpRequest, stored: RuleBook, table: str, code: str) -> str:
    """Where the row is edited, for who may and while its book is a draft; else nothing."""
    may = access_of(request).can(Permission.EDIT_RULES)
    if not may or stored.status != RuleBookStatus.DRAFT:
        return ""
    model = TABLES[table]
    row = model.objects.get(book=stored, code=code)
    return reverse(f"admin:rules_{model._meta.model_name}_change", args=[row.pk])


def _raised_codes(row: Row) -> tuple[str, ...]:
    """The findings that a row makes: its own code for one, else the one that it names."""
    if isinstance(row, FindingRow):
        return (row.code,)
    named = getattr(row, "finding", "")
    return (named,) if named else ()


def _functions(codes: Iterable[str], book: EngineBook) -> list[Function]:
    found = {each.name: each for code in codes for each in raised_by(code, book)}
    return [found[name] for name in sorted(found)]


def _cited_by(row: Row, book: EngineBook) -> Iterator[tuple[str, Row]]:
    """The rows that rest on a citation."""
    if isinstance(row, CitationRow):
        for name, rows in book.tables().items():
            yield from (
                (words.table_key(name), each) for each in rows if row.code in each.citations
            )


def _editions(stored: RuleBook, table: str, code: str) -> Iterator[Edition]:
    """The row in this book and in those before it, newest first."""
    books = RuleBook.objects.defer("text").filter(version__lte=stored.version).order_by("version")
    newest = list(books.reverse()[: EARLIER_BOOKS + 1])
    editions: list[Edition] = []
    before: Row | None = None
    for number, each in enumerate(reversed(newest)):
        try:
            held = {row.code: row for row in engine_book(each).tables()[table]}
        except ValueError:
            editions.append(Edition(book=each, state="This book cannot be read."))
            continue
        now = held.get(code)
        if now is None:
            if before is not None:
                editions.append(Edition(book=each, state="Taken out."))
        elif before is None:
            first = number == 0 and len(newest) > EARLIER_BOOKS
            editions.append(Edition(book=each, state="There already." if first else "Put in."))
        elif differences := tuple(words.differences(before, now)):
            editions.append(Edition(book=each, state="Changed.", differences=differences))
        else:
            editions.append(Edition(book=each, state="As before."))
        before = now
    yield from reversed(editions)


def _hands(stored: RuleBook, table: str, code: str) -> Iterator[dict[str, Any]]:
    """Who put the row into this book, changed it or took it out, when and why; newest first.

    A row that a draft copied as it stood has the hands of the book it was copied from behind it.
    """
    kept = list(TABLES[table].history.filter(book_id=stored.pk, code=code).order_by("history_id"))
    hands = []
    before: Row | None = None
    for version in kept:
        now = engine_row(version.instance)
        hands.append(
            {
                "at": version.history_date,
                "who": version.history_actor,
                "role": version.history_role,
                "reason": version.history_change_reason,
                "channel": version.history_channel,
                "act": _ACTS[version.history_type],
                "changes": list(words.differences(before, now))
                if before and version.history_type == "~"
                else [],
            }
        )
        before = now
    source = stored.based_on
    copied = kept and source is not None and _stood_in(source, table, kept[0])
    if copied:
        hands[0]["act"] = f"Copied from {source}"
        hands[0]["reason"] = ""
    yield from reversed(hands)
    if copied and source is not None:
        yield from _hands(source, table, code)


_ACTS = {"+": "Put in", "~": "Changed", "-": "Taken out"}


def _stood_in(source: RuleBook, table: str, version: Any) -> bool:
    """Whether the row stands in this book just as this version of it was written."""
    row = TABLES[table].objects.filter(book=source, code=version.code).first()
    return row is not None and engine_row(row) == engine_row(version.instance)
