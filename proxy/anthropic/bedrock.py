"""Claude on Amazon Bedrock: InvokeModel and InvokeModelWithResponseStream. No I/O.

Written from the public references of Bedrock's runtime API and of AWS Signature Version 4. botocore
is an extra, so it is imported where it is used (see proxy.access).
"""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, urlsplit

import msgspec

from proxy.anthropic import Anthropic
from proxy.anthropic.answers import StreamTranslator
from proxy.anthropic.frames import FrameTranslator
from proxy.anthropic.requests import document
from proxy.calls import CHAT, Call, Endpoint
from roocloud.lib.refusals import InvalidInput

if TYPE_CHECKING:
    from proxy.catalogue import Way

_VERSION = "bedrock-2023-05-31"
_REGION = re.compile(r"(?:^|\.)bedrock-runtime(?:-fips)?\.([a-z]{2}(?:-[a-z]+)+-\d{1,2})\.")
_ACCESS_KEYS = re.compile(
    r"(?:AKIA[A-Z0-9]{12,}:[\w/+=]{16,}|ASIA[A-Z0-9]{12,}:[\w/+=]{16,}:[\w/+=]{16,})", re.ASCII
)
_API_KEY = re.compile(r"(?!AKIA|ASIA)[!-9;-~]{16,}")


class _AccessKeys(NamedTuple):
    access_key: str
    secret_key: str
    token: str | None = None


class Bedrock(Anthropic):
    """The key is an API key of Bedrock's, or a pair of access keys, which sign each request for the
    region that the base URL names."""

    stream_type = "application/vnd.amazon.eventstream"
    signs = True
    modules: tuple[str, ...] = ("botocore.auth", "botocore.awsrequest", "botocore.eventstream")

    def check(self, base_url: str, api_key: str) -> None:
        if not _ACCESS_KEYS.fullmatch(api_key) and not _API_KEY.fullmatch(api_key):
            raise InvalidInput(
                "must be a Bedrock API key, or ACCESS_KEY_ID:SECRET_ACCESS_KEY, with a third part "
                ":SESSION_TOKEN for temporary ones, whose id begins with ASIA",
                field="api_key",
            )
        if ":" in api_key and not _region(base_url):
            raise InvalidInput(
                "must name the region that requests are signed for, such as "
                "https://bedrock-runtime.us-east-1.amazonaws.com",
                field="base_url",
            )

    def url(self, base_url: str, *, model: str, is_stream: bool, endpoint: Endpoint = CHAT) -> str:
        invoke = "invoke-with-response-stream" if is_stream else "invoke"
        return f"{base_url}/model/{quote(model, safe=':')}/{invoke}"

    def models_url(self, base_url: str) -> None:
        return None

    def headers(
        self, secret: str, *, url: str, body: Sequence[bytes | memoryview]
    ) -> dict[str, str]:
        if ":" not in secret:
            return {"Authorization": f"Bearer {secret}"}
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest

        request = AWSRequest("POST", url, data=b"".join(body))
        keys = _AccessKeys(*secret.split(":"))
        SigV4Auth(keys, "bedrock", _region(url)).add_auth(request)
        return dict(request.headers.items())

    def body(self, call: Call, way: "Way", *, most: int) -> list[bytes | memoryview]:
        # The ARN of an inference profile does not say which Claude it leads to; our own id may.
        model = way.model if "claude" in way.model else call.model
        asked = document(call, model=model, most=most, dropped=way.dropped)
        return [msgspec.json.encode({"anthropic_version": _VERSION, **asked})]

    def stream(self, *, created: int) -> FrameTranslator:
        return FrameTranslator(StreamTranslator(created=created))


def _region(url: str) -> str:
    """Nothing for an address that names none."""
    found = _REGION.search(urlsplit(url).hostname or "")
    return found[1] if found else ""
