"""What the evidence costs on PostgreSQL: acts of 8 writers, the chain checked, all verified.

Runs on the server of DATABASE_URL, in a database of its own, else on a PostgreSQL started for it
that keeps every commit (fsync on). Prints one line a figure; exit 1 when a chain breaks or a figure
misses what the project promises.
"""

import hashlib
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import date
from typing import Any

WRITERS = 8
EACH = 250  # acts of a writer, twice: for N and for 2N rows
LINKS = 100_000
PROMISED_LINKS_A_SECOND = 100_000
ROUNDS = 5


def write(writer: int, first: int, clinic_id: int) -> None:
    """One writer: acts of one tracked row each, all on the clinic's one chain."""
    from django.db import connection

    from patients.models import Patient
    from tacroweb.audit.ledger import service
    from tacroweb.audit.signature import Channel, Signature

    @service("Patient registered")
    def register(*, number: int, by: Signature) -> None:
        Patient(
            clinic_id=clinic_id,
            mrn=f"{writer}-{number}",
            family_name="Benchmark",
            given_name="Row",
            birth_date=date(1971, 3, 14),
            sex="FEMALE",
        ).sign(by).save()

    by = Signature.system(channel=Channel.COMMAND, reason="measured", clinic_id=clinic_id)
    for number in range(first, first + EACH):
        register(number=number, by=by)
    connection.close()


def count_up(writer: int, first: int, clinic_id: int) -> None:
    """The yardstick: one writer's bare commits that wait for one row, as acts wait for the head."""
    from django.db import connection

    for _ in range(EACH):
        with connection.cursor() as cursor:
            cursor.execute("UPDATE bare SET number = number + 1")
    connection.close()


def together(job: Callable[[int, int, int], None], first: int, clinic_id: int) -> float:
    """Let all writers do their job at once; how many times a second."""
    from django.db import connections

    connections.close_all()
    fork = multiprocessing.get_context("fork")
    writers = [
        fork.Process(target=job, args=(writer, first, clinic_id)) for writer in range(WRITERS)
    ]
    began = time.perf_counter()
    for process in writers:
        process.start()
    for process in writers:
        process.join()
    took = time.perf_counter() - began
    if any(process.exitcode for process in writers):
        sys.exit("A writer failed.")
    return WRITERS * EACH / took


def verified() -> tuple[float, Any]:
    """Verify everything; the best seconds of three, and the report."""
    from tacroweb.audit.verify import verify

    best, report = float("inf"), None
    for _ in range(3):
        began = time.perf_counter()
        report = verify()
        best = min(best, time.perf_counter() - began)
    return best, report


def links_a_second(texts: list[str]) -> tuple[float, float]:
    """Entries a second: the chain walked and checked, and the same bytes through SHA-256 alone."""
    from tacroweb.audit.ledger import GENESIS, hash_entry
    from tacroweb.audit.verify import check_links

    chain, prev = [], GENESIS
    for seq in range(1, LINKS + 1):
        text = texts[seq % len(texts)]
        chain.append((seq, prev, text, hash_entry(prev, text)))
        prev = chain[-1][3]
    blocks = [f"{prev}{text}".encode() for _, prev, text, _ in chain]
    checked = hashed = float("inf")
    for _ in range(ROUNDS):
        began = time.perf_counter()
        steps = list(check_links(chain, chain="benchmark"))
        checked = min(checked, time.perf_counter() - began)
        if steps != [(LINKS, LINKS, prev)]:
            sys.exit(f"The chain does not hold: {steps[0]}")
        began = time.perf_counter()
        for block in blocks:
            hashlib.sha256(block).hexdigest()
        hashed = min(hashed, time.perf_counter() - began)
    return LINKS / checked, LINKS / hashed


def measure() -> int:
    """Measure in a database made for it; the exit code."""
    import django

    django.setup()
    from django.db import connection

    from tacroweb.accounts.services import add_clinic
    from tacroweb.audit.models import LedgerEntry
    from tacroweb.audit.signature import Channel, Signature

    connection.creation.create_test_db(verbosity=0, autoclobber=True)
    try:
        system = Signature.system(channel=Channel.COMMAND, reason="measured")
        clinic_id = add_clinic(name="Benchmark", by=system).pk
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE bare (number integer)")
            cursor.execute("INSERT INTO bare VALUES (0)")
        bare = together(count_up, 0, clinic_id)
        rate = together(write, 0, clinic_id)
        once, first = verified()
        together(write, EACH, clinic_id)
        twice, second = verified()
        texts = list(LedgerEntry.objects.values_list("text", flat=True)[:1_000])
        checked, hashed = links_a_second(texts)
    finally:
        connection.creation.destroy_test_db("postgres", verbosity=0)
    breaks = len(first.breaks) + len(second.breaks)
    print(
        f"ledger: {rate:,.0f} acts a second appended by {WRITERS} writers, {breaks} breaks; bare "
        f"commits of one row by the same writers: {bare:,.0f} a second"
    )
    print(
        f"ledger: {checked:,.0f} entries a second checked over their stored text, "
        f"{checked / hashed:.2f} of SHA-256 alone ({hashed:,.0f})"
    )
    print(
        f"ledger: verify_audit {once:.2f} s for {first.rows:,} rows, {twice:.2f} s for "
        f"{second.rows:,}: {twice / once / (second.rows / first.rows):.2f} of linear"
    )
    return int(breaks > 0 or checked < PROMISED_LINKS_A_SECOND)


def main() -> int:
    """Find or start PostgreSQL, then measure."""
    from tests.postgres import server

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tacroweb.settings")
    os.environ.setdefault("SECRET_KEY", "only-measured")
    with ExitStack() as stack:
        if not os.environ.get("DATABASE_URL", "").startswith("postgres"):
            os.environ["DATABASE_URL"] = stack.enter_context(server(durable=True))
        return measure()


if __name__ == "__main__":
    sys.exit(main())
