"""How numbers, days and instants come in: the same strict reading in forms, files and API alike."""

import re
from datetime import date, datetime, tzinfo
from decimal import Decimal
from typing import Any, TypeVar

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import DecimalValidator, MaxValueValidator, MinValueValidator
from django.forms.utils import from_current_timezone
from django.utils import timezone
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from tacroweb.numbers import format_decimal, parse_decimal, parse_result
from tacroweb.refusals import Refusal

D = TypeVar("D", bound=date)

DAY_HINT = "Write the day as 2026-11-02."
INSTANT_HINT = "Write the day and time as 2026-11-02 08:30."
OFFSET_HINT = "Write the time with its offset, such as 2026-11-02T08:30:00+01:00."
QUOTES_HINT = 'Write the number in quotes, such as "1.5": a JSON number may lose digits.'
YEARS = range(1800, 9999)  # no fact is older; at the calendar's ends time zones overflow
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_INSTANT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?"
    r"(Z|[+-][0-9]{2}:[0-9]{2})?"
)


def read_day(text: str) -> date:
    """A day written YYYY-MM-DD. Raises `ValidationError` with the hint for anything else."""
    text = text.strip()
    if not _DAY.fullmatch(text):
        raise ValidationError(DAY_HINT)
    try:
        return _in_range(date.fromisoformat(text))
    except ValueError as error:
        raise ValidationError(f"There is no such day: {text}.") from error


def read_instant(text: str, *, zone: tzinfo | None) -> datetime:
    """An instant in ISO 8601; without an offset it is the clock of `zone`, None demands the offset.

    Raises `ValidationError` for anything else, and for a local time that the change of the clocks
    skips or repeats.
    """
    text = text.strip()
    if not (shape := _INSTANT.fullmatch(text)):
        raise ValidationError(INSTANT_HINT if zone else OFFSET_HINT)
    try:
        instant = _in_range(datetime.fromisoformat(text))
    except ValueError as error:
        raise ValidationError(f"There is no such day or time: {text}.") from error
    if shape.group(3):
        return instant
    if zone is None:
        raise ValidationError(OFFSET_HINT)
    with timezone.override(zone):
        try:
            return from_current_timezone(instant)
        except ValidationError as error:
            raise ValidationError(
                f"The clocks change then: {text} is skipped or comes twice. Write the offset too, "
                "such as 2026-10-25T02:30+01:00."
            ) from error


def _in_range(day: D) -> D:
    if day.year not in YEARS:
        raise ValidationError("Check the year.")
    return day


def read_decimal(text: str) -> Decimal:
    """A number in plain digits with a point. Raises `ValidationError` with the hint."""
    try:
        return parse_decimal(text)
    except ValueError as error:
        raise ValidationError(str(error)) from error


def read_result(text: str) -> tuple[str, Decimal]:
    """A result such as 4.2 or <2.0: comparator ("" if exact) and number, or `ValidationError`."""
    try:
        comparator, value = parse_result(text)
    except ValueError as error:
        raise ValidationError(str(error)) from error
    return comparator or "", value


def show_error(form: forms.BaseForm, error: ValidationError | Refusal) -> None:
    """Put what a service refused at the form's fields; what fits none stands above the form."""
    if isinstance(error, Refusal):
        form.add_error(None, error.message)
        told = {name: [text] for name, text in error.fields.items() if name in form.fields}
    elif hasattr(error, "error_dict"):
        told = error.message_dict
    else:
        told = {"": error.messages}
    for name, messages in told.items():
        for message in messages:
            form.add_error(name if name in form.fields else None, message)


class DecimalTextField(forms.Field):
    """A form field for an exact decimal number; `1,5`, `1_5`, `.5`, `1e1` and such are refused."""

    widget = forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"})

    def __init__(
        self,
        *,
        max_digits: int = 12,
        decimal_places: int = 3,
        min_value: Decimal | None = None,
        max_value: Decimal | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.validators += number_validators(max_digits, decimal_places, min_value, max_value)

    def to_python(self, value: Any) -> Decimal | None:
        text = str(value or "")
        return read_decimal(text) if text.strip() else None

    def prepare_value(self, value: Any) -> Any:
        return format_decimal(value) if isinstance(value, Decimal) else value


class WholeTextField(forms.Field):
    """A form field for a whole number in plain digits; `6.0`, `1_0` and such are refused."""

    widget = forms.TextInput(attrs={"inputmode": "numeric", "autocomplete": "off"})

    def __init__(self, *, min_value: int, max_value: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.validators += [
            MinValueValidator(min_value, f"Give {min_value} or more."),
            MaxValueValidator(max_value, f"Give {max_value} or less."),
        ]

    def to_python(self, value: Any) -> int | None:
        text = str("" if value is None else value).strip()
        if not text:
            return None
        number = read_decimal(text)
        if "." in text:
            raise ValidationError("Write a whole number, such as 6.")
        return int(number)


class ResultTextField(forms.Field):
    """A form field for a measured value, kept as typed; a comparator such as < may lead it."""

    widget = forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"})

    def to_python(self, value: Any) -> str:
        text = str(value or "")
        if text.strip():
            read_result(text)
        return text.strip()


class DayTextField(forms.Field):
    """A form field for a day, YYYY-MM-DD as the browser's own date field sends it."""

    widget = forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")

    def to_python(self, value: Any) -> date | None:
        text = str(value or "").strip()
        return read_day(text) if text else None


class InstantTextField(forms.Field):
    """A form field for a day and time by the clinic's clock, as the browser's field sends it."""

    widget = forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M")

    def to_python(self, value: Any) -> datetime | None:
        text = str(value or "").strip()
        return read_instant(text, zone=timezone.get_current_timezone()) if text else None

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, datetime) and timezone.is_aware(value):
            return timezone.localtime(value)
        return value


def number_validators(
    max_digits: int, decimal_places: int, low: Decimal | None, high: Decimal | None
) -> list[Any]:
    """What a decimal column can hold, as validators with plain messages."""
    checks: list[Any] = [DecimalValidator(max_digits, decimal_places)]
    if low is not None:
        checks.append(MinValueValidator(low, f"Give {format_decimal(low)} or more."))
    if high is not None:
        checks.append(MaxValueValidator(high, f"Give {format_decimal(high)} or less."))
    return checks


@extend_schema_field({"type": "string", "example": "1.5"})
class DecimalStringField(serializers.Field[Decimal, str, str, Any]):
    """An API field for an exact decimal: a JSON string both ways, never a JSON number."""

    def __init__(
        self,
        *,
        max_digits: int = 12,
        decimal_places: int = 3,
        min_value: Decimal | None = None,
        max_value: Decimal | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.validators += number_validators(max_digits, decimal_places, min_value, max_value)

    def to_internal_value(self, data: Any) -> Decimal:
        return read_decimal(_quoted(data))

    def to_representation(self, value: Decimal) -> str:
        return format_decimal(value)


@extend_schema_field({"type": "string", "example": "<2.0"})
class ResultStringField(serializers.Field[str, str, str, Any]):
    """An API field for a measured value as reported: a JSON string, a comparator may lead it."""

    def to_internal_value(self, data: Any) -> str:
        text = _quoted(data)
        read_result(text)
        return text.strip()

    def to_representation(self, value: str) -> str:
        return value


@extend_schema_field({"type": "string", "format": "date"})
class DayStringField(serializers.Field[date, str, str, Any]):
    """An API field for a day, YYYY-MM-DD."""

    def to_internal_value(self, data: Any) -> date:
        if not isinstance(data, str):
            raise ValidationError(DAY_HINT)
        return read_day(data)

    def to_representation(self, value: date) -> str:
        return value.isoformat()


@extend_schema_field({"type": "string", "format": "date-time"})
class InstantStringField(serializers.Field[datetime, str, str, Any]):
    """An API field for an instant in ISO 8601; the offset must be written."""

    def to_internal_value(self, data: Any) -> datetime:
        if not isinstance(data, str):
            raise ValidationError(OFFSET_HINT)
        return read_instant(data, zone=None)

    def to_representation(self, value: datetime) -> str:
        return timezone.localtime(value).isoformat()


def _quoted(data: Any) -> str:
    # The parser hands over an unquoted 1.5 as a subclass of str, so that it can be refused here.
    if type(data) is not str:
        raise ValidationError(QUOTES_HINT)
    return data


class WholeNumberField(serializers.IntegerField):
    """An API field for a whole number: a JSON number; text such as "1_0" is refused."""

    def to_internal_value(self, data: Any) -> int:
        if type(data) is not int:
            raise ValidationError("Write a whole number without quotes, such as 2.")
        return super().to_internal_value(data)


class StrictKeys(serializers.Serializer[Any]):
    """A serializer to which a key that it does not read is an error: no misspelt one is lost."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict):
            read = {name for name, field in self.fields.items() if not field.read_only}
            if unknown := data.keys() - read:
                raise serializers.ValidationError(
                    {name: ["There is no such field here."] for name in sorted(unknown)}
                )
        return super().to_internal_value(data)


class KnownChoiceField(serializers.ChoiceField):
    """A choice that may be not known: null in the API, the empty string in the column."""

    def __init__(self, choices: Any, **kwargs: Any) -> None:
        super().__init__(choices, required=False, allow_null=True, **kwargs)

    def validate_empty_values(self, data: Any) -> tuple[bool, Any]:
        return (True, "") if data is None else super().validate_empty_values(data)

    def to_representation(self, value: Any) -> Any:
        return super().to_representation(value) or None
