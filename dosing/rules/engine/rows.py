"""The kinds of row of a rule book: numbers, drugs and sources; the shape of a rule is in topics."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import IntEnum, StrEnum
from fractions import Fraction

from dosing.rules.engine.quantities import compared


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
    """What the protocol makes of a drug that acts on tacrolimus, or is barred or asked for."""

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


class DrugGroup(StrEnum):
    """Drugs that a topic looks for beside the CYP3A4 classes; a drug may stand in several."""

    CANNABIDIOL = "CANNABIDIOL"
    HCV_ANTIVIRAL = "HCV_ANTIVIRAL"
    MYCOPHENOLATE = "MYCOPHENOLATE"
    CYCLOPHOSPHAMIDE = "CYCLOPHOSPHAMIDE"
    POTASSIUM_SPARING = "POTASSIUM_SPARING"
    ACE_INHIBITOR = "ACE_INHIBITOR"
    ANGIOTENSIN_RECEPTOR_BLOCKER = "ANGIOTENSIN_RECEPTOR_BLOCKER"
    RAISES_POTASSIUM = "RAISES_POTASSIUM"
    PROLONGS_QT = "PROLONGS_QT"
    NEPHROTOXIC = "NEPHROTOXIC"
    PNEUMOCYSTIS_PROPHYLAXIS = "PNEUMOCYSTIS_PROPHYLAXIS"
    PREDNISONE_EQUIVALENT = "PREDNISONE_EQUIVALENT"


class Band(StrEnum):
    """Where a tacrolimus trough lies. Between BELOW and ABOVE a patient's own target decides."""

    FAR_BELOW = "FAR_BELOW"
    BELOW = "BELOW"
    IN_TARGET = "IN_TARGET"
    ABOVE = "ABOVE"
    FAR_ABOVE = "FAR_ABOVE"
    TOXIC = "TOXIC"


class DoseAct(StrEnum):
    """What a change of an interacting drug asks of the tacrolimus dose."""

    CUT_TO_FRACTION = "CUT_TO_FRACTION"
    REDUCE = "REDUCE"  # no number: the prescriber decides
    HOLD = "HOLD"
    FOLLOW_TROUGH = "FOLLOW_TROUGH"
    INCREASE = "INCREASE"  # no number
    RAISE_BACK = "RAISE_BACK"  # towards the dose before the inhibitor, never above it
    STEP_DOWN = "STEP_DOWN"  # no number
    AVOID = "AVOID"  # the drug, not the dose


class Phase(StrEnum):
    """How far the treatment is: the calendar of a test follows it."""

    TITRATION = "TITRATION"  # the dose has not been stable for long enough
    EARLY = "EARLY"  # stable, in its first months
    STABLE = "STABLE"


class Condition(StrEnum):
    """For whom, or until when, a row of a calendar counts."""

    QT_RISK = "QT_RISK"
    CKD = "CKD"
    RAAS_BLOCKER = "RAAS_BLOCKER"
    PULSE_STEROID = "PULSE_STEROID"
    LEVEL_TITRATION = "LEVEL_TITRATION"  # the trough is not stable: visits are frequent
    FIRST_WEEKS = "FIRST_WEEKS"  # tests that are due in the first weeks of treatment
    FIRST_MONTHS = "FIRST_MONTHS"
    FIRST_YEAR = "FIRST_YEAR"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What every row says of itself. A row that is not enabled does not act.

    `source` is the sentence that is shown; `citations` are codes of the book's citations.
    """

    code: str
    statements: tuple[str, ...]
    origin: Origin
    source: str
    enabled: bool = True
    needs_local_approval: bool = False
    citations: tuple[str, ...] = ()
    reviewed_by: str = ""
    reviewed_on: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundedRow(Row):
    """A stretch of one numeric dimension. An end that is None is open: there is no more beyond."""

    unit: str
    low: Decimal | None = None
    low_included: bool = True
    high: Decimal | None = None
    high_included: bool = False

    def holds(self, value: Fraction) -> bool:
        """Whether `value`, in the row's unit, lies in this stretch."""
        if self.low is not None:
            above = compared(value, self.low)
            if above < 0 or (above == 0 and not self.low_included):
                return False
        if self.high is None:
            return True
        below = compared(value, self.high)
        return below < 0 or (below == 0 and self.high_included)


@dataclass(frozen=True, slots=True, kw_only=True)
class CitationRow(Row):
    """A publication, label or guideline. `read` says how it was read: FULL … MEMORY."""

    title: str
    reference: str
    identifier: str = ""
    read: str = "MEMORY"


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
class StartingDoseRow(Row):
    """A first dose: WEIGHT (mg/kg/d, both ends alike) or FIXED (a range in mg/d)."""

    basis: str
    low: Decimal
    high: Decimal
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelBandRow(BoundedRow):
    """One band of the trough, ng/mL. IN_TARGET is the target of the protocol."""

    band: Band


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelWindowRow(Row):
    """When a sample is a trough, hours after the dose, for one formulation; all ends included."""

    formulation: str
    valid_from_h: Decimal
    valid_to_h: Decimal
    usable_from_h: Decimal
    usable_to_h: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class DoseStepRow(BoundedRow):
    """How far one level may change the dose, as a share of it, by the distance from the target.

    `side` is BELOW or ABOVE; the stretch is that distance in ng/mL.
    """

    side: str
    numerator: int
    denominator: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundingRow(Row):
    """How a computed dose becomes one that can be dispensed: `act` START, TITRATION or INTERACTION.

    `mode` is NEAREST (a tie goes down) or DOWN.
    """

    act: str
    mode: str


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
class DrugGroupRow(Row):
    """One drug in one group. `factor`: prednisone-equivalent mg of 1 mg, for corticosteroids."""

    group: DrugGroup
    drug: str
    factor: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InteractionRow(Row):
    """A minimal interaction record: what a change of these drugs means for tacrolimus.

    `drugs` is the coded set on one side, `with_drugs` on the other. `change` is STARTED or STOPPED;
    `effect` on the level RAISES or LOWERS it. Modifying factors are rows of their own.
    """

    drugs: tuple[str, ...]
    change: str
    effect: str
    act: DoseAct
    consequence: str
    seriousness: str
    severity: Severity
    mechanism: str
    action: str
    frequency_of_exposure: str
    frequency_of_harm: str
    evidence: str
    with_drugs: tuple[str, ...] = ("tacrolimus",)
    numerator: int | None = None
    denominator: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModifyingFactorRow(Row):
    """What changes the meaning of an interaction, with the action that goes with it.

    Without a `drug` it holds for all drugs of the interaction. It is said, never computed with.
    """

    interaction: str
    factor: str
    action: str
    drug: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldDrugRow(Row):
    """A drug whose start means holding tacrolimus (D17b). Only in books of the first form."""

    drug: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DrugNoteRow(Row):
    """What is said when a drug is STARTED or STOPPED. Only in books of the first form."""

    drug: str
    change: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdRow(BoundedRow):
    """What is said of a measured or derived quantity in this stretch; no finding: nothing."""

    quantity: str
    finding: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalTargetRow(Row):
    """A lower target for one renal stage. Blank until a clinic approves a number (S54, D15).

    `option` says in words what has been used elsewhere; it is shown, never computed with.
    """

    stage: str
    option: str
    unit: str
    low: Decimal | None = None
    high: Decimal | None = None


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRow(Row):
    """How often one analyte is measured in one phase, in days, for the finding it belongs to.

    `condition` narrows the row to patients for whom it holds ("": everyone; "FIRST_WEEKS and
    QT_RISK": both must hold); the shortest interval that holds is the one that counts. The test
    may be done `grace_days` before it is due and is late that many days after.
    """

    finding: str
    analyte: str
    phase: Phase
    every_days: int
    grace_days: int
    condition: str = ""

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """The conditions that must all hold; ValueError for a word that is none."""
        return tuple(Condition(word) for word in self.condition.split(" and ") if word)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContraindicationRow(Row):
    """A drug or a condition beside which tacrolimus is not given. `kind` is DRUG or EVENT."""

    kind: str
    name: str
    finding: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VaccineRow(Row):
    """A live vaccine by its ATC code, avoided while tacrolimus is taken (S74)."""

    atc: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CompanionRegimenRow(Row):
    """One step of a named companion regimen (A1, A2, CYC): drug, route, dose and its rhythm.

    `unit` is mg, mg/d, mg/kg/d or mg/m2; a dose with both ends alike is one dose. `days_a_week`
    and `weeks` bound a pulse, `every` is the interval in words ("a month"), `taper` says that the
    dose falls slowly.
    """

    regimen: str
    title: str
    step: int
    drug: str
    route: str
    low: Decimal
    high: Decimal
    unit: str
    days_a_week: int | None = None
    weeks: int | None = None
    every: str = ""
    taper: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeRow(Row):
    """What was seen in studies: `value` with its interval and n, or a window of months."""

    measure: str
    unit: str
    value: Decimal | None = None
    low: Decimal | None = None
    high: Decimal | None = None
    patients: int | None = None
    from_month: int | None = None
    to_month: int | None = None
