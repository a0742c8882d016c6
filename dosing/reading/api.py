"""The protocol in the API: its statements, what implements them, how often they fired here."""

from typing import Any

from django.http import Http404
from django.utils import timezone
from drf_spectacular.helpers import forced_singular_serializer
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, viewsets
from rest_framework.request import Request
from rest_framework.response import Response

from dosing.reading.selectors import Fired, approved_rows, fired_at
from dosing.rules import cases
from dosing.rules.engine.rows import Origin
from dosing.rules.protocol import CODES, Confidence, Protocol, protocol
from dosing.rules.selectors import published_book
from dosing.rules.traceability import Trace, tallies, trace, traces
from tacroweb.accounts.access import access_of
from tacroweb.accounts.roles import Permission


class SourceSerializer(serializers.Serializer[Any]):
    """What one reference number of the document probably stands for."""

    number = serializers.IntegerField()
    title = serializers.CharField()
    identifier = serializers.CharField()
    confidence = serializers.ChoiceField([each.value for each in Confidence])
    why = serializers.CharField()


class ItemSerializer(serializers.Serializer[Any]):
    """What fills a vague word (D) or settles a doubt (X)."""

    code = serializers.CharField()
    about = serializers.CharField()
    settled = serializers.CharField()


class CitingRowSerializer(serializers.Serializer[Any]):
    """A row of the rule book in force that cites the statement."""

    table = serializers.CharField()
    code = serializers.CharField(source="row.code")
    origin = serializers.ChoiceField([each.value for each in Origin], source="row.origin.value")
    enabled = serializers.BooleanField(source="row.enabled")
    needs_local_approval = serializers.BooleanField(source="row.needs_local_approval")


class FunctionSerializer(serializers.Serializer[Any]):
    """A function of the engine that raises one of its findings, and the topics that ask it."""

    name = serializers.CharField()
    summary = serializers.CharField()
    topics = serializers.ListField(child=serializers.CharField())


class StatementSerializer(serializers.Serializer[Any]):
    """One statement: text, source, rows, functions, cases, and how often it fired here."""

    code = serializers.CharField()
    part = serializers.CharField()
    section = serializers.CharField()
    text = serializers.CharField()
    references = serializers.ListField(child=serializers.IntegerField())
    in_seed = serializers.BooleanField()
    caution = serializers.CharField(allow_blank=True)
    items = ItemSerializer(many=True)
    rows = CitingRowSerializer(many=True)
    functions = FunctionSerializer(many=True)
    cases_at_work = serializers.ListField(child=serializers.CharField())
    cases_silent = serializers.ListField(child=serializers.CharField())
    gaps = serializers.ListField(child=serializers.CharField())
    fired = serializers.IntegerField(help_text="stored assessments of the clinic that cite it")
    fired_last_90_days = serializers.IntegerField()


class TallySerializer(serializers.Serializer[Any]):
    """How many rows come from one origin."""

    origin = serializers.ChoiceField([each.value for each in Origin], source="origin.value")
    enabled = serializers.IntegerField()
    disabled = serializers.IntegerField()
    unapproved = serializers.IntegerField(help_text="in use without the approval that they need")


class ProtocolSerializer(serializers.Serializer[Any]):
    """The whole document under the rule book in force."""

    title = serializers.CharField()
    provenance = serializers.CharField()
    rule_book = serializers.CharField()
    origins = TallySerializer(many=True)
    sources = SourceSerializer(many=True)
    statements = StatementSerializer(many=True)


class ProtocolViewSet(viewsets.ViewSet):
    """The protocol: each statement of the document with what implements and what proves it."""

    permissions_for = {"list": Permission.READ_RULES, "retrieve": Permission.READ_RULES}
    lookup_url_kwarg = "code"

    @extend_schema(
        responses=forced_singular_serializer(ProtocolSerializer)  # type: ignore[no-untyped-call]
    )
    def list(self, request: Request) -> Response:
        """Every statement in the order of the document."""
        document, book = protocol(), published_book()
        clinic = access_of(request).clinic
        fired = fired_at(clinic, today=timezone.localdate())
        approved = approved_rows(clinic, book, at=timezone.now())
        answer = {
            "title": document.title,
            "provenance": document.provenance,
            "rule_book": book.version,
            "origins": tallies(book, approved),
            "sources": document.sources,
            "statements": [
                _statement(each, document, fired) for each in traces(document, book, cases.index())
            ],
        }
        return Response(ProtocolSerializer(answer).data)

    @extend_schema(
        responses=StatementSerializer,
        parameters=[OpenApiParameter("code", str, OpenApiParameter.PATH)],
    )
    def retrieve(self, request: Request, code: str) -> Response:
        """One statement, by its code: S40."""
        if code not in CODES:
            raise Http404
        document = protocol()
        fired = fired_at(access_of(request).clinic, today=timezone.localdate())
        found = trace(document.statement(code), published_book(), cases.index())
        return Response(StatementSerializer(_statement(found, document, fired)).data)


def _statement(found: Trace, document: Protocol, fired: dict[str, Fired]) -> dict[str, Any]:
    each = found.statement
    section = document.section_of(each.code)
    counted = fired.get(each.code, Fired())
    return {
        "code": each.code,
        "part": section.part,
        "section": section.title,
        "text": each.text,
        "references": each.references,
        "in_seed": each.in_seed,
        "caution": each.caution,
        "items": document.items_of(each),
        "rows": found.rows,
        "functions": found.functions,
        "cases_at_work": [case.name for case in found.fires],
        "cases_silent": [case.name for case in found.silent],
        "gaps": found.gaps,
        "fired": counted.ever,
        "fired_last_90_days": counted.recently,
    }


routes = [("protocol", ProtocolViewSet, "protocol")]
