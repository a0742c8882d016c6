"""Patients and their facts in the API: registered, recorded, put right; nothing is deleted.

Absent or null means "not known". Decimals are JSON strings, instants carry their offset, a key that
is not read is an error. A correction is a POST that says why.
"""

from typing import Any, TypeVar
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import QuerySet
from django.utils import timezone
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import mixins, serializers, status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from tacroweb.accounts.access import access_of
from tacroweb.accounts.roles import Permission
from tacroweb.audit.signature import Signature
from tacroweb.fields import (
    DayStringField,
    DecimalStringField,
    InstantStringField,
    KnownChoiceField,
    ResultStringField,
    StrictKeys,
    WholeNumberField,
)
from tacroweb.numbers import format_decimal

from .forms import HOURS
from .models import (
    CHILD_PUGH,
    AllergyStatus,
    Analyte,
    ClinicalEvent,
    CoMedication,
    Cyp3a5,
    Diagnosis,
    EventKind,
    Immunisation,
    InfectionRisk,
    Line,
    Observation,
    Patient,
    Pregnancy,
    Route,
    Sard,
    Sex,
    Subtype,
    VaccineRoute,
)
from .selectors import analyte_named, analytes, patient_of, patients_of, search_patients
from .services import (
    change_co_medication_dose,
    correct_co_medication,
    correct_observation,
    correct_patient,
    give_immunisation,
    record_co_medication,
    record_diagnosis,
    record_event,
    record_immunisation,
    record_observation,
    register_patient,
    resolve_event,
    stop_co_medication,
    withdraw_fact,
    withdraw_observation,
)

UNLISTED = "unlisted"
M = TypeVar("M", bound=models.Model)


class ReasonSerializer(StrictKeys):
    """Why something is put right or taken out."""

    reason = serializers.CharField(max_length=400)


class DiagnosisSerializer(StrictKeys, serializers.ModelSerializer[Diagnosis]):
    """The disease as it is judged now."""

    sard = KnownChoiceField(Sard.choices)
    subtype = KnownChoiceField(Subtype.choices)
    line = KnownChoiceField(Line.choices)

    class Meta:
        model = Diagnosis
        fields = [
            "ild",
            "sard",
            "subtype",
            "anti_mda5",
            "other_antibodies",
            "severe_at_presentation",
            "rapidly_progressive",
            "line",
        ]


class PatientSerializer(StrictKeys, serializers.ModelSerializer[Patient]):
    """A patient of the clinic; `facts_version` counts the changes of the patient's facts."""

    id = serializers.UUIDField(source="public_id", read_only=True)
    birth_date = DayStringField()
    sex = serializers.ChoiceField(Sex.choices)
    pregnancy = KnownChoiceField(Pregnancy.choices)
    infection_risk = KnownChoiceField(InfectionRisk.choices)
    cyp3a5 = KnownChoiceField(Cyp3a5.choices)
    child_pugh = WholeNumberField(
        required=False, allow_null=True, min_value=CHILD_PUGH[0], max_value=CHILD_PUGH[1]
    )
    allergy_status = serializers.ChoiceField(AllergyStatus.choices, required=False)
    diagnosis = DiagnosisSerializer(required=False, allow_null=True)
    facts_version = serializers.IntegerField(source="facts_version.number", read_only=True)

    class Meta:
        model = Patient
        fields = [
            "id",
            "mrn",
            "family_name",
            "given_name",
            "birth_date",
            "sex",
            "pregnancy",
            "lactating",
            "infection_risk",
            "cyp3a5",
            "hcv_antiviral_course",
            "contraception",
            "child_pugh",
            "allergy_status",
            "allergies",
            "diagnosis",
            "facts_version",
        ]

    def to_representation(self, instance: Patient) -> dict[str, Any]:
        shown: dict[str, Any] = super().to_representation(instance)
        return {"diagnosis": None, **shown}


class CorrectPatientSerializer(PatientSerializer):
    """What changes in the registration; a reason is needed for MRN, names, birth and sex."""

    reason = serializers.CharField(max_length=400, required=False, default="")

    class Meta(PatientSerializer.Meta):
        fields = [
            name
            for name in PatientSerializer.Meta.fields
            if name not in ("id", "diagnosis", "facts_version")
        ] + ["reason"]

    id = diagnosis = facts_version = None  # type: ignore[assignment]  # drops the inherited fields


class SearchSerializer(StrictKeys):
    """Words of the name, or the MRN. Sent in the body, so that it stands in no log of addresses."""

    text = serializers.CharField(max_length=120)


@extend_schema_field({"type": "string", "example": "potassium"})
class AnalyteField(serializers.Field[Analyte, str, str, Any]):
    """An analyte by its key or LOINC code; its key in answers."""

    def to_internal_value(self, data: Any) -> Analyte:
        analyte = analyte_named(data) if isinstance(data, str) else None
        if analyte is None:
            known = ", ".join(sorted(analytes().values_list("key", flat=True)))
            raise ValidationError(f"This analyte is not known. Known: {known}; or a LOINC code.")
        return analyte

    def to_representation(self, value: Analyte) -> str:
        return value.key


class ResultSerializer(StrictKeys):
    """A result as reported; `value` may carry a comparator, such as "<2.0"."""

    value = ResultStringField(source="entered")
    unit = serializers.CharField(source="unit_entered", max_length=40)
    drawn_at = InstantStringField()
    hours_since_dose = DecimalStringField(required=False, allow_null=True, **HOURS)
    assay = serializers.CharField(required=False, allow_blank=True, max_length=60)


class ObservationSerializer(ResultSerializer, serializers.ModelSerializer[Observation]):
    """A result as reported, and exactly converted to the canonical unit of its analyte."""

    patient = serializers.UUIDField(source="patient.public_id")
    analyte = AnalyteField()
    canonical_value = DecimalStringField(source="value", read_only=True)
    canonical_unit = serializers.CharField(source="analyte.canonical_unit", read_only=True)

    class Meta:
        model = Observation
        fields = [
            "id",
            "patient",
            "analyte",
            "value",
            "unit",
            "comparator",
            "canonical_value",
            "canonical_unit",
            "drawn_at",
            "hours_since_dose",
            "assay",
            "replaces",
        ]
        read_only_fields = ["id", "comparator", "replaces"]


class CorrectResultSerializer(ResultSerializer):
    """The result as it should have been, whole, and why."""

    reason = serializers.CharField(max_length=400)


_DOSES_BEFORE = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            "until": {"type": "string", "format": "date"},
            "daily_dose_mg": {"type": "string", "example": "40"},
        },
    },
}


class CoMedicationSerializer(StrictKeys, serializers.ModelSerializer[CoMedication]):
    """A drug taken or planned. `drug` is a name of the vocabulary, or "unlisted" beside `name`.

    A name outside the vocabulary is recorded as unlisted, and `checked` is then false: no
    interaction of it is known here.
    """

    patient = serializers.UUIDField(source="patient.public_id")
    drug = serializers.CharField(max_length=120)
    name = serializers.CharField(max_length=200, required=False, allow_null=True, allow_blank=True)
    checked = serializers.BooleanField(read_only=True)
    route = KnownChoiceField(Route.choices)
    daily_dose_mg = DecimalStringField(
        required=False, allow_null=True, max_digits=9, decimal_places=3
    )
    started_on = DayStringField(required=False, allow_null=True)
    stopped_on = DayStringField(required=False, allow_null=True)
    dose_changed_on = DayStringField(read_only=True, allow_null=True)
    daily_dose_before_mg = DecimalStringField(read_only=True, allow_null=True)
    doses_before = serializers.SerializerMethodField()

    class Meta:
        model = CoMedication
        fields = [
            "id",
            "patient",
            "drug",
            "name",
            "checked",
            "route",
            "daily_dose_mg",
            "started_on",
            "stopped_on",
            "dose_changed_on",
            "daily_dose_before_mg",
            "doses_before",
            "planned",
        ]
        read_only_fields = ["id"]

    @extend_schema_field(_DOSES_BEFORE)
    def get_doses_before(self, row: CoMedication) -> list[dict[str, str]]:
        """Every dose before the present one, until its day, oldest first."""
        return [
            {"until": day.isoformat(), "daily_dose_mg": format_decimal(mg)}
            for day, mg in row.doses_before
        ]

    def to_representation(self, instance: CoMedication) -> dict[str, Any]:
        instance.name = instance.unlisted_name or None  # type: ignore[attr-defined]
        instance.checked = instance.drug_id is not None  # type: ignore[attr-defined]
        shown: dict[str, Any] = super().to_representation(instance)
        return shown | {"drug": str(instance.drug) if instance.drug else UNLISTED}


class CorrectCoMedicationSerializer(CoMedicationSerializer):
    """What changes, and why."""

    dose_changed_on = DayStringField(required=False, allow_null=True)
    daily_dose_before_mg = DecimalStringField(
        required=False, allow_null=True, max_digits=9, decimal_places=3
    )
    reason = serializers.CharField(max_length=400)
    patient = None  # type: ignore[assignment]  # a record never moves to another patient

    class Meta(CoMedicationSerializer.Meta):
        fields = [name for name in CoMedicationSerializer.Meta.fields if name != "patient"] + [
            "reason"
        ]


class StopSerializer(StrictKeys):
    """The last day of a drug."""

    stopped_on = DayStringField()
    reason = serializers.CharField(max_length=400, required=False, default="")


class ChangeDoseSerializer(StrictKeys):
    """Another daily dose of a drug that is taken, and the first day of it."""

    daily_dose_mg = DecimalStringField(max_digits=9, decimal_places=3)
    on = DayStringField()
    reason = serializers.CharField(max_length=400, required=False, default="")


class EventSerializer(StrictKeys, serializers.ModelSerializer[ClinicalEvent]):
    """Something that happened; `grade` 1 to 4, null where it was not graded."""

    patient = serializers.UUIDField(source="patient.public_id")
    kind = serializers.ChoiceField(EventKind.choices)
    grade = WholeNumberField(required=False, allow_null=True, min_value=1, max_value=4)
    started_on = DayStringField()
    resolved_on = DayStringField(required=False, allow_null=True)

    class Meta:
        model = ClinicalEvent
        fields = [
            "id",
            "patient",
            "kind",
            "grade",
            "started_on",
            "resolved_on",
            "resolution",
            "note",
        ]
        read_only_fields = ["id"]


class ResolveSerializer(StrictKeys):
    """The day on which an event was over.

    `resolution` says how it was documented; an infection of grade 3 or more, or not graded, is not
    over without it.
    """

    resolved_on = DayStringField()
    resolution = serializers.CharField(max_length=400, required=False, allow_blank=True, default="")
    reason = serializers.CharField(max_length=400, required=False, default="")


class ImmunisationSerializer(StrictKeys, serializers.ModelSerializer[Immunisation]):
    """A vaccine by a name of the vocabulary or an ATC code under J07: planned, or given."""

    patient = serializers.UUIDField(source="patient.public_id")
    route = KnownChoiceField(VaccineRoute.choices)
    planned_on = DayStringField(required=False, allow_null=True)
    given_on = DayStringField(required=False, allow_null=True)

    class Meta:
        model = Immunisation
        fields = ["id", "patient", "vaccine", "route", "planned_on", "given_on"]
        read_only_fields = ["id"]


class GiveSerializer(StrictKeys):
    """The day on which a planned vaccine was given."""

    given_on = DayStringField()
    reason = serializers.CharField(max_length=400, required=False, default="")


class _Clinical(viewsets.GenericViewSet[M]):
    """What these resources share: the clinic's own rows, and a signature with the reason given."""

    lookup_value_regex = "[0-9]{1,18}"
    queryset: Any = None

    def rows(self) -> QuerySet[M]:
        """The rows of the caller's clinic that stand."""
        found: QuerySet[M] = self.queryset.model.objects.filter(
            patient__clinic=access_of(self.request).clinic, withdrawn=False
        )
        return found.select_related("patient__clinic")

    def get_queryset(self) -> QuerySet[M]:
        if getattr(self, "swagger_fake_view", False):
            return super().get_queryset()
        return self.rows()

    def read(self, serializer: type[serializers.Serializer[Any]], **kwargs: Any) -> dict[str, Any]:
        """What the body says, or the errors at its fields."""
        given = serializer(data=self.request.data, **kwargs)
        given.is_valid(raise_exception=True)
        return dict(given.validated_data)

    def patient(self, given: dict[str, Any]) -> Patient:
        """Take the patient out of the body; another clinic's is as unknown as none."""
        public_id: UUID = given.pop("patient")["public_id"]
        try:
            return patient_of(access_of(self.request).clinic, public_id)
        except Patient.DoesNotExist as error:
            raise ValidationError(
                {"patient": "There is no such patient at your clinic."}
            ) from error

    def sign(self, given: dict[str, Any] | None = None) -> Signature:
        """The caller's hand; a reason is taken out of the body."""
        return access_of(self.request).sign((given or {}).pop("reason", ""))

    def answer(self, row: models.Model, code: int = status.HTTP_200_OK) -> Response:
        return Response(self.get_serializer(row).data, status=code)


_READ = {"list": Permission.READ_PATIENTS, "retrieve": Permission.READ_PATIENTS}


class PatientViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, _Clinical[Patient]):
    """The clinic's patients."""

    serializer_class = PatientSerializer
    queryset = Patient.objects.none()
    lookup_field = "public_id"
    lookup_url_kwarg = "id"
    lookup_value_regex = "[0-9a-fA-F-]{36}"
    permissions_for = {
        **_READ,
        "search": Permission.READ_PATIENTS,
        "create": Permission.REGISTER_PATIENTS,
        "correct": Permission.REGISTER_PATIENTS,
        "diagnosis": Permission.RECORD_FACTS,
    }

    def rows(self) -> QuerySet[Patient]:
        return patients_of(access_of(self.request).clinic).select_related(
            "clinic", "diagnosis", "facts_version"
        )

    def create(self, request: Request) -> Response:
        """Register a patient, with the diagnosis where it is known."""
        given = self.read(PatientSerializer)
        patient = register_patient(
            clinic=access_of(request).clinic, **given, at=timezone.now(), by=self.sign()
        )
        return self.answer(self.rows().get(pk=patient.pk), status.HTTP_201_CREATED)

    @extend_schema(request=SearchSerializer, responses=PatientSerializer(many=True))
    @action(detail=False, methods=["post"])
    def search(self, request: Request) -> Response:
        """Find patients by name or MRN: a page of 50 by name."""
        text = self.read(SearchSerializer)["text"]
        found = search_patients(access_of(request).clinic, text)
        page = self.rows().filter(pk__in=found.values("pk"))[:50]
        return Response(self.get_serializer(page, many=True).data)

    @extend_schema(request=CorrectPatientSerializer, responses=PatientSerializer)
    @action(detail=True, methods=["post"])
    def correct(self, request: Request, id: str) -> Response:
        """Change the registration: only the fields that are sent."""
        patient = self.get_object()
        given = self.read(CorrectPatientSerializer, partial=True)
        by = self.sign(given)
        correct_patient(patient=patient, at=timezone.now(), by=by, **given)
        return self.answer(self.get_object())

    @extend_schema(request=DiagnosisSerializer, responses=PatientSerializer)
    @action(detail=True, methods=["post"])
    def diagnosis(self, request: Request, id: str) -> Response:
        """Record the disease as it is judged now, whole: what is left out is not known."""
        record_diagnosis(
            patient=self.get_object(), by=self.sign(), **self.read(DiagnosisSerializer)
        )
        return self.answer(self.get_object())


class ObservationFilter(filters.FilterSet):
    """By patient (id) and analyte (key)."""

    patient = filters.UUIDFilter("patient__public_id")
    analyte = filters.CharFilter("analyte__key")


class FactFilter(filters.FilterSet):
    """By patient (id)."""

    patient = filters.UUIDFilter("patient__public_id")


class ObservationViewSet(mixins.ListModelMixin, mixins.RetrieveModelMixin, _Clinical[Observation]):
    """The results that stand: neither replaced nor withdrawn."""

    serializer_class = ObservationSerializer
    filterset_class = ObservationFilter
    queryset = Observation.objects.none()
    permissions_for = {
        **_READ,
        "create": Permission.RECORD_FACTS,
        "correct": Permission.RECORD_FACTS,
        "withdraw": Permission.RECORD_FACTS,
    }

    def rows(self) -> QuerySet[Observation]:
        return super().rows().filter(replaced_by__isnull=True).select_related("analyte")

    def create(self, request: Request) -> Response:
        """Record a result; 409 `already_recorded` when it stands already."""
        given = self.read(ObservationSerializer)
        row = record_observation(
            patient=self.patient(given), **_renamed(given), at=timezone.now(), by=self.sign()
        )
        return self.answer(row, status.HTTP_201_CREATED)

    @extend_schema(request=CorrectResultSerializer, responses={201: ObservationSerializer})
    @action(detail=True, methods=["post"])
    def correct(self, request: Request, pk: str) -> Response:
        """Replace a result by the right one; the answer is the new row."""
        given = self.read(CorrectResultSerializer)
        by = self.sign(given)
        row = correct_observation(
            observation=self.get_object(), **_renamed(given), at=timezone.now(), by=by
        )
        return self.answer(row, status.HTTP_201_CREATED)

    @extend_schema(request=ReasonSerializer, responses=ObservationSerializer)
    @action(detail=True, methods=["post"])
    def withdraw(self, request: Request, pk: str) -> Response:
        """Mark a result as entered in error."""
        by = self.sign(self.read(ReasonSerializer))
        return self.answer(
            withdraw_observation(observation=self.get_object(), at=timezone.now(), by=by)
        )


def _renamed(given: dict[str, Any]) -> dict[str, Any]:
    return {("unit" if name == "unit_entered" else name): value for name, value in given.items()}


class _Facts(mixins.ListModelMixin, mixins.RetrieveModelMixin, _Clinical[M]):
    """Drugs, events and vaccines: each can be withdrawn as entered in error."""

    filterset_class = FactFilter

    @extend_schema(request=ReasonSerializer)
    @action(detail=True, methods=["post"])
    def withdraw(self, request: Request, pk: str) -> Response:
        """Take it out of the facts, as entered in error or called off; it stays on record."""
        by = self.sign(self.read(ReasonSerializer))
        fact: Any = self.get_object()
        return self.answer(withdraw_fact(fact=fact, at=timezone.now(), by=by))


class CoMedicationViewSet(_Facts[CoMedication]):
    """The drugs taken beside tacrolimus."""

    serializer_class = CoMedicationSerializer
    queryset = CoMedication.objects.none()
    permissions_for = {
        **_READ,
        "create": Permission.RECORD_FACTS,
        "stop": Permission.RECORD_FACTS,
        "change_dose": Permission.RECORD_FACTS,
        "correct": Permission.RECORD_FACTS,
        "withdraw": Permission.RECORD_FACTS,
    }

    def rows(self) -> QuerySet[CoMedication]:
        return super().rows().select_related("drug")

    def create(self, request: Request) -> Response:
        """Record a drug; one outside the vocabulary comes back with `checked` false."""
        given = self.read(CoMedicationSerializer)
        row = record_co_medication(
            patient=self.patient(given), **_by_name(given), at=timezone.now(), by=self.sign()
        )
        return self.answer(row, status.HTTP_201_CREATED)

    @extend_schema(request=StopSerializer, responses=CoMedicationSerializer)
    @action(detail=True, methods=["post"])
    def stop(self, request: Request, pk: str) -> Response:
        """Note the last day of a drug."""
        given = self.read(StopSerializer)
        by = self.sign(given)
        return self.answer(
            stop_co_medication(co_medication=self.get_object(), **given, at=timezone.now(), by=by)
        )

    @extend_schema(request=ChangeDoseSerializer, responses=CoMedicationSerializer)
    @action(detail=True, methods=["post"], url_path="change-dose")
    def change_dose(self, request: Request, pk: str) -> Response:
        """Note another daily dose from a day on; the dose before is kept beside it."""
        given = self.read(ChangeDoseSerializer)
        by = self.sign(given)
        return self.answer(
            change_co_medication_dose(
                co_medication=self.get_object(), **given, at=timezone.now(), by=by
            )
        )

    @extend_schema(request=CorrectCoMedicationSerializer, responses=CoMedicationSerializer)
    @action(detail=True, methods=["post"])
    def correct(self, request: Request, pk: str) -> Response:
        """Put right what is recorded of a drug: only the fields that are sent, and why."""
        given = self.read(CorrectCoMedicationSerializer, partial=True)
        by = self.sign(given)
        return self.answer(
            correct_co_medication(
                co_medication=self.get_object(), **_by_name(given), at=timezone.now(), by=by
            )
        )


def _by_name(given: dict[str, Any]) -> dict[str, Any]:
    """The drug by whatever name was sent: the service finds it in the vocabulary or not."""
    drug, name = given.pop("drug", ""), given.pop("name", None) or ""
    if drug == UNLISTED and not name:
        raise ValidationError({"name": "Name the drug that is not listed."})
    if drug or name:
        given |= {"drug": None, "unlisted_name": name if drug in ("", UNLISTED) else drug}
    return given


class EventViewSet(_Facts[ClinicalEvent]):
    """Clinical events."""

    serializer_class = EventSerializer
    queryset = ClinicalEvent.objects.none()
    permissions_for = {
        **_READ,
        "create": Permission.RECORD_FACTS,
        "resolve": Permission.RECORD_FACTS,
        "withdraw": Permission.RECORD_FACTS,
    }

    def create(self, request: Request) -> Response:
        """Record an event."""
        given = self.read(EventSerializer)
        row = record_event(patient=self.patient(given), **given, at=timezone.now(), by=self.sign())
        return self.answer(row, status.HTTP_201_CREATED)

    @extend_schema(request=ResolveSerializer, responses=EventSerializer)
    @action(detail=True, methods=["post"])
    def resolve(self, request: Request, pk: str) -> Response:
        """Note the day on which an event was over."""
        given = self.read(ResolveSerializer)
        by = self.sign(given)
        return self.answer(
            resolve_event(event=self.get_object(), **given, at=timezone.now(), by=by)
        )


class ImmunisationViewSet(_Facts[Immunisation]):
    """Vaccines planned and given."""

    serializer_class = ImmunisationSerializer
    queryset = Immunisation.objects.none()
    permissions_for = {
        **_READ,
        "create": Permission.RECORD_FACTS,
        "give": Permission.RECORD_FACTS,
        "withdraw": Permission.RECORD_FACTS,
    }

    def create(self, request: Request) -> Response:
        """Record a vaccine, planned or given."""
        given = self.read(ImmunisationSerializer)
        row = record_immunisation(
            patient=self.patient(given), **given, at=timezone.now(), by=self.sign()
        )
        return self.answer(row, status.HTTP_201_CREATED)

    @extend_schema(request=GiveSerializer, responses=ImmunisationSerializer)
    @action(detail=True, methods=["post"])
    def give(self, request: Request, pk: str) -> Response:
        """Note that a planned vaccine was given."""
        given = self.read(GiveSerializer)
        by = self.sign(given)
        return self.answer(
            give_immunisation(immunisation=self.get_object(), **given, at=timezone.now(), by=by)
        )


routes = [
    ("patients", PatientViewSet, "patient"),
    ("observations", ObservationViewSet, "observation"),
    ("co-medications", CoMedicationViewSet, "co-medication"),
    ("events", EventViewSet, "event"),
    ("immunisations", ImmunisationViewSet, "immunisation"),
]
