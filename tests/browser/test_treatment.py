"""Companion treatment, another target and another product in a real browser."""

from playwright.sync_api import Page, expect

from tests.browser.test_journeys import (
    CheckPage,
    SignIn,
    answer_everything,
    open_chart,
    sign,
)
from tests.conftest import Product


def companions(page: Page) -> str:
    """What the chart's card of companion treatment says."""
    return page.locator("#companions").inner_text()


def test_companion_treatment_is_ordered_tapered_and_stopped(
    sign_in: SignIn, site: Product, check_page: CheckPage
) -> None:
    page = sign_in("prescriber")
    open_chart(page, "Haraldsen")
    check_page(page, "chart")
    assert "prednisone 30 mg/day by mouth" in companions(page)
    assert "A2" in page.locator("#medication").inner_text()

    page.get_by_role("button", name="Order companion treatment").click()
    check_page(page, "order")
    page.get_by_label("cyclophosphamide 815 mg").check()
    answer_everything(page)
    page.get_by_role("button", name="Review and sign").click()
    expect(page.get_by_text("√(164 cm × 58 kg / 3600) = 1.63 m²").first).to_be_visible()
    check_page(page, "review")
    sign(page, site, "Sign and order")
    assert "cyclophosphamide 815 mg intravenous, once a month" in companions(page)

    page.get_by_role("button", name="Taper prednisone").click()
    check_page(page, "taper")
    page.get_by_label("Dose", exact=True).fill("20")
    answer_everything(page)
    page.get_by_role("button", name="Review and sign").click()
    expect(page.get_by_text("30 mg/day − 10 mg/day = 20 mg/day")).to_be_visible()
    sign(page, site, "Sign and taper")
    assert "prednisone 20 mg/day by mouth" in companions(page)

    page.get_by_role("link", name="Stop cyclophosphamide").click()
    check_page(page, "stop")
    page.get_by_label("Why it is stopped").fill("White cells are falling.")
    sign(page, site, "Sign and stop")
    in_force = page.locator("#companions table").first.inner_text()
    assert "cyclophosphamide" not in in_force
    assert "prednisone 20 mg/day" in in_force


def test_the_target_is_lowered_and_the_product_switched(
    sign_in: SignIn, site: Product, check_page: CheckPage
) -> None:
    page = sign_in("prescriber")
    open_chart(page, "Vogel")
    page.locator("#advice").get_by_role("link", name="Change the target").first.click()
    check_page(page, "target")
    page.get_by_label("From").fill("4")
    page.get_by_label("To", exact=True).fill("6")
    page.get_by_label("Reason").select_option("RENAL")
    page.get_by_label("Why this target").fill("Creatinine has doubled.")
    sign(page, site, "Sign the target")
    assert "target 4 to 6 ng/mL" in page.locator("#medication").inner_text()

    page.get_by_role("button", name="Switch product").click()
    check_page(page, "switch")
    page.get_by_label("Formulation").select_option("LCP")
    page.get_by_label("Brand").fill("Envarsus")
    page.get_by_label("Morning dose").fill("3")
    page.get_by_label("Evening dose").fill("0")
    page.get_by_label("Reason").first.select_option("OTHER")
    page.locator("[name=reason_text]").fill("Once a day, to be taken more reliably.")
    answer_everything(page)
    page.get_by_role("button", name="Review and sign").click()
    check_page(page, "switch-review")
    page.get_by_label("The total a day once more").fill("3")
    sign(page, site, "Sign and switch")
    medication = page.locator("#medication").inner_text()
    assert "Tacrolimus, Envarsus" in medication
    assert "Prograf (IR) until" in medication


def test_the_records_further_facts_are_entered(sign_in: SignIn, check_page: CheckPage) -> None:
    page = sign_in("nurse")
    open_chart(page, "Sandoval")
    page.get_by_role("link", name="Change dose of Prednisolone").click()
    check_page(page, "dose")
    page.get_by_label("Daily dose from then on, mg").fill("2.5")
    page.get_by_role("button", name="Record the change").click()
    page.get_by_role("link", name="Record", exact=True).click()
    check_page(page, "record")
    open_chart(page, "Ferreira")
    page.get_by_role("link", name="Record that it is over").first.click()
    check_page(page, "infection")
    page.get_by_role("button", name="Record that it is over").click()
    expect(page.get_by_text("Say how it was documented").first).to_be_visible()
