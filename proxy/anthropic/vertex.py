"""Claude on Google Vertex: rawPredict and streamRawPredict. No I/O."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal
from urllib.parse import quote

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from proxy.anthropic import Anthropic
from proxy.anthropic.requests import document
from proxy.calls import CHAT, Call, Endpoint
from roocloud.lib.refusals import InvalidInput

if TYPE_CHECKING:
    from proxy.catalogue import Way

_VERSION = "vertex-2023-10-16"
_LOCATION = re.compile(r"https?://[^/]+/v1/projects/[^/]+/locations/[^/]+")
_HTTP = re.compile(r"https?://[^/\s]+\S*")


class _ServiceAccount(msgspec.Struct):
    type: Literal["service_account"]
    client_email: str
    private_key: str
    token_uri: str


class Vertex(Anthropic):
    """The key is the JSON of a service account; access trades it for tokens."""

    modules: tuple[str, ...] = ("google.oauth2.service_account",)
    trades_key = True

    def check(self, base_url: str, api_key: str) -> None:
        if not _LOCATION.fullmatch(base_url):
            raise InvalidInput(
                "must name the project and its location, such as https://us-east5-aiplatform."
                "googleapis.com/v1/projects/my-project/locations/us-east5",
                field="base_url",
            )
        try:
            account = msgspec.json.decode(api_key, type=_ServiceAccount)
        except msgspec.DecodeError:
            account = None
        if account is None or not _HTTP.fullmatch(account.token_uri):
            raise InvalidInput(
                "must be the JSON file of a service account's key, as Google's console gives it",
                field="api_key",
            )
        try:
            load_pem_private_key(account.private_key.encode(), password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise InvalidInput("holds a private_key that cannot be read", field="api_key") from None

    def url(self, base_url: str, *, model: str, is_stream: bool, endpoint: Endpoint = CHAT) -> str:
        predict = "streamRawPredict" if is_stream else "rawPredict"
        return f"{base_url}/publishers/anthropic/models/{quote(model, safe='@')}:{predict}"

    def models_url(self, base_url: str) -> None:
        return None

    def headers(
        self, secret: str, *, url: str, body: Sequence[bytes | memoryview]
    ) -> dict[str, str]:
        return {"Authorization": f"Bearer {secret}"}

    def body(self, call: Call, way: "Way", *, most: int) -> list[bytes | memoryview]:
        asked = document(call, model=way.model, most=most, dropped=way.dropped)
        if call.is_stream:
            asked["stream"] = True
        return [msgspec.json.encode({"anthropic_version": _VERSION, **asked})]
