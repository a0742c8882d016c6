"""The audit floor: signed rows with history, rows that are only ever added, and the ledger."""

import re
from collections.abc import Collection, Sequence
from typing import Any, ClassVar, NoReturn, Self, TypeVar

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.dispatch import receiver
from django.utils import timezone
from simple_history.models import HistoricalRecords
from simple_history.signals import post_create_historical_record, pre_create_historical_record

from .ledger import Act, current_act
from .signature import Signature, UnsignedWrite

M = TypeVar("M", bound=models.Model)

# Control characters but tab and line ends, zero-width spaces, and marks that turn the direction of
# what follows. Joiners stay: some scripts need them.
_UNSEEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u200b\u2060\ufeff\u202a-\u202e\u2066-\u2069]")


class SignedQuerySet(models.QuerySet[M]):
    """Reads as usual; refuses the writes that would leave no history."""

    def _refuse(self, *args: object, **kwargs: object) -> NoReturn:
        raise UnsignedWrite(
            f"{self.model.__name__} rows are written one by one through a service, so that each "
            "write is signed and leaves history."
        )

    update = delete = bulk_create = bulk_update = _refuse
    get_or_create = update_or_create = create = _refuse


class HistoryRow(models.Model):
    """What every history row says beside the values: whose hand, which door, about whom.

    The names begin with `history_`, so that none hides a column of the row itself.
    """

    history_actor = models.CharField(max_length=200)
    history_role = models.CharField(max_length=100)
    history_channel = models.CharField(max_length=20)
    history_request_id = models.CharField(max_length=64)
    history_subject = models.CharField(max_length=80, db_index=True)

    class Meta:
        abstract = True


def history_of(**options: Any) -> HistoricalRecords:
    """The one way in which a model of ours keeps history; `options` go to simple-history."""
    return HistoricalRecords(
        bases=[HistoryRow], history_change_reason_field=models.TextField(blank=True), **options
    )


class SignedModel(models.Model):
    """Saving needs a signature and an open act; nothing is ever deleted."""

    _signature: Signature | None = None

    objects: ClassVar[models.Manager[Any]] = models.Manager.from_queryset(SignedQuerySet)()

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Validate and write the row with its history.

        Raises `UnsignedWrite` before any SQL when the row is not signed, no service is at work or
        only some columns are to be saved (the history would keep the others unsaved), and
        `ValidationError` when a field is wrong. A signature serves one attempt.
        """
        name = type(self).__name__
        if self._signature is None:
            raise UnsignedWrite(f"{name}.save() without sign(by).")
        if kwargs.get("update_fields") is not None:
            raise UnsignedWrite(f"{name}: a signed row is saved whole.")
        act = current_act()
        try:
            with transaction.atomic():
                self.full_clean()
                written = len(act.rows)
                super().save(*args, **kwargs)
                self._note(act)
                if len(act.rows) == written:
                    raise UnsignedWrite(f"{name}: history is switched off, so nothing is written.")
        finally:
            self._signature = None

    def clean_fields(self, exclude: Collection[str] | None = None) -> None:
        """Also refuses what nobody sees in a text: a name written backwards, an empty reason that
        does not look empty to the program."""
        errors: dict[str, Any] = {}
        try:
            super().clean_fields(exclude)
        except ValidationError as error:
            errors = error.update_error_dict({})
        texts = {
            field.name: getattr(self, field.attname)
            for field in self._meta.concrete_fields
            if isinstance(field, models.CharField | models.TextField)
            and field.name not in (exclude or ())
        }
        if self._signature is not None:
            texts.setdefault("reason", self._signature.reason)
        for name, text in texts.items():
            if text and _UNSEEN.search(text):
                errors.setdefault(name, "Remove the invisible characters from this text.")
        if errors:
            raise ValidationError(errors)

    def sign(self, by: Signature) -> Self:
        """Put `by` under the next save of this row."""
        self._signature = by
        return self

    def audit_subject(self) -> str:
        """Whose record this row belongs to, such as "patient:12"."""
        return f"{self._meta.model_name}:{self.pk}"

    def _note(self, act: Act) -> None:
        """Evidence beside the history row, where the row itself is evidence."""

    def delete(self, *args: object, **kwargs: object) -> NoReturn:
        raise UnsignedWrite(f"{type(self).__name__} rows are never deleted.")


class TrackedModel(SignedModel):
    """A row that may change: each version is kept in its history table."""

    history = history_of(inherit=True)

    class Meta:
        abstract = True


class RemovableModel(TrackedModel):
    """A tracked row that may also be removed: its history keeps what it was and whose hand it was.

    For working copies only, such as the rows of a rule book that is a draft.
    """

    class Meta:
        abstract = True

    def delete(self, *args: Any, **kwargs: Any) -> Any:
        """Remove the row, with a last entry in its history.

        Raises `UnsignedWrite` before any SQL when the row is not signed or no service is at work,
        and what `clean()` raises: a row that may not be written is not removed either. A signature
        serves one attempt.
        """
        name = type(self).__name__
        if self._signature is None:
            raise UnsignedWrite(f"{name}.delete() without sign(by).")
        act = current_act()
        try:
            with transaction.atomic():
                self.clean()
                written = len(act.rows)
                removed = models.Model.delete(self, *args, **kwargs)
                if len(act.rows) == written:
                    raise UnsignedWrite(f"{name}: history is switched off, so nothing is removed.")
        finally:
            self._signature = None
        return removed


def add_all(rows: Sequence[TrackedModel], *, by: Signature) -> None:
    """Insert new rows of one model as `row.sign(by).save()` would one by one, in few statements.

    Each row has its own history row and its own line in the act's entry. The fields of each row are
    checked as always; what only a query could find (a key that is taken, a row that is not there)
    is left to the database's constraints. Raises as `save()` does, and then nothing is written.
    """
    if not rows:
        return
    act, model = current_act(), type(rows[0])
    keys = {field.name for field in model._meta.concrete_fields if field.is_relation}
    try:
        with transaction.atomic():
            for row in rows:
                if type(row) is not model or not row._state.adding:
                    raise UnsignedWrite("Only new rows of one model are added together.")
                row.sign(by).full_clean(keys, validate_unique=False, validate_constraints=False)
            _insert(rows)
            kept = rows[0].history.model
            records = [_first_version(row, kept) for row in rows]
            _insert(records)
            for row, record in zip(rows, records, strict=True):
                act.wrote(record, subject=row.audit_subject(), reason=by.reason)
    finally:
        for row in rows:
            row._signature = None


def _insert(rows: Sequence[models.Model]) -> None:
    everything: models.QuerySet[Any] = models.QuerySet(type(rows[0]))
    everything.bulk_create(rows)


def _first_version(row: TrackedModel, records: Any) -> models.Model:
    """The history row that says that `row` was added by the hand that has signed it."""
    values = {field.attname: getattr(row, field.attname) for field in records.tracked_fields}
    record: models.Model = records(history_date=timezone.now(), history_type="+", **values)
    _sign_history(instance=row, history_instance=record)
    return record


class AppendOnlyModel(SignedModel):
    """A row that is evidence itself: written once, held by triggers, and listed in the ledger."""

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Insert the row. Raises `UnsignedWrite` for a second save."""
        if self.pk is not None and not self._state.adding:
            raise UnsignedWrite(f"{type(self).__name__} rows are never changed.")
        super().save(*args, **kwargs)

    def _note(self, act: Act) -> None:
        act.wrote(self, subject=self.audit_subject(), reason=self._signature.reason)  # type: ignore[union-attr]  # save() asked for it


@receiver(pre_create_historical_record)
def _sign_history(*, instance: SignedModel, history_instance: Any, **kwargs: object) -> None:
    by = instance._signature
    if by is None:
        raise UnsignedWrite(f"{type(instance).__name__}: a history row without a signature.")
    history_instance.history_user_id = by.actor_id
    history_instance.history_change_reason = by.reason
    history_instance.history_actor = by.actor_name
    history_instance.history_role = by.role
    history_instance.history_channel = by.channel
    history_instance.history_request_id = by.request_id
    history_instance.history_subject = instance.audit_subject()


@receiver(post_create_historical_record)
def _note_history(*, instance: SignedModel, history_instance: Any, **kwargs: object) -> None:
    current_act().wrote(
        history_instance,
        subject=instance.audit_subject(),
        reason=history_instance.history_change_reason,
    )


class LedgerChain(models.Model):
    """The head of a chain: a clinic's, or the installation's ("system"). Locked while appending."""

    name = models.CharField(max_length=80, unique=True)
    head_seq = models.BigIntegerField(default=0)
    head_hash = models.CharField(max_length=64)

    def __str__(self) -> str:
        return self.name


class LedgerEntry(models.Model):
    """One act. `text` is what was hashed; the other columns repeat it, to be searched by."""

    chain = models.ForeignKey(LedgerChain, on_delete=models.PROTECT, related_name="entries")
    seq = models.BigIntegerField()
    recorded_at = models.DateTimeField()
    act = models.CharField(max_length=120)
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    actor_name = models.CharField(max_length=200)
    role = models.CharField(max_length=100)
    channel = models.CharField(max_length=20)
    request_id = models.CharField(max_length=64)
    reason = models.TextField(blank=True)
    text = models.TextField()
    prev_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("chain", "seq"), name="ledger_one_entry_a_number"),
            models.UniqueConstraint(fields=("chain", "prev_hash"), name="ledger_no_fork"),
        )
        indexes = (models.Index(fields=("chain", "-id"), name="ledger_newest"),)
        verbose_name_plural = "ledger entries"

    def __str__(self) -> str:
        return f"{self.chain_id} {self.seq} {self.act}"


class LedgerSubject(models.Model):
    """Whose record an entry touched ("patient:12"): the entry's text says it, this finds it."""

    entry = models.ForeignKey(LedgerEntry, on_delete=models.PROTECT, related_name="subjects")
    subject = models.CharField(max_length=80)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("entry", "subject"), name="ledger_subject_once"),
        )
        indexes = (models.Index(fields=("subject", "-entry"), name="ledger_by_subject"),)

    def __str__(self) -> str:
        return self.subject
