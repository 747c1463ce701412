from django.apps import AppConfig


class ProxyConfig(AppConfig):
    name = "proxy"
    verbose_name = "Model proxy"

    def ready(self) -> None:
        from accounts import model_choices
        from proxy import catalogue, queries

        catalogue.watch()
        model_choices.register(queries.model_choices)
