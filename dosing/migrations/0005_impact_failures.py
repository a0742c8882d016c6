from django.db import migrations, models


class Migration(migrations.Migration):
    """Who could not be assessed is a row of the impact with its patient, not a line of its text."""

    dependencies = [("dosing", "0004_statement_counts")]

    operations = [
        migrations.RenameField(model_name="impactrun", old_name="failures", new_name="cut_short"),
        migrations.AlterField(
            model_name="impactrun",
            name="cut_short",
            field=models.TextField(blank=True, help_text="why it ended before the last patient"),
        ),
        migrations.AddField(
            model_name="impactdifference",
            name="failure",
            field=models.TextField(blank=True, default="", help_text="why the patient could not be assessed"),
            preserve_default=False,
        ),
        migrations.AlterField(
            model_name="impactdifference",
            name="text",
            field=models.TextField(blank=True, help_text="JSON: what only the old and what only the new book says"),
        ),
    ]
