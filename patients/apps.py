"""The patients app: what is true of a patient."""

from django.apps import AppConfig


class PatientsConfig(AppConfig):
    name = "patients"
    verbose_name = "Vocabulary"  # which is all of it that the back office keeps
