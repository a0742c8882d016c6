"""The signed acts of companion treatment: order a step of a regimen, taper it, stop it."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError

from dosing.checks import DoseNotConfirmed, check_all_answered
from dosing.companion.steps import (
    CompanionPrescription,
    CompanionStep,
    ListedAnswer,
    ListedDrug,
    listed_drugs,
    open_companion_confirmations,
    start_confirmations,
    step_named,
    taper_confirmations,
)
from dosing.models import (
    Assessment,
    CompanionMeaning,
    CompanionOrder,
    CompanionUnit,
    Factor,
    Intent,
    SignedCompanion,
)
from dosing.selectors import current_regimen, open_companion
from patients.models import CoMedication, Patient
from patients.selectors import co_medications_of, drug_named, facts_number, today_at
from patients.services import (
    change_co_medication_dose,
    correct_co_medication,
    record_co_medication,
    stop_co_medication,
)
from patients.services.facts import fresh, hold_facts, open_facts
from tacroweb.audit.ledger import service
from tacroweb.audit.signature import Signature
from tacroweb.numbers import format_decimal
from tacroweb.refusals import Refusal

from .assessing import check_fresh
from .orders import ShownChanged, answers_text, sha256_of


class CompanionInForce(Refusal):
    """The drug is ordered already."""

    code = "companion_in_force"


class CompanionNotInForce(Refusal):
    """The order has been tapered or stopped meanwhile."""

    code = "companion_not_in_force"


class UnansweredDrug(Refusal):
    """A drug of the same kind is on the list, and nobody said whether it is replaced."""

    code = "drug_on_the_list"


@dataclass(frozen=True, slots=True, kw_only=True)
class CompanionReview:
    """A companion order as it would be signed.

    `asked` is what an unusual dose is asked, `listed` the drugs of the same kind on the list, each
    with what becomes of it.
    """

    meaning: CompanionMeaning
    order: CompanionOrder
    last: CompanionOrder | None
    asked: dict[str, str]
    listed: tuple[tuple[ListedDrug, ListedAnswer], ...]
    shown_sha256: str


def review_companion(
    patient: Patient,
    *,
    step: str = "",
    tapers: CompanionOrder | None = None,
    prescription: CompanionPrescription,
    assessment: Assessment,
    at: datetime,
) -> CompanionReview:
    """What the prescriber is shown before signing; nothing is written.

    `step` is the book's row for a new order, `tapers` the order that falls. Raises what the service
    would raise, except the questions that the signing page itself asks.
    """
    _check_assessment(assessment, patient, seen=facts_number(patient), at=at)
    return _reviewed(
        patient, step=step, tapers=tapers, prescription=prescription, assessment=assessment, at=at
    )


@service("Companion treatment ordered")
def order_companion(
    *,
    patient: Patient,
    step: str,
    prescription: CompanionPrescription,
    assessment: Assessment,
    factor: Factor,
    at: datetime,
    by: Signature,
    shown_sha256: str = "",
) -> CompanionOrder:
    """Order one step of a companion regimen of the rule book (S11-S15); `step` is its row.

    In the same act the drug enters the record as a co-medication, or the one that is recorded goes
    on at this dose. A drug of the same kind that is on the list is answered for in `listed`: where
    it is replaced, today is its last day, and an order that it was taken by ends, signed with this
    one. `shown_sha256` is the `companion_digest` of what the signer saw. Raises `StaleAssessment`,
    `CompanionInForce`, `ShownChanged`, `UnansweredFinding`, `UnansweredDrug`, `DoseNotConfirmed`,
    and `ValidationError` at `step`, `dose` or `listed`.
    """
    return _signed_order(
        patient,
        step=step,
        tapers=None,
        prescription=prescription,
        assessment=assessment,
        factor=factor,
        shown_sha256=shown_sha256,
        at=at,
        by=by,
    )


@service("Companion treatment tapered")
def taper_companion(
    *,
    order: CompanionOrder,
    prescription: CompanionPrescription,
    assessment: Assessment,
    factor: Factor,
    at: datetime,
    by: Signature,
    shown_sha256: str = "",
) -> CompanionOrder:
    """Put the next dose in the place of an order: the new one closes it and points back at it.

    A taper falls; a dose that does not says in words why. The record notes the change of dose.
    Raises `CompanionNotInForce`, `NotCurrent` where the record says that the drug is not taken,
    and as `order_companion`.
    """
    return _signed_order(
        order.patient,
        step="",
        tapers=order,
        prescription=prescription,
        assessment=assessment,
        factor=factor,
        shown_sha256=shown_sha256,
        at=at,
        by=by,
    )


@service("Companion treatment stopped")
def stop_companion(
    *,
    order: CompanionOrder,
    reason_text: str,
    assessment: Assessment | None = None,
    factor: Factor,
    at: datetime,
    by: Signature,
    shown_sha256: str = "",
) -> SignedCompanion:
    """End an order; the record notes today as the last day of the drug.

    `assessment` is the one that asked for it, if any; `shown_sha256` as `stop_digest`. Raises
    `CompanionNotInForce`, `ShownChanged`, and `ValidationError` at `reason_text`.
    """
    patient = order.patient
    hold_facts((patient,), by=by)
    row = _in_force(order)
    if assessment is not None and assessment.patient_id != patient.pk:
        raise ValidationError({"assessment": "This assessment is of another patient."})
    shown = stop_digest(row)
    if shown_sha256 and shown_sha256 != shown:
        raise ShownChanged("The order has changed since this page was shown. Look at it again.")
    if not reason_text.strip():
        raise ValidationError({"reason_text": "Say in words why it is stopped."})
    by = by.because(reason_text)
    return _end(row, assessment=assessment, factor=factor, shown=shown, at=at, by=by)


def _end(
    row: CompanionOrder,
    *,
    assessment: Assessment | None,
    factor: Factor,
    shown: str,
    at: datetime,
    by: Signature,
) -> SignedCompanion:
    """Close an order in force, and note today as the last day of its drug; signed."""
    row.closed_at = at
    row.sign(by).save()
    taken = fresh(row.co_medication)
    if taken.stopped_on is None and not taken.withdrawn and not taken.planned:
        stop_co_medication(
            co_medication=taken, stopped_on=today_at(row.patient.clinic, at), at=at, by=by
        )
    else:
        open_facts((row.patient,), by=by)
    return _sign(
        CompanionMeaning.STOPPED,
        row,
        assessment=assessment,
        factor=factor,
        shown=shown,
        at=at,
        by=by,
    )


def companion_digest(
    meaning: CompanionMeaning, order: CompanionOrder, *, assessment: Assessment
) -> str:
    """The SHA-256 of what the signer of a companion order is shown: order, facts, advice, book."""
    return sha256_of(
        {
            "meaning": meaning,
            "tapers": order.tapers and order.tapers.public_id,
            **_ordered(order),
            "arithmetic": order.arithmetic,
            "reason": order.reason,
            "answers": order.answers,
            "assessment": assessment.public_id,
            "facts": assessment.case_text,
            "advice": assessment.advice_text,
            "rule_book": assessment.rule_book.version,
            "rule_book_sha256": assessment.rule_book.sha256,
        }
    )


def stop_digest(order: CompanionOrder) -> str:
    """The SHA-256 of what the signer of a stop is shown: the order that ends."""
    shown = {"meaning": CompanionMeaning.STOPPED, "order": order.public_id}
    return sha256_of(shown | _ordered(order))


def _ordered(order: CompanionOrder) -> dict[str, Any]:
    return {
        "regimen": order.regimen_code,
        "step": order.step,
        "drug": order.drug,
        "route": order.route,
        "dose": order.dose,
        "unit": order.unit,
        "rhythm": order.rhythm,
    }


def _check_assessment(assessment: Assessment, patient: Patient, *, seen: int, at: datetime) -> None:
    """Companion treatment is ordered before a start as well as beside a course."""
    intent = Intent.REVIEW if current_regimen(patient) else Intent.START
    check_fresh(assessment, patient, seen=seen, intent=intent, at=at)


def _in_force(order: CompanionOrder) -> CompanionOrder:
    row = (
        CompanionOrder.objects.select_for_update(of=("self",))
        .select_related("patient__clinic", "co_medication__patient__clinic")
        .get(pk=order.pk)
    )
    if row.closed_at is not None:
        raise CompanionNotInForce(
            f"This order of {row.drug} has been tapered or stopped meanwhile. Look at the chart."
        )
    return row


def _reviewed(
    patient: Patient,
    *,
    step: str,
    tapers: CompanionOrder | None,
    prescription: CompanionPrescription,
    assessment: Assessment,
    at: datetime,
) -> CompanionReview:
    listed: tuple[tuple[ListedDrug, ListedAnswer], ...] = ()
    if tapers is not None:
        order, asked = _tapered(tapers, prescription)
        meaning = CompanionMeaning.TAPERED
    else:
        named = step_named(assessment, step)
        order, asked = _begun(patient, named, prescription)
        meaning = CompanionMeaning.STARTED
        beside = listed_drugs(assessment, (named.row,), at)[named.row.code]
        listed = _answered(beside, prescription)
        order.reason = "; ".join((order.reason, *(_fate(*each) for each in listed)))
    check_all_answered(prescription.answers, assessment.advice)
    if "reason_text" in open_companion_confirmations(prescription, order.dose, asked):
        words = asked["reason_text"]
        raise DoseNotConfirmed(words, fields={"reason_text": words})
    order.assessment, order.since = assessment, at
    order.answers = answers_text(prescription.answers)
    return CompanionReview(
        meaning=meaning,
        order=order,
        last=tapers,
        asked=asked,
        listed=listed,
        shown_sha256=companion_digest(meaning, order, assessment=assessment),
    )


def _answered(
    listed: tuple[ListedDrug, ...], prescription: CompanionPrescription
) -> tuple[tuple[ListedDrug, ListedAnswer], ...]:
    """Each drug of the same kind with its answer; all must have one, and nothing else may."""
    if unknown := sorted(prescription.listed.keys() - {each.key for each in listed}):
        raise ValidationError(
            {
                "listed": f"{', '.join(unknown)}: no drug of the same kind that is taken beside "
                "this step."
            }
        )
    open_ = {
        f"listed.{each.key}": each.question
        for each in listed
        if each.key not in prescription.listed
    }
    if open_:
        raise UnansweredDrug(" ".join(open_.values()), fields=open_)
    return tuple((each, prescription.listed[each.key]) for each in listed)


def _fate(drug: ListedDrug, answer: ListedAnswer) -> str:
    """What becomes of a drug on the list, as the reason of the order keeps it."""
    if answer == ListedAnswer.REPLACED:
        return f"replaces {drug.words}"
    return f"{drug.words} goes on beside it"


def _begun(
    patient: Patient, step: CompanionStep, prescription: CompanionPrescription
) -> tuple[CompanionOrder, dict[str, str]]:
    """The first order of a step, and what its dose is asked."""
    row = step.row
    if (stands := open_companion(patient, row.drug)) is not None:
        raise CompanionInForce(
            f"{row.drug[:1].upper()}{row.drug[1:]} is ordered already, "
            f"{stands.dose_words} ({stands.regimen_code}). "
            "Taper or stop that order."
        )
    dose = prescription.dose if prescription.dose is not None else step.single
    if dose is None:
        raise ValidationError({"dose": f"Enter the dose in {step.unit.label}."})
    _check_dose(dose)
    words = prescription.reason_text.strip()
    order = CompanionOrder(
        patient=patient,
        regimen_code=row.regimen,
        step=row.step,
        title=row.title,
        drug=row.drug,
        route=row.route,
        dose=dose,
        unit=step.unit,
        rhythm=step.rhythm,
        weight_kg=_rounded(step.sum and step.sum.kg),
        body_surface_m2=_rounded(step.sum and step.sum.m2),
        arithmetic=_with_the_dose(step, dose),
        reason=words or f"Companion regimen {row.regimen}, step {row.step}",
    )
    return order, start_confirmations(step, dose)


def _tapered(
    last: CompanionOrder, prescription: CompanionPrescription
) -> tuple[CompanionOrder, dict[str, str]]:
    """The order that follows `last`, and what its dose is asked."""
    dose = prescription.dose
    if dose is None:
        raise ValidationError({"dose": f"Enter the dose in {last.get_unit_display()}."})
    _check_dose(dose)
    if dose == last.dose:
        raise ValidationError({"dose": "This is the dose in force: nothing to sign."})
    unit = last.get_unit_display()
    step = f"{'−' if dose < last.dose else '+'} {format_decimal(abs(last.dose - dose))} {unit}"
    order = CompanionOrder(
        patient=last.patient,
        tapers=last,
        co_medication=last.co_medication,
        regimen_code=last.regimen_code,
        step=last.step,
        title=last.title,
        drug=last.drug,
        route=last.route,
        dose=dose,
        unit=last.unit,
        rhythm=last.rhythm,
        arithmetic=f"{format_decimal(last.dose)} {unit} {step} = {format_decimal(dose)} {unit}",
        reason=prescription.reason_text.strip() or f"Taper of {last.regimen_code}",
    )
    return order, taper_confirmations(last, dose)


def _check_dose(dose: Decimal) -> None:
    if dose <= 0:
        raise ValidationError({"dose": "A dose is more than 0 mg. To end the drug, stop it."})


def _with_the_dose(step: CompanionStep, dose: Decimal) -> str:
    """The sum of the regimen; where the dose is not what it comes to, the dose beside it."""
    if step.single == dose:
        return step.arithmetic
    return f"{step.arithmetic}; ordered: {format_decimal(dose)} {step.unit.label}"


def _rounded(value: Any) -> Decimal | None:
    """A weight or a surface to the two decimals that are kept."""
    return None if value is None else Decimal(round(value * 100)) / 100


def _signed_order(
    patient: Patient,
    *,
    step: str,
    tapers: CompanionOrder | None,
    prescription: CompanionPrescription,
    assessment: Assessment,
    factor: Factor,
    shown_sha256: str,
    at: datetime,
    by: Signature,
) -> CompanionOrder:
    hold_facts((patient,), by=by)
    _check_assessment(assessment, patient, seen=facts_number(patient), at=at)
    last = None if tapers is None else _in_force(tapers)
    review = _reviewed(
        patient, step=step, tapers=last, prescription=prescription, assessment=assessment, at=at
    )
    if shown_sha256 and shown_sha256 != review.shown_sha256:
        raise ShownChanged("This is not the order that you reviewed. Review it again, then sign.")
    order = review.order
    if unmet := open_companion_confirmations(prescription, order.dose, review.asked):
        raise DoseNotConfirmed(" ".join(unmet.values()), fields=unmet)
    by = by.because(order.reason)
    if last is not None:
        last.closed_at = at
        last.sign(by).save()
        _at_another_dose(last.co_medication, order, at=at, by=by)
    else:
        for drug, answer in review.listed:
            if answer == ListedAnswer.REPLACED:
                _replace(drug.row, assessment=assessment, factor=factor, at=at, by=by)
        order.co_medication = _into_the_record(order, at=at, by=by)
    order.sign(by).save()
    _sign(
        review.meaning,
        order,
        assessment=assessment,
        factor=factor,
        shown=review.shown_sha256,
        at=at,
        by=by,
    )
    return order


def _replace(
    taken: CoMedication, *, assessment: Assessment, factor: Factor, at: datetime, by: Signature
) -> None:
    """Note today as the last day of a drug, with the order that it was taken by, if one stands."""
    stands = (
        CompanionOrder.objects.select_for_update(of=("self",))
        .select_related("patient__clinic", "co_medication__patient__clinic")
        .filter(co_medication=taken, closed_at=None)
        .first()
    )
    if stands is None:
        stop_co_medication(
            co_medication=taken, stopped_on=today_at(taken.patient.clinic, at), at=at, by=by
        )
        return
    _end(stands, assessment=assessment, factor=factor, shown=stop_digest(stands), at=at, by=by)


def _daily_dose(order: CompanionOrder) -> Decimal | None:
    """What is taken each day, mg; None for pulses and infusions, of which no day is like another"""
    return order.dose if order.unit == CompanionUnit.MG_PER_DAY else None


def _into_the_record(order: CompanionOrder, *, at: datetime, by: Signature) -> CoMedication:
    """The drug as a co-medication: begun today, or the one that is taken or planned already."""
    patient, drug = order.patient, drug_named(order.drug)
    today = today_at(patient.clinic, at)
    stands = [
        row
        for row in co_medications_of(patient)
        if (row.drug == drug if drug else row.unlisted_name == order.drug)
        and row.stopped_on is None
        and row.route in ("", order.route)
    ]
    taken = next((row for row in stands if not row.planned), None)
    if taken is not None:
        return _at_another_dose(taken, order, at=at, by=by)
    if stands:
        return correct_co_medication(
            co_medication=stands[0],
            planned=False,
            started_on=today,
            route=order.route,
            daily_dose_mg=_daily_dose(order),
            at=at,
            by=by,
        )
    return record_co_medication(
        patient=patient,
        drug=drug,
        unlisted_name="" if drug else order.drug,
        route=order.route,
        daily_dose_mg=_daily_dose(order),
        started_on=today,
        at=at,
        by=by,
    )


def _at_another_dose(
    taken: CoMedication, order: CompanionOrder, *, at: datetime, by: Signature
) -> CoMedication:
    """What is recorded of the drug, at the dose of the order from today on."""
    row, daily = fresh(taken), _daily_dose(order)
    if daily is None or row.daily_dose_mg == daily:
        open_facts((order.patient,), by=by)
        return row
    if row.daily_dose_mg is None:
        return correct_co_medication(co_medication=row, daily_dose_mg=daily, at=at, by=by)
    return change_co_medication_dose(
        co_medication=row,
        daily_dose_mg=daily,
        on=today_at(order.patient.clinic, at),
        at=at,
        by=by,
    )


def _sign(
    meaning: CompanionMeaning,
    order: CompanionOrder,
    *,
    assessment: Assessment | None,
    factor: Factor,
    shown: str,
    at: datetime,
    by: Signature,
) -> SignedCompanion:
    signed = SignedCompanion(
        order=order,
        assessment=assessment,
        meaning=meaning,
        printed_name=by.actor_name,
        role=by.role,
        factor=factor,
        reason=by.reason,
        signed_at=at,
        shown_sha256=shown,
    )
    signed.sign(by).save()
    return signed
