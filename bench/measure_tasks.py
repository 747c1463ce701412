"""The task list of a member with 100,000 tasks against that of one with 100 (``make bench-tasks``).

Both members ask in turn, one request of each after the other, in one process and on one core; every
figure is a ratio of two medians. SQLite lies in build/bench, PostgreSQL is BENCH_POSTGRES.
"""

import os
import random
import statistics
import time
from datetime import timedelta

from deployment import on_each_database

ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3")) * 20
FEW, MANY = 100, int(os.environ.get("BENCH_TASKS", "100000"))
#: What is asked for. "the" is in every task. "alpha" is in half of the few and in every 21st of the
#: many, and "rare" in five of either: both find as much for a page as the other.
PAGES = {
    "the list": "",
    "the team's": "of=team",
    "a word of every task": "q=the",
    "a word of some": "q=alpha",
    "a rare word": "q=rare",
    "two words": "q=the+rare",
    "words that are nowhere": "q=nowhere",
    "an outcome that half have": "outcome=completed",
    "an outcome and a word": "q=alpha&outcome=running",
    "a day": "first=2026-01-01&last=2026-12-31",
}


def fill(person: object, organization: object, count: int) -> None:
    from tasks_sharing import search
    from tasks_sharing.models import Task, TaskText
    from tests.factories import NOON

    chance = random.Random(1)  # noqa: S311  # the same tasks in every run
    for start in range(0, count, 5_000):
        tasks = [
            Task(
                task_id=f"task-{n}", owner=person, organization=organization,
                title=f"Mend the thing number {n}", mode=f"mode-{n % 5}",
                model=f"vendor/model-{n % 7}", repository_name=f"acme/repository-{n % 11}",
                cost_nanos=n % 1000 * 10**6,
                status=("running", "completed")[n % 2], words_due=False,
                created_at=NOON - timedelta(minutes=n),
                last_activity_at=NOON - timedelta(minutes=n),
            )
            for n in range(start, min(start + 5_000, count))
        ]  # fmt: skip
        Task.unscoped.bulk_create(tasks, batch_size=1_000)
        rows = []
        for n, task in enumerate(tasks, start):
            said = {
                *search.words_of(task.title),
                *(f"w{int(chance.paretovariate(0.4))}" for _ in range(60)),
            }
            said |= {"alpha"} if n % (2 if count == FEW else 21) == 0 else set()
            said |= {"rare"} if n % (count // 5) == 0 else set()
            rows.append(
                TaskText(
                    id=search.place_of(task), task=task, owner_id=task.owner_id,
                    organization_id=task.organization_id, words=" ".join(said),
                )
            )  # fmt: skip
        TaskText.unscoped.bulk_create(rows, batch_size=1_000)


def measure() -> bool:
    """On the database that the environment names; whether every target is met."""
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    from accounts.models import User
    from tests import factories

    call_command("migrate", verbosity=0)
    clients = []
    for name, count in (("few", FEW), ("many", MANY)):
        person = User.objects.create_user(f"{name}@bench.example", "a bench's password")
        fill(person, factories.organization(name, owner=person), count)
        client = Client(SERVER_NAME="localhost")
        client.force_login(person)
        clients.append(client)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")

    print(
        f"\n{connection.vendor}: {MANY:,} tasks against {FEW}, {ROUNDS} requests of each",
        flush=True,
    )
    met = True
    for what, query in PAGES.items():
        times: list[list[float]] = [[], []]
        with CaptureQueriesContext(connection) as captured:
            if clients[1].get(f"/tasks?{query}").status_code != 200:
                raise SystemExit(f"{query} failed")
        verbs = ("SELECT", "INSERT", "UPDATE", "DELETE")
        queries = sum(query["sql"].startswith(verbs) for query in captured.captured_queries)
        for _ in range(ROUNDS):
            for place, client in enumerate(clients):
                began = time.perf_counter()
                client.get(f"/tasks?{query}")
                times[place].append(time.perf_counter() - began)
        few, many = (statistics.median(found) for found in times)
        is_met = many <= 1.5 * few and queries <= 10
        met &= is_met
        print(
            f"{'met' if is_met else 'NOT MET':8}{many / few:8.2f}  {what}"
            f" ({1000 * few:.1f} ms, {1000 * many:.1f} ms, {queries} queries;"
            " target at most 1.5 and 10)",
            flush=True,
        )
    connection.close()
    return met


if __name__ == "__main__":
    on_each_database(__file__, "tasks", measure)
