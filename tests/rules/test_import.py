"""Rows of a draft from a file: shown first, taken whole with a reason, or refused with the row."""

import csv
import io
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import models
from django.test import Client
from django.urls import reverse

from dosing.rules.linter import Level
from dosing.rules.models import (
    TABLES,
    Citation,
    DrugClass,
    Finding,
    Interaction,
    LevelBand,
    RuleBook,
    Threshold,
)
from dosing.rules.selectors import lint_of
from dosing.rules.services import (
    content_sha256,
    draft_book,
    edit_row,
    return_to_draft,
    submit_for_review,
)
from tacroweb.accounts.models import Clinic, User
from tacroweb.accounts.roles import Role
from tacroweb.audit.models import LedgerEntry
from tests.factories import NOW, a_clinic, a_person, for_all
from tests.rules.test_admin import at, text_of


@pytest.fixture
def clinic(db: None) -> Clinic:
    return a_clinic("North")


@pytest.fixture
def person(clinic: Clinic) -> User:
    return a_person(clinic, Role.RULE_EDITOR, username="editor")


@pytest.fixture
def editor(person: User, client: Client) -> Client:
    client.force_login(person)
    return client


@pytest.fixture
def draft(person: User) -> RuleBook:
    return draft_book(at=NOW, by=for_all(person))


def send(editor: Client, model: type[models.Model], file: Any, name: str = "rows.csv") -> Any:
    content = file if isinstance(file, bytes) else csv_of(file)
    sent = {"import_file": SimpleUploadedFile(name, content)}
    return editor.post(at(model, "import"), sent)


def keep(editor: Client, model: type[models.Model], shown: Any, reason: str = "Committee") -> Any:
    preview = shown.context["keep_form"]["preview"].value()
    return editor.post(at(model, "process_import"), {"preview": preview, "reason": reason})


def csv_of(rows: Iterable[Mapping[str, Any]]) -> bytes:
    rows = list(rows)
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def export(editor: Client, model: type[models.Model], kind: str = "csv", query: str = "") -> bytes:
    number = ["csv", "xlsx"].index(kind)
    address = f"{at(model, 'export')}{query}"
    file = editor.post(address, {"format": number, "resource": 0})
    assert file["Content-Disposition"].startswith("attachment")
    content: bytes = file.content
    return content


def exported(editor: Client, model: type[models.Model], code: str = "") -> list[dict[str, str]]:
    text = export(editor, model).decode("utf-8-sig")
    return [row for row in csv.DictReader(io.StringIO(text)) if code in ("", row["code"])]


def a_cut(editor: Client) -> dict[str, str]:
    """The row of the shipped book that cuts the dose to a fraction."""
    rows = exported(editor, Interaction)
    return next(row for row in rows if row["act"] == "CUT_TO_FRACTION")


def faults(page: Any) -> str:
    if page.context.get("outcome"):
        return " ".join(page.context["outcome"].faults)
    return " ".join(page.context["form"].errors.get("import_file", []))


def changes(page: Any) -> dict[str, tuple[Any, ...]]:
    return {row.name: row.changes for row in page.context["outcome"].rows}


def test_what_was_exported_changes_nothing_when_it_comes_back_for_any_table(
    editor: Client, draft: RuleBook
) -> None:
    before, entries = content_sha256(draft), LedgerEntry.objects.count()
    for model in TABLES.values():
        rows = model.objects.filter(book=draft).count()
        if not rows:
            continue
        for kind in ("csv", "xlsx"):
            page = send(editor, model, export(editor, model, kind), f"rows.{kind}")
            outcome = page.context["outcome"]
            assert outcome.faults == (), (model, kind)
            assert (outcome.rows, outcome.same) == ((), rows), (model, kind)
            assert "Take the file" not in text_of(page)
    assert (content_sha256(draft), LedgerEntry.objects.count()) == (before, entries)


def test_an_export_is_of_one_book_and_keeps_to_the_filters(editor: Client, draft: RuleBook) -> None:
    in_force = RuleBook.objects.get(status="PUBLISHED")
    row = Interaction.objects.filter(book=draft)[0]
    row.mechanism = "Only in the draft."
    edit_row(row=row, by=for_all(a_person(a_clinic(), Role.RULE_EDITOR)))
    assert b"Only in the draft." in export(editor, Interaction)
    older = export(editor, Interaction, query=f"?book={in_force}")
    assert b"Only in the draft." not in older
    assert len(exported(editor, Interaction)) == Interaction.objects.filter(book=draft).count()
    some = export(editor, Interaction, query="?change=STARTED").decode()
    assert "STARTED" in some
    assert "STOPPED" not in {row["change"] for row in csv.DictReader(io.StringIO(some))}
    page = send(editor, Interaction, older)
    assert list(changes(page)) == [row.code]


def test_a_file_shows_each_change_field_by_field_and_is_taken_as_one_act(
    editor: Client, draft: RuleBook
) -> None:
    before, entries = content_sha256(draft), LedgerEntry.objects.count()
    row = a_cut(editor)
    file = [
        row | {"denominator": "2", "mechanism": "CYP3A4"},
        row | {"code": "NEW-STARTED", "drugs": "ritonavir", "enabled": "false"},
    ]
    page = send(editor, Interaction, file)
    assert (content_sha256(draft), LedgerEntry.objects.count()) == (before, entries)
    shown = changes(page)
    assert ("denominator", row["denominator"], "2") in shown[row["code"]]
    assert {name for name, _, _ in shown[row["code"]]} == {"denominator", "mechanism"}
    assert ("drugs", None, "ritonavir") in shown["NEW-STARTED"]
    told = text_of(page)
    assert "1 row added, 1 changed, 0 as before" in told
    assert "What the linter says of the draft then" in told
    unsaid = keep(editor, Interaction, page, reason=" ")
    assert "This field is required" in text_of(unsaid)
    assert content_sha256(draft) == before
    assert keep(editor, Interaction, unsaid).status_code == 302
    entry = LedgerEntry.objects.latest("pk")
    assert LedgerEntry.objects.count() == entries + 1
    assert (entry.act, entry.reason, entry.actor_name, entry.chain.name) == (
        "Rule rows imported", "Committee", "Robin Editor", "system",
    )  # fmt: skip
    stored = Interaction.objects.get(book=draft, code=row["code"])
    assert (stored.denominator, stored.mechanism) == (2, "CYP3A4")
    assert stored.history.first().history_change_reason == "Committee"
    assert not Interaction.objects.get(book=draft, code="NEW-STARTED").enabled
    again = send(editor, Interaction, file)
    assert (again.context["outcome"].rows, again.context["outcome"].same) == ((), 2)
    assert LedgerEntry.objects.count() == entries + 1


def test_a_file_may_leave_out_what_has_a_default_and_removes_nothing(
    editor: Client, draft: RuleBook
) -> None:
    rows = Citation.objects.filter(book=draft).count()
    file = [{"code": "NEW", "origin": "LOCAL", "source": "s", "title": "t", "reference": "r"}]
    keep(editor, Citation, send(editor, Citation, file))
    stored = Citation.objects.get(book=draft, code="NEW")
    assert (stored.enabled, stored.read, stored.statements) == (True, "MEMORY", "")
    assert Citation.objects.filter(book=draft).count() == rows + 1


LEAST = {
    "code": "NEW-BAND", "origin": "LOCAL", "source": "s", "unit": "ng/mL", "band": "TOXIC",
    "low": "30", "low_included": "true", "high": "", "high_included": "false",
}  # fmt: skip


FAULTS: list[tuple[list[dict[str, str]], str]] = [
    ([LEAST | {"colour": "red"}], "There is no column 'colour' here."),
    ([{"code": "A", "unit": "1"}], "The column band is missing."),
    ([LEAST, LEAST], "Row 3: NEW-BAND stands in row 2 already."),
    ([LEAST, LEAST | {"code": "new-band"}], "Row 3: new-band stands in row 2 already."),
    ([LEAST | {"code": "band-toxic"}], "Row 2: band-toxic differs from BAND-TOXIC by capital"),
    ([LEAST | {"source": "=1+1"}], "Row 2, column source: begins with ="),
    ([LEAST | {"low": "1,5"}], "Row 2, column low: Write 1.5 with a point"),
    ([LEAST | {"low": "-1"}], "Row 2, column low: The value cannot be negative"),
    ([LEAST | {"low": "1e3"}], "Row 2, column low: Write the value in full"),
    ([LEAST | {"band": "HUGE"}], "Row 2, column band: HUGE is not one of FAR_BELOW, BELOW"),
    ([LEAST | {"enabled": "ja"}], "Row 2, column enabled: Write true or false."),
    ([LEAST | {"enabled": ""}], "Row 2, column enabled: Write true or false."),
    ([LEAST | {"unit": ""}], "Row 2, column unit: This field cannot be blank."),
    ([LEAST | {"code": "no code"}], "Row 2, column code: A code is letters, digits"),
    ([LEAST | {"code": ""}], "Row 2, column code: This field cannot be blank."),
    ([LEAST | {"statements": "S40,S41"}], "Row 2, column statements"),
    ([LEAST | {"reviewed_on": "2.11.2026"}], "column reviewed_on: Write the day as 2026-11-02"),
    ([LEAST | {"source": "a\u202eb"}], "Row 2, column source: Remove the invisible characters"),
    ([LEAST | {"citations": "NO-SUCH"}], "Row 2: NEW-BAND cites NO-SUCH"),
]


def test_a_faulty_file_is_refused_with_row_and_reason_and_nothing_is_written(
    editor: Client, draft: RuleBook
) -> None:
    before, entries = content_sha256(draft), LedgerEntry.objects.count()
    for file, words in FAULTS:
        page = send(editor, LevelBand, file)
        assert words in faults(page)
        assert "Take the file" not in text_of(page)
    assert (content_sha256(draft), LedgerEntry.objects.count()) == (before, entries)


def test_one_wrong_row_among_good_ones_stops_them_all(editor: Client, draft: RuleBook) -> None:
    rows = exported(editor, Threshold)
    rows[0]["source"] = "Another source."
    rows[-1]["low"] = "x"
    page = send(editor, Threshold, rows)
    assert (
        faults(page)
        == f"Row {len(rows) + 1}, column low: Enter the value as a number, such as 1.5."
    )
    assert not Threshold.objects.filter(source="Another source.").exists()


def test_a_drug_twice_within_the_classes_is_refused(editor: Client, draft: RuleBook) -> None:
    row = exported(editor, DrugClass)[0]
    twice = send(editor, DrugClass, [row | {"code": "CLASS-AGAIN", "drug": row["drug"].upper()}])
    assert f"Row 2: CLASS-AGAIN classes {row['drug'].upper()} a second time" in faults(twice)
    both = send(
        editor,
        DrugClass,
        [row | {"code": f"C{n}", "drug": "newazole"} for n in (1, 2)],
    )
    assert "Row 3: C2 classes newazole a second time: C1 does already." in faults(both)


def test_a_pair_of_drugs_the_other_way_round_is_refused(editor: Client, draft: RuleBook) -> None:
    row = a_cut(editor)
    drug = row["drugs"].split(", ")[0]
    file = [row | {"code": "REVERSED", "drugs": "tacrolimus", "with_drugs": drug}]
    assert f"Row 2: REVERSED has tacrolimus and {drug} the other way round" in faults(
        send(editor, Interaction, file)
    )


def test_an_overlap_is_shown_by_the_linter_before_the_file_is_taken(
    editor: Client, draft: RuleBook
) -> None:
    rows = exported(editor, LevelBand)
    band = next(row for row in rows if row["band"] == "ABOVE")
    band["low"] = "9"
    page = send(editor, LevelBand, [band])
    remarks = page.context["outcome"].remarks
    told = {(found.level, found.check) for found in remarks.new}
    assert (Level.ERROR, "OVERLAP") in told
    assert remarks.others == len(lint_of(draft, at=NOW))
    assert "OVERLAP" in {found.check for found in remarks.new}
    assert keep(editor, LevelBand, page).status_code == 302
    mended = exported(editor, LevelBand, band["code"])[0] | {"low": "10"}
    page = send(editor, LevelBand, [mended])
    assert remarks.new == page.context["outcome"].remarks.mended
    assert "Mended" in text_of(page)


def test_what_a_file_softens_is_named_before_it_is_taken(editor: Client, draft: RuleBook) -> None:
    row = next(row for row in exported(editor, Finding) if row["severity"] == "STOP")
    page = send(editor, Finding, [row | {"severity": "INFO"}])
    told = [found.message for found in page.context["outcome"].remarks.new]
    assert any(row["code"] in message for message in told), told
    assert "Stop" in text_of(page)
    assert "Info" in text_of(page)


def test_rows_that_would_be_no_book_are_shown_as_such(editor: Client, draft: RuleBook) -> None:
    rows = exported(editor, LevelBand)
    page = send(editor, LevelBand, [row | {"enabled": "false"} for row in rows])
    assert "are no rule book" in text_of(page)


def test_no_file_is_taken_without_a_draft_or_into_a_settled_book(
    editor: Client, person: User
) -> None:
    assert "a file can be taken once a draft is open" in text_of(
        editor.get(at(Interaction, "import"))
    )
    page = send(editor, Interaction, export(editor, Interaction))
    assert "a file can be taken once a draft is open" in text_of(page)
    opened = f'<a href="{reverse("dosing:workbench")}">{{}}</a>'
    assert opened.format("Open a draft") in page.content.decode()
    draft = draft_book(at=NOW, by=for_all(person))
    row = exported(editor, Interaction)[0] | {"mechanism": "Else"}
    shown = send(editor, Interaction, [row])
    submit_for_review(book=draft, at=NOW, by=for_all(person))
    page = editor.get(at(Interaction, "import"))
    assert opened.format("See the review") in page.content.decode()
    page = keep(editor, Interaction, shown)
    assert page["Location"] == at(Interaction, "import")
    assert not Interaction.objects.filter(mechanism="Else").exists()
    return_to_draft(book=draft, by=for_all(person))
    assert "it was changed since the preview" in text_of(keep(editor, Interaction, shown))


def test_a_preview_is_kept_only_while_the_draft_stands_as_it_was_shown(
    editor: Client, draft: RuleBook, clinic: Clinic
) -> None:
    row = exported(editor, Interaction)[0] | {"mechanism": "From the file"}
    shown = send(editor, Interaction, [row])
    other = Threshold.objects.filter(book=draft)[0]
    other.source = "By somebody else."
    edit_row(row=other, by=for_all(a_person(clinic, Role.RULE_EDITOR, username="second")))
    page = keep(editor, Interaction, shown)
    assert "it was changed since the preview" in text_of(page)
    assert not Interaction.objects.filter(mechanism="From the file").exists()
    assert page.context["keep_form"]["reason"].value() == "Committee"
    assert keep(editor, Interaction, page).status_code == 302
    assert Interaction.objects.filter(mechanism="From the file").count() == 1


def test_an_import_that_fails_half_way_leaves_nothing(
    editor: Client, draft: RuleBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = exported(editor, Threshold)[:3]
    shown = send(editor, Threshold, [row | {"source": "From the file"} for row in rows])
    entries = LedgerEntry.objects.count()

    def away(*args: Any, **kwargs: Any) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr("tacroweb.audit.ledger.append", away)
    with pytest.raises(OSError, match="disk"):
        keep(editor, Threshold, shown)
    monkeypatch.undo()
    assert not Threshold.objects.filter(source="From the file").exists()
    assert Threshold.history.filter(source="From the file").count() == 0
    assert LedgerEntry.objects.count() == entries


def test_only_a_rule_editor_takes_files(clinic: Clinic, draft: RuleBook) -> None:
    reader = Client()
    reader.force_login(a_person(clinic, Role.RULE_APPROVER))
    assert reader.get(at(Interaction, "export")).status_code == 200
    assert reader.get(at(Interaction, "import")).status_code == 403
    assert reader.post(at(Interaction, "process_import")).status_code == 403
    assert Client().get(at(Interaction, "import")).status_code == 302


def test_hundreds_of_rows_are_shown_and_taken(editor: Client, draft: RuleBook) -> None:
    rows = [LEAST | {"code": f"NEW-{n}", "low": str(n)} for n in range(300)]
    shown = send(editor, LevelBand, rows)
    assert shown.context["outcome"].added == 300
    assert len(shown.context["keep_form"]["preview"].value()) < 100_000
    assert keep(editor, LevelBand, shown).status_code == 302
    assert LevelBand.objects.filter(book=draft, code__startswith="NEW-").count() == 300
