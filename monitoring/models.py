"""What must be done next, and the reviews and sweeps that find it."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from dosing.models import Assessment
from dosing.rules.models import RuleBook
from patients.models import Analyte, Observation, Patient
from tacroweb.accounts.models import Clinic
from tacroweb.audit.models import TrackedModel


class TaskStatus(models.TextChoices):
    OPEN = "OPEN", "Open"
    DONE = "DONE", "Done"
    CANCELLED = "CANCELLED", "No longer due"


class MonitoringTask(TrackedModel):
    """A test that the protocol asks for, to be done in a window of days by the clinic's calendar.

    One sample that answers several statements is one task. It is overdue once `latest_on` is past.
    """

    patient = models.ForeignKey(Patient, on_delete=models.PROTECT, related_name="tasks")
    clinic = models.ForeignKey(
        Clinic,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="of the patient, for the worklist",
    )
    analyte = models.ForeignKey(Analyte, on_delete=models.PROTECT, related_name="+")
    statements = models.CharField(max_length=120, help_text="the statements that ask for it")
    earliest_on = models.DateField()
    due_on = models.DateField()
    latest_on = models.DateField()
    status = models.CharField(max_length=10, choices=TaskStatus.choices, default=TaskStatus.OPEN)
    assessment = models.ForeignKey(
        Assessment, on_delete=models.PROTECT, related_name="tasks", help_text="that asked for it"
    )
    observation = models.ForeignKey(
        Observation, on_delete=models.PROTECT, null=True, blank=True, related_name="closed_tasks"
    )
    closed_at = models.DateTimeField(null=True, blank=True)
    closing_note = models.CharField(max_length=300, blank=True)
    cancelled_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, blank=True, related_name="+",
        help_text="the person who cancelled it; empty where the protocol no longer asked for it",
    )  # fmt: skip

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("patient", "analyte", "statements", "due_on"),
                condition=Q(status="OPEN"),
                name="task_open_once",
            ),
            models.CheckConstraint(
                condition=Q(due_on__gte=F("earliest_on"), latest_on__gte=F("due_on")),
                name="task_window_in_order",
            ),
            models.CheckConstraint(
                condition=Q(status="OPEN", closed_at__isnull=True)
                | Q(status="DONE", closed_at__isnull=False, observation__isnull=False)
                | (Q(status="CANCELLED", closed_at__isnull=False) & ~Q(closing_note="")),
                name="task_closed_with_time_and_cause",
            ),
        )
        indexes = (
            # Not a partial index: SQLite cannot tell that a bound "OPEN" meets its condition.
            models.Index(fields=("clinic", "status", "due_on"), name="task_by_due_day"),
        )

    def __str__(self) -> str:
        return f"{self.analyte} by {self.due_on:%d-%b-%Y}"

    def audit_subject(self) -> str:
        return f"patient:{self.patient_id}"

    @property
    def why(self) -> list[str]:
        """The statements that ask for it, such as ["S41"]."""
        return self.statements.split(", ")


class Review(models.Model):
    """When a patient's tasks were last compared with the protocol, and whether that worked.

    An operational record, overwritten by the next review and made again at any time, so not
    tracked. A failure stays visible until a review succeeds.
    """

    patient = models.OneToOneField(Patient, on_delete=models.PROTECT, related_name="review")
    clinic = models.ForeignKey(Clinic, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()
    facts_version = models.PositiveBigIntegerField(null=True, help_text="of the last success")
    rule_book = models.ForeignKey(
        RuleBook, on_delete=models.PROTECT, null=True, related_name="+",
        help_text="of the last success",
    )  # fmt: skip
    failure = models.CharField(max_length=300, blank=True)

    class Meta:
        indexes = (models.Index(fields=("clinic", "failure"), name="review_failed"),)

    def __str__(self) -> str:
        return f"review of patient {self.patient_id}: {self.failure or 'done'}"


class SweepCause(models.TextChoices):
    NIGHT = "NIGHT", "The nightly sweep"
    RULES = "RULES", "The rules changed"


class SweepRun(models.Model):
    """One sweep: an operational record, made again at any time, so not tracked.

    Nightly, or because other rules hold: then it goes on wherever it was interrupted, and
    `moved_at` says that somebody is at it.
    """

    cause = models.CharField(max_length=10, choices=SweepCause.choices, default=SweepCause.NIGHT)
    clinic = models.ForeignKey(
        Clinic, on_delete=models.PROTECT, null=True, related_name="+", help_text="empty: all"
    )
    started_at = models.DateTimeField(db_index=True)
    moved_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    patients = models.PositiveIntegerField(default=0, help_text="looked at")
    failures = models.TextField(blank=True, help_text="one line a patient that could not be swept")

    def __str__(self) -> str:
        return f"sweep of {self.started_at:%d-%b-%Y %H:%M}"

    @property
    def failed(self) -> int:
        """How many patients could not be swept."""
        return len(self.failures.splitlines())
