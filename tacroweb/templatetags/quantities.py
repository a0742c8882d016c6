"""How numbers, units and dates are printed for people: plain digits, always the unit."""

import re
from datetime import date, datetime
from decimal import Decimal

from django import template
from django.utils import timezone

register = template.Library()

NOT_KNOWN = "Not known"
NBSP = "\N{NO-BREAK SPACE}"
PRINTED = (
    ("mm[Hg]", "mmHg"),
    ("10*9", "×10⁹"),
    ("10^9", "×10⁹"),
    ("10*3", "×10³"),
    ("10^3", "×10³"),
    ("{1.73_m2}", "1.73 m²"),
    ("1.73m2", "1.73 m²"),
    ("[iU]", "IU"),
    ("[IU]", "IU"),
    ("meq", "mEq"),
    ("[in_i]", "in"),
    ("[lb_av]", "lb"),
)
Number = Decimal | int | str | None


def _exact(value: Number) -> Decimal | None:
    """The exact number, or None for None and ""; a float is refused with TypeError."""
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, Decimal | int | str):
        raise TypeError(f"{value!r} is not exact: pass a Decimal, an int or a decimal string.")
    return Decimal(value)


def plain(value: Decimal) -> str:
    """The digits of `value` as they stand, without an exponent: 5.30 stays 5.30."""
    return format(value, "f")


def plain_dose(value: Decimal) -> str:
    """A dose for people: a leading zero always, a trailing zero never (3, 0.5, 10)."""
    text = plain(value)
    return text.rstrip("0").rstrip(".") if "." in text else text


@register.filter
def mg(value: Number) -> str:
    """A single dose: 3 mg, 0.5 mg."""
    return NOT_KNOWN if (dose := _exact(value)) is None else f"{plain_dose(dose)}{NBSP}mg"


@register.filter
def mg_per_day(value: Number) -> str:
    """A total daily dose: 3 mg/day."""
    return NOT_KNOWN if (dose := _exact(value)) is None else f"{plain_dose(dose)}{NBSP}mg/day"


@register.filter
def ng_per_ml(value: Number) -> str:
    """A tacrolimus level with the decimals of the report: 7.0 ng/mL."""
    return quantity(value, "ng/mL")


@register.filter
def quantity(value: Number, unit: str) -> str:
    """A measured value as reported, with its unit: 5.30 mmol/L. A value such as "<2.0" is kept."""
    unit = printed_unit(unit)
    if isinstance(value, str) and value[:1] in ("<", ">"):
        return f"{value}{NBSP}{unit}"
    number = _exact(value)
    return NOT_KNOWN if number is None else f"{plain(number)}{NBSP}{unit}"


@register.filter
def hours(value: Number) -> str:
    """A span of time: 12 h, 11.5 h."""
    return NOT_KNOWN if (span := _exact(value)) is None else f"{plain_dose(span)}{NBSP}h"


@register.filter
def printed_unit(unit: str) -> str:
    """A UCUM unit as it is printed: mm[Hg] is mmHg, 10*9/L is ×10⁹/L, umol/L is µmol/L."""
    for written, printed in PRINTED:
        unit = unit.replace(written, printed)
    return re.sub(r"(^|/)u(?=[A-Za-z])", r"\1µ", unit)


@register.filter
def decimal(value: Number) -> str:
    """The bare number in plain digits, as it stands."""
    return NOT_KNOWN if (number := _exact(value)) is None else plain(number)


@register.filter
def clinical_date(value: date | datetime | None) -> str:
    """A day as 02-Nov-2026; an instant as the day it is in the active zone."""
    if not value:
        return NOT_KNOWN
    if isinstance(value, datetime) and timezone.is_aware(value):
        value = timezone.localtime(value)
    return value.strftime("%d-%b-%Y")


@register.filter
def clinical_datetime(value: datetime | None) -> str:
    """An instant as 02-Nov-2026 09:30 in the active zone."""
    if not value:
        return NOT_KNOWN
    local = timezone.localtime(value) if timezone.is_aware(value) else value
    return local.strftime("%d-%b-%Y %H:%M")


def _day(value: date | datetime) -> date:
    if not isinstance(value, datetime):
        return value
    return (timezone.localtime(value) if timezone.is_aware(value) else value).date()


def _days(count: int) -> str:
    return f"{count} day" if count == 1 else f"{count} days"


@register.filter
def ago(value: date | datetime | None, today: date) -> str:
    """How long before `today` something was: "today", "yesterday", "3 days ago"."""
    if not value:
        return NOT_KNOWN
    days = (_day(today) - _day(value)).days
    if days < 0:
        return f"in {_days(-days)}"
    if days < 2:
        return ("today", "yesterday")[days]
    return f"{_days(days)} ago"


@register.filter
def in_days(value: date | datetime | None, today: date) -> str:
    """How far off a due day is: "today", "tomorrow", "in 4 days", "1 day overdue"."""
    if not value:
        return NOT_KNOWN
    days = (_day(value) - _day(today)).days
    if days < 0:
        return f"{_days(-days)} overdue"
    if days < 2:
        return ("today", "tomorrow")[days]
    return f"in {_days(days)}"


@register.filter
def mrn(value: str | None) -> str:
    """A record number in groups of three, the last of up to four: 004 118 2207."""
    if not value:
        return NOT_KNOWN
    if not value.isdigit() or len(value) < 6:
        return value
    groups = []
    while len(value) > 4:
        groups.append(value[:3])
        value = value[3:]
    return NBSP.join([*groups, value])


@register.filter
def known(value: object) -> object:
    """The value itself, or "Not known" for None and the empty string (never blank on a page)."""
    return NOT_KNOWN if value is None or value == "" else value
