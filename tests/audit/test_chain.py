"""L4: the trail is chained, and whatever is done to it behind the server's back is found."""

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.db.models import Value
from django.db.models.functions import Concat
from django.utils import timezone

from audit import actions as audit
from audit import chain, verifying
from audit.models import Chain, Check, Entry, Link, Loose
from roocloud.lib import caching, crypto, sealed
from roocloud.lib.append_only import statements

GUARDED = ("audit_entry", "audit_link", "audit_check")
NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def write(count: int, *, of: str = "share", at: datetime = NOON, **facts) -> None:
    audit.record_all(
        audit.Trace(
            action=f"{of}.created",
            actor=None,
            target_kind=of,
            target_id=f"{of}_{number}",
            organization_id="org_1",
            after={"number": number, "share": 1.5, "names": ["ä", None, True]},
            at=at + timedelta(seconds=number),
            **facts,
        )
        for number in range(count)
    )


#: Links that a check has seen, and all there are.
CHECKED, LINKED, WAITING = 4, 10, 3


@pytest.fixture
def trail(db, django_capture_on_commit_callbacks) -> None:
    """Entries that are linked, an end that a check has seen, more entries, and some that wait."""
    write(CHECKED)
    chain.link(at=NOON)
    verifying.check(at=NOON)
    write(LINKED - CHECKED, of="key", before={"name": "old"})
    with django_capture_on_commit_callbacks(execute=True):
        chain.link(at=NOON + timedelta(minutes=1))
    write(WAITING, of="budget")


@contextmanager
def unguarded_tables() -> Iterator[None]:
    """The database as it is to whoever owns it: without the triggers that refuse changes."""
    is_postgresql = connection.vendor == "postgresql"
    with connection.cursor() as cursor:
        for table in GUARDED:
            for verb in ("update", "delete"):
                on = f" ON {table}" if is_postgresql else ""
                cursor.execute(f"DROP TRIGGER {table}_no_{verb}{on}")
        yield
        for table in GUARDED:
            for statement in statements(connection.vendor, table):
                cursor.execute(statement)


@pytest.fixture
def unguarded(trail) -> Iterator[None]:
    with unguarded_tables():
        yield


# --- What is done to it -----------------------------------------------------------------------

TEXTS = ("action", "actor_id", "actor_kind", "session_id", "network", "request_id",
         "organization_id", "target_kind", "target_id", "note")  # fmt: skip


def linked(draw: random.Random) -> Link:
    return Link.objects.get(sequence=draw.randint(1, Link.objects.count()))


def change_entry(draw):
    field = draw.choice([*TEXTS, "after", "before", "at"])
    found = linked(draw).entry_id
    if field == "at":
        new = NOON - timedelta(days=draw.randint(1, 9), microseconds=draw.randint(1, 99))
        assert Entry.objects.filter(pk=found).update(at=new)
    elif field in TEXTS:
        Entry.objects.filter(pk=found).update(**{field: Concat(field, Value(draw.choice("xyz")))})
    else:
        Entry.objects.filter(pk=found).update(**{field: {"number": draw.randint(100, 999)}})


def blank_entry(draw):
    Entry.objects.filter(pk=linked(draw).entry_id).update(after=None, target_kind="")


def change_waiting(draw):
    row = draw.choice(list(Loose.objects.order_by("pk")))
    Entry.objects.filter(pk=row.entry_id).update(note=f"forged {draw.random()}")


def swap_waiting(draw):
    one, other = draw.sample(list(Loose.objects.order_by("pk")), 2)
    Loose.objects.filter(pk=one.pk).update(sealed_digest=other.sealed_digest)


def delete_entry(draw):
    Entry.objects.filter(pk=linked(draw).entry_id).delete()


def delete_waiting_entry(draw):
    Entry.objects.filter(pk=draw.choice(list(Loose.objects.order_by("pk"))).entry_id).delete()


def delete_waiting(draw):
    Loose.objects.filter(pk=draw.choice(list(Loose.objects.order_by("pk"))).pk).delete()


def delete_link(draw):
    linked(draw).delete()


def delete_both(draw):
    found = linked(draw)
    Entry.objects.filter(pk=found.entry_id).delete()
    Link.objects.filter(pk=found.pk).delete()


def close_the_gap(draw):
    """A row is taken out, and those behind it move up."""
    found, last = linked(draw), Link.objects.count()
    Entry.objects.filter(pk=found.entry_id).delete()
    Link.objects.filter(pk=found.pk).delete()
    for sequence in range(found.sequence + 1, last + 1):
        Link.objects.filter(pk=sequence).update(sequence=sequence - 1)
    before = Link.objects.filter(pk=last - 1).first()
    Chain.objects.update(sequence=last - 1, digest=before.digest)


def forged(draw) -> Entry:
    return Entry.objects.create(
        at=NOON, action="credit.granted", target_kind="account", target_id=f"a{draw.random()}"
    )


def insert_entry(draw):
    forged(draw)


def insert_waiting(draw):
    """With a digest of another row, or sealed under a key of one's own."""
    entry = forged(draw)
    other = Loose.objects.order_by("pk").first().sealed_digest
    Loose.objects.create(
        entry_id=entry.pk, sealed_digest=draw.choice([other, other[:-6] + "AAAAAA", "", "v1.x.y"])
    )


def insert_at_the_end(draw):
    entry, last = forged(draw), Chain.objects.get()
    digest = draw.choice([last.digest, f"{draw.getrandbits(256):064x}"])
    Link.objects.create(
        sequence=last.sequence + 1, entry_id=entry.pk, digest=digest, linked_at=NOON
    )
    if draw.random() < 0.5:
        Chain.objects.update(sequence=last.sequence + 1, digest=digest)


def insert_in_between(draw):
    entry, found = forged(draw), linked(draw)
    for sequence in range(Link.objects.count(), found.sequence - 1, -1):
        Link.objects.filter(pk=sequence).update(sequence=sequence + 1)
    Link.objects.create(
        sequence=found.sequence, entry_id=entry.pk, digest=found.digest, linked_at=found.linked_at
    )
    Chain.objects.update(sequence=Link.objects.count())


def reorder(draw):
    one, other = draw.sample(list(Link.objects.order_by("pk")), 2)
    for row, takes in ((one, "spare"), (other, one.entry_id), (one, other.entry_id)):
        Link.objects.filter(pk=row.pk).update(entry_id=takes)
    if draw.random() < 0.5:
        Link.objects.filter(pk=one.pk).update(digest=other.digest)
        Link.objects.filter(pk=other.pk).update(digest=one.digest)


def exchange_contents(draw):
    one, other = draw.sample(list(Link.objects.order_by("pk")), 2)
    texts = {row.pk: row for row in Entry.objects.filter(pk__in=[one.entry_id, other.entry_id])}
    for row, source in ((one, other), (other, one)):
        found = texts[source.entry_id]
        Entry.objects.filter(pk=row.entry_id).update(
            at=found.at,
            action=found.action,
            target_id=found.target_id,
            target_kind=found.target_kind,
        )


def change_link(draw):
    field, value = draw.choice(
        [("digest", f"{draw.getrandbits(256):064x}"), ("linked_at", NOON - timedelta(days=draw.randint(1, 9))),
         ("fault", "changed"), ("entry_id", f"aud_{draw.random()}")]
    )  # fmt: skip
    Link.objects.filter(pk=linked(draw).pk).update(**{field: value})


def cut_the_tail(draw):
    """Rows, or rows and links; the chain's own row as it is, or put back to what it had been."""
    keep = draw.randint(0, Link.objects.count() - 1)
    gone = Link.objects.filter(sequence__gt=keep)
    Entry.objects.filter(pk__in=list(gone.values_list("entry_id", flat=True))).delete()
    if draw.random() < 0.8:
        gone.delete()
        end = Link.objects.filter(pk=keep).first()
        if draw.random() < 0.8:
            Chain.objects.update(sequence=keep, digest=end.digest if end else "")
    if draw.random() < 0.5:
        Check.objects.all().delete()


def cut_after_the_check(draw):
    """Back to a state that the server itself had written; nothing but the memory of it is left."""
    keep = draw.randint(CHECKED, LINKED - 1)
    gone = Link.objects.filter(sequence__gt=keep)
    Entry.objects.filter(pk__in=list(gone.values_list("entry_id", flat=True))).delete()
    gone.delete()
    Chain.objects.update(sequence=keep, digest=Link.objects.get(pk=keep).digest)


def begin_anew(draw):
    """A chain of one's own, under a key of one's own."""
    chain_, key = Chain.objects.get(), draw.randbytes(32)
    entries, digest = Entry.objects.in_bulk(), ""
    forge = linked(draw).pk
    for row in Link.objects.order_by("pk"):
        if row.pk == forge:
            Entry.objects.filter(pk=row.entry_id).update(note="forged")
            entries[row.entry_id].note = "forged"
        digest = chain.digest_of(row, entries[row.entry_id], previous=digest, key=key)
        Link.objects.filter(pk=row.pk).update(digest=digest)
    own = draw.choice([chain_.sealed_key, chain_.sealed_key[:-8] + "AAAAAAA=", "", "v1.mine.AAAA"])
    Chain.objects.update(digest=digest, sealed_key=own)
    Check.objects.all().delete()


def change_the_chain(draw):
    last = Chain.objects.get()
    Chain.objects.update(
        **draw.choice(
            [{"sequence": last.sequence - draw.randint(1, 9)}, {"sequence": last.sequence + draw.randint(1, 9)},
             {"digest": f"{draw.getrandbits(256):064x}"}, {"digest": ""}, {"sealed_key": f"v1.a.{draw.random()}"}]
        )
    )  # fmt: skip


def delete_the_chain(draw):
    Chain.objects.all().delete()
    if draw.random() < 0.6:
        Link.objects.all().delete()
        Loose.objects.all().delete()
    if draw.random() < 0.5:
        Entry.objects.all().delete()
        Check.objects.all().delete()


TAMPERINGS: list[Callable[[random.Random], None]] = [
    change_entry, change_entry, blank_entry, change_waiting, swap_waiting, delete_entry,
    delete_waiting_entry, delete_waiting, delete_link, delete_both, close_the_gap, insert_entry,
    insert_waiting, insert_at_the_end, insert_in_between, reorder, exchange_contents, change_link,
    cut_the_tail, cut_the_tail, cut_after_the_check, begin_anew, change_the_chain, delete_the_chain,
    reorder,
]  # fmt: skip


def test_a_thousand_tamperings_are_all_found(unguarded):
    """L4: each of them behind the back of the server, with every right in the database and without
    its field key."""
    draw, missed = random.Random(4), []  # noqa: S311 - the same each time
    assert verifying.verify().is_intact
    for number in range(1000):
        tamper = TAMPERINGS[number % len(TAMPERINGS)]
        with transaction.atomic():
            tamper(draw)
            verdict = verifying.verify()
            transaction.set_rollback(True)
        if verdict.is_intact:
            missed.append((number, tamper.__name__))
    assert missed == []
    assert verifying.verify().is_intact


def test_the_first_bad_row_is_named(unguarded, capsys):
    """L4"""
    bad = [Link.objects.get(sequence=sequence).entry_id for sequence in (5, 9)]
    Entry.objects.filter(pk__in=bad).update(note="forged")

    with pytest.raises(CommandError, match=rf"link 5, entry {bad[0]}: ") as failed:
        call_command("audit", "verify")

    assert failed.value.returncode == 1
    assert capsys.readouterr().out == ""


def test_the_tables_refuse_changes_and_deletions(trail):
    """L4"""
    for model, change in ((Entry, {"note": "x"}), (Link, {"fault": "x"}), (Check, {"fault": "x"})):
        for act in (
            lambda m=model, c=change: m.objects.update(**c),
            model.objects.all()._raw_delete,
        ):
            with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
                act() if act.__name__ == "<lambda>" else act(using="default")


def test_what_was_changed_while_it_waited_stays_found(unguarded):
    """The chain goes on, and says for ever what was wrong."""
    row = Loose.objects.order_by("pk").first()
    Entry.objects.filter(pk=row.entry_id).update(note="forged")
    chain.link(at=NOON)
    write(3, of="later")
    chain.link(at=NOON)

    assert Loose.objects.count() == 0
    assert verifying.verify().fault.endswith(f"entry {row.entry_id}: changed before it was linked")


def test_a_cut_is_on_record_also_after_the_chain_has_gone_on(unguarded):
    cut_after_the_check(random)

    chain.link(at=NOON)  # the budgets that waited

    assert "the chain had reached it" in Check.objects.get(is_intact=False).fault


def test_an_end_that_was_noted_elsewhere_is_looked_for(unguarded, capsys):
    """Also of a database that was put back as a whole, with nothing remembered."""
    call_command("audit", "verify")
    end = capsys.readouterr().out.split()[-1]
    call_command("audit", "verify", "--end", end)
    gone = Link.objects.filter(sequence__gt=8)
    Entry.objects.filter(pk__in=list(gone.values_list("entry_id", flat=True))).delete()
    gone.delete()
    Chain.objects.update(sequence=8, digest=Link.objects.get(pk=8).digest)
    caching.remember("audit.end", None, seconds=1)

    call_command("audit", "verify")
    with pytest.raises(CommandError, match="link 9 is missing: the chain had reached 13"):
        call_command("audit", "verify", "--end", end)
    with pytest.raises(CommandError, match="an end is NUMBER:DIGEST"):
        call_command("audit", "verify", "--end", "24")


def test_the_nightly_look_is_kept_and_logged(unguarded, caplog):
    """N9: the end of the chain leaves the database with the log."""
    caplog.set_level("INFO", "audit.verifying")
    found = verifying.check(at=NOON)
    assert (found.is_intact, found.links) == (True, LINKED)
    assert [(r.sequence, r.digest) for r in caplog.records] == [(LINKED, found.digest)]
    caplog.clear()

    delete_link(random)
    found = verifying.check(at=NOON)

    assert not found.is_intact
    assert "is missing" in found.fault
    assert [(r.levelname, r.fault) for r in caplog.records] == [("ERROR", found.fault)]


def test_field_keys_rotate_under_the_chain(trail, settings):
    """I3"""
    newer = crypto.new_key("newer")
    settings.ROOCLOUD_FIELD_KEYS = [newer, *settings.ROOCLOUD_FIELD_KEYS]
    assert [row for row in sealed.renew_all() if row.is_lost] == []
    settings.ROOCLOUD_FIELD_KEYS = [newer]

    assert verifying.verify().is_intact
    chain.link(at=NOON)
    assert verifying.verify() == verifying.Verdict(
        LINKED + WAITING, Chain.objects.get().digest, 0, ""
    )


@pytest.mark.django_db
@pytest.mark.parametrize(
    "value",
    [1, 1.0, -0.0, 0.1, 1e-7, 1.5e300, 2**70, True, None, "", " ", "é\u2028", [], {}, [[1.0]], {"1": {"b": 0, "a": 1}}],
    ids=repr,
)  # fmt: skip
def test_what_a_database_gives_back_has_the_digest_of_what_was_written(value):
    audit.record(
        action="a.b", actor=None, target_kind="t", target_id="1", before={"v": value},
        after={"z": value, "a": value}, at=timezone.now(),
    )  # fmt: skip
    chain.link(at=timezone.now())

    assert verifying.verify().fault == ""


@pytest.mark.django_db(transaction=True)
def test_concurrent_writers_and_linkers_make_one_chain():
    """Writers wait for nobody but the database, and every entry is linked once, in one line."""
    failures: list[Exception] = []

    def run(act: Callable[[int], None]) -> None:
        try:
            for number in range(12):
                act(number)
        except Exception as fault:  # noqa: BLE001 - of a thread
            failures.append(fault)
        finally:
            connection.close()

    def write_some(number: int) -> None:
        with transaction.atomic():
            write(3, of=f"t{number}")
            if number % 4 == 3:
                transaction.set_rollback(True)

    acts = [write_some] * 4 + [lambda _: chain.link(at=timezone.now())] * 2
    threads = [threading.Thread(target=run, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    chain.link(at=timezone.now())

    assert failures == []
    count = 4 * 9 * 3
    assert list(Link.objects.order_by("pk").values_list("pk", flat=True)) == [*range(1, count + 1)]
    assert verifying.verify() == verifying.Verdict(count, Chain.objects.get().digest, 0, "")


@pytest.fixture
def requested(client, alice) -> Callable[..., Entry]:
    client.force_login(alice)
    return lambda **more: (
        client.post("/organizations", {"name": "Acme"}, **more),
        Entry.objects.filter(action="organization.created").latest("at"),
    )[1]


def test_an_entry_says_from_where(requested, settings):
    """AU1, B6: the network and not the address, behind as many proxies as there are."""
    found = requested(REMOTE_ADDR="203.0.113.77", headers={"X-Request-ID": "req-12345678"})
    assert (found.network, found.request_id) == ("203.0.113.0/24", "req-12345678")
    spoofed = {"X-Forwarded-For": "198.51.100.1"}
    found = requested(REMOTE_ADDR="2001:db8:1:2::3", headers=spoofed)
    assert found.network == "2001:db8:1::/48"
    settings.ROOCLOUD_TRUSTED_PROXIES = 1
    assert requested(REMOTE_ADDR="127.0.0.1", headers=spoofed).network == "198.51.100.0/24"
    write(1)
    assert Entry.objects.get(action="share.created").network == "", "by the server itself"


def test_a_linker_asks_as_much_for_many_as_for_few(db, django_assert_num_queries):
    write(1)
    chain.link(at=NOON)
    for count in (2, 60):
        write(count)
        with django_assert_num_queries(10):
            chain.link(at=NOON)
