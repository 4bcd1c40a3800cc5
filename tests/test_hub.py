"""Models by their names on the hub: from a stand-in on this machine, by the real client."""

from __future__ import annotations

import builtins
import hashlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path, PureWindowsPath
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from gguf import GGUFReader, GGUFWriter

import rewardshift
from rewardshift import Decoder, ModelLoadError
from rewardshift.sources import hub
from rewardshift.sources.hub import HubFile, local_path, parse
from tests.support.stand_in_hub import StandInHub
from tests.support.tiny_gguf import spm_vocab, write_lora

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Files

REPO = "someone/tiny-GGUF"
LOAD: dict[str, Any] = {"n_ctx": 64, "n_threads": 1}


@pytest.fixture
def content(files: Files) -> bytes:
    return files.model(vocab=spm_vocab(byte_tokens=True)).path.read_bytes()


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandInHub]:
    """A hub that the client of this process takes for the real one."""
    from huggingface_hub import constants

    monkeypatch.setenv("REWARDSHIFT_CACHE_DIR", str(tmp_path / "rewardshift"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with StandInHub() as server:
        template = f"{server.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield server


# --- names --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a/b:c.gguf", HubFile("a/b", "c.gguf")),
        ("a/b:d/c.gguf", HubFile("a/b", "d/c.gguf")),
        ("a/b@v1.0:c.gguf", HubFile("a/b", "c.gguf", "v1.0")),
        ("a/b@refs/pr/1:c.gguf", HubFile("a/b", "c.gguf", "refs/pr/1")),
        ("some-one/Tiny-3.2-1B_GGUF", HubFile("some-one/Tiny-3.2-1B_GGUF")),
        ("a/b@main", HubFile("a/b", "", "main")),
        (Path("a/b:c.gguf"), HubFile("a/b", "c.gguf")),
        ("models/big.gguf", None),
        ("big.gguf", None),
        ("C:\\models\\big.gguf", None),
        ("C:/models/big.gguf", None),
        (PureWindowsPath("C:/models/big.gguf"), None),
        ("/models/a/b:c.gguf", None),
        ("./b:c.gguf", None),
        ("../b:c.gguf", None),
        ("a/b/c:d.gguf", None),
        ("~/b:c.gguf", None),
    ],
)
def test_names_on_the_hub_are_told_from_paths(name: Any, expected: HubFile | None) -> None:
    assert parse(name) == expected
    if expected is not None and isinstance(name, str):
        assert str(expected) == name


def test_what_exists_here_wins(
    stand_in: StandInHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    here = tmp_path / "someone" / "tiny:x.gguf"
    here.parent.mkdir()
    here.write_bytes(b"here")
    assert local_path("someone/tiny:x.gguf") == Path("someone/tiny:x.gguf")
    assert local_path("gone.gguf") == Path("gone.gguf")
    assert stand_in.requests == []


# --- fetching -----------------------------------------------------------------------------------


def test_a_decoder_loads_from_the_hub(stand_in: StandInHub, files: Files, content: bytes) -> None:
    stand_in.add(REPO, tiny=content)
    model = files.model(vocab=spm_vocab(byte_tokens=True))
    lora = write_lora(model.path.with_name("adapter.gguf"), model)
    stand_in.add("someone/lora", adapter=lora.path.read_bytes())
    name = f"{REPO}:tiny.gguf"
    options: dict[str, Any] = {"max_tokens": 8, "seed": 1}
    with Decoder(name, reference=name, draft_lora="someone/lora:adapter.gguf", **LOAD) as decoder:
        fetched = decoder.generate("ab", **options)
    with Decoder(model.path, reference=model.path, draft_lora=lora.path, **LOAD) as decoder:
        assert decoder.generate("ab", **options).tokens == fetched.tokens
    assert stand_in.ranges("tiny.gguf") == [None], "it was fetched once, for both roles"


def test_a_file_is_fetched_once_and_then_needs_no_network(
    stand_in: StandInHub, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    stand_in.add(REPO, tiny=content)
    path = local_path(f"{REPO}:tiny.gguf")
    assert path.read_bytes() == content
    assert local_path(f"{REPO}:tiny.gguf") == path
    assert stand_in.ranges("tiny.gguf") == [None]
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    before = len(stand_in.requests)
    assert local_path(f"{REPO}:tiny.gguf") == path
    assert len(stand_in.requests) == before
    with pytest.raises(ModelLoadError, match=r"other\.gguf: not in the cache.*HF_HUB_OFFLINE"):
        local_path(f"{REPO}:other.gguf")


def test_an_interrupted_transfer_goes_on_where_it_broke(
    stand_in: StandInHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1 << 14)  # what it loses at most
    content = os.urandom(300_000)
    stand_in.add(REPO, tiny=content)
    stand_in.cut_after = [100_000]
    assert local_path(f"{REPO}:tiny.gguf").read_bytes() == content
    first, second = stand_in.ranges("tiny.gguf")
    assert first is None
    assert second is not None
    assert 0 < int(second.removeprefix("bytes=").removesuffix("-")) <= 100_000


def test_a_revision_is_pinned(stand_in: StandInHub) -> None:
    old = stand_in.add(REPO, tiny=b"old")
    stand_in.add(REPO, branch="other", tiny=b"other")
    stand_in.add(REPO, tiny=b"new")
    assert local_path(f"{REPO}:tiny.gguf").read_bytes() == b"new"
    assert local_path(f"{REPO}@{old}:tiny.gguf").read_bytes() == b"old"
    assert local_path(f"{REPO}@other:tiny.gguf").read_bytes() == b"other"


def test_a_split_model_is_fetched_whole(stand_in: StandInHub, files: Files, tmp_path: Path) -> None:
    source = files.model(vocab=spm_vocab(byte_tokens=True)).path
    parts = split_in_two(source, tmp_path)
    stand_in.add(REPO, **{part.stem: part.read_bytes() for part in parts})
    with Decoder(f"{REPO}:{parts[0].name}", **LOAD) as decoder:
        tokens = decoder.generate("ab", max_tokens=8, seed=1).tokens
    with Decoder(source, **LOAD) as decoder:
        assert decoder.generate("ab", max_tokens=8, seed=1).tokens == tokens
    first, second = (local_path(f"{REPO}:{part.name}") for part in parts)
    assert first == second, "the first part stands for all"


def split_in_two(source: Path, folder: Path) -> list[Path]:
    """The model in two files, as llama.cpp's gguf-split writes them."""
    reader = GGUFReader(source)
    paths = [folder / f"tiny-{number:05}-of-00002.gguf" for number in (1, 2)]
    half = len(reader.tensors) // 2
    for number, (path, tensors) in enumerate(
        zip(paths, (reader.tensors[:half], reader.tensors[half:]), strict=True)
    ):
        writer = GGUFWriter(path, "llama")
        if number == 0:
            for name, part in reader.fields.items():
                if not name.startswith("GGUF.") and name != "general.architecture":
                    sub_type = part.types[1] if len(part.types) > 1 else None
                    writer.add_key_value(name, part.contents(), part.types[0], sub_type)
        writer.add_uint16("split.no", number)
        writer.add_uint16("split.count", 2)
        writer.add_int32("split.tensors.count", len(reader.tensors))
        for tensor in tensors:
            writer.add_tensor(tensor.name, tensor.data)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    return paths


# --- checksums ----------------------------------------------------------------------------------


def test_a_download_with_another_sum_is_refused_and_not_kept(stand_in: StandInHub) -> None:
    stand_in.add(REPO, tiny=b"as sent")
    right = hashlib.sha256(b"as published").hexdigest()
    stand_in.published["tiny.gguf"] = right
    sent = hashlib.sha256(b"as sent").hexdigest()
    with pytest.raises(ModelLoadError, match=f"should be {right} and is {sent}.*try again"):
        local_path(f"{REPO}:tiny.gguf")
    stand_in.add(REPO, tiny=b"as published")
    assert local_path(f"{REPO}:tiny.gguf").read_bytes() == b"as published"


@pytest.mark.parametrize("links", [True, False])
def test_a_file_damaged_in_the_cache_is_noticed_and_fetched_again(
    stand_in: StandInHub, monkeypatch: pytest.MonkeyPatch, *, links: bool
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_SYMLINKS", not links)
    stand_in.add(REPO, tiny=b"what was published")
    path = local_path(f"{REPO}:tiny.gguf")
    assert path.is_symlink() == links
    path.write_bytes(b"what a bad disk made of it")
    with pytest.raises(ModelLoadError, match=r"sha256 should be .*; try again"):
        local_path(f"{REPO}:tiny.gguf")
    assert local_path(f"{REPO}:tiny.gguf").read_bytes() == b"what was published"


def test_a_file_is_read_for_its_sum_only_once(
    stand_in: StandInHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in.add(REPO, tiny=b"content")
    sums: list[Path] = []
    compute = hub._sha256
    monkeypatch.setattr(hub, "_sha256", lambda path, bars: sums.append(path) or compute(path, bars))
    for _ in range(2):
        local_path(f"{REPO}:tiny.gguf")
    assert len(sums) == 1


# --- mistakes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("someone/gone:tiny.gguf", "no repository someone/gone: check the name.*HF_TOKEN"),
        ("someone/gone", "no such file here.*no repository someone/gone"),
        (f"{REPO}@v9:tiny.gguf", "no branch, tag or commit 'v9'"),
        (f"{REPO}:gone.gguf", r"no such file there: .* has other\.gguf, tiny\.gguf"),
        (REPO, r"names no file: .* has other\.gguf, tiny\.gguf"),
        (f"{REPO}:", r"names no file: .* has other\.gguf, tiny\.gguf"),
        (f"{REPO}:*Q4*.gguf", r"names no file: .* has other\.gguf, tiny\.gguf"),
        (f"{REPO}@v9", "no branch, tag or commit 'v9'"),
        ("someone/gated:tiny.gguf", r"gated: accept its terms at http.*/someone/gated.*HF_TOKEN"),
        ("someone/empty", "has no GGUF files"),
        (f"{REPO}:../../tiny.gguf", "cannot be fetched|no such file there"),
    ],
)
def test_mistakes_are_explained(stand_in: StandInHub, name: str, message: str) -> None:
    stand_in.add(REPO, tiny=b"tiny", other=b"other")
    stand_in.add("someone/gated", tiny=b"tiny")
    stand_in.add("someone/empty")
    stand_in.gated.add("someone/gated")
    with pytest.raises(ModelLoadError, match=message):
        local_path(name)


def test_a_token_opens_a_gated_repository(
    stand_in: StandInHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in.add(REPO, tiny=b"tiny")
    stand_in.gated.add(REPO)
    monkeypatch.setenv("HF_TOKEN", "hf_of_mine")
    assert local_path(f"{REPO}:tiny.gguf").read_bytes() == b"tiny"


def test_a_hub_out_of_reach_is_explained(
    stand_in: StandInHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub.utils import _http

    monkeypatch.setattr(_http, "time", SimpleNamespace(sleep=lambda _: None))  # between its tries
    stand_in.__exit__()
    with pytest.raises(ModelLoadError, match="not in the cache, and the hub cannot be reached"):
        local_path(f"{REPO}:tiny.gguf")
    stand_in.__enter__()


def test_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def lacking(name: str, *rest: Any) -> Any:
        if name.startswith("huggingface_hub"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", lacking)
    with pytest.raises(ModelLoadError, match=r"pip install 'rewardshift\[hub\]'"):
        local_path("a/b:c.gguf")


# --- what users see -----------------------------------------------------------------------------


def test_the_command_line_takes_names_and_the_environment_of_the_hub(
    stand_in: StandInHub, content: bytes, tmp_path: Path
) -> None:
    commit = stand_in.add(REPO, tiny=content)
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(rewardshift.__file__).parents[1]),
        "HF_ENDPOINT": stand_in.url,
        "HF_HOME": str(tmp_path / "home"),
    }
    command = [sys.executable, "-m", "rewardshift.cli", "inspect", "--json"]
    for offline in ("0", "1"):
        done = subprocess.run(
            [*command, f"{REPO}@{commit}:tiny.gguf"],
            env={**environment, "HF_HUB_OFFLINE": offline},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        (file,) = json.loads(done.stdout)["files"]
        assert file["path"] == f"{REPO}@{commit}:tiny.gguf"
        assert file["architecture"] == "llama"
    assert stand_in.ranges("tiny.gguf") == [None]


def test_progress_shows_what_is_fetched_and_checked(
    stand_in: StandInHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in.add(REPO, tiny=os.urandom(100_000))
    screen, silence = io.StringIO(), io.StringIO()
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(sys, "stderr", screen)
    local_path(f"{REPO}:tiny.gguf", progress=True)
    assert "fetching tiny.gguf" in screen.getvalue()
    assert "checking tiny.gguf" in screen.getvalue()
    stand_in.add(REPO, tiny=b"another")
    monkeypatch.setattr(sys, "stderr", silence)
    local_path(f"{REPO}:tiny.gguf")
    assert silence.getvalue() == ""
