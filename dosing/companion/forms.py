"""What a prescriber types of companion treatment: the step, its dose, the answers; why it stops."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.forms.boundfield import BoundField

from dosing.companion.steps import (
    STEP_OF_FINDING,
    CompanionPrescription,
    CompanionStep,
    ListedAnswer,
    ListedDrug,
    listed_drugs,
    steps_of,
)
from dosing.forms import COMPANION, AnsweringForm, SignForm, reason_text_field
from dosing.models import Assessment, CompanionOrder, CompanionUnit
from tacroweb.accounts.models import User
from tacroweb.fields import DecimalTextField
from tacroweb.numbers import format_decimal
from tacroweb.refusals import Refusal


class StepChoice(forms.RadioSelect):
    """The steps to choose from; the style sheet asks for a dose where the chosen one needs it."""

    def __init__(self, steps: tuple[CompanionStep, ...]) -> None:
        super().__init__()
        self.names_a_dose = {step.row.code for step in steps if step.single is not None}

    def create_option(self, name: str, value: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        option = super().create_option(name, value, *args, **kwargs)
        if value in self.names_a_dose:
            option["attrs"]["class"] = "names-dose"
        return option


class CompanionForm(AnsweringForm):
    """A step of a companion regimen and its dose, or the next dose of an order that is tapered.

    It begins with the step that `initial["finding"]`, a finding's code, asks for.
    """

    act = forms.CharField(initial=COMPANION, widget=forms.HiddenInput())
    tapers = forms.UUIDField(required=False, widget=forms.HiddenInput())
    step = forms.ChoiceField(
        label="Step of a regimen",
        widget=forms.RadioSelect,
        error_messages={"required": "Choose the step to order."},
    )
    dose = DecimalTextField(
        label="Dose",
        max_digits=9,
        decimal_places=3,
        required=False,
        help_text="As the step above says.",
    )
    reason_text = reason_text_field(
        hint="Needed when the dose is not the one that the regimen comes to."
    )

    def __init__(
        self,
        assessment: Assessment,
        tapered: CompanionOrder | None,
        data: Any = None,
        *,
        at: datetime,
        initial: dict[str, Any] | None = None,
    ) -> None:
        begun = {"tapers": tapered and tapered.public_id} | (initial or {})
        super().__init__(assessment, data, initial=begun)
        self.tapered = tapered
        self.steps: tuple[CompanionStep, ...] = ()
        self.listed: dict[str, tuple[ListedDrug, ...]] = {}
        if tapered is None:
            self.steps = steps_of(assessment)
            wanted = STEP_OF_FINDING.get(str(begun.get("finding")))
            if wanted and (
                found := [e.row for e in self.steps if (e.row.regimen, e.row.step) == wanted]
            ):
                self.initial["step"] = found[0].code
            self.fields["step"] = forms.ChoiceField(
                label="Step of a regimen",
                choices=[(step.row.code, choice_words(step)) for step in self.steps],
                widget=StepChoice(self.steps),
                error_messages={"required": "Choose the step to order."},
            )
            self.order_fields(("act", "tapers", "step", "dose", "reason_text"))
            self._ask_of_the_list(assessment, at)
        else:
            del self.fields["step"]
            dose = self.fields["dose"]
            dose.required, dose.help_text = True, ""
            dose.error_messages["required"] = (
                f"Enter the next dose in {tapered.get_unit_display()}."
            )
            self.fields["reason_text"].help_text = "Needed when the dose does not fall."
        self.ask()

    def _ask_of_the_list(self, assessment: Assessment, at: datetime) -> None:
        """Of each drug that a step would be a second one of its kind to: does it replace it?"""
        rows = [step.row for step in self.steps]
        self.listed = listed_drugs(assessment, rows, at)
        for drug in {each.key: each for drugs in self.listed.values() for each in drugs}.values():
            by = [row.drug for row in rows if drug.key in {e.key for e in self.listed[row.code]}]
            self.fields[f"listed_{drug.key}"] = forms.ChoiceField(
                label=f"{drug.words[:1].upper()}{drug.words[1:]} is on the list. Does "
                f"{' or '.join(dict.fromkeys(by))} replace it?",
                choices=ListedAnswer.choices,
                widget=forms.RadioSelect,
                required=False,
            )

    def listed_fields(self) -> list[BoundField]:
        """The questions about what is on the list."""
        return [self[name] for name in self.fields if name.startswith("listed_")]

    def clean(self) -> dict[str, Any]:
        """A drug of the same kind as the step that was chosen is answered for."""
        given = super().clean() or self.cleaned_data
        for drug in self.listed.get(given.get("step", ""), ()):
            name = f"listed_{drug.key}"
            if name in given and not given[name]:
                self.add_error(name, ValidationError(drug.question, code="required"))
        return given

    def show(self, error: ValidationError | Refusal) -> None:
        if isinstance(error, Refusal):
            error.fields = {
                name.replace("listed.", "listed_", 1): text for name, text in error.fields.items()
            }
        super().show(error)

    def prescription(
        self, *, confirmed: bool = False, typed_again_mg: Decimal | None = None
    ) -> CompanionPrescription:
        """What was typed, as the services take it."""
        return CompanionPrescription(
            dose=self.cleaned_data["dose"],
            reason_text=self.cleaned_data["reason_text"],
            answers=self.answers(),
            listed={
                drug.key: ListedAnswer(self.cleaned_data[f"listed_{drug.key}"])
                for drug in self.listed.get(self.cleaned_data.get("step", ""), ())
            },
            confirmed=confirmed,
            typed_again_mg=typed_again_mg,
        )


def choice_words(step: CompanionStep) -> str:
    """A step as it is chosen: drug and dose, the sum where there is one, what is not settled."""
    words = step.words
    if step.sum is None or step.sum.kg is not None:
        words += f" ({step.arithmetic})"
    if step.row.needs_local_approval:
        words += ". Needs local approval"
    return f"{words}. {dose_to_enter(step)}"


def dose_to_enter(step: CompanionStep) -> str:
    """What goes into the field of the dose when this step is chosen."""
    each = "a day" if step.unit == CompanionUnit.MG_PER_DAY else "each time"
    if step.single is not None:
        return (
            f"Leave the dose empty for {format_decimal(step.single)} mg {each}, or enter another."
        )
    if step.low is None or step.high is None:
        return f"Enter the mg that are given {each}."
    low, high = format_decimal(step.low), format_decimal(step.high)
    return f"Enter the mg {each}, from {low} to {high}."


class CompanionSignForm(SignForm):
    """The password under a companion order, and what an unusual dose is asked."""

    typed_again_mg = DecimalTextField(
        label="The dose once more", max_digits=9, decimal_places=3, required=False
    )


class CompanionStopForm(SignForm):
    """The end of a companion order: why, and the password."""

    reason_text = reason_text_field("Why it is stopped")
    field_order = ("reason_text", "password")

    def __init__(self, user: User, data: Any = None, **kwargs: Any) -> None:
        super().__init__(user, data, **kwargs)
        del self.fields["confirmed"], self.fields["typed_again_mg"]
        self.fields["reason_text"].required = True
        self.fields["reason_text"].error_messages["required"] = "Say in words why it is stopped."
