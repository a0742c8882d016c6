"""Rule books in the back office: rows of the draft are edited with a reason, all else is read."""

import re
from typing import Any

import pytest
from django.db import models
from django.test import Client
from django.urls import reverse

from dosing.rules import words
from dosing.rules.models import TABLES, Interaction, ModifyingFactor, RuleBook, RuleRow, Threshold
from dosing.rules.selectors import newest_version
from dosing.rules.services import draft_book, edit_row, publish_book, remove_row, submit_for_review
from patients.models import AnalyteUnit, Drug
from tacroweb.accounts.models import Clinic, User
from tacroweb.accounts.roles import Role
from tacroweb.audit.models import LedgerEntry
from tests.factories import NOW, a_clinic, a_person, for_all

AZOLE = "AZOLE-STARTED"
READ_ONLY = (Role.RULE_APPROVER, Role.ADMINISTRATOR)


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


def in_force() -> RuleBook:
    return RuleBook.objects.get(status="PUBLISHED")


def at(model: type[models.Model], page: str, *args: Any) -> str:
    return reverse(f"admin:rules_{model._meta.model_name}_{page}", args=args)


def text_of(response: Any) -> str:
    text = re.sub(r"<[^>]+>|\s+", " ", response.content.decode()).replace("&#x27;", "'")
    return re.sub(r"\s+", " ", text).replace("&quot;", '"').replace("&gt;", ">")


def fields_of(page: Any) -> dict[str, Any]:
    """What a browser would send back from a page of one row: the form and the rows beside it."""
    sent: dict[str, Any] = {}
    forms = [page.context["adminform"].form]
    for inline in page.context["inline_admin_formsets"]:
        forms += [inline.formset.management_form, *inline.formset.forms]
    for form in forms:
        for bound in form:
            value = bound.value()
            if value is None or value is False or bound.name == "DELETE":
                continue
            if bound.name in page.context["adminform"].readonly_fields and form is forms[0]:
                continue
            sent[bound.html_name] = "on" if value is True else bound.field.prepare_value(value)
    return {name: value for name, value in sent.items() if value is not None}


def prefix_of(sent: dict[str, Any], row: RuleRow) -> str:
    """The prefix of the form of a row beside the page’s own."""
    found = [name for name, value in sent.items() if str(value) == str(row.pk)]
    return next(name.removesuffix("-id") for name in found if name.endswith("-id"))


def row_of(book: RuleBook, model: type[RuleRow], **wanted: Any) -> Any:
    return model.objects.filter(book=book, **wanted).order_by("pk")[0]


def newest_act() -> tuple[str, str, str, str, str]:
    entry = LedgerEntry.objects.latest("pk")
    return entry.act, entry.actor_name, entry.channel, entry.chain.name, entry.reason


# Doors


def test_every_table_is_listed_read_and_edited_in_the_draft_only(
    editor: Client, draft: RuleBook
) -> None:
    for model in TABLES.values():
        check_doors(editor, draft, model)


def check_doors(editor: Client, draft: RuleBook, model: type[RuleRow]) -> None:
    listed = editor.get(at(model, "changelist"))
    assert listed.status_code == 200
    rows = list(listed.context["cl"].result_list)
    assert {row.book for row in rows} <= {draft}
    assert len(rows) == min(50, model.objects.filter(book=draft).count())
    assert "is a draft: its rows can be edited" in text_of(listed)
    added = editor.get(at(model, "add"))
    assert added.status_code == 200
    assert {"code", "source", "reason", "seen"} <= set(added.context["adminform"].form.fields)
    if not rows:
        return
    page = editor.get(at(model, "change", rows[0].pk))
    assert page.status_code == 200
    assert "code" not in page.context["adminform"].form.fields
    assert editor.get(at(model, "history", rows[0].pk)).status_code == 200
    settled = row_of(in_force(), model)
    page = editor.get(at(model, "change", settled.pk))
    assert page.status_code == 200
    assert not page.context["has_change_permission"]
    told = text_of(page)
    assert f"Rule book {in_force()} is published: its rows are settled." in told
    assert f"Rows of {draft}" in told
    assert editor.post(at(model, "change", settled.pk), {"reason": "mine"}).status_code == 403
    assert editor.get(at(model, "delete", settled.pk)).status_code == 403
    assert editor.post(at(model, "delete", settled.pk), {"reason": "mine"}).status_code == 403


def test_without_a_draft_the_rows_in_force_are_shown_and_the_page_says_what_to_do(
    editor: Client,
) -> None:
    page = editor.get(at(Interaction, "changelist"))
    assert {row.book for row in page.context["cl"].result_list} == {in_force()}
    told = text_of(page)
    assert "is published: its rows are settled. Draft a new version first." in told
    index = editor.get(reverse("admin:index"))
    books = index.context["app_list"][0]["models"]
    assert {(table["view_only"], table["add_url"]) for table in books} == {(True, None)}
    assert editor.get(at(Interaction, "add")).status_code == 403


def test_a_book_in_review_is_read_only(editor: Client, draft: RuleBook, person: User) -> None:
    row = row_of(draft, Interaction)
    submit_for_review(book=draft, at=NOW, by=for_all(person))
    page = editor.get(at(Interaction, "change", row.pk))
    assert "See the review" in text_of(page)
    assert "Open a draft" not in text_of(page)
    assert f"Rule book {draft} is in review: its rows are settled." in text_of(page)
    assert editor.post(at(Interaction, "change", row.pk), {"reason": "mine"}).status_code == 403
    assert editor.get(at(Interaction, "add")).status_code == 403


@pytest.mark.parametrize("role", READ_ONLY)
def test_who_may_only_read_rules_edits_none(clinic: Clinic, draft: RuleBook, role: Role) -> None:
    reader = Client()
    reader.force_login(a_person(clinic, role))
    row = row_of(draft, Interaction)
    page = reader.get(at(Interaction, "changelist"))
    assert page.status_code == 200
    assert "a rule editor edits it" in text_of(page)
    assert reader.get(at(Interaction, "change", row.pk)).status_code == 200
    assert reader.get(at(Interaction, "history", row.pk)).status_code == 200
    for page_name in ("add", "import"):
        assert reader.get(at(Interaction, page_name)).status_code == 403
    for page_name in ("change", "delete"):
        address = at(Interaction, page_name, row.pk)
        assert reader.post(address, {"reason": "mine"}).status_code == 403
    assert row.history.count() == 1


@pytest.mark.parametrize("role", [Role.PRESCRIBER, Role.PHARMACIST, Role.NURSE, Role.AUDITOR])
def test_who_maintains_nothing_does_not_come_in(
    clinic: Clinic, draft: RuleBook, role: Role
) -> None:
    stranger = Client()
    stranger.force_login(a_person(clinic, role, is_staff=True))
    row = row_of(draft, Interaction)
    for address in (at(Interaction, "changelist"), at(Interaction, "change", row.pk)):
        assert stranger.get(address).status_code == 302


def test_a_rule_editor_of_any_clinic_edits_the_one_draft(draft: RuleBook) -> None:
    south = Client()
    south.force_login(a_person(a_clinic("South"), Role.RULE_EDITOR))
    page = south.get(at(Interaction, "change", row_of(draft, Interaction).pk))
    assert page.context["has_change_permission"]


def test_there_is_no_action_on_many_rows(editor: Client, draft: RuleBook) -> None:
    rows = list(Interaction.objects.filter(book=draft))
    sent = {"action": "delete_selected", "_selected_action": [row.pk for row in rows]}
    page = editor.post(at(Interaction, "changelist"), sent | {"post": "yes"})
    assert page.status_code in (200, 302, 403)
    assert Interaction.objects.filter(book=draft).count() == len(rows)


# Lists


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("origin=SEED", lambda row: row.origin == "SEED"),
        ("enabled__exact=0", lambda row: not row.enabled),
        ("needs_local_approval__exact=1", lambda row: row.needs_local_approval),
        ("statement=S40", lambda row: "S40" in row.statements.split(", ")),
        ("act=CUT_TO_FRACTION", lambda row: row.act == "CUT_TO_FRACTION"),
        ("q=voriconazole", lambda row: "voriconazole" in f"{row.drugs} {row.source}"),
    ],
)
def test_a_list_is_searched_and_filtered(
    editor: Client, draft: RuleBook, query: str, told: Any
) -> None:
    page = editor.get(f"{at(Interaction, 'changelist')}?{query}")
    listed = set(page.context["cl"].result_list)
    assert page.status_code == 200
    everything = Interaction.objects.filter(book=draft)
    assert {row for row in everything if told(row)} >= listed
    assert listed or not any(map(told, everything))


def test_one_book_is_listed_at_a_time(editor: Client, draft: RuleBook) -> None:
    page = editor.get(f"{at(Interaction, 'changelist')}?book={in_force()}")
    assert {row.book for row in page.context["cl"].result_list} == {in_force()}
    none = editor.get(f"{at(Interaction, 'changelist')}?book=1999-01")
    assert list(none.context["cl"].result_list) == []
    assert none.status_code == 200


def test_an_address_that_no_database_can_be_asked_is_refused(
    editor: Client, draft: RuleBook
) -> None:
    for query in ("book=%00", "statement=%00", "origin=%00", "q=%00"):
        assert editor.get(f"{at(Interaction, 'changelist')}?{query}").status_code == 400
        assert editor.get(f"{at(Interaction, 'export')}?{query}").status_code == 400
    odd = '?book=2026"%0d%0aX-Header:1'
    file = editor.post(f"{at(Interaction, 'export')}{odd}", {"format": 0, "resource": 0})
    assert file["Content-Disposition"] == 'attachment; filename="interactions-none.csv"'
    for pk in ("%00", "x", str(10**30)):
        assert (
            editor.get(at(Interaction, "history", 1).replace("/1/", f"/{pk}/")).status_code == 302
        )


def test_a_list_says_stretches_and_shares_as_people_do(editor: Client, draft: RuleBook) -> None:
    listed = text_of(editor.get(f"{at(Threshold, 'changelist')}?quantity=potassium"))
    assert "to below" in listed
    assert "mmol/L" in listed
    assert "1/3" in text_of(editor.get(at(Interaction, "changelist")))


def test_books_are_listed_and_nothing_of_their_life_happens_here(
    editor: Client, draft: RuleBook
) -> None:
    page = editor.get(at(RuleBook, "changelist"))
    assert {book.version for book in page.context["cl"].result_list} >= {str(draft)}
    assert "on pages of its own" in text_of(page)
    address = at(RuleBook, "change", draft.pk)
    assert editor.get(address).status_code == 200
    assert editor.post(address, {"status": "PUBLISHED"}).status_code == 403
    assert editor.get(at(RuleBook, "add")).status_code == 403
    assert editor.get(at(RuleBook, "delete", draft.pk)).status_code == 403
    assert editor.get(at(RuleBook, "history", draft.pk)).status_code == 200


def test_the_index_lists_the_tables_as_a_book_is_read_with_how_many_rows_each_has(
    editor: Client, draft: RuleBook, person: User
) -> None:
    gone = row_of(draft, TABLES["outcomes"])
    remove_row(row=gone, seen=newest_version(gone), by=for_all(person))
    page = editor.get(reverse("admin:index"))
    books, vocabulary = page.context["app_list"]
    assert (books["name"], vocabulary["name"]) == ("Rule books", "Vocabulary")
    told = [(table["heading"], table["name"], table["note"]) for table in books["models"]]
    assert told[0] == ("", "Rule books", f"rows of {draft} (draft)")
    assert told[1:] == [
        (
            heading.title,
            words.table_title(table),
            str(TABLES[table].objects.filter(book=draft).count()),
        )
        for heading in words.HEADINGS
        for table in heading.tables
    ]
    assert len(told) == len(TABLES) + 1
    assert not any(table["view_only"] for table in books["models"][1:])
    text = text_of(page)
    assert "Drugs that hold tacrolimus" in text
    assert "Patients" not in text
    app = editor.get(reverse("admin:app_list", args=["rules"]))
    assert [table["name"] for table in app.context["app_list"][0]["models"]][1] == told[1][1]
    crumbs = text_of(editor.get(reverse("admin:patients_drug_changelist")))
    assert "Home › Vocabulary › Drugs" in crumbs.replace("&rsaquo;", "›")


def test_a_number_that_can_only_be_read_has_no_zeros_that_its_table_adds(
    editor: Client, draft: RuleBook
) -> None:
    number = row_of(in_force(), TABLES["numbers"], code="CYP3A5-TIMES-LOW")
    lower = row_of(in_force(), Threshold, quantity="potassium", low=None)
    for row in (number, lower):
        page = text_of(editor.get(at(type(row), "change", row.pk)))
        assert not re.search(r"\d\.\d*0{3}", page)
    told = text_of(editor.get(at(type(number), "change", number.pk)))
    assert "Value: 1.5 " in told
    unit = AnalyteUnit.objects.exclude(factor_numerator=1).first()
    assert unit is not None
    page = text_of(editor.get(reverse("admin:patients_analyteunit_change", args=[unit.pk])))
    assert not re.search(r"\d\.\d*0{3}", page)


def test_the_fictional_clinic_is_told_as_such_in_the_back_office_too(
    editor: Client, settings: Any
) -> None:
    for demo in (False, True):
        settings.DEMO = demo
        page = text_of(editor.get(reverse("admin:index")))
        assert ("Fictional patients: enter no real data" in page) is demo


# Edits


def test_what_is_wrong_is_summed_up_at_the_top_each_with_a_link_to_its_field(
    editor: Client, draft: RuleBook
) -> None:
    factor = row_of(draft, ModifyingFactor)
    row = row_of(draft, Interaction, code=factor.interaction)
    address = at(Interaction, "change", row.pk)
    sent = fields_of(editor.get(address))
    prefix = prefix_of(sent, factor)
    page = editor.post(address, sent | {"source": "", f"{prefix}-action": ""})
    assert page.context["problems"] == [
        ("id_source", "Source: This field is required."),
        ("id_reason", "Reason: This field is required."),
        (f"id_{prefix}-action", f"{factor}: Action: This field is required."),
    ]
    html = page.content.decode()
    assert re.findall(r"<title>\s*(\w+:)", html) == ["Error:"]
    summary = html.index("There is a problem")
    for to, _ in page.context["problems"]:
        assert summary < html.index(f'href="#{to}"') < html.index(f'id="{to}"')
    assert "Please correct" not in html
    refused = editor.post(address, sent | {"reason": "none"})
    assert refused.context["problems"] == [("", "Nothing is different, so nothing was saved.")]
    assert text_of(refused).count("Nothing is different") == 1


@pytest.mark.parametrize(
    ("name", "code"), [("rules_interaction", "interactions"), ("patients_drug", "")]
)
def test_the_reason_stands_with_the_buttons_and_only_there(
    editor: Client, draft: RuleBook, name: str, code: str
) -> None:
    row = row_of(draft, TABLES[code]) if code else Drug.objects.first()
    html = editor.get(reverse(f"admin:{name}_change", args=[row.pk])).content.decode()
    assert html.count('name="reason"') == html.count('name="seen"') == 1
    between = html[html.index('name="reason"') : html.index('name="_save"')]
    assert "<fieldset" not in between
    assert html.rindex("</fieldset>") < html.index('name="reason"')


def test_a_row_is_changed_with_a_reason_as_one_act(editor: Client, draft: RuleBook) -> None:
    row = row_of(draft, Interaction, act="CUT_TO_FRACTION")
    address = at(Interaction, "change", row.pk)
    sent = fields_of(editor.get(address)) | {"numerator": "1", "denominator": "2"}
    unsaid = editor.post(address, sent)
    assert "This field is required" in text_of(unsaid)
    assert row.history.count() == 1
    saved = editor.post(address, sent | {"reason": "Committee of 12-Jan-2026"})
    assert saved.status_code == 302, text_of(saved)
    row.refresh_from_db()
    assert (row.numerator, row.denominator) == (1, 2)
    assert newest_act() == (
        "Rule rows edited", "Robin Editor", "ADMIN", "system", "Committee of 12-Jan-2026",
    )  # fmt: skip
    history = editor.get(at(Interaction, "history", row.pk))
    newest = history.context["page_obj"][0]
    assert newest.changes == (("Denominator", "3", "2"),)
    told = text_of(history)
    assert "Committee of 12-Jan-2026" in told
    assert "was 3" in told
    assert "now 2" in told
    assert "Robin Editor" in told


def test_saving_a_page_unchanged_writes_nothing_for_any_table(
    editor: Client, draft: RuleBook
) -> None:
    before = LedgerEntry.objects.count()
    for model in TABLES.values():
        for row in model.objects.filter(book=draft).order_by("pk")[:3]:
            address = at(model, "change", row.pk)
            page = editor.post(address, fields_of(editor.get(address)) | {"reason": "none"})
            assert page.status_code == 200, model
            assert "Nothing is different, so nothing was saved." in text_of(page), model
            assert page.context["adminform"].form["reason"].value() == "none"
    assert LedgerEntry.objects.count() == before


def test_a_row_is_added_to_the_draft(editor: Client, draft: RuleBook) -> None:
    address = at(Threshold, "add")
    sent = {
        "code": "K-NEW", "quantity": "potassium", "unit": "mmol/L", "low": "9", "high": "",
        "low_included": "on", "origin": "LOCAL", "source": "Our laboratory.", "enabled": "on",
        "reason": "New band",
    }  # fmt: skip
    refused = editor.post(address, sent | {"code": "no code", "low": "1,5", "statements": "S1,S2"})
    told = text_of(refused)
    assert "A code is letters, digits" in told
    assert "Write 1.5 with a point" in told
    assert "Part them by a comma and a blank" in told
    assert editor.post(address, sent).status_code == 302
    row = Threshold.objects.get(code="K-NEW")
    assert (row.book, row.needs_local_approval) == (draft, False)
    assert newest_act()[4] == "New band"
    again = editor.post(address, sent)
    assert "has a row of this kind with this code already" in text_of(again)
    assert again.context["adminform"].form["source"].value() == "Our laboratory."


def test_a_row_is_removed_with_a_reason_and_its_history_stays(
    editor: Client, draft: RuleBook
) -> None:
    row = row_of(draft, ModifyingFactor)
    address = at(ModifyingFactor, "delete", row.pk)
    page = editor.get(address)
    seen = page.context["form"]["seen"].value()
    assert "This field is required" in text_of(editor.post(address, {"seen": seen}))
    assert ModifyingFactor.objects.filter(pk=row.pk).exists()
    assert editor.post(address, {"seen": seen, "reason": "Said twice"}).status_code == 302
    assert not ModifyingFactor.objects.filter(pk=row.pk).exists()
    assert newest_act()[0] == "Rule row removed"
    history = text_of(editor.get(at(ModifyingFactor, "history", row.pk)))
    assert "This row was removed" in history
    assert "Said twice" in history
    assert editor.get(address).status_code == 302


def test_factors_are_edited_beside_their_interaction_all_or_nothing(
    editor: Client, draft: RuleBook
) -> None:
    factor = row_of(draft, ModifyingFactor)
    row = row_of(draft, Interaction, code=factor.interaction)
    address = at(Interaction, "change", row.pk)
    sent = fields_of(editor.get(address))
    prefix = prefix_of(sent, factor)
    total = int(sent["modifyingfactor-TOTAL_FORMS"])
    new = f"modifyingfactor-{total}"
    sent |= {
        "reason": "Beside one another",
        "mechanism": "Inhibits CYP3A4.",
        f"{prefix}-action": "Ask the pharmacist.",
        "modifyingfactor-TOTAL_FORMS": str(total + 1),
        f"{new}-code": "FACTOR-NEW",
        f"{new}-factor": "Age above 80",
        f"{new}-action": "Halve it.",
        f"{new}-origin": "LOCAL",
        f"{new}-source": "Our committee.",
        f"{new}-enabled": "on",
    }
    wrong = editor.post(address, sent | {f"{new}-code": factor.code})
    assert "has a row of this kind with this code already" in text_of(wrong)
    assert row.history.count() == factor.history.count() == 1
    before = LedgerEntry.objects.count()
    saved = editor.post(address, sent)
    assert saved.status_code == 302, text_of(saved)
    assert LedgerEntry.objects.count() == before + 1
    row.refresh_from_db()
    factor.refresh_from_db()
    assert (row.mechanism, factor.action) == ("Inhibits CYP3A4.", "Ask the pharmacist.")
    added = ModifyingFactor.objects.get(code="FACTOR-NEW")
    assert (added.interaction, added.book) == (row.code, draft)
    sent = fields_of(editor.get(address))
    prefix = prefix_of(sent, added)
    removed = editor.post(address, sent | {f"{prefix}-DELETE": "on", "reason": "Not needed"})
    assert removed.status_code == 302, text_of(removed)
    assert not ModifyingFactor.objects.filter(pk=added.pk).exists()


def test_a_version_that_is_no_number_is_no_version(editor: Client, draft: RuleBook) -> None:
    row = row_of(draft, Interaction)
    for seen in ("²", "³5", "x", ""):
        page = editor.post(at(Interaction, "change", row.pk), {"seen": seen, "reason": "mine"})
        assert page.status_code == 200
        assert "does not say which version it shows" in text_of(page)


def test_a_factor_that_another_has_changed_is_not_removed_unseen(
    editor: Client, draft: RuleBook, clinic: Clinic
) -> None:
    factor = row_of(draft, ModifyingFactor)
    address = at(Interaction, "change", row_of(draft, Interaction, code=factor.interaction).pk)
    sent = fields_of(editor.get(address))
    factor.action = "Something else."
    edit_row(row=factor, by=for_all(a_person(clinic, Role.RULE_EDITOR, username="second")))
    gone = {f"{prefix_of(sent, factor)}-DELETE": "on", "reason": "Not needed"}
    page = editor.post(address, sent | gone)
    assert f"{factor}: Robin Second saved this row after you opened it" in text_of(page)
    assert ModifyingFactor.objects.filter(pk=factor.pk).exists()


def test_a_boundary_of_two_stretches_is_moved_in_one_act(editor: Client, draft: RuleBook) -> None:
    lower = row_of(draft, Threshold, quantity="potassium", low=None)
    upper = row_of(draft, Threshold, quantity="potassium", low=lower.high)
    address = at(Threshold, "change", lower.pk)
    sent = fields_of(editor.get(address))
    prefix = prefix_of(sent, upper)
    sent |= {"high": "4.9", f"{prefix}-low": "4.9", "reason": "Our laboratory"}
    assert editor.post(address, sent).status_code == 302
    for row in (lower, upper):
        row.refresh_from_db()
    assert lower.high == upper.low
    assert str(lower.high) == "4.900000"
    assert LedgerEntry.objects.latest("pk").reason == "Our laboratory"


def test_whoever_saves_second_is_told_who_changed_what_and_loses_nothing(
    editor: Client, draft: RuleBook, clinic: Clinic
) -> None:
    row = row_of(draft, Interaction, act="CUT_TO_FRACTION")
    address = at(Interaction, "change", row.pk)
    opened = fields_of(editor.get(address))
    other = a_person(clinic, Role.RULE_EDITOR, username="second")
    row.denominator = 4
    edit_row(row=row, by=for_all(other, "A quarter is enough"))
    page = editor.post(address, opened | {"mechanism": "CYP3A4", "reason": "My words"})
    told = text_of(page)
    assert "Robin Second saved this row after you opened it" in told
    assert "A quarter is enough" in told
    assert "Denominator: 3 → 4" in told
    form = page.context["adminform"].form
    kept = [form[name].value() for name in ("mechanism", "denominator", "reason", "seen")]
    assert kept == ["CYP3A4", "4", "My words", str(newest_version(row))]
    assert row.history.count() == 2
    saved = editor.post(address, fields_of(page) | {"mechanism": "CYP3A4", "reason": "My words"})
    assert saved.status_code == 302
    row.refresh_from_db()
    assert (row.denominator, row.mechanism) == (4, "CYP3A4")


def test_whoever_removes_a_row_that_another_has_changed_is_told(
    editor: Client, draft: RuleBook, clinic: Clinic
) -> None:
    row = row_of(draft, Interaction)
    seen = newest_version(row)
    row.mechanism = "Something else"
    edit_row(row=row, by=for_all(a_person(clinic, Role.RULE_EDITOR, username="second")))
    page = editor.post(at(Interaction, "delete", row.pk), {"seen": seen, "reason": "Old"})
    assert "was changed by Robin Second" in text_of(page)
    assert page.context["form"]["reason"].value() == "Old"
    assert Interaction.objects.filter(pk=row.pk).exists()


def test_a_draft_that_is_settled_while_a_form_is_open_takes_nothing(
    editor: Client, draft: RuleBook, person: User, clinic: Clinic
) -> None:
    row = row_of(draft, Interaction)
    address = at(Interaction, "change", row.pk)
    sent = fields_of(editor.get(address)) | {"mechanism": "Else", "reason": "Late"}
    add = at(Interaction, "add")
    submit_for_review(book=draft, at=NOW, by=for_all(person))
    assert editor.post(address, sent).status_code == 403
    assert editor.post(add, sent).status_code == 403
    publish_book(
        book=draft, at=NOW, by=for_all(a_person(clinic, Role.RULE_APPROVER, username="approver"))
    )
    assert editor.post(address, sent).status_code == 403
    assert row.history.count() == 1


@pytest.mark.parametrize(
    ("model", "first", "second", "told"),
    [
        ("drug_classes", {"drug": "voriconazole"}, {"drug": "Fluconazole"}, "a second time"),
        ("interactions", {}, {"citations": "NO-SUCH"}, "cites NO-SUCH"),
    ],
)
def test_what_a_table_says_already_is_refused(
    editor: Client,
    draft: RuleBook,
    model: str,
    first: dict[str, str],
    second: dict[str, str],
    told: str,
) -> None:
    table = TABLES[model]
    row = row_of(draft, table, **first)
    address = at(table, "change", row.pk)
    page = editor.post(address, fields_of(editor.get(address)) | second | {"reason": "x"})
    assert told in text_of(page)
    assert row.history.count() == 1
