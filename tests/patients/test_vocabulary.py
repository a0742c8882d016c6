"""The vocabulary in the database: seeded without overruling anyone, kept in the back office."""

from dataclasses import replace
from decimal import Decimal
from io import StringIO

import pytest
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from patients.models import AnalyteUnit, Drug
from patients.selectors import analyte_named, drug_choices, drug_named, vaccine_choices
from patients.services import add_unit, save_analyte, save_drug
from patients.vocabulary import vocabulary
from tacroweb.accounts.models import Clinic
from tacroweb.accounts.roles import Role
from tacroweb.audit.models import LedgerEntry
from tests.factories import NOW, a_patient, a_person, by_system, recorded


def seeded() -> str:
    said = StringIO()
    call_command("seed_vocabulary", stdout=said)
    return said.getvalue()


def test_the_database_holds_what_the_file_says(clinic: Clinic) -> None:
    words = vocabulary()
    assert set(Drug.objects.values_list("generic_name", flat=True)) >= {d.name for d in words.drugs}
    for analyte in words.analytes:
        row = analyte_named(analyte.key)
        assert row.canonical_unit == analyte.unit
        factors = {unit.unit: unit for unit in row.units.all()}
        for unit in analyte.units:
            stored = factors[unit.unit]
            assert stored.factor_numerator == unit.numerator
            assert stored.factor_denominator == unit.denominator


def test_seeding_again_writes_nothing(clinic: Clinic) -> None:
    entries, versions = LedgerEntry.objects.count(), Drug.history.count()
    with CaptureQueriesContext(connection) as seen:
        assert seeded() == "Vocabulary: 0 rows written.\n"
    assert len(seen) < 15
    assert (LedgerEntry.objects.count(), Drug.history.count()) == (entries, versions)


def test_what_a_person_changed_is_left_and_named(clinic: Clinic) -> None:
    person = a_person(clinic, Role.ADMINISTRATOR)
    mine, theirs = drug_named("voriconazole"), drug_named("fluconazole")
    mine.aliases, theirs.aliases = "Vfend", "Diflucan"
    signature = by_system(reason="house style")
    save_drug(drug=theirs, by=signature)
    save_drug(drug=mine, by=replace(signature, actor_id=person.pk))
    assert seeded() == ("Vocabulary: 1 rows written.\nLeft as a person changed it: voriconazole.\n")
    assert drug_named("vfend").generic_name == "voriconazole"
    assert drug_named("Diflucan") is None


def test_a_name_finds_one_drug(clinic: Clinic) -> None:
    drug = drug_named("voriconazole")
    drug.aliases = "Fluconazole"
    with pytest.raises(ValidationError, match="already finds fluconazole"):
        save_drug(drug=drug, by=by_system())
    with pytest.raises(ValidationError) as error:
        save_drug(drug=Drug(generic_name="newazole"), by=by_system(reason=""))
    assert "reason" in error.value.message_dict


def test_drugs_vaccines_and_analytes_are_found_by_their_names(clinic: Clinic) -> None:
    assert drug_named(" St John's  Wort ").generic_name == "St John's wort"
    assert drug_named("") is None
    assert {"rifampin", "rifampicin"} <= set(drug_choices())
    assert vaccine_choices()
    assert analyte_named("2823-3") == analyte_named("Potassium") == analyte_named("potassium")
    assert analyte_named("no such thing") is None


def test_stored_results_keep_their_unit_and_its_factor(clinic: Clinic) -> None:
    analyte = analyte_named("potassium")
    analyte.canonical_unit = "mg/dL"
    with pytest.raises(ValidationError):
        save_analyte(analyte=analyte, by=by_system())
    analyte = analyte_named("potassium")
    analyte.plausible_high = analyte.plausible_low
    with pytest.raises(ValidationError):
        save_analyte(analyte=analyte, by=by_system())
    with pytest.raises(ValidationError):
        add_unit(unit=analyte.units.first(), by=by_system())


def test_a_limit_changed_in_the_table_is_the_limit(clinic: Clinic) -> None:
    patient = a_patient(clinic, weight_kg=None)
    analyte = analyte_named("potassium")
    analyte.plausible_high = Decimal("5")
    save_analyte(analyte=analyte, by=by_system())
    with pytest.raises(ValidationError):
        recorded(patient, "potassium", "5.1", "mmol/L", NOW)


@pytest.fixture
def office(clinic: Clinic) -> Client:
    client = Client()
    client.force_login(a_person(clinic, Role.ADMINISTRATOR))
    return client


def test_a_drug_is_added_in_the_back_office_with_a_reason(office: Client) -> None:
    address = reverse("admin:patients_drug_add")
    sent = {"generic_name": "newazole", "aliases": "Newa"}
    assert b"This field is required" in office.post(address, sent).content
    assert drug_named("Newa") is None
    assert office.post(address, sent | {"reason": "on our formulary"}).status_code == 302
    drug = drug_named("newa")
    version = drug.history.get()
    assert (version.history_change_reason, version.history_channel) == ("on our formulary", "ADMIN")
    entry = LedgerEntry.objects.latest("pk")
    assert (entry.act, entry.chain.name) == ("Drug of the vocabulary saved", "system")
    change = reverse("admin:patients_drug_change", args=[drug.pk])
    seen = {"seen": version.pk}
    taken = office.post(change, seen | {"aliases": "rifampicin", "reason": "typo"})
    assert b"already finds rifampin" in taken.content
    sent = seen | {"aliases": "Newa\nNewazol", "reason": "brand"}
    assert office.post(change, sent).status_code == 302
    assert drug_named("newazol") == drug


def test_limits_are_changed_in_the_back_office_in_plain_numbers(office: Client) -> None:
    analyte = analyte_named("potassium")
    address = reverse("admin:patients_analyte_change", args=[analyte.pk])
    assert b"mmol/L" in office.get(address).content
    sent = {
        "name": "Potassium",
        "loinc": "2823-3",
        "plausible_low": "1",
        "plausible_high": "1_2",
        "limits_origin": "LOCAL",
        "limits_source": "Laboratory handbook",
        "limits_approved": "on",
        "reason": "board of 12-Jan-2026",
        "seen": analyte.history.latest("history_id").pk,
    }
    assert b"without grouping" in office.post(address, sent).content
    assert office.post(address, sent | {"plausible_high": "9.5"}).status_code == 302
    history = reverse("admin:patients_analyte_history", args=[analyte.pk])
    assert b"board of 12-Jan-2026" in office.get(history).content
    analyte.refresh_from_db()
    assert (analyte.plausible_high, analyte.limits_approved) == (Decimal("9.5"), True)
    assert office.get(reverse("admin:patients_analyte_add")).status_code == 403


def test_a_unit_is_added_in_the_back_office_and_never_changed(office: Client) -> None:
    analyte = analyte_named("crp")
    sent = {
        "analyte": analyte.pk,
        "unit": "\N{MICRO SIGN}g/mL",
        "factor_numerator": "1",
        "factor_denominator": "1",
        "source": "1 µg/mL = 1 mg/L",
        "reason": "our laboratory reports it",
    }
    assert office.post(reverse("admin:patients_analyteunit_add"), sent).status_code == 302
    unit = AnalyteUnit.objects.get(analyte=analyte, unit="ug/mL")
    change = reverse("admin:patients_analyteunit_change", args=[unit.pk])
    assert office.get(change).status_code == 200
    assert office.post(change, sent | {"factor_numerator": "2"}).status_code == 403
    unit.refresh_from_db()
    assert unit.factor_numerator == 1


def test_the_back_office_holds_no_patient_and_is_closed_to_prescribers(
    office: Client, clinic: Clinic
) -> None:
    a_patient(clinic, family_name="Marker")
    assert b"/admin/patients/patient/" not in office.get("/admin/").content
    prescriber = Client()
    prescriber.force_login(a_person(clinic, Role.PRESCRIBER))
    for name in ("drug", "analyte", "analyteunit"):
        address = reverse(f"admin:patients_{name}_changelist")
        assert office.get(address).status_code == 200
        assert prescriber.get(address).status_code in (302, 403)
