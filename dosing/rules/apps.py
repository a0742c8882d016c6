"""The rules app: what the rules say."""

from django.apps import AppConfig


class RulesConfig(AppConfig):
    name = "dosing.rules"
    label = "rules"
    verbose_name = "Rule books"
