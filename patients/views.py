"""The pages on which patients are found, registered, and their facts recorded and put right."""

import hashlib
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from django import forms
from django.contrib import messages
from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.core.paginator import Paginator
from django.db import models
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from tacroweb.accounts.access import access_of, requires
from tacroweb.accounts.roles import Permission
from tacroweb.audit.signature import Signature
from tacroweb.fields import show_error
from tacroweb.refusals import Refusal
from tacroweb.templatetags.quantities import mg_per_day

from . import forms as typed
from .banner import banner_of
from .models import CoMedication, Patient, Sex
from .selectors import (
    analytes,
    analytes_by_name,
    co_medications_of,
    current_observations,
    diagnosis_of,
    drug_choices,
    events_of,
    facts_number,
    immunisations_of,
    patient_of,
    patients_of,
    search_patients,
    today_at,
    vaccine_choices,
)
from .services import (
    change_co_medication_dose,
    correct_co_medication,
    correct_observation,
    correct_patient,
    give_immunisation,
    import_results,
    record_co_medication,
    record_diagnosis,
    record_event,
    record_immunisation,
    record_observations,
    register_patient,
    resolve_event,
    stop_co_medication,
    withdraw_fact,
    withdraw_observation,
)
from .services.registration import CIRCUMSTANCES, DISEASE, IDENTITY
from .services.upload import COLUMNS, MAX_ROWS, plan_import

PAGE_SIZE = 50
UPLOAD = "results_upload"
M = TypeVar("M", bound=models.Model)
read_or_write = require_http_methods(["GET", "HEAD", "POST"])


def _patient(request: HttpRequest, public_id: UUID) -> Patient:
    try:
        return patient_of(access_of(request).clinic, public_id)
    except Patient.DoesNotExist as error:
        raise Http404 from error


def _one(rows: models.QuerySet[M], pk: int) -> M:
    try:
        return rows.get(pk=pk)
    except ObjectDoesNotExist as error:
        raise Http404 from error


def _sign(request: HttpRequest, form: forms.BaseForm) -> Signature:
    return access_of(request).sign(form.cleaned_data.get("reason", "").strip())


def _page(
    request: HttpRequest, patient: Patient, template: str, at: datetime, **context: Any
) -> HttpResponse:
    """A page about one patient, under the banner."""
    today = today_at(patient.clinic, at)
    chart = reverse("chart", args=[patient.public_id])
    context |= {
        "patient": patient,
        "banner": banner_of(patient, today=today, href=chart),
        "chart": chart,
        "today": today,
    }
    return render(request, f"patients/{template}", context)


def _kept(form: forms.BaseForm, act: Callable[[], object]) -> bool:
    """Do it; what is refused goes to the form, with all that was typed still in it."""
    try:
        act()
    except (ValidationError, Refusal) as error:
        show_error(form, error)
        return False
    return True


def _saved(request: HttpRequest, patient: Patient, said: str) -> HttpResponseRedirect:
    messages.success(request, said)
    return redirect("chart", patient.public_id)


@read_or_write
@requires(Permission.READ_PATIENTS)
def patient_list(request: HttpRequest) -> HttpResponse:
    """The clinic's patients. A search is a POST, so that no name or number stands in an address."""
    clinic = access_of(request).clinic
    text = request.POST.get("search", "").replace("\x00", "").strip()
    rows = (search_patients(clinic, text) if text else patients_of(clinic)).select_related(
        "diagnosis"
    )
    page = Paginator(rows, PAGE_SIZE).get_page(1 if text else request.GET.get("page"))
    return render(request, "patients/list.html", {"page_obj": page, "search": text})


@read_or_write
@requires(Permission.REGISTER_PATIENTS)
def register(request: HttpRequest) -> HttpResponse:
    """Register a patient, with the disease and the first weight and height, and go to the chart."""
    at = timezone.now()
    access = access_of(request)
    data = request.POST if request.method == "POST" else None
    form = typed.RegistrationForm(data)
    disease = typed.DiagnosisForm(data)
    measured = typed.MeasurementsForm(data)
    if data is not None and all([form.is_valid(), disease.is_valid(), measured.is_valid()]):
        known = any(value not in ("", None) for value in disease.cleaned_data.values())
        try:
            patient = register_patient(
                clinic=access.clinic,
                **form.cleaned_data,
                diagnosis=disease.cleaned_data if known else None,
                results=measured.results(analytes_by_name()),
                at=at,
                by=access.sign(),
            )
        except (ValidationError, Refusal) as error:
            _show_where_it_belongs((form, disease, measured), error)
        else:
            return _saved(request, patient, f"{patient} is registered.")
    context = {"form": form, "disease": disease, "measured": measured}
    return render(request, "patients/register.html", context)


def _show_where_it_belongs(
    forms_shown: tuple[forms.Form, ...], error: ValidationError | Refusal
) -> None:
    if isinstance(error, Refusal) or not hasattr(error, "error_dict"):
        show_error(forms_shown[0], error)
        return
    for name, told in error.message_dict.items():
        form = next((form for form in forms_shown if name in form.fields), forms_shown[0])
        show_error(form, ValidationError({name: told}))


@requires(Permission.READ_PATIENTS)
def record(request: HttpRequest, patient: UUID) -> HttpResponse:
    """Everything on record: all results, drugs, events and vaccines, each with its correction."""
    at = timezone.now()
    one = _patient(request, patient)
    page = Paginator(current_observations(one), PAGE_SIZE).get_page(request.GET.get("page"))
    return _page(
        request,
        one,
        "record.html",
        at,
        page_obj=page,
        circumstances=_circumstances(one),
        drugs=co_medications_of(one),
        events=events_of(one),
        immunisations=immunisations_of(one),
    )


def _circumstances(patient: Patient) -> list[tuple[str, object]]:
    """What is registered of the patient for the rules, in the words of the form."""
    form = typed.RegistrationForm()
    shown: list[tuple[str, object]] = []
    of_women = ("pregnancy", "lactating")
    for name in typed.ASKED_FOR:
        if patient.sex == Sex.MALE and name in of_women:
            continue
        value = getattr(patient, name)
        words = dict(getattr(form.fields[name], "choices", ()))
        answer = {True: "yes", False: "no"}.get(value, value) if words else value
        shown.append((str(form[name].label), words.get(answer, answer)))
    return shown


@read_or_write
@requires(Permission.REGISTER_PATIENTS)
def edit(request: HttpRequest, patient: UUID) -> HttpResponse:
    """Correct the registration; changing who the person is needs a reason."""
    at = timezone.now()
    one = _patient(request, patient)
    names = (*IDENTITY, *CIRCUMSTANCES)
    initial = {name: getattr(one, name) for name in names} | {"seen": facts_number(one)}
    form = typed.EditRegistrationForm(request.POST or None, initial=initial)
    if form.is_valid():
        changes = {name: form.cleaned_data[name] for name in names}
        seen = form.cleaned_data["seen"]
        if _kept(
            form,
            lambda: correct_patient(
                patient=one, seen=seen, at=at, by=_sign(request, form), **changes
            ),
        ):
            return _saved(request, one, "The registration is saved.")
    return _form_page(request, one, form, at, heading="Registration", button="Save", columns=True)


@read_or_write
@requires(Permission.RECORD_FACTS)
def diagnosis(request: HttpRequest, patient: UUID) -> HttpResponse:
    """Record the disease as it is now judged."""
    at = timezone.now()
    one = _patient(request, patient)
    stands = diagnosis_of(one)
    initial: dict[str, Any] = {name: getattr(stands, name, None) for name in DISEASE}
    form = typed.EditDiagnosisForm(
        request.POST or None, initial=initial | {"seen": facts_number(one)}
    )
    if form.is_valid():
        disease = {name: form.cleaned_data[name] for name in DISEASE}
        seen = form.cleaned_data["seen"]
        if _kept(
            form,
            lambda: record_diagnosis(patient=one, seen=seen, by=_sign(request, form), **disease),
        ):
            return _saved(request, one, "The diagnosis is saved.")
    return _form_page(request, one, form, at, heading="Diagnosis", button="Save", columns=True)


def _form_page(
    request: HttpRequest, patient: Patient, form: forms.Form, at: datetime, **context: Any
) -> HttpResponse:
    if "seen" in form.fields and form.is_bound:
        # What was typed stays; saving it once more is then a decision made on the newer facts.
        form.data = request.POST.copy()
        form.data["seen"] = str(facts_number(patient))
    return _page(request, patient, "form.html", at, form=form, **context)


@read_or_write
@requires(Permission.RECORD_FACTS)
def results(request: HttpRequest, patient: UUID) -> HttpResponse:
    """Enter the results of one draw, all or nothing."""
    at = timezone.now()
    one = _patient(request, patient)
    form = typed.ResultsForm(request.POST or None, patient=one, analytes=list(analytes()), at=at)
    if form.is_valid() and _kept(
        form,
        lambda: record_observations(
            patient=one, results=form.results, at=at, by=_sign(request, form)
        ),
    ):
        count = len(form.results)
        said = "1 result is recorded." if count == 1 else f"{count} results are recorded."
        return _saved(request, one, said)
    return _page(request, one, "results.html", at, form=form)


@read_or_write
@requires(Permission.RECORD_FACTS)
def correct_result(request: HttpRequest, patient: UUID, result: int) -> HttpResponse:
    """Put a result right by a row that replaces it, or withdraw it; both with a reason."""
    at = timezone.now()
    one = _patient(request, patient)
    row = _one(current_observations(one), result)
    form = typed.CorrectResultForm(
        request.POST or None,
        analyte=row.analyte,
        initial={
            "value": row.entered,
            "unit": row.unit_entered,
            "drawn_at": row.drawn_at,
            "hours_since_dose": row.hours_since_dose,
            "dose_time_unknown": row.hours_since_dose is None,
            "assay": row.assay,
        },
    )
    if "withdraw" in request.POST:
        reason = typed.ReasonForm(request.POST)
        if not reason.is_valid():
            form.errors.clear()
            form.add_error("reason", "Say why this result is withdrawn.")
        elif _kept(
            form, lambda: withdraw_observation(observation=row, at=at, by=_sign(request, reason))
        ):
            return _saved(request, one, f"The result of {row.analyte} is withdrawn.")
    elif form.is_valid() and _kept(
        form,
        lambda: correct_observation(
            observation=row,
            entered=form.cleaned_data["value"],
            unit=form.cleaned_data["unit"],
            drawn_at=form.cleaned_data["drawn_at"],
            hours_since_dose=form.cleaned_data.get("hours_since_dose"),
            assay=form.cleaned_data.get("assay", ""),
            at=at,
            by=_sign(request, form),
        ),
    ):
        return _saved(request, one, f"The result of {row.analyte} is corrected.")
    return _page(
        request, one, "form.html", at,
        form=form, heading=f"Correct a result: {row.analyte}", button="Save the correction",
        withdraw="Withdraw this result",
        note="The result as it stands is kept on record, marked as replaced or withdrawn.",
    )  # fmt: skip


@read_or_write
@requires(Permission.RECORD_FACTS)
def drug_add(request: HttpRequest, patient: UUID) -> HttpResponse:
    """Record a drug and go to the chart, which shows at once what follows from it."""
    at = timezone.now()
    one = _patient(request, patient)
    form = typed.DrugForm(request.POST or None)
    if form.is_valid():
        drug = {name: form.cleaned_data[name] for name in typed.DRUG_FIELDS}
        written: list[CoMedication] = []
        if _kept(
            form,
            lambda: written.append(
                record_co_medication(
                    patient=one,
                    unlisted_name=form.cleaned_data["drug"],
                    **drug,
                    at=at,
                    by=_sign(request, form),
                )
            ),
        ):
            return _drug_saved(request, one, written[0])
    return _page(
        request, one, "form.html", at,
        form=form, heading="Add a drug", button="Record the drug", suggestions=drug_choices(),
        excluded="" if form.asks_unlisted else "unlisted",
    )  # fmt: skip


def _drug_saved(request: HttpRequest, patient: Patient, row: CoMedication) -> HttpResponse:
    if row.drug is None:
        messages.warning(
            request,
            f"{row} is recorded as written. It is not in the vocabulary, so it is not checked for "
            "interactions.",
        )
        return redirect("chart", patient.public_id)
    return _saved(request, patient, f"{row} is recorded.")


@read_or_write
@requires(Permission.RECORD_FACTS)
def drug_stop(request: HttpRequest, patient: UUID, drug: int) -> HttpResponse:
    """Note the last day of a drug and go to the chart."""
    at = timezone.now()
    one = _patient(request, patient)
    row = _one(co_medications_of(one), drug)
    form = typed.StopDrugForm(
        request.POST or None, initial={"stopped_on": today_at(one.clinic, at)}
    )
    if form.is_valid() and _kept(
        form,
        lambda: stop_co_medication(
            co_medication=row,
            stopped_on=form.cleaned_data["stopped_on"],
            at=at,
            by=_sign(request, form),
        ),
    ):
        return _saved(request, one, f"{row} is recorded as stopped.")
    return _form_page(request, one, form, at, heading=f"Stop {row}", button="Record the stop")


@read_or_write
@requires(Permission.RECORD_FACTS)
def drug_dose(request: HttpRequest, patient: UUID, drug: int) -> HttpResponse:
    """Note that a drug is taken at another dose and go to the chart."""
    at = timezone.now()
    one = _patient(request, patient)
    row = _one(co_medications_of(one), drug)
    form = typed.ChangeDoseForm(request.POST or None, initial={"on": today_at(one.clinic, at)})
    if form.is_valid() and _kept(
        form,
        lambda: change_co_medication_dose(
            co_medication=row,
            daily_dose_mg=form.cleaned_data["daily_dose_mg"],
            on=form.cleaned_data["on"],
            at=at,
            by=_sign(request, form),
        ),
    ):
        return _saved(request, one, f"The change of dose of {row} is recorded.")
    return _form_page(
        request, one, form, at,
        heading=f"Change the dose of {row}", button="Record the change",
        note=f"Taken until now: {mg_per_day(row.daily_dose_mg)}. It is kept beside the new dose.",
    )  # fmt: skip


@read_or_write
@requires(Permission.RECORD_FACTS)
def drug_correct(request: HttpRequest, patient: UUID, drug: int) -> HttpResponse:
    """Put right what is recorded of a drug, or withdraw it; both with a reason."""
    at = timezone.now()
    one = _patient(request, patient)
    row = _one(co_medications_of(one), drug)
    names = (*typed.DRUG_FIELDS, *typed.CHANGE_FIELDS)
    initial: dict[str, Any] = {name: getattr(row, name) for name in names}
    initial |= {"drug": str(row), "unlisted": row.drug is None}
    form = typed.CorrectDrugForm(request.POST or None, initial=initial)
    if "withdraw" in request.POST:
        if _withdrawn(request, form, row, at):
            return _saved(request, one, f"{row} is withdrawn from the record.")
    elif form.is_valid():
        changes = {name: form.cleaned_data[name] for name in names if name in form.fields}
        changes |= {"drug": None, "unlisted_name": form.cleaned_data["drug"]}
        if _kept(
            form,
            lambda: correct_co_medication(
                co_medication=row, at=at, by=_sign(request, form), **changes
            ),
        ):
            return _saved(request, one, f"What is recorded of {row} is corrected.")
    return _page(
        request, one, "form.html", at,
        form=form, heading=f"Correct {row}", button="Save the correction",
        withdraw="Withdraw: never taken", suggestions=drug_choices(),
    )  # fmt: skip


def _withdrawn(request: HttpRequest, form: forms.Form, row: Any, at: datetime) -> bool:
    """Withdraw a drug, event or vaccine with the reason that the form holds."""
    reason = typed.ReasonForm(request.POST)
    if not reason.is_valid():
        form.errors.clear()
        form.add_error("reason", "Say why this is withdrawn.")
        return False
    return _kept(form, lambda: withdraw_fact(fact=row, at=at, by=_sign(request, reason)))


@read_or_write
@requires(Permission.RECORD_FACTS)
def event_add(request: HttpRequest, patient: UUID) -> HttpResponse:
    """Record a clinical event and go to the chart."""
    at = timezone.now()
    one = _patient(request, patient)
    form = typed.EventForm(request.POST or None)
    if form.is_valid() and _kept(
        form,
        lambda: record_event(patient=one, **form.cleaned_data, at=at, by=_sign(request, form)),
    ):
        return _saved(request, one, "The event is recorded.")
    return _form_page(request, one, form, at, heading="Record an event", button="Record the event")


@read_or_write
@requires(Permission.RECORD_FACTS)
def event_resolve(request: HttpRequest, patient: UUID, event: int) -> HttpResponse:
    """Note that an event is over, or withdraw one that never was."""
    at = timezone.now()
    one = _patient(request, patient)
    row = _one(events_of(one), event)
    open_still = row.resolved_on is None
    form: forms.Form = typed.ReasonForm(request.POST or None)
    if open_still:
        form = typed.ResolveEventForm(
            request.POST or None, event=row, initial={"resolved_on": today_at(one.clinic, at)}
        )
    if "withdraw" in request.POST:
        if _withdrawn(request, form, row, at):
            return _saved(request, one, f"{row} is withdrawn from the record.")
    elif (
        open_still
        and form.is_valid()
        and _kept(
            form,
            lambda: resolve_event(
                event=row,
                resolved_on=form.cleaned_data["resolved_on"],
                resolution=form.cleaned_data.get("resolution", ""),
                at=at,
                by=_sign(request, form),
            ),
        )
    ):
        return _saved(request, one, f"{row} is recorded as over.")
    return _form_page(
        request, one, form, at,
        heading=f"Event: {row}", button="Record that it is over" if open_still else "",
        withdraw="Withdraw: it never was",
    )  # fmt: skip


@read_or_write
@requires(Permission.RECORD_FACTS)
def immunisation_add(request: HttpRequest, patient: UUID) -> HttpResponse:
    """Record a vaccine planned or given and go to the chart."""
    at = timezone.now()
    one = _patient(request, patient)
    form = typed.ImmunisationForm(request.POST or None)
    if form.is_valid() and _kept(
        form,
        lambda: record_immunisation(
            patient=one, **form.cleaned_data, at=at, by=_sign(request, form)
        ),
    ):
        return _saved(request, one, "The vaccine is recorded.")
    return _form_page(
        request, one, form, at,
        heading="Record a vaccine", button="Record the vaccine", suggestions=vaccine_choices(),
    )  # fmt: skip


@read_or_write
@requires(Permission.RECORD_FACTS)
def immunisation_give(request: HttpRequest, patient: UUID, immunisation: int) -> HttpResponse:
    """Note that a planned vaccine was given, or call it off."""
    at = timezone.now()
    one = _patient(request, patient)
    row = _one(immunisations_of(one), immunisation)
    planned = row.given_on is None
    form: forms.Form = typed.ReasonForm(request.POST or None)
    if planned:
        form = typed.GiveImmunisationForm(
            request.POST or None, initial={"given_on": today_at(one.clinic, at)}
        )
    if "withdraw" in request.POST:
        if _withdrawn(request, form, row, at):
            return _saved(request, one, f"The vaccine ({row}) is called off.")
    elif (
        planned
        and form.is_valid()
        and _kept(
            form,
            lambda: give_immunisation(
                immunisation=row,
                given_on=form.cleaned_data["given_on"],
                at=at,
                by=_sign(request, form),
            ),
        )
    ):
        return _saved(request, one, f"The vaccine ({row}) is recorded as given.")
    return _form_page(
        request, one, form, at,
        heading=f"Vaccine: {row}", button="Record that it was given" if planned else "",
        withdraw="Call it off" if planned else "Withdraw: not given",
    )  # fmt: skip


@read_or_write
@requires(Permission.RECORD_FACTS)
def upload(request: HttpRequest) -> HttpResponse:
    """Take a CSV file of results for the preview; nothing is recorded yet.

    The text waits in the session, on the server: no result of a patient travels in a hidden field.
    """
    at = timezone.now()
    request.session.pop(UPLOAD, None)
    data = request.POST if request.method == "POST" else None
    form = typed.UploadForm(data, request.FILES if data is not None else None)
    if form.is_valid():
        text = form.cleaned_data["file"]
        if _kept(form, lambda: plan_import(access_of(request).clinic, text, at=at)):
            request.session[UPLOAD] = text
            return redirect("patients:upload-preview")
    return render(
        request, "patients/upload.html", {"form": form, "columns": COLUMNS, "max_rows": MAX_ROWS}
    )


@read_or_write
@requires(Permission.RECORD_FACTS)
def upload_preview(request: HttpRequest) -> HttpResponse:
    """Show row by row what the file will do; a POST does it, all or nothing."""
    at = timezone.now()
    access = access_of(request)
    text = request.session.get(UPLOAD)
    if text is None:
        messages.warning(request, "There is no file waiting. Choose it again.")
        return redirect("patients:upload")
    # Of the clinic too: who switches clinics meanwhile has not seen what it would do there.
    digest = hashlib.sha256(f"{access.clinic.pk}\n{text}".encode()).hexdigest()
    if request.method == "POST":
        if request.POST.get("digest") != digest:
            messages.error(
                request,
                "Another file has been chosen, or another clinic. This is what it will do.",
            )
            return redirect("patients:upload-preview")
        try:
            done = import_results(clinic=access.clinic, text=text, at=at, by=access.sign())
        except (ValidationError, Refusal) as error:
            words = error.message if isinstance(error, Refusal) else " ".join(error.messages)
            messages.error(request, words)
            return redirect("patients:upload-preview")
        del request.session[UPLOAD]
        messages.success(
            request, f"{done.to_add} results added; {done.already_there} were on record already."
        )
        return redirect("patients:list")
    plan = plan_import(access.clinic, text, at=at)
    return render(
        request,
        "patients/upload_preview.html",
        {"plan": plan, "digest": digest, "columns": COLUMNS},
    )
