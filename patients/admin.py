"""The vocabulary in the back office: drugs, analytes and their units. Nothing clinical is here."""

from dataclasses import replace
from typing import Any

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.forms.models import construct_instance
from django.http import HttpRequest
from import_export.instance_loaders import ModelInstanceLoader

from tacroweb.accounts.access import Access, access_of
from tacroweb.accounts.admin import SignedAdmin, SignedForm
from tacroweb.accounts.exchange import TableResource, table_resource
from tacroweb.accounts.history import plain
from tacroweb.accounts.roles import Permission
from tacroweb.accounts.tables import SeenForm, TableAdmin
from tacroweb.audit.signature import Signature
from tacroweb.fields import DecimalTextField

from .models import Analyte, AnalyteUnit, Drug
from .services import add_unit, save_analyte, save_drug
from .vocabulary import plain_unit

FACTORS = ("factor_numerator", "factor_denominator")
LIMITS = ("plausible_low", "plausible_high", "reference_low", "reference_high")


def _for_all(access: Access, reason: str) -> Signature:
    """The vocabulary belongs to the installation, and so does the chain of its changes."""
    return replace(access.sign(reason), clinic_id=None)


class VocabularyAdmin(TableAdmin, SignedAdmin):
    """A table of the vocabulary, with its history and its files."""

    permission = reading = Permission.MAINTAIN_VOCABULARY
    import_act = "Vocabulary imported"

    def signed(self, request: HttpRequest, reason: str) -> Signature:
        return _for_all(access_of(request), reason)


class VocabularyForm(SeenForm, SignedForm):
    """A form that is one act and knows which version it shows."""

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        if self.instance.pk and not self.missed and not self.differs:
            raise ValidationError("Nothing is different, so nothing was saved.")
        return cleaned


class DrugForm(VocabularyForm):
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


class Combination(admin.SimpleListFilter):
    """Drugs of one ingredient, or of several whose rules all apply."""

    title = "kind"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> tuple[tuple[str, str], ...]:
        return (("single", "Single drug"), ("combination", "Combination"))

    def queryset(self, request: HttpRequest, queryset: QuerySet[Drug]) -> QuerySet[Drug]:
        if self.value() == "single":
            return queryset.filter(ingredients="")
        return queryset.exclude(ingredients="") if self.value() else queryset


class DrugResource(TableResource):
    """Drugs, found by their generic name."""

    def write(self, instance: Drug, *, is_new: bool, by: Signature) -> None:
        save_drug(drug=instance, by=by)


@admin.register(Drug)
class DrugAdmin(VocabularyAdmin):
    """The drugs that a record may name and that the rules know."""

    form = DrugForm
    resource = table_resource(DrugResource, Drug, DrugForm.Meta.fields, ("generic_name",))
    fields = DrugForm.Meta.fields
    list_display = ("generic_name", "aliases", "atc_codes", "rxcui", "codes_verified")
    list_filter = ("codes_verified", Combination)
    search_fields = ("generic_name", "aliases", "ingredients", "atc_codes", "rxcui")
    ordering = ("generic_name",)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        # The rules name drugs by it, and stored assessments do.
        return ("generic_name",) if obj else ()


class AnalyteForm(VocabularyForm):
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


class AnalyteResource(TableResource):
    """Analytes, found by their key. None is added."""

    def write(self, instance: Analyte, *, is_new: bool, by: Signature) -> None:
        if is_new:
            raise ValidationError(
                f"There is no analyte {instance.key!r}: which there are follows from the protocol."
            )
        save_analyte(analyte=instance, by=by)


@admin.register(Analyte)
class AnalyteAdmin(VocabularyAdmin):
    """The analytes: which of them there are follows from the protocol, their limits are local."""

    form = AnalyteForm
    resource = table_resource(
        AnalyteResource, Analyte, ("key", *AnalyteForm.Meta.fields, "canonical_unit"), ("key",)
    )
    list_filter = ("limits_origin", "limits_approved", "canonical_unit")
    ordering = ("name",)
    list_display = (
        "name", "key", "loinc", "canonical_unit", *map(plain, LIMITS), "limits_approved",
    )  # fmt: skip
    search_fields = ("name", "key", "loinc")
    fields = ("key", "canonical_unit", "accepted", *AnalyteForm.Meta.fields)
    readonly_fields = ("key", "canonical_unit", "accepted")

    @admin.display(description="accepted units")
    def accepted(self, analyte: Analyte) -> str:
        return ", ".join(unit.unit for unit in analyte.units.all())

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False


class UnitForm(VocabularyForm):
    """A further unit: canonical value = value × numerator / denominator, exactly."""

    factor_numerator = DecimalTextField(decimal_places=6)
    factor_denominator = DecimalTextField(decimal_places=6)

    class Meta:
        model = AnalyteUnit
        fields = ("analyte", "unit", "factor_numerator", "factor_denominator", "source")

    def write(self, access: Access) -> AnalyteUnit:
        unit = construct_instance(self, self.instance, self._meta.fields)
        return add_unit(unit=unit, by=_for_all(access, self.cleaned_data["reason"]))


class UnitLoader(ModelInstanceLoader):
    """Finds a unit by two columns; of an analyte that is not there, there is none."""

    def get_instance(self, row: Any) -> Any:
        try:
            return super().get_instance(row)
        except ValueError:
            return None


class UnitResource(TableResource):
    """Units, found by their analyte and name. They are added, and never changed."""

    keys = {"analyte": "key"}
    any_case = False  # meq/L and mEq/L are both accepted

    class Meta(TableResource.Meta):
        instance_loader_class = UnitLoader

    def before_import_row(self, row: Any, **kwargs: Any) -> None:
        row["unit"] = plain_unit(row["unit"])

    def write(self, instance: AnalyteUnit, *, is_new: bool, by: Signature) -> None:
        add_unit(unit=instance, by=by)


@admin.register(AnalyteUnit)
class UnitAdmin(VocabularyAdmin):
    """The accepted units; one can be added, none is changed."""

    form = UnitForm
    resource = table_resource(UnitResource, AnalyteUnit, UnitForm.Meta.fields, ("analyte", "unit"))
    list_filter = ("analyte",)
    ordering = ("analyte__name", "unit")
    list_display = ("analyte", "unit", *map(plain, FACTORS), "source")
    list_select_related = ("analyte",)
    search_fields = ("analyte__name", "unit")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
