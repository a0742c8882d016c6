"""What must be done next, and the sweeps that look for it."""

from django.db import models
from django.db.models import Q

from dosing.models import Assessment
from patients.models import Analyte, Observation, Patient
from tacroweb.audit.models import TrackedModel


class TaskStatus(models.TextChoices):
    OPEN = "OPEN", "Open"
    DONE = "DONE", "Done"
    CANCELLED = "CANCELLED", "No longer due"


class MonitoringTask(TrackedModel):
    """A test that the protocol asks for, in a window of days, for one reason."""

    patient = models.ForeignKey(Patient, on_delete=models.PROTECT, related_name="tasks")
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

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("patient", "analyte", "statements", "due_on"),
                condition=Q(status="OPEN"),
                name="task_open_once",
            ),
        )
        indexes = (
            models.Index(
                fields=("due_on", "patient"), condition=Q(status="OPEN"), name="task_open_by_due"
            ),
        )

    def __str__(self) -> str:
        return f"{self.analyte} by {self.due_on:%d-%b-%Y}"

    def audit_subject(self) -> str:
        return f"patient:{self.patient_id}"


class SweepRun(models.Model):
    """One nightly sweep: an operational record, made again at any time, so not tracked."""

    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    patients = models.PositiveIntegerField(default=0)
    failures = models.TextField(blank=True, help_text="one line a patient that could not be swept")

    def __str__(self) -> str:
        return f"sweep of {self.started_at:%d-%b-%Y %H:%M}"
