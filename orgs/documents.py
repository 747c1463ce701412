"""The settings document of an organization: what every released client accepts, and nothing else.

One bad field anywhere makes a client drop all settings (trap 16), so what is stored is checked
against the common part of the published schemas (protocol/settings.md §2 to §6; ``@roo-code/types``
1.89.0 and 1.115.0). Absent keys stay absent: a null would be such a bad field.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from orgs.web_urls import is_web_url
from roocloud.lib import wire
from roocloud.lib.refusals import InvalidInput
from roocloud.lib.text import is_storable

Text = Annotated[str, Meta(max_length=100_000)]
Name = Annotated[str, Meta(min_length=1, max_length=200)]
Number = Annotated[float, Meta(ge=-1e15, le=1e15)]
Whole = Annotated[int, Meta(ge=0, le=2**53)]
Visibility = Literal["all", "list-only", "admins-and-creator", "creator", "full-lockdown"]
Tool = Literal[
    "execute_command", "read_file", "read_command_output", "write_to_file", "apply_diff", "edit",
    "search_and_replace", "search_replace", "edit_file", "apply_patch", "search_files",
    "list_files", "use_mcp_tool", "access_mcp_resource", "ask_followup_question",
    "attempt_completion", "switch_mode", "new_task", "codebase_search", "update_todo_list",
    "run_slash_command", "skill", "generate_image", "custom_tool",
]  # fmt: skip
#: Providers that all released clients know; others reject the whole document in some of them.
Provider = Literal[
    "openrouter", "vercel-ai-gateway", "litellm", "requesty", "roo", "unbound", "ollama",
    "lmstudio", "vscode-lm", "openai", "fake-ai", "anthropic", "bedrock", "baseten", "deepseek",
    "fireworks", "gemini", "gemini-cli", "mistral", "moonshot", "minimax", "openai-native",
    "qwen-code", "sambanova", "vertex", "xai", "zai",
]  # fmt: skip


#: Where a client finds the model of a profile of a provider. It finds none of other providers.
MODEL_KEYS = {
    "litellm": "litellm_model_id",
    "lmstudio": "lm_studio_model_id",
    "ollama": "ollama_model_id",
    "openai": "open_ai_model_id",
    "openrouter": "open_router_model_id",
    "requesty": "requesty_model_id",
    "unbound": "unbound_model_id",
    "vscode-lm": "vs_code_lm_model_selector",
    **dict.fromkeys(
        ["anthropic", "bedrock", "deepseek", "fireworks", "gemini", "mistral", "openai-native",
         "sambanova", "vertex", "xai"],
        "api_model_id",
    ),
}  # fmt: skip


class Object(Struct, rename="camel", omit_defaults=True, forbid_unknown_fields=True):
    """Unknown keys are refused: to a client they mean nothing, so they are slips."""


class CloudSettings(Object):
    """protocol/settings.md §3"""

    record_task_messages: bool | UnsetType = UNSET
    enable_task_sharing: bool | UnsetType = UNSET
    allow_public_task_sharing: bool | UnsetType = UNSET
    task_share_expiration_days: Annotated[int, Meta(ge=1, le=36_500)] | UnsetType = UNSET
    allow_members_view_all_tasks: bool | UnsetType = UNSET
    workspace_task_visibility: Visibility | UnsetType = UNSET
    llm_enhanced_features_enabled: bool | UnsetType = UNSET


class DefaultSettings(Object):
    """protocol/settings.md §4. No released client applies them; all of them check them."""

    enable_checkpoints: bool | UnsetType = UNSET
    max_open_tabs_context: Whole | UnsetType = UNSET
    max_workspace_files: Whole | UnsetType = UNSET
    show_roo_ignored_files: bool | UnsetType = UNSET
    terminal_command_delay: Whole | UnsetType = UNSET
    terminal_shell_integration_disabled: bool | UnsetType = UNSET
    terminal_shell_integration_timeout: Whole | UnsetType = UNSET
    terminal_zsh_clear_eol_mark: bool | UnsetType = UNSET
    disabled_tools: list[Tool] | UnsetType = UNSET
    max_read_file_line: Annotated[int, Meta(ge=-1, le=2**53)] | UnsetType = UNSET
    terminal_output_line_limit: Whole | UnsetType = UNSET
    fuzzy_match_threshold: Number | UnsetType = UNSET
    terminal_compress_progress_bar: bool | UnsetType = UNSET


class AllowedProvider(Object):
    allow_all: bool
    models: list[Name] | UnsetType = UNSET


class AllowList(Object):
    """protocol/settings.md §6"""

    allow_all: bool
    providers: dict[Name, AllowedProvider]

    def allows(self, provider: str, model: str) -> bool:
        """Whether a completion by ``provider`` with ``model`` may run."""
        if self.allow_all:
            return True
        entry = self.providers.get(provider)
        if entry is None:
            return False
        return entry.allow_all or (entry.models is not UNSET and model in entry.models)

    def lets_run(self, profile: "ProviderProfile") -> bool:
        """Whether a client lets its user run a profile: a provider whose model it cannot find
        needs its entry to allow all."""
        if self.allow_all:
            return True
        entry = self.providers.get(str(profile.api_provider))
        if entry is None or entry.allow_all:
            return entry is not None
        return entry.models is not UNSET and profile.model in entry.models


class Features(Object):
    roomote_control_enabled: bool | UnsetType = UNSET


class ModelSelector(Object):
    vendor: Text | UnsetType = UNSET
    family: Text | UnsetType = UNSET
    version: Text | UnsetType = UNSET
    id: Text | UnsetType = UNSET


class ModelInfo(Object):
    """What an OpenAI-compatible model can do and costs, where no client can know."""

    context_window: Number
    supports_prompt_cache: bool
    max_tokens: Number | UnsetType | None = UNSET
    max_thinking_tokens: Number | UnsetType | None = UNSET
    supports_images: bool | UnsetType = UNSET
    input_price: Number | UnsetType = UNSET
    output_price: Number | UnsetType = UNSET
    cache_writes_price: Number | UnsetType = UNSET
    cache_reads_price: Number | UnsetType = UNSET
    description: Text | UnsetType = UNSET


class ProviderProfile(Object):
    """protocol/settings.md §5. It has no key for any secret: a client would keep some of them."""

    id: Annotated[str, Meta(pattern=r"^cloud_[A-Za-z0-9_-]{1,80}$")] | UnsetType = UNSET
    api_provider: Provider | UnsetType = UNSET
    include_max_tokens: bool | UnsetType = UNSET
    todo_list_enabled: bool | UnsetType = UNSET
    model_temperature: Number | UnsetType | None = UNSET
    rate_limit_seconds: Number | UnsetType = UNSET
    consecutive_mistake_limit: Annotated[float, Meta(ge=0, le=1e9)] | UnsetType = UNSET
    enable_reasoning_effort: bool | UnsetType = UNSET
    reasoning_effort: Literal["disable", "minimal", "low", "medium", "high"] | UnsetType = UNSET
    model_max_tokens: Number | UnsetType = UNSET
    model_max_thinking_tokens: Number | UnsetType = UNSET
    verbosity: Literal["low", "medium", "high"] | UnsetType = UNSET
    api_model_id: Text | UnsetType = UNSET
    anthropic_base_url: Text | UnsetType = UNSET
    anthropic_use_auth_token: bool | UnsetType = UNSET
    anthropic_beta_1m_context: bool | UnsetType = msgspec.field(
        default=UNSET, name="anthropicBeta1MContext"
    )
    open_router_model_id: Text | UnsetType = UNSET
    open_router_base_url: Text | UnsetType = UNSET
    open_router_specific_provider: Text | UnsetType = UNSET
    aws_region: Text | UnsetType = UNSET
    aws_use_cross_region_inference: bool | UnsetType = UNSET
    aws_use_global_inference: bool | UnsetType = UNSET
    aws_use_prompt_cache: bool | UnsetType = UNSET
    aws_profile: Text | UnsetType = UNSET
    aws_use_profile: bool | UnsetType = UNSET
    aws_use_api_key: bool | UnsetType = UNSET
    aws_custom_arn: Text | UnsetType = UNSET
    aws_model_context_window: Number | UnsetType = UNSET
    aws_bedrock_endpoint_enabled: bool | UnsetType = UNSET
    aws_bedrock_endpoint: Text | UnsetType = UNSET
    aws_bedrock_1m_context: bool | UnsetType = msgspec.field(
        default=UNSET, name="awsBedrock1MContext"
    )
    aws_bedrock_service_tier: Literal["STANDARD", "FLEX", "PRIORITY"] | UnsetType = UNSET
    vertex_key_file: Text | UnsetType = UNSET
    vertex_project_id: Text | UnsetType = UNSET
    vertex_region: Text | UnsetType = UNSET
    vertex_1m_context: bool | UnsetType = msgspec.field(default=UNSET, name="vertex1MContext")
    open_ai_base_url: Text | UnsetType = UNSET
    open_ai_model_id: Text | UnsetType = UNSET
    open_ai_custom_model_info: ModelInfo | UnsetType | None = UNSET
    open_ai_r1_format_enabled: bool | UnsetType = UNSET
    open_ai_use_azure: bool | UnsetType = UNSET
    azure_api_version: Text | UnsetType = UNSET
    open_ai_streaming_enabled: bool | UnsetType = UNSET
    open_ai_host_header: Text | UnsetType = UNSET
    ollama_model_id: Text | UnsetType = UNSET
    ollama_base_url: Text | UnsetType = UNSET
    ollama_num_ctx: Annotated[int, Meta(ge=128, le=2**53)] | UnsetType = UNSET
    lm_studio_model_id: Text | UnsetType = UNSET
    lm_studio_base_url: Text | UnsetType = UNSET
    lm_studio_draft_model_id: Text | UnsetType = UNSET
    lm_studio_speculative_decoding_enabled: bool | UnsetType = UNSET
    vs_code_lm_model_selector: ModelSelector | UnsetType = UNSET
    google_gemini_base_url: Text | UnsetType = UNSET
    gemini_cli_o_auth_path: Text | UnsetType = UNSET
    gemini_cli_project_id: Text | UnsetType = UNSET
    open_ai_native_base_url: Text | UnsetType = UNSET
    open_ai_native_service_tier: Literal["default", "flex", "priority"] | UnsetType = UNSET
    mistral_codestral_url: Text | UnsetType = UNSET
    deep_seek_base_url: Text | UnsetType = UNSET
    moonshot_base_url: (
        Literal["https://api.moonshot.ai/v1", "https://api.moonshot.cn/v1"] | UnsetType
    ) = UNSET
    minimax_base_url: (
        Literal["https://api.minimax.io/v1", "https://api.minimaxi.com/v1"] | UnsetType
    ) = UNSET
    requesty_base_url: Text | UnsetType = UNSET
    requesty_model_id: Text | UnsetType = UNSET
    unbound_model_id: Text | UnsetType = UNSET
    litellm_base_url: Text | UnsetType = UNSET
    litellm_model_id: Text | UnsetType = UNSET
    litellm_use_prompt_cache: bool | UnsetType = UNSET
    zai_api_line: Literal["international_coding", "china_coding"] | UnsetType = UNSET
    qwen_code_oauth_path: Text | UnsetType = UNSET
    vercel_ai_gateway_model_id: Text | UnsetType = UNSET
    codebase_index_open_ai_compatible_base_url: Text | UnsetType = UNSET
    codebase_index_open_ai_compatible_model_dimension: Number | UnsetType = UNSET

    @property
    def model(self) -> str:
        """The model as a client finds it for the allow list; empty if it finds none."""
        found = getattr(self, MODEL_KEYS.get(str(self.api_provider), ""), UNSET)
        if isinstance(found, ModelSelector):
            found = found.id
        return "" if found is UNSET else str(found)


class McpParameter(Object):
    name: Name
    key: Name
    placeholder: Text | UnsetType = UNSET
    optional: bool | UnsetType = UNSET


class McpMethod(Object):
    name: Name
    content: Annotated[str, Meta(min_length=1, max_length=100_000)]
    parameters: list[McpParameter] | UnsetType = UNSET
    prerequisites: list[Text] | UnsetType = UNSET


class Mcp(Object):
    """protocol/tasks-and-telemetry.md §9"""

    id: Name
    name: Name
    description: Text
    url: Name
    content: Annotated[str, Meta(min_length=1, max_length=100_000)] | list[McpMethod]
    author: Text | UnsetType = UNSET
    author_url: Name | UnsetType = UNSET
    tags: list[Text] | UnsetType = UNSET
    prerequisites: list[Text] | UnsetType = UNSET
    parameters: list[McpParameter] | UnsetType = UNSET


class OrganizationSettings(Object):
    """protocol/settings.md §2, without ``version``, which is the revision's."""

    default_settings: DefaultSettings
    allow_list: AllowList
    cloud_settings: CloudSettings | UnsetType = UNSET
    features: Features | UnsetType = UNSET
    hidden_mcps: list[Name] | UnsetType = UNSET
    hide_marketplace_mcps: bool | UnsetType = UNSET
    mcps: list[Mcp] | UnsetType = UNSET
    provider_profiles: dict[Name, ProviderProfile] | UnsetType = UNSET

    @property
    def cloud(self) -> CloudSettings:
        return CloudSettings() if self.cloud_settings is UNSET else self.cloud_settings


#: What the client itself assumes for a personal account, and what a new organization starts with.
DEFAULT = OrganizationSettings(
    cloud_settings=CloudSettings(
        record_task_messages=True,
        enable_task_sharing=True,
        allow_public_task_sharing=True,
        task_share_expiration_days=30,
        allow_members_view_all_tasks=True,
        llm_enhanced_features_enabled=False,
    ),
    default_settings=DefaultSettings(),
    allow_list=AllowList(allow_all=True, providers={}),
)


def parse(document: Any) -> OrganizationSettings:
    """A document from JSON. Raises InvalidInput naming the path of what a client would reject."""
    check_text(document)
    settings = wire.convert(document, OrganizationSettings)
    _check_allow_list(settings.allow_list)
    if settings.mcps is not UNSET:
        for index, mcp in enumerate(settings.mcps):
            check_mcp(mcp, f"mcps[{index}].")
    return settings


def load(document: dict[str, Any]) -> OrganizationSettings:
    """A document as it was checked and stored: a newer rule does not make it unreadable."""
    return wire.convert(document, OrganizationSettings)


def dump(settings: OrganizationSettings) -> dict[str, Any]:
    """The document as JSON, with absent keys absent."""
    document: dict[str, Any] = msgspec.to_builtins(settings)
    return document


def check_text(value: Any, path: str = "") -> None:
    """Raises InvalidInput for text that one of our stores or lines would not carry.

    A lone surrogate cannot be sent as UTF-8, and PostgreSQL stores no NUL: either would answer
    every member with an error instead of settings.
    """
    if isinstance(value, str) and not is_storable(value):
        raise InvalidInput("must not hold NUL or half a character", field=path or None)
    if isinstance(value, list):
        for index, item in enumerate(value):
            check_text(item, f"{path}[{index}]")
    if isinstance(value, dict):
        for key, item in value.items():
            check_text(key, path)
            check_text(item, f"{path}.{key}" if path else key)


def _check_allow_list(allow_list: AllowList) -> None:
    """Clients find the model of a profile for some providers alone (trap 18)."""
    for name, entry in allow_list.providers.items():
        if not allow_list.allow_all and not entry.allow_all and name not in MODEL_KEYS:
            raise InvalidInput(
                "No editor can match a list of models here, so nobody could use any of them. Set "
                "allowAll to true"
                + (
                    " and choose the visible models of this server instead."
                    if name == "roo"
                    else ", or leave the provider out."
                ),
                field=f"allowList.providers.{name}",
            )


def check_url(url: str, path: str) -> None:
    """Raises InvalidInput for what a client would take for no URL. path: of the field."""
    if not is_web_url(url):
        raise InvalidInput("must be an http or https URL of a host", field=path)


def check_mcp(mcp: Mcp, inside: str = "") -> None:
    """What the declared types cannot say of an MCP server. inside: where it is, with a dot at the
    end. Raises InvalidInput."""
    check_url(mcp.url, f"{inside}url")
    if mcp.author_url is not UNSET:
        check_url(mcp.author_url, f"{inside}authorUrl")
    contents = (
        [(f"{inside}content", mcp.content)]
        if isinstance(mcp.content, str)
        else [(f"{inside}content[{i}].content", m.content) for i, m in enumerate(mcp.content)]
    )
    for where, content in contents:
        try:
            wire.loads(content.encode())
        except InvalidInput:
            raise InvalidInput("must be JSON of one server's configuration", field=where) from None
