"""What a draft takes back from the published book, softens, or says with another number."""

from collections.abc import Iterator, Sequence
from dataclasses import fields
from enum import Enum

from dosing.rules.engine.rows import DrugClass, Origin, Row, Severity
from dosing.rules.engine.rulebook import RuleBook
from dosing.rules.linting.findings import LintFinding, error, warning
from dosing.rules.linting.names import acts_as

# Texts for people and what a row says of itself: another wording changes no advice.
_PROSE = frozenset(
    {
        "code", "source", "citations", "reviewed_by", "reviewed_on", "title", "reference",
        "identifier", "read", "name", "form", "consequence", "seriousness", "mechanism", "action",
        "frequency_of_exposure", "frequency_of_harm", "evidence", "note", "option", "every",
    }
)  # fmt: skip
_NAMES = {
    Origin.SEED: "the protocol",
    Origin.LABEL: "the label",
    Origin.GUIDELINE: "a guideline",
}
_SHARE = ("numerator", "denominator")  # one number, told as such
# Compared one by one, with their own words.
_OWN = frozenset({"enabled", "origin", "severity", "statements", "needs_local_approval"})


def changes(book: RuleBook, published: RuleBook) -> Iterator[LintFinding]:
    """Every row of the published book against the same row of this one."""
    here = book.tables()
    for table, rows in published.tables().items():
        drafted = {row.code: row for row in here[table]}
        for old in rows:
            if not old.enabled:
                continue
            new = drafted.get(old.code)
            if new is None or not new.enabled:
                yield from _gone(table, old, turned_off=new is not None)
            else:
                yield from _changed(table, old, new)
    yield from _unled(book, published)
    yield from _bars(book, published)
    yield from _statements(book, published)


def credited(book: RuleBook, delivered: Sequence[RuleBook]) -> Iterator[LintFinding]:
    """Every row that is on and says that it comes from the protocol says what a book delivered with
    a release says, newest last."""
    for table, rows in book.tables().items():
        known: dict[str, list[Row]] = {}
        for given in delivered:
            for row in given.tables()[table]:
                if row.origin is Origin.SEED:
                    known.setdefault(row.code, []).append(row)
        for row in rows:
            if row.enabled and row.origin is Origin.SEED:
                yield from _credited(table, row, known.get(row.code, []))


def _credited(table: str, row: Row, known: Sequence[Row]) -> Iterator[LintFinding]:
    if not known:
        yield error(
            "SEED-UNKNOWN",
            table,
            row.code,
            row.origin,
            f"{row.code} says that it comes from the protocol, and no rules delivered with "
            "TacroWeb have such a row. Set its origin to Local and name your own source.",
        )
        return
    departures = [
        [_not_the_protocols(table, row, *each) for each in _decides(old, row) if not _less(*each)]
        for old in known
    ]
    if all(departures):
        yield from departures[-1]


def _decides(old: Row, new: Row) -> Iterator[tuple[str, object, object]]:
    """What decides something and differs in two editions of a row: name, old, new."""
    if _share(old) != _share(new):
        yield "share", _share(old), _share(new)
    for each in fields(old):
        if each.name in _PROSE or each.name in _OWN or each.name in _SHARE:
            continue
        before, after = getattr(old, each.name), getattr(new, each.name)
        if before != after:
            yield each.name, before, after


def _share(row: Row) -> str | None:
    numerator, denominator = (getattr(row, name, None) for name in _SHARE)
    return None if numerator is None else f"{numerator}/{denominator}"


def _gone(table: str, old: Row, *, turned_off: bool) -> Iterator[LintFinding]:
    how = "is turned off" if turned_off else "is gone"
    if old.origin is Origin.SEED:
        yield warning(
            "SEED-ROW",
            table,
            old.code,
            old.origin,
            f"{old.code} comes from the protocol and {how}.",
        )
    elif table == "findings":
        yield warning(
            "FINDING",
            table,
            old.code,
            old.origin,
            f"{old.code} {how}: what it said is said no more.",
        )


def _changed(table: str, old: Row, new: Row) -> Iterator[LintFinding]:
    was, now = getattr(old, "severity", None), getattr(new, "severity", None)
    if isinstance(was, Severity) and isinstance(now, Severity) and now is not was:
        yield warning(
            "SEVERITY",
            table,
            old.code,
            f"{was.name} → {now.name}",
            f"{old.code} is {'lowered' if now < was else 'raised'} from {was.name} to {now.name}.",
        )
    if new.origin is not old.origin:
        yield warning(
            "ORIGIN",
            table,
            old.code,
            f"{old.origin} → {new.origin}",
            f"{old.code} is said to come from {new.origin}; it came from {old.origin}.",
        )
    if old.needs_local_approval and not new.needs_local_approval:
        yield warning(
            "APPROVAL",
            table,
            old.code,
            "needs_local_approval",
            f"{old.code} no longer asks for local approval.",
        )
    if dropped := [each for each in old.statements if each not in new.statements]:
        yield warning(
            "STATEMENT",
            table,
            old.code,
            ", ".join(dropped),
            f"{old.code} no longer stands for {', '.join(dropped)}.",
        )
    if dropped := [each for each in old.citations if each not in new.citations]:
        credited = new.origin is not Origin.LOCAL and not new.citations
        yield (error if credited else warning)(
            "CITATION",
            table,
            old.code,
            ", ".join(dropped),
            f"{old.code} no longer cites {', '.join(dropped)}"
            + (": name its evidence, or set its origin to Local." if credited else "."),
        )
    if old.origin is Origin.LOCAL:
        return
    for field, before, after in _decides(old, new):
        yield _another_value(table, old, new, field, before, after)


def _another_value(
    table: str, old: Row, new: Row, field: str, was: object, now: object
) -> LintFinding:
    """No number is credited to the source of another: what is new says where it comes from."""
    before, after = _said(was), _said(now)
    value, where = f"{before} → {after}", _NAMES[old.origin]
    changed = f"its {field.replace('_', ' ')} is changed from {before} to {after}"
    if new.source == old.source and not _less(field, was, now):
        return error(
            "SOURCE-KEPT",
            table,
            old.code,
            value,
            f"{changed[0].upper()}{changed[1:]}, and the source of {old.code} is still that of "
            f"{before}. Name the source of {after}.",
        )
    return warning("VALUE", table, old.code, value, f"{old.code} came from {where}, and {changed}.")


def _not_the_protocols(
    table: str, row: Row, field: str, given: object, said: object
) -> LintFinding:
    before, after = _said(given), _said(said)
    return error(
        "SEED-VALUE",
        table,
        row.code,
        f"{before} → {after}",
        f"{row.code} says that it comes from the protocol, whose {field.replace('_', ' ')} is "
        f"{before}; here it is {after}. Set its origin to Local and name your own source.",
    )


def _less(field: str, was: object, now: object) -> bool:
    """Whether a row only leaves out, as where a drug moves to a row of its own."""
    return now == "" or (isinstance(was, tuple) and isinstance(now, tuple) and set(now) <= set(was))


def _said(value: object) -> str:
    if value is None or value in ("", ()):
        return "nothing"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(str(each) for each in value)
    if isinstance(value, Enum):
        return str(value.value)
    return str(value)


def _barred(book: RuleBook) -> dict[tuple[str, str], tuple[str, Row]]:
    """What the book bars, however it says so, with the table and row that says it."""
    bars: dict[tuple[str, str], tuple[str, Row]] = {}
    for row in book.contraindications:
        if row.enabled:
            name = acts_as(row.name) if row.kind == "DRUG" else row.name
            bars.setdefault((row.kind, name), ("contraindications", row))
    for of_class in book.drug_classes:
        held = book.index.drug_classes.get(of_class.drug)
        if of_class.enabled and held is not None and held[0] is DrugClass.CONTRAINDICATED:
            bars.setdefault(("DRUG", acts_as(of_class.drug)), ("drug_classes", of_class))
    for vaccine in book.vaccines:
        if vaccine.enabled:
            bars.setdefault(("VACCINE", vaccine.atc), ("vaccines", vaccine))
    return bars


def _unled(book: RuleBook, published: RuleBook) -> Iterator[LintFinding]:
    """A finding to which rows led, and none leads any more, is said no more."""
    here = _led_to(book)
    for finding, (table, row) in _led_to(published).items():
        if finding in book.index.findings and finding not in here:
            yield warning(
                "FINDING",
                table,
                row,
                finding,
                f"No row leads to {finding} any more, as {row} did.",
            )


def _led_to(book: RuleBook) -> dict[str, tuple[str, str]]:
    """The findings to which rows lead, each with the table and code of the first such row."""
    led: dict[str, tuple[str, str]] = {}
    for table, rows in (
        ("baseline_items", book.baseline_items),
        ("schedules", book.schedules),
        ("contraindications", book.contraindications),
        ("thresholds", book.thresholds),
    ):
        for row in rows:
            if row.enabled and row.finding:
                led.setdefault(row.finding, (table, row.code))
    return led


def _bars(book: RuleBook, published: RuleBook) -> Iterator[LintFinding]:
    """What the protocol itself bars stays barred; anything else is let go with a reason."""
    here = _barred(book)
    for (kind, name), (table, row) in _barred(published).items():
        if (kind, name) not in here:
            found = error if row.origin is Origin.SEED else warning
            yield found(
                "CONTRAINDICATION",
                table,
                row.code,
                name,
                f"{name} is no longer barred: {row.code} is gone or turned off.",
            )


def _statements(book: RuleBook, published: RuleBook) -> Iterator[LintFinding]:
    here = _cited(book)
    for statement, (table, row) in _cited(published).items():
        if statement not in here:
            yield error(
                "STATEMENT",
                table,
                row,
                statement,
                f"{statement}, for which {row} stood in the published book, is no longer cited by "
                "any advice.",
            )


def _cited(book: RuleBook) -> dict[str, tuple[str, str]]:
    """Every statement that advice can cite, with the table and code of the first row that does."""
    cited: dict[str, tuple[str, str]] = {}
    for table, rows in (
        ("findings", book.index.findings.values()),
        ("interactions", book.index.interactions.values()),
    ):
        for row in rows:
            for statement in row.statements:
                cited.setdefault(statement, (table, row.code))
    return cited
