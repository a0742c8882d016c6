"""Loading a book, and replaying stored assessments beside `json.loads` of their cases; one core.

Patients with 30 drugs and 60 results, each assessed several times with a new result each; no two
patients share a result. Each is replayed once, as `manage.py replay_assessments` does. Prints one
line each; exit 1 when one differs, the ratio is above 40, or the book takes more than 50 ms.
"""

import json
import os
import sys
import tempfile
import time
from datetime import datetime, timedelta
from typing import Any

PATIENTS, TIMES, ROUNDS = 40, 4, 5
AT_MOST = 40


def main() -> int:
    """Make the assessments in memory, replay each, print the ratio."""
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    call_command("seed_rules", verbosity=0)
    from benchmarks.engine import case_text
    from dosing.models import Assessment
    from dosing.rules import casefile
    from dosing.rules.engine.assess import ENGINE_VERSION, assess
    from dosing.rules.loading import engine_book, stored_book
    from dosing.rules.selectors import published_version
    from dosing.services import replay
    from tacroweb.audit.ledger import canonical

    row = published_version()
    loads = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        book = stored_book(row)
        loads.append(time.perf_counter() - began)
    rows = sum(map(len, book.tables().values()))
    print(
        f"rule book {row} of {rows} rows out of its tables: {min(loads) * 1000:.0f} ms (at most 50)"
    )
    book = engine_book(row)
    stored = []
    for patient in range(PATIENTS):
        for visit in range(TIMES):
            case, at = casefile.decode_case(_case(json.loads(case_text()), patient, visit))
            stored.append(
                Assessment(
                    rule_book=row,
                    engine_version=ENGINE_VERSION,
                    at=at,
                    case_text=canonical(casefile.encode_case(case, at)),
                    advice_text=canonical(casefile.encode_advice(assess(case, book, at=at))),
                )
            )
    rounds = []
    for _ in range(ROUNDS):
        casefile._read_once.cache_clear()
        began = time.process_time()
        for assessment in stored:
            json.loads(assessment.case_text)
        middle = time.process_time()
        differing = sum(not replay(assessment).same for assessment in stored)
        rounds.append(((time.process_time() - middle) / (middle - began), middle - began))
    ratio, reading = sorted(rounds)[ROUNDS // 2]
    print(
        f"replay of {len(stored)} assessments: {ratio:.1f} times json.loads of their cases "
        f"({reading / len(stored) * 1e6:.0f} us each), {differing} differ (at most {AT_MOST})"
    )
    return 0 if ratio <= AT_MOST and not differing and min(loads) <= 0.05 else 1


def _case(case: dict[str, Any], patient: int, visit: int) -> dict[str, Any]:
    """The case of this patient's visit: days of their own, and a result more than at the last."""
    shift = timedelta(minutes=patient)
    for seen in case["observations"]:
        seen["at"] = (datetime.fromisoformat(seen["at"]) - shift).isoformat()
    newest = case["observations"][:visit]
    case["observations"] += [
        each | {"at": (datetime.fromisoformat(each["at"]) + timedelta(hours=1)).isoformat()}
        for each in newest
    ]
    return case


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="tacroweb-replay-") as folder:
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "tacroweb.settings",
            "TACROWEB_VAR": folder,
            "SECRET_KEY": "only-for-this-run",
            "HTTPS": "0",
        }
        os.environ.pop("DATABASE_URL", None)
        sys.exit(main())
