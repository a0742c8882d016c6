"""What a person gives when a task will not be done."""

from django import forms

from monitoring.services import NOTE_LENGTH


class CancelForm(forms.Form):
    """The reason for cancelling one task, or all those of a visit."""

    reason = forms.CharField(
        label="Why will this not be done?",
        help_text="Such as “done elsewhere” or “the patient declines”. It stays on record.",
        max_length=NOTE_LENGTH,
        widget=forms.Textarea(attrs={"rows": 3}),
        error_messages={"required": "Say why this will not be done."},
    )
