from django.apps import AppConfig


class ProxyConfig(AppConfig):
    name = "proxy"
    verbose_name = "Model proxy"

    def ready(self) -> None:
        from accounts import model_choices
        from proxy import catalogue, queries
        from proxy.models import Upstream
        from roocloud.lib import sealed

        catalogue.watch()
        sealed.register(Upstream, "sealed_api_key", Upstream.renewed_api_key)
        model_choices.register(queries.model_choices)
