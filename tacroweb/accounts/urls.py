"""Routes of one's own account."""

from django.urls import path

from . import views

app_name = "accounts"
urlpatterns = [path("account/", views.me, name="me")]
