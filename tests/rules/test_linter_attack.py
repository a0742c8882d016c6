"""An attack on the linter: whatever is done to the number lines, what it passes is one answer.

Between two neighbouring boundaries nothing changes, so every boundary, a value beside each and one
beyond all of them stand for every possible value; random fractions are tried on top.
"""

from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import fields, replace
from datetime import date
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from functools import cache
from itertools import pairwise
from typing import Any

from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from dosing.rules.engine.rows import Band, BoundedRow
from dosing.rules.engine.rulebook import RuleBook
from dosing.rules.engine.trough import band_of
from dosing.rules.linter import Level, lint
from dosing.rules.linting.stretches import DERIVED
from tests.engine.given import book as shipped

THOROUGH = settings(max_examples=200, deadline=None, derandomize=True)
TABLES = ("level_bands", "dose_steps", "thresholds")
TINY = Fraction(1, 10**9)
SHIFTS = st.sampled_from(["0", "0.000001", "0.1", "0.5", "1", "7"]).map(Decimal)
FRACTIONS = st.lists(st.fractions(0, 600, max_denominator=10**6), max_size=8)


@cache
def boundaries() -> list[Decimal]:
    ends = {
        end
        for table in TABLES
        for row in getattr(shipped(), table)
        for end in (row.low, row.high)
        if end is not None
    }
    return sorted(ends | {Decimal(0)})


@st.composite
def ends(draw: Any) -> Decimal | None:
    """No end at all, or a boundary of the book, on it or a little beside it."""
    if draw(st.integers(0, 9)) == 0:
        return None
    sign = draw(st.sampled_from([-1, 1]))
    return max(Decimal(0), draw(st.sampled_from(boundaries())) + sign * draw(SHIFTS))


def lines(book: RuleBook) -> dict[tuple[str, str], list[BoundedRow]]:
    """The enabled rows of each number line by its table and name."""
    found: dict[tuple[str, str], list[BoundedRow]] = defaultdict(list)
    for table in TABLES:
        for row in getattr(book, table):
            if row.enabled:
                name = getattr(row, "quantity", getattr(row, "side", ""))
                found[table, name].append(row)
    return found


def critical(rows: Iterable[BoundedRow], *, signed: bool) -> list[Fraction]:
    """Every boundary, a value between any two neighbours and one beyond them on each side."""
    rows = list(rows)
    at = sorted(
        {Fraction(end) for row in rows for end in (row.low, row.high) if end is not None}
        | {Fraction(0)}
    )
    beside = [each + shift for each in at for shift in (-TINY, TINY)]
    between = [(low + high) / 2 for low, high in pairwise(at)]
    values = [*at, *beside, *between, at[0] - 1, at[-1] + 1]
    return values if signed else [value for value in values if value >= 0]


def is_signed(table: str, name: str) -> bool:
    return table == "thresholds" and name in DERIVED and DERIVED[name][1]


GENTLE = ("together", "together", "hand over", "split")
ROUGH = (*GENTLE, "move", "move", "flip", "drop", "copy", "unit", "name", "off")


@st.composite
def edits(draw: Any, book: RuleBook, kinds: tuple[str, ...]) -> RuleBook:
    """The book after one thing was done to one of its number lines."""
    table = draw(st.sampled_from([each for each in TABLES if getattr(book, each)]))
    rows = list(getattr(book, table))
    at = draw(st.integers(0, len(rows) - 1))
    row = rows[at]
    what = draw(st.sampled_from(kinds))
    if what == "move":
        rows[at] = replace(row, **{draw(st.sampled_from(["low", "high"])): draw(ends())})
    elif what == "flip":
        end = draw(st.sampled_from(["low_included", "high_included"]))
        rows[at] = replace(row, **{end: not getattr(row, end)})
    elif what in ("together", "hand over"):
        shift = draw(st.sampled_from([-1, 1])) * draw(SHIFTS)
        return _at_the_border(book, table, at, what, shift)
    elif what == "drop":
        del rows[at]
    elif what == "copy":
        rows.append(replace(row, code=f"{row.code}-AGAIN-{len(rows)}"))
    elif what == "split":
        middle = (row.low or Decimal(0)) + draw(SHIFTS)
        rows[at] = replace(row, high=middle, high_included=False)
        rows.append(
            replace(row, code=f"{row.code}-REST-{len(rows)}", low=middle, low_included=True)
        )
    elif what == "unit":
        rows[at] = replace(row, unit=draw(st.sampled_from(["ng/mL", "mmol/L", "mg/dL", "ms"])))
    elif what == "off":
        rows[at] = replace(row, enabled=False)
    elif table == "level_bands":
        rows[at] = replace(row, band=draw(st.sampled_from(Band)))
    elif table == "dose_steps":
        rows[at] = replace(row, side=draw(st.sampled_from(["ABOVE", "BELOW", "BESIDE"])))
    else:
        rows[at] = replace(row, quantity=draw(st.sampled_from(["potassium", "qtcf", "kalium"])))
    return replace(book, **{table: tuple(rows)})


def _at_the_border(book: RuleBook, table: str, at: int, what: str, shift: Decimal) -> RuleBook:
    """Move the upper end of a row and all that touches it, or give the border to the other row."""
    rows = list(getattr(book, table))
    row = rows[at]
    border = row.high
    if border is None:
        return book
    to = max(Decimal(0), border + shift)
    for place, other in enumerate(rows):
        line = ("quantity", "side")
        if any(getattr(other, each, "") != getattr(row, each, "") for each in line):
            continue
        for end in ("low", "high"):
            if getattr(other, end) != border:
                continue
            if what == "hand over":
                flag = f"{end}_included"
                rows[place] = replace(rows[place], **{flag: not getattr(rows[place], flag)})
            else:
                rows[place] = replace(rows[place], **{end: to})
    return replace(book, **{table: tuple(rows)})


@st.composite
def books(draw: Any) -> RuleBook:
    book = shipped()
    kinds = draw(st.sampled_from([GENTLE, ROUGH]))
    for _ in range(draw(st.integers(1, 4))):
        try:
            book = draw(edits(book, kinds))
        except ValueError:
            continue  # the book itself refuses it: no band may be missing
    return book


def passes(book: RuleBook) -> bool:
    return not any(each.level is Level.ERROR for each in lint(book))


@THOROUGH
@given(books(), FRACTIONS)
def test_a_book_that_passes_gives_every_value_one_answer(
    book: RuleBook, values: list[Fraction]
) -> None:
    passed = passes(book)
    event(("passed, changed" if book != shipped() else "passed") if passed else "refused")
    if not passed:
        return
    assert set(lines(book)) >= {
        ("level_bands", ""),
        ("dose_steps", "BELOW"),
        ("dose_steps", "ABOVE"),
    }
    for (table, name), rows in lines(book).items():
        assert len({row.unit for row in rows}) == 1
        for value in (*critical(rows, signed=is_signed(table, name)), *values):
            assert len([row for row in rows if row.holds(value)]) == 1, (table, name, value)
    bands = [row for row in book.level_bands if row.enabled]
    in_order = sorted({*critical(bands, signed=False), *values})
    answers = [band_of(value, None, book) for value in in_order]
    for value, answer in zip(in_order, answers, strict=True):
        assert [row.band for row in bands if row.holds(value)] == [answer], value
    places = [list(Band).index(answer) for answer in answers]
    assert places == sorted(places)


@THOROUGH
@given(books())
def test_a_number_line_is_refused_exactly_where_some_value_has_none_or_two(book: RuleBook) -> None:
    refused = {
        (each.table, code)
        for each in lint(book)
        if each.check in ("GAP", "OVERLAP", "EMPTY")
        for code in each.row.split(", ")
    }
    for (table, name), rows in lines(book).items():
        if name in ("kalium", "BESIDE"):
            continue
        values = critical(rows, signed=is_signed(table, name))
        sound_line = all(len([row for row in rows if row.holds(value)]) == 1 for value in values)
        empty = any(not any(row.holds(value) for value in values) for row in rows)
        named = {code for of, code in refused if of == table} & {row.code for row in rows}
        assert bool(named) == (not sound_line or empty), (table, name)


@THOROUGH
@given(st.data())
def test_one_boundary_that_moves_is_caught_and_its_row_named(data: st.DataObject) -> None:
    book = shipped()
    table, name = data.draw(st.sampled_from(sorted(lines(book))))
    rows = lines(book)[table, name]
    row = data.draw(st.sampled_from(rows))
    end = data.draw(st.sampled_from(["low", "high", "low_included", "high_included"]))
    to = data.draw(ends()) if end in ("low", "high") else not getattr(row, end)
    moved = replace(row, **{end: to})
    values = critical([*rows, moved], signed=is_signed(table, name))
    assume(any(row.holds(value) != moved.holds(value) for value in values))
    all_rows = tuple(moved if each.code == row.code else each for each in getattr(book, table))
    draft: RuleBook | None = None
    with suppress(ValueError):  # the book itself refuses it: a band needs its ends
        draft = replace(book, **{table: all_rows})
    if draft is None:
        return
    found = [
        each
        for each in lint(draft)
        if each.level is Level.ERROR and row.code in each.row.split(", ")
    ]
    assert {each.check for each in found} & {"GAP", "OVERLAP", "EMPTY"}, found
    assert all(each.value for each in found)


def other(draw: Any, value: object) -> object:
    """Another value of the same kind, sensible or not."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, Enum):
        return draw(st.sampled_from(type(value)))
    if isinstance(value, int):
        return draw(st.sampled_from([-1, 0, 1, 2, 1000]))
    if isinstance(value, Decimal):
        return draw(st.sampled_from(["-1", "0", "0.000001", "3", "999999"]).map(Decimal))
    if isinstance(value, tuple):
        return draw(st.sampled_from([(), ("S85",), ("tacrolimus",), ("S7", "S7"), ("ritonavir",)]))
    if isinstance(value, date) or value is None:
        return draw(st.sampled_from([None, date(2030, 1, 1)])) if value else None
    return draw(st.sampled_from(["", " ", "x", "tacrolimus", "Paxlovid", "WEIGHT", "J07BK03"]))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.data())
def test_no_book_is_too_broken_to_be_linted(data: st.DataObject) -> None:
    book = shipped()
    tables = [table for table, rows in book.tables().items() if rows]
    for _ in range(data.draw(st.integers(1, 6))):
        table = data.draw(st.sampled_from(tables))
        rows = list(getattr(book, table))
        at = data.draw(st.integers(0, len(rows) - 1))
        field = data.draw(st.sampled_from([each.name for each in fields(rows[at])]))
        rows[at] = replace(rows[at], **{field: other(data.draw, getattr(rows[at], field))})
        with suppress(ValueError):
            book = replace(book, **{table: tuple(rows)})
    found = lint(book, published=shipped(), today=date(2026, 3, 2))
    assert found == lint(book, published=shipped(), today=date(2026, 3, 2))
    assert all(each.check and each.table and each.message.endswith(".") for each in found)
