"""A deployment in processes of its own, on the database that the tests run on."""

import http.client
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis
from django.conf import settings
from django.db import connection

from roocloud.lib.crypto import new_key
from tests import migrated
from tests.e2e.front_door import front_door
from tests.fakes.upstream import KEY, fake_upstream

ROOT = Path(__file__).resolve().parents[2]
NAMES = Path(__file__).with_name("names")
PUBLIC_HOST = "cloud.example.test"
#: Runs the commands of a JSON list, and prints a list of what they printed.
MANY = """
import contextlib, io, json, os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "roocloud.settings"
from django.core.management import execute_from_command_line
printed = []
for command in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()) as out:
        execute_from_command_line(["manage.py", *command])
    printed.append(out.getvalue())
print(json.dumps(printed))
"""


class Deployment:
    """urls: how it is reached. env: of its processes. folder: with their logs."""

    def __init__(self, urls: list[str], env: dict[str, str], folder: Path) -> None:
        self.urls = urls
        self.env = env
        self.folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []

    def kill(self) -> None:
        """Every process, without a chance to clean up."""
        for process in self.processes:
            process.kill()

    def manage(self, *arguments: str) -> str:
        """What a command of manage.py printed."""
        return self._run("manage.py", *arguments).strip()

    def manage_all(self, *commands: Sequence[str]) -> list[str]:
        """What each of several commands printed; all in one process, which starts once."""
        printed: list[str] = json.loads(self._run("-c", MANY, json.dumps(commands)))
        return [text.strip() for text in printed]

    def _run(self, *command: str) -> str:
        done = subprocess.run(  # noqa: S603 - our own interpreter and scripts
            [sys.executable, *command],
            cwd=ROOT,
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def is_well(url: str) -> bool:
    """Whether a process takes requests."""
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
    while not is_well(url):
        assert process.poll() is None, "the server ended while it started"
        assert time.monotonic() < deadline, "the server did not start in time"
        time.sleep(0.1)


class Launcher:
    """Starts deployments and ends what it started."""

    def __init__(
        self,
        folders: pytest.TempPathFactory,
        template: str,
        secret_rules: Path,
        resources: ExitStack,
    ) -> None:
        self._folders = folders
        self._template = template
        self._secret_rules = secret_rules
        self._resources = resources

    def embedded(
        self, *, processes: int = 1, env: dict[str, str] | None = None, is_first_start: bool = False
    ) -> Deployment:
        """What ``make run`` starts, or several of it on one PostgreSQL and Redis. Unless it is the
        first start, its database has its tables."""
        folder = self._folder("deployment")
        ports = [_free_port() for _ in range(processes)]
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        made = Deployment(
            urls, {**self._base(folder), "ROOCLOUD_PUBLIC_URL": urls[0], **(env or {})}, folder
        )
        if connection.vendor == "postgresql":
            made.env |= self._databases_of_its_own(is_empty=is_first_start)
        elif not is_first_start:
            shutil.copy(self._template, folder / "data" / "roocloud.sqlite3")
        for port, url in zip(ports, urls, strict=True):
            self._serve(made, port, url)
        return made

    def start_again(self, made: Deployment, url: str) -> None:
        """A process of a deployment that was ended."""
        self._serve(made, int(url.rpartition(":")[2]), url)

    def production(self) -> Deployment:
        """As docs/operator.md says: TLS in front of two web processes, a worker, a scheduler."""
        folder = self._folder("production")
        door = self._resources.enter_context(front_door(PUBLIC_HOST, folder))
        made = Deployment(
            [f"https://{PUBLIC_HOST}:{door.port}"],
            {
                **self._base(folder),
                **self._databases_of_its_own(is_empty=True),
                "ROOCLOUD_MODE": "production",
                "ROOCLOUD_PUBLIC_URL": f"https://{PUBLIC_HOST}:{door.port}",
                "ROOCLOUD_SECRET_KEY": secrets.token_urlsafe(48),
                "ROOCLOUD_FIELD_KEYS": new_key("k1"),
                "ROOCLOUD_TRUSTED_PROXIES": "1",
                "ROOCLOUD_INTERNAL_NETWORKS": "127.0.0.0/8",
                "EMAIL_URL": "smtp://mail.example.com",
                "ROOCLOUD_TEST_HOST": PUBLIC_HOST,
                "PYTHONPATH": str(NAMES),
                "SSL_CERT_FILE": str(door.trusted),
            },
            folder,
        )
        made.manage_all(["migrate"], ["collectstatic", "--noinput"])
        ports = [_free_port(), _free_port()]
        backends = [f"http://127.0.0.1:{port}" for port in ports]
        for port, url in zip(ports, backends, strict=True):
            self._serve(made, port, url)
        door.lead_to(backends)
        celery = [sys.executable, "-m", "celery", "-A", "roocloud"]
        self._run(made, "worker", [*celery, "worker", "--concurrency", "1"])
        self._run(made, "beat", [*celery, "beat", "--schedule", str(folder / "schedule")])
        return made

    def _folder(self, name: str) -> Path:
        """A new one with a data directory, in which the rules for secrets are compiled: that takes a
        processor for many seconds."""
        folder = self._folders.mktemp(name)
        shutil.copytree(self._secret_rules, folder / "data" / self._secret_rules.name)
        return folder

    def _base(self, folder: Path) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "ROOCLOUD_DATA_DIR": str(folder / "data"),
            "PYTHONUNBUFFERED": "1",
        }

    def _databases_of_its_own(self, *, is_empty: bool) -> dict[str, str]:
        name = f"roocloud_e2e_{os.getpid()}_{_free_port()}"
        template = "template1" if is_empty else self._template
        migrated.administer(
            f"CREATE DATABASE {name} TEMPLATE {template}",
            f"ALTER DATABASE {name} SET synchronous_commit = off",  # no test cuts the power
        )
        self._resources.callback(migrated.administer, f"DROP DATABASE {name} WITH (FORCE)")
        return {
            "DATABASE_URL": migrated.address(name),
            "REDIS_URL": self._empty_redis(),
        }

    def _empty_redis(self) -> str:
        """A Redis database of its own: two deployments on one would take each other's jobs."""
        server = settings.REDIS_URL.rpartition("/")[0]
        for number in range(1, 15):
            own = self._resources.enter_context(redis.Redis.from_url(f"{server}/{number}"))
            if own.set("taken", "by a test", nx=True, ex=600):
                self._resources.callback(own.flushdb)
                for key in own.scan_iter():
                    if key != b"taken":
                        own.delete(key)
                return f"{server}/{number}"
        raise AssertionError("No free database in Redis")

    def _serve(self, made: Deployment, port: int, url: str) -> None:
        command = [sys.executable, "manage.py", "serve", "--port", str(port)]
        _wait_for(url, self._run(made, f"server-{port}", command))

    def _run(self, made: Deployment, name: str, command: list[str]) -> subprocess.Popen[bytes]:
        with (made.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and script
                command, cwd=ROOT, env=made.env, stdout=log, stderr=subprocess.STDOUT
            )
        made.processes.append(process)
        self._resources.callback(_end, process)
        return process


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    assert process.wait(timeout=20) in (0, -15, -9)


@pytest.fixture(scope="module")
def launch(tmp_path_factory, template, secret_rules) -> Iterator[Launcher]:
    """``launch.embedded(processes=2, env={…})``, ``launch.production()``; everything ends with the
    module."""
    with ExitStack() as resources:
        yield Launcher(tmp_path_factory, template, secret_rules, resources)


@pytest.fixture(scope="module")
def upstream():
    with fake_upstream() as fake:
        yield fake


@pytest.fixture(scope="module")
def upstream_key() -> str:
    return KEY
