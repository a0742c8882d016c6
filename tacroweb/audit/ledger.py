"""Acts and their evidence: one hash-chained entry for each service call, appended last."""

import functools
import hashlib
import json
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal
from itertools import groupby
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar
from uuid import UUID

from django.apps import apps
from django.db import models, transaction
from django.utils import timezone

from .signature import Signature, UnsignedWrite

if TYPE_CHECKING:
    from .models import LedgerEntry

P = ParamSpec("P")
R = TypeVar("R")

GENESIS = "0" * 64
DOMAIN = "tacroweb-ledger-1\n"


@dataclass(slots=True)
class Act:
    """A service call in progress: what it is called, whose hand it is, what evidence it writes."""

    name: str
    by: Signature
    rows: list[tuple[str, int]] = field(default_factory=list)
    subjects: list[str] = field(default_factory=list)  # of the rows, one by one

    def wrote(self, row: models.Model, *, subject: str, reason: str) -> None:
        """Note one history or append-only row and whose record it belongs to.

        An act that was begun without a reason has the first one that a row was signed with.
        """
        if not self.by.reason:
            self.by = self.by.because(reason)
        self.rows.append((row._meta.label_lower, row.pk))
        self.subjects.append(subject)


_current: ContextVar[Act | None] = ContextVar("act", default=None)


def current_act() -> Act:
    """The act in progress; `UnsignedWrite` when a row is written outside every service."""
    if (act := _current.get()) is None:
        raise UnsignedWrite("This row can only be written by a service: no act is open.")
    return act


@contextmanager
def open_act(name: str, *, by: Signature) -> Iterator[Act]:
    """Open an act in its own transaction; a service called inside another joins the outer act.

    The ledger entry is appended as the last statement of the transaction, so the chain's lock is
    held for milliseconds, and either everything is written or nothing is. A joined service that
    fails leaves nothing behind, even where the outer one goes on. Raises `UnsignedWrite` when the
    inner hand is not the outer one: one entry has one signer and one chain.
    """
    if not isinstance(by, Signature):
        raise UnsignedWrite("A service takes by=Signature(…).")
    if (outer := _current.get()) is not None:
        if (by.actor_id, by.clinic_id) != (outer.by.actor_id, outer.by.clinic_id):
            raise UnsignedWrite(f"“{name}” inside “{outer.name}” is signed by another hand.")
        kept = len(outer.rows)
        try:
            with transaction.atomic():
                yield outer
        except BaseException:
            del outer.rows[kept:], outer.subjects[kept:]
            raise
        return
    act = Act(name, by)
    with transaction.atomic():
        token = _current.set(act)
        try:
            yield act
        finally:
            _current.reset(token)
        if act.rows:
            append(act)


def service(name: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a function a service: keyword `by`, one transaction, one ledger entry called `name`."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
            with open_act(name, by=kwargs.get("by")):  # type: ignore[arg-type]  # checked there
                return function(*args, **kwargs)

        wrapper.act_name = name  # type: ignore[attr-defined]  # read by the house-rule test
        return wrapper

    return decorate


def append(act: Act) -> None:
    """Append the act's entry to its chain: lock the head, hash, insert, move the head."""
    from .models import LedgerChain, LedgerEntry, LedgerSubject

    digests = dict(row_digests(act.rows))
    heads = LedgerChain.objects.select_for_update().filter(name=act.by.chain)
    chain = heads.first()
    if chain is None:  # two first writers at once: the slower one finds the faster one's row
        LedgerChain.objects.get_or_create(name=act.by.chain, defaults={"head_hash": GENESIS})
        chain = heads.get()
    entry = LedgerEntry(
        chain=chain,
        seq=chain.head_seq + 1,
        recorded_at=timezone.now(),
        act=act.name,
        actor_id=act.by.actor_id,
        actor_name=act.by.actor_name,
        role=act.by.role,
        channel=act.by.channel,
        request_id=act.by.request_id,
        reason=act.by.reason,
        prev_hash=chain.head_hash,
    )
    subjects = sorted(set(act.subjects))
    rows = [[label, pk, digests[label, pk]] for label, pk in act.rows]
    entry.text = entry_text(entry, subjects, rows)
    entry.hash = hash_entry(entry.prev_hash, entry.text)
    entry.save(force_insert=True)
    LedgerSubject.objects.bulk_create(LedgerSubject(entry=entry, subject=name) for name in subjects)
    LedgerChain.objects.filter(pk=chain.pk).update(head_seq=entry.seq, head_hash=entry.hash)


def entry_text(entry: "LedgerEntry", subjects: list[str], rows: list[Any]) -> str:
    """The canonical text of an entry: its columns, whom it is about, the digest of each row."""
    return canonical(
        {
            "chain": entry.chain.name,
            "seq": entry.seq,
            "at": entry.recorded_at,
            "act": entry.act,
            "actor": entry.actor_id,
            "actor_name": entry.actor_name,
            "role": entry.role,
            "channel": entry.channel,
            "request": entry.request_id,
            "reason": entry.reason,
            "subjects": subjects,
            "rows": rows,
        }
    )


def hash_entry(prev_hash: str, text: str) -> str:
    """SHA-256 over the domain tag, the previous entry's hash and this entry's canonical text."""
    return hashlib.sha256(f"{DOMAIN}{prev_hash}\n{text}".encode()).hexdigest()


def row_digests(rows: Iterable[tuple[str, int]]) -> Iterator[tuple[tuple[str, int], str]]:
    """The SHA-256 of each stored row, read back from the database: ((label, pk), digest).

    Read back, so that writer and verifier see the same value whatever the database rounds. Rows
    that are not there any more yield nothing. One query a table and batch.
    """
    for label, group in groupby(sorted(set(rows)), key=lambda row: row[0]):
        manager = apps.get_model(label)._base_manager
        keys = [pk for _, pk in group]
        for start in range(0, len(keys), 500):
            for values in manager.filter(pk__in=keys[start : start + 500]).values():
                pk_name = manager.model._meta.pk.attname
                yield (label, values[pk_name]), digest_of(values)


def digest_of(values: dict[str, Any]) -> str:
    """The digest of one row. Empty columns are left out, so that a nullable column added by a later
    release changes no old digest; a column added to evidence must therefore be nullable or text."""
    filled = {name: value for name, value in values.items() if value is not None and value != ""}
    return hashlib.sha256(canonical(filled).encode()).hexdigest()


def canonical(value: Any) -> str:
    """One text for one value: sorted keys, no spaces, NFC, fixed forms of decimals and instants."""
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=_fixed_form
    )
    return unicodedata.normalize("NFC", text)


def _fixed_form(value: object) -> str:
    match value:
        case Decimal():
            return format(value.normalize() + 0, "f")
        case datetime():
            return value.astimezone(UTC).isoformat(timespec="microseconds")
        case date() | time():
            return value.isoformat()
        case UUID():
            return str(value)
    raise TypeError(f"No canonical form for {type(value).__name__}.")
