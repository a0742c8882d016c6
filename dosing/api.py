"""Assessments, regimens and orders in the API: assess, then sign with the assessment's id.

Decimals are JSON strings, instants carry their offset. Whoever signs gives the password with each
order, token or session alike; `shown_sha256` may be given to prove what was shown.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Prefetch, QuerySet
from django.utils import timezone
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import mixins, serializers, status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from dosing.case import case_of
from dosing.checks import Answer, AnswerReason, Prescription, Product, questions
from dosing.forms import checked_password
from dosing.models import (
    Assessment,
    DoseOrder,
    Factor,
    Formulation,
    Intent,
    ReasonCode,
    Regimen,
    SignedOrder,
)
from dosing.rules.selectors import published_book
from dosing.selectors import (
    assessments_at,
    current_regimen,
    offered_targets,
    orders_at,
    regimens_at,
)
from dosing.services import (
    assess_patient,
    change_target,
    hold_regimen,
    order_dose,
    replay,
    resume_regimen,
    start_regimen,
    stop_regimen,
    switch_product,
)
from patients.models import Patient
from patients.selectors import patient_of
from tacroweb.accounts.access import access_of
from tacroweb.accounts.roles import Permission
from tacroweb.fields import DayStringField, DecimalStringField, InstantStringField, StrictKeys

M = TypeVar("M", bound=models.Model)
LONGEST = 2000
_OBJECT = {"type": "object", "description": "in the case format"}


class DoseField(DecimalStringField):
    """mg or ng/mL as the columns hold them: at most 999.99."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_digits=5, decimal_places=2, **kwargs)


@extend_schema_field(_OBJECT)
class CaseField(serializers.ReadOnlyField):
    """Facts or advice in the case format."""


class QuestionSerializer(serializers.Serializer[Any]):
    """A finding that must be answered, or (`acknowledge`) at least acknowledged, under `key`."""

    key = serializers.CharField()
    severity = serializers.CharField(source="finding.severity")
    message = serializers.CharField(source="finding.message")
    acknowledge = serializers.BooleanField()


class AssessmentSerializer(serializers.ModelSerializer[Assessment]):
    """An assessment without its facts and answer."""

    id = serializers.UUIDField(source="public_id", read_only=True)
    patient = serializers.UUIDField(source="patient.public_id", read_only=True)
    rule_book = serializers.CharField(source="rule_book.version", read_only=True)
    at = InstantStringField(read_only=True)

    class Meta:
        model = Assessment
        fields = ["id", "patient", "intent", "at", "rule_book", "engine_version", "facts_version"]


class WholeAssessmentSerializer(AssessmentSerializer):
    """An assessment with its facts, its advice and the questions to answer before signing."""

    case = CaseField()
    advice = CaseField()
    questions = serializers.SerializerMethodField()

    class Meta(AssessmentSerializer.Meta):
        fields = [*AssessmentSerializer.Meta.fields, "case", "advice", "questions"]

    @extend_schema_field(QuestionSerializer(many=True))
    def get_questions(self, row: Assessment) -> Any:
        return QuestionSerializer(questions(row.advice), many=True).data


class AssessSerializer(StrictKeys):
    """Whom to assess; without an intent REVIEW for a patient on tacrolimus, else START."""

    patient = serializers.UUIDField()
    intent = serializers.ChoiceField(Intent.choices, required=False)


class DifferenceSerializer(serializers.Serializer[Any]):
    """One place at which the stored answer and the one of today differ."""

    where = serializers.CharField()
    stored = serializers.CharField()
    now = serializers.CharField()


class ReplaySerializer(serializers.Serializer[Any]):
    """Whether an assessment gives the same bytes again, or the cause and each difference."""

    same = serializers.BooleanField()
    cause = serializers.CharField()
    words = serializers.CharField()
    differences = DifferenceSerializer(many=True)


class SignatureSerializer(serializers.ModelSerializer[SignedOrder]):
    """The signature under an act."""

    assessment = serializers.UUIDField(
        source="assessment.public_id", read_only=True, allow_null=True, default=None
    )
    signed_at = InstantStringField(read_only=True)

    class Meta:
        model = SignedOrder
        fields = [
            "meaning",
            "printed_name",
            "role",
            "factor",
            "reason_code",
            "reason",
            "assessment",
            "signed_at",
            "shown_sha256",
        ]


class AnswerSerializer(StrictKeys):
    """What is said to one finding; ACKNOWLEDGED is enough for a caution only."""

    reason = serializers.ChoiceField(AnswerReason.choices)
    text = serializers.CharField(max_length=LONGEST, required=False, allow_blank=True, default="")


class OrderSerializer(serializers.ModelSerializer[DoseOrder]):
    """A dose, why it was ordered, what was answered, and the signature under it."""

    id = serializers.UUIDField(source="public_id", read_only=True)
    regimen = serializers.UUIDField(source="regimen.public_id", read_only=True)
    patient = serializers.UUIDField(source="regimen.patient.public_id", read_only=True)
    assessment = serializers.UUIDField(source="assessment.public_id", read_only=True)
    rule_book = serializers.CharField(source="assessment.rule_book.version", read_only=True)
    morning_mg = DecimalStringField(read_only=True)
    evening_mg = DecimalStringField(read_only=True)
    total_daily_mg = DecimalStringField(read_only=True)
    since = InstantStringField(read_only=True)
    closed_at = InstantStringField(read_only=True, allow_null=True)
    answers = serializers.SerializerMethodField()
    signature = SignatureSerializer(read_only=True)

    class Meta:
        model = DoseOrder
        fields = [
            "id",
            "patient",
            "regimen",
            "assessment",
            "rule_book",
            "morning_mg",
            "evening_mg",
            "total_daily_mg",
            "since",
            "closed_at",
            "reason_code",
            "reason_text",
            "decision",
            "answers",
            "signature",
        ]

    @extend_schema_field(serializers.DictField(child=AnswerSerializer()))
    def get_answers(self, row: DoseOrder) -> Any:
        return json.loads(row.answers or "{}")


class RegimenSerializer(serializers.ModelSerializer[Regimen]):
    """A course of tacrolimus with the order in force; null targets are the rule book's."""

    id = serializers.UUIDField(source="public_id", read_only=True)
    patient = serializers.UUIDField(source="patient.public_id", read_only=True)
    target_low_ng_per_ml = DecimalStringField(read_only=True, allow_null=True)
    target_high_ng_per_ml = DecimalStringField(read_only=True, allow_null=True)
    switched_on = DayStringField(read_only=True, allow_null=True)
    order = serializers.SerializerMethodField()

    class Meta:
        model = Regimen
        fields = [
            "id",
            "patient",
            "formulation",
            "brand",
            "target_low_ng_per_ml",
            "target_high_ng_per_ml",
            "target_reason",
            "status",
            "started_on",
            "stopped_on",
            "switched_on",
            "switched_from",
            "order",
        ]

    @extend_schema_field(OrderSerializer(allow_null=True))
    def get_order(self, row: Regimen) -> Any:
        orders = getattr(row, "open_orders", [])
        return OrderSerializer(orders[0]).data if orders else None


class SigningSerializer(StrictKeys):
    """What every signed act carries: the password, and the digest of what was shown, if any."""

    password = serializers.CharField(trim_whitespace=False, write_only=True)
    shown_sha256 = serializers.CharField(max_length=64, required=False, default="")

    def validate_password(self, password: str) -> str:
        return checked_password(self.context["user"], password)


class PrescriptionSerializer(SigningSerializer):
    """A dose signed on an assessment, with an answer to each of its questions by key."""

    assessment = serializers.UUIDField()
    morning_mg = DoseField()
    evening_mg = DoseField()
    reason_code = serializers.ChoiceField(ReasonCode.choices)
    reason_text = serializers.CharField(
        max_length=LONGEST, required=False, allow_blank=True, default=""
    )
    answers = serializers.DictField(child=AnswerSerializer(), required=False, default=dict)
    confirmed = serializers.BooleanField(required=False, default=False)
    typed_again_mg = DoseField(required=False, allow_null=True, default=None)


class OrderRequestSerializer(PrescriptionSerializer):
    """The next dose of a course."""

    regimen = serializers.UUIDField()


class StartSerializer(PrescriptionSerializer):
    """The start of a course: product, first dose, and a target of its own with its reason."""

    patient = serializers.UUIDField()
    formulation = serializers.ChoiceField(Formulation.choices)
    brand = serializers.CharField(max_length=60)
    target_low_ng_per_ml = DoseField(required=False, allow_null=True, default=None)
    target_high_ng_per_ml = DoseField(required=False, allow_null=True, default=None)
    target_reason = serializers.CharField(
        max_length=LONGEST, required=False, allow_blank=True, default=""
    )


class SwitchSerializer(PrescriptionSerializer):
    """Another brand or formulation of a running course, with its dose and why (D32).

    The dose of another formulation is given again as `typed_again_mg`.
    """

    formulation = serializers.ChoiceField(Formulation.choices)
    brand = serializers.CharField(max_length=60)


class InterruptionSerializer(SigningSerializer):
    """A hold or a stop: why, and the assessment that proposed it, if one did."""

    assessment = serializers.UUIDField(required=False, allow_null=True, default=None)
    reason_code = serializers.ChoiceField(ReasonCode.choices)
    reason_text = serializers.CharField(
        max_length=LONGEST, required=False, allow_blank=True, default=""
    )


class TargetSerializer(InterruptionSerializer):
    """Another target of a running course, ng/mL, and why in words; both null: the rule book's."""

    target_low_ng_per_ml = DoseField(allow_null=True)
    target_high_ng_per_ml = DoseField(allow_null=True)


class OfferedTargetSerializer(serializers.Serializer[Any]):
    """A lower target that the clinic has approved for a stage of renal dysfunction."""

    row = serializers.CharField()
    words = serializers.CharField()
    target_low_ng_per_ml = DecimalStringField(source="low_ng_per_ml")
    target_high_ng_per_ml = DecimalStringField(source="high_ng_per_ml")


class AssessmentFilter(filters.FilterSet):
    patient = filters.UUIDFilter("patient__public_id")


class OrderFilter(filters.FilterSet):
    patient = filters.UUIDFilter("regimen__patient__public_id")
    regimen = filters.UUIDFilter("regimen__public_id")


class DosingViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[M]):
    """What these resources share: the clinic's own rows, found by their public id."""

    lookup_field = "public_id"
    lookup_url_kwarg = "id"
    lookup_value_regex = "[0-9a-fA-F-]{36}"

    def rows(self) -> QuerySet[M]:
        """The rows of the caller's clinic."""
        raise NotImplementedError

    def get_queryset(self) -> QuerySet[M]:
        if getattr(self, "swagger_fake_view", False):
            return self.queryset  # type: ignore[return-value,arg-type]
        return self.rows()

    def read(self, serializer: type[serializers.Serializer[Any]]) -> dict[str, Any]:
        """What the body says, or the errors at its fields."""
        given = serializer(data=self.request.data, context={"user": access_of(self.request).user})
        given.is_valid(raise_exception=True)
        return dict(given.validated_data)

    def patient(self, public_id: UUID) -> Patient:
        """A patient named in the body; another clinic's is as unknown as none."""
        try:
            return patient_of(access_of(self.request).clinic, public_id)
        except Patient.DoesNotExist as error:
            raise ValidationError(
                {"patient": "There is no such patient at your clinic."}
            ) from error

    def assessment(self, public_id: UUID | None) -> Assessment | None:
        """An assessment named in the body, if one is."""
        if public_id is None:
            return None
        try:
            return assessments_at(access_of(self.request).clinic).get(public_id=public_id)
        except Assessment.DoesNotExist as error:
            raise ValidationError(
                {"assessment": "There is no such assessment at your clinic."}
            ) from error

    def signing(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """What every signed act takes beside its own arguments."""
        return {
            "assessment": self.assessment(given["assessment"]),
            "factor": Factor.PASSWORD,
            "shown_sha256": given["shown_sha256"],
            "at": timezone.now(),
            "by": access_of(self.request).sign(),
        }


_READ = {"list": Permission.READ_PATIENTS, "retrieve": Permission.READ_PATIENTS}


class AssessmentViewSet(DosingViewSet[Assessment]):
    """Stored assessments. POST puts the facts to the rule book in force and stores both."""

    queryset = Assessment.objects.none()
    filterset_class = AssessmentFilter
    permissions_for = {
        **_READ,
        "create": Permission.ASSESS,
        "replay": Permission.READ_PATIENTS,
    }

    def rows(self) -> QuerySet[Assessment]:
        found = assessments_at(access_of(self.request).clinic)
        return found.defer("case_text", "advice_text") if self.action == "list" else found

    def get_serializer_class(self) -> type[serializers.BaseSerializer[Any]]:
        return AssessmentSerializer if self.action == "list" else WholeAssessmentSerializer

    @extend_schema(request=AssessSerializer, responses={201: WholeAssessmentSerializer})
    def create(self, request: Request) -> Response:
        """Assess a patient now."""
        given = self.read(AssessSerializer)
        patient = self.patient(given["patient"])
        usual = Intent.REVIEW if current_regimen(patient) else Intent.START
        row = assess_patient(
            patient=patient,
            intent=Intent(given.get("intent", usual)),
            at=timezone.now(),
            by=access_of(request).sign(),
        )
        return Response(WholeAssessmentSerializer(row).data, status=status.HTTP_201_CREATED)

    @extend_schema(responses=ReplaySerializer)
    @action(detail=True, methods=["get"])
    def replay(self, request: Request, id: str) -> Response:
        """Put the stored facts to the stored rule book again; nothing is written."""
        return Response(ReplaySerializer(replay(self.get_object())).data)


class RegimenViewSet(DosingViewSet[Regimen]):
    """Courses of tacrolimus. POST starts one; a switch of the product, another target, hold, resume
    and stop are acts of their own."""

    queryset = Regimen.objects.none()
    serializer_class = RegimenSerializer
    filterset_class = AssessmentFilter
    permissions_for = {
        **_READ,
        "create": Permission.ORDER,
        "switch": Permission.ORDER,
        "targets": Permission.READ_PATIENTS,
        "target": Permission.ORDER,
        "hold": Permission.ORDER,
        "resume": Permission.ORDER,
        "stop": Permission.ORDER,
    }

    def rows(self) -> QuerySet[Regimen]:
        clinic = access_of(self.request).clinic
        in_force = orders_at(clinic).filter(closed_at__isnull=True)
        return regimens_at(clinic).prefetch_related(
            Prefetch("orders", queryset=in_force, to_attr="open_orders")
        )

    def _answer(self, row: Regimen, code: int = status.HTTP_200_OK) -> Response:
        return Response(RegimenSerializer(self.rows().get(pk=row.pk)).data, status=code)

    @extend_schema(request=StartSerializer, responses={201: RegimenSerializer})
    def create(self, request: Request) -> Response:
        """Start tacrolimus; 409 with a sentence that says what to do when it cannot be."""
        given = self.read(StartSerializer)
        order = start_regimen(
            patient=self.patient(given["patient"]),
            product=Product(
                formulation=Formulation(given["formulation"]),
                brand=given["brand"],
                target_low_ng_per_ml=given["target_low_ng_per_ml"],
                target_high_ng_per_ml=given["target_high_ng_per_ml"],
                target_reason=given["target_reason"],
            ),
            prescription=_prescription(given),
            **self.signing(given),
        )
        return self._answer(order.regimen, status.HTTP_201_CREATED)

    @extend_schema(request=SwitchSerializer, responses=RegimenSerializer)
    @action(detail=True, methods=["post"])
    def switch(self, request: Request, id: str) -> Response:
        """Give another brand or formulation from now on, with a dose of its own."""
        given = self.read(SwitchSerializer)
        order = switch_product(
            regimen=self.get_object(),
            product=Product(formulation=Formulation(given["formulation"]), brand=given["brand"]),
            prescription=_prescription(given),
            **self.signing(given),
        )
        return self._answer(order.regimen)

    @extend_schema(responses=OfferedTargetSerializer(many=True))
    @action(detail=True, methods=["get"], pagination_class=None, filterset_class=None)
    def targets(self, request: Request, id: str) -> Response:
        """The lower targets that the clinic has approved; none: the prescriber decides."""
        book = published_book()
        case = case_of(self.get_object().patient, book=book, at=timezone.now())
        return Response(OfferedTargetSerializer(offered_targets(case, book), many=True).data)

    @extend_schema(request=TargetSerializer, responses=RegimenSerializer)
    @action(detail=True, methods=["post"])
    def target(self, request: Request, id: str) -> Response:
        """Aim at another trough; the dose stays as ordered."""
        given = self.read(TargetSerializer)
        signed = change_target(
            regimen=self.get_object(),
            low_ng_per_ml=given["target_low_ng_per_ml"],
            high_ng_per_ml=given["target_high_ng_per_ml"],
            reason_code=ReasonCode(given["reason_code"]),
            reason_text=given["reason_text"],
            **self.signing(given),
        )
        return self._answer(signed.regimen)

    @extend_schema(request=PrescriptionSerializer, responses=RegimenSerializer)
    @action(detail=True, methods=["post"])
    def resume(self, request: Request, id: str) -> Response:
        """Give tacrolimus again after a hold."""
        given = self.read(PrescriptionSerializer)
        order = resume_regimen(
            regimen=self.get_object(), prescription=_prescription(given), **self.signing(given)
        )
        return self._answer(order.regimen)

    @extend_schema(request=InterruptionSerializer, responses=RegimenSerializer)
    @action(detail=True, methods=["post"])
    def hold(self, request: Request, id: str) -> Response:
        """Pause tacrolimus until it is resumed."""
        return self._interrupt(hold_regimen)

    @extend_schema(request=InterruptionSerializer, responses=RegimenSerializer)
    @action(detail=True, methods=["post"])
    def stop(self, request: Request, id: str) -> Response:
        """End the course."""
        return self._interrupt(stop_regimen)

    def _interrupt(self, act: Callable[..., SignedOrder]) -> Response:
        given = self.read(InterruptionSerializer)
        signed = act(
            regimen=self.get_object(),
            reason_code=ReasonCode(given["reason_code"]),
            reason_text=given["reason_text"],
            **self.signing(given),
        )
        return self._answer(signed.regimen)


class OrderViewSet(DosingViewSet[DoseOrder]):
    """Doses. POST changes the dose of a course that is active; orders are never edited."""

    queryset = DoseOrder.objects.none()
    serializer_class = OrderSerializer
    filterset_class = OrderFilter
    permissions_for = {**_READ, "create": Permission.ORDER}

    def rows(self) -> QuerySet[DoseOrder]:
        return orders_at(access_of(self.request).clinic)

    @extend_schema(request=OrderRequestSerializer, responses={201: OrderSerializer})
    def create(self, request: Request) -> Response:
        """Change the dose; 409 with a sentence that says what to do when it cannot be."""
        given = self.read(OrderRequestSerializer)
        try:
            regimen = regimens_at(access_of(request).clinic).get(public_id=given["regimen"])
        except Regimen.DoesNotExist as error:
            raise ValidationError(
                {"regimen": "There is no such regimen at your clinic."}
            ) from error
        order = order_dose(
            regimen=regimen, prescription=_prescription(given), **self.signing(given)
        )
        answer = OrderSerializer(self.rows().get(pk=order.pk))
        return Response(answer.data, status=status.HTTP_201_CREATED)


def answers_of(given: Mapping[str, Any]) -> dict[str, Answer]:
    """What the body answers to the findings, by the key of the question."""
    return {
        key: Answer(reason=AnswerReason(answer["reason"]), text=answer["text"])
        for key, answer in given["answers"].items()
    }


def _prescription(given: Mapping[str, Any]) -> Prescription:
    return Prescription(
        morning_mg=given["morning_mg"],
        evening_mg=given["evening_mg"],
        reason_code=ReasonCode(given["reason_code"]),
        reason_text=given["reason_text"],
        answers=answers_of(given),
        confirmed=given["confirmed"],
        typed_again_mg=given["typed_again_mg"],
    )


routes = [
    ("assessments", AssessmentViewSet, "assessment"),
    ("regimens", RegimenViewSet, "regimen"),
    ("orders", OrderViewSet, "order"),
]
