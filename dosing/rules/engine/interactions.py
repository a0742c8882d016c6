"""Drugs that move the level through CYP3A4, started or stopped: S38-S53 with D17a-D18b.

What a start or a stop asks of the dose stands in the interaction's row (`DoseAct`); what is watched
beside it follows from the class of the drug.
"""

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
from dosing.rules.engine.comedication import (
    Change,
    Event,
    events,
    is_open,
    is_taken,
    shown_name,
)
from dosing.rules.engine.facts import CaseFacts, Intent, Regimen, RegimenStatus
from dosing.rules.engine.quantities import shown
from dosing.rules.engine.rows import STRONG_INHIBITORS, DoseAct, DrugClass
from dosing.rules.engine.rulebook import RuleBook
from dosing.rules.engine.trough import high_since, last_trough_on, level_words


def interactions(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """S38-S50, S52, S53 for every interacting drug, by what happened to it and when."""
    found: tuple[Finding, ...] = ()
    last_done = last_trough_on(case, book, at)
    acting: set[str] = set()
    for event in events(case, book, at):
        if case.regimen is None:
            if event.change is Change.DOSE_CHANGED:
                continue
            if event.change is not Change.STOPPED or is_open(event, book, at):
                unchecked = case.intent is Intent.REVIEW  # on therapy, and the dose is not known
                found += _before_start(event, book, unchecked=unchecked)
            continue
        if event.change is not Change.UNDATED and not is_open(event, book, at):
            continue
        acting.add(event.ingredient)
        if event.change is Change.UNDATED:
            found += _undated(event, book)
        elif event.change is Change.STOPPED:
            found += _stopped(event, case.regimen, book, at, last_done)
        elif event.change is Change.DOSE_CHANGED:
            found += _dose_changed(event, book, last_done)
        else:
            found += _started(event, case, case.regimen, book, at, last_done)
    return found + _several(sorted(acting), book)


def _several(names: list[str], book: RuleBook) -> tuple[Finding, ...]:
    """S38: more than one interacting drug at once is reconciled, never multiplied."""
    if len(names) < 2:
        return ()
    listed = f"{', '.join(names[:-1])} and {names[-1]}"
    return raised(
        book,
        "INT-SEVERAL",
        f"{listed[0].upper()}{listed[1:]} act on tacrolimus at once: their effects can add up or "
        "cancel each other. Each is judged by itself, the lowest dose that any of them asks for "
        "stands, and fractions are never multiplied. Follow the trough.",
        inputs=(("drugs", ", ".join(names)),),
    )


def grapefruit(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """S51: what is to be avoided beside tacrolimus, as long as it is taken."""
    found: tuple[Finding, ...] = ()
    for taken in case.co_medications:
        for ingredient in taken.ingredients:
            rule = book.index.interactions.get((ingredient, "STARTED"))
            if rule is None or rule.act is not DoseAct.AVOID:
                continue
            if not taken.systemic or not is_taken(taken, at.date()):
                continue
            found += raised(
                book,
                "INT-GRAPEFRUIT",
                f"{shown_name(taken, ingredient)} is on the list: {_continued(rule.action)}",
                inputs=(("drug", taken.drug),),
                rule=rule,
                leads=True,
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
    if event.drug_class is None:
        return "HOLD" if event.rule.act is DoseAct.HOLD else "OTHER"
    return _CLASS_CODES[event.drug_class]


def _class_words(event: Event) -> str:
    kind = _class_code(event)
    if kind == "OTHER":
        return f"{event.rule.consequence} {event.rule.action}"
    return f"It is {_CLASS_WORDS[kind]}."


def _before_start(event: Event, book: RuleBook, *, unchecked: bool) -> tuple[Finding, ...]:
    """Before tacrolimus: what the class says, as WARN without a number; S40 has nothing to cut."""
    if event.change is Change.STOPPED:
        rises = event.rule.effect == "LOWERS"
        code = "INT-INDUCER-STOPPED" if rises else "INT-INHIBITOR-STOPPED"
        return raised(
            book,
            f"{code}-BEFORE-START",
            f"{event.words}: its effect is still fading, so the level of a constant dose will "
            f"{'rise' if rises else 'fall'} over the first weeks. Check troughs closely.",
            inputs=event.inputs,
            unchecked=unchecked,
            rule=event.option,
        )
    kind = _class_code(event)
    if event.rule.act is DoseAct.HOLD:
        return raised(
            book,
            "INT-HOLD-AT-START",
            f"{event.words}. It is {_CLASS_WORDS['HOLD']}. Do not start tacrolimus while it is "
            "taken.",
            inputs=event.inputs,
            proposal=doses.hold(f"do not start while {event.ingredient} is taken"),
            unchecked=unchecked,
            rule=event.rule,
            leads=True,
        ) + _strong_class_at_start(event, book)
    return raised(
        book,
        f"INT-{kind}-AT-START",
        f"{event.words}. {_class_words(event)}",
        inputs=event.inputs,
        unchecked=unchecked,
        rule=event.option,
        leads=kind == "OTHER",
    )


def _strong_class_at_start(event: Event, book: RuleBook) -> tuple[Finding, ...]:
    if event.drug_class is None:
        return ()
    return raised(
        book,
        "INT-STRONG-AT-START",
        f"{event.words}. It is {_CLASS_WORDS['STRONG']}.",
        inputs=event.inputs,
        rule=event.option,
    )


def _undated(event: Event, book: RuleBook) -> tuple[Finding, ...]:
    """Taken since nobody knows when: whether the dose was set for it cannot be checked."""
    kind = _class_code(event)
    return raised(
        book,
        f"INT-{kind}-UNDATED",
        f"{event.words}: whether the dose was set for it could not be checked. "
        f"{_class_words(event)} Record the start date.",
        inputs=event.inputs,
        effect=Effect.ASKS_FOR_LESS if kind in ("AZOLE", "STRONG", "HOLD") else Effect.NONE,
        unchecked=True,
        rule=event.option,
        leads=kind in ("HOLD", "OTHER"),
    )


def _started(
    event: Event,
    case: CaseFacts,
    regimen: Regimen,
    book: RuleBook,
    at: datetime,
    last_done: date | None,
) -> tuple[Finding, ...]:
    """What the row asks of the dose until it is answered, and what the class says to watch."""
    act, unanswered = event.rule.act, not answered(event, regimen, at)
    found: tuple[Finding, ...] = ()
    if unanswered:
        if act is DoseAct.HOLD:
            found = _hold(event, regimen, book, last_done)
        elif act is DoseAct.CUT_TO_FRACTION and event.rule.numerator and event.rule.denominator:
            # A drug that was there before the regimen met no original dose.
            if regimen.started_on is None or event.on >= regimen.started_on:
                share = Fraction(event.rule.numerator, event.rule.denominator)
                found = _cut(event, share, regimen, book)
        elif act in (DoseAct.REDUCE, DoseAct.CUT_TO_FRACTION):
            found = _reduce(event, regimen, book)
        elif act is DoseAct.INCREASE:
            found = _increase(event, regimen, book)
    if event.drug_class in STRONG_INHIBITORS:
        return found + _strong(event, book, last_done)
    if event.drug_class is DrugClass.STRONG_INDUCER:
        found += _sub_therapeutic(event, book, last_done)
    if event.drug_class is DrugClass.MODERATE_INHIBITOR or act is DoseAct.FOLLOW_TROUGH:
        return found + _follow(event, case, book, at, last_done)
    if act is DoseAct.HOLD and not unanswered:
        return _boosted(event, book, last_done)
    return found


def _cut(event: Event, share: Fraction, regimen: Regimen, book: RuleBook) -> tuple[Finding, ...]:
    """S40, D17a: cut to the row's share of the original dose at once, rounded down.

    One third for the azoles of the protocol.
    """
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
    rounding = book.index.roundings["INTERACTION"]
    proposed: DoseProposal | None = None
    extra: tuple[Finding, ...] = ()
    current = Fraction(regimen.total_daily_mg)
    total = computed if step is None else doses.dispensable(computed, step, rounding)
    if total is None or total >= current:
        message = (
            f"{event.words}: it asks for {share.numerator}/{share.denominator} of the original "
            f"dose, {sum_shown} mg/day. The present dose, {doses.mg(current)} mg/day, "
            "is not above that, so no dose is proposed: follow the trough."
        )
    elif regimen.status is RegimenStatus.HELD:
        message = f"{asked} when it is resumed ({sum_shown} mg/day). Tacrolimus is held now."
    elif step is None:
        message = f"{asked} ({sum_shown} mg/day). No dose is proposed for once-daily products."
    elif total < doses.lowest_mg_per_day(step):
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
            rule=event.option,
        )
    else:
        reached = doses.rounded(computed, total, rounding)
        proposed = doses.proposal(Action.CHANGE, total, step, f"{sum_shown}{reached}")
        message = f"{asked}: {proposed.arithmetic}. That is {proposed.taken}."
    return extra + raised(
        book,
        "INT-AZOLE-STARTED",
        f"{message}{_factors(event, book)}",
        inputs=(*event.inputs, ("original_mg_per_day", doses.mg(original))),
        proposal=proposed,
        effect=Effect.ASKS_FOR_LESS,
        unchecked=regimen.dose_since is None,
        rule=event.rule,
        leads=True,
    )


def _reduce(event: Event, regimen: Regimen, book: RuleBook) -> tuple[Finding, ...]:
    """S44: a strong inhibitor that is no azole; without a fraction no dose is proposed."""
    return raised(
        book,
        "INT-STRONG-STARTED",
        f"{event.words}: {_action(event)}{_factors(event, book)}",
        inputs=event.inputs,
        effect=Effect.ASKS_FOR_LESS,
        unchecked=regimen.dose_since is None,
        rule=event.rule,
        leads=True,
    )


def _hold(
    event: Event, regimen: Regimen, book: RuleBook, last_done: date | None
) -> tuple[Finding, ...]:
    """S44, D17b: ritonavir and cobicistat; tacrolimus is held and followed by level."""
    return raised(
        book,
        "INT-BOOSTER-STARTED",
        f"{event.words}: {_action(event)}{_factors(event, book)}",
        inputs=event.inputs,
        proposal=doses.hold(f"hold while {event.ingredient} is taken"),
        due_tests=next_test(
            book, "BOOSTER-STARTED", event.on, "INT-BOOSTER-STARTED", last_done=last_done
        ),
        effect=Effect.ASKS_FOR_LESS,
        unchecked=regimen.dose_since is None,
        rule=event.rule,
        leads=True,
    )


def _boosted(event: Event, book: RuleBook, last_done: date | None) -> tuple[Finding, ...]:
    """S38 and the levels of D17b go on for a booster that the protocol does not list."""
    return raised(
        book,
        "INT-BOOSTER-FOLLOW-UP",
        f"{event.words} and the dose was set since: go on checking levels.",
        inputs=event.inputs,
        due_tests=next_test(
            book, "BOOSTER-STARTED", event.on, "INT-BOOSTER-FOLLOW-UP", last_done=last_done
        ),
        rule=event.option,
    )


def _strong(event: Event, book: RuleBook, last_done: date | None) -> tuple[Finding, ...]:
    """S41, S42, S43: early troughs, the early rise, the toxicity to watch for, while it is open."""
    first = book.index.series["STRONG-STARTED"][0]
    days = f"{first.earliest_day} to {first.latest_day}"
    words, inputs = event.words, event.inputs
    return (
        raised(
            book,
            "INT-STRONG-TROUGHS",
            f"{words}: check the trough within {days} days and often after that.",
            inputs=inputs,
            due_tests=next_test(
                book, "STRONG-STARTED", event.on, "INT-STRONG-TROUGHS", last_done=last_done
            ),
            rule=event.option,
        )
        + raised(
            book,
            "INT-STRONG-RISE",
            f"{words}: the level can rise rapidly and sharply early on, even after an immediate "
            "reduction.",
            inputs=inputs,
            rule=event.option,
        )
        + raised(
            book,
            "INT-STRONG-TOXICITY",
            f"{words}: watch closely for neurotoxicity, nephrotoxicity and QT prolongation.",
            inputs=inputs,
            rule=event.option,
        )
    )


def _dose_changed(event: Event, book: RuleBook, last_done: date | None) -> tuple[Finding, ...]:
    """S38, S41 with D17a: the dose of an azole changed; early troughs again, no new fraction."""
    return raised(
        book,
        "INT-AZOLE-DOSE-CHANGED",
        f"{event.words}: its effect on tacrolimus changes too. Begin early, frequent trough checks "
        "again; the dose follows the trough, no further fraction is applied.",
        inputs=event.inputs,
        due_tests=next_test(
            book, "STRONG-STARTED", event.on, "INT-AZOLE-DOSE-CHANGED", last_done=last_done
        ),
        rule=event.option,
    )


def _follow(
    event: Event, case: CaseFacts, book: RuleBook, at: datetime, last_done: date | None
) -> tuple[Finding, ...]:
    """S46, and S47 once a trough drawn after day 0 is above the target."""
    follows = event.rule.act is DoseAct.FOLLOW_TROUGH
    asked = _action(event) if follows else "monitor the tacrolimus trough closely."
    found = raised(
        book,
        "INT-MODERATE-STARTED",
        f"{event.words}: {asked}{_factors(event, book) if follows else ''}",
        inputs=event.inputs,
        due_tests=next_test(
            book, "MODERATE-STARTED", event.on, "INT-MODERATE-STARTED", last_done=last_done
        ),
        rule=event.rule if follows else event.option,
        leads=follows,
    )
    high = high_since(case, book, at, event.on)
    if event.drug_class is DrugClass.MODERATE_INHIBITOR and high is not None:
        found += raised(
            book,
            "INT-MODERATE-HIGH",
            f"{event.words} and the trough is now above the target ({level_words(high, at)}): "
            "reduce tacrolimus as the trough asks.",
            inputs=event.inputs,
            effect=Effect.ASKS_FOR_LESS,
            rule=event.option,
        )
    return found


def _increase(event: Event, regimen: Regimen, book: RuleBook) -> tuple[Finding, ...]:
    """S49: an inducer; the protocol gives no fraction, so no dose is proposed."""
    return raised(
        book,
        "INT-INDUCER-STARTED",
        f"{event.words}: {_action(event)}{_factors(event, book)}",
        inputs=event.inputs,
        unchecked=regimen.dose_since is None,
        rule=event.rule,
        leads=True,
    )


def _sub_therapeutic(event: Event, book: RuleBook, last_done: date | None) -> tuple[Finding, ...]:
    """S50 and the troughs of D18 while the event is open."""
    return raised(
        book,
        "INT-INDUCER-RISK",
        f"{event.words}: risk of a sub-therapeutic level, treatment failure or rejection.",
        inputs=event.inputs,
        due_tests=next_test(
            book, "INDUCER-STARTED", event.on, "INT-INDUCER-RISK", last_done=last_done
        ),
        rule=event.option,
    )


def _stopped(
    event: Event, regimen: Regimen, book: RuleBook, at: datetime, last_done: date | None
) -> tuple[Finding, ...]:
    """S52 (inhibitor) and S53 (inducer) until answered; after that the troughs go on (S38)."""
    act = event.rule.act
    lowered = event.rule.effect == "LOWERS"
    series = "INDUCER-STOPPED" if lowered else "INHIBITOR-STOPPED"
    if act is DoseAct.FOLLOW_TROUGH:
        return raised(
            book,
            "INT-OTHER-STOPPED",
            f"{event.words}: {_action(event)}{_factors(event, book)}",
            inputs=event.inputs,
            due_tests=next_test(book, series, event.on, "INT-OTHER-STOPPED", last_done=last_done),
            rule=event.rule,
            leads=True,
        )
    if answered(event, regimen, at):
        return raised(
            book,
            "INT-STOP-FOLLOW-UP",
            f"{event.words} and the dose was set since: go on checking troughs.",
            inputs=event.inputs,
            due_tests=next_test(book, series, event.on, "INT-STOP-FOLLOW-UP", last_done=last_done),
            rule=event.option,
        )
    if act is DoseAct.RAISE_BACK:
        code = "INT-INHIBITOR-STOPPED"
        before = regimen.dose_before_inhibitor_mg_per_day
        ceiling = (
            "the dose before it (not recorded)"
            if before is None
            else f"the dose before it, {shown(before, at_least=1)} mg/day"
        )
        asked = (
            f"the level will fall. Raise tacrolimus back towards {ceiling}, step by step under "
            "trough checks and never above it."
        )
    else:
        code = "INT-INDUCER-STOPPED"
        asked = _action(event)
    return raised(
        book,
        code,
        f"{event.words}: {asked}{_factors(event, book)}",
        inputs=event.inputs,
        due_tests=next_test(book, series, event.on, code, last_done=last_done),
        effect=Effect.ASKS_FOR_LESS if act is DoseAct.STEP_DOWN else Effect.NONE,
        unchecked=regimen.dose_since is None,
        rule=event.rule,
        leads=True,
    )


def _action(event: Event) -> str:
    return _continued(event.rule.action)


def _continued(sentence: str) -> str:
    """A sentence of a row as it goes on behind a colon."""
    return sentence[:1].lower() + sentence[1:]


def _factors(event: Event, book: RuleBook) -> str:
    """What modifies the interaction for this drug, each factor with its action, as text."""
    words = ""
    for row in book.index.factors.get(event.rule.code, ()):
        if row.drug in ("", event.ingredient):
            words += f" {row.factor}: {_continued(row.action)}" if row.factor else f" {row.action}"
    return words
