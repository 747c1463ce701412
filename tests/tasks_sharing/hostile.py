"""Hostile text in every field of every kind of message (J1)."""

import json
from collections.abc import Iterator
from typing import Any

from tests.tasks_sharing.everything import BEGAN, messages

PAYLOADS = [
    "<script>window.hacked=1</script>", "<img src=x onerror=window.hacked=1>", "<svg onload=window.hacked=1>",
    "[x](javascript:window.hacked=1)", "[x](JaVaScRiPt:window.hacked=1)", "[x](data:text/html,<script>1</script>)",
    "[x](vbscript:x)", "![x](http://evil.example/p.png)", "![x](data:image/svg+xml;base64,PHN2Zz4=)",
    "![x](javascript:window.hacked=1)", '<a href="x" onclick="window.hacked=1">z</a>', "<iframe src=//evil.example></iframe>",
    "<style>@import url(//evil.example)</style>", '<div style="background:url(//evil.example)">',
    "<form action=//evil.example><input autofocus onfocus=window.hacked=1>", "<base href=//evil.example>",
    "<meta http-equiv=refresh content='0;url=//evil.example'>", "</pre><script>window.hacked=1</script>",
    "```\n</code></pre><script>window.hacked=1</script>\n```", "```html\n<script>window.hacked=1</script>\n```",
    "<!--><script>window.hacked=1</script>-->", "<math><mi//xlink:href='data:x,<script>window.hacked=1</script>'>",
    '"><img src=x onerror=window.hacked=1>', "' onmouseover='window.hacked=1", "\x1b[31m<script>window.hacked=1</script>\x1b[0m",
    "\x1b]8;;javascript:window.hacked=1\x07x\x1b]8;;\x07", "&lt;script&gt;window.hacked=1&lt;/script&gt;",
    "<a\x00href='javascript:window.hacked=1'>", "[a]: javascript:window.hacked=1\n[a]", "<http://x.example/<script>>",
    "|a|\n|-|\n|<img src=x onerror=window.hacked=1>|", "<details open ontoggle=window.hacked=1>",
    "<video><source onerror=window.hacked=1>", "<object data=//evil.example></object>", "<link rel=stylesheet href=//evil.example>",
    "@@ -1 +1 @@\n-<script>window.hacked=1</script>\n+<img src=x onerror=window.hacked=1>\n", "{{ 7*7 }}{% debug %}${7*7}",
    "<<<<<<< SEARCH\n<script>window.hacked=1</script>\n=======\n<img src=x onerror=window.hacked=1>\n>>>>>>> REPLACE",
    "</li></ol></main><script>window.hacked=1</script>", "<template><script>window.hacked=1</script></template>",
    "<noscript><p title='</noscript><img src=x onerror=window.hacked=1>'>", "<svg><use href='//evil.example/#x'/></svg>",
    "\u2028<script>window.hacked=1</script>", "<ScRiPt src=//evil.example/x.js></sCrIpT>", "<copy-button for=find></copy-button>",
]  # fmt: skip
#: Fields whose value decides which form a message takes.
_KEPT = {"tool", "type", "say", "ask", "action", "status"}


def _poisoned(value: Any, payload: str, key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _poisoned(inner, payload, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [_poisoned(inner, payload, key) for inner in value]
    if not isinstance(value, str) or key in _KEPT:
        return value
    if key == "text" and value.startswith("{"):
        return json.dumps(_poisoned(json.loads(value), payload))
    return payload


def conversation(payloads: list[str]) -> Iterator[dict[str, Any]]:
    """Every message of the made conversation, once with each payload in all its fields."""
    number = 0
    for payload in payloads:
        for message in messages():
            yield {**_poisoned(message, payload), "ts": BEGAN + number}
            number += 1
