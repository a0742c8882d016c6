"""The building itself as an app: its static files, template tags and commands."""

from django.apps import AppConfig


class TacroWebConfig(AppConfig):
    name = "tacroweb"
