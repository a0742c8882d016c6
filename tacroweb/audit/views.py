"""The audit pages: a patient's timeline, every act of the clinic, one act whole, and the export."""

import csv
import json
import re
from collections.abc import Iterator
from uuid import UUID
from zoneinfo import ZoneInfo

from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from patients.models import Patient
from patients.selectors import search_patients
from tacroweb.accounts.access import access_of, requires
from tacroweb.accounts.roles import Permission
from tacroweb.templatetags.components import CHANNELS

from .forms import ActFilter, PatientSearch
from .models import LedgerEntry
from .timeline import (
    acts_about,
    in_words,
    name_patients,
    under_their_causes,
    visible_acts,
)
from .verify import check_entry

PAGE = 20
ROWS = 25  # of one act on a page of its own
MATCHES = 50
_FORMULA = re.compile(r"[\t\r\n]|\s*[=+\-@|%\uff1d\uff0b\uff0d\uff20]")


@require_safe
@requires(Permission.READ_AUDIT)
def patient(request: HttpRequest, patient: UUID) -> HttpResponse:
    """Who did what to this patient's record, when and why; newest first."""
    found = _patient(request, patient)
    subject = found.audit_subject()
    acts, older = _page(request, acts_about(found.clinic, subject))
    return render(
        request,
        "audit/patient.html",
        {
            "patient": found,
            "lines": under_their_causes(in_words(acts, subject=subject)),
            "older": older,
        },
    )


@require_safe
@requires(Permission.READ_AUDIT)
def acts(request: HttpRequest) -> HttpResponse:
    """Every act of the clinic, filtered as asked."""
    form, found = _asked(request)
    page, older = _page(request, found)
    lines = in_words(page)
    name_patients(lines, access_of(request).clinic)
    return render(
        request,
        "audit/acts.html",
        {
            "form": form,
            "search": PatientSearch(),
            "lines": under_their_causes(lines),
            "older": older,
        },
    )


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Permission.READ_AUDIT)
def find(request: HttpRequest) -> HttpResponse:
    """Find a patient for the audit; the only one found opens at once.

    What is searched for is posted, so that no name stands in an address; a GET shows the form.
    """
    form = PatientSearch(request.POST if request.method == "POST" else None)
    patients: list[Patient] = []
    if form.is_valid():
        matches = search_patients(access_of(request).clinic, form.cleaned_data["text"])
        patients = list(matches[: MATCHES + 1])
        if len(patients) == 1:
            return redirect("audit:patient", patients[0].public_id)
    return render(
        request,
        "audit/find.html",
        {"search": form, "patients": patients[:MATCHES], "more": len(patients) > MATCHES},
    )


@require_safe
@requires(Permission.READ_AUDIT)
def entry(request: HttpRequest, entry: int) -> HttpResponse:
    """One act whole, with its place in the chain, checked while the page is made."""
    found = get_object_or_404(visible_acts(access_of(request).clinic), pk=entry)
    rows = len(json.loads(found.text)["rows"])
    page = Paginator(range(rows), ROWS).get_page(request.GET.get("page"))
    after = max(0, page.start_index() - 1)
    line = in_words([found], at_most=ROWS, after=after)[0]
    name_patients([line], access_of(request).clinic)
    return render(
        request,
        "audit/entry.html",
        {
            "line": line,
            "entry": found,
            "rows": rows,
            "page": page,
            "breaks": list(check_entry(found)),
        },
    )


@require_safe
@requires(Permission.READ_AUDIT)
def export(request: HttpRequest) -> HttpResponseBase:
    """The filtered acts as CSV, oldest first, with the hashes that prove them."""
    form, found = _asked(request)
    if not form.is_valid():
        return render(
            request, "audit/acts.html", {"form": form, "search": PatientSearch()}, status=400
        )
    clinic = access_of(request).clinic
    mrns = dict(
        Patient.objects.filter(clinic=clinic).values_list("pk", "mrn").iterator(chunk_size=2_000)
    )
    name = f"acts-{timezone.localdate():%Y-%m-%d}.csv"
    return StreamingHttpResponse(
        _csv(found.order_by("pk"), mrns, zone=clinic.zone),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _patient(request: HttpRequest, public_id: UUID) -> Patient:
    clinic = access_of(request).clinic
    return get_object_or_404(
        Patient.objects.select_related("clinic"), clinic=clinic, public_id=public_id
    )


def _asked(request: HttpRequest) -> tuple[ActFilter, QuerySet[LedgerEntry]]:
    clinic = access_of(request).clinic
    form = ActFilter(request.GET)
    return form, form.of(visible_acts(clinic), zone=clinic.zone)


def _page(
    request: HttpRequest, acts: QuerySet[LedgerEntry]
) -> tuple[list[LedgerEntry], int | None]:
    """The acts before `?before=`, and from where the next page goes on."""
    before = request.GET.get("before", "")
    if before:
        if not (before.isascii() and before.isdigit() and len(before) < 19):
            raise Http404
        acts = acts.filter(pk__lt=int(before))
    page = list(acts[: PAGE + 1])
    return page[:PAGE], page[PAGE - 1].pk if len(page) > PAGE else None


class _Line:
    """What csv.writer writes to: hands each line back."""

    def write(self, line: str) -> str:
        return line


def _csv(acts: QuerySet[LedgerEntry], mrns: dict[int, str], *, zone: ZoneInfo) -> Iterator[str]:
    writer = csv.writer(_Line())
    columns = ("time", "chain", "number", "person", "role", "channel", "act", "reason", "patients")
    yield writer.writerow((*columns, "previous hash", "hash"))
    for act in acts.prefetch_related("subjects").iterator(chunk_size=500):
        about = [name.subject.partition(":") for name in act.subjects.all()]
        patients = " ".join(mrns.get(int(key), "") for kind, _, key in about if kind == "patient")
        cells = (
            act.recorded_at.astimezone(zone).isoformat(timespec="seconds"),  # sent after the view
            act.chain.name,
            act.seq,
            act.actor_name,
            act.role,
            CHANNELS.get(act.channel, act.channel),
            act.act,
            act.reason,
            patients,
            act.prev_hash,
            act.hash,
        )
        yield writer.writerow([inert(cell) for cell in cells])


def inert(cell: object) -> str:
    """A cell that no spreadsheet takes for a formula: a quote goes before what would begin one."""
    text = str(cell)
    return f"'{text}" if _FORMULA.match(text) else text
