"""The rule book: flat rows of numbers, drugs and sources; the shape of a rule is in the topics."""

from dataclasses import dataclass, field
from decimal import Decimal
from enum import IntEnum, StrEnum
from fractions import Fraction


class Severity(IntEnum):
    """STOP and WARN need an answer before signing, CAUTION an acknowledgement, the rest neither."""

    INFO = 1
    ADVISE = 2
    CAUTION = 3
    WARN = 4
    STOP = 5


class Origin(StrEnum):
    """Where a row comes from: the protocol itself, a label, a guideline, or a local setting."""

    SEED = "SEED"
    LABEL = "LABEL"
    GUIDELINE = "GUIDELINE"
    LOCAL = "LOCAL"


class DrugClass(StrEnum):
    """What the protocol makes of a drug."""

    STRONG_INHIBITOR_AZOLE = "STRONG_INHIBITOR_AZOLE"
    STRONG_INHIBITOR = "STRONG_INHIBITOR"
    MODERATE_INHIBITOR = "MODERATE_INHIBITOR"
    STRONG_INDUCER = "STRONG_INDUCER"
    GRAPEFRUIT = "GRAPEFRUIT"
    CONTRAINDICATED = "CONTRAINDICATED"
    CORTICOSTEROID = "CORTICOSTEROID"
    CYCLOSPORINE = "CYCLOSPORINE"


STRONG_INHIBITORS = frozenset({DrugClass.STRONG_INHIBITOR_AZOLE, DrugClass.STRONG_INHIBITOR})
INHIBITORS = STRONG_INHIBITORS | {DrugClass.MODERATE_INHIBITOR}
INTERACTING = INHIBITORS | {DrugClass.STRONG_INDUCER}

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What every row says of itself. A row that is not enabled does not act."""

    code: str
    statements: tuple[str, ...]
    origin: Origin
    source: str
    enabled: bool = True
    needs_local_approval: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingRow(Row):
    """One kind of finding: how severe it is and which statements it cites."""

    severity: Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberRow(Row):
    """One number of the protocol with its UCUM unit."""

    value: Decimal
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RatioRow(Row):
    """A fraction kept as two integers: one third is not 0.333."""

    numerator: int
    denominator: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelWindowRow(Row):
    """When a sample is a trough, hours after the dose, for one formulation; all ends included."""

    formulation: str
    valid_from_h: Decimal
    valid_to_h: Decimal
    usable_from_h: Decimal
    usable_to_h: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class StrengthRow(Row):
    """One dispensable strength of one formulation; a formulation without one gets no proposal."""

    formulation: str
    form: str
    strength_mg: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class DrugClassRow(Row):
    """One drug in three opinions. The seed's class decides, without one the label's."""

    drug: str
    seed_class: str = ""
    label_class: str = ""
    fda_class: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldDrugRow(Row):
    """A drug whose start means holding tacrolimus (D17b)."""

    drug: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DrugNoteRow(Row):
    """What is said when a drug is STARTED or STOPPED, never computed with: unapproved options."""

    drug: str
    change: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineItemRow(Row):
    """One result that belongs before the first dose, and how old it may be in days (D4)."""

    finding: str
    analyte: str
    name: str
    look_back_days: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DueTestRow(Row):
    """The test `number` of a series, in days after the day that opens the series."""

    series: str
    number: int
    analyte: str
    earliest_day: int
    due_day: int
    latest_day: int


class BookIndex:
    """The enabled rows of a book by what the topics ask for; built once a book."""

    __slots__ = (
        "baseline",
        "drug_classes",
        "findings",
        "hold_drugs",
        "notes",
        "numbers",
        "ratios",
        "series",
        "strengths",
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


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleBook:
    """One version of the rules. Each tuple is one kind of row, one table of the book's TOML."""

    version: str
    title: str
    findings: tuple[FindingRow, ...] = ()
    numbers: tuple[NumberRow, ...] = ()
    ratios: tuple[RatioRow, ...] = ()
    level_windows: tuple[LevelWindowRow, ...] = ()
    strengths: tuple[StrengthRow, ...] = ()
    drug_classes: tuple[DrugClassRow, ...] = ()
    hold_drugs: tuple[HoldDrugRow, ...] = ()
    drug_notes: tuple[DrugNoteRow, ...] = ()
    baseline_items: tuple[BaselineItemRow, ...] = ()
    due_tests: tuple[DueTestRow, ...] = ()
    index: BookIndex = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _refuse_contradictions(self)
        object.__setattr__(self, "index", BookIndex(self))


def _by_code(row: Row) -> str:
    return row.code


def _by_number(row: DueTestRow) -> tuple[str, int]:
    return (row.series, row.number)


def _refuse_contradictions(book: RuleBook) -> None:
    """ValueError where a book cannot be read in one way only, or could divide by zero."""
    for name, rows in (
        ("findings", book.findings),
        ("numbers", book.numbers),
        ("ratios", book.ratios),
        ("level_windows", book.level_windows),
        ("strengths", book.strengths),
        ("drug_classes", book.drug_classes),
        ("hold_drugs", book.hold_drugs),
        ("drug_notes", book.drug_notes),
        ("baseline_items", book.baseline_items),
        ("due_tests", book.due_tests),
    ):
        codes = [row.code for row in rows]
        if twice := sorted({code for code in codes if codes.count(code) > 1}):
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
    for strength in book.strengths:
        if strength.strength_mg <= 0:
            raise ValueError(f"strengths: {strength.code} must be more than 0 mg")
    for drug in book.drug_classes:
        for value in (drug.seed_class, drug.label_class):
            if value and value not in set(DrugClass):
                raise ValueError(f"drug_classes: {drug.code} names the unknown class {value}")
        if drug.enabled and not (drug.seed_class or drug.label_class):
            raise ValueError(f"drug_classes: {drug.code} is enabled and has no class to act by")
