"""Settings that did not change against a plain view with one read (``make bench-settings``).

Server on core 0, load on core 1, both on the same PostgreSQL. Every figure is a ratio of two
medians of the same run.
"""

import json
import secrets
import sys
from functools import partial

import psycopg
from deployment import (
    BUILD,
    PYTHON,
    ROOT,
    ROUNDS,
    line,
    manage,
    median,
    only_ours,
    production,
    run,
    values,
)

PEOPLE = 8
DATABASE = "roocloud_bench_settings"
TOKENS = BUILD / "settings-tokens.txt"
METRICS = ["rps", "latency_ms.p50", "latency_ms.p99", "errors", "status", "queries_per_1000"]
UVICORN = [PYTHON.parent / "uvicorn", "--loop", "uvloop", "--http", "httptools"]


def deployment() -> dict[str, str]:
    """A production deployment with some people's tokens in TOKENS."""
    env = production(DATABASE)
    tokens = []
    for number in range(PEOPLE):
        person = f"load{number}@example.com"
        manage(env, "create_user", person, "--password", secrets.token_urlsafe(), "--org",
               f"Load {number}")  # fmt: skip
        tokens.append(manage(env, "create_job_token", person, "--org", f"Load {number}"))
    TOKENS.write_text("\n".join(tokens))
    return env


def spec(env: dict[str, str]) -> dict[str, object]:
    with psycopg.connect(env["DATABASE_URL"]) as server:
        row = server.execute("SELECT max(version) FROM orgs_settingsrevision").fetchone()
    path = "http://127.0.0.1:{port}/api/extension-settings"
    load = f"{sys.executable} {ROOT}/bench/get_load.py --url {path} --keys {TOKENS} {{how}}"
    plain = [*UVICORN, "plain_drf:application", "--port", "9211", "--no-access-log",
             "--log-level", "error"]  # fmt: skip
    ours = {"cwd": str(ROOT), "env": only_ours(env), "cmd": f"{PYTHON} manage.py serve --port 9212"}
    return {
        "targets": [
            {"name": "plain", "port": 9211, "cwd": str(ROOT / "bench/anchors"),
             "env": {**only_ours(env), "ROW": str(row and row[0])},
             "cmd": " ".join(map(str, plain)), "vars": {"how": ""}},
            {"name": "roocloud", "port": 9212, **ours,
             "vars": {"how": f"--conditional --database {env['DATABASE_URL']}"}},
        ],
        "loads": [{"name": "repeated", "metrics": METRICS, "cmd": load}],
    }  # fmt: skip


def report(rows: list[dict[str, object]]) -> None:
    of = partial(median, rows, "repeated")
    print()
    ratio = of("roocloud", "rps") / of("plain", "rps")
    line("requests/s answered 304, against the plain view", ratio, "at least 2", is_met=ratio >= 2)
    ratio = of("roocloud", "cpu_s_per_1000") / of("plain", "cpu_s_per_1000")
    line("CPU seconds per 1,000 requests, the same", ratio, "at most 0.5", is_met=ratio <= 0.5)
    asked = of("roocloud", "queries_per_1000")
    line("queries per 1,000 requests, of all looks", asked, "at most 5", is_met=asked <= 5)
    statuses = {*values(rows, "repeated", "roocloud", "status")}
    wrong = sum(values(rows, "repeated", "roocloud", "errors")) + (statuses != {304})
    line("other answers than 304", wrong, "0", is_met=wrong == 0)


def main() -> None:
    BUILD.mkdir(parents=True, exist_ok=True)
    env = deployment()
    (BUILD / "settings.json").write_text(json.dumps(spec(env), indent=1))
    out = BUILD / "settings-results.json"
    run(sys.executable, "bench/ab.py", BUILD / "settings.json", "--rounds", ROUNDS, "--out", out)
    report(json.loads(out.read_text()))


if __name__ == "__main__":
    main()
