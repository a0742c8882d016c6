"""What each role may do. Roles are stored by name; what they allow is code, reviewed like code."""

from enum import StrEnum

from django.db import models


class Permission(StrEnum):
    """One thing a person may do at a clinic."""

    READ_PATIENTS = "read patients, charts and tasks"
    REGISTER_PATIENTS = "register a patient and correct the registration"
    RECORD_FACTS = "record results, drugs, events and vaccines"
    ASSESS = "evaluate the protocol and store the assessment"
    ORDER = "sign orders of tacrolimus and its companion treatment"
    WORK_TASKS = "claim, close and cancel monitoring tasks"
    READ_AUDIT = "read who changed what, when and why"
    READ_RULES = "read the rule books"
    EDIT_RULES = "draft changes to the rule tables"
    APPROVE_RULES = "approve and publish a rule book drafted by others"
    MAINTAIN_VOCABULARY = "maintain drugs, analytes and units"
    MANAGE_ACCOUNTS = "manage people, roles and API tokens"


class Role(models.TextChoices):
    PRESCRIBER = "PRESCRIBER", "Prescriber"
    PHARMACIST = "PHARMACIST", "Pharmacist"
    NURSE = "NURSE", "Nurse"
    RULE_EDITOR = "RULE_EDITOR", "Rule editor"
    RULE_APPROVER = "RULE_APPROVER", "Rule approver"
    AUDITOR = "AUDITOR", "Auditor"
    ADMINISTRATOR = "ADMINISTRATOR", "Administrator"
    API_CLIENT = "API_CLIENT", "API client"


_P = Permission
_TEAM = {_P.READ_PATIENTS, _P.RECORD_FACTS, _P.ASSESS, _P.WORK_TASKS, _P.READ_RULES}

PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.PRESCRIBER: frozenset(_TEAM | {_P.REGISTER_PATIENTS, _P.ORDER, _P.READ_AUDIT}),
    Role.PHARMACIST: frozenset(_TEAM | {_P.READ_AUDIT}),
    Role.NURSE: frozenset(_TEAM | {_P.REGISTER_PATIENTS, _P.READ_AUDIT}),
    Role.RULE_EDITOR: frozenset({_P.READ_RULES, _P.EDIT_RULES, _P.MAINTAIN_VOCABULARY}),
    Role.RULE_APPROVER: frozenset({_P.READ_RULES, _P.APPROVE_RULES}),
    Role.AUDITOR: frozenset({_P.READ_AUDIT, _P.READ_RULES}),
    Role.ADMINISTRATOR: frozenset(
        {_P.MANAGE_ACCOUNTS, _P.MAINTAIN_VOCABULARY, _P.READ_RULES, _P.READ_AUDIT}
    ),
    Role.API_CLIENT: frozenset(_TEAM | {_P.REGISTER_PATIENTS, _P.READ_AUDIT}),
}


class Scope(models.TextChoices):
    """What an API token may be used for; a token never allows more than its owner's roles."""

    PATIENTS_READ = "patients:read", "Read patients and their facts"
    PATIENTS_WRITE = "patients:write", "Register patients, record facts"
    ASSESSMENTS_WRITE = "assessments:write", "Evaluate and store assessments"
    ORDERS_WRITE = "orders:write", "Sign orders (with the signer's password)"
    TASKS_WRITE = "tasks:write", "Work on tasks"
    HISTORY_READ = "history:read", "Read the audit history"
    RULES_READ = "rules:read", "Read the protocol and the rule books"


SCOPE_OF: dict[Permission, Scope] = {
    _P.READ_PATIENTS: Scope.PATIENTS_READ,
    _P.REGISTER_PATIENTS: Scope.PATIENTS_WRITE,
    _P.RECORD_FACTS: Scope.PATIENTS_WRITE,
    _P.ASSESS: Scope.ASSESSMENTS_WRITE,
    _P.ORDER: Scope.ORDERS_WRITE,
    _P.WORK_TASKS: Scope.TASKS_WRITE,
    _P.READ_AUDIT: Scope.HISTORY_READ,
    _P.READ_RULES: Scope.RULES_READ,
}
