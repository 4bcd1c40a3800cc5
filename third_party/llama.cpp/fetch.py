"""Provide the pinned llama.cpp sources; the last line printed is the folder that holds them.

llama.cpp is taken from the source distribution named in `pin.json`, through pip, so that the
user's own index, proxy and certificate settings apply. Its hash is checked by pip before any of
its code runs, and here once more. The unpacked tree is kept in `$REWARDSHIFT_CACHE_DIR`, or in
`rewardshift/` of the user's cache, and is used from then on without touching the network.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

OWN_SOURCES = "set REWARDSHIFT_LLAMA_CPP_DIR to a llama.cpp source folder of your own"
SUBTREE = ("vendor", "llama.cpp")
UNUSED = {"docs", "media", "models"}  # two thirds of the tree, never compiled


class FetchError(Exception):
    """A failure that the user can act on; its text is the whole message."""


@dataclass(frozen=True)
class Pin:
    """The one source distribution that this checkout builds against."""

    distribution: str
    version: str
    sha256: str
    llama_cpp_commit: str

    @property
    def requirement(self) -> str:
        """The distribution as a pip requirement that admits no other file."""
        return f"{self.distribution}=={self.version} --hash=sha256:{self.sha256}"

    @property
    def folder(self) -> str:
        """The name of the unpacked tree: two pins never share one."""
        return f"llama.cpp-{self.version}-{self.sha256[:16]}"


def cache_root() -> Path:
    """Return the folder for unpacked trees; it need not exist."""
    if chosen := os.environ.get("REWARDSHIFT_CACHE_DIR"):
        return Path(chosen).expanduser().absolute()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "rewardshift"


def sources(pin: Pin, root: Path) -> Path:
    """Return the folder with the pinned sources, downloading them if it is not there yet."""
    tree = root / pin.folder
    if is_complete(tree):
        return tree
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root, prefix=".fetch-") as scratch:
        archive = download(pin, Path(scratch))
        check_hash(pin, archive)
        fresh = Path(scratch) / "tree"
        unpack(archive, fresh)
        publish(fresh, tree)
    return tree


def is_complete(tree: Path) -> bool:
    """Tell whether a tree is usable: one appears under its final name only when whole."""
    return (tree / "CMakeLists.txt").is_file()


def download(pin: Pin, scratch: Path) -> Path:
    """Download the source distribution into `scratch` with pip, which checks the hash first."""
    print(f"rewardshift: downloading {pin.distribution} {pin.version}", file=sys.stderr, flush=True)
    requirements = scratch / "requirements.txt"
    requirements.write_text(pin.requirement + "\n", encoding="utf-8")
    target = scratch / "download"
    command = [
        *(sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-input"),
        *("--no-deps", "--no-binary", pin.distribution, "--require-hashes"),
        *("--requirement", str(requirements), "--dest", str(target)),
    ]
    pip = subprocess.run(
        command,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    if pip.returncode != 0:
        # pip prints the offending digest on a line of its own.
        if got := re.search(r"\bGot\s+([0-9a-f]{64})\b", pip.stdout):
            raise wrong_hash(pin, got.group(1))
        tail = "\n".join(f"  {line}" for line in pip.stdout.strip().splitlines()[-15:])
        raise FetchError(
            f"{pin.distribution} {pin.version} could not be downloaded. Check the network and "
            f"pip's settings, or {OWN_SOURCES}. pip (exit status {pip.returncode}) said:\n{tail}"
        )
    archives = list(target.glob("*.tar.gz"))
    if len(archives) != 1:
        found = sorted(path.name for path in target.iterdir())
        raise FetchError(f"pip left {found} where one .tar.gz was expected; {OWN_SOURCES}.")
    return archives[0]


def check_hash(pin: Pin, archive: Path) -> None:
    """Stop unless the archive is, byte for byte, the pinned one."""
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    if digest != pin.sha256:
        raise wrong_hash(pin, digest)


def wrong_hash(pin: Pin, got: str) -> FetchError:
    """Say what was expected, what came instead, and what to do about it."""
    return FetchError(
        f"{pin.distribution} {pin.version} has the wrong sha256: expected {pin.sha256}, got {got}. "
        f"Nothing of it was used. Either the download was damaged or altered on its way (clear "
        f"pip's cache with `pip cache purge`, check the index pip uses, and try again), or "
        f"pin.json is wrong. To build from sources that you trust, {OWN_SOURCES}."
    )


def unpack(archive: Path, tree: Path) -> None:
    """Write the llama.cpp part of the archive to `tree`: plain files only, never outside it."""
    with tarfile.open(archive, "r:gz") as files:
        for member in files:
            _, *inside = PurePosixPath(member.name).parts
            if tuple(inside[:2]) != SUBTREE or not member.isfile() or is_unused(inside[2]):
                continue
            if ".." in inside:
                raise FetchError(f"{archive.name} holds the unsafe path {member.name!r}.")
            target = tree.joinpath(*inside[2:])
            target.parent.mkdir(parents=True, exist_ok=True)
            with files.extractfile(member) as source, target.open("wb") as copy:
                shutil.copyfileobj(source, copy)
    if not is_complete(tree):
        raise FetchError(f"{archive.name} does not hold {'/'.join(SUBTREE)}/CMakeLists.txt.")


def is_unused(part: str) -> bool:
    """Tell whether a top-level part is left out; a stray `.git` would make git look for more."""
    return part in UNUSED or part.startswith(".")


def publish(fresh: Path, tree: Path) -> None:
    """Move a whole tree to its final name in one step; another process may have been faster."""
    try:
        fresh.rename(tree)
    except OSError:
        if not is_complete(tree):
            raise


def main() -> int:
    """Print the folder of the pinned sources; explain on stderr when there is none."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pin", type=Path, default=Path(__file__).with_name("pin.json"))
    pin = Pin(**json.loads(parser.parse_args().pin.read_text(encoding="utf-8")))
    root = cache_root()
    try:
        print(sources(pin, root))
    except FetchError as error:
        print(f"rewardshift: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(
            f"rewardshift: the llama.cpp sources could not be kept in {root} ({error}). Remove "
            "what is in the way, set REWARDSHIFT_CACHE_DIR to a writable folder, or "
            f"{OWN_SOURCES}.",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
