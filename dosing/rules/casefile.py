"""A case and its advice as JSON, read strictly and written canonically (the case format)."""

import json
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, timezone
from decimal import Decimal
from enum import StrEnum
from typing import Any, NoReturn, TypeVar

from dosing.rules.engine.advice import Advice, DoseProposal
from dosing.rules.engine.facts import (
    UNLISTED,
    CaseFacts,
    ClinicalEvent,
    CoMedication,
    Cyp3a5,
    Diagnosis,
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
from dosing.rules.engine.quantities import Comparator, Hours, Kg, Mg, MgPerDay, NgPerMl, shown
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
    case = _Table(data, path)
    at = case.required("at", _instant)
    facts = case.build(
        CaseFacts,
        intent=case.required("intent", _one_of(Intent)),
        patient=case.take("patient", _patient) or Patient(),
        diagnosis=case.take("diagnosis", _diagnosis) or Diagnosis(),
        regimen=case.take("regimen", _regimen),
        co_medications=case.take("co_medications", _list_of(_co_medication)) or (),
        observations=case.take("observations", _list_of(_observation)) or (),
        events=case.take("events", _list_of(_event)) or (),
        immunisations=case.take("immunisations", _list_of(_immunisation)) or (),
        local_approvals=case.take("local_approvals", _list_of(_local_approval)) or (),
    )
    return facts, at


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


class _Table:
    """A JSON object being read: which keys were asked for, and where it stands."""

    def __init__(self, data: object, path: str) -> None:
        if not isinstance(data, Mapping):
            raise CaseError(f"{path}: must be an object")
        self.data, self.path, self.asked = data, path, set[str]()

    def take(self, key: str, read: Callable[[object, str], Fact]) -> Fact | None:
        """The value of `key`, or None where it is absent or null."""
        self.asked.add(key)
        value = self.data.get(key)
        return None if value is None else read(value, f"{self.path}.{key}")

    def required(self, key: str, read: Callable[[object, str], Fact]) -> Fact:
        """The value of `key`; CaseError where it is absent or null."""
        value = self.take(key, read)
        if value is None:
            raise CaseError(f"{self.path}.{key}: is required")
        return value

    def close(self) -> None:
        """CaseError for a key nobody asked for."""
        if unknown := sorted(str(key) for key in set(self.data) - self.asked):
            raise CaseError(f"{self.path}.{unknown[0]}: unknown key")

    def build(self, fact: Callable[..., Fact], **given: object) -> Fact:
        """The fact, with the keys closed; what is impossible is told with the path."""
        self.close()
        try:
            return fact(**given)
        except ValueError as error:
            raise CaseError(f"{self.path}: {error}") from error


def _string(value: object, path: str) -> str:
    if not isinstance(value, str):
        raise CaseError(f"{path}: must be a text in quotes")
    if not value.strip():
        raise CaseError(f"{path}: must not be empty")
    return value


def _bool(value: object, path: str) -> bool:
    if not isinstance(value, bool):
        raise CaseError(f"{path}: must be true or false")
    return value


def _whole(value: object, path: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise CaseError(f"{path}: must be a whole number")
    return value


def _decimal(value: object, path: str) -> Decimal:
    try:
        return parse_decimal(_string(value, path))
    except NumberError as error:
        raise CaseError(f"{path}: {error}") from error


def _day(value: object, path: str) -> date:
    text = _string(value, path)
    try:
        if _DAY.fullmatch(text) and text[:2] in _CENTURIES:
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise CaseError(f"{path}: must be a day such as 2026-03-02")


def _instant(value: object, path: str) -> datetime:
    text = _string(value, path)
    try:
        if _INSTANT.fullmatch(text) and text[:2] in _CENTURIES:
            return datetime.fromisoformat(text)
    except ValueError:
        pass
    raise CaseError(
        f"{path}: must be an instant with its offset, such as 2026-03-02T09:00:00+01:00"
    )


def _one_of(words: type[Choice]) -> Callable[[object, str], Choice]:
    def read(value: object, path: str) -> Choice:
        text = _string(value, path)
        try:
            return words(text)
        except ValueError:
            known = " ".join(word.value for word in words)
            raise CaseError(f"{path}: unknown word {text!r}; one of {known}") from None

    return read


def _list_of(read: Callable[[object, str], Fact]) -> Callable[[object, str], tuple[Fact, ...]]:
    def read_all(value: object, path: str) -> tuple[Fact, ...]:
        if not isinstance(value, list):
            raise CaseError(f"{path}: must be a list")
        return tuple(read(each, f"{path}[{number}]") for number, each in enumerate(value))

    return read_all


def _patient(data: object, path: str) -> Patient:
    table = _Table(data, path)
    weight = table.take("weight_kg", _decimal)
    return table.build(
        Patient,
        birth_date=table.take("birth_date", _day),
        sex=table.take("sex", _one_of(Sex)),
        weight_kg=None if weight is None else Kg(weight),
        height_cm=table.take("height_cm", _decimal),
        pregnancy=table.take("pregnancy", _one_of(Pregnancy)),
        lactating=table.take("lactating", _bool),
        infection_risk=table.take("infection_risk", _one_of(InfectionRisk)),
        cyp3a5=table.take("cyp3a5", _one_of(Cyp3a5)),
        hcv_antiviral_course=table.take("hcv_antiviral_course", _bool),
        contraception=table.take("contraception", _bool),
        child_pugh=table.take("child_pugh", _whole),
    )


def _diagnosis(data: object, path: str) -> Diagnosis:
    table = _Table(data, path)
    return table.build(
        Diagnosis,
        ild=table.take("ild", _bool),
        sard=table.take("sard", _one_of(Sard)),
        subtype=table.take("subtype", _one_of(Subtype)),
        anti_mda5=table.take("anti_mda5", _bool),
        severe_at_presentation=table.take("severe_at_presentation", _bool),
        rapidly_progressive=table.take("rapidly_progressive", _bool),
        line=table.take("line", _one_of(Line)),
    )


def _regimen(data: object, path: str) -> Regimen:
    table = _Table(data, path)
    low = table.take("target_low_ng_per_ml", _decimal)
    high = table.take("target_high_ng_per_ml", _decimal)
    before = table.take("dose_before_inhibitor_mg_per_day", _decimal)
    return table.build(
        Regimen,
        status=table.required("status", _one_of(RegimenStatus)),
        formulation=table.required("formulation", _one_of(Formulation)),
        brand=table.take("brand", _string),
        morning_mg=Mg(table.required("morning_mg", _decimal)),
        evening_mg=Mg(table.required("evening_mg", _decimal)),
        started_on=table.take("started_on", _day),
        dose_since=table.take("dose_since", _instant),
        target_low_ng_per_ml=None if low is None else NgPerMl(low),
        target_high_ng_per_ml=None if high is None else NgPerMl(high),
        dose_before_inhibitor_mg_per_day=None if before is None else MgPerDay(before),
        switched_on=table.take("switched_on", _day),
        switched_from=table.take("switched_from", _string),
    )


def _co_medication(data: object, path: str) -> CoMedication:
    table = _Table(data, path)
    written_name = table.required("drug", _string)
    drug, ingredients = UNLISTED, tuple[str, ...]()
    if written_name != UNLISTED:
        known = vocabulary().drug(written_name)
        if known is None:
            raise CaseError(f'{path}.drug: unknown drug "{written_name}"')
        drug, ingredients = known.name, known.ingredients
    return table.build(
        CoMedication,
        drug=drug,
        ingredients=ingredients,
        name=table.take("name", _string),
        route=table.take("route", _one_of(Route)),
        started_on=table.take("started_on", _day),
        stopped_on=table.take("stopped_on", _day),
        planned=bool(table.take("planned", _bool)),
        daily_dose_mg=table.take("daily_dose_mg", _decimal),
        dose_changed_on=table.take("dose_changed_on", _day),
        daily_dose_before_mg=table.take("daily_dose_before_mg", _decimal),
    )


def _observation(data: object, path: str) -> Observation:
    table = _Table(data, path)
    key = table.required("analyte", _string)
    analyte = vocabulary().analyte(key)
    if analyte is None or analyte.key != key:
        raise CaseError(f'{path}.analyte: unknown analyte "{key}"')
    try:
        comparator, value = parse_result(table.required("value", _string))
    except NumberError as error:
        raise CaseError(f"{path}.value: {error}") from error
    unit = table.required("unit", _string)
    try:
        canonical = analyte.exactly(value, unit)
    except UnknownUnit as error:
        raise CaseError(f"{path}.unit: {error}") from error
    hours = table.take("hours_since_dose", _decimal)
    return table.build(
        Observation,
        analyte=key,
        value=value,
        unit=plain_unit(unit),
        canonical=canonical,
        comparator=None if comparator is None else Comparator(comparator),
        at=table.required("at", _instant),
        hours_since_dose=None if hours is None else Hours(hours),
        last_dose_at=table.take("last_dose_at", _instant),
        assay=table.take("assay", _string),
    )


def _event(data: object, path: str) -> ClinicalEvent:
    table = _Table(data, path)
    return table.build(
        ClinicalEvent,
        kind=table.required("kind", _one_of(EventKind)),
        grade=table.take("grade", _whole),
        started_on=table.take("started_on", _day),
        resolved_on=table.take("resolved_on", _day),
    )


def _immunisation(data: object, path: str) -> Immunisation:
    table = _Table(data, path)
    written_name = table.required("vaccine", _string)
    known = vocabulary().vaccine(written_name)
    if known is None:
        raise CaseError(f'{path}.vaccine: unknown vaccine "{written_name}"')
    return table.build(
        Immunisation,
        vaccine=known.name,
        atc=known.atc,
        live=known.live,
        planned_on=table.take("planned_on", _day),
        given_on=table.take("given_on", _day),
        route=table.take("route", _one_of(VaccineRoute)),
    )


def _local_approval(data: object, path: str) -> LocalApproval:
    table = _Table(data, path)
    return table.build(
        LocalApproval,
        row=table.required("row", _string),
        approved_on=table.required("approved_on", _day),
        low=table.take("low", _decimal),
        high=table.take("high", _decimal),
    )
