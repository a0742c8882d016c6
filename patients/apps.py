"""The patients app: what is true of a patient."""

from django.apps import AppConfig


class PatientsConfig(AppConfig):
    name = "patients"
