"""The engine is plain Python: no framework, no clock, no floats."""

import ast
import os
import subprocess
import sys

from tests.engine.given import ROOT

ENGINE = ROOT / "dosing/rules/engine"
PROGRAM = """
import sys
before = set(sys.modules)
import dosing.rules.engine.assess
loaded = {name.split(".")[0] for name in set(sys.modules) - before}
print(" ".join(sorted(loaded - set(sys.stdlib_module_names))))
"""


def test_the_engine_loads_itself_and_the_standard_library_only() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env={"PATH": os.defpath, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["dosing"]


def test_no_number_of_the_engine_is_a_float_and_nothing_reads_the_clock() -> None:
    for path in sorted(ENGINE.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant):
                assert not isinstance(node.value, float), f"{path.name}:{node.lineno}"
            if isinstance(node, ast.Name):
                assert node.id != "float", f"{path.name}:{node.lineno}"
            if isinstance(node, ast.Attribute):
                assert node.attr not in ("now", "today", "utcnow"), f"{path.name}:{node.lineno}"
