"""A sound book, and the one place in which a test makes it unsound."""

from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from functools import cache
from typing import Any

from dosing.rules.engine.rows import (
    Band,
    DoseAct,
    DoseStepRow,
    DrugClass,
    FindingRow,
    InteractionRow,
    LevelBandRow,
    Origin,
    Phase,
    RoundingRow,
    Row,
    ScheduleRow,
    Severity,
    StartingDoseRow,
    ThresholdRow,
)
from dosing.rules.engine.rulebook import RuleBook
from dosing.rules.linter import Level, LintFinding, lint
from dosing.rules.linting.sources import STATEMENTS
from tests.engine.given import book

OWN: dict[str, Any] = {"statements": ("S9",), "origin": Origin.LOCAL, "source": "For the test."}


def number(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def band(code: str, of: Band, low: str | None, high: str | None, ends: str) -> LevelBandRow:
    """A band of the trough; `ends` as in mathematics: "[)" holds its low end only."""
    return LevelBandRow(
        code=code,
        band=of,
        unit="ng/mL",
        low=number(low),
        low_included=ends[0] == "[",
        high=number(high),
        high_included=ends[1] == "]",
        **OWN,
    )


def threshold(
    code: str, quantity: str, low: str | None, high: str | None, ends: str, unit: str, **more: Any
) -> ThresholdRow:
    return ThresholdRow(
        code=code,
        quantity=quantity,
        unit=unit,
        low=number(low),
        low_included=ends[0] == "[",
        high=number(high),
        high_included=ends[1] == "]",
        **(OWN | more),
    )


def step(code: str, side: str, low: str, high: str | None, share: tuple[int, int]) -> DoseStepRow:
    return DoseStepRow(
        code=code,
        side=side,
        unit="ng/mL",
        low=Decimal(low),
        high=number(high),
        numerator=share[0],
        denominator=share[1],
        **OWN,
    )


def first_dose(code: str, basis: str, low: str, high: str, unit: str) -> StartingDoseRow:
    return StartingDoseRow(
        code=code, basis=basis, low=Decimal(low), high=Decimal(high), unit=unit, **OWN
    )


def interaction(
    code: str,
    drugs: Iterable[str],
    change: str = "STARTED",
    effect: str = "RAISES",
    act: DoseAct = DoseAct.REDUCE,
    **more: Any,
) -> InteractionRow:
    prose = dict.fromkeys(
        (
            "consequence",
            "seriousness",
            "mechanism",
            "action",
            "frequency_of_exposure",
            "frequency_of_harm",
            "evidence",
        ),
        "For the test.",
    )
    given = OWN | prose | {"severity": Severity.WARN} | more
    return InteractionRow(
        code=code, drugs=tuple(drugs), change=change, effect=effect, act=act, **given
    )


def schedule(code: str, phase: Any, days: int, **more: Any) -> ScheduleRow:
    given = OWN | {"finding": "FIRST-TROUGH", "analyte": "wbc", "grace_days": 7} | more
    return ScheduleRow(code=code, phase=phase, every_days=days, **given)


BANDS = (
    band("B-1", Band.FAR_BELOW, None, "3", "[)"),
    band("B-2", Band.BELOW, "3", "5", "[)"),
    band("B-3", Band.IN_TARGET, "5", "10", "[]"),
    band("B-4", Band.ABOVE, "10", "15", "(]"),
    band("B-5", Band.FAR_ABOVE, "15", "20", "(]"),
    band("B-6", Band.TOXIC, "20", None, "()"),
)


def edited(book: RuleBook, table: str, code: str, **changes: Any) -> RuleBook:
    """The book with this row changed."""
    rows: tuple[Row, ...] = getattr(book, table)
    assert code in {row.code for row in rows}, code
    done = tuple(replace(row, **changes) if row.code == code else row for row in rows)
    return replace(book, **{table: done})


def without(book: RuleBook, table: str, *codes: str) -> RuleBook:
    rows: tuple[Row, ...] = getattr(book, table)
    assert set(codes) <= {row.code for row in rows}, codes
    return replace(book, **{table: tuple(row for row in rows if row.code not in codes)})


def having(book: RuleBook, table: str, *more: Row) -> RuleBook:
    return replace(book, **{table: (*getattr(book, table), *more)})


def errors(book: RuleBook, published: RuleBook | None = None, **more: Any) -> list[LintFinding]:
    found = lint(book, published=published, **more)
    return [each for each in found if each.level is Level.ERROR]


STEPS = (
    step("D-1", "BELOW", "0", "1", (1, 4)),
    step("D-2", "BELOW", "1", None, (1, 2)),
    step("D-3", "ABOVE", "0", "2", (1, 4)),
    step("D-4", "ABOVE", "2", None, (1, 2)),
)
DOSES = (
    first_dose("W-1", "WEIGHT", "0.075", "0.075", "mg/kg/d"),
    first_dose("W-2", "FIXED", "1", "3", "mg/d"),
)
ROUNDINGS = (
    RoundingRow(code="U-1", act="START", mode="NEAREST", **OWN),
    RoundingRow(code="U-2", act="TITRATION", mode="NEAREST", **OWN),
    RoundingRow(code="U-3", act="INTERACTION", mode="DOWN", **OWN),
)
THRESHOLDS = (
    threshold("K-1", "potassium", None, "5.0", "[)", "mmol/L"),
    threshold("K-2", "potassium", "5.0", "5.5", "[)", "mmol/L"),
    threshold("K-3", "potassium", "5.5", None, "[)", "mmol/L"),
    threshold("Q-1", "qtcf", None, "450", "[)", "ms"),
    threshold("Q-2", "qtcf", "450", "481", "[)", "ms"),
    threshold("Q-3", "qtcf", "481", "501", "[)", "ms"),
    threshold("Q-4", "qtcf", "501", None, "[)", "ms"),
)
# What follows from each class, on start and on stop.
ACTS = {
    DrugClass.STRONG_INHIBITOR_AZOLE: ("RAISES", DoseAct.CUT_TO_FRACTION, DoseAct.RAISE_BACK),
    DrugClass.STRONG_INHIBITOR: ("RAISES", DoseAct.REDUCE, DoseAct.RAISE_BACK),
    DrugClass.MODERATE_INHIBITOR: ("RAISES", DoseAct.FOLLOW_TROUGH, DoseAct.RAISE_BACK),
    DrugClass.STRONG_INDUCER: ("LOWERS", DoseAct.INCREASE, DoseAct.STEP_DOWN),
}
# What only a book of the first form says in numbers.
FIRST_FORM = {
    *("ALARM-LOW-NG-PER-ML", "TARGET-LOW-NG-PER-ML", "TARGET-HIGH-NG-PER-ML"),
    *("ALARM-HIGH-NG-PER-ML", "ALARM-TOXIC-NG-PER-ML"),
    *("EDGE-BELOW-NG-PER-ML", "EDGE-ABOVE-NG-PER-ML"),
    *("START-MG-PER-KG-PER-DAY", "START-FIXED-LOW-MG-PER-DAY", "START-FIXED-HIGH-MG-PER-DAY"),
}
# Where a test puts the only row.
EMPTIED = (
    "ratios",
    "hold_drugs",
    "drug_notes",
    "drug_groups",
    "modifying_factors",
    "local_targets",
    "contraindications",
    "vaccines",
    "companion_regimens",
    "outcomes",
)


@cache
def sound() -> RuleBook:
    """The shipped book with small tables of our own where a test changes one; without an error."""
    shipped = book()
    interactions = []
    for drug_class, (effect, started, stopped) in ACTS.items():
        drugs = sorted(
            drug for drug, held in shipped.index.drug_classes.items() if held[0] is drug_class
        )
        share = {"numerator": 1, "denominator": 3}
        cut = share if started is DoseAct.CUT_TO_FRACTION else {}
        interactions += [
            interaction(f"{drug_class}-ON", drugs, "STARTED", effect, started, **cut),
            interaction(f"{drug_class}-OFF", drugs, "STOPPED", effect, stopped),
        ]
    every = FindingRow(
        code="EVERY-STATEMENT", severity=Severity.INFO, **(OWN | {"statements": STATEMENTS})
    )
    given = replace(
        shipped,
        findings=(*shipped.findings, every),
        starting_doses=DOSES,
        roundings=ROUNDINGS,
        level_bands=BANDS,
        numbers=tuple(row for row in shipped.numbers if row.code not in FIRST_FORM),
        dose_steps=STEPS,
        thresholds=THRESHOLDS,
        interactions=tuple(interactions),
        schedules=tuple(
            schedule(f"SCHEDULE-{phase}", phase, days)
            for phase, days in ((Phase.TITRATION, 14), (Phase.EARLY, 30), (Phase.STABLE, 90))
        ),
        **dict.fromkeys(EMPTIED, ()),
    )
    assert not errors(given), errors(given)
    return given
