from django.apps import AppConfig


class AuditConfig(AppConfig):
    name = "audit"
    verbose_name = "Audit trail"

    def ready(self) -> None:
        from audit import chain, personal
        from audit.models import Chain, Loose
        from roocloud.lib import sealed

        sealed.register(Chain, "sealed_key", chain.renewed_key)
        sealed.register(Loose, "sealed_digest", chain.renewed_loose)
        personal.declare()
