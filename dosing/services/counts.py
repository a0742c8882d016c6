"""How often each statement fired: counted with each assessment, and proven from what is stored."""

import json
from collections import Counter
from collections.abc import Iterator
from datetime import date
from typing import Any

from django.db import transaction
from django.db.models import F

from dosing.models import Assessment, StatementCount

Key = tuple[int, str, date]  # clinic, statement, day


def statements_in(advice: dict[str, Any]) -> set[str]:
    """The statements that a stored advice cites, each once however many findings cite it."""
    return {code for finding in advice["findings"] for code in finding["statements"]}


def day_of(advice: dict[str, Any]) -> date:
    """The day of the clinic on which it was given: the advice keeps its own offset."""
    return date.fromisoformat(advice["at"][:10])


def count_statements(assessment: Assessment) -> None:
    """Add one to each statement that a new assessment cites.

    Part of the act that stores the assessment: both stand, or neither. Rows are locked in one
    order, so that two assessments at once wait for each other and never in a circle.
    """
    advice = assessment.advice
    cited, on = sorted(statements_in(advice)), day_of(advice)
    clinic = assessment.patient.clinic
    rows = StatementCount.objects.filter(clinic=clinic, on=on, statement__in=cited)
    held = set(rows.select_for_update().order_by("statement").values_list("statement", flat=True))
    StatementCount.objects.bulk_create(
        [
            StatementCount(clinic=clinic, on=on, statement=code, assessments=0)
            for code in cited
            if code not in held
        ],
        ignore_conflicts=True,
    )
    StatementCount.objects.filter(clinic=clinic, on=on, statement__in=cited).update(
        assessments=F("assessments") + 1
    )


def counted_again() -> Counter[Key]:
    """The counts as the stored assessments give them. One pass over all advices, in batches."""
    counts: Counter[Key] = Counter()
    stored = Assessment.objects.order_by("pk").values_list("patient__clinic", "advice_text")
    for clinic, text in stored.iterator(chunk_size=500):
        advice = json.loads(text)
        on = day_of(advice)
        counts.update((clinic, code, on) for code in statements_in(advice))
    return counts


def miscounts() -> Iterator[tuple[Key, int, int]]:
    """Where the counts are not what the assessments give: of what, as kept, as it should be.

    Exact while no assessment is being stored; nothing for an installation in order.
    """
    columns = ("clinic", "statement", "on", "assessments")
    kept = {
        (clinic, code, on): n
        for clinic, code, on, n in StatementCount.objects.values_list(*columns)
    }
    right = counted_again()
    for key in sorted({*kept, *right}):
        if kept.get(key, 0) != right[key]:
            yield key, kept.get(key, 0), right[key]


def mend_counts() -> int:
    """Make the counts what the stored assessments give; how many were wrong."""
    wrong = list(miscounts())
    with transaction.atomic():
        for (clinic, code, on), _, right in wrong:
            StatementCount.objects.update_or_create(
                clinic_id=clinic, statement=code, on=on, defaults={"assessments": right}
            )
    return len(wrong)
