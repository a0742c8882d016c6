"""A book of the first form (2026-01) read as the tables of the later ones.

It says its doses, bands and interactions in numbers, ratios, classes, hold drugs and notes. The
interactions made of them here have no source of their own: the book's findings speak for them.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING

from dosing.rules.engine.rows import (
    Band,
    DoseAct,
    DoseStepRow,
    DrugClass,
    InteractionRow,
    LevelBandRow,
    ModifyingFactorRow,
    NumberRow,
    Origin,
    RatioRow,
    RoundingRow,
    Severity,
    StartingDoseRow,
)

if TYPE_CHECKING:
    from dosing.rules.engine.rulebook import RuleBook

_ACTS = {
    DrugClass.STRONG_INHIBITOR_AZOLE: (DoseAct.CUT_TO_FRACTION, DoseAct.RAISE_BACK),
    DrugClass.STRONG_INHIBITOR: (DoseAct.REDUCE, DoseAct.RAISE_BACK),
    DrugClass.MODERATE_INHIBITOR: (DoseAct.FOLLOW_TROUGH, DoseAct.RAISE_BACK),
    DrugClass.STRONG_INDUCER: (DoseAct.INCREASE, DoseAct.STEP_DOWN),
    DrugClass.GRAPEFRUIT: (DoseAct.AVOID, None),
}
_HELD = frozenset({DoseAct.CUT_TO_FRACTION, DoseAct.REDUCE})
_ACTIONS = {
    DoseAct.REDUCE: "Reduce tacrolimus. The protocol gives no fraction for a strong inhibitor that "
    "is no azole, so no dose is proposed.",
    DoseAct.HOLD: "Hold tacrolimus, levels can rise many times over.",
    DoseAct.FOLLOW_TROUGH: "Monitor the tacrolimus trough closely. No dose is changed in advance.",
    DoseAct.INCREASE: "Increase tacrolimus and check troughs frequently. The protocol gives no "
    "fraction, so the dose follows the trough.",
    DoseAct.STEP_DOWN: "Induction fades slowly and the level will rise. Reduce tacrolimus step by "
    "step under trough checks.",
    DoseAct.AVOID: "Avoid it entirely, it raises tacrolimus levels and toxicity.",
}


def starting_doses(book: "RuleBook") -> tuple[StartingDoseRow, ...]:
    """S7 and S8 out of the numbers. Raises ValueError naming the number that is missing."""
    per_kg = _number(book, "START-MG-PER-KG-PER-DAY")
    low = _number(book, "START-FIXED-LOW-MG-PER-DAY")
    high = _number(book, "START-FIXED-HIGH-MG-PER-DAY")
    return tuple(
        StartingDoseRow(
            code=row.code,
            basis=basis,
            low=row.value,
            high=last.value,
            unit=row.unit,
            statements=row.statements,
            origin=row.origin,
            source=row.source,
        )
        for basis, row, last in (("WEIGHT", per_kg, per_kg), ("FIXED", low, high))
    )


def level_bands(book: "RuleBook") -> tuple[LevelBandRow, ...]:
    """S27 and D19: the bands between the limits. Raises ValueError naming a missing number."""
    very_low, low, high, very_high, toxic = (
        _number(book, f"{name}-NG-PER-ML")
        for name in ("ALARM-LOW", "TARGET-LOW", "TARGET-HIGH", "ALARM-HIGH", "ALARM-TOXIC")
    )
    ends: tuple[tuple[Band, Decimal, bool, Decimal | None, bool], ...] = (
        (Band.FAR_BELOW, Decimal(0), True, very_low.value, False),
        (Band.BELOW, very_low.value, True, low.value, False),
        (Band.IN_TARGET, low.value, True, high.value, True),
        (Band.ABOVE, high.value, False, very_high.value, True),
        (Band.FAR_ABOVE, very_high.value, False, toxic.value, True),
        (Band.TOXIC, toxic.value, False, None, False),
    )
    return tuple(
        LevelBandRow(
            code=band.value,
            band=band,
            unit=low.unit,
            low=first,
            low_included=first_in,
            high=last,
            high_included=last_in,
            statements=low.statements,
            origin=Origin.LOCAL,
            source=low.source,
        )
        for band, first, first_in, last, last_in in ends
    )


def dose_steps(book: "RuleBook") -> tuple[DoseStepRow, ...]:
    """D19: the small step at the edge of the target, the large one beyond it. Raises ValueError."""
    large, small = _ratio(book, "STEP-LIMIT"), _ratio(book, "EDGE-STEP-LIMIT")
    return tuple(
        DoseStepRow(
            code=f"{ratio.code}-{side}",
            side=side,
            unit=edge.unit,
            low=first,
            high=last,
            numerator=ratio.numerator,
            denominator=ratio.denominator,
            statements=ratio.statements,
            origin=ratio.origin,
            source=ratio.source,
        )
        for side in ("BELOW", "ABOVE")
        for edge in (_number(book, f"EDGE-{side}-NG-PER-ML"),)
        for ratio, first, last in ((small, Decimal(0), edge.value), (large, edge.value, None))
    )


def roundings() -> tuple[RoundingRow, ...]:
    """D17a, D20: a cut for an interaction goes down, every other dose to the nearest step."""
    return tuple(
        RoundingRow(
            code=act, act=act, mode=mode, statements=(), origin=Origin.LOCAL, source="D17a, D20."
        )
        for act, mode in (("START", "NEAREST"), ("TITRATION", "NEAREST"), ("INTERACTION", "DOWN"))
    )


def interactions(book: "RuleBook") -> tuple[InteractionRow, ...]:
    """S39-S53 and D17b: what the start and the stop of each classed or held drug mean.

    Raises ValueError where the fraction for azoles is missing.
    """
    fraction = _ratio(book, "AZOLE-FRACTION")
    classes = {
        row.drug: DrugClass(row.seed_class or row.label_class)
        for row in book.drug_classes
        if row.enabled
    }
    holds = {row.drug for row in book.hold_drugs if row.enabled}
    return tuple(
        row
        for drug in sorted({*classes, *holds})
        for row in _of_drug(drug, classes.get(drug), held=drug in holds, fraction=fraction)
    )


def _of_drug(
    drug: str, drug_class: DrugClass | None, *, held: bool, fraction: RatioRow
) -> Iterator[InteractionRow]:
    known = _ACTS.get(drug_class) if drug_class is not None else None
    if known is None and not held:
        return
    started, stopped = known or (DoseAct.HOLD, DoseAct.RAISE_BACK)
    if held and started in _HELD:
        started = DoseAct.HOLD
    for change, act in (("STARTED", started), ("STOPPED", stopped)):
        if act is None:
            continue
        cut = act is DoseAct.CUT_TO_FRACTION
        yield InteractionRow(
            code=f"{drug} {change}",
            drugs=(drug,),
            change=change,
            effect="LOWERS" if drug_class is DrugClass.STRONG_INDUCER else "RAISES",
            act=act,
            numerator=fraction.numerator if cut else None,
            denominator=fraction.denominator if cut else None,
            consequence="",
            seriousness="",
            severity=Severity.WARN,
            mechanism="",
            action=_ACTIONS.get(act, ""),
            frequency_of_exposure="",
            frequency_of_harm="",
            evidence="",
            statements=(),
            origin=Origin.SEED,
            source="",
        )


def modifying_factors(book: "RuleBook") -> tuple[ModifyingFactorRow, ...]:
    """The notes beside a drug that is started or stopped."""
    return tuple(
        ModifyingFactorRow(
            code=note.code,
            interaction=f"{note.drug} {note.change}",
            drug=note.drug,
            factor="",
            action=note.note,
            statements=note.statements,
            origin=note.origin,
            source=note.source,
        )
        for note in book.drug_notes
        if note.enabled
    )


def _number(book: "RuleBook", code: str) -> NumberRow:
    for row in book.numbers:
        if row.enabled and row.code == code:
            return row
    raise ValueError(f"numbers: {code} is missing or not enabled")


def _ratio(book: "RuleBook", code: str) -> RatioRow:
    for row in book.ratios:
        if row.enabled and row.code == code:
            return row
    raise ValueError(f"ratios: {code} is missing or not enabled")
