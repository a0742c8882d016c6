"""Assessing a patient, and whether an assessment may still be signed on."""

from datetime import datetime

from django.core.exceptions import PermissionDenied, ValidationError

from dosing.case import case_of
from dosing.models import Assessment, Intent, SignedOrder
from dosing.rules import casefile
from dosing.rules.engine.advice import Advice
from dosing.rules.engine.assess import ENGINE_VERSION, assess
from dosing.rules.engine.facts import CaseFacts
from dosing.rules.engine.rulebook import RuleBook
from dosing.rules.loading import engine_book
from dosing.rules.selectors import approvals_changed, published_book, published_version
from dosing.selectors import current_regimen
from dosing.services.counts import count_statements
from patients.models import FactsVersion, Patient
from patients.selectors import Record, facts_number
from tacroweb.audit.ledger import canonical, service
from tacroweb.audit.signature import Signature
from tacroweb.refusals import Refusal


class StaleAssessment(Refusal):
    """The assessment no longer speaks of the patient as the record stands."""

    code = "stale_assessment"


def advise(
    patient: Patient,
    *,
    intent: Intent | None = None,
    book: RuleBook | None = None,
    record: Record | None = None,
    at: datetime,
) -> tuple[CaseFacts, Advice]:
    """The facts of the patient and what the book (else the one in force) says of them at `at`.

    Without an intent: REVIEW for a patient on tacrolimus, else START. `record` as for `case_of`.
    Nothing is stored. Raises `NoPublishedBook`, and `ValueError` for facts that cannot be.
    """
    book = book or published_book()
    case = case_of(patient, intent=intent, book=book, record=record, at=at)
    return case, assess(case, book, at=at.astimezone(patient.clinic.zone))


@service("Patient assessed")
def assess_patient(*, patient: Patient, intent: Intent, at: datetime, by: Signature) -> Assessment:
    """Evaluate the book in force against the facts and keep facts, answer and versions.

    Raises `NoPublishedBook`.
    """
    if patient.clinic_id != by.clinic_id:
        raise PermissionDenied("This patient belongs to another clinic.")
    # Locked until commit, so that the number stored is the number of the facts read below.
    facts = FactsVersion.objects.select_for_update().get(patient=patient)
    row = published_version()
    case, advice = advise(patient, intent=intent, book=engine_book(row), at=at)
    local = at.astimezone(patient.clinic.zone)
    assessment = Assessment(
        patient=patient,
        rule_book=row,
        engine_version=ENGINE_VERSION,
        intent=intent,
        at=at,
        facts_version=facts.number,
        case_text=canonical(casefile.encode_case(case, at=local)),
        advice_text=canonical(casefile.encode_advice(advice)),
    )
    assessment.sign(by).save()
    count_statements(assessment)
    return assessment


def staleness(patient: Patient, assessment: Assessment, *, at: datetime) -> str:
    """Why nothing can be signed on this assessment any more; empty while something can."""
    intent = Intent.REVIEW if current_regimen(patient) else Intent.START
    try:
        check_fresh(assessment, patient, seen=facts_number(patient), intent=intent, at=at)
    except StaleAssessment as error:
        return error.message
    return ""


def check_fresh(
    assessment: Assessment, patient: Patient, *, seen: int, intent: Intent, at: datetime
) -> None:
    """Raises `StaleAssessment` unless the assessment speaks of this patient, these facts, this book
    and this day."""
    if assessment.patient_id != patient.pk:
        raise ValidationError({"assessment": "This assessment is of another patient."})
    again = "Assess again, then sign."
    if assessment.facts_version != seen:
        act = (
            SignedOrder.objects.filter(regimen__patient=patient, signed_at__gte=assessment.at)
            .order_by("-pk")
            .first()
        )
        if act is not None:
            raise StaleAssessment(
                f"{act.printed_name} signed an order after this assessment "
                f"({act.get_meaning_display()[0].lower()}{act.get_meaning_display()[1:]}). {again}"
            )
        raise StaleAssessment(
            "A result, a drug or another fact of this patient was recorded after this "
            f"assessment. {again}"
        )
    if assessment.intent != intent:
        raise StaleAssessment(
            f'This assessment answers "{assessment.get_intent_display()}". {again}'
        )
    if assessment.rule_book_id != published_version().pk:
        raise StaleAssessment(f"A new rule book was published after this assessment. {again}")
    if approvals_changed(patient.clinic_id, since=assessment.at):
        raise StaleAssessment(
            f"What your clinic has approved of the rules changed after this assessment. {again}"
        )
    zone = patient.clinic.zone
    if at < assessment.at or at.astimezone(zone).date() != assessment.at.astimezone(zone).date():
        raise StaleAssessment(f"This assessment is of another day. {again}")
