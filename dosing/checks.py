"""What an order is held against before it may be signed: the advice and the dose itself."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models

from dosing.models import Decision, Formulation, Meaning, ReasonCode
from dosing.rules.engine.facts import CaseFacts
from dosing.rules.engine.quantities import shown
from dosing.rules.engine.rows import Band
from dosing.rules.engine.rulebook import RuleBook
from dosing.rules.engine.starting import weight_kg
from dosing.rules.engine.trough import Side, level_words, newest_trough, side, target_words
from tacroweb.refusals import Refusal

CONFIRM_FROM = 2  # times the last total a day: asked once
TYPE_AGAIN_FROM = 10  # times the last total a day: the usual slip of a decimal point
REASONS: dict[Meaning, tuple[ReasonCode, ...]] = {
    Meaning.STARTED: (ReasonCode.START,),
    Meaning.CHANGED: (
        ReasonCode.LEVEL_LOW,
        ReasonCode.LEVEL_HIGH,
        ReasonCode.INHIBITOR_STARTED,
        ReasonCode.INHIBITOR_STOPPED,
        ReasonCode.INDUCER_STARTED,
        ReasonCode.INDUCER_STOPPED,
        ReasonCode.ADVERSE_EFFECT,
        ReasonCode.INFECTION,
        ReasonCode.RENAL,
        ReasonCode.OTHER,
    ),
    Meaning.SWITCHED: (
        ReasonCode.SUPPLY,
        ReasonCode.ADVERSE_EFFECT,
        ReasonCode.PATIENT_CHOICE,
        ReasonCode.OTHER,
    ),
    Meaning.TARGET_CHANGED: (
        ReasonCode.RENAL,
        ReasonCode.ADVERSE_EFFECT,
        ReasonCode.INFECTION,
        ReasonCode.NO_RESPONSE,
        ReasonCode.OTHER,
    ),
    Meaning.RESUMED: (ReasonCode.RESUMED, ReasonCode.OTHER),
    Meaning.HELD: (
        ReasonCode.LEVEL_HIGH,
        ReasonCode.INHIBITOR_STARTED,
        ReasonCode.ADVERSE_EFFECT,
        ReasonCode.INFECTION,
        ReasonCode.RENAL,
        ReasonCode.CONTRAINDICATED,
        ReasonCode.PATIENT_CHOICE,
        ReasonCode.OTHER,
    ),
    Meaning.STOPPED: (
        ReasonCode.COMPLETED,
        ReasonCode.NO_RESPONSE,
        ReasonCode.ADVERSE_EFFECT,
        ReasonCode.INFECTION,
        ReasonCode.RENAL,
        ReasonCode.CONTRAINDICATED,
        ReasonCode.PATIENT_CHOICE,
        ReasonCode.OTHER,
    ),
}
_CLAIMED = {ReasonCode.LEVEL_LOW: Side.BELOW, ReasonCode.LEVEL_HIGH: Side.ABOVE}
_SIDES = {Side.BELOW: "below", Side.INSIDE: "within", Side.ABOVE: "above"}
NEEDS_ANSWER = ("STOP", "WARN")
NEEDS_ACKNOWLEDGEMENT = ("CAUTION",)


class UnansweredFinding(Refusal):
    """A STOP, WARN or CAUTION that the prescriber has not answered."""

    code = "unanswered_finding"


class BareOverride(Refusal):
    """A dose other than proposed, without a word of why."""

    code = "bare_override"


class DoseNotConfirmed(Refusal):
    """A dose far from the last one, or above the usual maximum, that must be meant."""

    code = "dose_not_confirmed"


class AnswerReason(models.TextChoices):
    """What a prescriber says to a finding. Only a CAUTION may be merely acknowledged."""

    ACKNOWLEDGED = "ACKNOWLEDGED", "Seen"
    ACTED_ON = "ACTED_ON", "Acted on: this order, a test or another step"
    WILL_MONITOR = "WILL_MONITOR", "Will monitor more closely"
    TOLERATED_BEFORE = "TOLERATED_BEFORE", "Tolerated before"
    BENEFIT_OUTWEIGHS = "BENEFIT_OUTWEIGHS", "The benefit outweighs the risk"
    NOT_TAKEN = "NOT_TAKEN", "The drug is not actually taken"
    DATA_WRONG = "DATA_WRONG", "The data are wrong"
    SPECIALIST = "SPECIALIST", "On specialist advice"
    OTHER = "OTHER", "Another reason (say which)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the prescriber says to one finding."""

    reason: AnswerReason
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A finding that wants an answer (STOP, WARN) or an acknowledgement (CAUTION)."""

    key: str
    finding: Mapping[str, Any]

    @property
    def acknowledge(self) -> bool:
        """Whether it is enough to have seen it."""
        return self.finding["severity"] in NEEDS_ACKNOWLEDGEMENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """Which tacrolimus and which target; no target of its own means the rule book's."""

    formulation: Formulation
    brand: str
    target_low_ng_per_ml: Decimal | None = None
    target_high_ng_per_ml: Decimal | None = None
    target_reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prescription:
    """A dose as the prescriber wants it, with the reason and an answer to each question.

    `confirmed` and `typed_again_mg` (the total a day once more) are given when the service asks.
    """

    morning_mg: Decimal
    evening_mg: Decimal
    reason_code: ReasonCode
    reason_text: str = ""
    answers: Mapping[str, Answer]
    confirmed: bool = False
    typed_again_mg: Decimal | None = None

    @property
    def total_daily_mg(self) -> Decimal:
        """Morning and evening dose together, mg/day."""
        return self.morning_mg + self.evening_mg

    @property
    def reason(self) -> str:
        """The reason in words: the code's, then the prescriber's own."""
        return in_words(self.reason_code, self.reason_text)


def in_words(code: ReasonCode, text: str) -> str:
    """A reason as it is printed under a signature. Raises `ValidationError` for a bare "other"."""
    text = text.strip()
    if code == ReasonCode.OTHER:
        if not text:
            raise ValidationError({"reason_text": "Say which reason."})
        return text
    return f"{code.label}: {text}" if text else str(code.label)


def check_reason(meaning: Meaning, code: ReasonCode) -> None:
    """Raises `ValidationError` for a reason that does not fit the act; "other", in words, always
    does."""
    fitting = {*REASONS[meaning], ReasonCode.OTHER}
    if code not in fitting:
        raise ValidationError(
            {
                "reason_code": f"“{code.label}” is no reason for this act. Reasons for it: "
                + ", ".join(known for known in ReasonCode if known in fitting)
                + "."
            }
        )


def questions(advice: Mapping[str, Any]) -> tuple[Question, ...]:
    """The findings of a stored advice that need a word before signing, in the advice's order.

    The key is the finding's code; a second finding with the same code is numbered.
    """
    seen: Counter[str] = Counter()
    found = []
    for finding in advice["findings"]:
        if finding["severity"] in NEEDS_ANSWER + NEEDS_ACKNOWLEDGEMENT:
            code = finding["code"]
            seen[code] += 1
            key = code if seen[code] == 1 else f"{code}-{seen[code]}"
            found.append(Question(key=key, finding=finding))
    return tuple(found)


def is_proposed(prescription: Prescription, proposal: Mapping[str, Any] | None) -> bool:
    """Whether the prescription is exactly this proposal."""
    return is_proposed_dose(prescription.morning_mg, prescription.evening_mg, proposal)


def is_proposed_dose(
    morning_mg: Decimal, evening_mg: Decimal, proposal: Mapping[str, Any] | None
) -> bool:
    """Whether the doses are exactly those of this proposal."""
    return (
        proposal is not None
        and proposal.get("morning_mg") is not None
        and Decimal(proposal["morning_mg"]) == morning_mg
        and Decimal(proposal["evening_mg"]) == evening_mg
    )


def decision_of(prescription: Prescription, advice: Mapping[str, Any]) -> Decision:
    """ACCEPTED: exactly the proposal. OVERRIDDEN: a dose where a hold or nothing at all is right,
    or more than a critical finding asks for. MODIFIED: any other dose."""
    proposal = advice["proposal"]
    if is_proposed(prescription, proposal):
        return Decision.ACCEPTED
    if proposal is not None and proposal["action"] in ("HOLD", "STOP"):
        return Decision.OVERRIDDEN
    for finding in advice["findings"]:
        if finding["severity"] == "STOP":
            return Decision.OVERRIDDEN
        if finding["severity"] == "WARN" and (asked := finding.get("proposal")):
            total = asked.get("total_daily_mg")
            if total is None or Decimal(total) < prescription.total_daily_mg:
                return Decision.OVERRIDDEN
    return Decision.MODIFIED


def check_answers(prescription: Prescription, advice: Mapping[str, Any]) -> Decision:
    """The decision, once every question is answered and every departure explained.

    Raises `UnansweredFinding`, `BareOverride`, and `ValidationError` for an answer to a finding
    that the advice does not hold.
    """
    decision = decision_of(prescription, advice)
    check_all_answered(prescription.answers, advice, against_a_hold=decision == Decision.OVERRIDDEN)
    if decision != Decision.ACCEPTED and not prescription.reason_text.strip():
        raise BareOverride(
            "This dose is not the one proposed. Say in words why, or take the proposal.",
            fields={"reason_text": "Say in words why the dose departs from the proposal."},
        )
    return decision


def check_all_answered(
    answers: Mapping[str, Answer], advice: Mapping[str, Any], *, against_a_hold: bool = False
) -> None:
    """Is every STOP and WARN of the advice answered, and every CAUTION acknowledged?

    `against_a_hold`: what is signed gives tacrolimus against the protocol, so that it cannot be the
    act on a finding that asks for a hold. Raises `UnansweredFinding`, and `ValidationError` for an
    answer to a finding that the advice does not hold.
    """
    asked = questions(advice)
    if unknown := set(answers) - {question.key for question in asked}:
        raise ValidationError(
            {"answers": f"The assessment holds no finding {', '.join(sorted(unknown))}."}
        )
    missing: dict[str, str] = {}
    for question in asked:
        answer = answers.get(question.key)
        if answer is None or (
            answer.reason == AnswerReason.ACKNOWLEDGED and not question.acknowledge
        ):
            missing[question.key] = (
                "Say that you have seen it." if question.acknowledge else "Answer this finding."
            )
        elif answer.reason == AnswerReason.OTHER and not answer.text.strip():
            missing[question.key] = "Say which reason."
        elif (
            answer.reason == AnswerReason.ACTED_ON
            and against_a_hold
            and (question.finding.get("proposal") or {}).get("action") == "HOLD"
        ):
            missing[question.key] = "A dose does not act on a hold: say why tacrolimus is given."
    if missing:
        raise UnansweredFinding(
            "Answer each critical finding and acknowledge each caution, then sign. Open: "
            + ", ".join(missing)
            + ".",
            fields={f"answers.{key}": text for key, text in missing.items()},
        )


def check_dispensable(
    prescription: Prescription, *, formulation: Formulation, book: RuleBook
) -> None:
    """Is this a dose at all, and can it be dispensed (D20)? Raises `ValidationError` at the field.

    Single doses are multiples of the smallest strength of the book; a formulation for which the
    book lists none is taken as written.
    """
    wrong = {}
    if prescription.morning_mg <= 0:
        wrong["morning_mg"] = "A dose is more than 0 mg. To pause tacrolimus, hold it."
    if prescription.evening_mg < 0:
        wrong["evening_mg"] = "A dose is not below 0 mg."
    if formulation != Formulation.IR and prescription.evening_mg != 0:
        wrong["evening_mg"] = "This product is taken once a day: the evening dose is 0 mg."
    if strengths := book.index.strengths.get(formulation):
        step = strengths[0]
        for name in ("morning_mg", "evening_mg"):
            if Fraction(getattr(prescription, name)) % step:
                wrong.setdefault(
                    name, f"Capsules give multiples of {shown(step)} mg; this dose is none (D20)."
                )
    if wrong:
        raise ValidationError(wrong)


def check_target(product: Product, *, book: RuleBook) -> None:
    """May this target of the patient's own be aimed at (X6)? Raises `ValidationError` at the field.

    Its upper end is at most the level above which tacrolimus is always held (D19).
    """
    toxic = book.index.limits[Band.TOXIC]
    low, high = product.target_low_ng_per_ml, product.target_high_ng_per_ml
    if low is None and high is not None:
        raise ValidationError({"target_low_ng_per_ml": "Give both ends of the target."})
    if high is None and low is not None:
        raise ValidationError({"target_high_ng_per_ml": "Give both ends of the target."})
    if low is not None and low <= 0:
        raise ValidationError({"target_low_ng_per_ml": "A target is more than 0 ng/mL."})
    if low is not None and high is not None and high <= low:
        raise ValidationError({"target_high_ng_per_ml": "This end must be above the lower one."})
    if high is not None and Fraction(high) > toxic:
        words = f"A level above {shown(toxic)} ng/mL always asks for a hold (D19): aim lower."
        raise ValidationError({"target_high_ng_per_ml": words})


def switch_confirmations(former: Product, product: Product) -> dict[str, str]:
    """What the prescriber is asked of another product of a running course (D32): input -> sentence.

    A switch always says in words why; of another formulation the total a day is typed once more.
    """
    asked = {"reason_text": "Say in words why the product is switched."}
    if former.formulation != product.formulation:
        asked["typed_again_mg"] = (
            "Formulations of tacrolimus are not interchangeable milligram for milligram (D32): "
            "type the total a day of the new one once more."
        )
    return asked


def open_confirmations(prescription: Prescription, asked: Mapping[str, str]) -> dict[str, str]:
    """Which of the `confirmations` the prescription does not meet yet."""
    met = {
        "reason_text": bool(prescription.reason_text.strip()),
        "typed_again_mg": prescription.typed_again_mg == prescription.total_daily_mg,
        "confirmed": prescription.confirmed,
    }
    return {name: text for name, text in asked.items() if not met[name]}


def confirmations(
    prescription: Prescription,
    *,
    formulation: Formulation,
    last_total_mg: Decimal | None,
    case: CaseFacts,
    book: RuleBook,
    at: datetime,
) -> dict[str, str]:
    """What the prescriber is asked about an unusual dose: input -> sentence; empty for a usual one.

    The inputs are `reason_text` (above the usual maximum of D21, or ten times the last total),
    `typed_again_mg` (ten times: the total a day once more) and `confirmed` (twice or more).
    """
    asked: dict[str, str] = {}
    for said, requests in unusual(
        prescription.morning_mg,
        prescription.evening_mg,
        formulation=formulation,
        last_total_mg=last_total_mg,
        case=case,
        book=book,
        at=at,
    ):
        for name, request in requests.items():
            asked.setdefault(name, f"{said}: {request}.")
    return asked


def unusual(
    morning_mg: Decimal,
    evening_mg: Decimal,
    *,
    formulation: Formulation,
    last_total_mg: Decimal | None,
    case: CaseFacts,
    book: RuleBook,
    at: datetime,
) -> Iterator[tuple[str, dict[str, str]]]:
    """What is unusual about a dose, in words, each with what is asked for it: input -> request."""
    total = morning_mg + evening_mg
    numbers = book.index.numbers
    most = [(numbers["MAX-MG-PER-DAY"], f"{shown(numbers['MAX-MG-PER-DAY'])} mg/day")]
    if (known := weight_kg(case, book, at)) is not None:
        per_kg = numbers["MAX-MG-PER-KG-PER-DAY"]
        most.append((per_kg * known[0], f"{shown(per_kg)} mg/kg/day at {shown(known[0])} kg"))
    if above := [words for limit, words in most if Fraction(total) > limit]:
        limits = " and of ".join(above)
        yield (
            f"{shown(total)} mg/day is above the usual maximum of {limits} (D21)",
            {"reason_text": "say in words why"},
        )
    if last_total_mg:
        times = Fraction(total) / Fraction(last_total_mg)
        against = (
            f"{shown(total)} mg/day is {shown(times, at_most=1)} times the last "
            f"{shown(last_total_mg)} mg/day"
        )
        if times >= TYPE_AGAIN_FROM:
            yield (
                against,
                {
                    "typed_again_mg": "type the total a day once more",
                    "reason_text": "say in words why",
                },
            )
        elif times >= CONFIRM_FROM:
            yield against, {"confirmed": "confirm that this is meant"}
    if formulation == Formulation.IR and evening_mg == 0:
        yield (
            "Immediate-release tacrolimus is taken twice a day; an evening dose of 0 mg makes it "
            "once a day",
            {"confirmed": "confirm that this is meant"},
        )


def against_reason(code: ReasonCode, *, case: CaseFacts, book: RuleBook, at: datetime) -> str:
    """What the newest trough says against a reason that names the level (S9); "" for nothing.

    It hinders nothing: the prescriber may know of a level that is not recorded.
    """
    claimed = _CLAIMED.get(code)
    newest = newest_trough(case, book, at)
    if claimed is None or case.regimen is None or newest is None:
        return ""
    found = side(newest, case.regimen, book)
    if found in (None, claimed):
        return ""
    return (
        f"The newest trough is {_SIDES[found]} the target, not {_SIDES[claimed]} it: "
        f"{level_words(newest, at)}, target {target_words(case.regimen, book)}."
    )
