"""The editors of a person as their pages show them: those that are there, and those that were."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import msgspec
from django.db.models import Count, Q
from django.urls import reverse

from accounts.actors import Actor
from bridge import watching
from bridge.models import Command, Instance, InstanceQuerySet
from bridge.schemas import ExtensionInstance, Message, StartTask
from roocloud.lib.money import MAX_NANOS, NANOS_PER_USD, format_usd
from roocloud.lib.text import clean_label
from tasks_sharing.blocks import Block
from tasks_sharing.kinds import block_of

#: Editors that a page lists, and since when those are listed that went away.
_MOST = 200
_REMEMBERED = timedelta(days=14)
_MOST_GONE = 20
#: Characters of a question that are shown without a script.
_MAX_QUESTION = 10_000
#: Questions without which a task does not go on although its status is "idle".
_HOLDING = frozenset(
    {"api_req_failed", "mistake_limit_reached", "auto_approval_max_req_reached"}
)  # fmt: skip

_reader = msgspec.json.Decoder(ExtensionInstance)
_starts = msgspec.json.Decoder(StartTask)


class State(StrEnum):
    """In the order in which they are listed. static/js/roomote-home.js tells them apart alike."""

    NEEDS = "needs"
    RUNNING = "running"
    IDLE = "idle"
    OFFLINE = "offline"


_WORDS = {State.NEEDS: "needs you", State.RUNNING: "running", State.IDLE: "ready"}


@dataclass(frozen=True, slots=True)
class Editor:
    """A window of an editor. is_lost: its socket broke, and it has not come back yet. watchers:
    names of those who watch it. is_own: not only to be watched."""

    row: Instance
    instance: ExtensionInstance
    state: State
    is_lost: bool
    watchers: Sequence[str] = ()
    is_own: bool = True

    @property
    def instance_id(self) -> str:
        return self.row.instance_id

    @property
    def task_id(self) -> str:
        return self.instance.task.task_id

    @property
    def path(self) -> str:
        """Of its page."""
        row = self.row
        if self.is_own:
            return reverse("roomote-editor", args=[row.instance_id])
        return reverse("watch-editor", args=[row.organization_id, row.owner_id, row.instance_id])

    @property
    def list_path(self) -> str:
        """Of the list that it stands in."""
        if self.is_own:
            return reverse("roomote")
        return reverse("team-editors", args=[self.row.organization_id])

    @property
    def person(self) -> str:
        """Whose it is, if it is somebody else's."""
        return "" if self.is_own else self.row.owner.name

    @property
    def watched(self) -> str:
        """Who watches it. roomote-instance.js says it alike."""
        names = list(self.watchers)
        if len(names) < 2:
            return f"{names[0]} is watching" if names else ""
        return f"{len(names)} people are watching: {', '.join(names)}"

    @property
    def title(self) -> str:
        prompt = (self.instance.task.task or "").strip().partition("\n")[0]
        untitled = "Task without a prompt" if self.task_id else "No task open"
        return clean_label(prompt, 140) or untitled

    @property
    def place(self) -> str:
        """Repository or folder, branch, computer."""
        git = self.instance.git_properties
        name = (git.repository_name if git else None) or _name_of(self.row.workspace_path)
        branch = git.default_branch if git else None
        return " · ".join(filter(None, (name, branch, self.row.host)))

    @property
    def workplace(self) -> str:
        """Folder and computer, and nothing of what is done there."""
        return " · ".join(filter(None, (_name_of(self.row.workspace_path), self.row.host)))

    @property
    def manner(self) -> str:
        """Mode and profile."""
        instance = self.instance
        return " · ".join(filter(None, (instance.mode, instance.provider_profile)))

    @property
    def used(self) -> str:
        """Tokens and cost, as the editor reports them."""
        usage = self.instance.task.token_usage
        if usage is None or not self.task_id:
            return ""
        tokens = int(usage.total_tokens_in + usage.total_tokens_out)
        # An editor may report any number; money beyond what is counted here has no format.
        nanos = round(min(max(usage.total_cost * NANOS_PER_USD, 0), MAX_NANOS))
        return f"{tokens:,} tokens · {format_usd(nanos)}"

    @property
    def word(self) -> str:
        if self.state is State.OFFLINE:
            return "offline"
        return "reconnecting …" if self.is_lost else _WORDS[self.state]

    @property
    def question(self) -> Block | None:
        """What a person is asked, as a conversation shows it."""
        ask = _ask(self.instance)
        if ask is None or self.state is not State.NEEDS:
            return None
        document = {"text": (ask.text or "")[:_MAX_QUESTION]}
        return block_of("ask", ask.ask or "", document, has_images=False, is_prompt=False)

    @property
    def asks(self) -> str:
        """The question in a line."""
        block = self.question
        return clean_label(block.label or block.source, 140) if block else ""

    @property
    def snapshot(self) -> object:
        """For the script: the instance as the bridge relays it."""
        return msgspec.to_builtins(self.instance)


def _name_of(path: str) -> str:
    """The last part of a path on somebody's computer."""
    return path.replace("\\", "/").rstrip("/").rpartition("/")[2]


def _ask(instance: ExtensionInstance) -> Message | None:
    return instance.task_ask or instance.task.task_ask


def _state(instance: ExtensionInstance) -> State:
    ask = _ask(instance)
    status = instance.task.task_status
    if instance.task.task_id and (status == "interactive" or (ask and ask.ask in _HOLDING)):
        return State.NEEDS
    return State.RUNNING if status == "running" else State.IDLE


def _editor(
    row: Instance, *, at: datetime, watchers: Sequence[str] = (), is_own: bool = True
) -> Editor:
    instance = _reader.decode(row.snapshot)
    state = _state(instance) if row.is_live(at) else State.OFFLINE
    return Editor(row, instance, state, not row.sid, watchers, is_own)


def editors(actor: Actor, *, at: datetime) -> list[Editor]:
    """The actor's own: first those that need somebody, then the running, idle and gone ones. Of a
    folder whose editor is open again, or was opened several times, nothing older is listed."""
    rows = Instance.objects.visible_to(actor).filter(last_seen_at__gt=at - _REMEMBERED)
    people = watching.people([actor.user_id], at=at)
    found = [
        _editor(row, at=at, watchers=people.get((row.owner_id, row.instance_id), ()))
        for row in rows.order_by("-last_seen_at", "pk")[:_MOST]
    ]
    live = [one for one in found if one.state is not State.OFFLINE]
    known, gone = {_folder(one) for one in live}, []
    for one in found:
        if one.state is State.OFFLINE and _folder(one) not in known:
            known.add(_folder(one))
            gone.append(one)
    order = list(State)
    live.sort(key=lambda one: (order.index(one.state), *_folder(one), one.instance_id))
    return live + gone[:_MOST_GONE]


def _folder(one: Editor) -> tuple[str, str]:
    return one.row.host, one.row.workspace_path


def count(actor: Actor, *, at: datetime) -> tuple[int, int]:
    """How many of the actor's editors are there, and how many of these need somebody."""
    rows = Instance.objects.visible_to(actor).live(at)[:_MOST]
    states = [_editor(row, at=at).state for row in rows]
    return len(states), states.count(State.NEEDS)


def last_seen(actor: Actor) -> datetime | None:
    """When an editor of the actor was last heard of here."""
    rows = Instance.objects.visible_to(actor).order_by("-last_seen_at")
    return rows.values_list("last_seen_at", flat=True).first()


def find(actor: Actor, instance_id: str, *, at: datetime) -> Editor | None:
    """One of the actor's own, by the editor's id of it."""
    row = Instance.objects.visible_to(actor).filter(instance_id=instance_id).first()
    if row is None:
        return None
    people = watching.people([actor.user_id], at=at)
    return _editor(row, at=at, watchers=people.get((row.owner_id, row.instance_id), ()))


def team(actor: Actor, organization_id: str, *, at: datetime) -> InstanceQuerySet:
    """The editors of an organization that the actor may watch and that are there, by person."""
    viewer = (actor.user_id, organization_id, actor.signed_on)
    rows = watching.instances(viewer).live(at)
    return rows.order_by("owner__first_name", "owner_id", "first_seen_at", "pk")


def of_team(rows: Iterable[Instance], *, at: datetime) -> list[Editor]:
    """Each of them as pages show it."""
    return [_editor(row, at=at, is_own=False) for row in rows]


@dataclass(frozen=True, slots=True)
class Waiting:
    """The start of a task that waits for an editor on a host and folder."""

    command_id: str
    title: str
    place: str
    expires_at: datetime | None


def waiting(actor: Actor) -> list[Waiting]:
    """What the actor gave and was not sent yet, latest first."""
    rows = Command.objects.visible_to(actor).queued().order_by("-given_at", "pk")[:_MOST]
    return [_waiting(row) for row in rows]


def _waiting(row: Command) -> Waiting:
    title = clean_label(_starts.decode(row.payload).text, 140) or "A task of images"
    place = " · ".join(filter(None, (_name_of(row.workspace_path), row.host)))
    return Waiting(row.pk, title, place, row.expires_at)


@dataclass(frozen=True, slots=True)
class Totals:
    """Of everybody's editors: those that are there, those whose task runs, and commands that wait
    for theirs."""

    editors: int
    running: int
    commands: int


def totals(*, at: datetime) -> Totals:
    """For the site's administrators. Two queries."""
    live = Instance.unscoped.live(at).aggregate(
        editors=Count("pk"), running=Count("pk", filter=Q(task_status="running"))
    )
    return Totals(**live, commands=Command.unscoped.queued().count())
