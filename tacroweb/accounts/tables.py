"""Tables that people keep in the back office: history, files, and no edit overwritten unseen."""

from collections.abc import Iterable, Iterator
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.core import signing
from django.core.exceptions import BadRequest, PermissionDenied, ValidationError
from django.core.paginator import Paginator
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_POST
from import_export.admin import ImportExportMixin
from import_export.forms import ExportForm

from tacroweb.accounts.access import access_of
from tacroweb.accounts.admin import ByRole
from tacroweb.accounts.admin_site import may
from tacroweb.accounts.exchange import FileRefused, Outcome, TableResource, take_in
from tacroweb.accounts.history import changes_between, plain, versions
from tacroweb.audit.ledger import open_act
from tacroweb.audit.signature import Signature
from tacroweb.refusals import Refusal
from tacroweb.sheets import FORMATS, MAX_BYTES, MAX_ROWS, Sheet, read_sheet, sheet_of
from tacroweb.templatetags.components import problems_of
from tacroweb.templatetags.quantities import clinical_datetime

PREVIEW_SECONDS = 3600
SALT = "tacroweb.tables.preview"


def _is_number(given: object) -> bool:
    """Whether it is a whole number in plain digits: "²" is a digit to Python, and none to it."""
    return str(given).isascii() and str(given).isdigit()


class SeenForm(forms.ModelForm):  # type: ignore[type-arg]  # not generic at run time
    """A form that knows which version of its row it was opened with (`seen`, in the form).

    Whoever saves second is told who changed what meanwhile. What was typed stays; a field that was
    not touched takes the new value, so that saving once more takes nothing back unseen.
    """

    seen = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.missed = ""
        data: Any = self.data.copy() if self.is_bound else {}  # type: ignore[attr-defined]
        if self.is_bound:
            self.data = data
            for name, field in self.fields.items():
                if isinstance(field, forms.CharField) and (key := self.add_prefix(name)) in data:
                    data[key] = data[key].replace("\r\n", "\n")
        if self.instance.pk is None:
            return
        model = type(self.instance)
        if self.is_bound:  # until the transaction ends nobody else changes it
            model._default_manager.select_for_update().filter(pk=self.instance.pk).first()
        history: Any = model.history
        newest = history.filter(**{model._meta.pk.attname: self.instance.pk}).latest("history_id")
        self.initial["seen"] = str(newest.pk)
        key = self.add_prefix("seen")
        if self.is_bound and (given := data.get(key)) != str(newest.pk):
            data[key] = str(newest.pk)
            opened = history.filter(pk=given).first() if _is_number(given) else None
            self.missed = self._merge(data, opened, newest)

    def _merge(self, data: Any, opened: Any, newest: Any) -> str:
        """Take over what others changed where nothing was typed; who changed what, in words."""
        if opened is None:
            return "This form does not say which version it shows. Look at it and save again."
        model = type(self.instance)
        columns = {column.name: column for column in model._meta.concrete_fields}
        for name, field in self.fields.items():
            if name not in columns:
                continue
            key = self.add_prefix(name)
            typed = field.widget.value_from_datadict(data, self.files, key)
            then, now = (getattr(each, columns[name].attname) for each in (opened, newest))
            if then == now or field.has_changed(then, typed):
                continue
            if isinstance(field, forms.BooleanField):
                data.pop(key, None)
            if not isinstance(field, forms.BooleanField) or now:
                said = field.prepare_value(now)
                data[key] = "" if said is None else str(said)
        told = "; ".join(
            f"{name}: {old or 'nothing'} → {new or 'nothing'}"
            for name, old, new in changes_between(model, opened, newest)
        )
        return (
            f"{newest.history_actor} saved this row after you opened it, at "
            f"{clinical_datetime(newest.history_date)} ({newest.history_change_reason}). "
            f"Changed since: {told or 'nothing that is shown'}. What you typed is kept below, the "
            "rest is up to date. Look at it and save again."
        )

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        if self.missed:
            self.add_error(None, self.missed)
        return cleaned

    @property
    def differs(self) -> bool:
        """Whether the form asks for any change of its row."""
        return bool({*self.changed_data} - {"seen", "reason"})


class FileForm(forms.Form):
    """The file to be tried out."""

    import_file = forms.FileField(label="File", help_text="CSV (in UTF-8) or XLSX with one sheet.")


class KeepForm(forms.Form):
    """What was shown, signed by the server, and why it is to be kept."""

    preview = forms.CharField(widget=forms.HiddenInput)
    reason = forms.CharField(max_length=400, help_text="Why; it is kept with each change.")


def plain_numbers(fields: Iterable[Any], model: type[models.Model]) -> Iterator[Any]:
    """Fields that are only shown: each number without the zeros that its table adds."""
    for each in fields:
        if isinstance(each, tuple):
            yield tuple(plain_numbers(each, model))
        elif each in {column.name for column in model._meta.fields if _is_decimal(column)}:
            yield plain(each)
        else:
            yield each


def _is_decimal(column: "models.Field[Any, Any]") -> bool:
    return isinstance(column, models.DecimalField)


def _problems(form: Any, beside: Iterable[Any]) -> Iterator[tuple[str, str]]:
    """What is wrong on a page: of its own row, then of each row beside it, which is named."""
    yield from problems_of(form)
    for formset in beside:
        yield from (("", str(error)) for error in formset.non_form_errors())
        for number, each in enumerate(formset.forms, start=1):
            name = (
                each.instance
                if each.instance.pk
                else f"New {each._meta.model._meta.verbose_name} {number}"
            )
            yield from ((to, f"{name}: {text}") for to, text in problems_of(each))


class HistoryAdmin(ByRole):
    """Rows with their history: who changed what, when and why."""

    reading = ByRole.permission  # what shows the table; `permission` is what changes it
    title = ""  # what the index calls it; empty: the plural of its rows
    heading, place = "", 0  # under which heading of the index, and where
    change_form_template = "admin/table_form.html"
    object_history_template = "admin/table_history.html"
    list_per_page = 50

    def has_module_permission(self, request: HttpRequest) -> bool:
        return may(request, self.reading, self.permission)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may(request, self.reading, self.permission)

    # The ledger says what was done; the admin's own log would be a second, unsigned one.
    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        return None

    log_change = log_addition

    def check_address(self, request: HttpRequest) -> None:
        """Refuse an address with NUL, of which PostgreSQL cannot even be asked."""
        if any("\x00" in value for value in request.GET.values()):
            raise BadRequest("The address has a character that no row can have.")

    def get_queryset(self, request: HttpRequest) -> Any:
        self.check_address(request)
        return super().get_queryset(request)

    def note(self, request: HttpRequest) -> str:
        """What the index says beside it."""
        return ""

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.readable(request, obj, super().get_fieldsets(request, obj))

    def readable(self, request: HttpRequest, obj: Any, fieldsets: Any) -> Any:
        """The field sets of a row; where it can only be read, its numbers are in plain digits."""
        if obj is None or self.has_change_permission(request, obj):
            return fieldsets
        return [
            (name, {**options, "fields": list(plain_numbers(options["fields"], self.model))})
            for name, options in fieldsets
        ]

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **more: Any
    ) -> Any:
        """What is wrong is summed up at the top by our own words, not by the admin's."""
        if context["errors"]:
            beside = [each.formset for each in context["inline_admin_formsets"]]
            context["problems"] = list(_problems(context["adminform"].form, beside))
            context["errors"] = None
        return super().render_change_form(request, context, *args, **more)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Every version of a row, a removed one too, with each field before and after."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        pk = unquote(object_id)
        try:
            kept = versions(self.model, pk)
        except (ValueError, ValidationError):
            kept = []
        if not kept:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined,no-any-return]
        row = self.get_object(request, pk)
        context = {
            **self.admin_site.each_context(request),
            "title": f"History of {row or kept[0].record.instance}",
            "object": row,
            "page_obj": Paginator(kept, self.list_per_page).get_page(request.GET.get("p")),
            "opts": self.opts,
            **(extra_context or {}),
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, self.object_history_template, context)


class TableAdmin(ImportExportMixin, HistoryAdmin):
    """A table with its history, its export, and its import in two steps: preview, then reason."""

    resource: type[TableResource]
    import_act = ""
    formats = FORMATS
    export_form_class = ExportForm
    import_template_name = "admin/import_export/import.html"

    def has_export_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_import_permission(self, request: HttpRequest) -> bool:
        return may(request, self.permission)

    def signed(self, request: HttpRequest, reason: str) -> Signature:
        """The person's hand under a change of this table."""
        return access_of(request).sign(reason)

    # Export

    def get_resource_classes(self, request: HttpRequest) -> list[type[TableResource]]:
        return [self.resource]

    def get_export_filename(self, request: HttpRequest, queryset: Any, file_format: Any) -> str:
        return f"{self.file_name(request)}.{file_format.get_extension()}"

    def file_name(self, request: HttpRequest) -> str:
        """What the exported file is called, without its ending."""
        return str(self.opts.verbose_name_plural).replace(" ", "-")

    # Import

    def barred(self, request: HttpRequest) -> str:
        """Why no file can be taken at present; empty: one can."""
        return ""

    def way_out(self, request: HttpRequest) -> dict[str, str]:
        """Where what bars a file is settled: the link of a notice, with its words."""
        return {}

    def target(self, request: HttpRequest) -> str:
        """Where a file goes, in words."""
        return str(self.opts.verbose_name_plural)

    def state(self, request: HttpRequest) -> str:
        """What changes whenever what a file is compared with changes."""
        newest = self.model.history.order_by("-history_id").values_list("history_id", flat=True)
        return str(newest.first())

    def hold(self, request: HttpRequest) -> None:
        """Keep others from changing it until the transaction ends, where that can be had."""

    def get_import_resource_kwargs(self, request: HttpRequest, **kwargs: Any) -> dict[str, Any]:
        return {}

    get_export_resource_kwargs = get_import_resource_kwargs

    def import_action(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        """Choose a file; then see, row by row, what it would do. Nothing is written."""
        if not self.has_import_permission(request):
            raise PermissionDenied
        form = FileForm(request.POST or None, request.FILES or None)
        if request.method == "POST" and not self.barred(request) and form.is_valid():
            file = form.cleaned_data["import_file"]
            resource = self._resource(request)
            try:
                sheet = read_sheet(
                    file, columns=list(resource.fields), required=resource.required()
                )
            except ValidationError as refused:
                form.add_error("import_file", refused)
            else:
                return self._preview(request, sheet, file.name)
        return self._import_page(request, form=form)

    @method_decorator(require_POST)
    def process_import(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        """Keep what was shown, unless what it was compared with has changed since."""
        if not self.has_import_permission(request):
            raise PermissionDenied
        try:
            told = signing.loads(
                request.POST.get("preview", ""), salt=self._salt(request), max_age=PREVIEW_SECONDS
            )
        except signing.BadSignature:
            messages.error(request, "The preview is too old: choose the file again.")
            return HttpResponseRedirect(self._address("import"))
        sheet = sheet_of(told["headings"], told["rows"])
        form = KeepForm(request.POST)
        if self.barred(request):
            return HttpResponseRedirect(self._address("import"))
        if not form.is_valid():
            return self._preview(request, sheet, told["name"], form=form)
        by = self.signed(request, form.cleaned_data["reason"])
        try:
            outcome = self._keep(request, sheet, told["state"], by)
        except Refusal as refused:
            form.add_error(None, refused.message)
            return self._preview(request, sheet, told["name"], form=form)
        messages.success(
            request,
            f"{outcome.added} added, {outcome.changed} changed, {outcome.same} as before: "
            f"{self.target(request)}.",
        )
        return HttpResponseRedirect(self._address("changelist"))

    def _keep(self, request: HttpRequest, sheet: Sheet, state: str, by: Signature) -> Outcome:
        with open_act(self.import_act, by=by):
            self.hold(request)
            if self.state(request) != state:
                raise FileRefused(
                    "Nothing was taken: it was changed since the preview. This is what the file "
                    "would do now."
                )
            outcome = take_in(self._resource(request), sheet, act=self.import_act, by=by, keep=True)
            if outcome.faults:
                raise FileRefused("Nothing was taken: the file has faults.")
            return outcome

    def _preview(
        self, request: HttpRequest, sheet: Sheet, name: str, *, form: KeepForm | None = None
    ) -> HttpResponse:
        state = self.state(request)
        by = self.signed(request, "A file is tried out")
        outcome = take_in(self._resource(request), sheet, act=self.import_act, by=by, keep=False)
        preview = signing.dumps(
            {"headings": sheet.headings, "rows": sheet.rows, "name": name, "state": state},
            salt=self._salt(request),
            compress=True,
        )
        if form is None:
            form = KeepForm(initial={"preview": preview})
        else:
            form.data = form.data.copy()  # type: ignore[attr-defined]
            form.data["preview"] = preview  # type: ignore[index]
        return self._import_page(request, outcome=outcome, name=name, keep_form=form)

    def _import_page(self, request: HttpRequest, **context: Any) -> HttpResponse:
        resource = self._resource(request)
        request.current_app = self.admin_site.name
        return TemplateResponse(
            request,
            self.import_template_name,
            {
                **self.admin_site.each_context(request),
                "title": "Import",
                "opts": self.opts,
                "columns": list(resource.fields),
                "required": resource.required(),
                "key": resource.get_import_id_fields(),
                "max_rows": MAX_ROWS,
                "max_kilobytes": MAX_BYTES // 1_000,
                "barred": self.barred(request),
                **self.way_out(request),
                "target": self.target(request),
                **context,
            },
        )

    def _resource(self, request: HttpRequest) -> TableResource:
        return self.resource(**self.get_import_resource_kwargs(request))

    def _salt(self, request: HttpRequest) -> str:
        return f"{SALT}.{self.opts.label_lower}.{request.user.pk}"

    def _address(self, page: str) -> str:
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_{page}")
