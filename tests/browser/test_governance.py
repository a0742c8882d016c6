"""A rule changes hands in a real browser: drafted by one person, approved by another, explained."""

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.browser.test_journeys import CheckPage, add_drug, open_chart
from tests.conftest import Product

AZOLES = "AZOLES-STARTED"


@pytest.fixture(scope="module")
def site(browser: Browser, start_product: Callable[..., Product]) -> Iterator[Product]:
    """A product of its own: the rules change in it."""
    product = start_product()
    product.wait_for("TacroWeb is ready")
    yield product
    assert product.stop() == 0, product.log.read_text()


def at_a_desk(context: BrowserContext, site: Product, username: str) -> Page:
    """A page of this person, whoever sat there before."""
    context.clear_cookies()
    page = context.new_page()
    page.goto("/sign-in/")
    page.get_by_label("Name").or_(page.locator("[name=username]")).first.fill(username)
    page.locator("[name=password]").fill(site.password)
    page.locator("[name=password]").press("Enter")
    page.wait_for_url(lambda url: "/sign-in/" not in url)
    return page


def test_two_people_change_a_factor_and_yesterdays_advice_still_replays(
    context: BrowserContext, site: Product, check_page: CheckPage
) -> None:
    page = at_a_desk(context, site, "prescriber")
    open_chart(page, "Okafor")
    chart = page.url
    add_drug(page, "voriconazole", "400")
    expect(page.locator("#advice")).to_contain_text("× 1/3")
    page.get_by_role("button", name="Review dose").click()
    assessment = page.url
    expect(page.get_by_role("main")).to_contain_text("2026-02")

    page = at_a_desk(context, site, "rule-editor")
    page.goto("/rules/change/")
    check_page(page, "nothing-under-way")
    page.get_by_label("Why the rules should change").fill("One half is enough for azoles")
    page.get_by_role("button", name="Open a draft").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("2026-03")
    page.goto(f"/admin/rules/interaction/?q={AZOLES}")
    page.get_by_role("link", name=AZOLES).first.click()
    page.locator("[name=denominator]").fill("2")
    page.locator("[name=reason]").fill("One half is enough for azoles")
    page.locator("[name=_save]").click()
    page.goto("/rules/change/")
    expect(page.locator("#changes")).to_contain_text(AZOLES)
    # The protocol does not say one half: the row must say whose number it is.
    expect(page.locator("#checks")).to_contain_text("Set its origin to Local")
    page.goto(f"/admin/rules/interaction/?q={AZOLES}")
    page.get_by_role("link", name=AZOLES).first.click()
    page.locator("[name=origin]").select_option("LOCAL")
    page.locator("[name=source]").fill("The clinic's audit of azoles: one half of the dose.")
    page.locator("[name=reason]").fill("The number is ours")
    page.locator("[name=_save]").click()
    page.goto("/rules/change/")
    expect(page.locator("#checks")).not_to_contain_text("Set its origin to Local")
    page.get_by_role("button", name="Submit for review").click()
    expect(page.get_by_role("alert").first).to_contain_text("Say why")
    accept = page.get_by_role("button", name="Accept with this reason")
    for _ in range(accept.count()):
        page.locator("#checks").get_by_label("Reason").first.fill("The committee decided it")
        accept.first.click()
    expect(accept).to_have_count(0)
    page.get_by_role("button", name="Compute the impact").click()
    impact = page.locator("#impact")
    expect(impact).to_contain_text("would get other advice", timeout=60_000)
    expect(impact).to_contain_text("OKAFOR")
    expect(impact).to_contain_text("× 1/2")
    check_page(page, "draft")
    page.get_by_label("What it changes, and why").fill("Azoles cut to one half")
    page.get_by_role("button", name="Submit for review").click()
    expect(page.get_by_role("status").first).to_contain_text("in review")
    expect(page.get_by_role("button", name="Approve and publish")).to_have_count(0)

    page = at_a_desk(context, site, "rule-approver")
    page.goto("/rules/change/")
    expect(page.locator("#impact")).to_contain_text("× 1/2")
    check_page(page, "in-review")
    page.get_by_label("Why you approve it").fill("Agreed by the committee of 3 March")
    page.get_by_label("Your password").fill(site.password)
    page.get_by_role("button", name="Approve and publish").click()
    expect(page.get_by_role("status").first).to_contain_text("2026-03 is in force")

    page = at_a_desk(context, site, "prescriber")
    page.goto(chart)
    advice = page.locator("#advice")
    expect(advice).to_contain_text("× 1/2")
    expect(advice).to_contain_text("The clinic's audit of azoles")
    expect(advice).to_contain_text(re.compile(r"Change to 2\smg/day"))
    expect(page.get_by_role("main")).to_contain_text("2026-03")
    check_page(page, "chart-after")
    page.goto(assessment)
    page.get_by_role("link", name="Replay").first.click()
    expect(page.get_by_role("main")).to_contain_text("the same bytes")
    expect(page.get_by_role("main")).to_contain_text("2026-02")
    check_page(page, "replay")


def test_a_clinic_decides_on_a_number_that_the_book_leaves_blank(
    context: BrowserContext, site: Product, check_page: CheckPage
) -> None:
    page = at_a_desk(context, site, "rule-approver")
    page.goto("/rules/approvals/")
    check_page(page, "approvals")
    page.goto("/rules/approvals/RENAL-TARGET-R1/")
    check_page(page, "approval")
    page.get_by_label("From").fill("5")
    page.get_by_label("To", exact=True).fill("7")
    page.get_by_label("Why it holds at your clinic").fill("Board of 3 March")
    page.get_by_label("Your password").fill(site.password)
    page.get_by_role("button", name=re.compile("Approve for")).click()
    expect(page.get_by_role("status").first).to_contain_text("approved")
    page.goto("/rules/change/try/")
    page.get_by_label("Example").select_option("creatinine-doubled")
    page.get_by_role("button", name="Assess under each book").click()
    expect(page.get_by_role("main")).to_contain_text("S54")
    check_page(page, "try")
