"""Drugs beside tacrolimus that stand on no CYP3A4 list: S66, S67, S68 with X13, D25."""

from datetime import date, datetime

from dosing.rules.engine.advice import DueTest, Effect, Finding, next_test, raised
from dosing.rules.engine.comedication import of_group, shown_name
from dosing.rules.engine.facts import CaseFacts, CoMedication
from dosing.rules.engine.quantities import said
from dosing.rules.engine.rows import DrugGroup
from dosing.rules.engine.rulebook import RuleBook
from dosing.rules.engine.trough import last_trough_on


def cannabidiol(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """S66, X13: levels may rise as long as it is taken, and as long as that a lower dose is asked.

    A low trough raises nothing meanwhile, even one drawn since it began: the finding asks for less.
    """
    code = "CANNABIDIOL-TAKEN"
    found: tuple[Finding, ...] = ()
    for taken, row in of_group(case, book, at, DrugGroup.CANNABIDIOL):
        begun = _day_zero(taken, at)
        found += raised(
            book,
            code,
            f"{_on_the_list(taken, row.drug)}: it may raise tacrolimus levels. Monitor the trough "
            f"closely and consider a lower dose.{_ask_for_date(begun)}",
            inputs=(("drug", taken.drug), ("since", _since(begun))),
            due_tests=_troughs(case, book, begun, at, code),
            effect=Effect.ASKS_FOR_LESS,
        )
    return found


def hepatitis_c(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """S67: a course of direct-acting antivirals changes the liver, and with it the level.

    Said where such a drug is taken, or the course is recorded as a fact of the patient. Which way
    the level goes is not known, so nothing is asked of the dose in advance.
    """
    taken = of_group(case, book, at, DrugGroup.HCV_ANTIVIRAL)
    if not taken and case.patient.hcv_antiviral_course is not True:
        return ()
    code = "HCV-COURSE"
    days = [on for drug, _ in taken if (on := _day_zero(drug, at)) is not None]
    begun = max(days, default=None)
    names = " and ".join(dict.fromkeys(drug.drug for drug, _ in taken))
    which = f" ({names})" if names else ""
    return raised(
        book,
        code,
        f"A course of direct-acting antivirals against hepatitis C{which}: changes of liver "
        "function during it can alter how tacrolimus is handled. Monitor troughs closely and "
        f"adjust the dose.{_ask_for_date(begun)}",
        inputs=(
            ("drugs", names or "not recorded"),
            ("hcv_antiviral_course", said(case.patient.hcv_antiviral_course)),
        ),
        due_tests=_troughs(case, book, begun, at, code),
    )


def mycophenolate(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """S68, D25: it is the dose of mycophenolate that is lowered, never that of tacrolimus."""
    found: tuple[Finding, ...] = ()
    for taken, row in of_group(case, book, at, DrugGroup.MYCOPHENOLATE):
        found += raised(
            book,
            "MYCOPHENOLATE-TAKEN",
            f"{_on_the_list(taken, row.drug)}: monitor for adverse effects of mycophenolic acid "
            "and lower its dose as needed, not the dose of tacrolimus. The exposure to "
            "mycophenolic acid is higher beside tacrolimus than beside cyclosporine, which "
            "interrupts its enterohepatic recycling.",
            inputs=(("drug", taken.drug),),
        )
    return found


def _on_the_list(taken: CoMedication, ingredient: str) -> str:
    return f"{shown_name(taken, ingredient)} is {'about to be given' if taken.planned else 'taken'}"


def _day_zero(taken: CoMedication, at: datetime) -> date | None:
    """The day it began; today for a plan; None if nobody recorded it."""
    today = at.date()
    if taken.planned or (taken.started_on is not None and taken.started_on > today):
        return today
    return taken.started_on


def _since(begun: date | None) -> str:
    return "not known" if begun is None else begun.isoformat()


def _ask_for_date(begun: date | None) -> str:
    return "" if begun is not None else " Its start date is not recorded: record it."


def _troughs(
    case: CaseFacts, book: RuleBook, begun: date | None, at: datetime, code: str
) -> tuple[DueTest, ...]:
    """The close troughs of D1 after the start, while it is recent and tacrolimus is taken."""
    if case.regimen is None or begun is None:
        return ()
    if (at.date() - begun).days >= book.index.numbers["INTERACTION-OPEN-DAYS"]:
        return ()
    last_done = last_trough_on(case, book, at)
    return next_test(book, "CLOSE-TROUGHS", begun, code, last_done=last_done)
