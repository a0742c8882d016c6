"""The parts of the pages in a real browser under the real policy, without the product around."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from django import forms
from django.conf import settings
from django.template import Context, Template
from django.test import RequestFactory
from playwright.sync_api import Browser, Page, Route, expect

from tacroweb.templatetags.components import Banner, FindingCard
from tacroweb.timeline import DoseStep, DrugBar, Mark, TargetBand, Timeline, TroughPoint
from tests.browser.conftest import DESKTOP, PHONE

STATIC = settings.BASE_DIR / "tacroweb" / "static"
TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
POLICY = "; ".join(
    f"{name} {' '.join(sources)}"
    for name, sources in settings.CONTENT_SECURITY_POLICY["DIRECTIVES"].items()
)
NOW = datetime(2026, 11, 2, 9, tzinfo=UTC)
LEVELS = (
    ("4.1", "below"),
    ("14.6", "above"),
    ("7.2", "in_target"),
    ("19", "doubtful"),
    ("7.0", "in_target"),
)
TIMELINE = Timeline(
    now=NOW,
    troughs=tuple(
        TroughPoint(
            at=NOW - timedelta(days=50 - 10 * number),
            value=Decimal(value),
            status=status,
            href="#level",
        )
        for number, (value, status) in enumerate(LEVELS)
    ),
    doses=(
        DoseStep(
            since=NOW - timedelta(days=60), until=NOW - timedelta(days=20), total_mg=Decimal(3)
        ),
        DoseStep(since=NOW - timedelta(days=20), until=None, total_mg=Decimal(1), held=True),
    ),
    bands=(
        TargetBand(since=NOW - timedelta(days=60), until=None, low=Decimal(5), high=Decimal(10)),
    ),
    drugs=(
        DrugBar(
            name="Voriconazole", kind="strong inhibitor", started=date(2026, 10, 1), stopped=None
        ),
        DrugBar(
            name="Rifampicin",
            kind="strong inducer",
            started=date(2026, 1, 1),
            stopped=date(2026, 9, 20),
        ),
    ),
    marks=(Mark(at=NOW - timedelta(days=30), label="Acute kidney injury"),),
)
BANNER = Banner(
    family="Okafor",
    given="Amara",
    title="Ms",
    born_on=date(1971, 3, 14),
    age_years=55,
    sex="Female",
    mrn="0041182207",
    weight_kg=Decimal("61.5"),
    weighed_on=date(2026, 10, 23),
    disease="Anti-MDA5 DM-ILD",
    pregnancy="Possibly pregnant",
)
FINDINGS = [
    FindingCard(
        severity=severity,
        title="Voriconazole started",
        message="Reduce to one third.",
        statements=("S40",),
        source="Seed 4.2",
        origin="SEED",
        needs_local_approval=True,
        facts=(("Dose", "3 mg/day"),),
        proposal={
            "action": "CHANGE",
            "morning_mg": "0.5",
            "evening_mg": "0.5",
            "total_daily_mg": "1.0",
            "arithmetic": "3.0 mg/day × 1/3 = 1.0 mg/day",
        },
    )
    for severity in ("STOP", "WARN", "CAUTION", "ADVISE", "INFO")
]
HERE = Path(__file__).parent
CHART = (HERE / "look_chart.html").read_text()
FORM = (HERE / "look_form.html").read_text()


class DoseForm(forms.Form):
    morning = forms.CharField(label="Morning dose", help_text="Capsules of 0.5, 1 and 5 mg")
    evening = forms.CharField(label="Evening dose")
    reason = forms.ChoiceField(label="Reason", choices=[("I", "Interaction"), ("L", "Level")])
    words = forms.CharField(label="In your words", widget=forms.Textarea, required=False)
    decision = forms.ChoiceField(
        label="Decision", choices=[("A", "Accept"), ("O", "Override")], widget=forms.RadioSelect
    )
    read = forms.BooleanField(label="I have read the cautions")
    password = forms.CharField(label="Your password", widget=forms.PasswordInput)


Shown = Callable[..., Page]


@pytest.fixture
def show(browser: Browser) -> Iterator[Shown]:
    """Shows a template as a page of the product: `show(source, width=…, dark=…, **context)`."""
    faults: list[str] = []
    contexts = []

    def open_page(
        source: str, *, view: dict[str, int] = DESKTOP, dark: bool = False, **values: object
    ) -> Page:
        person = SimpleNamespace(is_authenticated=True)
        access = SimpleNamespace(
            permissions=(), clinic="North", role_names="Prescriber", clinics=()
        )
        words = {
            "user": person,
            "access": access,
            "demo": True,
            "request": RequestFactory().get("/"),
        }
        html = Template(source).render(Context(words | values))

        def answer(route: Route) -> None:
            path = urlsplit(route.request.url).path
            if path.startswith("/static/"):
                file = STATIC / path.removeprefix("/static/")
                route.fulfill(body=file.read_bytes(), content_type=TYPES[file.suffix])
            else:
                headers = {"Content-Security-Policy": POLICY}
                route.fulfill(body=html, content_type="text/html; charset=utf-8", headers=headers)

        context = browser.new_context(
            base_url="http://look.test",
            viewport=view,
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
            locale="en-GB",
        )
        contexts.append(context)
        context.route("**/*", answer)
        context.on("weberror", lambda error: faults.append(str(error.error)))
        context.on(
            "console",
            lambda said: faults.append(said.text) if "Security Policy" in said.text else None,
        )
        page = context.new_page()
        page.goto("/")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not faults, "\n".join(faults)


def chart(show: Shown, **more: object) -> Page:
    return show(
        CHART,
        banner=BANNER,
        findings=FINDINGS,
        timeline=more.pop("timeline", TIMELINE),
        now=NOW,
        pairs=[("Brand", None)],
        changes=[("Morning dose", "1.5 mg", "0.5 mg")],
        **more,
    )


def violations(page: Page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [f"{each['id']}: {each['nodes'][0]['html']}" for each in found]


@pytest.mark.parametrize("view", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_part_is_fit_for_everybody(show: Shown, view: dict[str, int], dark: bool) -> None:
    page = chart(show, view=view, dark=dark)
    page.get_by_text("Show as a table").click()
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") == view["width"]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_form_with_errors_is_fit_for_everybody_and_puts_the_focus_on_them(
    show: Shown, dark: bool
) -> None:
    page = show(FORM, form=DoseForm({"morning": ""}), view=PHONE, dark=dark)
    expect(page.locator(".error-summary")).to_be_focused()
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    page.get_by_role("link", name="Decision: This field is required.").click()
    expect(page.get_by_role("radio", name="Accept")).to_be_focused()


def test_the_arrow_keys_go_from_trough_to_trough(show: Shown) -> None:
    page = chart(show)
    points = page.locator(".drawing.wide .pt")
    assert points.evaluate_all("all => all.map(p => p.getAttribute('tabindex'))") == ["-1"] * 4 + [
        "0"
    ]
    points.last.focus()
    note = page.locator(".drawing.wide .hover")
    expect(note).to_have_attribute("visibility", "visible")
    expect(note.locator("text").first).to_have_text("7.0 ng/mL, in target")
    page.keyboard.press("ArrowLeft")
    expect(points.nth(3)).to_be_focused()
    page.keyboard.press("Home")
    expect(points.first).to_be_focused()
    expect(note.locator("text")).to_have_text(
        ["4.1 ng/mL, below target", "13 Sep 2026 · on 3 mg/day"]
    )
    page.keyboard.press("End")
    expect(points.last).to_be_focused()
    expect(note.locator("text").last).to_have_text("23 Oct 2026 · held")
    page.keyboard.press("Escape")
    expect(note).to_have_attribute("visibility", "hidden")


@pytest.mark.parametrize(("view", "drawing"), [(DESKTOP, "wide"), (PHONE, "narrow")])
def test_one_drawing_is_shown_and_the_pointer_finds_its_nearest_trough(
    show: Shown, view: dict[str, int], drawing: str
) -> None:
    page = chart(show, view=view)
    expect(page.locator(".drawing:visible")).to_have_count(1)
    page.locator(f".drawing.{drawing} .pt").nth(1).hover()
    note = page.locator(f".drawing.{drawing} .hover")
    expect(note.locator("text").first).to_have_text("14.6 ng/mL, above target")
    box, svg = (
        note.locator("rect").bounding_box(),
        page.locator(f".drawing.{drawing} svg").bounding_box(),
    )
    assert box
    assert svg
    assert box["x"] >= svg["x"] - 1
    assert box["x"] + box["width"] <= svg["x"] + svg["width"] + 1


def test_no_words_of_the_drawing_leave_it(show: Shown) -> None:
    long = replace(
        TIMELINE,
        drugs=(
            *TIMELINE.drugs,
            DrugBar(
                name="Sulfamethoxazole with trimethoprim, high dose",
                kind="moderate inhibitor",
                started=date(2026, 10, 28),
                stopped=None,
            ),
        ),
    )
    for view in (DESKTOP, PHONE):
        page = chart(show, view=view, timeline=long)
        outside = page.locator(".drawing:visible svg").evaluate(
            """svg => {
              const edge = svg.getBoundingClientRect();
              return [...svg.querySelectorAll("text")].filter((text) => {
                const box = text.getBoundingClientRect();
                return box.width && (box.left < edge.left - 2 || box.right > edge.right + 2);
              }).map((text) => text.textContent);
            }"""
        )
        assert outside == []


def test_paper_repeats_the_patient_and_leaves_out_what_cannot_be_pressed(show: Shown) -> None:
    page = chart(show)
    page.emulate_media(media="print")
    expect(page.locator(".sheet-head")).to_have_css("display", "table-header-group")
    expect(page.locator(".topbar")).to_be_hidden()
    expect(page.locator("a.button:visible")).to_have_count(0)
    expect(page.get_by_text("Printed from TacroWeb")).to_be_visible()


def test_the_patient_stays_in_sight_while_the_page_scrolls(show: Shown) -> None:
    for view in (DESKTOP, PHONE):
        page = chart(show, view=view)
        page.mouse.wheel(0, 900)
        page.wait_for_function("scrollY > 300")
        expect(page.get_by_text("OKAFOR, Amara")).to_be_in_viewport()


@pytest.mark.parametrize(
    ("morning", "evening", "said"),
    [
        ("0.5", "0.5", "Total 1 mg/day; now 3 mg/day (−67\u00a0%)"),
        ("1.5", "1.5", "Total 3 mg/day; now 3 mg/day (no change)"),
        ("2", "2.5", "Total 4.5 mg/day; now 3 mg/day (+50\u00a0%)"),
        ("1,5", "1", ""),
        ("1e1", "1", ""),
    ],
)
def test_the_total_of_both_doses_is_shown_while_typing(
    show: Shown, morning: str, evening: str, said: str
) -> None:
    page = show(FORM, form=DoseForm())
    page.get_by_label("Morning dose").fill(morning)
    page.get_by_label("Evening dose").fill(evening)
    expect(page.locator("[data-total]")).to_have_text(said)


def test_a_second_press_sends_nothing(show: Shown) -> None:
    page = show(FORM, form=DoseForm())
    sent: list[str] = []

    def keep_the_page(route: Route) -> None:
        sent.append(route.request.method)
        route.fulfill(status=204)

    page.route("**/sent/", keep_the_page)
    page.locator(".sign button").evaluate("button => { button.click(); button.click(); }")
    expect(page.locator("button[aria-disabled=true]")).to_have_count(1)
    assert sent == ["POST"]


def test_the_menu_opens_with_the_keyboard_and_says_where_one_is(show: Shown) -> None:
    page = show(FORM, form=DoseForm())
    page.get_by_role("banner").get_by_role("button").first.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    expect(page.locator("#user-menu")).to_contain_text(re.compile("North.*Prescriber", re.DOTALL))
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Sign out")).to_be_hidden()
