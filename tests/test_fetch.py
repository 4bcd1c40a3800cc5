"""llama.cpp is fetched once, checked and shared: real pip, a tiny archive, no network."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest

FETCH = Path(__file__).parents[1] / "third_party" / "llama.cpp" / "fetch.py"
ROOT = "llama_cpp_python-1.0"
METADATA = "Metadata-Version: 2.1\nName: llama-cpp-python\nVersion: 1.0\n"
BACKEND = f"""
from pathlib import Path

def prepare_metadata_for_build_wheel(folder, config_settings=None):
    info = Path(folder) / "llama_cpp_python-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text({METADATA!r})
    return info.name

def build_wheel(folder, config_settings=None, metadata_directory=None):
    raise NotImplementedError("only the sources are wanted")
"""
FILES = {
    f"{ROOT}/PKG-INFO": METADATA,
    f"{ROOT}/pyproject.toml": (
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    ),
    f"{ROOT}/backend.py": BACKEND,
    f"{ROOT}/vendor/llama.cpp/.git": "gitdir: elsewhere\n",
    f"{ROOT}/vendor/llama.cpp/CMakeLists.txt": "# tiny\n",
    f"{ROOT}/vendor/llama.cpp/include/llama.h": "// tiny\n",
    f"{ROOT}/vendor/llama.cpp/models/large.gguf": "unused",
    f"{ROOT}/vendor/llama.cpp/src/models/llama.cpp": "// needed\n",
}


def write_archive(path: Path, files: dict[str, str]) -> str:
    """Write a source distribution and return its sha256."""
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return hashlib.sha256(path.read_bytes()).hexdigest()


@dataclass
class Fetcher:
    """Runs fetch.py against a folder of archives instead of an index."""

    folder: Path
    archive: Path
    sha256: str

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    def start(self, **environment: str) -> subprocess.Popen[str]:
        pin = self.folder / "pin.json"
        fields = {"distribution": "llama-cpp-python", "version": "1.0", "llama_cpp_commit": "abc"}
        pin.write_text(json.dumps({**fields, "sha256": self.sha256}))
        settings = {
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.archive.parent),
            "PIP_NO_CACHE_DIR": "1",
            "REWARDSHIFT_CACHE_DIR": str(self.cache),
        }
        return subprocess.Popen(
            [sys.executable, str(FETCH), "--pin", str(pin)],
            env={**os.environ, **settings, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, **environment: str) -> tuple[int, str, str]:
        process = self.start(**environment)
        output, errors = process.communicate(timeout=120)
        return process.returncode, output, errors

    def cached(self) -> list[str]:
        return sorted(path.name for path in self.cache.iterdir())


@pytest.fixture
def fetcher(tmp_path: Path) -> Fetcher:
    archive = tmp_path / "index" / f"{ROOT}.tar.gz"
    archive.parent.mkdir()
    return Fetcher(tmp_path, archive, write_archive(archive, FILES))


def tree_of(output: str) -> Path:
    return Path(output.splitlines()[-1])


def test_the_last_line_is_the_tree_without_the_parts_never_compiled(fetcher: Fetcher) -> None:
    status, output, errors = fetcher.run()
    assert status == 0, errors
    tree = tree_of(output)
    files = {str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file()}
    assert files == {"CMakeLists.txt", "include/llama.h", "src/models/llama.cpp"}
    assert fetcher.cached() == [tree.name], "scratch folders are gone"


def test_a_filled_cache_needs_neither_network_nor_pip(fetcher: Fetcher) -> None:
    _, first, _ = fetcher.run()
    fetcher.archive.unlink()
    broken_pip = fetcher.folder / "broken" / "pip"
    broken_pip.mkdir(parents=True)
    (broken_pip / "__init__.py").write_text("raise SystemExit('pip was called')")
    status, second, errors = fetcher.run(PYTHONPATH=str(broken_pip.parent))
    assert (status, errors) == (0, "")
    assert tree_of(second) == tree_of(first)


def test_a_wrong_hash_says_what_was_expected_what_came_and_what_to_do(fetcher: Fetcher) -> None:
    actual, fetcher.sha256 = fetcher.sha256, "0" * 64
    status, output, errors = fetcher.run()
    assert (status, output) == (1, "")
    for part in ("wrong sha256", "0" * 64, actual, "pip cache purge", "REWARDSHIFT_LLAMA_CPP_DIR"):
        assert part in errors
    assert fetcher.cached() == []


def test_a_hash_that_pip_let_through_is_caught(fetcher: Fetcher) -> None:
    careless_pip = fetcher.folder / "careless" / "pip"
    careless_pip.mkdir(parents=True)
    (careless_pip / "__init__.py").touch()
    (careless_pip / "__main__.py").write_text(
        "import pathlib, sys\n"
        "folder = pathlib.Path(sys.argv[sys.argv.index('--dest') + 1])\n"
        "folder.mkdir()\n"
        "(folder / 'other.tar.gz').write_bytes(b'altered')\n"
    )
    status, output, errors = fetcher.run(PYTHONPATH=str(careless_pip.parent))
    assert (status, output) == (1, "")
    assert hashlib.sha256(b"altered").hexdigest() in errors
    assert fetcher.cached() == []


def test_a_failed_download_names_the_way_out(fetcher: Fetcher) -> None:
    fetcher.archive.unlink()
    status, output, errors = fetcher.run()
    assert (status, output) == (1, "")
    assert "REWARDSHIFT_LLAMA_CPP_DIR" in errors
    assert "No matching distribution" in errors, "pip's own words are passed on"


def test_processes_that_start_together_share_one_whole_tree(fetcher: Fetcher) -> None:
    processes = [fetcher.start() for _ in range(2)]
    outcomes = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outcomes
    (tree,) = {tree_of(output) for output, _ in outcomes}
    assert (tree / "src" / "models" / "llama.cpp").read_text() == "// needed\n"
    assert fetcher.cached() == [tree.name]


def test_an_interrupted_unpacking_is_never_taken_for_a_tree(fetcher: Fetcher) -> None:
    _, output, _ = fetcher.run()
    tree = tree_of(output)
    (tree / "CMakeLists.txt").unlink()
    status, _, errors = fetcher.run()
    assert status == 1
    assert str(fetcher.cache) in errors


def test_a_path_that_leaves_the_tree_is_refused(fetcher: Fetcher) -> None:
    files = {**FILES, f"{ROOT}/vendor/llama.cpp/../../../outside": "x"}
    fetcher.sha256 = write_archive(fetcher.archive, files)
    status, _, _ = fetcher.run()
    assert status == 1
    assert fetcher.cached() == []
    assert not list(fetcher.folder.rglob("outside"))


def test_a_cache_that_cannot_be_written_says_so(fetcher: Fetcher) -> None:
    fetcher.cache.write_text("a file where the folder should be")
    status, _, errors = fetcher.run()
    assert status == 1
    assert "REWARDSHIFT_CACHE_DIR" in errors
