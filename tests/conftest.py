"""Tiny random models on disk, and the one real model that the tests need."""

from __future__ import annotations

import itertools
import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.support.stand_in_hub import StandInHub, point_client_at
from tests.support.tiny_gguf import TinyModel, TinySpec, write_model
from tests.support.tiny_recurrent import RecurrentModel, RecurrentSpec, write_recurrent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# No test reaches the real hub, not even by mistake: huggingface_hub reads this when imported.
os.environ["HF_ENDPOINT"] = "http://127.0.0.1:9"

# Nor does any see the dials of whoever runs it.
os.environ["REWARDSHIFT_DIALS_DIR"] = os.devnull

# A shell starts background jobs with Ctrl-C ignored, and children inherit that: the tests of
# signals would wait for ever.
signal.signal(signal.SIGINT, signal.default_int_handler)


class Files:
    """Writes each tiny model once per session, whoever asks for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.models: dict[TinySpec, TinyModel] = {}
        self.recurrent_models: dict[RecurrentSpec, RecurrentModel] = {}

    def model(self, **spec: object) -> TinyModel:
        """The model of a spec, given as its keyword arguments."""
        wanted = TinySpec(**spec)  # type: ignore[arg-type]
        if wanted not in self.models:
            path = self.folder / f"{wanted.arch}-{len(self.models)}.gguf"
            self.models[wanted] = write_model(path, wanted)
        return self.models[wanted]

    def recurrent(self, arch: str, **spec: object) -> RecurrentModel:
        """The recurrent or hybrid model of a spec."""
        wanted = RecurrentSpec(arch=arch, **spec)  # type: ignore[arg-type]
        if wanted not in self.recurrent_models:
            path = self.folder / f"{arch}-{len(self.recurrent_models)}.gguf"
            self.recurrent_models[wanted] = write_recurrent(path, wanted)
        return self.recurrent_models[wanted]

    def recurrent_trio(
        self, arch: str, **spec: object
    ) -> tuple[RecurrentModel, RecurrentModel, RecurrentModel]:
        """As trio()."""
        return (
            self.recurrent(arch, **spec),
            self.recurrent(arch, **spec, noise=0.35, noise_seed=1),
            self.recurrent(arch, **spec, noise=0.35, noise_seed=2),
        )

    def trio(self, **spec: object) -> tuple[TinyModel, TinyModel, TinyModel]:
        """Target, draft and reference: alike enough for drafts to be accepted now and then."""
        return (
            self.model(**spec),
            self.model(**spec, noise=0.35, noise_seed=1),
            self.model(**spec, noise=0.35, noise_seed=2),
        )


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """A folder of tiny models, written on demand."""
    return Files(tmp_path_factory.mktemp("models"))


@pytest.fixture
def new_file(tmp_path: Path) -> Callable[[bytes], Path]:
    """Writes bytes to a new file."""
    numbers = itertools.count()

    def write(content: bytes) -> Path:
        path = tmp_path / f"{next(numbers)}.gguf"
        path.write_bytes(content)
        return path

    return write


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInHub]:
    """A hub that the client of this process takes for the real one."""
    from huggingface_hub import constants

    monkeypatch.setenv("REWARDSHIFT_CACHE_DIR", str(tmp_path / "rewardshift"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    # Once in a process the client asks for a list of its own.
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with StandInHub() as server:
        point_client_at(server.url, monkeypatch)
        yield server


@pytest.fixture(scope="session")
def smollm2() -> tuple[str, str]:
    """SmolLM2-135M-Instruct as distributed (Q4_1), and re-quantised to Q4_0."""
    from rewardshift import models

    return str(models.smollm2()), str(models.smollm2_q4_0())
