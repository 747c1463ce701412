"""Name and picture of an organization."""

from base64 import b64decode
from io import BytesIO

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.utils import timezone
from PIL import Image, PngImagePlugin

from audit.models import Entry
from orgs import actions, logos
from orgs.models import Logo, Organization
from roocloud.lib.refusals import Forbidden, InvalidInput
from tests import factories

SECRET = "written into the file"


def picture(kind: str = "PNG", size: tuple[int, int] = (300, 200)) -> bytes:
    """A file with a text of its own inside."""
    written = BytesIO()
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", SECRET)
    Image.new("RGB", size, "#1f5f4f").save(written, kind, pnginfo=info, comment=SECRET.encode())
    return written.getvalue()


def upload(data: bytes, name: str = "logo.png") -> dict[str, object]:
    return {"do": "logo", "logo": SimpleUploadedFile(name, data, content_type="image/png")}


class TestAPicture:
    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
    def test_is_drawn_anew_and_small(self, kind):
        made = logos.drawn(picture(kind))
        with Image.open(BytesIO(made)) as read:
            assert (read.format, read.size) == ("WEBP", (96, 64))
        assert SECRET.encode() not in made
        assert len(made) < 10_000

    @pytest.mark.parametrize(
        "data",
        [
            b"", b"<svg xmlns='http://www.w3.org/2000/svg'><script>1</script></svg>", b"GIF89a",
            picture()[:60], picture("JPEG")[:200], b"%PDF-1.4", picture("TIFF"),
        ],
        ids=["nothing", "svg", "stump", "cut png", "cut jpeg", "pdf", "tiff"],
    )  # fmt: skip
    def test_is_refused_unless_it_can_be_read(self, data):
        """F5"""
        with pytest.raises(InvalidInput) as refused:
            logos.drawn(data)
        assert refused.value.field == "logo"

    @pytest.mark.parametrize("side", [5_001, 16_000])
    def test_is_not_unfolded_beyond_bounds(self, side):
        """F5: a few kilobytes that would take a gigabyte."""
        written = BytesIO()
        Image.new("1", (side, side)).save(written, "PNG")
        small_file = written.getvalue()
        assert len(small_file) < logos.MAX_BYTES
        with pytest.raises(InvalidInput, match="too many pixels"):
            logos.drawn(small_file)

    def test_has_a_largest_size(self):
        with pytest.raises(InvalidInput, match="smaller than 2 MB"):
            logos.drawn(b"\x89PNG" + bytes(logos.MAX_BYTES))


class TestTheGeneralPage:
    @pytest.fixture
    def page(self, client, adam, acme):
        client.force_login(adam)
        return f"/organizations/{acme.pk}/general"

    def test_renames_and_leaves_the_slug(self, client, page, acme):
        client.post(page, {"do": "rename", "name": " Acme  Rockets "}, follow=True)
        acme.refresh_from_db()
        assert (acme.name, acme.slug) == ("Acme Rockets", "acme")
        trace = Entry.objects.get(action="organization.renamed")
        assert (trace.before, trace.after) == ({"name": "Acme"}, {"name": "Acme Rockets"})

    def test_keeps_what_was_typed_and_says_what_is_wrong(self, client, page, acme):
        answer = client.post(page, {"do": "rename", "name": "x" * 101})
        assert answer.status_code == 400
        assert b"x" * 101 in answer.content
        assert b'data-state="error"' in answer.content
        answer = client.post(page, upload(b"no picture at all"))
        assert answer.status_code == 400
        assert b"is not a picture that can be read" in answer.content

    def test_shows_the_picture_from_here_and_takes_it_away(self, client, page, acme):
        client.post(page, upload(picture()))
        where = f"/organizations/{acme.pk}/logo"
        assert where.encode() in client.get(page).content
        shown = client.get(where)
        assert shown["Content-Type"] == "image/webp"
        assert shown["X-Content-Type-Options"] == "nosniff"
        again = client.get(where, headers={"If-None-Match": shown["ETag"]})
        assert (again.status_code, again.content) == (304, b"")
        client.post(page, {"do": "remove-logo"})
        assert client.get(where).status_code == 404
        assert not Logo.unscoped.exists()

    def test_is_for_admins(self, client, page, bob, acme):
        """A3, A4: by page and by rule."""
        client.force_login(bob)
        assert client.get(page).status_code == 403
        for sent in ({"do": "rename", "name": "Bob's"}, upload(picture())):
            assert client.post(page, sent).status_code == 403
        by, at = factories.actor(bob, acme), timezone.now()
        for act in (
            lambda: actions.rename(organization=acme, name="Bob's", by=by, at=at),
            lambda: actions.put_logo(organization=acme, uploaded=picture(), by=by, at=at),
            lambda: actions.remove_logo(organization=acme, by=by, at=at),
        ):
            with pytest.raises(Forbidden):
                act()
        assert Organization.unscoped.get(pk=acme.pk).name == "Acme"

    def test_writes_name_and_picture_alone(self, client, page, acme):
        """A3"""
        before = Organization.unscoped.values().get(pk=acme.pk)
        client.post(
            page,
            {
                "do": "rename", "name": "Acme 2", "slug": "evil", "id": "org_x",
                "created_at": "2020-01-01", "remote_control": "", "role": "owner",
            },
        )  # fmt: skip
        assert Organization.unscoped.values().get(pk=acme.pk) == {**before, "name": "Acme 2"}


def test_editors_get_the_picture_inside_the_document(client, alice, bob, acme):
    """Trap 10: they show none of another host. protocol/auth.md §7"""
    at = timezone.now()
    _, token = factories.client_session(bob)
    headers = {"Authorization": f"Bearer {token}"}

    def seen():
        listed = client.get("/v1/me/organization_memberships", headers=headers).json()["response"]
        record = client.get(f"/v1/organizations/{acme.pk}", headers=headers).json()["response"]
        assert {k: record[k] for k in listed[0]["organization"]} == listed[0]["organization"]
        return record

    assert seen()["has_image"] is False
    assert "image_url" not in seen()
    actions.put_logo(organization=acme, uploaded=picture(), by=factories.actor(alice, acme), at=at)
    assert seen()["has_image"] is True
    head, _, data = seen()["image_url"].partition(",")
    assert head == "data:image/webp;base64"
    assert b64decode(data) == bytes(Logo.unscoped.get().picture)
