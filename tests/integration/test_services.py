"""The private servers themselves: each answers, is private to the test where promised, and ends with its owner."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
import uuid
from pathlib import Path

import pytest

from services import Aws, Postgres, Rabbit

TESTS = Path(__file__).parents[1]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_rabbitmq_keeps_a_durable_message_over_a_sigkill(rabbitmq_broker: Rabbit) -> None:
    """A confirmed persistent message survives kill() and restart() under the same URL."""
    import kombu

    name = f"q-{uuid.uuid4().hex}"
    # A classic queue: a quorum queue declared less than a second or two before the SIGKILL is not yet in Ra's directory
    # file (auto-saved), and RabbitMQ 3.10 then never elects a leader for it again.
    queue = kombu.Queue(name, durable=True)
    with kombu.Connection(rabbitmq_broker.url, transport_options={"confirm_publish": True}) as connection:
        kombu.Producer(connection).publish({"n": 1}, routing_key=name, declare=[queue], delivery_mode=2)
    pid = int(rabbitmq_broker.server.pid)
    rabbitmq_broker.kill()
    assert not alive(pid)
    rabbitmq_broker.restart()

    with kombu.Connection(rabbitmq_broker.url) as connection:
        message = None
        deadline = time.monotonic() + 120
        while message is None and time.monotonic() < deadline:
            message = queue(connection.default_channel).get(no_ack=True)
            time.sleep(0.1)
    assert message is not None and message.payload == {"n": 1}


def test_shared_rabbitmq_answers(rabbitmq: str) -> None:
    """The shared broker accepts a connection."""
    import kombu

    with kombu.Connection(rabbitmq) as connection:
        connection.connect()
        assert connection.connected


@pytest.mark.parametrize("turn", [1, 2])
def test_redis_is_empty_for_each_test(redis_url: str, turn: int) -> None:
    """Whatever an earlier test wrote is gone."""
    import redis

    client = redis.Redis.from_url(redis_url)
    assert client.dbsize() == 0
    client.set("left", turn)
    client.close()


@pytest.mark.parametrize("turn", [1, 2])
def test_postgres_database_is_private(postgres: str, turn: int) -> None:
    """Each test creates the same table without meeting another's."""
    import sqlalchemy as sa

    engine = sa.create_engine(postgres)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE only_one (n integer)"))
        assert connection.execute(sa.text("SHOW server_encoding")).scalar() == "UTF8"
    engine.dispose()


def test_postgres_keeps_what_was_committed_over_a_sigkill(postgres_server: Postgres) -> None:
    """A committed row survives kill() and restart() under the same URL."""
    import sqlalchemy as sa

    engine = sa.create_engine(postgres_server.url, pool_pre_ping=True)
    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE kept AS SELECT 7 AS n"))
    postgres_server.kill()
    with pytest.raises(sa.exc.OperationalError):
        engine.connect()
    postgres_server.restart()
    with engine.connect() as connection:
        assert connection.execute(sa.text("SELECT n FROM kept")).scalar() == 7
    engine.dispose()


def test_s3_and_sqs_are_one_server(s3: Aws, sqs: Aws, bucket: str) -> None:
    """The bucket exists and a queue can be made beside it."""
    assert bucket in [entry["Name"] for entry in s3.client("s3").list_buckets()["Buckets"]]
    assert sqs.client("sqs").create_queue(QueueName=f"q-{uuid.uuid4().hex}")["QueueUrl"]


def test_a_server_ends_when_its_test_process_is_killed(tmp_path: Path) -> None:
    """SIGKILL of the owner ends the server and removes its directory."""
    script = textwrap.dedent(f"""
        import sys, time; sys.path.insert(0, {str(TESTS)!r})
        import os, services
        def build(directory):
            return [dict(argv=[sys.executable, "-c", "import time; time.sleep(3600)"], env=dict(os.environ),
                         stop_signal=9)], lambda: None
        server = services.start(build, "sleeper")
        print(server.pid, server.keeper.pid, server.plan["directory"], flush=True)
        time.sleep(3600)
    """)
    owner = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    pid, keeper, directory = owner.stdout.readline().split()
    assert alive(int(pid)) and Path(directory).is_dir()
    os.kill(owner.pid, signal.SIGKILL)
    owner.communicate()

    deadline = time.monotonic() + 120
    while (alive(int(pid)) or alive(int(keeper))) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive(int(pid)) and not alive(int(keeper)) and not Path(directory).exists()


@pytest.mark.parametrize(("required", "word"), [("", "skipped"), ("1", "error")])
def test_a_missing_program_skips_or_fails(tmp_path: Path, required: str, word: str) -> None:
    """One line names the program and the package; with REQUIRE_SERVICES=1 it is a failure."""
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["services"]\n')
    (tmp_path / "test_absent.py").write_text("def test_it(redis_url):\n    assert redis_url\n")
    env = {**os.environ, "PATH": "/nonexistent", "PYTHONPATH": str(TESTS), "REQUIRE_SERVICES": required}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-rs",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(tmp_path),
        str(tmp_path),
    ]
    done = subprocess.run(command, check=False, env=env, cwd=tmp_path, capture_output=True, text=True)

    assert "redis-server is not installed (Debian package: redis-server)" in done.stdout
    assert f"1 {word}" in done.stdout
