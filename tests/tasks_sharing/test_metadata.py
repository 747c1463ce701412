"""What an image tells of whoever made it stays with the organization; what it shows does not change."""

import json
from base64 import b64decode
from io import BytesIO

import pytest
from asgiref.sync import async_to_sync
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from tasks_sharing.metadata import without_metadata
from tests.tasks_sharing.everything import BEGAN, say
from tests.tasks_sharing.test_images import url
from tests.tasks_sharing.test_sharing import ask, path_of
from tests.tasks_sharing.test_task_page import TASK, _joined, store, texts

SECRETS = (b"Pixel 9 of Alice", b"52.5200 N 13.4050 E", b"xpacket", b"Berlin")
_XMP = b"<?xpacket?>52.5200 N 13.4050 E, Berlin"


def told(orientation: int = 6) -> Image.Exif:
    """As a phone writes it: which way is up, what it is, where it was."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x0110] = "Pixel 9 of Alice"
    exif.get_ifd(0x8825)[29] = "52.5200 N 13.4050 E"
    return exif


def photograph(kind: str) -> bytes:
    """A picture whose corners differ, with all that its format can tell."""
    picture = Image.new("RGB", (40, 24), "white")
    picture.paste("red", (0, 0, 20, 12))
    picture.paste("blue", (20, 12, 40, 24))
    out = BytesIO()
    if kind == "jpeg":
        picture.save(out, "jpeg", exif=told(), comment=b"Berlin", xmp=_XMP, progressive=True)
    elif kind == "png":
        notes = PngInfo()
        notes.add_text("Author", "Pixel 9 of Alice")
        notes.add_itxt("XML:com.adobe.xmp", _XMP.decode(), zip=True)
        notes.add_text("Place", "Berlin", zip=True)
        picture.save(out, "png", exif=told(1), pnginfo=notes)
    elif kind == "gif":
        frames = [picture.convert("P"), picture.rotate(180).convert("P")]
        frames[0].save(
            out, "gif", save_all=True, append_images=frames[1:], loop=0, comment=b"Berlin"
        )
    else:
        frames = [picture, picture.rotate(180)]
        picture.save(out, "webp", save_all=True, append_images=frames[1:], exif=told(1), xmp=_XMP)
    return out.getvalue()


def frames(data: bytes) -> list[bytes]:
    """Every frame as it is seen, upright."""
    with Image.open(BytesIO(data)) as image:
        found = []
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            found.append(ImageOps.exif_transpose(image).convert("RGB").tobytes())
        return found


KINDS = ["jpeg", "png", "gif", "webp"]


class TestAnImageWithoutItsMetadata:
    @pytest.mark.parametrize("kind", KINDS)
    def test_tells_nothing_and_shows_the_same(self, kind):
        whole = photograph(kind) + b"52.5200 N 13.4050 E"  # some cameras write after the end
        assert sum(secret in whole for secret in SECRETS) > 1

        bare = without_metadata(f"image/{kind}", whole)

        assert not any(secret in bare for secret in SECRETS)
        assert frames(bare) == frames(whole)
        with Image.open(BytesIO(bare)) as image:
            assert set(image.getexif()) <= {0x0112}
            assert not {"comment", "xmp", "Author", "Place", "exif"} & set(image.info) - {"exif"}

    def test_stands_as_it_stood(self):
        """A phone writes which way is up beside where it was."""
        with Image.open(BytesIO(without_metadata("image/jpeg", photograph("jpeg")))) as image:
            assert dict(image.getexif()) == {0x0112: 6}

    @pytest.mark.parametrize("kind", KINDS)
    def test_is_none_if_it_is_cut_off_or_something_else(self, kind):
        whole = photograph(kind)
        for end in (1, 9, 14, len(whole) // 3):
            bare = without_metadata(f"image/{kind}", whole[:end])
            assert bare is None or not any(secret in bare for secret in SECRETS)
        for other in KINDS:
            if other != kind:
                assert without_metadata(f"image/{other}", whole) is None

    @pytest.mark.parametrize("kind", KINDS)
    def test_is_no_failure_whatever_the_bytes(self, kind):
        """F5: each byte another, and every length."""
        whole = photograph(kind)
        for place in range(min(len(whole), 700)):
            without_metadata(f"image/{kind}", whole[:place])
            wrong = whole[:place] + bytes((whole[place] ^ 0xFF,)) + whole[place + 1 :]
            without_metadata(f"image/{kind}", wrong)


@pytest.mark.django_db(transaction=True)
def test_strangers_get_images_bare_and_members_as_they_are(client, alice, acme, monkeypatch):
    """In every form of a public link."""
    # The test's client closes a stream where it was read, the server in a thread.
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
    photo = photograph("jpeg")
    rows = [
        *texts(1),
        {"ts": BEGAN + 1, **say("user_feedback", "See", images=[url(photo, "jpeg")])},
    ]
    message = store(alice, acme, rows).messages.get(ts=BEGAN + 1)
    public = path_of(ask(client, alice, acme, taskId=TASK, visibility="public"))
    inside = path_of(ask(client, alice, acme, taskId=TASK, visibility="organization"))

    def images_of(path) -> set[bytes]:
        page = client.get(path).content.decode()
        assert f'src="{path}/image/{message.pk}/0"' in page
        document = json.loads(async_to_sync(_joined)(client.get(f"{path}.json")))
        inner = document[1]["images"][0].partition(",")[2]
        return {client.get(f"{path}/image/{message.pk}/0").content, b64decode(inner)}

    (bare,) = images_of(public)
    assert not any(secret in bare for secret in SECRETS)
    assert frames(bare) == frames(photo)
    client.force_login(alice)
    assert images_of(inside) == {photo}
