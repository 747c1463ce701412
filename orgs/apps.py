from django.apps import AppConfig


class OrgsConfig(AppConfig):
    name = "orgs"
    verbose_name = "Organizations"

    def ready(self) -> None:
        from accounts import invitations, memberships
        from orgs import personal, queries, receivers

        memberships.register(queries.Memberships())
        invitations.register(queries.Invitations())
        receivers.connect()
        personal.declare()
