"""What the people who keep the rules type: reasons, an approval, a clinic's numbers, a case."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from dosing.forms import checked_password, reason_text_field
from dosing.rules.cases import FOLDER
from dosing.rules.models import RuleBook, RuleBookStatus
from tacroweb.accounts.models import User
from tacroweb.fields import DecimalTextField

LONGEST_CASE = 500_000
SETTLED = (RuleBookStatus.PUBLISHED, RuleBookStatus.RETIRED)


class ReasonForm(forms.Form):
    """Why this step is taken: each step of a rule book has a reason."""

    reason = reason_text_field("Reason")

    def __init__(self, *args: Any, label: str = "Reason", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["reason"]
        field.required, field.label = True, label
        field.error_messages["required"] = "Say why."


class OpenForm(ReasonForm):
    """A new draft: of the book in force, or of an earlier one to go back to it."""

    begin_with = forms.ChoiceField(label="Begin with")
    field_order = ["begin_with", "reason"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        books = RuleBook.objects.filter(status__in=SETTLED, published_at__isnull=False)
        choices = [
            (
                each.version,
                f"{each.version}, in force"
                if each.status == RuleBookStatus.PUBLISHED
                else f"{each.version}, an earlier book: to go back to it",
            )
            for each in books.defer("text").order_by("status", "-published_at")
        ]
        self.fields["begin_with"].choices = choices  # type: ignore[attr-defined]  # ChoiceField


class ApproveForm(ReasonForm):
    """An approval is signed: its reason, and the approver's password."""

    password = forms.CharField(
        label="Your password",
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
        error_messages={"required": "Enter your password to sign."},
    )

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user

    def clean_password(self) -> str:
        """The signer is who they say, or nothing is signed."""
        return checked_password(self.user, self.cleaned_data["password"])


class LocalForm(ApproveForm):
    """A clinic's own decision that a row holds there, signed; with the clinic's numbers where the
    book leaves them blank (S54, D15)."""

    low = DecimalTextField(label="From", max_digits=5, decimal_places=2)
    high = DecimalTextField(label="To", max_digits=5, decimal_places=2)
    field_order = ["low", "high", "reason", "password"]

    def __init__(self, user: User, *args: Any, blank: bool, **kwargs: Any) -> None:
        super().__init__(user, *args, **kwargs)
        for name, end in (("low", "lower"), ("high", "upper")):
            if blank:
                told = f"Give the {end} end of your clinic’s target."
                self.fields[name].error_messages["required"] = told
            else:
                del self.fields[name]


class CaseForm(forms.Form):
    """A case in the case format, typed or one of the examples that came with TacroWeb."""

    example = forms.ChoiceField(label="Example", required=False)
    case = forms.CharField(
        label="Case",
        required=False,
        max_length=LONGEST_CASE,
        widget=forms.Textarea(attrs={"rows": 18, "spellcheck": "false"}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        names = [(name, name) for name in sorted(path.stem for path in FOLDER.glob("*.json"))]
        self.fields["example"].choices = [("", "None"), *names]  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        """One of the two must be given."""
        given = super().clean() or {}
        if not given.get("case", "").strip() and not given.get("example"):
            raise ValidationError({"case": "Give a case, or choose an example."})
        return given
