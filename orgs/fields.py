"""What the fields of a settings document are to a client: the words of the editor's pages.

From here and from the declared types of orgs.documents the forms are made. Sources:
protocol/settings.md §2 to §6 and tasks-and-telemetry.md §9.
"""

import re
from dataclasses import dataclass
from typing import get_args

import msgspec
from django.utils.text import capfirst

from orgs import documents


@dataclass(frozen=True, slots=True)
class Section:
    """A page of the editor. parts: dotted paths of the objects whose fields it shows."""

    slug: str
    title: str
    summary: str
    parts: tuple[str, ...] = ()


SECTIONS = (
    Section(
        "tasks",
        "Tasks and sharing",
        "What editors record and what members may share. This server holds to it as well.",
        ("cloudSettings", "features"),
    ),
    Section(
        "defaults",
        "Defaults",
        "Editors check and keep these values. No released version applies them yet.",
        ("defaultSettings",),
    ),
    Section("models", "Allowed models", "With which providers and models members may work."),
    Section(
        "profiles",
        "Provider profiles",
        "Configurations that editors add to the member's own and keep up to date. They hold no "
        "keys.",
    ),
    Section(
        "mcps",
        "MCP servers",
        "Offered in the marketplace of every member's editor, before all others. What members "
        "install there runs on their computers.",
    ),
    Section(
        "marketplace",
        "Hidden MCP servers",
        "What of the general marketplace members see.",
        ("",),
    ),
)
BY_SLUG = {section.slug: section for section in SECTIONS}

#: What a client does with a field, by ``Struct.wireName``.
HELP = {
    "CloudSettings.recordTaskMessages": (
        "Editors send conversations here as they go, and members cannot turn it off. Not set, they "
        "send none."
    ),
    "CloudSettings.enableTaskSharing": (
        "Editors show the Share button. Not set, they do not, and links that exist stop."
    ),
    "CloudSettings.allowPublicTaskSharing": (
        "Editors offer links for everybody beside those for members; only No takes that away."
    ),
    "CloudSettings.taskShareExpirationDays": (
        "Editors do not read it. This server ends each link so many days after it was made; not "
        "set, links do not end."
    ),
    "CloudSettings.allowMembersViewAllTasks": (
        "Editors do not read it. Here, whether members may open the tasks of others, unless the "
        "next field says more."
    ),
    "CloudSettings.workspaceTaskVisibility": (
        "Editors do not read it. Here, who opens a task: every member; its creator while others "
        "see that it is there; its creator and admins; its creator; nobody. It wins over the field "
        "before."
    ),
    "CloudSettings.llmEnhancedFeaturesEnabled": (
        "Editors do not read it. For titles and summaries that a model writes."
    ),
    "Features.roomoteControlEnabled": (
        "Editors with remote control show its switch; members of any organization see it anyway."
    ),
    "DefaultSettings.enableCheckpoints": "Snapshots of the workspace before each change.",
    "DefaultSettings.maxOpenTabsContext": "How many open tabs a request names.",
    "DefaultSettings.maxWorkspaceFiles": "How many files of the workspace a request names.",
    "DefaultSettings.showRooIgnoredFiles": "Lists show ignored files, marked by a lock.",
    "DefaultSettings.terminalCommandDelay": "Milliseconds after each command.",
    "DefaultSettings.terminalShellIntegrationDisabled": "Commands run without shell integration.",
    "DefaultSettings.terminalShellIntegrationTimeout": "Milliseconds to wait for the shell.",
    "DefaultSettings.terminalZshClearEolMark": "Clears the mark that zsh puts at the end of lines.",
    "DefaultSettings.disabledTools": "Tools that models are not given.",
    "DefaultSettings.maxReadFileLine": "Lines of a file that are read at once; -1 means all.",
    "DefaultSettings.terminalOutputLineLimit": "Lines of output that are kept.",
    "DefaultSettings.fuzzyMatchThreshold": "How alike text must be for an edit to match, 0 to 1.",
    "DefaultSettings.terminalCompressProgressBar": "Keeps the last state of progress bars alone.",
    "OrganizationSettings.hiddenMcps": (
        "Ids of MCP servers that the marketplace does not show, one on each line."
    ),
    "OrganizationSettings.hideMarketplaceMcps": (
        "Yes: editors do not even ask for the general list, and show the organization's servers "
        "alone."
    ),
    "ProviderProfile.apiProvider": (
        "Roo is this server: its models need no key on any computer. For others, members enter "
        "their own."
    ),
    "ProviderProfile.apiModelId": "The model, as the provider calls it.",
    "ProviderProfile.includeMaxTokens": "Requests name the most tokens of an answer.",
    "ProviderProfile.todoListEnabled": "Models keep a list of what is to do.",
    "ProviderProfile.modelTemperature": "A number, or null for the provider's own.",
    "ProviderProfile.rateLimitSeconds": "The least time between two requests.",
    "ProviderProfile.consecutiveMistakeLimit": (
        "After so many failures in a row the user is asked; 0: never."
    ),
    "ProviderProfile.enableReasoningEffort": "Models think before they answer.",
    "ProviderProfile.reasoningEffort": "How much.",
    "ProviderProfile.modelMaxTokens": "The most tokens of an answer.",
    "ProviderProfile.modelMaxThinkingTokens": "The most of them for thinking.",
    "ProviderProfile.verbosity": "How long answers are.",
    "ProviderProfile.openAiCustomModelInfo": "What the model can do and costs, as YAML, or null.",
    "Mcp.id": "The server's name in the member's file of MCP servers, and what hides it.",
    "Mcp.name": "Shown in the marketplace.",
    "Mcp.description": "Shown below the name; may be empty.",
    "Mcp.url": "Where the name leads.",
    "Mcp.content": (
        "JSON of the server's configuration, or a YAML list of ways to install it, each with name "
        "and content. {{key}} is replaced by what the member enters."
    ),
    "Mcp.author": "Shown beside the name.",
    "Mcp.authorUrl": "Where the author's name leads.",
    "Mcp.tags": "To filter by, one on each line.",
    "Mcp.prerequisites": "What must be installed first, one on each line.",
    "Mcp.parameters": (
        "A YAML list of what the member is asked for: name and key, and if you like placeholder "
        "and optional."
    ),
    "Mode.id": "Its name in the marketplace's answers.",
    "Mode.name": "Shown in the marketplace.",
    "Mode.description": "Shown below the name; may be empty.",
    "Mode.content": "YAML of one mode: slug, name, roleDefinition and groups at least.",
    "Mode.author": "Shown beside the name.",
    "Mode.authorUrl": "Where the author's name leads.",
    "Mode.tags": "To filter by, one on each line.",
    "Mode.prerequisites": "What must be installed first, one on each line.",
}

#: Fields of profiles that belong to some providers alone, by how their wire names begin.
PREFIXES = {
    "anthropic": ("anthropic",),
    "bedrock": ("aws",),
    "deepseek": ("deepSeek",),
    "gemini": ("googleGemini",),
    "gemini-cli": ("geminiCli",),
    "litellm": ("litellm",),
    "lmstudio": ("lmStudio",),
    "minimax": ("minimax",),
    "mistral": ("mistral",),
    "moonshot": ("moonshot",),
    "ollama": ("ollama",),
    "openai": ("openAiBase", "openAiModel", "openAiCustom", "openAiR1", "openAiUse", "openAiStr",
               "openAiHost", "azure"),
    "openai-native": ("openAiNative",),
    "openrouter": ("openRouter",),
    "qwen-code": ("qwenCode",),
    "requesty": ("requesty",),
    "unbound": ("unbound",),
    "vercel-ai-gateway": ("vercelAiGateway",),
    "vertex": ("vertex",),
    "vscode-lm": ("vsCodeLm",),
    "zai": ("zai",),
}  # fmt: skip
#: Providers whose profiles have a field of their own for the model.
_OWN_MODEL = {
    "openrouter", "vercel-ai-gateway", "litellm", "requesty", "unbound", "ollama", "lmstudio",
    "vscode-lm", "openai", "fake-ai",
}  # fmt: skip
_WORDS = {
    "1m": "1M", "ai": "AI", "api": "API", "arn": "ARN", "aws": "AWS", "id": "ID", "llm": "LLM",
    "lm": "LM", "mcps": "MCPs", "r1": "R1", "url": "URL",
}  # fmt: skip


def shape_at(path: str) -> type[msgspec.Struct]:
    """The declared object at a dotted path of the document."""
    shapes: dict[str, type[msgspec.Struct]] = {
        "": documents.OrganizationSettings,
        "cloudSettings": documents.CloudSettings,
        "defaultSettings": documents.DefaultSettings,
        "features": documents.Features,
    }
    return shapes[path]


def label_of(name: str) -> str:
    """``taskShareExpirationDays`` -> "Task share expiration days"."""
    words = re.findall(r"[A-Z]?[a-z]+|R1|1M|[A-Z]+", name)
    return capfirst(" ".join(_WORDS.get(word.lower(), word.lower()) for word in words))


def is_of_provider(name: str, provider: str) -> bool:
    """Whether a field of a profile means something to a client for that provider."""
    if name == "apiModelId":
        return provider not in _OWN_MODEL
    owners = [owner for owner, prefixes in PREFIXES.items() if name.startswith(prefixes)]
    if name.startswith("codebaseIndex"):
        return provider == "openai"
    return not owners or provider in owners


def fields_of(path: str) -> list[msgspec.structs.FieldInfo]:
    """The fields of the object at a path that a section shows one by one."""
    shape = shape_at(path)
    declared = msgspec.structs.fields(shape)
    return [f for f in declared if path or f"{shape.__name__}.{f.encode_name}" in HELP]


def can_list_models(provider: str) -> bool:
    """Whether an allow list may name models of the provider (trap 18)."""
    return provider in documents.MODEL_KEYS


def providers() -> list[str]:
    """The providers that profiles can be made for, by name."""
    return sorted({*get_args(documents.Provider)} - {"fake-ai"})


def profile_fields() -> list[msgspec.structs.FieldInfo]:
    """The fields of a profile but its id, which this server gives."""
    declared = msgspec.structs.fields(documents.ProviderProfile)
    return [field for field in declared if field.encode_name != "id"]
