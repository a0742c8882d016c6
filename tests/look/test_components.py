"""The components as pages use them: what they say, what they escape, how they tie together."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest
from django import forms
from django.core.paginator import Paginator
from django.template import Context, RequestContext, Template
from django.test import RequestFactory
from django.utils import timezone

from dosing.rules.engine.advice import Action, DoseProposal, Finding
from dosing.rules.engine.quantities import Mg
from dosing.rules.engine.rows import Origin, Severity
from tacroweb.templatetags import quantities
from tacroweb.templatetags.components import Banner, FindingCard
from tacroweb.timeline import Timeline

EVIL = "<script>alert(1)</script>"
PERSON = Banner(
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
    allergies=("Penicillin (rash)",),
)


def drawn(source: str, **context: object) -> str:
    return Template(source).render(Context(context))


class _Words(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []

    def handle_data(self, data: str) -> None:
        self.words += data.split()


def words(html: str) -> str:
    parser = _Words()
    parser.feed(html)
    return " ".join(parser.words)


class DoseForm(forms.Form):
    dose = forms.CharField(label="Morning dose", help_text="Capsules of 0.5, 1 and 5 mg")
    note = forms.CharField(label="Note", required=False)
    decision = forms.ChoiceField(
        label="Decision", choices=[("A", "Accept"), ("O", "Override")], widget=forms.RadioSelect
    )
    assessment = forms.CharField(widget=forms.HiddenInput)
    password = forms.CharField(label="Your password", widget=forms.PasswordInput)


# The banner


def test_the_banner_names_the_patient_as_family_comma_given():
    said = words(drawn("{% patient_banner b %}", b=PERSON))
    assert said.startswith("OKAFOR, Amara (Ms) Born 14-Mar-1971 (55 y) MRN 004 118 2207")
    assert "Weight 61.5 kg 23-Oct-2026" in said
    assert "Allergies Penicillin (rash)" in said
    assert "Pregnancy" not in said


def test_the_banner_says_not_known_instead_of_leaving_a_blank():
    bare = Banner(family="Quinn", given="Robin", born_on=None, age_years=None, sex=None, mrn="A-17")
    said = words(drawn("{% patient_banner b %}", b=bare))
    assert "Born Not known MRN A-17 Sex Not known Weight Not known Disease Not known" in said


@pytest.mark.parametrize(
    ("allergies", "said"), [(None, "Not recorded"), ((), "None known"), (("Latex",), "Latex")]
)
def test_no_known_allergy_differs_from_no_record_of_allergies(allergies, said):
    person = Banner(
        family="A", given="B", born_on=None, age_years=None, sex=None, mrn="1", allergies=allergies
    )
    assert f"Allergies {said}" in words(drawn("{% patient_banner b %}", b=person))


def test_the_banner_flags_pregnancy_and_death():
    person = Banner(
        family="A", given="B", born_on=None, age_years=None, sex=None, mrn="1",
        pregnancy="Possibly pregnant", deceased_on=date(2026, 10, 3),
    )  # fmt: skip
    said = words(drawn("{% patient_banner b %}", b=person))
    assert "Pregnancy Possibly pregnant" in said
    assert "Died 03-Oct-2026" in said


# Findings


def test_an_engine_finding_goes_straight_into_the_card():
    found = Finding(
        code="INT-AZOLE-STARTED",
        statements=("S40", "S41"),
        severity=Severity.WARN,
        message="Voriconazole started: reduce to one third.",
        source="Seed 4.2",
        origin=Origin.SEED,
        inputs=(
            ("total_mg_per_day", "3.0"),
            ("started_on", "2026-11-01"),
            ("trough_ng_per_ml", "None"),
        ),
        proposal=DoseProposal(
            action=Action.CHANGE,
            arithmetic="3.0 mg/day × 1/3 = 1.0 mg/day",
            morning_mg=Mg(Decimal("0.5")),
            evening_mg=Mg(Decimal("0.5")),
        ),
    )
    html = drawn("{% finding f %}<button>Review</button>{% endfinding %}", f=found)
    said = words(html)
    assert said == (
        "Warning Voriconazole started: reduce to one third. Total 3.0 mg/day "
        "Trough Not known Change to 1 mg/day "
        "0.5 mg in the morning, 0.5 mg in the evening "
        "3.0 mg/day × 1/3 = 1.0 mg/day S40, S41 Protocol · Seed 4.2 · INT-AZOLE-STARTED Review"
    )
    assert 'class="finding critical"' in html


def test_a_stored_finding_reads_like_a_fresh_one():
    stored = {
        "code": "K", "statements": ["S59"], "severity": "CAUTION", "message": "Repeat potassium.",
        "source": "Seed 6", "origin": "LOCAL", "proposal": None,
        "inputs": {"ild": "True", "potassium_mmol_per_l": "5.1"},
    }  # fmt: skip
    html = drawn("{% finding f %}{% endfinding %}", f=stored)
    assert words(html) == ("Caution Repeat potassium. Potassium 5.1 mmol/L S59 Local · Seed 6 · K")
    assert 'class="finding warning"' in html


def test_a_card_marks_what_needs_local_approval():
    card = FindingCard(severity="ADVISE", message="Draw lipids.", needs_local_approval=True)
    assert (
        words(drawn("{% finding f %}{% endfinding %}", f=card))
        == "Advice needs local approval Draw lipids."
    )


@pytest.mark.parametrize(
    ("code", "tone", "word"),
    [
        ("STOP", "critical", "Stop"),
        ("WARN", "critical", "Warning"),
        ("CAUTION", "warning", "Caution"),
        ("ADVISE", "info", "Advice"),
        ("INFO", "info", "Information"),
    ],
)
def test_a_severity_is_a_word_and_a_shape_besides_its_colour(code, tone, word):
    for given in (code, Severity[code]):
        html = drawn("{% severity s %}", s=given)
        assert f'class="badge {tone}"' in html
        assert words(html) == word
        assert "icons.svg#" in html


@pytest.mark.parametrize(
    ("proposal", "said"),
    [
        (None, ""),
        ({"action": "NONE"}, ""),
        ({"action": "HOLD", "arithmetic": ""}, "Hold tacrolimus"),
        (
            {"action": "START", "morning_mg": "3.0", "evening_mg": "0", "total_daily_mg": "3.0"},
            "Start 3 mg/day 3 mg once a day",
        ),
    ],
)  # fmt: skip
def test_a_proposal_says_what_to_do(proposal, said):
    assert words(drawn("{% proposal p %}", p=proposal)) == said


@pytest.mark.parametrize(
    "source",
    [
        "{% card x note=x %}{{ x }}{% endcard %}",
        "{% tile x x unit=x note=x %}",
        "{% badge x %}",
        "{% finding f title=x %}{{ x }}{% endfinding %}",
        "{% alert 'warning' x %}{{ x }}{% endalert %}",
        "{% empty x %}{% endempty %}",
        "{% table x caption=x %}<tr><td>{{ x }}</td></tr>{% endtable %}",
        "{% details pairs %}",
        "{% progress 1 2 x %}",
        "{% disclosure x %}{{ x }}{% enddisclosure %}",
        "{% trail_item at=at who=x act=x reason=x role=x channel=x changes=changes href=x link=x %}"
        "{{ x }}{% endtrail_item %}",
        "{% patient_banner b %}",
        "{% icon 'x' x %}",
        "{% slot as kept %}{{ x }}{% endslot %}{{ kept }}",
    ],
)
def test_no_component_lets_markup_through(source):
    html = drawn(
        source,
        x=EVIL,
        f=FindingCard(
            severity="INFO", message=EVIL, source=EVIL, statements=(EVIL,), facts=((EVIL, EVIL),)
        ),
        pairs=[(EVIL, EVIL)],
        changes=[(EVIL, EVIL, EVIL)],
        at=datetime(2026, 11, 2, tzinfo=UTC),
        b=Banner(
            family=EVIL, given=EVIL, born_on=None, age_years=None, sex=EVIL, mrn=EVIL,
            disease=EVIL, allergies=(EVIL,), pregnancy=EVIL,
        ),
    )  # fmt: skip
    assert "script" in html
    assert "<script" not in html.lower()
    assert " style=" not in html


# Forms


def test_a_field_ties_label_hint_error_and_unit_to_its_input():
    form = DoseForm({"dose": ""})
    html = drawn("{% field form.dose unit='mg' %}", form=form)
    assert '<label for="id_dose">Morning dose</label>' in html
    assert 'aria-describedby="id_dose_hint id_dose_error id_dose_unit"' in html
    assert 'aria-invalid="true"' in html
    for part in ("hint", "error", "unit"):
        assert html.count(f'id="id_dose_{part}"') == 1


def test_only_fields_that_may_stay_empty_are_marked():
    form = DoseForm()
    assert "(optional)" in drawn("{% field form.note %}", form=form)
    assert "(optional)" not in drawn("{% field form.dose %}", form=form)


def test_radio_buttons_stand_in_a_fieldset_with_a_legend():
    html = drawn("{% field form.decision %}", form=DoseForm({}))
    assert "<legend>Decision</legend>" in html
    assert (
        '<fieldset class="field invalid" id="id_decision" aria-describedby="id_decision_error">'
        in html
    )


def test_fields_keep_the_hidden_ones_and_leave_out_what_is_excluded():
    html = drawn("{% fields form exclude='password decision' %}", form=DoseForm())
    assert 'name="assessment"' in html
    assert 'name="dose"' in html
    assert 'name="password"' not in html
    assert 'name="note"' not in drawn("{% fields form only='dose' %}", form=DoseForm())


def test_the_error_summary_links_each_error_to_an_input_that_exists():
    form = DoseForm({"assessment": "4"})
    form.add_error(None, "A newer result arrived.")
    html = drawn("{% error_summary form %}{% fields form %}", form=form)
    assert "A newer result arrived." in words(html)
    for anchor in ("id_dose", "id_decision_0", "id_password"):
        assert f'<a href="#{anchor}">' in html
        assert f'id="{anchor}"' in html
    assert '<div class="error-summary" role="alert" tabindex="-1" autofocus>' in html


def test_no_error_no_summary():
    assert drawn("{% error_summary form %}", form=DoseForm()) == ""


def test_the_sign_box_asks_for_the_password_and_says_what_signing_means():
    html = drawn(
        "{% sign_box form button='Sign and start' meaning='I prescribe this dose.' %}"
        "3 mg{% endsign_box %}",
        form=DoseForm(),
    )
    assert words(html) == "Sign 3 mg I prescribe this dose. Your password Sign and start"
    assert 'type="password"' in html


# Lists


def test_a_table_can_be_scrolled_by_keyboard():
    html = drawn("{% table 'Medication' %}<tbody></tbody>{% endtable %}")
    assert '<div class="scroll" tabindex="0" role="region" aria-label="Medication">' in html


def test_an_unknown_figure_or_detail_says_so():
    assert words(drawn("{% tile 'Last trough' None unit='ng/mL' %}")) == "Last trough Not known"
    assert words(drawn("{% tile 'Overdue' 0 %}")) == "Overdue 0"
    assert words(drawn("{% details pairs %}", pairs=[("Brand", "")])) == "Brand Not known"


def test_a_trail_item_shows_what_each_field_was():
    html = drawn(
        "{% trail_item at=at who='Dr R. Sato' role='Prescriber' act='Changed the dose' "
        "reason='Interaction' changes=changes %}{% endtrail_item %}",
        at=datetime(2026, 11, 2, 9, 30, tzinfo=UTC),
        changes=[
            ("Morning dose", "1.5 mg", "0.5 mg"),
            ("Brand", None, "Adoport"),
            ("Note", "x", None),
        ],
    )
    assert words(html) == (
        "02-Nov-2026 09:30 Changed the dose Dr R. Sato, Prescriber Interaction "
        "Morning dose was 1.5 mg now 0.5 mg Brand Adoport Note was x now nothing"
    )


def test_pages_keep_the_search():
    request = RequestFactory().get("/patients/", {"q": "oka", "page": "2"})
    page = Paginator(range(100), 10).page(2)
    html = Template("{% pagination page %}").render(RequestContext(request, {"page": page}))
    assert 'href="?q=oka&amp;page=1"' in html
    assert 'href="?q=oka&amp;page=3"' in html
    assert "11 to 20 of 100" in words(html)


def test_one_page_needs_no_links():
    request = RequestFactory().get("/")
    page = Paginator([1], 10).page(1)
    assert Template("{% pagination page %}").render(RequestContext(request, {"page": page})) == ""


def test_an_empty_timeline_says_so_and_a_full_one_has_a_table():
    now = datetime(2026, 11, 2, tzinfo=UTC)
    assert "is recorded yet" in drawn("{% trough_timeline t %}", t=Timeline(now=now))


# Numbers and dates


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("3.0", "3 mg"),
        ("0.50", "0.5 mg"),
        ("10", "10 mg"),
        (Decimal("1E+1"), "10 mg"),
        (None, "Not known"),
        (2, "2 mg"),
    ],
)
def test_a_dose_has_a_leading_zero_and_no_trailing_one(value, said):
    assert quantities.mg(value).replace("\xa0", " ") == said


def test_levels_keep_their_decimals_and_comparators():
    assert quantities.ng_per_ml(Decimal("7.0")).replace("\xa0", " ") == "7.0 ng/mL"
    assert quantities.quantity("<2.0", "ng/mL").replace("\xa0", " ") == "<2.0 ng/mL"
    assert quantities.hours(Decimal("12.00")) == "12\N{NO-BREAK SPACE}h"
    for written, printed in (
        ("10^3/uL", "×10³/µL"),
        ("mm[Hg]", "mmHg"),
        ("mL/min/{1.73_m2}", "mL/min/1.73 m²"),
        ("meq/L", "mEq/L"),
    ):
        assert quantities.printed_unit(written) == printed
    assert quantities.quantity("5.30", "mmol/L").replace("\xa0", " ") == "5.30 mmol/L"


@pytest.mark.parametrize("value", [0.5, True])
def test_an_inexact_number_is_refused(value):
    with pytest.raises(TypeError):
        quantities.mg(value)


@pytest.mark.parametrize(
    ("days", "due", "past"),
    [
        (-2, "2 days overdue", "2 days ago"),
        (-1, "1 day overdue", "yesterday"),
        (0, "today", "today"),
        (1, "tomorrow", "in 1 day"),
        (4, "in 4 days", "in 4 days"),
    ],
)
def test_days_from_today_are_words(days, due, past):
    today = date(2026, 11, 2)
    assert quantities.in_days(today + timedelta(days=days), today) == due
    assert quantities.ago(today + timedelta(days=days), today) == past


def test_an_instant_is_the_day_it_is_at_the_clinic():
    late = datetime(2026, 10, 30, 16, tzinfo=UTC)
    with timezone.override("Asia/Tokyo"):
        assert quantities.clinical_date(late) == "31-Oct-2026"
        assert quantities.clinical_datetime(late) == "31-Oct-2026 01:00"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("0041182207", "004 118 2207"),
        ("123456789", "123 456 789"),
        ("12345", "12345"),
        ("A-17", "A-17"),
    ],
)
def test_a_record_number_is_grouped_when_it_is_digits(value, said):
    assert quantities.mrn(value).replace("\xa0", " ") == said


def test_a_stacked_table_says_so_by_its_class_and_a_dense_one_too():
    drawn_table = drawn("{% table 'Drugs' dense=True stacked=True %}<tbody></tbody>{% endtable %}")
    assert '<table class="dense stacked">' in drawn_table
    assert "<table><tbody>" in drawn("{% table 'Drugs' %}<tbody></tbody>{% endtable %}")


@pytest.mark.parametrize("may_read", [True, False])
def test_a_finding_leads_to_its_statement_whoever_may_read_the_rules(may_read):
    permissions = {"READ_RULES"} if may_read else {"READ_PATIENTS"}
    found = FindingCard(severity="INFO", message="Seen.", statements=("S40",))
    text = drawn(
        "{% finding f %}{% endfinding %}", f=found, access=SimpleNamespace(permissions=permissions)
    )
    assert ('<a href="/protocol/S40/">S40</a>' in text) is may_read
    assert "S40" in words(text)
