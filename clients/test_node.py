"""The npm packages: each test of `clients/node/*.test.mjs` by node's own runner."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .serving import NAME, NO_SPACES

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent / "node"
PACKAGES = Path(os.environ.get("CLIENTS_NODE", HERE.parents[1] / "build" / "clients" / "node"))
"""Where `make clients` has installed `clients/node/package.json`."""

VERSIONS = json.loads((HERE / "package.json").read_text())["dependencies"]
CLIENTS = {"openai": "openai", "ai-sdk": "@ai-sdk/openai-compatible"}
TESTS = [
    (path, name)
    for path in sorted(HERE.glob("*.test.mjs"))
    for name in re.findall(r'^test\("(.*)", async', path.read_text(), flags=re.MULTILINE)
]


def client_of(path: Path) -> str:
    package = CLIENTS[path.name.removesuffix(".test.mjs")]
    return f"{package} {VERSIONS[package]} (npm)"


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
@pytest.mark.parametrize(
    ("path", "name"),
    [pytest.param(path, name, id=f"{path.stem}: {name}") for path, name in TESTS],
)
def test_in_node(
    path: Path, name: str, url: str, record_property: Callable[[str, object], None]
) -> None:
    record_property("client", client_of(path))
    script = PACKAGES / path.name  # modules are looked for from where the script lies
    shutil.copy(path, script)
    variables = {"SERVED": url, "SERVED_MODEL": NAME, "NO_SPACES": json.dumps(NO_SPACES)}
    done = subprocess.run(
        ["node", "--test", "--test-name-pattern", f"^{re.escape(name)}$", script],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "# pass 1\n" in done.stdout.replace("ℹ", "#")
