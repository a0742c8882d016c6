"""The patients of the demonstration: invented people, told through the services day by day."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from dosing.checks import Answer, AnswerReason, Prescription, Product, questions
from dosing.companion.steps import CompanionPrescription
from dosing.models import (
    Assessment,
    CompanionOrder,
    Factor,
    Formulation,
    Intent,
    ReasonCode,
    Regimen,
)
from dosing.selectors import current_regimen
from dosing.services import (
    assess_patient,
    hold_regimen,
    order_companion,
    order_dose,
    start_regimen,
    stop_regimen,
    taper_companion,
)
from monitoring.services import review_patient
from patients.models import Analyte, CoMedication
from patients.selectors import drug_named
from patients.services import (
    Result,
    change_co_medication_dose,
    correct_patient,
    record_co_medication,
    record_event,
    record_immunisation,
    record_observations,
    register_patient,
    stop_co_medication,
)
from tacroweb.accounts.models import Clinic
from tacroweb.audit.signature import Signature

# A complete baseline (S16-S22) without anything remarkable.
PANEL = {
    "wbc": ("7.1", "10*3/uL"),
    "neutrophils": ("4.4", "10*3/uL"),
    "lymphocytes": ("1.5", "10*3/uL"),
    "haemoglobin": ("12.9", "g/dL"),
    "platelets": ("240", "10*3/uL"),
    "creatinine": ("0.8", "mg/dL"),
    "bun": ("14", "mg/dL"),
    "alt": ("24", "U/L"),
    "ast": ("22", "U/L"),
    "bilirubin": ("0.6", "mg/dL"),
    "glucose": ("96", "mg/dL"),
    "potassium": ("4.2", "mmol/L"),
    "magnesium": ("2.0", "mg/dL"),
    "calcium": ("9.2", "mg/dL"),
    "cholesterol": ("180", "mg/dL"),
    "triglycerides": ("110", "mg/dL"),
    "systolic-bp": ("122", "mm[Hg]"),
    "diastolic-bp": ("74", "mm[Hg]"),
}
# What is drawn and measured at a visit beside the level (S29-S32, S34, S35).
VISIT = {
    key: value
    for key, value in PANEL.items()
    if key not in ("calcium", "cholesterol", "triglycerides")
}
UNITS = {key: unit for key, (_, unit) in PANEL.items()} | {
    "hba1c": "%",
    "fvc-percent": "%",
    "dlco-percent": "%",
    "six-minute-walk": "m",
    "quality-of-life": "{score}",
    "qtcf": "ms",
}
MYOSITIS = {
    "ild": True,
    "sard": "IIM",
    "subtype": "CADM",
    "anti_mda5": True,
    "severe_at_presentation": True,
    "rapidly_progressive": False,
    "line": "FIRST",
}
STORIES_BEGAN = 400  # days ago; nobody held a role before
DRAWN, RECORDED, SIGNED = time(7, 40), time(13, 0), time(15, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """The clinic, its people's hands, its vocabulary and the present moment."""

    clinic: Clinic
    prescriber: Callable[[], Signature]
    nurse: Callable[[], Signature]
    analytes: dict[str, Analyte]
    now: datetime


class Chart:
    """One patient. Days are counted back from now; each act is reviewed as it would have been."""

    def __init__(
        self,
        team: Team,
        days: int,
        name: str,
        mrn: str,
        born: date,
        sex: str,
        weight_kg: str,
        height_cm: str,
        *,
        disease: dict[str, Any] | None = None,
        **registered: Any,
    ) -> None:
        self.team = team
        family, given = name.split(", ")
        woman = sex == "FEMALE"
        at = self.when(days, RECORDED)
        measured = {"weight": (weight_kg, "kg"), "height": (height_cm, "cm")}
        self.patient = register_patient(
            clinic=team.clinic,
            mrn=mrn,
            family_name=family,
            given_name=given,
            birth_date=born,
            sex=sex,
            diagnosis=MYOSITIS if disease is None else disease,
            results=self._results(measured, self.when(days, DRAWN)),
            at=at,
            by=team.nurse(),
            **(
                {
                    "pregnancy": "NO" if woman else "",
                    "lactating": False if woman else None,
                    "infection_risk": "STANDARD",
                    "hcv_antiviral_course": False,
                    "allergy_status": "NONE_KNOWN",
                }
                | registered
            ),
        )

    def when(self, days: int, clock: time) -> datetime:
        """The clinic's clock so many days ago, and never later than now."""
        zone = self.team.clinic.zone
        today = self.team.now.astimezone(zone).date()
        moment = datetime.combine(today - timedelta(days=days), clock, zone)
        return min(moment, self.team.now)

    def day(self, days: int) -> date:
        """The clinic's day so many days ago."""
        return self.when(days, DRAWN).date()

    def results(self, days: int, values: dict[str, tuple[str, str]]) -> None:
        """Results of one morning, recorded by the nurse at noon."""
        at = self.when(days, RECORDED)
        by = self.team.nurse()
        results = self._results(values, self.when(days, DRAWN))
        record_observations(patient=self.patient, results=results, at=at, by=by)
        self._review(at, by)

    def _results(self, values: dict[str, tuple[str, str]], drawn_at: datetime) -> list[Result]:
        return [
            Result(analyte=self.team.analytes[key], entered=value, unit=unit, drawn_at=drawn_at)
            for key, (value, unit) in values.items()
        ]

    def panel(self, days: int, *, without: tuple[str, ...] = (), **changed: str) -> None:
        """A whole baseline, less what was not done, and further values."""
        values = {key: value for key, value in PANEL.items() if key not in without}
        self.results(days, values | _with_units(changed))

    def level(
        self,
        days: int,
        value: str,
        *,
        hours: str | None = "12",
        visit: bool = False,
        **checks: str,
    ) -> None:
        """A tacrolimus level in ng/mL, hours after the dose, and values beside it: those given, and
        at a `visit` whatever is drawn and measured there."""
        at = self.when(days, RECORDED)
        by = self.team.nurse()
        drawn_at = self.when(days, DRAWN)
        level = Result(
            analyte=self.team.analytes["tacrolimus-trough"],
            entered=value,
            unit="ng/mL",
            drawn_at=drawn_at,
            hours_since_dose=Decimal(hours) if hours else None,
            assay="LC-MS/MS",
        )
        beside = (VISIT if visit else {}) | _with_units(checks)
        record_observations(
            patient=self.patient,
            results=[level, *self._results(beside, drawn_at)],
            at=at,
            by=by,
        )
        self._review(at, by)

    def takes(
        self, days: int, drug: str, mg: str | None = None, *, route: str = "ORAL", since: int = 0
    ) -> CoMedication:
        """A drug begun on that day, or `since` so many days ago and only now recorded."""
        at = self.when(days, RECORDED)
        by = self.team.prescriber()
        row = record_co_medication(
            patient=self.patient,
            drug=drug_named(drug),
            unlisted_name="" if drug_named(drug) else drug,
            route=route,
            daily_dose_mg=Decimal(mg) if mg else None,
            started_on=self.day(since or days),
            at=at,
            by=by,
        )
        self._review(at, by)
        return row

    def dose(self, days: int, drug: CoMedication, mg: str) -> None:
        """Another daily dose of a drug from that day on."""
        at = self.when(days, RECORDED)
        by = self.team.prescriber()
        change_co_medication_dose(
            co_medication=drug, daily_dose_mg=Decimal(mg), on=self.day(days), at=at, by=by
        )
        self._review(at, by)

    def stops(self, days: int, drug: CoMedication) -> None:
        """A drug taken for the last time on that day."""
        at = self.when(days, RECORDED)
        by = self.team.prescriber()
        stop_co_medication(co_medication=drug, stopped_on=self.day(days), at=at, by=by)
        self._review(at, by)

    def event(self, days: int, kind: str, grade: int, note: str) -> None:
        """Something that happened and is not over."""
        at = self.when(days, RECORDED)
        by = self.team.nurse()
        record_event(
            patient=self.patient,
            kind=kind,
            grade=grade,
            started_on=self.day(days),
            note=note,
            at=at,
            by=by,
        )
        self._review(at, by)

    def vaccine(self, days: int, name: str, *, planned_in: int) -> None:
        """A vaccine that is planned for so many days after that day."""
        at = self.when(days, RECORDED)
        by = self.team.nurse()
        record_immunisation(
            patient=self.patient,
            vaccine=name,
            planned_on=self.day(days) + timedelta(days=planned_in),
            at=at,
            by=by,
        )
        self._review(at, by)

    def registered(self, days: int, **changes: Any) -> None:
        """What was told of the patient's circumstances on that day."""
        at = self.when(days, RECORDED)
        by = self.team.nurse()
        correct_patient(patient=self.patient, at=at, by=by, **changes)
        self._review(at, by)

    def companion(self, days: int, step: str, dose: str | None = None) -> CompanionOrder:
        """A step of a companion regimen ordered on that day."""
        at = self.when(days, SIGNED)
        by = self.team.prescriber()
        intent = Intent.REVIEW if current_regimen(self.patient) else Intent.START
        assessment = self.assess(days, intent)
        order = order_companion(
            patient=self.patient,
            step=step,
            prescription=_companion(assessment, dose),
            assessment=assessment,
            factor=Factor.PASSWORD,
            at=at,
            by=by,
        )
        self._review(at, by)
        return order

    def taper(self, days: int, order: CompanionOrder, dose: str) -> CompanionOrder:
        """The next dose of an order of companion treatment."""
        at = self.when(days, SIGNED)
        by = self.team.prescriber()
        assessment = self.assess(days, Intent.REVIEW)
        tapered = taper_companion(
            order=order,
            prescription=_companion(assessment, dose),
            assessment=assessment,
            factor=Factor.PASSWORD,
            at=at,
            by=by,
        )
        self._review(at, by)
        return tapered

    def start(
        self, days: int, total: str = "", why: str = "", *, target: tuple[str, ...] = ()
    ) -> None:
        """Start Prograf as proposed, or with another total a day and why.

        `target` is the patient's own: low and high in ng/mL and the reason for it.
        """
        own: dict[str, Any] = {}
        if target:
            own["target_low_ng_per_ml"] = Decimal(target[0])
            own["target_high_ng_per_ml"] = Decimal(target[1])
            own["target_reason"] = target[2]
        at = self.when(days, SIGNED)
        by = self.team.prescriber()
        assessment = self.assess(days, Intent.START)
        start_regimen(
            patient=self.patient,
            product=Product(formulation=Formulation.IR, brand="Prograf", **own),
            prescription=_prescription(assessment, ReasonCode.START, total, why),
            assessment=assessment,
            factor=Factor.PASSWORD,
            at=at,
            by=by,
        )
        self._review(at, by)

    def order(self, days: int, code: ReasonCode, total: str = "", why: str = "") -> None:
        """Change the dose as proposed, or to another total a day and why."""
        at = self.when(days, SIGNED)
        by = self.team.prescriber()
        assessment = self.assess(days, Intent.REVIEW)
        order_dose(
            regimen=self._regimen(),
            prescription=_prescription(assessment, code, total, why),
            assessment=assessment,
            factor=Factor.PASSWORD,
            at=at,
            by=by,
        )
        self._review(at, by)

    def hold(self, days: int, code: ReasonCode, why: str) -> None:
        """Pause tacrolimus."""
        at = self.when(days, SIGNED)
        by = self.team.prescriber()
        hold_regimen(
            regimen=self._regimen(),
            reason_code=code,
            reason_text=why,
            assessment=self.assess(days, Intent.REVIEW),
            factor=Factor.PASSWORD,
            at=at,
            by=by,
        )
        self._review(at, by)

    def stop(self, days: int, code: ReasonCode, why: str) -> None:
        """End tacrolimus."""
        at = self.when(days, SIGNED)
        by = self.team.prescriber()
        stop_regimen(
            regimen=self._regimen(),
            reason_code=code,
            reason_text=why,
            factor=Factor.PASSWORD,
            at=at,
            by=by,
        )
        self._review(at, by)

    def assess(self, days: int, intent: Intent) -> Assessment:
        """Ask the protocol, as the prescriber does before a signature."""
        at = self.when(days, SIGNED)
        by = self.team.prescriber()
        return assess_patient(patient=self.patient, intent=intent, at=at, by=by)

    def _regimen(self) -> Regimen:
        regimen = current_regimen(self.patient)
        assert regimen is not None  # noqa: S101  # the story started it
        return regimen

    def _review(self, at: datetime, by: Signature) -> None:
        """What follows from the act, by the same hand and request, as on a page."""
        review_patient(
            patient=self.patient, at=at, by=by.because("Review after a change of the record")
        )


def _with_units(values: dict[str, str]) -> dict[str, tuple[str, str]]:
    """Values by analyte, each with the unit that it is reported in here."""
    named = {key.replace("_", "-"): value for key, value in values.items()}
    return {key: (value, UNITS[key]) for key, value in named.items()}


def _companion(assessment: Assessment, dose: str | None) -> CompanionPrescription:
    return CompanionPrescription(
        dose=Decimal(dose) if dose else None,
        answers={
            question.key: Answer(reason=AnswerReason.WILL_MONITOR)
            for question in questions(assessment.advice)
        },
    )


def _prescription(assessment: Assessment, code: ReasonCode, total: str, why: str) -> Prescription:
    """The proposed dose, or `total` mg/day in two doses of 0.5 mg capsules, the larger first."""
    advice = assessment.advice
    proposal = advice["proposal"]
    if total:
        steps = int(Decimal(total) * 2)
        evening = Decimal(steps // 2) / 2
        morning = Decimal(total) - evening
    else:
        morning, evening = Decimal(proposal["morning_mg"]), Decimal(proposal["evening_mg"])
    reason = AnswerReason.WILL_MONITOR if why else AnswerReason.ACTED_ON
    return Prescription(
        morning_mg=morning,
        evening_mg=evening,
        reason_code=code,
        reason_text=why,
        answers={question.key: Answer(reason=reason) for question in questions(advice)},
        confirmed=True,
    )


def tell_first(team: Team) -> None:
    """The first clinic: one long course, and one patient for each thing there is to decide."""
    _long_course(team)
    _voriconazole_yesterday(team)
    _trough_waiting(team)
    _mistimed(team)
    _held(team)
    _overdue(team)
    _titration(team)
    _inducer(team)
    _own_target(team)
    _about_to_start(team)
    _ready(team)
    _outside(team)
    _systemic_sclerosis(team)
    _stopped(team)
    _creatinine_doubled(team)
    _tapering(team)
    _first_year(team)
    chart = _steady(
        team, "Lindqvist, Henrik", "0038820164", date(1958, 9, 2), "MALE", "84", "181", "6.6"
    )
    chart.vaccine(4, "yellow fever", planned_in=24)
    chart = _steady(
        team, "Moreau, Claire", "0040115538", date(1991, 5, 27), "FEMALE", "58", "165", "8.1"
    )
    chart.registered(6, pregnancy="YES", contraception=False)
    chart = _steady(
        team, "Petrov, Anton", "0039277410", date(1969, 11, 8), "MALE", "77", "176", "5.8"
    )
    chart.results(2, _with_units({"qtcf": "490", "potassium": "3.9", "magnesium": "1.7"}))


def tell_second(team: Team) -> None:
    """The second clinic: other patients behind the wall."""
    _steady(team, "Evans, Rhys", "5550100231", date(1961, 2, 17), "MALE", "79", "174", "7.2")
    _steady(team, "Kaur, Simran", "5550100478", date(1976, 8, 30), "FEMALE", "63", "160", "6.1")
    chart = Chart(
        team, 6, "Murphy, Aoife", "5550100509", date(1983, 12, 5), "FEMALE", "66", "168"
    )  # fmt: skip
    chart.takes(6, "prednisolone", "50")
    chart.panel(4, without=("cholesterol", "triglycerides"))


def _long_course(team: Team) -> None:
    """Eight months: titration, voriconazole, rifampicin, diltiazem; in target today."""
    chart = Chart(
        team, 252, "Okafor, Amara", "0041182207", date(1971, 3, 14), "FEMALE", "61.5", "162",
        allergy_status="RECORDED", allergies="Penicillin (rash)",
    )  # fmt: skip
    steroid = chart.takes(252, "prednisolone", "40")
    chart.takes(252, "co-trimoxazole", "480")
    chart.panel(248, fvc_percent="64", dlco_percent="48")
    chart.start(245, "2", "Low fixed start: creatinine rose on cyclosporine elsewhere.")
    chart.level(240, "3.3")
    chart.order(240, ReasonCode.LEVEL_LOW)
    chart.level(233, "4.4", potassium="4.4", creatinine="0.8")
    chart.order(233, ReasonCode.LEVEL_LOW)
    chart.level(226, "4.1")
    chart.order(226, ReasonCode.LEVEL_LOW)
    chart.level(219, "6.3")
    chart.level(205, "7.1", potassium="4.5", creatinine="0.9")
    chart.stops(204, steroid)
    steroid = chart.takes(204, "prednisolone", "20")
    chart.level(191, "6.8")
    chart.level(177, "7.4")
    azole = chart.takes(174, "voriconazole", "400")
    chart.order(174, ReasonCode.INHIBITOR_STARTED)
    chart.level(172, "14.6")
    chart.level(170, "12.1")
    chart.level(165, "9.4", potassium="4.9", creatinine="1.1")
    chart.level(156, "8.2", fvc_percent="68", dlco_percent="51")
    chart.level(142, "7.7")
    chart.stops(133, azole)
    rifampicin = chart.takes(132, "rifampin", "600")
    chart.order(
        132, ReasonCode.INHIBITOR_STOPPED, "3.5", "Back towards 4 mg; rifampicin begins as well."
    )
    chart.level(130, "3.9")
    chart.level(121, "4.2")
    chart.stops(118, rifampicin)
    chart.level(107, "4.6")
    chart.order(105, ReasonCode.LEVEL_LOW, "4", "Rifampicin wears off; 4.6 with two more weeks.")
    chart.stops(94, steroid)
    chart.takes(94, "prednisolone", "7.5")
    chart.level(93, "6.4")
    chart.panel(93, potassium="4.6", creatinine="0.9", cholesterol="212", triglycerides="168")
    chart.level(72, "7.0", hours=None, fvc_percent="71", dlco_percent="55")
    chart.takes(70, "diltiazem", "120")
    chart.level(51, "9.8")
    chart.order(48, ReasonCode.OTHER, "3", "Upper end of the target on diltiazem; trough rising.")
    chart.level(37, "7.3", potassium="4.7", creatinine="0.9")
    chart.level(10, "7.0")
    chart.panel(
        10, potassium="5.3", creatinine="0.9", cholesterol="205", triglycerides="151", hba1c="5.5"
    )
    chart.results(10, {"weight": ("62.0", "kg"), "egfr": ("74", "mL/min/{1.73_m2}")})


def _voriconazole_yesterday(team: Team) -> None:
    """J2: cut to one third yesterday, the early trough to come."""
    chart = Chart(
        team, 75, "Nakamura, Aiko", "0042930715", date(1979, 6, 21), "FEMALE", "54", "158"
    )  # fmt: skip
    chart.takes(75, "prednisolone", "30")
    chart.panel(73)
    chart.start(70, "3", "Fixed start of 3 mg/day, at the upper end.")
    chart.level(63, "6.2")
    chart.level(49, "7.0", potassium="4.3", creatinine="0.7")
    chart.level(21, "6.7", potassium="4.4", creatinine="0.7")
    chart.takes(1, "voriconazole", "400")
    chart.results(1, VISIT)
    chart.order(1, ReasonCode.INHIBITOR_STARTED)


def _trough_waiting(team: Team) -> None:
    """A trough of today above the target: the dose waits for the prescriber."""
    chart = Chart(team, 48, "Brandt, Jonas", "0041670983", date(1966, 1, 30), "MALE", "80", "179")
    chart.takes(48, "prednisolone", "20")
    chart.panel(45)
    chart.start(42)
    chart.level(35, "6.9")
    chart.level(21, "8.4", potassium="4.6", creatinine="1.0")
    chart.level(0, "12.4", visit=True, potassium="5.1", creatinine="1.0")


def _mistimed(team: Team) -> None:
    """A level drawn four hours after the dose: no trough, so it changes nothing."""
    chart = Chart(
        team, 60, "Adeyemi, Folake", "0043308452", date(1985, 4, 11), "FEMALE", "70", "170"
    )  # fmt: skip
    chart.takes(60, "prednisolone", "25")
    chart.panel(58)
    chart.start(56)
    chart.level(49, "5.9")
    chart.level(28, "6.3", potassium="4.1", creatinine="0.8")
    chart.level(0, "13.9", hours="4", visit=True)


def _held(team: Team) -> None:
    """Held three days ago for pneumonia."""
    chart = Chart(
        team, 130, "Ferreira, Luís", "0040981227", date(1955, 7, 19), "MALE", "72", "170",
        infection_risk="HIGH",
    )  # fmt: skip
    chart.takes(130, "prednisolone", "20")
    chart.takes(130, "co-trimoxazole", "480")
    chart.panel(127, creatinine="1.0", fvc_percent="70", dlco_percent="52")
    chart.start(123, "3", "Fixed start; infections last winter.")
    chart.level(115, "5.4")
    chart.level(87, "6.6", potassium="4.7", creatinine="1.1")
    chart.level(31, "7.5", potassium="4.8", creatinine="1.1", fvc_percent="71", dlco_percent="54")
    chart.event(3, "INFECTION", 3, "Pneumonia, admitted, intravenous antibiotics")
    chart.panel(3, creatinine="1.1", potassium="4.7", wbc="12.8", neutrophils="10.1", hba1c="5.9")
    chart.hold(3, ReasonCode.INFECTION, "Until the pneumonia is under control.")


def _overdue(team: Team) -> None:
    """Started twelve days ago, and no trough has come."""
    chart = Chart(
        team, 16, "Novák, Petra", "0043551190", date(1972, 10, 3), "FEMALE", "65", "167"
    )  # fmt: skip
    chart.takes(16, "prednisolone", "40")
    chart.panel(14)
    chart.start(12)


def _titration(team: Team) -> None:
    """Raised four days ago after a low trough; the next one is due."""
    chart = Chart(team, 22, "Yilmaz, Deniz", "0043420876", date(1990, 3, 25), "MALE", "88", "183")
    chart.takes(22, "prednisolone", "45")
    chart.panel(20)
    chart.start(18, "4", "A little below the dose by weight, to be raised by level.")
    chart.level(11, "2.8")
    chart.order(11, ReasonCode.LEVEL_LOW)
    chart.level(4, "4.3", visit=True, potassium="4.0", creatinine="0.9")
    chart.order(4, ReasonCode.LEVEL_LOW)


def _inducer(team: Team) -> None:
    """Rifampicin since eight days, raised once, still low."""
    chart = Chart(
        team, 100, "Rossi, Giulia", "0042277034", date(1968, 12, 14), "FEMALE", "59", "163"
    )  # fmt: skip
    chart.takes(100, "prednisolone", "15")
    chart.panel(98)
    chart.start(95)
    chart.level(88, "6.4")
    chart.level(60, "6.9", potassium="4.2", creatinine="0.7")
    chart.takes(8, "rifampin", "600")
    chart.order(7, ReasonCode.INDUCER_STARTED, "6.5", "Half as much again under rifampicin.")
    chart.level(2, "3.6", visit=True, potassium="4.1", creatinine="0.7")


def _own_target(team: Team) -> None:
    """A lower target of its own, and potassium that rises beside an ACE inhibitor."""
    chart = Chart(team, 150, "Chen, Wei", "0041932208", date(1959, 5, 6), "MALE", "68", "171")
    chart.takes(150, "prednisolone", "10")
    chart.takes(150, "lisinopril", "10")
    chart.panel(148, creatinine="1.3", potassium="4.8", fvc_percent="66", dlco_percent="45")
    chart.start(
        144, "2", "Renal reserve is small.", target=("4", "7", "Creatinine 1.3 mg/dL at baseline.")
    )
    chart.level(136, "4.9")
    chart.level(108, "5.6", potassium="5.0", creatinine="1.4")
    chart.level(
        52, "6.1", visit=True, potassium="5.2", creatinine="1.4", fvc_percent="67",
        dlco_percent="46",
    )  # fmt: skip
    chart.panel(1, potassium="5.8", creatinine="1.4", hba1c="5.4")


def _about_to_start(team: Team) -> None:
    """Baseline with gaps: no potassium, no lipids."""
    chart = Chart(team, 5, "Haddad, Samir", "0043612045", date(1977, 2, 9), "MALE", "75", "177")
    chart.takes(5, "prednisolone", "60", since=12)
    chart.panel(3, without=("potassium", "cholesterol", "triglycerides"))


def _ready(team: Team) -> None:
    """A complete baseline, assessed today: ready to start."""
    chart = Chart(
        team, 9, "Kowalska, Ewa", "0043589921", date(1974, 8, 16), "FEMALE", "64", "166",
        disease=MYOSITIS | {"subtype": "ASYS", "anti_mda5": False},
    )  # fmt: skip
    chart.takes(9, "prednisolone", "50")
    chart.panel(2)
    chart.assess(0, Intent.START)


def _outside(team: Team) -> None:
    """Lung disease without a rheumatic disease: outside the protocol."""
    chart = Chart(
        team, 20, "Whitfield, George", "0043477316", date(1949, 11, 23), "MALE", "81", "175",
        disease={"ild": True, "sard": "NONE"},
    )  # fmt: skip
    chart.panel(18)


def _systemic_sclerosis(team: Team) -> None:
    """First line in systemic sclerosis: conditionally advised against."""
    chart = Chart(
        team, 14, "Silva, Marta", "0043503388", date(1981, 1, 12), "FEMALE", "57", "161",
        disease={"ild": True, "sard": "SSC", "line": "FIRST", "severe_at_presentation": False},
    )  # fmt: skip
    chart.takes(14, "mycophenolate mofetil", "2000")
    chart.panel(12)


def _stopped(team: Team) -> None:
    """A course that has ended."""
    chart = Chart(
        team, 330, "Ndlovu, Thabo", "0039904471", date(1963, 4, 2), "MALE", "86", "180"
    )  # fmt: skip
    chart.takes(330, "prednisolone", "40")
    chart.panel(328)
    chart.start(325, "3", "Fixed start.")
    chart.level(317, "5.2")
    chart.level(261, "6.0", potassium="4.5", creatinine="1.0")
    chart.level(170, "5.7", potassium="4.4", creatinine="1.0")
    chart.stop(95, ReasonCode.COMPLETED, "Stable lung function for six months.")


def _creatinine_doubled(team: Team) -> None:
    """Renal dysfunction on tacrolimus: creatinine has doubled, the target is to be lowered."""
    chart = Chart(team, 66, "Vogel, Martin", "0043102287", date(1961, 8, 14), "MALE", "79", "177")
    chart.takes(66, "prednisolone", "20")
    chart.panel(63)
    chart.start(60, "4", "Fixed start, a little above 3 mg/day.")
    chart.level(53, "7.8")
    chart.level(32, "8.9", visit=True, creatinine="1.0", potassium="4.7")
    chart.level(0, "9.6", visit=True, creatinine="1.7", bun="31", potassium="5.2")


def _tapering(team: Team) -> None:
    """Companion regimen A2, tapered twice; the last fall asks for a trough (X22)."""
    chart = Chart(
        team, 40, "Haraldsen, Ingrid", "0043217750", date(1970, 11, 2), "FEMALE", "58", "164"
    )  # fmt: skip
    chart.panel(37)
    order = chart.companion(35, "A2-TAPER", "50")
    chart.start(34)
    chart.level(27, "6.1")
    order = chart.taper(20, order, "40")
    chart.level(13, "6.8", visit=True)
    chart.taper(5, order, "30")


def _first_year(team: Team) -> None:
    """What was gained in the first year: lung function, walk, quality of life, steroid saved."""
    chart = Chart(
        team, 384, "Sandoval, Pilar", "0039611804", date(1966, 2, 3), "FEMALE", "66", "168"
    )  # fmt: skip
    steroid = chart.takes(384, "prednisolone", "40")
    chart.panel(
        380,
        hba1c="5.6",
        fvc_percent="58",
        dlco_percent="44",
        six_minute_walk="390",
        quality_of_life="52",
    )
    chart.start(376, "4", "Fixed start, a little above 3 mg/day.")
    chart.level(368, "6.4")
    chart.level(340, "7.1")
    chart.dose(310, steroid, "20")
    chart.level(
        284, "6.6", fvc_percent="65", dlco_percent="50", six_minute_walk="425", quality_of_life="60"
    )
    chart.dose(230, steroid, "10")
    chart.level(
        193, "7.4", fvc_percent="70", dlco_percent="56", six_minute_walk="455", quality_of_life="66"
    )
    chart.dose(140, steroid, "5")
    chart.level(100, "6.9", visit=True)
    chart.level(
        9, "6.8", fvc_percent="74", dlco_percent="60", six_minute_walk="480", quality_of_life="71"
    )
    chart.panel(8, creatinine="0.9", potassium="4.4", hba1c="5.5")


def _steady(
    team: Team, name: str, mrn: str, born: date, sex: str, kg: str, cm: str, trough: str
) -> Chart:
    """Months in target on an unchanged dose."""
    chart = Chart(team, 190, name, mrn, born, sex, kg, cm)
    chart.takes(190, "prednisolone", "15")
    chart.panel(187, fvc_percent="68", dlco_percent="52")
    chart.start(183)
    for days, off in ((175, "-0.7"), (147, "0.4")):
        chart.level(days, str(Decimal(trough) + Decimal(off)))
    chart.level(91, str(Decimal(trough) - Decimal("0.3")), fvc_percent="72", dlco_percent="55")
    chart.level(19, trough)
    chart.panel(18, potassium="4.4", creatinine="0.9", hba1c="5.5")
    chart.results(18, {"weight": (kg, "kg")})
    return chart
