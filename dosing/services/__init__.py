"""Everything that may be written about a treatment: assessments and signed orders."""

from .assessing import StaleAssessment, advise, assess_patient, staleness
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
from .replaying import Cause, Difference, Replay, book_changed, replay

__all__ = [
    "AlreadyOnTacrolimus",
    "Cause",
    "Difference",
    "NoActiveRegimen",
    "Replay",
    "Review",
    "ShownChanged",
    "StaleAssessment",
    "advise",
    "answers_text",
    "assess_patient",
    "book_changed",
    "hold_regimen",
    "interruption_digest",
    "meaning_of",
    "order_dose",
    "product_of",
    "replay",
    "resume_regimen",
    "review_order",
    "shown_digest",
    "staleness",
    "start_regimen",
    "stop_regimen",
]
