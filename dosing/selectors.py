"""Reading regimens, orders and assessments."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet

from dosing.models import (
    Assessment,
    CompanionOrder,
    DoseOrder,
    Formulation,
    Meaning,
    Regimen,
    RegimenStatus,
    SignedOrder,
)
from dosing.rules.engine.facts import CaseFacts
from dosing.rules.engine.quantities import day, shown
from dosing.rules.engine.rulebook import RuleBook
from patients.models import Patient
from tacroweb.accounts.models import Clinic

# The long texts: fetched where they are read, not with every row of a list.
_OF_ORDER = ("assessment__case_text", "assessment__advice_text", "assessment__rule_book__text")
# How a stored answer without a proposal ends: canonical JSON, keys sorted, no spaces.
NOTHING_PROPOSED = '"proposal":null,"rule_book":'
ON_THERAPY = (RegimenStatus.ACTIVE, RegimenStatus.HELD)


@dataclass(frozen=True, slots=True, kw_only=True)
class DoseStep:
    """A stretch of time with one dose, or with none because tacrolimus was held."""

    since: datetime
    until: datetime | None
    morning_mg: Decimal
    evening_mg: Decimal
    held: bool = False

    @property
    def total_mg(self) -> Decimal:
        """Morning and evening dose together, mg/day; the dose to come back to while held."""
        return self.morning_mg + self.evening_mg


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The product and the target of a course for one stretch of time; no target: the book's."""

    regimen: Regimen
    since: datetime | None  # None: from the first day of the course
    until: datetime | None  # None: to its last day, or still
    formulation: Formulation
    brand: str
    target_low_ng_per_ml: Decimal | None
    target_high_ng_per_ml: Decimal | None


def current_regimen(patient: Patient) -> Regimen | None:
    """The regimen that the patient is on, active or held."""
    return Regimen.objects.filter(patient=patient, status__in=ON_THERAPY).first()


def open_order(regimen: Regimen) -> DoseOrder | None:
    """The order in force; while held, the one that the hold interrupts. None once stopped."""
    return DoseOrder.objects.filter(regimen=regimen, closed_at__isnull=True).first()


def last_order(patient: Patient) -> DoseOrder | None:
    """The newest order of any regimen of the patient."""
    return DoseOrder.objects.filter(regimen__patient=patient).order_by("-since", "-pk").first()


def orders_of(patient: Patient) -> QuerySet[DoseOrder]:
    """Every order of the patient, newest first, with regimen, assessment, book and signature.

    Each says as `nothing_proposed` whether its assessment proposed nothing.
    """
    return (
        DoseOrder.objects.filter(regimen__patient=patient)
        .select_related("regimen", "assessment__rule_book", "signature")
        .annotate(nothing_proposed=Q(assessment__advice_text__contains=NOTHING_PROPOSED))
        .defer(*_OF_ORDER)
        .order_by("-since", "-pk")
    )


def orders_at(clinic: Clinic) -> QuerySet[DoseOrder]:
    """Every order of the clinic's patients."""
    return (
        DoseOrder.objects.filter(regimen__patient__clinic=clinic)
        .select_related("regimen__patient", "assessment__rule_book", "signature__assessment")
        .defer(
            *_OF_ORDER,
            "signature__assessment__case_text",
            "signature__assessment__advice_text",
        )
    )


def regimens_at(clinic: Clinic) -> QuerySet[Regimen]:
    """Every regimen of the clinic's patients."""
    return Regimen.objects.filter(patient__clinic=clinic).select_related("patient__clinic")


def assessments_at(clinic: Clinic) -> QuerySet[Assessment]:
    """Every stored assessment of the clinic's patients."""
    return (
        Assessment.objects.filter(patient__clinic=clinic)
        .select_related("patient__clinic", "rule_book")
        .defer("rule_book__text")
    )


def assessment_of(patient: Patient, public_id: UUID) -> Assessment:
    """One assessment of this patient. Raises `Assessment.DoesNotExist`."""
    return assessments_at(patient.clinic).get(patient=patient, public_id=public_id)


def order_of(patient: Patient, public_id: UUID) -> DoseOrder:
    """One order of this patient. Raises `DoseOrder.DoesNotExist`."""
    return orders_of(patient).get(public_id=public_id)


def signatures_of(patient: Patient) -> QuerySet[SignedOrder]:
    """Every dosing act of the patient, newest first: started, changed, held, resumed, stopped."""
    return (
        SignedOrder.objects.filter(regimen__patient=patient)
        .select_related("regimen", "order", "assessment")
        .order_by("-signed_at", "-pk")
    )


def acts_of(patient: Patient) -> QuerySet[SignedOrder]:
    """Every signed act on the patient's courses, oldest first, without what hangs on it."""
    return SignedOrder.objects.filter(regimen__patient=patient).order_by("signed_at", "pk")


def terms_of(regimens: Iterable[Regimen], acts: Iterable[SignedOrder]) -> tuple[Terms, ...]:
    """What each course was given with, oldest stretch first; `acts` are those of `acts_of`.

    A course holds its newest product and target; each act that replaced one says what it was.
    """
    replacing: dict[int, list[SignedOrder]] = {}
    for act in acts:
        if act.meaning in (Meaning.SWITCHED, Meaning.TARGET_CHANGED):
            replacing.setdefault(act.regimen_id, []).append(act)
    found: list[Terms] = []
    for regimen in sorted(regimens, key=lambda course: (course.started_on, course.pk)):
        stretches: list[Terms] = []
        terms = Terms(
            regimen=regimen,
            since=None,
            until=None,
            formulation=Formulation(regimen.formulation),
            brand=regimen.brand,
            target_low_ng_per_ml=regimen.target_low_ng_per_ml,
            target_high_ng_per_ml=regimen.target_high_ng_per_ml,
        )
        for act in reversed(replacing.get(regimen.pk, ())):
            stretches.append(replace(terms, since=act.signed_at))
            terms = replace(terms, until=act.signed_at, **_before(act))
        found += [terms, *reversed(stretches)]
    return tuple(found)


def _before(act: SignedOrder) -> dict[str, Any]:
    """What an act replaced, as the fields of `Terms`."""
    replaced = act.replaced
    if act.meaning == Meaning.SWITCHED:
        return {
            "formulation": Formulation(replaced["formulation"]),
            "brand": replaced["brand"],
        }
    ends = ("target_low_ng_per_ml", "target_high_ng_per_ml")
    return {name: None if (end := replaced[name]) is None else Decimal(end) for name in ends}


def terms_at(order: DoseOrder) -> Terms:
    """The product and target under which an order was signed."""
    return next(
        terms
        for terms in reversed(terms_of((order.regimen,), acts_of(order.regimen.patient)))
        if terms.since is None or terms.since <= order.since
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedTarget:
    """A target that a prescriber may choose for a course, and who has settled it."""

    row: str
    words: str
    low_ng_per_ml: Decimal
    high_ng_per_ml: Decimal


def offered_targets(case: CaseFacts, book: RuleBook) -> tuple[OfferedTarget, ...]:
    """The lower targets of renal dysfunction for which this clinic has approved a number (D15)."""
    found = []
    for stage, row in sorted(book.index.local_targets.items()):
        given = case.approval(row.code)
        if given is None:
            continue
        low, high = (row.low, row.high) if given.low is None else (given.low, given.high)
        if low is not None and high is not None:
            found.append(
                OfferedTarget(
                    row=row.code,
                    words=f"Renal dysfunction, stage {stage}: {shown(low)} to {shown(high)} "
                    f"{row.unit}, approved by the clinic on {day(given.approved_on)}",
                    low_ng_per_ml=low,
                    high_ng_per_ml=high,
                )
            )
    return tuple(found)


def companion_orders_of(patient: Patient) -> QuerySet[CompanionOrder]:
    """Every order of companion treatment, newest first, with its drug in the record."""
    return (
        CompanionOrder.objects.filter(patient=patient)
        .select_related("co_medication__drug", "assessment__rule_book")
        .prefetch_related("signatures")
        .defer(*_OF_ORDER)
        .order_by("-since", "-pk")
    )


def companion_orders_at(clinic: Clinic) -> QuerySet[CompanionOrder]:
    """Every order of companion treatment of the clinic's patients."""
    return (
        CompanionOrder.objects.filter(patient__clinic=clinic)
        .select_related(
            "patient__clinic", "assessment__rule_book", "tapers", "co_medication__patient__clinic"
        )
        .prefetch_related("signatures__assessment")
        .defer(*_OF_ORDER)
    )


def open_companion(patient: Patient, drug: str) -> CompanionOrder | None:
    """The order of this drug that is in force."""
    return CompanionOrder.objects.filter(patient=patient, drug=drug, closed_at__isnull=True).first()


def dose_steps(orders: Iterable[DoseOrder], acts: Iterable[SignedOrder]) -> tuple[DoseStep, ...]:
    """The doses over time, oldest first, each order cut where tacrolimus was held.

    `orders` are those of `orders_of`, `acts` those of `acts_of` the patient.
    """
    holds: dict[int, list[list[datetime | None]]] = {}
    for act in acts:
        if act.meaning not in (Meaning.HELD, Meaning.RESUMED, Meaning.STOPPED):
            continue
        spans = holds.setdefault(act.regimen_id, [])
        if act.meaning == Meaning.HELD:
            spans.append([act.signed_at, None])
        elif spans and spans[-1][1] is None:
            spans[-1][1] = act.signed_at
    steps: list[DoseStep] = []
    for order in sorted(orders, key=lambda order: (order.since, order.pk)):
        steps += _cut(order, holds.get(order.regimen_id, ()))
    return tuple(steps)


def _cut(order: DoseOrder, holds: Iterable[list[datetime | None]]) -> Iterable[DoseStep]:
    """The stretches of one order: given, held, given again."""

    def step(since: datetime, until: datetime | None, *, held: bool) -> DoseStep:
        return DoseStep(
            since=since,
            until=until,
            morning_mg=order.morning_mg,
            evening_mg=order.evening_mg,
            held=held,
        )

    since, end = order.since, order.closed_at
    for began, ended in holds:
        if began is None or began < since or (end is not None and began >= end):
            continue
        if began > since:
            yield step(since, began, held=False)
        if ended is None or (end is not None and ended >= end):
            yield step(began, end, held=True)
            return
        yield step(began, ended, held=True)
        since = ended
    if end is None or end > since:
        yield step(since, end, held=False)
