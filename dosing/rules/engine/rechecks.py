"""Changes after which the trough is checked again: product, corticosteroid, a drug that stopped.

The event triggers of D2 (S26) that belong to no calendar: D32, X22. A new dose of tacrolimus is
none of them: it sets the calendar back to titration (S25).
"""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from fractions import Fraction

from dosing.rules.engine.advice import Finding, next_test, raised
from dosing.rules.engine.comedication import shown_name, taken_now
from dosing.rules.engine.facts import CaseFacts, CoMedication, Formulation
from dosing.rules.engine.quantities import ZERO, day, shown
from dosing.rules.engine.rows import DrugGroup
from dosing.rules.engine.rulebook import RuleBook
from dosing.rules.engine.trough import last_trough_on

_SERIES = "EVENT-RECHECK"
_MOVING = frozenset({DrugGroup.CANNABIDIOL, DrugGroup.HCV_ANTIVIRAL})


def after_switch(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """D32, S26: brands and formulations are not interchangeable; the trough is checked again."""
    regimen = case.regimen
    if regimen is None or not _is_recent(regimen.switched_on, book, at):
        return ()
    code, switched_on = "RECHECK-PRODUCT-SWITCHED", regimen.switched_on or at.date()
    to = f"{regimen.brand or 'another product'} ({regimen.formulation.value})"
    message = (
        f"The product was changed from {regimen.switched_from} to {to} on {day(switched_on)}: "
        "products are not interchangeable, and the same dose can give another level. Keep to one "
        "product and check the trough again."
    )
    share = book.index.numbers.get("SWITCH-IR-TO-LCP-PERCENT")
    if regimen.formulation is Formulation.LCP and share is not None:
        message += (
            " From an immediate-release product to one of this kind the label gives "
            f"{shown(share)} % of the total daily dose; no dose is proposed from it."
        )
    return raised(
        book,
        code,
        message,
        inputs=(
            ("switched_on", switched_on.isoformat()),
            ("switched_from", str(regimen.switched_from)),
            ("formulation", regimen.formulation.value),
        ),
        due_tests=next_test(
            book, _SERIES, switched_on, code, last_done=last_trough_on(case, book, at)
        ),
    )


def after_stop(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """D2, S26: the end of cannabidiol or of a hepatitis C course moves the level once more."""
    if case.regimen is None:
        return ()
    code, index = "RECHECK-DRUG-STOPPED", book.index
    found: tuple[Finding, ...] = ()
    for drug in case.co_medications:
        ended = drug.stopped_on
        if ended is None or not drug.systemic or not _is_recent(ended, book, at):
            continue
        now = taken_now(case, book, at)
        # What has an interaction of its own is followed there.
        moving = (
            name
            for name in drug.ingredients
            if name not in now
            and any(row.group in _MOVING for row in index.groups_of.get(name, ()))
            and (name, "STOPPED") not in index.interactions
        )
        name = next(moving, None)
        if name is None:
            continue
        found += raised(
            book,
            code,
            f"{shown_name(drug, name)} was stopped on {day(ended)}: the tacrolimus level can "
            "change again. Check the trough again.",
            inputs=(("drug", drug.drug), ("stopped_on", ended.isoformat())),
            due_tests=next_test(
                book, _SERIES, ended, code, last_done=last_trough_on(case, book, at)
            ),
        )
    return found


def after_steroid_change(case: CaseFacts, book: RuleBook, at: datetime) -> tuple[Finding, ...]:
    """X22, S26: the daily corticosteroid has changed by as much as the row says, up or down.

    Doses are counted in prednisone-equivalents, mg/day, over all systemic corticosteroids of the
    book; one change of dose on one entry, and one entry that stops where another begins, are the
    same. What changed before tacrolimus began, or on that day, is no change of this treatment.
    Where a dose or an equivalence is not known nothing can be counted, and nothing is said.
    """
    limit = book.index.numbers.get("STEROID-CHANGE-MG-PER-DAY")
    if case.regimen is None or limit is None:
        return ()
    steroids = tuple(_steroids(case, book))
    begun = case.regimen.started_on or date.min
    days = [on for on in _change_days(steroids, book, at) if on > begun]
    now = _total(steroids, at.date())
    for changed_on in days:
        before = _total(steroids, changed_on - timedelta(days=1))
        if now is None or before is None or abs(now - before) < limit:
            continue
        code = "RECHECK-STEROID-CHANGED"
        # A taper by small steps has changed enough on the day of the step that reached the limit.
        totals = ((on, _total(steroids, on)) for on in reversed(days) if on >= changed_on)
        reached_on = next(on for on, mg in totals if mg is not None and abs(mg - before) >= limit)
        return raised(
            book,
            code,
            f"Since {day(changed_on)} the corticosteroid has changed from {shown(before)} to "
            f"{shown(now)} mg/day in prednisone-equivalents, by {shown(limit)} mg/day or more: "
            "corticosteroids speed up the loss of tacrolimus, so the level can "
            f"{'rise' if now < before else 'fall'}. Check the trough again.",
            inputs=(
                ("prednisone_equivalent_before_mg_per_day", shown(before)),
                ("prednisone_equivalent_now_mg_per_day", shown(now)),
                ("changed_on", changed_on.isoformat()),
            ),
            due_tests=next_test(
                book, _SERIES, reached_on, code, last_done=last_trough_on(case, book, at)
            ),
        )
    return ()


def _is_recent(on: date | None, book: RuleBook, at: datetime) -> bool:
    """Whether it happened by today, fewer days ago than a change counts as recent."""
    elapsed = None if on is None else (at.date() - on).days
    return elapsed is not None and 0 <= elapsed < book.index.numbers["INTERACTION-OPEN-DAYS"]


def _steroids(case: CaseFacts, book: RuleBook) -> Iterator[tuple[CoMedication, Fraction | None]]:
    """The systemic corticosteroids that were begun, each with its equivalence to prednisone."""
    members = book.index.groups.get(DrugGroup.PREDNISONE_EQUIVALENT, {})
    for drug in case.co_medications:
        for name in drug.ingredients:
            if name in members and drug.systemic and not drug.planned:
                factor = members[name].factor
                yield drug, None if factor is None else Fraction(factor)


def _total(steroids: tuple[tuple[CoMedication, Fraction | None], ...], on: date) -> Fraction | None:
    """Prednisone-equivalents on that day, mg/day; None where one of them is not known."""
    total = ZERO
    for drug, factor in steroids:
        begun = drug.started_on is None or drug.started_on <= on
        if not begun or (drug.stopped_on is not None and drug.stopped_on <= on):
            continue
        dose = drug.dose_on(on)
        if dose is None or factor is None:
            return None
        total += Fraction(dose) * factor
    return total


def _change_days(
    steroids: tuple[tuple[CoMedication, Fraction | None], ...], book: RuleBook, at: datetime
) -> list[date]:
    """The recent days on which a corticosteroid began, stopped or changed, newest first."""
    days = {
        on
        for drug, _ in steroids
        for on in (drug.started_on, drug.stopped_on, *drug.dose_changes)
        if on is not None and _is_recent(on, book, at)
    }
    return sorted(days, reverse=True)
