"""Names that mean one thing: every drug, analyte, event and vaccine known, none claimed twice."""

from collections.abc import Callable, Iterator, Sequence
from functools import cache

from dosing.rules.engine.facts import EventKind
from dosing.rules.engine.rows import DoseAct, DrugClass, DrugGroup, Row
from dosing.rules.engine.rulebook import RuleBook
from dosing.rules.linting.findings import LintFinding, error, warning
from patients.vocabulary import vocabulary

INDEX_DRUG = "tacrolimus"
_ASKED_FOR = frozenset({DrugGroup.CYCLOPHOSPHAMIDE, DrugGroup.PNEUMOCYSTIS_PROPHYLAXIS})


@cache
def _ingredients() -> dict[str, str]:
    """Every name under which a drug acts, by its spelling without case."""
    return {name.casefold(): name for drug in vocabulary().drugs for name in drug.ingredients}


def acts_as(name: str) -> str:
    """The one name under which the rules know this drug; `name` itself if it is not known."""
    drug = vocabulary().drug(name)
    if drug is not None and drug.name in drug.ingredients:
        return drug.name
    return _ingredients().get(" ".join(name.split()).casefold(), name)


@cache
def _coded() -> frozenset[str]:
    """The names under which a drug with an ATC or RxNorm code acts, alone or in a combination."""
    return frozenset(
        name for drug in vocabulary().drugs if drug.atc or drug.rxcui for name in drug.ingredients
    )


def drugs_named(book: RuleBook) -> Iterator[tuple[str, Row, str]]:
    """Every (table, row, drug) of the tables whose rows the rules find by the drug's name."""
    for table, rows in (
        ("drug_classes", book.drug_classes),
        ("drug_groups", book.drug_groups),
        ("hold_drugs", book.hold_drugs),
        ("drug_notes", book.drug_notes),
        ("modifying_factors", book.modifying_factors),
        ("companion_regimens", book.companion_regimens),
    ):
        for row in rows:
            if row.drug or table != "modifying_factors":
                yield table, row, row.drug
    for interaction in book.interactions:
        for drug in (*interaction.drugs, *interaction.with_drugs):
            yield "interactions", interaction, drug
    for barred in book.contraindications:
        if barred.kind == "DRUG":
            yield "contraindications", barred, barred.name


def drugs_are_known(book: RuleBook) -> Iterator[LintFinding]:
    """A row names a drug as its records do: an alias or a combination would never be found."""
    for table, row, drug in drugs_named(book):
        known = vocabulary().drug(drug)
        if acts_as(drug) == drug and drug.casefold() in _ingredients():
            if row.enabled and drug not in _coded():
                yield warning(
                    "DRUG",
                    table,
                    row.code,
                    drug,
                    f"{row.code} names {drug}, for which the vocabulary has neither an ATC nor an "
                    "RxNorm code.",
                )
            continue
        if known is None and drug.casefold() not in _ingredients():
            words = f"{drug!r}, which the vocabulary does not know"
        elif known is not None and known.name not in known.ingredients:
            words = (
                f"the combination {known.name}, which acts by its ingredients: name "
                f"{' or '.join(known.ingredients)}"
            )
        else:
            words = (
                f"{drug!r}, and the records call it {acts_as(drug)!r}: the row would never be found"
            )
        yield error("DRUG", table, row.code, drug, f"{row.code} names {words}.")


def other_names_are_known(book: RuleBook) -> Iterator[LintFinding]:
    """Analytes, events and vaccines that no record can hold would never be found."""
    for table, rows in (
        ("baseline_items", book.baseline_items),
        ("due_tests", book.due_tests),
        ("schedules", book.schedules),
    ):
        for row in rows:
            analyte = vocabulary().analyte(row.analyte)
            if analyte is None or analyte.key != row.analyte:
                yield error(
                    "ANALYTE",
                    table,
                    row.code,
                    row.analyte,
                    f"{row.code} names the analyte {row.analyte!r}, which the vocabulary does not "
                    "know.",
                )
    for barred in book.contraindications:
        if barred.kind not in ("DRUG", "EVENT"):
            yield error(
                "KIND",
                "contraindications",
                barred.code,
                barred.kind,
                f"{barred.code} is of the kind {barred.kind!r}: it must be DRUG or EVENT.",
            )
        elif barred.kind == "EVENT" and barred.name not in set(EventKind):
            yield error(
                "EVENT",
                "contraindications",
                barred.code,
                barred.name,
                f"{barred.code} names the event {barred.name!r}, which no record can hold.",
            )
    listed = {atc: known for known in vocabulary().vaccines for atc in known.atc}
    for vaccine in book.vaccines:
        known = vocabulary().vaccine(vaccine.atc)
        if known is None or vaccine.atc not in known.atc:
            yield error(
                "VACCINE",
                "vaccines",
                vaccine.code,
                vaccine.atc,
                f"{vaccine.code} has the code {vaccine.atc!r}, which is not a vaccine's (J07).",
            )
        elif vaccine.atc in listed and not listed[vaccine.atc].live:
            yield error(
                "VACCINE",
                "vaccines",
                vaccine.code,
                vaccine.atc,
                f"{vaccine.code} avoids {vaccine.atc} ({known.name}), which is not live: vaccines "
                "that are not live are let through.",
            )


def nothing_twice(book: RuleBook) -> Iterator[LintFinding]:
    """Of two rows that answer the same question only one would count."""
    for table, what, rows, facts in _questions(book):
        first: dict[tuple[str, ...], str] = {}
        for row in rows:
            fact = facts(row)
            holder = first.setdefault(fact, row.code)
            if holder != row.code:
                yield _twice(table, holder, row.code, what, " ".join(fact))
    yield from _a_drug_twice_in_a_column(book)


def no_row_is_idle(book: RuleBook) -> Iterator[LintFinding]:
    """A book says its interactions and steps in tables of their own or in those of the first form.

    The engine reads the older tables only where the newer ones are empty.
    """
    for tables, instead in (
        (("hold_drugs", "drug_notes"), "interactions"),
        (("ratios",), "dose_steps"),
    ):
        for table in tables if book.tables()[instead] else ():
            for row in book.tables()[table]:
                if row.enabled:
                    yield error(
                        "REACH",
                        table,
                        row.code,
                        instead,
                        f"{row.code} is never read: this book has the table {instead} instead.",
                    )


def asked_for_and_barred(book: RuleBook) -> Iterator[LintFinding]:
    """No drug is asked for by one row and barred by another on the same facts."""
    asked = {
        acts_as(row.drug): ("drug_classes", row.code)
        for row in book.drug_classes
        if row.enabled and _decides(row.seed_class, row.label_class) == DrugClass.CORTICOSTEROID
    }
    for table, rows in (
        ("companion_regimens", book.companion_regimens),
        ("drug_groups", [row for row in book.drug_groups if row.group in _ASKED_FOR]),
    ):
        for row in rows:
            if row.enabled:
                asked.setdefault(acts_as(row.drug), (table, row.code))
    barred = (
        [
            ("contraindications", row.code, row.name)
            for row in book.contraindications
            if row.enabled and row.kind == "DRUG"
        ]
        + [
            ("drug_classes", row.code, row.drug)
            for row in book.drug_classes
            if row.enabled
            and _decides(row.seed_class, row.label_class) == DrugClass.CONTRAINDICATED
        ]
        + [
            ("interactions", row.code, drug)
            for row in book.interactions
            if row.enabled and row.act is DoseAct.AVOID
            for drug in row.drugs
        ]
    )
    for table, code, drug in barred:
        name = acts_as(drug)
        if name == INDEX_DRUG:
            yield error(
                "OPPOSITE", table, code, drug, f"{code} bars {name} itself, which the book is for."
            )
        if name in asked:
            other_table, other = asked[name]
            yield error(
                "OPPOSITE",
                table,
                f"{other}, {code}",
                name,
                f"{other} ({other_table}) asks for {name} and {code} bars it.",
            )


def _decides(seed_class: str, label_class: str) -> str:
    return seed_class or label_class


def _a_drug_twice_in_a_column(book: RuleBook) -> Iterator[LintFinding]:
    """X9, X10: each opinion names a drug once, whether its row is on or off."""
    for column in ("seed_class", "label_class", "fda_class"):
        first: dict[str, str] = {}
        for row in book.drug_classes:
            if not getattr(row, column):
                continue
            holder = first.setdefault(acts_as(row.drug), row.code)
            if holder != row.code:
                yield _twice("drug_classes", holder, row.code, f"drug in {column}", row.drug)


Question = tuple[str, str, Sequence[Row], Callable[[Row], tuple[str, ...]]]


def _questions(book: RuleBook) -> Iterator[Question]:
    """Each table with what tells its rows apart, in words and as a key; enabled rows only."""
    by: dict[str, tuple[str, Callable[..., tuple[str, ...]]]] = {
        "starting_doses": ("basis", lambda row: (row.basis,)),
        "level_windows": ("formulation", lambda row: (row.formulation,)),
        "roundings": ("act", lambda row: (row.act,)),
        "drug_classes": ("drug", lambda row: (acts_as(row.drug),)),
        "drug_groups": ("drug in one group", lambda row: (row.group, acts_as(row.drug))),
        "modifying_factors": (
            "factor",
            lambda row: (row.interaction, acts_as(row.drug), row.factor),
        ),
        "hold_drugs": ("drug", lambda row: (acts_as(row.drug),)),
        "drug_notes": ("drug and change", lambda row: (acts_as(row.drug), row.change)),
        "local_targets": ("stage", lambda row: (row.stage,)),
        "baseline_items": ("finding and analyte", lambda row: (row.finding, row.analyte)),
        "due_tests": ("test of a series", lambda row: (row.series, str(row.number))),
        "contraindications": (
            "contraindication",
            lambda row: (row.kind, acts_as(row.name) if row.kind == "DRUG" else row.name),
        ),
        "vaccines": ("vaccine", lambda row: (row.atc,)),
        "companion_regimens": ("step", lambda row: (row.regimen, str(row.step))),
    }
    tables = book.tables()
    for table, (what, facts) in by.items():
        yield table, what, [row for row in tables[table] if row.enabled], facts


def _twice(table: str, one: str, other: str, what: str, value: str) -> LintFinding:
    return error(
        "DUPLICATE",
        table,
        f"{one}, {other}",
        value,
        f"The {what} {value} stands in {one} and again in {other}.",
    )
