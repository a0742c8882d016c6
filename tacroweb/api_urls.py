"""The API's routes under /api/v1/: every app's resources, the schema and its browsable page.

Apart from `tacroweb.api`, because REST framework loads that one while it loads itself.
"""

from importlib import import_module
from importlib.util import find_spec

from django.urls import path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.routers import SimpleRouter

router = SimpleRouter()
for module in ("patients.api", "dosing.api", "monitoring.api", "tacroweb.audit.api"):
    if find_spec(module):
        for prefix, viewset, basename in import_module(module).routes:
            router.register(prefix, viewset, basename=basename)

urlpatterns = [
    *router.urls,
    path("schema/", SpectacularAPIView.as_view(), name="schema"),
    path(
        "docs/",
        SpectacularSwaggerSplitView.as_view(url_name="api:schema", template_name="api_docs.html"),
        name="docs",
    ),
]
app_name = "api"
