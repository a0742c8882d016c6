"""`manage.py up` as a person runs it: real processes, real signals."""

import os
import signal
import socket
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import psutil
import pytest
from django.conf import settings

from .conftest import ROOT, Product

StartProduct = Callable[..., Product]


@pytest.fixture(scope="module")
def product(start_product: StartProduct) -> Product:
    product = start_product()
    product.wait_for("TacroWeb is ready")
    return product


def health(product: Product) -> int:
    with urllib.request.urlopen(f"{product.url}/healthz/", timeout=10) as answer:
        return int(answer.status)


def programs(product: Product) -> dict[str, psutil.Process]:
    """What `up` has started, by name."""
    # The first that fits: gunicorn is told how many workers, and where setproctitle is installed
    # the programs write a title of their own over their command.
    words = {"valkey": "broker", "gunicorn": "web", "beat": "beat", "worker": "worker"}
    found = {}
    for process in psutil.Process(product.process.pid).children():
        command = " ".join(process.cmdline())
        name = next((name for word, name in words.items() if word in command), None)
        if name:
            found[name] = process
    return found


def test_it_starts_four_programs_answers_and_prints_how_to_sign_in(product: Product) -> None:
    assert health(product) == 200
    assert set(programs(product)) == {"broker", "web", "worker", "beat"}
    log = product.log.read_text()
    assert f"TacroWeb is ready: {product.url}/" in log
    assert "prescriber" in log
    assert product.password in log


def test_its_data_are_closed_to_others(product: Product) -> None:
    var = product.log.with_suffix("")
    open_to_others = [
        path
        for path in (var, *var.rglob("*"))
        if not path.is_relative_to(var / "static")
        and stat.S_IMODE(path.lstat().st_mode) & 0o077
        and not path.is_symlink()
    ]
    assert not open_to_others
    assert stat.S_IMODE((var / "secret-key").stat().st_mode) == 0o600


def test_a_second_start_on_the_same_data_is_refused_with_a_reason(product: Product) -> None:
    second = up(TACROWEB_VAR=str(product.log.with_suffix("")), PORT=a_free_port())
    assert second.returncode == 2
    assert "already running" in second.stderr


def test_a_taken_port_is_refused_with_a_way_out(product: Product) -> None:
    port = product.url.rpartition(":")[2]
    second = up(TACROWEB_VAR=str(product.log.with_suffix("")) + "-other", PORT=port)
    assert second.returncode == 2
    assert "PORT=8001 make demo" in second.stderr


@pytest.mark.parametrize("port", ["http", "0", "65536", "８０８０"])
def test_a_port_that_is_none_is_refused(port: str) -> None:
    second = up(TACROWEB_VAR=str(settings.BASE_DIR / "nowhere"), PORT=port)
    assert second.returncode == 2
    assert "from 1 to 65535" in second.stderr


def test_a_data_folder_that_cannot_be_one_is_refused_with_a_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    refused = up(TACROWEB_VAR=str(tmp_path / "file"), PORT=a_free_port())
    assert refused.returncode == 1
    assert "set TACROWEB_VAR to another folder" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_database_that_is_away_is_named(tmp_path: Path) -> None:
    nowhere = f"postgresql://tacroweb@{quote(str(tmp_path), safe='')}/none"
    refused = up(TACROWEB_VAR=str(tmp_path / "var"), PORT=a_free_port(), DATABASE_URL=nowhere)
    assert refused.returncode == 1
    assert "cannot use its database" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_ctrl_c_ends_all_of_it_and_a_new_start_keeps_the_data(
    product: Product, start_product: StartProduct
) -> None:
    everything = psutil.Process(product.process.pid).children(recursive=True)
    assert product.stop() == 0
    assert psutil.wait_procs(everything, timeout=0)[1] == []

    again = start_product(again=product)
    again.wait_for("TacroWeb is ready", seconds=30)
    assert product.password in again.log.read_text()
    assert "Traceback" not in again.log.read_text()
    everything = psutil.Process(again.process.pid).children(recursive=True)
    programs(again)["worker"].send_signal(signal.SIGKILL)
    assert again.process.wait(timeout=60) == 1
    assert "worker was killed by signal 9. Stopping the rest." in again.log.read_text()
    assert psutil.wait_procs(everything, timeout=5)[1] == []


def a_free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def up(**variables: str) -> subprocess.CompletedProcess[str]:
    """`manage.py up`, expected to end by itself."""
    return subprocess.run(
        [sys.executable, "manage.py", "up"],
        cwd=ROOT,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
