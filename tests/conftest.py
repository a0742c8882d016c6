"""What every test stands on: quick settings, evidence that can be flushed, the real product."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connection
from django.test import TransactionTestCase
from pytest_django import DjangoDbBlocker
from xdist.scheduler import LoadScopeScheduling

from tacroweb.audit.append_only import drop_triggers

ROOT = Path(__file__).resolve().parent.parent
BROWSER_TESTS = ROOT / "tests" / "browser"
_scratch = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """Settings in which a test differs from the product: speed, and no redirect to https."""
    settings.SECRET_KEY = "only-for-tests"
    settings.SECURE_SSL_REDIRECT = False
    settings.WHITENOISE_AUTOREFRESH = True  # nothing was collected, so the files where they are
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    database = settings.DATABASES["default"]
    database["CONN_MAX_AGE"] = 0
    if database["ENGINE"] == "django.db.backends.sqlite3":
        # A file, for SQLite's memory databases lock otherwise; and nothing in it has to last.
        config.stash[_scratch] = tempfile.mkdtemp(prefix="tacroweb-tests-")
        database.setdefault("TEST", {})["NAME"] = f"{config.stash[_scratch]}/test.sqlite3"
        options = database["OPTIONS"]
        options["init_command"] = options["init_command"].replace("=FULL", "=OFF")


def pytest_unconfigure(config: pytest.Config) -> None:
    if folder := config.stash.get(_scratch, None):
        shutil.rmtree(folder, ignore_errors=True)


def pytest_report_header() -> str:
    return f"database: {connection.vendor}; browser: {chromium() or 'none'}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(BROWSER_TESTS):
            item.add_marker(pytest.mark.browser)


class OneProductAWorker(LoadScopeScheduling):
    """Deals tests out one by one, but those that share a running product all to one worker.

    xdist's own groups have no effect under pytest 9.2, which no longer keeps a test's id where
    xdist 3.8 changes it.
    """

    def _split_scope(self, nodeid: str) -> str:
        shared = ("tests/browser/", "tests/test_up.py")
        return next((scope for scope in shared if nodeid.startswith(scope)), nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneProductAWorker:
    return OneProductAWorker(config, log)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    yield
    skipped = [
        report
        for report in terminalreporter.stats.get("skipped", [])
        if report.nodeid.startswith("tests/browser/")
    ]
    if skipped:
        terminalreporter.write_sep("!", red=True, bold=True)
        terminalreporter.write_line(
            f"{len(skipped)} BROWSER TESTS WERE SKIPPED: no Chromium here. Install one "
            "(Debian: apt-get install chromium) or name it in the variable CHROMIUM.",
            red=True,
            bold=True,
        )
        terminalreporter.write_sep("!", red=True, bold=True)


def chromium() -> str | None:
    """The browser of this machine, if it has one."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """A test database as `migrate` and the two seed commands leave it, made once for all tests."""
    flush = TransactionTestCase._fixture_teardown

    def seed() -> None:
        call_command("seed_vocabulary", verbosity=0)
        call_command("seed_rules", verbosity=0)

    def flush_and_seed(case: TransactionTestCase) -> None:
        # A test with `transaction=True` ends with a flush, which the append-only triggers refuse.
        # They go just before it; migrate's signal, which flush sends too, puts them back.
        drop_triggers(connection)
        flush(case)
        seed()

    with django_db_blocker.unblock():
        seed()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", flush_and_seed)
        yield


@dataclass(frozen=True, kw_only=True)
class Product:
    """A running `manage.py up --demo`."""

    url: str
    password: str
    process: subprocess.Popen[bytes]
    log: Path

    def wait_for(self, text: str, *, seconds: float = 120) -> None:
        """Wait until it has printed this; a failure shows what it printed instead."""
        until = time.monotonic() + seconds
        while text not in self.log.read_text():
            if self.process.poll() is not None or time.monotonic() > until:
                pytest.fail(f"no {text!r} from the product:\n{self.log.read_text()}")
            time.sleep(0.05)

    def stop(self) -> int:
        """Press Ctrl-C; its exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(timeout=60)


@contextmanager
def _running(*, var: Path, database_url: str | None) -> Iterator[Product]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ours = {"DEBUG", "HTTPS", "SECRET_KEY", "DATABASE_URL", "CELERY_BROKER_URL", "ALLOWED_HOSTS"}
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    password = "Dawn-chorus-42"
    environment |= {"TACROWEB_VAR": str(var), "PORT": str(port), "DEMO_PASSWORD": password}
    if database_url:
        environment["DATABASE_URL"] = database_url
    log = var.with_suffix(".log")
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "up", "--demo"],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield Product(url=f"http://127.0.0.1:{port}", password=password, process=process, log=log)
    finally:
        if process.poll() is None:
            process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=60)
        process.kill()


@contextmanager
def _empty_database() -> Iterator[str | None]:
    """The address of a new PostgreSQL database beside the one under test; None on SQLite."""
    server = os.environ.get("DATABASE_URL", "")
    if not server.startswith("postgres"):
        yield None
        return
    name = f"tacroweb_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name}")
        try:
            yield f"{server.rpartition('/')[0]}/{name}"
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="package")
def start_product() -> Iterator[Callable[..., Product]]:
    """Starts the real product on the kind of database under test: `start_product(again=…)`.

    `again` is a product that was started before: its data are used once more.
    """
    with ExitStack() as stack:
        # Not pytest's own folder: its path is longer than a socket's may be.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tacroweb-")))
        databases: dict[Path, str | None] = {}

        def start(*, again: Product | None = None) -> Product:
            var = again.log.with_suffix("") if again else folder / f"var{len(databases)}"
            if not again:
                databases[var] = stack.enter_context(_empty_database())
            running = _running(var=var, database_url=databases[var])
            return stack.enter_context(running)

        yield start
