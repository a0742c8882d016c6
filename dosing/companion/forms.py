"""What a prescriber types of companion treatment: the step, its dose, the answers; why it stops."""

from decimal import Decimal
from typing import Any

from django import forms

from dosing.companion.steps import CompanionPrescription, CompanionStep, steps_of
from dosing.forms import COMPANION, AnsweringForm, SignForm, reason_text_field
from dosing.models import Assessment, CompanionOrder
from tacroweb.accounts.models import User
from tacroweb.fields import DecimalTextField


class CompanionForm(AnsweringForm):
    """A step of a companion regimen and its dose, or the next dose of an order that is tapered."""

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
        help_text="Each time it is given; of a daily drug, a day. May stay empty where the step "
        "names just one dose.",
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
        initial: dict[str, Any] | None = None,
    ) -> None:
        begun = {"tapers": tapered and tapered.public_id} | (initial or {})
        super().__init__(assessment, data, initial=begun)
        self.tapered = tapered
        self.steps: tuple[CompanionStep, ...] = ()
        if tapered is None:
            self.steps = steps_of(assessment)
            self.fields["step"] = forms.ChoiceField(
                label="Step of a regimen",
                choices=[(step.row.code, choice_words(step)) for step in self.steps],
                widget=forms.RadioSelect,
                error_messages={"required": "Choose the step to order."},
            )
            self.order_fields(("act", "tapers", "step", "dose", "reason_text"))
        else:
            del self.fields["step"]
            dose = self.fields["dose"]
            dose.required, dose.help_text = True, ""
            dose.error_messages["required"] = (
                f"Enter the next dose in {tapered.get_unit_display()}."
            )
            self.fields["reason_text"].help_text = "Needed when the dose does not fall."
        self.ask()

    def prescription(
        self, *, confirmed: bool = False, typed_again_mg: Decimal | None = None
    ) -> CompanionPrescription:
        """What was typed, as the services take it."""
        return CompanionPrescription(
            dose=self.cleaned_data["dose"],
            reason_text=self.cleaned_data["reason_text"],
            answers=self.answers(),
            confirmed=confirmed,
            typed_again_mg=typed_again_mg,
        )


def choice_words(step: CompanionStep) -> str:
    """A step as it is chosen: drug and dose, the sum where there is one, what is not settled."""
    words = step.words
    if step.sum is None or step.sum.kg is not None:
        words += f" ({step.arithmetic})"
    return f"{words}. Needs local approval." if step.row.needs_local_approval else words


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
