"""The roof's pages: the clinic's worklist and the patient chart."""

import logging
import uuid
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from itertools import groupby
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from dosing.rules.engine.advice import Advice
from dosing.rules.engine.facts import TACROLIMUS_LEVEL, CaseFacts
from dosing.rules.engine.rulebook import RuleBook
from dosing.rules.engine.starting import weight_kg
from dosing.rules.selectors import (
    NoPublishedBook,
    book_under_way,
    published_book,
    published_version,
)
from dosing.selectors import (
    ON_THERAPY,
    acts_of,
    companion_orders_of,
    dose_steps,
    orders_of,
    terms_of,
)
from dosing.services import advise
from monitoring.selectors import (
    failed_reviews,
    last_sweep,
    open_tasks,
    review_failure,
    sweep_missed,
    visits,
    worklist,
)
from patients.banner import banner_of
from patients.models import Patient
from patients.selectors import Record, is_live, patient_of, record_of
from tacroweb import chart as charting
from tacroweb import levels
from tacroweb.accounts.access import Access, access_of, requires
from tacroweb.accounts.roles import Permission
from tacroweb.home import held, waiting_for_a_decision
from tacroweb.refusals import Refusal

log = logging.getLogger(__name__)
SHOWN = 25
SPANS = {"90": 90, "180": 180, "365": 365}


@require_POST
def switch_clinic(request: HttpRequest) -> HttpResponse:
    """Work at another of one's own clinics from now on; anything else changes nothing."""
    wanted = request.POST.get("clinic", "")
    for clinic in access_of(request).clinics:
        if str(clinic.pk) == wanted:
            request.session["clinic_id"] = clinic.pk
    return redirect("home")


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """What needs a person today at this clinic; for roles without patients, what is theirs."""
    access: Access | None = getattr(request, "access", None)
    if access is None or not access.can(Permission.READ_PATIENTS):
        context: dict[str, Any] = {}
        if access is not None and access.can(Permission.READ_RULES):
            try:
                context = {"rules": published_version(), "under_way": book_under_way()}
            except NoPublishedBook as error:
                context = {"no_rules": error.message}
        return render(request, "home_other.html", context)
    at = timezone.localtime()
    today = at.date()
    sweep = last_sweep()
    due = worklist(access.clinic, today=today)
    waiting = waiting_for_a_decision(access.clinic, limit=SHOWN + 1)
    return render(
        request,
        "home.html",
        {
            "today": today,
            "worklist": due,
            "due": [
                (patient, list(own))
                for patient, own in groupby(due.visits, key=lambda visit: visit.patient)
            ],
            "waiting": waiting[:SHOWN],
            "waiting_count": f"{SHOWN}+" if len(waiting) > SHOWN else len(waiting),
            "held": held(access.clinic),
            "unreviewed": list(failed_reviews(access.clinic)[:SHOWN]),
            "sweep": sweep,
            "sweep_missed": sweep_missed(sweep, at=at),
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """The protocol asked now: facts and answer, or the sentence that says why there are none."""

    book: RuleBook | None = None
    case: CaseFacts | None = None
    advice: Advice | None = None
    failure: str = ""


def check_now(patient: Patient, *, record: Record, at: datetime) -> Check:
    """Ask the rule book in force. Whatever goes wrong is a failed check, never "nothing found"."""
    book = None
    try:
        book = published_book()
        case, advice = advise(patient, book=book, record=record, at=at)
    except Refusal as refusal:
        return Check(book=book, failure=refusal.message)
    except Exception:  # a chart without advice is better than none, and says that it is without
        log.exception("The check of patient %s failed", patient.public_id)
        return Check(book=book, failure="The facts could not be put to the rule book.")
    return Check(book=book, case=case, advice=advice)


@require_safe
@requires(Permission.READ_PATIENTS)
def chart(request: HttpRequest, patient: uuid.UUID) -> HttpResponse:
    """One patient: state, advice, timeline, medication, tasks and results. Nothing is written."""
    access = access_of(request)
    try:
        person = patient_of(access.clinic, patient)
    except Patient.DoesNotExist as missing:
        raise Http404 from missing
    at = timezone.localtime()
    today = at.date()
    record = record_of(person)
    check = check_now(person, record=record, at=at)
    orders = list(orders_of(person))
    regimens = list({order.regimen_id: order.regimen for order in reversed(orders)}.values())
    regimen = next((each for each in regimens if each.status in ON_THERAPY), None)
    order = next((each for each in orders if each.closed_at is None), None) if regimen else None
    results = charting.latest_results(record.results)
    companions = list(companion_orders_of(person))
    ordered = {each.co_medication_id: each for each in companions if each.closed_at is None}
    medicines = [
        charting.medicine(row, check.book, today, ordered.get(row.pk)) for row in record.drugs
    ]
    acts = list(acts_of(person))
    steps = dose_steps(orders, acts)
    context: dict[str, Any] = {
        "patient": person,
        "banner": banner_of(
            person,
            today=today,
            href=request.path,
            results={each.newest.analyte.key: each.newest for each in results},
        ),
        "today": today,
        "check": check,
        "regimen": regimen,
        "order": order,
        "orders": orders,
        "medicines": [each for each in medicines if each.taken],
        "stopped": [each for each in medicines if not each.taken],
        "companions": [
            charting.companion(each)
            for each in sorted(companions, key=lambda each: (each.regimen_code, each.step))
            if each.closed_at is None
        ],
        "past_companions": [
            charting.companion(each) for each in companions if each.closed_at is not None
        ],
        "results": results,
        "ranges_unapproved": any(not each.newest.analyte.limits_approved for each in results),
        "events": record.events,
        "vaccines": [(dose, is_live(dose.vaccine)) for dose in record.immunisations],
        "visits": (due := visits(open_tasks(person), today=today)),
        "review_failure": review_failure(person),
        "tile_dose": charting.dose_tile(regimen, order, steps, _weight(check, at)),
    }
    if check.book is not None and check.advice is not None:
        targets = levels.targets(terms_of(regimens, acts), check.book, at)
        placed = [
            levels.place(row, targets, at)
            for row in record.results
            if row.analyte.key == TACROLIMUS_LEVEL
        ]
        span = SPANS.get(request.GET.get("span", ""))
        tiers = charting.tiers(check.advice, check.book, order)
        context |= {
            "results": charting.with_target(results, placed),
            "target": targets[-1] if regimen else None,
            "tile_level": charting.level_tile(placed),
            "tile_in_target": charting.in_target_tile(placed, targets[-1] if regimen else None, at),
            "spans": ((None, "All"), (365, "1 year"), (180, "6 months"), (90, "3 months")),
            "span": span,
            "timeline": charting.timeline(
                placed, targets, steps, medicines, record.events, at=at, days=span
            ),
            "tile_next": charting.next_trough_tile(
                due, check.advice, today, on_therapy=regimen is not None
            ),
            "tiers": tiers,
            "unproposed": charting.unproposed(check.advice, tiers.undecided),
            "baseline_done": charting.baseline_progress(tiers.baseline, check.book),
        }
    return render(request, "chart.html", context)


def _weight(check: Check, at: datetime) -> Fraction | None:
    """The weight that the rules go by, kg."""
    if check.case is None or check.book is None:
        return None
    known = weight_kg(check.case, check.book, at)
    return None if known is None else known[0]
