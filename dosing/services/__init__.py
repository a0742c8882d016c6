"""Everything that may be written about a treatment: assessments and signed orders."""

from .assessing import StaleAssessment, advise, assess_patient, reproduce, staleness
from .orders import (
    AlreadyOnTacrolimus,
    NoActiveRegimen,
    Review,
    ShownChanged,
    answers_text,
    hold_regimen,
    interruption_digest,
    meaning_of,
    order_dose,
    product_of,
    resume_regimen,
    review_order,
    shown_digest,
    start_regimen,
    stop_regimen,
)

__all__ = [
    "AlreadyOnTacrolimus",
    "NoActiveRegimen",
    "Review",
    "ShownChanged",
    "StaleAssessment",
    "advise",
    "answers_text",
    "assess_patient",
    "hold_regimen",
    "interruption_digest",
    "meaning_of",
    "order_dose",
    "product_of",
    "reproduce",
    "resume_regimen",
    "review_order",
    "shown_digest",
    "staleness",
    "start_regimen",
    "stop_regimen",
]
