"""The pages on which a rule book is drafted, checked, weighed and approved, and a case is tried."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from dosing.governance.changes import changes_of, for_installation, row_words
from dosing.governance.forms import ApproveForm, CaseForm, LocalForm, OpenForm, ReasonForm
from dosing.governance.impact import (
    UNFIT,
    approve_book,
    impact_counts,
    may_name,
    named_differences,
    newest_impact,
    seen_impact,
    start_impact,
)
from dosing.models import ImpactDifference
from dosing.pages import finding_card
from dosing.rules import casefile
from dosing.rules.cases import FOLDER
from dosing.rules.engine.advice import Outcome
from dosing.rules.engine.assess import assess
from dosing.rules.engine.facts import CaseFacts
from dosing.rules.engine.rows import LocalTargetRow, Row
from dosing.rules.linter import Level, LintFinding
from dosing.rules.loading import NoRuleBook, engine_book
from dosing.rules.models import TABLES, LocalApproval, RuleBook, RuleBookStatus
from dosing.rules.selectors import (
    answered_warnings,
    approvals_of,
    book_under_way,
    hands_in,
    lapsed_approvals,
    lint_of,
    lint_sha256,
    published_book,
    published_version,
)
from dosing.rules.services import (
    answer_warning,
    approve_locally,
    discard_draft,
    draft_book,
    return_to_draft,
    rollback_book,
    submit_for_review,
    withdraw_local_approval,
)
from dosing.rules.words import headings, span, table_key, table_title, told
from dosing.tasks import compute_impact
from patients.vocabulary import vocabulary
from tacroweb.accounts.access import Access, access_of, check, requires
from tacroweb.accounts.roles import Permission
from tacroweb.audit.models import LedgerEntry
from tacroweb.audit.signature import Signature
from tacroweb.fields import show_error
from tacroweb.refusals import Refusal
from tacroweb.templatetags.quantities import clinical_date, printed_unit

SHOWN_ACTS = 40
SHOWN_ROWS = 20  # of one act
SHOWN_PATIENTS = 25
_OUTCOMES = {
    Outcome.OUTSIDE_PROTOCOL: "Outside the protocol",
    Outcome.COULD_NOT_CHECK: "Something could not be checked",
}
_STATUS_NOTES = (
    (RuleBookStatus.DRAFT, "Draft", "edited row by row"),
    (RuleBookStatus.IN_REVIEW, "In review", "settled; somebody else decides"),
    (RuleBookStatus.PUBLISHED, "In force", "for every clinic of the installation"),
)


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Permission.READ_RULES)
def workbench(request: HttpRequest) -> HttpResponse:
    """The change that is under way: what it changes, whether it is sound, whom it concerns."""
    access = access_of(request)
    book = book_under_way()
    given: dict[str, Any] = {}
    if request.method == "POST":
        act = _ACTS.get(request.POST.get("act", ""))
        if act is None:
            raise Http404
        check(access, *act.permissions)
        try:
            done = act.do(request, access, book, given)
        except Refusal as error:
            messages.error(request, error.message)
            return redirect("dosing:workbench")
        if done:
            if act.told:
                messages.success(request, done)
            return redirect("dosing:workbench")
    context = {
        "open_form": OpenForm(label="Why the rules should change"),
        "submit_form": ReasonForm(label="What it changes, and why", prefix="submit"),
        "discard_form": ReasonForm(label="Why it is given up", prefix="discard"),
        "return_form": ReasonForm(label="What the editors should change", prefix="return"),
        "approve_form": ApproveForm(access.user, label="Why you approve it", prefix="approve"),
    }
    context |= given | _workbench(request, book, given.get("warning_form"))
    return render(request, "rules/workbench.html", context, status=422 if given else 200)


@require_safe
@requires(Permission.READ_RULES)
def impact(request: HttpRequest) -> HttpResponse:
    """The impact alone, as the page asks for it while it is being computed."""
    book = book_under_way()
    if book is None:
        raise Http404
    context = _impact(request, book) | {"book": book}
    return render(request, "rules/impact.html", context)


# What can be done there. Each answers what was done, or puts a form with its errors in `given`.


def _open(
    request: HttpRequest, access: Access, book: RuleBook | None, given: dict[str, Any]
) -> str:
    form = given["open_form"] = OpenForm(request.POST, label="Why the rules should change")
    if not form.is_valid():
        return ""
    by = for_installation(access, form.cleaned_data["reason"])
    at = timezone.now()
    chosen = RuleBook.objects.get(version=form.cleaned_data["begin_with"])
    if chosen.status == RuleBookStatus.PUBLISHED:
        made = draft_book(at=at, by=by)
    else:
        made = rollback_book(to=chosen, at=at, by=by)
    return f"Rule book {made.version} is open as a draft of {chosen.version}."


def _reasoned(
    name: str, done: str, service: Callable[[RuleBook, datetime, Signature], object]
) -> Callable[[HttpRequest, Access, RuleBook | None, dict[str, Any]], str]:
    """A step that needs a reason and nothing else."""

    def act(
        request: HttpRequest, access: Access, book: RuleBook | None, given: dict[str, Any]
    ) -> str:
        form = given[f"{name}_form"] = ReasonForm(request.POST, prefix=name)
        if book is None:
            raise Http404
        if not form.is_valid():
            return ""
        by = for_installation(access, form.cleaned_data["reason"])
        service(book, timezone.now(), by)
        return done.format(book.version)

    return act


def _accept(
    request: HttpRequest, access: Access, book: RuleBook | None, given: dict[str, Any]
) -> str:
    """Give a reason for one warning of the linter, known by its digest."""
    if book is None:
        raise Http404
    key = request.POST.get("finding", "")
    at = timezone.now()
    found = next((each for each in lint_of(book, at=at) if lint_sha256(each) == key), None)
    if found is None:
        messages.error(request, "The linter does not warn of this any more: its list is new.")
        return ""
    form = ReasonForm(request.POST, prefix=key[:12])
    if not form.is_valid():
        given["warning_form"] = (key, form)
        return ""
    by = for_installation(access, form.cleaned_data["reason"])
    answer_warning(book=book, found=found, at=at, by=by)
    return "The reason is kept with the draft."


def _approve(
    request: HttpRequest, access: Access, book: RuleBook | None, given: dict[str, Any]
) -> str:
    if book is None:
        raise Http404
    form = given["approve_form"] = ApproveForm(access.user, request.POST, prefix="approve")
    if not form.is_valid():
        return ""
    by = for_installation(access, form.cleaned_data["reason"])
    approve_book(book=book, at=timezone.now(), by=by)
    return (
        f"Rule book {book.version} is in force. Every patient on tacrolimus is being reviewed "
        "under it."
    )


def _ask_impact(
    request: HttpRequest, access: Access, book: RuleBook | None, given: dict[str, Any]
) -> str:
    if book is None:
        raise Http404
    run = start_impact(book=book, at=timezone.now(), asked_by=access.user.display_name)
    compute_impact.delay(run_id=run.pk)
    return "The impact is being computed."


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One thing to do on the page, and who may; not `told` where the page itself shows it."""

    permissions: tuple[Permission, ...]
    do: Callable[[HttpRequest, Access, RuleBook | None, dict[str, Any]], str]
    told: bool = True


_EDIT, _APPROVE = Permission.EDIT_RULES, Permission.APPROVE_RULES
_ACTS = {
    "open": Act(permissions=(_EDIT,), do=_open),
    "accept": Act(permissions=(_EDIT,), do=_accept),
    "submit": Act(
        permissions=(_EDIT,),
        do=_reasoned(
            "submit",
            "Rule book {} is in review. A rule approver who did not edit it decides.",
            lambda book, at, by: submit_for_review(book=book, at=at, by=by),
        ),
    ),
    "discard": Act(
        permissions=(_EDIT,),
        do=_reasoned(
            "discard",
            "The draft {} was given up. It is kept with everything that was done to it.",
            lambda book, at, by: discard_draft(book=book, at=at, by=by),
        ),
    ),
    "return": Act(
        permissions=(_EDIT, _APPROVE),
        do=_reasoned(
            "return",
            "Rule book {} is a draft again.",
            lambda book, at, by: return_to_draft(book=book, by=by),
        ),
    ),
    "approve": Act(permissions=(_APPROVE,), do=_approve),
    "impact": Act(permissions=(_EDIT, _APPROVE), do=_ask_impact, told=False),
}


# What the page shows.


def _workbench(
    request: HttpRequest, book: RuleBook | None, wrong: tuple[str, ReasonForm] | None
) -> dict[str, Any]:
    access = access_of(request)
    published = published_version()
    context: dict[str, Any] = {
        "book": book,
        "published": published,
        "may_edit": access.can(_EDIT),
        "may_approve": access.can(_APPROVE),
    }
    if book is None:
        return context
    context |= {
        "steps": [
            {"name": name, "note": note, "now": status == book.status}
            for status, name, note in _STATUS_NOTES
        ],
        "edited_by_me": access.user.pk in hands_in(book),
        "trail": _trail(book),
    }
    try:
        draft = engine_book(book)
        found = lint_of(book, at=timezone.localtime())
    except NoRuleBook as error:
        return context | {"unreadable": error.message, "checks_note": "it is no rule book yet"}
    changes = list(changes_of(engine_book(published), draft))
    placed = partial(_placed, rows={name: _codes(rows) for name, rows in draft.tables().items()})
    errors = [placed(each) for each in found if each.level is Level.ERROR]
    warnings = [placed(found) | each for found, each in _warnings(book, found, wrong)]
    waiting = sum(not each["reason"] for each in warnings)
    return (
        context
        | _impact(request, book)
        | {
            "changes": changes,
            "changes_note": f"against rule book {published.version}",
            "errors": errors,
            "warnings": warnings,
            "checks_note": f"{_count(len(errors), 'error')}, "
            f"{_count(waiting, 'warning')} without a reason",
        }
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _codes(rows: Iterable[Row]) -> frozenset[str]:
    return frozenset(row.code for row in rows)


def _placed(found: LintFinding, *, rows: Mapping[str, frozenset[str]]) -> dict[str, Any]:
    """A finding of the linter with the title of its table and, where it names one, its row."""
    return {
        "found": found,
        "table": table_title(found.table),
        "table_key": table_key(found.table) if found.row in rows.get(found.table, ()) else "",
    }


def _warnings(
    book: RuleBook, found: tuple[LintFinding, ...], wrong: tuple[str, ReasonForm] | None
) -> Iterator[tuple[LintFinding, dict[str, Any]]]:
    answers = answered_warnings(book)
    for each in found:
        if each.level is Level.WARNING:
            key = lint_sha256(each)
            form = wrong[1] if wrong and wrong[0] == key else ReasonForm(prefix=key[:12])
            answer = answers.get(key)
            reason = answer.reason if answer else ""
            yield each, {"key": key, "form": form, "reason": reason}


def _trail(book: RuleBook) -> list[dict[str, Any]]:
    """Who did what to the book, newest first."""
    entries = (
        LedgerEntry.objects.filter(subjects__subject=book.audit_subject())
        .order_by("-pk")
        .values("recorded_at", "actor_name", "role", "act", "reason", "channel", "text")
    )[:SHOWN_ACTS]
    written = [_rows_written(each["text"]) for each in entries]
    codes: dict[tuple[str, int], str] = {}
    for name, model in _HISTORIES.items():
        if keys := [pk for rows in written for label, pk in rows if label == name]:
            found = model.history.filter(pk__in=keys).values_list("pk", "code")
            codes |= {(name, pk): code for pk, code in found}
    return [
        {
            "at": each["recorded_at"],
            "who": each["actor_name"],
            "role": each["role"],
            "act": each["act"],
            "reason": each["reason"],
            "channel": each["channel"],
            "rows": [codes[row] for row in rows if row in codes],
        }
        for each, rows in zip(entries, written, strict=True)
    ]


_HISTORIES = {model.history.model._meta.label_lower: model for model in TABLES.values()}


def _rows_written(text: str) -> list[tuple[str, int]]:
    """The rows that an act wrote, by table and version; none where it wrote a whole book."""
    rows = json.loads(text)["rows"]
    return [(label.lower(), pk) for label, pk, _ in rows] if len(rows) <= SHOWN_ROWS else []


def _impact(request: HttpRequest, book: RuleBook) -> dict[str, Any]:
    access = access_of(request)
    run = newest_impact(book)
    context: dict[str, Any] = {
        "impact": run,
        "may_ask": access.can(_EDIT) or access.can(_APPROVE),
        "may_read_patients": access.can(Permission.READ_PATIENTS),
        "may_name": may_name(access),
    }
    if run is None or run.finished_at is None:
        return context
    stale = "The draft, or the book in force, has changed since. Compute it again."
    counts = impact_counts(run, access)
    named = Paginator(named_differences(run, access), SHOWN_PATIENTS)
    page = named.get_page(request.GET.get("page"))
    return context | {
        "impact_stale": "" if seen_impact(book) or run.cut_short else stale,
        "counts": counts,
        "differing": _count(counts.differing, "patient"),
        "named": [
            {
                "patient": each.patient,
                "failure": each.failure,
                "columns": [] if each.failure else _columns(each, book),
            }
            for each in page
        ],
        "named_page": page,
    }


def _columns(difference: ImpactDifference, book: RuleBook) -> list[dict[str, Any]]:
    """Old and new side by side."""
    titles = {"old": f"Now ({difference.run.against.version})", "new": f"New ({book.version})"}
    return [
        {
            "title": title,
            "proposal": difference.sides[side]["proposal"],
            "findings": difference.sides[side]["findings"],
            "due_tests": list(_due(difference.sides[side]["due_tests"])),
        }
        for side, title in titles.items()
    ]


def _due(tests: list[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for test in tests:
        known = vocabulary().analyte(test["analyte"])
        yield {
            "name": known.name if known else test["analyte"],
            "due": date.fromisoformat(test["due"]),
            "statements": test["statements"],
        }


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Permission.READ_RULES)
def try_case(request: HttpRequest) -> HttpResponse:
    """A case put to the book in force and to the one under way, side by side. Nothing is kept."""
    form = CaseForm(request.POST or None)
    answers: list[dict[str, Any]] = []
    if request.method == "POST" and form.is_valid():
        if request.POST.get("act") == "load" and form.cleaned_data["example"]:
            text = _example(form.cleaned_data["example"])
            form = CaseForm(initial={"case": text, "example": form.cleaned_data["example"]})
        else:
            text = form.cleaned_data["case"] or _example(form.cleaned_data["example"])
            try:
                case, at = casefile.read_case(text)
            except ValueError as error:
                form.add_error("case", f"This case cannot be read: {error}")
            else:
                answers = list(_answers(case, at))
    status = 422 if form.errors else 200
    return render(request, "rules/try_case.html", {"form": form, "answers": answers}, status=status)


def _example(name: str) -> str:
    given = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return json.dumps(given["case"], ensure_ascii=False, indent=1)


def _answers(case: CaseFacts, at: datetime) -> Iterator[dict[str, Any]]:
    """What each book says of the case, or why it can say nothing."""
    books = [("In force", published_version())]
    if under_way := book_under_way():
        books.append((under_way.get_status_display(), under_way))
    for note, row in books:
        named = {"title": f"Rule book {row.version}", "note": note}
        try:
            said = casefile.encode_advice(assess(case, engine_book(row), at=at))
        except NoRuleBook as error:
            yield named | {"unreadable": error.message}
            continue
        except (ValueError, ArithmeticError) as error:
            yield named | {"unreadable": f"{UNFIT} {error}."}
            continue
        outcome = Outcome(said["outcome"])
        yield named | {
            "outcome": outcome.value,
            "outcome_words": _OUTCOMES.get(outcome, ""),
            "proposal": said["proposal"],
            "findings": [finding_card(each, said["proposal"]) for each in said["findings"]],
            "due_tests": list(_due(said["due_tests"])),
        }


@require_safe
@requires(Permission.READ_RULES)
def approvals(request: HttpRequest) -> HttpResponse:
    """Every row in force that needs local approval, with what this clinic has decided of it."""
    access = access_of(request)
    row = published_version()
    book = engine_book(row)
    standing = {each.row_code: each for each in approvals_of(access.clinic)}
    lapsed = {each.row_code for each in lapsed_approvals(standing.values(), book=book)}
    sections: list[dict[str, Any]] = []
    for heading, tables in headings(book):
        entries = [
            {
                "row": each,
                "words": row_words(each),
                "given": standing.get(each.code),
                "lapsed": each.code in lapsed,
            }
            for held in tables.values()
            for each in held
            if each.needs_local_approval and each.enabled
        ]
        if entries:
            waiting = sum(not each["given"] for each in entries)
            note = f"{len(entries) - waiting} of {len(entries)} approved here"
            sections.append({"title": heading.title, "note": note, "entries": entries})
    context = {
        "book": row,
        "sections": sections,
        "may_approve": access.can(_APPROVE),
    }
    return render(request, "rules/approvals.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@requires(Permission.APPROVE_RULES)
def approval(request: HttpRequest, code: str) -> HttpResponse:
    """Approve what a code says for this clinic, with its numbers where the book has none, or
    withdraw the approval. Either is signed."""
    access = access_of(request)
    rows = {
        table: row
        for table, held in published_book().tables().items()
        for row in held
        if row.code == code and row.needs_local_approval and row.enabled
    }
    if not rows:
        raise Http404
    given = approvals_of(access.clinic).filter(row_code=code).first()
    act = request.POST.get("act", "")
    if request.method == "POST" and act not in ("approve", "withdraw"):
        raise Http404
    if act == "withdraw" and given is None:
        messages.error(request, f"Nothing of {code} is approved at {access.clinic}.")
        return redirect("dosing:approvals")
    target = next((row for row in rows.values() if isinstance(row, LocalTargetRow)), None)
    form = LocalForm(
        access.user,
        request.POST if act == "approve" else None,
        blank=target is not None,
        label="Why it holds at your clinic",
    )
    withdraw_form = ApproveForm(
        access.user,
        request.POST if act == "withdraw" else None,
        label="Why it no longer holds at your clinic",
        prefix="withdraw",
    )
    for asked in (form, withdraw_form):
        if asked.is_bound and asked.is_valid():
            try:
                done = _decide(access, code, given if act == "withdraw" else None, asked)
            except (ValidationError, Refusal) as error:
                show_error(asked, error)
            else:
                messages.success(request, done)
                return redirect("dosing:approvals")
    context = {
        "code": code,
        "rows": [
            {"title": table_title(table), "facts": _facts(row)} for table, row in rows.items()
        ],
        "unit": printed_unit(target.unit) if target is not None else "",
        "given": given,
        "standing": list(_standing(given)),
        "sign_button": "Replace the approval" if given else f"Approve for {access.clinic}",
        "form": form,
        "withdraw_form": withdraw_form,
    }
    status = 422 if form.errors or withdraw_form.errors else 200
    return render(request, "rules/approval.html", context, status=status)


def _decide(access: Access, code: str, withdrawn: LocalApproval | None, form: ApproveForm) -> str:
    typed = form.cleaned_data
    by, at = access.sign(typed["reason"]), timezone.now()
    if withdrawn is not None:
        withdraw_local_approval(approval=withdrawn, at=at, by=by)
        return f"The approval of {code} is withdrawn."
    approve_locally(
        clinic=access.clinic,
        row_code=code,
        low=typed.get("low"),
        high=typed.get("high"),
        at=at,
        by=by,
    )
    return f"{code} is approved for {access.clinic}."


def _facts(row: Row) -> list[tuple[str, str]]:
    return [
        *((each.label, each.text) for each in told(row) if each.text),
        ("Statements", ", ".join(row.statements)),
        ("Source", row.source),
    ]


def _standing(given: LocalApproval | None) -> Iterator[tuple[str, str]]:
    if given is not None:
        if given.low is not None and given.high is not None:
            yield "Approved here", span(given.low, given.high, given.unit)
        yield "Approved on", clinical_date(given.approved_at)
