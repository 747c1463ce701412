from django.apps import AppConfig


class OrgsConfig(AppConfig):
    name = "orgs"
    verbose_name = "Organizations"

    def ready(self) -> None:
        from accounts import invitations, memberships, single_sign_on
        from orgs import personal, queries, receivers
        from orgs.models import SingleSignOn
        from roocloud.lib import sealed

        memberships.register(queries.Memberships())
        invitations.register(queries.Invitations())
        single_sign_on.register(queries.SingleSignOns())
        sealed.register(SingleSignOn, "sealed_secret", SingleSignOn.renewed_secret)
        receivers.connect()
        personal.declare()
