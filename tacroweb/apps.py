"""The building itself as an app: its static files, template tags and commands."""

from django.apps import AppConfig


class TacroWebConfig(AppConfig):
    name = "tacroweb"

    def ready(self) -> None:
        from . import celery  # noqa: F401  # what a page sends goes to the broker of the settings
