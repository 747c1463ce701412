"""The bridge against node's Socket.IO server, in one run (``make bench-bridge``).

Server on core 0; load and Redis on core 1. What is compared is a ratio of two medians of the same
run; what people wait for is in milliseconds and seconds, as the requirements give it. What the load
and node need is installed into build/bench at its first use.
"""

import json
import sys
from functools import partial

from deployment import (
    BUILD,
    PUBLIC_URL,
    PYTHON,
    ROOT,
    ROUNDS,
    line,
    median,
    only_ours,
    production,
    run,
    values,
)

PEOPLE = 500
PACKAGES = ["picows==2.3.1", "uvloop==0.23.0"]
NODE_PACKAGES = ["socket.io@4.8.1"]
REDIS_PORT = 9390
ONE, LEFT, RIGHT = 9500, 9501, 9502
TOKENS = BUILD / "people.txt"
METRICS = [
    "msgs_per_s", "mb_per_s", "event_ms.p50", "event_ms.p99", "command_ms.p99", "lost",
    "out_of_order", "storm_s", "storm_back", "connect_per_s", "kb_per_connection", "load_busy",
    "connect_failed",
]  # fmt: skip
BOTH, SPLIT = ["node", "roocloud"], ["two-processes"]
#: How bridge_load.py is called, and for whom.
LOADS = {
    "idle-1000": ("--pairs 500 --idle 1", BOTH),
    "saturate-100": ("--pairs 50 --window 4 --duration 4", BOTH),
    "saturate-1000": ("--pairs 500 --window 2 --duration 4", BOTH),
    "rate-5000": ("--pairs 500 --rate 5000 --duration 5 --storm 1", BOTH),
    "large": ("--pairs 50 --window 4 --duration 4 --size 16384", BOTH),
    "split-1000": ("--pairs 500 --window 2 --duration 5", SPLIT),
}


def build() -> None:
    BUILD.mkdir(parents=True, exist_ok=True)
    if not (BUILD / "load" / "bin" / "python").exists():
        print("Installing what the load needs, once …", flush=True)
        run(sys.executable, "-m", "venv", BUILD / "load")
        run(BUILD / "load/bin/pip", "install", "--quiet", *PACKAGES)
    if not (BUILD / "node_modules").exists():
        print("Installing node's server, once …", flush=True)
        run("npm", "install", "--prefix", BUILD, "--no-audit", "--no-fund", *NODE_PACKAGES)


def spec(env: dict[str, str]) -> dict[str, object]:
    serve = f"{PYTHON} manage.py serve --port"
    ours = {"cwd": str(ROOT), "env": only_ours(env)}
    tokens = f"--tokens {TOKENS} --origin {PUBLIC_URL}"
    load = f"{BUILD}/load/bin/python {ROOT}/bench/bridge_load.py --pid {{pid}} {{who}}"
    url = "ws://127.0.0.1:%d/socket.io/"
    return {
        "helpers": [
            {"port": REDIS_PORT,
             "cmd": f"redis-server --port {REDIS_PORT} --bind 127.0.0.1 --save '' --dir {BUILD}"}
        ],
        "targets": [
            {"name": "node", "port": 9503, "cwd": str(ROOT / "bench/anchors"),
             "env": {"NODE_PATH": str(BUILD / "node_modules")},
             "cmd": "node sio_reference.cjs 9503", "vars": {"who": "--url " + url % 9503}},
            {"name": "roocloud", "port": ONE, **ours, "cmd": f"{serve} {ONE}",
             "vars": {"who": f"--url {url % ONE} {tokens}"}},
            {"name": "two-processes", "port": RIGHT, **ours,
             "cmd": f"sh -c '{serve} {LEFT} & {serve} {RIGHT} & wait'",
             "vars": {"who": f"--url {url % LEFT} --url-web {url % RIGHT} {tokens}"}},
        ],
        "loads": [
            {"name": name, "metrics": METRICS, "only": targets, "cmd": f"{load} {how}"}
            for name, (how, targets) in LOADS.items()
        ],
    }  # fmt: skip


def report(rows: list[dict[str, object]]) -> None:
    of = partial(median, rows)

    def against_node(load: str, metric: str) -> float:
        return of(load, "roocloud", metric) / of(load, "node", metric)

    print()
    for sockets in (100, 1000):
        load = f"saturate-{sockets}"
        ratio = against_node(load, "msgs_per_s")
        what = f"messages/s against node's with {sockets:,} sockets"
        line(what, ratio, "at least 0.5", is_met=ratio >= 0.5)
    messages = of("split-1000", "two-processes", "msgs_per_s")
    line("messages/s with every pair split across two processes", messages, "at least 10,000",
         is_met=messages >= 10_000)  # fmt: skip
    for metric in ("lost", "out_of_order"):
        count = sum(
            sum(values(rows, load, target, metric))
            for load in LOADS
            for target in ("roocloud", "two-processes")
        )
        what = f"messages {metric.replace('_', ' ')} in all rounds"
        line(what, count, "none", is_met=count == 0)
    updates = of("rate-5000", "roocloud", "event_ms.p99")
    line("ms for an update at 5,000/s, 99 of 100", updates, "under 200", is_met=updates < 200)
    commands = of("rate-5000", "roocloud", "command_ms.p99")
    line("ms for a command at 5,000/s, 99 of 100", commands, "under 500", is_met=commands < 500)
    ratio = against_node("rate-5000", "event_ms.p50")
    line("median of an update at 5,000/s against node's", ratio, "at most 3", is_met=ratio <= 3)
    seconds = max(values(rows, "rate-5000", "roocloud", "storm_s"))
    back = min(values(rows, "rate-5000", "roocloud", "storm_back"))
    line(f"s until {back:,.0f} of 1,000 are back after a cut", seconds, "all within 5",
         is_met=seconds <= 5 and back == 2 * PEOPLE)  # fmt: skip
    [memory, *_] = values(rows, "idle-1000", "roocloud", "kb_per_connection")
    line("KB of memory for a socket", memory, "at most 60", is_met=memory <= 60)
    transfer = of("large", "roocloud", "mb_per_s")
    line("MB/s in messages of 16 KB", transfer, "at least 100", is_met=transfer >= 100)


def main() -> None:
    build()
    redis = f"redis://127.0.0.1:{REDIS_PORT}/0"
    env = production(
        "roocloud_bench_bridge", REDIS_URL=redis, ROOCLOUD_BRIDGE_SOCKETS_FROM_ONE="100000"
    )
    TOKENS.write_text(run(PYTHON, "bench/bridge_people.py", PEOPLE, env=env) + "\n")
    (BUILD / "bridge.json").write_text(json.dumps(spec(env), indent=1))
    out = BUILD / "bridge-results.json"
    run(PYTHON, "bench/ab.py", BUILD / "bridge.json", "--rounds", ROUNDS, "--out", out)
    report(json.loads(out.read_text()))


if __name__ == "__main__":
    main()
