"""Numbers, days and instants come in the same way through forms and the API."""

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from rest_framework import serializers

from tacroweb import fields
from tacroweb.refusals import Refusal

BAD_NUMBERS = [
    "1,5",
    "1_5",
    "１.５",
    ".5",
    "5.",
    "-0",
    "-1",
    "+1",
    "1e1",
    "NaN",
    "Infinity",
    "٣",
    "01",
]


class Typed(forms.Form):
    dose_mg = fields.DecimalTextField(
        required=False,
        max_digits=5,
        decimal_places=2,
        min_value=Decimal("0.5"),
        max_value=Decimal(99),
    )
    value = fields.ResultTextField(required=False)
    day = fields.DayTextField(required=False)
    instant = fields.InstantTextField(required=False)


class Sent(fields.StrictKeys):
    dose_mg = fields.DecimalStringField(
        required=False,
        max_digits=5,
        decimal_places=2,
        min_value=Decimal("0.5"),
        max_value=Decimal(99),
    )
    value = fields.ResultStringField(required=False)
    day = fields.DayStringField(required=False)
    instant = fields.InstantStringField(required=False)
    grade = fields.KnownChoiceField([("HIGH", "High")])
    stored = serializers.IntegerField(read_only=True)


def typed_errors(**data: str) -> dict[str, Any]:
    return dict(Typed(data).errors)


def sent_errors(**data: Any) -> dict[str, Any]:
    given = Sent(data=data)
    given.is_valid()
    return dict(given.errors)


@pytest.mark.parametrize("number", BAD_NUMBERS)
@pytest.mark.parametrize("field", ["dose_mg", "value"])
def test_a_number_that_is_not_plain_is_refused_at_every_door(number: str, field: str) -> None:
    assert typed_errors(**{field: number}).keys() == {field}
    assert sent_errors(**{field: number}).keys() == {field}


@pytest.mark.parametrize("number", ["0.4", "99.5", "1.555", "100"])
def test_a_number_outside_the_limits_is_refused_at_every_door(number: str) -> None:
    assert typed_errors(dose_mg=number).keys() == {"dose_mg"}
    assert sent_errors(dose_mg=number).keys() == {"dose_mg"}


@pytest.mark.parametrize("number", [1, 1.5, True, None, ["1"], {"a": "1"}])
def test_the_api_takes_decimals_as_strings_only(number: Any) -> None:
    assert sent_errors(dose_mg=number).keys() == {"dose_mg"}
    assert sent_errors(value=number).keys() == {"value"}


def test_plain_numbers_and_results_pass() -> None:
    form = Typed({"dose_mg": " 1.50 ", "value": "<2.0"})
    assert form.is_valid()
    assert form.cleaned_data["dose_mg"] == Decimal("1.5")
    assert form.cleaned_data["value"] == "<2.0"
    given = Sent(data={"dose_mg": "1.50", "value": ">= 20"})
    assert given.is_valid(), given.errors
    assert given.validated_data == {"dose_mg": Decimal("1.5"), "value": ">= 20", "grade": ""} or (
        given.validated_data == {"dose_mg": Decimal("1.5"), "value": ">= 20"}
    )
    assert Sent({"dose_mg": Decimal("1.500")}).data["dose_mg"] == "1.5"


@pytest.mark.parametrize(
    "day",
    ["2026-1-5", "05.01.2026", "20260105", "2026-W01-1", "2026-02-30", "２026-01-05", "0000-01-01"],
)
def test_a_day_is_written_in_one_way(day: str) -> None:
    assert typed_errors(day=day).keys() == {"day"}
    assert sent_errors(day=day).keys() == {"day"}


@pytest.mark.parametrize(
    "instant",
    [
        "2026-01-05",
        "2026-01-05 8:00",
        "2026-01-05T24:00",
        "2026-01-05T08:00:60Z",
        "20260105T0800Z",
        "now",
    ],
)
def test_an_instant_is_written_in_one_way(instant: str) -> None:
    assert typed_errors(instant=instant).keys() == {"instant"}
    assert sent_errors(instant=instant).keys() == {"instant"}


def test_the_api_demands_the_offset_and_pages_take_the_clinics_clock() -> None:
    assert "offset" in str(sent_errors(instant="2026-01-05T08:00")["instant"])
    with timezone.override(ZoneInfo("Europe/Berlin")):
        form = Typed({"instant": "2026-01-05T08:00", "day": "2026-01-05"})
        assert form.is_valid()
    assert form.cleaned_data["instant"] == datetime(2026, 1, 5, 7, tzinfo=UTC)
    assert form.cleaned_data["day"] == date(2026, 1, 5)


@pytest.mark.parametrize("local", ["2026-03-29 02:30", "2026-10-25 02:30"])
def test_a_time_that_the_clocks_skip_or_repeat_is_refused(local: str) -> None:
    with pytest.raises(ValidationError):
        fields.read_instant(local, zone=ZoneInfo("Europe/Berlin"))


def test_a_key_that_is_not_read_is_an_error() -> None:
    assert sent_errors(dose="1").keys() == {"dose"}
    assert sent_errors(stored=1).keys() == {"stored"}


def test_not_known_is_null_outside_and_empty_inside() -> None:
    given = Sent(data={"grade": None})
    assert given.is_valid()
    assert given.validated_data["grade"] == ""
    assert Sent({"grade": ""}).data["grade"] is None
    assert sent_errors(grade="LOW").keys() == {"grade"}


def test_what_a_service_refuses_stands_at_the_fields_or_above_the_form() -> None:
    form = Typed({})
    form.is_valid()
    fields.show_error(form, ValidationError({"day": ["Too late."], "ward": ["Closed."]}))
    fields.show_error(form, ValidationError("Not today."))
    fields.show_error(form, Refusal("Taken already.", fields={"value": "This one.", "ward": "x"}))
    assert form.errors["day"] == ["Too late."]
    assert form.errors["value"] == ["This one."]
    assert form.non_field_errors() == ["Closed.", "Not today.", "Taken already."]


@pytest.mark.parametrize(
    "text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:00-14:00", "1799-12-31T00:00Z"]
)
def test_an_instant_at_the_ends_of_the_calendar_is_refused_in_words(text: str) -> None:
    with pytest.raises(ValidationError, match="Check the year"):
        fields.read_instant(text, zone=None)
    with pytest.raises(ValidationError, match="Check the year"):
        fields.read_day(text[:10])


@pytest.mark.parametrize("sent", ["2", "1_0", "２", True, 2.0, None, [2]])
def test_a_whole_number_is_a_json_number_or_refused(sent: Any) -> None:
    field = fields.WholeNumberField(min_value=1, max_value=4)
    assert field.run_validation(2) == 2
    with pytest.raises((ValidationError, serializers.ValidationError)):
        field.run_validation(sent)
