"""The form of one row of a draft in the back office; every table has the same."""

from typing import Any

from django import forms
from django.db import models

from dosing.rules.models import RuleBook, check_list
from tacroweb.accounts.tables import SeenForm
from tacroweb.fields import DayTextField, DecimalTextField, WholeTextField, show_error
from tacroweb.refusals import Refusal

WIDE = {"class": "vLargeTextField", "rows": 3}


def field_of(column: "models.Field[Any, Any]", **options: Any) -> Any:
    """The form field of a column: numbers and days as strictly as everywhere, lists on one line."""
    given: dict[str, Any] = {
        "required": not column.blank,
        "label": str(column.verbose_name).capitalize(),
        "help_text": column.help_text,
    }
    match column:
        case models.DecimalField():
            return DecimalTextField(max_digits=12, decimal_places=6, **given)
        case models.IntegerField():
            return WholeTextField(min_value=0, max_value=100_000, **given)
        case models.DateField():
            return DayTextField(**given)
        case models.TextField() if check_list in column.validators:
            return column.formfield(widget=forms.TextInput(attrs={"class": "vTextField"}))
        case models.TextField():
            return column.formfield(widget=forms.Textarea(attrs=WIDE))
    return column.formfield(**options)


class RowForm(SeenForm):
    """A row of a draft. It is written by the admin, with the rows beside it, as one act.

    `refused` is what a service said to the attempt before.
    """

    book: RuleBook | None = None  # the draft, for a new row
    refused: Exception | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.pk is None and self.book is not None:
            self.instance.book = self.book
        if self.instance.pk is not None and "code" in self.fields:
            self.fields["code"].disabled = True  # books are compared by it

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]  # Django's own
        if isinstance(self.refused, Refusal | forms.ValidationError):
            show_error(self, self.refused)


class ReasonedRowForm(RowForm):
    """The row that a page is about: with the reason for all that is changed on it."""

    reason = forms.CharField(max_length=400, help_text="Why; it is kept with each change.")


class RemoveForm(forms.Form):
    """Why a row is removed from a draft, and which version of it was looked at."""

    reason = forms.CharField(max_length=400, help_text="Why; it is kept with the row’s history.")
    seen = forms.IntegerField(widget=forms.HiddenInput)


class BesideFormSet(forms.BaseModelFormSet):  # type: ignore[type-arg]  # not generic at run time
    """Rows that belong to another row without pointing at it: `beside` finds them."""

    beside: Any  # an `admin.Beside`

    def __init__(self, *args: Any, instance: Any = None, save_as_new: bool = False, **kwargs: Any):
        kwargs["queryset"] = self.beside.of_row(instance)
        super().__init__(*args, **kwargs)
        self.page_row = instance

    @classmethod
    def get_default_prefix(cls) -> str:
        return cls.beside.model._meta.model_name or ""
