"""Recording, correcting and withdrawing results."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction

from django.core.exceptions import ValidationError

from patients.models import Analyte, AnalyteUnit, Observation, Patient
from patients.vocabulary import plain_unit
from tacroweb.audit.ledger import service
from tacroweb.audit.signature import Signature
from tacroweb.fields import read_result
from tacroweb.numbers import format_decimal

from .facts import AlreadyRecorded, NotCurrent, fresh, need_reason, open_facts, refuse_if

PLACES = 8
_LARGEST = 10**12


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A result as a person or a file gives it: the value as text, in one of the analyte's units."""

    analyte: Analyte
    entered: str
    unit: str
    drawn_at: datetime
    hours_since_dose: Decimal | None = None
    assay: str = ""


def to_canonical(value: Decimal, unit: AnalyteUnit) -> Fraction:
    """The exact value in the analyte's canonical unit."""
    factor = Fraction(unit.factor_numerator) / Fraction(unit.factor_denominator)
    return Fraction(value) * factor


def checked(patient: Patient, result: Result, *, at: datetime) -> Observation:
    """The result as a row ready to be written; nothing is read but the analyte's units.

    The value is converted exactly and then kept to 8 decimals (half to even). Raises
    `ValidationError` at `value`, `unit`, `drawn_at` or `assay`: an unknown unit (naming those
    accepted), a value outside the plausible limits, a time to come or before birth.
    """
    errors: dict[str, str] = {}
    analyte = result.analyte
    units = {unit.unit: unit for unit in analyte.units.all()}
    unit = units.get(plain_unit(result.unit))
    if unit is None:
        given = result.unit.strip()
        errors["unit"] = (
            f"{given} is no unit of {analyte.name}." if given else "Give the unit."
        ) + f" Accepted: {', '.join(units)}."
    comparator, value = "", Decimal(0)
    try:
        comparator, value = read_result(result.entered)
    except ValidationError as error:
        errors["value"] = " ".join(error.messages)
    exact = to_canonical(value, unit) if unit else Fraction(0)
    if not errors and (wrong := _implausible(analyte, exact)):
        errors["value"] = wrong
    if result.drawn_at > at:
        errors["drawn_at"] = "This time is in the future."
    elif result.drawn_at.astimezone(patient.clinic.zone).date() < patient.birth_date:
        errors["drawn_at"] = "This time is before the patient was born."
    refuse_if(errors)
    return Observation(
        patient=patient,
        analyte=analyte,
        entered=result.entered.strip(),
        unit_entered=plain_unit(result.unit),
        comparator=comparator,
        value=Decimal(round(exact * 10**PLACES)).scaleb(-PLACES),
        drawn_at=result.drawn_at,
        hours_since_dose=result.hours_since_dose,
        assay=result.assay.strip(),
    )


def _implausible(analyte: Analyte, exact: Fraction) -> str:
    low, high = analyte.plausible_low, analyte.plausible_high
    if exact < _LARGEST and (low is None or exact >= low) and (high is None or exact <= high):
        return ""
    limits = f"at least {format_decimal(low or Decimal(0))}"
    limits += f" and at most {format_decimal(high)}" if high is not None else ""
    return (
        f"This is not plausible: {analyte.name} is {limits} {analyte.canonical_unit}. "
        "Check the value and its unit."
    )


def write_results(
    patient: Patient, results: Sequence[Result], *, at: datetime, by: Signature
) -> list[Observation]:
    """Write results of a patient whose facts are open, all or none (called by services only)."""
    rows = []
    for result in results:
        row = checked(patient, result, at=at)
        _refuse_repeated(row)
        row.sign(by).save()
        rows.append(row)
    return rows


@service("Results recorded")
def record_observations(
    *, patient: Patient, results: Sequence[Result], at: datetime, by: Signature
) -> list[Observation]:
    """Record several results of one patient as one act, all or none.

    Raises `ValidationError` at `value`, `unit`, `drawn_at`, `hours_since_dose`; `AlreadyRecorded`.
    """
    open_facts([patient], by=by)
    return write_results(patient, results, at=at, by=by)


@service("Result recorded")
def record_observation(
    *,
    patient: Patient,
    analyte: Analyte,
    entered: str,
    unit: str,
    drawn_at: datetime,
    hours_since_dose: Decimal | None = None,
    assay: str = "",
    at: datetime,
    by: Signature,
) -> Observation:
    """Record one result. Of a tacrolimus level, `hours_since_dose` None says "not known" (S28).

    Raises as `record_observations`.
    """
    result = Result(
        analyte=analyte,
        entered=entered,
        unit=unit,
        drawn_at=drawn_at,
        hours_since_dose=hours_since_dose,
        assay=assay,
    )
    return record_observations(patient=patient, results=[result], at=at, by=by)[0]


@service("Result corrected")
def correct_observation(
    *,
    observation: Observation,
    entered: str,
    unit: str,
    drawn_at: datetime,
    hours_since_dose: Decimal | None = None,
    assay: str = "",
    at: datetime,
    by: Signature,
) -> Observation:
    """Replace a result by a new row that says what is right; the old one stays on record.

    Every value is given anew. Needs a reason. Raises `ValidationError` as `record_observations`,
    `NotCurrent` when the result has been corrected or withdrawn meanwhile, `AlreadyRecorded` when
    nothing differs or the corrected result is on record.
    """
    need_reason(by)
    open_facts([observation.patient], by=by)
    old = _still_current(observation)
    result = Result(
        analyte=old.analyte,
        entered=entered,
        unit=unit,
        drawn_at=drawn_at,
        hours_since_dose=hours_since_dose,
        assay=assay,
    )
    new = checked(old.patient, result, at=at)
    same = ("entered", "unit_entered", "drawn_at", "hours_since_dose", "assay")
    if all(getattr(new, name) == getattr(old, name) for name in same):
        raise AlreadyRecorded("Nothing differs from what is recorded.")
    _refuse_repeated(new, instead_of=old)
    new.replaces = old
    new.sign(by).save()
    return new


@service("Result withdrawn")
def withdraw_observation(*, observation: Observation, at: datetime, by: Signature) -> Observation:
    """Mark a result, with the versions it replaced, as entered in error. Needs a reason.

    Raises `NotCurrent` when it has been corrected or withdrawn meanwhile.
    """
    need_reason(by)
    open_facts([observation.patient], by=by)
    row: Observation | None = _still_current(observation)
    while row is not None:
        row.withdrawn = True
        row.sign(by).save()
        row = row.replaces
    return fresh(observation)


def _still_current(observation: Observation) -> Observation:
    row = fresh(observation)
    if row.withdrawn or Observation.objects.filter(replaces=row).exists():
        raise NotCurrent(
            "This result has been corrected or withdrawn meanwhile. Open it again from the chart."
        )
    return row


def _refuse_repeated(row: Observation, *, instead_of: Observation | None = None) -> None:
    """The same value of the same draw is one result, in whatever unit or digits it is written."""
    others = Observation.objects.filter(
        patient=row.patient,
        analyte=row.analyte,
        drawn_at=row.drawn_at,
        comparator=row.comparator,
        value=row.value,
        withdrawn=False,
    )
    if instead_of is not None:
        # A correction may go back to a value of its own chain; only what stands counts.
        others = others.filter(replaced_by__isnull=True).exclude(pk=instead_of.pk)
    if (other := others.first()) is None:
        return
    replaced = Observation.objects.filter(replaces=other).exists()
    raise AlreadyRecorded(
        f"{row.analyte.name} {other.entered} {other.unit_entered} of this time is recorded already"
        + (" and has been corrected since." if replaced else "."),
        fields={"value": "Recorded already."},
    )
