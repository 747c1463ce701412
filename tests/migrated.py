"""A database with its tables, which is copied instead of migrated again: for every worker of the
tests, and for every deployment that they start."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import psycopg
from django.conf import settings
from django.db import connection

ROOT = Path(__file__).resolve().parent.parent
_GIVEN = settings.DATABASES["default"]
#: The process that the workers have in common.
_RUN = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
_NAME = f"roocloud_migrated_{_RUN}"


def address(name: str) -> str:
    """The DATABASE_URL of a PostgreSQL database beside the given one."""
    return (
        f"postgres://{_GIVEN['USER']}:{_GIVEN['PASSWORD']}@{_GIVEN['HOST']}:{_GIVEN['PORT']}/{name}"
    )


def administer(*statements: str) -> None:
    """Run statements that make and drop databases of PostgreSQL."""
    with psycopg.connect(address("postgres"), autocommit=True) as own:
        for statement in statements:
            own.execute(statement)


def template(folder: Path) -> str:
    """A file on SQLite, a name on PostgreSQL. The first process that asks makes it.

    folder: one that the processes of a run share.
    """
    made = folder / "migrated"
    made.mkdir(exist_ok=True)
    env = {"PATH": os.environ["PATH"], "ROOCLOUD_DATA_DIR": str(made)}
    is_postgresql = connection.vendor == "postgresql"
    with (folder / "migrated.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (made / "done").exists():
            if is_postgresql:
                administer(f"DROP DATABASE IF EXISTS {_NAME}", f"CREATE DATABASE {_NAME}")
                env["DATABASE_URL"] = address(_NAME)
            subprocess.run(
                [sys.executable, "manage.py", "migrate", "--verbosity", "0"],
                cwd=ROOT,
                env=env,
                check=True,
                timeout=180,
            )
            (made / "done").touch()
    return _NAME if is_postgresql else str(made / "roocloud.sqlite3")


def forget() -> None:
    """Drop what ``template`` made of PostgreSQL; the folder goes with the run."""
    if connection.vendor == "postgresql":
        administer(f"DROP DATABASE IF EXISTS {_NAME}")
