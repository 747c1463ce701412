from django.apps import AppConfig


class CreditsConfig(AppConfig):
    name = "credits"
    verbose_name = "Credits"

    def ready(self) -> None:
        from credits import personal
        from credits.estate import Part
        from orgs import estate

        estate.register(Part())
        personal.declare()
