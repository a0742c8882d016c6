"""Drugs that move the level through CYP3A4, started or stopped: S38-S53 with D17a-D18b."""

from datetime import date, datetime
from fractions import Fraction

from dosing.rules.engine import doses
from dosing.rules.engine.advice import (
    Action,
    DoseProposal,
    Effect,
    Finding,
    next_test,
    raised,
)
from dosing.rules.engine.comedication import Change, Event, events, is_open, shown_name, taken_of
from dosing.rules.engine.facts import CaseFacts, Intent, Regimen, RegimenStatus
from dosing.rules.engine.quantities import shown
from dosing.rules.engine.rows import STRONG_INHIBITORS, DrugClass
from dosing.rules.engine.rulebook import RuleBook
from dosing.rules.engine.trough import high_since, last_trough_on, level_words


def interactions(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """S38-S50, S52, S53 for every interacting drug, by what happened to it and when."""
    found: tuple[Finding, ...] = ()
    last_done = last_trough_on(case, book, at)
    for event in events(case, book, at):
        if case.regimen is None:
            if event.change is not Change.STOPPED or is_open(event, book, at):
                unchecked = case.intent is Intent.REVIEW  # on therapy, and the dose is not known
                found += _before_start(event, book, unchecked=unchecked)
        elif event.change is Change.UNDATED:
            found += _undated(event, book)
        elif not is_open(event, book, at):
            continue
        elif event.change is Change.STOPPED:
            found += _stopped(event, case.regimen, book, at, last_done)
        else:
            found += _started(event, case, case.regimen, book, at, last_done)
    return found


def grapefruit(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """S51: grapefruit is avoided entirely, as long as it is taken."""
    found: tuple[Finding, ...] = ()
    for taken, ingredient in taken_of(case, book, at, DrugClass.GRAPEFRUIT):
        found += raised(
            book,
            "INT-GRAPEFRUIT",
            f"{shown_name(taken, ingredient)} is on the list: avoid it entirely, it raises "
            "tacrolimus levels and toxicity.",
            inputs=(("drug", taken.drug),),
        )
    return found


def answered(event: Event, regimen: Regimen, at: datetime) -> bool:
    """Whether the dose was set for this event: after its day, or on it and below the one before."""
    if regimen.dose_since is None:
        return False
    set_on = regimen.dose_since.astimezone(at.tzinfo).date()
    before = regimen.dose_before_inhibitor_mg_per_day
    return set_on > event.on or (
        set_on == event.on and before is not None and regimen.total_daily_mg < before
    )


_CLASS_CODES = {
    DrugClass.STRONG_INHIBITOR_AZOLE: "AZOLE",
    DrugClass.STRONG_INHIBITOR: "STRONG",
    DrugClass.MODERATE_INHIBITOR: "MODERATE",
    DrugClass.STRONG_INDUCER: "INDUCER",
    None: "HOLD",
}
_WATCH = (
    "Begin frequent trough checks early, expect a rapid sharp rise, and watch for neurotoxicity, "
    "nephrotoxicity and QT prolongation"
)
_CLASS_WORDS = {
    "AZOLE": f"a strong CYP3A4 inhibitor (azole): levels will be much higher. {_WATCH}",
    "STRONG": "a strong CYP3A4 inhibitor: levels will be much higher, and the protocol gives no "
    f"fraction. {_WATCH}",
    "MODERATE": "a moderate CYP3A4 inhibitor: levels will be higher. Monitor the trough closely",
    "INDUCER": "a strong CYP3A4 inducer: levels will be lower, with a risk of sub-therapeutic "
    "levels and treatment failure. Check troughs frequently",
    "HOLD": "a booster: levels can be more than ten times higher",
}


def _class_code(event: Event) -> str:
    return _CLASS_CODES[event.drug_class]


def _before_start(event: Event, book: RuleBook, *, unchecked: bool) -> tuple[Finding, ...]:
    """Before tacrolimus: what the class says, as WARN without a number; S40 has nothing to cut."""
    if event.change is Change.STOPPED:
        code = "INT-INDUCER-STOPPED" if event.drug_class is DrugClass.STRONG_INDUCER else None
        fading = "rise" if code else "fall"
        return raised(
            book,
            f"{code or 'INT-INHIBITOR-STOPPED'}-BEFORE-START",
            f"{event.words}: its effect is still fading, so the level of a constant dose will "
            f"{fading} over the first weeks. Check troughs closely.",
            inputs=event.inputs,
            unchecked=unchecked,
        )
    kind = _class_code(event)
    if event.ingredient in book.index.hold_drugs:
        return raised(
            book,
            "INT-HOLD-AT-START",
            f"{event.words}. It is {_CLASS_WORDS['HOLD']}. Do not start tacrolimus while it is "
            "taken.",
            inputs=event.inputs,
            unchecked=unchecked,
            proposal=doses.hold(f"do not start while {event.ingredient} is taken"),
        ) + _strong_class_at_start(event, book)
    return raised(
        book,
        f"INT-{kind}-AT-START",
        f"{event.words}. It is {_CLASS_WORDS[kind]}.",
        inputs=event.inputs,
        unchecked=unchecked,
    )


def _strong_class_at_start(event: Event, book: RuleBook) -> tuple[Finding, ...]:
    if event.drug_class is None:
        return ()
    return raised(
        book,
        "INT-STRONG-AT-START",
        f"{event.words}. It is {_CLASS_WORDS['STRONG']}.",
        inputs=event.inputs,
    )


def _undated(event: Event, book: RuleBook) -> tuple[Finding, ...]:
    """Taken since nobody knows when: whether the dose was set for it cannot be checked."""
    kind = _class_code(event)
    return raised(
        book,
        f"INT-{kind}-UNDATED",
        f"{event.words}: whether the dose was set for it could not be checked. It is "
        f"{_CLASS_WORDS[kind]}. Record the start date.",
        inputs=event.inputs,
        effect=Effect.ASKS_FOR_LESS if kind in ("AZOLE", "STRONG", "HOLD") else Effect.NONE,
        unchecked=True,
    )


def _started(
    event: Event,
    case: CaseFacts,
    regimen: Regimen,
    book: RuleBook,
    at: datetime,
    last_done: date | None,
) -> tuple[Finding, ...]:
    unanswered = not answered(event, regimen, at)
    if event.drug_class is DrugClass.MODERATE_INHIBITOR:
        return _moderate(event, case, book, at, last_done)
    if event.drug_class is DrugClass.STRONG_INDUCER:
        return _inducer(event, regimen, book, last_done, unanswered=unanswered)
    found: tuple[Finding, ...] = ()
    if unanswered:
        if event.ingredient in book.index.hold_drugs:
            found += _hold(event, regimen, book, last_done)
        elif event.drug_class is DrugClass.STRONG_INHIBITOR:
            found += _no_fraction(event, regimen, book)
        elif regimen.started_on is None or event.on >= regimen.started_on:
            found += _one_third(event, regimen, book)
    if event.drug_class in STRONG_INHIBITORS:
        return found + _strong(event, book, last_done)
    return found if unanswered else _boosted(event, book, last_done)


def _one_third(event: Event, regimen: Regimen, book: RuleBook) -> tuple[Finding, ...]:
    """S40, D17a: an azole cuts to one third of the original dose at once, rounded down."""
    share = book.index.ratios["AZOLE-FRACTION"]
    before = regimen.dose_before_inhibitor_mg_per_day
    original = Fraction(regimen.total_daily_mg if before is None else before)
    computed = original * share
    sum_shown = (
        f"{doses.mg(original)} mg/day × {share.numerator}/{share.denominator} = "
        f"{shown(computed, at_least=1)}"
    )
    asked = (
        f"{event.words}: reduce tacrolimus at once to {share.numerator}/{share.denominator} of the "
        "original dose"
    )
    step = doses.step_mg(book, regimen.formulation)
    proposed: DoseProposal | None = None
    extra: tuple[Finding, ...] = ()
    current = Fraction(regimen.total_daily_mg)
    total = computed if step is None else doses.cut(original, share, step)
    if total >= current:
        message = (
            f"{event.words}: it asks for {share.numerator}/{share.denominator} of the original "
            f"dose, {sum_shown} mg/day. The present dose, {doses.mg(current)} mg/day, "
            "is not above that, so no dose is proposed: follow the trough."
        )
    elif regimen.status is RegimenStatus.HELD:
        message = f"{asked} when it is resumed ({sum_shown} mg/day). Tacrolimus is held now."
    elif step is None:
        message = f"{asked} ({sum_shown} mg/day). No dose is proposed for once-daily products."
    else:
        if total < doses.lowest_mg_per_day(step):
            message = (
                f"{asked}: {sum_shown} mg/day, which cannot be dispensed as two doses of "
                f"{shown(step)} mg capsules. No dose is proposed: decide whether to hold "
                "tacrolimus."
            )
            extra = raised(
                book,
                "INT-NOT-DISPENSABLE",
                f"{sum_shown} mg/day is below the least dose, "
                f"{shown(doses.lowest_mg_per_day(step), at_least=1)} mg/day in two doses.",
                inputs=event.inputs,
            )
        else:
            down = " mg/day" if total == computed else f", rounded down to {doses.mg(total)} mg/day"
            proposed = doses.proposal(Action.CHANGE, total, step, f"{sum_shown}{down}")
            message = f"{asked}: {proposed.arithmetic}. That is {proposed.taken}."
    return extra + raised(
        book,
        "INT-AZOLE-STARTED",
        message,
        inputs=(*event.inputs, ("original_mg_per_day", doses.mg(original))),
        proposal=proposed,
        effect=Effect.ASKS_FOR_LESS,
        unchecked=regimen.dose_since is None,
    )


def _no_fraction(event: Event, regimen: Regimen, book: RuleBook) -> tuple[Finding, ...]:
    """S44: a strong inhibitor that is no azole; without a fraction no dose is proposed."""
    return raised(
        book,
        "INT-STRONG-STARTED",
        f"{event.words}: reduce tacrolimus. The protocol gives no fraction for a strong inhibitor "
        f"that is no azole, so no dose is proposed.{_note(event, book)}",
        inputs=event.inputs,
        effect=Effect.ASKS_FOR_LESS,
        unchecked=regimen.dose_since is None,
    )


def _hold(
    event: Event, regimen: Regimen, book: RuleBook, last_done: date | None
) -> tuple[Finding, ...]:
    """S44, D17b: ritonavir and cobicistat; tacrolimus is held and followed by level."""
    code = "INT-BOOSTER-STARTED"
    return raised(
        book,
        code,
        f"{event.words}: hold tacrolimus, levels can rise many times over.{_note(event, book)}",
        inputs=event.inputs,
        proposal=doses.hold(f"hold while {event.ingredient} is taken"),
        due_tests=next_test(book, "BOOSTER-STARTED", event.on, code, last_done=last_done),
        effect=Effect.ASKS_FOR_LESS,
        unchecked=regimen.dose_since is None,
    )


def _boosted(event: Event, book: RuleBook, last_done: date | None) -> tuple[Finding, ...]:
    """S38 and the levels of D17b go on for a booster that the protocol does not list."""
    code = "INT-BOOSTER-FOLLOW-UP"
    return raised(
        book,
        code,
        f"{event.words} and the dose was set since: go on checking levels.",
        inputs=event.inputs,
        due_tests=next_test(book, "BOOSTER-STARTED", event.on, code, last_done=last_done),
    )


def _strong(event: Event, book: RuleBook, last_done: date | None) -> tuple[Finding, ...]:
    """S41, S42, S43: early troughs, the early rise, the toxicity to watch for, while it is open."""
    code = "INT-STRONG-TROUGHS"
    first = book.index.series["STRONG-STARTED"][0]
    days = f"{first.earliest_day} to {first.latest_day}"
    return (
        raised(
            book,
            code,
            f"{event.words}: check the trough within {days} days and often after that.",
            inputs=event.inputs,
            due_tests=next_test(book, "STRONG-STARTED", event.on, code, last_done=last_done),
        )
        + raised(
            book,
            "INT-STRONG-RISE",
            f"{event.words}: the level can rise rapidly and sharply early on, even after an "
            "immediate reduction.",
            inputs=event.inputs,
        )
        + raised(
            book,
            "INT-STRONG-TOXICITY",
            f"{event.words}: watch closely for neurotoxicity, nephrotoxicity and QT prolongation.",
            inputs=event.inputs,
        )
    )


def _moderate(
    event: Event, case: CaseFacts, book: RuleBook, at: datetime, last_done: date | None
) -> tuple[Finding, ...]:
    """S46, and S47 once a trough drawn after day 0 is above the target."""
    code = "INT-MODERATE-STARTED"
    found = raised(
        book,
        code,
        f"{event.words}: monitor the tacrolimus trough closely. No dose is changed in advance."
        f"{_note(event, book)}",
        inputs=event.inputs,
        due_tests=next_test(book, "MODERATE-STARTED", event.on, code, last_done=last_done),
    )
    high = high_since(case, book, at, event.on)
    if high is not None:
        found += raised(
            book,
            "INT-MODERATE-HIGH",
            f"{event.words} and the trough is now above the target ({level_words(high, at)}): "
            "reduce tacrolimus as the trough asks.",
            inputs=event.inputs,
            effect=Effect.ASKS_FOR_LESS,
        )
    return found


def _inducer(
    event: Event,
    regimen: Regimen,
    book: RuleBook,
    last_done: date | None,
    *,
    unanswered: bool,
) -> tuple[Finding, ...]:
    """S49 until the dose was set for it, S50 and the troughs of D18 while it is open."""
    found: tuple[Finding, ...] = ()
    if unanswered:
        found += raised(
            book,
            "INT-INDUCER-STARTED",
            f"{event.words}: increase tacrolimus and check troughs frequently. The protocol gives "
            f"no fraction, so the dose follows the trough.{_note(event, book)}",
            inputs=event.inputs,
            unchecked=regimen.dose_since is None,
        )
    code = "INT-INDUCER-RISK"
    return found + raised(
        book,
        code,
        f"{event.words}: risk of a sub-therapeutic level, treatment failure or rejection.",
        inputs=event.inputs,
        due_tests=next_test(book, "INDUCER-STARTED", event.on, code, last_done=last_done),
    )


def _stopped(
    event: Event, regimen: Regimen, book: RuleBook, at: datetime, last_done: date | None
) -> tuple[Finding, ...]:
    """S52 (inhibitor) and S53 (inducer) until answered; after that the troughs go on (S38)."""
    inducer = event.drug_class is DrugClass.STRONG_INDUCER
    series = "INDUCER-STOPPED" if inducer else "INHIBITOR-STOPPED"
    if answered(event, regimen, at):
        code = "INT-STOP-FOLLOW-UP"
        return raised(
            book,
            code,
            f"{event.words} and the dose was set since: go on checking troughs.",
            inputs=event.inputs,
            due_tests=next_test(book, series, event.on, code, last_done=last_done),
        )
    if inducer:
        code = "INT-INDUCER-STOPPED"
        message = (
            f"{event.words}: induction fades slowly and the level will rise. Reduce "
            f"tacrolimus step by step under trough checks.{_note(event, book)}"
        )
    else:
        code = "INT-INHIBITOR-STOPPED"
        before = regimen.dose_before_inhibitor_mg_per_day
        ceiling = (
            "the dose before it (not recorded)"
            if before is None
            else f"the dose before it, {shown(before, at_least=1)} mg/day"
        )
        message = (
            f"{event.words}: the level will fall. Raise tacrolimus back towards {ceiling}, step by "
            f"step under trough checks and never above it.{_note(event, book)}"
        )
    return raised(
        book,
        code,
        message,
        inputs=event.inputs,
        due_tests=next_test(book, series, event.on, code, last_done=last_done),
        effect=Effect.ASKS_FOR_LESS if inducer else Effect.NONE,
        unchecked=regimen.dose_since is None,
    )


def _note(event: Event, book: RuleBook) -> str:
    """The option that waits for local approval, as text."""
    change = Change.STOPPED if event.change is Change.STOPPED else Change.STARTED
    row = book.index.notes.get((event.ingredient, change.value))
    return "" if row is None else f" {row.note}"
