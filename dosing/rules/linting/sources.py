"""Evidence: every row says where it comes from, and every statement still has a row."""

import re
from collections.abc import Iterator
from datetime import date

from dosing.rules.engine.rows import Origin
from dosing.rules.engine.rulebook import RuleBook
from dosing.rules.linting.findings import LintFinding, error, warning

STATEMENTS = tuple(f"S{number}" for number in range(1, 85))
_CODE = re.compile(r"[A-Z0-9][A-Z0-9._-]*")


def evidence(book: RuleBook, today: date | None) -> Iterator[LintFinding]:
    """Code, source, statements, citations and the day of the last review of every row."""
    known = set(STATEMENTS)
    cited = {row.code for row in book.citations if row.enabled}
    for table, rows in book.tables().items():
        for row in rows:
            if not _CODE.fullmatch(row.code):
                yield error(
                    "CODE",
                    table,
                    row.code,
                    row.code,
                    f"The code {row.code!r} has more than capitals, digits, points and hyphens.",
                )
            if not row.source.strip():
                yield error("SOURCE", table, row.code, "", f"{row.code} has no source.")
            for statement in row.statements:
                if statement not in known:
                    yield error(
                        "STATEMENT",
                        table,
                        row.code,
                        statement,
                        f"{row.code} names {statement!r}: the statements of the protocol are "
                        f"{STATEMENTS[0]} to {STATEMENTS[-1]}; others belong in the source.",
                    )
            if len(set(row.statements)) < len(row.statements):
                yield error(
                    "STATEMENT",
                    table,
                    row.code,
                    ", ".join(row.statements),
                    f"{row.code} names a statement twice: {', '.join(row.statements)}.",
                )
            if row.origin is Origin.SEED and not row.statements:
                yield error(
                    "STATEMENT",
                    table,
                    row.code,
                    row.origin,
                    f"{row.code} comes from the protocol and names no statement of it.",
                )
            for citation in row.citations:
                if citation not in cited:
                    yield error(
                        "CITATION",
                        table,
                        row.code,
                        citation,
                        f"{row.code} cites {citation!r}, which is no enabled citation of the book.",
                    )
            if (
                row.enabled
                and book.citations  # a book of the first form has none to cite
                and table != "citations"
                and row.origin in (Origin.LABEL, Origin.GUIDELINE)
                and not row.citations
                and not row.needs_local_approval
            ):
                yield error(
                    "CITATION",
                    table,
                    row.code,
                    row.origin,
                    f"{row.code} says that it comes from a {row.origin.lower()} and cites none. "
                    "Cite it, or say that it needs local approval.",
                )
            if today is not None and row.reviewed_on is not None and row.reviewed_on > today:
                yield error(
                    "REVIEWED",
                    table,
                    row.code,
                    row.reviewed_on.isoformat(),
                    f"{row.code} was last reviewed on {row.reviewed_on.isoformat()}, which is "
                    "still to come.",
                )
            if (row.reviewed_on is None) == bool(row.reviewed_by.strip()):
                yield error(
                    "REVIEWED",
                    table,
                    row.code,
                    row.reviewed_by or str(row.reviewed_on),
                    f"{row.code} has only one of who reviewed it last and when.",
                )
    for citation_row in book.citations:
        for what, text in (
            ("title", citation_row.title),
            ("reference", citation_row.reference),
        ):
            if not text.strip():
                yield error(
                    "CITATION",
                    "citations",
                    citation_row.code,
                    what,
                    f"{citation_row.code} has no {what}.",
                )


def findings_exist(book: RuleBook) -> Iterator[LintFinding]:
    """A row that leads to a finding leads to one that is on."""
    for table, rows in (
        ("baseline_items", book.baseline_items),
        ("schedules", book.schedules),
        ("contraindications", book.contraindications),
        ("thresholds", book.thresholds),
    ):
        for row in rows:
            if row.enabled and row.finding not in book.index.findings:
                if table == "thresholds" and not row.finding:
                    continue
                yield error(
                    "REFERENCE",
                    table,
                    row.code,
                    row.finding,
                    f"{row.code} leads to the finding {row.finding!r}, which is not enabled in "
                    "this book.",
                )


def coverage(book: RuleBook) -> Iterator[LintFinding]:
    """Each statement of the protocol still has a row, and a finding that can cite it."""
    said = {
        statement
        for row in (*book.index.findings.values(), *book.index.interactions.values())
        for statement in row.statements
    }
    held = {
        statement
        for rows in book.tables().values()
        for row in rows
        if row.enabled
        for statement in row.statements
    }
    for statement in STATEMENTS:
        if statement not in held:
            yield error(
                "COVERAGE", "findings", "", statement, f"No enabled row stands for {statement}."
            )
        elif statement not in said:
            yield warning(
                "COVERAGE",
                "findings",
                "",
                statement,
                f"No enabled finding cites {statement}: its rows act, but no advice names it.",
            )
