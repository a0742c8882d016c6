"""The clinic's open tasks, and cancelling one."""

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
from monitoring.models import TaskStatus
from monitoring.selectors import counts, due_this_week, due_today, overdue, tasks_of
from monitoring.services import cancel_task
from patients.banner import banner_of
from tacroweb.accounts.access import access_of, requires
from tacroweb.accounts.roles import Permission
from tacroweb.fields import show_error
from tacroweb.refusals import Refusal

A_PAGE = 50


@require_safe
@requires(Permission.READ_PATIENTS)
def tasks(request: HttpRequest) -> HttpResponse:
    """The open tasks of the clinic, longest due first; `?due=` overdue, today or week."""
    clinic = access_of(request).clinic
    today = timezone.localdate()
    found = counts(clinic, today=today)
    choices = {
        "": ("All open", Q(status=TaskStatus.OPEN), None),
        "overdue": ("Overdue", overdue(today), found.overdue),
        "today": ("Due now", due_today(today), found.today),
        "week": ("Due in 7 days", due_this_week(today), found.week),
    }
    due = request.GET.get("due", "")
    if due not in choices:
        raise Http404("There is no such list of tasks.")
    page = Paginator(
        tasks_of(clinic).filter(choices[due][1]).order_by("due_on", "patient_id", "pk"), A_PAGE
    ).get_page(request.GET.get("page"))
    return render(
        request,
        "monitoring/tasks.html",
        {
            "page": page,
            "today": today,
            "due": due,
            "heading": choices[due][0],
            "choices": [(key, name, number) for key, (name, _, number) in choices.items()],
        },
    )


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Permission.WORK_TASKS)
def cancel(request: HttpRequest, task: int) -> HttpResponse:
    """Cancel one task with a reason."""
    access = access_of(request)
    row = get_object_or_404(tasks_of(access.clinic), pk=task)
    form = CancelForm(request.POST or None)
    if form.is_valid():
        try:
            cancel_task(task=row, at=timezone.now(), by=access.sign(form.cleaned_data["reason"]))
        except (Refusal, ValidationError) as error:
            show_error(form, error)
        else:
            messages.success(request, f"Cancelled: {row.analyte} of {row.patient}.")
            return redirect("chart", patient=row.patient.public_id)
    today = timezone.localdate()
    chart = reverse("chart", args=[row.patient.public_id])
    return render(
        request,
        "monitoring/cancel.html",
        {
            "form": form,
            "task": row,
            "today": today,
            "banner": banner_of(row.patient, today=today, href=chart),
        },
        status=400 if form.errors else 200,
    )
