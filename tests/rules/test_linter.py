"""The linter: each defect is named by its row and value, and a sound book has none."""

import ast
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from decimal import Decimal
from fractions import Fraction
from functools import cache
from typing import Any

import pytest

from dosing.rules import toml_book
from dosing.rules.engine.rows import (
    Band,
    CitationRow,
    CompanionRegimenRow,
    ContraindicationRow,
    DoseAct,
    DrugClassRow,
    DrugGroup,
    DrugGroupRow,
    HoldDrugRow,
    LocalTargetRow,
    ModifyingFactorRow,
    NumberRow,
    Origin,
    OutcomeRow,
    Phase,
    Severity,
    VaccineRow,
)
from dosing.rules.engine.rulebook import RuleBook
from dosing.rules.linter import Level, lint
from dosing.rules.linting.stretches import DERIVED
from tests.engine.given import ROOT, book, first_book
from tests.rules.given import (
    BANDS,
    OWN,
    band,
    edited,
    errors,
    first_dose,
    having,
    interaction,
    schedule,
    sound,
    threshold,
    without,
)

Change = Callable[[RuleBook], RuleBook]


def edit(table: str, code: str, **changes: object) -> Change:
    return lambda book: edited(book, table, code, **changes)


def drop(table: str, *codes: str) -> Change:
    return lambda book: without(book, table, *codes)


def add(table: str, *rows: object) -> Change:
    return lambda book: having(book, table, *rows)  # type: ignore[arg-type]


def number(code: str, value: str, unit: str) -> NumberRow:
    return NumberRow(code=code, value=Decimal(value), unit=unit, **OWN)


def companion(**changes: object) -> CompanionRegimenRow:
    given = {
        "code": "C-1",
        "regimen": "A1",
        "title": "Pulse",
        "step": 1,
        "drug": "methylprednisolone",
        "route": "IV",
        "low": Decimal(1000),
        "high": Decimal(1000),
        "unit": "mg",
        "days_a_week": 3,
        "weeks": 2,
    }
    return CompanionRegimenRow(**(OWN | given | changes))


def barred(code: str, name: str, kind: str = "DRUG", **more: object) -> ContraindicationRow:
    given = {"kind": kind, "name": name, "finding": "CONTRAINDICATED-DRUG"}
    return ContraindicationRow(code=code, **(OWN | given | more))


def factor(**changes: object) -> ModifyingFactorRow:
    given = {
        "code": "F-1",
        "interaction": "STRONG_INHIBITOR-ON",
        "factor": "dose",
        "action": "hold",
        "drug": "ritonavir",
    }
    return ModifyingFactorRow(**(OWN | given | changes))


def target(**changes: object) -> LocalTargetRow:
    given = {"code": "R-1", "stage": "R1", "option": "5 to 7 ng/mL", "unit": "ng/mL"}
    return LocalTargetRow(**(OWN | given | changes))


def figure(**changes: object) -> OutcomeRow:
    given = {"code": "O-1", "measure": "alive at 52 weeks", "unit": "%"}
    return OutcomeRow(**(OWN | given | changes))


# What is done to a sound book, and what the linter says of it: table, check, row, value.
DEFECTS: dict[str, tuple[Change, str, str, str, str]] = {
    # One number line after the other: 5.0 and 10.0 exactly, 480 against 481.
    "10 in two bands": (
        edit("level_bands", "B-4", low_included=True),
        "level_bands", "OVERLAP", "B-3, B-4", "10 ng/mL",
    ),
    "10 in no band": (
        edit("level_bands", "B-3", high_included=False),
        "level_bands", "GAP", "B-3, B-4", "10 ng/mL",
    ),
    "5 in no band": (
        edit("level_bands", "B-3", low_included=False),
        "level_bands", "GAP", "B-2, B-3", "5 ng/mL",
    ),
    "5 in two bands": (
        edit("level_bands", "B-2", high_included=True),
        "level_bands", "OVERLAP", "B-2, B-3", "5 ng/mL",
    ),
    "a hole in the bands": (
        edit("level_bands", "B-3", low=Decimal("5.5")),
        "level_bands", "GAP", "B-2, B-3", "from 5 to below 5.5 ng/mL",
    ),
    "a band over two others": (
        edit("level_bands", "B-2", high=Decimal("5.5")),
        "level_bands", "OVERLAP", "B-2, B-3", "from 5 to below 5.5 ng/mL",
    ),
    "no band above": (
        edit("level_bands", "B-6", high=Decimal(200)),
        "level_bands", "GAP", "B-6", "from 200 ng/mL on",
    ),
    "no band above, the end included": (
        edit("level_bands", "B-6", high=Decimal(200), high_included=True),
        "level_bands", "GAP", "B-6", "above 200 ng/mL",
    ),
    "no band at zero": (
        edit("level_bands", "B-1", low=Decimal(0), low_included=False),
        "level_bands", "GAP", "B-1", "0 ng/mL",
    ),
    "an empty band": (
        edit("level_bands", "B-4", low=Decimal(15), low_included=False),
        "level_bands", "EMPTY", "B-4", "from 15 (not included) to 15 (included) ng/mL",
    ),
    "a band that ends before it begins": (
        edit("level_bands", "B-4", low=Decimal(16)),
        "level_bands", "EMPTY", "B-4", "from 16 (not included) to 15 (included) ng/mL",
    ),
    "a band below zero": (
        add("level_bands", band("B-0", Band.FAR_BELOW, "-2", "-1", "[)")),
        "level_bands", "EMPTY", "B-0", "from -2 (included) to -1 (not included) ng/mL",
    ),
    "a band in another unit": (
        edit("level_bands", "B-3", unit="nmol/L"),
        "level_bands", "UNIT", "B-3", "nmol/L",
    ),
    "a band twice": (
        add("level_bands", band("B-7", Band.TOXIC, "20", None, "()")),
        "level_bands", "BAND", "B-6, B-7", "TOXIC",
    ),
    "bands out of order": (
        lambda book: replace(
            book,
            level_bands=(
                replace(BANDS[0], band=Band.BELOW), replace(BANDS[1], band=Band.FAR_BELOW),
                *BANDS[2:],
            ),
        ),
        "level_bands", "BAND", "B-1, B-2", "FAR_BELOW",
    ),
    "a band against the number": (
        lambda book: replace(
            book,
            level_bands=(
                *BANDS[:2],
                replace(BANDS[2], high=Decimal(11)),
                replace(BANDS[3], low=Decimal(11)),
                *BANDS[4:],
            ),
            numbers=(*book.numbers, number("TARGET-HIGH-NG-PER-ML", "10", "ng/mL")),
        ),
        "level_bands", "TWICE", "B-3, TARGET-HIGH-NG-PER-ML", "11 ng/mL",
    ),
    "no distance below": (
        edit("dose_steps", "D-2", low_included=False),
        "dose_steps", "GAP", "D-1, D-2", "1 ng/mL",
    ),
    "two distances above": (
        edit("dose_steps", "D-3", high=Decimal("2.5")),
        "dose_steps", "OVERLAP", "D-3, D-4", "from 2 to below 2.5 ng/mL",
    ),
    "a step on no side": (
        edit("dose_steps", "D-4", side="BESIDE"), "dose_steps", "SIDE", "D-4", "BESIDE",
    ),
    "a step of the whole dose": (
        edit("dose_steps", "D-2", numerator=2), "dose_steps", "FRACTION", "D-2", "2/2",
    ),
    "potassium between two rows": (
        edit("thresholds", "K-2", low=Decimal("5.2")),
        "thresholds", "GAP", "K-1, K-2", "from 5 to below 5.2 mmol/L",
    ),
    "480 against 481": (
        edit("thresholds", "Q-2", high=Decimal(480), high_included=True),
        "thresholds", "GAP", "Q-2, Q-3", "above 480 to below 481 ms",
    ),
    "481 twice": (
        edit("thresholds", "Q-2", high_included=True),
        "thresholds", "OVERLAP", "Q-2, Q-3", "481 ms",
    ),
    "potassium in another unit": (
        edit("thresholds", "K-3", unit="mg/dL"), "thresholds", "UNIT", "K-3", "mg/dL",
    ),
    "a quantity that nobody measures": (
        edit("thresholds", "K-3", quantity="kalium"), "thresholds", "QUANTITY", "K-3", "kalium",
    ),
    "a threshold without its finding": (
        edit("thresholds", "K-3", finding="POTASSIUM-NONE"),
        "thresholds", "REFERENCE", "K-3", "POTASSIUM-NONE",
    ),
    # Numbers that become doses.
    "a number in another unit": (
        edit("numbers", "INTERACTION-OPEN-DAYS", unit="wk"),
        "numbers", "UNIT", "INTERACTION-OPEN-DAYS", "wk",
    ),
    "no days at all": (
        edit("numbers", "INTERACTION-OPEN-DAYS", value=Decimal(0)),
        "numbers", "RANGE", "INTERACTION-OPEN-DAYS", "0 d",
    ),
    "a low number above its high one": (
        add("numbers", *(
            number(code, value, "mg/d")
            for code, value in (("A-LOW-MG-PER-DAY", "4"), ("A-HIGH-MG-PER-DAY", "3"))
        )),
        "numbers", "RANGE", "A-LOW-MG-PER-DAY, A-HIGH-MG-PER-DAY", "4 mg/d",
    ),
    "an alarm inside the target": (
        add("numbers", *(
            number(code, value, "ng/mL")
            for code, value in (("TARGET-HIGH-NG-PER-ML", "10"), ("ALARM-HIGH-NG-PER-ML", "9"))
        )),
        "numbers", "RANGE", "TARGET-HIGH-NG-PER-ML, ALARM-HIGH-NG-PER-ML", "10 ng/mL",
    ),
    "a guideline that is not named": (
        edit("findings", "SEL-ALTERNATIVES", citations=()),
        "findings", "CITATION", "SEL-ALTERNATIVES", "GUIDELINE",
    ),
    "a cap by weight below the first dose": (
        edit("numbers", "MAX-MG-PER-KG-PER-DAY", value=Decimal("0.074")),
        "starting_doses", "RANGE", "W-1", "0.075 mg/kg/d",
    ),
    "a cap below the fixed first dose": (
        edit("numbers", "MAX-MG-PER-DAY", value=Decimal("2.5")),
        "starting_doses", "RANGE", "W-2", "3 mg/d",
    ),
    "a cap that no capsules make": (
        edit("numbers", "MAX-MG-PER-DAY", value=Decimal("10.2")),
        "numbers", "DISPENSABLE", "MAX-MG-PER-DAY", "10.2 mg/d",
    ),
    "a cap below two capsules": (
        edit("numbers", "MAX-MG-PER-DAY", value=Decimal("0.5")),
        "numbers", "DISPENSABLE", "MAX-MG-PER-DAY", "0.5 mg/d",
    ),
    "a fraction that is never a dose": (
        lambda _: edited(first_book(), "ratios", "AZOLE-FRACTION", denominator=11),
        "ratios", "DISPENSABLE", "AZOLE-FRACTION", "1/11",
    ),
    "a fraction of everything": (
        lambda _: edited(first_book(), "ratios", "STEP-LIMIT", numerator=2),
        "ratios", "FRACTION", "STEP-LIMIT", "2/2",
    ),
    "no capsules": (
        lambda book: replace(book, strengths=()), "strengths", "DISPENSABLE", "", "IR",
    ),
    "a once-daily strength": (
        edit("strengths", "IR-GRANULES-1", formulation="LCP", enabled=True),
        "strengths", "FORMULATION", "IR-GRANULES-1", "LCP",
    ),
    "a strength of nothing": (
        edit("strengths", "IR-GRANULES-1", formulation="XR"),
        "strengths", "FORMULATION", "IR-GRANULES-1", "XR",
    ),
    "a dose by weight in mg": (
        edit("starting_doses", "W-1", unit="mg/d"), "starting_doses", "UNIT", "W-1", "mg/d",
    ),
    "a dose by weight with two ends": (
        edit("starting_doses", "W-1", high=Decimal("0.1")),
        "starting_doses", "RANGE", "W-1", "0.075 to 0.1 mg/kg/d",
    ),
    "a dose by nothing": (
        add("starting_doses", first_dose("W-3", "AGE", "1", "2", "mg/d")),
        "starting_doses", "BASIS", "W-3", "AGE",
    ),
    "a dose by weight twice": (
        add("starting_doses", first_dose("W-3", "WEIGHT", "0.1", "0.1", "mg/kg/d")),
        "starting_doses", "DUPLICATE", "W-1, W-3", "WEIGHT",
    ),
    "a fixed dose that falls": (
        edit("starting_doses", "W-2", low=Decimal(4)),
        "starting_doses", "RANGE", "W-2", "4 to 3 mg/d",
    ),
    "a fixed dose that no capsules make": (
        edit("starting_doses", "W-2", low=Decimal("1.2")),
        "starting_doses", "DISPENSABLE", "W-2", "1.2 mg/d",
    ),
    "a fixed dose against the number": (
        lambda book: having(
            edited(book, "starting_doses", "W-2", high=Decimal(4)),
            "numbers", number("START-FIXED-HIGH-MG-PER-DAY", "3", "mg/d"),
        ),
        "starting_doses", "TWICE", "W-2, START-FIXED-HIGH-MG-PER-DAY", "4 mg/d",
    ),
    "an unknown rounding": (
        edit("roundings", "U-1", mode="UP"), "roundings", "ROUNDING", "U-1", "UP",
    ),
    "a cut that is rounded up": (
        edit("roundings", "U-3", mode="NEAREST"), "roundings", "ROUNDING", "U-3", "NEAREST",
    ),
    "a companion in drops": (
        add("companion_regimens", companion(unit="drops")),
        "companion_regimens", "UNIT", "C-1", "drops",
    ),
    "a companion by no route": (
        add("companion_regimens", companion(route="EAR")),
        "companion_regimens", "ROUTE", "C-1", "EAR",
    ),
    "a companion on eight days a week": (
        add("companion_regimens", companion(days_a_week=8)),
        "companion_regimens", "RANGE", "C-1", "8 days a week",
    ),
    "a companion for no week": (
        add("companion_regimens", companion(weeks=0)),
        "companion_regimens", "RANGE", "C-1", "0 weeks",
    ),
    "a companion whose dose falls": (
        add("companion_regimens", companion(high=Decimal(500))),
        "companion_regimens", "RANGE", "C-1", "1000 to 500 mg",
    ),
    "a companion without its first step": (
        add("companion_regimens", companion(step=2, regimen="A9")),
        "companion_regimens", "SERIES", "C-1", "2",
    ),
    "a figure outside its interval": (
        add("outcomes", figure(value=Decimal(88), low=Decimal(90), high=Decimal(96))),
        "outcomes", "RANGE", "O-1", "90 to 88 to 96 %",
    ),
    "a window that ends before it begins": (
        add("outcomes", figure(from_month=12, to_month=6)),
        "outcomes", "RANGE", "O-1", "months 12 to 6",
    ),
    "half a target": (
        add("local_targets", target(low=Decimal(5))), "local_targets", "RANGE", "R-1", "5 ng/mL",
    ),
    "a target upside down": (
        add("local_targets", target(low=Decimal(7), high=Decimal(5))),
        "local_targets", "RANGE", "R-1", "7 to 5 ng/mL",
    ),
    "a target in another unit": (
        add("local_targets", target(unit="nmol/L")), "local_targets", "UNIT", "R-1", "nmol/L",
    ),
    "a target among the alarms": (
        add("local_targets", target(low=Decimal(2), high=Decimal(5))),
        "local_targets", "RANGE", "R-1", "2 to 5 ng/mL",
    ),
    "a corticosteroid without a factor": (
        add("drug_groups", DrugGroupRow(
            code="N-1", group=DrugGroup.PREDNISONE_EQUIVALENT, drug="prednisone", **OWN
        )),
        "drug_groups", "FACTOR", "N-1", "none",
    ),
    "a factor of no corticosteroid": (
        add("drug_groups", DrugGroupRow(
            code="N-1", group=DrugGroup.NEPHROTOXIC, drug="vancomycin", factor=Decimal(1), **OWN
        )),
        "drug_groups", "FACTOR", "N-1", "1",
    ),
    # Hours, days, phases.
    "valid hours outside the usable ones": (
        edit("level_windows", "WINDOW-IR", usable_from_h=Decimal(12)),
        "level_windows", "WINDOW", "WINDOW-IR", "11.5 to 12.5 h",
    ),
    "a formulation without hours": (
        drop("level_windows", "WINDOW-ER"), "level_windows", "WINDOW", "", "ER",
    ),
    "hours of an unknown formulation": (
        edit("level_windows", "WINDOW-ER", formulation="XR"),
        "level_windows", "FORMULATION", "WINDOW-ER", "XR",
    ),
    "no look-back": (
        edit("baseline_items", "BASELINE-WBC", look_back_days=0),
        "baseline_items", "RANGE", "BASELINE-WBC", "0 d",
    ),
    "due before it can be done": (
        edit("due_tests", "STRONG-STARTED-1", earliest_day=3),
        "due_tests", "WINDOW", "STRONG-STARTED-1", "days 3, 2, 3",
    ),
    "a series without its second test": (
        drop("due_tests", "STRONG-STARTED-2"),
        "due_tests", "SERIES", "STRONG-STARTED-3", "3",
    ),
    "a series that goes back": (
        edit("due_tests", "STRONG-STARTED-2", earliest_day=1, due_day=2),
        "due_tests", "SERIES", "STRONG-STARTED-1, STRONG-STARTED-2", "day 2",
    ),
    "a series that stands still": (
        edit("due_tests", "STRONG-STARTED-2", earliest_day=2, due_day=2),
        "due_tests", "SERIES", "STRONG-STARTED-1, STRONG-STARTED-2", "day 2",
    ),
    "no interval": (
        edit("schedules", "SCHEDULE-EARLY", every_days=0),
        "schedules", "RANGE", "SCHEDULE-EARLY", "0 d, 7 d of grace",
    ),
    "two intervals in a phase": (
        add("schedules", schedule("SCHEDULE-AGAIN", Phase.EARLY, 28)),
        "schedules", "PHASE", "SCHEDULE-EARLY, SCHEDULE-AGAIN", "EARLY",
    ),
    "a condition that never counts": (
        add("schedules", schedule("SCHEDULE-QT", Phase.EARLY, 60, condition="QT_RISK")),
        "schedules", "REACH", "SCHEDULE-EARLY, SCHEDULE-QT", "60 d",
    ),
    "a condition twice, in another order": (
        add("schedules", *(
            schedule(code, Phase.EARLY, 7, condition=condition) for code, condition in (
                ("SCHEDULE-A", "QT_RISK and CKD"), ("SCHEDULE-B", "CKD and QT_RISK")
            )
        )),
        "schedules", "PHASE", "SCHEDULE-A, SCHEDULE-B", "EARLY",
    ),
    "a phase without an interval": (
        drop("schedules", "SCHEDULE-STABLE"),
        "schedules", "PHASE", "SCHEDULE-EARLY, SCHEDULE-TITRATION", "STABLE",
    ),
    "a blood count later than three months": (
        edit("schedules", "SCHEDULE-STABLE", statements=("S29",), every_days=93),
        "schedules", "SEED-BOUND", "SCHEDULE-STABLE", "93 d",
    ),
    "renal tests later than monthly at first": (
        edit("schedules", "SCHEDULE-EARLY", statements=("S30",), every_days=32),
        "schedules", "SEED-BOUND", "SCHEDULE-EARLY", "32 d",
    ),
    # Interactions.
    "a drug without its stop": (
        edit("interactions", "STRONG_INHIBITOR_AZOLE-OFF", drugs=(
            "itraconazole", "ketoconazole", "posaconazole",
        )),
        "interactions", "MISSING", "CLASS-VORICONAZOLE", "voriconazole STOPPED",
    ),
    "a drug claimed twice": (
        add("interactions", interaction("X-1", ["voriconazole"], act=DoseAct.REDUCE)),
        "interactions", "DUPLICATE", "STRONG_INHIBITOR_AZOLE-ON, X-1", "voriconazole STARTED",
    ),
    "a drug claimed twice by an alias": (
        add("interactions", interaction(
            "X-1", ["rifampicin"], effect="LOWERS", act=DoseAct.INCREASE
        )),
        "interactions", "DUPLICATE", "STRONG_INDUCER-ON, X-1", "rifampin STARTED",
    ),
    "B-A beside A-B": (
        add("interactions", interaction("X-1", ["tacrolimus"], with_drugs=("voriconazole",))),
        "interactions", "DUPLICATE", "STRONG_INHIBITOR_AZOLE-ON, X-1", "voriconazole STARTED",
    ),
    "a drug twice in one row": (
        edit("interactions", "STRONG_INHIBITOR-ON", drugs=(
            "boceprevir", "clarithromycin", "ritonavir", "telaprevir", "ritonavir",
        )),
        "interactions", "DUPLICATE", "STRONG_INHIBITOR-ON", "ritonavir",
    ),
    "opposite acts": (
        add("interactions", interaction("X-1", ["voriconazole"], act=DoseAct.INCREASE)),
        "interactions", "OPPOSITE", "STRONG_INHIBITOR_AZOLE-ON, X-1", "voriconazole STARTED",
    ),
    "tacrolimus with itself": (
        add("interactions", interaction("X-1", ["nifedipine", "Prograf"])),
        "interactions", "SIDES", "X-1", "nifedipine, Prograf, tacrolimus",
    ),
    "tacrolimus on the wrong side": (
        add("interactions", interaction("X-1", ["tacrolimus"], with_drugs=("nifedipine",))),
        "interactions", "SIDES", "X-1", "tacrolimus, nifedipine",
    ),
    "without tacrolimus": (
        add("interactions", interaction("X-1", ["nifedipine"], with_drugs=("cyclosporine",))),
        "interactions", "SIDES", "X-1", "nifedipine, cyclosporine",
    ),
    "with no drug": (
        add("interactions", interaction("X-1", [])), "interactions", "SIDES", "X-1", "tacrolimus",
    ),
    "another drug on the side of tacrolimus": (
        add("interactions", interaction(
            "X-1", ["nifedipine"], with_drugs=("tacrolimus", "cyclosporine")
        )),
        "interactions", "SIDES", "X-1", "nifedipine, tacrolimus, cyclosporine",
    ),
    "a start without its stop": (
        add("interactions", interaction("X-1", ["nifedipine"])),
        "interactions", "MISSING", "X-1", "nifedipine STOPPED",
    ),
    "a stop without its start": (
        add("interactions", interaction("X-1", ["nifedipine"], "STOPPED", act=DoseAct.RAISE_BACK)),
        "interactions", "MISSING", "X-1", "nifedipine STARTED",
    ),
    "an act of a stop on a start": (
        edit("interactions", "STRONG_INDUCER-ON", act=DoseAct.RAISE_BACK),
        "interactions", "ACT", "STRONG_INDUCER-ON", "RAISE_BACK",
    ),
    "less severe than its finding": (
        edit("interactions", "STRONG_INHIBITOR-ON", severity=Severity.CAUTION),
        "interactions", "SEVERITY", "STRONG_INHIBITOR-ON", "CAUTION",
    ),
    "a finding that is off": (
        edit("findings", "INT-INDUCER-STARTED", enabled=False),
        "interactions", "REFERENCE", "STRONG_INDUCER-ON", "INT-INDUCER-STARTED",
    ),
    "an unknown change": (
        add("interactions", interaction("X-1", ["nifedipine"], "PAUSED")),
        "interactions", "CHANGE", "X-1", "PAUSED",
    ),
    "an unknown effect": (
        add("interactions", interaction("X-1", ["nifedipine"], effect="SHAKES")),
        "interactions", "EFFECT", "X-1", "SHAKES",
    ),
    "an inhibitor that is started and raises": (
        edit("interactions", "STRONG_INHIBITOR-ON", act=DoseAct.INCREASE),
        "interactions", "DIRECTION", "STRONG_INHIBITOR-ON", "INCREASE",
    ),
    "an inducer that is started and cuts": (
        edit("interactions", "STRONG_INDUCER-ON", act=DoseAct.HOLD),
        "interactions", "DIRECTION", "STRONG_INDUCER-ON", "HOLD",
    ),
    "an inhibitor that is stopped and cuts": (
        edit("interactions", "STRONG_INHIBITOR-OFF", act=DoseAct.STEP_DOWN),
        "interactions", "DIRECTION", "STRONG_INHIBITOR-OFF", "STEP_DOWN",
    ),
    "an inducer that is stopped and raises": (
        edit("interactions", "STRONG_INDUCER-OFF", act=DoseAct.RAISE_BACK),
        "interactions", "DIRECTION", "STRONG_INDUCER-OFF", "RAISE_BACK",
    ),
    "an effect against the class": (
        edit("interactions", "MODERATE_INHIBITOR-ON", effect="LOWERS"),
        "interactions", "EFFECT", "MODERATE_INHIBITOR-ON", "amiodarone LOWERS",
    ),
    "a cut without a fraction": (
        edit("interactions", "STRONG_INHIBITOR_AZOLE-ON", numerator=None, denominator=None),
        "interactions", "FRACTION", "STRONG_INHIBITOR_AZOLE-ON", "none",
    ),
    "a cut to all of it": (
        edit("interactions", "STRONG_INHIBITOR_AZOLE-ON", numerator=3),
        "interactions", "FRACTION", "STRONG_INHIBITOR_AZOLE-ON", "3/3",
    ),
    "a fraction without a cut": (
        edit("interactions", "STRONG_INHIBITOR-ON", numerator=1, denominator=2),
        "interactions", "FRACTION", "STRONG_INHIBITOR-ON", "1/2",
    ),
    "a cut that is never a dose": (
        edit("interactions", "STRONG_INHIBITOR_AZOLE-ON", denominator=20),
        "interactions", "DISPENSABLE", "STRONG_INHIBITOR_AZOLE-ON", "1/20",
    ),
    "a factor of nothing": (
        add("modifying_factors", factor(interaction="NONE")),
        "modifying_factors", "REFERENCE", "F-1", "NONE",
    ),
    "a factor of another drug": (
        add("modifying_factors", factor(drug="voriconazole")),
        "modifying_factors", "REFERENCE", "F-1", "voriconazole",
    ),
    # Names, and nothing twice.
    "an unknown drug": (
        edit("drug_classes", "CLASS-ATAZANAVIR", drug="atazanvir"),
        "drug_classes", "DRUG", "CLASS-ATAZANAVIR", "atazanvir",
    ),
    "an alias for a drug": (
        edit("drug_classes", "CLASS-RIFAMPIN", drug="rifampicin"),
        "drug_classes", "DRUG", "CLASS-RIFAMPIN", "rifampicin",
    ),
    "a combination for a drug": (
        edit("drug_classes", "CLASS-ATAZANAVIR", drug="Paxlovid"),
        "drug_classes", "DRUG", "CLASS-ATAZANAVIR", "Paxlovid",
    ),
    "an unknown analyte": (
        edit("baseline_items", "BASELINE-WBC", analyte="leukocytes"),
        "baseline_items", "ANALYTE", "BASELINE-WBC", "leukocytes",
    ),
    "an analyte by its LOINC code": (
        edit("due_tests", "FIRST-TROUGH-1", analyte="11253-2"),
        "due_tests", "ANALYTE", "FIRST-TROUGH-1", "11253-2",
    ),
    "a drug twice in one column": (
        add("drug_classes", DrugClassRow(
            code="CLASS-AGAIN", drug="voriconazole", fda_class="strong inhibitor",
            enabled=False, **OWN,
        )),
        "drug_classes", "DUPLICATE", "CLASS-VORICONAZOLE, CLASS-AGAIN", "voriconazole",
    ),
    "a drug twice in one column by an alias": (
        add("drug_classes", DrugClassRow(
            code="CLASS-AGAIN", drug="rifampicin", seed_class="STRONG_INDUCER", **OWN
        )),
        "drug_classes", "DUPLICATE", "CLASS-RIFAMPIN, CLASS-AGAIN", "rifampicin",
    ),
    "a drug in two rows of two columns": (
        lambda book: having(
            edited(book, "drug_classes", "CLASS-RIFAMPIN", label_class="", fda_class=""),
            "drug_classes",
            DrugClassRow(
                code="CLASS-AGAIN", drug="rifampin", label_class="STRONG_INDUCER", **OWN
            ),
        ),
        "drug_classes", "DUPLICATE", "CLASS-RIFAMPIN, CLASS-AGAIN", "rifampin",
    ),
    "a drug twice in a group": (
        add("drug_groups", *(
            DrugGroupRow(code=code, group=DrugGroup.NEPHROTOXIC, drug=drug, **OWN)
            for code, drug in (("N-1", "aciclovir"), ("N-2", "acyclovir"))
        )),
        "drug_groups", "DUPLICATE", "N-1, N-2", "NEPHROTOXIC aciclovir",
    ),
    "a contraindication twice": (
        add("contraindications", barred("X-1", "everolimus"), barred("X-2", "everolimus")),
        "contraindications", "DUPLICATE", "X-1, X-2", "DRUG everolimus",
    ),
    "a contraindication of no kind": (
        add("contraindications", barred("X-1", "everolimus", "FOOD")),
        "contraindications", "KIND", "X-1", "FOOD",
    ),
    "a contraindication of no event": (
        add("contraindications", barred("X-1", "HICCUPS", "EVENT")),
        "contraindications", "EVENT", "X-1", "HICCUPS",
    ),
    "a contraindication without its finding": (
        add("contraindications", barred("X-1", "everolimus", finding="NONE")),
        "contraindications", "REFERENCE", "X-1", "NONE",
    ),
    "a drug asked for and barred": (
        add("contraindications", barred("X-1", "prednisone")),
        "contraindications", "OPPOSITE", "CLASS-PREDNISONE, X-1", "prednisone",
    ),
    "a companion that is barred": (
        lambda book: having(
            having(book, "companion_regimens", companion(drug="azathioprine", regimen="A9")),
            "contraindications", barred("X-1", "azathioprine"),
        ),
        "contraindications", "OPPOSITE", "C-1, X-1", "azathioprine",
    ),
    "a prophylaxis that is to be avoided": (
        lambda book: having(
            having(book, "drug_groups", DrugGroupRow(
                code="N-1", group=DrugGroup.PNEUMOCYSTIS_PROPHYLAXIS, drug="co-trimoxazole", **OWN
            )),
            "interactions", interaction("X-1", ["co-trimoxazole"], act=DoseAct.AVOID),
        ),
        "interactions", "OPPOSITE", "N-1, X-1", "co-trimoxazole",
    ),
    "tacrolimus barred": (
        add("contraindications", barred("X-1", "tacrolimus")),
        "contraindications", "OPPOSITE", "X-1", "tacrolimus",
    ),
    "a vaccine twice": (
        add("vaccines", *(
            VaccineRow(code=code, atc="J07BX99", name="live", **OWN) for code in ("X-1", "X-2")
        )),
        "vaccines", "DUPLICATE", "X-1, X-2", "J07BX99",
    ),
    "a vaccine that is none": (
        add("vaccines", VaccineRow(code="X-1", atc="J06BA01", name="globulin", **OWN)),
        "vaccines", "VACCINE", "X-1", "J06BA01",
    ),
    "a vaccine that is not live": (
        add("vaccines", VaccineRow(code="X-1", atc="J07BK03", name="zoster", **OWN)),
        "vaccines", "VACCINE", "X-1", "J07BK03",
    ),
    "a row of the first form beside the later ones": (
        add("hold_drugs", HoldDrugRow(code="HOLD-1", drug="ritonavir", **OWN)),
        "hold_drugs", "REACH", "HOLD-1", "interactions",
    ),
    # Evidence.
    "no source": (
        edit("numbers", "MAX-MG-PER-DAY", source=" "), "numbers", "SOURCE", "MAX-MG-PER-DAY", "",
    ),
    "a statement that is a default": (
        edit("numbers", "MAX-MG-PER-DAY", statements=("D21",)),
        "numbers", "STATEMENT", "MAX-MG-PER-DAY", "D21",
    ),
    "a statement after the last": (
        edit("numbers", "MAX-MG-PER-DAY", statements=("S85",)),
        "numbers", "STATEMENT", "MAX-MG-PER-DAY", "S85",
    ),
    "a statement twice": (
        edit("numbers", "MAX-MG-PER-DAY", statements=("S7", "S7")),
        "numbers", "STATEMENT", "MAX-MG-PER-DAY", "S7, S7",
    ),
    "a seed row without a statement": (
        edit("findings", "INT-AZOLE-STARTED", statements=()),
        "findings", "STATEMENT", "INT-AZOLE-STARTED", "SEED",
    ),
    "a citation that is not there": (
        edit("numbers", "MAX-MG-PER-DAY", citations=("CITE-NONE",)),
        "numbers", "CITATION", "MAX-MG-PER-DAY", "CITE-NONE",
    ),
    "a citation without a title": (
        add("citations", CitationRow(code="CITE-1", title="", reference="Journal 1:1", **OWN)),
        "citations", "CITATION", "CITE-1", "title",
    ),
    "reviewed by nobody": (
        edit("numbers", "MAX-MG-PER-DAY", reviewed_on=date(2026, 3, 1)),
        "numbers", "REVIEWED", "MAX-MG-PER-DAY", "2026-03-01",
    ),
    "reviewed on no day": (
        edit("numbers", "MAX-MG-PER-DAY", reviewed_by="Dr Lind"),
        "numbers", "REVIEWED", "MAX-MG-PER-DAY", "Dr Lind",
    ),
    "a code of two words": (
        add("citations", CitationRow(code="A B", title="Title", reference="Journal 1:1", **OWN)),
        "citations", "CODE", "A B", "A B",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_is_an_error_that_names_the_row_and_the_value(name: str) -> None:
    change, table, check, row, value = DEFECTS[name]
    found = errors(change(sound()))
    assert (table, check, row, value) in {
        (each.table, each.check, each.row, each.value) for each in found
    }, found
    for each in found:
        assert each.message.endswith(".")
        assert "None" not in each.message
        assert all(code in each.message for code in each.row.split(", ")), each


def test_a_gap_is_shown_with_a_value_that_no_row_holds() -> None:
    draft = edited(sound(), "thresholds", "K-2", low=Decimal("5.2"))
    (gap,) = [each for each in errors(draft) if each.check == "GAP"]
    assert gap.message == (
        "Potassium: no row claims from 5 to below 5.2 mmol/L (5.1 mmol/L for one). It is missing "
        "beside K-1 and K-2."
    )
    assert not any(row.holds(Fraction("5.1")) for row in draft.index.thresholds["potassium"])


def test_an_overlap_says_which_two_rows_claim_the_value() -> None:
    (overlap,) = errors(edited(sound(), "level_bands", "B-4", low_included=True))
    assert overlap.message == "Trough: 10 ng/mL is claimed by B-3 and B-4."


def test_a_row_inside_another_is_an_overlap_and_leaves_no_gap_behind_it() -> None:
    draft = edited(sound(), "thresholds", "K-1", high=None)
    assert [(each.check, each.row) for each in errors(draft)] == [
        ("OVERLAP", "K-1, K-2"),
        ("OVERLAP", "K-1, K-3"),
    ]


def test_what_reaches_a_limit_and_no_further_is_no_error() -> None:
    tenth = edited(sound(), "interactions", "STRONG_INHIBITOR_AZOLE-ON", denominator=10)
    assert not errors(tenth)  # of 10 mg/day, the highest dose, is 1 mg/day, the least
    for statement, phase, days in (
        ("S29", Phase.STABLE, 92),
        ("S30", Phase.EARLY, 31),
        ("S30", Phase.STABLE, 180),
    ):
        row = {"statements": (statement,), "every_days": days}
        assert not errors(edited(sound(), "schedules", f"SCHEDULE-{phase}", **row))


def test_a_quantity_that_can_fall_has_no_lowest_value() -> None:
    rise = next(quantity for quantity, (_, signed) in DERIVED.items() if signed)
    unit = DERIVED[rise][0]
    rows = (
        threshold("R-1", rise, None, "26", "[)", unit),
        threshold("R-2", rise, "26", None, "[)", unit),
    )
    assert not errors(having(sound(), "thresholds", *rows))
    from_zero = replace(rows[0], low=Decimal(0))
    (gap,) = errors(having(sound(), "thresholds", from_zero, rows[1]))
    assert (gap.check, gap.row, gap.value) == ("GAP", "R-1", f"below 0 {unit}")


def test_a_quantity_that_can_fall_and_whose_only_row_is_empty_has_no_value_at_all() -> None:
    nothing = threshold("R-1", "qtcf-rise", "60", "60", "()", "ms")
    found = errors(having(sound(), "thresholds", nothing))
    assert [(each.check, each.row, each.value) for each in found] == [
        ("GAP", "", "any value in ms"),
        ("EMPTY", "R-1", "from 60 (not included) to 60 (not included) ms"),
    ]
    everything = (threshold(code, "qtcf-rise", None, None, "()", "ms") for code in ("R-1", "R-2"))
    (twice,) = errors(having(sound(), "thresholds", *everything))
    assert (twice.check, twice.row, twice.value) == ("OVERLAP", "R-1, R-2", "any value in ms")


def test_a_quantity_without_an_enabled_row_says_nothing_and_is_no_gap() -> None:
    draft = replace(
        sound(),
        thresholds=tuple(
            replace(row, enabled=False) if row.quantity == "qtcf" else row
            for row in sound().thresholds
        ),
    )
    assert not errors(draft)


def test_a_drug_without_any_code_needs_a_reason() -> None:
    extract = "Schisandra sphenanthera extract"
    group = DrugGroupRow(code="N-1", group=DrugGroup.NEPHROTOXIC, drug=extract, **OWN)
    (found,) = lint(having(sound(), "drug_groups", group))
    assert (found.level, found.row, found.value) == (Level.WARNING, "N-1", extract)
    assert not lint(having(sound(), "drug_groups", replace(group, enabled=False)))


def test_a_row_that_is_off_still_needs_a_known_drug_and_a_source() -> None:
    draft = edited(sound(), "drug_classes", "CLASS-ATAZANAVIR", drug="atazanvir", source="")
    assert not draft.drug_classes[-1].enabled
    assert {each.check for each in errors(draft)} == {"DRUG", "SOURCE"}


def silent(book: RuleBook, statement: str) -> RuleBook:
    """The book with the statement taken from all its rows."""
    tables = {
        table: tuple(
            replace(row, statements=tuple(each for each in row.statements if each != statement))
            for row in rows
        )
        for table, rows in book.tables().items()
    }
    return replace(book, **tables)


def test_a_statement_that_no_row_stands_for_is_named() -> None:
    draft = silent(sound(), "S70")
    assert {each.value: each.level for each in lint(draft) if each.check == "COVERAGE"} == {
        "S70": Level.ERROR
    }
    only_a_number = edited(draft, "numbers", "MAX-MG-PER-DAY", statements=("S70",))
    assert {each.value: each.level for each in lint(only_a_number) if each.check == "COVERAGE"} == {
        "S70": Level.WARNING
    }


def test_a_statement_that_the_published_book_cited_is_not_lost() -> None:
    draft = edited(silent(sound(), "S70"), "numbers", "MAX-MG-PER-DAY", statements=("S70",))
    (lost,) = set(errors(draft, published=sound())) - set(errors(draft))
    assert (lost.table, lost.check, lost.value) == ("findings", "STATEMENT", "S70")


def test_a_review_in_the_future_is_seen_on_the_day_that_is_given() -> None:
    reviewed = {"reviewed_by": "Dr Lind", "reviewed_on": date(2026, 3, 2)}
    draft = edited(sound(), "numbers", "MAX-MG-PER-DAY", **reviewed)
    assert not errors(draft)
    assert not errors(draft, today=date(2026, 3, 2))
    (found,) = errors(draft, today=date(2026, 3, 1))
    assert (found.row, found.value) == ("MAX-MG-PER-DAY", "2026-03-02")


# What is done to the published book, and what the linter says of the draft.
TAKEN_BACK: dict[str, tuple[Change, Level, str, str, str, str]] = {
    "a severity lowered": (
        edit("findings", "INT-AZOLE-STARTED", severity=Severity.CAUTION),
        Level.WARNING, "findings", "SEVERITY", "INT-AZOLE-STARTED", "WARN → CAUTION",
    ),
    "the severity of an interaction lowered": (
        edit("interactions", "STRONG_INHIBITOR-ON", severity=Severity.INFO),
        Level.WARNING, "interactions", "SEVERITY", "STRONG_INHIBITOR-ON", "WARN → INFO",
    ),
    "a severity raised": (
        edit("findings", "INT-AZOLE-STARTED", severity=Severity.STOP),
        Level.WARNING, "findings", "SEVERITY", "INT-AZOLE-STARTED", "WARN → STOP",
    ),
    "the evidence of a row gone": (
        edit("findings", "SEL-FAVOURED", citations=()),
        Level.ERROR, "findings", "CITATION", "SEL-FAVOURED", "PROTOCOL, ACR-CHEST-2023",
    ),
    "one piece of evidence gone": (
        edit("findings", "SEL-FAVOURED", citations=("PROTOCOL",)),
        Level.WARNING, "findings", "CITATION", "SEL-FAVOURED", "ACR-CHEST-2023",
    ),
    "the evidence gone of what is the clinic's own now": (
        edit("findings", "SEL-FAVOURED", citations=(), origin=Origin.LOCAL),
        Level.WARNING, "findings", "CITATION", "SEL-FAVOURED", "PROTOCOL, ACR-CHEST-2023",
    ),
    "a number of the protocol changed": (
        edit("starting_doses", "W-1", low=Decimal("0.05"), high=Decimal("0.05")),
        Level.ERROR, "starting_doses", "SOURCE-KEPT", "W-1", "0.075 → 0.05",
    ),
    "a fraction of the protocol changed": (
        edit("interactions", "STRONG_INHIBITOR_AZOLE-ON", numerator=2),
        Level.ERROR, "interactions", "SOURCE-KEPT", "STRONG_INHIBITOR_AZOLE-ON", "1/3 → 2/3",
    ),
    "a fraction of the clinic's own that names no source of its own": (
        edit("interactions", "STRONG_INHIBITOR_AZOLE-ON", numerator=2, origin=Origin.LOCAL),
        Level.ERROR, "interactions", "SOURCE-KEPT", "STRONG_INHIBITOR_AZOLE-ON", "1/3 → 2/3",
    ),
    "a fraction of the clinic's own with its source": (
        edit(
            "interactions", "STRONG_INHIBITOR_AZOLE-ON", numerator=2, origin=Origin.LOCAL,
            source="The clinic's audit of 2025.",
        ),
        Level.WARNING, "interactions", "VALUE", "STRONG_INHIBITOR_AZOLE-ON", "1/3 → 2/3",
    ),
    "a drug credited to the protocol": (
        edit(
            "interactions", "STRONG_INHIBITOR_AZOLE-ON",
            drugs=("itraconazole", "ketoconazole", "letermovir", "posaconazole", "voriconazole"),
        ),
        Level.ERROR, "interactions", "SOURCE-KEPT", "STRONG_INHIBITOR_AZOLE-ON",
        "itraconazole, ketoconazole, posaconazole, voriconazole → "
        "itraconazole, ketoconazole, letermovir, posaconazole, voriconazole",
    ),
    "drugs of the protocol changed": (
        edit("interactions", "STRONG_INHIBITOR_AZOLE-ON", drugs=("voriconazole",)),
        Level.WARNING, "interactions", "VALUE", "STRONG_INHIBITOR_AZOLE-ON",
        "itraconazole, ketoconazole, posaconazole, voriconazole → voriconazole",
    ),
    "an end of the protocol handed over": (
        edit("level_bands", "B-3", high_included=False),
        Level.ERROR, "level_bands", "SOURCE-KEPT", "B-3", "yes → no",
    ),
    "a class of the protocol changed": (
        edit("drug_classes", "CLASS-VORICONAZOLE", label_class=""),
        Level.WARNING, "drug_classes", "VALUE", "CLASS-VORICONAZOLE",
        "STRONG_INHIBITOR_AZOLE → nothing",
    ),
    "an origin changed": (
        edit("numbers", "MAX-MG-PER-DAY", origin=Origin.SEED),
        Level.WARNING, "numbers", "ORIGIN", "MAX-MG-PER-DAY", "LOCAL → SEED",
    ),
    "an approval waived": (
        edit("numbers", "MAX-MG-PER-DAY", needs_local_approval=False),
        Level.WARNING, "numbers", "APPROVAL", "MAX-MG-PER-DAY", "needs_local_approval",
    ),
    "a statement dropped by a row": (
        edit("findings", "INT-AZOLE-STARTED", statements=("S38", "S40")),
        Level.WARNING, "findings", "STATEMENT", "INT-AZOLE-STARTED", "S39",
    ),
    "a row of the protocol turned off": (
        edit("findings", "SEL-FAVOURED", enabled=False),
        Level.WARNING, "findings", "SEED-ROW", "SEL-FAVOURED", "SEED",
    ),
    "a row of the protocol gone": (
        drop("findings", "SEL-FAVOURED"),
        Level.WARNING, "findings", "SEED-ROW", "SEL-FAVOURED", "SEED",
    ),
    "a finding of our own gone": (
        drop("findings", "DRUG-NOT-CHECKED"),
        Level.WARNING, "findings", "FINDING", "DRUG-NOT-CHECKED", "LOCAL",
    ),
    "a barred drug of the protocol let go": (
        edit("drug_classes", "X-CLASS", enabled=False),
        Level.ERROR, "drug_classes", "CONTRAINDICATION", "X-CLASS", "azathioprine",
    ),
    "a contraindication of the protocol gone": (
        drop("contraindications", "X-SEED"),
        Level.ERROR, "contraindications", "CONTRAINDICATION", "X-SEED", "CONGENITAL_LONG_QT",
    ),
    "a contraindication of a label gone": (
        drop("contraindications", "X-LABEL"),
        Level.WARNING, "contraindications", "CONTRAINDICATION", "X-LABEL", "everolimus",
    ),
    "nothing leads to a finding": (
        lambda book: replace(book, baseline_items=tuple(
            row for row in book.baseline_items if row.finding != "BASE-GLUCOSE"
        )),
        Level.WARNING, "baseline_items", "FINDING", "BASELINE-GLUCOSE", "BASE-GLUCOSE",
    ),
    "a live vaccine of the protocol let through": (
        edit("vaccines", "X-MMR", enabled=False),
        Level.ERROR, "vaccines", "CONTRAINDICATION", "X-MMR", "J07BD52",
    ),
}  # fmt: skip


@cache
def published() -> RuleBook:
    draft = having(
        sound(),
        "contraindications",
        barred("X-SEED", "CONGENITAL_LONG_QT", "EVENT", origin=Origin.SEED),
        barred("X-LABEL", "everolimus", origin=Origin.LABEL, citations=("LABEL-HK",)),
    )
    draft = edited(draft, "starting_doses", "W-1", origin=Origin.SEED)
    draft = edited(draft, "level_bands", "B-3", origin=Origin.SEED)
    draft = edited(draft, "interactions", "STRONG_INHIBITOR_AZOLE-ON", origin=Origin.SEED)
    draft = having(
        draft,
        "drug_classes",
        DrugClassRow(
            code="X-CLASS",
            drug="azathioprine",
            seed_class="CONTRAINDICATED",
            **(OWN | {"origin": Origin.SEED}),
        ),
    )
    mmr = VaccineRow(code="X-MMR", atc="J07BD52", name="MMR", **(OWN | {"origin": Origin.SEED}))
    return having(draft, "vaccines", mmr)


def test_a_book_against_itself_takes_nothing_back() -> None:
    assert lint(published(), published=published()) == lint(published())


@pytest.mark.parametrize("name", TAKEN_BACK)
def test_what_a_draft_takes_back_is_named_with_old_and_new(name: str) -> None:
    change, level, table, check, row, value = TAKEN_BACK[name]
    draft = change(published())
    found = set(lint(draft, published=published())) - set(lint(draft))
    assert (level, table, check, row, value) in {
        (each.level, each.table, each.check, each.row, each.value) for each in found
    }, found
    for each in found:
        assert each.message.endswith(".")
        assert "None" not in each.message


def test_a_drug_may_be_barred_by_another_table() -> None:
    moved = having(
        edited(published(), "drug_classes", "X-CLASS", enabled=False),
        "contraindications",
        barred("X-1", "azathioprine"),
    )
    assert not errors(moved, published())


def test_a_book_of_the_first_form_lacks_statements_and_nothing_else() -> None:
    assert {each.check for each in errors(first_book())} == {"COVERAGE"}


def test_the_answer_is_sorted_and_the_same_in_any_order_of_rows() -> None:
    draft = published()
    for change, *_ in list(DEFECTS.values())[:30]:
        try:
            draft = change(draft)
        except (AssertionError, ValueError):
            continue
    found = lint(draft, published=published())
    assert found == tuple(sorted(found, key=lambda each: (each.level is not Level.ERROR,)))
    turned = replace(
        draft, **{table: tuple(reversed(rows)) for table, rows in draft.tables().items()}
    )
    numeric = {"level_bands", "dose_steps", "thresholds", "numbers"}
    assert {each for each in found if each.table in numeric} == {
        each for each in lint(turned, published=published()) if each.table in numeric
    }


def engine_words() -> re.Pattern[str]:
    """Every text in the engine, and every code that it puts together out of parts."""
    said = set()
    for path in sorted((ROOT / "dosing/rules/engine").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                said.add(re.escape(node.value))
            elif isinstance(node, ast.JoinedStr):
                parts = [
                    part.value if isinstance(part, ast.Constant) else None for part in node.values
                ]
                if re.fullmatch("[A-Z0-9-]{3,}", "".join(str(part or "") for part in parts)):
                    said.add("".join("[A-Z0-9-]+" if part is None else str(part) for part in parts))
    return re.compile("|".join(sorted(said)))


def test_no_finding_number_series_or_quantity_of_the_shipped_book_is_idle() -> None:
    shipped, spoken = book(), engine_words()
    led_to = {
        row.finding
        for rows in (
            shipped.baseline_items,
            shipped.schedules,
            shipped.contraindications,
            shipped.thresholds,
        )
        for row in rows
    }
    named = (
        {row.code for row in shipped.findings} - led_to
        | {row.code for row in shipped.numbers}
        | {row.series for row in shipped.due_tests}
        | {row.quantity for row in shipped.thresholds}
        | {row.regimen for row in shipped.companion_regimens}
        | {row.stage for row in shipped.local_targets}
    )
    assert {each for each in named if not spoken.fullmatch(each)} == set()


def test_twenty_thousand_rows_are_proved_in_seconds() -> None:
    rows = tuple(
        threshold(f"K-{number}", "potassium", str(number), str(number + 1), "[)", "mmol/L")
        for number in range(20_000)
    )
    found = errors(replace(sound(), thresholds=rows))
    assert [(each.row, each.value) for each in found] == [("K-19999", "from 20000 mmol/L on")]


# What is credited to the protocol stands in a book that was delivered.


def of_release() -> RuleBook:
    return toml_book.delivered()[-1]


def credited(book: RuleBook) -> set[tuple[str, str, str]]:
    found = lint(book, delivered=toml_book.delivered())
    return {
        (each.check, each.row, each.value)
        for each in found
        if each.check in ("SEED-VALUE", "SEED-UNKNOWN")
    }


def with_row(book: RuleBook, table: str, code: str, **changes: Any) -> RuleBook:
    rows = tuple(
        replace(row, **changes) if row.code == code else row for row in book.tables()[table]
    )
    return replace(book, **{table: rows})


def test_the_delivered_books_are_credited_rightly() -> None:
    for rules in toml_book.delivered():
        assert not credited(rules)


def test_no_row_is_relabelled_to_come_from_the_protocol() -> None:
    """Whatever the book in force says: the delivered ones tell what the protocol's rows are."""
    quarter = with_row(of_release(), "interactions", "AZOLES-STARTED", denominator=4)
    assert credited(quarter) == {("SEED-VALUE", "AZOLES-STARTED", "1/3 → 1/4")}
    local = with_row(quarter, "interactions", "AZOLES-STARTED", origin=Origin.LOCAL)
    assert not credited(local)
    assert not credited(with_row(quarter, "interactions", "AZOLES-STARTED", enabled=False))
    relabelled = with_row(
        of_release(), "interactions", "LABEL-STRONG-STARTED", origin=Origin.SEED, enabled=True
    )
    assert credited(relabelled) == {("SEED-UNKNOWN", "LABEL-STRONG-STARTED", "SEED")}


def test_a_row_of_the_protocol_may_say_less() -> None:
    fewer = with_row(
        of_release(), "interactions", "AZOLES-STARTED", drugs=("posaconazole", "itraconazole")
    )
    assert not credited(fewer)


def test_a_clinics_number_goes_back_to_the_protocols() -> None:
    half = with_row(
        of_release(),
        "interactions",
        "AZOLES-STARTED",
        denominator=2,
        origin=Origin.GUIDELINE,
        source="A guideline.",
    )
    found = lint(of_release(), published=half, delivered=toml_book.delivered())
    assert not [each for each in found if each.level is Level.ERROR]


@pytest.mark.parametrize(
    ("table", "code", "changes"),
    [
        ("numbers", "KIDNEY-CHRONIC-MONTHS", {"value": Decimal(121)}),
        ("numbers", "STEADY-STATE-HOURS", {"value": Decimal(87_601)}),
        ("numbers", "DOSE-STABLE-DAYS", {"value": Decimal(3651)}),
        ("numbers", "CALCIUM-MOLAR-MASS", {"value": Decimal(0)}),
        ("due_tests", "ECG-AFTER-CHANGE-1", {"latest_day": 3651}),
    ],
)
def test_a_time_that_leaves_the_calendar_or_a_zero_to_divide_by_is_refused(
    table: str, code: str, changes: dict[str, Any]
) -> None:
    found = lint(with_row(of_release(), table, code, **changes))
    assert code in {each.row for each in found if each.level is Level.ERROR}


def test_an_interval_or_a_look_back_of_more_than_ten_years_is_refused() -> None:
    for table, field in (("schedules", "every_days"), ("baseline_items", "look_back_days")):
        row = of_release().tables()[table][0]
        found = lint(with_row(of_release(), table, row.code, **{field: 3651}))
        assert row.code in {each.row for each in found if each.check == "RANGE"}
