"""The components of the pages; templates/components/README.md shows how each is used."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any

from django import template
from django.core.paginator import Page
from django.forms import BaseForm, BoundField, CheckboxInput, Field
from django.template import Context
from django.template.loader import render_to_string
from django.templatetags.static import static
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from tacroweb import timeline_svg
from tacroweb.templatetags.quantities import NBSP, NOT_KNOWN, clinical_date, known
from tacroweb.timeline import TABLE_ROWS, Timeline, table_rows

register = template.Library()

# A meaning is a word, a shape and a colour; the shape is the icon.
TONE_ICONS = {
    "critical": "alert-octagon",
    "warning": "alert-triangle",
    "info": "info-circle",
    "ok": "circle-check",
    "neutral": "circle-dot",
}
# The engine's five severities in the page's three tiers (architecture.md, section 5).
SEVERITIES = {
    "STOP": ("critical", "Stop"),
    "WARN": ("critical", "Warning"),
    "CAUTION": ("warning", "Caution"),
    "ADVISE": ("info", "Advice"),
    "INFO": ("info", "Information"),
}
ORIGINS = {"SEED": "Protocol", "LABEL": "Label", "GUIDELINE": "Guideline", "LOCAL": "Local"}
CHANNELS = {
    "WEB": "Web page",
    "API": "API",
    "ADMIN": "Back office",
    "COMMAND": "Command",
    "TASK": "Automatic task",
}
ACTIONS = {
    "START": "Start",
    "CHANGE": "Change to",
    "HOLD": "Hold tacrolimus",
    "STOP": "Stop tacrolimus",
}
UNITS = (
    ("_mg_per_kg_per_day", "mg/kg/day"),
    ("_ng_per_ml", "ng/mL"),
    ("_mg_per_day", "mg/day"),
    ("_mg_per_dl", "mg/dL"),
    ("_mmol_per_l", "mmol/L"),
    ("_umol_per_l", "µmol/L"),
    ("_percent", "%"),
    ("_hours", "h"),
    ("_days", "days"),
    ("_mmhg", "mmHg"),
    ("_ms", "ms"),
    ("_mg", "mg"),
    ("_kg", "kg"),
    ("_cm", "cm"),
)

REQUIRED = Field.default_error_messages["required"]
ISO_DAY = re.compile(r"\d{4}-\d\d-\d\d(T|$)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Banner:
    """Who the page is about. None: "Not known"; of `allergies` "Not recorded", () "None known"."""

    family: str
    given: str
    title: str = ""
    born_on: date | None
    age_years: int | None
    sex: str | None
    mrn: str
    href: str = ""
    weight_kg: Decimal | None = None
    weighed_on: date | None = None
    disease: str | None = None
    allergies: tuple[str, ...] | None = None
    pregnancy: str | None = None
    egfr: str | None = None
    deceased_on: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingCard:
    """A finding in words of its own, where there is no engine Finding to show."""

    severity: str
    message: str
    title: str = ""
    code: str = ""
    statements: tuple[str, ...] = ()
    source: str = ""
    origin: str = ""
    needs_local_approval: bool = False
    facts: tuple[tuple[str, object], ...] = ()
    proposal: object = None


def _get(thing: Any, name: str, default: Any = None) -> Any:
    """An attribute of an engine object, or the same key of its stored JSON."""
    value = (
        thing.get(name, default) if isinstance(thing, Mapping) else getattr(thing, name, default)
    )
    return default if value is None else value


def _unbroken(text: str) -> str:
    """A sentence of the engine whose numbers keep their % on the same line."""
    return re.sub(r"(?<=\d) %", f"{NBSP}%", text)


@register.simple_tag
def icon(name: str, label: str = "") -> SafeString:
    """A drawing from the sprite; without a label it is decoration, hidden from screen readers."""
    sprite = static("icons.svg")
    if label:
        return format_html(
            '<svg class="icon" role="img" aria-label="{}"><use href="{}#{}"/></svg>',
            label, sprite, name,
        )  # fmt: skip
    return format_html(
        '<svg class="icon" aria-hidden="true"><use href="{}#{}"/></svg>', sprite, name
    )


@register.simple_tag
def patient_banner(banner: Banner) -> SafeString:
    """Name, birth, sex, number, weight, disease, allergies: on every page about one patient."""
    return render_to_string("components/patient_banner.html", {"banner": banner})


@register.simple_block_tag
def slot(content: str) -> str:
    """Captures markup for another component's argument: {% slot as actions %}…{% endslot %}."""
    return content


@register.simple_block_tag
def card(
    content: str,
    heading: str = "",
    *,
    actions: str = "",
    note: str = "",
    id: str = "",
    tone: str = "",
    flush: bool = False,
    level: int = 2,
) -> SafeString:
    """A section with a heading, a note and actions beside it."""
    return render_to_string(
        "components/card.html",
        {
            "content": content,
            "heading": heading,
            "actions": actions,
            "note": note,
            "id": id,
            "tone": tone,
            "flush": flush,
            "level": level,
        },
    )


@register.simple_block_tag
def tiles(content: str) -> SafeString:
    """The row of stat tiles; wraps on a narrow screen."""
    return format_html('<dl class="tiles">{}</dl>', content)


@register.simple_tag
def tile(
    label: str, value: object, unit: str = "", note: str = "", tone: str = "", href: str = ""
) -> SafeString:
    """One figure with its unit and what it means; an unknown value says so."""
    missing = value is None or value == ""
    figure = format_html("<span>{}</span>" if missing else "<b>{}</b>", known(value))
    if unit and not missing:
        figure = format_html("{} <span>{}</span>", figure, unit)
    if href:
        figure = format_html('<a href="{}">{}</a>', href, figure)
    return format_html(
        '<div class="tile {}"><dt>{}</dt><dd>{}</dd>{}</div>',
        tone,
        label,
        figure,
        format_html('<dd class="note">{}{}</dd>', icon(TONE_ICONS[tone]) if tone else "", note)
        if note
        else "",
    )


@register.simple_tag
def badge(text: object, tone: str = "neutral") -> SafeString:
    """A word with a shape and a colour."""
    return format_html('<span class="badge {}">{}{}</span>', tone, icon(TONE_ICONS[tone]), text)


@register.simple_tag
def severity(code: object) -> SafeString:
    """The badge of an engine severity."""
    tone, word = SEVERITIES[_name_of(code)]
    return badge(word, tone)


def _fact(key: str, value: object) -> tuple[str, object]:
    """`trough_ng_per_ml: 14.6` as "Trough" and "14.6 ng/mL"; an ISO day as 02-Nov-2026."""
    text = str(value)
    if ISO_DAY.match(text):
        text = clinical_date(datetime.fromisoformat(text))
    text = {"True": "yes", "False": "no", "None": NOT_KNOWN}.get(text, text)
    for suffix, unit in UNITS:
        if key.endswith(suffix):
            bare = (text[:1].isdigit() or text[:1] in "<>") and not text.endswith(unit)
            return _words(key.removesuffix(suffix)), f"{text}{NBSP}{unit}" if bare else text
    return _words(key), text


def _name_of(value: object) -> str:
    """The name of an enum's member, or the stored text of it."""
    return value.name if isinstance(value, Enum) else str(value)


def _words(key: str) -> str:
    text = key.replace("_", " ").replace("-", " ").strip()
    return text[:1].upper() + text[1:]


def _facts(thing: object) -> list[tuple[str, object]]:
    """What stands beside a message: of a rule's inputs the measured ones that it does not say."""
    if stated := _get(thing, "facts", ()):
        return list(stated)
    inputs = _get(thing, "inputs", ())
    pairs = inputs.items() if isinstance(inputs, Mapping) else inputs
    said = _get(thing, "message", "")
    measured = tuple(dict(UNITS))
    return [
        _fact(str(key), value)
        for key, value in pairs
        if value is not None and str(key).endswith(measured) and str(value) not in said
    ]


@register.filter
def origin(value: object) -> str:
    """Where a rule comes from, in a word: Protocol, Label, Guideline or Local."""
    name = _name_of(value)
    return ORIGINS.get(name, name.lower())


@register.simple_tag
def proposal(value: object, compact: bool = False) -> SafeString:
    """The proposed dose with its arithmetic; nothing where none is proposed."""
    action = _name_of(_get(value, "action", "NONE")) if value else "NONE"
    if action not in ACTIONS:
        return SafeString("")
    return render_to_string(
        "components/proposal.html",
        {
            "words": ACTIONS[action],
            "has_dose": action in ("START", "CHANGE"),
            "morning_mg": _get(value, "morning_mg"),
            "evening_mg": _get(value, "evening_mg"),
            "once_daily": not Decimal(str(_get(value, "evening_mg", 0) or 0)),
            "total_mg": _get(value, "total_daily_mg"),
            "arithmetic": _unbroken(_get(value, "arithmetic", "")),
            "compact": compact,
        },
    )


@register.simple_block_tag(takes_context=True)
def finding(
    context: Context,
    content: str,
    value: object,
    *,
    title: str = "",
    compact: bool = False,
    due: Iterable[object] = (),
    level: int = 3,
) -> SafeString:
    """A finding: what, why in this patient's numbers, what to do, and which statement says so."""
    tone, word = SEVERITIES[_name_of(_get(value, "severity"))]
    access = context.get("access")
    return render_to_string(
        "components/finding.html",
        {
            "links": access is not None and "READ_RULES" in access.permissions,
            "content": content.strip() and content,
            "tone": tone,
            "icon_name": TONE_ICONS[tone],
            "word": word,
            "title": title or _get(value, "title", ""),
            "message": _unbroken(_get(value, "message", "")),
            "code": _get(value, "code", ""),
            "statements": tuple(_get(value, "statements", ())),
            "source": _get(value, "source", ""),
            "origin": origin(_get(value, "origin", "")),
            "needs_local_approval": _get(value, "needs_local_approval", False),
            "facts": _facts(value),
            "proposal": _get(value, "proposal"),
            "due": list(due),
            "compact": compact,
            "level": level,
        },
    )


@register.simple_block_tag
def alert(content: str, tone: str, heading: str = "") -> SafeString:
    """A box that says something about the page itself; a rule's finding has its own card."""
    return render_to_string(
        "components/alert.html",
        {
            "content": content.strip() and content,
            "tone": tone,
            "icon_name": TONE_ICONS[tone],
            "heading": heading,
        },
    )


@register.simple_block_tag
def empty(content: str, text: str, icon: str = "circle-check") -> SafeString:
    """What a list says when nothing is in it, and what can be done about it."""
    return render_to_string(
        "components/empty.html",
        {"content": content.strip() and content, "text": text, "icon_name": icon},
    )


@register.simple_tag
def error_summary(*forms: BaseForm) -> SafeString:
    """Every error of the forms, each a link to its field; takes the focus. Nothing if none."""
    problems = [each for form in forms for each in problems_of(form)]
    if not problems:
        return SafeString("")
    return render_to_string("components/error_summary.html", {"problems": problems})


def problems_of(form: BaseForm) -> Iterator[tuple[str, str]]:
    """Each error of a form: the id of the field, empty for the form as a whole, and the words."""
    for error in form.non_field_errors():
        yield "", str(error)
    wrong = form.errors.as_data()
    for bound in form:
        for error, raised in zip(bound.errors, wrong.get(bound.name, ()), strict=False):
            # What to enter is said whole; other words need the name of the field.
            whole = raised.code == "required" and error != REQUIRED
            yield _first_id(bound), str(error) if whole else f"{bound.label}: {error}"


def _first_id(bound: BoundField) -> str:
    """The id of the input that a link to the field should reach."""
    if bound.use_fieldset and len(bound):
        return bound[0].id_for_label
    return bound.id_for_label or bound.auto_id


@register.simple_tag
def field(
    bound: BoundField,
    *,
    unit: str = "",
    hint: str | None = None,
    label: str = "",
    width: str = "",
    autofocus: bool = False,
    mark_optional: bool = True,
    label_hidden: bool = False,
) -> SafeString:
    """A form field with label, hint, error and unit, tied together for screen readers.

    Where the form has errors, their summary takes the focus and no field asks for it.
    """
    hint = str(bound.help_text) if hint is None else hint
    # "Not known" is an answer: such a field is never left empty.
    offers_not_known = ("", NOT_KNOWN) in getattr(bound.field, "choices", ())
    described = [f"{bound.auto_id}_{part}" for part in ("hint", "error", "unit") if
                 {"hint": hint, "error": bound.errors, "unit": unit}[part]]  # fmt: skip
    attrs: dict[str, Any] = {}
    if described and not bound.use_fieldset:
        attrs["aria-describedby"] = " ".join(described)
    if bound.errors:
        attrs["aria-invalid"] = "true"
    if bound.form.errors:
        attrs["autofocus"] = False
    elif autofocus:
        attrs["autofocus"] = True
    return render_to_string(
        "components/field.html",
        {
            "bound": bound,
            "input": bound.as_widget(attrs=attrs),
            "label": label or bound.label,
            "label_hidden": label_hidden,
            "hint": hint,
            "unit": unit,
            "width": width,
            "optional": mark_optional and not bound.field.required and not offers_not_known,
            "described": " ".join(described),
            "is_checkbox": isinstance(bound.field.widget, CheckboxInput),
        },
    )


@register.simple_tag
def fields(form: BaseForm, *, only: str = "", exclude: str = "") -> SafeString:
    """The fields of a form in order, the hidden ones with them."""
    chosen = [
        bound for bound in form.visible_fields()
        if (not only or bound.name in only.split()) and bound.name not in exclude.split()
    ]  # fmt: skip
    return format_html(
        "{}{}",
        format_html_join("", "{}", ((hidden,) for hidden in form.hidden_fields())),
        format_html_join("", "{}", ((field(bound),) for bound in chosen)),
    )


@register.simple_block_tag
def sign_box(
    content: str, form: BaseForm, *, button: str = "Sign", meaning: str = "", heading: str = "Sign"
) -> SafeString:
    """What is signed, what the signature means, the password again and the button."""
    return render_to_string(
        "components/sign_box.html",
        {
            "content": content,
            "form": form,
            "button": button,
            "meaning": meaning,
            "heading": heading,
        },
    )


@register.simple_block_tag
def table(
    content: str, label: str, *, caption: str = "", dense: bool = False, stacked: bool = False
) -> SafeString:
    """A table in a box that scrolls sideways, by keyboard too.

    `stacked`: on a phone each row stands as a block, each cell beside its `data-label`.
    """
    looks = " ".join(name for name, wanted in (("dense", dense), ("stacked", stacked)) if wanted)
    return format_html(
        '<div class="scroll" tabindex="0" role="region" aria-label="{}">'
        "<table{}>{}{}</table></div>",
        label,
        format_html(' class="{}"', looks) if looks else "",
        format_html("<caption>{}</caption>", caption) if caption else "",
        content,
    )


@register.simple_tag
def details(pairs: Iterable[tuple[str, object]], columns: bool = False) -> SafeString:
    """Labels and values; an unknown value says "Not known"."""
    return format_html(
        '<dl class="details{}">{}</dl>',
        " across" if columns else "",
        format_html_join(
            "",
            "<div><dt>{}</dt><dd>{}</dd></div>",
            ((label, known(value)) for label, value in pairs),
        ),
    )


@register.simple_tag(takes_context=True)
def pagination(context: Context, page: "Page[Any]") -> SafeString:
    """Previous, next and where one is; other query parameters stay."""
    if not page.has_other_pages():
        return SafeString("")
    return render_to_string(
        "components/pagination.html", {"page": page}, request=context["request"]
    )


@register.simple_tag
def progress(done: int, total: int, label: str) -> SafeString:
    """How many of a known number: a bar and the words."""
    return format_html(
        '<div class="progress"><span>{}</span> <span class="muted">{} of {}</span>'
        '<progress value="{}" max="{}" aria-label="{}"></progress></div>',
        label, done, total, done, max(total, 1), f"{label}: {done} of {total}",
    )  # fmt: skip


@register.simple_block_tag
def disclosure(content: str, summary: str, *, open: bool = False) -> SafeString:
    """Something to unfold."""
    return format_html(
        "<details{}><summary>{}</summary>{}</details>",
        SafeString(" open") if open else "",
        summary,
        content,
    )


@register.simple_tag(takes_context=True)
def nav_item(context: Context, text: str, url_name: str) -> SafeString:
    """A link of the top bar, marked when it leads to the page or part of the site being shown."""
    url = reverse(url_name)
    path = context["request"].path
    if path == url:
        current = SafeString(' aria-current="page"')
    else:
        inside = url != reverse("home") and path.startswith(url)
        current = SafeString(' aria-current="true"') if inside else SafeString("")
    return format_html('<li><a href="{}"{}>{}</a></li>', url, current, text)


@register.simple_block_tag
def trail_item(
    content: str,
    *,
    at: datetime,
    who: str,
    act: str,
    role: str = "",
    reason: str = "",
    channel: str = "",
    changes: Iterable[tuple[str, object, object]] = (),
    tone: str = "neutral",
    href: str = "",
    link: str = "",
) -> SafeString:
    """One act of the audit trail: when, who, what, why, and what each field was before."""
    return render_to_string(
        "components/trail_item.html",
        {
            "content": content.strip() and content,
            "at": at,
            "who": who,
            "act": act,
            "role": role,
            "reason": reason,
            "channel": CHANNELS.get(channel, channel),
            "changes": list(changes),
            "tone": tone,
            "href": href,
            "link": link,
        },
    )


@register.simple_tag
def trough_timeline(timeline: Timeline) -> SafeString:
    """Troughs, doses and interacting drugs on one axis, drawn wide and narrow, and as a table."""
    if timeline.is_empty:
        return empty("", "No trough, dose or interacting drug is recorded yet.", icon="chart")
    return render_to_string(
        "components/timeline.html",
        {
            "wide": timeline_svg.draw(timeline, timeline_svg.WIDE),
            "narrow": timeline_svg.draw(timeline, timeline_svg.NARROW),
            "rows": table_rows(timeline),
            "table_limit": TABLE_ROWS,
        },
    )
