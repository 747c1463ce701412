from django.apps import AppConfig


class NotificationsConfig(AppConfig):
    name = "notifications"
    verbose_name = "Notifications"

    def ready(self) -> None:
        from notifications import personal, push
        from notifications.models import PushKey
        from roocloud.lib import sealed

        sealed.register(PushKey, "sealed_private_key", push.renewed)
        personal.declare()
