from django.apps import AppConfig


class ProxyConfig(AppConfig):
    name = "proxy"
    verbose_name = "Model proxy"

    def ready(self) -> None:
        from accounts import model_choices
        from proxy import queries

        model_choices.register(queries.model_choices)
