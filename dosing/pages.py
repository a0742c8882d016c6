"""What the pages of dosing share: whose page it is, and how an assessment and its answers look."""

import uuid
from collections.abc import Mapping
from datetime import datetime
from fractions import Fraction
from typing import Any

from django.http import Http404, HttpRequest
from django.urls import reverse

from dosing.checks import Answer, AnswerReason
from dosing.companion.steps import STEP_OF_FINDING, in_order_of_steps
from dosing.forms import AnswerFields, AnsweringForm
from dosing.models import Assessment, Decision
from dosing.rules import casefile
from dosing.rules.engine.quantities import shown
from dosing.rules.engine.starting import weight_kg
from dosing.rules.loading import engine_book
from dosing.selectors import assessment_of
from patients.banner import banner_of
from patients.models import Patient
from patients.selectors import patient_of, today_at
from tacroweb.accounts.access import access_of

NEEDS_APPROVAL = " Needs local approval."
Card = dict[str, Any]
Cards = list[tuple[Card, AnswerFields]]


def patient_or_404(request: HttpRequest, public_id: uuid.UUID) -> Patient:
    """The patient of the reader's clinic. Raises `Http404` for any other."""
    try:
        return patient_of(access_of(request).clinic, public_id)
    except Patient.DoesNotExist as error:
        raise Http404 from error


def assessment_or_404(patient: Patient, public_id: uuid.UUID | str) -> Assessment:
    """An assessment of this patient. Raises `Http404` for any other, and for what is no id."""
    try:
        return assessment_of(patient, uuid.UUID(str(public_id)))
    except (Assessment.DoesNotExist, ValueError) as error:
        raise Http404 from error


def chart_of(patient: Patient) -> str:
    """The address of the patient's chart."""
    return reverse("chart", args=[patient.public_id])


def of_patient(patient: Patient, *, at: datetime) -> dict[str, Any]:
    """What every page about the patient shows."""
    href = chart_of(patient)
    today = today_at(patient.clinic, at)
    return {
        "patient": patient,
        "chart": href,
        "banner": banner_of(patient, today=today, href=href),
    }


def finding_card(finding: Mapping[str, Any], proposal: Any) -> Card:
    """A stored finding as the page component shows it; a proposal that is the whole answer's own
    stands above it already."""
    source = finding["source"]
    return dict(finding) | {
        "source": source.removesuffix(NEEDS_APPROVAL),
        "needs_local_approval": source.endswith(NEEDS_APPROVAL),
        "proposal": None if finding["proposal"] == proposal else finding["proposal"],
        "orders_step": finding["code"] in STEP_OF_FINDING,
    }


def findings_of(made: Assessment, form: AnsweringForm) -> dict[str, Any]:
    """The findings in the page's tiers: critical ones and cautions with their inputs, others."""
    cards: Cards = [
        (finding_card(each.question.finding, form.proposal), each) for each in form.answer_fields()
    ]
    critical = [row for row in cards if not row[1].question.acknowledge]
    cautions = [row for row in cards if row[1].question.acknowledge]
    return {
        "critical": critical,
        "unproposed": _unproposed(critical, cautions),
        "cautions": cautions,
        "others": in_order_of_steps(
            finding_card(finding, form.proposal)
            for finding in made.advice["findings"]
            if finding["severity"] == "ADVISE"
        ),
        "information": [
            finding_card(finding, form.proposal)
            for finding in made.advice["findings"]
            if finding["severity"] == "INFO"
        ],
    }


def _unproposed(critical: Cards, cautions: Cards) -> str:
    """What stands in place of a proposal; "" where no finding asks for what no number gives.

    A stored finding does not say whether it asks for less, so each that wants a word counts.
    """
    for cards, asked in ((critical, "for your decision"), (cautions, "to be acknowledged")):
        if count := sum(card["proposal"] is None for card, _ in cards):
            return nothing_proposed(count, asked)
    return ""


def nothing_proposed(undecided: int, asked: str) -> str:
    """What stands in place of a proposal where so many findings ask for what no number gives."""
    asking = "1 finding below asks" if undecided == 1 else f"{undecided} findings below ask"
    return f"No number is proposed: {asking} {asked}."


def decision_words(decision: Decision, proposal: Any) -> str:
    """The decision in words; only where something was proposed can a dose be another one."""
    if decision == Decision.MODIFIED and not proposal:
        return "Nothing was proposed"
    return str(decision.label)


def per_kg(made: Assessment, total_mg: Any) -> str:
    """A daily total as mg/kg/day by the newest weight of the assessment; empty if none is known."""
    case, at = casefile.decode_case(made.case)
    known = weight_kg(case, engine_book(made.rule_book), at)
    if known is None or total_mg is None:
        return ""
    return f"{shown(Fraction(total_mg) / known[0], at_most=3)} mg/kg/day"


def answer_in_words(answer: Answer) -> str:
    """An answer as people read it."""
    text = answer.text.strip()
    if answer.reason == AnswerReason.OTHER:
        return text
    return f"{answer.reason.label}: {text}" if text else str(answer.reason.label)


def given_answers(form: AnsweringForm) -> list[tuple[str, str]]:
    """What was typed to each question, beside the finding's message."""
    answers = form.answers()
    return [
        (each.finding["message"], answer_in_words(answers[each.key])) for each in form.questions
    ]
