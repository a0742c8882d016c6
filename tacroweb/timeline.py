"""What the patient's timeline shows: troughs, doses, targets, interacting drugs and events."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from typing import Literal

from tacroweb.templatetags.quantities import clinical_date, plain, plain_dose

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
TABLE_ROWS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class TroughPoint:
    """A level. `comparator` is "", "<" or ">"; `label` is a note ("3 h after the dose")."""

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
class TableRow:
    """One line of the table under the drawing."""

    on: str
    what: str
    value: str
    meaning: str
    href: str = ""


def day_words(at: date) -> str:
    """For example "13 May 2026"."""
    return f"{at.day} {MONTHS[at.month - 1]} {at.year}"


def level_words(point: TroughPoint) -> str:
    """The level as reported, with its comparator."""
    return f"{point.comparator}{plain(point.value)}"


def point_name(point: TroughPoint, zone: tzinfo) -> str:
    """For example "13 May 2026: 14.6 ng/mL, above target"."""
    day, note = day_words(point.at.astimezone(zone)), f", {point.label}" if point.label else ""
    return f"{day}: {level_words(point)} ng/mL, {STATUS_WORDS[point.status]}{note}"


def course_words(bar: DrugBar) -> str:
    """The drug, how it acts and when it is taken."""
    end = f"to {day_words(bar.stopped)}" if bar.stopped else "still taken"
    return f"{bar.name} · {bar.kind}, from {day_words(bar.started)}, {end}"


def describe(timeline: Timeline) -> str:
    """The drawing in one paragraph, for those who do not see it."""
    zone, parts = timeline.zone, []
    if timeline.troughs:
        last = timeline.troughs[-1]
        count = len(timeline.troughs)
        parts.append(
            f"{count} trough{'' if count == 1 else 's'}; the last on {point_name(last, zone)}."
        )
    else:
        parts.append("No trough recorded.")
    if dose := timeline.dose_at(timeline.now):
        parts.append("Tacrolimus is held." if dose == "held" else f"Dose now {dose}.")
    parts += [f"{course_words(bar)}." for bar in timeline.drugs]
    return " ".join(parts)


def table_rows(timeline: Timeline, limit: int = TABLE_ROWS) -> list[TableRow]:
    """The same facts as a table, newest first; an event, a drug begun or ended is a line."""
    rows: list[tuple[datetime, str, str, str, str]] = []  # at, what, value, meaning, href
    for point in timeline.troughs:
        dose = timeline.dose_at(point.at)
        words = (STATUS_WORDS[point.status], point.label, f"dose {dose}" if dose else "")
        meaning = ", ".join(filter(None, words))
        rows.append((point.at, "Trough", f"{level_words(point)} ng/mL", meaning, point.href))
    for step in timeline.doses:
        value = "Held" if step.held else f"{plain_dose(step.total_mg)} mg/day"
        rows.append((step.since, "Tacrolimus", value, "dose from here", ""))
    begun = {step.since for step in timeline.doses}
    for step in timeline.doses:
        if step.until and step.until not in begun:
            rows.append((step.until, "Tacrolimus", "Stopped", "", ""))
    for bar in timeline.drugs:
        for day, word in ((bar.started, "Started"), (bar.stopped, "Stopped")):
            if day:
                at = datetime.combine(day, time(), tzinfo=timeline.zone)
                rows.append((at, bar.name, word, bar.kind, ""))
    rows += [(mark.at, "Event", mark.label, "", "") for mark in timeline.marks]
    rows.sort(key=lambda row: row[0], reverse=True)
    return [
        TableRow(
            on=clinical_date(at.astimezone(timeline.zone).date()),
            what=what,
            value=value,
            meaning=meaning,
            href=href,
        )
        for at, what, value, meaning, href in rows[:limit]
    ]


def ticks(
    since: datetime, until: datetime, *, zone: tzinfo, pixels: float, room: float
) -> list[tuple[datetime, str, str]]:
    """Moments, labels and years of the time axis: days, months or years, `room` apart."""
    per_day = pixels / ((until - since) / timedelta(days=1))
    first, last = since.astimezone(zone).date(), until.astimezone(zone).date()
    days: list[date] = []
    if step := next((step for step in (1, 2, 7, 14) if step * per_day >= room), 0):
        start = first.toordinal() + 1
        start += (1 - start) % step  # day 1 was a Monday, so weeks begin on Mondays
        days = [date.fromordinal(n) for n in range(start, last.toordinal() + 1, step)]
    months = next((n for n in (1, 2, 3, 6, 12, 24, 60) if n * 30 * per_day >= room), 120)
    if not step:
        number = first.year * 12 + first.month  # counted from January of the year 0
        number += -number % months
        while (day := date(number // 12, number % 12 + 1, 1)) <= last:
            days.append(day)
            number += months
    found, year = [], 0
    for day in days:
        month = MONTHS[day.month - 1]
        label = f"{day.day} {month}" if step else month if months < 12 else str(day.year)
        shown = "" if day.year == year or (not step and months >= 12) else str(day.year)
        found.append((datetime.combine(day, time(), tzinfo=zone), label, shown))
        year = day.year
    return found
