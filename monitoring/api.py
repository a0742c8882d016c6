"""Tasks in the API: read and cancelled there; the protocol opens them, results close them."""

from typing import Any

from django.db.models import Q, QuerySet
from django.utils import timezone
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework import mixins, serializers, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from monitoring.models import MonitoringTask, TaskStatus
from monitoring.selectors import overdue, panel_of, tasks_of
from monitoring.services import NOTE_LENGTH, cancel_task
from tacroweb.accounts.access import access_of
from tacroweb.accounts.roles import Permission


class TaskSerializer(serializers.ModelSerializer[MonitoringTask]):
    """A test that is, or was, due in a window of days by the clinic's calendar."""

    patient = serializers.UUIDField(source="patient.public_id", read_only=True)
    analyte = serializers.CharField(source="analyte.key", read_only=True)
    panel = serializers.SerializerMethodField()
    statements = serializers.ListField(source="why", child=serializers.CharField(), read_only=True)
    overdue = serializers.SerializerMethodField()
    assessment = serializers.UUIDField(source="assessment.public_id", read_only=True)

    class Meta:
        model = MonitoringTask
        fields = [
            "id",
            "patient",
            "analyte",
            "panel",
            "statements",
            "earliest_on",
            "due_on",
            "latest_on",
            "status",
            "overdue",
            "assessment",
            "observation",
            "closed_at",
            "closing_note",
        ]
        read_only_fields = fields

    def get_panel(self, task: MonitoringTask) -> str:
        """What it is usually measured with, such as "Electrolytes"; "" where nothing is named."""
        return panel_of(task.analyte.key)

    def get_overdue(self, task: MonitoringTask) -> bool:
        return task.status == TaskStatus.OPEN and task.latest_on < timezone.localdate()


class TaskFilter(filters.FilterSet):
    """`status`, `patient`, and `overdue` (true or false; only open tasks are overdue)."""

    patient = filters.UUIDFilter(field_name="patient__public_id")
    overdue = filters.TypedChoiceFilter(
        choices=[("true", "true"), ("false", "false")], coerce="true".__eq__, method="by_overdue"
    )

    class Meta:
        model = MonitoringTask
        fields = ["status", "patient"]

    def by_overdue(
        self, tasks: QuerySet[MonitoringTask], name: str, value: bool
    ) -> QuerySet[MonitoringTask]:
        late: Q = overdue(timezone.localdate())
        return tasks.filter(late if value else ~late)


class CancelSerializer(serializers.Serializer[Any]):
    """Why the test will not be done."""

    reason = serializers.CharField(max_length=NOTE_LENGTH)


class TaskViewSet(
    mixins.ListModelMixin,
    mixins.RetrieveModelMixin,
    viewsets.GenericViewSet[MonitoringTask],
):
    """The monitoring tasks of the clinic's patients."""

    serializer_class = TaskSerializer
    filterset_class = TaskFilter
    queryset = MonitoringTask.objects.none()  # for the schema; `get_queryset` knows the clinic
    permissions_for = {
        "list": Permission.READ_PATIENTS,
        "retrieve": Permission.READ_PATIENTS,
        "cancel": Permission.WORK_TASKS,
    }

    def get_queryset(self) -> QuerySet[MonitoringTask]:
        if getattr(self, "swagger_fake_view", False):
            return self.queryset
        return tasks_of(access_of(self.request).clinic)

    @extend_schema(request=CancelSerializer, responses=TaskSerializer)
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str | None = None) -> Response:
        """Cancel an open task with a reason; 409 when it is closed already."""
        task = self.get_object()
        given = CancelSerializer(data=request.data)
        given.is_valid(raise_exception=True)
        by = access_of(request).sign(given.validated_data["reason"])
        cancelled = cancel_task(task=task, at=timezone.now(), by=by)
        return Response(TaskSerializer(cancelled).data)


routes = [("tasks", TaskViewSet, "task")]
