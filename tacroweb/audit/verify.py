"""Does the evidence still hold? Each chain, each entry, each row an entry lists, each live row."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from django.apps import apps
from django.db import connection, models

from .append_only import protected_models, unprotected_tables
from .ledger import GENESIS, hash_entry, row_digests
from .models import LedgerChain, LedgerEntry, TrackedModel

BATCH = 2_000


@dataclass(frozen=True, slots=True)
class Break:
    """One place where the evidence does not hold: the chain, the entry's number, what kind, what."""

    chain: str
    seq: int
    kind: str
    detail: str

    def __str__(self) -> str:
        return f"{self.chain} {self.seq}: {self.kind}: {self.detail}"


@dataclass(frozen=True, slots=True)
class Report:
    """What was checked, and every break found, first one first."""

    entries: int
    rows: int
    breaks: tuple[Break, ...]


def check_links(
    entries: Iterable[tuple[int, str, str, str]], *, chain: str
) -> Iterator[Break | tuple[int, str]]:
    """Walk (seq, prev_hash, text, hash) in order of seq; yield each break, then (count, last hash).

    An entry that was altered, is missing, was forked or reordered breaks the link to its neighbour.
    """
    last, last_hash = 0, GENESIS
    for seq, prev_hash, text, stored in entries:
        if seq != last + 1:
            yield Break(chain, last + 1, "missing", f"the next entry stored is number {seq}")
        elif prev_hash != last_hash:
            yield Break(chain, seq, "broken link", "it does not follow the entry before it")
        if hash_entry(prev_hash, text) != stored:
            yield Break(chain, seq, "altered entry", "its text does not give its hash")
        last, last_hash = seq, stored
    yield last, last_hash


def verify() -> Report:
    """Check everything. Linear in the rows: each entry and each evidence row is read once or twice."""
    breaks: list[Break] = []
    listed: dict[str, set[int]] = {}
    entries = rows = 0
    for chain in LedgerChain.objects.order_by("name"):
        count, found = _check_chain(chain, listed)
        entries += count
        breaks += found
    rows = sum(len(keys) for keys in listed.values())
    breaks += _unlisted_rows(listed)
    breaks += _changed_live_rows()
    breaks += [
        Break("system", 0, "unprotected table", f"{table} has lost its append-only triggers")
        for table in unprotected_tables(connection)
    ]
    return Report(entries, rows, tuple(breaks))


def _check_chain(chain: LedgerChain, listed: dict[str, set[int]]) -> tuple[int, list[Break]]:
    breaks: list[Break] = []
    count, last_hash = 0, GENESIS
    links = LedgerEntry.objects.filter(chain=chain).order_by("seq")
    walk = links.values_list("seq", "prev_hash", "text", "hash").iterator(chunk_size=BATCH)
    for step in check_links(walk, chain=chain.name):
        if isinstance(step, Break):
            breaks.append(step)
        else:
            count, last_hash = step
    if (chain.head_seq, chain.head_hash) != (count, last_hash):
        breaks.append(
            Break(
                chain.name,
                count + 1,
                "truncated",
                f"the chain's head stands at entry {chain.head_seq}, the last one stored is {count}",
            )
        )
    batch: list[LedgerEntry] = []
    for entry in links.iterator(chunk_size=BATCH):
        batch.append(entry)
        if len(batch) == BATCH:
            breaks += _check_rows(chain.name, batch, listed)
            batch = []
    breaks += _check_rows(chain.name, batch, listed)
    return count, sorted(breaks, key=lambda found: found.seq)


def _check_rows(
    chain: str, batch: list[LedgerEntry], listed: dict[str, set[int]]
) -> Iterator[Break]:
    """Compare each entry's searchable columns with its text, and its rows with their digests."""
    claims: list[tuple[int, str, int, str]] = []
    for entry in batch:
        try:
            said = json.loads(entry.text)
            claims += [(entry.seq, label, pk, digest) for label, pk, digest in said["rows"]]
        except (ValueError, KeyError, TypeError):
            yield Break(chain, entry.seq, "altered entry", "its text cannot be read")
            continue
        shown = (chain, entry.seq, entry.act, entry.actor_id, entry.actor_name, entry.role)
        shown += (entry.channel, entry.request_id, entry.reason, entry.subject)
        names = ("chain", "seq", "act", "actor", "actor_name", "role", "channel", "request")
        if shown != tuple(said.get(name) for name in (*names, "reason", "subject")):
            yield Break(chain, entry.seq, "altered entry", "its columns do not repeat its text")
    known = {model._meta.label_lower for model in apps.get_models()}
    stored = dict(row_digests((label, pk) for _, label, pk, _ in claims if label in known))
    for seq, label, pk, digest in claims:
        listed.setdefault(label, set()).add(pk)
        if (label, pk) not in stored:
            yield Break(chain, seq, "missing row", f"{label} {pk} is gone")
        elif stored[label, pk] != digest:
            yield Break(chain, seq, "altered row", f"{label} {pk} is not what was written")


def _unlisted_rows(listed: dict[str, set[int]]) -> Iterator[Break]:
    """Evidence rows that no entry lists: written past the services."""
    for model in protected_models():
        if model is LedgerEntry:
            continue
        known = listed.get(label := model._meta.label_lower, set())
        for pk in model._base_manager.order_by("pk").values_list("pk", flat=True).iterator():
            if pk not in known:
                yield Break("system", 0, "unlisted row", f"{label} {pk} is in no ledger entry")


def _changed_live_rows() -> Iterator[Break]:
    """Live rows that differ from their last history row: changed past the services."""
    for model in apps.get_models():
        history = getattr(model, "history", None)
        if not (issubclass(model, TrackedModel) or model._meta.label == "accounts.User"):
            continue
        records: type[models.Model] = history.model  # type: ignore[union-attr]
        names = [
            field.attname
            for field in model._meta.concrete_fields
            if any(field.attname == kept.attname for kept in records._meta.concrete_fields)
        ]
        pk = model._meta.pk.attname  # type: ignore[union-attr]
        last = {
            values[0]: values
            for values in records._base_manager.order_by("history_id")
            .values_list(pk, *names)
            .iterator(chunk_size=BATCH)
        }
        for values in model._base_manager.values_list(pk, *names).iterator(chunk_size=BATCH):
            if last.get(values[0]) != values:
                detail = f"{model._meta.label_lower} {values[0]} differs from its last history row"
                yield Break("system", 0, "changed row", detail)
