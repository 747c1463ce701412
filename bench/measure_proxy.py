"""The metered proxy against its peers, in one run (``make bench-proxy``).

Server on core 0; load and mock upstream on core 1. Every figure is a ratio of two medians of the
same run. LiteLLM is installed into build/bench at its first use.
"""

import json
import secrets
import sys
from functools import partial

from deployment import BUILD, PYTHON, ROOT, ROUNDS, line, manage, median, only_ours, production, run

UVICORN = [PYTHON.parent / "uvicorn", "--loop", "uvloop", "--http", "httptools"]
LITELLM = "litellm[proxy]==1.106.2"
MODELS = ["mock-c64-b20", "mock-c64-b20-d20000"]
LARGE = "ten-megabytes"
LOADS = {
    "plain-c16": "--stream 0 --conc 16 --duration 4 --warmup 1 --model mock-c64-b20",
    "burst-c16": "--stream 1 --conc 16 --duration 4 --warmup 1 --model mock-c64-b20",
    "paced-c128": "--stream 1 --conc 128 --duration 6 --warmup 1.5 --model mock-c64-b20-d20000",
    LARGE: "--stream 0 --conc 1 --duration 4 --warmup 1 --model mock-c64-b20"
    " --prompt-bytes 10000000",
}
METRICS = ["rps", "chunks_per_s", "ttfb_ms.p50", "total_ms.p50", "total_ms.p99", "errors"]


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
    whats = ("REQUESTS", "TOKENS", "AT_ONCE")
    limits = {  # they are asked, and never reached
        f"ROOCLOUD_LIMIT_{who}_{what}": str(10**9)
        for who in ("MEMBER", "ORGANIZATION")
        for what in whats
    }
    env = production("roocloud_bench", **limits)
    person = "load@example.com"
    manage(env, "create_user", person, "--password", secrets.token_urlsafe(), "--org", "Load",
           "--credit", "1000000")  # fmt: skip
    manage(env, "create_upstream", "mock", "--base-url", "http://127.0.0.1:9100/v1",
           "--api-key", "sk")  # fmt: skip
    for model in MODELS:
        manage(env, "create_model", model, "--upstream", "mock", "--input-price", "1",
               "--output-price", "2", "--max-tokens", "4096")  # fmt: skip
    return env, manage(env, "create_job_token", person, "--org", "Load")


def spec(env: dict[str, str], token: str) -> dict[str, object]:
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
            {"name": "roocloud", "port": 9300, "cwd": str(ROOT), "env": only_ours(env),
             "vars": {"path": "/proxy/v1/chat/completions", "key": token},
             "cmd": f"{PYTHON} manage.py serve --port 9300"},
        ],
        "loads": [
            {"name": name, "metrics": METRICS, "skip": ["litellm"] if name == LARGE else [],
             "cmd": f"{BUILD}/llm_load --url http://127.0.0.1:{{port}}{{path}} --key {{key}} {how}"}
            for name, how in LOADS.items()
        ],
    }  # fmt: skip


def report(rows: list[dict[str, object]]) -> None:
    of = partial(median, rows)

    print()
    requests = of("plain-c16", "roocloud", "rps")
    ratio = requests / of("plain-c16", "litellm", "rps")
    line("requests/s against LiteLLM", ratio, "at least 10, aim 30", is_met=ratio >= 10)
    chunks = of("burst-c16", "roocloud", "chunks_per_s")
    ratio = chunks / of("burst-c16", "litellm", "chunks_per_s")
    line("streamed chunks/s in bursts against LiteLLM", ratio, "at least 80", is_met=ratio >= 80)
    ratio = chunks / of("burst-c16", "bare", "chunks_per_s")
    line("the same against the bare pass-through", ratio, "at least 0.6", is_met=ratio >= 0.6)
    ratio = of("paced-c128", "roocloud", "chunks_per_s") / of(
        "paced-c128", "direct", "chunks_per_s"
    )
    line(
        "chunks/s of 128 paced streams against direct", ratio, "at least 0.97", is_met=ratio >= 0.97
    )
    direct = of("paced-c128", "direct", "ttfb_ms.p50")
    ratio = (of("paced-c128", "roocloud", "ttfb_ms.p50") - direct) / (
        of("paced-c128", "litellm", "ttfb_ms.p50") - direct
    )
    line("added time to first byte against LiteLLM's", ratio, "at most 0.1", is_met=ratio <= 0.1)
    ratio = of("plain-c16", "roocloud", "cpu_s_per_1000") / of(
        "plain-c16", "litellm", "cpu_s_per_1000"
    )
    line(
        "CPU seconds per 1,000 requests against LiteLLM's",
        ratio,
        "at most 0.125",
        is_met=ratio <= 0.125,
    )
    memory = max(of(load, "roocloud", "rss_mb") for load in LOADS if load != LARGE)
    line("MB resident after load", memory, "at most 150", is_met=memory <= 150)
    ours, bare = (of(LARGE, name, "cpu_s_per_1000") for name in ("roocloud", "bare"))
    print(
        f"{ours / bare:18.3f}  CPU of a request with 10 MB against the bare pass-through"
        f" ({ours:.1f} and {bare:.1f} ms; {of(LARGE, 'roocloud', 'rss_mb'):.0f} MB resident after)"
    )


def main() -> None:
    build()
    env, token = deployment()
    (BUILD / "spec.json").write_text(json.dumps(spec(env, token), indent=1))
    out = BUILD / "results.json"
    run(sys.executable, "bench/ab.py", BUILD / "spec.json", "--rounds", ROUNDS, "--out", out)
    report(json.loads(out.read_text()))
    print(manage(env, "check_ledger"))


if __name__ == "__main__":
    main()
