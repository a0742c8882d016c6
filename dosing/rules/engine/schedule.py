"""What is measured before the first dose, and the first trough after it: S16-S24, D1, D4."""

from datetime import datetime, timedelta

from dosing.rules.engine.advice import DueTest, Finding, next_test, raised
from dosing.rules.engine.facts import CaseFacts, Intent, RegimenStatus
from dosing.rules.engine.quantities import day, shown
from dosing.rules.engine.rows import BaselineItemRow
from dosing.rules.engine.rulebook import RuleBook
from dosing.rules.engine.trough import newest_trough


def baseline(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """S16-S22 where an item is missing or older than its look-back, and then S24, the gate."""
    if case.intent is not Intent.START:
        return ()
    found: tuple[Finding, ...] = ()
    missing: list[str] = []
    for code, items in book.index.baseline.items():
        gaps = [(item, gap) for item in items if (gap := _gap(item, case, at)) is not None]
        if not gaps:
            continue
        missing += [item.name for item, _ in gaps]
        row = book.index.findings.get(code)
        found += raised(
            book,
            code,
            f"Before the first dose: {'; '.join(_gap_words(item, gap) for item, gap in gaps)}.",
            inputs=tuple((item.analyte, gap) for item, gap in gaps),
            due_tests=tuple(
                DueTest(
                    analyte=item.analyte,
                    earliest=at.date(),
                    due=at.date(),
                    latest=at.date(),
                    statements=row.statements if row is not None else (),
                )
                for item, _ in gaps
            ),
        )
    if missing:
        found += raised(
            book,
            "BASE-GATE",
            f"The baseline is incomplete ({', '.join(missing)}): the order is not ready until each "
            "is done or overridden with a reason.",
        )
    return found


def _gap(item: BaselineItemRow, case: CaseFacts, at: datetime) -> str | None:
    """Why the item does not count as done; None if it does. Ages are whole days."""
    newest = case.newest(item.analyte, at)
    if newest is None:
        return "not recorded"
    drawn_on = newest.at.astimezone(at.tzinfo).date()
    age = at.date() - drawn_on
    if age <= timedelta(days=item.look_back_days):
        return None
    return f"{age.days} days old ({day(drawn_on)}, at most {item.look_back_days} days)"


def _gap_words(item: BaselineItemRow, gap: str) -> str:
    return f"{item.name} {'are' if item.name.endswith('s') else 'is'} {gap}"


def first_trough(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """S23, D1: once therapy has begun, the first trough after 72 h on an unchanged dose."""
    regimen = case.regimen
    if (
        regimen is None
        or regimen.status is not RegimenStatus.ACTIVE
        or newest_trough(case, book, at)
    ):
        return ()
    if regimen.dose_since is None:
        return ()
    code = "FIRST-TROUGH"
    set_on = regimen.dose_since.astimezone(at.tzinfo).date()
    hours = shown(book.index.numbers["STEADY-STATE-HOURS"])
    return raised(
        book,
        code,
        "No tacrolimus trough of this treatment is recorded: take the first one after "
        f"{hours} h on an unchanged dose.",
        inputs=(("dose_since", set_on.isoformat()),),
        due_tests=next_test(book, "FIRST-TROUGH", set_on, code),
    )
