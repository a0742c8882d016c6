"""Every source that a row of the book names is among its citations, and says how it was read."""

import re

import pytest

from tests.engine.given import book

READ = {"FULL", "ABSTRACT", "EXCERPT", "MEMORY"}
# What a row's source says, and what it then cites.
NAMED = {
    "Tacrolimus-ILD protocol": "PROTOCOL",
    "ACR/CHEST": "ACR-CHEST-2023",
    "BSR 2017": "BSR-2017",
    "NHS Specialist Pharmacy Service": "NHS-SPS",
    "NHS SPS": "NHS-SPS",
    "CPIC": "CPIC-2015",
    "KDIGO": "KDIGO",
    "UK Kidney Association": "UKKA-2023",
    "CTCAE 5": "CTCAE-5",
    "CTCAE 4.03": "CTCAE-4-CALCIUM",
    "FDA-style list": "FDA-CYP3A-LISTS",
    "abel section 7": "LABEL-PROGRAF-7",
    "Envarsus": "LABEL-ENVARSUS",
    "EU label": "LABEL-EU",
    "Takada": "TAKADA-2020",
    "retrospective comparison in dermatomyositis": "DM-ILD-COMPARISON",
    "Yamano": "YAMANO-2018",
    "Myositis-ILD review": "MYOSITIS-ILD-REVIEW-2023",
    "Tsuji": "TSUJI-2020",
    "Sharma": "SHARMA-2017",
    "nirmatrelvir/ritonavir": "WANG-2022",
    "Oslo": "STORSET-2014",
    "WHO ATC": "WHO-ATC-2026",
    "Mosteller": "MOSTELLER-1987",
}
ROWS = [
    row for table, rows in book().tables().items() if table != "citations" for row in rows
]  # fmt: skip


@pytest.mark.parametrize(("words", "code"), NAMED.items())
def test_a_row_that_names_a_source_cites_it(words: str, code: str) -> None:
    naming = [row for row in ROWS if words in row.source]
    assert naming
    assert not [row.code for row in naming if code not in row.citations]


def test_every_citation_is_one_of_the_book_and_each_of_them_is_used() -> None:
    cited = [code for row in ROWS for code in row.citations]
    assert set(cited) == {row.code for row in book().citations}
    for row in ROWS:
        assert len(set(row.citations)) == len(row.citations), row.code


def test_a_citation_says_what_it_is_and_how_it_was_read() -> None:
    for row in book().citations:
        assert row.title, row.code
        assert row.reference, row.code
        assert row.source, row.code
        assert row.read in READ, row.code
        assert (row.read == "MEMORY") <= ("ecalled" in row.source), row.code
        if row.identifier.startswith("doi:"):
            assert re.fullmatch(r"doi:10\.[0-9]{4,5}/\S+", row.identifier), row.code
