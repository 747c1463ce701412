"""Images leave their messages, are stored once a tenant, and go with the last task that has them."""

from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from importlib import import_module
from struct import pack
from threading import Barrier

import pytest
from django.apps import apps
from django.db import connections, transaction
from django.utils import timezone

from roocloud.lib import wire
from tasks_sharing import actions, images, pictures
from tasks_sharing.models import Image, ImageUse, Message, Task
from tests import factories

PNG = b"\x89PNG\r\n\x1a\n" + pack(">I4sII", 13, b"IHDR", 640, 480) + b"rest"
GIF = b"GIF89a" + pack("<HH", 3, 4)
JPEG = b"\xff\xd8\xff\xe0" + pack(">H", 4) + b"xx" + b"\xff\xc2" + pack(">HBHH", 9, 8, 20, 10)
WEBPS = [
    b"RIFF\0\0\0\0WEBPVP8X" + b"\0" * 8 + (99).to_bytes(3, "little") + (49).to_bytes(3, "little"),
    b"RIFF\0\0\0\0WEBPVP8L" + b"\0" * 4 + b"\x2f" + pack("<I", 99 | 49 << 14),
    b"RIFF\0\0\0\0WEBPVP8 " + b"\0" * 10 + pack("<HH", 100, 50),
]


def url(data: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{b64encode(data).decode()}"


def record(person, org=None, *, task_id="task-1", ts=1, say="text", text="Look", **fields):
    message = {"ts": ts, "type": "say", "say": say, "text": text, **fields}
    event = actions.Event("Task Message", {"taskId": task_id, "message": message})
    with transaction.atomic():
        actions.record_event(actor=factories.actor(person, org), event=event, at=timezone.now())
    return Message.unscoped.get(task__owner=person, task__task_id=task_id, ts=ts)


def snapshot(task, *messages):
    actions.replace_messages(
        task_pk=task.pk, messages=list(messages), requested_at=timezone.now() + timedelta(days=1)
    )


def shown(message):
    return pictures.of(message.pk, message.document)


class TestAnImage:
    def test_leaves_its_message(self, alice):
        row = record(alice, images=[url(PNG), url(GIF, "gif")])

        assert "base64" not in row.body
        assert [bytes(images.find(row, n).data) for n in (0, 1)] == [PNG, GIF]

    @pytest.mark.parametrize(
        ("data", "size"),
        [
            (PNG, (640, 480)), (GIF, (3, 4)), (JPEG, (10, 20)), *((webp, (100, 50)) for webp in WEBPS),
            (PNG[:12], (None, None)), (b"\xff\xd8\xff", (None, None)), (WEBPS[0][:20], (None, None)),
            (b"\xff\xd8\xff\xe0\0\0" * 3, (None, None)), (PNG[:16] + b"\xff" * 8, (None, None)),
        ],
    )  # fmt: skip
    def test_keeps_its_place_on_the_page(self, alice, data, size):
        (picture,) = shown(record(alice, images=[url(data)]))
        assert (picture.width, picture.height) == size

    def test_is_stored_once_a_tenant(self, alice, bob, acme, mallory):
        """A digest says nothing of another tenant's images."""
        for person, org, task_id in (
            (alice, acme, "one"), (alice, acme, "two"), (bob, acme, "three"), (bob, None, "four"),
            (mallory, None, "five"),
        ):  # fmt: skip
            record(person, org, task_id=task_id, images=[url(PNG), url(PNG)])

        tenants = sorted(Image.unscoped.values_list("tenant_id", flat=True))
        assert tenants == sorted([acme.pk, bob.pk, mallory.pk])
        assert ImageUse.unscoped.count() == 5

    @pytest.mark.parametrize(
        "not_one",
        [
            url(b"<svg onload='alert(1)'/>", "svg+xml"), url(b"<svg/>"), url(b"<html>"), "data:image/png;base64,?",
            "data:image/png;base64,A", "data:text/html;base64,PGI+", "vscode-resource://x.png", "/etc/passwd",
            "javascript:alert(1)", "http://", "http://[", "", 5, None, [], {},
        ],
    )  # fmt: skip
    def test_is_nothing_else(self, alice, not_one):
        """J1: bytes count, not what is said of them; SVG is a document."""
        row = record(alice, images=[not_one])
        assert shown(row) == []
        assert images.find(row, 0) is None

    def test_elsewhere_is_a_link(self, alice, client):
        """J1: loading it would tell its host who reads."""
        record(alice, images=["https://evil.example/p.png?<script>"])
        client.force_login(alice)
        html = client.get("/task/task-1").content.decode()
        assert 'href="https://evil.example/p.png?&lt;script&gt;"' in html
        assert "<img" not in html.partition('class="talk"')[2]

    def test_of_another_tenant_is_not_reached_by_its_digest(self, alice, mallory, client):
        """A1: a reference is ours to make; one that a client made up is dropped."""
        record(alice, images=[url(PNG)])
        digest = Image.unscoped.get().digest
        for forged in ({"image": digest}, {"image": digest, "width": 1, "height": 1}):
            row = record(mallory, images=[forged])
            assert (shown(row), images.find(row, 0)) == ([], None)
        nested = wire.dumps({"screenshot": {"image": digest}})
        row = record(mallory, say="browser_action_result", text=nested, ts=2)
        assert shown(row) == []

    def test_inside_of_a_tools_text_is_taken_out_too(self, alice):
        told = {"currentUrl": "http://localhost", "screenshot": url(PNG)}
        row = record(alice, say="browser_action_result", text=wire.dumps(told))

        assert len(shown(row)) == 1
        assert bytes(images.find(row, 0).data) == PNG
        assert wire.loads(row.document["text"].encode()) == {"currentUrl": "http://localhost"}

    def test_of_a_message_has_an_end(self, alice):
        many = [url(PNG + bytes([n])) for n in range(pictures.MAX_IMAGES + 5)]
        assert len(shown(record(alice, images=many))) == pictures.MAX_IMAGES


class TestItsEnd:
    def test_comes_with_the_last_task_that_has_it(
        self, alice, bob, acme, django_capture_on_commit_callbacks
    ):
        record(alice, acme, images=[url(PNG)])
        record(bob, acme, images=[url(PNG), url(GIF)])
        for person, left in ((bob, 1), (alice, 0)):
            with django_capture_on_commit_callbacks(execute=True):
                task = Task.unscoped.get(owner=person)
                actions.delete_task(task=task, by=factories.actor(person, acme), at=timezone.now())
            assert Image.unscoped.count() == left

    def test_comes_with_its_owner(self, mallory, django_capture_on_commit_callbacks):
        record(mallory, images=[url(PNG)])
        with django_capture_on_commit_callbacks(execute=True):
            Task.unscoped.get().owner.delete()
        assert not Image.unscoped.exists()

    def test_is_found_by_the_sweep_if_it_was_missed(self, alice):
        record(alice, images=[url(PNG)])
        record(alice, images=[url(GIF)], task_id="other")
        Task.unscoped.get(task_id="task-1").delete()  # and the process dies before its callbacks
        images.forget_unused()
        assert bytes(Image.unscoped.get().data) == GIF

    @pytest.mark.django_db(transaction=True)
    def test_does_not_take_it_from_a_task_that_takes_it_up(self, alice, acme):
        """Of a deletion and a message at the same moment, either may be first."""
        actor = factories.actor(alice, acme)
        for round_ in range(8):
            record(alice, acme, task_id=f"old-{round_}", images=[url(PNG)])
            start = Barrier(2)

            def delete(round_=round_, start=start):
                start.wait()
                task = Task.unscoped.get(task_id=f"old-{round_}")
                actions.delete_task(task=task, by=actor, at=timezone.now())
                connections.close_all()

            def take_up(round_=round_, start=start):
                start.wait()
                row = record(alice, acme, task_id=f"new-{round_}", images=[url(PNG)])
                connections.close_all()
                return row

            with ThreadPoolExecutor(2) as pool:
                deleted, taken = pool.submit(delete), pool.submit(take_up)
                deleted.result()
                assert bytes(images.find(taken.result(), 0).data) == PNG
            Task.unscoped.all().delete()


class TestASnapshot:
    def test_stores_images_once_and_keeps_those_of_what_came_later(self, alice):
        later = record(alice, ts=9, images=[url(GIF)])
        message = {"ts": 1, "type": "say", "say": "text", "text": "Look", "images": [url(PNG)]}
        task = Task.unscoped.get()
        snapshot(task, message, {**message, "say": "user_feedback"})

        first, second = task.messages.filter(ts=1).order_by("kind")
        for row, data in ((first, PNG), (second, PNG), (later, GIF)):
            assert bytes(images.find(row, 0).data) == data
        assert Image.unscoped.count() == 2

    def test_keeps_images_of_a_message_that_ended_meanwhile(self, alice):
        record(alice, ts=5, images=[url(PNG)])
        task = Task.unscoped.get()
        partial = {"ts": 5, "type": "say", "say": "text", "text": "Lo", "partial": True}
        snapshot(task, partial)
        assert bytes(images.find(task.messages.get(), 0).data) == PNG

    def test_asks_for_images_as_often_for_many_as_for_one(self, alice, django_assert_num_queries):
        task = record(alice).task

        def fill(count):
            images_ = [url(PNG + bytes([n])) for n in range(count)]
            message = {"ts": 1, "type": "say", "say": "text", "text": "Look"}
            snapshot(
                task, *({**message, "ts": n, "images": [one]} for n, one in enumerate(images_))
            )
            Task.unscoped.update(backfilled_at=None)

        with django_assert_num_queries(12) as few:
            fill(1)
        with django_assert_num_queries(len(few.captured_queries)):
            fill(30)


def test_images_of_older_records_are_moved(alice):
    """L1: run again, it changes nothing."""
    row = record(alice, images=[url(PNG), "https://example.com/a.png"])
    inline = {**row.document, "images": [url(PNG), "https://example.com/a.png"]}
    Message.unscoped.update(body=wire.dumps(inline))
    Image.unscoped.all().delete()
    move = import_module("tasks_sharing.migrations.0006_move_images").move

    for _ in range(2):
        move(apps, None)
        moved = Message.unscoped.get()
        assert bytes(images.find(moved, 0).data) == PNG
        assert [picture.link for picture in shown(moved)] == ["", "https://example.com/a.png"]
