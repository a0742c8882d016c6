"""The roof's pages: the clinic's worklist and the patient chart."""

import uuid

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from tacroweb.accounts.access import access_of, requires
from tacroweb.accounts.roles import Permission


@require_POST
def switch_clinic(request: HttpRequest) -> HttpResponse:
    """Work at another of one's own clinics from now on; anything else changes nothing."""
    wanted = request.POST.get("clinic", "")
    for clinic in access_of(request).clinics:
        if str(clinic.pk) == wanted:
            request.session["clinic_id"] = clinic.pk
    return redirect("home")


def home(request: HttpRequest) -> HttpResponse:
    """What needs a person today at this clinic; for roles without patients, what is theirs."""
    return render(request, "home.html", {})


@requires(Permission.READ_PATIENTS)
def chart(request: HttpRequest, patient: uuid.UUID) -> HttpResponse:
    """One patient: state, advice, timeline, medication, tasks and results."""
    return render(request, "chart.html", {})
