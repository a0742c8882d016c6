"""The dosing app: what was ordered."""

from django.apps import AppConfig


class DosingConfig(AppConfig):
    name = "dosing"
