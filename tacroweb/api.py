"""The API's roof: its router, how JSON is read, how pages are cut and what an error looks like."""

import json
import re
import sys
from collections.abc import Mapping
from typing import IO, Any

from django.conf import settings
from django.core.exceptions import PermissionDenied, SuspiciousOperation, ValidationError
from django.db import IntegrityError, OperationalError
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.views import defaults
from django_filters.rest_framework import DjangoFilterBackend
from rest_framework import exceptions, status
from rest_framework.pagination import CursorPagination
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.settings import api_settings

from tacroweb.refusals import Refusal

MAX_WHOLE_DIGITS = 18
NO_DATABASE = "The database does not answer now. Before you repeat this, read the record."


class TooLarge(exceptions.APIException):
    """More than anything here can need."""

    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_code = "too_large"
    default_detail = f"More than {settings.DATA_UPLOAD_MAX_MEMORY_SIZE // 2**20} MiB are not read."


class StrictJSONParser(BaseParser):
    """JSON as the sender meant it: a key given twice, NaN or a broken text is refused."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        most = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        body = stream.read(most + 1)
        if len(body) > most:
            raise TooLarge
        try:
            text = body.decode("utf-8")
            found = json.loads(
                text,
                object_pairs_hook=_no_duplicates,
                parse_constant=_no_constants,
                parse_float=_Unquoted,
                parse_int=_whole,
            )
            if "\\ud" in text.lower():
                # Half of a pair of escapes is no character: it can be neither stored nor answered.
                json.dumps(found, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError as error:
            raise exceptions.ParseError("This JSON holds half a character.") from error
        except RecursionError as error:
            raise exceptions.ParseError("This JSON is nested too deeply.") from error
        except ValueError as error:
            raise exceptions.ParseError(f"This is not the JSON expected: {error}") from error
        return found


class _Unquoted(str):
    """A JSON number with a point, kept as its text: decimal fields refuse it, asking for quotes."""

    __slots__ = ()


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f'the key "{key}" is given twice')
        found[key] = value
    return found


def _whole(text: str) -> int:
    if len(text) > MAX_WHOLE_DIGITS:
        raise ValueError(f"a whole number has more than {MAX_WHOLE_DIGITS} digits")
    return int(text)


def _no_constants(name: str) -> Any:
    raise ValueError(f"{name} is not a number")


class Page(CursorPagination):
    """Newest first, by cursor: a page costs the same however long the list is."""

    ordering = "-id"
    page_size_query_param = "page_size"
    max_page_size = 200

    def decode_cursor(self, request: Request) -> Any:
        """Where to go on. A cursor that no page of ours gave is a 404, as an unreadable one is."""
        cursor = super().decode_cursor(request)
        if cursor is not None and not re.fullmatch("[0-9]{1,18}", str(cursor.position or 0)):
            raise exceptions.NotFound(self.invalid_cursor_message)
        return cursor


class KnownFilters(DjangoFilterBackend):
    """Filters by what a view declares. A name it does not know is refused: a misspelt `patient`
    would otherwise hand over everybody's rows as that patient's."""

    def filter_queryset(self, request: Request, queryset: QuerySet[Any], view: Any) -> Any:
        filterset = self.get_filterset_class(view, queryset)
        known = {*(filterset.base_filters if filterset else ()), "cursor", "page_size"}
        if unknown := request.query_params.keys() - known:
            raise ValidationError(dict.fromkeys(unknown, "There is no such filter here."))
        return super().filter_queryset(request, queryset, view)


class Conflict(exceptions.APIException):
    """Two acts met in the database, and a constraint let one of them through."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "conflict"
    default_detail = "Somebody else changed this record at the same moment: read it again."


def error_response(error: Exception, context: dict[str, Any]) -> Response | None:
    """Every error as {"code", "message", "fields"}: the same words as the page would show.

    400 for input that cannot be read or is wrong at a field, 403/404 for what may not be done or
    seen, 409 for an act that the state of the record refuses (the service's own sentence). What is
    raised outside a view of the API is answered by `not_found` and `server_error`.
    """
    if isinstance(error, Http404):
        error = exceptions.NotFound("There is no such record at your clinic.")
    elif isinstance(error, PermissionDenied):
        error = exceptions.PermissionDenied(str(error) or None)
    elif isinstance(error, ValidationError):
        error = exceptions.ValidationError(
            error.message_dict
            if hasattr(error, "error_dict")
            else {api_settings.NON_FIELD_ERRORS_KEY: error.messages}
        )
    elif isinstance(error, SuspiciousOperation):
        error = exceptions.ParseError("This request cannot be read.")
    elif isinstance(error, IntegrityError):
        error = Conflict()
    if isinstance(error, Refusal):
        body = {"code": error.code, "message": error.message, "fields": error.fields}
        return Response(body, status=status.HTTP_409_CONFLICT)
    if not isinstance(error, exceptions.APIException):
        return None
    headers = {}
    if (challenge := getattr(error, "auth_header", None)) is not None:
        headers["WWW-Authenticate"] = challenge
    if (wait := getattr(error, "wait", None)) is not None:
        headers["Retry-After"] = str(int(wait))
    fields: dict[str, Any] = {}
    if isinstance(error, exceptions.ValidationError):
        code, message = "invalid", "Some of what was sent is wrong: see fields."
        detail = error.detail
        fields = detail if isinstance(detail, dict) else {"": detail}
        general = fields.pop(api_settings.NON_FIELD_ERRORS_KEY, None) or fields.pop("", None)
        if general:
            message = " ".join(str(text) for text in general)
    else:
        code, message = str(error.get_codes()), str(error.detail)
    return Response(
        {"code": code, "message": message, "fields": fields},
        status=error.status_code,
        headers=headers,
    )


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """The 400 of what no view has read."""
    return _failure(request, 400, "bad_request", "This request cannot be read.") or (
        defaults.bad_request(request, exception)
    )


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """The 404 of an address that leads nowhere."""
    return _failure(request, 404, "not_found", "There is nothing at this address.") or (
        defaults.page_not_found(request, exception)
    )


def server_error(request: HttpRequest) -> HttpResponse:
    """The 500 of a mistake of ours; what it was is in the log, not in the answer.

    503 when the database does not answer or cannot be written: away, locked, its disk full.
    """
    if isinstance(sys.exc_info()[1], OperationalError):
        response = _failure(request, 503, "unavailable", NO_DATABASE) or (
            HttpResponse(render_to_string("503.html"), status=503)
        )
        response["Retry-After"] = "10"
        return response
    return _failure(
        request, 500, "server_error", "This failed on our side; nothing was changed."
    ) or (defaults.server_error(request))


def _failure(request: HttpRequest, status: int, code: str, message: str) -> HttpResponse | None:
    if request.path.startswith("/api/"):
        return JsonResponse({"code": code, "message": message, "fields": {}}, status=status)
    return None
