"""The pages about patients and their facts."""

from django.urls import path

from . import views

app_name = "patients"
urlpatterns = [
    path("patients/", views.patient_list, name="list"),
    path("patients/register/", views.register, name="register"),
    path("patients/upload/", views.upload, name="upload"),
    path("patients/upload/preview/", views.upload_preview, name="upload-preview"),
    path("patients/<uuid:patient>/record/", views.record, name="record"),
    path("patients/<uuid:patient>/edit/", views.edit, name="edit"),
    path("patients/<uuid:patient>/diagnosis/", views.diagnosis, name="diagnosis"),
    path("patients/<uuid:patient>/results/", views.results, name="results"),
    path(
        "patients/<uuid:patient>/results/<int:result>/", views.correct_result, name="correct-result"
    ),
    path("patients/<uuid:patient>/drugs/add/", views.drug_add, name="drug-add"),
    path("patients/<uuid:patient>/drugs/<int:drug>/stop/", views.drug_stop, name="drug-stop"),
    path("patients/<uuid:patient>/drugs/<int:drug>/dose/", views.drug_dose, name="drug-dose"),
    path("patients/<uuid:patient>/drugs/<int:drug>/", views.drug_correct, name="drug-correct"),
    path("patients/<uuid:patient>/events/add/", views.event_add, name="event-add"),
    path("patients/<uuid:patient>/events/<int:event>/", views.event_resolve, name="event-resolve"),
    path("patients/<uuid:patient>/vaccines/add/", views.immunisation_add, name="immunisation-add"),
    path(
        "patients/<uuid:patient>/vaccines/<int:immunisation>/",
        views.immunisation_give,
        name="immunisation-give",
    ),
]
