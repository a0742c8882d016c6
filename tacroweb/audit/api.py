"""The audit history in the API: acts newest first, and one act with every change."""

from typing import Any

import django_filters
from django.db.models import QuerySet
from django_filters.rest_framework import FilterSet
from drf_spectacular.utils import extend_schema_field
from rest_framework import mixins, serializers, viewsets

from patients.models import Patient
from tacroweb.accounts.access import access_of
from tacroweb.accounts.roles import Permission
from tacroweb.fields import InstantTextField

from .models import LedgerEntry
from .timeline import RowChange, in_words, visible_acts

WHOLE = 400


class InstantFilter(django_filters.Filter):
    """An instant, read as strictly as everywhere; without an offset by the clinic's clock."""

    field_class = InstantTextField


class ActFilterSet(FilterSet):
    """By patient (id), person, act, channel and time."""

    patient = django_filters.UUIDFilter(method="about")
    person = django_filters.CharFilter("actor_name", lookup_expr="icontains")
    act = django_filters.CharFilter("act")
    channel = django_filters.CharFilter("channel")
    since = InstantFilter("recorded_at", lookup_expr="gte")
    until = InstantFilter("recorded_at", lookup_expr="lt")

    def about(
        self, acts: QuerySet[LedgerEntry], name: str, public_id: Any
    ) -> QuerySet[LedgerEntry]:
        """Acts that touched this patient's record; none for a patient of another clinic."""
        clinic = access_of(self.request).clinic
        found = Patient.objects.filter(clinic=clinic, public_id=public_id).first()
        return acts.filter(subjects__subject=found.audit_subject()) if found else acts.none()


class ActSerializer(serializers.ModelSerializer[LedgerEntry]):
    """One act: who, in which role, through what, when, why, and its place in the chain."""

    chain = serializers.CharField(source="chain.name")
    at = serializers.DateTimeField(source="recorded_at")
    person = serializers.CharField(source="actor_name")

    class Meta:
        model = LedgerEntry
        fields = (
            "id",
            "chain",
            "seq",
            "at",
            "act",
            "person",
            "role",
            "channel",
            "reason",
            "request_id",
            "prev_hash",
            "hash",
        )
        read_only_fields = fields


class ChangeSerializer(serializers.Serializer[Any]):
    """A field, as it was and as it became; null where there was or is nothing."""

    field = serializers.CharField()
    old = serializers.CharField(allow_null=True)
    new = serializers.CharField(allow_null=True)


class RowSerializer(serializers.Serializer[RowChange]):
    """A row that the act wrote."""

    title = serializers.CharField()
    is_new = serializers.BooleanField()
    changes = serializers.SerializerMethodField()

    @extend_schema_field(ChangeSerializer(many=True))
    def get_changes(self, row: RowChange) -> list[dict[str, str | None]]:
        return [{"field": name, "old": old, "new": new} for name, old, new in row.changes]


class WholeActSerializer(ActSerializer):
    """An act with what it changed."""

    rows = serializers.SerializerMethodField()

    class Meta:
        model = LedgerEntry
        fields = (*ActSerializer.Meta.fields, "rows")
        read_only_fields = fields

    @extend_schema_field(RowSerializer(many=True))
    def get_rows(self, entry: LedgerEntry) -> Any:
        return [RowSerializer(row).data for row in in_words([entry], at_most=WHOLE)[0].rows]


class HistoryViewSet(
    mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[LedgerEntry]
):
    """Who changed what, when and why. Nothing here can be written."""

    permissions_for = {"list": Permission.READ_AUDIT, "retrieve": Permission.READ_AUDIT}
    queryset = LedgerEntry.objects.none()
    filterset_class = ActFilterSet
    lookup_value_regex = "[0-9]{1,18}"

    def get_queryset(self) -> QuerySet[LedgerEntry]:
        """The acts of the caller's clinic."""
        if getattr(self, "swagger_fake_view", False):
            return LedgerEntry.objects.none()
        return visible_acts(access_of(self.request).clinic)

    def get_serializer_class(self) -> type[ActSerializer]:
        """One act alone comes with its changes."""
        return WholeActSerializer if self.action == "retrieve" else ActSerializer


routes = [("history", HistoryViewSet, "history")]
