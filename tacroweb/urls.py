"""All routes."""

from django.contrib import admin
from django.contrib.auth import views as auth
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.urls import include, path

from tacroweb import views
from tacroweb.accounts.forms import SignInForm

handler400 = "tacroweb.api.bad_request"  # they answer /api/ in JSON and hand on everything else
handler404 = "tacroweb.api.not_found"
handler500 = "tacroweb.api.server_error"


@login_not_required
def healthz(request: HttpRequest) -> HttpResponse:
    """Is the web process answering? Nothing else is asked, so that it can be polled."""
    return HttpResponse("ok\n", content_type="text/plain")


urlpatterns = [
    path("healthz/", healthz, name="healthz"),
    path(
        "sign-in/",
        auth.LoginView.as_view(redirect_authenticated_user=True, form_class=SignInForm),
        name="login",
    ),
    path("sign-out/", auth.LogoutView.as_view(), name="logout"),
    path("switch-clinic/", views.switch_clinic, name="switch-clinic"),
    path("admin/", admin.site.urls),
    path("api/v1/", include("tacroweb.api_urls")),
    path("", views.home, name="home"),
    path("patients/<uuid:patient>/", views.chart, name="chart"),
    path("", include("patients.urls")),
    path("", include("dosing.urls")),
    path("", include("monitoring.urls")),
    path("", include("tacroweb.audit.urls")),
    path("", include("tacroweb.accounts.urls")),
]
