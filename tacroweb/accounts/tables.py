"""Tables that people keep in the back office: who changed what and why, and CSV or XLSX both ways.

A file is tried out by carrying it out for real and rolling it back, so that the preview refuses
what the services refuse. It adds and changes rows and never removes one.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import tablib
from django import forms
from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.core import signing
from django.core.exceptions import PermissionDenied, ValidationError
from django.core.paginator import Paginator
from django.core.validators import DecimalValidator
from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_POST
from import_export.admin import ImportExportMixin
from import_export.fields import Field
from import_export.forms import ExportForm
from import_export.instance_loaders import CachedInstanceLoader
from import_export.resources import ModelResource
from import_export.results import Result, RowResult
from import_export.widgets import Widget

from tacroweb.accounts.access import access_of
from tacroweb.accounts.admin import ByRole
from tacroweb.accounts.admin_site import may
from tacroweb.audit.ledger import open_act
from tacroweb.audit.signature import Signature
from tacroweb.fields import read_day, read_decimal
from tacroweb.numbers import MAX_DECIMALS, format_decimal
from tacroweb.refusals import Refusal
from tacroweb.sheets import FORMATS, MAX_BYTES, MAX_ROWS, Sheet, read_sheet, sheet_of
from tacroweb.templatetags.quantities import clinical_date, clinical_datetime

Change = tuple[str, str | None, str | None]

LONG = 2_000  # characters of one value that are shown
PREVIEW_SECONDS = 3600
SALT = "tacroweb.tables.preview"
PLAIN = re.compile(r"(0|[1-9][0-9]*)\.[0-9]+")


class FileRefused(Refusal):
    """Nothing of a file was taken."""

    code = "import_refused"


# History


def shown(column: "models.Field[Any, Any]", value: Any) -> str | None:
    """A stored value as people read it; None where there is none."""
    if value is None or value == "":
        return None
    if column.choices:
        return str(dict(column.flatchoices).get(value, value))
    match value:
        case bool():
            return "Yes" if value else "No"
        case Decimal():
            return format_decimal(value)
        case datetime():
            return clinical_datetime(value)
        case date():
            return clinical_date(value)
    text = str(value)
    return f"{text[:LONG]}… ({len(text):,} characters)" if len(text) > LONG else text


@dataclass(frozen=True, slots=True)
class Version:
    """One entry of a row's history: whose hand, when, why, and each field before and after."""

    record: Any
    act: str
    changes: tuple[Change, ...]


ACTS = {"+": "Added", "~": "Changed", "-": "Removed"}


def versions(model: type[models.Model], pk: Any) -> list[Version]:
    """The history of one row, newest first; of a removed row too."""
    kept = list(model.history.filter(**{model._meta.pk.attname: pk}).order_by("history_id"))  # type: ignore[attr-defined]
    found = []
    for before, record in zip([None, *kept], kept, strict=False):
        old = None if record.history_type == "-" else before
        changes = tuple(changes_between(model, old, record))
        found.append(Version(record, ACTS[record.history_type], changes))
    return found[::-1]


def changes_between(model: type[models.Model], old: Any, new: Any) -> Iterator[Change]:
    """Each column in which two versions differ, by its name; without `old` each that is filled."""
    for column in model._meta.concrete_fields:
        if column.primary_key or not hasattr(new, column.attname):
            continue
        before, now = getattr(old, column.attname, None), getattr(new, column.attname)
        if before == now:
            continue
        name = str(column.verbose_name)
        if column.is_relation:
            before, now = getattr(old, column.name, None), getattr(new, column.name)
        told = (shown(column, before), shown(column, now))
        if told != (None, None):
            yield f"{name[:1].upper()}{name[1:]}", *told


# Forms


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
            opened = history.filter(pk=given).first() if str(given).isdigit() else None
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


# Files


class Column(Widget):
    """How a column of a table is written in a file and read from it, strictly."""

    def __init__(self, column: "models.Field[Any, Any]") -> None:
        super().__init__()
        self.column = column

    def clean(self, value: str, row: Any = None, **kwargs: Any) -> Any:
        """The value that a cell says. Raises `ValueError` with a sentence."""
        try:
            return self._value(value)
        except ValidationError as error:
            raise ValueError(" ".join(error.messages)) from error

    def _value(self, text: str) -> Any:
        column = self.column
        if isinstance(column, models.BooleanField):
            return _flag(text)
        if not text:
            if column.null or column.empty_strings_allowed:
                return None if column.null else ""
            raise ValidationError("This cell cannot be empty.")
        if column.choices and text not in (words := [str(key) for key, _ in column.flatchoices]):
            raise ValidationError(f"{text} is not one of {', '.join(words)}.")
        match column:
            case models.DecimalField():
                return _decimal(column, text)
            case models.IntegerField():
                if "." in text:
                    raise ValidationError("Write a whole number, such as 6.")
                return int(read_decimal(text))
            case models.DateField():
                return read_day(text)
        return text

    def render(self, value: Any, obj: Any = None, **kwargs: Any) -> Any:
        return value


def _decimal(column: "models.DecimalField[Any, Any]", text: str) -> Decimal:
    if column.decimal_places > MAX_DECIMALS and PLAIN.fullmatch(text):
        value = Decimal(text)  # a factor of the shipped vocabulary may have more than is typed
        DecimalValidator(column.max_digits, column.decimal_places)(value)
        return value
    return read_decimal(text)


def _flag(text: str) -> bool:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    raise ValidationError("Write true or false.")


class KeyColumn(Column):
    """A row of another table, by a key that people know."""

    def __init__(self, column: Any, key: str) -> None:
        super().__init__(column)
        self.key = key

    def _value(self, text: str) -> Any:
        found = self.column.related_model.objects.filter(**{self.key: text}).first()  # type: ignore[union-attr]
        if found is None:
            raise ValidationError(f"There is no {self.column.verbose_name} {text!r}.")
        return found

    def render(self, value: Any, obj: Any = None, **kwargs: Any) -> Any:
        return getattr(value, self.key, None)


class TableResource(ModelResource):
    """Rows of one table. `import_id_fields` find the row that a row of a file is about.

    `keys` names, for a column that points at another table, what its rows are known by. A row is
    written by `write`, which calls the table's service.
    """

    keys: dict[str, str] = {}
    any_case = True  # whether two names that differ by capitals alone are one
    by: Signature  # set by `take_in`

    class Meta:
        skip_unchanged = True
        report_skipped = True
        skip_html_diff = True
        store_instance = True
        use_transactions = True
        clean_model_instances = False  # the services validate
        instance_loader_class = CachedInstanceLoader

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name, field in self.fields.items():
            column = self._meta.model._meta.get_field(name)
            key = self.keys.get(name)
            field.widget = KeyColumn(column, key) if key else Column(column)

    def required(self) -> list[str]:
        """The columns without which no row can be added."""
        columns = [self._meta.model._meta.get_field(name) for name in self.fields]
        return [each.name for each in columns if not (each.blank or each.has_default())]

    def do_instance_save(self, instance: Any, is_create: bool) -> None:
        self.write(instance, is_new=is_create, by=self.by)

    def write(self, instance: Any, *, is_new: bool, by: Signature) -> None:
        """Call the service. Raises what it raises."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Note what a preview compares with, before anything is written."""

    def faults_of_file(self, sheet: Sheet) -> list[str]:
        """What is wrong between the rows of a file: one of them that stands there twice."""
        names = self.get_import_id_fields()
        places = [sheet.headings.index(name) for name in names]
        seen: dict[tuple[str, ...], int] = {}
        faults = []
        for number, cells in sheet.rows:
            key = tuple(cells[place] for place in places)
            if self.any_case:
                key = tuple(name.casefold() for name in key)
            if (first := seen.setdefault(key, number)) != number:
                told = " ".join(cells[place] for place in places)
                faults.append(f"Row {number}: {told} stands in row {first} already.")
        return faults

    def faults_of_table(self, numbers: dict[Any, int]) -> list[str]:
        """What is wrong with the table as the file leaves it; `numbers`: its rows by their key."""
        return []

    def remarks(self) -> Any:
        """What else should be known before the file is taken, for the page."""
        return None


def table_resource(
    base: type[TableResource], model: type[models.Model], columns: Sequence[str], key: Sequence[str]
) -> type[TableResource]:
    """The resource of a model with these columns, in their order."""
    inner = type("Meta", (base.Meta,), {"model": model, "fields": columns, "import_id_fields": key})
    fields = {name: Field(attribute=name, column_name=name) for name in columns}
    return type(f"{model.__name__}Resource", (base,), {"Meta": inner, **fields})


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenRow:
    """One row of a file and what becomes of it."""

    number: int
    name: str
    is_new: bool
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a file does, row by row, or why it does nothing."""

    rows: tuple[TakenRow, ...] = ()
    same: int = 0
    faults: tuple[str, ...] = ()
    remarks: Any = None

    @property
    def added(self) -> int:
        return sum(row.is_new for row in self.rows)

    @property
    def changed(self) -> int:
        return len(self.rows) - self.added


class _RolledBack(Exception):
    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome


def take_in(
    resource: TableResource, sheet: Sheet, *, act: str, by: Signature, keep: bool
) -> Outcome:
    """Write what a file says, all or nothing, as one act; without `keep` only see what it would do.

    A file with a fault is never kept. A file that changes nothing writes nothing.
    """
    resource.by = by
    if faults := resource.faults_of_file(sheet):
        return Outcome(faults=tuple(faults))
    dataset = tablib.Dataset(headers=list(sheet.headings))
    for _, cells in sheet.rows:
        dataset.append(cells)
    if not keep:
        resource.prepare()
    try:
        with open_act(act, by=by):
            result = resource.import_data(dataset, retain_instance_in_row_result=True)
            outcome = _outcome(resource, sheet, result)
            if outcome.faults or not keep:
                raise _RolledBack(outcome)
    except _RolledBack as done:
        return done.outcome
    return outcome


def _outcome(resource: TableResource, sheet: Sheet, result: Result) -> Outcome:
    for error in result.base_errors:
        raise error.error
    rows, faults, same, numbers = [], [], 0, {}
    columns = {name: resource._meta.model._meta.get_field(name) for name in resource.fields}
    for (number, _), row in zip(sheet.rows, result.rows, strict=True):
        for error in row.errors:
            if not isinstance(error.error, Refusal):
                raise error.error
            faults.append(f"Row {number}: {error.error.message}")
        if row.validation_error is not None:
            faults += [f"Row {number}, {told}" for told in _told(row.validation_error, columns)]
        if row.errors or row.validation_error is not None:
            continue
        key = tuple(getattr(row.instance, name) for name in resource.get_import_id_fields())
        numbers[key[0] if len(key) == 1 else key] = number
        if row.import_type == RowResult.IMPORT_TYPE_SKIP:
            same += 1
            continue
        changes = tuple(_changes(columns, row.original, row.instance))
        rows.append(
            TakenRow(number=number, name=str(row.instance), is_new=row.is_new(), changes=changes)
        )
    if not faults:
        faults = resource.faults_of_table(numbers)
    return Outcome(
        rows=tuple(rows),
        same=same,
        faults=tuple(faults),
        remarks=None if faults else resource.remarks(),
    )


def _told(error: ValidationError, columns: Collection[str]) -> Iterator[str]:
    told = error.message_dict if hasattr(error, "error_dict") else {"": error.messages}
    for name, texts in told.items():
        for text in texts:
            yield f"column {name}: {text}" if name in columns else text


def _changes(columns: dict[str, Any], old: Any, new: Any) -> Iterator[Change]:
    for name, column in columns.items():
        before = None if old is None else getattr(old, name)
        now = getattr(new, name)
        told = (shown(column, before), shown(column, now))
        if before != now and told != (None, None):
            yield name, *told


class FileForm(forms.Form):
    """The file to be tried out."""

    import_file = forms.FileField(label="File", help_text="CSV (in UTF-8) or XLSX with one sheet.")


class KeepForm(forms.Form):
    """What was shown, signed by the server, and why it is to be kept."""

    preview = forms.CharField(widget=forms.HiddenInput)
    reason = forms.CharField(max_length=400, help_text="Why; it is kept with each change.")


class HistoryAdmin(ByRole):
    """Rows with their history: who changed what, when and why."""

    reading = ByRole.permission  # what shows the table; `permission` is what changes it
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
