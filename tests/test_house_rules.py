"""Rules of the house that hold for code not yet written."""

import ast
import importlib
import inspect
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from django.apps import apps
from django.db import connection, models
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from django.urls.converters import get_converters
from rest_framework.permissions import BasePermission

from tacroweb.accounts.access import DeclaredPermission, SignedIn
from tacroweb.accounts.roles import Permission
from tacroweb.audit.append_only import protected_models, unprotected_tables
from tacroweb.audit.models import AppendOnlyModel, HistoryRow, SignedModel
from tests.conftest import ROOT

OURS = ("tacroweb", "patients", "dosing", "monitoring")
ENGINE = ROOT / "dosing" / "rules" / "engine"
FLOOR = ROOT / "tacroweb" / "audit"


def tracked_files(*patterns: str) -> list[Path]:
    """Files that git knows or would know, so that nothing generated is judged."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [path for line in listed.stdout.splitlines() if (path := ROOT / line).is_file()]


def our_python() -> list[Path]:
    """The product's own modules: no tests, no benchmarks, no migrations."""
    return [
        path
        for path in tracked_files("*.py")
        if path.relative_to(ROOT).parts[0] in OURS and "migrations" not in path.parts
    ]


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


# Doors

OPEN = {
    "login": "where one signs in",
    "logout": "signing out twice harms nobody",
    "healthz": "says only that the process answers",
}


def routes(
    resolver: URLResolver | None = None, prefix: str = "", space: str = ""
) -> Iterator[tuple[str, str, URLPattern]]:
    """Every route as (name with namespace, path with sample values, pattern)."""
    for entry in (resolver or get_resolver()).url_patterns:
        if isinstance(entry, URLResolver):
            inner = f"{space}{entry.namespace}:" if entry.namespace else space
            yield from routes(entry, prefix + sample(str(entry.pattern)), inner)
        else:
            yield f"{space}{entry.name}", "/" + prefix + sample(str(entry.pattern)), entry


def sample(route: str) -> str:
    """A path that the route's pattern takes."""
    uuid = "3f2b8c1e-0000-4000-8000-000000000000"
    values = {"uuid": uuid, "int": "1", "path": "x", "slug": "x", "str": "x"}
    assert set(values) <= set(get_converters())
    route = re.sub(
        r"\(\?P<\w+>((?:[^()]|\([^()]*\))*)\)",
        lambda found: uuid if "{36}" in found.group(1) else "1",
        route,
    )
    route = re.sub(r"<(?:(\w+):)?\w+>", lambda found: values[found.group(1) or "str"], route)
    return route.replace("^", "").replace("$", "").replace("\\Z", "").replace("\\.", ".")


ROUTES = sorted({(name, path) for name, path, _ in routes()})


def test_the_walk_finds_the_routes() -> None:
    names = {name for name, _ in ROUTES}
    assert {"home", "chart", "audit:acts", "admin:index", "api:history-list"} <= names


@pytest.mark.parametrize(("name", "path"), ROUTES, ids=[name for name, _ in ROUTES])
def test_every_address_refuses_the_anonymous(db: None, name: str, path: str) -> None:
    client = Client(raise_request_exception=True)
    for method in ("get", "post"):
        response = getattr(client, method)(path)
        if name in OPEN or name == "admin:login":
            assert response.status_code < 500
        elif path.startswith("/api/"):
            assert response.status_code == 401, path
        else:
            assert response.status_code in (302, 405), path
            if response.status_code == 302:
                assert response["Location"].startswith(("/sign-in/", "/admin/login/")), path


def test_what_is_open_says_why() -> None:
    assert set(OPEN) <= {name for name, _ in ROUTES}
    assert all(OPEN.values())


def views_of(prefix: str) -> Iterator[tuple[str, Any]]:
    for name, path, pattern in routes():
        if path.startswith(prefix):
            yield name, pattern.callback


def test_every_api_view_names_a_permission_for_each_action() -> None:
    seen = 0
    for name, view in views_of("/api/"):
        chosen: list[type[BasePermission]] = view.cls.permission_classes
        if not hasattr(view, "actions"):
            assert chosen == [SignedIn], f"{name} is neither a resource nor the API's description"
            continue
        assert chosen == [DeclaredPermission], f"{name} chooses its own permissions"
        assert view.cls.authentication_classes, f"{name} asks nobody who they are"
        declared = view.cls.permissions_for
        for action in view.actions.values():
            named = declared.get(action)
            enough = named if isinstance(named, tuple) else (named,)
            assert enough, f"{name}: {action} names none"
            for each in enough:
                assert isinstance(each, Permission), f"{name}: {action} names none"
            seen += 1
    assert seen > 20


NOT_BY_ROLE = {
    "home": "every role has a home; what it shows follows the role",
    "accounts:me": "one's own account",
    "switch-clinic": "to another of one's own clinics",
    "login": "signed out",
    "logout": "one's own session",
    "healthz": "says only that the process answers",
}


def test_every_page_names_the_permission_it_asks_for() -> None:
    for name, path, pattern in routes():
        if path.startswith(("/admin/", "/api/", "/static/")) or name in NOT_BY_ROLE:
            continue
        found = getattr(pattern.callback, "permissions", ())
        assert found, f"{name} is open to every role: @requires(…), or say why in NOT_BY_ROLE"
        assert all(isinstance(permission, Permission) for permission in found)


# Rows

UNTRACKED = {
    "audit.LedgerChain": "the head of a chain: a counter that the entries themselves prove",
    "audit.LedgerEntry": "the evidence itself, chained and append-only",
    "audit.LedgerSubject": "repeats the entry's text, append-only and verified with it",
    "accounts.FailedPassword": "slows guessing down; anybody may cause one, so it is no evidence",
    "patients.FactsVersion": "a counter, not a fact",
    "dosing.StatementCount": "counted from the stored assessments, and again at any time",
    "monitoring.Review": "when a patient was last looked at: made again by the next look",
    "monitoring.SweepRun": "an operational record that can be made again at any time",
    "dosing.ImpactRun": "what a draft would change: computed again until it is decided",
    "dosing.ImpactDifference": "one line of an impact run, held with it once it has ended",
}


def our_models() -> list[type[models.Model]]:
    return [
        model
        for model in apps.get_models()
        if model.__module__.partition(".")[0] in OURS and not issubclass(model, HistoryRow)
    ]


def test_every_model_is_tracked_or_append_only_or_has_a_reason() -> None:
    loose = {
        model._meta.label
        for model in our_models()
        if not (issubclass(model, SignedModel) and hasattr(model, "history"))
        and not issubclass(model, AppendOnlyModel)
    }
    assert loose == set(UNTRACKED)


def test_every_evidence_table_has_its_triggers(db: None) -> None:
    tracked = [model for model in our_models() if hasattr(model, "history")]
    protected = set(protected_models())
    assert {model.history.model for model in tracked} <= protected
    assert {model for model in our_models() if issubclass(model, AppendOnlyModel)} <= protected
    assert unprotected_tables(connection) == []


def test_nothing_of_ours_vanishes_with_another_row() -> None:
    for model in our_models():
        for field in model._meta.concrete_fields:
            if field.is_relation:
                assert field.remote_field.on_delete is models.PROTECT, f"{model}.{field.name}"


def test_every_manager_refuses_to_write_past_the_signature() -> None:
    for model in our_models():
        if issubclass(model, SignedModel):
            for write in ("update", "delete", "bulk_create", "bulk_update", "create"):
                method = getattr(type(model._default_manager.all()), write)
                assert method.__name__ == "_refuse", f"{model.__name__}.objects.{write}()"


# Services


def service_modules() -> list[ModuleType]:
    names = []
    for path in our_python():
        parts = path.relative_to(ROOT).with_suffix("").parts
        if "services" in parts:
            names.append(".".join(part for part in parts if part != "__init__"))
    return [importlib.import_module(name) for name in names]


def public_functions(module: ModuleType) -> Iterator[tuple[str, Any]]:
    for name, thing in vars(module).items():
        own = inspect.isfunction(thing) and thing.__module__ == module.__name__
        if own and not name.startswith("_"):
            yield f"{module.__name__}.{name}", thing


def writes_a_row(function: Any) -> bool:
    return ".save(" in inspect.getsource(function)


def test_every_service_takes_by_as_a_keyword_and_nothing_else_there_writes() -> None:
    seen = 0
    for module in service_modules():
        for name, function in public_functions(module):
            parameters = inspect.signature(function).parameters
            if hasattr(function, "act_name"):
                seen += 1
                assert "by" in parameters, f"{name} takes no by"
                assert parameters["by"].kind is inspect.Parameter.KEYWORD_ONLY, name
                assert parameters["by"].default is inspect.Parameter.empty, f"{name}: a default"
            elif "by" not in parameters:
                assert not writes_a_row(function), f"{name} writes without by"
    assert seen > 25


def test_what_a_service_is_called_is_unique_enough_to_be_read() -> None:
    names = [
        function.act_name
        for module in service_modules()
        for _, function in public_functions(module)
        if hasattr(function, "act_name")
    ]
    assert all(name[0].isupper() and not name.endswith(".") for name in names)


def calls(path: Path) -> Iterator[tuple[int, ast.Attribute, ast.Call]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            yield node.lineno, node.func, node


WRITES = {
    "bulk_create", "bulk_update", "update_or_create", "_raw_delete", "_update",
    "save_without_historical_record", "abulk_create", "aupdate", "adelete",
}  # fmt: skip
# The models that are not tracked, and where they are written.
UNTRACKED_WRITES = {
    "SweepRun": "monitoring/",
    "ImpactRun": "dosing/governance/impact.py",
    "ImpactDifference": "dosing/governance/impact.py",
    "Review": "monitoring/",
    "FactsVersion": "patients/services/facts.py",
    "StatementCount": "dosing/services/counts.py",
    "FailedPassword": "tacroweb/accounts/brake.py",
}


def names_in(node: ast.AST) -> set[str]:
    return {child.id for child in ast.walk(node) if isinstance(child, ast.Name)} | {
        child.attr for child in ast.walk(node) if isinstance(child, ast.Attribute)
    }


def test_no_row_is_written_past_its_signature() -> None:
    """`.update(…)` and `.delete()` of querysets, bulk writes, and simple-history's side doors."""
    found = []
    for path in our_python():
        if FLOOR in path.parents:
            continue
        for line, function, call in calls(path):
            queryset = bool(
                {"objects", "_base_manager", "_default_manager", "filter"}
                & names_in(function.value)
            )
            written = function.attr in WRITES or (
                function.attr in {"update", "delete"} and queryset
            )
            allowed = any(
                relative(path).startswith(place) and f"{model}.objects" in ast.unparse(call)
                for model, place in UNTRACKED_WRITES.items()
            )
            if written and not allowed:
                found.append(f"{relative(path)}:{line} .{function.attr}()")
    assert found == []


def test_history_is_switched_off_nowhere() -> None:
    for path in our_python():
        text = path.read_text(encoding="utf-8")
        assert "SIMPLE_HISTORY_ENABLED" not in text
        if path != ROOT / "tacroweb" / "accounts" / "models.py":  # Django's own sign-in note
            assert "skip_history_when_saving" not in text, relative(path)


# The engine


def test_the_engine_holds_no_float() -> None:
    found = []
    for path in sorted(ENGINE.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            literal = isinstance(node, ast.Constant) and isinstance(node.value, float | complex)
            named = isinstance(node, ast.Name) and node.id == "float"
            if literal or named:
                found.append(f"{path.name}:{node.lineno}")
    assert found == []


def test_the_engine_reads_no_clock_and_no_file() -> None:
    banned = {"now", "today", "utcnow", "open", "read_text", "environ", "getenv", "random"}
    for path in sorted(ENGINE.glob("*.py")):
        for line, function, _ in calls(path):
            assert function.attr not in banned, f"{path.name}:{line}"


def test_the_engine_loads_no_framework() -> None:
    modules = [f"dosing.rules.engine.{path.stem}" for path in sorted(ENGINE.glob("*.py"))]
    code = f"import sys, {', '.join(modules)}; print('\\n'.join(sys.modules))"
    ran = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    loaded = {name.partition(".")[0] for name in ran.stdout.splitlines()}
    assert not loaded - set(sys.stdlib_module_names) - {"dosing", "__main__", "__mp_main__"}


# Pages and files


def test_nothing_is_marked_safe() -> None:
    for path in our_python():
        text = path.read_text(encoding="utf-8")
        assert "mark_safe" not in text, relative(path)
        assert "autoescape off" not in text, relative(path)
    for path in tracked_files("templates/**"):
        if path.suffix in {".html", ".svg", ".txt"}:
            text = path.read_text(encoding="utf-8")
            assert not re.search(r"\|\s*(safe|safeseq)\b|autoescape\s+off", text), relative(path)


def test_templates_hold_no_inline_style_script_or_handler() -> None:
    for path in tracked_files("templates/*.html", "templates/**/*.html"):
        text = re.sub(r"\{[%{#].*?[#}%]\}", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
        for wrong in (r"<style\b", r"\sstyle\s*=", r"\son[a-z]+\s*=", r"javascript:"):
            assert not re.search(wrong, text, re.IGNORECASE), f"{relative(path)}: {wrong}"
        for script in re.findall(r"<script\b[^>]*>", text):
            assert "src=" in script, f"{relative(path)}: {script}"


def test_pages_ask_nothing_of_the_outside() -> None:
    for path in tracked_files("templates/**", "tacroweb/static/**"):
        if path.suffix in {".html", ".css", ".js", ".svg"}:
            text = path.read_text(encoding="utf-8").replace("http://www.w3.org/", "")
            assert not re.search(
                r"""(src|href|url\(|@import|fetch\()\s*=?\s*["'(]?(https?:)?//""", text
            ), relative(path)


def test_no_file_names_a_machine() -> None:
    """Paths of somebody's machine and addresses of package indexes have no place in the project."""
    machine = re.compile(
        r"/(?:home|Users|root)/\w|[A-Z]:\\\\Users|--(?:(?:extra-)?index-url|find-links|trusted-host)"
    )
    for path in tracked_files():
        if path.suffix in {".png", ".ico", ".woff2"} or path == Path(__file__).resolve():
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        assert not (found := machine.search(text)), f"{relative(path)}: {found}"


def test_each_mutant_that_lives_is_listed_once_with_a_reason_and_its_place() -> None:
    """The list that `make mutation` compares the survivors with, which takes it an hour to read."""
    listed = tomllib.loads((ROOT / "benchmarks" / "survivors.toml").read_text(encoding="utf-8"))
    named: list[str] = []
    for group in listed["survivors"]:
        assert group["reason"].endswith("."), group["reason"]
        named += group["mutants"]
    assert named
    assert len(named) == len(set(named))
    for mutant in named:
        place, _, change = mutant.partition(": ")
        module, _, function = place.partition(".")
        source = (ENGINE / f"{module}.py").read_text(encoding="utf-8")
        assert f"def {function.rpartition('.')[2]}(" in source, place
        lines = (line.strip() for line in source.splitlines())
        assert any(change.startswith(f"− {line} + ") for line in lines), f"{mutant}: gone"
