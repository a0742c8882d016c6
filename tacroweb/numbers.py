"""The one parser for every number that a person or a client types, and its counterpart for text."""

import re
from decimal import Decimal
from fractions import Fraction

MAX_DIGITS = 12
MAX_DECIMALS = 6

_PLAIN = re.compile(r"(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")
_BLANKS = " \t\r\n"
_COMPARATORS = ("<=", ">=", "<", ">")


class NumberError(ValueError):
    """A number that is not written plainly; the message says how to write it."""


def parse_decimal(text: str, *, what: str = "value") -> Decimal:
    """The number `text` says: ASCII digits with a point, nothing else; outer blanks are trimmed.

    Refused with a hint for the person who typed it (NumberError): commas, grouping, other digits,
    signs, exponents, missing or leading zeros, NaN and infinity, and more than 12 digits or 6
    decimals. No quantity here is negative.
    """
    plain = text.strip(_BLANKS)
    if not _PLAIN.fullmatch(plain):
        raise NumberError(_hint(plain, what))
    whole, _, decimals = plain.partition(".")
    if len(whole) + len(decimals) > MAX_DIGITS or len(decimals) > MAX_DECIMALS:
        raise NumberError(
            f"The {what} has too many digits: at most {MAX_DIGITS} in all, {MAX_DECIMALS} of them "
            "after the point."
        )
    return Decimal(plain)


def parse_result(text: str, *, what: str = "value") -> tuple[str | None, Decimal]:
    """A laboratory result: the number and what stands before it (`<`, `<=`, `>`, `>=` or None)."""
    plain = text.strip(_BLANKS)
    for comparator in _COMPARATORS:
        if plain.startswith(comparator):
            return comparator, parse_decimal(plain[len(comparator) :], what=what)
    return None, parse_decimal(plain, what=what)


def format_decimal(value: Decimal | Fraction) -> str:
    """`value` with a leading zero always, a trailing zero never, and never an exponent.

    ValueError for a value that plain digits cannot say (NaN, infinity, a third).
    """
    if isinstance(value, Fraction):
        exact = Decimal(value.numerator) / Decimal(value.denominator)
        if Fraction(exact) != value:
            raise ValueError("this fraction has no plain decimal form")
        value = exact
    if not value.is_finite():
        raise ValueError("not a finite number")
    text = f"{value:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def _hint(plain: str, what: str) -> str:
    """How to write it instead."""
    if not plain:
        return f"Enter the {what} as a number."
    if re.fullmatch(r"[0-9]+,[0-9]+", plain):
        return f"Write {plain.replace(',', '.')} with a point, not a comma."
    if re.fullmatch(r"[-−–][0-9.,]*", plain):
        return f"The {what} cannot be negative: write it without a sign."
    if plain.startswith("+"):
        return f"Write the {what} without a plus sign."
    if not plain.isascii():
        return f"Write the {what} with the digits 0 to 9 and a point."
    if re.fullmatch(r"\.[0-9]+", plain):
        return f"Write 0{plain} with a zero before the point."
    if re.fullmatch(r"[0-9]+\.", plain):
        return f"Write {plain[:-1]} without the point, or add a digit after it."
    if re.fullmatch(r"[0-9]+(?:\.[0-9]+)?[eE][-+]?[0-9]+", plain):
        return f"Write the {what} in full, without an exponent."
    if re.fullmatch(r"0[0-9]+(?:\.[0-9]+)?", plain):
        return f"Write {format_decimal(Decimal(plain))} without a zero in front."
    if re.fullmatch(r"[0-9][0-9_ ',.]*", plain):
        return f"Write the {what} without grouping: digits and one point, such as 1500 or 1.5."
    return f"Enter the {what} as a number, such as 1.5."
