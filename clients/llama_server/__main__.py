"""Runs llama.cpp's tests of its server against ours; arguments are pytest's.

The tests are copied from the sources that the package is built from; nothing is fetched.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

from .differences import UNITS
from .models import write_stand_in
from .page import PAGE, ROOT, TALLY, rendered
from .plugin import TALLY_VARIABLE
from .translate import MODEL

BUILD = TALLY.parent
FETCH = ROOT / "third_party" / "llama.cpp" / "fetch.py"


def sources() -> Path:
    """The folder that the package is built from."""
    done = subprocess.run([sys.executable, FETCH], stdout=subprocess.PIPE, text=True, check=True)
    return Path(done.stdout.splitlines()[-1])


def main(arguments: list[str]) -> int:
    """An exit code: 0 only if nothing differs but what is listed, and the page says so."""
    code = run(arguments)
    if code == 0 and not arguments and rendered() != PAGE.read_text(encoding="utf-8"):
        print(f"{PAGE} is not what came out: run python -m clients.llama_server.page")
        return 1
    return code


def run(arguments: list[str]) -> int:
    """pytest's exit code."""
    tests = BUILD / "tests"
    shutil.rmtree(BUILD, ignore_errors=True)
    shutil.copytree(sources() / "tools" / "server" / "tests", tests)
    program = BUILD / "llama-server"
    program.write_text(
        f"#!{sys.executable}\nfrom clients.llama_server.translate import main\n\nmain()\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    with tempfile.TemporaryDirectory() as models:
        variables = {
            "LLAMA_SERVER_BIN_PATH": str(program),
            "PYTHONPATH": os.pathsep.join(
                [str(tests), str(ROOT), os.environ.get("PYTHONPATH", "")]
            ),
            MODEL: "\n".join(write_stand_in(Path(models))),
            TALLY_VARIABLE: str(TALLY),
        }
        units = [str(Path("unit", f"{unit}.py")) for unit in UNITS]
        command = [sys.executable, "-m", "pytest", "-p", "clients.llama_server.plugin", "-q"]
        command += ["-W", "ignore", "-m", "not slow", *(arguments or units)]
        return subprocess.run(
            command, cwd=tests, env=os.environ | variables, check=False
        ).returncode


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
