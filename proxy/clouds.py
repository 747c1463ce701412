"""What Claude is called at Amazon Bedrock and Google Vertex AI. No I/O.

Price files list a model there once for each place that answers it. Of those, an upstream has one:
the profile of its own geography, else that of the whole world, else the plain id.
"""

import re
from collections.abc import Iterable, Sequence
from urllib.parse import urlsplit

from proxy.listings import Listed, dotted

_REGION = re.compile(r"(?:^|\.)bedrock-runtime(?:-fips)?\.([a-z]{2}(?:-[a-z]+)+-\d{1,2})\.")
_VERTEX = re.compile(r"(?:^|[.-])aiplatform\.googleapis\.com$")
#: Beginning of a region -> of the ids of its inference profiles, the first that fits.
_GEOGRAPHIES = {
    "us-gov-": ("us-gov.",),
    "us-": ("us.",),
    "eu-": ("eu.",),
    "ap-northeast-": ("jp.", "apac."),
    "ap-southeast-": ("au.", "apac."),
    "ap-": ("apac.",),
}
_NAME = re.compile(r"claude-[a-z0-9-]+?(?=(?:-\d{8})?(?:-v\d+)?(?::\d+)?(?:@\w+)?$)")


def cloud_at(base_url: str) -> str | None:
    """``bedrock`` or ``vertex``, as price files are asked for; None for any other address."""
    host = urlsplit(base_url).hostname or ""
    if _REGION.search(host):
        return "bedrock"
    return "vertex" if _VERTEX.search(host) else None


def model_id(listed_id: str) -> str | None:
    """As clients ask for it: ``anthropic/claude-opus-4.6``; None for what is not Claude."""
    found = _NAME.search(listed_id)
    return f"anthropic/{dotted(found[0])}" if found else None


def fitting(base_url: str, listed: Iterable[Listed]) -> list[Listed]:
    """Of each model the id that an upstream there is asked by. At other addresses: all."""
    cloud = cloud_at(base_url)
    if cloud is None:
        return list(listed)
    beginnings = _beginnings(base_url) if cloud == "bedrock" else ("claude-",)
    best: dict[str, tuple[int, int, Listed]] = {}
    for one in listed:
        name = model_id(one.id)
        rank = next((n for n, begin in enumerate(beginnings) if one.id.startswith(begin)), None)
        if name is None or rank is None:
            continue
        found = rank, len(one.id), one  # the plain one before a dated one
        if name not in best or found[:2] < best[name][:2]:
            best[name] = found
    return [one for *_, one in best.values()]


def _beginnings(base_url: str) -> Sequence[str]:
    found = _REGION.search(urlsplit(base_url).hostname or "")
    region = found[1] if found else ""
    own = next((ids for begin, ids in _GEOGRAPHIES.items() if region.startswith(begin)), ())
    return [f"{geography}anthropic." for geography in (*own, "global.", "")]
