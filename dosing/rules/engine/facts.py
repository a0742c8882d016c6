"""What the protocol needs to know about one patient: the case, independent of the moment asked."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from functools import wraps
from typing import Any, TypeVar

from dosing.rules.engine.quantities import Comparator, Hours, Kg, Mg, MgPerDay, NgPerMl

Derived = TypeVar("Derived")
Book = TypeVar("Book")

UNLISTED = "unlisted"
TACROLIMUS_LEVEL = "tacrolimus-trough"
WEIGHT = "weight"


class Intent(StrEnum):
    """START: thinking of starting tacrolimus. REVIEW: on therapy."""

    START = "START"
    REVIEW = "REVIEW"


class Sex(StrEnum):
    FEMALE = "FEMALE"
    MALE = "MALE"
    OTHER = "OTHER"


class Pregnancy(StrEnum):
    NO = "NO"
    POSSIBLE = "POSSIBLE"
    PLANNING = "PLANNING"
    YES = "YES"


class InfectionRisk(StrEnum):
    STANDARD = "STANDARD"
    HIGH = "HIGH"


class Cyp3a5(StrEnum):
    EXPRESSER = "EXPRESSER"
    NON_EXPRESSER = "NON_EXPRESSER"


class Sard(StrEnum):
    """The systemic autoimmune rheumatic disease behind the lung disease."""

    IIM = "IIM"
    RA = "RA"
    SSC = "SSC"
    SJOGREN = "SJOGREN"
    MCTD = "MCTD"
    SLE = "SLE"
    OTHER = "OTHER"
    NONE = "NONE"


class Subtype(StrEnum):
    DM = "DM"
    PM = "PM"
    CADM = "CADM"
    ASYS = "ASYS"
    IMNM = "IMNM"


class Line(StrEnum):
    FIRST = "FIRST"
    PROGRESSION = "PROGRESSION"


class RegimenStatus(StrEnum):
    ACTIVE = "ACTIVE"
    HELD = "HELD"


class Formulation(StrEnum):
    """IR: twice daily. ER (Advagraf, Astagraf) and LCP (Envarsus): once daily."""

    IR = "IR"
    ER = "ER"
    LCP = "LCP"


class Route(StrEnum):
    ORAL = "ORAL"
    IV = "IV"
    SC = "SC"
    IM = "IM"
    TOPICAL = "TOPICAL"
    OPHTHALMIC = "OPHTHALMIC"
    INHALED = "INHALED"
    NASAL = "NASAL"
    VAGINAL = "VAGINAL"
    RECTAL = "RECTAL"
    TRANSDERMAL = "TRANSDERMAL"


class VaccineRoute(StrEnum):
    ORAL = "ORAL"
    IM = "IM"
    SC = "SC"
    ID = "ID"
    INTRANASAL = "INTRANASAL"


class EventKind(StrEnum):
    TREMOR = "TREMOR"
    HEADACHE = "HEADACHE"
    MENTAL_STATUS_CHANGE = "MENTAL_STATUS_CHANGE"
    SEIZURE = "SEIZURE"
    VISUAL_DISTURBANCE = "VISUAL_DISTURBANCE"
    PRES = "PRES"
    INFECTION = "INFECTION"
    MYOCARDIAL_HYPERTROPHY = "MYOCARDIAL_HYPERTROPHY"
    RENAL_FAILURE = "RENAL_FAILURE"
    VENTRICULAR_DYSFUNCTION_SYMPTOMS = "VENTRICULAR_DYSFUNCTION_SYMPTOMS"
    CONGESTIVE_HEART_FAILURE = "CONGESTIVE_HEART_FAILURE"
    BRADYARRHYTHMIA = "BRADYARRHYTHMIA"
    CONGENITAL_LONG_QT = "CONGENITAL_LONG_QT"
    DIARRHOEA = "DIARRHOEA"
    HYPERSENSITIVITY = "HYPERSENSITIVITY"
    TORSADES_DE_POINTES = "TORSADES_DE_POINTES"
    # Of the past: `resolved_on` ends the illness, not the history.
    HERPES_ZOSTER = "HERPES_ZOSTER"
    CMV_DISEASE = "CMV_DISEASE"
    LATENT_TUBERCULOSIS = "LATENT_TUBERCULOSIS"
    HEPATITIS_B_CORE_ANTIBODY = "HEPATITIS_B_CORE_ANTIBODY"


# A drug on the skin, in the eye, nose or airway, or in the vagina does not act on gut and liver.
# Rectal and transdermal drugs do; a route that is not known counts as systemic.
LOCAL_ROUTES = frozenset(
    {Route.TOPICAL, Route.OPHTHALMIC, Route.INHALED, Route.NASAL, Route.VAGINAL}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """The person. None is not known, which is never the same as normal or no."""

    birth_date: date | None = None
    sex: Sex | None = None
    weight_kg: Kg | None = None
    height_cm: Decimal | None = None
    pregnancy: Pregnancy | None = None
    lactating: bool | None = None
    infection_risk: InfectionRisk | None = None
    cyp3a5: Cyp3a5 | None = None
    hcv_antiviral_course: bool | None = None
    contraception: bool | None = None
    child_pugh: int | None = None

    def __post_init__(self) -> None:
        if self.child_pugh is not None and not 5 <= self.child_pugh <= 15:
            raise ValueError("a Child-Pugh score is 5 to 15")
        if self.weight_kg is not None and self.weight_kg <= 0:
            raise ValueError("a weight must be more than 0 kg")
        if self.height_cm is not None and self.height_cm <= 0:
            raise ValueError("a height must be more than 0 cm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """The lung disease and the rheumatic disease behind it."""

    ild: bool | None = None
    sard: Sard | None = None
    subtype: Subtype | None = None
    anti_mda5: bool | None = None
    severe_at_presentation: bool | None = None
    rapidly_progressive: bool | None = None
    line: Line | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Regimen:
    """Tacrolimus as it is ordered now. Null targets mean the book's.

    `switched_on` and `switched_from`: the newest change of brand or formulation, and the product
    taken before it, in words ("Prograf (IR)").
    """

    status: RegimenStatus
    formulation: Formulation
    morning_mg: Mg
    evening_mg: Mg
    brand: str | None = None
    started_on: date | None = None
    dose_since: datetime | None = None
    target_low_ng_per_ml: NgPerMl | None = None
    target_high_ng_per_ml: NgPerMl | None = None
    dose_before_inhibitor_mg_per_day: MgPerDay | None = None
    switched_on: date | None = None
    switched_from: str | None = None

    def __post_init__(self) -> None:
        if (self.switched_on is None) != (self.switched_from is None):
            raise ValueError("a switch of product has its day and what was taken before")
        if self.morning_mg < 0 or self.evening_mg < 0 or self.morning_mg + self.evening_mg <= 0:
            raise ValueError(
                "a regimen has a dose above 0 mg; a hold is a status, not a dose of zero"
            )
        if self.dose_since is not None and self.dose_since.utcoffset() is None:
            raise ValueError("dose_since must carry an offset")
        low, high = self.target_low_ng_per_ml, self.target_high_ng_per_ml
        if (low is None) != (high is None):
            raise ValueError("give both ends of the target or neither")
        if low is not None and high is not None and not 0 <= low < high:
            raise ValueError("the low end of the target must be below its high end")
        before = self.dose_before_inhibitor_mg_per_day
        if before is not None and before <= 0:
            raise ValueError("the dose before the inhibitor must be more than 0 mg/day")

    @property
    def total_daily_mg(self) -> MgPerDay:
        """Both doses of the day together, mg/day."""
        return MgPerDay(self.morning_mg + self.evening_mg)


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierDose:
    """A daily dose that was taken until a day, when another one followed."""

    until: date
    daily_dose_mg: Decimal

    def __post_init__(self) -> None:
        if self.daily_dose_mg <= 0:
            raise ValueError("an earlier dose must be more than 0 mg")


@dataclass(frozen=True, slots=True, kw_only=True)
class CoMedication:
    """Another drug, grapefruit or supplement.

    `drug` is the vocabulary's generic name or "unlisted", and then `name` is what was written.
    `ingredients` are the generic names whose rules fire: the drug itself, or a combination's.
    `daily_dose_before_mg` was taken until `dose_changed_on`, the newest change of dose, and
    `earlier_doses` before that, oldest first.
    """

    drug: str
    ingredients: tuple[str, ...] = ()
    name: str | None = None
    route: Route | None = None
    started_on: date | None = None
    stopped_on: date | None = None
    planned: bool = False
    daily_dose_mg: Decimal | None = None
    dose_changed_on: date | None = None
    daily_dose_before_mg: Decimal | None = None
    earlier_doses: tuple[EarlierDose, ...] = ()

    def __post_init__(self) -> None:
        days = [earlier.until for earlier in self.earlier_doses]
        if days and (self.dose_changed_on is None or days[-1] >= self.dose_changed_on):
            raise ValueError("earlier doses stand before the newest change of dose")
        if days != sorted(set(days)):
            raise ValueError("earlier doses stand oldest first, one a day")
        if (self.dose_changed_on is None) != (self.daily_dose_before_mg is None):
            raise ValueError("a changed dose has its day and the dose before it")
        if self.daily_dose_before_mg is not None and self.daily_dose_before_mg <= 0:
            raise ValueError("the dose before a change must be more than 0 mg")
        if self.drug == UNLISTED and not self.name:
            raise ValueError("an unlisted drug needs the name that was written")
        if self.started_on and self.stopped_on and self.stopped_on < self.started_on:
            raise ValueError("a drug cannot stop before it starts")
        if not self.ingredients and self.drug != UNLISTED:
            object.__setattr__(self, "ingredients", (self.drug,))

    @property
    def systemic(self) -> bool:
        """Whether the drug can reach gut and liver; decided by the route, not by the drug."""
        return self.route not in LOCAL_ROUTES

    @property
    def dose_changes(self) -> tuple[date, ...]:
        """The days on which the dose changed, oldest first."""
        days = tuple(earlier.until for earlier in self.earlier_doses)
        return days if self.dose_changed_on is None else (*days, self.dose_changed_on)

    def dose_on(self, on: date) -> Decimal | None:
        """The daily dose by its changes on a day on which the drug is taken; None: not known."""
        for earlier in self.earlier_doses:
            if on < earlier.until:
                return earlier.daily_dose_mg
        if self.dose_changed_on is not None and on < self.dose_changed_on:
            return self.daily_dose_before_mg
        return self.daily_dose_mg


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One result. `value` and `unit` as entered; `canonical` exact, in the vocabulary's unit."""

    analyte: str
    value: Decimal
    unit: str
    canonical: Fraction
    at: datetime
    comparator: Comparator | None = None
    hours_since_dose: Hours | None = None
    last_dose_at: datetime | None = None
    assay: str | None = None

    def __post_init__(self) -> None:
        if self.at.utcoffset() is None:
            raise ValueError("the time of a result must carry an offset")
        if self.value < 0:
            raise ValueError("a result cannot be below 0")
        if self.hours_since_dose is not None and self.hours_since_dose < 0:
            raise ValueError("the hours since the dose cannot be below 0")
        if self.last_dose_at is not None:
            if self.last_dose_at.utcoffset() is None:
                raise ValueError("the time of the last dose must carry an offset")
            if self.last_dose_at > self.at:
                raise ValueError("the last dose cannot be later than the sample")

    @property
    def hours_after_dose(self) -> Decimal | Fraction | None:
        """Hours between the last dose and the sample, stated or counted; None if not known."""
        if self.hours_since_dose is not None:
            return self.hours_since_dose
        if self.last_dose_at is not None:
            elapsed = self.at - self.last_dose_at
            return Fraction(elapsed.days * 86_400 + elapsed.seconds, 3600)
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClinicalEvent:
    """Something that happened to the patient; grade 1-4 or not known."""

    kind: EventKind
    grade: int | None = None
    started_on: date | None = None
    resolved_on: date | None = None

    def __post_init__(self) -> None:
        if self.grade is not None and not 1 <= self.grade <= 4:
            raise ValueError("a grade is 1 to 4")
        if self.started_on and self.resolved_on and self.resolved_on < self.started_on:
            raise ValueError("an event cannot resolve before it starts")


@dataclass(frozen=True, slots=True, kw_only=True)
class Immunisation:
    """A vaccine planned or given; `live` by the ATC list of the vocabulary."""

    vaccine: str
    atc: tuple[str, ...] = ()
    live: bool = False
    planned_on: date | None = None
    given_on: date | None = None
    route: VaccineRoute | None = None

    def __post_init__(self) -> None:
        if self.planned_on is None and self.given_on is None:
            raise ValueError("an immunisation is planned or given on a day")


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalApproval:
    """What the patient's clinic has decided about a row that needs local approval.

    `low` and `high` are the numbers that it gave where the book leaves them blank (D15), in the
    row's unit; both are absent where it approved the row as it stands.
    """

    row: str
    approved_on: date
    low: Decimal | None = None
    high: Decimal | None = None

    def __post_init__(self) -> None:
        if (self.low is None) != (self.high is None):
            raise ValueError("an approval gives both ends or neither")
        if self.low is not None and self.high is not None and not 0 <= self.low < self.high:
            raise ValueError("the low end must be below the high end")


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseFacts:
    """Everything about one patient that the engine may read.

    The lists are kept in one order, so that the same facts are equal however they were collected.
    """

    intent: Intent
    patient: Patient
    diagnosis: Diagnosis
    regimen: Regimen | None = None
    co_medications: tuple[CoMedication, ...] = ()
    observations: tuple[Observation, ...] = ()
    events: tuple[ClinicalEvent, ...] = ()
    immunisations: tuple[Immunisation, ...] = ()
    local_approvals: tuple[LocalApproval, ...] = ()
    _newest_first: dict[str, tuple[Observation, ...]] = field(init=False, repr=False, compare=False)
    # What `once_a_question` has worked out of these facts, by what worked it out.
    derived: dict[object, tuple[object, datetime, Any]] = field(
        init=False, repr=False, compare=False, default_factory=dict
    )

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "co_medications", tuple(sorted(self.co_medications, key=_co_medication_order)))
        put(self, "observations", tuple(sorted(self.observations, key=_observation_order)))
        put(self, "events", tuple(sorted(self.events, key=_event_order)))
        put(self, "immunisations", tuple(sorted(self.immunisations, key=_immunisation_order)))
        put(self, "local_approvals", tuple(sorted(self.local_approvals, key=lambda it: it.row)))
        rows = [approval.row for approval in self.local_approvals]
        if len(set(rows)) < len(rows):
            raise ValueError("a row is approved once")
        by_analyte: dict[str, list[Observation]] = {}
        for seen in reversed(self.observations):
            by_analyte.setdefault(seen.analyte, []).append(seen)
        put(self, "_newest_first", {key: tuple(rows) for key, rows in by_analyte.items()})

    def results(self, analyte: str, at: datetime) -> tuple[Observation, ...]:
        """The results of `analyte` that were drawn by `at`, newest first."""
        rows = self._newest_first.get(analyte, ())
        if not rows or rows[0].at <= at:
            return rows
        return tuple(row for row in rows if row.at <= at)

    def approval(self, row: str) -> LocalApproval | None:
        """What the clinic has decided about this row; None where it has not."""
        return next((given for given in self.local_approvals if given.row == row), None)

    def newest(self, analyte: str, at: datetime) -> Observation | None:
        """The newest result of `analyte` that was drawn by `at`."""
        rows = self._newest_first.get(analyte, ())
        if not rows or rows[0].at <= at:
            return rows[0] if rows else None
        return next((row for row in rows if row.at <= at), None)

    def current_events(self, at: datetime, *kinds: EventKind) -> tuple[ClinicalEvent, ...]:
        """The events of these kinds that have begun by the day of `at` and are not resolved."""
        today = at.date()
        return tuple(
            event
            for event in self.events
            if event.kind in kinds
            and (event.started_on is None or event.started_on <= today)
            and (event.resolved_on is None or event.resolved_on > today)
        )

    @property
    def on_tacrolimus(self) -> bool:
        """Whether tacrolimus is being given: there is a regimen, or the case is a review."""
        return self.regimen is not None or self.intent is Intent.REVIEW


def once_a_question(
    derive: Callable[[CaseFacts, Book, datetime], Derived],
) -> Callable[[CaseFacts, Book, datetime], Derived]:
    """What several topics ask of the same facts, worked out once for each book and moment.

    `derive` may depend on its three arguments only, and answers with what nobody changes. Its last
    answer is kept on the case and goes with it; it counts for the same book and the same moment,
    each by identity (one instant is another day in another offset). Threads that ask at once may
    each work it out, and get the same.
    """

    @wraps(derive)
    def answer(case: CaseFacts, book: Book, at: datetime) -> Derived:
        kept = case.derived.get(derive)
        if kept is None or kept[0] is not book or kept[1] is not at:
            kept = (book, at, derive(case, book, at))
            case.derived[derive] = kept
        derived: Derived = kept[2]
        return derived

    return answer


def _co_medication_order(taken: CoMedication) -> tuple[Any, ...]:
    return (
        taken.started_on or date.min,
        taken.drug,
        taken.name or "",
        taken.route or "",
        taken.stopped_on or date.max,
        taken.planned,
        Fraction(taken.daily_dose_mg or 0),
        taken.dose_changed_on or date.min,
        Fraction(taken.daily_dose_before_mg or 0),
        tuple((dose.until, Fraction(dose.daily_dose_mg)) for dose in taken.earlier_doses),
    )


def _observation_order(seen: Observation) -> tuple[Any, ...]:
    return (
        seen.at,
        seen.analyte,
        seen.canonical,
        seen.unit,
        seen.comparator or "",
        seen.hours_after_dose or Fraction(0),
        seen.hours_since_dose is None,
        seen.assay or "",
    )


def _event_order(event: ClinicalEvent) -> tuple[Any, ...]:
    return (
        event.started_on or date.min,
        event.kind,
        event.grade or 0,
        event.resolved_on or date.max,
    )


def _immunisation_order(dose: Immunisation) -> tuple[Any, ...]:
    return (dose.given_on or dose.planned_on or date.min, dose.vaccine, dose.route or "")
