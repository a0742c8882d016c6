"""The signed acts of tacrolimus: start, order, switch, new target, hold, resume, stop."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError

from dosing.checks import (
    Answer,
    DoseNotConfirmed,
    Prescription,
    Product,
    check_answers,
    check_dispensable,
    check_reason,
    check_target,
    confirmations,
    decision_of,
    in_words,
    open_confirmations,
    switch_confirmations,
)
from dosing.models import (
    Assessment,
    Decision,
    DoseOrder,
    Factor,
    Formulation,
    Intent,
    Meaning,
    ReasonCode,
    Regimen,
    RegimenStatus,
    SignedOrder,
)
from dosing.rules import casefile
from dosing.rules.loading import engine_book
from dosing.rules.selectors import published_book
from dosing.selectors import current_regimen, last_order, open_order
from patients.models import Patient
from patients.selectors import facts_number
from patients.services.facts import open_facts
from tacroweb.audit.ledger import canonical, service
from tacroweb.audit.signature import Signature
from tacroweb.refusals import Refusal

from .assessing import check_fresh


class ShownChanged(Refusal):
    """What would be signed is not what was shown."""

    code = "shown_changed"


class NoActiveRegimen(Refusal):
    """The patient is not on tacrolimus, or it is held where it should be given, or the reverse."""

    code = "no_active_regimen"


class AlreadyOnTacrolimus(Refusal):
    """A second course beside one that is active or held."""

    code = "already_on_tacrolimus"


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """An order as it would be signed: what it is, what an unusual dose is asked, its digest."""

    meaning: Meaning
    product: Product
    decision: Decision
    asked: dict[str, str]
    shown_sha256: str


def review_order(
    patient: Patient,
    *,
    product: Product | None,
    prescription: Prescription,
    assessment: Assessment,
    at: datetime,
) -> Review:
    """What the prescriber is shown before signing; nothing is written.

    `product` is given for a start, and for a switch of a course that is active. Raises what the
    service would raise, except the questions that the signing page itself asks (`typed_again_mg`,
    `confirmed`).
    """
    regimen = current_regimen(patient)
    intent = Intent.REVIEW if regimen else Intent.START
    check_fresh(assessment, patient, seen=facts_number(patient), intent=intent, at=at)
    former = None
    meaning = meaning_of(regimen)
    if regimen is None:
        if product is None:
            raise ValidationError({"formulation": "Choose the product."})
    elif product is None:
        product = product_of(regimen)
    else:
        meaning = Meaning.SWITCHED
        _check_status(meaning, regimen)
        former, product = _switched(regimen, product)
    last = open_order(regimen) if regimen else last_order(patient)
    decision, asked = _weigh(
        product, prescription, former=former, assessment=assessment, last=last, at=at
    )
    return Review(
        meaning=meaning,
        product=product,
        decision=decision,
        asked=asked,
        shown_sha256=shown_digest(meaning, product, prescription, assessment=assessment),
    )


def meaning_of(regimen: Regimen | None) -> Meaning:
    """What a new order means: the start of a course, a change, or the end of a hold."""
    if regimen is None:
        return Meaning.STARTED
    return Meaning.RESUMED if regimen.status == RegimenStatus.HELD else Meaning.CHANGED


@service("Tacrolimus started")
def start_regimen(
    *,
    patient: Patient,
    product: Product,
    prescription: Prescription,
    assessment: Assessment,
    factor: Factor,
    at: datetime,
    by: Signature,
    shown_sha256: str = "",
) -> DoseOrder:
    """Start a course of tacrolimus: its product, target and first dose; the order is returned.

    `shown_sha256` is the `shown_digest` of what the signer saw; given, it must still be right.
    Raises `StaleAssessment`, `AlreadyOnTacrolimus`, `ShownChanged`, `UnansweredFinding`,
    `BareOverride`, `DoseNotConfirmed`, and `ValidationError` at the field.
    """
    check_fresh(assessment, patient, seen=_open(patient, by=by), intent=Intent.START, at=at)
    if current_regimen(patient) is not None:
        raise AlreadyOnTacrolimus(
            "This patient is on tacrolimus already. Change its dose, or stop it first."
        )
    decision, shown = _check(
        Meaning.STARTED,
        product,
        prescription,
        assessment=assessment,
        last=last_order(patient),
        shown_sha256=shown_sha256,
        at=at,
    )
    by = by.because(prescription.reason)
    regimen = Regimen(
        patient=patient,
        formulation=product.formulation,
        brand=product.brand.strip(),
        target_low_ng_per_ml=product.target_low_ng_per_ml,
        target_high_ng_per_ml=product.target_high_ng_per_ml,
        target_reason=product.target_reason.strip(),
        started_on=at.astimezone(patient.clinic.zone).date(),
    )
    regimen.sign(by).save()
    order = _add_order(regimen, prescription, assessment, decision, at=at, by=by)
    _sign(
        Meaning.STARTED,
        regimen,
        prescription.reason_code,
        order=order,
        assessment=assessment,
        factor=factor,
        shown=shown,
        at=at,
        by=by,
    )
    return order


@service("Dose changed")
def order_dose(
    *,
    regimen: Regimen,
    prescription: Prescription,
    assessment: Assessment,
    factor: Factor,
    at: datetime,
    by: Signature,
    shown_sha256: str = "",
) -> DoseOrder:
    """Close the order in force and put the next one in its place.

    Raises `NoActiveRegimen` when tacrolimus is held or stopped, and as `start_regimen`.
    """
    return _next_order(
        Meaning.CHANGED,
        regimen,
        prescription,
        assessment=assessment,
        factor=factor,
        shown_sha256=shown_sha256,
        at=at,
        by=by,
    )


@service("Product switched")
def switch_product(
    *,
    regimen: Regimen,
    product: Product,
    prescription: Prescription,
    assessment: Assessment,
    factor: Factor,
    at: datetime,
    by: Signature,
    shown_sha256: str = "",
) -> DoseOrder:
    """Give another brand or formulation from now on: a new order with its own dose, never an edit.

    The course goes on with its target; it notes the day and the product before. Brand and
    formulation of `product` count. The dose of another formulation is typed again (D32), and a
    switch says in words why. Raises `NoActiveRegimen` when tacrolimus is held or stopped, and as
    `start_regimen`.
    """
    return _next_order(
        Meaning.SWITCHED,
        regimen,
        prescription,
        switched_to=product,
        assessment=assessment,
        factor=factor,
        shown_sha256=shown_sha256,
        at=at,
        by=by,
    )


@service("Target changed")
def change_target(
    *,
    regimen: Regimen,
    low_ng_per_ml: Decimal | None,
    high_ng_per_ml: Decimal | None,
    reason_code: ReasonCode,
    reason_text: str,
    assessment: Assessment | None = None,
    factor: Factor,
    at: datetime,
    by: Signature,
    shown_sha256: str = "",
) -> SignedOrder:
    """Aim at another trough in a course that is active or held (S54); both None: the book's target.

    The dose stays as ordered; the next assessment is made against the new target. `assessment` is
    the one that asked for it, if any. `shown_sha256` as `target_digest`. Raises `NoActiveRegimen`,
    `ShownChanged`, and `ValidationError` at `target_low_ng_per_ml`, `target_high_ng_per_ml` or
    `reason_text`.
    """
    _open(regimen.patient, by=by)
    regimen = Regimen.objects.select_for_update(of=("self",)).get(pk=regimen.pk)
    _check_status(Meaning.TARGET_CHANGED, regimen)
    check_reason(Meaning.TARGET_CHANGED, reason_code)
    if assessment is not None and assessment.patient_id != regimen.patient_id:
        raise ValidationError({"assessment": "This assessment is of another patient."})
    if shown_sha256 and shown_sha256 != target_digest(regimen):
        raise ShownChanged(
            "The course or its target has changed since this page was shown. Look at the chart, "
            "then sign again."
        )
    if not reason_text.strip():
        raise ValidationError({"reason_text": "Say in words why the target changes."})
    former = product_of(regimen)
    reason = in_words(reason_code, reason_text)
    product = replace(
        former,
        target_low_ng_per_ml=low_ng_per_ml,
        target_high_ng_per_ml=high_ng_per_ml,
        target_reason="" if low_ng_per_ml is None else reason,
    )
    check_target(product, book=published_book())
    if (former.target_low_ng_per_ml, former.target_high_ng_per_ml) == (
        low_ng_per_ml,
        high_ng_per_ml,
    ):
        raise ValidationError({"target_low_ng_per_ml": "This is the target in force already."})
    by = by.because(reason)
    regimen.target_low_ng_per_ml = low_ng_per_ml
    regimen.target_high_ng_per_ml = high_ng_per_ml
    regimen.target_reason = product.target_reason
    regimen.sign(by).save()
    return _sign(
        Meaning.TARGET_CHANGED,
        regimen,
        reason_code,
        order=None,
        assessment=assessment,
        factor=factor,
        shown=target_digest(regimen),
        former={
            "target_low_ng_per_ml": former.target_low_ng_per_ml,
            "target_high_ng_per_ml": former.target_high_ng_per_ml,
            "target_reason": former.target_reason,
        },
        at=at,
        by=by,
    )


@service("Tacrolimus resumed")
def resume_regimen(
    *,
    regimen: Regimen,
    prescription: Prescription,
    assessment: Assessment,
    factor: Factor,
    at: datetime,
    by: Signature,
    shown_sha256: str = "",
) -> DoseOrder:
    """Give tacrolimus again after a hold, at the dose before or another one.

    Raises `NoActiveRegimen` when it is not held, and as `start_regimen`.
    """
    return _next_order(
        Meaning.RESUMED,
        regimen,
        prescription,
        assessment=assessment,
        factor=factor,
        shown_sha256=shown_sha256,
        at=at,
        by=by,
    )


@service("Tacrolimus held")
def hold_regimen(
    *,
    regimen: Regimen,
    reason_code: ReasonCode,
    reason_text: str = "",
    assessment: Assessment | None = None,
    factor: Factor,
    at: datetime,
    by: Signature,
    shown_sha256: str = "",
) -> SignedOrder:
    """Pause tacrolimus until it is resumed. `assessment` is the one that proposed it, if any.

    Raises `NoActiveRegimen` unless it is given now, and `ShownChanged`.
    """
    return _interrupt(
        Meaning.HELD,
        regimen,
        reason_code,
        reason_text,
        assessment=assessment,
        factor=factor,
        shown_sha256=shown_sha256,
        at=at,
        by=by,
    )


@service("Tacrolimus stopped")
def stop_regimen(
    *,
    regimen: Regimen,
    reason_code: ReasonCode,
    reason_text: str = "",
    assessment: Assessment | None = None,
    factor: Factor,
    at: datetime,
    by: Signature,
    shown_sha256: str = "",
) -> SignedOrder:
    """End the course for good; a later one is a new start. Raises as `hold_regimen`."""
    return _interrupt(
        Meaning.STOPPED,
        regimen,
        reason_code,
        reason_text,
        assessment=assessment,
        factor=factor,
        shown_sha256=shown_sha256,
        at=at,
        by=by,
    )


def shown_digest(
    meaning: Meaning, product: Product, prescription: Prescription, *, assessment: Assessment
) -> str:
    """The SHA-256 of what the signer of a dose is shown: order, facts, advice and book version."""
    return sha256_of(
        {
            "meaning": meaning,
            "formulation": product.formulation,
            "brand": product.brand.strip(),
            "target_low_ng_per_ml": product.target_low_ng_per_ml,
            "target_high_ng_per_ml": product.target_high_ng_per_ml,
            "target_reason": product.target_reason.strip(),
            "morning_mg": prescription.morning_mg,
            "evening_mg": prescription.evening_mg,
            "reason": prescription.reason,
            "answers": answers_text(prescription.answers),
            "assessment": assessment.public_id,
            "facts": assessment.case_text,
            "advice": assessment.advice_text,
            "rule_book": assessment.rule_book.version,
            "rule_book_sha256": assessment.rule_book.sha256,
        }
    )


def interruption_digest(meaning: Meaning, regimen: Regimen, order: DoseOrder | None) -> str:
    """The SHA-256 of what the signer of a hold or a stop is shown: the course and its dose."""
    return sha256_of(
        {
            "meaning": meaning,
            "regimen": regimen.public_id,
            "status": regimen.status,
            "formulation": regimen.formulation,
            "brand": regimen.brand,
            "order": order and order.public_id,
            "morning_mg": order and order.morning_mg,
            "evening_mg": order and order.evening_mg,
        }
    )


def target_digest(regimen: Regimen) -> str:
    """The SHA-256 of a course and its target: as it is shown before a change, and as it is signed
    after it."""
    return sha256_of(
        {
            "meaning": Meaning.TARGET_CHANGED,
            "regimen": regimen.public_id,
            "status": regimen.status,
            "formulation": regimen.formulation,
            "brand": regimen.brand,
            "target_low_ng_per_ml": regimen.target_low_ng_per_ml,
            "target_high_ng_per_ml": regimen.target_high_ng_per_ml,
            "target_reason": regimen.target_reason,
        }
    )


def product_of(regimen: Regimen) -> Product:
    """The product and target of a course, as they are shown with each of its orders."""
    return Product(
        formulation=Formulation(regimen.formulation),
        brand=regimen.brand,
        target_low_ng_per_ml=regimen.target_low_ng_per_ml,
        target_high_ng_per_ml=regimen.target_high_ng_per_ml,
        target_reason=regimen.target_reason,
    )


def answers_text(answers: Mapping[str, Answer]) -> str:
    """The answers as they are stored: canonical JSON, one object a finding, by its key."""
    return canonical(
        {
            key: {"reason": answer.reason.value, "text": answer.text.strip()}
            for key, answer in answers.items()
        }
    )


def _open(patient: Patient, *, by: Signature) -> int:
    """Take the patient's record for a signed act; the number of facts that stood before it.

    The regimen is a fact too, so the act raises the number: whoever assessed before must assess
    again, and of two who sign at once the second waits here and then finds its assessment stale.
    """
    open_facts((patient,), by=by)
    return facts_number(patient) - 1


def _switched(regimen: Regimen, product: Product) -> tuple[Product, Product]:
    """The product before a switch and the one after it, which keeps the target of the course.

    Raises `ValidationError` where they are the same.
    """
    former = product_of(regimen)
    new = replace(former, formulation=product.formulation, brand=" ".join(product.brand.split()))
    if not new.brand:
        raise ValidationError({"brand": "Enter the brand to be dispensed."})
    if (new.formulation, new.brand.casefold()) == (former.formulation, former.brand.casefold()):
        raise ValidationError({"brand": "This is the product that is taken now."})
    return former, new


def _check(
    meaning: Meaning,
    product: Product,
    prescription: Prescription,
    *,
    former: Product | None = None,
    assessment: Assessment,
    last: DoseOrder | None,
    shown_sha256: str,
    at: datetime,
) -> tuple[Decision, str]:
    """The decision on what may be signed, and its digest; raises what stands against it."""
    check_reason(meaning, prescription.reason_code)
    shown = shown_digest(meaning, product, prescription, assessment=assessment)
    if shown_sha256 and shown_sha256 != shown:
        raise ShownChanged("This is not the order that you reviewed. Review it again, then sign.")
    decision, asked = _weigh(
        product, prescription, former=former, assessment=assessment, last=last, at=at
    )
    if unmet := open_confirmations(prescription, asked):
        raise DoseNotConfirmed(" ".join(unmet.values()), fields=unmet)
    return decision, shown


def _weigh(
    product: Product,
    prescription: Prescription,
    *,
    former: Product | None,
    assessment: Assessment,
    last: DoseOrder | None,
    at: datetime,
) -> tuple[Decision, dict[str, str]]:
    """The decision and what an unusual dose is asked; an unchanged proposal is never asked, but a
    switch from the product `former` is.

    Words that are asked for must be there already: they belong to the order, not to its signing.
    """
    book = engine_book(assessment.rule_book)
    check_dispensable(prescription, formulation=product.formulation, book=book)
    check_target(product, book=book)
    asked: dict[str, str] = {}
    if decision_of(prescription, assessment.advice) != Decision.ACCEPTED:
        case, _ = casefile.decode_case(assessment.case)
        asked = confirmations(
            prescription,
            formulation=product.formulation,
            last_total_mg=last.total_daily_mg if last else None,
            case=case,
            book=book,
            at=at,
        )
    if former is not None:
        asked = switch_confirmations(former, product) | asked
    if "reason_text" in open_confirmations(prescription, asked):
        words = asked["reason_text"]
        raise DoseNotConfirmed(words, fields={"reason_text": words})
    return check_answers(prescription, assessment.advice), asked


def _next_order(
    meaning: Meaning,
    regimen: Regimen,
    prescription: Prescription,
    *,
    switched_to: Product | None = None,
    assessment: Assessment,
    factor: Factor,
    shown_sha256: str,
    at: datetime,
    by: Signature,
) -> DoseOrder:
    patient = regimen.patient
    check_fresh(assessment, patient, seen=_open(patient, by=by), intent=Intent.REVIEW, at=at)
    regimen = Regimen.objects.select_for_update(of=("self",)).get(pk=regimen.pk)
    _check_status(meaning, regimen)
    last = open_order(regimen)
    former, product = None, product_of(regimen)
    if switched_to is not None:
        former, product = _switched(regimen, switched_to)
    decision, shown = _check(
        meaning,
        product,
        prescription,
        former=former,
        assessment=assessment,
        last=last,
        shown_sha256=shown_sha256,
        at=at,
    )
    if (
        meaning == Meaning.CHANGED
        and last is not None
        and (last.morning_mg, last.evening_mg) == (prescription.morning_mg, prescription.evening_mg)
        and assessment.advice["proposal"] is None
    ):
        raise ValidationError(
            {"morning_mg": "This is the dose in force, and no other is proposed: nothing to sign."}
        )
    by = by.because(prescription.reason)
    if last is not None:
        last.closed_at = at
        last.sign(by).save()
    replaced: dict[str, Any] = {}
    if former is not None:
        replaced = {"formulation": former.formulation, "brand": former.brand}
        regimen.switched_from = str(regimen)
        regimen.switched_on = at.astimezone(patient.clinic.zone).date()
        regimen.formulation, regimen.brand = product.formulation, product.brand
        regimen.sign(by).save()
    elif regimen.status != RegimenStatus.ACTIVE:
        regimen.status = RegimenStatus.ACTIVE
        regimen.sign(by).save()
    order = _add_order(regimen, prescription, assessment, decision, at=at, by=by)
    _sign(
        meaning,
        regimen,
        prescription.reason_code,
        order=order,
        assessment=assessment,
        factor=factor,
        shown=shown,
        former=replaced,
        at=at,
        by=by,
    )
    return order


def _interrupt(
    meaning: Meaning,
    regimen: Regimen,
    reason_code: ReasonCode,
    reason_text: str,
    *,
    assessment: Assessment | None,
    factor: Factor,
    shown_sha256: str,
    at: datetime,
    by: Signature,
) -> SignedOrder:
    _open(regimen.patient, by=by)
    regimen = Regimen.objects.select_for_update(of=("self",)).get(pk=regimen.pk)
    _check_status(meaning, regimen)
    check_reason(meaning, reason_code)
    if assessment is not None and assessment.patient_id != regimen.patient_id:
        raise ValidationError({"assessment": "This assessment is of another patient."})
    order = open_order(regimen)
    shown = interruption_digest(meaning, regimen, order)
    if shown_sha256 and shown_sha256 != shown:
        raise ShownChanged(
            "The dose or the state of tacrolimus has changed since this page was shown. Look at "
            "the chart, then sign again."
        )
    by = by.because(in_words(reason_code, reason_text))
    if meaning == Meaning.HELD:
        regimen.status = RegimenStatus.HELD
    else:
        regimen.status = RegimenStatus.STOPPED
        regimen.stopped_on = at.astimezone(regimen.patient.clinic.zone).date()
        if order is not None:
            order.closed_at = at
            order.sign(by).save()
    regimen.sign(by).save()
    return _sign(
        meaning,
        regimen,
        reason_code,
        order=None,
        assessment=assessment,
        factor=factor,
        shown=shown,
        at=at,
        by=by,
    )


_WRONG_STATE = {
    RegimenStatus.ACTIVE: "Tacrolimus is given, not held: there is nothing to resume. Change the "
    "dose instead.",
    RegimenStatus.HELD: "Tacrolimus is held. Resume it before anything else, or stop it.",
    RegimenStatus.STOPPED: "This course of tacrolimus is stopped. Start a new one.",
}
_ALLOWED_IN = {
    Meaning.CHANGED: (RegimenStatus.ACTIVE,),
    Meaning.SWITCHED: (RegimenStatus.ACTIVE,),
    Meaning.TARGET_CHANGED: (RegimenStatus.ACTIVE, RegimenStatus.HELD),
    Meaning.HELD: (RegimenStatus.ACTIVE,),
    Meaning.RESUMED: (RegimenStatus.HELD,),
    Meaning.STOPPED: (RegimenStatus.ACTIVE, RegimenStatus.HELD),
}


def _check_status(meaning: Meaning, regimen: Regimen) -> None:
    if regimen.status not in _ALLOWED_IN[meaning]:
        raise NoActiveRegimen(_WRONG_STATE[RegimenStatus(regimen.status)])


def _add_order(
    regimen: Regimen,
    prescription: Prescription,
    assessment: Assessment,
    decision: Decision,
    *,
    at: datetime,
    by: Signature,
) -> DoseOrder:
    order = DoseOrder(
        regimen=regimen,
        assessment=assessment,
        morning_mg=prescription.morning_mg,
        evening_mg=prescription.evening_mg,
        since=at,
        reason_code=prescription.reason_code,
        reason_text=prescription.reason_text.strip(),
        decision=decision,
        answers=answers_text(prescription.answers),
    )
    order.sign(by).save()
    return order


def _sign(
    meaning: Meaning,
    regimen: Regimen,
    reason_code: ReasonCode,
    *,
    order: DoseOrder | None,
    assessment: Assessment | None,
    factor: Factor,
    shown: str,
    former: Mapping[str, Any] | None = None,
    at: datetime,
    by: Signature,
) -> SignedOrder:
    signed = SignedOrder(
        regimen=regimen,
        order=order,
        assessment=assessment,
        meaning=meaning,
        printed_name=by.actor_name,
        role=by.role,
        factor=factor,
        reason_code=reason_code,
        reason=by.reason,
        signed_at=at,
        shown_sha256=shown,
        former=canonical(dict(former)) if former else "",
    )
    signed.sign(by).save()
    return signed


def sha256_of(shown: Mapping[str, Any]) -> str:
    """The digest under which a signature keeps what was shown."""
    return hashlib.sha256(canonical(dict(shown)).encode()).hexdigest()
