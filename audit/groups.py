"""What the actions of the trail are about, as people ask for it."""

#: Label and nouns by group: an action is ``noun.past_participle``.
GROUPS: dict[str, tuple[str, tuple[str, ...]]] = {
    "sign-ins": ("Sign-ins and accounts", ("session", "user", "user_settings", "second_factor")),
    "members": ("Organizations and members", ("organization", "membership", "invitation")),
    "policy": (
        "Settings and policy",
        ("organization_settings", "marketplace_item", "remote_control", "transcripts"),
    ),
    "keys": ("Keys", ("api_key", "signing_key")),
    "money": ("Credit and budgets", ("budget", "credit", "ledger", "payment", "top_up")),
    "models": ("Models and upstreams", ("model", "upstream")),
    "tasks": ("Tasks and shares", ("mask", "import", "share", "task", "tasks", "transcript")),
    "commands": ("Remote control", ("command", "device", "device_command", "editor")),
    "server": ("Jobs and the trail", ("audit", "backfill")),
}


def group_of(action: str) -> str:
    """The key of an action's group; empty for one that has none."""
    noun = action.partition(".")[0]
    return next((key for key, (_, nouns) in GROUPS.items() if noun in nouns), "")
