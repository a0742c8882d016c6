"""The patient's timeline drawn on one time axis as inline SVG, without JavaScript.

Colours stand in presentation attributes, which the content security policy allows and which a PDF
renderer reads; the stylesheet overrides them by class for dark mode. Positions are floats, for they
are pixels; every number that a person reads is printed from its Decimal.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from html import escape

from django.utils.safestring import SafeString

from tacroweb.templatetags.quantities import plain_dose
from tacroweb.timeline import (
    DoseStep,
    DrugBar,
    TargetBand,
    Timeline,
    TroughPoint,
    course_words,
    day_words,
    describe,
    level_words,
    point_name,
    ticks,
)

SHORTEST = timedelta(days=3)
HATCHED = ("strong inducer", "moderate inducer")
MANY_STEPS = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """The measures of one drawing, in SVG units (about a pixel each)."""

    name: str
    width: int
    left: int
    right: int
    trough: int
    dose: int
    row: int  # a row of the interacting drugs; 34 leaves room for the label above its bar
    tick: int  # the least room of a tick of the time axis
    links: int  # above this many points the rest are drawn as plain dots


WIDE = Size(
    name="wide", width=900, left=34, right=62, trough=236, dose=84, row=23, tick=58, links=300
)
NARROW = Size(
    name="narrow", width=360, left=26, right=50, trough=190, dose=70, row=34, tick=42, links=120
)


# How each class looks; the stylesheet overrides the same names for dark mode.
INK, QUIET, PAPER = "#12232b", "#4a5d67", "#ffffff"
OK, ABOVE, BELOW = "#0e7046", "#b3261e", "#1b64a5"
DOSE, HELD, INDUCER, LINE = "#0b4f7a", "#9a6200", "#4b47a8", "#6b7c85"
LOOKS: dict[str, dict[str, object]] = {
    "ink": {"fill": INK},
    "quiet": {"fill": QUIET},
    "title": {"fill": INK, "font_weight": 600, "font_size": 12},
    "empty": {"fill": QUIET, "font_size": 13, "text_anchor": "middle"},
    "grid": {"stroke": "#e3e9ec", "fill": "none"},
    "band": {"fill": OK, "fill_opacity": "0.12"},
    "band-edge": {"stroke": OK, "stroke_opacity": ".45", "stroke_dasharray": "4 3", "fill": "none"},
    "band-label": {"fill": "#0d5a39"},
    "line": {"stroke": LINE, "stroke_width": "1.5", "stroke_linejoin": "round", "fill": "none"},
    "loose": {"stroke": LINE, "stroke_width": 4, "stroke_linecap": "round"},
    "points": {"stroke": PAPER, "stroke_width": "1.5"},
    "values": {
        "font_weight": 700, "paint_order": "stroke", "stroke": PAPER, "stroke_width": 3,
        "stroke_linejoin": "round",
    },
    "in_target": {"fill": OK},
    "above": {"fill": ABOVE},
    "below": {"fill": BELOW},
    "doubtful": {"fill": PAPER, "stroke": OK, "stroke_width": "1.8", "stroke_dasharray": "2.6 1.6"},
    "dose-area": {"fill": DOSE, "fill_opacity": "0.1"},
    "dose-line": {"stroke": DOSE, "stroke_width": "2.2", "stroke_linejoin": "round",
                  "fill": "none"},
    "dose-now": {"fill": DOSE},
    "held-line": {"stroke": HELD, "stroke_width": 3, "stroke_dasharray": "5 4", "fill": "none"},
    "mark": {"fill": "#5b3a8e"},
    "mark-line": {"stroke": "#73868f", "stroke_dasharray": "1 4", "fill": "none"},
    "today": {"stroke": INK, "stroke_dasharray": "2 3", "fill": "none"},
    "hatch-back": {"fill": "#e9e8f8"},
    "hatch-line": {"stroke": INDUCER, "stroke_width": 3},
    "strong-inhibitor": {"fill": ABOVE, "stroke": ABOVE},
    "moderate-inhibitor": {"fill": "#ffe0a6", "stroke": "#9a6200"},
    "weak-inhibitor": {"fill": "#fff6e3", "stroke": "#b98a3a"},
    "strong-inducer": {"stroke": INDUCER},
    "moderate-inducer": {"stroke": INDUCER},
    "weak-inducer": {"fill": "#f1f0fb", "stroke": "#7a77c4"},
    "other": {"fill": "#e4eaed", "stroke": "#8096a0"},
    "on-strong": {"fill": PAPER, "font_weight": 600},
    "on-pale": {"fill": "#4a2f00", "font_weight": 600},
    "plate": {"fill": PAPER},
    "shade-inhibitor": {"fill": "#d9932b", "fill_opacity": ".13"},
    "shade-inducer": {"fill": INDUCER, "fill_opacity": ".09"},
}  # fmt: skip


def _el(
    tag: str, body: str = "", /, *, text: object = "", look: object = "", **attrs: object
) -> str:
    """One element: the only place where text and attributes are written, and both are escaped.

    `body` is markup that came from here. `look` is a class and its attributes from LOOKS.
    """
    written = {"class_": look, **LOOKS[str(look)], **attrs} if look else attrs
    pairs = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{_written(value)}"'
        for name, value in written.items()
    )
    inside = body + (escape(str(text)) if text != "" else "")
    return f"<{tag}{pairs}>{inside}</{tag}>" if inside else f"<{tag}{pairs}/>"


def _written(value: object) -> str:
    return _n(value) if isinstance(value, float) else escape(str(value))


def _n(pixels: float) -> str:
    return f"{pixels:.1f}".removesuffix(".0")


def _text(words: str, x: float, y: float, look: str = "", **attrs: object) -> str:
    return _el("text", text=words, look=look, x=float(x), y=float(y), **attrs)


def _group(parts: Iterable[str], look: str = "", **attrs: object) -> str:
    return _el("g", "".join(parts), look=look, **attrs)


def _width(words: str, *, bold: bool = False) -> float:
    """About how wide words of 11.5 units are."""
    return len(words) * (6.9 if bold else 6.2)


class _Frame:
    """Where a moment lies from left to right, and which labels have taken their place."""

    def __init__(self, timeline: Timeline, size: Size) -> None:
        self.size, self.zone = size, timeline.zone
        begun = [p.at for p in timeline.troughs] + [d.since for d in timeline.doses]
        begun = begun or [self.midnight(d.started) for d in timeline.drugs]
        begun = begun or [m.at for m in timeline.marks] or [timeline.now]
        last = max([timeline.now, *(p.at for p in timeline.troughs)])
        since, until = timeline.since or min(begun), timeline.until or last
        if until - since < SHORTEST:
            since = until - SHORTEST
        spare = (until - since) / 40
        self.since = since if timeline.since else since - spare
        self.until = until if timeline.until else until + spare
        self.left, self.right = float(size.left), float(size.width - size.right)
        self.now = timeline.now if self.since <= timeline.now <= self.until else self.until
        self.span = self.until - self.since
        self.taken: list[tuple[float, float, float, float]] = []
        self.dots: list[tuple[float, float]] = []
        shown = self.since <= timeline.now <= self.until
        self.today = self.x(timeline.now) if shown else None

    def midnight(self, day: date) -> datetime:
        return datetime.combine(day, time(), tzinfo=self.zone)

    def x(self, at: datetime) -> float:
        """The position of a moment; a moment outside lies on the nearer edge."""
        share = (at - self.since) / self.span
        return self.left + (self.right - self.left) * min(max(share, 0.0), 1.0)

    def shows(self, since: datetime, until: datetime | None) -> bool:
        """Does a stretch of time reach into the drawing?"""
        return since < self.until and (until is None or until > self.since)

    def course(self, bar: DrugBar) -> tuple[datetime, datetime]:
        """When a course begins and ends; one that goes on ends now."""
        return self.midnight(bar.started), self.midnight(bar.stopped) if bar.stopped else self.now

    def place(
        self, words: str, spots: Iterable[tuple[float, float, str]], look: str = ""
    ) -> list[str]:
        """The words at the first spot (x, baseline, anchor) where they cover nothing.

        A spot on the line of today comes after all others: it would cut a decimal point.
        """
        wide = _width(words, bold=True)
        begins = {"start": 0.0, "middle": wide / 2, "end": wide}

        def on_the_line(spot: tuple[float, float, str]) -> bool:
            return self.struck(spot[0] - begins[spot[2]], wide)

        for x, y, anchor in sorted(spots, key=on_the_line):
            x0 = x - begins[anchor]
            box = (x0 - 1, y - 10, x0 + wide + 1, y + 2)
            if box[0] >= self.left and box[2] <= self.size.width - 40 and not self._covers(box):
                self.taken.append(box)
                return [_text(words, x, y, look, text_anchor=anchor)]
        return []

    def struck(self, x0: float, wide: float) -> bool:
        """Whether the line of today runs through words that begin at `x0`."""
        return self.today is not None and x0 - 3 < self.today < x0 + wide + 3

    def beside(self, x0: float, wide: float) -> float:
        """Where words begin that would begin at `x0`: left of the line of today, if on it."""
        if self.today is not None and self.struck(x0, wide) and self.today - 4 - wide >= 0:
            return self.today - 4 - wide
        return x0

    def _covers(self, box: tuple[float, float, float, float]) -> bool:
        x0, y0, x1, y1 = box
        if any(x0 < b[2] and b[0] < x1 and y0 < b[3] and b[1] < y1 for b in self.taken):
            return True
        for x, y in self.dots[bisect_left(self.dots, (x0 - 5.0, 0.0)) :]:
            if x > x1 + 5:
                return False
            if y0 - 5 < y < y1 + 5:
                return True
        return False


def _axis(top: Decimal, lines: int, steps: tuple[str, ...]) -> list[Decimal]:
    """The values of the grid lines from 0 up to `top`, at most about `lines` of them."""
    step = next((s for s in map(Decimal, steps) if top / s <= lines), Decimal(steps[-1]))
    return [step * n for n in range(int(top / step) + 1)]


def draw(timeline: Timeline, size: Size = WIDE) -> SafeString:
    """The drawing, whole: troughs and target, daily dose, interacting drugs, events, time axis."""
    frame = _Frame(timeline, size)
    trough_top = 30.0
    dose_top = trough_top + size.trough + 46
    rows, rows_end = _drugs(timeline, frame, dose_top + size.dose + 46)
    events, end = _marks(timeline, frame, rows_end, trough_top)
    body = [
        _el("desc", text=describe(timeline), id=f"tl-{size.name}-desc"),
        _hatch(size),
        _background(timeline, frame, trough_top, end),
        _today(frame, end),  # under the values, whose halo keeps it off them
        *_troughs(timeline, frame, trough_top),
        *_doses(timeline, frame, dose_top),
        rows,
        events,
    ]
    return SafeString(
        _el(
            "svg",
            "".join(body),
            xmlns="http://www.w3.org/2000/svg",
            class_="tl",
            viewBox=f"0 0 {size.width} {_n(end + 38)}",
            role="group",
            aria_label="Trough, dose and interacting drugs over time",
            aria_describedby=f"tl-{size.name}-desc",
            font_family="system-ui, 'Segoe UI', 'Noto Sans', sans-serif",
            font_size="11.5",
        )
    )


def _hatch(size: Size) -> str:
    lines = _el("rect", look="hatch-back", width=6, height=6) + _el(
        "path", d="M0 0V6", look="hatch-line"
    )
    return _el(
        "defs",
        _el(
            "pattern",
            lines,
            id=f"tl-{size.name}-hatch",
            width=6,
            height=6,
            patternUnits="userSpaceOnUse",
            patternTransform="rotate(45)",
        ),
    )


def _background(timeline: Timeline, frame: _Frame, top: float, end: float) -> str:
    """The shades of strong and moderate interactions, the time axis and its lines."""
    shades, lines, labels = [], [], []
    for bar in timeline.drugs:
        since, until = frame.course(bar)
        if bar.kind.startswith(("strong", "moderate")) and frame.shows(since, until):
            x = frame.x(since)
            wide = max(frame.x(until) - x, 1.0)
            look = f"shade-{bar.kind.split()[1]}"
            shades.append(_el("rect", look=look, x=x, y=top, width=wide, height=frame.size.trough))
    room = {"pixels": frame.right - frame.left, "room": float(frame.size.tick)}
    for at, label, year in ticks(frame.since, frame.until, zone=frame.zone, **room):
        x = frame.x(at)
        lines.append(f"M{_n(x)} {_n(top)}V{_n(end)}")
        labels.append(_text(label, x, end + 17))
        if year:
            labels.append(_text(year, x, end + 31, font_weight=600))
    return (
        _group(shades)
        + _el("path", d="".join(lines) or "M0 0", look="grid")
        + _group(labels, "quiet", text_anchor="middle")
    )


def _levels(frame: _Frame, values: list[Decimal], y: Callable[[Decimal], float]) -> str:
    """Grid lines and labels of a value axis."""
    lines = "".join(f"M{_n(frame.left)} {_n(y(value))}H{_n(frame.right)}" for value in values)
    labels = [_text(plain_dose(value), frame.left - 8, y(value) + 4) for value in values]
    return _el("path", d=lines, look="grid") + _group(labels, "quiet", text_anchor="end")


def _troughs(timeline: Timeline, frame: _Frame, top: float) -> list[str]:
    size = frame.size
    points = [p for p in timeline.troughs if frame.since <= p.at <= frame.until]
    bands = [b for b in timeline.bands if frame.shows(b.since, b.until)]
    highest = max(
        [p.value for p in points]
        + [b.high for b in bands]
        + [Decimal(6 if points or bands else 12)]
    )
    highest *= Decimal("1.12")

    def y(value: Decimal) -> float:
        return top + size.trough * (1 - float(value / highest))

    frame.dots = sorted((frame.x(p.at), y(p.value)) for p in points)
    axis = _axis(highest, 5, ("1", "2", "5", "10", "20", "50", "100", "1000"))
    parts = [
        _text("Trough, ng/mL", 0, top - 16, "title"),
        _levels(frame, axis, y),
        _bands(bands, frame, y),
    ]
    if not points:
        words = "No trough in this period" if timeline.troughs else "No trough recorded"
        return [
            *parts,
            _text(words, (frame.left + frame.right) / 2, top + size.trough / 2, "empty"),
        ]
    # A mistimed level is no trough and "<2.0" no number: the line passes neither.
    exact = [p for p in points if p.status != "doubtful" and not p.comparator]
    if len(exact) > 1:
        line = "L".join(f"{_n(frame.x(p.at))} {_n(y(p.value))}" for p in exact)
        thin: dict[str, object] = {"stroke_width": ".6"} if len(exact) > size.links else {}
        parts.append(_el("path", d=f"M{line}", look="line", **thin))
    linked = _linked(points, size.links)
    loose = [f"M{_n(frame.x(p.at))} {_n(y(p.value))}h0" for p in points if id(p) not in linked]
    if loose:
        parts.append(_el("path", d="".join(loose), look="loose"))
    drawn = (_point(p, timeline, frame.x(p.at), y(p.value)) for p in points if id(p) in linked)
    return [*parts, _group(drawn, "points"), _values(points, frame, y)]


def _linked(points: list[TroughPoint], most: int) -> set[int]:
    """Which points (by identity) are links: all, or those out of target first, the newest first."""
    by_worth = sorted(points, key=lambda p: (p is points[-1], p.status != "in_target", p.at))
    return {id(point) for point in by_worth[-most:]}


def _point(point: TroughPoint, timeline: Timeline, x: float, y: float) -> str:
    if point.status == "above":
        shape = _el("path", d=f"M{_n(x)} {_n(y - 6.5)}l6 10.5h-12z", look="above")
    elif point.status == "below":
        shape = _el("path", d=f"M{_n(x)} {_n(y + 6.5)}l6-10.5h-12z", look="below")
    else:
        shape = _el("circle", cx=x, cy=y, r=5, look=point.status)
    attrs: dict[str, object] = {"class_": "pt", "aria_label": point_name(point, timeline.zone)}
    if dose := timeline.dose_at(point.at):
        attrs["data_dose"] = dose
    if point.href:
        return _el("a", shape, href=point.href, **attrs)
    return _el("g", shape, role="img", **attrs)


def _values(points: list[TroughPoint], frame: _Frame, y: Callable[[Decimal], float]) -> str:
    """Values of the last point, those out of target and those like "<2.0", where there is room."""
    last = next((p for p in reversed(points) if not p.comparator), points[-1])
    rest = [p for p in points if p is not last]
    notable = [p for p in rest if p.comparator or p.status in ("above", "below")]
    notable.sort(
        key=lambda p: (p.status != "above", -p.value if p.status == "above" else p.value, p.at)
    )
    labels = []
    for point in [last, *notable[:60]]:
        x, height = frame.x(point.at), y(point.value)
        over = [
            (x, height - 11, "middle"),
            (x + 9, height - 4, "start"),
            (x - 9, height - 4, "end"),
        ]
        under = [
            (x, height + 19, "middle"),
            (x + 9, height + 12, "start"),
            (x - 9, height + 12, "end"),
        ]
        beside = [(x + 10, height + 4, "start"), (x - 10, height + 4, "end")]
        spots = [*under, *beside, *over] if point.status == "below" else [*over, *beside, *under]
        look = point.status if point.status in ("above", "below") else "ink"
        labels += frame.place(level_words(point), spots, look=look)
    return _group(labels, "values", aria_hidden="true")


def _bands(bands: list[TargetBand], frame: _Frame, y: Callable[[Decimal], float]) -> str:
    """The target as it was: an area a target, the present one named in the margin."""
    areas, edges, labels = [], [], []
    for band in bands:
        x0, x1 = frame.x(band.since), frame.x(band.until or frame.until)
        high, low = y(band.high), y(band.low)
        areas.append(_el("rect", x=x0, y=high, width=x1 - x0, height=low - high))
        edges.append(f"M{_n(x0)} {_n(high)}H{_n(x1)}M{_n(x0)} {_n(low)}H{_n(x1)}")
        words = f"{plain_dose(band.low)}–{plain_dose(band.high)}"
        if band.until is None or band.until >= frame.until:
            middle = (high + low) / 2
            labels.append(_text("Target", frame.right + 8, middle - 2))
            frame.taken.append((frame.right + 4, middle - 14, float(frame.size.width), middle + 16))
            labels.append(_text(words, frame.right + 8, middle + 12, font_weight=700))
        elif x1 - x0 > _width(f"Target {words}") + 8:
            spots = [
                (x0 + 5, high + 13, "start"),
                (x0 + 5, low - 5, "start"),
                (x1 - 5, high + 13, "end"),
            ]
            labels += frame.place(f"Target {words}", spots)
    if not areas:
        return ""
    edge = _el("path", d="".join(edges), look="band-edge")
    return _group(areas, "band") + edge + _group(labels, "band-label")


def _doses(timeline: Timeline, frame: _Frame, top: float) -> list[str]:
    """The daily dose as steps; a hold is a dashed line at the foot."""
    steps = [d for d in timeline.doses if frame.shows(d.since, d.until)]
    highest = max([d.total_mg for d in steps if not d.held] + [Decimal(1)]) * Decimal("1.3")
    foot = top + frame.size.dose

    def y(step: DoseStep) -> float:
        return foot if step.held else level(step.total_mg)

    def level(dose_mg: Decimal) -> float:
        return foot - frame.size.dose * float(dose_mg / highest)

    axis = _axis(highest, 3, ("0.5", "1", "2", "5", "10", "20", "50"))
    parts = [_text("Dose, mg/day", 0, top - 14, "title"), _levels(frame, axis, level)]
    if not steps:
        words = (
            "No tacrolimus dose in this period" if timeline.doses else "No tacrolimus dose ordered"
        )
        return [
            *parts,
            _text(words, (frame.left + frame.right) / 2, foot - frame.size.dose / 2 + 4, "empty"),
        ]
    line, area, held = [], [], []
    before: DoseStep | None = None
    for step in steps:
        x0, x1 = frame.x(step.since), frame.x(step.until or frame.now)
        if step.held:
            held.append(f"M{_n(x0)} {_n(foot)}H{_n(x1)}")
        else:
            joined = before is not None and not before.held and before.until == step.since
            line.append(f"{'V' if joined else f'M{_n(x0)} '}{_n(y(step))}H{_n(x1)}")
            area.append(f"M{_n(x0)} {_n(foot)}V{_n(y(step))}H{_n(x1)}V{_n(foot)}z")
        before = step
    for paths, look in ((area, "dose-area"), (line, "dose-line"), (held, "held-line")):
        if paths:
            parts.append(_el("path", d="".join(paths), look=look))
    labels, frame.dots = [], []
    for step in reversed(steps):  # newest first, where there is not room for all
        x, height = frame.x(step.since), y(step)
        words = "held" if step.held else plain_dose(step.total_mg)
        room = frame.x(step.until or frame.now) - x
        if len(steps) <= MANY_STEPS or room > _width(words, bold=True) + 6:
            labels += frame.place(words, [(x + 4, height - 5, "start"), (x - 3, height - 5, "end")])
    parts.append(_group(labels, "values", fill=INK, class_="values ink", aria_hidden="true"))
    if steps[-1].until is None:
        height = y(steps[-1])
        words = "Held" if steps[-1].held else plain_dose(steps[-1].total_mg)
        now = _text(words, frame.right + 8, height, font_weight=700)
        unit = "" if steps[-1].held else _text("mg/day", frame.right + 8, height + 13)
        parts.append(_group((now, unit), "dose-now"))
    return parts


def _drugs(timeline: Timeline, frame: _Frame, top: float) -> tuple[str, float]:
    """A row a drug, its courses as bars; returns the markup and where it ends."""
    rows: dict[str, list[DrugBar]] = {}
    for bar in sorted(timeline.drugs, key=lambda b: (b.started, b.name)):
        if frame.shows(*frame.course(bar)):
            rows.setdefault(bar.name, []).append(bar)
    aside = "" if rows else _el("tspan", text=" none recorded", look="quiet", font_weight=400)
    parts = [_el("text", "Interacting drugs" + aside, x=0, y=top - 12, look="title")]
    stacked = frame.size.row > 30
    for number, courses in enumerate(rows.values()):
        y = top + frame.size.row * number + (16 if stacked else 0)
        free_from = frame.left
        for bar in courses:
            since, until = frame.course(bar)
            x0, x1 = frame.x(since), max(frame.x(until), frame.x(since) + 3)
            fill = {"fill": f"url(#tl-{frame.size.name}-hatch)"} if bar.kind in HATCHED else {}
            parts.append(
                _el(
                    "rect",
                    _el("title", text=course_words(bar)),
                    look=bar.kind.replace(" ", "-"),
                    x=x0,
                    y=y,
                    width=x1 - x0,
                    height=12 if stacked else 16,
                    rx="3.5",
                    **fill,
                )
            )
            if bar is courses[-1]:
                parts.append(_bar_label(bar, x0, x1, y, frame, free_from))
            free_from = x1
    return _group(parts), top + frame.size.row * len(rows) - (0 if rows else 6)


def _bar_label(
    bar: DrugBar, x0: float, x1: float, y: float, frame: _Frame, free_from: float
) -> str:
    """The drug and its kind: in the bar if it fits, else right of it, else left, else over it."""
    words = bar.name if bar.kind == "other" else f"{bar.name} · {bar.kind}"
    longest = int((frame.size.width - frame.left) / 6.9)
    words = words if len(words) <= longest else f"{words[: longest - 1]}…"
    wide = _width(words, bold=True)
    if frame.size.row > 30:
        x = frame.beside(max(min(x0, frame.size.width - wide), 0), wide)
        return _text(words, x, y - 5, "ink")
    hatched = bar.kind in HATCHED
    if x1 - x0 > wide + 14 and not hatched:
        return _text(
            words, x0 + 7, y + 12, "on-strong" if bar.kind == "strong inhibitor" else "on-pale"
        )
    if x1 + 6 + wide <= frame.size.width:
        return _text(words, x1 + 6, y + 12, "ink")
    if x0 - 6 - wide >= free_from:
        return _text(words, x0 - 6, y + 12, "ink", text_anchor="end")
    x = frame.beside(max(min(x0 + 9, frame.right - wide), frame.left), wide)
    plate = _el("rect", look="plate", x=x - 4, y=y + 2, width=_width(words) + 6, height=12, rx=2)
    return plate + _text(words, x, y + 12, "ink")


def _marks(timeline: Timeline, frame: _Frame, top: float, head: float) -> tuple[str, float]:
    """Events as diamonds in a row of their own, with a hairline through the troughs."""
    marks = [m for m in timeline.marks if frame.since <= m.at <= frame.until]
    if not marks:
        return "", top
    parts, frame.dots, y = [_text("Events", 0, top + 20, "title")], [], top + 38
    frame.dots = sorted((frame.x(m.at), y) for m in marks)
    for mark in sorted(marks, key=lambda m: m.at, reverse=True):
        x = frame.x(mark.at)
        name = _el("title", text=f"{day_words(mark.at.astimezone(frame.zone))}: {mark.label}")
        parts.append(_el("path", d=f"M{_n(x)} {_n(head)}v{frame.size.trough}", look="mark-line"))
        parts.append(_el("path", name, d=f"M{_n(x)} {_n(y - 6)}l6 6-6 6-6-6z", look="mark"))
        parts += frame.place(
            mark.label, [(x + 10, y + 4, "start"), (x - 10, y + 4, "end")], look="ink"
        )
    return _group(parts), y + 12


def _today(frame: _Frame, end: float) -> str:
    if (x := frame.today) is None:
        return ""
    line = _el("path", d=f"M{_n(x)} 20V{_n(end)}", look="today")
    label = _text("today", x, 14, "ink", text_anchor="middle", font_weight=600)
    return _group((line, label), aria_hidden="true")
