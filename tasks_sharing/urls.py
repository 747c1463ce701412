"""Routes of this room."""

from django.urls import path

from tasks_sharing import api, pages

urlpatterns = [
    path("api/extension/share", api.ShareTask.as_view()),
    path("share/<str:token>", pages.share, name="share"),
    path("share/<str:token>/image/<int:message_id>/<int:index>", pages.share_image),
    path("task/<str:task_id>/image/<int:message_id>/<int:index>", pages.task_image),
    path("task/<str:task_id>", pages.task, name="task"),
    path("task/<str:task_id>/delete", pages.delete_task, name="delete-task"),
    path("tasks", pages.tasks, name="tasks"),
    path("tasks/manage", pages.tasks, name="manage-tasks"),
    path("shares/<str:share_id>/revoke", pages.revoke_share, name="revoke-share"),
]
