"""The one signal that points upward: a patient's facts have changed (sent after commit)."""

from django.dispatch import Signal

# Arguments: patient_id (int), by (Signature).
patient_changed = Signal()
