"""The pages on which a dose is decided and signed, and the ones that explain it afterwards."""

import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db import models
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from dosing.checks import Answer, AnswerReason, Prescription, in_words, questions
from dosing.forms import InterruptionForm, OrderForm, SignForm
from dosing.models import (
    Assessment,
    Decision,
    DoseOrder,
    Factor,
    Intent,
    Meaning,
    ReasonCode,
    Regimen,
    RegimenStatus,
    SignedOrder,
)
from dosing.rules import casefile
from dosing.rules.engine.quantities import shown
from dosing.rules.engine.rows import Row, Severity
from dosing.rules.engine.rulebook import RuleBook as EngineBook
from dosing.rules.engine.starting import weight_kg
from dosing.rules.loading import engine_book
from dosing.rules.models import RuleBook
from dosing.rules.selectors import NoPublishedBook, published_version
from dosing.selectors import (
    assessment_of,
    current_regimen,
    last_order,
    open_order,
    order_of,
    signatures_of,
)
from dosing.services import (
    Review,
    StaleAssessment,
    assess_patient,
    hold_regimen,
    interruption_digest,
    meaning_of,
    order_dose,
    replay,
    resume_regimen,
    review_order,
    staleness,
    start_regimen,
    stop_regimen,
)
from patients.banner import banner_of
from patients.models import Diagnosis, EventKind, Patient, Route, VaccineRoute
from patients.selectors import patient_of
from patients.vocabulary import vocabulary
from tacroweb.accounts.access import access_of, requires
from tacroweb.accounts.roles import Permission
from tacroweb.fields import show_error
from tacroweb.numbers import format_decimal
from tacroweb.refusals import Refusal
from tacroweb.templatetags.components import UNITS
from tacroweb.templatetags.quantities import clinical_date, clinical_datetime, quantity

TYPED = "typed_orders"  # in the session: what was typed on an assessment that went stale
ACTS: dict[Meaning, tuple[str, str, str]] = {
    Meaning.STARTED: ("Start tacrolimus", "Sign and start", "I prescribe tacrolimus as shown."),
    Meaning.CHANGED: ("Change the dose", "Sign and change", "I prescribe this dose as shown."),
    Meaning.RESUMED: ("Resume tacrolimus", "Sign and resume", "I resume tacrolimus as shown."),
    Meaning.HELD: (
        "Hold tacrolimus",
        "Sign and hold",
        "I order that no tacrolimus is taken until it is resumed.",
    ),
    Meaning.STOPPED: (
        "Stop tacrolimus",
        "Sign and stop",
        "I end this course of tacrolimus.",
    ),
}
NEEDS_APPROVAL = " Needs local approval."


def _patient(request: HttpRequest, public_id: uuid.UUID) -> Patient:
    try:
        return patient_of(access_of(request).clinic, public_id)
    except Patient.DoesNotExist as error:
        raise Http404 from error


def _assessment(patient: Patient, public_id: uuid.UUID | str) -> Assessment:
    try:
        return assessment_of(patient, uuid.UUID(str(public_id)))
    except (Assessment.DoesNotExist, ValueError) as error:
        raise Http404 from error


def _chart(patient: Patient) -> str:
    return reverse("chart", args=[patient.public_id])


def _of(patient: Patient) -> dict[str, Any]:
    """What every page about the patient shows."""
    href = _chart(patient)
    return {
        "patient": patient,
        "chart": href,
        "banner": banner_of(patient, today=timezone.localdate(), href=href),
    }


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Permission.ASSESS)
def assess(request: HttpRequest, patient: uuid.UUID) -> HttpResponse:
    """Store an assessment and go to its page; what was typed on a stale one goes along.

    A GET, as after signing in again, only leads back to the chart.
    """
    person = _patient(request, patient)
    if request.method != "POST":
        return redirect(_chart(person))
    intent = Intent.REVIEW if current_regimen(person) else Intent.START
    try:
        made = assess_patient(
            patient=person, intent=intent, at=timezone.now(), by=access_of(request).sign()
        )
    except NoPublishedBook as error:
        messages.error(request, error.message)
        return redirect(_chart(person))
    typed = {
        name: value
        for name, value in request.POST.items()
        if name not in ("csrfmiddlewaretoken", "password", "shown_sha256")
    }
    if typed:
        request.session[TYPED] = {str(made.public_id): typed}
    return redirect("dosing:assessment", person.public_id, made.public_id)


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Permission.READ_PATIENTS, Permission.READ_AUDIT)
def assessment(request: HttpRequest, patient: uuid.UUID, assessment: uuid.UUID) -> HttpResponse:
    """The findings, the proposal and the order form; a POST comes back from the review to edit."""
    person = _patient(request, patient)
    made = _assessment(person, assessment)
    regimen = current_regimen(person)
    meaning = meaning_of(regimen)
    if request.method == "POST":
        return _assessment_page(request, person, made, OrderForm(made, meaning, request.POST))
    typed = request.session.get(TYPED, {}).get(str(made.public_id))
    initial = typed or _first_doses(made, regimen)
    return _assessment_page(request, person, made, OrderForm(made, meaning, initial=initial))


def _first_doses(made: Assessment, regimen: Regimen | None) -> dict[str, Any]:
    """The doses that the form begins with: the proposal, else for a resumption the dose before."""
    proposal = made.advice["proposal"] or {}
    if regimen is None:
        return {}
    if proposal.get("morning_mg") is not None:
        return {
            "morning_mg": Decimal(proposal["morning_mg"]),
            "evening_mg": Decimal(proposal["evening_mg"]),
        }
    if regimen.status == RegimenStatus.HELD and (order := open_order(regimen)):
        return {"morning_mg": order.morning_mg, "evening_mg": order.evening_mg}
    return {}


def _assessment_page(
    request: HttpRequest, patient: Patient, made: Assessment, form: OrderForm, status: int = 200
) -> HttpResponse:
    advice = made.advice
    regimen = current_regimen(patient)
    asked = [
        (_card(each.question.finding, advice["proposal"]), each) for each in form.answer_fields()
    ]
    context = _of(patient) | {
        "assessment": made,
        "advice": advice,
        "form": form,
        "critical": [row for row in asked if not row[1].question.acknowledge],
        "cautions": [row for row in asked if row[1].question.acknowledge],
        "others": [
            _card(finding, advice["proposal"])
            for finding in advice["findings"]
            if finding["severity"] in ("ADVISE", "INFO")
        ],
        "regimen": regimen,
        "order": open_order(regimen) if regimen else None,
        "act": ACTS[form.meaning][0],
        "starting": form.meaning == Meaning.STARTED,
        "stale": staleness(patient, made, at=timezone.now()),
        "may_order": access_of(request).can(Permission.ORDER),
        "per_kg": _per_kg(made, (advice["proposal"] or {}).get("total_daily_mg")),
    }
    return render(request, "dosing/assessment.html", context, status=status)


def _card(finding: Mapping[str, Any], proposal: Any) -> dict[str, Any]:
    """A stored finding as the page component shows it; a proposal that is the whole answer's own
    stands above it already."""
    source = finding["source"]
    return dict(finding) | {
        "source": source.removesuffix(NEEDS_APPROVAL),
        "needs_local_approval": source.endswith(NEEDS_APPROVAL),
        "proposal": None if finding["proposal"] == proposal else finding["proposal"],
    }


def _per_kg(made: Assessment, total_mg: Decimal | str | None) -> str:
    """A daily total as mg/kg/day by the newest weight of the assessment; empty if none is known."""
    case, at = casefile.decode_case(made.case)
    known = weight_kg(case, engine_book(made.rule_book), at)
    if known is None or total_mg is None:
        return ""
    return f"{shown(Fraction(Decimal(total_mg)) / known[0], at_most=3)} mg/kg/day"


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Permission.ORDER)
def review(request: HttpRequest, patient: uuid.UUID, assessment: uuid.UUID) -> HttpResponse:
    """What will be signed, read-only, with the password under it; or the form with its errors."""
    person = _patient(request, patient)
    made = _assessment(person, assessment)
    if request.method != "POST":
        return redirect("dosing:assessment", person.public_id, made.public_id)
    form = OrderForm(made, meaning_of(current_regimen(person)), request.POST)
    if not form.is_valid():
        return _assessment_page(request, person, made, form)
    return _review_page(request, person, made, form)


def _review_page(
    request: HttpRequest,
    patient: Patient,
    made: Assessment,
    form: OrderForm,
    sign_form: SignForm | None = None,
    status: int = 200,
) -> HttpResponse:
    prescription = form.prescription()
    try:
        reviewed = review_order(
            patient,
            product=form.product(),
            prescription=prescription,
            assessment=made,
            at=timezone.now(),
        )
    except (Refusal, ValidationError) as error:
        return _refused(request, patient, made, form, error)
    if sign_form is None:
        initial = {"shown_sha256": reviewed.shown_sha256}
        sign_form = SignForm(access_of(request).user, initial=initial)
    heading, button, meaning = ACTS[reviewed.meaning]
    context = _of(patient) | {
        "assessment": made,
        "form": form,
        "sign_form": sign_form,
        "review": reviewed,
        "summary": _summary(patient, made, reviewed, prescription),
        "answers": [
            (each.finding["message"], answer_in_words(prescription.answers[each.key]))
            for each in form.questions
        ],
        "accepted": reviewed.decision == Decision.ACCEPTED,
        "overridden": reviewed.decision == Decision.OVERRIDDEN,
        "heading": heading,
        "button": button,
        "meaning": meaning,
    }
    return render(request, "dosing/review.html", context, status=status)


def _refused(
    request: HttpRequest,
    patient: Patient,
    made: Assessment,
    form: OrderForm,
    error: Refusal | ValidationError,
) -> HttpResponse:
    """The order form once more with what a service refused; nothing typed is lost."""
    if not isinstance(error, StaleAssessment):  # that one stands above the form, with its button
        form.show(error)
    status = 409 if isinstance(error, Refusal) else 200
    return _assessment_page(request, patient, made, form, status=status)


def _summary(
    patient: Patient, made: Assessment, reviewed: Review, prescription: Prescription
) -> list[tuple[str, object]]:
    """What is signed, line by line."""
    product, total = reviewed.product, prescription.total_daily_mg
    per_kg = _per_kg(made, total)
    last = last_order(patient)
    rows: list[tuple[str, object]] = [
        ("Product", f"Tacrolimus {product.brand}, {product.formulation.label.lower()}"),
        ("Morning dose", f"{format_decimal(prescription.morning_mg)} mg"),
        ("Evening dose", f"{format_decimal(prescription.evening_mg)} mg"),
        (
            "Total",
            f"{format_decimal(total)} mg/day" + (f" ({per_kg})" if per_kg else ""),
        ),
    ]
    if last is not None:
        rows.append(("Dose before", f"{format_decimal(last.total_daily_mg)} mg/day"))
        rows.append(("Change", _change(last.total_daily_mg, total)))
    if product.target_low_ng_per_ml is not None and product.target_high_ng_per_ml is not None:
        low, high = product.target_low_ng_per_ml, product.target_high_ng_per_ml
        rows.append(
            (
                "Target of this course",
                f"{format_decimal(low)} to {format_decimal(high)} ng/mL: {product.target_reason}",
            )
        )
    rows.append(("Reason", prescription.reason))
    rows.append(("Decision", reviewed.decision.label))
    rows.append(("Rule book", made.rule_book.version))
    return rows


def _change(before_mg: Decimal, after_mg: Decimal) -> str:
    """A change of the daily total in percent, with its sign."""
    if before_mg == after_mg:
        return "None"
    percent = round((Fraction(after_mg) / Fraction(before_mg) - 1) * 100)
    return f"{'+' if percent > 0 else '−'}{abs(percent)} %"


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Permission.ORDER)
def sign(request: HttpRequest, patient: uuid.UUID, assessment: uuid.UUID) -> HttpResponse:
    """Sign what was reviewed and go to the chart; a second click finds its assessment stale."""
    person = _patient(request, patient)
    access = access_of(request)
    made = _assessment(person, assessment)
    if request.method != "POST":
        return redirect("dosing:assessment", person.public_id, made.public_id)
    regimen = current_regimen(person)
    form = OrderForm(made, meaning_of(regimen), request.POST)
    if not form.is_valid():
        return _assessment_page(request, person, made, form)
    product = form.product()
    sign_form = SignForm(access.user, request.POST)
    if not sign_form.is_valid():
        return _review_page(request, person, made, form, sign_form)
    prescription = form.prescription(
        confirmed=sign_form.cleaned_data["confirmed"],
        typed_again_mg=sign_form.cleaned_data["typed_again_mg"],
    )
    signed: dict[str, Any] = {
        "prescription": prescription,
        "assessment": made,
        "factor": Factor.PASSWORD,
        "at": timezone.now(),
        "by": access.sign(),
        "shown_sha256": sign_form.cleaned_data["shown_sha256"],
    }
    try:
        if product is not None:
            start_regimen(patient=person, product=product, **signed)
        elif regimen is not None:
            act = resume_regimen if regimen.status == RegimenStatus.HELD else order_dose
            act(regimen=regimen, **signed)
    except Refusal as error:
        if set(error.fields) & {"confirmed", "typed_again_mg"}:
            show_error(sign_form, error)
            return _review_page(request, person, made, form, sign_form, status=409)
        return _refused(request, person, made, form, error)
    except ValidationError as error:
        return _refused(request, person, made, form, error)
    request.session.pop(TYPED, None)
    total = format_decimal(prescription.total_daily_mg)
    messages.success(
        request,
        f"Signed: tacrolimus {total} mg/day, {format_decimal(prescription.morning_mg)} mg in the "
        f"morning and {format_decimal(prescription.evening_mg)} mg in the evening.",
    )
    return redirect(_chart(person))


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Permission.ORDER)
def hold(request: HttpRequest, patient: uuid.UUID) -> HttpResponse:
    """Pause tacrolimus: why, and the password."""
    return _interruption(request, _patient(request, patient), Meaning.HELD, hold_regimen)


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Permission.ORDER)
def stop(request: HttpRequest, patient: uuid.UUID) -> HttpResponse:
    """End the course: why, and the password."""
    return _interruption(request, _patient(request, patient), Meaning.STOPPED, stop_regimen)


def _interruption(
    request: HttpRequest,
    patient: Patient,
    meaning: Meaning,
    act: Callable[..., SignedOrder],
) -> HttpResponse:
    regimen = current_regimen(patient)
    if regimen is None or (meaning == Meaning.HELD and regimen.status == RegimenStatus.HELD):
        what = "not on tacrolimus" if regimen is None else "not given tacrolimus now: it is held"
        messages.error(request, f"This patient is {what}.")
        return redirect(_chart(patient))
    access = access_of(request)
    order = open_order(regimen)
    proposed_by = request.GET.get("assessment")
    made = _assessment(patient, proposed_by) if proposed_by else None
    status = 200
    if request.method == "POST":
        form = InterruptionForm(access.user, meaning, request.POST)
        if form.is_valid():
            try:
                act(
                    regimen=regimen,
                    reason_code=ReasonCode(form.cleaned_data["reason_code"]),
                    reason_text=form.cleaned_data["reason_text"],
                    assessment=made,
                    factor=Factor.PASSWORD,
                    at=timezone.now(),
                    by=access.sign(),
                    shown_sha256=form.cleaned_data["shown_sha256"],
                )
            except (Refusal, ValidationError) as error:
                show_error(form, error)
                status = 409 if isinstance(error, Refusal) else 200
            else:
                done = "held" if meaning == Meaning.HELD else "stopped"
                messages.success(request, f"Signed: tacrolimus is {done}.")
                return redirect(_chart(patient))
    else:
        digest = interruption_digest(meaning, regimen, order)
        form = InterruptionForm(access.user, meaning, initial={"shown_sha256": digest})
    heading, button, words = ACTS[meaning]
    context = _of(patient) | {
        "form": form,
        "heading": heading,
        "button": button,
        "meaning": words,
        "stopping": meaning == Meaning.STOPPED,
        "summary": _course(regimen, order),
    }
    return render(request, "dosing/interruption.html", context, status=status)


def _course(regimen: Regimen, order: DoseOrder | None) -> list[tuple[str, object]]:
    rows: list[tuple[str, object]] = [
        ("Product", f"Tacrolimus {regimen.brand}, {regimen.get_formulation_display().lower()}"),
        ("State", regimen.get_status_display()),
    ]
    if order is not None:
        rows.append(
            (
                "Dose",
                f"{format_decimal(order.total_daily_mg)} mg/day: "
                f"{format_decimal(order.morning_mg)} mg in the morning, "
                f"{format_decimal(order.evening_mg)} mg in the evening",
            )
        )
    return rows


@require_safe
@requires(Permission.ORDER)
def resume(request: HttpRequest, patient: uuid.UUID) -> HttpResponse:
    """Why tacrolimus is held; from here it is assessed anew and then resumed."""
    person = _patient(request, patient)
    regimen = current_regimen(person)
    if regimen is None or regimen.status != RegimenStatus.HELD:
        messages.error(request, "Tacrolimus is not held: there is nothing to resume.")
        return redirect(_chart(person))
    held = signatures_of(person).filter(meaning=Meaning.HELD, regimen=regimen).first()
    context = _of(person) | {"summary": _course(regimen, open_order(regimen)), "held": held}
    return render(request, "dosing/resume.html", context)


@require_safe
@requires(Permission.READ_PATIENTS, Permission.READ_AUDIT)
def why(request: HttpRequest, patient: uuid.UUID, order: uuid.UUID) -> HttpResponse:
    """One order explained: the facts as they stood, the advice, the answers, the signature."""
    person = _patient(request, patient)
    try:
        row = order_of(person, order)
    except DoseOrder.DoesNotExist as error:
        raise Http404 from error
    made = row.assessment
    advice = made.advice
    answers = json.loads(row.answers or "{}")
    asked = {id(each.finding): each.key for each in questions(advice)}
    context = _of(person) | {
        "order": row,
        "reason": in_words(ReasonCode(row.reason_code), row.reason_text),
        "signature": getattr(row, "signature", None),
        "assessment": made,
        "advice": advice,
        "findings": [
            (
                _card(finding, advice["proposal"]),
                _stored_answer(answers.get(asked.get(id(finding)))),
            )
            for finding in advice["findings"]
        ],
        "facts": list(_facts(made.case)),
        "drugs": _dated(made.case["co_medications"], route=dict(Route.choices)),
        "results": _results(made.case),
        "events": _dated(made.case["events"], kind=dict(EventKind.choices)),
        "vaccines": _dated(made.case["immunisations"], route=dict(VaccineRoute.choices)),
        "replay": replay(made),
    }
    return render(request, "dosing/why.html", context)


def answer_in_words(answer: Answer) -> str:
    """An answer as people read it."""
    text = answer.text.strip()
    if answer.reason == AnswerReason.OTHER:
        return text
    return f"{answer.reason.label}: {text}" if text else str(answer.reason.label)


def _stored_answer(stored: Mapping[str, str] | None) -> str:
    if stored is None:
        return ""
    return answer_in_words(Answer(reason=AnswerReason(stored["reason"]), text=stored["text"]))


_MODELS: tuple[tuple[str, str, type[models.Model]], ...] = (
    ("patient", "Patient", Patient),
    ("diagnosis", "Diagnosis", Diagnosis),
    ("regimen", "Course", Regimen),
)
_LABELS = {
    "lactating": "Breast-feeding",
    "hcv_antiviral_course": "On treatment for hepatitis C",
    "weight_kg": "Weight",
    "height_cm": "Height",
    "morning_mg": "Morning dose",
    "evening_mg": "Evening dose",
    "target_low_ng_per_ml": "Own target from",
    "target_high_ng_per_ml": "Own target to",
    "dose_before_inhibitor_mg_per_day": "Dose before the inhibitor",
}


def _facts(case: Mapping[str, Any]) -> Iterator[tuple[str, list[tuple[str, object]]]]:
    """The facts of a stored case that hold one value each, in the words and order of the record.

    A weight or height is left out where it stands among the results below, and so is a target
    that the course does not have of its own.
    """
    optional = {"weight_kg", "height_cm", "target_low_ng_per_ml", "target_high_ng_per_ml"}
    optional.add("dose_before_inhibitor_mg_per_day")
    for name, heading, model in _MODELS:
        if facts := case[name]:
            columns = {column.name: column for column in model._meta.concrete_fields}
            known = dict.fromkeys((*columns, *_LABELS, *sorted(facts)))
            keys = [key for key in known if key in facts]
            yield (
                heading,
                [
                    _fact(columns.get(key), key, facts[key])
                    for key in keys
                    if not (key in optional and facts[key] is None)
                ],
            )


def _fact(column: "models.Field[Any, Any] | None", key: str, value: object) -> tuple[str, object]:
    """`weight_kg: "61.5"` as "Weight" and "61.5 kg"; a choice by its words, a day as read here."""
    shown_value = value
    if value is not None and column and column.choices:
        shown_value = dict(column.flatchoices).get(value, value)
    elif isinstance(value, bool):
        shown_value = "Yes" if value else "No"
    elif value is not None and key.endswith(("_on", "_date")):
        shown_value = clinical_date(date.fromisoformat(str(value)))
    elif value is not None and key == "dose_since":
        shown_value = clinical_datetime(datetime.fromisoformat(str(value)))
    elif value is not None and (unit := next((u for end, u in UNITS if key.endswith(end)), "")):
        shown_value = quantity(str(value), unit)
    label = _LABELS.get(key) or str(column.verbose_name if column else key).replace("_", " ")
    return label[:1].upper() + label[1:], shown_value


def _results(case: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The results of a stored case, newest first and by name, each with its analyte's name."""
    rows = _dated(case["observations"])
    for row in rows:
        known = vocabulary().analyte(row["analyte"])
        row["name"] = known.name if known else row["analyte"]
    return sorted(
        sorted(rows, key=lambda row: row["name"].casefold()),
        key=lambda row: row["at"],
        reverse=True,
    )


def _dated(rows: list[dict[str, Any]], **words: Mapping[Any, Any]) -> list[dict[str, Any]]:
    """The rows of a stored case with their days and instants as such, and the choices in `words`
    by their words, for the page to print."""
    return [
        {
            name: value
            and (
                date.fromisoformat(value)
                if name.endswith("_on")
                else datetime.fromisoformat(value)
                if name in ("at", "last_dose_at")
                else words.get(name, {}).get(value, value)
            )
            for name, value in row.items()
        }
        for row in rows
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One kind of row of the rule book as a table."""

    key: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Row, tuple[str, ...]], ...]


@require_safe
@requires(Permission.READ_RULES)
def book(request: HttpRequest, version: str | None = None) -> HttpResponse:
    """A rule book to read: each row with its statements, its source and whether it acts."""
    try:
        row = RuleBook.objects.get(version=version) if version else published_version()
    except RuleBook.DoesNotExist as error:
        raise Http404 from error
    except NoPublishedBook as error:
        return render(request, "dosing/book.html", {"missing": error.message})
    found = engine_book(row)
    context = {
        "row": row,
        "book": found,
        "sections": list(_sections(found)),
        "versions": RuleBook.objects.defer("text").order_by("-version"),
    }
    return render(request, "dosing/book.html", context)


_COMMON = {each.name for each in fields(Row)}


def _sections(found: EngineBook) -> Iterator[Section]:
    for each in fields(found):
        rows = getattr(found, each.name) if each.init else None
        if not isinstance(rows, tuple) or not rows:
            continue
        own = [column.name for column in fields(rows[0]) if column.name not in _COMMON]
        yield Section(
            key=each.name.replace("_", "-"),
            title=each.name.replace("_", " ").capitalize(),
            columns=tuple(name.replace("_", " ").capitalize() for name in own),
            rows=tuple((row, tuple(_cell(getattr(row, name)) for name in own)) for row in rows),
        )


def _cell(value: object) -> str:
    if isinstance(value, Severity):
        return value.name
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, Decimal):
        return format_decimal(value)
    return str(value)
