"""A deployment in processes of its own, on the database that the tests run on."""

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from django.conf import settings
from django.db import connection

from tests.fakes.upstream import KEY, fake_upstream

ROOT = Path(__file__).resolve().parents[2]


class Deployment:
    """urls: one per process. folder: with the servers' logs. manage: runs a command of manage.py
    and gives its output."""

    def __init__(self, urls: list[str], env: dict[str, str], folder: Path) -> None:
        self.urls = urls
        self.folder = folder
        self._env = env

    def manage(self, *arguments: str) -> str:
        done = subprocess.run(  # noqa: S603 - our own interpreter and script
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self._env,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _answers(url: str) -> bool:
    try:
        asked = http.client.HTTPConnection(url.removeprefix("http://"), timeout=2)
        asked.request("GET", "/health")
        answered = asked.getresponse().status == 200
        asked.close()
    except OSError:
        return False
    return answered


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while not _answers(url):
        assert process.poll() is None, "the server ended while it started"
        assert time.monotonic() < deadline, "the server did not start in time"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def deploy(tmp_path_factory) -> Iterator[Callable[..., Deployment]]:
    """``deploy(processes=2, env={…})``; everything ends with the module."""
    running: list[subprocess.Popen[bytes]] = []
    created: list[str] = []

    def start(*, processes: int = 1, env: dict[str, str] | None = None) -> Deployment:
        folder = tmp_path_factory.mktemp("deployment")
        ports = [_free_port() for _ in range(processes)]
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        base = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "ROOCLOUD_DATA_DIR": str(folder / "data"),
            "ROOCLOUD_PUBLIC_URL": urls[0],
            "PYTHONUNBUFFERED": "1",
            **(env or {}),
        }
        if connection.vendor == "postgresql":
            name = f"roocloud_e2e_{os.getpid()}_{ports[0]}"
            _admin(f"CREATE DATABASE {name}")
            created.append(name)
            given = settings.DATABASES["default"]
            base["DATABASE_URL"] = (
                f"postgres://{given['USER']}:{given['PASSWORD']}@{given['HOST']}:{given['PORT']}/{name}"
            )
            base["REDIS_URL"] = _empty_redis(1 + len(created))
        for port, url in zip(ports, urls, strict=True):
            with (folder / f"server-{port}.log").open("wb") as log:
                process = subprocess.Popen(  # noqa: S603 - our own interpreter and script
                    [sys.executable, "manage.py", "serve", "--port", str(port)],
                    cwd=ROOT,
                    env=base,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            running.append(process)
            _wait_for(url, process)
        return Deployment(urls, base, folder)

    yield start
    for process in running:
        process.terminate()
    for process in running:
        assert process.wait(timeout=20) in (0, -15)
    for name in created:
        _admin(f"DROP DATABASE {name} WITH (FORCE)")


def _empty_redis(number: int) -> str:
    """A Redis database of its own: two deployments on one would take each other's jobs."""
    url = f"{settings.REDIS_URL.rpartition('/')[0]}/{number}"
    with redis.Redis.from_url(url) as own:
        own.flushdb()
    return url


def _admin(statement: str) -> None:
    import psycopg

    given = settings.DATABASES["default"]
    with psycopg.connect(
        host=given["HOST"],
        port=given["PORT"],
        user=given["USER"],
        password=given["PASSWORD"] or None,
        dbname="postgres",
        autocommit=True,
    ) as own:
        own.execute(statement)


@pytest.fixture(scope="module")
def upstream():
    with fake_upstream() as fake:
        yield fake


@pytest.fixture(scope="module")
def upstream_key() -> str:
    return KEY
