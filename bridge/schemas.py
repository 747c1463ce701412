"""The shapes that travel over the bridge (protocol/bridge.md §5). Fields that are not named here
pass unread where a payload is relayed as it came, and are dropped where it is written anew."""

from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Raw, Struct

from roocloud.lib import wire
from roocloud.lib.refusals import InvalidInput

T = TypeVar("T")

Id = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")]
TaskId = Annotated[str, Meta(max_length=128, pattern=r"^[^\x00-\x1f\x7f]*$")]  # "": no task
Name = Annotated[str, Meta(max_length=200)]
Path = Annotated[str, Meta(max_length=4096)]
Text = Annotated[str, Meta(max_length=10_000_000)]
Images = Annotated[list[Annotated[str, Meta(max_length=20_000_000)]], Meta(max_length=20)]
Milliseconds = Annotated[float, Meta(ge=0, le=2**53)]


class _Shape(Struct, rename="camel", omit_defaults=True):
    """Optional fields that are null count as absent."""


class Message(_Shape):
    """A ClineMessage, as far as the bridge reads it."""

    ts: Milliseconds
    type: Literal["ask", "say"]
    ask: Name | None = None
    say: Name | None = None
    text: str | None = None
    partial: bool | None = None


class AppProperties(_Shape):
    app_name: Name
    app_version: Name
    vscode_version: Name
    platform: Name
    editor_name: Name
    hostname: Name | None = None


class GitProperties(_Shape):
    repository_url: Path | None = None
    repository_name: Name | None = None
    default_branch: Name | None = None


class TokenUsage(_Shape):
    total_tokens_in: float = 0
    total_tokens_out: float = 0
    total_cache_writes: float | None = None
    total_cache_reads: float | None = None
    total_cost: float = 0
    context_tokens: float = 0


class QueuedMessage(_Shape):
    timestamp: Milliseconds
    id: Name
    text: str


class TaskState(_Shape):
    """What an instance works on. ``images`` are left out: every event repeats them."""

    task_id: TaskId
    task_status: Name  # running interactive resumable idle none, and what forks add
    task_ask: Message | None = None
    queued_messages: list[QueuedMessage] | None = None
    parent_task_id: TaskId | None = None
    child_task_id: TaskId | None = None
    token_usage: TokenUsage | None = None
    task: str | None = None


class Mode(_Shape):
    slug: Name
    name: Name


class ProviderProfile(_Shape):
    name: Name
    provider: Name | None = None


class ExtensionInstance(_Shape):
    """An editor's window. ``user_id`` is what it says of itself, and nothing is made of it."""

    instance_id: Id
    user_id: Name
    workspace_path: Path
    app_properties: AppProperties
    last_heartbeat: float | str
    task: TaskState
    task_history: list[TaskId]
    git_properties: GitProperties | None = None
    task_ask: Message | None = None
    mode: Name | None = None
    modes: list[Mode] | None = None
    provider_profile: Name | None = None
    provider_profiles: list[ProviderProfile] | None = None
    is_cloud_agent: bool | None = None


class ExtensionEvent(_Shape):
    """An ExtensionBridgeEvent. The last three belong to single types."""

    type: Name
    instance: ExtensionInstance
    timestamp: Milliseconds
    mode: Name | None = None
    provider_profile: ProviderProfile | None = None
    payload: Raw | None = None


class TaskRef(_Shape):
    task_id: Id


class TaskEvent(_Shape):
    """A TaskBridgeEvent: ``message``, ``taskModeSwitched`` or ``taskInteractive``."""

    type: Name
    task_id: Id
    action: Name | None = None
    message: Message | None = None
    mode: Name | None = None


class InstanceRef(_Shape):
    """An instance of somebody else's, as its address names it."""

    organization_id: Id
    user_id: Id
    instance_id: Id


class StartTask(_Shape):
    text: Text
    images: Images | None = None
    mode: Name | None = None
    provider_profile: Name | None = None


class OfTask(_Shape):
    task_id: Id


class Words(_Shape):
    """What goes with an answer to a question."""

    text: Text | None = None
    images: Images | None = None


class _Command(_Shape, tag_field="type"):
    """command_id: of whoever sends it; the same one is the same command, however often it comes."""

    timestamp: Milliseconds | None = None
    command_id: Id | None = None


class _ExtensionCommand(_Command, kw_only=True):
    instance_id: Id


class StartTaskCommand(_ExtensionCommand, tag="start_task", kw_only=True):
    """may_wait: for a window on that instance's host and folder, where it is not there now."""

    payload: StartTask
    may_wait: bool = False


class StopTaskCommand(_ExtensionCommand, tag="stop_task", kw_only=True):
    payload: OfTask


class ResumeTaskCommand(_ExtensionCommand, tag="resume_task", kw_only=True):
    payload: OfTask


class _TaskCommand(_Command, kw_only=True):
    task_id: Id


class MessageCommand(_TaskCommand, tag="message", kw_only=True):
    """ask_ts: the question that it answers; without, it is queued where none is pending."""

    payload: StartTask
    ask_ts: Milliseconds | None = None


class ApproveCommand(_TaskCommand, tag="approve_ask", kw_only=True):
    """ask_ts: the ``ts`` of the question that the person saw (D3)."""

    ask_ts: Milliseconds
    payload: Words = msgspec.field(default_factory=Words)


class DenyCommand(_TaskCommand, tag="deny_ask", kw_only=True):
    ask_ts: Milliseconds
    payload: Words = msgspec.field(default_factory=Words)


ExtensionCommand = StartTaskCommand | StopTaskCommand | ResumeTaskCommand
TaskCommand = MessageCommand | ApproveCommand | DenyCommand
AnyCommand = ExtensionCommand | TaskCommand


class CommandRef(_Shape):
    command_id: Id


class Reader:
    """Reads JSON texts of one shape."""

    def __init__(self, shape: Any) -> None:
        self.shape = shape
        self._decoder = msgspec.json.Decoder(shape)

    def read(self, text: str) -> Any:
        """Raises InvalidInput naming the field; for text that is not one JSON value, without one.

        Half of a surrogate pair, which editors send where a terminal cut a character in two, is
        read as U+FFFD.
        """
        try:
            return self._decoder.decode(text)
        except msgspec.ValidationError as error:
            raise wire.named(str(error)) from None
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
            value = wire.loads(text.encode("utf-8", "surrogatepass"))
            return wire.convert(_without_surrogates(value), self.shape)


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(value[key]) for key in value}
    return value


_arguments = msgspec.json.Decoder(list[Raw])


def split_arguments(text: str) -> list[str]:
    """The arguments of an event, each as JSON text. Raises InvalidInput if it is no JSON array."""
    try:
        return [bytes(raw).decode() for raw in _arguments.decode(text)]
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        value = wire.loads(text.encode("utf-8", "surrogatepass"))
        if not isinstance(value, list):
            raise InvalidInput("The event is not an array") from None
        return [wire.dumps(item) for item in value]
