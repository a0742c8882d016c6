"""A real browser before the real product, and what every page must keep to."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright
from playwright.sync_api import Error as PageError

from tests.conftest import Product, chromium

FLAGS = [
    "--headless=new",
    "--no-sandbox",  # CI runs as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    program = chromium()
    if program is None:
        reason = "no Chromium on this machine"
        if os.environ.get("REQUIRE_ALL") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def site(browser: Browser, start_product: Callable[..., Product]) -> Iterator[Product]:
    """The product with its fictional clinic; it must also stop as it should."""
    product = start_product()
    product.wait_for("TacroWeb is ready")
    yield product
    assert product.stop() == 0, product.log.read_text()


@pytest.fixture
def context(browser: Browser, site: Product) -> Iterator[BrowserContext]:
    """A fresh browser profile; the test fails if a page breaks the policy, calls out or throws."""
    faults: list[str] = []
    context = browser.new_context(
        base_url=site.url,
        viewport=DESKTOP,
        locale="en-GB",
        timezone_id="UTC",
        reduced_motion="reduce",
    )
    context.set_default_timeout(15_000)

    def console(message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text:
            faults.append(f"{message.location['url']}: {message.text}")

    def request(url: str) -> None:
        if not url.startswith((f"{site.url}/", "data:", "blob:", "about:")):
            faults.append(f"request off the host: {url}")

    context.on("console", console)
    context.on("request", lambda sent: request(sent.url))
    context.on("weberror", lambda error: faults.append(f"page error: {error.error}"))
    yield context
    context.close()
    assert not faults, "\n".join(faults)


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """A page of somebody who has not signed in."""
    return context.new_page()


@pytest.fixture
def sign_in(page: Page, site: Product) -> Callable[[str], Page]:
    """`sign_in("nurse")`: the page after this person has signed in."""

    def sign_in(username: str) -> Page:
        page.goto("/sign-in/")
        page.locator("[name=username]").fill(username)
        page.locator("[name=password]").fill(site.password)
        page.locator("[name=password]").press("Enter")
        page.wait_for_url(lambda url: "/sign-in/" not in url)
        return page

    return sign_in


@pytest.fixture
def check_page(request: pytest.FixtureRequest) -> Callable[..., None]:
    """`check_page(page)`: no axe violation, light or dark, and no sideways scrolling on a phone.

    With SCREENSHOTS=folder it keeps pictures: desktop, phone, dark and print.
    """
    pictures = os.environ.get("SCREENSHOTS")

    def check_page(page: Page, name: str = "") -> None:
        def picture(kind: str) -> None:
            if pictures:
                stem = "-".join(filter(None, (request.node.name.partition("[")[0], name, kind)))
                page.screenshot(path=Path(pictures) / f"{stem}.png", full_page=True)

        _assert_accessible(page, "desktop")
        picture("desktop")
        page.emulate_media(color_scheme="dark")
        _assert_accessible(page, "dark", {"runOnly": ["color-contrast"]})
        picture("dark")
        page.emulate_media(color_scheme="light")
        page.set_viewport_size(PHONE)
        width = page.evaluate("document.documentElement.scrollWidth")
        picture("phone")
        assert width <= PHONE["width"], f"{page.url} is {width} px wide on a phone of 390 px"
        page.set_viewport_size(DESKTOP)
        if pictures:
            page.emulate_media(media="print")
            picture("print")
            page.emulate_media(media="screen")

    return check_page


def _assert_accessible(page: Page, look: str, options: dict[str, Any] | None = None) -> None:
    # With "preload" axe reads the stylesheets of a stylesheet by writing inline styles of its own.
    options = {"preload": False} | (options or {})
    try:
        results = Axe().run(page, options=options)
    except PageError:  # a slow page gave way to the one that a click had asked for
        page.wait_for_load_state()
        results = Axe().run(page, options=options)
    assert results.violations_count == 0, f"{page.url} ({look}):\n{results.generate_report()}"
