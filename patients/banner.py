"""The banner that stands on every page about one patient."""

from collections.abc import Mapping
from datetime import date
from decimal import Decimal

from django.utils import timezone

from tacroweb.numbers import format_decimal
from tacroweb.templatetags.components import Banner
from tacroweb.templatetags.quantities import quantity

from .models import AllergyStatus, Observation, Patient, Pregnancy, Sex
from .selectors import age_on, diagnosis_of, newest


def _as_kg(weight: Observation | None) -> Decimal | None:
    """The exact weight to a tenth of a kilogram; one with a comparator is no weight."""
    if weight is None or weight.comparator:
        return None
    return Decimal(format_decimal(weight.value.quantize(Decimal("0.1"))))


def banner_of(
    patient: Patient,
    *,
    today: date,
    href: str,
    results: Mapping[str, Observation] | None = None,
) -> Banner:
    """Who the page is about, with the newest weight and eGFR: one query beside the patient's.

    None for who has the newest results by analyte key at hand.
    """
    if results is None:
        results = newest(patient, "weight", "egfr")
    weight, egfr = results.get("weight"), results.get("egfr")
    diagnosis = diagnosis_of(patient)
    disease = None
    if diagnosis is not None:
        lung = "ILD" if diagnosis.ild else ""
        disease = " ".join(
            part
            for part in (
                "Anti-MDA5" if diagnosis.anti_mda5 else "",
                diagnosis.subtype or (diagnosis.sard if diagnosis.sard != "NONE" else ""),
                lung,
            )
            if part
        )
    pregnancy = None
    if patient.sex == Sex.FEMALE and patient.pregnancy != Pregnancy.NO:
        words = {"YES": "Pregnant", "POSSIBLE": "Possibly pregnant", "PLANNING": "Planned"}
        pregnancy = words.get(patient.pregnancy, "Not known")
    allergies: tuple[str, ...] | None = None
    if patient.allergy_status == AllergyStatus.NONE_KNOWN:
        allergies = ()
    elif patient.allergy_status == AllergyStatus.RECORDED:
        allergies = (patient.allergies,)
    return Banner(
        family=patient.family_name,
        given=patient.given_name,
        born_on=patient.birth_date,
        age_years=age_on(patient.birth_date, today),
        sex=patient.get_sex_display(),
        mrn=patient.mrn,
        href=href,
        weight_kg=_as_kg(weight),
        weighed_on=timezone.localtime(weight.drawn_at).date() if weight else None,
        disease=disease or None,
        allergies=allergies,
        pregnancy=pregnancy,
        egfr=quantity(egfr.entered, egfr.unit_entered) if egfr else None,
    )
