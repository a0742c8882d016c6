"""What may be written about a patient, what is refused, and that no write lacks its evidence."""

from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal

import pytest
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import IntegrityError

from patients import services
from patients.models import (
    ClinicalEvent,
    CoMedication,
    Diagnosis,
    FactsVersion,
    Immunisation,
    Observation,
    Patient,
)
from patients.selectors import analyte_named, co_medications_of, drug_named, facts_number, newest
from patients.signals import patient_changed
from tacroweb.audit.models import LedgerEntry
from tacroweb.audit.signature import Signature
from tests.factories import NOW, a_patient, by_system, recorded, takes

TODAY = NOW.date()
MODELS = (Patient, Diagnosis, CoMedication, Observation, ClinicalEvent, Immunisation)


def a_drug(patient: Patient) -> CoMedication:
    return takes(patient, "fluconazole", date(2026, 1, 1))


def an_event(patient: Patient) -> ClinicalEvent:
    return services.record_event(
        patient=patient, kind="TREMOR", started_on=TODAY, at=NOW, by=by_system(patient.clinic)
    )


def a_planned_vaccine(patient: Patient) -> Immunisation:
    return services.record_immunisation(
        patient=patient,
        vaccine="J07BL01",
        planned_on=TODAY + timedelta(days=9),
        at=NOW,
        by=by_system(patient.clinic),
    )


def a_result(patient: Patient) -> Observation:
    return recorded(patient, "potassium", "4.2", "mmol/L", NOW - timedelta(days=1))


# Each service, first with what it needs and then as it is called.
ACTS: dict[str, tuple[Callable, Callable]] = {
    "register": (
        lambda patient: None,
        lambda patient, row, by: services.register_patient(
            clinic=patient.clinic,
            mrn="77",
            family_name="Sato",
            given_name="Ren",
            birth_date=date(1960, 2, 29),
            sex="MALE",
            diagnosis={"ild": True, "sard": "SSC"},
            at=NOW,
            by=by,
        ),
    ),
    "correct patient": (
        lambda patient: None,
        lambda patient, row, by: services.correct_patient(
            patient=patient, given_name="Amara Ngozi", at=NOW, by=by
        ),
    ),
    "diagnosis": (
        lambda patient: None,
        lambda patient, row, by: services.record_diagnosis(patient=patient, ild=True, by=by),
    ),
    "observation": (
        lambda patient: None,
        lambda patient, row, by: services.record_observation(
            patient=patient,
            analyte=analyte_named("potassium"),
            entered="4.2",
            unit="mmol/L",
            drawn_at=NOW,
            at=NOW,
            by=by,
        ),
    ),
    "correct observation": (
        a_result,
        lambda patient, row, by: services.correct_observation(
            observation=row, entered="5.2", unit="mmol/L", drawn_at=row.drawn_at, at=NOW, by=by
        ),
    ),
    "withdraw observation": (
        a_result,
        lambda patient, row, by: services.withdraw_observation(observation=row, at=NOW, by=by),
    ),
    "import": (
        lambda patient: None,
        lambda patient, row, by: services.import_results(
            clinic=patient.clinic,
            text="mrn,analyte,value,unit,drawn_at\n"
            f"{patient.mrn},potassium,4.2,mmol/L,2026-03-01 08:00\n",
            at=NOW,
            by=by,
        ),
    ),
    "drug": (
        lambda patient: None,
        lambda patient, row, by: services.record_co_medication(
            patient=patient, unlisted_name="voriconazole", started_on=TODAY, at=NOW, by=by
        ),
    ),
    "stop drug": (
        a_drug,
        lambda patient, row, by: services.stop_co_medication(
            co_medication=row, stopped_on=TODAY, at=NOW, by=by
        ),
    ),
    "change dose": (
        lambda patient: takes(patient, "prednisone", date(2026, 1, 1), daily_dose_mg=Decimal(40)),
        lambda patient, row, by: services.change_co_medication_dose(
            co_medication=row, daily_dose_mg=Decimal(30), on=TODAY, at=NOW, by=by
        ),
    ),
    "correct drug": (
        a_drug,
        lambda patient, row, by: services.correct_co_medication(
            co_medication=row, daily_dose_mg=Decimal(200), at=NOW, by=by
        ),
    ),
    "withdraw drug": (
        a_drug,
        lambda patient, row, by: services.withdraw_fact(fact=row, at=NOW, by=by),
    ),
    "event": (
        lambda patient: None,
        lambda patient, row, by: services.record_event(
            patient=patient, kind="SEIZURE", started_on=TODAY, at=NOW, by=by
        ),
    ),
    "resolve event": (
        an_event,
        lambda patient, row, by: services.resolve_event(
            event=row, resolved_on=TODAY, at=NOW, by=by
        ),
    ),
    "vaccine": (
        lambda patient: None,
        lambda patient, row, by: services.record_immunisation(
            patient=patient, vaccine="J07BK03", given_on=TODAY, at=NOW, by=by
        ),
    ),
    "give vaccine": (
        a_planned_vaccine,
        lambda patient, row, by: services.give_immunisation(
            immunisation=row, given_on=TODAY, at=NOW, by=by
        ),
    ),
}
each_act = pytest.mark.parametrize("act", ACTS)


def everything() -> list[object]:
    rows = [sorted(model.objects.values_list(), key=repr) for model in MODELS]
    histories = [model.history.count() for model in MODELS]
    return [
        *rows,
        histories,
        sorted(FactsVersion.objects.values_list()),
        LedgerEntry.objects.count(),
    ]


@each_act
def test_an_act_raises_the_facts_and_tells_monitoring_once(
    act: str, patient: Patient, by: Signature, django_capture_on_commit_callbacks: Callable
) -> None:
    prepare, do = ACTS[act]
    row = prepare(patient)
    before = dict(FactsVersion.objects.values_list("patient_id", "number"))
    entries = LedgerEntry.objects.count()
    told: list[int] = []

    def listen(*, patient_id: int, by: Signature, **kwargs: object) -> None:
        told.append(patient_id)

    patient_changed.connect(listen)
    try:
        with django_capture_on_commit_callbacks(execute=True):
            do(patient, row, by)
    finally:
        patient_changed.disconnect(listen)
    after = dict(FactsVersion.objects.values_list("patient_id", "number"))
    changed = [key for key in after if after[key] != before.get(key)]
    assert told == changed
    assert len(changed) == 1
    assert after[changed[0]] == before.get(changed[0], 0) + 1
    assert LedgerEntry.objects.count() == entries + 1


@each_act
def test_when_the_evidence_cannot_be_written_nothing_is(
    act: str, patient: Patient, by: Signature, request: pytest.FixtureRequest
) -> None:
    prepare, do = ACTS[act]
    row = prepare(patient)
    request.getfixturevalue("broken_ledger")
    before = everything()
    with pytest.raises(IntegrityError):
        do(patient, row, by)
    assert everything() == before


@each_act
def test_a_hand_of_another_clinic_writes_nothing(
    act: str, patient: Patient, stranger: Patient
) -> None:
    prepare, do = ACTS[act]
    row = prepare(patient)
    before = everything()
    with pytest.raises(PermissionDenied):
        do(patient, row, by_system(stranger.clinic))
    assert everything() == before


def refused(error: pytest.ExceptionInfo[ValidationError]) -> dict[str, list[str]]:
    return error.value.message_dict


REGISTERED = {
    "mrn": "900",
    "family_name": "Sato",
    "given_name": "Ren",
    "birth_date": date(1960, 5, 1),
    "sex": "MALE",
}


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("mrn", {"mrn": "=1+1"}),
        ("mrn", {"mrn": " "}),
        ("family_name", {"family_name": "  "}),
        ("birth_date", {"birth_date": date(2026, 3, 3)}),
        ("birth_date", {"birth_date": date(1, 1, 1)}),
        ("sex", {"sex": "OTHER"}),
        ("pregnancy", {"pregnancy": "YES"}),
        ("lactating", {"lactating": True}),
        ("child_pugh", {"child_pugh": 4}),
        ("child_pugh", {"child_pugh": 16}),
        ("allergies", {"allergy_status": "RECORDED"}),
        ("allergy_status", {"allergies": "Penicillin"}),
    ],
)
def test_a_registration_that_cannot_be_is_refused_at_the_field(
    field: str, wrong: dict, patient: Patient
) -> None:
    before = everything()
    with pytest.raises(ValidationError) as error:
        services.register_patient(
            clinic=patient.clinic, at=NOW, by=by_system(patient.clinic), **(REGISTERED | wrong)
        )
    assert field in refused(error)
    assert everything() == before


def test_an_mrn_is_one_patient_of_a_clinic_but_may_recur_at_another(
    patient: Patient, stranger: Patient
) -> None:
    spaced = f"{patient.mrn[:3]} {patient.mrn[3:]}"
    with pytest.raises(ValidationError) as error:
        a_patient(patient.clinic, mrn=spaced)
    assert refused(error)["mrn"] == ["A patient with this MRN is registered already."]
    assert a_patient(stranger.clinic, mrn=spaced).mrn == patient.mrn


def test_who_the_person_is_changes_only_with_a_reason(patient: Patient, by: Signature) -> None:
    with pytest.raises(ValidationError) as error:
        services.correct_patient(patient=patient, family_name="Okoro", at=NOW, by=by.because(""))
    assert "reason" in refused(error)
    services.correct_patient(patient=patient, pregnancy="PLANNING", at=NOW, by=by.because(""))
    changed = services.correct_patient(patient=patient, family_name="Okoro", at=NOW, by=by)
    assert (changed.family_name, changed.pregnancy) == ("Okoro", "PLANNING")


def test_a_registration_saved_unchanged_changes_no_fact(patient: Patient, by: Signature) -> None:
    before = everything()
    services.correct_patient(patient=patient, family_name=" Okafor ", at=NOW, by=by.because(""))
    assert everything() == before


def test_a_birth_date_after_something_on_record_is_refused(patient: Patient, by: Signature) -> None:
    a_result(patient)
    with pytest.raises(ValidationError) as error:
        services.correct_patient(patient=patient, birth_date=TODAY, at=NOW, by=by)
    assert "birth_date" in refused(error)


def test_a_page_opened_before_another_change_is_told_so(patient: Patient, by: Signature) -> None:
    seen = facts_number(patient)
    services.correct_patient(patient=patient, seen=seen, cyp3a5="EXPRESSER", at=NOW, by=by)
    with pytest.raises(services.NotCurrent, match="changed while this page was open"):
        services.correct_patient(patient=patient, seen=seen, lactating=None, at=NOW, by=by)
    with pytest.raises(services.NotCurrent):
        services.record_diagnosis(patient=patient, seen=seen, ild=False, by=by)
    assert Diagnosis.objects.get(patient=patient).ild is True


def test_a_subtype_of_myositis_needs_myositis(patient: Patient, by: Signature) -> None:
    with pytest.raises(ValidationError) as error:
        services.record_diagnosis(patient=patient, sard="RA", subtype="DM", by=by)
    assert "subtype" in refused(error)


@pytest.mark.parametrize(
    ("value", "unit", "canonical"),
    [
        ("1", "mg/dL", "1"),
        ("88.4", "umol/L", "1"),
        ("88.4", "\N{MICRO SIGN}mol/L", "1"),
        ("88.4", "\N{GREEK SMALL LETTER MU}mol/L", "1"),
        ("80", "umol/L", "0.90497738"),
    ],
)
def test_a_value_is_kept_as_entered_and_exactly_converted(
    value: str, unit: str, canonical: str, patient: Patient
) -> None:
    row = recorded(patient, "creatinine", value, unit, NOW)
    row.refresh_from_db()
    assert row.entered == value
    assert row.value == Decimal(canonical)


def test_a_comparator_is_kept(patient: Patient) -> None:
    row = recorded(patient, "tacrolimus-trough", "<2.0", "ng/mL", NOW, hours_since_dose="12")
    row.refresh_from_db()
    assert (row.comparator, row.entered, row.value) == ("<", "<2.0", Decimal(2))


NUMBERS = ["1,5", "1_5", "１.５", ".5", "5.", "-0", "1e1", "NaN", "-1", "", "٣", "Infinity"]


@pytest.mark.parametrize("value", NUMBERS)
def test_a_number_that_is_not_plain_is_refused_with_a_hint(value: str, patient: Patient) -> None:
    before = everything()
    with pytest.raises(ValidationError) as error:
        recorded(patient, "potassium", value, "mmol/L", NOW)
    assert refused(error)["value"][0]
    assert everything() == before


@pytest.mark.parametrize(
    ("analyte", "value", "unit", "field", "words"),
    [
        ("weight", "6", "kg", "value", "plausible"),
        ("weight", "700", "kg", "value", "plausible"),
        ("potassium", "4.2", "", "unit", "Accepted: mmol/L"),
        ("potassium", "4.2", "mg/L", "unit", "Accepted: mmol/L"),
    ],
)
def test_what_is_not_plausible_or_has_no_known_unit_is_refused(
    analyte: str, value: str, unit: str, field: str, words: str, patient: Patient
) -> None:
    with pytest.raises(ValidationError) as error:
        recorded(patient, analyte, value, unit, NOW)
    assert words in refused(error)[field][0]


def test_a_result_is_drawn_in_the_patients_life_and_not_in_the_future(patient: Patient) -> None:
    for drawn_at in (NOW + timedelta(minutes=1), NOW.replace(year=1971)):
        with pytest.raises(ValidationError) as error:
            services.record_observation(
                patient=patient,
                analyte=analyte_named("potassium"),
                entered="4.2",
                unit="mmol/L",
                drawn_at=drawn_at,
                at=NOW,
                by=by_system(patient.clinic),
            )
        assert "drawn_at" in refused(error)


@pytest.mark.parametrize("hours", ["-1", "241"])
def test_hours_since_the_dose_have_limits(hours: str, patient: Patient) -> None:
    with pytest.raises(ValidationError) as error:
        recorded(patient, "tacrolimus-trough", "7", "ng/mL", NOW, hours_since_dose=hours)
    assert "hours_since_dose" in refused(error)


@pytest.mark.parametrize(("value", "unit"), [("1", "mg/dL"), ("1.0", "mg/dL"), ("88.4", "umol/L")])
def test_the_same_result_twice_is_refused_however_it_is_written(
    value: str, unit: str, patient: Patient
) -> None:
    recorded(patient, "creatinine", "1", "mg/dL", NOW)
    with pytest.raises(services.AlreadyRecorded, match="recorded already"):
        recorded(patient, "creatinine", value, unit, NOW)
    assert Observation.objects.filter(patient=patient).count() == 1


def test_results_of_one_draw_are_all_recorded_or_none(patient: Patient, by: Signature) -> None:
    potassium, weight = analyte_named("potassium"), analyte_named("weight")
    results = [
        services.Result(analyte=potassium, entered="4.2", unit="mmol/L", drawn_at=NOW),
        services.Result(analyte=weight, entered="700", unit="kg", drawn_at=NOW),
    ]
    with pytest.raises(ValidationError):
        services.record_observations(patient=patient, results=results, at=NOW, by=by)
    assert not Observation.objects.filter(patient=patient).exists()


def test_a_correction_replaces_the_result_and_keeps_it(patient: Patient, by: Signature) -> None:
    wrong = a_result(patient)

    def put_right(row: Observation, value: str) -> Observation:
        return services.correct_observation(
            observation=row, entered=value, unit="mmol/L", drawn_at=row.drawn_at, at=NOW, by=by
        )

    right = put_right(wrong, "5.2")
    assert right.replaces == wrong
    assert newest(patient, "potassium") == {"potassium": right}
    with pytest.raises(services.NotCurrent):
        put_right(wrong, "6")
    with pytest.raises(services.AlreadyRecorded, match="Nothing differs"):
        put_right(right, "5.2")
    again = put_right(right, "4.2")
    assert newest(patient, "potassium") == {"potassium": again}
    with pytest.raises(services.AlreadyRecorded):
        a_result(patient)
    services.withdraw_observation(observation=again, at=NOW, by=by)
    assert newest(patient, "potassium") == {}
    with pytest.raises(services.NotCurrent):
        services.withdraw_observation(observation=again, at=NOW, by=by)
    anew = a_result(patient)
    assert newest(patient, "potassium") == {"potassium": anew}


@pytest.mark.parametrize(
    "act", ["correct observation", "withdraw observation", "correct drug", "withdraw drug"]
)
def test_putting_right_and_taking_out_need_a_reason(
    act: str, patient: Patient, by: Signature
) -> None:
    prepare, do = ACTS[act]
    row = prepare(patient)
    before = everything()
    with pytest.raises(ValidationError) as error:
        do(patient, row, by.because("  "))
    assert "reason" in refused(error)
    assert everything() == before


def test_the_newest_result_is_the_last_drawn_not_the_last_entered(patient: Patient) -> None:
    later = recorded(patient, "potassium", "5.0", "mmol/L", NOW)
    a_result(patient)
    weight = recorded(patient, "weight", "61.5", "kg", NOW)
    assert newest(patient, "potassium", "weight", "crp") == {"potassium": later, "weight": weight}


def test_a_name_of_the_vocabulary_becomes_the_listed_drug(patient: Patient) -> None:
    assert takes(patient, "  RIFAMPICIN ").drug == drug_named("rifampin")


def test_a_drug_outside_the_vocabulary_is_recorded_as_unlisted(patient: Patient) -> None:
    row = takes(patient, "Moon  root tea")
    assert (row.drug, row.unlisted_name) == (None, "Moon root tea")
    with pytest.raises(services.AlreadyRecorded):
        takes(patient, "Moon root tea")


def test_a_contraindicated_drug_is_recorded_like_any_other(patient: Patient) -> None:
    assert str(takes(patient, "sirolimus", TODAY)) == "sirolimus"


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("drug", {"unlisted_name": " "}),
        ("daily_dose_mg", {"daily_dose_mg": Decimal(0)}),
        ("started_on", {"started_on": TODAY + timedelta(days=1)}),
        ("started_on", {"started_on": date(1970, 1, 1)}),
        ("stopped_on", {"started_on": TODAY, "stopped_on": TODAY - timedelta(days=1)}),
        ("stopped_on", {"stopped_on": TODAY + timedelta(days=1)}),
        ("stopped_on", {"stopped_on": TODAY, "planned": True}),
        ("route", {"route": "EAR"}),
    ],
)
def test_a_drug_that_cannot_be_is_refused_at_the_field(
    field: str, wrong: dict, patient: Patient, by: Signature
) -> None:
    with pytest.raises(ValidationError) as error:
        services.record_co_medication(
            patient=patient, at=NOW, by=by, **({"unlisted_name": "fluconazole"} | wrong)
        )
    assert field in refused(error)
    assert not co_medications_of(patient).exists()


def test_a_drug_is_stopped_once(patient: Patient, by: Signature) -> None:
    row = a_drug(patient)
    services.stop_co_medication(co_medication=row, stopped_on=TODAY, at=NOW, by=by)
    with pytest.raises(services.NotCurrent):
        services.stop_co_medication(co_medication=row, stopped_on=TODAY, at=NOW, by=by)
    with pytest.raises(ValidationError) as error:
        services.stop_co_medication(
            co_medication=takes(patient, "diltiazem", TODAY),
            stopped_on=TODAY - timedelta(days=1),
            at=NOW,
            by=by,
        )
    assert "stopped_on" in refused(error)


def on_prednisone(patient: Patient, **changes: object) -> CoMedication:
    taken = {"daily_dose_mg": Decimal(40)} | changes
    return takes(patient, "prednisone", TODAY - timedelta(days=20), **taken)


def changed(row: CoMedication, dose: str, days_ago: int = 0) -> CoMedication:
    return services.change_co_medication_dose(
        co_medication=row,
        daily_dose_mg=Decimal(dose),
        on=TODAY - timedelta(days=days_ago),
        at=NOW,
        by=by_system(row.patient.clinic),
    )


def doses(row: CoMedication) -> tuple[object, ...]:
    return (row.daily_dose_mg, row.dose_changed_on, row.daily_dose_before_mg)


def test_a_change_of_dose_keeps_the_dose_before_it(patient: Patient) -> None:
    row = changed(on_prednisone(patient), "30", days_ago=5)
    assert doses(row) == (30, TODAY - timedelta(days=5), 40)
    row = changed(row, "20")
    assert doses(row) == (20, TODAY, 30)
    assert row.doses_before == ((TODAY - timedelta(days=5), 40), (TODAY, 30))
    kept = CoMedication.history.filter(id=row.pk).order_by("history_id")
    assert [each.daily_dose_mg for each in kept] == [40, 30, 20]


def test_two_changes_of_one_day_are_one_and_one_taken_back_is_none(patient: Patient) -> None:
    row = changed(changed(on_prednisone(patient), "30"), "25")
    assert doses(row) == (25, TODAY, 40)
    row = changed(row, "40")
    assert doses(row) == (40, None, None)
    row = changed(changed(changed(row, "30", days_ago=5), "20"), "30")
    assert doses(row) == (30, TODAY - timedelta(days=5), 40)
    assert row.earlier_doses == ""


@pytest.mark.parametrize(
    ("field", "taken", "dose", "days_ago"),
    [
        ("daily_dose_mg", {}, "40", 0),
        ("daily_dose_mg", {}, "0", 0),
        ("daily_dose_mg", {"daily_dose_mg": None}, "30", 0),
        ("on", {}, "30", -1),
        ("on", {}, "30", 21),
    ],
)
def test_a_change_of_dose_that_cannot_be_is_refused_at_the_field(
    field: str, taken: dict, dose: str, days_ago: int, patient: Patient
) -> None:
    row = on_prednisone(patient, **taken)
    before = everything()
    with pytest.raises(ValidationError) as error:
        changed(row, dose, days_ago)
    assert list(refused(error)) == [field]
    assert everything() == before


def test_only_a_drug_that_is_taken_changes_its_dose(patient: Patient, by: Signature) -> None:
    planned = takes(patient, "voriconazole", planned=True, daily_dose_mg=Decimal(400))
    with pytest.raises(services.NotCurrent):
        changed(planned, "200")
    row = changed(on_prednisone(patient), "30", days_ago=5)
    with pytest.raises(ValidationError) as error:
        changed(row, "20", days_ago=6)
    assert "later change" in refused(error)["on"][0]
    with pytest.raises(ValidationError) as error:
        services.stop_co_medication(
            co_medication=row, stopped_on=TODAY - timedelta(days=6), at=NOW, by=by
        )
    assert refused(error)["stopped_on"] == ["The dose was changed after this day."]
    services.stop_co_medication(co_medication=row, stopped_on=TODAY, at=NOW, by=by)
    with pytest.raises(services.NotCurrent):
        changed(row, "20")


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("dose_changed_on", {"dose_changed_on": None}),
        ("daily_dose_before_mg", {"daily_dose_before_mg": None}),
        ("daily_dose_before_mg", {"daily_dose_before_mg": Decimal(0)}),
        ("daily_dose_before_mg", {"daily_dose_before_mg": Decimal(30)}),
        ("daily_dose_mg", {"daily_dose_mg": None}),
        ("dose_changed_on", {"dose_changed_on": TODAY - timedelta(days=21)}),
        ("dose_changed_on", {"dose_changed_on": TODAY + timedelta(days=1)}),
        ("dose_changed_on", {"planned": True}),
    ],
)
def test_a_change_of_dose_is_put_right_only_to_what_can_be(
    field: str, wrong: dict, patient: Patient, by: Signature
) -> None:
    row = changed(on_prednisone(patient), "30", days_ago=5)
    with pytest.raises(ValidationError) as error:
        services.correct_co_medication(co_medication=row, at=NOW, by=by, **wrong)
    assert field in refused(error)
    row = services.correct_co_medication(
        co_medication=row, dose_changed_on=None, daily_dose_before_mg=None, at=NOW, by=by
    )
    assert doses(row) == (30, None, None)


def test_of_several_changes_each_is_put_right_from_the_newest_on(
    patient: Patient, by: Signature
) -> None:
    row = changed(changed(on_prednisone(patient), "30", days_ago=5), "20", days_ago=2)

    def correct(**changes: object) -> CoMedication:
        return services.correct_co_medication(co_medication=row, at=NOW, by=by, **changes)

    for wrong, field in (
        ({"dose_changed_on": TODAY - timedelta(days=5)}, "dose_changed_on"),
        ({"dose_changed_on": TODAY - timedelta(days=6)}, "dose_changed_on"),
        ({"started_on": TODAY - timedelta(days=4)}, "started_on"),
    ):
        with pytest.raises(ValidationError) as error:
            correct(**wrong)
        assert list(refused(error)) == [field]
    row = correct(dose_changed_on=None, daily_dose_before_mg=None, daily_dose_mg=Decimal(30))
    assert doses(row) == (30, TODAY - timedelta(days=5), 40)
    assert row.earlier_doses == ""


def test_the_database_itself_holds_a_change_of_dose_together(patient: Patient) -> None:
    row = on_prednisone(patient)
    with pytest.raises(ValidationError, match="its day, and the dose before it"):
        CoMedication(
            patient=patient, drug=row.drug, daily_dose_mg=1, daily_dose_before_mg=2
        ).validate_constraints()
    with pytest.raises(ValidationError, match="between the first and the last day"):
        CoMedication(
            patient=patient,
            drug=row.drug,
            daily_dose_mg=1,
            daily_dose_before_mg=2,
            started_on=TODAY,
            dose_changed_on=TODAY - timedelta(days=1),
        ).validate_constraints()
    with pytest.raises(ValidationError, match="before a newest one"):
        CoMedication(
            patient=patient, drug=row.drug, earlier_doses='[["2026-01-01","40"]]'
        ).validate_constraints()


def test_a_planned_drug_is_noted_as_started(patient: Patient, by: Signature) -> None:
    row = takes(patient, "voriconazole", planned=True)
    with pytest.raises(services.NotCurrent):
        services.stop_co_medication(co_medication=row, stopped_on=TODAY, at=NOW, by=by)
    row = services.correct_co_medication(
        co_medication=row, planned=False, started_on=TODAY, at=NOW, by=by
    )
    assert (row.planned, row.started_on) == (False, TODAY)


def test_a_withdrawn_drug_is_no_fact_any_more(patient: Patient, by: Signature) -> None:
    row = a_drug(patient)
    services.withdraw_fact(fact=row, at=NOW, by=by)
    assert not co_medications_of(patient).exists()
    with pytest.raises(services.NotCurrent):
        services.withdraw_fact(fact=row, at=NOW, by=by)
    with pytest.raises(services.NotCurrent):
        services.correct_co_medication(co_medication=row, route="IV", at=NOW, by=by)


def test_an_event_ends_once_and_not_before_it_began(patient: Patient, by: Signature) -> None:
    row = an_event(patient)
    with pytest.raises(services.AlreadyRecorded):
        an_event(patient)
    with pytest.raises(ValidationError) as error:
        services.resolve_event(event=row, resolved_on=TODAY - timedelta(days=1), at=NOW, by=by)
    assert "resolved_on" in refused(error)
    services.resolve_event(event=row, resolved_on=TODAY, at=NOW, by=by)
    with pytest.raises(services.NotCurrent):
        services.resolve_event(event=row, resolved_on=TODAY, at=NOW, by=by)


@pytest.mark.parametrize(("grade", "asked"), [(None, True), (3, True), (4, True), (2, False)])
def test_a_serious_infection_is_over_only_where_that_is_documented(
    grade: int | None, asked: bool, patient: Patient, by: Signature
) -> None:
    def infection(day: date, **over: object) -> ClinicalEvent:
        return services.record_event(
            patient=patient,
            kind="INFECTION",
            grade=grade,
            started_on=day,
            at=NOW,
            by=by,
            **over,
        )

    def end(**how: str) -> ClinicalEvent:
        return services.resolve_event(event=row, resolved_on=TODAY, at=NOW, by=by, **how)

    row = infection(TODAY - timedelta(days=9))
    if asked:
        for words in ("", "  "):
            with pytest.raises(ValidationError) as error:
                end(resolution=words)
            assert list(refused(error)) == ["resolution"]
        with pytest.raises(ValidationError) as error:
            infection(TODAY - timedelta(days=8), resolved_on=TODAY)
        assert list(refused(error)) == ["resolution"]
        assert end(resolution=" cultures  negative ").resolution == "cultures negative"
    else:
        assert end().resolved_on == TODAY


def test_how_it_ended_needs_the_day_on_which_it_ended(patient: Patient, by: Signature) -> None:
    with pytest.raises(ValidationError) as error:
        services.record_event(
            patient=patient, kind="TREMOR", started_on=TODAY, resolution="gone", at=NOW, by=by
        )
    assert list(refused(error)) == ["resolved_on"]


@pytest.mark.parametrize("grade", [0, 5])
def test_a_grade_is_one_to_four(grade: int, patient: Patient, by: Signature) -> None:
    with pytest.raises(ValidationError) as error:
        services.record_event(
            patient=patient, kind="INFECTION", grade=grade, started_on=TODAY, at=NOW, by=by
        )
    assert "grade" in refused(error)


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("vaccine", {"vaccine": "the usual one", "given_on": TODAY}),
        ("given_on", {"vaccine": "J07BL01"}),
        ("given_on", {"vaccine": "J07BL01", "planned_on": TODAY, "given_on": TODAY}),
        ("given_on", {"vaccine": "J07BL01", "given_on": TODAY + timedelta(days=1)}),
    ],
)
def test_a_vaccine_is_known_and_either_planned_or_given(
    field: str, wrong: dict, patient: Patient, by: Signature
) -> None:
    with pytest.raises(ValidationError) as error:
        services.record_immunisation(patient=patient, at=NOW, by=by, **wrong)
    assert field in refused(error)


@pytest.mark.parametrize("mrn", ["A-7", "a-7", " A - 7 "])
def test_an_mrn_is_one_persons_in_whatever_letters_and_blanks(patient: Patient, mrn: str) -> None:
    services.correct_patient(
        patient=patient, mrn="A-7", at=NOW, by=by_system(patient.clinic).because("misread")
    )
    with pytest.raises(ValidationError, match="registered already"):
        a_patient(patient.clinic, mrn=mrn)
    assert Patient.objects.count() == 1


@pytest.mark.parametrize("unseen", ["\u202e", "\u200b", "\x1b", "\u2066", "\ufeff"])
def test_what_nobody_sees_is_in_no_name_and_is_no_reason(patient: Patient, unseen: str) -> None:
    by = by_system(patient.clinic).because("misheard")
    with pytest.raises(ValidationError, match="invisible") as refused:
        services.correct_patient(patient=patient, family_name=f"Sa{unseen}to", at=NOW, by=by)
    assert set(refused.value.message_dict) == {"family_name"}
    with pytest.raises(ValidationError, match="invisible") as refused:
        services.correct_patient(
            patient=patient, family_name="Sato", at=NOW, by=by.because(unseen + ".")
        )
    assert set(refused.value.message_dict) == {"reason"}
    services.correct_patient(patient=patient, family_name="Sa\u200cto", at=NOW, by=by)
