"""A rule book: its tables, and its enabled rows by what the topics ask for."""

from collections import Counter
from dataclasses import dataclass, field, fields
from fractions import Fraction

from dosing.rules.engine.rows import (
    BaselineItemRow,
    CitationRow,
    CompanionRegimenRow,
    ContraindicationRow,
    DoseStepRow,
    DrugClass,
    DrugClassRow,
    DrugGroup,
    DrugGroupRow,
    DrugNoteRow,
    DueTestRow,
    FindingRow,
    HoldDrugRow,
    InteractionRow,
    LevelBandRow,
    LevelWindowRow,
    LocalTargetRow,
    ModifyingFactorRow,
    NumberRow,
    OutcomeRow,
    Phase,
    RatioRow,
    RoundingRow,
    Row,
    ScheduleRow,
    StartingDoseRow,
    StrengthRow,
    ThresholdRow,
    VaccineRow,
)

# What the topics compute with; a book that lacks one of them is no book.
REQUIRED_NUMBERS = frozenset(
    {
        "START-MG-PER-KG-PER-DAY",
        "START-FIXED-LOW-MG-PER-DAY",
        "START-FIXED-HIGH-MG-PER-DAY",
        "MAX-MG-PER-DAY",
        "MAX-MG-PER-KG-PER-DAY",
        "WEIGHT-LOOK-BACK-DAYS",
        "TARGET-LOW-NG-PER-ML",
        "TARGET-HIGH-NG-PER-ML",
        "ALARM-LOW-NG-PER-ML",
        "ALARM-HIGH-NG-PER-ML",
        "ALARM-TOXIC-NG-PER-ML",
        "EDGE-BELOW-NG-PER-ML",
        "EDGE-ABOVE-NG-PER-ML",
        "STEADY-STATE-HOURS",
        "INTERACTION-OPEN-DAYS",
        "SERIOUS-INFECTION-GRADE",
    }
)
REQUIRED_RATIOS = frozenset({"AZOLE-FRACTION", "STEP-LIMIT", "EDGE-STEP-LIMIT"})
REQUIRED_SERIES = frozenset({"STRONG-STARTED"})


class BookIndex:
    """The enabled rows of a book by what the topics ask for; built once a book."""

    __slots__ = (
        "baseline",
        "companions",
        "contraindications",
        "drug_classes",
        "findings",
        "groups",
        "hold_drugs",
        "local_targets",
        "notes",
        "numbers",
        "outcomes",
        "ratios",
        "schedules",
        "series",
        "strengths",
        "thresholds",
        "vaccines",
        "windows",
    )

    def __init__(self, book: "RuleBook") -> None:
        self.findings = {row.code: row for row in book.findings if row.enabled}
        self.numbers = {row.code: Fraction(row.value) for row in book.numbers if row.enabled}
        self.ratios = {
            row.code: Fraction(row.numerator, row.denominator) for row in book.ratios if row.enabled
        }
        self.windows = {row.formulation: row for row in book.level_windows if row.enabled}
        self.drug_classes = {
            row.drug: (DrugClass(row.seed_class or row.label_class), bool(row.seed_class))
            for row in book.drug_classes
            if row.enabled
        }
        self.hold_drugs = frozenset(row.drug for row in book.hold_drugs if row.enabled)
        self.notes = {(row.drug, row.change): row for row in book.drug_notes if row.enabled}
        self.baseline: dict[str, list[BaselineItemRow]] = {}
        for item in sorted(book.baseline_items, key=_by_code):
            if item.enabled:
                self.baseline.setdefault(item.finding, []).append(item)
        self.series: dict[str, list[DueTestRow]] = {}
        for test in sorted(book.due_tests, key=_by_number):
            if test.enabled:
                self.series.setdefault(test.series, []).append(test)
        self.strengths: dict[str, tuple[Fraction, ...]] = {}
        for strength in book.strengths:
            if strength.enabled:
                held = self.strengths.get(strength.formulation, ())
                self.strengths[strength.formulation] = tuple(
                    sorted({*held, Fraction(strength.strength_mg)})
                )
        self.groups: dict[DrugGroup, dict[str, DrugGroupRow]] = {}
        for member in book.drug_groups:
            if member.enabled:
                self.groups.setdefault(member.group, {})[member.drug] = member
        self.thresholds: dict[str, list[ThresholdRow]] = {}
        for stretch in sorted(book.thresholds, key=_by_low):
            if stretch.enabled:
                self.thresholds.setdefault(stretch.quantity, []).append(stretch)
        self.local_targets = {row.stage: row for row in book.local_targets if row.enabled}
        # The shortest interval first: the first row that holds is the one that counts.
        self.schedules: dict[str, dict[str, dict[Phase, list[ScheduleRow]]]] = {}
        for calendar in sorted(book.schedules, key=_by_interval):
            if calendar.enabled:
                tests = self.schedules.setdefault(calendar.finding, {})
                phases = tests.setdefault(calendar.analyte, {})
                phases.setdefault(calendar.phase, []).append(calendar)
        self.contraindications = {
            (row.kind, row.name): row for row in book.contraindications if row.enabled
        }
        self.vaccines = {row.atc: row for row in book.vaccines if row.enabled}
        self.companions: dict[str, list[CompanionRegimenRow]] = {}
        for companion in sorted(book.companion_regimens, key=_by_step):
            if companion.enabled:
                self.companions.setdefault(companion.regimen, []).append(companion)
        self.outcomes = {row.code: row for row in book.outcomes if row.enabled}


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleBook:
    """One version of the rules. Each tuple is one kind of row, one table of the book's TOML."""

    version: str
    title: str
    findings: tuple[FindingRow, ...] = ()
    numbers: tuple[NumberRow, ...] = ()
    ratios: tuple[RatioRow, ...] = ()
    starting_doses: tuple[StartingDoseRow, ...] = ()
    level_bands: tuple[LevelBandRow, ...] = ()
    level_windows: tuple[LevelWindowRow, ...] = ()
    dose_steps: tuple[DoseStepRow, ...] = ()
    roundings: tuple[RoundingRow, ...] = ()
    strengths: tuple[StrengthRow, ...] = ()
    drug_classes: tuple[DrugClassRow, ...] = ()
    drug_groups: tuple[DrugGroupRow, ...] = ()
    interactions: tuple[InteractionRow, ...] = ()
    modifying_factors: tuple[ModifyingFactorRow, ...] = ()
    hold_drugs: tuple[HoldDrugRow, ...] = ()
    drug_notes: tuple[DrugNoteRow, ...] = ()
    thresholds: tuple[ThresholdRow, ...] = ()
    local_targets: tuple[LocalTargetRow, ...] = ()
    baseline_items: tuple[BaselineItemRow, ...] = ()
    due_tests: tuple[DueTestRow, ...] = ()
    schedules: tuple[ScheduleRow, ...] = ()
    contraindications: tuple[ContraindicationRow, ...] = ()
    vaccines: tuple[VaccineRow, ...] = ()
    companion_regimens: tuple[CompanionRegimenRow, ...] = ()
    outcomes: tuple[OutcomeRow, ...] = ()
    citations: tuple[CitationRow, ...] = ()
    index: BookIndex = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _refuse_contradictions(self)
        object.__setattr__(self, "index", BookIndex(self))

    def tables(self) -> dict[str, tuple[Row, ...]]:
        """Every table by its name, in the order in which a book is read."""
        return {
            each.name: getattr(self, each.name)
            for each in fields(self)
            if each.init and each.name not in ("version", "title")
        }


def _by_code(row: Row) -> str:
    return row.code


def _by_low(row: ThresholdRow) -> tuple[bool, Fraction]:
    return (row.low is not None, Fraction(row.low or 0))


def _by_interval(row: ScheduleRow) -> tuple[int, str]:
    return (row.every_days, row.code)


def _by_step(row: CompanionRegimenRow) -> tuple[str, int]:
    return (row.regimen, row.step)


def _by_number(row: DueTestRow) -> tuple[str, int]:
    return (row.series, row.number)


def _refuse_contradictions(book: RuleBook) -> None:
    """ValueError where a book cannot be read in one way only, or could divide by zero."""
    for name, rows in book.tables().items():
        times = Counter(row.code for row in rows)
        if twice := sorted(code for code, number in times.items() if number > 1):
            raise ValueError(f"{name}: {twice[0]} stands twice")
    for name, required, held in (
        ("numbers", REQUIRED_NUMBERS, {row.code for row in book.numbers if row.enabled}),
        ("ratios", REQUIRED_RATIOS, {row.code for row in book.ratios if row.enabled}),
        ("due_tests", REQUIRED_SERIES, {row.series for row in book.due_tests if row.enabled}),
    ):
        if missing := sorted(required - held):
            raise ValueError(f"{name}: {missing[0]} is missing or not enabled")
    for note in book.drug_notes:
        if note.change not in ("STARTED", "STOPPED"):
            raise ValueError(f"drug_notes: {note.code} is for STARTED or STOPPED")
    for row in book.ratios:
        if row.numerator < 1 or row.denominator < 1:
            raise ValueError(f"ratios: {row.code} needs two whole numbers above 0")
    for calendar in book.schedules:
        try:
            _ = calendar.conditions
        except ValueError as error:
            raise ValueError(f"schedules: {calendar.code}: {error}") from error
    for strength in book.strengths:
        if strength.strength_mg <= 0:
            raise ValueError(f"strengths: {strength.code} must be more than 0 mg")
    for drug in book.drug_classes:
        for value in (drug.seed_class, drug.label_class):
            if value and value not in set(DrugClass):
                raise ValueError(f"drug_classes: {drug.code} names the unknown class {value}")
        if drug.enabled and not (drug.seed_class or drug.label_class):
            raise ValueError(f"drug_classes: {drug.code} is enabled and has no class to act by")
