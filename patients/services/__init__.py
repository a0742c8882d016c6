"""Everything that may be written about patients and their vocabulary."""

from .events import (
    give_immunisation,
    record_event,
    record_immunisation,
    resolve_event,
    withdraw_fact,
)
from .facts import AlreadyRecorded, NotCurrent
from .medication import (
    change_co_medication_dose,
    correct_co_medication,
    record_co_medication,
    stop_co_medication,
)
from .registration import correct_patient, record_diagnosis, register_patient
from .results import (
    Result,
    correct_observation,
    record_observation,
    record_observations,
    withdraw_observation,
)
from .upload import ImportRefused, import_results
from .vocabulary import add_unit, save_analyte, save_drug, seed_rows

__all__ = [
    "AlreadyRecorded",
    "ImportRefused",
    "NotCurrent",
    "Result",
    "add_unit",
    "change_co_medication_dose",
    "correct_co_medication",
    "correct_observation",
    "correct_patient",
    "give_immunisation",
    "import_results",
    "record_co_medication",
    "record_diagnosis",
    "record_event",
    "record_immunisation",
    "record_observation",
    "record_observations",
    "register_patient",
    "resolve_event",
    "save_analyte",
    "save_drug",
    "seed_rows",
    "stop_co_medication",
    "withdraw_fact",
    "withdraw_observation",
]
