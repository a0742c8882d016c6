"""The one bridge from the record to the engine: rows in, facts out."""

from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction

from dosing.models import DoseOrder, Intent, Regimen, RegimenStatus
from dosing.rules.engine import facts
from dosing.rules.engine.comedication import is_taken
from dosing.rules.engine.quantities import Comparator, Hours, Mg, MgPerDay, NgPerMl
from dosing.rules.engine.rows import INHIBITORS
from dosing.rules.engine.rulebook import RuleBook
from dosing.rules.selectors import local_approvals, published_book
from patients.models import (
    ClinicalEvent,
    CoMedication,
    Immunisation,
    Observation,
    Patient,
)
from patients.selectors import Record, diagnosis_of, record_of
from patients.vocabulary import UnknownUnit, vocabulary
from tacroweb.numbers import parse_result


def case_of(
    patient: Patient,
    *,
    intent: Intent | None = None,
    book: RuleBook | None = None,
    record: Record | None = None,
    regimen: Regimen | None = None,
    approvals: tuple[facts.LocalApproval, ...] | None = None,
    at: datetime,
) -> facts.CaseFacts:
    """The patient's facts as they stand, without what begins after `at`.

    Results replaced or withdrawn are left out, and so are facts entered in error. Without an
    intent: REVIEW for a patient on tacrolimus, else START. `book` (else the one in force) says
    which drugs are inhibitors. `record`, `regimen` (the one that runs) and `approvals` (of the
    clinic, for this book) are given by a caller who has read them already. One query a table,
    however many rows.
    """
    book = book or published_book()
    record = record or record_of(patient)
    today = at.astimezone(patient.clinic.zone).date()
    taken = {
        row: _co_medication(row, today)
        for row in record.drugs
        if row.planned or row.started_on is None or row.started_on <= today
    }
    regimen = regimen or current_course(patient)
    course = None if regimen is None else _regimen(regimen, patient, taken, book=book, at=at)
    if approvals is None:
        approvals = local_approvals(patient.clinic, book=book, at=at)
    return facts.CaseFacts(
        intent=facts.Intent(intent or (Intent.REVIEW if course else Intent.START)),
        patient=_patient(patient),
        diagnosis=_diagnosis(patient),
        regimen=course,
        co_medications=tuple(taken.values()),
        # A quantity that the vocabulary file does not name is one that no rule reads.
        observations=tuple(
            observation_fact(row)
            for row in record.results
            if row.drawn_at <= at and vocabulary().analyte(row.analyte.key) is not None
        ),
        events=tuple(_event(row) for row in record.events if row.started_on <= today),
        immunisations=tuple(_immunisation(row) for row in record.immunisations),
        local_approvals=approvals,
    )


def reads_alike(old: RuleBook, new: RuleBook) -> bool:
    """Whether both books make the same case of every record: they take the same drugs for
    inhibitors, for as long."""

    def inhibitors(book: RuleBook) -> set[str]:
        return {drug for drug, held in book.index.drug_classes.items() if held[0] in INHIBITORS}

    open_days = "INTERACTION-OPEN-DAYS"
    return (
        inhibitors(old) == inhibitors(new)
        and old.index.numbers[open_days] == new.index.numbers[open_days]
    )


def _patient(row: Patient) -> facts.Patient:
    """The person; weight and height stand among the observations, with their days."""
    return facts.Patient(
        birth_date=row.birth_date,
        sex=facts.Sex(row.sex) if row.sex else None,
        pregnancy=facts.Pregnancy(row.pregnancy) if row.pregnancy else None,
        lactating=row.lactating,
        infection_risk=facts.InfectionRisk(row.infection_risk) if row.infection_risk else None,
        cyp3a5=facts.Cyp3a5(row.cyp3a5) if row.cyp3a5 else None,
        hcv_antiviral_course=row.hcv_antiviral_course,
        contraception=row.contraception,
        child_pugh=row.child_pugh,
    )


def _diagnosis(patient: Patient) -> facts.Diagnosis:
    row = diagnosis_of(patient)
    if row is None:
        return facts.Diagnosis()
    return facts.Diagnosis(
        ild=row.ild,
        sard=facts.Sard(row.sard) if row.sard else None,
        subtype=facts.Subtype(row.subtype) if row.subtype else None,
        anti_mda5=row.anti_mda5,
        severe_at_presentation=row.severe_at_presentation,
        rapidly_progressive=row.rapidly_progressive,
        line=facts.Line(row.line) if row.line else None,
    )


def current_course(patient: Patient) -> Regimen | None:
    """The course that runs, active or held, with its orders."""
    courses = Regimen.objects.filter(patient=patient).exclude(status=RegimenStatus.STOPPED)
    return courses.prefetch_related("orders").first()


def _regimen(
    row: Regimen,
    patient: Patient,
    taken: dict[CoMedication, facts.CoMedication],
    *,
    book: RuleBook,
    at: datetime,
) -> facts.Regimen:
    orders = sorted(row.orders.all(), key=lambda order: (order.since, order.pk))
    dose = orders[-1]
    return facts.Regimen(
        status=facts.RegimenStatus(row.status),
        formulation=facts.Formulation(row.formulation),
        brand=row.brand or None,
        morning_mg=Mg(dose.morning_mg),
        evening_mg=Mg(dose.evening_mg),
        started_on=row.started_on,
        dose_since=dose.since,
        target_low_ng_per_ml=_ng_per_ml(row.target_low_ng_per_ml),
        target_high_ng_per_ml=_ng_per_ml(row.target_high_ng_per_ml),
        dose_before_inhibitor_mg_per_day=_dose_before_inhibitor(
            patient, orders, taken, book=book, at=at
        ),
        switched_on=row.switched_on,
        switched_from=row.switched_from or None,
    )


def _ng_per_ml(value: Decimal | None) -> NgPerMl | None:
    return None if value is None else NgPerMl(value)


def _dose_before_inhibitor(
    patient: Patient,
    orders: list[DoseOrder],
    taken: dict[CoMedication, facts.CoMedication],
    *,
    book: RuleBook,
    at: datetime,
) -> MgPerDay | None:
    """The daily total in force when the first inhibitor now taken, or stopped while its event is
    still open, began (S40, S52). One that is older than the regimen met no dose and does not count.
    """
    zone = patient.clinic.zone
    since = [(order.since.astimezone(zone).date(), order) for order in orders]
    for began in sorted(_inhibitor_days(patient, taken, book=book, at=at)):
        before = [order for day, order in since if day < began]
        # Started on the inhibitor's own day, the regimen's first dose is the one it met.
        same_day = [order for day, order in since if day == began]
        if before or same_day:
            dose = before[-1] if before else same_day[0]
            return MgPerDay(dose.total_daily_mg)
    return None


def _inhibitor_days(
    patient: Patient,
    taken: dict[CoMedication, facts.CoMedication],
    *,
    book: RuleBook,
    at: datetime,
) -> set[date]:
    """The days on which systemic inhibitors began that are taken, or stopped with an open event.

    One that was first written down as planned counts from that day: the dose may have been cut for
    it in advance, and the cut dose must not be taken for the original one.
    """
    zone = patient.clinic.zone
    today = at.astimezone(zone).date()
    classes = book.index.drug_classes
    open_days = book.index.numbers["INTERACTION-OPEN-DAYS"]
    inhibitors = {
        row.pk: drug.started_on
        for row, drug in taken.items()
        if drug.systemic
        and (
            is_taken(drug, today)
            or (drug.stopped_on is not None and (today - drug.stopped_on).days < open_days)
        )
        and any(name in classes and classes[name][0] in INHIBITORS for name in drug.ingredients)
    }
    if not inhibitors:
        return set()
    planned = CoMedication.history.filter(id__in=inhibitors, planned=True).order_by("-history_id")
    for pk, written_at in planned.values_list("id", "history_date"):
        written_on = min(written_at, at).astimezone(zone).date()
        inhibitors[pk] = min(inhibitors[pk] or written_on, written_on)
    return {day for day in inhibitors.values() if day is not None}


def _co_medication(row: CoMedication, today: date) -> facts.CoMedication:
    """A drug that the vocabulary file does not list goes in as unlisted, and is said so.

    Of a dose that changes only after `today` the one before it is taken.
    """
    dose, doses = row.daily_dose_mg, list(row.doses_before)
    while doses and doses[-1][0] > today:
        dose = doses.pop()[1]
    changed_on, before = doses.pop() if doses else (None, None)
    name = row.unlisted_name if row.drug is None else row.drug.generic_name
    known = None if row.drug is None else vocabulary().drug(name)
    return facts.CoMedication(
        drug=known.name if known else facts.UNLISTED,
        ingredients=known.ingredients if known else (),
        name=None if known else name,
        route=facts.Route(row.route) if row.route else None,
        started_on=row.started_on,
        stopped_on=row.stopped_on,
        planned=row.planned,
        daily_dose_mg=dose,
        dose_changed_on=changed_on,
        daily_dose_before_mg=before,
        earlier_doses=tuple(
            facts.EarlierDose(until=until, daily_dose_mg=mg) for until, mg in doses
        ),
    )


def observation_fact(row: Observation) -> facts.Observation:
    """The value as entered, in its own unit, with the exact canonical value that the rules read.

    A quantity or unit that only this installation's tables know goes in canonically, as it is
    stored.
    """
    comparator, value = parse_result(row.entered)
    unit = row.unit_entered
    analyte = vocabulary().analyte(row.analyte.key)
    try:
        canonical = None if analyte is None else analyte.exactly(value, unit)
    except UnknownUnit:
        canonical = None
    if canonical is None:
        value, unit = round(row.value, 6), row.analyte.canonical_unit
        canonical = Fraction(value)
    return facts.Observation(
        analyte=row.analyte.key,
        value=value,
        unit=unit,
        canonical=canonical,
        at=row.drawn_at,
        comparator=Comparator(comparator) if comparator else None,
        hours_since_dose=None if row.hours_since_dose is None else Hours(row.hours_since_dose),
        assay=row.assay or None,
    )


def _event(row: ClinicalEvent) -> facts.ClinicalEvent:
    return facts.ClinicalEvent(
        kind=facts.EventKind(row.kind),
        grade=row.grade,
        started_on=row.started_on,
        resolved_on=row.resolved_on,
    )


def _immunisation(row: Immunisation) -> facts.Immunisation:
    """Recorded by a name or code of the vocabulary; `ValueError` if it is there no longer."""
    known = vocabulary().vaccine(row.vaccine)
    if known is None:
        raise ValueError(f"{row.vaccine} is no vaccine of the vocabulary")
    return facts.Immunisation(
        vaccine=known.name,
        atc=known.atc,
        live=known.live,
        planned_on=None if row.given_on else row.planned_on,
        given_on=row.given_on,
        route=facts.VaccineRoute(row.route) if row.route else None,
    )
