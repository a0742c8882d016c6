"""The pages of the clinic's tasks."""

from django.urls import path

from monitoring import views

app_name = "monitoring"
urlpatterns = [
    path("tasks/", views.tasks, name="tasks"),
    path("tasks/cancel/", views.cancel_visit, name="cancel-visit"),
    path("tasks/<int:task>/cancel/", views.cancel, name="cancel"),
]
