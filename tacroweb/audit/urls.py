"""Routes of the audit pages."""

from django.urls import path

from . import views

app_name = "audit"
urlpatterns = [
    path("patients/<uuid:patient>/audit/", views.patient, name="patient"),
    path("audit/", views.acts, name="acts"),
    path("audit/find/", views.find, name="find"),
    path("audit/acts.csv", views.export, name="export"),
    path("audit/<int:entry>/", views.entry, name="entry"),
]
