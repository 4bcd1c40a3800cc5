"""Checks a wheel as its user meets it: in a fresh environment, with no compiler in reach.

Installs it there, lets each of its cores that this processor can run say what the demo says, and
compares with the build that the Python running this has installed, which computes alike but for
rounding. Prints what it found; ends with an error at the first thing that is wrong.

    python tools/check_wheel.py dist/rewardshift-*.whl
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

MOST_BYTES = 30_000_000  # six cores, and the embedded pair, which hardly compresses
MOST_NATS = 0.25
"""How far the target's log-probabilities may lie apart on average. Each of two cores rounds
SmolLM2's activations to 8 bits in its own way, which costs a logit 0.22 (as the root of the mean
square; tests/support/precision.py). AVX-512 and AVX2 or SSE4.2 were seen 0.06 apart."""
PASSAGE = (
    "The bridge had been closed since the flood, so the two sisters took the long way home, past "
    "the mill and the orchard. Neither of them spoke. When they reached the gate, the younger one "
    "laughed, and said that she would not have missed this walk for all the money in the world."
)


def main() -> None:
    """Runs all checks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path, nargs="?")
    parser.add_argument("--probe", action="store_true", help="only print what is compared")
    options = parser.parse_args()
    if options.probe:
        print(json.dumps(probe()))
        return
    check_file(options.wheel)
    with tempfile.TemporaryDirectory() as folder:
        check_installed(options.wheel, Path(folder))


def check_file(wheel: Path) -> None:
    """Its size, its tag and the symbols it shows to other libraries."""
    size = wheel.stat().st_size
    print(f"{wheel.name}: {size / 1e6:.1f} MB")
    require(size < MOST_BYTES, f"a wheel has less than {MOST_BYTES / 1e6:.0f} MB")
    require("-linux_" not in wheel.name, "auditwheel gives it a manylinux tag")
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(wheel) as files:
        for name in (n for n in files.namelist() if n.endswith(".so")):
            library = files.extract(name, folder)
            listing = output("nm", "-D", "--defined-only", library)
            names = {line.split()[-1] for line in listing.splitlines()}
            require(names == {f"PyInit_{Path(name).name.split('.')[0]}"}, f"{name} shows {names}")
            require(not output("nm", "--quiet", library), f"{name} is stripped")


def check_installed(wheel: Path, folder: Path) -> None:
    """That it works where there is nothing else, and computes what the build at hand computes."""
    environment = folder / "environment"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    python = environment / "bin" / "python"
    alone = {**os.environ, "PATH": str(environment / "bin")}
    compilers = [shutil.which(name, path=alone["PATH"]) for name in ("cc", "gcc", "c++", "clang")]
    require(not any(compilers), f"no compiler is in reach ({compilers})")
    options = ("--quiet", "--only-binary", ":all:")
    install: list[str | Path] = [python, "-m", "pip", "install", *options, wheel]
    subprocess.run(install, check=True, env=alone)

    here = json.loads(output(sys.executable, __file__, "--probe"))
    print(f"this build, {here['cpu']}: the demo's {len(here['answers'])} answers")
    chosen = run_core(python, alone, None)
    compare(f"chosen: {chosen['cpu']}", chosen, here)
    for core in chosen["cores"]:
        told = run_core(python, alone, core)
        if "refused" in told:
            print(f"{core:12} {told['refused']}")
        else:
            require(told["cpu"] == core, f"{core} is what runs where it is asked for")
            compare(core, told, here)


def run_core(python: Path, environment: dict[str, str], core: str | None) -> dict[str, Any]:
    """What a core says; {"refused": why} if this processor cannot run it."""
    asked = {} if core is None else {"REWARDSHIFT_CPU": core}
    command: list[str | Path] = [python, __file__, "--probe"]
    run = subprocess.run(
        command, env={**environment, **asked}, capture_output=True, text=True, check=False
    )
    if run.returncode == 1 and core and "ImportError: REWARDSHIFT_CPU is" in run.stderr:
        return {"refused": run.stderr.strip().splitlines()[-1]}
    require(run.returncode == 0, f"{core or 'the chosen core'} ends well:\n{run.stderr}")
    told: dict[str, Any] = json.loads(run.stdout)
    return told


def probe() -> dict[str, Any]:
    """The demo's answers, and what the target makes of a passage."""
    from rewardshift import Decoder, _core
    from rewardshift.cli.demo_runs import Exchange
    from rewardshift.cli.demo_target import ASKED_OF_SMALL
    from rewardshift.models import smollm2, smollm2_q4_0

    prompts = [prompt for prompts in ASKED_OF_SMALL.values() for prompt in prompts]
    exchanges = [Exchange(prompt, "draft", strength=1.0) for prompt in prompts]
    small = smollm2_q4_0()
    with Decoder(smollm2(), small, small, n_ctx=1024, n_threads=1) as decoder:
        for exchange in exchanges:
            exchange.play(decoder, lambda: None, drafts=True)
        score = decoder.score("A story.", PASSAGE, strength=0.0)
    runs = [run for e in exchanges for run in (e.plain, e.aligned, e.undrafted)]
    cores = Path(_core.__file__).parents[1]
    return {
        "cpu": _core.cpu,
        "cores": sorted(p.name for p in cores.iterdir()) if cores.name == "_cores" else [],
        "answers": [run.text for run in runs],
        "logprobs": score.target_logprobs.tolist(),
    }


def compare(name: str, theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    """Prints how alike two builds are, and refuses what rounding cannot explain."""
    pairs = zip(theirs["logprobs"], ours["logprobs"], strict=True)
    distances = [abs(a - b) for a, b in pairs]
    mean = sum(distances) / len(distances)
    same = sum(a == b for a, b in zip(theirs["answers"], ours["answers"], strict=True))
    print(
        f"{name:12} {same} of {len(ours['answers'])} answers equal; log-probabilities differ by "
        f"{mean:.4f} on average, {max(distances):.4f} at most"
    )
    require(mean < MOST_NATS, f"log-probabilities differ by less than {MOST_NATS} on average")
    require(all(theirs["answers"]), "each answer has text")


def output(*command: str | Path) -> str:
    """What a command prints."""
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def require(condition: bool, fact: str) -> None:
    """Ends the program unless something holds."""
    if not condition:
        sys.exit(f"check_wheel: not so: {fact}")


if __name__ == "__main__":
    main()
