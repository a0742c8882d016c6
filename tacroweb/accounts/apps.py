"""The accounts app, and Django's admin with our own door."""

from django.apps import AppConfig
from django.contrib.admin import apps as admin


class AccountsConfig(AppConfig):
    name = "tacroweb.accounts"
    label = "accounts"


class BackOfficeConfig(admin.AdminConfig):
    default = False  # of this module, which holds two
    default_site = "tacroweb.accounts.admin_site.BackOffice"
