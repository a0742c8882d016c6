"""Rule books in the API: read them whole, see what a draft changes, take its next step.

Rows are edited in the back office, where each save is signed and checked against others.
"""

from dataclasses import asdict
from typing import Any

from django.db.models import QuerySet
from django.http import Http404
from django.utils import timezone
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import mixins, serializers, status, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

from dosing.forms import checked_password
from dosing.governance.changes import changes_of, for_installation
from dosing.governance.impact import (
    approve_book,
    impact_counts,
    named_differences,
    newest_impact,
    seen_impact,
    start_impact,
)
from dosing.models import ImpactDifference, ImpactRun
from dosing.rules.loading import columns_of, engine_book
from dosing.rules.models import RuleBook
from dosing.rules.selectors import (
    answered_warnings,
    lint_of,
    lint_sha256,
    published_version,
)
from dosing.rules.services import (
    discard_draft,
    draft_book,
    return_to_draft,
    rollback_book,
    submit_for_review,
)
from dosing.tasks import compute_impact
from tacroweb.accounts.access import access_of
from tacroweb.accounts.roles import Permission
from tacroweb.fields import InstantStringField, StrictKeys
from tacroweb.numbers import format_decimal

LONGEST = 2000
_ROWS = {"type": "object", "description": "each table's rows, decimals as strings"}


class RuleBookSerializer(serializers.ModelSerializer[RuleBook]):
    """A version of the rules and where it stands in its life."""

    based_on = serializers.CharField(source="based_on.version", read_only=True, default=None)
    published_at = InstantStringField(read_only=True, allow_null=True)
    retired_at = InstantStringField(read_only=True, allow_null=True)

    class Meta:
        model = RuleBook
        fields = [
            "version",
            "title",
            "status",
            "based_on",
            "sha256",
            "published_at",
            "retired_at",
        ]


class WholeRuleBookSerializer(RuleBookSerializer):
    """A rule book with every row of every table."""

    tables = serializers.SerializerMethodField()

    class Meta(RuleBookSerializer.Meta):
        fields = [*RuleBookSerializer.Meta.fields, "tables"]

    @extend_schema_field(_ROWS)
    def get_tables(self, row: RuleBook) -> dict[str, list[dict[str, Any]]]:
        return {
            name: [{key: _plain(value) for key, value in columns_of(each).items()} for each in held]
            for name, held in engine_book(row).tables().items()
        }


def _plain(value: Any) -> Any:
    """A column as JSON holds it: a decimal is a string in plain digits."""
    if value is None or isinstance(value, bool | int | str):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else format_decimal(value)


class BookChangeSerializer(serializers.Serializer[Any]):
    """One line of the difference to the book in force; `flag` is what must not be missed."""

    table = serializers.CharField()
    code = serializers.CharField()
    kind = serializers.ChoiceField(["ADDED", "REMOVED", "CHANGED"])
    field = serializers.CharField()
    old = serializers.CharField()
    new = serializers.CharField()
    flag = serializers.CharField()


class LintSerializer(serializers.Serializer[Any]):
    """One defect that the linter proves, with the reason for which a warning is accepted."""

    level = serializers.ChoiceField(["ERROR", "WARNING"])
    check = serializers.CharField()
    table = serializers.CharField()
    row = serializers.CharField()
    value = serializers.CharField()
    message = serializers.CharField()
    accepted = serializers.CharField()


class ImpactDifferenceSerializer(serializers.ModelSerializer[ImpactDifference]):
    """A patient of the caller's clinic whose advice would be another, old and new; or `failure`,
    why the patient could not be assessed."""

    patient = serializers.UUIDField(source="patient.public_id", read_only=True)
    old = serializers.DictField(source="sides.old", read_only=True, default=None)
    new = serializers.DictField(source="sides.new", read_only=True, default=None)

    class Meta:
        model = ImpactDifference
        fields = ["patient", "old", "new", "failure"]


class ImpactCountsSerializer(serializers.Serializer[Any]):
    """How many would get another advice, of the caller's clinic and elsewhere, and how many of all
    could not be assessed."""

    own = serializers.IntegerField()
    elsewhere = serializers.IntegerField()
    failed = serializers.IntegerField()


class ImpactSerializer(serializers.ModelSerializer[ImpactRun]):
    """How far the impact is, and once it is done how many would get another advice."""

    against = serializers.CharField(source="against.version", read_only=True)
    started_at = InstantStringField(read_only=True)
    finished_at = InstantStringField(read_only=True, allow_null=True)
    up_to_date = serializers.SerializerMethodField()
    counts = serializers.SerializerMethodField()

    class Meta:
        model = ImpactRun
        fields = [
            "against",
            "asked_by",
            "started_at",
            "finished_at",
            "patients",
            "done",
            "cut_short",
            "up_to_date",
            "counts",
        ]

    def get_up_to_date(self, run: ImpactRun) -> bool:
        return seen_impact(run.book) == run

    @extend_schema_field(ImpactCountsSerializer)
    def get_counts(self, run: ImpactRun) -> Any:
        return ImpactCountsSerializer(impact_counts(run, self.context["access"])).data


class BookStepSerializer(StrictKeys):
    """Why this step is taken."""

    reason = serializers.CharField(max_length=LONGEST)


class OpenSerializer(BookStepSerializer):
    """A new draft: of the book in force, or of the earlier one named, to go back to it."""

    begin_with = serializers.CharField(max_length=20, required=False)


class ApproveSerializer(BookStepSerializer):
    """An approval is signed: the approver's own password, token or session alike."""

    password = serializers.CharField(max_length=LONGEST, write_only=True, trim_whitespace=False)

    def validate_password(self, value: str) -> str:
        return checked_password(self.context["user"], value)


_READ, _EDIT, _APPROVE = Permission.READ_RULES, Permission.EDIT_RULES, Permission.APPROVE_RULES


class RuleBookViewSet(
    mixins.ListModelMixin, mixins.RetrieveModelMixin, viewsets.GenericViewSet[RuleBook]
):
    """Rule books, newest first. POST opens a draft; its steps are acts of their own."""

    queryset = RuleBook.objects.none()
    lookup_field = "version"
    lookup_value_regex = "[^/\x00]+"
    permissions_for = {
        "list": _READ,
        "retrieve": _READ,
        "create": _EDIT,
        "changes": _READ,
        "lint": _READ,
        "impact": _READ,
        "impact_patients": _READ,
        "compute_impact": (_EDIT, _APPROVE),
        "submit": _EDIT,
        "discard": _EDIT,
        "give_back": (_EDIT, _APPROVE),
        "approve": _APPROVE,
    }

    def get_queryset(self) -> QuerySet[RuleBook]:
        if getattr(self, "swagger_fake_view", False):
            return RuleBook.objects.none()
        return RuleBook.objects.select_related("based_on").defer("text").order_by("-version")

    def get_serializer_class(self) -> type[serializers.BaseSerializer[Any]]:
        return RuleBookSerializer if self.action == "list" else WholeRuleBookSerializer

    def _given(self, kind: type[serializers.Serializer[Any]]) -> dict[str, Any]:
        given = kind(data=self.request.data, context={"user": access_of(self.request).user})
        given.is_valid(raise_exception=True)
        return dict(given.validated_data)

    def _newest_impact(self) -> ImpactRun:
        run = newest_impact(self.get_object())
        if run is None:
            raise Http404
        return run

    def _answer(self, book: RuleBook, code: int = status.HTTP_200_OK) -> Response:
        return Response(RuleBookSerializer(book).data, status=code)

    @extend_schema(request=OpenSerializer, responses={201: RuleBookSerializer})
    def create(self, request: Request) -> Response:
        """Open a draft."""
        given = self._given(OpenSerializer)
        by, at = for_installation(access_of(request), given["reason"]), timezone.now()
        named = given.get("begin_with")
        if named is None or named == published_version().version:
            return self._answer(draft_book(at=at, by=by), status.HTTP_201_CREATED)
        to = RuleBook.objects.filter(version=named).first()
        if to is None:
            raise serializers.ValidationError({"begin_with": "There is no such rule book."})
        return self._answer(rollback_book(to=to, at=at, by=by), status.HTTP_201_CREATED)

    @extend_schema(responses=BookChangeSerializer(many=True))
    @action(detail=True, methods=["get"], pagination_class=None)
    def changes(self, request: Request, version: str) -> Response:
        """What the book says otherwise than the one in force, field by field."""
        against = engine_book(published_version())
        found = [asdict(each) for each in changes_of(against, engine_book(self.get_object()))]
        return Response(BookChangeSerializer(found, many=True).data)

    @extend_schema(responses=LintSerializer(many=True))
    @action(detail=True, methods=["get"], pagination_class=None)
    def lint(self, request: Request, version: str) -> Response:
        """What the linter proves of the book; an empty list is a sound book."""
        book = self.get_object()
        reasons = {key: answer.reason for key, answer in answered_warnings(book).items()}
        found = [
            asdict(each) | {"accepted": reasons.get(lint_sha256(each), "")}
            for each in lint_of(book, at=timezone.localtime())
        ]
        return Response(LintSerializer(found, many=True).data)

    @extend_schema(responses=ImpactSerializer)
    @action(detail=True, methods=["get"])
    def impact(self, request: Request, version: str) -> Response:
        """The newest impact of the book, in numbers."""
        context = {"access": access_of(request)}
        return Response(ImpactSerializer(self._newest_impact(), context=context).data)

    @extend_schema(responses=ImpactDifferenceSerializer(many=True))
    @action(detail=True, methods=["get"], url_path="impact/patients")
    def impact_patients(self, request: Request, version: str) -> Response:
        """The patients of the caller's clinic in the newest impact, those who could not be assessed
        first; none for who only reads the rules."""
        named = named_differences(self._newest_impact(), access_of(request))
        listed: Any = self.paginate_queryset(named)  # type: ignore[arg-type]  # rows of the book
        return self.get_paginated_response(ImpactDifferenceSerializer(listed, many=True).data)

    @extend_schema(request=None, responses={202: ImpactSerializer})
    @impact.mapping.post
    def compute_impact(self, request: Request, version: str) -> Response:
        """Ask for the impact to be computed, in the background."""
        access = access_of(request)
        run = start_impact(
            book=self.get_object(), at=timezone.now(), asked_by=access.user.display_name
        )
        compute_impact.delay(run_id=run.pk)
        answer = ImpactSerializer(run, context={"access": access})
        return Response(answer.data, status=status.HTTP_202_ACCEPTED)

    @extend_schema(request=BookStepSerializer, responses=RuleBookSerializer)
    @action(detail=True, methods=["post"])
    def submit(self, request: Request, version: str) -> Response:
        """Put a draft forward for review."""
        by = for_installation(access_of(request), self._given(BookStepSerializer)["reason"])
        book = submit_for_review(book=self.get_object(), at=timezone.now(), by=by)
        return self._answer(book)

    @extend_schema(request=BookStepSerializer, responses=RuleBookSerializer)
    @action(detail=True, methods=["post"])
    def discard(self, request: Request, version: str) -> Response:
        """Give a draft up; it is kept, retired."""
        by = for_installation(access_of(request), self._given(BookStepSerializer)["reason"])
        return self._answer(discard_draft(book=self.get_object(), at=timezone.now(), by=by))

    @extend_schema(request=BookStepSerializer, responses=RuleBookSerializer)
    @action(detail=True, methods=["post"], url_path="give-back")
    def give_back(self, request: Request, version: str) -> Response:
        """Give a book in review back to its editors."""
        by = for_installation(access_of(request), self._given(BookStepSerializer)["reason"])
        return self._answer(return_to_draft(book=self.get_object(), by=by))

    @extend_schema(request=ApproveSerializer, responses=RuleBookSerializer)
    @action(detail=True, methods=["post"])
    def approve(self, request: Request, version: str) -> Response:
        """Approve a book in review, with your password, and put it in force."""
        by = for_installation(access_of(request), self._given(ApproveSerializer)["reason"])
        book = approve_book(book=self.get_object(), at=timezone.now(), by=by)
        return self._answer(book)


routes = [("rule-books", RuleBookViewSet, "rule-book")]
