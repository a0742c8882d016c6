"""Counts of fired statements, begun with what the stored assessments already say."""

import json
from collections import Counter
from datetime import date

import django.db.models.deletion
from django.db import migrations, models


def count(apps, schema_editor):
    counts = Counter()
    stored = apps.get_model("dosing", "Assessment").objects.order_by("pk")
    columns = stored.values_list("patient__clinic", "advice_text")
    for clinic, text in columns.iterator(chunk_size=500):
        advice = json.loads(text)
        on = date.fromisoformat(advice["at"][:10])
        cited = {code for finding in advice["findings"] for code in finding["statements"]}
        counts.update((clinic, code, on) for code in cited)
    rows = apps.get_model("dosing", "StatementCount")
    rows.objects.bulk_create(
        [
            rows(clinic_id=clinic, statement=code, on=on, assessments=number)
            for (clinic, code, on), number in sorted(counts.items())
        ],
        batch_size=500,
    )


class Migration(migrations.Migration):

    dependencies = [
        ("accounts", "0002_failed_password"),
        ("dosing", "0003_companions"),
    ]

    operations = [
        migrations.CreateModel(
            name="StatementCount",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("on", models.DateField(help_text="the day of the assessments, in the clinic’s zone")),
                ("statement", models.CharField(max_length=8)),
                ("assessments", models.PositiveIntegerField()),
                ("clinic", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="+", to="accounts.clinic")),
            ],
        ),
        migrations.AddConstraint(
            model_name="statementcount",
            constraint=models.UniqueConstraint(fields=("clinic", "statement", "on"), name="statement_count_one_a_day"),
        ),
        migrations.RunPython(count, migrations.RunPython.noop),
    ]
