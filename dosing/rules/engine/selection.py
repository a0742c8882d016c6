"""Who the protocol is for: S1-S6, X2, X3."""

from datetime import datetime

from dosing.rules.engine.advice import Effect, Finding, raised
from dosing.rules.engine.comedication import taken_of
from dosing.rules.engine.facts import CaseFacts, Intent, Line, Sard
from dosing.rules.engine.quantities import said, shown
from dosing.rules.engine.rows import DrugClass
from dosing.rules.engine.rulebook import RuleBook

_NAMES = {
    Sard.RA: "rheumatoid arthritis",
    Sard.SSC: "systemic sclerosis",
    Sard.SJOGREN: "Sjögren disease",
    Sard.MCTD: "mixed connective tissue disease",
    Sard.SLE: "systemic lupus erythematosus",
    Sard.OTHER: "a rheumatic disease other than myositis",
}


def outside_protocol(case: CaseFacts) -> bool:
    """Whether the protocol says nothing of this disease: no ILD known, or no rheumatic disease."""
    return case.diagnosis.ild is not True or case.diagnosis.sard in (None, Sard.NONE)


def outside(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """S6: outside the protocol is an answer, and no starting dose is proposed.

    S6 speaks of a known ILD; without one the answer is the same, and cites nothing.
    """
    if not outside_protocol(case):
        return ()
    code = "SEL-OUTSIDE-PROTOCOL"
    if case.diagnosis.ild is not True:
        code = "SEL-NO-ILD"
        why = (
            "Interstitial lung disease is not recorded"
            if case.diagnosis.ild is None
            else "The patient is recorded as having no interstitial lung disease"
        )
    elif case.diagnosis.sard is None:
        why = "No rheumatic disease behind the interstitial lung disease is recorded"
    else:
        why = "Interstitial lung disease without a rheumatic disease"
    return raised(
        book,
        code,
        f"{why}: this is outside the protocol, which does not say that tacrolimus may be used. "
        "Safety findings are still given.",
        inputs=(("ild", said(case.diagnosis.ild)), ("sard", said(case.diagnosis.sard))),
        effect=Effect.BARS_START,
    )


def summary(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """S1: the protocol in one card when tacrolimus is being started for ILD."""
    if case.intent is not Intent.START or outside_protocol(case):
        return ()
    by_weight, fixed = book.index.starting["WEIGHT"], book.index.starting["FIXED"]
    low, high = book.index.target
    return raised(
        book,
        "SEL-SUMMARY",
        f"Start tacrolimus at {shown(by_weight.low, at_most=3)} mg/kg/day or {shown(fixed.low)} "
        f"to {shown(fixed.high)} mg/day, aim for a whole-blood trough of {shown(low)} to "
        f"{shown(high)} ng/mL, and combine it with a corticosteroid. At baseline and regularly: "
        "tacrolimus level, blood pressure, glucose, potassium, magnesium, lipids, blood count, "
        "renal function.",
        inputs=(("sard", said(case.diagnosis.sard)),),
    )


def first_line(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """S2 and S3 for myositis, S4 for the other rheumatic diseases; S4 needs to know the line."""
    diagnosis = case.diagnosis
    sard = diagnosis.sard
    if case.intent is not Intent.START or sard is None or outside_protocol(case):
        return ()
    if sard is Sard.IIM:
        return _myositis(case, book) if diagnosis.line is Line.FIRST else ()
    name = _NAMES[sard]
    if diagnosis.line is None:
        return raised(
            book,
            "SEL-LINE-UNKNOWN",
            f"It is not recorded whether tacrolimus would be first-line treatment for {name}. As "
            "first line it is conditionally recommended against: record the line of treatment.",
            unchecked=True,
        )
    if diagnosis.line is not Line.FIRST:
        return ()
    inputs = (("sard", sard.value), ("line", diagnosis.line.value))
    found = raised(
        book,
        "SEL-NOT-FIRST-LINE",
        f"Tacrolimus is conditionally recommended against as first-line treatment for {name} with "
        "interstitial lung disease: few data, little experience, and concern about dosing and "
        "toxicity.",
        inputs=inputs,
    )
    if diagnosis.rapidly_progressive:
        found += raised(
            book,
            "SEL-RAPIDLY-PROGRESSIVE",
            "For rapidly progressive disease the ACR/CHEST guideline names calcineurin inhibitors "
            "among the options, whatever the rheumatic disease; the protocol makes no such "
            "exception.",
            inputs=inputs,
        )
    return found


def _myositis(case: CaseFacts, book: RuleBook) -> tuple[Finding, ...]:
    diagnosis = case.diagnosis
    found = raised(
        book,
        "SEL-FIRST-LINE",
        "Tacrolimus is a conditionally recommended first-line option for myositis with "
        "interstitial lung disease.",
        inputs=(("sard", said(diagnosis.sard)), ("line", said(diagnosis.line))),
    ) + raised(
        book,
        "SEL-ALTERNATIVES",
        "Other first-line options for the lung disease of a rheumatic disease are mycophenolate, "
        "which the ACR/CHEST guideline prefers, azathioprine, rituximab and cyclophosphamide; for "
        "myositis it adds JAK inhibitors beside calcineurin inhibitors.",
    )
    reasons = [
        words
        for words, holds in (
            ("anti-MDA5 antibodies", diagnosis.anti_mda5),
            ("severe disease at presentation", diagnosis.severe_at_presentation),
        )
        if holds
    ]
    if reasons:
        found += raised(
            book,
            "SEL-FAVOURED",
            f"Tacrolimus is particularly favoured here: {' and '.join(reasons)}.",
            inputs=(
                ("anti_mda5", said(diagnosis.anti_mda5)),
                ("severe_at_presentation", said(diagnosis.severe_at_presentation)),
            ),
        )
    return found


def over_cyclosporine(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """S5: in myositis tacrolimus is preferred over cyclosporine; said where that is taken."""
    if case.diagnosis.ild is not True or case.diagnosis.sard is not Sard.IIM:
        return ()
    if not taken_of(case, book, at, DrugClass.CYCLOSPORINE):
        return ()
    return raised(
        book,
        "SEL-OVER-CYCLOSPORINE",
        "Cyclosporine is on the medication list. For myositis with interstitial lung disease "
        "tacrolimus is preferred over cyclosporine (perceived better effectiveness); both need the "
        "same monitoring.",
    )
