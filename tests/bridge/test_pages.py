"""The pages of remote control, as the server makes them."""

import json
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from bridge import overview, presence, schemas
from bridge.models import Instance
from bridge.overview import State
from bridge.presence import Sighting
from tests import factories
from tests.bridge.conftest import instance, question

READER = schemas.Reader(schemas.ExtensionInstance)


def see(person, *, organization=None, ago=timedelta(0), **changes) -> None:
    """An editor of the person's, as it was heard of some time ago."""
    described = READER.read(json.dumps(instance(**changes)))
    at = timezone.now() - ago
    context = organization.pk if organization else None
    presence.put([Sighting(person.pk, context, described, "node", "sid", at)])


def listed(person) -> list[tuple[str, State]]:
    found = overview.editors(factories.actor(person), at=timezone.now())
    return [(one.instance_id, one.state) for one in found]


@pytest.fixture
def mine(client, alice):
    client.force_login(alice)
    return client


class TestTheList:
    def test_begins_with_what_waits_for_somebody(self, alice):
        see(alice, instanceId="idle", task={"taskStatus": "idle"})
        see(alice, instanceId="runs", task={"taskStatus": "running"})
        see(alice, instanceId="asks", task={"taskStatus": "interactive"})
        failed = question(5, "api_req_failed")["message"]
        see(alice, instanceId="fails", taskAsk=failed, task={"taskStatus": "idle"})
        see(alice, instanceId="gone", workspacePath="/elsewhere", ago=timedelta(minutes=2))

        assert listed(alice) == [
            ("asks", State.NEEDS), ("fails", State.NEEDS), ("runs", State.RUNNING),
            ("idle", State.IDLE), ("gone", State.OFFLINE),
        ]  # fmt: skip

    def test_forgets_a_window_whose_folder_is_open_again(self, alice):
        see(alice, instanceId="before", ago=timedelta(hours=1))
        see(alice, instanceId="long before", ago=timedelta(hours=2))
        assert listed(alice) == [("before", State.OFFLINE)]

        see(alice, instanceId="now")

        assert listed(alice) == [("now", State.RUNNING)]

    def test_says_what_each_is_at(self, alice, mine):
        usage = {"totalTokensIn": 31_870, "totalTokensOut": 1_236, "totalCost": 0.0703}
        asks = question(5, text="npm test")["message"]
        see(alice, taskAsk=asks, task={"taskStatus": "interactive", "tokenUsage": usage})

        page = mine.get("/roomote").content.decode()

        for words in (
            "Mend the till", "acme/shop · main · desk", "Run npm test", "needs you",
            "33,106 tokens · $0.0703",
        ):  # fmt: skip
            assert words in page, words

    @pytest.mark.parametrize(
        ("cost", "shown"),
        [(0.0042, "$0.0042"), (0.00042, "$0.00042"), (12.5, "$12.50"), (0, "$0.00"),
         (1e308, "$100,000,000.00"), (-1e308, "$0.00")],
    )  # fmt: skip
    def test_says_what_each_used_as_the_script_does(self, alice, cost, shown):
        see(alice, task={"tokenUsage": {"totalTokensIn": 1, "totalCost": cost}})
        [one] = overview.editors(factories.actor(alice), at=timezone.now())
        assert one.used == f"1 tokens · {shown}"

    def test_is_announced_on_the_home_page(self, alice, mine):
        factories.client_session(alice)
        see(alice, instanceId="asks", task={"taskStatus": "interactive"})
        see(alice, instanceId="gone", workspacePath="/elsewhere", ago=timedelta(minutes=2))

        page = mine.get("/").content.decode()

        assert page.count("waits for you") == 1
        assert 'href="/roomote/asks"' in page
        assert 'href="/roomote/gone"' not in page

    def test_says_what_to_do_when_it_is_empty(self, mine):
        page = mine.get("/roomote").content.decode()

        assert "No editor is connected yet" in page
        assert 'href="/connect"' in page

    def test_asks_as_much_for_thirty_editors_as_for_three(self, alice, mine):
        def queries() -> int:
            with CaptureQueriesContext(connection) as asked:
                mine.get("/roomote")
            return len(asked)

        for n in range(3):
            see(alice, instanceId=f"few-{n}")
        queries()  # the first looks up the session's context
        few = queries()
        for n in range(27):
            see(alice, instanceId=f"many-{n}")

        assert queries() == few

    def test_is_its_persons_own(self, alice, mallory, client):
        see(alice)
        client.force_login(mallory)

        assert "Mend the till" not in client.get("/roomote").content.decode()
        assert client.get("/roomote/window-1").status_code == 404


class TestAnEditor:
    def test_shows_what_is_open_in_it(self, alice, mine):
        see(alice)

        answer = mine.get("/roomote/window-1")

        assert "Mend the till" in answer.content.decode()
        assert "Nothing of this task is recorded here yet" in answer.content.decode()
        assert answer.headers["Cache-Control"] == "no-store"

    def test_is_found_by_an_id_with_any_sign(self, alice, mine):
        see(alice, instanceId="a/b?c d")

        assert "/roomote/a/b%3Fc%20d" in mine.get("/roomote").content.decode()
        assert mine.get("/roomote/a/b%3Fc%20d").status_code == 200

    def test_what_it_says_of_itself_is_text(self, alice, mine):
        """J1"""
        hostile = "</script><script>hacked()</script>"
        see(alice, workspacePath=hostile, mode=hostile, task={"task": hostile},
            taskAsk=question(5, text=hostile)["message"])  # fmt: skip

        for path in ("/roomote", "/roomote/window-1"):
            assert "<script>hacked" not in mine.get(path).content.decode()


def test_the_app_can_be_installed(mine):
    manifest = mine.get("/roomote/manifest.webmanifest")
    worker = mine.get("/roomote/worker.js")

    assert manifest.headers["Content-Type"] == "application/manifest+json"
    assert manifest.json()["scope"] == "/roomote"
    assert worker.headers["Service-Worker-Allowed"] == "/roomote"
    assert worker.headers["Content-Type"] == "text/javascript"
    for path in ("/roomote", "/roomote/offline"):
        assert mine.get(path).status_code == 200
    assert not Instance.unscoped.exists()
