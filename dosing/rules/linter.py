"""The linter of a rule book: a visible list of proofs, one sorted answer.

It proves and does not sample: every boundary is compared exactly, so what it passes holds for every
possible value. It reads the book and the vocabulary file, no database and no clock.
"""

from collections.abc import Iterator, Sequence
from datetime import date

from dosing.rules.engine.rulebook import RuleBook
from dosing.rules.linting import (
    calendars,
    changes,
    doses,
    interactions,
    names,
    sources,
    stretches,
)
from dosing.rules.linting.findings import Level, LintFinding, order

__all__ = ["Level", "LintFinding", "lint"]

CHECKS = (
    stretches.stretches,
    stretches.level_order,
    stretches.steps_have_a_side,
    stretches.quantities_are_known,
    doses.numbers,
    doses.said_once,
    doses.starting_doses,
    doses.steps_and_fractions,
    doses.roundings,
    doses.strengths,
    doses.dispensable,
    doses.companion_regimens,
    doses.outcomes,
    doses.local_targets,
    doses.prednisone_equivalents,
    calendars.level_windows,
    calendars.look_backs,
    calendars.due_tests,
    calendars.schedules,
    interactions.shape,
    interactions.direction,
    interactions.acts,
    interactions.fractions,
    interactions.claims,
    interactions.classes,
    interactions.modifying_factors,
    names.drugs_are_known,
    names.other_names_are_known,
    names.nothing_twice,
    names.no_row_is_idle,
    names.asked_for_and_barred,
    sources.findings_exist,
    sources.coverage,
)


def lint(
    book: RuleBook,
    *,
    published: RuleBook | None = None,
    delivered: Sequence[RuleBook] = (),
    today: date | None = None,
) -> tuple[LintFinding, ...]:
    """Every defect of `book`, errors first; empty for a book that may be published as it is.

    `published` is the book in force, against which what is taken back or softened is named.
    `delivered` are the books of the release, oldest first: only what one of them says may be
    credited to the protocol; without any nothing is held against it. `today`
    is the day against which the last reviews are held; without it they are not.
    """
    return tuple(sorted(set(_found(book, published, delivered, today)), key=order))


def _found(
    book: RuleBook,
    published: RuleBook | None,
    delivered: Sequence[RuleBook],
    today: date | None,
) -> Iterator[LintFinding]:
    for check in CHECKS:
        yield from check(book)
    yield from sources.evidence(book, today)
    if published is not None:
        yield from changes.changes(book, published)
    if delivered:
        yield from changes.credited(book, delivered)
