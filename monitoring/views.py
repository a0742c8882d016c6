"""The clinic's open tasks by patient and visit, and cancelling one or all of a visit."""

import re
from itertools import groupby

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from monitoring.forms import CancelForm
from monitoring.models import MonitoringTask, TaskStatus
from monitoring.selectors import (
    counts,
    due_this_week,
    due_today,
    due_within_a_week,
    overdue,
    patients_with,
    tasks_of,
    visits_with,
)
from monitoring.services import cancel_task, cancel_tasks
from patients.banner import banner_of
from tacroweb.accounts.access import access_of, requires
from tacroweb.accounts.roles import Permission
from tacroweb.fields import show_error
from tacroweb.refusals import Refusal

A_PAGE = 25  # patients
ALL = "all"  # every open task, however far off
A_NUMBER = re.compile("[0-9]{1,18}")
A_VISIT = 100  # more tests than the protocol knows


@require_safe
@requires(Permission.READ_PATIENTS)
def tasks(request: HttpRequest) -> HttpResponse:
    """The clinic's patients with tests overdue or due within 7 days, longest due first.

    `?due=` is overdue, today or week for a part of them, all for every open task. Of each patient
    the visits are shown at which such a task is to be done.
    """
    clinic = access_of(request).clinic
    today = timezone.localdate()
    found = counts(clinic, today=today)
    choices = {
        "": (
            "Due or overdue",
            due_within_a_week(today),
            found.patients,
            "No test is overdue or due within 7 days.",
        ),
        "overdue": ("Overdue", overdue(today), found.overdue, "No test is overdue."),
        "today": ("Due now", due_today(today), found.today, "No test is due now."),
        "week": (
            "Due in 7 days",
            due_this_week(today),
            found.week,
            "No test falls due in the 7 days after today.",
        ),
        ALL: (
            "All open",
            Q(status=TaskStatus.OPEN),
            patients_with(clinic, Q(status=TaskStatus.OPEN)).count(),
            "No test is open at this clinic.",
        ),
    }
    due = request.GET.get("due", "")
    if due not in choices:
        raise Http404("There is no such list of tasks.")
    which = choices[due][1]
    page = Paginator(patients_with(clinic, which), A_PAGE).get_page(request.GET.get("page"))
    listed = visits_with(clinic, which, patients=list(page), today=today)
    return render(
        request,
        "monitoring/tasks.html",
        {
            "page": page,
            "visits": [
                (patient, list(own))
                for patient, own in groupby(listed, key=lambda visit: visit.patient)
            ],
            "today": today,
            "due": due,
            "heading": choices[due][0],
            "nothing": choices[due][3],
            "hidden": choices[ALL][2],
            "choices": [(key, name, number) for key, (name, _, number, _) in choices.items()],
        },
    )


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Permission.WORK_TASKS)
def cancel(request: HttpRequest, task: int) -> HttpResponse:
    """Cancel one task with a reason."""
    return _cancel(request, [get_object_or_404(tasks_of(access_of(request).clinic), pk=task)])


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Permission.WORK_TASKS)
def cancel_visit(request: HttpRequest) -> HttpResponse:
    """Cancel the tasks that `?task=` names, all of one patient, with one reason."""
    named = set(request.GET.getlist("task"))
    if not named or len(named) > A_VISIT or not all(map(A_NUMBER.fullmatch, named)):
        raise Http404("There is no such visit.")
    rows = list(tasks_of(access_of(request).clinic).filter(pk__in=named).order_by("pk"))
    if len(rows) < len(named) or len({row.patient_id for row in rows}) != 1:
        raise Http404("There is no such visit.")
    return _cancel(request, rows)


def _cancel(request: HttpRequest, rows: list[MonitoringTask]) -> HttpResponse:
    access = access_of(request)
    patient = rows[0].patient
    form = CancelForm(request.POST or None)
    if form.is_valid():
        at, by = timezone.now(), access.sign(form.cleaned_data["reason"])
        try:
            if len(rows) == 1:
                cancel_task(task=rows[0], at=at, by=by)
            else:
                cancel_tasks(tasks=rows, at=at, by=by)
        except (Refusal, ValidationError) as error:
            show_error(form, error)
        else:
            what = f"{rows[0].analyte}" if len(rows) == 1 else f"{len(rows)} tests"
            messages.success(request, f"Cancelled: {what} of {patient}.")
            return redirect("chart", patient=patient.public_id)
    today = timezone.localdate()
    return render(
        request,
        "monitoring/cancel.html",
        {
            "form": form,
            "tasks": rows,
            "patient": patient,
            "banner": banner_of(
                patient, today=today, href=reverse("chart", args=[patient.public_id])
            ),
        },
        status=400 if form.errors else 200,
    )
