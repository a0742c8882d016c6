"""The back office in a real browser: nothing breaks the policy, every page is fit for everybody."""

import csv
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

CheckPage = Callable[..., None]


WIDTHS = (1280, 1024, 390)


def assert_apart(page: Page, one: str, other: str) -> None:
    """Nothing of the one lies over the other, on a desk, a tablet and a phone."""
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        boxes = [page.locator(each).bounding_box() for each in (one, other)]
        first, second = (box for box in boxes if box is not None)
        across = (
            first["x"] < second["x"] + second["width"] and second["x"] < first["x"] + first["width"]
        )
        down = (
            first["y"] < second["y"] + second["height"]
            and second["y"] < first["y"] + first["height"]
        )
        assert not (across and down), f"{one} and {other} lie over one another at {width} px"
    page.set_viewport_size({"width": WIDTHS[0], "height": 900})


def headed(page: Page, heading: str) -> None:
    """Wait for the page of this heading."""
    expect(page.get_by_role("heading", name=heading).first).to_be_visible()


@pytest.fixture
def editor(sign_in: Callable[[str], Page]) -> Page:
    return sign_in("rule-editor")


@pytest.fixture
def draft(editor: Page) -> Iterator[Page]:
    """The page of a rule editor while a draft is open; it is discarded afterwards."""
    editor.goto("/rules/change/")
    editor.locator("[name$=reason]").fill("A look at the back office")
    editor.get_by_role("button", name="Open a draft").click()
    yield editor
    editor.goto("/rules/change/")
    form = editor.locator("form").filter(has=editor.get_by_role("button", name="Discard"))
    form.locator("[name$=reason]").fill("It was only a look")
    form.get_by_role("button", name="Discard").click()


def test_rows_of_a_book_in_force_are_read_and_the_page_says_why(
    editor: Page, check_page: CheckPage
) -> None:
    editor.goto("/admin/")
    check_page(editor, "index")
    editor.set_viewport_size({"width": 390, "height": 844})
    name = editor.get_by_role("link", name="Modifying factors").bounding_box()
    assert name is not None
    assert name["height"] < 48  # two lines: its column has room
    editor.set_viewport_size({"width": WIDTHS[0], "height": 900})
    editor.goto("/admin/rules/interaction/")
    expect(editor.get_by_text("its rows are settled. Draft a new version first.")).to_be_visible()
    expect(editor.get_by_role("link", name="Open a draft")).to_be_visible()
    editor.locator("#result_list th.field-code a").first.click()
    headed(editor, "View interaction")
    expect(editor.get_by_role("button", name="Save")).to_have_count(0)
    check_page(editor, "read-only")
    editor.goto("/admin/rules/interaction/import/")
    expect(editor.get_by_text("once a draft is open")).to_be_visible()
    check_page(editor, "barred")
    editor.get_by_role("link", name="Open a draft").click()
    headed(editor, "Change the rules")


def test_a_row_of_the_draft_is_edited_beside_what_belongs_to_it(
    draft: Page, check_page: CheckPage
) -> None:
    draft.goto("/admin/rules/interaction/")
    assert_apart(draft, ".notice", ".object-tools")
    assert_apart(draft, "#content > h1", ".object-tools")
    check_page(draft, "list")
    draft.locator("#searchbar").fill("voriconazole")
    draft.keyboard.press("Enter")
    draft.locator("#result_list tbody tr").filter(has_text="1/3").locator(
        "th.field-code a"
    ).first.click()
    assert_apart(draft, ".notice", ".object-tools")
    expect(draft.get_by_label("Reason")).to_be_in_viewport()  # at hand, far above its place
    expect(draft.get_by_role("button", name="Save", exact=True)).to_be_in_viewport()
    draft.locator("[name=denominator]").fill("")
    draft.locator("[name=source]").fill("")
    draft.get_by_role("button", name="Save", exact=True).click()
    summary = draft.get_by_role("alert")
    expect(summary).to_be_focused()
    expect(summary.get_by_role("link")).to_have_text(
        ["Source: This field is required.", "Reason: This field is required."]
    )
    check_page(draft, "form")
    summary.get_by_role("link", name="Source").click()
    expect(draft.locator("[name=source]")).to_be_focused()
    draft.locator("[name=source]").fill("Our committee.")
    draft.locator("[name=denominator]").fill("2")
    draft.get_by_text("Add another Modifying factor").click()
    new = "[name=modifyingfactor-{}-{}]"
    number = int(draft.locator("[name=modifyingfactor-TOTAL_FORMS]").input_value()) - 1
    for name, text in (("code", "FACTOR-NEW"), ("factor", "Age"), ("action", "x"), ("source", "y")):
        draft.locator(new.format(number, name)).fill(text)
    draft.locator(new.format(number, "origin")).select_option("LOCAL")
    draft.get_by_label("Reason").fill("A half is enough")
    draft.get_by_role("button", name="Save and continue editing").click()
    expect(draft.get_by_text("was changed successfully")).to_be_visible()
    draft.get_by_role("link", name="History").click()
    expect(draft.get_by_text("A half is enough")).to_be_visible()
    check_page(draft, "history")
    draft.go_back()
    draft.get_by_role("link", name="Delete").click()
    headed(draft, "Remove")
    check_page(draft, "remove")
    draft.goto("/admin/rules/threshold/?quantity=potassium")
    draft.locator("#result_list th.field-code a").first.click()
    expect(draft.get_by_role("heading", name="The other stretches")).to_be_visible()
    check_page(draft, "stretches")


def test_a_second_editor_sees_who_was_first_and_keeps_what_was_typed(
    draft: Page, check_page: CheckPage
) -> None:
    draft.goto("/admin/rules/number/")
    draft.locator("#result_list th.field-code a").first.click()
    other = draft.context.new_page()
    other.goto(draft.url)
    other.locator("[name=unit]").fill("d")
    other.get_by_label("Reason").fill("First")
    other.get_by_role("button", name="Save", exact=True).click()
    expect(other.get_by_text("was changed successfully")).to_be_visible()
    draft.locator("[name=source]").fill("Typed by the second.")
    draft.get_by_label("Reason").fill("Second")
    draft.get_by_role("button", name="Save", exact=True).click()
    expect(draft.get_by_text("saved this row after you opened it")).to_be_visible()
    expect(draft.locator("[name=source]")).to_have_value("Typed by the second.")
    expect(draft.locator("[name=unit]")).to_have_value("d")
    check_page(draft)
    draft.get_by_role("button", name="Save", exact=True).click()
    expect(draft.get_by_text("was changed successfully")).to_be_visible()


def test_a_file_goes_out_comes_back_and_is_shown_before_it_is_taken(
    draft: Page, check_page: CheckPage, tmp_path: Path
) -> None:
    draft.goto("/admin/rules/interaction/")
    draft.get_by_role("link", name="Export").click()
    headed(draft, "Export")
    check_page(draft, "export")
    draft.get_by_label("Format").select_option("csv")
    with draft.expect_download() as download:
        draft.get_by_role("button", name="Export").click()
    file = tmp_path / download.value.suggested_filename
    download.value.save_as(file)
    with file.open(encoding="utf-8-sig", newline="") as text:
        rows = list(csv.DictReader(text))
    changed = rows[0] | {"mechanism": "From the file."}
    added = rows[0] | {"code": "FROM-A-FILE", "enabled": "false"}
    for number, records in enumerate(([changed, added], [changed | {"severity": "HUGE"}])):
        sent = tmp_path / f"{number}.csv"
        with sent.open("w", newline="") as text:
            writer = csv.DictWriter(text, list(rows[0]))
            writer.writeheader()
            writer.writerows(records)
    draft.goto("/admin/rules/interaction/")
    draft.get_by_role("link", name="Import").click()
    headed(draft, "Import")
    check_page(draft, "import")
    draft.get_by_label("File").set_input_files(tmp_path / "1.csv")
    draft.get_by_role("button", name="Show what it does").click()
    expect(draft.get_by_text("Row 2, column severity: HUGE is not one of")).to_be_visible()
    check_page(draft, "refused")
    draft.get_by_role("link", name="Choose another file").click()
    draft.get_by_label("File").set_input_files(tmp_path / "0.csv")
    draft.get_by_role("button", name="Show what it does").click()
    expect(draft.get_by_text("1 row added, 1 changed, 0 as before.")).to_be_visible()
    check_page(draft, "preview")
    draft.get_by_label("Reason").fill("From our committee")
    draft.get_by_role("button", name="Take the file").click()
    expect(draft.get_by_text("1 added, 1 changed, 0 as before")).to_be_visible()


def test_the_vocabulary_is_kept_in_the_same_way(editor: Page, check_page: CheckPage) -> None:
    editor.goto("/admin/patients/drug/")
    check_page(editor, "list")
    editor.goto("/admin/patients/drug/?q=voriconazole")
    editor.get_by_role("link", name="voriconazole").click()
    headed(editor, "Change drug")
    check_page(editor, "form")
    editor.get_by_role("link", name="History").click()
    headed(editor, "History of voriconazole")
    check_page(editor, "history")
    editor.goto("/admin/patients/analyte/import/")
    check_page(editor, "import")
    editor.goto("/admin/rules/rulebook/")
    check_page(editor, "books")
