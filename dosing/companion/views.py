"""The pages on which companion treatment is ordered, tapered and stopped."""

import uuid
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from dosing.companion.forms import CompanionForm, CompanionSignForm, CompanionStopForm
from dosing.companion.steps import ListedAnswer
from dosing.models import (
    Assessment,
    CompanionMeaning,
    CompanionOrder,
    Factor,
    route_words,
)
from dosing.pages import (
    assessment_or_404,
    chart_of,
    findings_of,
    given_answers,
    of_patient,
    patient_or_404,
)
from dosing.selectors import companion_orders_of
from dosing.services import (
    StaleAssessment,
    order_companion,
    review_companion,
    staleness,
    stop_companion,
    stop_digest,
    taper_companion,
)
from dosing.services.companions import CompanionReview
from patients.models import Patient
from tacroweb.accounts.access import access_of, requires
from tacroweb.accounts.roles import Permission
from tacroweb.fields import show_error
from tacroweb.refusals import Refusal
from tacroweb.templatetags.quantities import clinical_date, quantity

ACTS: dict[CompanionMeaning, tuple[str, str, str]] = {
    CompanionMeaning.STARTED: (
        "Order companion treatment",
        "Sign and order",
        "I prescribe this companion treatment as shown.",
    ),
    CompanionMeaning.TAPERED: (
        "Taper companion treatment",
        "Sign and taper",
        "I prescribe this dose from now on, in the place of the one before.",
    ),
    CompanionMeaning.STOPPED: (
        "Stop companion treatment",
        "Sign and stop",
        "I end this companion treatment.",
    ),
}
FATES = {
    ListedAnswer.REPLACED: "Is replaced: the record notes today as its last day",
    ListedAnswer.GOES_ON: "Goes on beside the new drug",
}
TYPED = "typed_orders"  # in the session: what was typed on an assessment that went stale


def _order(patient: Patient, public_id: object) -> CompanionOrder:
    try:
        return companion_orders_of(patient).get(public_id=uuid.UUID(str(public_id)))
    except (CompanionOrder.DoesNotExist, ValueError) as error:
        raise Http404 from error


def _typed(request: HttpRequest, patient: Patient, made: Assessment) -> CompanionForm:
    tapers = request.POST.get("tapers")
    tapered = _order(patient, tapers) if tapers else None
    return CompanionForm(made, tapered, request.POST, at=timezone.now())


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Permission.ORDER)
def form(request: HttpRequest, patient: uuid.UUID, assessment: uuid.UUID) -> HttpResponse:
    """The steps of the regimens with their sums, or the next dose; a POST comes back to edit."""
    person = patient_or_404(request, patient)
    made = assessment_or_404(person, assessment)
    if request.method == "POST":
        return _form_page(request, person, made, _typed(request, person, made))
    tapers = request.GET.get("tapers")
    initial = request.session.get(TYPED, {}).get(str(made.public_id), {})
    if "finding" in request.GET:
        initial = initial | {"finding": request.GET["finding"]}
    tapered = _order(person, tapers) if tapers else None
    typed = CompanionForm(made, tapered, at=timezone.now(), initial=initial)
    return _form_page(request, person, made, typed)


def _form_page(
    request: HttpRequest,
    patient: Patient,
    made: Assessment,
    typed: CompanionForm,
    status: int = 200,
) -> HttpResponse:
    at = timezone.now()
    meaning = CompanionMeaning.TAPERED if typed.tapered else CompanionMeaning.STARTED
    context = of_patient(patient, at=at) | {
        "assessment": made,
        "advice": made.advice,
        "form": typed,
        **findings_of(made, typed),
        "act": ACTS[meaning][0],
        "tapered": typed.tapered,
        "in_force": sorted(
            (order for order in companion_orders_of(patient) if order.closed_at is None),
            key=lambda order: (order.regimen_code, order.step),
        ),
        "stale": staleness(patient, made, at=at),
    }
    return render(request, "dosing/companion.html", context, status=status)


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Permission.ORDER)
def review(request: HttpRequest, patient: uuid.UUID, assessment: uuid.UUID) -> HttpResponse:
    """What will be signed, read-only, with the password under it; or the form with its errors."""
    person = patient_or_404(request, patient)
    made = assessment_or_404(person, assessment)
    if request.method != "POST":
        return redirect("dosing:companion", person.public_id, made.public_id)
    typed = _typed(request, person, made)
    if not typed.is_valid():
        return _form_page(request, person, made, typed)
    return _review_page(request, person, made, typed)


def _review_page(
    request: HttpRequest,
    patient: Patient,
    made: Assessment,
    typed: CompanionForm,
    sign_form: CompanionSignForm | None = None,
    status: int = 200,
) -> HttpResponse:
    at = timezone.now()
    try:
        reviewed = review_companion(
            patient,
            step=typed.cleaned_data.get("step", ""),
            tapers=typed.tapered,
            prescription=typed.prescription(),
            assessment=made,
            at=at,
        )
    except (Refusal, ValidationError) as error:
        return _refused(request, patient, made, typed, error)
    if sign_form is None:
        initial = {"shown_sha256": reviewed.shown_sha256}
        sign_form = CompanionSignForm(access_of(request).user, initial=initial)
    heading, button, meaning = ACTS[reviewed.meaning]
    context = of_patient(patient, at=at) | {
        "assessment": made,
        "form": typed,
        "sign_form": sign_form,
        "review": reviewed,
        "unit": reviewed.order.get_unit_display(),
        "summary": _summary(made, reviewed),
        "answers": given_answers(typed),
        "heading": heading,
        "button": button,
        "meaning": meaning,
    }
    return render(request, "dosing/companion_review.html", context, status=status)


def _summary(made: Assessment, reviewed: CompanionReview) -> list[tuple[str, object]]:
    """What is signed, line by line."""
    order = reviewed.order
    rows: list[tuple[str, object]] = [
        ("Regimen", f"{order.title} (step {order.step})"),
        ("Drug", f"{order.drug[:1].upper()}{order.drug[1:]}, {route_words(order.route)}"),
        ("Dose", f"{order.dose_words}, {order.rhythm}"),
    ]
    if reviewed.last is not None:
        before = reviewed.last.dose_words
        rows.append(("Dose before", f"{before} since {clinical_date(reviewed.last.since)}"))
    rows.append(("How it was computed", order.arithmetic))
    if order.weight_kg is not None:
        rows.append(("Weight used", quantity(str(order.weight_kg.normalize()), "kg")))
    if order.body_surface_m2 is not None:
        rows.append(("Body surface used", f"{order.body_surface_m2} m²"))
    for drug, answer in reviewed.listed:
        rows.append((f"{drug.words[:1].upper()}{drug.words[1:]}", FATES[answer]))
    rows.append(("Reason", order.reason))
    rows.append(("Rule book", made.rule_book.version))
    return rows


def _refused(
    request: HttpRequest,
    patient: Patient,
    made: Assessment,
    typed: CompanionForm,
    error: Refusal | ValidationError,
) -> HttpResponse:
    """The form once more with what a service refused; nothing typed is lost."""
    if not isinstance(error, StaleAssessment):  # that one stands above the form, with its button
        typed.show(error)
    status = 409 if isinstance(error, Refusal) else 200
    return _form_page(request, patient, made, typed, status=status)


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Permission.ORDER)
def sign(request: HttpRequest, patient: uuid.UUID, assessment: uuid.UUID) -> HttpResponse:
    """Sign what was reviewed and go to the chart; a second click finds its assessment stale."""
    person = patient_or_404(request, patient)
    access = access_of(request)
    made = assessment_or_404(person, assessment)
    if request.method != "POST":
        return redirect("dosing:companion", person.public_id, made.public_id)
    typed = _typed(request, person, made)
    if not typed.is_valid():
        return _form_page(request, person, made, typed)
    sign_form = CompanionSignForm(access.user, request.POST)
    if not sign_form.is_valid():
        return _review_page(request, person, made, typed, sign_form)
    signed: dict[str, Any] = {
        "prescription": typed.prescription(
            confirmed=sign_form.cleaned_data["confirmed"],
            typed_again_mg=sign_form.cleaned_data["typed_again_mg"],
        ),
        "assessment": made,
        "factor": Factor.PASSWORD,
        "at": timezone.now(),
        "by": access.sign(),
        "shown_sha256": sign_form.cleaned_data["shown_sha256"],
    }
    try:
        if typed.tapered is not None:
            order = taper_companion(order=typed.tapered, **signed)
        else:
            order = order_companion(patient=person, step=typed.cleaned_data["step"], **signed)
    except Refusal as error:
        if set(error.fields) & {"confirmed", "typed_again_mg"}:
            show_error(sign_form, error)
            return _review_page(request, person, made, typed, sign_form, status=409)
        return _refused(request, person, made, typed, error)
    except ValidationError as error:
        return _refused(request, person, made, typed, error)
    request.session.pop(TYPED, None)
    messages.success(request, f"Signed: {order.words}.")
    return redirect(chart_of(person))


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Permission.ORDER)
def stop(request: HttpRequest, patient: uuid.UUID, order: uuid.UUID) -> HttpResponse:
    """End an order: why, and the password."""
    person = patient_or_404(request, patient)
    row = _order(person, order)
    if row.closed_at is not None:
        messages.error(request, f"This order of {row.drug} is not in force any more.")
        return redirect(chart_of(person))
    access, at = access_of(request), timezone.now()
    status = 200
    if request.method == "POST":
        typed = CompanionStopForm(access.user, request.POST)
        if typed.is_valid():
            try:
                stop_companion(
                    order=row,
                    reason_text=typed.cleaned_data["reason_text"],
                    factor=Factor.PASSWORD,
                    at=at,
                    by=access.sign(),
                    shown_sha256=typed.cleaned_data["shown_sha256"],
                )
            except (Refusal, ValidationError) as error:
                show_error(typed, error)
                status = 409 if isinstance(error, Refusal) else 200
            else:
                messages.success(request, f"Signed: {row.drug} is stopped.")
                return redirect(chart_of(person))
    else:
        typed = CompanionStopForm(access.user, initial={"shown_sha256": stop_digest(row)})
    heading, button, meaning = ACTS[CompanionMeaning.STOPPED]
    context = of_patient(person, at=at) | {
        "form": typed,
        "heading": heading,
        "button": button,
        "meaning": meaning,
        "summary": [
            ("Regimen", f"{row.title} (step {row.step})"),
            ("Order", row.words),
            ("Since", clinical_date(row.since)),
        ],
    }
    return render(request, "dosing/companion_stop.html", context, status=status)
