#!/usr/bin/env python3
"""bridge_load: load generator for a Socket.IO bridge (Engine.IO v4, websocket transport, loopback only).

  bridge_load.py --url ws://127.0.0.1:8000/socket.io/ --pairs 500 [--fan 1] [--duration 5]
                 [--rate 5000 | --window 4] [--size 200] [--command-share 0.1] [--pid SERVER_PID]
                 [--token-ext T | --tokens FILE] [--proto sio|raw] [--storm 1] [--idle 1]

A pair is one extension client and --fan web clients that joined the same task. Extensions send `task:event`, which
the server must relay to the task's web clients as `task:relayed_event`; web clients send `task:command`, which it
must relay to the extension as `task:relayed_command`. Payloads have the shapes of @roo-code/types (TaskBridgeEvent
"message", TaskBridgeCommand "message"); their text begins with @<monotonic ns>:<sequence>@, from which latency,
loss, duplicates and order are taken.
Without --rate: closed loop, --window messages of each pair under way (saturation). With --rate: that many messages
a second in all, sent on schedule whatever the server does, latency counted from the schedule. --storm 1: after the
load, all sockets are cut at once and joined again; the time until the last is back is reported. --idle 1: connect
only (memory per connection). --proto raw: plain websocket frames ["event",{...}], for a bare Channels consumer.
Event names and what a client says after connecting can be changed with the --ev-* options. --ack 0: the server
sends no acknowledgements. --tokens FILE has lines "EXT_TOKEN WEB_TOKEN [TASK_ID]", used in turn; a WEB_TOKEN
"cookie:NAME=VALUE" is sent as a browser does, with --origin. --url-web: where web clients connect, if elsewhere.
Prints one JSON object. Needs uvloop and picows.
"""
import argparse, asyncio, gc, json, os, random, resource, sys, time

import picows
import uvloop

T = picows.WSMsgType.TEXT
now = time.monotonic_ns


class Stats:
    def __init__(self):
        self.lat = {"event": [], "command": []}
        self.sent = {"event": 0, "command": 0}
        self.got = {"event": 0, "command": 0}
        self.dup = self.disorder = self.closed = self.other = self.total_sent = self.bytes = 0
        self.on = False


class Client(picows.WSListener):
    def __init__(self, o, st, kind, i, task):
        self.o, self.st, self.kind, self.i, self.task = o, st, kind, i, task
        self.tr = None
        self.ready = asyncio.get_running_loop().create_future()
        self.seq = 0            # last sequence number sent
        self.seen = 0           # highest sequence number received
        self.last_seen = set()
        self.peer = None
        self.want = (o.ev_relayed_event if kind == "web" else o.ev_relayed_command).encode()
        self.what = "event" if kind == "web" else "command"

    def on_ws_connected(self, tr):
        self.tr = tr
        if self.o.proto == "raw":
            self.emit_setup()

    def on_ws_disconnected(self, tr):
        if not self.ready.done():
            self.ready.set_exception(ConnectionError("closed before it was ready"))
        elif not self.o.closing:
            self.st.closed += 1

    def emit(self, event, data, ack=None):
        head = "" if self.o.proto == "raw" else "42" if ack is None else f"42{ack}"
        self.tr.send(T, f'{head}["{event}",{data}]'.encode())

    def emit_setup(self):
        inst = f"inst-{self.i}"
        if self.kind == "ext" and self.o.ev_register:
            self.emit(self.o.ev_register, json.dumps({
                "instanceId": inst, "userId": "bench", "workspacePath": "/w", "lastHeartbeat": int(time.time() * 1000),
                "appProperties": {"appName": "roo-code", "appVersion": "3.53.0", "vscodeVersion": "1.100.0", "platform": "linux", "editorName": "vscode"},
                "task": {"taskId": self.task, "taskStatus": "running"}, "taskHistory": []}), 0 if self.o.ack else None)
        if self.o.ev_join:
            self.emit(self.o.ev_join, json.dumps({"taskId": self.task}), 1 if self.o.ack else None)
        if not self.o.ack or not self.o.ev_join:
            self.ready.set_result(1)

    def on_ws_frame(self, tr, frame):
        if frame.msg_type != T:
            return
        b = frame.get_payload_as_bytes()
        if b.startswith(b'42["', 0) or b.startswith(b'["'):
            i = 4 if b[0] == 52 else 2
            if b.startswith(self.want, i):
                return self.relayed(b)
            if b.startswith(b'["joined"') and not self.ready.done():
                return self.ready.set_result(1)
            self.st.other += 1
        elif b == b"2":
            tr.send(T, b"3")
        elif b.startswith(b"43"):
            if b.startswith(b"431[") and not self.ready.done():
                self.ready.set_result(1)
        elif b.startswith(b"40"):
            self.emit_setup()
        elif b.startswith(b"0{"):
            tok = self.o.tok(self.i)[0 if self.kind == "ext" else 1]
            tr.send(T, b"40" + json.dumps({"token": tok, "clientType": self.kind}).encode())
        elif b.startswith(b"44") and not self.ready.done():
            self.ready.set_exception(ConnectionError(b.decode()))
        else:
            self.st.other += 1

    def relayed(self, b):
        st = self.st
        a = b.index(b"@") + 1
        c = b.index(b":", a)
        e = b.index(b"@", c)
        t0, seq = int(b[a:c]), int(b[c + 1:e])
        if seq <= self.seen:
            if seq in self.last_seen:
                st.dup += 1
            st.disorder += 1
        else:
            self.seen = seq
        if len(self.last_seen) > 4096:
            self.last_seen.clear()
        self.last_seen.add(seq)
        st.got[self.what] += 1
        if st.on:
            st.lat[self.what].append(now() - t0)
            st.bytes += len(b)
        if self.o.window and self.peer and self.o.sending:
            # closed loop: the first web client of a pair gives the extension its next turn, and the other way round
            self.peer.send_one(now())

    def send_one(self, t):
        self.seq += 1
        what = "event" if self.kind == "ext" else "command"
        self.st.sent[what] += 1
        if what == "event":
            d = f'{{"type":"message","taskId":"{self.task}","action":"updated","message":{{"ts":1700000000000,"type":"say","say":"text","text":"@{t}:{self.seq}@{self.o.pad}","partial":true}}}}'
            self.emit(self.o.ev_event, d)
        else:
            d = f'{{"type":"message","taskId":"{self.task}","payload":{{"text":"@{t}:{self.seq}@{self.o.pad}"}},"timestamp":1700000000000}}'
            self.emit(self.o.ev_command, d)


async def connect(o, st, kind, i, task, sem):
    async with sem:
        tok = o.tok(i)[0 if kind == "ext" else 1]
        url, headers = o.url if kind == "ext" else o.url_web, {}
        if tok.startswith("cookie:"):
            tok, headers = "", {"Cookie": tok.removeprefix("cookie:"), "Origin": o.origin}
        if o.proto != "raw":
            url += f"?EIO=4&transport=websocket&token={tok}&clientType={'extension' if kind == 'ext' else 'web'}&instanceId=inst-{i}"
        _, c = await picows.ws_connect(lambda *a: Client(o, st, kind, i, task), url, websocket_handshake_timeout=30, enable_auto_pong=True, extra_headers=headers)
        await asyncio.wait_for(c.ready, 30)
        return c


async def connect_all(o, st):
    sem = asyncio.Semaphore(o.connect_conc)
    jobs, t0 = [], now()
    for i in range(o.pairs):
        task = o.tok(i)[2] or f"{o.task_prefix}{i}"
        jobs.append(connect(o, st, "ext", i, task, sem))
        jobs += [connect(o, st, "web", i, task, sem) for _ in range(o.fan)]
    got = await asyncio.gather(*jobs, return_exceptions=True)
    bad = [repr(g) for g in got if isinstance(g, BaseException)]
    dt = (now() - t0) / 1e9
    exts, webs = [], []
    for i in range(o.pairs):
        g = got[i * (o.fan + 1):(i + 1) * (o.fan + 1)]
        if any(isinstance(x, BaseException) for x in g):
            continue
        g[0].peer, g[1].peer = g[1], g[0]
        exts.append(g[0]); webs.append(g[1:])
    return exts, webs, bad, dt


def rss(pid):
    total, todo = 0, [pid]
    while todo:
        p = todo.pop()
        try:
            total += int(open(f"/proc/{p}/statm").read().split()[1]) * 4096
            for t in os.listdir(f"/proc/{p}/task"):
                todo += map(int, open(f"/proc/{p}/task/{t}/children").read().split())
        except OSError:
            pass
    return total


def pct(v):
    if not v:
        return {"n": 0}
    v.sort()
    f = lambda p: round(v[int(p * (len(v) - 1))] / 1e6, 3)
    return {"n": len(v), "p50": f(.5), "p95": f(.95), "p99": f(.99), "p999": f(.999), "max": f(1)}


async def main(o):
    st = Stats()
    r0 = rss(o.pid) if o.pid else 0
    exts, webs, bad, dt = await connect_all(o, st)
    n_conn = len(exts) * (1 + o.fan)
    await asyncio.sleep(0.3)
    r1 = rss(o.pid) if o.pid else 0
    out = {"tool": "bridge_load", "proto": o.proto, "connections": n_conn, "connect_failed": len(bad), "connect_errors": bad[:3],
           "connect_per_s": round(n_conn / dt, 1), "rss_connected_mb": round(r1 / 2**20, 1), "kb_per_connection": round((r1 - r0) / 1024 / max(1, n_conn), 2)}
    if not exts:
        out["errors"] = len(bad); print(json.dumps(out)); return
    gc.freeze(); gc.disable()
    if not o.idle:
        o.sending = True
        t_end = now() + int((o.warmup + o.duration) * 1e9)
        async def measure():
            await asyncio.sleep(o.warmup); st.on = True; st.g0 = dict(st.got); st.t0 = now(); st.c0 = time.process_time()
            await asyncio.sleep(o.duration); st.on = False; st.g1 = dict(st.got); st.t1 = now(); st.c1 = time.process_time()
        m = asyncio.create_task(measure())
        n_cmd = round(len(exts) * o.command_share) if o.window else 0
        if o.window:
            for k, e in enumerate(exts):
                for _ in range(o.window):
                    e.send_one(now())
                if k < n_cmd:
                    webs[k][0].send_one(now())
            await m
        else:
            gap, due, k = 1e9 / o.rate, float(now()), 0
            rnd = random.Random(1)
            order = list(range(len(exts))); rnd.shuffle(order)
            while (t := now()) < t_end:
                while due <= t:
                    i = order[k % len(order)]; k += 1
                    (webs[i][0] if rnd.random() < o.command_share else exts[i]).send_one(int(due))
                    due += gap
                await asyncio.sleep(max(0.001, (due - now()) / 1e9))
            await m
        o.sending = False
        expect = lambda: st.sent["event"] * o.fan + st.sent["command"]
        for _ in range(100):
            if st.got["event"] + st.got["command"] >= expect() - st.dup:
                break
            await asyncio.sleep(0.1)
        s = (st.t1 - st.t0) / 1e9
        got = sum(st.g1.values()) - sum(st.g0.values())
        lost = expect() - (st.got["event"] + st.got["command"]) + st.dup
        out.update(mode="closed" if o.window else "open", rate=o.rate, window=o.window, fan=o.fan, size=o.size, seconds=round(s, 3), load_busy=round((st.c1 - st.c0) / s, 3),
                   msgs_per_s=round(got / s, 1), mb_per_s=round(st.bytes / s / 1e6, 3), messages_in_all=st.got["event"] + st.got["command"],
                   lost=lost, duplicated=st.dup, out_of_order=st.disorder, closed_by_server=st.closed, other_messages=st.other,
                   event_ms=pct(st.lat["event"]), command_ms=pct(st.lat["command"]))
    if o.storm:
        o.closing = True
        for c in [*exts, *(w for ws in webs for w in ws)]:
            c.tr.disconnect()
        await asyncio.sleep(0.2)
        o.closing = False
        e2, _, bad2, dt2 = await connect_all(o, st)
        out.update(storm_s=round(dt2, 3), storm_back=len(e2) * (1 + o.fan), storm_failed=len(bad2))
    ru = resource.getrusage(resource.RUSAGE_SELF)
    out.update(errors=len(bad) + out.get("lost", 0) + st.closed, rss_end_mb=round(rss(o.pid) / 2**20, 1) if o.pid else 0, load_cpu_s=round(ru.ru_utime + ru.ru_stime, 2))
    print(json.dumps(out))
    o.closing = True


def parse():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a = p.add_argument
    a("--url", default="ws://127.0.0.1:8000/socket.io/"); a("--url-web"); a("--origin", default=""); a("--pairs", type=int, default=50); a("--fan", type=int, default=1)
    a("--duration", type=float, default=5); a("--warmup", type=float, default=1); a("--rate", type=float, default=0); a("--window", type=int, default=0)
    a("--size", type=int, default=200); a("--command-share", type=float, default=0.1); a("--pid", type=int, default=0)
    a("--token-ext", default="ext"); a("--token-web", default="web"); a("--tokens"); a("--proto", choices=("sio", "raw"), default="sio")
    a("--storm", type=int, default=0); a("--idle", type=int, default=0); a("--ack", type=int, default=1); a("--connect-conc", type=int, default=64); a("--task-prefix", default="task-")
    for k, v in dict(register="extension:register", join="task:join", event="task:event", command="task:command", relayed_event="task:relayed_event", relayed_command="task:relayed_command").items():
        a("--ev-" + k.replace("_", "-"), default=v)
    o = p.parse_args()
    o.url_web = o.url_web or o.url
    if not all(url.startswith(("ws://127.", "ws://localhost")) for url in (o.url, o.url_web)):
        sys.exit("only loopback addresses")
    o.duration = min(o.duration, 120); o.pad = ("abcde " * (o.size // 6 + 1))[:o.size]; o.sending = o.closing = False
    if not o.rate and not o.window:
        o.window = 4
    lines = [(x.split() + [None] * 3)[:3] for x in open(o.tokens)] if o.tokens else [[o.token_ext, o.token_web, None]]
    o.tok = lambda i: lines[i % len(lines)]
    return o


if __name__ == "__main__":
    o = parse()
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    uvloop.run(main(o))
