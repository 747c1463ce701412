from django.apps import AppConfig


class RooCloudConfig(AppConfig):
    name = "roocloud"

    def ready(self) -> None:
        from roocloud import checks  # noqa: F401 - registers itself
