"""Forms of the pages of tasks."""

from django import forms

from tasks_sharing import guard


class MaskTextForm(forms.Form):
    text = forms.CharField(
        label="Text",
        max_length=guard.MAX_TEXT,
        widget=forms.Textarea(attrs={"rows": 3, "autocomplete": "off", "spellcheck": "false"}),
        help_text="Masked wherever it stands in the conversation. Or select it below.",
    )


class MaskFileForm(forms.Form):
    file = forms.CharField(
        label="File",
        max_length=4096,
        widget=forms.TextInput(attrs={"list": "mask-files", "autocomplete": "off"}),
        help_text="Its path. Masks what was read and changed of it; output of commands stays.",
    )
