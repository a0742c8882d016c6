"""The vocabulary in the back office: its history, its lists, and files both ways."""

import re
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from patients.models import Analyte, AnalyteUnit, Drug
from patients.selectors import analyte_named, drug_named
from tacroweb.accounts.models import Clinic
from tacroweb.accounts.roles import Role
from tacroweb.audit.models import LedgerEntry
from tests.factories import a_clinic, a_person


@pytest.fixture
def clinic(db: None) -> Clinic:
    return a_clinic("North")


@pytest.fixture
def office(clinic: Clinic, client: Client) -> Client:
    client.force_login(a_person(clinic, Role.ADMINISTRATOR, username="keeper"))
    return client


def at(name: str, *args: Any) -> str:
    return reverse(f"admin:patients_{name}", args=args)


def send(office: Client, table: str, content: bytes, name: str = "rows.csv") -> Any:
    file = SimpleUploadedFile(name, content)
    return office.post(at(f"{table}_import"), {"import_file": file})


def keep(office: Client, table: str, shown: Any, reason: str = "Formulary of 2026") -> Any:
    preview = shown.context["keep_form"]["preview"].value()
    return office.post(at(f"{table}_process_import"), {"preview": preview, "reason": reason})


def text_of(response: Any) -> str:
    return re.sub(r"<[^>]+>|\s+", " ", response.content.decode()).replace("&#x27;", "'")


def changes(response: Any) -> list[tuple[str, Any]]:
    return [(row.name, row.changes) for row in response.context["outcome"].rows]


def test_the_history_of_a_row_says_who_what_when_and_why(office: Client) -> None:
    drug = drug_named("voriconazole")
    seen = drug.history.latest("history_id").pk
    sent = {"aliases": "Vfend\nVori", "atc_codes": drug.atc_codes, "rxcui": drug.rxcui}
    sent |= {"code_source": drug.code_source, "codes_verified": "on" if drug.codes_verified else ""}
    change = at("drug_change", drug.pk)
    sent = {name: value for name, value in sent.items() if value}
    assert office.post(change, sent | {"seen": seen, "reason": "brand"}).status_code == 302
    page = office.get(at("drug_history", drug.pk))
    told = text_of(page)
    assert "Robin Keeper" in told
    assert "Administrator" in told
    assert "brand" in told
    newest = page.context["page_obj"][0]
    assert newest.act == "Changed"
    assert [(name, new) for name, _, new in newest.changes] == [("Aliases", "Vfend\nVori")]
    assert page.context["page_obj"][1].act == "Added"
    assert office.get(at("drug_history", 10**9), follow=True).status_code == 200


def test_saving_what_is_there_already_writes_nothing(office: Client) -> None:
    unit = {"generic_name": "newazole", "reason": "formulary"}
    office.post(at("drug_add"), unit)
    drug = drug_named("newazole")
    version = drug.history.get()
    page = office.post(at("drug_change", drug.pk), {"seen": version.pk, "reason": "again"})
    assert "Nothing is different" in text_of(page)
    assert drug.history.get() == version


def test_whoever_saves_second_is_told_who_changed_what_and_loses_nothing(
    office: Client, clinic: Clinic
) -> None:
    office.post(at("drug_add"), {"generic_name": "newazole", "reason": "formulary"})
    drug = drug_named("newazole")
    seen = drug.history.get().pk
    change = at("drug_change", drug.pk)
    first = {"rxcui": "12", "atc_codes": "", "seen": seen, "reason": "codes"}
    assert office.post(change, first).status_code == 302
    other = Client()
    other.force_login(a_person(clinic, Role.RULE_EDITOR, username="second"))
    second = {"rxcui": "", "aliases": "Newa", "seen": seen, "reason": "brand"}
    page = other.post(change, second)
    told = text_of(page)
    assert "Robin Keeper saved this row after you opened it" in told
    assert "RxCUI: nothing → 12" in told
    form = page.context["adminform"].form
    assert (form["rxcui"].value(), form["aliases"].value()) == ("12", "Newa")
    assert (form["reason"].value(), form["seen"].value()) == ("brand", str(drug.history.first().pk))
    again = {name: form[name].value() for name in ("rxcui", "aliases", "reason", "seen")}
    assert other.post(change, again).status_code == 302
    drug.refresh_from_db()
    assert (drug.rxcui, drug.aliases) == ("12", "Newa")


def test_a_form_that_does_not_say_what_it_shows_saves_nothing(office: Client) -> None:
    drug = drug_named("voriconazole")
    page = office.post(at("drug_change", drug.pk), {"aliases": "Vori", "reason": "brand"})
    assert "does not say which version it shows" in text_of(page)
    assert drug.history.count() == 1


@pytest.mark.parametrize("table", ["drug", "analyte", "analyteunit"])
@pytest.mark.parametrize("kind", ["csv", "xlsx"])
def test_what_was_exported_changes_nothing_when_it_comes_back(
    office: Client, table: str, kind: str
) -> None:
    before = LedgerEntry.objects.count()
    number = {"csv": 0, "xlsx": 1}[kind]
    file = office.post(at(f"{table}_export"), {"format": number, "resource": 0})
    assert file["Content-Disposition"].endswith(f'.{kind}"')
    shown = send(office, table, file.content, f"rows.{kind}")
    outcome = shown.context["outcome"]
    model = {"drug": Drug, "analyte": Analyte, "analyteunit": AnalyteUnit}[table]
    assert outcome.faults == ()
    assert (outcome.rows, outcome.same) == ((), model.objects.count())
    assert "Nothing to take" in text_of(shown)
    keep(office, table, shown)
    assert LedgerEntry.objects.count() == before


def test_an_export_keeps_to_the_filters_of_the_list(office: Client) -> None:
    address = f"{at('drug_export')}?q=voriconazole"
    file = office.post(address, {"format": 0, "resource": 0})
    assert len(file.content.decode().splitlines()) == 2
    listed = office.get(f"{at('drug_changelist')}?kind=combination")
    assert listed.status_code == 200
    assert all(drug.ingredients for drug in listed.context["cl"].result_list)


def test_a_file_of_drugs_is_shown_then_taken_as_one_act(office: Client) -> None:
    before = LedgerEntry.objects.count()
    file = b"generic_name,aliases,rxcui\nnewazole,Newa,7\nvoriconazole,Vori,\n"
    shown = send(office, "drug", file)
    assert LedgerEntry.objects.count() == before
    assert drug_named("newazole") is None
    outcome = shown.context["outcome"]
    assert (outcome.added, outcome.changed, outcome.same) == (1, 1, 0)
    (added, new), (changed, old) = changes(shown)
    assert (added, changed) == ("newazole", "voriconazole")
    assert ("aliases", None, "Newa") in new
    assert [name for name, _, now in old if now == "Vori"] == ["aliases"]
    unsaid = keep(office, "drug", shown, reason="")
    assert "This field is required" in text_of(unsaid)
    assert drug_named("newazole") is None
    assert keep(office, "drug", unsaid).status_code == 302
    entry = LedgerEntry.objects.latest("pk")
    assert (entry.act, entry.reason, entry.chain.name) == (
        "Vocabulary imported", "Formulary of 2026", "system",
    )  # fmt: skip
    assert LedgerEntry.objects.count() == before + 1
    assert entry.subjects.count() == 2
    assert drug_named("newazole").history.get().history_actor == "Robin Keeper"
    again = send(office, "drug", file)
    assert again.context["outcome"].same == 2
    assert LedgerEntry.objects.count() == before + 1


@pytest.mark.parametrize(
    ("table", "file", "words"),
    [
        ("drug", b"generic_name,colour\nx,red", "no column 'colour'"),
        ("drug", b"aliases\nx", "The column generic_name is missing"),
        ("drug", b"generic_name\nnewazole\nNewazole", "Row 3: Newazole stands in row 2 already"),
        ("drug", b"generic_name,aliases\nnewazole,rifampicin", "already finds rifampin"),
        ("drug", b"generic_name,codes_verified\nnewazole,maybe", "Write true or false"),
        ("drug", b"generic_name,aliases\nnewazole,=1+1", "Row 2, column aliases: begins with ="),
        ("analyte", b"key,name,canonical_unit\nmood,Mood,1", "There is no analyte 'mood'"),
        ("analyte", b"key,name,canonical_unit\npotassium,Potassium,g", "it cannot be changed"),
        (
            "analyte",
            b"key,name,canonical_unit,plausible_low\npotassium,Potassium,mmol/L,\"1,5\"",
            "Row 2, column plausible_low: Write 1.5 with a point",
        ),
        (
            "analyte",
            b"key,name,canonical_unit,plausible_low,plausible_high\npotassium,Potassium,mmol/L,9,8",
            "The high limit must be above the low one",
        ),
        (
            "analyteunit",
            b"analyte,unit,factor_numerator,source\nmood,g,1,x",
            "Row 2, column analyte: There is no analyte 'mood'",
        ),
        (
            "analyteunit",
            b"analyte,unit,factor_numerator,source\npotassium,mmol/L,3,x",
            "it cannot be changed",
        ),
    ],
)  # fmt: skip
def test_a_faulty_file_of_the_vocabulary_is_refused_with_row_and_reason(
    office: Client, table: str, file: bytes, words: str
) -> None:
    before = LedgerEntry.objects.count()
    page = send(office, table, file)
    assert words in text_of(page).replace("&quot;", '"')
    assert "keep_form" not in page.context or not page.context["outcome"].rows
    assert LedgerEntry.objects.count() == before


def test_a_unit_of_another_spelling_is_the_unit_that_is_there(office: Client) -> None:
    file = "analyte,unit,factor_numerator,source\ncrp,µg/mL,1,1 µg/mL = 1 mg/L\n".encode()
    assert keep(office, "analyteunit", send(office, "analyteunit", file)).status_code == 302
    assert AnalyteUnit.objects.filter(analyte=analyte_named("crp"), unit="ug/mL").count() == 1
    assert send(office, "analyteunit", file).context["outcome"].same == 1


def test_a_preview_is_kept_only_while_nothing_has_changed(office: Client) -> None:
    shown = send(office, "drug", b"generic_name\nnewazole\n")
    office.post(at("drug_add"), {"generic_name": "otherazole", "reason": "formulary"})
    page = keep(office, "drug", shown)
    assert "it was changed since the preview" in text_of(page)
    assert drug_named("newazole") is None
    assert keep(office, "drug", page).status_code == 302
    assert drug_named("newazole") is not None


def test_a_preview_of_another_person_table_or_hand_is_worth_nothing(
    office: Client, clinic: Clinic
) -> None:
    shown = send(office, "drug", b"generic_name\nnewazole\n")
    preview = shown.context["keep_form"]["preview"].value()
    sent = {"preview": preview, "reason": "mine"}
    other = Client()
    other.force_login(a_person(clinic, Role.RULE_EDITOR))
    for client, table, payload in (
        (other, "drug", sent),
        (office, "analyte", sent),
        (office, "drug", sent | {"preview": f"{preview}x"}),
        (office, "drug", {"reason": "mine"}),
    ):
        page = client.post(at(f"{table}_process_import"), payload, follow=True)
        assert "choose the file again" in text_of(page)
    assert drug_named("newazole") is None


def test_neither_session_nor_disk_keeps_a_file(
    office: Client, tmp_path: Any, settings: Any
) -> None:
    settings.FILE_UPLOAD_TEMP_DIR = str(tmp_path)
    settings.FILE_UPLOAD_MAX_MEMORY_SIZE = 0
    shown = send(office, "drug", b"generic_name\nnewazole\n")
    assert shown.context["outcome"].added == 1
    assert set(office.session.keys()) <= {"_auth_user_id", "_auth_user_backend", "_auth_user_hash"}
    shown.close()
    assert list(tmp_path.iterdir()) == []


def test_who_does_not_maintain_the_vocabulary_gets_none_of_it(clinic: Clinic) -> None:
    approver = Client()
    approver.force_login(a_person(clinic, Role.RULE_APPROVER))
    pk = drug_named("voriconazole").pk
    for page in ("drug_import", "drug_export", "drug_changelist"):
        assert approver.get(at(page)).status_code == 403
        assert Client().get(at(page)).status_code == 302
    assert approver.get(at("drug_history", pk)).status_code == 403
    assert approver.post(at("drug_process_import")).status_code == 403
