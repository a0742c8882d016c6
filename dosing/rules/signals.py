"""Sent after the commit of an act that changes what the rules say of patients."""

from django.dispatch import Signal

# A book came into force; `version` is its.
rule_book_published = Signal()
# A clinic approved a row or withdrew its approval; `clinic_id` says which clinic.
local_approvals_changed = Signal()
