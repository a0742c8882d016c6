"""The one parser for numbers that people and clients type."""

from decimal import Decimal
from fractions import Fraction

import pytest

from tacroweb.numbers import NumberError, format_decimal, parse_decimal, parse_result


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", "0"),
        ("0.5", "0.5"),
        ("1.50", "1.50"),
        ("12", "12"),
        (" 7.2\t", "7.2"),
        ("999999.999999", "999999.999999"),
        ("100", "100"),
    ],
)
def test_plain_digits_with_a_point_are_read(text: str, value: str) -> None:
    assert parse_decimal(text) == Decimal(value)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("1,5", "Write 1.5 with a point, not a comma."),
        ("1_5", "without grouping"),
        ("1 500", "without grouping"),
        ("1,234.5", "without grouping"),
        ("1.2.3", "without grouping"),
        ("１.５", "digits 0 to 9"),
        ("١٫٥", "digits 0 to 9"),
        (".5", "Write 0.5 with a zero before the point."),
        ("5.", "Write 5 without the point"),
        ("-0", "cannot be negative"),
        ("-1.5", "cannot be negative"),
        ("−1.5", "cannot be negative"),
        ("+1", "without a plus sign"),
        ("1e1", "without an exponent"),
        ("1E-3", "without an exponent"),
        ("01.5", "Write 1.5 without a zero in front."),
        ("007", "Write 7 without a zero in front."),
        ("00", "Write 0 without a zero in front."),
        ("NaN", "as a number"),
        ("Infinity", "as a number"),
        ("0x10", "as a number"),
        ("", "Enter the value as a number."),
        ("   ", "Enter the value as a number."),
        ("1\u00a0", "digits 0 to 9"),
        ("1\n5", "as a number"),
        ("1234567890123", "too many digits"),
        ("0.1234567", "too many digits"),
    ],
)
def test_everything_else_is_refused_with_a_hint(text: str, hint: str) -> None:
    with pytest.raises(NumberError, match=r"\w") as refused:
        parse_decimal(text)
    assert hint in str(refused.value)


def test_the_hint_names_what_was_asked_for() -> None:
    with pytest.raises(NumberError, match="Enter the weight as a number"):
        parse_decimal("heavy", what="weight")


@pytest.mark.parametrize(
    ("text", "comparator", "value"),
    [
        ("7.2", None, "7.2"),
        ("<2.0", "<", "2.0"),
        ("> 30", ">", "30"),
        ("<=5", "<=", "5"),
        (" >=5 ", ">=", "5"),
    ],
)
def test_a_result_keeps_its_comparator(text: str, comparator: str | None, value: str) -> None:
    assert parse_result(text) == (comparator, Decimal(value))


@pytest.mark.parametrize("text", ["<", "<<2", "=5", "2<", "≤5", "<1,5", "< -1"])
def test_a_result_is_as_strict_as_a_number(text: str) -> None:
    with pytest.raises(NumberError, match=r"\w"):
        parse_result(text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Decimal("1.50"), "1.5"),
        (Decimal("3.0"), "3"),
        (Decimal("0.5"), "0.5"),
        (Decimal("1E+3"), "1000"),
        (Decimal("1E-6"), "0.000001"),
        (Decimal("-0"), "0"),
        (Decimal("100"), "100"),
        (Fraction(3, 2), "1.5"),
    ],
)
def test_numbers_are_written_without_trailing_zeros_or_exponents(
    value: Decimal | Fraction, text: str
) -> None:
    assert format_decimal(value) == text


@pytest.mark.parametrize("value", [Decimal("NaN"), Decimal("Infinity"), Fraction(1, 3)])
def test_what_plain_digits_cannot_say_is_refused(value: Decimal | Fraction) -> None:
    with pytest.raises(ValueError, match=r"finite|plain"):
        format_decimal(value)


@pytest.mark.parametrize("text", ["0", "0.5", "12.25", "999999.999999"])
def test_what_was_written_is_read_again(text: str) -> None:
    assert format_decimal(parse_decimal(text)) == text
