"""The metered proxy against its peers, in one run (``make bench-proxy``).

Server on core 0; load and mock upstream on core 1. Every figure is a ratio of two medians of the
same run. LiteLLM is installed into build/bench at its first use.
"""

import json
import os
import secrets
import statistics
import subprocess
import sys
from pathlib import Path

import psycopg

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / "build" / "bench"
PYTHON = ROOT / ".venv" / "bin" / "python"
UVICORN = [PYTHON.parent / "uvicorn", "--loop", "uvloop", "--http", "httptools"]
LITELLM = "litellm[proxy]==1.106.2"
SERVER = os.environ.get("BENCH_POSTGRES", "postgres://postgres@127.0.0.1:5432")
REDIS = os.environ.get("BENCH_REDIS", "redis://127.0.0.1:6379/12")
MODELS = ["mock-c64-b20", "mock-c64-b20-d20000"]
ROUNDS = os.environ.get("BENCH_ROUNDS", "3")
LOADS = {
    "plain-c16": "--stream 0 --conc 16 --duration 4 --warmup 1 --model mock-c64-b20",
    "burst-c16": "--stream 1 --conc 16 --duration 4 --warmup 1 --model mock-c64-b20",
    "paced-c128": "--stream 1 --conc 128 --duration 6 --warmup 1.5 --model mock-c64-b20-d20000",
}
METRICS = ["rps", "chunks_per_s", "ttfb_ms.p50", "total_ms.p50", "total_ms.p99", "errors"]


def run(*command: object, env: dict[str, str] | None = None, **options: object) -> str:
    given = [str(part) for part in command]
    done = subprocess.run(given, env=env, cwd=ROOT, check=True, text=True, stdout=-1, **options)
    return done.stdout.strip()


def build() -> None:
    BUILD.mkdir(parents=True, exist_ok=True)
    for name in ("mock_upstream", "llm_load"):
        run("gcc", "-O2", "-o", BUILD / name, ROOT / "bench" / f"{name}.c")
    if not (BUILD / "litellm" / "bin" / "litellm").exists():
        print("Installing LiteLLM, once …", flush=True)
        run(sys.executable, "-m", "venv", BUILD / "litellm")
        run(BUILD / "litellm/bin/pip", "install", "--quiet", LITELLM)


def deployment() -> tuple[dict[str, str], str]:
    """A production deployment on a fresh database, and a token for it."""
    with psycopg.connect(f"{SERVER}/postgres", autocommit=True) as server:
        server.execute("DROP DATABASE IF EXISTS roocloud_bench WITH (FORCE)")
        server.execute("CREATE DATABASE roocloud_bench")
    env = {
        **os.environ,
        "ROOCLOUD_MODE": "production",
        "ROOCLOUD_PUBLIC_URL": "https://bench.example.com",
        "ROOCLOUD_SECRET_KEY": secrets.token_urlsafe(48),
        "ROOCLOUD_FIELD_KEYS": run(PYTHON, "manage.py", "new_field_key"),
        "ROOCLOUD_DATA_DIR": str(BUILD / "data"),
        "ROOCLOUD_INTERNAL_NETWORKS": "127.0.0.0/8",
        "ROOCLOUD_LOG_LEVEL": "WARNING",
        "DATABASE_URL": f"{SERVER}/roocloud_bench",
        "REDIS_URL": REDIS,
        "EMAIL_URL": "smtp://mail.example.com",
    }
    for who in ("MEMBER", "ORGANIZATION"):  # limits are asked, and never reached
        env |= {
            f"ROOCLOUD_LIMIT_{who}_{what}": str(10**9) for what in ("REQUESTS", "TOKENS", "AT_ONCE")
        }

    def manage(*arguments: str) -> str:
        return run(PYTHON, "manage.py", *arguments, env=env)

    manage("migrate", "--verbosity", "0")
    person = "load@example.com"
    manage("create_user", person, "--password", secrets.token_urlsafe(), "--org", "Load",
           "--credit", "1000000")  # fmt: skip
    manage("create_upstream", "mock", "--base-url", "http://127.0.0.1:9100/v1", "--api-key", "sk")
    for model in MODELS:
        manage("create_model", model, "--upstream", "mock", "--input-price", "1",
               "--output-price", "2", "--max-tokens", "4096")  # fmt: skip
    return env, manage("create_job_token", person, "--org", "Load")


def spec(env: dict[str, str], token: str) -> dict[str, object]:
    ours = {key: value for key, value in env.items() if key not in os.environ}
    plain = {"path": "/v1/chat/completions", "key": "sk-bench"}
    bare = [*UVICORN, "passthrough:aiohttp_app", "--port", "9202", "--no-access-log",
            "--log-level", "error"]  # fmt: skip
    return {
        "helpers": [{"cmd": f"{BUILD}/mock_upstream --port 9100", "port": 9100}],
        "targets": [
            {"name": "direct", "port": 9100, "vars": plain},
            {"name": "bare", "port": 9202, "cwd": str(ROOT / "bench/anchors"), "vars": plain,
             "cmd": " ".join(map(str, bare))},
            {"name": "litellm", "port": 9120, "cwd": str(BUILD), "vars": plain,
             "cmd": f"{BUILD}/litellm/bin/litellm --config {ROOT}/bench/anchors/litellm.yaml"
                    " --port 9120 --host 127.0.0.1 --num_workers 1",
             "env": {"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True",
                     "LITELLM_MODE": "PRODUCTION", "LITELLM_TELEMETRY": "False", "NO_PROXY": "*"}},
            {"name": "roocloud", "port": 9300, "cwd": str(ROOT), "env": ours,
             "vars": {"path": "/proxy/v1/chat/completions", "key": token},
             "cmd": f"{PYTHON} manage.py serve --port 9300"},
        ],
        "loads": [
            {"name": name, "metrics": METRICS,
             "cmd": f"{BUILD}/llm_load --url http://127.0.0.1:{{port}}{{path}} --key {{key}} {how}"}
            for name, how in LOADS.items()
        ],
    }  # fmt: skip


def report(rows: list[dict[str, object]]) -> None:
    def median(load: str, target: str, metric: str) -> float:
        found = []
        for row in rows:
            if (row["load"], row["target"]) == (load, target):
                value = row["result"]
                for part in metric.split("."):
                    value = value.get(part, {}) if isinstance(value, dict) else value
                if isinstance(value, int | float):
                    found.append(value)
        return statistics.median(found) if found else float("nan")

    def line(what: str, figure: float, target: str, *, is_met: bool) -> None:
        print(f"{'met' if is_met else 'NOT MET':8}{figure:10.3f}  {what} (target {target})")

    print()
    requests = median("plain-c16", "roocloud", "rps")
    ratio = requests / median("plain-c16", "litellm", "rps")
    line("requests/s against LiteLLM", ratio, "at least 10, aim 30", is_met=ratio >= 10)
    chunks = median("burst-c16", "roocloud", "chunks_per_s")
    ratio = chunks / median("burst-c16", "litellm", "chunks_per_s")
    line("streamed chunks/s in bursts against LiteLLM", ratio, "at least 80", is_met=ratio >= 80)
    ratio = chunks / median("burst-c16", "bare", "chunks_per_s")
    line("the same against the bare pass-through", ratio, "at least 0.6", is_met=ratio >= 0.6)
    ratio = median("paced-c128", "roocloud", "chunks_per_s") / median(
        "paced-c128", "direct", "chunks_per_s"
    )
    line(
        "chunks/s of 128 paced streams against direct", ratio, "at least 0.97", is_met=ratio >= 0.97
    )
    direct = median("paced-c128", "direct", "ttfb_ms.p50")
    ratio = (median("paced-c128", "roocloud", "ttfb_ms.p50") - direct) / (
        median("paced-c128", "litellm", "ttfb_ms.p50") - direct
    )
    line("added time to first byte against LiteLLM's", ratio, "at most 0.1", is_met=ratio <= 0.1)
    ratio = median("plain-c16", "roocloud", "cpu_s_per_1000") / median(
        "plain-c16", "litellm", "cpu_s_per_1000"
    )
    line(
        "CPU seconds per 1,000 requests against LiteLLM's",
        ratio,
        "at most 0.125",
        is_met=ratio <= 0.125,
    )
    memory = max(median(load, "roocloud", "rss_mb") for load in LOADS)
    line("MB resident after load", memory, "at most 150", is_met=memory <= 150)


def main() -> None:
    build()
    env, token = deployment()
    (BUILD / "spec.json").write_text(json.dumps(spec(env, token), indent=1))
    out = BUILD / "results.json"
    run(sys.executable, "bench/ab.py", BUILD / "spec.json", "--rounds", ROUNDS, "--out", out)
    report(json.loads(out.read_text()))
    print(run(PYTHON, "manage.py", "check_ledger", env=env))


if __name__ == "__main__":
    main()
