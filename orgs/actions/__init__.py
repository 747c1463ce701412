"""Every write to organizations, their members, their invitations and their settings."""

from orgs.actions.deletion import (
    ask_deletion,
    carry_out_deletion,
    due_deletions,
    take_back_deletion,
)
from orgs.actions.invitations import (
    accept_invitation,
    admits,
    find_invitation,
    invite,
    invite_many,
    make_link,
    new_link,
    note_mailed,
    revoke_invitation,
    secret_to_mail,
)
from orgs.actions.members import LastOwner, hand_over, put_member, remove_member
from orgs.actions.organizations import (
    create_organization,
    find_organization,
    put_logo,
    remove_logo,
    rename,
    set_remote_control,
)
from orgs.actions.revisions import (
    VersionConflict,
    current_revision,
    personal_revision,
    roll_back,
    save_settings,
)

__all__ = [
    "LastOwner",
    "VersionConflict",
    "accept_invitation",
    "admits",
    "ask_deletion",
    "carry_out_deletion",
    "create_organization",
    "current_revision",
    "due_deletions",
    "find_invitation",
    "find_organization",
    "hand_over",
    "invite",
    "invite_many",
    "make_link",
    "new_link",
    "note_mailed",
    "personal_revision",
    "put_logo",
    "put_member",
    "remove_logo",
    "remove_member",
    "rename",
    "revoke_invitation",
    "roll_back",
    "save_settings",
    "secret_to_mail",
    "set_remote_control",
    "take_back_deletion",
]
