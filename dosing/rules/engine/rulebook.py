"""A rule book: its tables, and its enabled rows by what the topics ask for."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from fractions import Fraction
from typing import TypeVar

from dosing.rules.engine import first_form
from dosing.rules.engine.rows import (
    Band,
    BaselineItemRow,
    BoundedRow,
    CitationRow,
    CompanionRegimenRow,
    Condition,
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

Kind = TypeVar("Kind", bound=Row)
Key = TypeVar("Key", bound=str)

# What the topics compute with, in a book of either form; one that lacks some of it is no book.
REQUIRED_NUMBERS = frozenset(
    {
        "MAX-MG-PER-DAY",
        "MAX-MG-PER-KG-PER-DAY",
        "WEIGHT-LOOK-BACK-DAYS",
        "STEADY-STATE-HOURS",
        "INTERACTION-OPEN-DAYS",
        "SERIOUS-INFECTION-GRADE",
    }
)
REQUIRED_SERIES = frozenset({"STRONG-STARTED"})
REQUIRED_BASES = frozenset({"WEIGHT", "FIXED"})
REQUIRED_SIDES = frozenset({"BELOW", "ABOVE"})
REQUIRED_ACTS = frozenset({"START", "TITRATION", "INTERACTION"})
# The end at which a level enters an alarm band.
LIMITS = {Band.FAR_BELOW: "high", Band.FAR_ABOVE: "low", Band.TOXIC: "low"}


# A row of a calendar with the conditions that must all hold for it.
Scheduled = tuple[ScheduleRow, tuple[Condition, ...]]


class BookIndex:
    """The enabled rows of a book by what the topics ask for; built once a book.

    A book of the first form is read into the same shape (`first_form.py`). Where two rows claim the
    same thing, which the linter refuses, the one whose code comes first counts.
    """

    __slots__ = (
        "bands",
        "baseline",
        "companions",
        "contraindications",
        "drug_classes",
        "factors",
        "findings",
        "groups",
        "groups_of",
        "interactions",
        "limits",
        "local_targets",
        "names",
        "numbers",
        "outcomes",
        "roundings",
        "schedules",
        "series",
        "starting",
        "steps",
        "strengths",
        "switched_off",
        "target",
        "thresholds",
        "vaccines",
        "windows",
    )

    def __init__(self, book: "RuleBook") -> None:
        self.findings = {row.code: row for row in book.findings if row.enabled}
        self.numbers = {row.code: Fraction(row.value) for row in book.numbers if row.enabled}
        self._read_doses(book)
        self._read_interactions(book)
        self.windows = {row.formulation: row for row in book.level_windows if row.enabled}
        self.drug_classes = {
            row.drug: (DrugClass(row.seed_class or row.label_class), bool(row.seed_class))
            for row in book.drug_classes
            if row.enabled
        }
        # The class row is the switch of one drug among many that share an interaction.
        self.switched_off = frozenset(
            row.drug for row in book.drug_classes if row.drug not in self.drug_classes
        )
        self.baseline: dict[str, list[BaselineItemRow]] = {}
        for item in sorted(book.baseline_items, key=_by_code):
            if item.enabled:
                self.baseline.setdefault(item.finding, []).append(item)
        self.names = {item.analyte: item.name for item in book.baseline_items}
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
        self.groups_of: dict[str, list[DrugGroupRow]] = {}
        for members in self.groups.values():
            for drug, row in members.items():
                self.groups_of.setdefault(drug, []).append(row)
        self.thresholds: dict[str, list[ThresholdRow]] = {}
        for stretch in sorted(book.thresholds, key=_by_low):
            if stretch.enabled:
                self.thresholds.setdefault(stretch.quantity, []).append(stretch)
        self.local_targets = {row.stage: row for row in book.local_targets if row.enabled}
        # The shortest interval first: the first row that holds is the one that counts.
        self.schedules: dict[str, dict[str, dict[Phase, list[Scheduled]]]] = {}
        for calendar in sorted(book.schedules, key=_by_interval):
            if calendar.enabled:
                tests = self.schedules.setdefault(calendar.finding, {})
                phases = tests.setdefault(calendar.analyte, {})
                phases.setdefault(calendar.phase, []).append((calendar, calendar.conditions))
        self.contraindications = {
            (row.kind, row.name): row for row in book.contraindications if row.enabled
        }
        self.vaccines = {row.atc: row for row in book.vaccines if row.enabled}
        self.companions: dict[str, list[CompanionRegimenRow]] = {}
        for companion in sorted(book.companion_regimens, key=_by_step):
            if companion.enabled:
                self.companions.setdefault(companion.regimen, []).append(companion)
        self.outcomes = {row.code: row for row in book.outcomes if row.enabled}

    def _read_doses(self, book: "RuleBook") -> None:
        """The first dose, the bands of the trough, the steps and the roundings of a dose."""
        first_doses = book.starting_doses or first_form.starting_doses(book)
        self.starting = _once(first_doses, lambda row: row.basis)
        self.bands = _once(book.level_bands or first_form.level_bands(book), lambda row: row.band)
        self.steps: dict[str, list[DoseStepRow]] = {}
        for step in sorted(book.dose_steps or first_form.dose_steps(book), key=_by_low):
            if step.enabled:
                self.steps.setdefault(step.side, []).append(step)
        self.roundings = _once(book.roundings or first_form.roundings(), lambda row: row.act)
        _refuse_missing("starting_doses", REQUIRED_BASES, self.starting)
        _refuse_missing("level_bands", frozenset(Band), self.bands)
        _refuse_missing("dose_steps", REQUIRED_SIDES, self.steps)
        _refuse_missing("roundings", REQUIRED_ACTS, self.roundings)
        self.limits = {band: _end(self.bands[band], end) for band, end in LIMITS.items()}
        aim = self.bands[Band.IN_TARGET]
        self.target = _end(aim, "low"), _end(aim, "high")

    def _read_interactions(self, book: "RuleBook") -> None:
        """What the start and the stop of a drug mean, and the factors that modify it."""
        rows: tuple[InteractionRow, ...] = book.interactions
        factors: tuple[ModifyingFactorRow, ...] = book.modifying_factors
        if not rows:
            rows, factors = first_form.interactions(book), first_form.modifying_factors(book)
        self.interactions: dict[tuple[str, str], InteractionRow] = {}
        for row in sorted(rows, key=_by_code):
            if row.enabled:
                for drug in row.drugs:
                    self.interactions.setdefault((drug, row.change), row)
        self.factors: dict[str, list[ModifyingFactorRow]] = {}
        for factor in sorted(factors, key=_by_code):
            if factor.enabled:
                self.factors.setdefault(factor.interaction, []).append(factor)


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


def _once(rows: tuple[Kind, ...], key: Callable[[Kind], Key]) -> dict[Key, Kind]:
    """The enabled rows by what tells them apart; the first code counts."""
    found: dict[Key, Kind] = {}
    for row in sorted(rows, key=_by_code):
        if row.enabled:
            found.setdefault(key(row), row)
    return found


def _refuse_missing(table: str, required: frozenset[str], held: Iterable[str]) -> None:
    if missing := sorted(required - set(held)):
        raise ValueError(f"{table}: {missing[0]} is missing or not enabled")


def _end(row: LevelBandRow, end: str) -> Fraction:
    limit = row.low if end == "low" else row.high
    if limit is None:
        raise ValueError(f"level_bands: {row.code} needs its {end} end")
    return Fraction(limit)


def _by_code(row: Row) -> str:
    return row.code


def _by_low(row: BoundedRow) -> tuple[bool, Fraction, str]:
    return (row.low is not None, Fraction(row.low or 0), row.code)


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
        ("due_tests", REQUIRED_SERIES, {row.series for row in book.due_tests if row.enabled}),
    ):
        _refuse_missing(name, required, held)
    for note in book.drug_notes:
        if note.change not in ("STARTED", "STOPPED"):
            raise ValueError(f"drug_notes: {note.code} is for STARTED or STOPPED")
    for name, shares in (
        ("ratios", book.ratios),
        ("dose_steps", book.dose_steps),
        ("interactions", [row for row in book.interactions if row.numerator or row.denominator]),
    ):
        for row in shares:
            if (row.numerator or 0) < 1 or (row.denominator or 0) < 1:
                raise ValueError(f"{name}: {row.code} needs two whole numbers above 0")
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
