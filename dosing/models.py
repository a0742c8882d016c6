"""What was ordered, on which assessment, under whose signature."""

import json
import uuid
from decimal import Decimal
from typing import Any, cast

from django.db import models
from django.db.models import F, Q

from dosing.rules.models import RuleBook
from patients.models import Patient
from tacroweb.audit.models import AppendOnlyModel, TrackedModel


class Intent(models.TextChoices):
    START = "START", "Thinking of starting"
    REVIEW = "REVIEW", "On therapy"


class Assessment(AppendOnlyModel):
    """An advice kept with the facts, the rule book and the engine version that gave it."""

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    patient = models.ForeignKey(Patient, on_delete=models.PROTECT, related_name="assessments")
    rule_book = models.ForeignKey(RuleBook, on_delete=models.PROTECT, related_name="assessments")
    engine_version = models.CharField(max_length=20)
    intent = models.CharField(max_length=10, choices=Intent.choices)
    at = models.DateTimeField()
    facts_version = models.PositiveBigIntegerField()
    case_text = models.TextField(help_text="the facts: the case format, canonical JSON")
    advice_text = models.TextField(help_text="the answer: canonical JSON")

    class Meta:
        indexes = (models.Index(fields=("patient", "-at"), name="assessment_newest"),)

    def __str__(self) -> str:
        return f"assessment {self.pk} of patient {self.patient_id}"

    @property
    def case(self) -> dict[str, Any]:
        """The facts in the case format."""
        return cast("dict[str, Any]", json.loads(self.case_text))

    @property
    def advice(self) -> dict[str, Any]:
        """The answer in the case format."""
        return cast("dict[str, Any]", json.loads(self.advice_text))

    def audit_subject(self) -> str:
        return f"patient:{self.patient_id}"


class Formulation(models.TextChoices):
    IR = "IR", "Immediate release, twice daily"
    ER = "ER", "Extended release (Advagraf, Astagraf), once daily"
    LCP = "LCP", "LCP extended release (Envarsus), once daily"


class RegimenStatus(models.TextChoices):
    ACTIVE = "ACTIVE", "Active"
    HELD = "HELD", "Held"
    STOPPED = "STOPPED", "Stopped"


class Regimen(TrackedModel):
    """One course of tacrolimus: product and target. The doses are its orders."""

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    patient = models.ForeignKey(Patient, on_delete=models.PROTECT, related_name="regimens")
    formulation = models.CharField(max_length=5, choices=Formulation.choices)
    brand = models.CharField(max_length=60)
    target_low_ng_per_ml = models.DecimalField(
        max_digits=5, decimal_places=2, null=True, blank=True, help_text="empty: the rule book's"
    )
    target_high_ng_per_ml = models.DecimalField(
        max_digits=5, decimal_places=2, null=True, blank=True, help_text="empty: the rule book's"
    )
    target_reason = models.TextField(blank=True)
    status = models.CharField(
        max_length=10, choices=RegimenStatus.choices, default=RegimenStatus.ACTIVE
    )
    started_on = models.DateField()
    stopped_on = models.DateField(null=True, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("patient",),
                condition=Q(status__in=("ACTIVE", "HELD")),
                name="regimen_one_active_a_patient",
                violation_error_message="This patient has an active tacrolimus regimen already.",
            ),
            models.CheckConstraint(
                condition=Q(target_low_ng_per_ml__isnull=True, target_high_ng_per_ml__isnull=True)
                | (
                    Q(target_low_ng_per_ml__gt=0)
                    & Q(target_high_ng_per_ml__gt=F("target_low_ng_per_ml"))
                    & ~Q(target_reason="")
                ),
                name="regimen_target_is_a_range_with_a_reason",
                violation_error_message="A target of its own needs both limits and a reason.",
            ),
            models.CheckConstraint(
                condition=Q(status="STOPPED", stopped_on__isnull=False)
                | (~Q(status="STOPPED") & Q(stopped_on__isnull=True)),
                name="regimen_stopped_with_a_day",
            ),
        )

    def __str__(self) -> str:
        return f"{self.brand} ({self.formulation})"

    def audit_subject(self) -> str:
        return f"patient:{self.patient_id}"


class ReasonCode(models.TextChoices):
    START = "START", "Start of therapy"
    LEVEL_LOW = "LEVEL_LOW", "Level below target"
    LEVEL_HIGH = "LEVEL_HIGH", "Level above target"
    INHIBITOR_STARTED = "INHIBITOR_STARTED", "Interaction: inhibitor started"
    INHIBITOR_STOPPED = "INHIBITOR_STOPPED", "Interaction: inhibitor stopped"
    INDUCER_STARTED = "INDUCER_STARTED", "Interaction: inducer started"
    INDUCER_STOPPED = "INDUCER_STOPPED", "Interaction: inducer stopped"
    ADVERSE_EFFECT = "ADVERSE_EFFECT", "Adverse effect"
    INFECTION = "INFECTION", "Infection"
    RENAL = "RENAL", "Renal function"
    RESUMED = "RESUMED", "Resumed after a hold"
    CONTRAINDICATED = "CONTRAINDICATED", "Contraindication"
    NO_RESPONSE = "NO_RESPONSE", "Insufficient response"
    COMPLETED = "COMPLETED", "Treatment completed"
    PATIENT_CHOICE = "PATIENT_CHOICE", "The patient’s decision"
    OTHER = "OTHER", "Another reason (say which)"


class Decision(models.TextChoices):
    ACCEPTED = "ACCEPTED", "As proposed"
    MODIFIED = "MODIFIED", "Other than proposed"
    OVERRIDDEN = "OVERRIDDEN", "Against an alert"


class DoseOrder(TrackedModel):
    """A dose in force from one instant until the next order closes it. Never edited."""

    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    regimen = models.ForeignKey(Regimen, on_delete=models.PROTECT, related_name="orders")
    assessment = models.ForeignKey(Assessment, on_delete=models.PROTECT, related_name="orders")
    morning_mg = models.DecimalField(max_digits=5, decimal_places=2)
    evening_mg = models.DecimalField(max_digits=5, decimal_places=2)
    since = models.DateTimeField(help_text="in force from")
    closed_at = models.DateTimeField(null=True, blank=True)
    reason_code = models.CharField(max_length=20, choices=ReasonCode.choices)
    reason_text = models.TextField(blank=True)
    decision = models.CharField(max_length=12, choices=Decision.choices)
    answers = models.TextField(
        blank=True, help_text="JSON: what the prescriber answered to each STOP, WARN and CAUTION"
    )

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("regimen",), condition=Q(closed_at__isnull=True), name="order_one_open"
            ),
            models.CheckConstraint(
                condition=Q(morning_mg__gt=Decimal(0), evening_mg__gte=Decimal(0)),
                name="order_dose_positive",
                violation_error_message="A dose is more than 0 mg. To pause tacrolimus, hold it.",
            ),
            models.CheckConstraint(
                condition=~Q(reason_code=""),
                name="order_has_a_reason",
                violation_error_message="Say why the dose changes.",
            ),
            models.CheckConstraint(
                condition=(Q(decision="ACCEPTED") & ~Q(reason_code="OTHER")) | ~Q(reason_text=""),
                name="order_departure_is_explained",
                violation_error_message="Say in words why the dose departs from the proposal.",
            ),
            models.CheckConstraint(
                condition=Q(closed_at__isnull=True) | Q(closed_at__gte=F("since")),
                name="order_closed_after_it_began",
            ),
        )

    def __str__(self) -> str:
        return f"{self.morning_mg} + {self.evening_mg} mg"

    def audit_subject(self) -> str:
        return self.regimen.audit_subject()

    @property
    def total_daily_mg(self) -> Decimal:
        """Morning and evening dose together, mg/day."""
        return self.morning_mg + self.evening_mg


class Meaning(models.TextChoices):
    STARTED = "STARTED", "Started tacrolimus"
    CHANGED = "CHANGED", "Changed the dose"
    HELD = "HELD", "Held tacrolimus"
    RESUMED = "RESUMED", "Resumed tacrolimus"
    STOPPED = "STOPPED", "Stopped tacrolimus"


class Factor(models.TextChoices):
    """What proved that the signer was the signer."""

    PASSWORD = "PASSWORD", "Password"  # a name, no secret


class SignedOrder(AppendOnlyModel):
    """The signature under one order: who, what it means, which factor proved it, what was shown."""

    regimen = models.ForeignKey(Regimen, on_delete=models.PROTECT, related_name="signatures")
    order = models.OneToOneField(
        DoseOrder, on_delete=models.PROTECT, null=True, blank=True, related_name="signature"
    )
    assessment = models.ForeignKey(
        Assessment, on_delete=models.PROTECT, null=True, blank=True, related_name="signatures"
    )
    meaning = models.CharField(max_length=10, choices=Meaning.choices)
    printed_name = models.CharField(max_length=200)
    role = models.CharField(max_length=100)
    factor = models.CharField(max_length=20, choices=Factor.choices)
    reason_code = models.CharField(max_length=20, choices=ReasonCode.choices)
    reason = models.TextField(help_text="in words")
    signed_at = models.DateTimeField()
    shown_sha256 = models.CharField(max_length=64)

    class Meta:
        constraints = (
            models.CheckConstraint(
                condition=~Q(reason="") & ~Q(reason_code=""),
                name="signature_has_a_reason",
                violation_error_message="Say why.",
            ),
        )
        indexes = (models.Index(fields=("regimen", "signed_at"), name="signature_in_order"),)

    def __str__(self) -> str:
        return f"{self.get_meaning_display()}: {self.printed_name}"

    def audit_subject(self) -> str:
        return self.regimen.audit_subject()
