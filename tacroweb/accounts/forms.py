"""What a person types about the own account."""

from typing import Any

from django import forms
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.password_validation import password_validators_help_texts
from django.core.exceptions import ValidationError

from .brake import is_own_password, note_failure, refuse_guessing
from .models import User


def _password(label: str, autocomplete: str, asked: str) -> forms.CharField:
    return forms.CharField(
        label=label,
        strip=False,
        max_length=200,
        widget=forms.PasswordInput(attrs={"autocomplete": autocomplete}),
        error_messages={"required": asked},
    )


class SignInForm(AuthenticationForm):
    """Name and password, each asked for by name where it is missing. After some wrong passwords
    the name waits at this address."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["username"].error_messages["required"] = "Enter your username."
        self.fields["password"].error_messages["required"] = "Enter your password."

    def clean(self) -> dict[str, Any]:
        name, password = map(self.cleaned_data.get, ("username", "password"))
        if not (name and password):
            return super().clean()
        address = (self.request and self.request.META.get("REMOTE_ADDR")) or "unknown"
        refuse_guessing(name, address)
        try:
            return super().clean()
        except ValidationError:
            note_failure(name, address)
            raise


class PasswordForm(forms.Form):
    """The present password, and the new one twice."""

    present = _password("Present password", "current-password", "Enter your present password.")
    password = _password("New password", "new-password", "Enter a new password.")
    again = _password("New password once more", "new-password", "Enter the new password again.")

    def __init__(self, *args: Any, user: User, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user
        self.fields["password"].help_text = " ".join(password_validators_help_texts())

    def clean_present(self) -> str:
        present: str = self.cleaned_data["present"]
        if not is_own_password(self.user, present):
            raise ValidationError("This is not your present password.")
        return present

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("password") != cleaned.get("again"):
            raise ValidationError({"again": "The two are not the same."})
        return cleaned
