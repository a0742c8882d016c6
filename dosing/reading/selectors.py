"""What the pages of the protocol ask of a clinic: what fired there, and what it has approved."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.db.models import Q, Sum

from dosing.models import StatementCount
from dosing.rules.engine.rulebook import RuleBook
from dosing.rules.selectors import local_approvals
from tacroweb.accounts.models import Clinic

RECENT_DAYS = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class Fired:
    """How many stored assessments cited a statement: ever, and in the last `RECENT_DAYS` days."""

    ever: int = 0
    recently: int = 0


def fired_at(clinic: Clinic, *, today: date) -> dict[str, Fired]:
    """What the clinic's stored assessments cited, by statement; one query.

    The last 90 days end with `today`, a day of the clinic.
    """
    since = today - timedelta(days=RECENT_DAYS - 1)
    rows = StatementCount.objects.filter(clinic=clinic).values("statement")
    return {
        each["statement"]: Fired(ever=each["ever"], recently=each["recently"] or 0)
        for each in rows.annotate(
            ever=Sum("assessments"), recently=Sum("assessments", filter=Q(on__gte=since))
        )
    }


def approved_rows(clinic: Clinic, book: RuleBook, *, at: datetime) -> frozenset[str]:
    """The codes of the rows of `book` that the clinic has approved at `at`; one query."""
    return frozenset(each.row for each in local_approvals(clinic, book=book, at=at))
