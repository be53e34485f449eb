"""A real PostgreSQL server for tests, where one is installed: loopback only, with a password, gone afterwards."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

PASSWORD = "s3cret/%@:pw"
ESCAPED_PASSWORD = "s3cret%2F%25%40%3Apw"
# A zone of its own shows times that were stored or read as local ones. Nothing here must survive a crash.
_PORTS_TRIED = 5
_SETTINGS = {"timezone": "Asia/Kolkata", "fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def find_programs() -> Path | None:
    """The folder of PostgreSQL's server programs; None where it is not installed."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((folder for folder in reversed(folders) if (folder / "pg_ctl").is_file()), None)


class PostgreSQL:
    """Runs while entered.

    Args:
        programs: The folder of initdb and pg_ctl.
    """

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self._made = 0
        # PostgreSQL refuses to run as root, and pytest's own folders are closed to other users.
        self.user = _unprivileged_user() if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        self._folder = Path(tempfile.mkdtemp(prefix="agenttts-", dir="/tmp"))

    def __enter__(self) -> Self:
        try:
            os.chown(self._folder, self.user.pw_uid, self.user.pw_gid)
            password = self._folder / "password"
            password.write_text(PASSWORD)
            password.chmod(0o644)
            self._run("initdb", "--auth=scram-sha-256", f"--pwfile={password}", "--username=agenttts", "--locale=C",
                      "--encoding=UTF8", "--no-sync")  # fmt: skip
            settings = {
                **_SETTINGS, "listen_addresses": "127.0.0.1", "unix_socket_directories": str(self._folder)
            }  # fmt: skip
            with open(self._folder / "data" / "postgresql.conf", "a") as file:
                file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
            self._start()
        except BaseException:
            with suppress(RuntimeError):  # it may have started after all
                self._run("pg_ctl", "stop", "-m", "immediate")
            shutil.rmtree(self._folder)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run("pg_ctl", "stop", "-m", "immediate")
        shutil.rmtree(self._folder)

    def _start(self) -> None:
        """On a port of its own; one that another program takes meanwhile is left to that."""
        for left in reversed(range(_PORTS_TRIED)):
            self._port, log = _free_port(), self._folder / "log"
            try:
                return self._run("pg_ctl", "start", "-w", "-t", "60", "-l", str(log), "-o", f"-p {self._port}")
            except RuntimeError as error:
                if not left or "Address already in use" not in str(error):
                    raise

    def url(self, database: str, *, password: str = ESCAPED_PASSWORD) -> str:
        """Where a database of this name is, or would be."""
        return f"postgresql://agenttts:{password}@127.0.0.1:{self._port}/{database}"

    def new_schema(self) -> str:
        """The URL of a fresh, empty schema: quicker made and removed than a database."""
        return f"{self._url_of_a_new('SCHEMA', 'postgres')}?options=-c%20search_path%3Dtest{self._made}"

    def new_database(self) -> str:
        """The URL of a fresh, empty database."""
        return self._url_of_a_new("DATABASE", f"test{self._made + 1}")

    def _url_of_a_new(self, kind: str, database: str) -> str:
        import psycopg

        self._made += 1
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE {kind} test{self._made}".encode())
        return self.url(database)

    def disconnect_all(self) -> None:
        """Drop every connection, as a restart of the server does."""
        import psycopg

        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname LIKE 'test%'")

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), "-D", str(self._folder / "data"), *arguments]
        done = subprocess.run(
            command, user=self.user.pw_uid, group=self.user.pw_gid, cwd=self._folder, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        if done.returncode:
            log = self._folder / "log"
            raise RuntimeError(f"{program} failed: {done.stderr}{log.read_text() if log.exists() else ''}")


def _unprivileged_user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
