from django.apps import AppConfig


class TasksSharingConfig(AppConfig):
    name = "tasks_sharing"
    verbose_name = "Tasks and shares"
