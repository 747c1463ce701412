"""Pictures of organizations.

What somebody uploaded is never served: the picture is decoded within bounds and drawn anew, small,
which leaves nothing of the file's own bytes. Editors show no image of another host, so they get it
inside the document (trap 10, protocol/auth.md §6), which is asked for every five seconds.
"""

from base64 import b64encode
from io import BytesIO

from orgs.models import Logo
from roocloud.lib.refusals import InvalidInput

#: Pixels, the longer side.
SIDE = 96
MAX_BYTES = 2 * 2**20
#: Of the file's width times its height: a small file can unfold into gigabytes.
_MAX_PIXELS = 25_000_000
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
MIME_TYPE = "image/webp"


def drawn(uploaded: bytes) -> bytes:
    """A WebP of what is in a PNG, JPEG, WebP or GIF file. Raises InvalidInput (``logo``)."""
    from PIL import Image, ImageOps  # loaded where it is used: it takes 6 MB

    if len(uploaded) > MAX_BYTES:
        raise InvalidInput(f"must be smaller than {MAX_BYTES // 2**20} MB", field="logo")
    try:
        with Image.open(BytesIO(uploaded), formats=_FORMATS) as opened:
            if opened.width * opened.height > _MAX_PIXELS:
                raise InvalidInput("has too many pixels", field="logo")
            opened.draft("RGB", (SIDE * 2, SIDE * 2))  # lets a large JPEG be decoded small
            picture = ImageOps.exif_transpose(opened).convert("RGBA")
    except Image.DecompressionBombError as fault:
        raise InvalidInput("has too many pixels", field="logo") from fault
    # Pillow's decoders fail with whatever a broken file makes them trip over.
    except (OSError, ValueError, SyntaxError, ArithmeticError, IndexError, TypeError) as fault:
        raise InvalidInput("is not a picture that can be read", field="logo") from fault
    picture.thumbnail((SIDE, SIDE))
    written = BytesIO()
    picture.save(written, "WEBP", quality=85, method=4)
    return written.getvalue()


def data_url(logo: Logo) -> str:
    return f"data:{MIME_TYPE};base64,{b64encode(logo.picture).decode()}"
