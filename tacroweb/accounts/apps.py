"""The accounts app."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "tacroweb.accounts"
    label = "accounts"
