from django.apps import AppConfig


class BridgeConfig(AppConfig):
    name = "bridge"
    verbose_name = "Remote control"

    def ready(self) -> None:
        from accounts.signals import everything_ended
        from bridge import personal
        from bridge.devices import receivers
        from bridge.estate import Part
        from orgs import estate

        everything_ended.connect(receivers.remove_devices)
        estate.register(Part())
        personal.declare()
