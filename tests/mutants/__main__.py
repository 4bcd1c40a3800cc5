"""Breaks the core in small ways and checks that the tests notice: ``python -m tests.mutants``.

Each mutant replaces one string in one C++ source of a copy of the tree in build/mutants, which is
built there (llama.cpp once, then only what a mutant touches). The fast tests must pass on the
unmutated copy and fail on every mutant. Exits with 1 if a mutant survives. What killed a mutant is
kept beside the copy and tried first the next time.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from .catalogue import MUTANTS, Mutant

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / "build" / "mutants"
SOURCE, BUILD, PACKAGE = WORK / "source", WORK / "cmake", WORK / "python"
KILLERS = WORK / "killers.json"  # what killed each mutant the last time
INPUTS = ("CMakeLists.txt", "pyproject.toml", "bindings", "cmake", "cpp", "third_party")
TESTS = (
    "test_rule.py",
    "test_engine_invariance.py",
    "test_engine_law.py",
    "test_shift_law.py",
    "test_head_law.py",
    "test_block_law.py",
    "test_mask_law.py",
    "test_tree_law.py",
    "test_draft_policy.py",
    "test_prefill.py",
    "test_foreign_law.py",
    "test_mapped_model.py",
    "test_vocabulary.py",
    "test_gguf_law.py::test_a_tree_costs_each_role_one_token_a_node_and_one_a_round",
)
PROCESSOR_SECONDS = 600  # of one run of the tests, then a mutant counts as killed
WALL_SECONDS = 3600  # the same, of one that hangs


class BrokenError(Exception):
    """What should work whatever the mutant does not."""


def write_if_changed(path: Path, data: bytes) -> None:
    """Leaves an equal file's time alone, so that only what differs is built again."""
    if not path.exists() or path.read_bytes() != data:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def copy_tree() -> None:
    """Copies the sources to build and the Python package to run."""
    inputs = [ROOT / name for name in INPUTS]
    for top in inputs:
        for path in [top] if top.is_file() else sorted(top.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                write_if_changed(SOURCE / path.relative_to(ROOT), path.read_bytes())
    shutil.rmtree(PACKAGE, ignore_errors=True)
    ignore = shutil.ignore_patterns("_core*.so", "_core*.pyd", "__pycache__")
    shutil.copytree(ROOT / "python", PACKAGE, ignore=ignore)


def environment() -> dict[str, str]:
    """The surroundings of a build or test: this Python's tools, and the copied package."""
    tools = str(Path(sys.executable).parent)
    path = tools + os.pathsep + os.environ.get("PATH", "")
    return {**os.environ, "PATH": path, "PYTHONPATH": str(PACKAGE), "PYTHONDONTWRITEBYTECODE": "1"}


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=WALL_SECONDS,
        check=False,
    )


def must_run(*command: str | Path) -> None:
    done = run(*command)
    if done.returncode:
        raise BrokenError(f"{' '.join(map(str, command))} failed:\n{done.stdout[-4000:]}")


def configure() -> None:
    must_run(
        "cmake", "-S", SOURCE, "-B", BUILD, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release",
        f"-DPython_EXECUTABLE={sys.executable}",
    )  # fmt: skip


def build() -> None:
    """Builds the core and puts it into the copied package."""
    must_run("cmake", "--build", BUILD, "--target", "_core")
    (core,) = [p for p in BUILD.glob("_core*") if p.suffix in {".so", ".pyd"}]
    target = PACKAGE / "rewardshift" / core.name
    target.unlink(missing_ok=True)  # a new file: the old one may still be mapped
    shutil.copy2(core, target)


def failure_of(*tests: str) -> str | None:
    """What fails in these tests, None if nothing does."""
    limit = f'ulimit -t {PROCESSOR_SECONDS}; exec "$@"'
    pytest = (sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--timeout=0")
    try:
        done = run("sh", "-c", limit, "sh", *pytest, *(f"tests/{test}" for test in tests))
    except subprocess.TimeoutExpired:
        return "it hangs"
    if done.returncode == 0:
        return None
    failed = re.search(r"^FAILED tests/(.+?)(?: - |$)", done.stdout, re.MULTILINE)
    if failed:
        return failed[1]
    if done.returncode == -signal.SIGXCPU:
        return "it does not end"
    if done.returncode < 0 or "Fatal Python error" in done.stdout:
        return f"crash (exit {done.returncode})"
    raise BrokenError(f"pytest exited with {done.returncode}:\n{done.stdout[-4000:]}")


def killer(last: str | None) -> str | None:
    """What notices the mutant that is built, None if nothing does; ``last`` is tried first."""
    if last is not None and last.startswith("test_"):
        with contextlib.suppress(BrokenError):  # the test may be gone
            if failure := failure_of(last):
                return failure
    return failure_of(*TESTS)


def source_of(mutant: Mutant) -> tuple[Path, str]:
    """The file that a mutant changes, in the copy, and its unmutated text."""
    path = SOURCE / "cpp" / "rewardshift" / mutant.path
    original = path.read_text()
    times = original.count(mutant.old)
    if times != 1:
        raise BrokenError(f"{mutant.name!r}: its string occurs {times} times in {mutant.path}")
    return path, original


@contextlib.contextmanager
def mutated(mutant: Mutant) -> Iterator[None]:
    """Applies a mutant to the copy, for as long as it is looked at."""
    path, original = source_of(mutant)
    path.write_text(original.replace(mutant.old, mutant.new))
    try:
        yield
    finally:
        path.write_text(original)


def prepare(mutants: list[Mutant]) -> None:
    """Builds the unmutated copy and requires that it passes."""
    start = time.monotonic()
    copy_tree()
    for mutant in mutants:  # a string that is gone should not be found out after an hour
        source_of(mutant)
    configure()
    build()
    print(f"built the copy in {time.monotonic() - start:.0f} s", flush=True)
    start = time.monotonic()
    failure = failure_of(*TESTS)
    if failure is not None:
        raise BrokenError(f"the unmutated tree fails {failure}")
    print(f"the unmutated tree passes in {time.monotonic() - start:.0f} s", flush=True)


def check(mutants: list[Mutant]) -> int:
    """Prints the table; returns how many survived."""
    width = max(len(mutant.name) for mutant in mutants)
    print(f"{'mutant':{width}}  seconds  killed by", flush=True)
    killers = json.loads(KILLERS.read_text()) if KILLERS.exists() else {}
    survivors = 0
    for mutant in mutants:
        start = time.monotonic()
        with mutated(mutant):
            build()
            verdict = killers[mutant.name] = killer(killers.get(mutant.name))
        KILLERS.write_text(json.dumps(killers, indent=1))
        survivors += verdict is None
        seconds = time.monotonic() - start
        print(f"{mutant.name:{width}}  {seconds:7.1f}  {verdict or 'SURVIVED'}", flush=True)
    return survivors


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", help="only mutants whose names contain one of these")
    names = parser.parse_args().names
    mutants = [m for m in MUTANTS if not names or any(name in m.name for name in names)]
    if not mutants:
        parser.error(f"no mutant is named like {names}")
    try:
        prepare(mutants)
        survivors = check(mutants)
    except BrokenError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{len(mutants) - survivors} of {len(mutants)} mutants killed")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
