"""Reading regimens, orders and assessments."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from django.db.models import QuerySet

from dosing.models import Assessment, DoseOrder, Meaning, Regimen, RegimenStatus, SignedOrder
from patients.models import Patient
from tacroweb.accounts.models import Clinic

# The long texts: fetched where they are read, not with every row of a list.
_OF_ORDER = ("assessment__case_text", "assessment__advice_text", "assessment__rule_book__text")
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
    """Every order of the patient, newest first, with regimen, assessment, book and signature."""
    return (
        DoseOrder.objects.filter(regimen__patient=patient)
        .select_related("regimen", "assessment__rule_book", "signature")
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


def dose_steps(patient: Patient, orders: Iterable[DoseOrder] | None = None) -> tuple[DoseStep, ...]:
    """The doses over time, oldest first, each order cut where tacrolimus was held (two queries).

    One query for who has `orders_of` the patient at hand.
    """
    holds: dict[int, list[list[datetime | None]]] = {}
    acts = SignedOrder.objects.filter(
        regimen__patient=patient, meaning__in=(Meaning.HELD, Meaning.RESUMED, Meaning.STOPPED)
    )
    for act in acts.order_by("signed_at", "pk"):
        spans = holds.setdefault(act.regimen_id, [])
        if act.meaning == Meaning.HELD:
            spans.append([act.signed_at, None])
        elif spans and spans[-1][1] is None:
            spans[-1][1] = act.signed_at
    steps: list[DoseStep] = []
    if orders is None:
        orders = DoseOrder.objects.filter(regimen__patient=patient)
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
