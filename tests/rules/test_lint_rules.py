"""`manage.py lint_rules`: one finding a line; exit 0 clean, 1 errors, 2 could not run."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from tests.engine.given import FIRST_SEED, ROOT, SEED


def lint_rules(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """The command in an empty folder and environment: no key, no database, no var/."""
    return subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), "lint_rules", *arguments],
        cwd=folder,
        env={"PATH": os.defpath, "HOME": str(folder), "TACROWEB_VAR": str(folder / "var")},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


def test_a_defect_is_one_line_and_ends_with_1_without_any_database(tmp_path: Path) -> None:
    text = FIRST_SEED.read_text(encoding="utf-8")
    draft = tmp_path / "draft.toml"
    draft.write_text(text.replace("due_day = 2\nlatest_day = 3", "due_day = 4\nlatest_day = 3", 1))
    assert draft.read_text() != text
    done = lint_rules(str(draft), folder=tmp_path)
    assert done.returncode == 1, done.stderr
    (line,) = [each for each in done.stdout.splitlines() if "\tdue_tests\t" in each]
    assert line.split("\t") == [
        "ERROR",
        "due_tests",
        "STRONG-STARTED-1",
        "days 1, 4, 3",
        "STRONG-STARTED-1 has its earliest, due and latest day on 1, 4, 3: they must not go "
        "back, nor begin before day 0, nor end after ten years.",
    ]
    assert "Rule book 2026-01: errors" in done.stderr
    assert not (tmp_path / "var").exists()


def test_the_shipped_book_is_clean_and_ends_with_0(tmp_path: Path) -> None:
    done = lint_rules(str(SEED), "--against", str(FIRST_SEED), folder=tmp_path)
    assert done.returncode == 0, done.stdout
    assert all(line.startswith("WARNING\t") for line in done.stdout.splitlines()[:-1])
    assert done.stdout.splitlines()[-1].startswith("Rule book 2026-02: errors 0, warnings ")


@pytest.mark.parametrize(
    ("name", "words"),
    [("none.toml", "none.toml"), ("binary.toml", "not UTF-8"), ("case.toml", "not TOML")],
)
def test_what_cannot_be_read_ends_with_2(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    (tmp_path / "case.toml").write_text("{}")
    with pytest.raises(CommandError, match=words) as refused:
        call_command("lint_rules", str(tmp_path / name))
    assert refused.value.returncode == 2


def test_either_a_file_or_a_version_is_linted() -> None:
    for arguments in ((), (str(SEED), "--book", "2026-02")):
        with pytest.raises(CommandError):
            call_command("lint_rules", *arguments)


@pytest.mark.django_db
def test_a_stored_book_is_compared_with_the_published_one() -> None:
    out = io.StringIO()
    with pytest.raises(CommandError, match="Rule book 2026-01: errors") as found:
        call_command("lint_rules", "--book", "2026-01", stdout=out)
    assert found.value.returncode == 1
    assert "\tfindings\t" in out.getvalue()
    with pytest.raises(CommandError, match="There is no rule book 1999-01") as none:
        call_command("lint_rules", "--book", "1999-01")
    assert none.value.returncode == 2
