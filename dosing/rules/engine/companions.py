"""What is given together with tacrolimus at the start, as named regimens: S11-S15, X4, X5."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from math import isqrt

from dosing.rules.engine.advice import DueTest, Finding, raised
from dosing.rules.engine.comedication import of_group
from dosing.rules.engine.facts import WEIGHT, CaseFacts, Intent, Route, Sard
from dosing.rules.engine.quantities import ZERO, day, said, shown
from dosing.rules.engine.rows import CompanionRegimenRow, DrugGroup
from dosing.rules.engine.rulebook import RuleBook
from dosing.rules.engine.selection import outside_protocol
from dosing.rules.engine.starting import weight_kg

HEIGHT = "height"

# Which finding each step of a regimen is: A1 the pulses and then the low dose, A2 the taper.
_STEPS = (
    ("A1", 1, "COMPANION-PULSE"),
    ("A1", 2, "COMPANION-LOW-DOSE"),
    ("A2", 1, "COMPANION-TAPER"),
)
_ROUTES: dict[str, str] = {Route.IV: "by infusion into a vein", Route.ORAL: "by mouth"}

Inputs = tuple[tuple[str, str], ...]


def companions(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """S11-S14: the corticosteroid regimens beside which tacrolimus starts in myositis.

    The protocol's one bullet is two regimens (X4): A1, two courses of pulses and then a low dose,
    and A2, a dose by weight that falls slowly.
    """
    if not _for_myositis(case):
        return ()
    found: tuple[Finding, ...] = ()
    for regimen, number, code in _STEPS:
        rows = book.index.companions.get(regimen, [])
        for row in rows:
            if row.step == number:
                words, inputs, missing = _dose(row, case, book, at)
                step = f", step {number}" if len(rows) > 1 else ""
                found += raised(
                    book,
                    code,
                    f"{row.title}{step}: {words}.",
                    inputs=(("regimen", regimen), *inputs),
                    due_tests=_missing(code, missing, book, at),
                )
    return found + raised(
        book,
        "COMPANION-TACROLIMUS",
        "To either corticosteroid regimen add oral tacrolimus, at one of its two starting doses, "
        "and adjust it to the trough.",
    )


def cyclophosphamide(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """S15: in severe or rapidly progressive myositis consider cyclophosphamide, where not taken."""
    diagnosis = case.diagnosis
    reasons = [
        words
        for words, holds in (
            ("severe disease at presentation", diagnosis.severe_at_presentation),
            ("rapidly progressive disease", diagnosis.rapidly_progressive),
        )
        if holds
    ]
    if not reasons or not _for_myositis(case):
        return ()
    if of_group(case, book, at, DrugGroup.CYCLOPHOSPHAMIDE):
        return ()
    found: tuple[Finding, ...] = ()
    code = "COMPANION-CYCLOPHOSPHAMIDE"
    for row in book.index.companions.get("CYC", ()):
        words, inputs, missing = _dose(row, case, book, at)
        found += raised(
            book,
            code,
            f"Consider adding cyclophosphamide to tacrolimus and high-dose corticosteroid "
            f"({' and '.join(reasons)}): {words}.",
            inputs=(
                ("severe_at_presentation", said(diagnosis.severe_at_presentation)),
                ("rapidly_progressive", said(diagnosis.rapidly_progressive)),
                *inputs,
            ),
            due_tests=_missing(code, missing, book, at),
        )
    return found


def _for_myositis(case: CaseFacts) -> bool:
    return (
        case.intent is Intent.START
        and case.diagnosis.sard is Sard.IIM
        and not outside_protocol(case)
    )


def _dose(
    row: CompanionRegimenRow, case: CaseFacts, book: RuleBook, at: datetime
) -> tuple[str, Inputs, tuple[str, ...]]:
    """The dose of one step with its sum, what it used, and the measurements that it lacks."""
    how = f" {_ROUTES[row.route]}" if row.route in _ROUTES else ""
    drug = f"{row.drug} {_range(row.low, row.high)}"
    if row.unit == "mg/kg/d":
        return _by_weight(row, f"{drug} mg/kg/day{how}", case, book, at)
    if row.unit == "mg/m2":
        every = f" {row.every}" if row.every else ""
        return _by_surface(row, f"{drug} mg/m²{every}{how}", case, book, at)
    words = f"{drug} {'mg/day' if row.unit == 'mg/d' else row.unit}{how}{_falling(row)}"
    if row.days_a_week is None or row.weeks is None:
        return words, (), ()
    count = row.days_a_week * row.weeks
    total = _range(row.low * count, row.high * count)
    return (
        f"{words} on {row.days_a_week} days a week for {row.weeks} weeks: {row.weeks} courses, "
        f"{count} × {_range(row.low, row.high)} {row.unit} = {total} {row.unit} in all",
        (("infusions", str(count)), ("total_mg", total)),
        (),
    )


def _falling(row: CompanionRegimenRow) -> str:
    return ", reduced slowly" if row.taper else ""


def _by_weight(
    row: CompanionRegimenRow, words: str, case: CaseFacts, book: RuleBook, at: datetime
) -> tuple[str, Inputs, tuple[str, ...]]:
    known = weight_kg(case, book, at)
    if known is None:
        return (
            f"{words}{_falling(row)}; no weight is recorded, so the daily dose is not computed",
            (("weight_kg", "not known"),),
            (WEIGHT,),
        )
    kg, where = known
    total = _of_weight(row, kg)
    return (
        f"{words}{_falling(row)}; {total.arithmetic}",
        (
            ("weight_kg", shown(kg)),
            ("weight", where),
            ("computed_mg_per_day", _range(total.low, total.high)),
        ),
        (),
    )


def _by_surface(
    row: CompanionRegimenRow, words: str, case: CaseFacts, book: RuleBook, at: datetime
) -> tuple[str, Inputs, tuple[str, ...]]:
    """mg/m² × the body surface by Mosteller, √(cm × kg / divisor), to 0.01 m²."""
    weight, height = weight_kg(case, book, at), _height_cm(case, at)
    divisor = book.index.numbers.get("BSA-MOSTELLER-DIVISOR")
    inputs = (
        ("weight_kg", "not known" if weight is None else shown(weight[0])),
        ("height_cm", "not known" if height is None else shown(height[0])),
    )
    if weight is None or height is None:
        lacking = tuple(
            name for name, known in ((WEIGHT, weight), (HEIGHT, height)) if known is None
        )
        return (
            f"{words}; no {' and no '.join(lacking)} is recorded, so the dose is not computed",
            inputs,
            lacking,
        )
    if not divisor:
        return f"{words}; the book has no formula for the body surface", inputs, ()
    dose = _of_surface(row, cm=height[0], kg=weight[0], divisor=divisor)
    return (
        f"{words}; {dose.arithmetic}",
        (
            *inputs,
            ("weight", weight[1]),
            ("height", height[1]),
            ("bsa_m2", shown(dose.m2 or ZERO, at_least=2)),
            ("computed_mg", _range(dose.low, dose.high)),
        ),
        (),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CompanionSum:
    """What one step of a regimen comes to for a patient: both ends, mg or mg/day, and the sum.

    `kg` and `m2` are the weight and the body surface that it was computed from, where it was.
    """

    low: Fraction
    high: Fraction
    arithmetic: str
    kg: Fraction | None = None
    m2: Fraction | None = None


def sum_of(
    row: CompanionRegimenRow, case: CaseFacts, book: RuleBook, at: datetime
) -> CompanionSum | None:
    """The dose of one step for this patient; None where a weight, a height or the formula lacks."""
    if row.unit not in ("mg/kg/d", "mg/m2"):
        unit = "mg/day" if row.unit == "mg/d" else row.unit
        return CompanionSum(
            low=Fraction(row.low),
            high=Fraction(row.high),
            arithmetic=f"{_range(row.low, row.high)} {unit}",
        )
    weight = weight_kg(case, book, at)
    if weight is None:
        return None
    if row.unit == "mg/kg/d":
        return _of_weight(row, weight[0])
    height, divisor = _height_cm(case, at), book.index.numbers.get("BSA-MOSTELLER-DIVISOR")
    if height is None or not divisor:
        return None
    return _of_surface(row, cm=height[0], kg=weight[0], divisor=divisor)


def _of_weight(row: CompanionRegimenRow, kg: Fraction) -> CompanionSum:
    low, high = Fraction(row.low) * kg, Fraction(row.high) * kg
    return CompanionSum(
        low=low,
        high=high,
        arithmetic=f"{_range(row.low, row.high)} mg/kg/day × {shown(kg)} kg = "
        f"{_range(low, high)} mg/day",
        kg=kg,
    )


def _of_surface(
    row: CompanionRegimenRow, *, cm: Fraction, kg: Fraction, divisor: Fraction
) -> CompanionSum:
    surface = root_to_hundredths(cm * kg / divisor)
    low, high = Fraction(row.low) * surface, Fraction(row.high) * surface
    return CompanionSum(
        low=low,
        high=high,
        arithmetic=f"√({shown(cm)} cm × {shown(kg)} kg / {shown(divisor)}) = "
        f"{shown(surface, at_least=2)} m² (Mosteller, to 0.01 m²), {_range(row.low, row.high)} "
        f"mg/m² × {shown(surface, at_least=2)} m² = {_range(low, high)} mg",
        kg=kg,
        m2=surface,
    )


def root_to_hundredths(square: Fraction) -> Fraction:
    """The square root to the nearest 0.01, a tie up; exact, for any number that is not negative."""
    # floor(100 √x + 1/2) = floor((√(40000 x) + 1) / 2), and the floor of a root is whole.
    return Fraction((isqrt(int(square * 40_000)) + 1) // 2, 100)


def _height_cm(case: CaseFacts, at: datetime) -> tuple[Fraction, str] | None:
    """The newest measured height in cm, else the recorded one, and where it comes from."""
    measured = case.newest(HEIGHT, at)
    if measured is not None and measured.comparator is None:
        return measured.canonical, f"measured {day(measured.at.astimezone(at.tzinfo).date())}"
    stated = case.patient.height_cm
    return None if stated is None else (Fraction(stated), "as recorded")


def _range(low: Decimal | Fraction, high: Decimal | Fraction) -> str:
    """One dose or two ends, with all the decimals of a product by a weight to 0.01 kg."""
    one, other = shown(low, at_most=4), shown(high, at_most=4)
    return one if one == other else f"{one} to {other}"


def _missing(
    code: str, analytes: tuple[str, ...], book: RuleBook, at: datetime
) -> tuple[DueTest, ...]:
    """A measurement that a dose lacks is due today, for the statements of the finding."""
    row, today = book.index.findings.get(code), at.date()
    return tuple(
        DueTest(
            analyte=analyte,
            earliest=today,
            due=today,
            latest=today,
            statements=() if row is None else row.statements,
        )
        for analyte in analytes
    )
