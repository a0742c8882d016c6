"""What the worklist shows beside the due tests: decisions that wait, and holds that stand."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import count
from typing import Any

from django.db.models import OuterRef, Q, Subquery

from dosing.checks import NEEDS_ANSWER
from dosing.models import Assessment, DoseOrder, Meaning, Regimen, RegimenStatus, SignedOrder
from dosing.rules.engine.rows import Severity
from dosing.selectors import NOTHING_PROPOSED, ON_THERAPY
from patients.models import Patient
from tacroweb.accounts.models import Clinic
from tacroweb.chart import answered_in
from tacroweb.templatetags.quantities import plain_dose


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """A patient whose newest assessment proposes a dose, or has a critical finding unanswered.

    `dose` is in force since `dose_since` (None while held); `assessed_at` is when the newest
    assessment was made, which a new rule book makes anew.
    """

    patient: Patient
    dose: str
    dose_since: datetime | None
    proposal: str
    findings: tuple[dict[str, Any], ...]
    assessed_at: datetime


def waiting_for_a_decision(clinic: Clinic, *, limit: int) -> list[Waiting]:
    """Patients on tacrolimus whose newest stored assessment asks for a decision, newest first.

    A critical finding counts until the signer of the dose in force has answered it. At most
    `limit`; two queries, and two more only where most critical findings are answered.
    """
    newest = (
        Assessment.objects.filter(patient=OuterRef("patient")).order_by("-at", "-pk").values("pk")
    )
    on_therapy = Regimen.objects.filter(patient__clinic=clinic, status__in=ON_THERAPY)
    asking = (
        Assessment.objects.filter(pk__in=on_therapy.values(newest=Subquery(newest[:1])))
        .filter(
            ~Q(advice_text__contains=NOTHING_PROPOSED)
            | Q(advice_text__contains='"severity":"STOP"')
            | Q(advice_text__contains='"severity":"WARN"')
        )
        .order_by("-at", "-pk")
        .values("pk")
    )
    # Put in order by their keys alone: sorting must not carry the long texts of every patient.
    whole = Assessment.objects.select_related("patient").defer("case_text").order_by("-at", "-pk")
    waiting: list[Waiting] = []
    for start in count(0, batch := 4 * limit):
        asked = whole.filter(pk__in=asking[start : start + batch])
        found = {assessment.patient_id: assessment for assessment in asked}
        orders = {
            order.regimen.patient_id: order
            for order in DoseOrder.objects.filter(
                regimen__patient__in=found, closed_at__isnull=True
            ).select_related("regimen", "assessment")
        }
        rows = [_waiting(each, orders.get(key)) for key, each in found.items()]
        waiting += [row for row in rows if row.proposal or row.findings]
        if len(waiting) >= limit or len(found) < batch:
            break
    return waiting[:limit]


def _waiting(assessment: Assessment, order: DoseOrder | None) -> Waiting:
    advice = assessment.advice
    answered = answered_in(order)
    proposal = advice["proposal"] if order is None or order.assessment_id != assessment.pk else None
    if order is not None and _is_held(order):
        # The hold that is asked for stands already.
        proposal = None if _asks_for_a_hold(proposal) else proposal
        advice["findings"] = [
            each for each in advice["findings"] if not _asks_for_a_hold(each["proposal"])
        ]
    asking = [
        each
        for each in advice["findings"]
        if (each["code"], each["message"]) not in answered
        and (each["severity"] in NEEDS_ANSWER or _carries(each, proposal))
    ]
    # The page shows the first ones: what stops the drug, what the proposal rests on, the others.
    asking.sort(key=lambda each: (each["severity"] != Severity.STOP, not _carries(each, proposal)))
    return Waiting(
        patient=assessment.patient,
        dose=_dose_words(order),
        dose_since=None if order is None or _is_held(order) else order.since,
        proposal=_proposal_words(proposal),
        findings=tuple(asking),
        assessed_at=assessment.at,
    )


def _asks_for_a_hold(proposal: dict[str, Any] | None) -> bool:
    return proposal is not None and proposal["action"] == "HOLD"


def _carries(finding: dict[str, Any], proposal: dict[str, Any] | None) -> bool:
    """Whether the proposal of the whole advice is this finding's own."""
    own = finding["proposal"]
    if own is None or proposal is None:
        return False
    return all(own[key] == proposal[key] for key in ("action", "total_daily_mg"))


def _is_held(order: DoseOrder) -> bool:
    return order.regimen.status == RegimenStatus.HELD


def _dose_words(order: DoseOrder | None) -> str:
    if order is None:
        return ""
    if _is_held(order):
        return "held"
    return f"{plain_dose(order.total_daily_mg)} mg/day"


def _proposal_words(proposal: dict[str, Any] | None) -> str:
    if proposal is None or proposal["action"] == "NONE":
        return ""
    if proposal["action"] in ("HOLD", "STOP"):
        return f"{proposal['action'].capitalize()} tacrolimus"
    return f"Change to {plain_dose(Decimal(proposal['total_daily_mg']))} mg/day"


def held(clinic: Clinic) -> list[SignedOrder]:
    """The signature under each hold that stands at the clinic, longest held first."""
    acts = (
        SignedOrder.objects.filter(
            meaning=Meaning.HELD,
            regimen__status=RegimenStatus.HELD,
            regimen__patient__clinic=clinic,
        )
        .select_related("regimen__patient")
        .order_by("signed_at", "pk")
    )
    return sorted({act.regimen_id: act for act in acts}.values(), key=lambda act: act.signed_at)
