"""What other programs show of a link: nothing of a task that is for members, and of a public one what
its masks leave."""

import html
import re
from io import BytesIO

import pytest
from django.utils import timezone
from PIL import Image

from tasks_sharing import guard, previews
from tasks_sharing.models import ShareView, Task
from tests import factories
from tests.tasks_sharing.everything import messages
from tests.tasks_sharing.secret_shapes import SHAPES
from tests.tasks_sharing.test_masks import store
from tests.tasks_sharing.test_sharing import ask, path_of, record, set_policy

GITHUB = next(shape.secret for shape in SHAPES if shape.name == "GitHub")


def tags(answer) -> dict[str, str]:
    found = re.findall(r'<meta property="(og:[\w:]+)"\s+content="([^"]*)"', answer.content.decode())
    return {name: html.unescape(content) for name, content in found}


class TestForMembers:
    @pytest.fixture
    def path(self, client, alice, acme):
        record(alice, acme, text="Buy Bluebird Inc.")
        return path_of(ask(client, alice, acme))

    def test_there_is_no_content_and_no_picture(self, client, path, bob):
        closed = tags(client.get(path))
        assert closed == tags(client.get("/share/s_unknown"))  # J3
        client.force_login(bob)
        shown = client.get(path)
        assert "Bluebird" in shown.content.decode()
        said = " ".join([*closed.values(), *tags(shown).values()])
        for word in ("Bluebird", "Alice", "Acme"):
            assert word not in said
        assert "og:image" not in tags(shown)
        assert client.get(f"{path}/preview.png").status_code == 404


class TestForEverybody:
    @pytest.fixture
    def path(self, client, alice, acme):
        record(alice, acme, text=f"Deploy Bluebird with **{GITHUB}**")
        return path_of(ask(client, alice, acme, visibility="public"))

    def test_the_title_the_sentence_and_the_picture_are_masked(
        self, client, path, alice, acme, drawn
    ):
        task = Task.unscoped.get()
        guard.mask_text(
            task=task, text="Bluebird", by=factories.actor(alice, acme), at=timezone.now()
        )
        shown = tags(client.get(path))
        assert shown["og:title"] == "Deploy [masked: text #1] with [masked: GitHub token #1]"
        assert shown["og:image"] == f"{shown['og:url']}/preview.png"
        assert shown["og:url"].endswith(path)
        assert client.get(f"{path}/preview.png").status_code == 200
        assert drawn[0].title == shown["og:title"]
        said = " ".join([*shown.values(), *drawn[0].facts])
        assert GITHUB not in said
        assert "Bluebird" not in said

    def test_the_sentence_says_what_came_of_it(self, client, path):
        store(messages())
        sentence = tags(client.get(path))["og:description"]
        assert re.match(r"\d+ files edited, \+\d+ -\d+\. \d+ commands?\. \w+", sentence)
        assert len(sentence) <= 300
        assert tags(client.get(path))["og:description"] == sentence  # from the cache

    def test_the_picture_is_drawn_once_for_a_content(self, client, path, drawn):
        first = client.get(f"{path}/preview.png")
        assert first.headers["Content-Type"] == "image/png"
        with Image.open(BytesIO(first.content)) as image:
            assert (image.format, image.size) == ("PNG", previews.SIZE)
        assert len(first.content) < 200_000
        assert client.get(f"{path}/preview.png").content == first.content
        assert len(drawn) == 1
        Task.unscoped.update(title="Another")
        assert client.get(f"{path}/preview.png").content != first.content
        assert len(drawn) == 2

    def test_the_picture_goes_with_the_link_and_is_no_view(self, client, path, alice, acme):
        """J2"""
        assert client.get(f"{path}/preview.png").status_code == 200
        assert not ShareView.unscoped.exists()
        set_policy(acme, alice, allowPublicTaskSharing=False)
        assert client.get(f"{path}/preview.png").status_code == 404


@pytest.mark.parametrize(
    "title",
    ["", "修复登录页面的错误", "x" * 200, "W" * 200, "a " * 100, "café naïve 🐞", "\u202eevil", "\x00\ufffd", "[m]\n\t- | ·"],
)  # fmt: skip
def test_any_title_makes_a_picture(title):
    """F7: bounded, whatever the title."""
    card = previews.Card("Roo Cloud", title, ("A" * 48, title[:48], "モデル"))
    with Image.open(BytesIO(previews._draw(card))) as image:
        assert image.size == previews.SIZE


def test_letters_that_the_font_lacks_lose_their_accents_or_go():
    assert previews._drawable("café 🐞 bug") == "cafe bug"
    assert previews._drawable("修复登录页面的错误") == ""


def test_an_unreadable_font_is_passed_over(settings, caplog):
    previews._font.cache_clear()
    settings.ROOCLOUD_PREVIEW_FONT = "/nowhere.ttf"
    assert previews._font(20).getlength("abc") > 0
    assert "cannot be read" in caplog.text
    previews._font.cache_clear()
