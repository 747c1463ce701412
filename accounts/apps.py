from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "accounts"
    verbose_name = "Accounts and sign-in"

    def ready(self) -> None:
        from allauth.mfa.models import Authenticator

        from accounts import adapter, personal, receivers, tokens
        from accounts.models import SigningKey
        from roocloud.lib import sealed

        receivers.connect()
        sealed.register(SigningKey, "sealed_private_key", tokens.renewed)
        sealed.register(Authenticator, "data", adapter.renewed)
        personal.declare()
