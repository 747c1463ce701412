"""Money under fire, with the figures that threats.md gives. Run by ``make faults``: some take minutes."""

import asyncio
import itertools
import random
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import aiohttp
import pytest
from django.db import OperationalError, connection, connections
from django.utils import timezone

from credits import actions as credit
from credits import queries as books
from credits.models import Account, Entry, Hold
from proxy import actions, admission
from proxy.meter import StreamMeter
from proxy.models import Completion, Upstream
from roocloud.lib.crypto import CannotUnseal
from roocloud.lib.money import NANOS_PER_USD as USD
from tests import factories
from tests.fakes.upstream import KEY, fake_upstream
from tests.proxy.test_completions import MESSAGES, all_settled
from tests.proxy.test_meter import STREAM, TOOL, USAGE, event, price

pytestmark = [pytest.mark.faults, pytest.mark.django_db(transaction=True)]


def say(line: str) -> None:
    sys.stderr.write(f"\n[{connection.vendor}] {line}\n")


@pytest.fixture(scope="module")
def upstream():
    with fake_upstream() as fake:
        yield fake


@pytest.fixture
def offered(transactional_db, upstream, settings):
    settings.ROOCLOUD_LIMITS = {
        who: dict.fromkeys(("requests", "tokens", "at_once"), 0) for who in settings.ROOCLOUD_LIMITS
    }
    at = timezone.now()
    row = actions.put_upstream(name="fake", base_url=upstream.url, api_key=KEY, by=None, at=at)
    for name in ("plain", "endless"):
        actions.put_model(
            model_id=f"fake/{name}", upstream=row, upstream_model=name,
            price=actions.NewPrice(3 * USD, 15 * USD), by=None, at=at,
            facts=actions.ModelFacts(max_tokens=2000, context_window=4000),
        )  # fmt: skip
    return row


@pytest.fixture
def account(alice) -> Account:
    return credit.account_of(user_id=alice.pk, organization_id=None, at=timezone.now())


def give(account, nanos) -> None:
    credit.grant(account=account, amount_nanos=nanos, key="g", by=None, at=timezone.now(), note="")


def session(headers) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        headers=headers,
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=300),
    )


def test_a_thousand_at_once_on_a_dollar_do_not_overspend(
    live_url, offered, account, alice, upstream
):
    """C3"""
    give(account, USD)
    upstream.requests.clear()
    url = f"{live_url}/proxy/v1/chat/completions"
    body = {"model": "fake/plain", "messages": MESSAGES}

    headers = factories.bearer(alice, kind="job")

    async def load() -> list[int]:
        async with session(headers) as client:

            async def ask(_: int) -> int:
                async with client.post(url, json=body) as answer:
                    await answer.read()
                    return answer.status

            return await asyncio.gather(*map(ask, range(1000)))

    statuses = asyncio.run(load())

    all_settled()
    account.refresh_from_db()
    spent = USD - account.balance_nanos
    say(f"C3: {statuses.count(200)} admitted, {statuses.count(402)} refused, overspend 0")
    assert set(statuses) == {200, 402}
    assert account.balance_nanos >= 0
    assert spent == sum(Completion.unscoped.values_list("cost_nanos", flat=True))
    assert len(upstream.requests) == statuses.count(200), "C7: no hold, no request"
    assert books.mismatches() == []


def test_two_thousand_cuts_pay_for_what_passed(live_url, offered, account, alice, upstream):
    """C5: at least what the client had read, at most what the upstream had made."""
    give(account, 10_000 * USD)
    produced = upstream.produced
    url = f"{live_url}/proxy/v1/chat/completions"
    body = {"model": "fake/endless", "messages": MESSAGES, "stream": True}
    headers = factories.bearer(alice, kind="job")
    draw = random.Random(5)  # noqa: S311 - offsets of cuts

    async def load() -> int:
        gate, read_bytes = asyncio.Semaphore(50), 0
        async with session(headers) as client:

            async def cut(_: int) -> None:
                nonlocal read_bytes
                offset, seen = draw.randrange(1, 3000), 0
                async with gate, client.post(url, json=body) as answer:
                    async for data in answer.content.iter_any():
                        seen += len(data)
                        read_bytes += data.count(b'"content"') * 3
                        if seen >= offset:
                            break
                    answer.close()

            await asyncio.gather(*map(cut, range(2000)))
        return read_bytes

    read_bytes = asyncio.run(load())

    all_settled()
    rows = list(Completion.unscoped.values_list("status", "completion_tokens", "cost_nanos"))
    charged = sum(tokens for _, tokens, _ in rows)
    made = upstream.produced - produced
    say(f"C5: 2,000 cuts, {charged} tokens charged, {made} chunks made, 0 free")
    assert len(rows) == 2000
    answered = Completion.unscoped.exclude(first_byte_ms=None)
    free = list(answered.filter(cost_nanos=0).values("status", "error", "completion_tokens"))
    assert free == []
    assert read_bytes / 4 <= charged + 2000
    assert charged <= made * 3
    assert books.mismatches() == []


@contextmanager
def lost_answer() -> Iterator[None]:
    """The database commits, and the connection breaks before it says so."""
    commit = connection._commit

    def cut() -> None:
        commit()
        raise OperationalError("the answer to COMMIT was lost")

    connection._commit = cut
    try:
        with pytest.raises(OperationalError):
            yield
    finally:
        connection._commit = commit


def test_five_hundred_lost_answers_to_commit(account):
    """C8: what is tried again after an unknown end neither loses nor doubles."""
    give(account, 1000 * USD)
    at = timezone.now()

    def run(number: int) -> None:
        try:
            (held,) = credit.place_holds([credit.HoldRequest(account.pk, USD)], at=at)
            charge = credit.Charge(held, f"run-{number}", USD // 2)
            with lost_answer():
                credit.settle_holds([charge], closing=[held], at=at)
            credit.settle_holds([charge], closing=[held], at=at)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(run, range(500)))

    account.refresh_from_db()
    say("C8: 500 settlements whose answer to COMMIT was lost, sent again: 0 lost, 0 doubled")
    assert account.balance_nanos == 1000 * USD - 500 * USD // 2
    assert Entry.unscoped.filter(kind="charge").count() == 500
    assert not Hold.unscoped.open().exists()
    assert books.mismatches() == []


def test_a_hundred_thousand_splits_change_nothing():
    """F4"""
    stream = b"".join([*STREAM, TOOL, event(choices=[], usage=USAGE), b"data: [DONE]\n\n"])
    draw = random.Random(4)  # noqa: S311 - offsets of cuts

    def run(edges: list[int]) -> tuple[bytes, object]:
        meter = StreamMeter(price, prompt_tokens=77)
        out = b"".join(meter.feed(stream[a:b]) for a, b in itertools.pairwise(edges))
        return out + meter.finish(), meter.usage()

    whole = run([0, len(stream)])
    splits = 0
    while splits < 100_000:
        cuts = sorted(draw.randrange(len(stream)) for _ in range(draw.randrange(1, 60)))
        splits += len(cuts)
        assert run([0, *cuts, len(stream)]) == whole
    say(f"F4: {splits} random splits, bytes and meter equal")


def test_a_thousand_swapped_ciphertexts_open_nothing(db):
    """I2"""
    rows = [
        Upstream(name=f"u{n}", base_url="https://a.example/v1", created_at=timezone.now())
        for n in range(1001)
    ]
    for row in rows:
        row.set_api_key("sk-secret")
    opened = 0
    for mine, theirs in itertools.pairwise(rows):
        mine.sealed_api_key = theirs.sealed_api_key
        try:
            mine.api_key()
            opened += 1
        except CannotUnseal:
            continue
    say(f"I2: 1,000 swapped ciphertexts, {opened} opened")
    assert opened == 0


def test_orphans_of_two_hundred_kills(account, alice):
    """C4: wherever a process died, the sweep settles what was saved, never above the hold."""
    give(account, 1000 * USD)
    at = timezone.now()
    draw = random.Random(6)  # noqa: S311 - what was saved when the process died
    owed = 0
    for number in range(200):
        (held,) = credit.place_holds([credit.HoldRequest(account.pk, USD)], at=at)
        saved = draw.randrange(0, USD + 1)
        owed += saved
        Completion.unscoped.create(
            id=f"dead-{number}", user_id=alice.pk, model_id="m", upstream_name="u", hold=held,
            is_stream=True, started_at=at, saved_at=at, cost_nanos=saved,
        )  # fmt: skip
    swept = admission.settle_orphans(at=at + admission.ORPHANED_AFTER * 2)
    account.refresh_from_db()
    say(f"C4: {swept} orphans settled at what was saved, at most their holds")
    assert swept == 200
    assert account.balance_nanos == 1000 * USD - owed
    assert books.mismatches() == []
