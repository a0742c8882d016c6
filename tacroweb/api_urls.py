"""The API's routes under /api/v1/: every app's resources, the schema and its browsable page.

Apart from `tacroweb.api`, because REST framework loads that one while it loads itself.
"""

from typing import Any

from django.urls import path
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.routers import SimpleRouter

from dosing.api import routes as dosing
from dosing.companion.api import routes as companion
from dosing.governance.api import routes as governance
from dosing.reading.api import routes as reading
from monitoring.api import routes as monitoring
from patients.api import routes as patients
from tacroweb.audit.api import routes as audit


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """How the schema calls our tokens."""

    target_class = "tacroweb.accounts.access.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: object) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "bearerFormat": "tacro_…"}


routes: list[tuple[str, type[Any], str]] = [
    *patients,
    *dosing,
    *companion,
    *governance,
    *reading,
    *monitoring,
    *audit,
]
router = SimpleRouter()
for prefix, viewset, basename in routes:
    router.register(prefix, viewset, basename=basename)

app_name = "api"
urlpatterns = [
    *router.urls,
    path("schema/", SpectacularAPIView.as_view(), name="schema"),
    path(
        "docs/",
        SpectacularSwaggerSplitView.as_view(url_name="api:schema", template_name="api_docs.html"),
        name="docs",
    ),
]
