"""Does the evidence still hold? Each chain, each entry, each row an entry lists, each live row."""

import json
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from heapq import merge
from itertools import groupby
from operator import itemgetter
from typing import Any

from django.apps import apps
from django.db import DatabaseError, connection, models, transaction

from .append_only import protected_models, unprotected_tables
from .ledger import GENESIS, entry_text, hash_entry, row_digests
from .models import LedgerChain, LedgerEntry, LedgerSubject, SignedModel

BATCH = 900  # rows asked for by key at once; SQLite takes 999
NO_CHAIN = "no chain"
REMOVED = "-"  # what the history says of a row that was removed by a service


@dataclass(frozen=True, slots=True)
class Break:
    """One place where the evidence does not hold: chain, number of the entry, what kind, what."""

    chain: str
    seq: int
    kind: str
    detail: str

    def __str__(self) -> str:
        return f"{self.chain} {self.seq}: {self.kind}: {self.detail}"


@dataclass(frozen=True, slots=True)
class Report:
    """What was checked, and every break found: by chain and number, then what no chain knows of."""

    entries: int
    rows: int
    breaks: tuple[Break, ...]


class RowSet:
    """The keys of one table's rows that entries list: one bit a row, so that millions fit."""

    def __init__(self) -> None:
        self.count = 0
        self._pages: dict[int, bytearray] = {}

    def __contains__(self, pk: int) -> bool:
        page = self._pages.get(pk >> 16)
        return page is not None and bool(page[pk >> 3 & 8191] & 1 << (pk & 7))

    def add(self, pk: int) -> None:
        """Note a row."""
        if pk not in self:
            page = self._pages.setdefault(pk >> 16, bytearray(8192))
            page[pk >> 3 & 8191] |= 1 << (pk & 7)
            self.count += 1


def check_links(
    entries: Iterable[tuple[int, str, str, str]], *, chain: str
) -> Iterator[Break | tuple[int, int, str]]:
    """Walk (seq, prev_hash, text, hash) in order of seq: each break, then (count, last, hash).

    An entry altered, missing, forked or reordered breaks the link to its neighbour.
    """
    count, last, last_hash = 0, 0, GENESIS
    for seq, prev_hash, text, stored in entries:
        if seq == last:
            yield Break(chain, seq, "forked", "two entries bear this number")
        elif seq != last + 1:
            yield Break(chain, last + 1, "missing entry", f"the next one stored is number {seq}")
        elif prev_hash != last_hash:
            yield Break(chain, seq, "reordered", "it does not follow the entry stored before it")
        if hash_entry(prev_hash, text) != stored:
            yield Break(chain, seq, "altered entry", "its text does not give its hash")
        count, last, last_hash = count + 1, seq, stored
    yield count, last, last_hash


def check_entry(entry: LedgerEntry) -> Iterator[Break]:
    """Does this entry follow the one before it, repeat its text and find its rows unchanged?"""
    before = LedgerEntry.objects.filter(chain=entry.chain_id, seq=entry.seq - 1).first()
    chain = entry.chain.name
    if entry.prev_hash != (before.hash if before else GENESIS) or (entry.seq > 1 and not before):
        yield Break(chain, entry.seq, "reordered", "it does not follow the entry stored before it")
    if hash_entry(entry.prev_hash, entry.text) != entry.hash:
        yield Break(chain, entry.seq, "altered entry", "its text does not give its hash")
    yield from _check_rows([entry], {})


def verify() -> Report:
    """Check everything as it stands at one instant.

    Linear in the rows: each evidence row is read twice, each live row once. Memory grows by one
    bit a row.
    """
    breaks: list[Break] = []
    with _snapshot():
        listed = {model._meta.label_lower: RowSet() for model in protected_models()}
        entries = 0
        for chain in LedgerChain.objects.order_by("name"):
            count, found = _check_chain(chain, listed)
            entries += count
            breaks += found
        if strays := LedgerEntry.objects.count() - entries:
            breaks.append(Break(NO_CHAIN, 0, "missing chain", f"{strays} entries belong to none"))
        breaks += _unlisted_rows(listed)
        breaks += _changed_live_rows()
        breaks += [
            Break(NO_CHAIN, 0, "unprotected table", f"{table} has lost its append-only triggers")
            for table in unprotected_tables(connection)
        ]
    named = sorted(breaks, key=lambda found: (found.chain == NO_CHAIN, found.chain, found.seq))
    return Report(entries, sum(rows.count for rows in listed.values()), tuple(named))


@contextmanager
def _snapshot() -> Iterator[None]:
    """One view of the database, so that acts signed meanwhile are not taken for breaks.

    Not `atomic()` on SQLite: ours takes the write lock and would hold up the clinic.
    """
    if connection.in_atomic_block:
        yield
    elif connection.vendor == "postgresql":
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield
    else:
        with connection.cursor() as cursor:
            cursor.execute("BEGIN DEFERRED")
            try:
                yield
            finally:
                cursor.execute("ROLLBACK")


def _check_chain(chain: LedgerChain, listed: dict[str, RowSet]) -> tuple[int, list[Break]]:
    breaks: list[Break] = []
    count, last, last_hash = 0, 0, GENESIS
    entries = LedgerEntry.objects.filter(chain=chain).select_related("chain").order_by("seq", "id")
    links = entries.values_list("seq", "prev_hash", "text", "hash")
    for step in check_links(links.iterator(chunk_size=BATCH), chain=chain.name):
        if isinstance(step, Break):
            breaks.append(step)
        else:
            count, last, last_hash = step
    if (chain.head_seq, chain.head_hash) != (last, last_hash):
        detail = f"the chain's head stands at entry {chain.head_seq}, the last one stored is {last}"
        breaks.append(Break(chain.name, last + 1, "truncated", detail))
    for batch in _batches(entries.iterator(chunk_size=BATCH)):
        breaks += _check_rows(batch, listed)
    return count, breaks


def _batches(entries: Iterable[LedgerEntry]) -> Iterator[list[LedgerEntry]]:
    batch: list[LedgerEntry] = []
    for entry in entries:
        batch.append(entry)
        if len(batch) == BATCH:
            yield batch
            batch = []
    yield batch


def _check_rows(batch: list[LedgerEntry], listed: dict[str, RowSet]) -> Iterator[Break]:
    """Compare each entry's searchable columns with its text, and its rows with their digests."""
    claims: list[tuple[LedgerEntry, str, int, str]] = []
    subjects: dict[int, list[str]] = {}
    for pk, subject in (
        LedgerSubject.objects.filter(entry__in=[entry.pk for entry in batch])
        .order_by("subject")
        .values_list("entry", "subject")
    ):
        subjects.setdefault(pk, []).append(subject)
    for entry in batch:
        try:
            said = json.loads(entry.text)
            rows, about = said["rows"], said["subjects"]
            claims += [(entry, str(label), int(pk), str(digest)) for label, pk, digest in rows]
        except (ValueError, KeyError, TypeError, RecursionError):
            yield Break(entry.chain.name, entry.seq, "altered entry", "its text cannot be read")
            continue
        if about != subjects.get(entry.pk, []) or entry_text(entry, about, rows) != entry.text:
            detail = "its columns do not repeat its text"
            yield Break(entry.chain.name, entry.seq, "altered entry", detail)
    known = {model._meta.label_lower for model in protected_models()}
    stored = _digests([(label, pk) for _, label, pk, _ in claims if label in known])
    for entry, label, pk, digest in claims:
        if label in listed:
            listed[label].add(pk)
        if (label, pk) not in stored:
            yield Break(entry.chain.name, entry.seq, "missing row", f"{label} {pk} is gone")
        elif stored[label, pk] != digest:
            detail = f"{label} {pk} is not what was written"
            yield Break(entry.chain.name, entry.seq, "altered row", detail)


def _digests(rows: list[tuple[str, int]]) -> dict[tuple[str, int], str]:
    """The digests of the rows; "" for one that cannot be read (a word where a number was)."""
    try:
        return dict(row_digests(rows))
    except DatabaseError:
        raise
    except Exception:
        if len(rows) > 1:
            middle = len(rows) // 2
            return _digests(rows[:middle]) | _digests(rows[middle:])
        return dict.fromkeys(rows, "")


def _unlisted_rows(listed: dict[str, RowSet]) -> Iterator[Break]:
    """Evidence rows that no entry lists: written past the services."""
    for model in protected_models():
        if model in (LedgerEntry, LedgerSubject):
            continue
        known = listed[label := model._meta.label_lower]
        for pk in model._base_manager.order_by("pk").values_list("pk", flat=True).iterator():
            if pk not in known:
                yield Break(NO_CHAIN, 0, "unlisted row", f"{label} {pk} is in no ledger entry")


def _changed_live_rows() -> Iterator[Break]:
    """Live rows unlike their last version: changed, added or removed past the services."""
    named = 0
    for model in apps.get_models():
        history = getattr(model, "history", None)
        if history is None or not issubclass(model, SignedModel):
            continue
        records: type[models.Model] = history.model
        kept_columns = {str(field.column) for field in records._meta.concrete_fields}
        columns = [str(field.column) for field in model._meta.concrete_fields]
        columns = [name for name in columns if name in kept_columns]
        pk = str(model._meta.pk.column)
        versions = _stored(
            records, ["history_id", pk, "history_type", *columns], order=[pk, "history_id"]
        )
        steps = merge(
            ((row[1], 0, row) for row in _last_versions(versions)),
            ((row[0], 1, row[1:]) for row in _stored(model, [pk, *columns], order=[pk])),
            key=lambda step: (type(step[0]).__name__, step[:2]),
        )
        for key, group in groupby(steps, key=itemgetter(0)):
            found = {source: row for _, source, row in group}
            kept, now = found.get(0), found.get(1)
            if kept is not None and kept[2] == REMOVED:
                as_left = now is None
            else:
                as_left = kept is not None and kept[3:] == now
            if not as_left:
                named += 1
                yield _live_break(
                    f"{model._meta.label_lower} {key}", records, kept, now, search=named <= 20
                )


def _stored(
    model: type[models.Model], columns: list[str], *, order: list[str]
) -> Iterator[tuple[Any, ...]]:
    """The values as stored, unconverted: a word where a number belongs must not stop the check."""
    quote = connection.ops.quote_name
    wanted, keys = (", ".join(map(quote, names)) for names in (columns, order))
    with connection.chunked_cursor() as cursor:
        cursor.execute(f"SELECT {wanted} FROM {quote(model._meta.db_table)} ORDER BY {keys}")  # noqa: S608
        while rows := cursor.fetchmany(BATCH):
            yield from rows


def _last_versions(versions: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """Of the history rows in order of their row's key, the last one of each row."""
    for _, rows in groupby(versions, key=itemgetter(1)):
        yield deque(rows, maxlen=1)[0]


def _live_break(
    row: str,
    records: type[models.Model],
    kept: tuple[Any, ...] | None,
    now: object,
    *,
    search: bool,
) -> Break:
    """The break of a live row, at the entry that lists the row's last version where there is one.

    The search reads the whole ledger, so it is made for the first breaks only.
    """
    if kept is None:
        return Break(NO_CHAIN, 0, "unlisted row", f"{row} has no history")
    entry = None
    if search:
        needle = f'["{records._meta.label_lower}",{kept[0]},'
        entry = LedgerEntry.objects.filter(text__contains=needle).select_related("chain").first()
    chain, seq = (entry.chain.name, entry.seq) if entry else (NO_CHAIN, 0)
    if now is None:
        return Break(chain, seq, "missing row", f"{row} is gone; this entry left it there")
    return Break(chain, seq, "changed row", f"{row} is no longer what this entry left")
