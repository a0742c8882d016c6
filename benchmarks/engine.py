"""Assessing built facts by the whole protocol, beside `json.loads` of the same case, in one run.

A case of 30 drugs and 60 observations under book 2026-02. Time is that of the processor: others may
use the machine. Prints one line; exit 1 when the ratio is above 25.
"""

import json
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from dosing.rules import casefile, toml_book
from dosing.rules.engine.assess import assess

ROOT = Path(__file__).resolve().parents[1]
AT_MOST = 25
ROUNDS, READINGS, QUESTIONS = 9, 200, 30
NEWEST = datetime.fromisoformat("2026-03-01T08:00:00+01:00")
DRUGS = """
prednisone voriconazole fluconazole amiodarone grapefruit lisinopril spironolactone omeprazole
co-trimoxazole aciclovir losartan metronidazole lansoprazole nifedipine azathioprine caspofungin
metoclopramide danazol isoniazid candesartan ranolazine amiloride valganciclovir ciprofloxacin
enalapril telmisartan cimetidine bosentan clotrimazole rifampin
""".split()  # noqa: SIM905 a list in words
RESULTS = (
    ("tacrolimus-trough", "8.4", "ng/mL"),
    ("creatinine", "0.9", "mg/dL"),
    ("potassium", "4.4", "mmol/L"),
    ("magnesium", "1.9", "mg/dL"),
    ("glucose", "101", "mg/dL"),
    ("wbc", "6.8", "10*3/uL"),
)


def case_text() -> str:
    """A patient with a long list: 30 drugs, four of them interacting and recent, and 60 results."""
    drugs = [
        {"drug": name, "route": "ORAL", "started_on": "2025-06-01", "stopped_on": None}
        for name in DRUGS
    ]
    for number, started_on in ((1, "2026-02-26"), (2, "2026-02-20"), (29, "2026-02-24")):
        drugs[number]["started_on"] = started_on
    drugs[3]["stopped_on"] = "2026-02-22"
    observations = [
        {
            "analyte": analyte,
            "value": value,
            "unit": unit,
            "at": (NEWEST - timedelta(weeks=weeks)).isoformat(),
            "hours_since_dose": "12.0" if analyte == "tacrolimus-trough" else None,
        }
        for weeks in range(10)
        for analyte, value, unit in RESULTS
    ]
    source = json.loads(
        (ROOT / "tests/cases/voriconazole-started.json").read_text(encoding="utf-8")
    )
    case = source["case"] | {"co_medications": drugs, "observations": observations}
    assert (len(drugs), len(observations)) == (30, 60)
    return json.dumps(case)


def least_seconds(*works: tuple[Callable[[], object], int]) -> list[float]:
    """The time of one call of each work in its best round, each called so often in every round."""
    least = [float("inf")] * len(works)
    for _ in range(ROUNDS):
        for number, (work, calls) in enumerate(works):
            begun = time.process_time()
            for _ in range(calls):
                work()
            least[number] = min(least[number], (time.process_time() - begun) / calls)
    return least


def main() -> int:
    text = case_text()
    case, at = casefile.read_case(text)
    seed = ROOT / "dosing/rules/seed/2026-02.toml"
    book = toml_book.read(seed.read_text(encoding="utf-8"))
    findings = len(assess(case, book, at=at).findings)
    reading, assessing = least_seconds(
        (lambda: json.loads(text), READINGS), (lambda: assess(case, book, at=at), QUESTIONS)
    )
    ratio = assessing / reading
    print(
        f"engine: assess by {book.version} {assessing * 1e6:.0f} us ({findings} findings), "
        f"json.loads of the same case {reading * 1e6:.0f} us, ratio {ratio:.1f} "
        f"(at most {AT_MOST})"
    )
    return 0 if ratio <= AT_MOST else 1


if __name__ == "__main__":
    sys.exit(main())
