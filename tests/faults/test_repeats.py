"""C6 under fire: keys that are sent again after cuts and kills. Run by ``make faults``."""

import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
from django.conf import settings as django_settings
from django.db import connection
from django.utils import timezone

from credits import actions as credit
from credits import queries as books
from credits.models import Account, Entry
from proxy import actions, admission, idempotency
from proxy.models import Completion, IdempotencyKey
from roocloud.asgi import application
from roocloud.lib.money import NANOS_PER_USD as USD
from tests import factories
from tests.fakes.upstream import KEY, fake_upstream
from tests.live import serving
from tests.proxy.test_completions import COST_NANOS, MESSAGES, PRICE, all_settled

pytestmark = [pytest.mark.faults, pytest.mark.django_db(transaction=True)]

ROOT = Path(__file__).resolve().parents[2]
#: A server on the database of the tests; it prints where it listens.
_SERVES = """
import time
import django
django.setup()
from roocloud.asgi import application
from tests.live import serving
with serving(application) as url:
    print(url, flush=True)
    time.sleep(600)
"""


def say(line: str) -> None:
    sys.stderr.write(f"\n[{connection.vendor}] {line}\n")


@pytest.fixture(scope="module")
def upstream():
    with fake_upstream() as fake:
        yield fake


@pytest.fixture
def account(transactional_db, upstream, alice, settings) -> Account:
    settings.ROOCLOUD_LIMITS = {
        who: dict.fromkeys(("requests", "tokens", "at_once"), 0) for who in settings.ROOCLOUD_LIMITS
    }
    upstream.requests.clear()
    at = timezone.now()
    row = actions.put_upstream(name="fake", base_url=upstream.url, api_key=KEY, by=None, at=at)
    for name in ("unhurried", "slow"):
        actions.put_model(
            model_id=f"fake/{name}", upstream=row, upstream_model=name, price=PRICE,
            facts=actions.ModelFacts(max_tokens=100, context_window=2000), by=None, at=at,
        )  # fmt: skip
    made = credit.account_of(user_id=alice.pk, organization_id=None, at=at)
    credit.grant(account=made, amount_nanos=1000 * USD, key="g", by=None, at=at, note="")
    return made


@pytest.fixture
def headers(alice) -> dict[str, str]:
    return {"Authorization": f"Bearer {factories.api_key(alice).secret}"}


def body_of(number: int) -> dict:
    """Every other one streams."""
    if number % 2:
        return {"model": "fake/slow", "messages": MESSAGES, "stream": True}
    return {"model": "fake/unhurried", "messages": MESSAGES}


async def ask(session, url: str, number: int, *, leaves_after_s=30.0) -> tuple[int, bool, bytes]:
    """Status, whether it is a repetition, and the answer; status 0 for one that did not end."""
    try:
        async with (
            asyncio.timeout(leaves_after_s),
            session.post(
                f"{url}/proxy/v1/chat/completions",
                json=body_of(number),
                headers={"Idempotency-Key": f"key-{number}"},
            ) as answer,
        ):
            is_repeated = answer.headers.get("idempotent-replayed") == "true"
            return answer.status, is_repeated, await answer.read()
    except (TimeoutError, aiohttp.ClientError):
        return 0, False, b""


def session(headers) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(limit=0))


def test_five_hundred_requests_by_a_hundred_keys_with_random_cuts(
    live_url, account, headers, upstream
):
    """On two servers: whoever hangs up when, each key is made once and all answers to it agree."""
    draw = random.Random(7)  # noqa: S311 - when clients hang up
    keys = list(range(100))

    async def load(urls) -> list[tuple[int, tuple[int, bool, bytes]]]:
        async with session(headers) as client:

            async def one(number: int) -> tuple[int, tuple[int, bool, bytes]]:
                await asyncio.sleep(draw.random())
                leaves = draw.choice((draw.random(), 60))
                return number, await ask(client, draw.choice(urls), number, leaves_after_s=leaves)

            cut = await asyncio.gather(*(one(number) for number in keys * 4))
            last = await asyncio.gather(*(ask(client, urls[0], number) for number in keys))
            return cut + list(zip(keys, last, strict=True))

    with serving(application) as other_url:
        got = asyncio.run(load([live_url, other_url]))
        all_settled()

    whole = {(number, body) for number, (status, _, body) in got if status}
    lost = sum(status == 0 for _, (status, _, _) in got)
    account.refresh_from_db()
    say(f"C6: 100 keys, 500 requests, {lost} cut: {len(upstream.requests)} made and charged")
    assert {status for _, (status, _, _) in got} == {0, 200}
    assert len(whole) == len(keys)
    assert len(upstream.requests) == len(keys)
    assert account.balance_nanos == 1000 * USD - len(keys) * COST_NANOS
    assert books.mismatches() == []


@contextmanager
def another_process(public_url: str):
    """Its URL, and what kills it."""
    known = connection.settings_dict
    url = (
        f"sqlite:///{known['NAME']}"
        if connection.vendor == "sqlite"
        else f"postgres://{known['USER']}:{known['PASSWORD']}@{known['HOST']}:{known['PORT']}"
        f"/{known['NAME']}"
    )
    process = subprocess.Popen(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", _SERVES],
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "DATABASE_URL": url,
            "ROOCLOUD_FIELD_KEYS": ",".join(django_settings.ROOCLOUD_FIELD_KEYS),
            "ROOCLOUD_SECRET_KEY": django_settings.SECRET_KEY,
            "ROOCLOUD_PUBLIC_URL": public_url,
            "PYTEST_DB_SUFFIX": "",
        },
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process.stdout.readline().strip(), process.kill
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_kills_of_the_process_that_answers(live_url, account, headers, monkeypatch):
    """C4, C6: whoever has a whole answer gets the same again. Who has not gets one, once the dead
    process is taken for dead, and pays at most what it had saved besides."""
    monkeypatch.setattr(idempotency, "DEAD_AFTER", timedelta(seconds=3))
    draw = random.Random(8)  # noqa: S311 - when the process dies
    rounds, each = 6, 10
    had, kept, anew = 0, 0, 0

    async def before(url, kill, numbers) -> dict[int, tuple[int, bool, bytes]]:
        async with session(headers) as client:

            async def one(number: int) -> tuple[int, bool, bytes]:
                await asyncio.sleep(draw.uniform(0, 1.5))
                return await ask(client, url, number)

            asked = [asyncio.create_task(one(number)) for number in numbers]
            await asyncio.sleep(draw.uniform(1, 2))
            kill()
            return dict(zip(numbers, await asyncio.gather(*asked), strict=True))

    async def after(numbers) -> dict[int, tuple[int, bool, bytes]]:
        async with session(headers) as client:
            got = await asyncio.gather(*(ask(client, live_url, number) for number in numbers))
            return dict(zip(numbers, got, strict=True))

    for turn in range(rounds):
        numbers = list(range(turn * each, (turn + 1) * each))
        with another_process(live_url) as (url, kill):
            first = asyncio.run(before(url, kill, numbers))
        second = asyncio.run(after(numbers))
        third = asyncio.run(after(numbers))
        assert {one[0] for one in (*second.values(), *third.values())} == {200}
        for number in numbers:
            if first[number][0]:
                had += 1
                assert second[number] == (200, True, first[number][2])
            kept += second[number][1]
            anew += not second[number][1]
            assert third[number] == (200, True, second[number][2])

    while admission.settle_orphans(at=timezone.now() + 2 * admission.ORPHANED_AFTER):
        time.sleep(0)
    all_settled()
    rows = list(Completion.unscoped.values("id", "status", "cost_nanos"))
    states = Counter(row["status"] for row in rows)
    charges = dict(Entry.unscoped.filter(kind="charge").values_list("key", "amount_nanos"))
    account.refresh_from_db()
    say(
        f"C6: {rounds} kills under {rounds * each} keys: {had} answers had arrived whole and came "
        f"again, {kept} were kept, {anew} made anew; completions {json.dumps(states)}"
    )
    assert states["done"] == rounds * each
    assert set(states) <= {"done", "orphaned"}
    assert IdempotencyKey.unscoped.filter(state="done").count() == rounds * each
    assert 1000 * USD + sum(charges.values()) == account.balance_nanos
    assert len(charges) == sum(row["cost_nanos"] > 0 for row in rows)
    assert books.mismatches() == []
