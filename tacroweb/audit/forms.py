"""What the audit pages can be asked for."""

from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import QuerySet

from tacroweb.fields import DayTextField
from tacroweb.templatetags.components import CHANNELS

from .models import LedgerEntry


class ActFilter(forms.Form):
    """Which acts: by person, act, channel and days of the clinic (both included)."""

    person = forms.CharField(required=False, max_length=200)
    act = forms.CharField(required=False, max_length=120)
    channel = forms.ChoiceField(required=False, choices=[("", "Any"), *CHANNELS.items()])
    since = DayTextField(required=False, label="From")
    until = DayTextField(required=False, label="Until")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        since, until = cleaned.get("since"), cleaned.get("until")
        if since and until and until < since:
            raise ValidationError({"until": "The last day is before the first."})
        return cleaned

    def of(self, acts: QuerySet[LedgerEntry], *, zone: ZoneInfo) -> QuerySet[LedgerEntry]:
        """The acts asked for; all of them while a filter is wrong."""
        if not self.is_valid():
            return acts
        asked = self.cleaned_data
        if asked["person"]:
            acts = acts.filter(actor_name__icontains=asked["person"])
        if asked["act"]:
            acts = acts.filter(act__icontains=asked["act"])
        if asked["channel"]:
            acts = acts.filter(channel=asked["channel"])
        if asked["since"]:
            acts = acts.filter(recorded_at__gte=datetime.combine(asked["since"], time(), zone))
        if asked["until"]:
            after = asked["until"] + timedelta(days=1)
            acts = acts.filter(recorded_at__lt=datetime.combine(after, time(), zone))
        return acts


class PatientSearch(forms.Form):
    """Finding a patient by name or MRN; posted, so that neither stands in an address."""

    text = forms.CharField(label="Name or MRN", max_length=120)
