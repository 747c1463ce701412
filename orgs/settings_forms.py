"""Forms that are made of the declared types of a settings document.

A form only turns text into JSON and back. Whether the JSON is a valid document, orgs.documents
decides, for the form as for every other door; what it refuses is shown beside the field.
"""

import re
from collections.abc import Iterable
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
from django import forms
from msgspec import UNSET, UnsetType

from orgs import fields, texts
from orgs.documents import Provider
from orgs.forms import described
from roocloud.lib.refusals import InvalidInput, Refusal

Json = dict[str, Any]
_YES_NO = [("", "Not set"), ("true", "Yes"), ("false", "No")]
_WHOLE = re.compile(r"[-+]?[0-9]{1,100}")


class Written(forms.CharField):
    """A field whose value is text on the page and JSON in the document. is_kept: it must be in the
    document, if as an empty text."""

    def __init__(self, *, is_kept: bool = False, **options: Any) -> None:
        self.is_kept = is_kept
        super().__init__(**options)

    def show(self, value: Any) -> Any:
        """JSON as the page shows it."""
        return value

    def read(self, shown: Any) -> Any:
        """What was entered as JSON; UNSET for nothing. Raises ValidationError."""
        return UNSET if shown in ("", [], None) and not self.is_kept else shown


class Choice(Written):
    """One of some values; yes and no are two."""

    def __init__(self, choices: Iterable[tuple[str, str]], **options: Any) -> None:
        self.choices = list(choices)
        super().__init__(widget=forms.Select(choices=self.choices), **options)

    def show(self, value: Any) -> Any:
        return {True: "true", False: "false"}.get(value, value) if value is not None else ""

    def read(self, shown: Any) -> Any:
        return {"": UNSET, "true": True, "false": False}.get(shown, shown)


class Several(Written):
    """Some of many values."""

    def __init__(self, values: Iterable[str], **options: Any) -> None:
        choices = [(value, value.replace("_", " ")) for value in values]
        super().__init__(widget=forms.CheckboxSelectMultiple(choices=choices), **options)

    def to_python(self, value: Any) -> Any:
        return list(value or [])


class Number(Written):
    """A number, written as one; "null" where the document may say so."""

    def __init__(self, **options: Any) -> None:
        super().__init__(widget=forms.TextInput(attrs={"inputmode": "decimal"}), **options)

    def show(self, value: Any) -> Any:
        return "null" if value is None else repr(value)

    def read(self, shown: Any) -> Any:
        if shown in ("", "null"):
            return None if shown else UNSET
        if _WHOLE.fullmatch(shown):
            return int(shown)
        try:
            return float(shown)
        except ValueError:
            raise forms.ValidationError("Enter a number") from None


class Lines(Written):
    """A list of texts, one on each line."""

    def __init__(self, **options: Any) -> None:
        super().__init__(widget=forms.Textarea(attrs={"rows": 4}), **options)

    def show(self, value: Any) -> Any:
        return "\n".join(value)

    def read(self, shown: Any) -> Any:
        return [line.strip() for line in shown.splitlines() if line.strip()] or UNSET


class Yaml(Written):
    """Anything that has no control of its own. may_be_text: text that is no list is itself."""

    def __init__(self, *, may_be_text: bool = False, **options: Any) -> None:
        self.may_be_text = may_be_text
        super().__init__(widget=forms.Textarea(attrs={"rows": 8, "spellcheck": "false"}), **options)

    def show(self, value: Any) -> Any:
        is_text = self.may_be_text and isinstance(value, str)
        return value if is_text else texts.write(value, "yaml")

    def read(self, shown: Any) -> Any:
        if not shown.strip():
            return shown if self.may_be_text else UNSET
        try:
            value = texts.read(shown, "yaml")
        except InvalidInput as refusal:
            if self.may_be_text:
                return shown  # the rule says what is wrong with it
            raise forms.ValidationError(refusal.message) from None
        return shown if self.may_be_text and not isinstance(value, list) else value


def control(info: msgspec.structs.FieldInfo, *, help_text: str) -> Written:
    """The control of a declared field."""
    kinds = [kind for kind in _members(info.type) if kind not in (UnsetType, type(None))]
    lengths = [
        meta.min_length
        for kind in kinds
        for meta in get_args(kind)
        if isinstance(meta, msgspec.Meta) and get_args(kind)[0] is str
    ]
    options: dict[str, Any] = {
        "label": fields.label_of(info.encode_name),
        "help_text": help_text,
        "required": info.required and any(lengths),
        "is_kept": info.required,
        "strip": False,
    }
    bare = [get_args(kind)[0] if get_origin(kind) is Annotated else kind for kind in kinds]
    first = bare[0]
    if first is bool:
        return Choice(_YES_NO, **options)
    if get_origin(first) is Literal:
        return Choice([("", "Not set"), *((v, v) for v in get_args(first))], **options)
    if first in (int, float):
        return Number(**options)
    if get_origin(first) is list:
        (item,) = get_args(first)
        if get_origin(item) is Literal:
            return Several(get_args(item), **options)
        is_text = str in (item, *get_args(item)[:1])
        return Lines(**options) if is_text else Yaml(**options)
    if len(bare) > 1 or first is not str:
        return Yaml(may_be_text=str in bare, **options)
    is_long = info.encode_name in ("content", "description")
    widget = forms.Textarea(attrs={"rows": 6}) if is_long else forms.TextInput()
    return Written(widget=widget, **options)


class StructForm(forms.Form):
    """The fields of objects of a document.

    parts: the path of each object and its fields; a control is named after path and field. before:
    the document that it changes.
    """

    use_required_attribute = False

    def __init__(
        self,
        parts: list[tuple[str, str, list[msgspec.structs.FieldInfo]]],
        before: Json,
        data: Any = None,
    ) -> None:
        super().__init__(data)
        self._parts, self._before = parts, before
        for path, shape, infos in parts:
            values = _at(before, path)
            for info in infos:
                help_text = fields.HELP.get(f"{shape}.{info.encode_name}", "")
                made = control(info, help_text=help_text)
                name = _joined(path, info.encode_name)
                self.fields[name] = made
                if info.encode_name in values:
                    self.initial[name] = made.show(values[info.encode_name])

    def clean(self) -> Json:
        for name, control in self.fields.items():
            if name in self.cleaned_data and isinstance(control, Written):
                try:
                    self.cleaned_data[name] = control.read(self.cleaned_data[name])
                except forms.ValidationError as error:
                    self.add_error(name, error)
        return self.cleaned_data

    def applied(self) -> Json:
        """The document with what was entered; fields that the form does not show stay."""
        document = self._before
        for path, _, infos in self._parts:
            values = dict(_at(document, path))
            was_there = not path or path in document
            for info in infos:
                key = info.encode_name
                entered = self.cleaned_data[_joined(path, key)]
                if entered is UNSET and values.get(key) in ("", []) and key in values:
                    continue  # set to nothing, which is not the same as not set
                values.pop(key, None)
                if entered is not UNSET:
                    values[key] = entered
            if path and (values or was_there):
                document = {**document, path: values}
            elif not path:
                document = values
        return document

    def shows_all(self) -> bool:
        """Whether saving the form as it is shown would change nothing."""
        again = type(self)(self._parts, self._before, self.initial)
        return again.is_valid() and again.applied() == self._before

    def refuse(self, refusal: Refusal, *, inside: str = "") -> None:
        """Show a refusal beside the field at fault. inside: where in the document the form is."""
        refuse(self, refusal, inside=inside)


class AllowListForm(forms.Form):
    """``allowList``: all, or for each provider all of its models, some, or none."""

    use_required_attribute = False
    allow_all = forms.ChoiceField(
        label="Members may use",
        choices=[("true", "Every provider and model"), ("false", "Only what is chosen below")],
        help_text="Editors offer nothing else, and refuse to start a task with any other profile.",
    )

    def __init__(self, before: Json, data: Any = None) -> None:
        super().__init__(data)
        self._before = before
        allowed = before["allowList"]
        self.initial["allow_all"] = "true" if allowed["allowAll"] else "false"
        for name in sorted({*get_args(Provider), *allowed["providers"]} - {"fake-ai"}):
            entry = allowed["providers"].get(name)
            can_choose = fields.can_list_models(name)
            choices = [("", "Not allowed"), ("all", "All of its models")]
            state = "all" if entry and entry["allowAll"] else "some" if entry else ""
            if can_choose or state == "some":
                choices.append(("some", "Only these models"))
            self.fields[f"{name}:is"] = forms.ChoiceField(
                label=name, choices=choices, required=False, initial=state
            )
            if can_choose or "models" in (entry or {}):
                self.fields[f"{name}:models"] = Lines(
                    label=f"Models of {name}", required=False,
                    help_text="One on each line, as a profile names them. None: nobody can use it.",
                )  # fmt: skip
                self.initial[f"{name}:models"] = "\n".join((entry or {}).get("models", []))

    def rows(self) -> list[tuple[forms.BoundField, forms.BoundField | None]]:
        """Each provider's choice with its list of models."""
        names = [name for name in self.fields if name.endswith(":is")]
        listed = [f"{name.removesuffix(':is')}:models" for name in names]
        return [
            (self[name], self[models] if models in self.fields else None)
            for name, models in zip(names, listed, strict=True)
        ]

    def applied(self) -> Json:
        """The document with what was entered."""
        entered, before = self.cleaned_data, self._before["allowList"]["providers"]
        names = [key.removesuffix(":is") for key in self.fields if key.endswith(":is")]
        providers = {name: entry for name, entry in before.items() if name not in names}
        for name in names:
            state = entered[f"{name}:is"]
            models = [line.strip() for line in entered.get(f"{name}:models", "").splitlines()]
            models = [model for model in models if model]
            if state:
                providers[name] = {"allowAll": state == "all"}
                if models or "models" in before.get(name, {}):
                    providers[name]["models"] = models
        allow_list = {"allowAll": entered["allow_all"] == "true", "providers": providers}
        return {**self._before, "allowList": allow_list}

    def refuse(self, refusal: Refusal) -> None:
        name = (refusal.field or "").removeprefix("allowList.providers.")
        self.add_error(f"{name}:is" if f"{name}:is" in self.fields else None, described(refusal))


def refuse(form: forms.Form, refusal: Refusal, *, inside: str = "") -> None:
    """Put a refusal beside the control of the field at fault, or above all of them."""
    path = (refusal.field or "").removeprefix(inside)
    name = max(
        (name for name in form.fields if path == name or path.startswith((f"{name}.", f"{name}["))),
        key=len,
        default=None,
    )
    form.add_error(name, refusal.message if path == name else described(refusal))


def parts_of(section: fields.Section) -> list[tuple[str, str, list[msgspec.structs.FieldInfo]]]:
    """What StructForm takes, of a section."""
    return [
        (path, fields.shape_at(path).__name__, fields.fields_of(path)) for path in section.parts
    ]


def part_of(shape: type[msgspec.Struct], names: Iterable[str] | None = None) -> Any:
    """The same of one object alone; names: of the fields that are shown."""
    infos = msgspec.structs.fields(shape)
    wanted = {info.encode_name for info in infos} if names is None else set(names)
    return [("", shape.__name__, [info for info in infos if info.encode_name in wanted])]


def _members(kind: Any) -> list[Any]:
    return list(get_args(kind)) if get_origin(kind) in (Union, UnionType) else [kind]


def _at(document: Json, path: str) -> Json:
    return document.get(path, {}) if path else document


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
