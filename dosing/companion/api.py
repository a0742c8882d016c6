"""Companion treatment in the API: the steps with their sums, and orders signed on an assessment."""

import json
from collections.abc import Mapping
from typing import Any, cast

from django.db.models import QuerySet
from django.utils import timezone
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers, status
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from dosing.api import (
    LONGEST,
    AnswerSerializer,
    DosingViewSet,
    SigningSerializer,
    answers_of,
)
from dosing.companion.steps import (
    CompanionPrescription,
    CompanionStep,
    ListedAnswer,
    listed_drugs,
    steps_of,
)
from dosing.models import Assessment, CompanionOrder, CompanionUnit, SignedCompanion
from dosing.selectors import companion_orders_at
from dosing.services import order_companion, stop_companion, taper_companion
from tacroweb.accounts.access import access_of
from tacroweb.accounts.roles import Permission
from tacroweb.fields import DecimalStringField, InstantStringField, StrictKeys


class ListedDrugSerializer(serializers.Serializer[Any]):
    """A drug of the same kind that is taken already, and what an order of the step is asked."""

    co_medication = serializers.IntegerField(source="row.pk")
    question = serializers.CharField()


class StepSerializer(serializers.Serializer[Any]):
    """A step of a companion regimen: what it comes to for the facts of the assessment.

    `low` and `high` are null where a weight or a height lacks; `arithmetic` says which. `listed`
    are the drugs of the same kind that are taken already: an order answers for each of them.
    """

    step = serializers.CharField(source="row.code")
    regimen = serializers.CharField(source="row.regimen")
    number = serializers.IntegerField(source="row.step")
    title = serializers.CharField(source="row.title")
    drug = serializers.CharField(source="row.drug")
    route = serializers.CharField(source="row.route")
    low = DecimalStringField(allow_null=True)
    high = DecimalStringField(allow_null=True)
    unit = serializers.ChoiceField(CompanionUnit.choices)
    rhythm = serializers.CharField()
    arithmetic = serializers.CharField()
    origin = serializers.CharField(source="row.origin")
    source_text = serializers.CharField(source="row.source")
    needs_local_approval = serializers.BooleanField(source="row.needs_local_approval")
    listed = serializers.SerializerMethodField()

    @extend_schema_field(ListedDrugSerializer(many=True))
    def get_listed(self, step: CompanionStep) -> Any:
        return ListedDrugSerializer(self.context["listed"][step.row.code], many=True).data


class CompanionSignatureSerializer(serializers.ModelSerializer[SignedCompanion]):
    """The signature under an act."""

    assessment = serializers.UUIDField(
        source="assessment.public_id", read_only=True, allow_null=True, default=None
    )
    signed_at = InstantStringField(read_only=True)

    class Meta:
        model = SignedCompanion
        fields = [
            "meaning",
            "printed_name",
            "role",
            "factor",
            "reason",
            "assessment",
            "signed_at",
            "shown_sha256",
        ]


class CompanionOrderSerializer(serializers.ModelSerializer[CompanionOrder]):
    """An order of companion treatment; `tapers` is the one that it took the place of."""

    id = serializers.UUIDField(source="public_id", read_only=True)
    patient = serializers.UUIDField(source="patient.public_id", read_only=True)
    assessment = serializers.UUIDField(source="assessment.public_id", read_only=True)
    rule_book = serializers.CharField(source="assessment.rule_book.version", read_only=True)
    co_medication = serializers.IntegerField(source="co_medication_id", read_only=True)
    tapers = serializers.UUIDField(
        source="tapers.public_id", read_only=True, allow_null=True, default=None
    )
    regimen = serializers.CharField(source="regimen_code", read_only=True)
    dose = DecimalStringField(read_only=True)
    weight_kg = DecimalStringField(read_only=True, allow_null=True)
    body_surface_m2 = DecimalStringField(read_only=True, allow_null=True)
    since = InstantStringField(read_only=True)
    closed_at = InstantStringField(read_only=True, allow_null=True)
    answers = serializers.SerializerMethodField()
    signatures = CompanionSignatureSerializer(many=True, read_only=True)

    class Meta:
        model = CompanionOrder
        fields = [
            "id",
            "patient",
            "assessment",
            "rule_book",
            "co_medication",
            "tapers",
            "regimen",
            "step",
            "title",
            "drug",
            "route",
            "dose",
            "unit",
            "rhythm",
            "weight_kg",
            "body_surface_m2",
            "arithmetic",
            "since",
            "closed_at",
            "reason",
            "answers",
            "signatures",
        ]

    @extend_schema_field(serializers.DictField(child=AnswerSerializer()))
    def get_answers(self, row: CompanionOrder) -> Any:
        return json.loads(row.answers or "{}")


class CompanionDoseField(DecimalStringField):
    """A dose as the column holds it."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_digits=9, decimal_places=3, **kwargs)


class TaperSerializer(SigningSerializer):
    """The next dose, signed on an assessment, with an answer to each of its questions by key."""

    assessment = serializers.UUIDField()
    dose = CompanionDoseField()
    reason_text = serializers.CharField(
        max_length=LONGEST, required=False, allow_blank=True, default=""
    )
    answers = serializers.DictField(child=AnswerSerializer(), required=False, default=dict)
    confirmed = serializers.BooleanField(required=False, default=False)
    typed_again_mg = CompanionDoseField(required=False, allow_null=True, default=None)


class StartCompanionSerializer(TaperSerializer):
    """A step of a regimen; without a dose the one that it names, where it names just one.

    `listed` answers, by the number of its co-medication, for each drug of the same kind that is
    taken already (`listed` of the step says which): REPLACED notes today as its last day, GOES_ON
    says that both are meant. Without an answer: 409 `drug_on_the_list` at `listed.<number>`.
    """

    patient = serializers.UUIDField()
    step = serializers.CharField(max_length=60)
    dose = CompanionDoseField(required=False, allow_null=True, default=None)
    listed = serializers.DictField(
        child=serializers.ChoiceField(ListedAnswer.choices), required=False, default=dict
    )


class StopCompanionSerializer(SigningSerializer):
    """The end of an order: why, and the assessment that asked for it, if one did."""

    assessment = serializers.UUIDField(required=False, allow_null=True, default=None)
    reason_text = serializers.CharField(max_length=LONGEST)


class StepsQuery(StrictKeys):
    """For which assessment the steps are wanted."""

    assessment = serializers.UUIDField()


class CompanionFilter(filters.FilterSet):
    patient = filters.UUIDFilter("patient__public_id")
    in_force = filters.BooleanFilter("closed_at", lookup_expr="isnull")


class CompanionOrderViewSet(DosingViewSet[CompanionOrder]):
    """Companion treatment. POST orders a step; taper and stop are acts of their own."""

    queryset = CompanionOrder.objects.none()
    serializer_class = CompanionOrderSerializer
    filterset_class = CompanionFilter
    permissions_for = {
        "list": Permission.READ_PATIENTS,
        "retrieve": Permission.READ_PATIENTS,
        "steps": Permission.READ_PATIENTS,
        "create": Permission.ORDER,
        "taper": Permission.ORDER,
        "stop": Permission.ORDER,
    }

    def rows(self) -> QuerySet[CompanionOrder]:
        return companion_orders_at(access_of(self.request).clinic).order_by("-since", "-pk")

    def _answer(self, row: CompanionOrder, code: int = status.HTTP_200_OK) -> Response:
        answer = CompanionOrderSerializer(self.rows().get(pk=row.pk))
        return Response(answer.data, status=code)

    @extend_schema(parameters=[StepsQuery], responses=StepSerializer(many=True))
    @action(detail=False, methods=["get"], pagination_class=None, filterset_class=None)
    def steps(self, request: Request) -> Response:
        """The steps of every regimen with their sums, for an assessment: `?assessment=`."""
        query = StepsQuery(data=request.query_params.dict())
        query.is_valid(raise_exception=True)
        made = cast("Assessment", self.assessment(query.validated_data["assessment"]))
        found = steps_of(made)
        listed = listed_drugs(made, [step.row for step in found], timezone.now())
        return Response(StepSerializer(found, many=True, context={"listed": listed}).data)

    @extend_schema(request=StartCompanionSerializer, responses={201: CompanionOrderSerializer})
    def create(self, request: Request) -> Response:
        """Order a step; 409 with a sentence that says what to do when it cannot be."""
        given = self.read(StartCompanionSerializer)
        order = order_companion(
            patient=self.patient(given["patient"]),
            step=given["step"],
            prescription=_prescription(given),
            **self.signing(given),
        )
        return self._answer(order, status.HTTP_201_CREATED)

    @extend_schema(request=TaperSerializer, responses={201: CompanionOrderSerializer})
    @action(detail=True, methods=["post"])
    def taper(self, request: Request, id: str) -> Response:
        """Put the next dose in the place of this order; the answer is the new one."""
        given = self.read(TaperSerializer)
        order = taper_companion(
            order=self.get_object(), prescription=_prescription(given), **self.signing(given)
        )
        return self._answer(order, status.HTTP_201_CREATED)

    @extend_schema(request=StopCompanionSerializer, responses=CompanionOrderSerializer)
    @action(detail=True, methods=["post"])
    def stop(self, request: Request, id: str) -> Response:
        """End this order."""
        given = self.read(StopCompanionSerializer)
        signed = stop_companion(
            order=self.get_object(), reason_text=given["reason_text"], **self.signing(given)
        )
        return self._answer(signed.order)


def _prescription(given: Mapping[str, Any]) -> CompanionPrescription:
    return CompanionPrescription(
        dose=given["dose"],
        reason_text=given["reason_text"],
        answers=answers_of(given),
        listed={key: ListedAnswer(word) for key, word in given.get("listed", {}).items()},
        confirmed=given["confirmed"],
        typed_again_mg=given["typed_again_mg"],
    )


routes = [("companion-orders", CompanionOrderViewSet, "companion-order")]
