"""Pregnancy, contraception and breast-feeding: S75, S76, D26."""

from datetime import datetime

from dosing.rules.engine.advice import Finding, raised
from dosing.rules.engine.facts import CaseFacts, Intent, Pregnancy, Sex
from dosing.rules.engine.quantities import said
from dosing.rules.engine.rulebook import RuleBook

_HARM = "tacrolimus can harm a fetus (prematurity, birth defects, low birth weight)"


def pregnancy(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """S75 when pregnant or planning to be, S76 when pregnant.

    A pregnancy that is possible is neither: it is to be made sure. One that nobody asked about
    could not be checked, except in a man.
    """
    known = case.patient.pregnancy
    inputs = (("pregnancy", said(known)),)
    if known is None:
        if case.patient.sex is Sex.MALE:
            return ()
        return raised(
            book,
            "PREGNANCY-NOT-ASKED",
            f"It is not recorded whether the patient is pregnant or plans to be, and {_HARM}: ask, "
            "and record the answer.",
            inputs=(("sex", said(case.patient.sex)), *inputs),
            unchecked=True,
        )
    if known is Pregnancy.POSSIBLE:
        return raised(
            book,
            "PREGNANCY-POSSIBLE",
            f"A pregnancy is possible, and {_HARM}: make sure, and record the answer.",
            inputs=inputs,
        )
    if known is Pregnancy.NO:
        return ()
    pregnant = known is Pregnancy.YES
    found = raised(
        book,
        "PREGNANCY-HARM",
        f"The patient {'is pregnant' if pregnant else 'plans a pregnancy'}: explain that {_HARM}.",
        inputs=inputs,
    )
    if pregnant:
        found += raised(
            book,
            "PREGNANCY-REGISTRY",
            "Register the pregnancy with the Transplantation Pregnancy Registry International.",
            inputs=inputs,
        )
    return found


def contraception(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """D26: before the start contraception is advised, whatever the sex; not in a pregnancy."""
    patient = case.patient
    if case.intent is not Intent.START or patient.contraception is True:
        return ()
    if patient.pregnancy is Pregnancy.YES:
        return ()
    return raised(
        book,
        "CONTRACEPTION",
        "Before tacrolimus begins, advise the patient, whether a woman or a man, on contraception "
        "during the treatment, and record it.",
        inputs=(("sex", said(patient.sex)), ("contraception", said(patient.contraception))),
    )


def lactation(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """D26: who breast-feeds is referred to a specialist."""
    if case.patient.lactating is not True:
        return ()
    return raised(
        book,
        "LACTATION",
        "The patient is breast-feeding: ask a specialist before tacrolimus is given.",
        inputs=(("lactating", "yes"),),
    )
