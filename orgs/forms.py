"""Forms of the organization pages."""

from collections.abc import Iterable
from typing import Any

from django import forms

from orgs import texts
from orgs.models import Role
from roocloud.lib.refusals import InvalidInput, Refusal


class OrganizationForm(forms.Form):
    name = forms.CharField(max_length=100)


class DeleteForm(forms.Form):
    name = forms.CharField(
        label="The name of the organization, to be sure",
        max_length=100,
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )


class LogoForm(forms.Form):
    logo = forms.FileField(
        label="Picture",
        help_text="PNG, JPEG, WebP or GIF, up to 2 MB. It is drawn anew, 96 pixels wide or high.",
        widget=forms.ClearableFileInput(
            attrs={"accept": "image/png,image/jpeg,image/webp,image/gif"}
        ),
    )


_DAYS = forms.TypedChoiceField(
    label="Ends after",
    choices=[
        ("1", "1 day"),
        ("7", "7 days"),
        ("14", "14 days"),
        ("30", "30 days"),
        ("90", "90 days"),
    ],
    initial="14",
    coerce=int,
)
_ROLES = [(role.value, role.label) for role in Role]


class InviteForm(forms.Form):
    entries = forms.CharField(
        label="E-mail addresses",
        max_length=60_000,
        widget=forms.Textarea(attrs={"rows": 4, "spellcheck": "false"}),
        help_text="One a line, or with commas between them; also as “Name <address>”. Up to 200.",
    )
    role = forms.ChoiceField(choices=_ROLES, initial=Role.MEMBER)
    days = _DAYS
    deliver = forms.ChoiceField(
        label="Deliver by",
        choices=[("mail", "A mail to each of them"), ("links", "Links that I pass on myself")],
    )


class LinkForm(forms.Form):
    role = forms.ChoiceField(
        choices=[pair for pair in _ROLES if pair[0] != Role.OWNER], initial=Role.MEMBER
    )
    max_uses = forms.IntegerField(
        label="For how many people", min_value=1, max_value=1000, initial=10
    )
    days = _DAYS
    domain = forms.ChoiceField(label="Addresses", required=False)

    def __init__(self, *args: Any, domains: Iterable[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        named = [(domain, f"Only at {domain}") for domain in domains]
        field = self.fields["domain"]
        field.choices = [("", "Any that is verified"), *named]  # type: ignore[attr-defined]


class SingleSignOnForm(forms.Form):
    issuer = forms.CharField(
        max_length=300, help_text="Such as https://login.acme.example, without a slash at its end."
    )
    client_id = forms.CharField(label="Client id", max_length=191)
    secret = forms.CharField(
        label="Client secret",
        max_length=191,
        strip=False,
        required=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        help_text="It is shown to nobody. Empty: the one that is stored stays.",
    )


class RequireSignOnForm(forms.Form):
    is_required = forms.BooleanField(
        required=False, label="People at the proven domains come by the single sign-on alone"
    )
    break_glass_id = forms.ChoiceField(
        label="An owner who may come otherwise",
        help_text="To help when the issuer fails. Give that account a second factor.",
    )

    def __init__(self, *args: Any, owners: Iterable[tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["break_glass_id"].choices = list(owners)  # type: ignore[attr-defined]


class AddressForm(forms.Form):
    email = forms.EmailField(label="Your address at work", max_length=254)


class DomainForm(forms.Form):
    name = forms.CharField(label="Domain", max_length=253, help_text="Such as acme.example.")


class RoleForm(forms.Form):
    role = forms.ChoiceField(choices=Role.choices)


class RemoteControlForm(forms.Form):
    is_on = forms.BooleanField(
        required=False, label="Members may control their editors from a browser"
    )
    admins_watch = forms.BooleanField(
        required=False,
        label="Owners and admins may watch members' editors",
        help_text="They see what an editor does as it happens, and can do nothing. Its member sees"
        " who watches.",
    )


class RestoreForm(forms.Form):
    """What a page that shows a difference hands on to the one that applies it."""

    read_version = forms.IntegerField(widget=forms.HiddenInput)  # the version it was compared with
    previewed = forms.CharField(widget=forms.HiddenInput, required=False)  # the difference's seal


class NoteForm(RestoreForm):
    note = forms.CharField(
        label="Why", max_length=500, required=False, help_text="Kept in the history."
    )


class TextForm(forms.Form):
    """The whole document as text, or a file of it, which wins."""

    use_required_attribute = False
    document = forms.CharField(
        label="Settings",
        strip=False,
        required=False,
        widget=forms.Textarea(attrs={"rows": 24, "spellcheck": "false"}),
    )
    file = forms.FileField(
        label="Or a file",
        required=False,
        help_text="JSON if its name ends in .json, else YAML.",
        widget=forms.FileInput(attrs={"accept": ".json,.yaml,.yml"}),
    )
    form = forms.ChoiceField(choices=[("json", "JSON"), ("yaml", "YAML")], widget=forms.HiddenInput)
    read_version = forms.IntegerField(widget=forms.HiddenInput)

    def clean(self) -> dict[str, Any]:
        """``value``: what the text or the file says, as JSON."""
        given = self.cleaned_data
        upload = given.get("file")
        try:
            if upload:
                given["value"] = _read_file(upload)
            else:
                given["value"] = texts.read(given.get("document", ""), given.get("form", "json"))
        except Refusal as refusal:
            self.add_error("file" if upload else "document", described(refusal))
        return given


class ItemsForm(forms.Form):
    """Items of the marketplace from a file."""

    use_required_attribute = False
    file = forms.FileField(
        label="A file of modes",
        help_text="YAML or JSON, with a list of items or one.",
        widget=forms.FileInput(attrs={"accept": ".json,.yaml,.yml"}),
    )

    def clean(self) -> dict[str, Any]:
        """``value``: what the file says, as JSON."""
        if upload := self.cleaned_data.get("file"):
            try:
                self.cleaned_data["value"] = _read_file(upload)
            except Refusal as refusal:
                self.add_error("file", described(refusal))
        return self.cleaned_data


class ApprovalForm(forms.Form):
    is_demanded = forms.BooleanField(
        required=False, label="A second owner or admin approves each change"
    )


def _read_file(upload: Any) -> Any:
    """What an uploaded file of JSON or YAML says. Raises InvalidInput."""
    try:
        text = upload.read(4 * texts.MAX_CHARS).decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidInput("is not UTF-8") from None
    return texts.read(text, texts.form_of(upload.name))


def refuse(form: forms.Form, refusal: Refusal, *, field: str | None = None) -> None:
    """Show a refusal beside the field that it names, else beside ``field``, else above them all."""
    named = refusal.field if refusal.field in form.fields else field
    form.add_error(named, refusal.message)


def described(refusal: Refusal) -> str:
    """A refusal with the field at fault in front."""
    return f"{refusal.field}: {refusal.message}" if refusal.field else refusal.message
