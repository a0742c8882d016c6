"""A case and its advice as JSON, read strictly and written canonically (the case format)."""

import json
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, timezone
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Any, NoReturn, TypeVar

from dosing.rules.engine.advice import Advice, DoseProposal
from dosing.rules.engine.facts import (
    UNLISTED,
    CaseFacts,
    ClinicalEvent,
    CoMedication,
    Cyp3a5,
    Diagnosis,
    EarlierDose,
    EventKind,
    Formulation,
    Immunisation,
    InfectionRisk,
    Intent,
    Line,
    LocalApproval,
    Observation,
    Patient,
    Pregnancy,
    Regimen,
    RegimenStatus,
    Route,
    Sard,
    Sex,
    Subtype,
    VaccineRoute,
)
from dosing.rules.engine.quantities import Comparator, shown
from patients.vocabulary import UnknownUnit, plain_unit, vocabulary
from tacroweb.numbers import NumberError, format_decimal, parse_decimal, parse_result

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_INSTANT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?"
    r"(Z|[+-][0-9]{2}:[0-9]{2})"
)
_CENTURIES = ("18", "19", "20", "21")  # further out, an offset can leave the calendar

Choice = TypeVar("Choice", bound=StrEnum)
Fact = TypeVar("Fact")


class CaseError(ValueError):
    """A case that cannot be read; the message begins with the path, `case.regimen.status: …`."""


def read_json(text: str) -> object:
    """What the JSON `text` says. CaseError for bad JSON, a key that stands twice, or NaN."""
    try:
        return json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise CaseError(f"not JSON: {error}") from error
    except RecursionError as error:
        raise CaseError("not a case: nested too deeply") from error


def read_case(text: str) -> tuple[CaseFacts, datetime]:
    """The case in a file and the moment asked; a bare case, or an object whose `case` is one.

    Raises CaseError naming the path.
    """
    data = read_json(text)
    if isinstance(data, dict) and "case" in data:
        data = data["case"]
    return decode_case(data)


def decode_case(data: object, *, path: str = "case") -> tuple[CaseFacts, datetime]:
    """The facts of a case given as JSON values, and the moment asked. Raises CaseError.

    Absent and null are not known. Decimals are strings, instants carry an offset, and a key, drug,
    analyte, unit or word that is not known is an error.
    """
    try:
        given = _fields(data, _CASE, required=("at", "intent"))
        at = given.pop("at")
        unknown = {"patient": Patient(), "diagnosis": Diagnosis()}
        return _fact(CaseFacts, unknown | given), at
    except _Refused as refused:
        raise CaseError(f"{path}{refused.where}: {refused.words}") from refused.__cause__


def encode_case(case: CaseFacts, at: datetime) -> dict[str, Any]:
    """The case as JSON values; equal facts at equal moments give equal values, in the same order.

    Every instant is written in the offset of `at`.
    """
    if (ahead := at.utcoffset()) is None:
        raise ValueError("the moment of a case must carry an offset")
    offset = timezone(ahead)

    def instant(moment: datetime | None) -> str | None:
        return None if moment is None else moment.astimezone(offset).isoformat()

    patient, diagnosis, regimen = case.patient, case.diagnosis, case.regimen
    return {
        "at": instant(at),
        "intent": case.intent.value,
        "patient": {
            "birth_date": _iso(patient.birth_date),
            "sex": patient.sex,
            "weight_kg": _text(patient.weight_kg),
            "height_cm": _text(patient.height_cm),
            "pregnancy": patient.pregnancy,
            "lactating": patient.lactating,
            "infection_risk": patient.infection_risk,
            "cyp3a5": patient.cyp3a5,
            "hcv_antiviral_course": patient.hcv_antiviral_course,
            **_known(contraception=patient.contraception, child_pugh=patient.child_pugh),
        },
        "diagnosis": {
            "ild": diagnosis.ild,
            "sard": diagnosis.sard,
            "subtype": diagnosis.subtype,
            "anti_mda5": diagnosis.anti_mda5,
            "severe_at_presentation": diagnosis.severe_at_presentation,
            "rapidly_progressive": diagnosis.rapidly_progressive,
            "line": diagnosis.line,
        },
        "regimen": None
        if regimen is None
        else {
            "status": regimen.status.value,
            "formulation": regimen.formulation.value,
            "brand": regimen.brand,
            "morning_mg": _text(regimen.morning_mg),
            "evening_mg": _text(regimen.evening_mg),
            "started_on": _iso(regimen.started_on),
            "dose_since": instant(regimen.dose_since),
            "target_low_ng_per_ml": _text(regimen.target_low_ng_per_ml),
            "target_high_ng_per_ml": _text(regimen.target_high_ng_per_ml),
            "dose_before_inhibitor_mg_per_day": _text(regimen.dose_before_inhibitor_mg_per_day),
            **_known(switched_on=_iso(regimen.switched_on), switched_from=regimen.switched_from),
        },
        "co_medications": [
            {
                "drug": drug.drug,
                "name": drug.name,
                "route": drug.route,
                "started_on": _iso(drug.started_on),
                "stopped_on": _iso(drug.stopped_on),
                "planned": drug.planned,
                "daily_dose_mg": _text(drug.daily_dose_mg),
                **_known(
                    dose_changed_on=_iso(drug.dose_changed_on),
                    daily_dose_before_mg=_text(drug.daily_dose_before_mg),
                    earlier_doses=[
                        {
                            "until": _iso(dose.until),
                            "daily_dose_mg": _text(dose.daily_dose_mg),
                        }
                        for dose in drug.earlier_doses
                    ]
                    or None,
                ),
            }
            for drug in case.co_medications
        ],
        "observations": [
            {
                "analyte": seen.analyte,
                "value": f"{seen.comparator or ''}{format_decimal(seen.value)}",
                "unit": seen.unit,
                "at": instant(seen.at),
                "hours_since_dose": _text(seen.hours_since_dose),
                "last_dose_at": instant(seen.last_dose_at),
                "assay": seen.assay,
            }
            for seen in case.observations
        ],
        "events": [
            {
                "kind": event.kind.value,
                "grade": event.grade,
                "started_on": _iso(event.started_on),
                "resolved_on": _iso(event.resolved_on),
            }
            for event in case.events
        ],
        "immunisations": [
            {
                "vaccine": dose.vaccine,
                "planned_on": _iso(dose.planned_on),
                "given_on": _iso(dose.given_on),
                "route": dose.route,
            }
            for dose in case.immunisations
        ],
        **_known(
            local_approvals=[
                {
                    "row": given.row,
                    "approved_on": _iso(given.approved_on),
                    **_known(low=_text(given.low), high=_text(given.high)),
                }
                for given in case.local_approvals
            ]
            or None
        ),
    }


def encode_advice(advice: Advice) -> dict[str, Any]:
    """The advice as JSON values, in the words and the order of the case format."""
    return {
        "rule_book": advice.rule_book,
        "at": advice.at.isoformat(),
        "outcome": advice.outcome.value,
        "findings": [
            {
                "code": found.code,
                "statements": list(found.statements),
                "severity": found.severity.name,
                "message": found.message,
                "source": found.source,
                "origin": found.origin.value,
                "inputs": dict(found.inputs),
                "proposal": _proposal(found.proposal),
            }
            for found in advice.findings
        ],
        "proposal": _proposal(advice.proposal),
        "due_tests": [
            {
                "analyte": test.analyte,
                "earliest": test.earliest.isoformat(),
                "due": test.due.isoformat(),
                "latest": test.latest.isoformat(),
                "statements": list(test.statements),
            }
            for test in advice.due_tests
        ],
    }


def written(data: object) -> str:
    """JSON values as one line of text; the same values always give the same bytes."""
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _known(**given: object) -> dict[str, object]:
    """The keys that came after rule book 2026-01: written only where they say something, so that
    a case of that time is still written to the same bytes."""
    return {key: value for key, value in given.items() if value is not None}


def _proposal(given: DoseProposal | None) -> dict[str, str | None] | None:
    if given is None:
        return None
    return {
        "action": given.action.value,
        "morning_mg": _dose(given.morning_mg),
        "evening_mg": _dose(given.evening_mg),
        "total_daily_mg": _dose(given.total_daily_mg),
        "arithmetic": given.arithmetic,
    }


def _dose(value: Decimal | None) -> str | None:
    return None if value is None else shown(value, at_least=1)


def _text(value: Decimal | None) -> str | None:
    return None if value is None else format_decimal(value)


def _iso(value: date | None) -> str | None:
    return None if value is None else value.isoformat()


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise CaseError(f"{key}: stands twice in one object")
        found[key] = value
    return found


def _no_constant(word: str) -> NoReturn:
    raise CaseError(f"{word} is not a value")


class _Refused(Exception):
    """A value that cannot be read: what is wrong, and where, seen from where it is caught.

    The path grows while the error rises, so that a case without one pays for none.
    """

    def __init__(self, words: str, where: str = "") -> None:
        super().__init__(words)
        self.words, self.where = words, where

    def under(self, step: str) -> "_Refused":
        """The same one step further out."""
        self.where = f"{step}{self.where}"
        return self


Readers = Mapping[str, Callable[[Any], Any]]


def _fields(data: object, readers: Readers, *, required: tuple[str, ...] = ()) -> dict[str, Any]:
    """The values of a JSON object that are there; a key without a reader is not known."""
    if not isinstance(data, dict):
        raise _Refused("must be an object")
    given = {}
    for key, value in data.items():
        if (read := readers.get(key)) is None:
            raise _Refused("unknown key", f".{key}")
        if value is not None:
            try:
                given[key] = read(value)
            except _Refused as refused:
                raise refused.under(f".{key}") from refused.__cause__
    for key in required:
        if key not in given:
            raise _Refused("is required", f".{key}")
    return given


def _fact(fact: Callable[..., Fact], given: dict[str, Any]) -> Fact:
    """The fact; what is impossible is told."""
    try:
        return fact(**given)
    except ValueError as error:
        raise _Refused(str(error)) from error


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise _Refused("must be a text in quotes")
    if not value or value.isspace():
        raise _Refused("must not be empty")
    return value


def _bool(value: object) -> bool:
    if not isinstance(value, bool):
        raise _Refused("must be true or false")
    return value


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _Refused("must be a whole number")
    return value


def _decimal(value: object) -> Decimal:
    try:
        return parse_decimal(_string(value))
    except NumberError as error:
        raise _Refused(str(error)) from error


def _day(value: object) -> date:
    text = _string(value)
    try:
        if _DAY.fullmatch(text) and text[:2] in _CENTURIES:
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise _Refused("must be a day such as 2026-03-02")


def _instant(value: object) -> datetime:
    text = _string(value)
    try:
        if _INSTANT.fullmatch(text) and text[:2] in _CENTURIES:
            return datetime.fromisoformat(text)
    except ValueError:
        pass
    raise _Refused("must be an instant with its offset, such as 2026-03-02T09:00:00+01:00")


def _one_of(words: type[Choice]) -> Callable[[object], Choice]:
    by_value = {word.value: word for word in words}

    def read(value: object) -> Choice:
        text = _string(value)
        if (word := by_value.get(text)) is None:
            raise _Refused(f"unknown word {text!r}; one of {' '.join(by_value)}")
        return word

    return read


def _list_of(read: Callable[[object], Fact]) -> Callable[[object], tuple[Fact, ...]]:
    def read_all(value: object) -> tuple[Fact, ...]:
        if not isinstance(value, list):
            raise _Refused("must be a list")
        found: list[Fact] = []
        try:
            for each in value:
                found.append(read(each))
        except _Refused as refused:
            raise refused.under(f"[{len(found)}]") from refused.__cause__
        return tuple(found)

    return read_all


def _patient(data: object) -> Patient:
    return _fact(Patient, _fields(data, _PATIENT))


def _diagnosis(data: object) -> Diagnosis:
    return _fact(Diagnosis, _fields(data, _DIAGNOSIS))


def _regimen(data: object) -> Regimen:
    required = ("status", "formulation", "morning_mg", "evening_mg")
    return _fact(Regimen, _fields(data, _REGIMEN, required=required))


def _earlier_dose(data: object) -> EarlierDose:
    return _fact(EarlierDose, _fields(data, _EARLIER_DOSE, required=("until", "daily_dose_mg")))


def _co_medication(data: object) -> CoMedication:
    given = _fields(data, _CO_MEDICATION, required=("drug",))
    if (written_name := given["drug"]) != UNLISTED:
        known = vocabulary().drug(written_name)
        if known is None:
            raise _Refused(f'unknown drug "{written_name}"', ".drug")
        given["drug"], given["ingredients"] = known.name, known.ingredients
    return _fact(CoMedication, given)


def _observation(data: object) -> Observation:
    """One result. The same ones stand in case after case of a patient, and are read once."""
    if not isinstance(data, dict):
        raise _Refused("must be an object")
    items = tuple(data.items())
    try:
        return _read_once(items)
    except TypeError:  # a list or an object, which no key of a result takes
        return _result(items)


def _result(items: tuple[tuple[str, object], ...]) -> Observation:
    given = _fields(dict(items), _OBSERVATION, required=("analyte", "value", "unit", "at"))
    key = given["analyte"]
    analyte = vocabulary().analyte(key)
    if analyte is None or analyte.key != key:
        raise _Refused(f'unknown analyte "{key}"', ".analyte")
    try:
        comparator, given["value"] = parse_result(given["value"])
    except NumberError as error:
        raise _Refused(str(error), ".value") from error
    try:
        given["canonical"] = analyte.exactly(given["value"], given["unit"])
    except UnknownUnit as error:
        raise _Refused(str(error), ".unit") from error
    given["comparator"] = None if comparator is None else Comparator(comparator)
    given["unit"] = plain_unit(given["unit"])
    return _fact(Observation, given)


_read_once = lru_cache(maxsize=8_192)(_result)


def _event(data: object) -> ClinicalEvent:
    return _fact(ClinicalEvent, _fields(data, _EVENT, required=("kind",)))


def _immunisation(data: object) -> Immunisation:
    given = _fields(data, _IMMUNISATION, required=("vaccine",))
    written_name = given["vaccine"]
    known = vocabulary().vaccine(written_name)
    if known is None:
        raise _Refused(f'unknown vaccine "{written_name}"', ".vaccine")
    given |= {"vaccine": known.name, "atc": known.atc, "live": known.live}
    return _fact(Immunisation, given)


def _local_approval(data: object) -> LocalApproval:
    return _fact(LocalApproval, _fields(data, _LOCAL_APPROVAL, required=("row", "approved_on")))


# How each key of the case format is read.
_PATIENT: Readers = {
    "birth_date": _day,
    "sex": _one_of(Sex),
    "weight_kg": _decimal,
    "height_cm": _decimal,
    "pregnancy": _one_of(Pregnancy),
    "lactating": _bool,
    "infection_risk": _one_of(InfectionRisk),
    "cyp3a5": _one_of(Cyp3a5),
    "hcv_antiviral_course": _bool,
    "contraception": _bool,
    "child_pugh": _whole,
}
_DIAGNOSIS: Readers = {
    "ild": _bool,
    "sard": _one_of(Sard),
    "subtype": _one_of(Subtype),
    "anti_mda5": _bool,
    "severe_at_presentation": _bool,
    "rapidly_progressive": _bool,
    "line": _one_of(Line),
}
_REGIMEN: Readers = {
    "status": _one_of(RegimenStatus),
    "formulation": _one_of(Formulation),
    "brand": _string,
    "morning_mg": _decimal,
    "evening_mg": _decimal,
    "started_on": _day,
    "dose_since": _instant,
    "target_low_ng_per_ml": _decimal,
    "target_high_ng_per_ml": _decimal,
    "dose_before_inhibitor_mg_per_day": _decimal,
    "switched_on": _day,
    "switched_from": _string,
}
_EARLIER_DOSE: Readers = {
    "until": _day,
    "daily_dose_mg": _decimal,
}
_CO_MEDICATION: Readers = {
    "drug": _string,
    "name": _string,
    "route": _one_of(Route),
    "started_on": _day,
    "stopped_on": _day,
    "planned": _bool,
    "daily_dose_mg": _decimal,
    "dose_changed_on": _day,
    "daily_dose_before_mg": _decimal,
    "earlier_doses": _list_of(_earlier_dose),
}
_OBSERVATION: Readers = {
    "analyte": _string,
    "value": _string,
    "unit": _string,
    "at": _instant,
    "hours_since_dose": _decimal,
    "last_dose_at": _instant,
    "assay": _string,
}
_EVENT: Readers = {
    "kind": _one_of(EventKind),
    "grade": _whole,
    "started_on": _day,
    "resolved_on": _day,
}
_IMMUNISATION: Readers = {
    "vaccine": _string,
    "planned_on": _day,
    "given_on": _day,
    "route": _one_of(VaccineRoute),
}
_LOCAL_APPROVAL: Readers = {
    "row": _string,
    "approved_on": _day,
    "low": _decimal,
    "high": _decimal,
}
_CASE: Readers = {
    "at": _instant,
    "intent": _one_of(Intent),
    "patient": _patient,
    "diagnosis": _diagnosis,
    "regimen": _regimen,
    "co_medications": _list_of(_co_medication),
    "observations": _list_of(_observation),
    "events": _list_of(_event),
    "immunisations": _list_of(_immunisation),
    "local_approvals": _list_of(_local_approval),
}
