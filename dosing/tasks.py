"""What runs in the background for rule books: the impact of a draft."""

from celery import shared_task
from django.utils import timezone

from dosing.governance.impact import continue_impact, stalled_runs


@shared_task(name="dosing.tasks.compute_impact")
def compute_impact(*, run_id: int) -> None:
    """Compute an impact run to its end, batch by batch. Delivered again, it goes on."""
    while continue_impact(run_id, at=timezone.now()):
        pass


@shared_task(name="dosing.tasks.resume_impact")
def resume_impact() -> None:
    """Send the impact runs on their way again that nobody is at."""
    for pk in stalled_runs(timezone.now()).values_list("pk", flat=True):
        compute_impact.delay(run_id=pk)
