from typing import Any

from django.apps import AppConfig
from django.db.models.signals import pre_delete


class ProxyConfig(AppConfig):
    name = "proxy"
    verbose_name = "Model proxy"

    def ready(self) -> None:
        from accounts import model_choices
        from orgs import estate
        from orgs import spending as orgs_spending
        from proxy import catalogue, personal, queries, spending
        from proxy.estate import Part
        from proxy.models import IdempotencyKey, Transcript, Upstream
        from roocloud.lib import sealed
        from tasks_sharing import bills

        catalogue.watch()
        sealed.register(Upstream, "sealed_api_key", Upstream.renewed_api_key)
        sealed.register(IdempotencyKey, "sealed_answer", IdempotencyKey.renewed_answer)
        sealed.register(Transcript, "sealed_request", Transcript.renewed_request)
        sealed.register(Transcript, "sealed_answer", Transcript.renewed_answer)
        pre_delete.connect(_hide_models, sender="orgs.Organization")
        model_choices.register(queries.model_choices)
        bills.register(spending.task_bill)
        orgs_spending.register(spending.of_members)
        estate.register(Part())
        personal.declare()


def _hide_models(*, instance: Any, **_signal: Any) -> None:
    from proxy.actions import hide_models_of

    hide_models_of(instance.pk)
