"""D8: whatever breaks while a task is followed from afar, the page ends as the transcript."""

import random
import time

import pytest

from roocloud.entry import gate
from tests.bridge.conftest import instance, message, question
from tests.browser.test_roomote import (  # noqa: F401 - fixtures
    LIVE,
    follow,
    open_page,
    record,
    token,
    world,
)
from tests.faults.test_money import say
from tests.tasks_sharing.everything import BEGAN

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
PLACES = 60  # of messages; what comes to a place again replaces what was there
REPAIRED_MS = 5_000
#: Whether the page shows the blocks that a reload would show, no more and no less, nothing as being
#: written that is recorded, and the question that waits.
IS_REPAIRED = """async ([words, asked]) => {
  const answer = await fetch(location.pathname).catch(() => null);
  if (!answer?.ok) return false;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const blocks = (root) => [...root.querySelectorAll("[data-part=talk] .talk > li")];
  const shown = blocks(document);
  if (shown.some((block) => block.hidden) || document.querySelector(".roomote__said")) return false;
  if (!document.querySelector("[data-part=talk]").innerText.includes(words)) return false;
  const versions = (of) => of.map((block) => block.dataset.version).join();
  const card = document.querySelector(".dock roomote-question");
  return versions(shown) === versions(blocks(page)) && (card.hidden ? "" : card.innerText).includes(asked)
    && card.hidden === !asked && document.querySelector("[data-part=link]").textContent === "Live";
}"""
CUT = "import('bridge-link').then(({ link }) => link().socket.io.engine.close())"


def broken(one, kind, monkeypatch, seconds):
    """Around what is missed: the server restarts, the network is away, or the socket breaks."""
    if kind == "restart":
        monkeypatch.setattr(gate, "is_closed", True)
    elif kind == "network":
        one.context.set_offline(True)
    one.page.evaluate(CUT)
    yield
    time.sleep(seconds)
    if kind == "restart":
        monkeypatch.setattr(gate, "is_closed", False)
    elif kind == "network":
        one.context.set_offline(False)
    yield


@pytest.mark.parametrize("breaks", [6, pytest.param(200, marks=pytest.mark.faults)])
def test_the_page_is_the_transcript_after_each_break(
    world,  # noqa: F811 - fixtures
    token,  # noqa: F811
    alice,
    open_page,  # noqa: F811
    monkeypatch,
    breaks,
):
    chance = random.Random(8)  # noqa: S311 - the same in every run
    record(alice, [message(BEGAN + 1000 * n, f"message {n}")["message"] for n in range(12)])
    editor, one = follow(world, token, open_page)
    page = one.page
    slowest = 0.0
    for number in range(breaks):
        kind = chance.choice(["restart", "network", "socket"]) if number else "network"
        lasts_s = chance.uniform(0, 0.4) if number else 10
        at = BEGAN + 1000 * chance.randrange(12, PLACES)
        words = f"break {number}: {kind}"
        editor.emit("task:event", message(at, "half", partial=True), None)
        around = broken(one, kind, monkeypatch, lasts_s)
        next(around)
        editor.emit("task:event", message(at, words[:9], partial=True), None)
        late = message(BEGAN + 500 + 1000 * chance.randrange(12), f"late, {words}")["message"]
        record(alice, [message(at, words)["message"], *([late] if number % 3 == 0 else [])])
        next(around)
        began = time.monotonic()
        back = editor.count("connect")
        asked = f"npm run break-{number}" if number % 2 else ""
        if kind == "restart":  # which cuts editors too
            editor.wait("connect", lambda *_, n=back: editor.count("connect") >= n, passed=True)
        ask = question(BEGAN + 900_000 + number, text=asked)["message"] if asked else None
        state = {"taskStatus": "interactive" if asked else "running"}
        editor.emit("extension:register", instance(taskAsk=ask, task=state), None)
        editor.emit("task:join", {"taskId": "task-1"}, None)
        page.wait_for_function(IS_REPAIRED, arg=[words, asked], timeout=REPAIRED_MS, polling=200)
        slowest = max(slowest, time.monotonic() - began)
    if breaks > 100:
        say(f"D8: {breaks} breaks, each repaired; the slowest in {slowest:.1f} s")
    one.complaints.clear()  # of the browser, about what was away
