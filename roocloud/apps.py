from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig


class RooCloudConfig(AppConfig):
    name = "roocloud"

    def ready(self) -> None:
        from roocloud import (
            checks,  # noqa: F401 - registers itself
            metrics,
        )

        metrics.time_queries()


class RooCloudAdminConfig(AdminConfig):
    default_site = "roocloud.admin_site.RooCloudAdminSite"

    def ready(self) -> None:
        super().ready()
        from roocloud import library_admin

        library_admin.replace()
