"""The main job in a real browser: from registration to a signed dose, and why it was changed."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from playwright.sync_api import Page, expect

from tests.conftest import Product

CLINIC = ZoneInfo("Europe/Berlin")
BASELINE = {
    "Creatinine": "0.9",
    "Urea nitrogen (BUN)": "14",
    "Magnesium": "0.85",
    "Calcium, total": "9.2",
    "Systolic blood pressure": "124",
    "Diastolic blood pressure": "76",
    "White cells": "7.1",
    "Neutrophils": "4.4",
    "Lymphocytes": "1.5",
    "Haemoglobin": "12.9",
    "Platelets": "240",
    "ALT": "24",
    "AST": "22",
    "Bilirubin, total": "0.6",
    "Glucose": "96",
    "Cholesterol": "180",
    "Triglycerides": "110",
}
SignIn = Callable[[str], Page]
CheckPage = Callable[..., None]


def by_the_clinics_clock(*, hours_ago: int = 0) -> str:
    """A moment as the browser's field for day and time writes it."""
    return (datetime.now(CLINIC) - timedelta(hours=hours_ago)).strftime("%Y-%m-%dT%H:%M")


def open_chart(page: Page, family_name: str) -> None:
    """Find a patient from the worklist, as anybody would."""
    page.goto("/")
    page.get_by_label("Find a patient by name or MRN").fill(family_name)
    page.get_by_role("button", name="Find").click()
    page.get_by_role("link", name=re.compile(family_name, re.IGNORECASE)).first.click()
    expect(page.get_by_role("heading", name="Chart", exact=True)).to_be_visible()


def enter_results(page: Page, results: Mapping[str, str], *, hours_since_dose: str = "") -> None:
    """From the chart: type results of an hour ago in the units offered, and come back."""
    page.get_by_role("link", name="Enter results").first.click()
    page.get_by_label("Drawn or measured at").fill(by_the_clinics_clock(hours_ago=1))
    for label, value in results.items():
        page.get_by_label(label, exact=True).fill(value)
    if hours_since_dose:
        page.get_by_label("Hours since the last dose").fill(hours_since_dose)
    page.get_by_role("button", name="Record the results").click()
    expect(page.get_by_role("heading", name="Chart", exact=True)).to_be_visible()


def add_drug(page: Page, drug: str, mg_per_day: str) -> None:
    """From the chart: a drug taken by mouth from today on."""
    page.get_by_role("link", name="Add a drug").first.click()
    page.get_by_label("Drug", exact=True).fill(drug)
    page.get_by_label("Route").select_option("ORAL")
    page.get_by_label("Daily dose, mg").fill(mg_per_day)
    page.get_by_label("Started on").fill(datetime.now(CLINIC).date().isoformat())
    page.get_by_role("button", name="Record the drug").click()
    expect(page.get_by_role("heading", name="Chart", exact=True)).to_be_visible()


def answer_everything(page: Page) -> None:
    """Answer each critical finding and acknowledge each caution."""
    for answer in page.get_by_label("Your answer").all():
        answer.select_option("ACTED_ON")
    for seen in page.get_by_label("I have seen this").all():
        seen.check()


def sign(page: Page, site: Product, button: str) -> None:
    """The password again, and the signature."""
    page.get_by_label("Password").fill(site.password)
    page.get_by_role("button", name=button).click()
    expect(page.get_by_role("heading", name="Chart", exact=True)).to_be_visible()


def tile(page: Page, label: str) -> str:
    """What a tile of the chart says."""
    return page.locator(".tile", has=page.get_by_text(label)).inner_text()


def test_j1_a_new_patient_is_registered_examined_and_started(
    sign_in: SignIn, site: Product, check_page: CheckPage
) -> None:
    page = sign_in("prescriber")
    page.get_by_role("link", name="Register a patient").click()
    check_page(page, "register")
    number = datetime.now(CLINIC).strftime("%H%M%S%f")
    for label, value in {
        "MRN": number,
        "Family name": "Sorensen",
        "Given name": "Liv",
        "Date of birth": "1974-05-09",
        "Weight": "61.5",
        "Measured at": by_the_clinics_clock(hours_ago=2),
    }.items():
        page.get_by_label(label).first.fill(value)
    for label, choice in {
        "Sex": "FEMALE",
        "Allergies": "NONE_KNOWN",
        "Interstitial lung disease": "yes",
        "Rheumatic disease": "IIM",
        "Subtype of myositis": "CADM",
        "Anti-MDA5 antibodies": "yes",
        "Severe at presentation": "no",
        "Line of treatment": "FIRST",
        "Pregnancy": "NO",
    }.items():
        page.get_by_label(label).first.select_option(choice)
    page.get_by_role("button", name="Register").click()

    gaps = page.get_by_role("region", name="Before the first dose")
    expect(gaps).to_contain_text("not recorded")
    check_page(page, "chart-baseline-missing")
    enter_results(page, BASELINE)
    expect(gaps.get_by_role("listitem")).to_have_count(1)
    expect(gaps).to_contain_text("otassium")
    enter_results(page, {"Potassium": "4.2"})
    expect(gaps).to_have_count(0)
    add_drug(page, "prednisolone", "40")

    page.get_by_role("button", name="Start tacrolimus").click()
    page.wait_for_url("**/assessments/*/")
    check_page(page, "start")
    expect(page.get_by_role("main")).to_contain_text("0.075 mg/kg/day × 61.5 kg = 4.61")
    page.get_by_label("Brand").fill("Prograf")
    answer_everything(page)
    page.get_by_role("button", name="Review").click()
    check_page(page, "start-review")
    page.get_by_label("Password").fill("not the password")
    page.get_by_role("button", name="Sign and start").click()
    expect(page.get_by_role("alert")).to_contain_text("password")
    sign(page, site, "Sign and start")
    assert "4.5" in tile(page, "Current dose")
    expect(page.locator("#orders")).to_contain_text("4.5")
    check_page(page, "chart-started")


def test_j1_a_trough_above_the_target_leads_to_a_lower_dose(
    sign_in: SignIn, site: Product, check_page: CheckPage
) -> None:
    page = sign_in("prescriber")
    open_chart(page, "Lindqvist")
    before = tile(page, "Current dose")
    page.get_by_role("link", name="Enter results").first.click()
    check_page(page, "results")
    page.go_back()
    enter_results(page, {"Tacrolimus level": "13.0"}, hours_since_dose="12")
    assert "13.0" in tile(page, "Last trough")
    assert "above target" in tile(page, "Last trough")
    expect(page.get_by_role("main")).to_contain_text("× 7.5/13")
    page.get_by_role("button", name="Review dose").click()
    answer_everything(page)
    page.get_by_label("Reason", exact=True).select_option("LEVEL_HIGH")
    check_page(page, "adjust")
    page.get_by_role("button", name="Review").click()
    sign(page, site, "Sign and change")
    assert tile(page, "Current dose") != before
    # Serum tests of this patient are overdue: they ask for a word, the level for no further dose.
    expect(page.locator("#advice")).to_contain_text("No number is proposed: 2 findings below ask")
    expect(page.locator("#advice")).to_contain_text("It changes no dose")


def test_j2_voriconazole_asks_for_one_third_and_the_audit_tells_why(
    sign_in: SignIn, site: Product, check_page: CheckPage
) -> None:
    page = sign_in("prescriber")
    check_page(page, "worklist")
    open_chart(page, "Okafor")
    assert "3 mg/day" in " ".join(tile(page, "Current dose").split())
    page.get_by_role("link", name="Add a drug").first.click()
    check_page(page, "drug")
    page.go_back()
    add_drug(page, "voriconazole", "400")
    advice = page.locator("#advice")
    expect(advice).to_contain_text(re.compile(r"Change to 1\smg/day"))
    expect(advice).to_contain_text("× 1/3")
    expect(advice).to_contain_text("S40")
    check_page(page, "chart-voriconazole")

    page.get_by_role("button", name="Review dose").click()
    expect(page.get_by_label("Morning dose")).to_have_value("0.5")
    expect(page.get_by_label("Evening dose")).to_have_value("0.5")
    page.get_by_role("button", name="Review").click()
    expect(page.get_by_role("alert").first).to_be_visible()  # nothing is answered yet
    check_page(page, "order-unanswered")
    answer_everything(page)
    page.get_by_label("Reason", exact=True).select_option("INHIBITOR_STARTED")
    page.get_by_role("button", name="Review").click()
    check_page(page, "order-review")
    sign(page, site, "Sign and change")
    assert "1 mg/day" in " ".join(tile(page, "Current dose").split())
    expect(page.locator("#tasks")).to_contain_text("Tacrolimus level")

    page.get_by_role("link", name="Who changed what").click()
    expect(page.get_by_role("main")).to_contain_text("Dose changed")
    expect(page.get_by_role("main")).to_contain_text("Interaction: inhibitor started")
    check_page(page, "audit")
    page.get_by_role("link", name=re.compile("Why this dose")).first.click()
    expect(page.get_by_role("main")).to_contain_text("× 1/3")
    expect(page.get_by_role("main")).to_contain_text("Dr R. Sato")
    expect(page.get_by_role("main")).to_contain_text("Reproduces exactly")
    check_page(page, "why")


def test_the_timeline_is_walked_with_the_arrow_keys(sign_in: SignIn) -> None:
    page = sign_in("nurse")
    open_chart(page, "Okafor")
    points = page.locator(".drawing.wide a")
    points.first.focus()
    name = points.first.get_attribute("aria-label")
    page.keyboard.press("ArrowRight")
    focused = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert focused
    assert focused != name
    page.keyboard.press("End")
    page.keyboard.press("Home")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == name


def test_the_wall_between_clinics_holds_in_the_browser(
    sign_in: SignIn, check_page: CheckPage
) -> None:
    page = sign_in("prescriber")
    open_chart(page, "Okafor")
    chart = page.url
    page.context.clear_cookies()
    page = sign_in("prescriber2")
    response = page.goto(chart)
    assert response is not None
    assert response.status == 404
    assert "Okafor" not in page.content()
    check_page(page, "not-found")


def test_the_other_pages_are_fit_for_everybody(sign_in: SignIn, check_page: CheckPage) -> None:
    page = sign_in("prescriber")
    for path in (
        "patients/",
        "patients/upload/",
        "tasks/",
        "rules/",
        "rules/2026-02/interactions/AZOLES-STARTED/",
        "protocol/",
        "protocol/S40/",
        "protocol/cases/voriconazole-started/",
        "audit/",
    ):
        page.goto(f"/{path}")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        check_page(page, path.replace("/", "-").strip("-"))
    open_chart(page, "Ferreira")
    check_page(page, "chart-held")
    for link in ("Record", "Stop tacrolimus"):
        page.get_by_role("link", name=link, exact=True).first.click()
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        check_page(page, link.split()[0].lower())
        page.go_back()


def test_the_tests_of_a_visit_are_one_line_that_unfolds_and_is_cancelled_with_one_reason(
    sign_in: SignIn, check_page: CheckPage
) -> None:
    page = sign_in("nurse")
    due = page.locator("#due tbody").filter(has_text="NOVÁK")
    due.locator("summary").click()
    expect(due.get_by_text("White cells")).to_be_visible()
    check_page(page, "worklist")
    page.goto("/tasks/?due=overdue")
    visit = page.get_by_role("row").filter(has_text="Blood count with differential")
    visit.locator("summary").first.click()
    expect(visit.get_by_text("Neutrophils").first).to_be_visible()
    check_page(page, "tasks")
    visit.get_by_role("link", name=re.compile("Cancel all [0-9]+ tests of")).first.click()
    expect(page.get_by_role("listitem").filter(has_text="White cells")).to_be_visible()
    page.get_by_role("button", name=re.compile("Cancel these")).click()
    check_page(page, "cancel-unanswered")
    page.get_by_label("Why will this not be done?").fill("Drawn at the family doctor")
    page.get_by_role("button", name=re.compile("Cancel these")).click()
    expect(page.get_by_role("status")).to_contain_text("Cancelled: ")
    expect(page.locator("#tasks")).not_to_contain_text("White cells")
    check_page(page, "chart")


def test_the_list_of_patients_narrows_while_one_types(
    sign_in: SignIn, check_page: CheckPage
) -> None:
    page = sign_in("nurse")
    page.get_by_role("link", name="Patients", exact=True).click()
    rows = page.get_by_role("rowheader")
    everybody = rows.count()
    box = page.get_by_label("Find a patient by name or MRN")
    name = rows.first.inner_text().partition(",")[0]
    box.press_sequentially(name)
    expect(page.get_by_role("search").get_by_role("status")).to_have_text("1 found.")
    expect(rows).to_have_count(1)
    check_page(page)
    box.fill("nobody of this name")
    expect(page.get_by_text("No patient of this clinic has this name or MRN.")).to_be_visible()
    box.fill("")
    expect(rows).to_have_count(everybody)
    expect(box).to_be_focused()
