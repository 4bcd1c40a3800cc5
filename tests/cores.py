"""Runs the numeric tests on every core that this processor can run, and training on PyTorch's.

A core is what the package is compiled to for a kind of processor. The one for this machine is what
the Python running this has installed; the others are in a folder with a build of all of them, as
for a wheel that travels. The package says which there are, and which this processor can run.

PyTorch and oneDNN choose among instruction sets too, and both can be told to use lesser ones: the
tests that train run with each.

    python tests/cores.py build/cores

Prints a line for each combination; ends with an error if any failed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
NUMERIC = ("-m", "numeric")
TRAINING = ("tests/test_train.py",)

ATEN = ("DEFAULT", "AVX2", "AVX512")
"""What PyTorch's own loops can use on x86-64, each with all before it."""

ONEDNN = ("AVX2", "AVX512_CORE", "AVX512_CORE_VNNI", "AVX512_CORE_BF16", "AVX512_CORE_AMX")
"""What its matrix products can; where the processor has less, this changes nothing."""


@dataclass(frozen=True)
class Combination:
    """Tests, and the environment that they run in."""

    name: str
    tests: tuple[str, ...]
    environment: dict[str, str]

    def run(self, log: Path) -> bool:
        """Runs the tests, prints how that went, and says whether they passed."""
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *self.tests]
        with log.open("w") as output:
            code = subprocess.run(
                command, cwd=ROOT, env={**os.environ, **self.environment}, stdout=output,
                stderr=subprocess.STDOUT, check=False,
            ).returncode  # fmt: skip
        lines = log.read_text(errors="replace").splitlines()
        if code == 0:
            print(f"{self.name:36} passed   {lines[-1]}", flush=True)
            return True
        print(f"{self.name:36} FAILED   pytest ended with {code}, see {log}", flush=True)
        for line in lines:
            if line.startswith(("FAILED", "ERROR", "Fatal")):
                print(f"    {line}")
        return False


def cores(folder: Path) -> Iterator[Combination]:
    """Those of a build of all of them that can run here, and the native one."""
    yield Combination("native core", NUMERIC, {})
    for name in sorted(path.name for path in (folder / "rewardshift" / "_cores").iterdir()):
        environment = {"PYTHONPATH": str(folder.resolve()), "REWARDSHIFT_CPU": name}
        told = python("from rewardshift import _core; print(_core.cpu)", environment)
        if told.returncode == 0 and told.stdout.split() == [name]:
            yield Combination(f"{name} core", NUMERIC, environment)
        elif "this processor lacks" in told.stderr:
            print(f"{name + ' core':36} skipped  {told.stderr.strip().splitlines()[-1]}")
        else:
            sys.exit(f"{name} cannot be loaded:\n{told.stderr}")


def instruction_sets() -> Iterator[Combination]:
    """Those that PyTorch can use here, and all that oneDNN may be told to stay within."""
    yield Combination("PyTorch as it is", TRAINING, {})
    best = python("import torch; print(torch.backends.cpu.get_cpu_capability())", {}).stdout.strip()
    for name in ATEN:
        if best not in ATEN[ATEN.index(name) :]:
            print(f"{'ATen ' + name:36} skipped  PyTorch finds {best} here")
            continue
        yield Combination(f"ATen {name}", TRAINING, {"ATEN_CPU_CAPABILITY": name.lower()})
    for name in ONEDNN:
        yield Combination(f"oneDNN up to {name}", TRAINING, {"ONEDNN_MAX_CPU_ISA": name})


def python(code: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Runs a line of Python."""
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def main() -> None:
    """Runs all combinations, or those whose names contain a word."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="with the package and all its cores")
    parser.add_argument("--only", default="", help="part of a combination's name")
    options = parser.parse_args()
    logs = options.folder / "logs"
    logs.mkdir(exist_ok=True)
    ran = [
        combination.run(logs / f"{combination.name.replace(' ', '-')}.log")
        for source in (cores(options.folder), instruction_sets())
        for combination in source
        if options.only in combination.name
    ]
    if not all(ran):
        sys.exit(f"{ran.count(False)} of {len(ran)} combinations failed")
    print(f"all {len(ran)} combinations passed")


if __name__ == "__main__":
    main()
