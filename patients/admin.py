"""The vocabulary in the back office: drugs, analytes and their units. Nothing clinical is here."""

from dataclasses import replace
from typing import Any

from django.contrib import admin
from django.forms.models import construct_instance
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from tacroweb.accounts.access import Access
from tacroweb.accounts.admin import SignedAdmin, SignedForm
from tacroweb.accounts.roles import Permission
from tacroweb.audit.signature import Signature
from tacroweb.fields import DecimalTextField
from tacroweb.templatetags.quantities import clinical_datetime

from .models import Analyte, AnalyteUnit, Drug
from .services import add_unit, save_analyte, save_drug

LIMITS = ("plausible_low", "plausible_high", "reference_low", "reference_high")


def _for_all(access: Access, reason: str) -> Signature:
    """The vocabulary belongs to the installation, and so does the chain of its changes."""
    return replace(access.sign(reason), clinic_id=None)


class VocabularyAdmin(SignedAdmin):
    """A row of the vocabulary, with its versions: who, when and why."""

    permission = Permission.MAINTAIN_VOCABULARY

    @admin.display(description="versions")
    def versions(self, row: Any) -> str:
        kept = row.history.order_by("-history_id")[:20] if row.pk else ()
        return format_html_join(
            SafeString("<br>"),
            "{} · {} · {}",
            (
                (clinical_datetime(v.history_date), v.history_actor, v.history_change_reason)
                for v in kept
            ),
        )


class DrugForm(SignedForm):
    """A drug of the vocabulary."""

    class Meta:
        model = Drug
        fields = (
            "generic_name",
            "aliases",
            "ingredients",
            "atc_codes",
            "rxcui",
            "code_source",
            "codes_verified",
        )

    def write(self, access: Access) -> Drug:
        drug = construct_instance(self, self.instance, self._meta.fields)
        return save_drug(drug=drug, by=_for_all(access, self.cleaned_data["reason"]))


@admin.register(Drug)
class DrugAdmin(VocabularyAdmin):
    """The drugs that a record may name and that the rules know."""

    form = DrugForm
    fields = (*DrugForm.Meta.fields, "reason", "versions")
    list_display = ("generic_name", "atc_codes", "rxcui", "codes_verified")
    search_fields = ("generic_name", "aliases")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        # The rules name drugs by it, and stored assessments do.
        return ("generic_name", "versions") if obj else ("versions",)


class AnalyteForm(SignedForm):
    """An analyte's names and limits; numbers are read as strictly as everywhere."""

    plausible_low = DecimalTextField(required=False, max_digits=12, decimal_places=6)
    plausible_high = DecimalTextField(required=False, max_digits=12, decimal_places=6)
    reference_low = DecimalTextField(required=False, max_digits=12, decimal_places=6)
    reference_high = DecimalTextField(required=False, max_digits=12, decimal_places=6)

    class Meta:
        model = Analyte
        fields = ("name", "loinc", *LIMITS, "limits_source", "limits_origin", "limits_approved")

    def write(self, access: Access) -> Analyte:
        analyte = construct_instance(self, self.instance, self._meta.fields)
        return save_analyte(analyte=analyte, by=_for_all(access, self.cleaned_data["reason"]))


@admin.register(Analyte)
class AnalyteAdmin(VocabularyAdmin):
    """The analytes: which of them there are follows from the protocol, their limits are local."""

    form = AnalyteForm
    list_display = ("name", "key", "loinc", "canonical_unit", *LIMITS, "limits_approved")
    search_fields = ("name", "key", "loinc")
    fields = ("key", "canonical_unit", "accepted", *AnalyteForm.Meta.fields, "reason", "versions")
    readonly_fields = ("key", "canonical_unit", "accepted", "versions")

    @admin.display(description="accepted units")
    def accepted(self, analyte: Analyte) -> str:
        return ", ".join(unit.unit for unit in analyte.units.all())

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False


class UnitForm(SignedForm):
    """A further unit: canonical value = value × numerator / denominator, exactly."""

    factor_numerator = DecimalTextField(decimal_places=6)
    factor_denominator = DecimalTextField(decimal_places=6)

    class Meta:
        model = AnalyteUnit
        fields = ("analyte", "unit", "factor_numerator", "factor_denominator", "source")

    def write(self, access: Access) -> AnalyteUnit:
        unit = construct_instance(self, self.instance, self._meta.fields)
        return add_unit(unit=unit, by=_for_all(access, self.cleaned_data["reason"]))


@admin.register(AnalyteUnit)
class UnitAdmin(VocabularyAdmin):
    """The accepted units; one can be added, none is changed."""

    form = UnitForm
    list_display = ("analyte", "unit", "factor_numerator", "factor_denominator", "source")
    list_select_related = ("analyte",)
    search_fields = ("analyte__name", "unit")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
