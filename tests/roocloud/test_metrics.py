"""``/metrics``: what a completion leaves there, and who may read it."""

import time

import openai
import pytest
from django.db import connection
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from credits import actions as credit
from proxy import actions
from proxy.routing import OPENS_AFTER, breaker
from roocloud.lib.money import NANOS_PER_USD as USD
from tests import factories
from tests.fakes.upstream import KEY, fake_upstream


class Figures(dict):
    """Values by name and label values, in whatever order: ``figures("name", "east", "done")``."""

    def __call__(self, name: str, *labels: str) -> float | None:
        return self.get((name, frozenset(labels)))


def scrape(client) -> Figures:
    text = client.get("/metrics", headers={"Host": "localhost"}).content.decode()
    return Figures(
        ((sample.name, frozenset(sample.labels.values())), sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    )


@pytest.mark.django_db(transaction=True)
class TestTheFigures:
    @pytest.fixture
    def ask(self, live_url, alice):
        """Ask a model of the fake upstream, called ``metered``."""
        at = timezone.now()
        account = credit.account_of(user_id=alice.pk, organization_id=None, at=at)
        credit.grant(account=account, amount_nanos=USD, key="g", by=None, at=at, note="")
        with fake_upstream() as fake:
            row = actions.put_upstream(
                name="metered", base_url=fake.url, api_key=KEY, by=None, at=at
            )
            for name in ("plain", "status-500"):
                actions.put_model(
                    model_id=f"fake/{name}", upstream=row, upstream_model=name,
                    price=actions.NewPrice(3 * USD, 15 * USD),
                    facts=actions.ModelFacts(max_tokens=100, context_window=2000), by=None, at=at,
                )  # fmt: skip
            key = factories.bearer(alice, kind="job")["Authorization"].removeprefix("Bearer ")
            client = openai.OpenAI(base_url=f"{live_url}/proxy/v1", api_key=key, max_retries=0)

            def run(model):
                messages = [{"role": "user", "content": "Hello"}]
                return list(
                    client.chat.completions.create(model=model, messages=messages, stream=True)
                )

            run.upstream = row
            yield run

    def read(self, client, *until):
        """The figures, once that one is among them: a settlement follows the last byte."""
        deadline = time.monotonic() + 10
        while True:
            found = scrape(client)
            if found(*until) or time.monotonic() > deadline:
                return found
            time.sleep(0.02)

    def test_are_of_what_was_completed(self, client, ask, alice):
        ask("fake/plain")
        found = self.read(client, "roocloud_completions_total", "metered", "done")

        assert found("roocloud_completions_total", "metered", "done") == 1
        assert found("roocloud_first_byte_seconds_count", "metered") == 1
        assert found("roocloud_tokens_total", "metered", "prompt") == 1000
        assert found("roocloud_tokens_total", "metered", "completion") == 50
        assert found("roocloud_spend_usd_total", "metered") == pytest.approx(0.00375)
        assert found("roocloud_running_completions") == 0
        assert found("roocloud_upstream_breaker", "metered", "closed") == 1
        assert alice.pk not in str(found)
        assert alice.email not in str(found)

    def test_tell_failures_and_an_open_breaker(self, client, ask):
        with pytest.raises(openai.APIStatusError):
            ask("fake/status-500")
        found = self.read(client, "roocloud_completions_total", "metered", "failed")
        assert found("roocloud_completions_total", "metered", "failed") == 1
        assert found("roocloud_upstream_failures_total", "metered", "upstream_failed") >= 1

        for _ in range(OPENS_AFTER):
            breaker.failed(ask.upstream.pk, now=time.monotonic())
        found = scrape(client)
        assert found("roocloud_upstream_breaker", "metered", "open") == 1
        assert found("roocloud_upstream_breaker", "metered", "closed") == 0

    def test_have_the_pool_of_the_database_that_has_one(self, client):
        waiting = scrape(client)("roocloud_database_requests_waiting")
        assert waiting == (0 if connection.vendor == "postgresql" else None)


class TestWhoMayRead:
    @pytest.fixture(autouse=True)
    def _token(self, settings):
        settings.ROOCLOUD_METRICS_TOKEN = ""

    @pytest.mark.parametrize("host", ["127.0.0.1:3000", "localhost", "[::1]", "[::1]:3000"])
    def test_without_a_token_this_machine(self, client, db, settings, host):
        settings.ALLOWED_HOSTS = ["127.0.0.1", "localhost", "[::1]"]
        assert client.get("/metrics", headers={"Host": host}).status_code == 200

    @pytest.mark.parametrize(
        "headers",
        [
            {"Host": "cloud.example.com"}, {"X-Forwarded-For": "127.0.0.1"}, {"Forwarded": "for=127.0.0.1"},
            {"X-Forwarded-Proto": "https"}, {"X-Real-IP": "127.0.0.1"}, {"Via": "1.1 x"},
            {"Host": "127.0.0.1.example.com"},
        ],
    )  # fmt: skip
    def test_and_nobody_whose_request_was_passed_on(self, client, db, settings, headers):
        settings.ALLOWED_HOSTS = ["*"]
        assert client.get("/metrics", headers={"Host": "localhost", **headers}).status_code == 404

    def test_nor_another_machine(self, client, db):
        for address in ("192.0.2.1", "10.0.0.1", "", "x"):
            assert client.get("/metrics", REMOTE_ADDR=address).status_code == 404

    def test_with_a_token_only_who_has_it(self, client, db, settings):
        settings.ROOCLOUD_METRICS_TOKEN = "scrape-me"
        for wrong in ("", "Bearer", "Bearer ", "Bearer scrape-m", "scrape-me", "Bearer é"):
            assert client.get("/metrics", headers={"Authorization": wrong}).status_code == 404
        answer = client.get(
            "/metrics",
            headers={"Authorization": "Bearer scrape-me", "X-Forwarded-For": "192.0.2.1"},
        )
        assert answer.status_code == 200
        assert answer.headers["Content-Type"].startswith("text/plain")

    def test_the_session_of_an_administrator_is_no_credential(self, client, settings, db):
        settings.ROOCLOUD_METRICS_TOKEN = "scrape-me"
        client.force_login(factories.user("root@x.example", is_staff=True, is_superuser=True))
        assert client.get("/metrics").status_code == 404
