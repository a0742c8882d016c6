"""What a prescriber types: a dose with its answers, a target, a hold or a stop, a password."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import ceil, floor
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.forms.boundfield import BoundField

from dosing.checks import REASONS, Answer, AnswerReason, Prescription, Product, Question, questions
from dosing.models import Assessment, Formulation, Meaning, ReasonCode
from dosing.rules.engine.quantities import shown
from dosing.rules.loading import engine_book
from dosing.selectors import OfferedTarget
from tacroweb.accounts.brake import is_own_password
from tacroweb.accounts.models import User
from tacroweb.fields import DecimalTextField, show_error
from tacroweb.numbers import format_decimal
from tacroweb.refusals import Refusal

LONGEST = 2000
OTHER_DOSE = "OTHER"
BOOK_TARGET = "BOOK"
SWITCH = "switch"  # the act of an order form that asks for another product
COMPANION = "companion"  # and of an assessment that companion treatment is ordered on


def reason_field(meaning: Meaning) -> forms.ChoiceField:
    """The reasons that fit an act; a single one needs no choosing."""
    codes = [(code.value, str(code.label)) for code in REASONS[meaning]]
    if len(codes) == 1:
        return forms.ChoiceField(choices=codes, initial=codes[0][0], widget=forms.HiddenInput())
    return forms.ChoiceField(
        label="Reason",
        choices=[("", "Choose a reason"), *codes],
        error_messages={"required": "Choose the reason."},
    )


def reason_text_field(label: str = "In words", *, hint: str = "") -> forms.CharField:
    """Free words beside a coded reason."""
    return forms.CharField(
        label=label,
        required=False,
        max_length=LONGEST,
        help_text=hint,
        widget=forms.Textarea(attrs={"rows": 2}),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerFields:
    """A question with the inputs that answer it; `text` only where a reason is chosen."""

    question: Question
    choice: BoundField
    text: BoundField | None
    asked_by: str


def _asked_by(question: Question) -> str:
    """The statements that a question comes from, "S24"."""
    return ", ".join(question.finding["statements"]) or str(question.finding["code"])


@dataclass(frozen=True, slots=True, kw_only=True)
class StartingDose:
    """One of the protocol's two ways to start: by weight (S7) or a fixed total (S8)."""

    key: str
    words: str
    morning_mg: Decimal
    evening_mg: Decimal
    reason: str = ""
    proposed: bool = False


def starting_doses(assessment: Assessment) -> tuple[StartingDose, ...]:
    """The starting doses that the protocol offers here, the proposed one first; none beside a STOP.

    The fixed totals are the book's range in steps of 1 mg/day, in two equal doses.
    """
    advice = assessment.advice
    codes = {finding["code"] for finding in advice["findings"]}
    if "START-FIXED" not in codes or any(
        finding["severity"] == "STOP" for finding in advice["findings"]
    ):
        return ()
    found = []
    if (proposal := advice["proposal"]) and proposal["action"] == "START":
        found.append(
            StartingDose(
                key="WEIGHT",
                words=_in_words(
                    "By weight", Decimal(proposal["morning_mg"]), Decimal(proposal["evening_mg"])
                ),
                morning_mg=Decimal(proposal["morning_mg"]),
                evening_mg=Decimal(proposal["evening_mg"]),
                proposed=True,
            )
        )
    fixed = engine_book(assessment.rule_book).index.starting["FIXED"]
    low, high = fixed.low, fixed.high
    for total in range(ceil(low), floor(high) + 1):
        dose = Decimal(total) / 2
        found.append(
            StartingDose(
                key=f"FIXED-{total}",
                words=_in_words("Fixed", dose, dose),
                morning_mg=dose,
                evening_mg=dose,
                reason=f"Fixed starting dose of {shown(low)} to {shown(high)} mg/day (S8)",
            )
        )
    return tuple(found)


def _in_words(kind: str, morning_mg: Decimal, evening_mg: Decimal) -> str:
    return (
        f"{kind}: {format_decimal(morning_mg + evening_mg)} mg/day "
        f"({format_decimal(morning_mg)} mg in the morning, "
        f"{format_decimal(evening_mg)} mg in the evening)"
    )


class AnsweringForm(forms.Form):
    """An order with an answer to each finding of the assessment that wants one."""

    def __init__(self, assessment: Assessment, data: Any = None, **kwargs: Any) -> None:
        super().__init__(data, auto_id="order_%s", **kwargs)
        self.proposal = assessment.advice["proposal"]
        self.questions = questions(assessment.advice)

    def ask(self) -> None:
        """Add the inputs of every question."""
        for question in self.questions:
            self._ask(question)

    def is_acted_on(self, question: Question) -> bool:
        """Whether what the form begins with is the act that this finding asks for."""
        return False

    def _ask(self, question: Question) -> None:
        name = f"answer_{question.key}"
        asked_by = _asked_by(question)
        if question.acknowledge:
            self.fields[name] = forms.BooleanField(
                label=f"I have seen this caution ({asked_by})",
                error_messages={"required": f"Tick that you have seen the caution of {asked_by}."},
            )
            return
        reasons = [
            ("", "Choose an answer"),
            *(each for each in AnswerReason.choices if each[0] != AnswerReason.ACKNOWLEDGED),
        ]
        self.fields[name] = forms.ChoiceField(
            label=f"Your answer to {asked_by}",
            choices=reasons,
            initial=AnswerReason.ACTED_ON if self.is_acted_on(question) else None,
            error_messages={"required": f"Choose an answer to the finding of {asked_by}."},
        )
        self.fields[f"{name}_text"] = forms.CharField(
            label=f"In words, on {asked_by}", required=False, max_length=LONGEST
        )

    def answer_fields(self) -> Iterator[AnswerFields]:
        """The questions in the order of the advice, each with its inputs."""
        for question in self.questions:
            name = f"answer_{question.key}"
            yield AnswerFields(
                question=question,
                choice=self[name],
                text=None if question.acknowledge else self[f"{name}_text"],
                asked_by=_asked_by(question),
            )

    def answers(self) -> dict[str, Answer]:
        """What was answered, by the key of the question."""
        given: dict[str, Answer] = {}
        for question in self.questions:
            if question.acknowledge:
                given[question.key] = Answer(reason=AnswerReason.ACKNOWLEDGED)
            else:
                reason = self.cleaned_data[f"answer_{question.key}"]
                text = self.cleaned_data[f"answer_{question.key}_text"]
                given[question.key] = Answer(reason=AnswerReason(reason), text=text)
        return given

    def show(self, error: ValidationError | Refusal) -> None:
        """Put what a service refused at the inputs concerned."""
        if isinstance(error, Refusal):
            error.fields = {
                name.replace("answers.", "answer_", 1): text for name, text in error.fields.items()
            }
        show_error(self, error)


class OrderForm(AnsweringForm):
    """The first dose, the next one, one of another product, or the one after a hold.

    A start also asks for the product, which of the two starting doses is taken (X1), and a target
    of the patient's own; a switch asks for the product.
    """

    morning_mg = DecimalTextField(
        label="Morning dose",
        max_digits=5,
        decimal_places=2,
        error_messages={"required": "Enter the morning dose in mg."},
    )
    evening_mg = DecimalTextField(
        label="Evening dose",
        max_digits=5,
        decimal_places=2,
        error_messages={"required": "Enter the evening dose in mg; 0 for none."},
    )
    reason_code = forms.ChoiceField(label="Reason")
    reason_text = reason_text_field(
        hint="Needed when the dose is not the one proposed, or the reason is another one."
    )

    def __init__(
        self, assessment: Assessment, meaning: Meaning, data: Any = None, **kwargs: Any
    ) -> None:
        super().__init__(assessment, data, **kwargs)
        self.meaning = meaning
        self.starting: tuple[StartingDose, ...] = ()
        self.fields["reason_code"] = reason_field(meaning)
        if meaning in (Meaning.STARTED, Meaning.SWITCHED):
            self._ask_for_the_product()
        if meaning == Meaning.SWITCHED:
            self.fields["act"] = forms.CharField(initial=SWITCH, widget=forms.HiddenInput())
            why = self.fields["reason_text"]
            why.required, why.help_text = True, "Why the product is switched."
            why.error_messages["required"] = "Say in words why the product is switched."
        if meaning == Meaning.STARTED:
            self._ask_for_a_target()
            self.starting = starting_doses(assessment)
            if self.starting:
                self._ask_which_start()
        self.ask()

    def _ask_which_start(self) -> None:
        """X1: the two starting doses are not equivalent; the prescriber picks one of them."""
        choices = [(each.key, each.words) for each in self.starting]
        self.fields["starting_dose"] = forms.ChoiceField(
            label="Starting dose",
            choices=[*choices, (OTHER_DOSE, "Another dose, typed below")],
            initial=choices[0][0] if self.starting[0].proposed else None,
            widget=forms.RadioSelect,
            error_messages={"required": "Choose a starting dose."},
        )
        for name in ("morning_mg", "evening_mg"):
            self.fields[name].required = False
            self.fields[name].help_text = "Only for another dose."

    def clean(self) -> dict[str, Any]:
        """A starting dose that was picked becomes the doses; a typed one must not contradict it."""
        typed = super().clean() or self.cleaned_data
        self._check_answers_chosen_for_the_proposal(typed)
        picked = typed.get("starting_dose")
        if picked == OTHER_DOSE:
            for name in ("morning_mg", "evening_mg"):
                if typed.get(name) is None and name not in self.errors:
                    field = self.fields[name]
                    self.add_error(
                        name, ValidationError(field.error_messages["required"], code="required")
                    )
            return typed
        for each in self.starting:
            if each.key != picked:
                continue
            doses = (each.morning_mg, each.evening_mg)
            written = (typed.get("morning_mg"), typed.get("evening_mg"))
            if written not in ((None, None), doses):
                self.add_error(
                    "starting_dose", "Another dose is typed below: choose that one, or clear it."
                )
            typed["morning_mg"], typed["evening_mg"] = doses
            typed["reason_text"] = typed.get("reason_text") or each.reason
        return typed

    def _check_answers_chosen_for_the_proposal(self, typed: dict[str, Any]) -> None:
        """ "Acted on" stood there for the proposed dose; another dose needs its own answer."""
        doses = [typed.get(name) for name in ("morning_mg", "evening_mg")]
        if None in doses:
            return
        for question in filter(self.is_acted_on, self.questions):
            name = f"answer_{question.key}"
            proposed = [Decimal(self.proposal[each]) for each in ("morning_mg", "evening_mg")]
            acted = typed.get(name) == AnswerReason.ACTED_ON and not typed.get(f"{name}_text")
            if acted and doses != proposed:
                self.add_error(
                    name,
                    "The dose is not the one that this finding proposes: choose another answer, "
                    "or say in words what was done.",
                )

    def _ask_for_the_product(self) -> None:
        self.fields["formulation"] = forms.ChoiceField(
            label="Formulation", choices=Formulation.choices, initial=Formulation.IR
        )
        self.fields["brand"] = forms.CharField(
            label="Brand",
            max_length=60,
            help_text="Tacrolimus is prescribed and dispensed by brand.",
            error_messages={"required": "Enter the brand to be dispensed."},
        )

    def _ask_for_a_target(self) -> None:
        self.fields["target_low_ng_per_ml"] = DecimalTextField(
            label="Target trough from", max_digits=5, decimal_places=2, required=False
        )
        self.fields["target_high_ng_per_ml"] = DecimalTextField(
            label="Target trough to", max_digits=5, decimal_places=2, required=False
        )
        self.fields["target_reason"] = reason_text_field("Why this target")

    def is_acted_on(self, question: Question) -> bool:
        """Whether the dose that the form begins with is the one this finding asks for."""
        return bool(
            self.meaning == Meaning.CHANGED
            and self.proposal
            and self.proposal["morning_mg"] is not None
            and question.finding["proposal"] == self.proposal
        )

    def prescription(
        self, *, confirmed: bool = False, typed_again_mg: Decimal | None = None
    ) -> Prescription:
        """What was typed, as the services take it."""
        typed = self.cleaned_data
        return Prescription(
            morning_mg=typed["morning_mg"],
            evening_mg=typed["evening_mg"],
            reason_code=ReasonCode(typed["reason_code"]),
            reason_text=typed["reason_text"],
            answers=self.answers(),
            confirmed=confirmed,
            typed_again_mg=typed_again_mg,
        )

    def product(self) -> Product | None:
        """The product of a start or a switch; None where the course goes on with its own."""
        if "brand" not in self.fields:
            return None
        typed = self.cleaned_data
        return Product(
            formulation=Formulation(typed["formulation"]),
            brand=typed["brand"],
            target_low_ng_per_ml=typed.get("target_low_ng_per_ml"),
            target_high_ng_per_ml=typed.get("target_high_ng_per_ml"),
            target_reason=typed.get("target_reason", ""),
        )


class SignForm(forms.Form):
    """The password once more, the digest of what was shown, and what an unusual dose is asked."""

    shown_sha256 = forms.CharField(
        widget=forms.HiddenInput(),
        error_messages={"required": "Review the order first, then sign it."},
    )
    confirmed = forms.BooleanField(label="Yes, this dose is meant", required=False)
    typed_again_mg = DecimalTextField(
        label="The total a day once more", max_digits=5, decimal_places=2, required=False
    )
    password = forms.CharField(
        label="Your password",
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
        error_messages={"required": "Enter your password to sign."},
    )

    def __init__(self, user: User, data: Any = None, **kwargs: Any) -> None:
        super().__init__(data, auto_id="sign_%s", **kwargs)
        self.user = user

    def clean_password(self) -> str:
        """The signer is who they say, or nothing is signed."""
        return checked_password(self.user, self.cleaned_data["password"])


class InterruptionForm(SignForm):
    """A hold or a stop: why, and the password."""

    reason_code = forms.ChoiceField(label="Reason")
    reason_text = reason_text_field()
    field_order = ["reason_code", "reason_text", "password"]

    def __init__(self, user: User, meaning: Meaning, data: Any = None, **kwargs: Any) -> None:
        super().__init__(user, data, **kwargs)
        del self.fields["confirmed"], self.fields["typed_again_mg"]
        self.fields["reason_code"] = reason_field(meaning)


class TargetForm(SignForm):
    """Another target of a course: one that is settled, or one that is typed; why; the password."""

    target = forms.ChoiceField(
        label="Target trough",
        widget=forms.RadioSelect,
        error_messages={"required": "Choose the target."},
    )
    target_low_ng_per_ml = DecimalTextField(
        label="From", max_digits=5, decimal_places=2, required=False
    )
    target_high_ng_per_ml = DecimalTextField(
        label="To", max_digits=5, decimal_places=2, required=False
    )
    reason_code = forms.ChoiceField(label="Reason")
    reason_text = reason_text_field("Why this target")
    field_order = (
        "target",
        "target_low_ng_per_ml",
        "target_high_ng_per_ml",
        "reason_code",
        "reason_text",
        "password",
    )

    def __init__(
        self,
        user: User,
        offered: Sequence[OfferedTarget],
        data: Any = None,
        *,
        book_words: str,
        **kwargs: Any,
    ) -> None:
        """`book_words` is the book's own target in words, "" where the course has it now."""
        super().__init__(user, data, **kwargs)
        del self.fields["confirmed"], self.fields["typed_again_mg"]
        self.offered = {each.row: each for each in offered}
        choices = [(each.row, each.words) for each in offered]
        if book_words:
            choices.append((BOOK_TARGET, book_words))
        self.fields["target"] = forms.ChoiceField(
            label="Target trough",
            choices=[*choices, (OTHER_DOSE, "Another target, typed below")],
            initial=OTHER_DOSE if not choices else None,
            widget=forms.RadioSelect if choices else forms.HiddenInput,
            error_messages={"required": "Choose the target."},
        )
        self.fields["reason_code"] = reason_field(Meaning.TARGET_CHANGED)
        self.fields["reason_text"].required = True
        self.fields["reason_text"].error_messages["required"] = (
            "Say in words why the target changes."
        )
        self.order_fields(self.field_order)

    def clean(self) -> dict[str, Any]:
        """A target that was picked is that one; a typed one must not contradict it."""
        typed = super().clean() or self.cleaned_data
        picked = typed.get("target")
        names = ("target_low_ng_per_ml", "target_high_ng_per_ml")
        written = tuple(typed.get(name) for name in names)
        if picked == OTHER_DOSE:
            for name, end in zip(names, written, strict=True):
                if end is None and name not in self.errors:
                    self.add_error(name, "Enter this end of the target in ng/mL.")
        elif picked is not None:
            ends: tuple[Decimal | None, ...] = (None, None)
            if picked in self.offered:
                offered = self.offered[picked]
                ends = (offered.low_ng_per_ml, offered.high_ng_per_ml)
            if written not in ((None, None), ends):
                self.add_error(
                    "target", "Another target is typed below: choose that one, or clear it."
                )
            typed |= dict(zip(names, ends, strict=True))
        return typed


def checked_password(user: User, password: str) -> str:
    """The password if it is the user's. Raises `ValidationError`; the failed attempt is kept."""
    if not is_own_password(user, password):
        raise ValidationError("This is not your password. Nothing was signed.", code="password")
    return password
