"""What people type about patients."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from difflib import get_close_matches
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.forms import BoundField

from tacroweb.fields import (
    DayTextField,
    DecimalTextField,
    InstantTextField,
    ResultTextField,
    WholeTextField,
)
from tacroweb.templatetags.quantities import printed_unit

from .models import (
    CHILD_PUGH,
    LONGEST_SINCE_DOSE_H,
    AllergyStatus,
    Analyte,
    ClinicalEvent,
    Cyp3a5,
    EventKind,
    InfectionRisk,
    Line,
    Patient,
    Pregnancy,
    Route,
    Sard,
    Sex,
    Subtype,
    VaccineRoute,
)
from .selectors import HEIGHT, TACROLIMUS_LEVEL, WEIGHT, drug_choices, drug_named, known_vaccine
from .services.results import Result, checked
from .services.upload import MAX_BYTES, read_file
from .vocabulary import PANELS

# The cards of the results form, each with its panels of the vocabulary.
SECTIONS = (
    ("Tacrolimus", ("Tacrolimus",)),
    ("Kidney and electrolytes", ("Renal function", "Electrolytes")),
    ("Blood pressure and weight", ("Blood pressure", "Weight and height")),
    ("Blood count", ("Blood count with differential",)),
    ("Liver", ("Liver tests",)),
    ("Glucose and lipids", ("Glucose and HbA1c", "Lipids")),
    (
        "Lung, heart and inflammation",
        ("Lung function", "Quality of life", "Heart", "Inflammation"),
    ),
)
SAY_WHY = "Say why, in a few words."
SAY_WHEN = "Enter when it was drawn or measured."
DRUG_FIELDS = ("route", "daily_dose_mg", "started_on", "stopped_on", "planned")
ASKED_FOR = (
    "pregnancy",
    "lactating",
    "contraception",
    "infection_risk",
    "hcv_antiviral_course",
    "child_pugh",
    "cyp3a5",
)
CHANGE_FIELDS = ("dose_changed_on", "daily_dose_before_mg")
HOURS: dict[str, Any] = {
    "max_digits": 5,
    "decimal_places": 2,
    "min_value": Decimal(0),
    "max_value": LONGEST_SINCE_DOSE_H,
}


def _ask(words: str) -> dict[str, str]:
    """What an empty field is answered with: the sentence that says what to do."""
    return {"required": words}


class YesNoField(forms.TypedChoiceField):
    """Yes, no, or not known: three different answers."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            choices=[("", "Not known"), ("yes", "Yes"), ("no", "No")],
            coerce=lambda text: text == "yes",
            empty_value=None,
            required=False,
            **kwargs,
        )

    def prepare_value(self, value: Any) -> Any:
        return {True: "yes", False: "no", None: ""}.get(value, value)


def _known(choices: Iterable[tuple[str, Any]], **kwargs: Any) -> forms.ChoiceField:
    return forms.ChoiceField(choices=[("", "Not known"), *choices], required=False, **kwargs)


def unit_choices(analyte: Analyte, *, first: str = "") -> list[tuple[str, str]]:
    """The units that an analyte is entered in, as UCUM and as people write them.

    Spellings that print alike are one choice: as `first` spells it, else as the canonical unit
    does. `first` and then the canonical unit lead the list.
    """
    lead = (first, analyte.canonical_unit)
    units = sorted(
        (unit.unit for unit in analyte.units.all()),
        key=lambda unit: lead.index(unit) if unit in lead else len(lead),
    )
    choices: dict[str, str] = {}
    for unit in units:
        choices.setdefault(printed_unit(unit), unit)
    return [(unit, printed) for printed, unit in choices.items()]


class ReasonForm(forms.Form):
    """Why something is corrected or withdrawn."""

    reason = forms.CharField(max_length=400, label="Reason", error_messages=_ask(SAY_WHY))


class RegistrationForm(forms.Form):
    """Who the patient is, and the circumstances that the protocol asks for."""

    mrn = forms.CharField(
        max_length=40,
        label="MRN",
        help_text="The clinic’s record number",
        error_messages=_ask("Enter the MRN."),
    )
    family_name = forms.CharField(max_length=120, error_messages=_ask("Enter the family name."))
    given_name = forms.CharField(max_length=120, error_messages=_ask("Enter the given name."))
    birth_date = DayTextField(
        label="Date of birth", error_messages=_ask("Enter the date of birth.")
    )
    sex = forms.ChoiceField(
        choices=[("", "Choose…"), *Sex.choices], error_messages=_ask("Choose the sex.")
    )
    allergy_status = forms.ChoiceField(
        choices=AllergyStatus.choices, initial=AllergyStatus.NOT_RECORDED, label="Allergies"
    )
    allergies = forms.CharField(max_length=400, required=False, label="Which allergies")
    pregnancy = _known(Pregnancy.choices)
    lactating = YesNoField(label="Breast-feeding")
    infection_risk = _known(InfectionRisk.choices)
    cyp3a5 = _known(Cyp3a5.choices, label="CYP3A5")
    hcv_antiviral_course = YesNoField(label="On treatment for hepatitis C")
    contraception = YesNoField(label="Contraception in place")
    child_pugh = WholeTextField(
        required=False,
        label="Child-Pugh score",
        min_value=CHILD_PUGH[0],
        max_value=CHILD_PUGH[1],
        help_text=f"{CHILD_PUGH[0]} to {CHILD_PUGH[1]}; empty: not known",
    )


class EditRegistrationForm(RegistrationForm):
    """The registration as it stands; `seen` is the version of the facts that it was opened at."""

    reason = forms.CharField(
        max_length=400,
        required=False,
        help_text="Needed when the MRN, a name, the date of birth or the sex changes",
    )
    seen = forms.IntegerField(widget=forms.HiddenInput)


class DiagnosisForm(forms.Form):
    """The lung disease and the rheumatic disease behind it."""

    ild = YesNoField(label="Interstitial lung disease")
    sard = _known(Sard.choices, label="Rheumatic disease")
    subtype = _known(Subtype.choices, label="Subtype of myositis")
    anti_mda5 = YesNoField(label="Anti-MDA5 antibodies")
    other_antibodies = forms.CharField(
        max_length=200, required=False, label="Other antibodies", help_text="Such as anti-Jo-1"
    )
    severe_at_presentation = YesNoField(label="Severe at presentation")
    rapidly_progressive = YesNoField(label="Rapidly progressive")
    line = _known(Line.choices, label="Line of treatment")


class EditDiagnosisForm(DiagnosisForm):
    """The diagnosis as it stands; `seen` is the version of the facts that it was opened at."""

    seen = forms.IntegerField(widget=forms.HiddenInput)


class MeasurementsForm(forms.Form):
    """Weight and height at registration; both may wait."""

    weight = ResultTextField(required=False)
    height = ResultTextField(required=False)
    drawn_at = InstantTextField(required=False, label="Measured at")

    def results(self, analytes: dict[str, Analyte]) -> list[Result]:
        """What was typed, as results in kg and cm."""
        data = self.cleaned_data
        return [
            Result(analyte=analytes[key], entered=data[key], unit=unit, drawn_at=data["drawn_at"])
            for key, unit in ((WEIGHT, "kg"), (HEIGHT, "cm"))
            if data.get(key)
        ]

    def clean(self) -> None:
        data = self.cleaned_data
        if (data.get("weight") or data.get("height")) and data.get("drawn_at") is None:
            self.add_error("drawn_at", "Say when it was measured.")


class _LevelTiming(forms.Form):
    """When a level was drawn after the dose: hours, or the time of the dose, or not known."""

    hours_since_dose = DecimalTextField(required=False, label="Hours since the last dose", **HOURS)
    last_dose_at = InstantTextField(required=False, label="or the time of the last dose")
    dose_time_unknown = forms.BooleanField(
        required=False,
        label="The time of the last dose is not known",
        help_text="The level is then kept, but no dose is proposed from it.",
    )

    def timing(self) -> Decimal | None:
        """Hours from dose to draw. Notes an error where a level has none, or two that differ."""
        data = self.cleaned_data
        hours, last, drawn = (
            data.get(name) for name in ("hours_since_dose", "last_dose_at", "drawn_at")
        )
        if {"hours_since_dose", "last_dose_at"} & self.errors.keys():
            return None
        given = [hours is not None, last is not None, bool(data.get("dose_time_unknown"))]
        if sum(given) != 1:
            self.add_error(
                "hours_since_dose",
                "Say how long after the last dose the level was drawn, or that it is not known."
                if not any(given)
                else "Give one of the three: the hours, the time of the last dose, or not known.",
            )
        elif last is not None and drawn is not None:
            if last > drawn:
                self.add_error("last_dose_at", "The last dose is later than the sample.")
            else:
                hours = Decimal((drawn - last) // timedelta(seconds=36)).scaleb(-2)
                if hours > LONGEST_SINCE_DOSE_H:
                    words = f"This is more than {LONGEST_SINCE_DOSE_H} hours before the sample."
                    self.add_error("last_dose_at", words)
        return hours


@dataclass(frozen=True, slots=True)
class ResultRow:
    """One analyte of the form: its value and unit; `only_unit` where there is no choice."""

    name: str
    value: BoundField
    unit: BoundField
    only_unit: str


@dataclass(frozen=True, slots=True)
class Panel:
    """A group of analytes that are usually drawn together."""

    title: str
    rows: tuple[ResultRow, ...]
    filled: bool


class ResultsForm(_LevelTiming):
    """Results of one draw: only the analytes that are filled in are recorded."""

    drawn_at = InstantTextField(label="Drawn or measured at", error_messages=_ask(SAY_WHEN))
    assay = forms.CharField(
        max_length=60, required=False, label="Assay of the level", help_text="Such as LC-MS/MS"
    )

    def __init__(
        self, *args: Any, patient: Patient, analytes: Sequence[Analyte], at: datetime, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.patient, self.at = patient, at
        self.analytes = {analyte.key: analyte for analyte in analytes}
        self.results: list[Result] = []
        for key, analyte in self.analytes.items():
            self.fields[f"value_{key}"] = ResultTextField(required=False, label=analyte.name)
            # Not a strict choice: the service answers an unknown unit with those accepted.
            self.fields[f"unit_{key}"] = forms.CharField(
                required=False,
                initial=analyte.canonical_unit,
                label=f"Unit of {analyte.name}",
                widget=forms.Select(choices=unit_choices(analyte)),
            )

    def panels(self) -> Iterator[Panel]:
        """The analytes in the order of a laboratory's report; what no panel names comes last."""
        sections = {
            title: [key for panel in panels for key in PANELS[panel]] for title, panels in SECTIONS
        }
        named = {key for keys in sections.values() for key in keys}
        sections["Other"] = [key for key in self.analytes if key not in named]
        for title, keys in sections.items():
            rows = tuple(self._row(key) for key in keys if key in self.analytes)
            filled = any(row.value.value() or row.unit.errors for row in rows)
            if rows:
                yield Panel(title, rows, filled)

    def _row(self, key: str) -> ResultRow:
        units = unit_choices(self.analytes[key])
        return ResultRow(
            self.analytes[key].name,
            self[f"value_{key}"],
            self[f"unit_{key}"],
            units[0][1] if len(units) == 1 else "",
        )

    def clean(self) -> None:
        data = self.cleaned_data
        filled = [key for key in self.analytes if data.get(f"value_{key}")]
        if not filled and not any(name.startswith("value_") for name in self.errors):
            self.add_error(None, "Enter at least one result.")
        hours = self.timing() if TACROLIMUS_LEVEL in filled else None
        drawn_at = data.get("drawn_at")
        if drawn_at is None:
            return
        for key in filled:
            level = key == TACROLIMUS_LEVEL
            result = Result(
                analyte=self.analytes[key],
                entered=data[f"value_{key}"],
                unit=data.get(f"unit_{key}") or self.analytes[key].canonical_unit,
                drawn_at=drawn_at,
                hours_since_dose=hours if level else None,
                assay=data.get("assay", "") if level else "",
            )
            self.results.append(result)
            try:
                checked(self.patient, result, at=self.at)
            except ValidationError as error:
                for name, messages in error.message_dict.items():
                    place = name if name in self.fields else f"{name}_{key}"
                    if not self.has_error(place):
                        self.add_error(place, messages[0])


class CorrectResultForm(_LevelTiming):
    """A result put right; every value is given anew, with the reason."""

    value = ResultTextField(error_messages=_ask("Enter the value."))
    unit = forms.CharField(error_messages=_ask("Choose the unit."))
    drawn_at = InstantTextField(label="Drawn or measured at", error_messages=_ask(SAY_WHEN))
    assay = forms.CharField(max_length=60, required=False, label="Assay")
    reason = forms.CharField(max_length=400, error_messages=_ask(SAY_WHY))
    field_order = ("value", "unit", "drawn_at")

    def __init__(self, *args: Any, analyte: Analyte, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.is_level = analyte.key == TACROLIMUS_LEVEL
        self.fields["unit"].widget = forms.Select(
            choices=unit_choices(analyte, first=self.initial["unit"])
        )
        if not self.is_level:
            for name in ("hours_since_dose", "last_dose_at", "dose_time_unknown", "assay"):
                del self.fields[name]

    def clean(self) -> None:
        if self.is_level:
            self.cleaned_data["hours_since_dose"] = self.timing()


class DrugForm(forms.Form):
    """A drug taken, once taken, or about to be prescribed."""

    drug = forms.CharField(
        max_length=120,
        help_text="Generic or brand name. Grapefruit and supplements are recorded here too.",
        widget=forms.TextInput(attrs={"list": "suggestions", "autocomplete": "off"}),
        error_messages=_ask("Enter the name of the drug."),
    )
    unlisted = forms.BooleanField(
        required=False, label="Record it as written: it will not be checked for interactions"
    )
    route = _known(Route.choices, help_text="A route that is not known is checked as systemic.")
    daily_dose_mg = DecimalTextField(
        required=False, label="Daily dose, mg", max_digits=9, decimal_places=3
    )
    started_on = DayTextField(required=False, label="Started on")
    stopped_on = DayTextField(required=False, label="Stopped on")
    planned = forms.BooleanField(
        required=False,
        label="Planned: not taken yet",
        help_text="The chart then shows what would follow from it.",
    )

    @property
    def asks_unlisted(self) -> bool:
        """Whether the name typed was not found, so that recording it as written is offered."""
        return bool(
            self.is_bound and (self.data.get("unlisted") or self.has_error("drug", "unlisted"))
        )

    def clean(self) -> None:
        name = " ".join(self.cleaned_data.get("drug", "").split())
        if name and not self.cleaned_data.get("unlisted") and drug_named(name) is None:
            near = get_close_matches(name.casefold(), [n.casefold() for n in drug_choices()], n=3)
            meant = f" Did you mean {' or '.join(near)}?" if near else ""
            self.add_error(
                "drug",
                ValidationError(
                    f"“{name}” is not in the vocabulary.{meant} Correct the name, or tick below to "
                    "record it as written, unchecked.",
                    code="unlisted",
                ),
            )


class CorrectDrugForm(DrugForm):
    """What was recorded of a drug, put right; its newest change of dose too, where there is one."""

    dose_changed_on = DayTextField(required=False, label="Dose changed on")
    daily_dose_before_mg = DecimalTextField(
        required=False, label="Daily dose before that, mg", max_digits=9, decimal_places=3
    )
    reason = forms.CharField(max_length=400, error_messages=_ask(SAY_WHY))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.initial.get("dose_changed_on") is None:
            for name in CHANGE_FIELDS:
                del self.fields[name]


class ChangeDoseForm(forms.Form):
    """Another dose of a drug that is taken."""

    daily_dose_mg = DecimalTextField(
        label="Daily dose from then on, mg",
        max_digits=9,
        decimal_places=3,
        error_messages=_ask("Enter the daily dose in mg."),
    )
    on = DayTextField(
        label="From",
        help_text="The first day on which this dose was taken",
        error_messages=_ask("Enter the first day of this dose."),
    )
    reason = forms.CharField(max_length=400, required=False, label="Why")


class StopDrugForm(forms.Form):
    """The last day of a drug."""

    stopped_on = DayTextField(
        label="Stopped on",
        help_text="The last day on which it was taken",
        error_messages=_ask("Enter the last day on which it was taken."),
    )
    reason = forms.CharField(max_length=400, required=False, label="Why")


class EventForm(forms.Form):
    """Something that happened to the patient."""

    kind = forms.ChoiceField(
        choices=[("", "Choose…"), *EventKind.choices],
        label="What happened",
        error_messages=_ask("Choose what happened."),
    )
    grade = forms.TypedChoiceField(
        choices=[("", "Not graded"), ("1", "1 mild"), ("2", "2 moderate"), ("3", "3 severe"),
                 ("4", "4 life-threatening")],
        coerce=int,
        empty_value=None,
        required=False,
    )  # fmt: skip
    started_on = DayTextField(
        label="Began on", error_messages=_ask("Enter the day on which it began.")
    )
    resolved_on = DayTextField(required=False, label="Over on")
    resolution = forms.CharField(
        max_length=400,
        required=False,
        label="How that was documented",
        help_text="Needed of an infection of grade 3 or more, or not graded, that is over",
    )
    note = forms.CharField(max_length=400, required=False)


class ResolveEventForm(forms.Form):
    """The day on which an event was over; of a serious infection also how that was documented."""

    resolved_on = DayTextField(
        label="Over on", error_messages=_ask("Enter the day on which it was over.")
    )
    resolution = forms.CharField(
        max_length=400,
        required=False,
        label="Infection controlled: how it was documented",
        help_text="Such as: cultures negative, afebrile since 3 days, antibiotics ended",
        error_messages=_ask("Say how it was documented that the infection is controlled."),
    )
    reason = forms.CharField(max_length=400, required=False, label="Note")

    def __init__(self, *args: Any, event: ClinicalEvent, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if event.needs_documented_resolution:
            self.fields["resolution"].required = True
            del self.fields["reason"]
        else:
            del self.fields["resolution"]


class ImmunisationForm(forms.Form):
    """A vaccine given, or planned."""

    vaccine = forms.CharField(
        max_length=120,
        help_text="A name of the list, or an ATC code such as J07BL01",
        widget=forms.TextInput(attrs={"list": "suggestions", "autocomplete": "off"}),
        error_messages=_ask("Enter the name of the vaccine, or its ATC code."),
    )
    given_on = DayTextField(required=False, label="Given on")
    planned_on = DayTextField(required=False, label="or planned for")
    route = _known(VaccineRoute.choices)

    def clean_vaccine(self) -> str:
        name: str = self.cleaned_data["vaccine"]
        if known_vaccine(name) is None:
            raise ValidationError(
                "Choose a vaccine of the list, or give its ATC code: J07 and four more characters."
            )
        return name


class GiveImmunisationForm(forms.Form):
    """The day on which a planned vaccine was given."""

    given_on = DayTextField(
        label="Given on", error_messages=_ask("Enter the day on which it was given.")
    )
    reason = forms.CharField(max_length=400, required=False, label="Note")


class UploadForm(forms.Form):
    """A CSV file of results; `text` is what it says."""

    file = forms.FileField(
        label="CSV file",
        widget=forms.ClearableFileInput(attrs={"accept": ".csv,text/csv"}),
        error_messages=_ask("Choose a CSV file.") | {"empty": "The file is empty."},
    )

    def clean_file(self) -> str:
        return read_file(self.cleaned_data["file"].read(MAX_BYTES + 1))
