"""What the tests of the engine let live: `make mutation` ends with it.

mutmut changes one thing of a topic module at a time and puts each mutant before tests/engine. This
reads its verdicts, prints the share that was killed, and fails if that is under 90 % or if a
survivor stands without a reason in survivors.toml. There a mutant is known by its function and by
its changed lines, for its number moves with every edit of the function.
"""

import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent
MUTMUT = Path(sys.executable).with_name("mutmut")
LEAST_PERCENT = 90


def verdicts() -> dict[str, str]:
    """What became of each mutant, by its name."""
    said = subprocess.run([MUTMUT, "results", "--all", "true"], stdout=-1, text=True, check=True)
    pairs = (line.strip().rpartition(": ") for line in said.stdout.splitlines() if line.strip())
    return {name: verdict for name, _, verdict in pairs}


def known_by(mutant: str) -> str:
    """The mutant by what it is: "bands.limits: − the line + the line that came instead"."""
    said = subprocess.run([MUTMUT, "show", mutant], stdout=-1, text=True, check=True).stdout
    lines = [
        line for line in said.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")
    ]
    changes = " ".join(f"{'−' if line[0] == '-' else '+'} {line[1:].strip()}" for line in lines)
    module, _, function = mutant.removeprefix("dosing.rules.engine.").partition(".")
    name = function.rpartition("__mutmut_")[0].removeprefix("x_").removeprefix("xǁ")
    return f"{module}.{name.replace('ǁ', '.')}: {changes}"


def main() -> None:
    found = verdicts()
    counted = Counter(found.values())
    undone = counted["not checked"]
    lived = [name for name, verdict in found.items() if verdict in ("survived", "no tests")]
    killed = len(found) - len(lived) - undone
    percent = 100 * killed / (len(found) - undone)
    print(f"{killed} of {len(found) - undone} mutants killed: {percent:.1f} %", dict(counted))
    groups = tomllib.loads((HERE / "survivors.toml").read_text(encoding="utf-8"))["survivors"]
    reasons = {mutant: group["reason"] for group in groups for mutant in group["mutants"]}
    left = {known_by(name) for name in lived}
    for mutant in sorted(left - set(reasons)):
        print("without a reason:", mutant)
    for mutant in sorted(set(reasons) - left):
        print("listed and no survivor:", mutant)
    if undone or percent < LEAST_PERCENT or left - set(reasons):
        sys.exit(1)


if __name__ == "__main__":
    main()
