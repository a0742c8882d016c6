"""Rule books: a version, its life from draft to retirement, and its rows, one table a kind.

A model repeats the fields of the engine's row of the same name, in its order; several texts in one
column are parted by a comma and a blank.
"""

from enum import Enum
from functools import partial
from typing import Any, ClassVar

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import F, Q

from dosing.rules.engine import facts, rows
from dosing.rules.words import words as in_words
from tacroweb.accounts.models import Clinic
from tacroweb.audit.append_only import Hold
from tacroweb.audit.models import RemovableModel, TrackedModel
from tacroweb.numbers import NumberError, format_decimal, parse_decimal

PARTED_BY = ", "


class RuleBookStatus(models.TextChoices):
    DRAFT = "DRAFT", "Draft"
    IN_REVIEW = "IN_REVIEW", "In review"
    PUBLISHED = "PUBLISHED", "Published"
    RETIRED = "RETIRED", "Retired"


OPEN = (RuleBookStatus.DRAFT, RuleBookStatus.IN_REVIEW)


def _settled(row: str) -> str:
    """In SQL: whether the book of a row is no draft."""
    status = f"SELECT status FROM rules_rulebook WHERE id = {row}.book_id"  # noqa: S608
    return f"COALESCE(({status}), '') <> 'DRAFT'"


def _differs(column: str) -> str:
    """In the SQL of both databases: whether a column is written with another value, NULL or not."""
    new, old = f'NEW."{column}"', f'OLD."{column}"'
    return f"({new} <> {old} OR ({new} IS NULL) <> ({old} IS NULL))"


class RuleBook(TrackedModel):
    """One version of the rules. Its rows may be edited while it is a draft and never afterwards.

    `text` is the whole book as TOML and `sha256` its digest: written when the book is put forward
    for review, empty in a draft and in one that was discarded. A book of an earlier release has a
    text and no rows.
    """

    version = models.CharField(max_length=20, unique=True)
    title = models.CharField(max_length=200, blank=True)
    status = models.CharField(max_length=10, choices=RuleBookStatus.choices)
    text = models.TextField(blank=True, help_text="the book as TOML, once it is no draft")
    sha256 = models.CharField(max_length=64, blank=True, help_text="of the text")
    based_on = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="+",
        help_text="the book whose rows it began with",
    )  # fmt: skip
    shipped_sha256 = models.CharField(
        max_length=64, blank=True, help_text="of the file, where the book came with a release"
    )
    published_at = models.DateTimeField(null=True, blank=True)
    retired_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("status",),
                condition=Q(status="PUBLISHED"),
                name="rulebook_one_published",
            ),
            models.UniqueConstraint(
                fields=("status",), condition=Q(status="DRAFT"), name="rulebook_one_draft"
            ),
            models.UniqueConstraint(
                fields=("status",), condition=Q(status="IN_REVIEW"), name="rulebook_one_in_review"
            ),
        )

    def __str__(self) -> str:
        return self.version

    @classmethod
    def hold(cls) -> Hold:
        """A book begins as a draft, moves forward, and keeps its words once it is no draft."""
        frozen = ("version", "title", "text", "sha256", "shipped_sha256")
        changed = " OR ".join(f'NEW."{name}" <> OLD."{name}"' for name in frozen)
        step = "OLD.status || '>' || NEW.status"
        steps = ", ".join(f"'{old}>{new}'" for old, new in STEPS)
        returned = f"{step} = 'IN_REVIEW>DRAFT'"
        emptied = "NEW.version = OLD.version AND NEW.title = OLD.title AND NEW.sha256 = ''"
        redated = " OR ".join(
            f'({_differs(name)} AND (OLD."{name}" IS NOT NULL OR {step} NOT IN ({moved})))'
            for name, moved in (
                ("published_at", "'IN_REVIEW>PUBLISHED'"),
                ("retired_at", "'DRAFT>RETIRED', 'PUBLISHED>RETIRED'"),
            )
        )
        taken = "EXISTS (SELECT 1 FROM rules_rulebook WHERE status = 'PUBLISHED')"
        return Hold(
            insert="NEW.status <> 'DRAFT'",
            update=(
                f"(NEW.status <> OLD.status AND {step} NOT IN ({steps}))"
                f" OR (OLD.status <> 'DRAFT' AND ({changed}) AND NOT ({returned} AND {emptied}))"
                f" OR (NEW.status = 'PUBLISHED' AND OLD.status <> 'PUBLISHED' AND {taken})"
                f" OR {redated} OR {_differs('based_on_id')}"
            ),
            delete="1 = 1",
            refusal="a rule book moves from draft to review to published to retired, each step on "
            "its day, and its words are settled once it is no draft",
        )

    def audit_subject(self) -> str:
        return f"rulebook:{self.version}"

    def clean(self) -> None:
        """A book that is no draft keeps its words, and moves forward only."""
        stored = RuleBook.objects.filter(pk=self.pk).first() if self.pk else None
        if stored is None:
            return
        if stored.status != self.status and (stored.status, self.status) not in STEPS:
            raise ValidationError(
                f"A rule book that is {stored.get_status_display().lower()} cannot become "
                f"{self.get_status_display().lower()}."
            )
        returned = (stored.status, self.status) == ("IN_REVIEW", "DRAFT")
        names = ("version", "title") if returned else ("version", "title", "text", "sha256")
        if stored.status != RuleBookStatus.DRAFT and any(
            getattr(stored, name) != getattr(self, name) for name in names
        ):
            raise ValidationError(
                "A rule book is only changed while it is a draft: draft a new version."
            )


STEPS = (
    ("DRAFT", "IN_REVIEW"),
    ("DRAFT", "RETIRED"),  # discarded
    ("IN_REVIEW", "DRAFT"),
    ("IN_REVIEW", "PUBLISHED"),
    ("PUBLISHED", "RETIRED"),
)


def words(kind: type[Enum]) -> list[tuple[str, str]]:
    """The members of an enumeration of the engine as choices; a severity is kept by its name."""
    by_name = issubclass(kind, rows.Severity)
    return [(each.name if by_name else str(each.value), in_words(each)) for each in kind]


def check_list(text: str) -> None:
    """Several texts in one: parted by a comma and a blank, none empty, none twice."""
    parts = text.split(PARTED_BY)
    if any(not part or part != part.strip() or "," in part for part in parts):
        raise ValidationError('Part them by a comma and a blank, such as "S40, S41".')
    if len(set(parts)) < len(parts):
        raise ValidationError("One of them stands twice.")


def check_number(value: Any) -> None:
    """A number that a rule book can hold: not negative, at most 12 digits, 6 after the point."""
    try:
        parse_decimal(format_decimal(value))
    except NumberError as error:
        raise ValidationError(str(error)) from error


check_code = RegexValidator(
    r"\A[A-Za-z0-9][A-Za-z0-9._+/-]*\Z",
    "A code is letters, digits and - . _ + / and begins with a letter or digit.",
)


def _listed(help_text: str, **options: Any) -> Any:
    return models.TextField(help_text=help_text, validators=[check_list], **options)


def _decimal(help_text: str, **options: Any) -> Any:
    return models.DecimalField(
        max_digits=14, decimal_places=6, help_text=help_text, validators=[check_number], **options
    )


def _word(kind: type[Enum], help_text: str = "", **options: Any) -> Any:
    return models.CharField(
        max_length=40, choices=partial(words, kind), help_text=help_text, **options
    )


def _one_of(*values: str, help_text: str = "", **options: Any) -> Any:
    choices = [(value, value.replace("_", " ").capitalize()) for value in values]
    return models.CharField(max_length=40, choices=choices, help_text=help_text, **options)


OPEN_END: dict[str, Any] = {"null": True, "blank": True}
CHANGES = ("STARTED", "STOPPED")
PARTS = ("numerator", "denominator")


class RuleRow(RemovableModel):
    """What every row says of itself. A row that is not enabled does not act."""

    engine_row: ClassVar[type[rows.Row]]

    book = models.ForeignKey(RuleBook, on_delete=models.PROTECT, related_name="+")
    code = models.CharField(max_length=80, validators=[check_code])
    statements = _listed('of the protocol, such as "S40, S41"', blank=True)
    origin = _word(rows.Origin, "the protocol itself, a label, a guideline, or a local setting")
    source = models.TextField(help_text="the sentence that is shown with what the row decides")
    enabled = models.BooleanField(default=True, help_text="whether the row acts")
    needs_local_approval = models.BooleanField(
        default=False, help_text="shown wherever its number is shown"
    )
    citations = _listed("codes of the book’s citations", blank=True)
    reviewed_by = models.CharField(max_length=200, blank=True)
    reviewed_on = models.DateField(null=True, blank=True)

    class Meta:
        abstract = True
        constraints = (
            models.UniqueConstraint(
                fields=("book", "code"),
                name="%(class)s_code_once",
                violation_error_message="The book has a row of this kind with this code already.",
            ),
        )

    def __str__(self) -> str:
        return self.code

    @classmethod
    def hold(cls) -> Hold:
        """A row of a book that is no draft is neither added nor changed nor removed."""
        return Hold(
            insert=_settled("NEW"),
            update=f"{_settled('OLD')} OR {_settled('NEW')}",
            delete=_settled("OLD"),
            refusal="the rows of a rule book are settled once it is no draft",
        )

    def audit_subject(self) -> str:
        return self.book.audit_subject()

    def clean(self) -> None:
        """A row is only written, or removed, while its book is a draft."""
        if self.book.status != RuleBookStatus.DRAFT:
            raise ValidationError(
                f"Rule book {self.book} is {self.book.get_status_display().lower()}: its rows are "
                "settled. Draft a new version to change them."
            )


class BoundedRow(RuleRow):
    """A stretch of one numeric dimension; an end that is empty is open."""

    unit = models.CharField(max_length=40, help_text="UCUM")
    low = _decimal("in the unit; empty: no lower end", **OPEN_END)
    low_included = models.BooleanField(default=True)
    high = _decimal("in the unit; empty: no upper end", **OPEN_END)
    high_included = models.BooleanField(default=False)

    class Meta(RuleRow.Meta):
        abstract = True


class Finding(RuleRow):
    """One kind of finding: how severe it is and which statements it cites."""

    engine_row = rows.FindingRow
    severity = _word(rows.Severity)


class Number(RuleRow):
    """One number of the protocol with its unit."""

    engine_row = rows.NumberRow
    value = _decimal("in the unit")
    unit = models.CharField(max_length=40, help_text="UCUM")


class Ratio(RuleRow):
    """A fraction kept as two whole numbers: one third is not 0.333."""

    engine_row = rows.RatioRow
    numerator = models.PositiveIntegerField()
    denominator = models.PositiveIntegerField()


class StartingDose(RuleRow):
    """A first dose: by weight, or a fixed range."""

    engine_row = rows.StartingDoseRow
    basis = _one_of("WEIGHT", "FIXED")
    low = _decimal("in the unit")
    high = _decimal("in the unit")
    unit = models.CharField(max_length=40, help_text="mg/kg/d or mg/d")


class LevelBand(BoundedRow):
    """One band of the trough."""

    engine_row = rows.LevelBandRow
    band = _word(rows.Band)


class LevelWindow(RuleRow):
    """When a sample is a trough, for one formulation."""

    engine_row = rows.LevelWindowRow
    formulation = _word(facts.Formulation)
    valid_from_h = _decimal("hours after the dose, included")
    valid_to_h = _decimal("hours after the dose, included")
    usable_from_h = _decimal("hours after the dose, included")
    usable_to_h = _decimal("hours after the dose, included")


class DoseStep(BoundedRow):
    """How far one level may change the dose, by the distance from the target in ng/mL."""

    engine_row = rows.DoseStepRow
    side = _one_of("BELOW", "ABOVE")
    numerator = models.PositiveIntegerField(help_text="of the share of the dose")
    denominator = models.PositiveIntegerField(help_text="of the share of the dose")


class Rounding(RuleRow):
    """How a computed dose becomes one that can be dispensed."""

    engine_row = rows.RoundingRow
    act = _one_of("START", "TITRATION", "INTERACTION")
    mode = _one_of("NEAREST", "DOWN", help_text="nearest: a tie goes down")


class Strength(RuleRow):
    """One dispensable strength of one formulation."""

    engine_row = rows.StrengthRow
    formulation = _word(facts.Formulation)
    form = models.CharField(max_length=80, help_text="capsule, granules")
    strength_mg = _decimal("mg")


class DrugClass(RuleRow):
    """One drug in three opinions. The seed’s class decides, without one the label’s."""

    engine_row = rows.DrugClassRow
    drug = models.CharField(max_length=120)
    seed_class = _word(rows.DrugClass, "of the protocol", blank=True)
    label_class = _word(rows.DrugClass, "of the label of tacrolimus", blank=True)
    fda_class = models.CharField(max_length=60, blank=True, help_text="of the FDA’s table")

    class Meta(RuleRow.Meta):
        verbose_name_plural = "drug classes"


class DrugGroup(RuleRow):
    """One drug in one group."""

    engine_row = rows.DrugGroupRow
    group = _word(rows.DrugGroup)
    drug = models.CharField(max_length=120)
    factor = _decimal("of a corticosteroid: prednisone-equivalent mg of 1 mg", **OPEN_END)


class Interaction(RuleRow):
    """A minimal interaction record: what a change of these drugs means for tacrolimus."""

    engine_row = rows.InteractionRow
    drugs = _listed('generic names, such as "voriconazole, posaconazole"')
    change = _one_of(*CHANGES)
    effect = _one_of("RAISES", "LOWERS", help_text="what it does to the level of tacrolimus")
    act = _word(rows.DoseAct, "what it asks of the dose")
    consequence = models.TextField()
    seriousness = models.TextField()
    severity = _word(rows.Severity)
    mechanism = models.TextField()
    action = models.TextField()
    frequency_of_exposure = models.TextField()
    frequency_of_harm = models.TextField()
    evidence = models.TextField()
    with_drugs = _listed("generic names of the other side", default="tacrolimus")
    numerator = models.PositiveIntegerField(**OPEN_END, help_text="of the fraction of the dose")
    denominator = models.PositiveIntegerField(**OPEN_END, help_text="of the fraction of the dose")


class ModifyingFactor(RuleRow):
    """What changes the meaning of an interaction, with its own action; said, never computed."""

    engine_row = rows.ModifyingFactorRow
    interaction = models.CharField(max_length=80, help_text="the code of the interaction")
    factor = models.TextField(blank=True, help_text="empty: the action goes with it always")
    action = models.TextField()
    drug = models.CharField(max_length=120, blank=True, help_text="empty: all of the interaction")


class HoldDrug(RuleRow):
    """A drug whose start means holding tacrolimus. Only in books of the first form."""

    engine_row = rows.HoldDrugRow
    drug = models.CharField(max_length=120)


class DrugNote(RuleRow):
    """What is said when a drug is started or stopped. Only in books of the first form."""

    engine_row = rows.DrugNoteRow
    drug = models.CharField(max_length=120)
    change = _one_of(*CHANGES)
    note = models.TextField()


class Threshold(BoundedRow):
    """What is said of a measured or derived quantity in this stretch."""

    engine_row = rows.ThresholdRow
    quantity = models.CharField(max_length=120)
    finding = models.CharField(max_length=80, blank=True, help_text="empty: nothing is said")


class LocalTarget(RuleRow):
    """A lower target for one renal stage, blank until a clinic approves a number."""

    engine_row = rows.LocalTargetRow
    stage = models.CharField(max_length=40)
    option = models.TextField(help_text="what has been used elsewhere; shown, never computed with")
    unit = models.CharField(max_length=40, help_text="UCUM")
    low = _decimal("in the unit; empty: none is approved", **OPEN_END)
    high = _decimal("in the unit; empty: none is approved", **OPEN_END)


class BaselineItem(RuleRow):
    """One result that belongs before the first dose."""

    engine_row = rows.BaselineItemRow
    finding = models.CharField(max_length=80)
    analyte = models.CharField(max_length=40)
    name = models.CharField(max_length=200)
    look_back_days = models.PositiveIntegerField(help_text="how old it may be, days")


class DueTest(RuleRow):
    """One test of a series, in days after the day that opens the series."""

    engine_row = rows.DueTestRow
    series = models.CharField(max_length=80)
    number = models.PositiveIntegerField()
    analyte = models.CharField(max_length=40)
    earliest_day = models.PositiveIntegerField()
    due_day = models.PositiveIntegerField()
    latest_day = models.PositiveIntegerField()


class Schedule(RuleRow):
    """How often one analyte is measured in one phase."""

    engine_row = rows.ScheduleRow
    finding = models.CharField(max_length=80)
    analyte = models.CharField(max_length=40)
    phase = _word(rows.Phase)
    every_days = models.PositiveIntegerField()
    grace_days = models.PositiveIntegerField()
    condition = models.CharField(max_length=200, blank=True, help_text="empty: everyone")


class Contraindication(RuleRow):
    """A drug or a condition beside which tacrolimus is not given."""

    engine_row = rows.ContraindicationRow
    kind = _one_of("DRUG", "EVENT")
    name = models.CharField(max_length=200, help_text="a generic name, or the kind of event")
    finding = models.CharField(max_length=80)


class Vaccine(RuleRow):
    """A live vaccine, avoided while tacrolimus is taken."""

    engine_row = rows.VaccineRow
    atc = models.CharField("ATC code", max_length=10)
    name = models.CharField(max_length=200)


class CompanionRegimen(RuleRow):
    """One step of a named companion regimen: drug, route, dose and its rhythm."""

    engine_row = rows.CompanionRegimenRow
    regimen = models.CharField(max_length=40, help_text="the name of the regimen, such as A1")
    title = models.TextField()
    step = models.PositiveIntegerField()
    drug = models.CharField(max_length=120)
    route = _word(facts.Route)
    low = _decimal("in the unit; one dose where both ends are alike")
    high = _decimal("in the unit")
    unit = models.CharField(max_length=40, help_text="mg, mg/d, mg/kg/d or mg/m2")
    days_a_week = models.PositiveIntegerField(**OPEN_END, help_text="of a pulse")
    weeks = models.PositiveIntegerField(**OPEN_END, help_text="of a pulse")
    every = models.CharField(max_length=120, blank=True, help_text="the interval in words")
    taper = models.BooleanField(default=False, help_text="the dose falls slowly")


class Outcome(RuleRow):
    """What was seen in studies: a value with its interval and n, or a window of months."""

    engine_row = rows.OutcomeRow
    measure = models.TextField()
    unit = models.CharField(max_length=40, help_text="UCUM")
    value = _decimal("in the unit", **OPEN_END)
    low = _decimal("in the unit: the interval’s lower end", **OPEN_END)
    high = _decimal("in the unit: the interval’s upper end", **OPEN_END)
    patients = models.PositiveIntegerField(**OPEN_END, help_text="how many")
    from_month = models.PositiveIntegerField(**OPEN_END)
    to_month = models.PositiveIntegerField(**OPEN_END)


class Citation(RuleRow):
    """A publication, label or guideline."""

    engine_row = rows.CitationRow
    title = models.TextField()
    reference = models.TextField()
    identifier = models.CharField(max_length=120, blank=True, help_text="DOI, PMID or the like")
    read = models.CharField(max_length=20, default="MEMORY", help_text="how: FULL … MEMORY")


# Every table of a book by the name that its TOML and the engine give it, in their order.
TABLES: dict[str, type[RuleRow]] = {
    "findings": Finding,
    "numbers": Number,
    "ratios": Ratio,
    "starting_doses": StartingDose,
    "level_bands": LevelBand,
    "level_windows": LevelWindow,
    "dose_steps": DoseStep,
    "roundings": Rounding,
    "strengths": Strength,
    "drug_classes": DrugClass,
    "drug_groups": DrugGroup,
    "interactions": Interaction,
    "modifying_factors": ModifyingFactor,
    "hold_drugs": HoldDrug,
    "drug_notes": DrugNote,
    "thresholds": Threshold,
    "local_targets": LocalTarget,
    "baseline_items": BaselineItem,
    "due_tests": DueTest,
    "schedules": Schedule,
    "contraindications": Contraindication,
    "vaccines": Vaccine,
    "companion_regimens": CompanionRegimen,
    "outcomes": Outcome,
    "citations": Citation,
}


class LintAnswer(TrackedModel):
    """Why a warning of the linter is accepted in this book; the warning as it was then."""

    book = models.ForeignKey(RuleBook, on_delete=models.PROTECT, related_name="lint_answers")
    kind = models.CharField(max_length=40, help_text="which check said it")
    table = models.CharField(max_length=40)
    row = models.TextField(blank=True)
    value = models.TextField(blank=True)
    message = models.TextField()
    sha256 = models.CharField(max_length=64, help_text="of the warning, by which it is found")
    reason = models.TextField()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("book", "sha256"), name="lint_answered_once"),
        )

    def __str__(self) -> str:
        return f"{self.table} {self.row}"

    @classmethod
    def hold(cls) -> Hold:
        """A warning is answered, and its answer replaced, while the book is a draft."""
        return Hold(
            insert=_settled("NEW"),
            update=f"{_settled('OLD')} OR {_settled('NEW')}",
            delete="1 = 1",
            refusal="the answers to the warnings of a rule book are settled once it is no draft",
        )

    def audit_subject(self) -> str:
        return self.book.audit_subject()


class LocalApproval(TrackedModel):
    """A clinic's own decision on a row that waits for one: that it holds here, and its numbers.

    The numbers are for a row of local targets, which has none of its own (S54, D15). The decision
    is on the row as `book` has it and lapses with a book that has it otherwise.
    """

    clinic = models.ForeignKey(Clinic, on_delete=models.PROTECT, related_name="+")
    book = models.ForeignKey(RuleBook, on_delete=models.PROTECT, related_name="+")
    row_code = models.CharField(max_length=80)
    low = _decimal("in the unit", **OPEN_END)
    high = _decimal("in the unit", **OPEN_END)
    unit = models.CharField(max_length=40, blank=True, help_text="UCUM")
    approved_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True, blank=True)
    ended_as = _one_of("SUPERSEDED", "WITHDRAWN", blank=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("clinic", "row_code"),
                condition=Q(ended_at__isnull=True),
                name="approval_one_a_clinic_and_row",
            ),
            models.CheckConstraint(
                condition=Q(low__isnull=True, high__isnull=True)
                | Q(low__isnull=False, high__isnull=False, low__gt=0, high__gt=F("low")),
                name="approval_numbers_are_a_range",
                violation_error_message="Give both limits, the low one above 0 and below the high.",
            ),
            models.CheckConstraint(
                condition=Q(ended_at__isnull=True, ended_as="")
                | (Q(ended_at__isnull=False) & ~Q(ended_as="")),
                name="approval_ended_in_a_way",
            ),
        )

    def __str__(self) -> str:
        return f"{self.row_code} at {self.clinic}"

    @classmethod
    def hold(cls) -> Hold:
        """A decision stands as it was taken until it is ended, once."""
        kept = ("clinic_id", "book_id", "row_code", "low", "high", "unit", "approved_at")
        return Hold(
            insert="NEW.ended_at IS NOT NULL",
            update="OLD.ended_at IS NOT NULL OR " + " OR ".join(map(_differs, kept)),
            delete="1 = 1",
            refusal="a local approval is ended, never changed or removed",
        )
