"""The first page that anybody sees, and the one after it."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

CheckPage = Callable[..., None]


def test_the_sign_in_page_is_fit_for_everybody(page: Page, check_page: CheckPage) -> None:
    page.goto("/")
    expect(page).to_have_url("/sign-in/?next=/")
    check_page(page)


def test_a_wrong_password_is_refused_with_a_sentence(page: Page, check_page: CheckPage) -> None:
    page.goto("/sign-in/")
    page.locator("[name=username]").fill("prescriber")
    page.locator("[name=password]").fill("not the password")
    page.locator("[name=password]").press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("password")
    check_page(page)


@pytest.mark.parametrize("username", ["prescriber", "rule-editor", "auditor", "admin"])
def test_the_first_page_after_signing_in_is_fit_for_everybody(
    username: str, sign_in: Callable[[str], Page], check_page: CheckPage
) -> None:
    page = sign_in(username)
    expect(page.get_by_role("main")).to_be_visible()
    check_page(page, username)
