"""The pages on which a dose is decided and signed, and the ones that explain it afterwards."""

import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db import models
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.http import require_http_methods, require_safe

from dosing.case import case_of
from dosing.checks import (
    NEEDS_ACKNOWLEDGEMENT,
    NEEDS_ANSWER,
    Answer,
    AnswerReason,
    Prescription,
    against_reason,
    in_words,
    is_proposed_dose,
    questions,
    unusual,
)
from dosing.forms import COMPANION, SWITCH, InterruptionForm, OrderForm, SignForm, TargetForm
from dosing.models import (
    Assessment,
    Decision,
    DoseOrder,
    Factor,
    Formulation,
    Intent,
    Meaning,
    ReasonCode,
    Regimen,
    RegimenStatus,
    SignedOrder,
    product_words,
)
from dosing.pages import (
    answer_in_words,
    assessment_or_404,
    chart_of,
    decision_words,
    finding_card,
    findings_of,
    given_answers,
    of_patient,
    patient_or_404,
    per_kg,
)
from dosing.rules import casefile
from dosing.rules.engine.assess import ENGINE_VERSION
from dosing.rules.engine.quantities import shown
from dosing.rules.loading import engine_book
from dosing.rules.selectors import NoPublishedBook, published_book, published_version
from dosing.selectors import (
    companion_orders_of,
    current_regimen,
    last_order,
    offered_targets,
    open_order,
    order_of,
    signatures_of,
    terms_at,
)
from dosing.services import (
    Review,
    StaleAssessment,
    assess_patient,
    change_target,
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
    switch_product,
    target_digest,
)
from patients.models import Diagnosis, EventKind, Patient, Route, VaccineRoute
from patients.vocabulary import vocabulary
from tacroweb.accounts.access import access_of, requires
from tacroweb.accounts.roles import Permission
from tacroweb.fields import show_error
from tacroweb.numbers import format_decimal
from tacroweb.refusals import Refusal
from tacroweb.templatetags.components import UNITS
from tacroweb.templatetags.quantities import NBSP, clinical_date, clinical_datetime, quantity

TYPED = "typed_orders"  # in the session: what was typed on an assessment that went stale
ACTS: dict[Meaning, tuple[str, str, str]] = {
    Meaning.STARTED: ("Start tacrolimus", "Sign and start", "I prescribe tacrolimus as shown."),
    Meaning.CHANGED: ("Change the dose", "Sign and change", "I prescribe this dose as shown."),
    Meaning.SWITCHED: (
        "Switch the product",
        "Sign and switch",
        "I prescribe this product and this dose as shown.",
    ),
    Meaning.TARGET_CHANGED: (
        "Change the target",
        "Sign the target",
        "I set the target trough of this course as shown.",
    ),
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


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Permission.ASSESS)
def assess(request: HttpRequest, patient: uuid.UUID) -> HttpResponse:
    """Store an assessment and go to its page; what was typed on a stale one goes along.

    `act` says what it is made for: a dose, another product, or companion treatment. A GET, as after
    signing in again, only leads back to the chart.
    """
    person = patient_or_404(request, patient)
    if request.method != "POST":
        return redirect(chart_of(person))
    intent = Intent.REVIEW if current_regimen(person) else Intent.START
    try:
        made = assess_patient(
            patient=person, intent=intent, at=timezone.now(), by=access_of(request).sign()
        )
    except NoPublishedBook as error:
        messages.error(request, error.message)
        return redirect(chart_of(person))
    typed = {
        name: value
        for name, value in request.POST.items()
        if name not in ("csrfmiddlewaretoken", "password", "shown_sha256")
    }
    if typed:
        request.session[TYPED] = {str(made.public_id): typed}
    act, keys = request.POST.get("act"), [person.public_id, made.public_id]
    if act == COMPANION:
        tapers = request.POST.get("tapers", "")
        address = reverse("dosing:companion", args=keys)
        return redirect(f"{address}?{urlencode({'tapers': tapers})}" if tapers else address)
    address = reverse("dosing:assessment", args=keys)
    return redirect(f"{address}?{urlencode({'act': SWITCH})}" if act == SWITCH else address)


def _meaning(request: HttpRequest, regimen: Regimen | None) -> Meaning:
    """What an order typed here means; a switch only of a course that is active."""
    act = request.POST.get("act") or request.GET.get("act")
    if act == SWITCH and regimen is not None and regimen.status == RegimenStatus.ACTIVE:
        return Meaning.SWITCHED
    return meaning_of(regimen)


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Permission.READ_PATIENTS, Permission.READ_AUDIT)
def assessment(request: HttpRequest, patient: uuid.UUID, assessment: uuid.UUID) -> HttpResponse:
    """The findings, the proposal and the order form; a POST comes back from the review to edit."""
    person = patient_or_404(request, patient)
    made = assessment_or_404(person, assessment)
    regimen = current_regimen(person)
    meaning = _meaning(request, regimen)
    if request.method == "POST":
        return _assessment_page(request, person, made, OrderForm(made, meaning, request.POST))
    typed = request.session.get(TYPED, {}).get(str(made.public_id))
    initial = typed or _first_doses(made, regimen, meaning)
    form = OrderForm(made, meaning, initial=initial)
    return _assessment_page(
        request, person, made, form, typed=OrderForm(made, meaning, typed) if typed else None
    )


def _first_doses(made: Assessment, regimen: Regimen | None, meaning: Meaning) -> dict[str, Any]:
    """The doses that the form begins with: the proposal, else for a resumption the dose before.

    None for a switch: what was right for one product is not offered for another (D32).
    """
    proposal = made.advice["proposal"] or {}
    if regimen is None:
        return {}
    if meaning == Meaning.SWITCHED:
        return {"formulation": regimen.formulation}
    if proposal.get("morning_mg") is not None:
        return {
            "morning_mg": Decimal(proposal["morning_mg"]),
            "evening_mg": Decimal(proposal["evening_mg"]),
        }
    if regimen.status == RegimenStatus.HELD and (order := open_order(regimen)):
        return {"morning_mg": order.morning_mg, "evening_mg": order.evening_mg}
    return {}


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Permission.ORDER)
def remarks(request: HttpRequest, patient: uuid.UUID, assessment: uuid.UUID) -> HttpResponse:
    """What stands out in an order while it is typed, by the place of the form that says it."""
    person = patient_or_404(request, patient)
    made = assessment_or_404(person, assessment)
    if request.method != "POST":
        return redirect("dosing:assessment", person.public_id, made.public_id)
    form = OrderForm(made, _meaning(request, current_regimen(person)), request.POST)
    return JsonResponse(_remarks(person, made, form))


def _remarks(patient: Patient, made: Assessment, form: OrderForm) -> dict[str, str]:
    """What the review will say of the dose and of the reason, as far as they are typed: `dose` and
    `reason`, "" where they are usual."""
    form.is_valid()  # the rest may still be open
    typed = form.cleaned_data
    case, assessed_at = casefile.decode_case(made.case)
    book = engine_book(made.rule_book)
    regimen = current_regimen(patient)
    said = {"dose": "", "reason": ""}
    if code := typed.get("reason_code"):
        said["reason"] = against_reason(ReasonCode(code), case=case, book=book, at=assessed_at)
    doses = (typed.get("morning_mg"), typed.get("evening_mg"))
    formulation = typed.get("formulation") or (regimen.formulation if regimen else None)
    if doses[0] is None or doses[1] is None or formulation is None:
        return said
    if is_proposed_dose(doses[0], doses[1], made.advice["proposal"]):
        return said
    last = open_order(regimen) if regimen else last_order(patient)
    found = unusual(
        doses[0],
        doses[1],
        formulation=Formulation(formulation),
        last_total_mg=last.total_daily_mg if last else None,
        case=case,
        book=book,
        at=timezone.now(),
    )
    said["dose"] = " ".join(f"{words}." for words, _ in found)
    return said


def _assessment_page(
    request: HttpRequest,
    patient: Patient,
    made: Assessment,
    form: OrderForm,
    status: int = 200,
    *,
    typed: OrderForm | None = None,
) -> HttpResponse:
    """`typed` holds what was typed, where the form itself only begins with it."""
    typed = form if form.is_bound else typed
    advice = made.advice
    regimen = current_regimen(patient)
    context = of_patient(patient, at=timezone.now()) | {
        "assessment": made,
        "advice": advice,
        "form": form,
        **findings_of(made, form),
        "regimen": regimen,
        "order": open_order(regimen) if regimen else None,
        "act": ACTS[form.meaning][0],
        "starting": form.meaning == Meaning.STARTED,
        "switching": form.meaning == Meaning.SWITCHED,
        "companions": [each for each in companion_orders_of(patient) if each.closed_at is None],
        "stale": staleness(patient, made, at=timezone.now()),
        "may_order": access_of(request).can(Permission.ORDER),
        "per_kg": per_kg(made, (advice["proposal"] or {}).get("total_daily_mg")),
        "remarks": _remarks(patient, made, typed) if typed else {},
    }
    return render(request, "dosing/assessment.html", context, status=status)


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Permission.ORDER)
def review(request: HttpRequest, patient: uuid.UUID, assessment: uuid.UUID) -> HttpResponse:
    """What will be signed, read-only, with the password under it; or the form with its errors."""
    person = patient_or_404(request, patient)
    made = assessment_or_404(person, assessment)
    if request.method != "POST":
        return redirect("dosing:assessment", person.public_id, made.public_id)
    form = OrderForm(made, _meaning(request, current_regimen(person)), request.POST)
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
    context = of_patient(patient, at=timezone.now()) | {
        "assessment": made,
        "form": form,
        "sign_form": sign_form,
        "review": reviewed,
        "summary": _summary(patient, made, reviewed, prescription),
        "answers": given_answers(form),
        "remarks": _remarks(patient, made, form),
        "accepted": reviewed.decision == Decision.ACCEPTED,
        "overridden": reviewed.decision == Decision.OVERRIDDEN,
        "switching": reviewed.meaning == Meaning.SWITCHED,
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
    by_weight = per_kg(made, total)
    last = last_order(patient)
    rows: list[tuple[str, object]] = []
    if reviewed.meaning == Meaning.SWITCHED and last is not None:
        rows.append(("Product before", f"Tacrolimus {last.regimen.product}"))
    rows += [
        ("Product", f"Tacrolimus {product_words(product.brand, product.formulation)}"),
        ("Morning dose", f"{format_decimal(prescription.morning_mg)} mg"),
        ("Evening dose", f"{format_decimal(prescription.evening_mg)} mg"),
        (
            "Total",
            f"{format_decimal(total)} mg/day" + (f" ({by_weight})" if by_weight else ""),
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
    rows.append(("Decision", decision_words(reviewed.decision, made.advice["proposal"])))
    rows.append(("Rule book", made.rule_book.version))
    return rows


def _change(before_mg: Decimal, after_mg: Decimal) -> str:
    """A change of the daily total in percent, with its sign."""
    if before_mg == after_mg:
        return "None"
    percent = round((Fraction(after_mg) / Fraction(before_mg) - 1) * 100)
    return f"{'+' if percent > 0 else '−'}{abs(percent)}{NBSP}%"


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Permission.ORDER)
def sign(request: HttpRequest, patient: uuid.UUID, assessment: uuid.UUID) -> HttpResponse:
    """Sign what was reviewed and go to the chart; a second click finds its assessment stale."""
    person = patient_or_404(request, patient)
    access = access_of(request)
    made = assessment_or_404(person, assessment)
    if request.method != "POST":
        return redirect("dosing:assessment", person.public_id, made.public_id)
    regimen = current_regimen(person)
    form = OrderForm(made, _meaning(request, regimen), request.POST)
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
        if product is not None and regimen is None:
            start_regimen(patient=person, product=product, **signed)
        elif product is not None and regimen is not None:
            switch_product(regimen=regimen, product=product, **signed)
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
    return redirect(chart_of(person))


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Permission.ORDER)
def hold(request: HttpRequest, patient: uuid.UUID) -> HttpResponse:
    """Pause tacrolimus: why, and the password."""
    return _interruption(request, patient_or_404(request, patient), Meaning.HELD, hold_regimen)


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Permission.ORDER)
def stop(request: HttpRequest, patient: uuid.UUID) -> HttpResponse:
    """End the course: why, and the password."""
    return _interruption(request, patient_or_404(request, patient), Meaning.STOPPED, stop_regimen)


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
        return redirect(chart_of(patient))
    access = access_of(request)
    order = open_order(regimen)
    proposed_by = request.GET.get("assessment")
    made = assessment_or_404(patient, proposed_by) if proposed_by else None
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
                return redirect(chart_of(patient))
    else:
        digest = interruption_digest(meaning, regimen, order)
        form = InterruptionForm(access.user, meaning, initial={"shown_sha256": digest})
    heading, button, words = ACTS[meaning]
    context = of_patient(patient, at=timezone.now()) | {
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
        ("Product", f"Tacrolimus {regimen.product}"),
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


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Permission.ORDER)
def target(request: HttpRequest, patient: uuid.UUID) -> HttpResponse:
    """Aim at another trough: a number that the clinic has approved, the book's, or one typed."""
    person = patient_or_404(request, patient)
    regimen = current_regimen(person)
    if regimen is None:
        messages.error(request, "This patient is not on tacrolimus.")
        return redirect(chart_of(person))
    access, at = access_of(request), timezone.now()
    asked_by = request.GET.get("assessment")
    made = assessment_or_404(person, asked_by) if asked_by else None
    book = published_book()
    offered = offered_targets(case_of(person, intent=Intent.REVIEW, book=book, at=at), book)
    usual = " to ".join(shown(end) for end in book.index.target)
    own = regimen.target_low_ng_per_ml is not None
    words = {"book_words": f"The rule book’s own: {usual} ng/mL" if own else ""}
    status = 200
    if request.method == "POST":
        form = TargetForm(access.user, offered, request.POST, **words)
        if form.is_valid():
            typed = form.cleaned_data
            try:
                change_target(
                    regimen=regimen,
                    low_ng_per_ml=typed["target_low_ng_per_ml"],
                    high_ng_per_ml=typed["target_high_ng_per_ml"],
                    reason_code=ReasonCode(typed["reason_code"]),
                    reason_text=typed["reason_text"],
                    assessment=made,
                    factor=Factor.PASSWORD,
                    at=at,
                    by=access.sign(),
                    shown_sha256=typed["shown_sha256"],
                )
            except (Refusal, ValidationError) as error:
                show_error(form, error)
                status = 409 if isinstance(error, Refusal) else 200
            else:
                messages.success(request, "Signed: the target of this course has changed.")
                return redirect(chart_of(person))
    else:
        initial = {"shown_sha256": target_digest(regimen)}
        form = TargetForm(access.user, offered, initial=initial, **words)
    heading, button, meaning = ACTS[Meaning.TARGET_CHANGED]
    low, high = regimen.target_low_ng_per_ml, regimen.target_high_ng_per_ml
    now = f"{usual} ng/mL, the rule book’s own"
    if low is not None and high is not None:
        now = f"{format_decimal(low)} to {format_decimal(high)} ng/mL: {regimen.target_reason}"
    context = of_patient(person, at=at) | {
        "form": form,
        "heading": heading,
        "button": button,
        "meaning": meaning,
        "offered": offered,
        "summary": [*_course(regimen, open_order(regimen)), ("Target now", now)],
    }
    return render(request, "dosing/target.html", context, status=status)


@require_safe
@requires(Permission.ORDER)
def resume(request: HttpRequest, patient: uuid.UUID) -> HttpResponse:
    """Why tacrolimus is held; from here it is assessed anew and then resumed."""
    person = patient_or_404(request, patient)
    regimen = current_regimen(person)
    if regimen is None or regimen.status != RegimenStatus.HELD:
        messages.error(request, "Tacrolimus is not held: there is nothing to resume.")
        return redirect(chart_of(person))
    held = signatures_of(person).filter(meaning=Meaning.HELD, regimen=regimen).first()
    context = of_patient(person, at=timezone.now()) | {
        "summary": _course(regimen, open_order(regimen)),
        "held": held,
    }
    return render(request, "dosing/resume.html", context)


@require_safe
@requires(Permission.READ_PATIENTS, Permission.READ_AUDIT)
def why(request: HttpRequest, patient: uuid.UUID, order: uuid.UUID) -> HttpResponse:
    """One order explained: the facts as they stood, the advice, the answers, the signature."""
    person = patient_or_404(request, patient)
    try:
        row = order_of(person, order)
    except DoseOrder.DoesNotExist as error:
        raise Http404 from error
    made = row.assessment
    advice = made.advice
    answers = json.loads(row.answers or "{}")
    keys = {id(each.finding): each.key for each in questions(advice)}
    terms = terms_at(row)
    asked = NEEDS_ANSWER + NEEDS_ACKNOWLEDGEMENT
    shown_then = [
        (
            finding_card(finding, advice["proposal"]),
            _stored_answer(answers.get(keys.get(id(finding)))),
        )
        for finding in advice["findings"]
    ]
    context = of_patient(person, at=timezone.now()) | {
        "order": row,
        "decision": decision_words(Decision(row.decision), advice["proposal"]),
        "product": product_words(terms.brand, terms.formulation),
        "reason": in_words(ReasonCode(row.reason_code), row.reason_text),
        "signature": getattr(row, "signature", None),
        "assessment": made,
        "advice": advice,
        "findings": [each for each in shown_then if each[0]["severity"] in asked],
        "unasked": [card for card, _ in shown_then if card["severity"] not in asked],
        "facts": list(_facts(made.case)),
        "drugs": _dated(made.case["co_medications"], route=dict(Route.choices)),
        "results": _results(made.case),
        "events": _dated(made.case["events"], kind=dict(EventKind.choices)),
        "vaccines": _dated(made.case["immunisations"], route=dict(VaccineRoute.choices)),
        "replay": replay(made),
    }
    return render(request, "dosing/why.html", context)


@require_safe
@requires(Permission.READ_PATIENTS, Permission.READ_AUDIT)
def replay_assessment(
    request: HttpRequest, patient: uuid.UUID, assessment: uuid.UUID
) -> HttpResponse:
    """One stored assessment put to its own rule book again: the same bytes, or what differs."""
    person = patient_or_404(request, patient)
    made = assessment_or_404(person, assessment)
    advice = made.advice
    context = of_patient(person, at=timezone.now()) | {
        "assessment": made,
        "advice": advice,
        "findings": [finding_card(each, advice["proposal"]) for each in advice["findings"]],
        "replay": replay(made),
        "engine": ENGINE_VERSION,
        "in_force": published_version(),
    }
    return render(request, "dosing/replay.html", context)


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
    "contraception": "Contraception in place",
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
    optional |= {"dose_before_inhibitor_mg_per_day", "switched_on", "switched_from"}
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
