"""The first page of a shared task of 2,000 messages and 20 MB (``make bench-share``).

Against that of a task of 20 messages, both from the cache; and, with nothing cached, against what
the libraries for markdown and highlighting alone (markdown-it, pygments, nh3) take for its texts.
Every figure is a ratio of two medians of one process on one core, which takes one request of each
after the other.

A page has a budget: what is beyond it is shown as it is (tasks_sharing.markup). So there are two
ratios when cold, one to the libraries on all texts of the page, and one to them on what it affords.
"""

import gc
import json
import os
import random
import re
import statistics
import time
import tracemalloc
from collections.abc import Callable
from functools import partial

from deployment import on_each_database

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3")) * 5
FEW, MANY = 20, 2_000
BEGAN = 1795231900000
#: Bytes of what a cycle of ten messages holds, on average: 20 MB in all.
SIZES = {"code": 22_000, "diff": 16_000, "output": 44_000, "answer": 16_000, "prose": 1_500}
WORDS = re.findall(
    r"\w+",
    "the parser reads each line of a file and keeps what it found in order so that a later step "
    "may ask for it again without another look at the disk or the network",
)


class Author:
    """Texts as models, terminals and servers write them: the same in every run."""

    def __init__(self) -> None:
        self.chance = random.Random(1)  # noqa: S311  # the same in every run

    def sentence(self) -> str:
        words = self.chance.choices(WORDS, k=self.chance.randint(6, 18))
        words[0] = words[0].capitalize()
        words[self.chance.randrange(len(words))] = f"`{self.chance.choice(WORDS)}_{len(words)}`"
        return " ".join(words) + "."

    def sized(self, line: Callable[[int], str], size: int) -> str:
        wanted, lines, n = self.chance.uniform(0.5, 1.5) * size, [], 0
        while wanted > 0:
            lines.append(line(n))
            wanted -= len(lines[-1]) + 1
            n += 1
        return "\n".join(lines)

    def code_line(self, n: int) -> str:
        one, other = self.chance.sample(WORDS, 2)
        return (
            f"def {one}_{n}(self, {other}: str) -> int:",
            f'    """{self.sentence()}"""',
            f'    if {other}.startswith("{one}") and len({other}) > {n}:',
            f"        return self.{one}({other}, {n})  # {one}",
            f"    return {n}",
            "",
        )[n % 6]

    def code(self) -> str:
        return self.sized(self.code_line, SIZES["code"])

    def diff(self) -> str:
        """Hunks of an edit here and there, each with three lines around it."""
        hunks, line = [], 1
        for n in range(SIZES["diff"] // 900):
            signs = (
                "   " + "-" * self.chance.randint(0, 6) + "+" * self.chance.randint(1, 9) + "   "
            )
            rows = [sign + self.code_line(n + at) for at, sign in enumerate(signs)]
            old, new = (sum(sign != other for sign in signs) for other in "+-")
            hunks += [f"@@ -{line},{old} +{line},{new} @@", *rows]
            line += 60
        return "\n".join([*hunks, ""])

    def output(self) -> str:
        return self.sized(
            lambda n: f"\x1b[32mPASSED\x1b[0m tests/test_{n}.py::{self.chance.choice(WORDS)} [{n}]",
            SIZES["output"],
        )

    def prose(self) -> str:
        said = self.sized(lambda _: self.sentence(), SIZES["prose"])
        listed = "\n".join(
            f"- **{self.chance.choice(WORDS)}**: {self.sentence()}" for _ in range(4)
        )
        code = "\n".join(self.code_line(n) for n in range(6))
        return f"{said}\n\n{listed}\n\n```python\n{code}\n```\n"

    def answer(self) -> str:
        rows = [{"id": n, "name": self.sentence()} for n in range(SIZES["answer"] // 110)]
        return json.dumps({"rows": rows})

    def cycle(self, n: int) -> list[dict[str, object]]:
        """Ten messages: the agent thinks, says, reads, edits, runs, asks a server."""

        def tool(name: str, **fields: object) -> dict[str, object]:
            text = json.dumps({"tool": name, **fields})
            return {"type": "ask", "ask": "tool", "text": text, "isAnswered": True}

        def say(kind: str, text: str) -> dict[str, object]:
            return {"type": "say", "say": kind, "text": text}

        return [
            say("user_feedback" if n else "text", self.sentence()),
            say("api_req_started", json.dumps({"tokensIn": 9000, "tokensOut": 300, "cost": 0.01})),
            say("reasoning", self.prose()),
            say("text", self.prose()),
            tool("readFile", path=f"src/part_{n % 40}.py", content=f"/src/part_{n % 40}.py"),
            tool("appliedDiff", path=f"src/part_{n % 40}.py", diff=self.diff()),
            tool("newFileCreated", path=f"src/new_{n}.py", content=self.code()),
            {"type": "ask", "ask": "command", "text": f"pytest -q tests/test_{n}.py"},
            say("command_output", self.output()),
            say("mcp_server_response", self.answer()),
        ]

    def conversation(self) -> list[dict[str, object]]:
        rows = [message for n in range(MANY // 10) for message in self.cycle(n)]
        rows[-1] = {"type": "say", "say": "completion_result", "text": self.prose()}
        # A page of something that is masked is what a reader of a public link gets.
        rows[2]["text"] = f"{rows[2]['text']}\npassword = 'jeMoh4Aequ7ieXae'\n"
        return [{"ts": BEGAN + 1000 * n, **row} for n, row in enumerate(rows)]


def libraries(parts: list[object]) -> float:
    """Seconds that the libraries take for some texts, as far as a page highlights them, with the
    settings of the page and nothing of ours around them."""
    import nh3
    from markdown_it import MarkdownIt
    from pygments import highlight
    from pygments.formatters.html import HtmlFormatter

    from tasks_sharing import diffs, highlighting, markup

    formatter = HtmlFormatter(nowrap=True)
    attributes = {"a": {"href", "title"}, "code": {"class"}, "span": {"class"}}

    def colour(code: str, language: str, _attributes: str = "") -> str:
        if language not in highlighting.LANGUAGES:
            return code
        return highlight(code, highlighting._lexer(language), formatter)

    parser = MarkdownIt("js-default", {"html": False, "linkify": False, "highlight": colour})

    def sides(text: str, language: str) -> str:
        return "".join(colour(side, language) for side in told[text])

    told: dict[str, list[str]] = {}
    work: list[Callable[[], str]] = []
    for part in parts:
        text, language = part.text, highlighting.language_of(part.detail) or part.detail
        if part.render is markup.markdown:
            work.append(partial(parser.render, text[: markup.MAX_MARKDOWN]))
        elif part.render is markup.code:
            work.append(partial(colour, text[: highlighting.MAX_CHARS], language))
        elif part.render is markup.diff:
            told[text] = [
                "".join(line.text for line in hunk.lines if line.sign != other)
                for hunk in diffs.read_unified(text)
                for other in "+-"
            ]
            work.append(partial(sides, text, language))
    began = time.perf_counter()
    for one in work:
        nh3.clean(one(), attributes=attributes)
    return time.perf_counter() - began


def shared(person: object, organization: object, rows: list[dict[str, object]], name: str) -> str:
    """The path of a task's public link."""
    from tasks_sharing import actions
    from tests import factories

    actor, at = factories.actor(person, organization), factories.NOON
    event = actions.Event("Task Created", {"taskId": name})
    actions.record_event(actor=actor, event=event, at=at)
    task = person.tasks.get(task_id=name)
    actions.replace_messages(task_pk=task.pk, messages=rows, requested_at=at)
    link = actions.share_task(actor=actor, task_id=name, visibility="public", at=at)
    return re.sub(r"https?://[^/]+", "", link.url)


def measure() -> bool:
    """On the database that the environment names; whether every target is met."""
    import django

    django.setup()
    from django.core.cache import cache
    from django.core.management import call_command
    from django.db import connection
    from django.test import Client

    from accounts.models import User
    from tasks_sharing import detection, markup
    from tests import factories

    call_command("migrate", verbosity=0)
    detection.prepare()
    person = User.objects.create_user("author@bench.example", "a bench's password")
    organization = factories.organization("Bench", owner=person)
    rows = Author().conversation()
    size = sum(len(json.dumps(row)) for row in rows)
    few = shared(person, organization, rows[:FEW], "few")
    many = shared(person, organization, rows, "many")
    client = Client(SERVER_NAME="localhost")

    def ask(path: str) -> tuple[float, bytes]:
        began = time.perf_counter()
        answer = client.get(path)
        took = time.perf_counter() - began
        if answer.status_code != 200:
            raise SystemExit(f"{path} answered {answer.status_code}")
        return took, answer.content

    def peak(path: str) -> float:
        tracemalloc.start()
        ask(path)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most / 2**20

    rendered: list[list[object]] = []
    original = markup.render

    def spied(parts: list[object]) -> object:
        rendered.append(list(parts))
        return original(parts)

    markup.render = spied
    cache.clear()
    _, page = ask(many)
    markup.render = original
    texts = [part for parts in rendered for part in parts]
    afforded, left = [], markup.PAGE_BUDGET
    for part in texts:
        if part.cost <= left:
            left -= part.cost
            afforded.append(part)
    ask(few)
    gc.collect()
    gc.freeze()  # as a server does when it has started
    print(
        f"\n{connection.vendor}: {MANY:,} messages of {size / 10**6:.0f} MB against {FEW};"
        f" first page {len(page) / 1000:,.0f} kB, {ROUNDS} requests of each",
        flush=True,
    )
    met = True

    def verdict(what: str, value: float, limit: float, detail: str) -> None:
        nonlocal met
        met &= value <= limit
        word = "met" if value <= limit else "NOT MET"
        print(f"{word:8}{value:8.2f}  {what} ({detail}; target at most {limit})", flush=True)

    times: list[list[float]] = [[], []]
    for _ in range(ROUNDS):
        times[0].append(ask(few)[0])
        times[1].append(ask(many)[0])
    one, other = (1000 * statistics.median(found) for found in times)
    verdict("cached, against few messages", other / one, 2, f"{one:.1f} ms, {other:.1f} ms")
    times = [[], [], []]
    for _ in range(ROUNDS):
        cache.clear()
        times[0].append(libraries(texts))
        times[1].append(libraries(afforded))
        times[2].append(ask(many)[0])
    whole, some, other = (1000 * statistics.median(found) for found in times)
    verdict("cold, against the libraries", other / whole, 1.5, f"{whole:.1f} ms, {other:.1f} ms")
    print(f"{other / some:16.2f}  the same, against them on what it affords ({some:.1f} ms)")
    warm = peak(few), peak(many)
    cache.clear()
    cold = peak(many)
    print(
        f"memory at most, of one request: cached {warm[0]:.1f} MB and {warm[1]:.1f} MB,"
        f" cold {cold:.1f} MB",
        flush=True,
    )
    connection.close()
    return met


if __name__ == "__main__":
    on_each_database(__file__, "share", measure)
