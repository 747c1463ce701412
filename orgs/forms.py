"""Forms of the organization pages."""

from django import forms

from orgs.models import Role


class OrganizationForm(forms.Form):
    name = forms.CharField(max_length=100)


class InviteForm(forms.Form):
    email = forms.EmailField(label="E-mail address")
    role = forms.ChoiceField(choices=Role.choices, initial=Role.MEMBER)


class RoleForm(forms.Form):
    role = forms.ChoiceField(choices=Role.choices)


class SettingsForm(forms.Form):
    document = forms.CharField(
        label="Settings",
        strip=False,
        widget=forms.Textarea(attrs={"rows": 24, "spellcheck": "false"}),
    )
    read_version = forms.IntegerField(widget=forms.HiddenInput)
    note = forms.CharField(
        label="Why", max_length=500, required=False, help_text="Kept in the history."
    )
