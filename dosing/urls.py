"""Pages of dosing: assess, sign, hold, resume, stop, why; the protocol and its rule books."""

from django.urls import path, re_path

from dosing import views
from dosing.companion import views as companion
from dosing.governance import views as governance
from dosing.reading import views as reading

app_name = "dosing"
_OF_PATIENT = "patients/<uuid:patient>/"
_ASSESSMENT = f"{_OF_PATIENT}assessments/<uuid:assessment>/"

urlpatterns = [
    path(f"{_OF_PATIENT}assess/", views.assess, name="assess"),
    path(_ASSESSMENT, views.assessment, name="assessment"),
    path(f"{_ASSESSMENT}replay/", views.replay_assessment, name="replay"),
    path(f"{_ASSESSMENT}remarks/", views.remarks, name="remarks"),
    path(f"{_ASSESSMENT}review/", views.review, name="review"),
    path(f"{_ASSESSMENT}sign/", views.sign, name="sign"),
    path(f"{_OF_PATIENT}target/", views.target, name="target"),
    path(f"{_ASSESSMENT}companion/", companion.form, name="companion"),
    path(f"{_ASSESSMENT}companion/review/", companion.review, name="companion-review"),
    path(f"{_ASSESSMENT}companion/sign/", companion.sign, name="companion-sign"),
    path(f"{_OF_PATIENT}companion/<uuid:order>/stop/", companion.stop, name="companion-stop"),
    path(f"{_OF_PATIENT}hold/", views.hold, name="hold"),
    path(f"{_OF_PATIENT}resume/", views.resume, name="resume"),
    path(f"{_OF_PATIENT}stop/", views.stop, name="stop"),
    path(f"{_OF_PATIENT}orders/<uuid:order>/", views.why, name="why"),
    path("rules/change/", governance.workbench, name="workbench"),
    path("rules/change/impact/", governance.impact, name="impact"),
    path("rules/change/try/", governance.try_case, name="try-case"),
    path("rules/approvals/", governance.approvals, name="approvals"),
    re_path(r"^rules/approvals/(?P<code>[^/\x00]+)/$", governance.approval, name="approval"),
    path("protocol/", reading.protocol_page, name="protocol"),
    path("protocol/cases/<slug:name>/", reading.case, name="case"),
    path("protocol/<slug:code>/", reading.statement, name="statement"),
    path("rules/", reading.book, name="book"),
    # Without NUL, of which PostgreSQL cannot even be asked.
    re_path(r"^rules/(?P<version>[^/\x00]+)/$", reading.book, name="book-version"),
    re_path(
        r"^rules/(?P<version>[^/\x00]+)/(?P<table>[^/\x00]+)/(?P<code>[^\x00]+)/$",
        reading.row,
        name="row",
    ),
]
