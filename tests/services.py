"""Fixtures that start private servers on free ports, one of each kind per test process, lazily.

A program that is not installed skips the test with one line; with ``REQUIRE_SERVICES=1`` it fails it. Every server runs
below tests/service_keeper.py, so none outlives the session. What a test gets is its own: a fresh database, an emptied
Redis, a fresh bucket or queue name; on RabbitMQ a test picks unique queue names.
"""

from __future__ import annotations

import contextlib
import functools
import glob
import importlib.util
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import pytest

START_PATIENCE_SECONDS = 240.0
KEEPER = Path(__file__).with_name("service_keeper.py")


def absent(program: str, package: str) -> NoReturn:
    """Skips the test, or fails it where services are required."""
    sentence = f"{program} is not installed (Debian package: {package})"
    if os.environ.get("REQUIRE_SERVICES") == "1":
        pytest.fail(sentence, pytrace=False)
    pytest.skip(sentence)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class NotStarted(Exception):
    """A server ended while it was starting, e.g. because another process took its port."""


class Server:
    """The processes of one server, and the directory that holds its data and log."""

    def __init__(self, plan: dict[str, Any], ready: Callable[[], None]) -> None:
        self.plan, self.ready = plan, ready
        self.keeper = subprocess.Popen(
            [sys.executable, str(KEEPER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            # Not as an argument: everybody on the machine can read those, and the plan holds the environment.
            self._tell(json.dumps(plan))
            self.wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def _answer(self) -> str:
        assert self.keeper.stdout is not None
        self.pid, status = self.keeper.stdout.readline().split()
        return status

    def _tell(self, command: str) -> str:
        assert self.keeper.stdin is not None
        self.keeper.stdin.write(command + "\n")
        self.keeper.stdin.flush()
        return self._answer()

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_PATIENCE_SECONDS
        while True:
            try:
                return self.ready()
            except Exception as error:
                if self._tell("poll") != "-":
                    raise NotStarted(self.log_tail()) from error
                if time.monotonic() > deadline:
                    raise TimeoutError(f"the server did not answer: {error}\n{self.log_tail()}") from error
                time.sleep(0.1)

    def log_tail(self) -> str:
        with contextlib.suppress(OSError):
            return Path(self.plan["log"]).read_text(errors="replace")[-3000:]
        return "(no log)"

    def kill(self) -> None:
        """SIGKILL; returns when the process is gone. Its data stays."""
        self._tell("kill")

    def restart(self) -> None:
        """Starts it again on the same port and data and waits until it answers."""
        for attempt in range(5):
            self._tell("start")
            try:
                return self.wait_until_ready()
            except NotStarted:
                # What the killed one left behind (a name in epmd, backends of PostgreSQL) may take a moment to go.
                if attempt == 4:
                    raise
                time.sleep(1.0)

    def stop(self) -> None:
        assert self.keeper.stdin is not None and self.keeper.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.keeper.stdin.close()
        self.keeper.wait()
        self.keeper.stdout.close()


def start(build: Callable[[Path], tuple[list[dict[str, Any]], Callable[[], None]]], name: str) -> Server:
    """Starts a server in a fresh directory; a lost race for a port is tried again with other ports."""
    for attempt in range(3):
        directory = Path(tempfile.mkdtemp(prefix=f"aquatint-{name}-"))
        # Not below pytest's own temporary directory: that is closed to the other users some servers must run as.
        directory.chmod(0o755)
        try:
            processes, ready = build(directory)
            plan = {"directory": str(directory), "log": str(directory / "log"), "processes": processes}
            return Server(plan, ready)
        except NotStarted:
            if attempt == 2:
                raise
        except BaseException:
            shutil.rmtree(directory, ignore_errors=True)
            raise
    raise AssertionError("unreachable")


def exchange(port: int, greeting: bytes, answer_starts: bytes) -> None:
    """One request and the start of its answer over a fresh connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(greeting)
        answer = connection.recv(64)
    if not answer.startswith(answer_starts):
        raise ConnectionError(f"unexpected answer {answer!r}")


# RabbitMQ


@dataclass(frozen=True, kw_only=True)
class Rabbit:
    """A private broker. `url` stays the same over `kill` (SIGKILL, data kept) and `restart` (returns when it answers)."""

    url: str
    server: Server

    def kill(self) -> None:
        self.server.kill()

    def restart(self) -> None:
        self.server.restart()


def rabbitmq_program() -> str:
    # Debian's program on the PATH changes the user and the home; the one behind it does neither.
    for candidate in ("/usr/lib/rabbitmq/bin/rabbitmq-server", shutil.which("rabbitmq-server")):
        if candidate and os.access(candidate, os.X_OK):
            return candidate
    absent("rabbitmq-server", "rabbitmq-server")


def start_rabbitmq() -> Rabbit:
    program, epmd = rabbitmq_program(), shutil.which("epmd") or absent("epmd", "erlang-base")
    ports = {"amqp": 0}

    def build(directory: Path) -> tuple[list[dict[str, Any]], Callable[[], None]]:
        ports["amqp"], distribution, epmd_port = free_port(), free_port(), free_port()
        (directory / "enabled_plugins").write_text("[].\n")
        (directory / "env.conf").write_text("")
        (directory / "rabbitmq.conf").write_text(
            "disk_free_limit.absolute = 50MB\nraft.wal_max_size_bytes = 33554432\nlog.console.level = warning\n"
        )
        env = {
            **os.environ,
            "HOME": str(directory),
            "ERL_EPMD_PORT": str(epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_ALLOW_INPUT": "1",  # lets the script become the Erlang machine, so that its pid is the broker's
            "RABBITMQ_NODENAME": f"aquatint{uuid.uuid4().hex[:12]}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(ports["amqp"]),
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_MNESIA_BASE": str(directory / "data"),
            "RABBITMQ_LOG_BASE": str(directory),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_CONF_ENV_FILE": str(directory / "env.conf"),
            "RABBITMQ_CONFIG_FILE": str(directory / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "enabled_plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none",
        }
        kill = int(signal.SIGKILL)
        processes = [
            {"argv": [epmd, "-port", str(epmd_port)], "env": env, "stop_signal": kill},
            {"argv": [program, "-noinput"], "env": env, "stop_signal": kill},
        ]
        return processes, lambda: exchange(ports["amqp"], b"AMQP\x00\x00\x09\x01", b"\x01\x00\x00")

    server = start(build, "rabbitmq")
    return Rabbit(url=f"amqp://guest:guest@127.0.0.1:{ports['amqp']}//", server=server)


@pytest.fixture(scope="session")
def _shared_rabbitmq() -> Iterator[Rabbit]:
    broker = start_rabbitmq()
    yield broker
    broker.server.stop()


@pytest.fixture
def rabbitmq(_shared_rabbitmq: Rabbit) -> str:
    """The AMQP URL of a broker that all tests of this process share: use unique queue names."""
    return _shared_rabbitmq.url


@pytest.fixture
def rabbitmq_broker() -> Iterator[Rabbit]:
    """A broker of this test alone, with ``url``, ``kill()`` (SIGKILL) and ``restart()`` (same port, same data)."""
    broker = start_rabbitmq()
    yield broker
    broker.server.stop()


# Redis


@pytest.fixture(scope="session")
def _shared_redis() -> Iterator[int]:
    program = shutil.which("redis-server") or absent("redis-server", "redis-server")
    ports = {"redis": 0}

    def build(directory: Path) -> tuple[list[dict[str, Any]], Callable[[], None]]:
        ports["redis"] = free_port()
        argv = [
            program,
            "--bind",
            "127.0.0.1",
            "--port",
            str(ports["redis"]),
            "--save",
            "",
            "--dir",
            str(directory),
        ]
        processes = [{"argv": argv, "env": dict(os.environ), "stop_signal": int(signal.SIGKILL)}]
        return processes, lambda: exchange(ports["redis"], b"PING\r\n", b"+PONG")

    server = start(build, "redis")
    yield ports["redis"]
    server.stop()


@pytest.fixture
def redis_url(_shared_redis: int) -> str:
    """The URL of a Redis that was emptied for this test."""
    exchange(_shared_redis, b"FLUSHALL\r\n", b"+OK")
    return f"redis://127.0.0.1:{_shared_redis}/0"


# PostgreSQL


def postgres_program(name: str) -> str:
    beside = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"), key=lambda path: int(path.split("/")[4]))
    return shutil.which(name) or (beside[-1] if beside else absent(name, "postgresql"))


def postgres_user() -> dict[str, Any]:
    """PostgreSQL refuses to run as root, so a root test process lends it another user."""
    if os.geteuid() != 0:
        return {}
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = known.get("postgres") or known["nobody"]
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


@dataclass(frozen=True, kw_only=True)
class Postgres:
    """A private PostgreSQL. `url` stays the same over `kill` (SIGKILL, data kept) and `restart` (returns when it answers)."""

    port: int
    server: Server

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/postgres"

    def kill(self) -> None:
        self.server.kill()

    def restart(self) -> None:
        self.server.restart()


def start_postgres() -> Postgres:
    initdb, program, user = postgres_program("initdb"), postgres_program("postgres"), postgres_user()
    ports = {"postgres": 0}

    def ready() -> None:
        import psycopg

        psycopg.connect(host="127.0.0.1", port=ports["postgres"], user="postgres", connect_timeout=30).close()

    def build(directory: Path) -> tuple[list[dict[str, Any]], Callable[[], None]]:
        ports["postgres"] = free_port()
        if user:
            os.chown(directory, user["user"], user["group"])
        data = str(directory / "data")
        command = [
            initdb,
            "-D",
            data,
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-locale",
            "--no-sync",
        ]
        made = subprocess.run(command, check=False, capture_output=True, text=True, cwd=directory, **user)
        if made.returncode:
            raise RuntimeError(f"initdb failed: {made.stderr}")
        # fsync off only matters when the machine itself stops; a SIGKILL of the server loses nothing.
        settings = {"port": ports["postgres"], "listen_addresses": "127.0.0.1", "unix_socket_directories": ""}
        settings |= {
            "fsync": "off",
            "full_page_writes": "off",
            "shared_buffers": "32MB",
            "max_connections": 200,
        }
        argv = [
            program,
            "-D",
            data,
            *(part for name, value in settings.items() for part in ("-c", f"{name}={value}")),
        ]
        # SIGQUIT is the immediate shutdown: unlike SIGKILL it leaves no shared memory behind.
        return [{"argv": argv, "env": dict(os.environ), "stop_signal": int(signal.SIGQUIT), **user}], ready

    server = start(build, "postgres")
    return Postgres(port=ports["postgres"], server=server)


@pytest.fixture(scope="session")
def _shared_postgres() -> Iterator[int]:
    made = start_postgres()
    yield made.port
    made.server.stop()


@pytest.fixture
def postgres_server() -> Iterator[Postgres]:
    """A server of this test alone, with ``url``, ``kill()`` (SIGKILL) and ``restart()`` (same port, same data)."""
    made = start_postgres()
    yield made
    made.server.stop()


@pytest.fixture
def postgres(_shared_postgres: int) -> Iterator[str]:
    """The SQLAlchemy URL of an empty database of this test alone."""
    import psycopg

    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(
        host="127.0.0.1", port=_shared_postgres, user="postgres", autocommit=True
    ) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
        yield f"postgresql+psycopg://postgres@127.0.0.1:{_shared_postgres}/{name}"
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


# S3 and SQS


@dataclass(frozen=True, kw_only=True)
class Aws:
    """A moto server: everything a client of it needs."""

    endpoint_url: str
    region: str = "us-east-1"
    access_key_id: str = "testing"
    secret_access_key: str = "testing"

    @functools.cache  # noqa: B019 - one server a process, and making a client takes a second
    def client(self, service: str) -> Any:
        import boto3

        return boto3.session.Session().client(
            service,
            endpoint_url=self.endpoint_url,
            region_name=self.region,
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
        )


@pytest.fixture(scope="session")
def aws() -> Iterator[Aws]:
    """The moto server of this test process; buckets and queues in it need unique names."""
    if importlib.util.find_spec("moto") is None or importlib.util.find_spec("flask") is None:
        absent("moto[server]", "none; it comes with the test extra from the Python package index")
    ports = {"moto": 0}

    def ready() -> None:
        with urllib.request.urlopen(
            f"http://127.0.0.1:{ports['moto']}/moto-api/data.json", timeout=60
        ) as answer:
            answer.read()

    def build(directory: Path) -> tuple[list[dict[str, Any]], Callable[[], None]]:
        ports["moto"] = free_port()
        argv = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(ports["moto"])]
        return [{"argv": argv, "env": dict(os.environ), "stop_signal": int(signal.SIGKILL)}], ready

    server = start(build, "moto")
    yield Aws(endpoint_url=f"http://127.0.0.1:{ports['moto']}")
    server.stop()


@pytest.fixture
def s3(aws: Aws) -> Aws:
    """Amazon S3 as moto plays it."""
    return aws


@pytest.fixture
def sqs(aws: Aws) -> Aws:
    """Amazon SQS as moto plays it, on the same server as `s3`, so that notifications arrive."""
    return aws


@pytest.fixture
def bucket(aws: Aws) -> str:
    """The name of a fresh, empty bucket."""
    name = f"bucket-{uuid.uuid4().hex[:16]}"
    aws.client("s3").create_bucket(Bucket=name)
    return name
