from django.apps import AppConfig


class TasksSharingConfig(AppConfig):
    name = "tasks_sharing"
    verbose_name = "Tasks and shares"

    def ready(self) -> None:
        from roocloud.lib import sealed
        from tasks_sharing.models import Share

        sealed.register(
            Share,
            "sealed_token",
            lambda row: sealed.renewed(row.sealed_token, context=row.token_context),
        )
