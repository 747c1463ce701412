"""The clients that read settings: what each makes of a document."""

from dataclasses import dataclass
from typing import Any

from orgs import documents


@dataclass(frozen=True, slots=True)
class Client:
    """Versions that read alike. unread: dotted paths that they drop silently; the names of profiles
    and the places in lists are left out of them."""

    name: str
    asks: str
    unread: frozenset[str]


CLIENTS = (
    Client(
        "Roo Code 3.51.0 and newer",
        "once an hour",
        frozenset(
            f"defaultSettings.{name}"
            for name in (
                "maxReadFileLine", "terminalOutputLineLimit", "fuzzyMatchThreshold",
                "terminalCompressProgressBar",
            )
        )
        | {"features.roomoteControlEnabled"},
    ),
    Client(
        "Roo Code 3.26.3 to 3.50.5",
        "every 30 seconds",
        frozenset(
            {
                "cloudSettings.allowPublicTaskSharing", "cloudSettings.workspaceTaskVisibility",
                "cloudSettings.llmEnhancedFeaturesEnabled", "defaultSettings.disabledTools",
                "providerProfiles.awsBedrockServiceTier", "providerProfiles.vertex1MContext",
            }
        ),
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a client makes of one document."""

    client: Client
    unread: list[str]


def verdicts(document: dict[str, Any]) -> list[Verdict]:
    """For each client, what it drops. A valid document is accepted by all of them."""
    present = {path for key in ("cloudSettings", "defaultSettings", "features") for path in (
        f"{key}.{name}" for name in document.get(key, {})
    )}  # fmt: skip
    for profile in document.get("providerProfiles", {}).values():
        present |= {f"providerProfiles.{name}" for name in profile}
    return [Verdict(client, sorted(client.unread & present)) for client in CLIENTS]


def profiles_run(settings: documents.OrganizationSettings) -> list[tuple[str, str, bool]]:
    """(name, provider and model, whether the allow list lets it run) of each profile."""
    profiles = settings.provider_profiles
    if not isinstance(profiles, dict):
        return []
    return [
        (
            name,
            _what(profile),
            settings.allow_list.lets_run(profile),
        )
        for name, profile in sorted(profiles.items())
    ]


def _what(profile: documents.ProviderProfile) -> str:
    model = profile.model or profile.api_model_id
    return " · ".join(part for part in (profile.api_provider, model) if isinstance(part, str))
