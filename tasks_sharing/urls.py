"""Routes of this room."""

from django.urls import path, register_converter
from django.urls.converters import StringConverter

from tasks_sharing import api, list_pages, mask_pages, pages, share_pages
from tasks_sharing.imports import pages as imports


class FileConverter(StringConverter):
    """The forms in which a conversation can be kept."""

    regex = "md|json|patch"


register_converter(FileConverter, "file")

urlpatterns = [
    path("api/extension/share", api.ShareTask.as_view()),
    path("share/<str:token>.<file:form>", pages.share),
    path("share/<str:token>/changes", pages.share, {"form": "changes"}),
    path("share/<str:token>", pages.share, name="share"),
    path("share/<str:token>/image/<int:message_id>/<int:index>", pages.share_image),
    path("share/<str:token>/preview.png", pages.share, {"form": "preview"}),
    path("task/<str:task_id>/image/<int:message_id>/<int:index>", pages.task_image),
    path("task/<str:task_id>.<file:form>", pages.task_file),
    path("task/<str:task_id>/changes", pages.task_changes),
    path("task/<str:task_id>", pages.task, name="task"),
    path("task/<str:task_id>/news", pages.task_news, name="task-news"),
    path("task/<str:task_id>/delete", list_pages.delete_task, name="delete-task"),
    path("task/<str:task_id>/public", mask_pages.public_view, name="public-view"),
    path("task/<str:task_id>/public/image/<int:message_id>/<int:index>", pages.task_image),
    path("task/<str:task_id>/masks/text", mask_pages.mask_text, name="mask-text"),
    path("task/<str:task_id>/masks/file", mask_pages.mask_file, name="mask-file"),
    path("task/<str:task_id>/masks/emails", mask_pages.mask_emails, name="mask-emails"),
    path(
        "task/<str:task_id>/masks/message/<int:message_id>",
        mask_pages.hide_message,
        name="hide-message",
    ),
    path("masks/<str:mask_id>/lift", mask_pages.lift_mask, name="lift-mask"),
    path("masks/<str:mask_id>/put-back", mask_pages.put_back_mask, name="put-back-mask"),
    path("tasks", list_pages.tasks, name="tasks"),
    path("tasks/manage", list_pages.tasks, name="manage-tasks"),
    path("tasks/export", list_pages.export_tasks, name="export-tasks"),
    path("tasks/delete", list_pages.delete_tasks, name="delete-tasks"),
    path("tasks/import", imports.import_tasks, name="import-tasks"),
    path("tasks/import/<str:import_id>", imports.import_report, name="import-report"),
    path("tasks/import/<str:import_id>/cancel", imports.cancel_import, name="cancel-import"),
    path("task/<str:task_id>/share", share_pages.share_task, name="share-task"),
    path("shares/<str:share_id>", share_pages.share_page, name="share-page"),
    path("shares/<str:share_id>/lifetime", share_pages.change_lifetime, name="share-lifetime"),
    path("shares/<str:share_id>/regenerate", share_pages.regenerate_share, name="regenerate-share"),
    path("shares/<str:share_id>/revoke", share_pages.revoke_share, name="revoke-share"),
]
