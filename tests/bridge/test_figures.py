"""``/api/admin/metrics`` (protocol/bridge.md §8.5), and the alert rules (§8.6)."""

import re
import time
from collections import Counter
from pathlib import Path

import pytest
import yaml
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from bridge import figures
from bridge.figures import Meter
from bridge.models import Command, Instance
from tests import factories
from tests.bridge import paired
from tests.bridge.conftest import cookies_of, message, token_of

PATH = "/api/admin/metrics"
NAMES = {
    "connections": {
        "activeConnections", "connectionRate", "disconnectionRate", "averageSessionDuration",
    },
    "messages": {"messagesPerSecond", "messageLatency", "messageDeliveryRate", "queueDepth"},
    "devices": {"onlineDevices", "devicesByType", "averageDevicesPerUser"},
    "performance": {
        "cpuUtilization", "memoryUtilization", "networkThroughput", "databaseConnections",
    },
}  # fmt: skip
RULES = Path(__file__).resolve().parents[2] / "docs" / "alerts.yml"


def test_a_rate_is_of_the_last_minute():
    """A minute of 10 a second, after a quiet hour, and not yet a sample of the last second."""
    meter = Meter()
    now = time.monotonic()
    for second in range(-120, 0, 5):
        meter.counts["events"] = max(second + 61, 0) * 10
        meter.sample(now=now + second)
    meter.counts["events"] = 610
    meter.timed.extend((now - 1, ms / 1000) for ms in range(1, 101))
    meter.timed.appendleft((now - 90, 99.0))
    found = figures.rates([meter])
    assert found.a_second["events"] == pytest.approx(10, rel=0.1)
    assert found.percentiles_ms == {"p50": 51, "p95": 96, "p99": 100}


def test_two_hubs_are_added_and_an_idle_one_says_nothing():
    busy, idle = Meter(Counter(events=0)), Meter()
    busy.sample(now=time.monotonic() - 10)
    busy.counts.update({"events": 100, "closed": 2, "session_ms": 4000})
    found = figures.rates([busy, idle])
    assert found.a_second["events"] == pytest.approx(10, rel=0.01)
    assert figures.rates([idle]).percentiles_ms == {"p50": 0.0, "p95": 0.0, "p99": 0.0}


@pytest.mark.django_db(transaction=True)
class TestTheDocument:
    def test_has_the_names_of_the_protocol(self, world, alice, settings):
        settings.ROOCLOUD_METRICS_TOKEN = "scrape-me"
        editor = world.working_editor(token_of(alice))
        world.following_browser(cookies_of(alice))
        for ts in range(64):
            editor.emit("task:event", message(ts), None)
        assert editor.ask("task:leave", {"taskId": "task-1"})["success"] is True
        Command.unscoped.create(
            pk="cmd_1", sender=alice, key="k", kind="start_task", state="queued",
            given_at=timezone.now(), expires_at=timezone.now(),
        )  # fmt: skip
        device = paired.paired(alice, "phone").device
        type(device).unscoped.update(sid="sid_1", last_seen_at=timezone.now())

        answer = Client().get(PATH, headers={"Authorization": "Bearer scrape-me"})

        told = answer.json()
        assert {part: set(told[part]) for part in told} == NAMES
        assert told["connections"]["activeConnections"] == 2
        assert set(told["messages"]["messageLatency"]) == {"p50", "p95", "p99"}
        assert told["messages"]["messageLatency"]["p99"] > 0
        assert told["messages"]["queueDepth"] == 1
        assert told["devices"]["devicesByType"] == {"desktop": 1, "mobile": 1}
        assert told["devices"]["averageDevicesPerUser"] == 2
        assert 0 < told["performance"]["memoryUtilization"] <= 100
        assert answer.headers["Cache-Control"] == "no-store"
        assert alice.pk not in answer.content.decode()

    def test_counts_each_person_once(self, alice, bob):
        at = timezone.now()
        for person, windows in ((alice, 3), (bob, 1)):
            for number in range(windows):
                Instance.unscoped.create(
                    owner=person, instance_id=f"w{number}", snapshot="{}", first_seen_at=at,
                    last_seen_at=at,
                )  # fmt: skip
        told = figures.document([], sockets=0, at=at)
        assert told["devices"]["onlineDevices"] == 4
        assert told["devices"]["averageDevicesPerUser"] == 2


@pytest.mark.django_db
class TestWhoMayReadIt:
    @pytest.fixture(autouse=True)
    def _token(self, settings):
        settings.ROOCLOUD_METRICS_TOKEN = "scrape-me"

    def test_an_administrator(self, client):
        client.force_login(factories.user("root@x.example", is_staff=True, is_superuser=True))
        assert client.get(PATH).status_code == 200

    def test_nobody_else(self, client, alice, acme):
        """A2"""
        assert client.get(PATH).status_code == 404
        client.force_login(alice)
        assert client.get(PATH).status_code == 404
        for kind in ("editor", "cli", "job"):
            headers = factories.bearer(alice, acme, kind)
            assert Client().get(PATH, headers=headers).status_code == 404
        assert Client().get(PATH).json()["success"] is False


@pytest.mark.django_db
class TestTheAlertRules:
    @pytest.fixture
    def rules(self):
        [group] = yaml.safe_load(RULES.read_text())["groups"]
        return group["rules"]

    def test_name_only_what_is_exported(self, client, rules, settings):
        settings.ROOCLOUD_METRICS_TOKEN = ""
        text = client.get("/metrics", headers={"Host": "localhost"}).content.decode()
        exported = {
            sample.name
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
        named = set(re.findall(r"roocloud_\w+", RULES.read_text()))
        pool_of_postgresql = {"roocloud_database_requests_waiting"}
        assert len(named) >= 5
        assert named - pool_of_postgresql <= exported | {
            n.removesuffix("_bucket") for n in exported
        }

    def test_are_those_of_the_protocol(self, rules):
        """§8.6: routing > 1 s, connections > 5 %, queries > 500 ms, memory > 80 %, disk > 85 %."""
        thresholds = [rule["expr"].strip().rpartition("> ")[2] for rule in rules]
        assert thresholds == ["1", "0.05", "0.5", "0.8", "0.85"]
        for rule in rules:
            assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}
            assert (rule["for"], rule["expr"].count("[5m]") > 0) == ("5m", True)
            assert rule["expr"].count("(") == rule["expr"].count(")")
