"""Pages of dosing: assess, review, sign, hold, resume, stop, why, and the rule book."""

from django.urls import path, re_path

from dosing import views

app_name = "dosing"
_OF_PATIENT = "patients/<uuid:patient>/"
_ASSESSMENT = f"{_OF_PATIENT}assessments/<uuid:assessment>/"

urlpatterns = [
    path(f"{_OF_PATIENT}assess/", views.assess, name="assess"),
    path(_ASSESSMENT, views.assessment, name="assessment"),
    path(f"{_ASSESSMENT}review/", views.review, name="review"),
    path(f"{_ASSESSMENT}sign/", views.sign, name="sign"),
    path(f"{_OF_PATIENT}hold/", views.hold, name="hold"),
    path(f"{_OF_PATIENT}resume/", views.resume, name="resume"),
    path(f"{_OF_PATIENT}stop/", views.stop, name="stop"),
    path(f"{_OF_PATIENT}orders/<uuid:order>/", views.why, name="why"),
    path("rules/", views.book, name="book"),
    # Without NUL, of which PostgreSQL cannot even be asked.
    re_path(r"^rules/(?P<version>[^/\x00]+)/$", views.book, name="book-version"),
]
