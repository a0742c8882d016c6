"""Rule books: a version, its text, and its life from draft to retirement."""

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q

from tacroweb.audit.models import TrackedModel


class RuleBookStatus(models.TextChoices):
    DRAFT = "DRAFT", "Draft"
    IN_REVIEW = "IN_REVIEW", "In review"
    PUBLISHED = "PUBLISHED", "Published"
    RETIRED = "RETIRED", "Retired"


class RuleBook(TrackedModel):
    """One version of the rules. Once published its text never changes; a new one replaces it."""

    version = models.CharField(max_length=20, unique=True)
    status = models.CharField(max_length=10, choices=RuleBookStatus.choices)
    text = models.TextField(help_text="the book as TOML")
    sha256 = models.CharField(max_length=64)
    published_at = models.DateTimeField(null=True, blank=True)
    retired_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("status",),
                condition=Q(status="PUBLISHED"),
                name="rulebook_one_published",
            ),
            models.UniqueConstraint(
                fields=("status",), condition=Q(status="DRAFT"), name="rulebook_one_draft"
            ),
        )

    def __str__(self) -> str:
        return self.version

    def audit_subject(self) -> str:
        return f"rulebook:{self.version}"

    def clean(self) -> None:
        """A book that has been published keeps its version and text for ever."""
        stored = RuleBook.objects.filter(pk=self.pk).first() if self.pk else None
        settled = (RuleBookStatus.PUBLISHED, RuleBookStatus.RETIRED)
        if stored and stored.status in settled:
            if (stored.version, stored.text, stored.sha256) != (
                self.version,
                self.text,
                self.sha256,
            ):
                raise ValidationError(
                    "A published rule book is never changed: draft a new version."
                )
            if self.status not in settled:
                raise ValidationError("A published rule book cannot become a draft again.")
