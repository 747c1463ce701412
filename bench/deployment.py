"""What the measurements have in common: the deployment under test, and how targets are printed."""

import os
import secrets
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psycopg

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "bench"
PYTHON = ROOT / ".venv" / "bin" / "python"
SERVER = os.environ.get("BENCH_POSTGRES", "postgres://postgres@127.0.0.1:5432")
REDIS = os.environ.get("BENCH_REDIS", "redis://127.0.0.1:6379/12")
ROUNDS = os.environ.get("BENCH_ROUNDS", "3")
PUBLIC_URL = "https://bench.example.com"


def run(*command: object, env: dict[str, str] | None = None, **options: Any) -> str:
    """What a command prints."""
    given = [str(part) for part in command]
    done = subprocess.run(given, env=env, cwd=ROOT, check=True, text=True, stdout=-1, **options)
    return done.stdout.strip()


def manage(env: dict[str, str], *arguments: object) -> str:
    return run(PYTHON, "manage.py", *arguments, env=env)


def fresh(database: str) -> str:
    """The URL of an empty database of that name on PostgreSQL."""
    with psycopg.connect(f"{SERVER}/postgres", autocommit=True) as server:
        server.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
        server.execute(f"CREATE DATABASE {database}")
    return f"{SERVER}/{database}"


def on_each_database(script: str, name: str, measure: Callable[[], bool]) -> None:
    """End the process with what ``measure`` of the script finds on SQLite and on PostgreSQL, each
    empty: it runs in a process of its own for each, on core 0."""
    if "BENCH_INSIDE" in os.environ:
        sys.path.insert(0, str(ROOT))
        sys.exit(not measure())
    data = BUILD / name
    data.mkdir(parents=True, exist_ok=True)
    for old in data.glob("roocloud.sqlite3*"):
        old.unlink()
    env = {
        **os.environ,
        "BENCH_INSIDE": "1",
        "DJANGO_SETTINGS_MODULE": "roocloud.settings",
        "ROOCLOUD_DATA_DIR": str(data),
        "ROOCLOUD_JOBS_EAGER": "1",
    }
    for setting in ("DATABASE_URL", "REDIS_URL"):
        env.pop(setting, None)
    databases = [{}, {"DATABASE_URL": fresh(f"roocloud_bench_{name}")}]
    command = ["taskset", "-c", "0", sys.executable, script]
    sys.exit(max(subprocess.call(command, env={**env, **one}) for one in databases))


def production(database: str, **changes: str) -> dict[str, str]:
    """The environment of a production deployment, and a fresh database for it."""
    env = {
        **os.environ,
        "ROOCLOUD_MODE": "production",
        "ROOCLOUD_PUBLIC_URL": PUBLIC_URL,
        "ROOCLOUD_SECRET_KEY": secrets.token_urlsafe(48),
        "ROOCLOUD_FIELD_KEYS": run(PYTHON, "manage.py", "new_field_key"),
        "ROOCLOUD_DATA_DIR": str(BUILD / "data"),
        "ROOCLOUD_INTERNAL_NETWORKS": "127.0.0.0/8",
        "ROOCLOUD_LOG_LEVEL": "WARNING",
        "DATABASE_URL": fresh(database),
        "REDIS_URL": REDIS,
        "EMAIL_URL": "smtp://mail.example.com",
        **changes,
    }
    manage(env, "migrate", "--verbosity", "0")
    return env


def only_ours(env: dict[str, str]) -> dict[str, str]:
    """What of an environment is not everybody's."""
    return {name: value for name, value in env.items() if name not in os.environ}


def values(rows: Sequence[dict[str, Any]], load: str, target: str, metric: str) -> list[float]:
    """A metric's figures, one for each round. rows: what ab.py wrote."""
    found = []
    for row in rows:
        if (row["load"], row["target"]) == (load, target):
            value = row["result"]
            for part in metric.split("."):
                value = value.get(part, {}) if isinstance(value, dict) else value
            if isinstance(value, int | float):
                found.append(value)
    return found


def median(rows: Sequence[dict[str, Any]], load: str, target: str, metric: str) -> float:
    found = values(rows, load, target, metric)
    return statistics.median(found) if found else float("nan")


def line(what: str, figure: float, target: str, *, is_met: bool) -> None:
    print(f"{'met' if is_met else 'NOT MET':8}{figure:10.3f}  {what} (target {target})")
