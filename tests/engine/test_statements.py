"""Which case shows each statement at work and which shows it silent: the traceability report.

`pytest tests/engine/test_statements.py -v` prints it, one line a statement and side.
"""

import pytest

from tests.engine.given import ROOT
from tests.engine.test_cases import advice_of

# statement: a case that cites it, a case that comes close and does not.
SHOWN = {
    "S1": ("start-iim-complete-baseline", "trough-in-range"),
    "S2": ("start-iim-complete-baseline", "start-iim-progression"),
    "S3": ("start-iim-severe-without-mda5", "start-iim-mild-without-mda5"),
    "S4": ("start-ssc-first-line", "start-sle-progression"),
    "S5": ("start-on-cyclosporine", "start-ssc-on-cyclosporine"),
    "S6": ("start-outside-protocol", "start-ssc-first-line"),
    "S7": ("start-iim-complete-baseline", "start-weight-unknown"),
    "S8": ("start-weight-unknown", "trough-in-range"),
    "S9": ("trough-10-1", "trough-10-0"),
    "S10": ("start-steroid-inhaled", "start-steroid-planned"),
    "S11": ("companions-at-start", "companions-at-review"),
    "S12": ("companions-at-start", "companions-at-review"),
    "S13": ("companions-without-weight-and-height", "companions-systemic-sclerosis"),
    "S14": ("companions-at-start", "companions-systemic-sclerosis"),
    "S15": ("companions-rapidly-progressive", "companions-severity-unknown"),
    "S16": ("start-no-differential", "start-no-liver-tests"),
    "S17": ("start-labs-29-days-old", "start-labs-28-days-old"),
    "S18": ("start-no-liver-tests", "start-no-glucose"),
    "S19": ("start-no-glucose", "start-no-magnesium"),
    "S20": ("start-no-magnesium", "start-no-diastolic"),
    "S21": ("start-lipids-91-days-old", "start-lipids-90-days-old"),
    "S22": ("start-no-diastolic", "start-no-glucose"),
    "S23": ("review-first-trough", "start-no-first-trough-yet"),
    "S24": ("start-labs-29-days-old", "start-labs-28-days-old"),
    "S25": ("calendar-trough-overdue", "calendar-trough-on-last-day"),
    "S26": ("calendar-trough-stable-overdue", "calendar-trough-stable-last-day"),
    "S27": ("trough-10-0", "trough-9-9-h"),
    "S28": ("trough-12-6-h", "trough-11-5-h"),
    "S29": ("calendar-quarterly-overdue", "calendar-quarterly-on-last-day"),
    "S30": ("calendar-tests-overdue", "calendar-tests-on-last-day"),
    "S31": ("calendar-potassium-weekly-qt-risk", "calendar-potassium-without-risk"),
    "S32": ("calendar-hba1c-late", "calendar-hba1c-in-time"),
    "S33": ("calendar-lipids-past-a-year", "calendar-lipids-a-year"),
    "S34": ("calendar-monthly-overdue", "calendar-monthly-on-last-day"),
    "S35": ("calendar-pressure-weekly", "calendar-pressure-on-last-day"),
    "S36": ("infection-information", "infection-information-at-start"),
    "S37": ("tremor-grade-1", "tremor-at-start"),
    "S38": ("azole-27-days", "azole-28-days"),
    "S39": ("voriconazole-started", "cobicistat-started"),
    "S40": ("voriconazole-started", "fluconazole-started"),
    "S41": ("azole-27-days", "azole-28-days"),
    "S42": ("clarithromycin-started", "fluconazole-started"),
    "S43": ("clarithromycin-started", "fluconazole-started"),
    "S44": ("clarithromycin-started", "voriconazole-started"),
    "S45": ("fluconazole-started", "voriconazole-started"),
    "S46": ("fluconazole-started", "erythromycin-eye-drops"),
    "S47": ("fluconazole-with-high-trough", "fluconazole-with-trough-in-range"),
    "S48": ("rifampin-published", "fluconazole-started"),
    "S49": ("rifampin-published", "rifampin-answered"),
    "S50": ("rifampin-answered", "rifampin-stopped"),
    "S51": ("grapefruit-taken", "grapefruit-stopped"),
    "S52": ("voriconazole-stopped", "voriconazole-stopped-and-answered"),
    "S53": ("rifampin-stopped", "voriconazole-stopped"),
    "S54": ("creatinine-1-2", "creatinine-1-19"),
    "S55": ("creatinine-1-2", "creatinine-1-19"),
    "S56": ("creatinine-1-2", "creatinine-1-19"),
    "S57": ("tremor-grade-1", "seizure-resolved"),
    "S58": ("seizure", "seizure-at-start"),
    "S59": ("potassium-5-0", "potassium-4-99"),
    "S60": ("potassium-5-5", "potassium-5-49"),
    "S61": ("potassium-normal-on-lisinopril", "losartan-stopped"),
    "S62": ("heart-failure", "heart-failure-resolved"),
    "S63": ("magnesium-0-69", "magnesium-0-7"),
    "S64": ("qtcf-481", "qtcf-480"),
    "S65": ("qtcf-450", "qtcf-449"),
    "S66": ("cannabidiol-started", "cannabidiol-stopped"),
    "S67": ("hcv-combination-started", "hcv-course-unknown"),
    "S68": ("mycophenolate-taken", "azathioprine-taken"),
    "S69": ("infection-information", "infection-information-at-start"),
    "S70": ("infection-information", "infection-information-at-start"),
    "S71": ("infection-risk-high", "steroid-raised-27-days-ago"),
    "S72": ("serious-infection", "infection-resolved"),
    "S73": ("sirolimus", "sirolimus-stopped"),
    "S74": ("yellow-fever-planned", "influenza-injection-planned"),
    "S75": ("pregnant", "pregnancy-possible"),
    "S76": ("pregnant", "pregnancy-planning"),
    "S77": ("two-troughs-above-15", "one-trough-above-15"),
    "S78": ("renal-failure", "ventricular-symptoms-after-echo"),
    "S79": ("myocardial-hypertrophy", "myocardial-hypertrophy-resolved"),
    "S80": ("outcome-month-6", "outcome-month-5"),
    "S81": ("outcome-survival", "outcome-survival-without-steroid"),
    "S82": ("outcome-steroid-fallen", "outcome-steroid-same"),
    "S83": ("outcome-steroid-stopped", "outcome-steroid-same-at-month-6"),
    "S84": ("outcome-month-6", "outcome-month-5"),
}


def cited_in(name: str) -> set[str]:
    text = (ROOT / "tests/cases" / f"{name}.json").read_text(encoding="utf-8")
    return {each for found in advice_of(text)["findings"] for each in found["statements"]}


def test_every_statement_of_the_protocol_is_shown() -> None:
    assert set(SHOWN) == {f"S{number}" for number in range(1, 85)}


@pytest.mark.parametrize(("statement", "name"), [(key, fires) for key, (fires, _) in SHOWN.items()])
def test_the_statement_is_cited_in(statement: str, name: str) -> None:
    assert statement in cited_in(name)


@pytest.mark.parametrize(
    ("statement", "name"), [(key, silent) for key, (_, silent) in SHOWN.items()]
)
def test_the_statement_is_silent_in(statement: str, name: str) -> None:
    assert statement not in cited_in(name)
