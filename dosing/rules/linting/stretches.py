"""The proof that the rows of one numeric dimension claim every value exactly once.

An end of a stretch is a cut between two neighbouring values: just before a number, just after it,
or beyond all numbers. Cuts are ordered, so rows sorted by their first cut either touch, leave a gap
or overlap, and one walk over them proves it for every value. Nothing is sampled, nothing rounded.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from dosing.rules.engine.quantities import shown
from dosing.rules.engine.rows import Band, BoundedRow, LevelBandRow
from dosing.rules.engine.rulebook import RuleBook
from dosing.rules.linting.findings import LintFinding, error
from patients.vocabulary import vocabulary

# (-1 below all numbers, 0 at a number, 1 above all numbers; the number; 0 before it, 1 after it)
Cut = tuple[int, Fraction, int]
BELOW_ALL: Cut = (-1, Fraction(0), 0)
FROM_ZERO: Cut = (0, Fraction(0), 0)
ABOVE_ALL: Cut = (1, Fraction(0), 0)

LEVEL_UNIT = "ng/mL"
SIDES = {"BELOW": "distance below the target", "ABOVE": "distance above the target"}

# Quantities of the thresholds table that the engine derives: the unit in which it hands them over,
# and whether they can be negative. Any other quantity is an analyte of the vocabulary, from 0 on in
# its canonical unit.
DERIVED: dict[str, tuple[str, bool]] = {
    "calcium-corrected": ("mmol/L", True),  # a high albumin takes from it
    "child-pugh": ("{score}", False),
    "creatinine-ratio": ("1", False),
    "creatinine-rise": ("%", True),
    "creatinine-rise-48h": ("mg/dL", True),
    "potassium-beside": ("mmol/L", False),
    "qtcf-rise": ("ms", True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Dimension:
    """The enabled rows that share one number line, which begins at `begin`."""

    table: str
    words: str
    unit: str
    begin: Cut
    rows: tuple[BoundedRow, ...]


def stretch(row: BoundedRow, begin: Cut) -> tuple[Cut, Cut]:
    """The first and the last cut of the row's values from `begin` on; empty unless first < last."""
    first, last = begin, ABOVE_ALL
    if row.low is not None:
        first = max(begin, (0, Fraction(row.low), 0 if row.low_included else 1))
    if row.high is not None:
        last = (0, Fraction(row.high), 1 if row.high_included else 0)
    return first, last


def level_bands(book: RuleBook) -> tuple[LevelBandRow, ...]:
    """The bands of the trough; those that a book of the first form says in its numbers."""
    return book.level_bands or tuple(book.index.bands.values())


def stretches(book: RuleBook) -> Iterator[LintFinding]:
    """Every bounded dimension: no gap, no overlap, no row that no value reaches, one unit."""
    for dimension in _dimensions(book):
        yield from _units(dimension)
        yield from _partition(dimension)


def level_order(book: RuleBook) -> Iterator[LintFinding]:
    """The level bands stand in their order from FAR_BELOW to TOXIC, each once."""
    rows = sorted(
        (row for row in level_bands(book) if row.enabled),
        key=lambda row: (stretch(row, FROM_ZERO), row.code),
    )
    by_band: dict[Band, list[LevelBandRow]] = {band: [] for band in Band}
    for row in rows:
        by_band[row.band].append(row)
    for band, held in by_band.items():
        for again in held[1:]:  # that none is missing, the book itself sees to
            both = f"{held[0].code}, {again.code}"
            yield error(
                "BAND",
                "level_bands",
                both,
                band,
                f"The band {band} is claimed by {held[0].code} and {again.code}: each stands once.",
            )
    order = list(Band)
    for lower, upper in pairwise(rows):
        if order.index(lower.band) > order.index(upper.band):
            yield error(
                "BAND",
                "level_bands",
                f"{lower.code}, {upper.code}",
                upper.band,
                f"{upper.code} ({upper.band}) lies above {lower.code} ({lower.band}): the bands "
                f"rise from {order[0]} to {order[-1]}.",
            )


def steps_have_a_side(book: RuleBook) -> Iterator[LintFinding]:
    """A dose step is for levels BELOW or ABOVE the target."""
    for row in book.dose_steps:
        if row.side not in SIDES:
            yield error(
                "SIDE",
                "dose_steps",
                row.code,
                row.side,
                f"{row.code} is for the side {row.side!r}: it must be BELOW or ABOVE.",
            )


def quantities_are_known(book: RuleBook) -> Iterator[LintFinding]:
    """A threshold is for an analyte or for a quantity that the engine derives."""
    for row in book.thresholds:
        if _line(row.quantity) is None:
            yield error(
                "QUANTITY",
                "thresholds",
                row.code,
                row.quantity,
                f"{row.code} is for {row.quantity!r}, which is neither an analyte of the "
                "vocabulary nor a quantity that the engine derives.",
            )


def _line(quantity: str) -> tuple[str, Cut] | None:
    """The unit of a quantity and where its number line begins; None if it is not known."""
    if quantity in DERIVED:
        unit, signed = DERIVED[quantity]
        return unit, BELOW_ALL if signed else FROM_ZERO
    analyte = vocabulary().analyte(quantity)
    if analyte is None or analyte.key != quantity:
        return None
    return analyte.unit, FROM_ZERO


def _dimensions(book: RuleBook) -> Iterator[Dimension]:
    yield Dimension(
        table="level_bands",
        words="trough",
        unit=LEVEL_UNIT,
        begin=FROM_ZERO,
        rows=tuple(row for row in level_bands(book) if row.enabled),
    )
    steps = book.dose_steps or tuple(row for rows in book.index.steps.values() for row in rows)
    for side, words in SIDES.items():
        yield Dimension(
            table="dose_steps",
            words=words,
            unit=LEVEL_UNIT,
            begin=FROM_ZERO,
            rows=tuple(row for row in steps if row.enabled and row.side == side),
        )
    for quantity, rows in book.index.thresholds.items():
        line = _line(quantity)
        if line is not None:
            unit, begin = line
            yield Dimension(
                table="thresholds", words=quantity, unit=unit, begin=begin, rows=tuple(rows)
            )


def _units(dimension: Dimension) -> Iterator[LintFinding]:
    for row in dimension.rows:
        if row.unit != dimension.unit:
            yield error(
                "UNIT",
                dimension.table,
                row.code,
                row.unit,
                f"{row.code} is in {row.unit!r}, but the {dimension.words} is decided in "
                f"{dimension.unit}.",
            )


def _partition(dimension: Dimension) -> Iterator[LintFinding]:
    unit, table = dimension.unit, dimension.table
    placed = []
    for row in dimension.rows:
        first, last = stretch(row, dimension.begin)
        if first < last:
            placed.append((first, last, row.code))
            continue
        low, high = _end(row.low, row.low_included), _end(row.high, row.high_included)
        value = f"from {low} to {high} {unit}"
        yield error(
            "EMPTY",
            table,
            row.code,
            value,
            f"{row.code} holds for no {dimension.words}: {value}.",
        )
    reached, before = dimension.begin, ""
    for first, last, code in sorted(placed):
        if first > reached:
            yield _gap(dimension, reached, first, [each for each in (before, code) if each])
        elif first < reached:
            yield _overlap(dimension, first, min(last, reached), before, code)
        if last > reached:
            reached, before = last, code
    if reached < ABOVE_ALL:
        yield _gap(dimension, reached, ABOVE_ALL, [before] if before else [])


def _gap(dimension: Dimension, first: Cut, last: Cut, rows: Sequence[str]) -> LintFinding:
    value = _words(first, last, dimension.unit)
    beside = f" It is missing beside {' and '.join(rows)}." if rows else ""
    return error(
        "GAP",
        dimension.table,
        ", ".join(rows),
        value,
        f"{_capital(dimension.words)}: no row claims {value}"
        f"{_one(first, last, dimension.unit)}.{beside}",
    )


def _overlap(dimension: Dimension, first: Cut, last: Cut, one: str, other: str) -> LintFinding:
    value = _words(first, last, dimension.unit)
    return error(
        "OVERLAP",
        dimension.table,
        f"{one}, {other}",
        value,
        f"{_capital(dimension.words)}: {value}{_one(first, last, dimension.unit)} is claimed by "
        f"{one} and {other}.",
    )


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def _one(first: Cut, last: Cut, unit: str) -> str:
    """One value between two cuts, as an example; nothing where there is only one."""
    (below, low, _), (above, high, _) = first, last
    if not below and not above and low == high:
        return ""
    if below and above:
        inside = Fraction(0)
    elif below or above:
        inside = high - 1 if below else low + 1
    else:
        inside = (low + high) / 2
    return f" ({exactly(inside)} {unit} for one)"


def _words(first: Cut, last: Cut, unit: str) -> str:
    """The values between two cuts: "10 ng/mL", "from 5 to below 5.5 mmol/L", "above 20 ng/mL"."""
    (below, low, after_low), (above, high, after_high) = first, last
    if below and above:
        return f"any value in {unit}"
    if below:
        return f"{'up to' if after_high else 'below'} {exactly(high)} {unit}"
    lower = f"{'above' if after_low else 'from'} {exactly(low)}"
    if above:
        return f"{lower} {unit}" if after_low else f"{lower} {unit} on"
    if low == high:
        return f"{exactly(low)} {unit}"
    return f"{lower} {'to' if after_high else 'to below'} {exactly(high)} {unit}"


def exactly(value: Fraction) -> str:
    """All decimals that a boundary of a book, or the middle of two, can have."""
    return shown(value, at_most=12)


def _end(value: object, included: bool) -> str:
    return "no end" if value is None else f"{value} ({'' if included else 'not '}included)"
