"""Brings the drugs, analytes and units of the shipped vocabulary file into the database."""

from typing import Any

from django.core.management.base import BaseCommand

from patients.services import seed_rows
from patients.vocabulary import Analyte, Drug, vocabulary
from tacroweb.audit.signature import Channel, Signature


class Command(BaseCommand):
    """Adds what is missing and follows the file where no person has changed a row since."""

    help = (
        "Seed drugs, analytes and units from the vocabulary file. Rows that a person has changed "
        "in the admin are left alone and named. Running it again writes nothing."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        words = vocabulary()
        written, left = seed_rows(
            drugs=[_drug(drug) for drug in words.drugs],
            analytes=[_analyte(analyte) for analyte in words.analytes],
            units=[
                (
                    analyte.key,
                    {
                        "unit": unit.unit,
                        "factor_numerator": unit.numerator,
                        "factor_denominator": unit.denominator,
                        "source": unit.source,
                    },
                )
                for analyte in words.analytes
                for unit in analyte.units
            ],
            by=Signature.system(
                channel=Channel.COMMAND, reason="The vocabulary that this release ships"
            ),
        )
        if options["verbosity"]:
            self.stdout.write(f"Vocabulary: {written} rows written.")
            for name in left:
                self.stdout.write(f"Left as a person changed it: {name}.")


def _drug(drug: Drug) -> dict[str, Any]:
    return {
        "generic_name": drug.name,
        "aliases": "\n".join(drug.aliases),
        "ingredients": "" if drug.ingredients == (drug.name,) else "\n".join(drug.ingredients),
        "atc_codes": " ".join(drug.atc),
        "rxcui": drug.rxcui,
        "code_source": drug.code_source,
        "codes_verified": drug.rxcui_verified,
    }


def _analyte(analyte: Analyte) -> dict[str, Any]:
    return {
        "key": analyte.key,
        "name": analyte.name,
        "loinc": analyte.loinc,
        "canonical_unit": analyte.unit,
        "plausible_low": analyte.plausible_low,
        "plausible_high": analyte.plausible_high,
        "reference_low": analyte.reference_low,
        "reference_high": analyte.reference_high,
        "limits_source": analyte.limits_source,
        "limits_origin": analyte.limits_origin,
        "limits_approved": analyte.limits_approved,
    }
