"""Rule books in the back office: the rows of the draft are edited here, all else is read.

A book’s own life (review, approval, publication) has pages of its own. Every save is one act with a
reason, signed for the installation: rule books belong to no clinic.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.checks import InlineModelAdminChecks
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import models, transaction
from django.db.models import Q, QuerySet
from django.forms.formsets import DELETION_FIELD_NAME
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone

from dosing.rules import words
from dosing.rules.forms import (
    BesideFormSet,
    ReasonedRowForm,
    RemoveForm,
    RowForm,
    field_of,
)
from dosing.rules.importing import (
    contradictions,
    draft_state,
    hold_draft,
    open_draft,
    parted,
    row_resource,
)
from dosing.rules.listing import (
    APPROVAL,
    BOUNDS,
    COMMON,
    ENDS,
    ORIGIN,
    SHOWN,
    STANDING,
    Beside,
    Shown,
    named,
)
from dosing.rules.models import TABLES, RuleBook, RuleBookStatus, RuleRow
from dosing.rules.selectors import newest_version
from dosing.rules.services import add_row, edit_row, remove_row
from tacroweb.accounts.access import access_of
from tacroweb.accounts.roles import Permission
from tacroweb.accounts.tables import HistoryAdmin, TableAdmin, plain_numbers
from tacroweb.audit.ledger import open_act
from tacroweb.audit.signature import Signature
from tacroweb.fields import show_error
from tacroweb.refusals import Refusal

WORKBENCH = "dosing:workbench"


def working_book() -> RuleBook | None:
    """The book that a list shows first: the one that is being worked on, else the one in force."""
    order = (RuleBookStatus.DRAFT, RuleBookStatus.IN_REVIEW, RuleBookStatus.PUBLISHED)
    found = {book.status: book for book in RuleBook.objects.defer("text").filter(status__in=order)}
    return next((found[status] for status in order if status in found), None)


def counted_book(request: HttpRequest) -> RuleBook | None:
    """The book whose rows the index counts: looked up once for all of its tables."""
    if not hasattr(request, "counted_book"):
        request.counted_book = working_book()  # type: ignore[attr-defined]
    found: RuleBook | None = request.counted_book  # type: ignore[attr-defined]
    return found


def listed_book(request: HttpRequest) -> RuleBook | None:
    """The book that a list was asked for, else the one that is being worked on."""
    if not (version := request.GET.get("book")):
        return working_book()
    return RuleBook.objects.defer("text").filter(version=version).first()


# Filters


class BookFilter(admin.SimpleListFilter):
    """One book at a time: rows of several would look like one."""

    title = "rule book"
    parameter_name = "book"

    def __init__(self, request: HttpRequest, *args: Any) -> None:
        self.listed = listed_book(request)
        super().__init__(request, *args)

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        books = RuleBook.objects.defer("text").order_by("-pk")
        return [(book.version, f"{book} · {book.get_status_display().lower()}") for book in books]

    def choices(self, changelist: Any) -> Iterator[Any]:
        for version, title in self.lookup_choices:
            yield {
                "selected": self.listed is not None and version == self.listed.version,
                "query_string": changelist.get_query_string({self.parameter_name: version}),
                "display": title,
            }

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(book=self.listed)


class StatementFilter(admin.SimpleListFilter):
    """Rows of one statement of the protocol."""

    title = "statement"
    parameter_name = "statement"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        texts = model_admin.model.objects.values_list("statements", flat=True).distinct()
        known = {statement for text in texts for statement in parted(text)}
        return [(each, each) for each in sorted(known, key=lambda each: (each[0], len(each), each))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not (statement := self.value()):
            return queryset
        return queryset.filter(
            Q(statements=statement)
            | Q(statements__startswith=f"{statement}, ")
            | Q(statements__endswith=f", {statement}")
            | Q(statements__contains=f", {statement}, ")
        )


# Rows


class BesideChecks(InlineModelAdminChecks):
    """The checks of an inline without those of a foreign key, which these rows have not."""

    def _check_exclude_of_parent_model(self, obj: Any, parent_model: Any) -> list[Any]:
        return []

    def _check_relation(self, obj: Any, parent_model: Any) -> list[Any]:
        return []


class BesideInline(admin.options.InlineModelAdmin):  # type: ignore[type-arg]
    """Rows that belong to the row of the page, editable where it is."""

    checks_class = BesideChecks
    formset = BesideFormSet  # type: ignore[assignment]  # no foreign key
    extra = 0
    beside: Beside
    rows: "RuleRowAdmin"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        nothing: QuerySet[Any] = self.model.objects.none()
        return nothing  # the formset knows the row of the page

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        form = type("BesideForm", (RowForm,), {"book": obj.book if obj else None})
        made: Any = forms.modelformset_factory(
            self.model,
            form=form,
            formset=self.formset,
            fields=list(named(self.beside.fields)),
            formfield_callback=field_of,
            extra=0,
            can_delete=self.beside.may_add,
        )
        made.beside = self.beside
        return made

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return True

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.rows.has_change_permission(request, obj)

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return self.beside.may_add and self.has_change_permission(request, obj)

    has_delete_permission = has_add_permission

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        if self.has_change_permission(request, obj):
            return self.fields
        return list(plain_numbers(self.fields or (), self.model))


def _inline(beside: Beside, rows: "RuleRowAdmin") -> type[BesideInline]:
    stacked = "admin/edit_inline/stacked.html"
    return type(
        f"{beside.model.__name__}Inline",
        (BesideInline,),
        {
            "model": beside.model,
            "template": stacked if beside.may_add else "admin/table_beside.html",
            "columns": len(beside.fields) + 1,
            "verbose_name": str(beside.model._meta.verbose_name),
            "verbose_name_plural": beside.title,
            "fields": (*beside.fields, "seen"),
            "show_change_link": True,
            "beside": beside,
            "rows": rows,
        },
    )


class RuleRowAdmin(TableAdmin):
    """The rows of one table of the rule books; those of the draft can be edited."""

    permission, reading = Permission.EDIT_RULES, Permission.READ_RULES
    import_act = "Rule rows imported"
    import_export_change_list_template = "admin/table_list.html"
    form = ReasonedRowForm
    save_as = False
    show_full_result_count = False
    table: str
    shown: Shown
    own: list[str]  # the columns that only this table has

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request).select_related("book")
        return rows

    def signed(self, request: HttpRequest, reason: str) -> Signature:
        return replace(access_of(request).sign(reason), clinic_id=None)

    def note(self, request: HttpRequest) -> str:
        return f"{self.model.objects.filter(book=counted_book(request)).count():,}"

    # Who may

    def get_model_perms(self, request: HttpRequest) -> dict[str, bool]:
        """What the index offers: without a draft the rows are only looked at."""
        book = counted_book(request)
        drafted = book is not None and book.status == RuleBookStatus.DRAFT
        offered = super().get_model_perms(request)
        return {**offered, "change": offered["change"] and drafted}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return super().has_add_permission(request) and open_draft() is not None

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        settled = obj is not None and obj.book.status != RuleBookStatus.DRAFT
        return not settled and super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return obj is not None and self.has_change_permission(request, obj)

    def notice(self, request: HttpRequest, book: RuleBook | None) -> dict[str, str]:
        """Why the rows of this book can or cannot be edited, and where to go."""
        if book is None:
            return {"notice": "There is no such rule book."}
        draft, link, text = open_draft(), _workbench(), "Open a draft"
        status = book.get_status_display().lower()
        if book.status == RuleBookStatus.DRAFT:
            told = (
                f"Rule book {book} is a draft: its rows can be edited, each change with a reason. "
                "Nothing takes effect before somebody else approves it."
            )
            text = "See what it changes"
            if not super().has_change_permission(request):
                told = f"Rule book {book} is a draft. Your role reads it; a rule editor edits it."
        elif draft is not None:
            told = f"Rule book {book} is {status}: its rows are settled. Edit those of the draft."
            link, text = f"{self._address('changelist')}?book={draft}", f"Rows of {draft}"
        elif RuleBook.objects.filter(status=RuleBookStatus.IN_REVIEW).exists():
            told = (
                f"Rule book {book} is {status}: its rows are settled. A draft can be opened once "
                "the book in review is decided or given back."
            )
            text = "See the review"
        else:
            told = f"Rule book {book} is {status}: its rows are settled. Draft a new version first."
        return {"notice": told, "notice_link": link, "notice_link_text": text}

    # The list

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        self.check_address(request)
        book = listed_book(request)
        of = f" of rule book {book}" if book else ""
        title = f"{str(self.opts.verbose_name_plural).capitalize()}{of}"
        context = {**self.notice(request, book), "title": title, **(extra_context or {})}
        return super().changelist_view(request, context)

    # One row

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        own: list[Any] = [name for name in self.own if name not in BOUNDS[:-1]]
        if "low_included" in self.own:
            own += ENDS
        elif "low" in self.own:
            own.append(("low", "high"))
        fieldsets = (
            (None, {"fields": ("code", *own)}),
            ("Where it comes from", {"fields": ORIGIN}),
            ("Whether it acts", {"fields": STANDING}),
        )  # the reason stands last, with the buttons
        return self.readable(request, obj, fieldsets)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("code",) if obj else ()  # books are compared by it

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        known = {"book": open_draft(), "refused": getattr(request, "refused", None)}
        return type(form.__name__, (form,), known)

    def formfield_for_dbfield(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        return field_of(db_field)

    def get_inlines(self, request: HttpRequest, obj: Any) -> list[Any]:
        return [_inline(beside, self) for beside in self.shown.beside] if obj else []

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Save all of the page, or nothing and say why: a refusal comes after the checks."""
        row = self.get_object(request, object_id) if object_id else None
        book = row.book if row else open_draft()
        context = {**self.notice(request, book), **(extra_context or {})}
        show = partial(super().changeform_view, request, object_id, form_url, context)
        if request.method != "POST":
            return show()
        try:
            with transaction.atomic():
                hold_draft()
                return show()
        except (Refusal, ValidationError) as refused:
            request.refused = refused  # type: ignore[attr-defined]
            return show()

    def save_form(self, request: HttpRequest, form: Any, change: bool) -> Any:
        return form.instance

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Written with the rows beside it, by `save_related`."""

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        by = self.signed(request, form.cleaned_data["reason"])
        beside = [each for formset in formsets for each in _asked(formset)]
        if change and not form.differs and not beside:
            raise Refusal("Nothing is different, so nothing was saved.")
        with open_act("Rule rows edited", by=by):
            if not change:
                add_row(row=form.instance, by=by)
            elif form.differs:
                edit_row(row=form.instance, seen=int(form.cleaned_data["seen"]), by=by)
            for act, row in beside:
                try:
                    act(row=row, by=by)
                except ValidationError as error:
                    raise ValidationError([f"{row}: {text}" for text in error.messages]) from error
            changed = {str(row) for _, row in beside} | {str(form.instance)}
            self._refuse_contradictions(form.instance.book, changed)

    def _refuse_contradictions(self, book: RuleBook, changed: set[str]) -> None:
        """What a table says twice is refused where it is written; the rest is the linter's."""
        for model in {self.model, *(beside.model for beside in self.shown.beside)}:
            told = {text for code, text in contradictions(book, model) if code in changed}
            if told:
                raise ValidationError(sorted(told))

    def construct_change_message(self, *args: Any, **kwargs: Any) -> list[Any]:
        return []

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> Any:
        """Remove a row from the draft, with a reason. Its history stays."""
        row = self.get_object(request, object_id)
        if row is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
        if not self.has_delete_permission(request, row):
            raise PermissionDenied
        newest = newest_version(row)
        form = RemoveForm(request.POST or None, initial={"seen": newest})
        if request.method == "POST" and form.is_valid():
            by = self.signed(request, form.cleaned_data["reason"])
            try:
                remove_row(row=row, seen=form.cleaned_data["seen"], by=by)
            except (Refusal, ValidationError) as refused:
                show_error(form, refused)
                form.data = form.data.copy()  # type: ignore[attr-defined]
                form.data["seen"] = newest  # type: ignore[index]
            else:
                messages.success(request, f"{row} was removed from {row.book}.")
                return HttpResponseRedirect(self._address("changelist"))
        context = {
            **self.admin_site.each_context(request),
            "title": f"Remove {row}",
            "object": row,
            "form": form,
            "opts": self.opts,
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "admin/table_remove.html", context)

    # Files

    def file_name(self, request: HttpRequest) -> str:
        return f"{self.table.replace('_', '-')}-{listed_book(request) or 'none'}"

    def barred(self, request: HttpRequest) -> str:
        if open_draft() is not None:
            return ""
        return (
            "No rule book is a draft, and the rows of any other are settled: a file can be taken "
            "once a draft is open."
        )

    def way_out(self, request: HttpRequest) -> dict[str, str]:
        told = self.notice(request, working_book())
        return {name: told[name] for name in ("notice_link", "notice_link_text") if name in told}

    def target(self, request: HttpRequest) -> str:
        draft = open_draft()
        return f"the {self.opts.verbose_name_plural} of the draft {draft}" if draft else "no draft"

    def state(self, request: HttpRequest) -> str:
        return draft_state()

    def hold(self, request: HttpRequest) -> None:
        hold_draft()

    def get_import_resource_kwargs(self, request: HttpRequest, **kwargs: Any) -> dict[str, Any]:
        return {"book": open_draft(), "at": timezone.now()}

    get_export_resource_kwargs = get_import_resource_kwargs


def _asked(formset: Any) -> Iterator[tuple[Callable[..., Any], RuleRow]]:
    """What the rows beside ask for: each with the service that does it."""
    for form in formset.initial_forms:
        if form in formset.deleted_forms:
            if form.missed:  # which is not checked of a row that goes
                raise Refusal(f"{form.instance}: {form.missed}")
            yield remove_row, form.instance
        elif form.differs:
            yield edit_row, form.instance
    for form in formset.extra_forms:
        if form.has_changed() and not form.cleaned_data.get(DELETION_FIELD_NAME):
            value = getattr(formset.page_row, formset.beside.of)
            setattr(form.instance, formset.beside.column, value)
            yield add_row, form.instance


def _workbench() -> str:
    return reverse(WORKBENCH)


def _headed() -> Iterator[tuple[str, str]]:
    """Each table with its heading, in the order in which a book is read."""
    rest = dict.fromkeys(TABLES)
    for heading in words.HEADINGS:
        yield from ((table, heading.title) for table in heading.tables if table in rest)
        rest = {table: None for table in rest if table not in heading.tables}
    yield from ((table, words.table_title(table)) for table in rest)


def _admin_of(table: str, heading: str, place: int) -> type[RuleRowAdmin]:
    model = TABLES[table]
    shown, resource = SHOWN.get(table, Shown()), row_resource(model)
    own = [name for name in resource.fields if name not in ("code", *COMMON)]
    kinds = (models.CharField, models.TextField)
    texts = [name for name in own if isinstance(model._meta.get_field(name), kinds)]
    return type(
        f"{model.__name__}Admin",
        (RuleRowAdmin,),
        {
            "table": table,
            "title": words.table_title(table),
            "heading": heading,
            "place": place,
            "shown": shown,
            "own": own,
            "resource": resource,
            "ordering": shown.order,
            "list_display": ("code", *shown.columns, "statements", "origin", "enabled", APPROVAL),
            "list_filter": (BookFilter, *shown.filters, "origin", *STANDING, StatementFilter),
            "search_fields": ("code", "source", "statements", "citations", *texts),
        },
    )


for _place, (_table, _heading) in enumerate(_headed(), start=1):
    admin.site.register(TABLES[_table], _admin_of(_table, _heading, _place))


@admin.register(RuleBook)
class RuleBookAdmin(HistoryAdmin):
    """The books and where they stand; what happens with them has pages of its own."""

    permission = reading = Permission.READ_RULES
    list_display = ("version", "title", "status", "based_on", "published_at", "retired_at")
    list_filter = ("status",)
    search_fields = ("version", "title")
    ordering = ("-pk",)
    fields = (*list_display, "sha256")
    change_list_template = "admin/table_list.html"

    def note(self, request: HttpRequest) -> str:
        book = counted_book(request)
        return f"rows of {book} ({book.get_status_display().lower()})" if book else ""

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        books: QuerySet[Any] = super().get_queryset(request).defer("text")
        return books.select_related("based_on")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        return super().changelist_view(request, {**_life(), **(extra_context or {})})

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        context = {**_life(), **(extra_context or {})}
        return super().changeform_view(request, object_id, form_url, context)


def _life() -> dict[str, str]:
    return {
        "notice": "A rule book is drafted, reviewed, approved and published on pages of its own.",
        "notice_link": _workbench(),
        "notice_link_text": "To those pages",
    }
