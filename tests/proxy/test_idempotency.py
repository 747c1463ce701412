"""C6: a completion that is asked for again with its Idempotency-Key is made once, charged once, and
answered alike."""

import asyncio
import json
from collections.abc import Sequence
from datetime import timedelta

import aiohttp
import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from credits import actions as credit
from credits import queries as books
from orgs.models import Membership
from proxy import actions, completions, idempotency, settling
from proxy.calls import CHAT
from proxy.idempotency import Answer, Ending
from proxy.models import Completion, IdempotencyKey, LanguageModel
from roocloud.asgi import application
from roocloud.lib import outbound, sealed
from roocloud.lib.crypto import new_key
from roocloud.lib.fresh import forget_everything
from roocloud.lib.money import NANOS_PER_USD as USD
from tests import factories
from tests.fakes.upstream import KEY, fake_upstream
from tests.live import serving
from tests.proxy.test_completions import COST_NANOS, MESSAGES, PRICE, all_settled

pytestmark = pytest.mark.django_db(transaction=True)

CHAT_PATH, EMBEDDINGS_PATH = "chat/completions", "embeddings"
WHOLE = {"model": "fake/plain", "messages": MESSAGES}
STREAM = {**WHOLE, "stream": True}
EMBEDDING = {"model": "fake/embed", "input": "Hello"}
NAME = "order-66"


@pytest.fixture(scope="module")
def upstream():
    with fake_upstream() as fake:
        yield fake


@pytest.fixture
def offered(transactional_db, upstream):
    upstream.requests.clear()
    upstream.cut.clear()
    at = timezone.now()
    row = actions.put_upstream(name="fake", base_url=upstream.url, api_key=KEY, by=None, at=at)
    facts = {"price": PRICE, "max_tokens": 100, "context_window": 2000}
    names = ["plain", "unhurried", "slow", "breaks", "status-500"]
    factories.models(row, names, prefix="fake", **facts)
    factories.models(row, ["embed"], prefix="fake", kind=LanguageModel.Kind.EMBEDDING, **facts)
    return row


@pytest.fixture
def account(alice):
    return factories.account(alice)


@pytest.fixture
def alice_(alice):
    return factories.bearer(alice, kind="job")


class Got:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body
        self.is_repeated = headers.get("idempotent-replayed") == "true"


def post_all(
    requests: Sequence[tuple[str, dict, dict]], *, path=CHAT_PATH, leaves_after_s=None
) -> list[Got]:
    """At once: (base URL, headers, body) of each. leaves_after_s: when the client hangs up."""

    async def one(session, url, headers, body) -> Got:
        async with session.post(f"{url}/proxy/v1/{path}", json=body, headers=headers) as answer:
            return Got(answer.status, answer.headers, await answer.read())

    async def run() -> list[Got]:
        timeout = aiohttp.ClientTimeout(leaves_after_s or 30)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
            return await asyncio.gather(*(one(session, *request) for request in requests))

    return asyncio.run(run())


@pytest.fixture
def ask(live_url, offered, alice_):
    def ask(body, *, key=NAME, as_=alice_, **how) -> Got:
        headers = as_ if key is None else {**as_, "Idempotency-Key": key}
        (got,) = post_all([(live_url, headers, body)], **how)
        return got

    return ask


def charged(account) -> int:
    all_settled()
    account.refresh_from_db()
    assert books.mismatches() == []
    return USD - account.balance_nanos


def claimed(alice, key=NAME, body=b"{}", completion_id="chatcmpl_dead"):
    """A claim of somebody else's process."""
    return idempotency.claim_of(
        factories.actor(alice), CHAT, key, body, completion_id=completion_id
    )


class TestARepetition:
    @pytest.mark.parametrize("body", [WHOLE, STREAM])
    def test_gets_the_same_answer_and_costs_nothing(self, ask, account, upstream, body):
        first, second = ask(body), ask(body)

        assert [first.status, second.status] == [200, 200]
        assert first.body == second.body
        assert [first.is_repeated, second.is_repeated] == [False, True]
        for name in ("content-type", "x-roocloud-upstream", "cache-control"):
            assert first.headers[name] == second.headers[name]
        assert len(upstream.requests) == 1
        assert charged(account) == COST_NANOS
        assert Completion.unscoped.count() == 1

    def test_is_one_on_every_route(self, ask, account, upstream):
        first, second = (ask(EMBEDDING, path=EMBEDDINGS_PATH) for _ in range(2))
        assert (first.body, second.is_repeated) == (second.body, True)
        assert len(upstream.requests) == 1

    @pytest.mark.parametrize("is_stream", [False, True])
    def test_fifty_at_once_on_two_servers_have_one_effect(
        self, live_url, offered, account, alice_, upstream, is_stream
    ):
        headers = {**alice_, "Idempotency-Key": NAME}
        body = {**WHOLE, "model": "fake/slow" if is_stream else "fake/unhurried"}
        body["stream"] = is_stream
        with serving(application) as other_url:
            urls = [live_url, other_url] * 25
            got = post_all([(url, headers, body) for url in urls])
        assert {one.status for one in got} == {200}
        assert len({one.body for one in got}) == 1
        assert [one.is_repeated for one in got].count(False) == 1
        assert len(upstream.requests) == 1
        assert charged(account) == COST_NANOS

    @pytest.mark.parametrize("model", ["unhurried", "slow"])
    def test_after_a_lost_connection_gets_the_whole_answer(self, ask, account, upstream, model):
        """The first is made to its end without its client."""
        body = {**WHOLE, "model": f"fake/{model}", "stream": model == "slow"}
        with pytest.raises(TimeoutError):
            ask(body, leaves_after_s=0.2)
        again = ask(body)
        assert (again.status, again.is_repeated) == (200, True)
        assert b"upstream" in again.body
        assert not upstream.cut.is_set()
        assert len(upstream.requests) == 1
        assert charged(account) == COST_NANOS
        assert Completion.unscoped.get().status == "done"

    def test_of_a_failure_that_was_paid_for_fails_alike(self, ask, account, upstream):
        body = {**STREAM, "model": "fake/breaks"}
        first, second = ask(body), ask(body)
        assert (first.body, second.is_repeated) == (second.body, True)
        assert b'"error"' in first.body
        assert len(upstream.requests) == 1
        assert charged(account) > 0

    def test_needs_no_credit(self, ask, account):
        first = ask(WHOLE)
        all_settled()
        account.refresh_from_db()
        (hold,) = credit.place_holds(
            [credit.HoldRequest(account.pk, account.balance_nanos)], at=timezone.now()
        )
        assert ask(WHOLE).body == first.body
        credit.settle_holds([], closing=[hold], at=timezone.now())

    def test_is_refused_to_who_may_not_ask_any_more(self, ask, offered, bob, acme):
        """A4"""
        factories.account(bob, acme)
        headers = factories.bearer(bob, acme, kind="job")
        assert ask(WHOLE, as_=headers).status == 200
        Membership.unscoped.filter(user=bob).update(role="readonly")
        forget_everything()
        assert ask(WHOLE, as_=headers).status == 403

    def test_of_an_answer_too_large_to_keep_says_so(self, ask, account, upstream, monkeypatch):
        monkeypatch.setattr(idempotency, "MAX_ANSWER", 100)
        assert ask(WHOLE).status == 200
        again = ask(WHOLE)
        assert (again.status, again.is_repeated) == (410, False)
        assert b"idempotent_answer_gone" in again.body
        assert len(upstream.requests) == 1
        assert charged(account) == COST_NANOS


class TestAKey:
    @pytest.mark.parametrize(
        ("body", "path"),
        [
            ({**WHOLE, "temperature": 1}, CHAT_PATH),
            (STREAM, CHAT_PATH),
            (EMBEDDING, EMBEDDINGS_PATH),
        ],
    )
    def test_names_one_request(self, ask, account, upstream, body, path):
        assert ask(WHOLE).status == 200
        other = ask(body, path=path)
        assert other.status == 422
        assert b'"param": "Idempotency-Key"' in other.body
        assert len(upstream.requests) == 1
        assert charged(account) == COST_NANOS

    @pytest.mark.parametrize("key", ["", "x" * 256, "two words", "schlüssel", "tab\tbed"])
    def test_of_another_shape_is_400_and_names_the_header(self, ask, account, upstream, key):
        refused = ask(WHOLE, key=key)
        assert refused.status == 400
        assert b'"param": "Idempotency-Key"' in refused.body
        assert upstream.requests == []

    def test_is_its_callers_own(self, ask, account, alice, bob, acme, upstream):
        """A1: who knows another's key and request learns nothing."""
        factories.account(alice, acme)
        callers = [
            factories.bearer(alice, kind="job"),
            factories.bearer(alice, acme, kind="job"),
            factories.bearer(bob, acme, kind="job"),
            *({"Authorization": f"Bearer {factories.api_key(alice, acme, name=name).secret}"}
              for name in ("one", "two")),
        ]  # fmt: skip
        got = [ask(WHOLE, as_=caller) for caller in callers]
        assert [one.is_repeated for one in got] == [False] * 5
        assert len(upstream.requests) == 5
        assert [ask(WHOLE, as_=caller).is_repeated for caller in callers] == [True] * 5

    def test_is_free_again_after_a_refusal_that_cost_nothing(self, ask, account, upstream):
        body = {**WHOLE, "model": "fake/status-500"}
        assert [ask(body).status, ask(body).status] == [502, 502]
        assert len(upstream.requests) == 2
        assert ask(WHOLE).status == 200
        assert charged(account) == COST_NANOS

    def test_is_free_again_after_a_lack_of_credit(self, ask, alice):
        assert [ask(WHOLE).status, ask(WHOLE).is_repeated] == [402, False]
        factories.account(alice)
        assert ask(WHOLE).status == 200

    def test_of_a_running_request_is_409_after_a_while(
        self, ask, alice, account, upstream, monkeypatch
    ):
        monkeypatch.setattr(completions, "_WAIT_S", 0.2)
        body = b'{"model": "fake/plain", "messages": [{"role": "user", "content": "Hello"}]}'
        idempotency.stand(claimed(alice, body=body), at=timezone.now())
        refused = ask(WHOLE)
        assert (refused.status, refused.headers["retry-after"]) == (409, "10")
        assert upstream.requests == []

    def test_of_a_dead_process_is_free_again(self, ask, alice, account, upstream):
        """C4: whatever it had asked for."""
        idempotency.stand(claimed(alice), at=timezone.now() - idempotency.DEAD_AFTER * 2)
        assert ask(WHOLE).status == 200
        assert ask(WHOLE).is_repeated
        assert charged(account) == COST_NANOS

    def test_that_is_refused_frees_it_for_those_who_come_later(self, alice):
        """Those who waited for the refusal get it too."""
        at = timezone.now()
        first, waiting, late = (claimed(alice, completion_id=f"c{n}") for n in range(3))
        assert idempotency.stand(first, at=at) == idempotency.Standing()
        assert idempotency.stand(waiting, at=at).running == "c0"
        refusal = Answer(502, [(b"content-type", b"application/json")], b"{}")
        idempotency.release(Ending(first, refusal), at=at)
        assert idempotency.stand(waiting, waits_for="c0", at=at).answer == refusal
        assert idempotency.stand(late, at=at) == idempotency.Standing()
        assert idempotency.stand(waiting, waits_for="c0", at=at).running == "c2"

    def test_that_was_taken_over_is_not_ended_by_who_wakes_up(self, alice):
        at, later = timezone.now(), timezone.now() + idempotency.DEAD_AFTER * 2
        frozen, next_ = claimed(alice, completion_id="c0"), claimed(alice, completion_id="c1")
        idempotency.stand(frozen, at=at)
        assert idempotency.stand(next_, at=later) == idempotency.Standing()
        idempotency.renew([frozen], at=later + timedelta(days=1))
        idempotency.release(Ending(frozen, Answer(200, [], b"old")), at=later)
        row = IdempotencyKey.unscoped.get()
        assert (row.completion_id, row.state, row.seen_at) == ("c1", "running", later)

    def test_whose_process_gives_signs_of_life_is_kept(self, alice):
        at = timezone.now()
        claim, other = claimed(alice, completion_id="c0"), claimed(alice, completion_id="c1")
        idempotency.stand(claim, at=at)
        later = at + idempotency.DEAD_AFTER
        idempotency.renew([claim], at=later)
        assert idempotency.stand(other, at=later + timedelta(seconds=80)).running == "c0"


async def test_an_answer_that_the_end_of_the_process_cuts_frees_its_key(
    offered, account, alice_, upstream
):
    """Of what was charged the repetition gets nothing, so it is made anew."""
    body = json.dumps({**STREAM, "model": "fake/slow"}).encode()
    headers = {**alice_, "Idempotency-Key": NAME}
    scope = {
        "type": "http",
        "method": "POST",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
    }
    sent = []

    async def receive():
        return {"type": "http.request", "body": body}

    async def send(message):
        sent.append(message)

    call = asyncio.create_task(completions.application(CHAT)(scope, receive, send))
    async with asyncio.timeout(10):
        while len(sent) < 3:  # noqa: ASYNC110 - the answer under way
            await asyncio.sleep(0.01)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await settling.settled()
    await outbound.close()

    row = await sync_to_async(IdempotencyKey.unscoped.get)()
    assert (row.state, row.sealed_answer) == ("released", "")
    completion = await sync_to_async(Completion.unscoped.get)()
    assert (completion.status, completion.cost_nanos > 0) == ("cut", True)


class TestWhatIsStored:
    def test_without_a_key_is_nothing_and_costs_no_query(self, ask, account, monkeypatch):
        for name in ("stand", "end", "renew", "sealed", "claim_of"):
            monkeypatch.delattr(idempotency, name)
        assert [ask(body, key=None).status for body in (WHOLE, STREAM)] == [200, 200]
        assert charged(account) == 2 * COST_NANOS
        assert not IdempotencyKey.unscoped.exists()

    def test_is_encrypted_and_moves_to_a_new_field_key(self, ask, account, settings):
        """I2, I3"""
        assert ask(WHOLE).status == 200
        row = IdempotencyKey.unscoped.values().get()
        assert row["sealed_answer"].startswith("v1.")
        assert NAME not in str(row)
        settings.ROOCLOUD_FIELD_KEYS = [new_key("new"), *settings.ROOCLOUD_FIELD_KEYS]
        assert [one.is_lost for one in sealed.renew_all() if "Idempotency" in one.column] == [False]
        settings.ROOCLOUD_FIELD_KEYS = settings.ROOCLOUD_FIELD_KEYS[:1]
        assert ask(WHOLE).is_repeated

    def test_is_forgotten_after_its_time(self, alice, bob, settings):
        at = timezone.now()
        for number, person in enumerate((alice, bob)):
            claim = claimed(person)
            idempotency.stand(claim, at=at + timedelta(hours=number))
            answer = Answer(200, [], b"{}")
            text = idempotency.sealed(Ending(claim, answer))
            idempotency.end(
                Ending(claim, answer), text, counts=True, at=at + timedelta(hours=number)
            )
        later = at + settings.ROOCLOUD_IDEMPOTENCY_KEEP + timedelta(minutes=1)
        assert idempotency.stand(claimed(bob), at=later).answer == Answer(200, [], b"{}")
        assert idempotency.forget(at=later) == 1
        assert IdempotencyKey.unscoped.get().user_id == bob.pk
