"""Numbers that become doses: in the right order and unit, and possible with the capsules there are.

Doses are multiples of the smallest enabled strength, two a day at least (D20), so a dose that can
be dispensed is exactly such a multiple; a fraction is applied to a total and rounded down (D17a).
"""

import re
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise

from dosing.rules.engine import doses
from dosing.rules.engine.facts import Formulation, Route
from dosing.rules.engine.quantities import round_down
from dosing.rules.engine.rows import Band, DoseAct, DrugGroup, NumberRow
from dosing.rules.engine.rulebook import RuleBook
from dosing.rules.linting.findings import TEN_YEARS_DAYS, LintFinding, error
from dosing.rules.linting.stretches import exactly

# The engine reads a number without its unit; the end of its code says what it must be.
_UNITS = {
    "-MG-PER-KG-PER-DAY": "mg/kg/d",
    "-MG-PER-DAY": "mg/d",
    "-NG-PER-ML": "ng/mL",
    "-DAYS": "d",
    "-HOURS": "h",
    "-MONTHS": "mo",
    "-PERCENT": "%",
    "-GRADE": "1",
}
_LOW_END = re.compile("-LOW(?=-|$)")
_RISING = (
    "ALARM-LOW-NG-PER-ML",
    "TARGET-LOW-NG-PER-ML",
    "TARGET-HIGH-NG-PER-ML",
    "ALARM-HIGH-NG-PER-ML",
    "ALARM-TOXIC-NG-PER-ML",
)
# Caps and fixed doses: proposals end at them, so they are doses themselves.
_DOSES = ("START-FIXED-LOW-MG-PER-DAY", "START-FIXED-HIGH-MG-PER-DAY", "MAX-MG-PER-DAY")
# Where the level bands and the numbers say the same thing: (band, end) of each number.
_BAND_ENDS = {
    "ALARM-LOW-NG-PER-ML": (Band.FAR_BELOW, "high"),
    "TARGET-LOW-NG-PER-ML": (Band.IN_TARGET, "low"),
    "TARGET-HIGH-NG-PER-ML": (Band.IN_TARGET, "high"),
    "ALARM-HIGH-NG-PER-ML": (Band.FAR_ABOVE, "low"),
    "ALARM-TOXIC-NG-PER-ML": (Band.TOXIC, "low"),
}
_DOSE_ENDS = {
    "START-MG-PER-KG-PER-DAY": ("WEIGHT", "low"),
    "START-FIXED-LOW-MG-PER-DAY": ("FIXED", "low"),
    "START-FIXED-HIGH-MG-PER-DAY": ("FIXED", "high"),
}
_STARTING_UNITS = {"WEIGHT": "mg/kg/d", "FIXED": "mg/d"}
_CAPS = {"WEIGHT": "MAX-MG-PER-KG-PER-DAY", "FIXED": "MAX-MG-PER-DAY"}
_COMPANION_UNITS = ("mg", "mg/d", "mg/kg/d", "mg/m2")
_ACTS = ("START", "TITRATION", "INTERACTION")
_MODES = ("NEAREST", "DOWN")


_LONGEST = {"d": TEN_YEARS_DAYS, "mo": 120, "h": TEN_YEARS_DAYS * 24}


def numbers(book: RuleBook) -> Iterator[LintFinding]:
    """Units by the end of the code, nothing below 0, low ends not above high ends."""
    held = {row.code: row for row in book.numbers if row.enabled}
    for row in book.numbers:
        unit = next((unit for end, unit in _UNITS.items() if row.code.endswith(end)), row.unit)
        if row.unit != unit:
            yield error(
                "UNIT",
                "numbers",
                row.code,
                row.unit,
                f"{row.code} is in {row.unit!r}, but the engine reads it in {unit}.",
            )
        if row.value > _LONGEST.get(unit, row.value):
            yield error(
                "RANGE",
                "numbers",
                row.code,
                f"{row.value} {row.unit}",
                f"{row.code} is {row.value} {row.unit}: it must be at most {_LONGEST[unit]}, ten "
                "years, or days leave the calendar.",
            )
        divides = row.code in ("CALCIUM-MOLAR-MASS", "BSA-MOSTELLER-DIVISOR")
        if row.value < 0 or (
            row.value == 0 and (divides or unit in ("d", "h", "mo", "mg/d", "mg/kg/d"))
        ):
            yield error(
                "RANGE",
                "numbers",
                row.code,
                f"{row.value} {row.unit}",
                f"{row.code} is {row.value} {row.unit}: it must be more than 0.",
            )
        high = held.get(_LOW_END.sub("-HIGH", row.code))
        if row.enabled and high is not None and row.value > high.value:
            yield _not_rising("numbers", row.code, high.code, row.value, high.value, row.unit)
    rising = [held[code] for code in _RISING if code in held]
    for lower, upper in pairwise(rising):
        if lower.value > upper.value:
            yield _not_rising(
                "numbers", lower.code, upper.code, lower.value, upper.value, lower.unit
            )


def said_once(book: RuleBook) -> Iterator[LintFinding]:
    """Where a number and a row of another table state the same limit, they agree."""
    held = {row.code: row for row in book.numbers if row.enabled}
    for band in book.level_bands:
        for code, (of, end) in _BAND_ENDS.items():
            if band.enabled and band.band is of and code in held:
                yield from _agree("level_bands", band.code, getattr(band, end), held[code])
    for dose in book.starting_doses:
        for code, (basis, end) in _DOSE_ENDS.items():
            if dose.enabled and dose.basis == basis and code in held:
                yield from _agree("starting_doses", dose.code, getattr(dose, end), held[code])


def _agree(table: str, row: str, value: object, number: NumberRow) -> Iterator[LintFinding]:
    if value != number.value:
        yield error(
            "TWICE",
            table,
            f"{row}, {number.code}",
            f"{value} {number.unit}",
            f"{row} says {value} {number.unit} and {number.code} says {number.value} "
            f"{number.unit}: both state the same limit.",
        )


def starting_doses(book: RuleBook) -> Iterator[LintFinding]:
    """One first dose by weight and one fixed range, each with its unit, low not above high."""
    rows = [row for row in book.starting_doses if row.enabled]
    for row in rows:
        unit = _STARTING_UNITS.get(row.basis)
        if unit is None:
            yield error(
                "BASIS",
                "starting_doses",
                row.code,
                row.basis,
                f"{row.code} has the basis {row.basis!r}: it must be WEIGHT or FIXED.",
            )
        elif row.unit != unit:
            yield error(
                "UNIT",
                "starting_doses",
                row.code,
                row.unit,
                f"{row.code} is in {row.unit!r}, but a dose of the basis {row.basis} is in {unit}.",
            )
        yield from _ordered("starting_doses", row.code, row.low, row.high, row.unit)
        if row.basis == "WEIGHT" and row.low != row.high:
            yield error(
                "RANGE",
                "starting_doses",
                row.code,
                f"{row.low} to {row.high} {row.unit}",
                f"{row.code} runs from {row.low} to {row.high} {row.unit}: a dose by weight is one "
                "number, both ends alike.",
            )
        cap = book.index.numbers.get(_CAPS.get(row.basis, ""))
        if cap is not None and row.high > cap:
            yield error(
                "RANGE",
                "starting_doses",
                row.code,
                f"{row.high} {row.unit}",
                f"{row.code} begins with up to {row.high} {row.unit}, which is above the cap "
                f"{_CAPS[row.basis]}, {exactly(cap)} {row.unit}.",
            )


def steps_and_fractions(book: RuleBook) -> Iterator[LintFinding]:
    """A step or fraction is more than nothing and less than the whole."""
    for table, rows in (("dose_steps", book.dose_steps), ("ratios", book.ratios)):
        for row in rows:
            if row.enabled and not 0 < row.numerator < row.denominator:
                yield _no_fraction(table, row.code, row.numerator, row.denominator)


def roundings(book: RuleBook) -> Iterator[LintFinding]:
    """Each act has one way of rounding, and it is one that the engine knows."""
    for row in book.roundings:
        for what, value, known in (("act", row.act, _ACTS), ("mode", row.mode, _MODES)):
            if value not in known:
                yield error(
                    "ROUNDING",
                    "roundings",
                    row.code,
                    value,
                    f"{row.code} has the {what} {value!r}: it must be one of {', '.join(known)}.",
                )
        if row.enabled and row.act == "INTERACTION" and row.mode != "DOWN":
            yield error(
                "ROUNDING",
                "roundings",
                row.code,
                row.mode,
                f"{row.code} rounds a cut for an interaction {row.mode}: D17a rounds it DOWN.",
            )


def strengths(book: RuleBook) -> Iterator[LintFinding]:
    """Only a twice-daily product has strengths to propose; others get no dose (D20)."""
    for row in book.strengths:
        if row.formulation not in set(Formulation):
            yield error(
                "FORMULATION",
                "strengths",
                row.code,
                row.formulation,
                f"{row.code} is for the formulation {row.formulation!r}, which is not one of "
                f"{', '.join(Formulation)}.",
            )
        elif row.enabled and row.formulation != Formulation.IR:
            yield error(
                "FORMULATION",
                "strengths",
                row.code,
                row.formulation,
                f"{row.code} is enabled, and doses are proposed twice daily: {row.formulation} is "
                "taken once daily and gets no proposal.",
            )


def dispensable(book: RuleBook) -> Iterator[LintFinding]:
    """Every cap and fixed dose can be dispensed, and every fraction of some dose up to the cap."""
    step = doses.step_mg(book, Formulation.IR)
    if step is None:
        yield error(
            "DISPENSABLE",
            "strengths",
            "",
            Formulation.IR,
            f"No strength of {Formulation.IR} is enabled: no dose can be proposed at all.",
        )
        return
    caps = {row.code: ("numbers", Fraction(row.value)) for row in book.numbers if row.enabled}
    fixed = [(code, *caps[code], "") for code in _DOSES if code in caps]
    for row in book.starting_doses:
        if row.enabled and row.basis == "FIXED":
            fixed += [
                (row.code, "starting_doses", Fraction(row.low), ", low end"),
                (row.code, "starting_doses", Fraction(row.high), ", high end"),
            ]
    for code, table, total, end in fixed:
        if total % step or total < doses.lowest_mg_per_day(step):
            yield error(
                "DISPENSABLE",
                table,
                code,
                f"{exactly(total)} mg/d",
                f"{code}{end}: {exactly(total)} mg/day cannot be dispensed as two doses of "
                f"capsules of which the smallest is {exactly(step)} mg.",
            )
    cap = book.index.numbers["MAX-MG-PER-DAY"]
    most, least = round_down(cap, step), doses.lowest_mg_per_day(step)
    rounding = book.index.roundings["INTERACTION"]
    for table, code, share in _fractions(book):
        cut = doses.dispensable(most * share, step, rounding)
        # A greater dose never gives a smaller share: where the highest is too low, each one is.
        if cut is None or cut < least:
            yield error(
                "DISPENSABLE",
                table,
                code,
                f"{share.numerator}/{share.denominator}",
                f"{code}: {share.numerator}/{share.denominator} of the highest dose, "
                f"{exactly(most)} mg/day, is below the least one, {exactly(least)} mg/day: it can "
                "never be dispensed.",
            )


def companion_regimens(book: RuleBook) -> Iterator[LintFinding]:
    """The steps of a companion regimen are numbered from 1, each a dose that can be ordered."""
    for row in book.companion_regimens:
        yield from _ordered("companion_regimens", row.code, row.low, row.high, row.unit)
        for what, value, known in (
            ("unit", row.unit, _COMPANION_UNITS),
            ("route", row.route, tuple(Route)),
        ):
            if value not in known:
                yield error(
                    what.upper(),
                    "companion_regimens",
                    row.code,
                    value,
                    f"{row.code} has the {what} {value!r}: it must be one of {', '.join(known)}.",
                )
        if row.days_a_week is not None and not 1 <= row.days_a_week <= 7:
            yield error(
                "RANGE",
                "companion_regimens",
                row.code,
                f"{row.days_a_week} days a week",
                f"{row.code} is given on {row.days_a_week} days a week: a week has 1 to 7.",
            )
        if row.weeks is not None and row.weeks < 1:
            yield error(
                "RANGE",
                "companion_regimens",
                row.code,
                f"{row.weeks} weeks",
                f"{row.code} is given for {row.weeks} weeks: it must be at least one.",
            )
    for regimen, rows in book.index.companions.items():
        for number, row in enumerate(rows, start=1):
            if row.step != number:
                yield error(
                    "SERIES",
                    "companion_regimens",
                    row.code,
                    str(row.step),
                    f"{row.code} is step {row.step} of {regimen}, where step {number} is due: "
                    "steps are numbered from 1 without a gap.",
                )
                break


def outcomes(book: RuleBook) -> Iterator[LintFinding]:
    """A figure lies in its interval, a window does not end before it begins."""
    for row in book.outcomes:
        known = [value for value in (row.low, row.value, row.high) if value is not None]
        if known != sorted(known):
            words = " to ".join(str(value) for value in known)
            yield error(
                "RANGE",
                "outcomes",
                row.code,
                f"{words} {row.unit}",
                f"{row.code} does not rise: {words} {row.unit}.",
            )
        if (
            row.from_month is not None
            and row.to_month is not None
            and row.from_month > row.to_month
        ):
            yield error(
                "RANGE",
                "outcomes",
                row.code,
                f"months {row.from_month} to {row.to_month}",
                f"{row.code} ends in month {row.to_month}, before it begins in month "
                f"{row.from_month}.",
            )


def local_targets(book: RuleBook) -> Iterator[LintFinding]:
    """A lower target has both ends or neither, in ng/mL, the low one below the high one."""
    for row in book.local_targets:
        if row.unit != "ng/mL":
            yield error(
                "UNIT",
                "local_targets",
                row.code,
                row.unit,
                f"{row.code} is in {row.unit!r}, but a target is in ng/mL.",
            )
        if (row.low is None) != (row.high is None):
            yield error(
                "RANGE",
                "local_targets",
                row.code,
                f"{row.low if row.high is None else row.high} {row.unit}",
                f"{row.code} has one end only: a target has both, or none until it is approved.",
            )
        elif row.low is not None and row.high is not None:
            limits = book.index.limits
            if not limits[Band.FAR_BELOW] <= row.low < row.high <= limits[Band.FAR_ABOVE]:
                yield error(
                    "RANGE",
                    "local_targets",
                    row.code,
                    f"{row.low} to {row.high} {row.unit}",
                    f"{row.code} runs from {row.low} to {row.high} {row.unit}: the low end must be "
                    f"below the high end, and both within {exactly(limits[Band.FAR_BELOW])} to "
                    f"{exactly(limits[Band.FAR_ABOVE])} ng/mL, where no level alarms.",
                )


def prednisone_equivalents(book: RuleBook) -> Iterator[LintFinding]:
    """A corticosteroid counts by a factor above 0, and no other group has any."""
    for row in book.drug_groups:
        counted = row.group is DrugGroup.PREDNISONE_EQUIVALENT
        if (row.factor is not None) != counted or (row.factor is not None and row.factor <= 0):
            yield error(
                "FACTOR",
                "drug_groups",
                row.code,
                "none" if row.factor is None else str(row.factor),
                f"{row.code} is {row.drug} in {row.group}: members of "
                f"{DrugGroup.PREDNISONE_EQUIVALENT} have a factor above 0, and no others have one.",
            )


def _fractions(book: RuleBook) -> Iterator[tuple[str, str, Fraction]]:
    """Every fraction to which a dose is cut, with its table and row."""
    for ratio in book.ratios if not book.interactions else ():
        if ratio.enabled and ratio.code == "AZOLE-FRACTION":
            yield "ratios", ratio.code, Fraction(ratio.numerator, ratio.denominator)
    for row in book.interactions:
        if row.enabled and row.act is DoseAct.CUT_TO_FRACTION and row.numerator and row.denominator:
            yield "interactions", row.code, Fraction(row.numerator, row.denominator)


def _ordered(table: str, code: str, low: object, high: object, unit: str) -> Iterator[LintFinding]:
    first, last = Fraction(str(low)), Fraction(str(high))
    if not 0 < first <= last:
        yield error(
            "RANGE",
            table,
            code,
            f"{low} to {high} {unit}",
            f"{code} runs from {low} to {high} {unit}: a dose is more than 0 and its low end not "
            "above its high end.",
        )


def _not_rising(
    table: str, lower: str, upper: str, low: object, high: object, unit: str
) -> LintFinding:
    return error(
        "RANGE",
        table,
        f"{lower}, {upper}",
        f"{low} {unit}",
        f"{lower} is {low} {unit}, which is above {upper}, {high} {unit}.",
    )


def _no_fraction(table: str, code: str, numerator: int, denominator: int) -> LintFinding:
    return error(
        "FRACTION",
        table,
        code,
        f"{numerator}/{denominator}",
        f"{code} is {numerator}/{denominator}: it must be more than 0 and less than the whole.",
    )
