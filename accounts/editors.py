"""Where a sign-in may return to, and how (protocol/auth.md §2).

A redirect target is accepted by exact comparison with the configured list, never by prefix or
pattern (B2): whoever receives the callback receives a ticket.
"""

import re
from dataclasses import dataclass
from urllib.parse import quote

from django.conf import settings

from roocloud.lib.refusals import InvalidInput

#: The query is percent-decoded twice on the way into the editor, and ``+`` differently on the two
#: paths, so values may hold only what needs no escaping (trap 3).
_PLAIN = re.compile(r"[A-Za-z0-9._~-]{1,256}")
_PLAIN_MODEL = re.compile(r"[A-Za-z0-9._~:/-]{1,200}")


@dataclass(frozen=True, slots=True)
class Editor:
    """An accepted redirect target, such as ``vscode://RooVeterinaryInc.roo-cline``."""

    target: str
    name: str

    def callback(
        self, *, code: str, state: str, organization_id: str | None, model: str | None = None
    ) -> str:
        """The URL that the editor's URI handler reads. ``model`` belongs to the provider sign-up
        alone: it overwrites the person's current profile (trap 2)."""
        query = f"code={code}&state={state}"
        if organization_id:
            query += f"&organizationId={organization_id}"
        if model:
            query += f"&provider_model={quote(model, safe='/:')}"
        return f"{self.target}{settings.ROOCLOUD_EDITOR_CALLBACK_PATH}?{query}"


def find(target: str) -> Editor:
    """The editor behind ``auth_redirect``; editors lower-case the authority, so both spellings
    count. Raises InvalidInput for anything that is not on the list."""
    for scheme, name in settings.ROOCLOUD_EDITORS.items():
        for extension in settings.ROOCLOUD_EDITOR_EXTENSIONS:
            for authority in (extension, extension.lower()):
                if target == f"{scheme}://{authority}":
                    return Editor(target, name)
    raise InvalidInput(
        "This server does not send sign-ins there. An administrator can add the editor to "
        "ROOCLOUD_EDITORS and the extension to ROOCLOUD_EDITOR_EXTENSIONS.",
        field="auth_redirect",
    )


def checked_state(state: str) -> str:
    """The client's ``state``, to be echoed. Raises InvalidInput if it would not come back as it
    went."""
    if not _PLAIN.fullmatch(state):
        raise InvalidInput("is missing or holds characters that need escaping", field="state")
    return state


def is_plain_model(model: str) -> bool:
    """Whether an editor reads the model id as it was sent: others cannot be offered to it."""
    return _PLAIN_MODEL.fullmatch(model) is not None


def checked_model(model: str) -> str:
    """A model id for ``provider_model``. Raises InvalidInput if it would need escaping."""
    if not is_plain_model(model):
        raise InvalidInput("is not a model id", field="model")
    return model


_LOOPBACK = re.compile(r"http://(?:127\.0\.0\.1|localhost|\[::1\]):([0-9]{1,5})/callback")


def checked_loopback(callback: str) -> int:
    """The port of a command line's callback URL, which must be this computer's own loopback (trap
    14): anything else would hand a 90-day token to a stranger. Raises InvalidInput."""
    found = _LOOPBACK.fullmatch(callback)
    if not found or not 1 <= int(found[1]) <= 65535:
        raise InvalidInput(
            "must be http://127.0.0.1, http://localhost or http://[::1] with a port and the path "
            "/callback",
            field="callback",
        )
    return int(found[1])
