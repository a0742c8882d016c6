"""Troughs, doses and interacting drugs on one time axis, as one inline SVG made without JavaScript.

Colours stand in presentation attributes, which the content security policy allows and which a PDF
renderer reads; the stylesheet overrides them by class for dark mode. Positions are floats, for they
are pixels; every number that a person reads is printed from its Decimal.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from html import escape
from typing import Literal

from django.utils.safestring import SafeString

from tacroweb.templatetags.quantities import plain, plain_dose

Status = Literal["in_target", "above", "below", "doubtful"]
Kind = Literal[
    "strong inhibitor", "moderate inhibitor", "weak inhibitor",
    "strong inducer", "moderate inducer", "weak inducer", "other",
]  # fmt: skip

STATUS_WORDS = {
    "in_target": "in target",
    "above": "above target",
    "below": "below target",
    "doubtful": "timing in doubt",
}
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
SHORTEST = timedelta(days=3)
TABLE_ROWS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class TroughPoint:
    """A level. `comparator` is "", "<" or ">"; `label` is a note for its name ("3 h after the dose")."""

    at: datetime
    value: Decimal
    comparator: str = ""
    status: Status
    href: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DoseStep:
    """A total daily dose in force from `since` to `until` (None: still), or a hold."""

    since: datetime
    until: datetime | None
    total_mg: Decimal
    held: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetBand:
    """The target range, ng/mL, from `since` to `until` (None: still)."""

    since: datetime
    until: datetime | None
    low: Decimal
    high: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class DrugBar:
    """One course of a drug that acts on tacrolimus."""

    name: str
    kind: Kind
    started: date
    stopped: date | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A clinical event at a moment."""

    at: datetime
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """What is drawn; `now` carries the clinic's zone, in which every instant is shown."""

    now: datetime
    since: datetime | None = None
    until: datetime | None = None
    troughs: tuple[TroughPoint, ...] = ()
    doses: tuple[DoseStep, ...] = ()
    bands: tuple[TargetBand, ...] = ()
    drugs: tuple[DrugBar, ...] = ()
    marks: tuple[Mark, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Nothing to draw at all?"""
        return not (self.troughs or self.doses or self.drugs or self.marks)

    @property
    def zone(self) -> tzinfo:
        """The zone in which instants are shown."""
        if self.now.tzinfo is None:
            raise ValueError("`now` needs a time zone.")
        return self.now.tzinfo

    def dose_at(self, at: datetime) -> str:
        """The dose in force at a moment, in words; "" where there was none."""
        for step in self.doses:
            if step.since <= at and (step.until is None or at < step.until):
                return "held" if step.held else f"{plain_dose(step.total_mg)} mg/day"
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """The measures of one drawing, in SVG units (about a pixel each)."""

    name: str
    width: int
    left: int
    right: int
    trough: int
    dose: int
    tick: int  # the least room of a tick of the time axis
    links: int  # above this many points the rest are drawn as plain dots


WIDE = Size(name="wide", width=900, left=34, right=62, trough=236, dose=84, tick=58, links=300)
NARROW = Size(name="narrow", width=360, left=26, right=50, trough=190, dose=70, tick=42, links=120)


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """One line of the table under the drawing."""

    on: str
    what: str
    value: str
    meaning: str
    href: str = ""


INK, QUIET, GRID, PAPER = "#12232b", "#4a5d67", "#e3e9ec", "#ffffff"
POINT = {"in_target": "#0e7046", "above": "#b3261e", "below": "#1b64a5", "doubtful": PAPER}
BARS = {  # fill, edge, text
    "strong inhibitor": ("#b3261e", "#b3261e", "#ffffff"),
    "moderate inhibitor": ("#ffe0a6", "#9a6200", "#4a2f00"),
    "weak inhibitor": ("#fff6e3", "#b98a3a", "#4a2f00"),
    "strong inducer": ("url(#{hatch})", "#4b47a8", INK),
    "moderate inducer": ("url(#{hatch})", "#4b47a8", INK),
    "weak inducer": ("#f1f0fb", "#7a77c4", INK),
    "other": ("#e4eaed", "#8096a0", INK),
}
SHADES = {
    "strong inhibitor": "#f8eee2", "moderate inhibitor": "#f9f4e9",
    "strong inducer": "#efeff9", "moderate inducer": "#f4f4fb",
}  # fmt: skip


def _el(tag: str, body: str = "", *, text: object = "", **attrs: object) -> str:
    """One element: the only place where text and attributes are written, and both are escaped.

    `body` is markup that came from here. `class_` and `stroke_width` become `class` and `stroke-width`.
    """
    written = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{_n(value) if isinstance(value, float) else escape(str(value))}"'
        for name, value in attrs.items()
    )
    inside = body + (escape(str(text)) if text != "" else "")
    return f"<{tag}{written}>{inside}</{tag}>" if inside else f"<{tag}{written}/>"


def _n(pixels: float) -> str:
    return f"{pixels:.1f}".removesuffix(".0")


def _day(at: date) -> str:
    return f"{at.day} {MONTHS[at.month - 1]} {at.year}"


def _width(text: str, *, bold: bool = False) -> float:
    """About how wide a text of 11.5 units is."""
    return len(text) * (6.9 if bold else 6.2)


def _value(point: TroughPoint) -> str:
    return f"{point.comparator}{plain(point.value)}"


def _name(point: TroughPoint, zone: tzinfo) -> str:
    """ "13 May 2026: 14.6 ng/mL, above target"."""
    note = f", {point.label}" if point.label else ""
    return f"{_day(point.at.astimezone(zone))}: {_value(point)} ng/mL, {STATUS_WORDS[point.status]}{note}"


def _course(bar: DrugBar) -> str:
    end = f"to {_day(bar.stopped)}" if bar.stopped else "still taken"
    return f"{bar.name} · {bar.kind}, from {_day(bar.started)}, {end}"


def ticks(
    since: datetime, until: datetime, *, zone: tzinfo, pixels: float, room: float
) -> list[tuple[datetime, str, str]]:
    """Moments, labels and years of the time axis: days, weeks, months or years, `room` units apart at least."""
    days = (until - since) / timedelta(days=1)
    per_day = pixels / days
    first, last = since.astimezone(zone).date(), until.astimezone(zone).date()
    found: list[date] = []
    yearly = False
    for step in (1, 2, 7, 14):
        if step * per_day >= room:
            # Ordinal 1 was a Monday, so weeks begin on Mondays.
            start = first.toordinal() + 1
            start += (1 - start) % step
            found = [date.fromordinal(n) for n in range(start, last.toordinal() + 1, step)]
            break
    else:
        months = next((m for m in (1, 2, 3, 6, 12, 24, 60, 120) if m * 30.4 * per_day >= room), 120)
        yearly = months >= 12
        number = first.year * 12 + first.month - 1
        number += -number % months
        while (day := date(number // 12, number % 12 + 1, 1)) <= last:
            if day >= first:
                found.append(day)
            number += months
    by_day = bool(found) and (len(found) < 2 or (found[1] - found[0]).days < 28) and not yearly
    answer, year = [], 0
    for day in found:
        month = MONTHS[day.month - 1]
        label = str(day.year) if yearly else f"{day.day} {month}" if by_day else month
        below = "" if yearly or day.year == year else str(day.year)
        year = day.year
        answer.append((datetime.combine(day, time(), tzinfo=zone), label, below))
    return answer


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

    def midnight(self, day: date) -> datetime:
        return datetime.combine(day, time(), tzinfo=self.zone)

    def x(self, at: datetime) -> float:
        """The position of a moment; a moment outside lies on the nearer edge."""
        share = (at - self.since) / self.span
        return self.left + (self.right - self.left) * min(max(share, 0.0), 1.0)

    def shows(self, since: datetime, until: datetime | None) -> bool:
        """Does a stretch of time reach into the drawing?"""
        return since < self.until and (until is None or until > self.since)

    def place(
        self, text: str, spots: Iterable[tuple[float, float, str]], *, bold: bool = True
    ) -> tuple[float, float, str] | None:
        """The first spot (x, baseline, anchor) where the text covers no other label and no point."""
        wide = _width(text, bold=bold)
        for x, y, anchor in spots:
            x0 = x - {"start": 0.0, "middle": wide / 2, "end": wide}[anchor]
            box = (x0 - 1, y - 10, x0 + wide + 1, y + 2)
            if box[0] < self.left or box[2] > self.right or self._covers(box):
                continue
            self.taken.append(box)
            return x, y, anchor
        return None

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
    """The drawing, whole: troughs against the target, daily dose, interacting drugs, events, time axis."""
    frame = _Frame(timeline, size)
    trough_top = 30.0
    dose_top = trough_top + size.trough + 48
    rows_top = dose_top + size.dose + 46
    rows, rows_end = _drugs(timeline, frame, rows_top)
    events, end = _marks(timeline, frame, rows_end, trough_top)
    body = [
        _defs(size),
        _grid(timeline, frame, trough_top, end),
        *_troughs(timeline, frame, trough_top),
        *_doses(timeline, frame, dose_top),
        rows,
        events,
        _today(timeline, frame, end),
    ]
    body.insert(0, _el("desc", text=describe(timeline), id=f"tl-{size.name}-desc"))
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


def describe(timeline: Timeline) -> str:
    """The drawing in one paragraph, for those who do not see it."""
    zone, parts = timeline.zone, []
    if timeline.troughs:
        last = timeline.troughs[-1]
        count = len(timeline.troughs)
        parts.append(f"{count} trough{'' if count == 1 else 's'}; the last on {_name(last, zone)}.")
    else:
        parts.append("No trough recorded.")
    if dose := timeline.dose_at(timeline.now):
        parts.append("Tacrolimus is held." if dose == "held" else f"Dose now {dose}.")
    parts += [f"{_course(bar)}." for bar in timeline.drugs]
    return " ".join(parts)


def table_rows(timeline: Timeline, limit: int = TABLE_ROWS) -> list[TableRow]:
    """The same facts as a table, newest first: troughs, dose changes, drugs begun and ended, events."""
    zone = timeline.zone
    dated: list[tuple[datetime, TableRow]] = []
    for point in timeline.troughs:
        dose = timeline.dose_at(point.at)
        meaning = ", ".join(
            filter(None, (STATUS_WORDS[point.status], point.label, dose and f"dose {dose}"))
        )
        dated.append((point.at, TableRow(on="", what="Trough", value=f"{_value(point)} ng/mL", meaning=meaning,
                                         href=point.href)))  # fmt: skip
    for index, step in enumerate(timeline.doses):
        value = "Held" if step.held else f"{plain_dose(step.total_mg)} mg/day"
        dated.append(
            (step.since, TableRow(on="", what="Tacrolimus", value=value, meaning="dose from here"))
        )
        following = timeline.doses[index + 1 : index + 2]
        if step.until and not any(later.since <= step.until for later in following):
            dated.append(
                (step.until, TableRow(on="", what="Tacrolimus", value="Stopped", meaning=""))
            )
    for bar in timeline.drugs:
        started = datetime.combine(bar.started, time(), tzinfo=zone)
        dated.append((started, TableRow(on="", what=bar.name, value="Started", meaning=bar.kind)))
        if bar.stopped:
            stopped = datetime.combine(bar.stopped, time(), tzinfo=zone)
            dated.append(
                (stopped, TableRow(on="", what=bar.name, value="Stopped", meaning=bar.kind))
            )
    dated += [
        (mark.at, TableRow(on="", what="Event", value=mark.label, meaning=""))
        for mark in timeline.marks
    ]
    dated.sort(key=lambda pair: pair[0], reverse=True)
    return [
        replace(
            row,
            on=f"{at.astimezone(zone).day:02}-{MONTHS[at.astimezone(zone).month - 1]}-{at.astimezone(zone).year}",
        )
        for at, row in dated[:limit]
    ]


def _defs(size: Size) -> str:
    line = _el("path", d="M0 0V6", stroke="#4b47a8", stroke_width="3", class_="hatch-line")
    back = _el("rect", width="6", height="6", fill="#e9e8f8", class_="hatch-back")
    hatch = _el(
        "pattern", back + line, id=f"tl-{size.name}-hatch", width="6", height="6",
        patternUnits="userSpaceOnUse", patternTransform="rotate(45)",
    )  # fmt: skip
    return _el("defs", hatch)


def _title(text: str, y: float, aside: str = "") -> str:
    more = (
        _el("tspan", text=f" {aside}", fill=QUIET, font_weight="400", class_="quiet")
        if aside
        else ""
    )
    return _el(
        "text",
        escape(text) + more,
        x="0",
        y=y,
        font_weight="600",
        font_size="12",
        fill=INK,
        class_="ink",
    )


def _grid(timeline: Timeline, frame: _Frame, top: float, end: float) -> str:
    """The shades of strong and moderate interactions, the time axis and its lines."""
    shades, lines, labels = [], [], []
    for bar in timeline.drugs:
        since = frame.midnight(bar.started)
        until = frame.midnight(bar.stopped) if bar.stopped else frame.now
        if bar.kind in SHADES and frame.shows(since, until):
            x = frame.x(since)
            shades.append(
                _el("rect", x=x, y=top, width=max(frame.x(until) - x, 1.0), height=float(frame.size.trough),
                    fill=SHADES[bar.kind], class_=f"shade {bar.kind.split()[1]}")
            )  # fmt: skip
    pixels = frame.right - frame.left
    for at, label, year in ticks(
        frame.since, frame.until, zone=frame.zone, pixels=pixels, room=float(frame.size.tick)
    ):
        x = frame.x(at)
        lines.append(f"M{_n(x)} {_n(top)}V{_n(end)}")
        labels.append(_el("text", text=label, x=x, y=end + 17))
        if year:
            labels.append(_el("text", text=year, x=x, y=end + 31, font_weight="600"))
    return (
        _el("g", "".join(shades))
        + (_el("path", d="".join(lines), stroke=GRID, fill="none", class_="grid") if lines else "")
        + _el("g", "".join(labels), fill=QUIET, text_anchor="middle", class_="quiet")
    )


def _levels(frame: _Frame, values: list[Decimal], highest: Decimal, top: float, height: int) -> str:
    """Grid lines and labels of a value axis that starts at 0."""
    lines, labels = [], []
    for value in values:
        y = top + height * (1 - float(value / highest))
        lines.append(f"M{_n(frame.left)} {_n(y)}H{_n(frame.right)}")
        labels.append(_el("text", text=plain_dose(value), x=frame.left - 8, y=y + 4))
    return _el("path", d="".join(lines), stroke=GRID, fill="none", class_="grid") + _el(
        "g", "".join(labels), fill=QUIET, text_anchor="end", class_="quiet"
    )


def _troughs(timeline: Timeline, frame: _Frame, top: float) -> list[str]:
    size = frame.size
    points = [p for p in timeline.troughs if frame.since <= p.at <= frame.until]
    bands = [b for b in timeline.bands if frame.shows(b.since, b.until)]
    highest = max([p.value for p in points] + [b.high for b in bands] + [Decimal(6)]) * Decimal(
        "1.12"
    )

    def y(value: Decimal) -> float:
        return top + size.trough * (1 - float(value / highest))

    frame.dots = sorted((frame.x(p.at), y(p.value)) for p in points)
    axis = _axis(highest, 5, ("1", "2", "5", "10", "20", "50", "100", "1000"))
    parts = [
        _title("Trough, ng/mL", top - 16),
        _levels(frame, axis, highest, top, size.trough),
        _bands(bands, frame, y),
    ]
    if not points:
        middle = (frame.left + frame.right) / 2
        parts.append(_el("text", text="No trough recorded" if not timeline.troughs else "No trough in this period",
                         x=middle, y=top + size.trough / 2, text_anchor="middle", fill=QUIET, class_="quiet",
                         font_size="13"))  # fmt: skip
        return parts
    # A mistimed level is no trough and "<2.0" no number: the line passes neither.
    exact = [p for p in points if p.status != "doubtful" and not p.comparator]
    if len(exact) > 1:
        line = "L".join(f"{_n(frame.x(p.at))} {_n(y(p.value))}" for p in exact)
        parts.append(_el("path", d=f"M{line}", fill="none", stroke="#6b7c85", stroke_width="1.5",
                         stroke_linejoin="round", class_="line"))  # fmt: skip
    linked = _linked(points, size.links)
    loose = [f"M{_n(frame.x(p.at))} {_n(y(p.value))}h0" for p in points if p not in linked]
    if loose:
        parts.append(_el("path", d="".join(loose), stroke="#6b7c85", stroke_width="4", stroke_linecap="round",
                         class_="loose"))  # fmt: skip
    drawn = "".join(_point(p, timeline, frame.x(p.at), y(p.value)) for p in points if p in linked)
    parts.append(_el("g", drawn, stroke=PAPER, stroke_width="1.5", class_="points"))
    parts.append(_point_labels(points, frame, y))
    return parts


def _linked(points: list[TroughPoint], most: int) -> set[TroughPoint]:
    """The points that are drawn as links: all, or the newest of those out of target and then of the rest."""
    if len(points) <= most:
        return set(points)
    notable = [p for p in points if p.status != "in_target" or p.comparator][-most + 1 :]
    rest = [p for p in points if p.status == "in_target" and not p.comparator]
    return {*notable, *rest[len(rest) - (most - len(notable)) :]}


def _point(point: TroughPoint, timeline: Timeline, x: float, y: float) -> str:
    paint: dict[str, object] = {"fill": POINT[point.status]}
    if point.status == "above":
        shape = _el("path", d=f"M{_n(x)} {_n(y - 6.5)}l6 10.5h-12z", **paint)
    elif point.status == "below":
        shape = _el("path", d=f"M{_n(x)} {_n(y + 6.5)}l6-10.5h-12z", **paint)
    elif point.status == "doubtful":
        shape = _el(
            "circle", cx=x, cy=y, r="5", stroke="#0e7046", stroke_dasharray="2.4 1.6", **paint
        )
    else:
        shape = _el("circle", cx=x, cy=y, r="5", **paint)
    attrs: dict[str, object] = {
        "class_": f"pt {point.status}",
        "aria_label": _name(point, timeline.zone),
    }
    if dose := timeline.dose_at(point.at):
        attrs["data_dose"] = dose
    if point.href:
        attrs["href"] = point.href
        return _el("a", shape, **attrs)
    return _el("g", shape, role="img", **attrs)


def _point_labels(points: list[TroughPoint], frame: _Frame, y: Callable[[Decimal], float]) -> str:
    """Values beside the last point, what is out of target and what carries a comparator, where there is room."""
    last = points[-1]
    notable = [
        p for p in points if p is not last and (p.comparator or p.status in ("above", "below"))
    ]
    notable.sort(
        key=lambda p: (p.status != "above", -p.value if p.status == "above" else p.value, p.at)
    )
    labels = []
    for point in [last, *notable[:60]]:
        text, x, py = _value(point), frame.x(point.at), y(point.value)
        above = [(x, py - 11, "middle"), (x + 9, py - 4, "start"), (x - 9, py - 4, "end")]
        below = [(x, py + 19, "middle"), (x + 9, py + 12, "start"), (x - 9, py + 12, "end")]
        beside = [(x + 10, py + 4, "start"), (x - 10, py + 4, "end")]
        spots = [*below, *beside, *above] if point.status == "below" else [*above, *beside, *below]
        if found := frame.place(text, spots):
            labels.append(_el("text", text=text, x=found[0], y=found[1], text_anchor=found[2],
                              fill=INK if point.status in ("in_target", "doubtful") else POINT[point.status],
                              class_=f"value {point.status}"))  # fmt: skip
    return _el("g", "".join(labels), font_weight="700", aria_hidden="true", paint_order="stroke", stroke=PAPER,
               stroke_width="3", stroke_linejoin="round", class_="values")  # fmt: skip


def _bands(bands: list[TargetBand], frame: _Frame, y: Callable[[Decimal], float]) -> str:
    areas, edges, labels = [], [], []
    for band in bands:
        x0, x1 = frame.x(band.since), frame.x(band.until or frame.until)
        high, low = y(band.high), y(band.low)
        areas.append(
            _el(
                "rect",
                x=x0,
                y=high,
                width=x1 - x0,
                height=low - high,
                fill="#0e7046",
                fill_opacity="0.12",
            )
        )
        edges.append(f"M{_n(x0)} {_n(high)}H{_n(x1)}M{_n(x0)} {_n(low)}H{_n(x1)}")
        text = f"{plain_dose(band.low)}–{plain_dose(band.high)}"
        if band.until is None or band.until >= frame.until:
            middle = (high + low) / 2
            labels.append(_el("text", text="Target", x=frame.right + 8, y=middle - 2))
            labels.append(
                _el("text", text=text, x=frame.right + 8, y=middle + 12, font_weight="700")
            )
        elif x1 - x0 > _width(f"Target {text}") + 8:
            frame_spots = [
                (x0 + 5, high + 13, "start"),
                (x0 + 5, low - 5, "start"),
                (x1 - 5, high + 13, "end"),
            ]
            if found := frame.place(f"Target {text}", frame_spots, bold=False):
                labels.append(
                    _el("text", text=f"Target {text}", x=found[0], y=found[1], text_anchor=found[2])
                )
    if not areas:
        return ""
    return (
        _el("g", "".join(areas), class_="band")
        + _el("path", d="".join(edges), stroke="#0e7046", stroke_opacity="0.45", stroke_dasharray="4 3", fill="none",
              class_="band-edge")
        + _el("g", "".join(labels), fill="#0d5a39", class_="band-label")
    )  # fmt: skip


def _doses(timeline: Timeline, frame: _Frame, top: float) -> list[str]:
    size = frame.size
    steps = [d for d in timeline.doses if frame.shows(d.since, d.until)]
    highest = max([d.total_mg for d in steps if not d.held] + [Decimal(1)]) * Decimal("1.3")
    foot = top + size.dose

    def y(value: Decimal) -> float:
        return top + size.dose * (1 - float(value / highest))

    axis = _axis(highest, 3, ("0.5", "1", "2", "5", "10", "20", "50"))
    parts = [_title("Dose, mg/day", top - 14), _levels(frame, axis, highest, top, size.dose)]
    if not steps:
        words = (
            "No tacrolimus dose in this period" if timeline.doses else "No tacrolimus dose ordered"
        )
        parts.append(_el("text", text=words, x=(frame.left + frame.right) / 2, y=top + size.dose / 2 + 4,
                         text_anchor="middle", fill=QUIET, class_="quiet", font_size="13"))  # fmt: skip
        return parts
    line, area, held, labels = [], [], [], []
    joined = False
    for index, step in enumerate(steps):
        x0, x1 = frame.x(step.since), frame.x(step.until or frame.now)
        if step.held:
            held.append(f"M{_n(x0)} {_n(foot)}H{_n(x1)}")
            labels.append((step, "held", x0, foot))
        else:
            line.append(
                f"{'V' + _n(y(step.total_mg)) if joined else f'M{_n(x0)} {_n(y(step.total_mg))}'}H{_n(x1)}"
            )
            area.append(f"M{_n(x0)} {_n(foot)}V{_n(y(step.total_mg))}H{_n(x1)}V{_n(foot)}z")
            labels.append((step, plain_dose(step.total_mg), x0, y(step.total_mg)))
        following = steps[index + 1] if index + 1 < len(steps) else None
        joined = (
            not step.held
            and following is not None
            and not following.held
            and following.since == step.until
        )
    if area:
        parts.append(
            _el("path", d="".join(area), fill="#0b4f7a", fill_opacity="0.1", class_="dose-area")
        )
        parts.append(_el("path", d="".join(line), fill="none", stroke="#0b4f7a", stroke_width="2.2",
                         stroke_linejoin="round", class_="dose-line"))  # fmt: skip
    if held:
        parts.append(_el("path", d="".join(held), fill="none", stroke="#9a6200", stroke_width="3",
                         stroke_dasharray="5 4", class_="held-line"))  # fmt: skip
    parts.append(_dose_labels(labels, frame))
    last = steps[-1]
    if last.until is None:
        level = foot if last.held else y(last.total_mg)
        words = ("Held", "") if last.held else (plain_dose(last.total_mg), "mg/day")
        parts.append(
            _el("g", _el("text", text=words[0], x=frame.right + 8, y=level + (0 if words[1] else 4), font_weight="700")
                + (_el("text", text=words[1], x=frame.right + 8, y=level + 13) if words[1] else ""),
                fill="#0b4f7a", class_="dose-now")
        )  # fmt: skip
    return parts


def _dose_labels(labels: list[tuple[DoseStep, str, float, float]], frame: _Frame) -> str:
    """The dose at the start of each step, newest first where there is not room for all."""
    texts, frame.dots = [], []
    for _, text, x, y in reversed(labels):
        if found := frame.place(text, [(x + 4, y - 5, "start"), (x - 3, y - 5, "end")]):
            texts.append(_el("text", text=text, x=found[0], y=found[1], text_anchor=found[2]))
    return _el("g", "".join(texts), font_weight="700", fill=INK, aria_hidden="true", class_="ink")


def _drugs(timeline: Timeline, frame: _Frame, top: float) -> tuple[str, float]:
    """A row a drug, its courses as bars; returns the markup and where it ends."""
    rows: dict[str, list[DrugBar]] = {}
    for bar in sorted(timeline.drugs, key=lambda b: (b.started, b.name)):
        if frame.shows(
            frame.midnight(bar.started), frame.midnight(bar.stopped) if bar.stopped else None
        ):
            rows.setdefault(bar.name, []).append(bar)
    title = _title("Interacting drugs", top - 12, "" if rows else "none recorded")
    parts = []
    for number, courses in enumerate(rows.values()):
        y = top + 23 * number
        free_from = frame.left
        for bar in courses:
            x0 = frame.x(frame.midnight(bar.started))
            x1 = max(
                frame.x(frame.midnight(bar.stopped)) if bar.stopped else frame.x(frame.now), x0 + 3
            )
            fill, edge, ink = BARS[bar.kind]
            rect = _el("rect", _el("title", text=_course(bar)), x=x0, y=y, width=x1 - x0, height="16", rx="3.5",
                       fill=fill.format(hatch=f"tl-{frame.size.name}-hatch"), stroke=edge)  # fmt: skip
            label = (
                _bar_label(bar, x0, x1, y + 12, ink, frame, free_from) if bar is courses[-1] else ""
            )
            parts.append(_el("g", rect + label, class_=f"bar {bar.kind.replace(' ', '-')}"))
            free_from = x1
    end = top + max(23 * len(rows), 0) - (0 if rows else 6)
    return _el("g", title) + _el("g", "".join(parts)), end


def _bar_label(
    bar: DrugBar, x0: float, x1: float, y: float, ink: str, frame: _Frame, free_from: float
) -> str:
    """The drug and its kind: in the bar if it fits, else right of it, else left, else over it on paper."""
    text = f"{bar.name} · {bar.kind}" if bar.kind != "other" else bar.name
    longest = int((frame.right - frame.left) / 6.6)
    text = text if len(text) <= longest else f"{text[: longest - 1]}…"
    wide = _width(text, bold=True)
    outside = {"fill": INK, "class_": "ink"}
    if x1 - x0 > wide + 14 and "inducer" not in bar.kind:
        return _el("text", text=text, x=x0 + 7, y=y, fill=ink, font_weight="600", class_="inside")
    if x1 + 6 + wide <= frame.right + frame.size.right:
        return _el("text", text=text, x=x1 + 6, y=y, **outside)
    if x0 - 6 - wide >= free_from:
        return _el("text", text=text, x=x0 - 6, y=y, text_anchor="end", **outside)
    return _el("text", text=text, x=min(x0 + 7, frame.right - wide), y=y, fill=INK, paint_order="stroke", stroke=PAPER,
               stroke_width="4", class_="ink over")  # fmt: skip


def _marks(timeline: Timeline, frame: _Frame, top: float, head: float) -> tuple[str, float]:
    """Events as diamonds in a row of their own, with a hairline through the troughs."""
    marks = [m for m in timeline.marks if frame.since <= m.at <= frame.until]
    if not marks:
        return "", top
    parts, frame.dots, y = [_title("Events", top + 20)], [], top + 38
    for mark in sorted(marks, key=lambda m: m.at, reverse=True):
        x = frame.x(mark.at)
        name = f"{_day(mark.at.astimezone(frame.zone))}: {mark.label}"
        parts.append(_el("path", d=f"M{_n(x)} {_n(head)}v{frame.size.trough}", stroke="#73868f",
                         stroke_dasharray="1 4", class_="mark-line"))  # fmt: skip
        parts.append(_el("path", _el("title", text=name), d=f"M{_n(x)} {_n(y - 6)}l6 6-6 6-6-6z", fill="#5b3a8e",
                         class_="mark"))  # fmt: skip
        if found := frame.place(
            mark.label, [(x + 10, y + 4, "start"), (x - 10, y + 4, "end")], bold=False
        ):
            parts.append(_el("text", text=mark.label, x=found[0], y=y + 4, text_anchor=found[2], fill=INK,
                             class_="ink"))  # fmt: skip
    return _el("g", "".join(parts)), y + 12


def _today(timeline: Timeline, frame: _Frame, end: float) -> str:
    if not frame.since <= timeline.now <= frame.until:
        return ""
    x = frame.x(timeline.now)
    return _el(
        "g",
        _el("path", d=f"M{_n(x)} 20V{_n(end)}", stroke=INK, stroke_dasharray="2 3", fill="none")
        + _el("text", text="today", x=x, y=14.0, text_anchor="middle", font_weight="600", fill=INK, class_="ink"),
        class_="today", aria_hidden="true",
    )  # fmt: skip
