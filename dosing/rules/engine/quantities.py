"""Exact doses, levels and months: units as types, and the two ways a dose is rounded."""

from calendar import monthrange
from datetime import date, datetime, time
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import NewType

Mg = NewType("Mg", Decimal)
MgPerDay = NewType("MgPerDay", Decimal)
NgPerMl = NewType("NgPerMl", Decimal)
Kg = NewType("Kg", Decimal)
Hours = NewType("Hours", Decimal)

ZERO = Fraction(0)


class Comparator(StrEnum):
    """What a laboratory puts before a value outside its measuring range."""

    LESS = "<"
    AT_MOST = "<="
    MORE = ">"
    AT_LEAST = ">="


def compared(value: int | Decimal | Fraction, limit: Decimal | Fraction) -> int:
    """-1, 0 or 1: whether `value` is less than `limit`, the same or more. Exact.

    By whole numbers, as every result is held against every band: Python's own comparison of a
    Fraction, above all with a Decimal, takes several times as long.
    """
    (over, under), (limit_over, limit_under) = value.as_integer_ratio(), limit.as_integer_ratio()
    left, right = over * limit_under, limit_over * under
    return (left > right) - (left < right)


def round_down(value: Fraction, step: Fraction) -> Fraction:
    """The greatest multiple of `step` that is not above `value` (cuts for an interaction, D17a)."""
    return value // step * step


def round_nearest(
    value: Fraction,
    step: Fraction,
    *,
    lowest: Fraction | None = None,
    highest: Fraction | None = None,
) -> Fraction | None:
    """The multiple of `step` nearest to `value`, a tie going down (START and titration, D20).

    `lowest` and `highest` are caps that rounding never passes; None when no multiple lies between.
    """
    steps, rest = divmod(value, step)
    nearest = (steps if 2 * rest <= step else steps + 1) * step
    if lowest is not None and nearest < lowest:
        nearest = -(-lowest // step) * step
    if highest is not None and nearest > highest:
        nearest = round_down(highest, step)
    if lowest is not None and nearest < lowest:
        return None
    return nearest


def shown(value: Decimal | Fraction, *, at_least: int = 0, at_most: int = 2) -> str:
    """`value` in plain digits, `at_least` to `at_most` decimals, a leading zero, no exponent."""
    numerator, denominator = value.as_integer_ratio()
    scaled, rest = divmod(abs(numerator) * 10**at_most, denominator)
    if 2 * rest > denominator or (2 * rest == denominator and scaled % 2):  # half to even
        scaled += 1
    whole, decimals = divmod(scaled, 10**at_most)
    digits = str(decimals).zfill(at_most) if at_most else ""
    kept = digits.rstrip("0").ljust(at_least, "0")
    sign = "-" if numerator < 0 < scaled else ""
    return f"{sign}{whole}.{kept}" if kept else f"{sign}{whole}"


def as_decimal(value: Fraction) -> Decimal:
    """`value` as a Decimal, exact for every dose made of capsules."""
    return Decimal(value.numerator) / Decimal(value.denominator)


_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def day(on: date) -> str:
    """A date as people read it in the clinic, 02-Nov-2026."""
    return f"{on.day:02d}-{_MONTHS[on.month - 1]}-{on.year:04d}"


def begins(on: date, at: datetime) -> datetime:
    """The moment at which a day begins in the offset of `at`."""
    return datetime.combine(on, time.min, at.tzinfo)


_IN_EVERY_MONTH = 28


def months_after(on: date, months: int) -> date:
    """The same day `months` later on the calendar, or the last day of a month that is too short."""
    years, month = divmod(on.year * 12 + on.month - 1 + months, 12)
    if on.day <= _IN_EVERY_MONTH:
        return date(years, month + 1, on.day)
    return date(years, month + 1, min(on.day, monthrange(years, month + 1)[1]))


def whole_months(begun: date, today: date) -> int:
    """How many months on the calendar have been completed since `begun`; 0 before it."""
    months = (today.year - begun.year) * 12 + today.month - begun.month
    return max(0, months if months_after(begun, months) <= today else months - 1)


def said(fact: bool | StrEnum | None) -> str:
    """A fact as the inputs of a finding show it; None is not known."""
    if fact is None:
        return "not known"
    if isinstance(fact, StrEnum):
        return fact.value
    return "yes" if fact else "no"
