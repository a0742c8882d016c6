"""The timeline as words, table and drawing."""

import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from xml.etree import ElementTree
from zoneinfo import ZoneInfo

import pytest

from tacroweb.timeline import (
    DoseStep,
    DrugBar,
    Mark,
    TargetBand,
    Timeline,
    TroughPoint,
    describe,
    table_rows,
    ticks,
)
from tacroweb.timeline_svg import NARROW, WIDE, draw

NOW = datetime(2026, 11, 2, 9, tzinfo=UTC)


def level(days_ago: int, value: str, status="in_target", **more) -> TroughPoint:
    at = NOW - timedelta(days=days_ago)
    return TroughPoint(
        at=at, value=Decimal(value), status=status, href=f"/levels/{days_ago}/", **more
    )


def step(from_days: int, to_days: int | None, mg: str, *, held: bool = False) -> DoseStep:
    until = None if to_days is None else NOW - timedelta(days=to_days)
    return DoseStep(
        since=NOW - timedelta(days=from_days), until=until, total_mg=Decimal(mg), held=held
    )


def patient(**changes) -> Timeline:
    begun = NOW - timedelta(days=60)
    whole = Timeline(
        now=NOW,
        troughs=(level(50, "4.1", "below"), level(30, "14.6", "above"), level(10, "7.0")),
        doses=(step(60, 29, "3.0"), step(29, None, "1.50")),
        bands=(TargetBand(since=begun, until=None, low=Decimal("5.0"), high=Decimal("10")),),
        drugs=(
            DrugBar(
                name="Voriconazole",
                kind="strong inhibitor",
                started=date(2026, 10, 1),
                stopped=date(2026, 10, 20),
            ),
        ),
    )
    return replace(whole, **changes)


def texts(svg: str) -> list[str]:
    return [
        "".join(element.itertext())
        for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")
    ]


def labels(svg: str) -> list[str]:
    tree = ElementTree.fromstring(svg)
    return [
        element.get("aria-label", "") for element in tree.iter() if element.get("class") == "pt"
    ]


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_every_trough_is_a_link_with_a_name_that_says_day_value_and_meaning(size):
    svg = draw(patient(), size)
    assert labels(svg) == [
        "13 Sep 2026: 4.1 ng/mL, below target",
        "3 Oct 2026: 14.6 ng/mL, above target",
        "23 Oct 2026: 7.0 ng/mL, in target",
    ]
    links = ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}a")
    assert [link.get("href") for link in links] == ["/levels/50/", "/levels/30/", "/levels/10/"]


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_names_cannot_break_out_of_the_drawing(size):
    evil = "</svg><script>alert('1')</script>\" onload=\"x"
    svg = draw(
        patient(
            drugs=(DrugBar(name=evil, kind="other", started=date(2026, 10, 1), stopped=None),),
            marks=(Mark(at=NOW - timedelta(days=5), label=evil),),
            troughs=(level(10, "7.0", label=evil),),
        ),
        size,
    )
    assert "<script" not in svg
    tree = ElementTree.fromstring(svg)
    assert not [name for element in tree.iter() for name in element.attrib if name.startswith("on")]
    assert f"23 Oct 2026: 7.0 ng/mL, in target, {evil}" in labels(svg)


def test_no_style_attribute_and_no_script_so_that_the_strict_policy_lets_it_through():
    svg = draw(patient(marks=(Mark(at=NOW, label="Tremor"),)))
    assert " style=" not in svg
    assert "<style" not in svg


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"troughs": ()}, "No trough recorded"),
        ({"doses": ()}, "No tacrolimus dose ordered"),
        ({"drugs": ()}, "Interacting drugs none recorded"),
        ({"since": NOW - timedelta(days=5)}, "No trough in this period"),
    ],
)
def test_what_is_missing_is_said(changes, words, size):
    assert words in texts(draw(patient(**changes), size))


def test_a_timeline_without_anything_is_empty_and_still_draws():
    bare = Timeline(now=NOW)
    assert bare.is_empty
    assert "No trough recorded" in texts(draw(bare))
    assert not Timeline(now=NOW, marks=(Mark(at=NOW, label="Tremor"),)).is_empty


def test_a_single_trough_is_drawn_with_its_value():
    svg = draw(Timeline(now=NOW, troughs=(level(1, "58.40", "above"),)))
    assert "58.40" in texts(svg)
    assert labels(svg) == ["1 Nov 2026: 58.40 ng/mL, above target"]


def test_doses_lose_trailing_zeros_and_levels_keep_them():
    words = texts(draw(patient()))
    assert {"3", "1.5", "7.0", "14.6", "5–10", "mg/day"} <= set(words)
    assert not [word for word in words if re.search(r"\d\.\d{3,}|\de[+-]?\d", word)]


def test_a_level_below_the_assay_limit_keeps_its_sign_and_is_not_on_the_line():
    exact = draw(patient(troughs=(level(50, "6.0"), level(10, "7.0"))))
    with_limit = draw(
        patient(
            troughs=(level(50, "6.0"), level(30, "2.0", "below", comparator="<"), level(10, "7.0"))
        )
    )
    line = re.compile(r'<path class="line"[^>]* d="([^"]*)"')
    assert line.search(exact)[1] == line.search(with_limit)[1]
    assert "3 Oct 2026: <2.0 ng/mL, below target" in labels(with_limit)
    assert "<2.0" in texts(with_limit)


def test_a_mistimed_level_is_not_on_the_line():
    svg = draw(patient(troughs=(level(50, "6.0"), level(30, "19", "doubtful"), level(10, "7.0"))))
    (line,) = re.findall(r'<path class="line"[^>]* d="([^"]*)"', svg)
    assert line.count("L") == 1
    assert "3 Oct 2026: 19 ng/mL, timing in doubt" in labels(svg)


def test_a_hold_breaks_the_dose_line_and_is_named():
    svg = draw(
        patient(doses=(step(60, 30, "3"), step(30, 20, "3", held=True), step(20, None, "1")))
    )
    (line,) = re.findall(r'<path class="dose-line"[^>]* d="([^"]*)"', svg)
    assert line.count("M") == 2
    assert "held" in texts(svg)
    assert 'class="held-line"' in svg


def test_a_regimen_on_hold_says_so_beside_the_plot():
    assert "Held" in texts(draw(patient(doses=(step(60, 9, "3"), step(9, None, "3", held=True)))))


def test_the_band_follows_a_change_of_target():
    changed = NOW - timedelta(days=20)
    bands = (
        TargetBand(since=NOW - timedelta(days=60), until=changed, low=Decimal(8), high=Decimal(15)),
        TargetBand(since=changed, until=None, low=Decimal(5), high=Decimal(10)),
    )
    words = texts(draw(patient(bands=bands)))
    assert "Target 8–15" in words
    assert "5–10" in words


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_a_thousand_troughs_stay_small_and_the_last_is_still_a_link(size):
    many = tuple(
        level(1000 - n, f"{n % 18}.{n % 10}", ("in_target", "above", "below")[n % 3])
        for n in range(1000)
    )
    svg = draw(patient(troughs=many, doses=(step(1000, None, "30"),)), size)
    assert len(svg) < 150_000
    assert len(labels(svg)) == size.links
    assert labels(svg)[-1].startswith("1 Nov 2026: ")
    assert len(texts(svg)) < 120


def test_value_labels_do_not_cover_each_other():
    crowd = tuple(level(n, f"{12 + n % 5}.0", "above") for n in range(40, 0, -1))
    svg = draw(patient(troughs=crowd), NARROW)
    group = svg[svg.index('class="values"') :].split("</g>")[0]
    placed = []
    for element in re.findall(r"<text[^>]*>[^<]*</text>", group):
        x, y = (float(re.search(rf' {name}="([\d.]+)"', element)[1]) for name in "xy")
        anchor = re.search(r'text-anchor="(\w+)"', element)[1]
        left = x - {"start": 0, "middle": 13, "end": 26}[anchor]
        placed.append((left, y))
    assert len(placed) > 1
    for index, (left, y) in enumerate(placed):
        for other_left, other_y in placed[index + 1 :]:
            assert abs(left - other_left) >= 24 or abs(y - other_y) >= 10


def test_the_same_timeline_is_drawn_the_same():
    assert draw(patient()) == draw(patient())


def test_instants_are_shown_in_the_zone_of_now():
    zone = ZoneInfo("Asia/Tokyo")
    late = datetime(2026, 10, 30, 16, tzinfo=UTC)  # 01:00 on the 31st in Tokyo
    svg = draw(
        patient(
            now=NOW.astimezone(zone),
            troughs=(TroughPoint(at=late, value=Decimal(7), status="in_target"),),
        )
    )
    assert labels(svg) == ["31 Oct 2026: 7 ng/mL, in target"]


def test_a_now_without_a_zone_is_refused():
    with pytest.raises(ValueError, match="time zone"):
        draw(Timeline(now=NOW.replace(tzinfo=None)))


@pytest.mark.parametrize(
    ("days", "first_labels"),
    [
        (3, ["31 Oct", "1 Nov", "2 Nov"]),
        (14, ["20 Oct", "21 Oct"]),
        (60, ["7 Sep", "14 Sep"]),
        (365, ["Dec", "Jan"]),
        (5 * 365, ["Jan", "Jul"]),
        (40 * 365, ["1990", "1995"]),
    ],
)
def test_the_time_axis_counts_in_days_weeks_months_or_years(days, first_labels):
    since = NOW - timedelta(days=days)
    found = ticks(since, NOW, zone=UTC, pixels=800, room=55)
    shown = [label for _, label, _ in found]
    assert shown[: len(first_labels)] == first_labels
    assert 2 <= len(shown) <= 15
    assert all(since < at <= NOW for at, _, _ in found)


def test_the_year_stands_under_the_first_tick_and_at_each_new_year():
    found = ticks(NOW - timedelta(days=365), NOW, zone=UTC, pixels=800, room=55)
    assert [(label, year) for _, label, year in found if year] == [("Dec", "2025"), ("Jan", "2026")]


def test_the_description_says_the_last_level_the_dose_and_the_drugs():
    assert describe(patient()) == (
        "3 troughs; the last on 23 Oct 2026: 7.0 ng/mL, in target. Dose now 1.5 mg/day. "
        "Voriconazole · strong inhibitor, from 1 Oct 2026, to 20 Oct 2026."
    )


def test_the_table_holds_everything_newest_first():
    rows = table_rows(patient())
    assert [(row.on, row.what, row.value, row.meaning) for row in rows] == [
        ("23-Oct-2026", "Trough", "7.0 ng/mL", "in target, dose 1.5 mg/day"),
        ("20-Oct-2026", "Voriconazole", "Stopped", "strong inhibitor"),
        ("04-Oct-2026", "Tacrolimus", "1.5 mg/day", "dose from here"),
        ("03-Oct-2026", "Trough", "14.6 ng/mL", "above target, dose 3 mg/day"),
        ("01-Oct-2026", "Voriconazole", "Started", "strong inhibitor"),
        ("13-Sep-2026", "Trough", "4.1 ng/mL", "below target, dose 3 mg/day"),
        ("03-Sep-2026", "Tacrolimus", "3 mg/day", "dose from here"),
    ]


def test_a_stopped_regimen_ends_in_the_table():
    rows = table_rows(patient(troughs=(), drugs=(), doses=(step(60, 20, "3"),)))
    assert [(row.what, row.value) for row in rows] == [
        ("Tacrolimus", "Stopped"),
        ("Tacrolimus", "3 mg/day"),
    ]


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
def test_the_line_of_today_strikes_no_label_through(size):
    at_now = patient(
        troughs=(level(50, "4.1", "below"), level(0, "9.6")),
        doses=(step(60, 2, "3"), step(2, None, "6.5")),
        drugs=(
            DrugBar(
                name="Rifampin",
                kind="strong inducer",
                started=date(2026, 10, 31),
                stopped=None,
            ),
        ),
    )
    drawing = ElementTree.fromstring(draw(at_now, size))
    line = next(e for e in drawing.iter() if e.get("class") == "today")
    today = float(re.match(r"M([\d.]+)", line.get("d"))[1])
    seen = set()
    for text in drawing.iter("{http://www.w3.org/2000/svg}text"):
        words = "".join(text.itertext())
        if words not in ("9.6", "6.5", "Rifampin · strong inducer"):
            continue
        seen.add(words)
        x, wide = float(text.get("x")), len(words) * 6.5
        left = x - {None: 0, "start": 0, "middle": wide / 2, "end": wide}[text.get("text-anchor")]
        assert not left < today < left + wide, words
    assert seen == {"9.6", "6.5", "Rifampin · strong inducer"}
