"""The Django admin as the site administrator's cockpit."""

from django.contrib.admin import AdminSite
from django.contrib.admin.apps import AdminConfig


class RooCloudAdminSite(AdminSite):
    site_header = "Administration"


class RooCloudAdminConfig(AdminConfig):
    default_site = "roocloud.admin_site.RooCloudAdminSite"
