"""`manage.py assess_case`: one advice a line, exit 2 for bad input, no database with --toml."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from tests.engine.given import ROOT, SEED

CASE = ROOT / "tests/cases/voriconazole-started.json"


def assess_case(
    *arguments: str, folder: Path, given: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """The command in an empty folder and environment: no key, no database, no var/."""
    return subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), "assess_case", *arguments],
        cwd=folder,
        env={"PATH": os.defpath, "HOME": str(folder), "TACROWEB_VAR": str(folder / "var")},
        input=given,
        capture_output=True,
        check=False,
    )


def test_it_prints_one_advice_a_line_and_needs_no_database(tmp_path: Path) -> None:
    done = assess_case(
        "--toml", str(SEED), str(CASE), "-", folder=tmp_path, given=CASE.read_bytes()
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.decode().splitlines()
    assert len(lines) == 2
    assert lines[0] == lines[1]
    advice = json.loads(lines[0])
    assert advice["rule_book"] == "2026-02"
    assert advice["proposal"]["total_daily_mg"] == "1.0"
    assert advice["proposal"]["arithmetic"] == "3.0 mg/day × 1/3 = 1.0 mg/day"
    assert not (tmp_path / "var").exists()


def test_bad_input_ends_with_2_and_names_the_file_and_the_path(tmp_path: Path) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text(CASE.read_text(encoding="utf-8").replace('"voriconazole"', '"vorikonasol"'))
    done = assess_case("--toml", str(SEED), str(bad), folder=tmp_path)
    assert done.returncode == 2
    assert b'bad.json: case.co_medications[1].drug: unknown drug "vorikonasol"' in done.stderr
    assert done.stdout == b""


@pytest.mark.parametrize(
    ("book", "name", "words"),
    [
        (SEED, "none.json", "none.json"),
        (SEED, "binary.json", "not UTF-8"),
        (CASE, "case.json", "not TOML"),
    ],
    ids=["no file", "no text", "no book"],
)
def test_a_file_that_is_not_there_or_no_text_or_no_book_ends_with_2(
    tmp_path: Path, book: Path, name: str, words: str
) -> None:
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe")
    (tmp_path / "case.json").write_bytes(CASE.read_bytes())
    with pytest.raises(CommandError, match=words) as refused:
        call_command("assess_case", "--toml", str(book), str(tmp_path / name))
    assert refused.value.returncode == 2


@pytest.mark.django_db
def test_without_toml_the_stored_books_are_asked_and_a_missing_one_is_said() -> None:
    texts = []
    for arguments in ((), ("--book", "2026-02"), ("--toml", str(SEED))):
        out = io.StringIO()
        call_command("assess_case", *arguments, str(CASE), stdout=out)
        texts.append(out.getvalue())
    assert len(set(texts)) == 1
    with pytest.raises(CommandError, match="There is no rule book 1999-01") as none:
        call_command("assess_case", "--book", "1999-01", str(CASE), stdout=io.StringIO())
    assert none.value.returncode == 2
