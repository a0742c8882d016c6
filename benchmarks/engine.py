"""Median time to assess built facts, beside `json.loads` of the same case in the same run.

A case of 30 drugs and 60 observations; prints one line. The ratio must stay at or below 15.
"""

import json
import statistics
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from dosing.rules import casefile, toml_book
from dosing.rules.engine.assess import assess

ROOT = Path(__file__).resolve().parents[1]
ROUNDS, CALLS = 40, 25
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


def median_seconds(*works: Callable[[], object]) -> list[float]:
    """The median over the rounds of the mean time of one call, each work in every round in turn."""
    times: list[list[float]] = [[] for _ in works]
    for _ in range(ROUNDS):
        for work, taken in zip(works, times, strict=True):
            begun = time.perf_counter()
            for _ in range(CALLS):
                work()
            taken.append((time.perf_counter() - begun) / CALLS)
    return [statistics.median(taken) for taken in times]


def main() -> None:
    text = case_text()
    case, at = casefile.read_case(text)
    seed = ROOT / "dosing/rules/seed/2026-01.toml"
    book = toml_book.read(seed.read_text(encoding="utf-8"))
    findings = len(assess(case, book, at=at).findings)
    reading, assessing = median_seconds(lambda: json.loads(text), lambda: assess(case, book, at=at))
    print(
        f"engine: assess {assessing * 1e6:.0f} us ({findings} findings), json.loads of the same "
        f"case {reading * 1e6:.0f} us, ratio {assessing / reading:.1f} (at most 15)"
    )


if __name__ == "__main__":
    main()
