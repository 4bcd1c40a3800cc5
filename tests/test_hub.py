"""Models by their names on the hub: from a stand-in on this machine, by the real client."""

from __future__ import annotations

import builtins
import hashlib
import io
import json
import os
import socket
import subprocess
import sys
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Any

import pytest
from gguf import GGUFReader, GGUFWriter

import rewardshift
from rewardshift import Decoder, ModelLoadError
from rewardshift.sources import hub
from rewardshift.sources.hub import HubFile, local_path, named_file, parse
from tests.support.stand_in_hub import Silence, StandInHub, point_client_at
from tests.support.tiny_gguf import spm_vocab, write_lora

if TYPE_CHECKING:
    from tests.conftest import Files

REPO = "someone/tiny-GGUF"
LOAD: dict[str, Any] = {"n_ctx": 64, "n_threads": 1}


@pytest.fixture
def content(files: Files) -> bytes:
    return files.model(vocab=spm_vocab(byte_tokens=True)).path.read_bytes()


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


PAGE = "https://huggingface.co/some-one/tiny"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (f"{PAGE}/resolve/main/c.gguf", "some-one/tiny:c.gguf"),
        (f"{PAGE}/resolve/main/c.gguf?download=true", "some-one/tiny:c.gguf"),
        (f"{PAGE}/blob/main/Q4/c.gguf#details", "some-one/tiny:Q4/c.gguf"),
        (f"{PAGE}/blob/v1.0/c.gguf", "some-one/tiny@v1.0:c.gguf"),
        (f"{PAGE}/raw/refs%2Fpr%2F1/c.gguf", "some-one/tiny@refs/pr/1:c.gguf"),
        (f"{PAGE}/blob/refs/pr/1/c%20d.gguf", "some-one/tiny@refs/pr/1:c d.gguf"),
        (f"{PAGE}", "some-one/tiny"),
        (f"{PAGE}/", "some-one/tiny"),
        (f"{PAGE}/tree/v2", "some-one/tiny@v2"),
        (Path(f"{PAGE}/blob/v1/c.gguf"), "some-one/tiny@v1:c.gguf"),  # a slash was lost
        ("HTTPS://hf.co/some-one/tiny/resolve/main/c.gguf", "some-one/tiny:c.gguf"),
        ("{hub}/some-one/tiny/resolve/v1/c.gguf", "some-one/tiny@v1:c.gguf"),
        ("hf://some-one/tiny/Q4/c.gguf", "some-one/tiny:Q4/c.gguf"),
        ("hf://some-one/tiny@v1/c.gguf", "some-one/tiny@v1:c.gguf"),
    ],
)
def test_the_address_of_a_page_is_a_name_on_the_hub(
    stand_in: StandInHub, address: Any, expected: str
) -> None:
    if isinstance(address, str):
        address = address.format(hub=stand_in.url)
    assert str(parse(address)) == expected
    assert named_file(address) == Path(expected)
    assert stand_in.requests == []


@pytest.mark.parametrize(
    "address",
    [
        "https://example.com/some-one/tiny/resolve/main/c.gguf",
        "http://localhost:9/c.gguf",
        "https://huggingface.co/datasets/some-one/tiny/resolve/main/c.gguf",
        "https://huggingface.co/some-one",
        "ftp://huggingface.co/some-one/tiny/resolve/main/c.gguf",
        "file:///models/c.gguf",
        "hf://some-one",
    ],
)
def test_another_address_is_refused_with_all_its_slashes(
    stand_in: StandInHub, address: str
) -> None:
    with pytest.raises(ModelLoadError) as refused:
        local_path(address)
    assert str(refused.value).startswith(f"{address} is not the address of a model on the hub")
    assert f"({stand_in.url})" in str(refused.value)
    assert "owner/repo:file.gguf" in str(refused.value)
    assert stand_in.requests == []


def test_a_mirror_may_lie_in_a_folder(
    stand_in: StandInHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", f"{stand_in.url}/mirror/hf")
    address = f"{stand_in.url}/mirror/hf/some-one/tiny/resolve/main/c.gguf"
    assert str(parse(address)) == "some-one/tiny:c.gguf"


def test_an_address_needs_no_client_to_be_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.example/")
    assert str(parse("https://hub.example/a/b/blob/main/c.gguf")) == "a/b:c.gguf"
    with pytest.raises(ModelLoadError, match=r"a/b:c\.gguf: no such file; to fetch it"):
        local_path("https://hub.example/a/b/blob/main/c.gguf")


def test_a_file_is_fetched_by_the_address_of_its_page(stand_in: StandInHub) -> None:
    stand_in.add(REPO, tiny=b"main")
    stand_in.add(REPO, branch="other", tiny=b"other")
    assert local_path(f"{stand_in.url}/{REPO}/blob/main/tiny.gguf").read_bytes() == b"main"
    assert local_path(f"{stand_in.url}/{REPO}/blob/other/tiny.gguf").read_bytes() == b"other"


def test_a_tilde_is_the_home_folder(
    stand_in: StandInHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "tiny.gguf").write_bytes(b"tiny")
    assert local_path("~/tiny.gguf") == tmp_path / "tiny.gguf"
    assert local_path("~/gone.gguf") == tmp_path / "gone.gguf"
    assert local_path("~nobody-of-that-name/tiny.gguf") == Path("~nobody-of-that-name/tiny.gguf")
    assert stand_in.requests == []


def test_an_empty_name_is_no_folder() -> None:
    with pytest.raises(ValueError, match="the file name is empty"):
        local_path("")
    with pytest.raises(ValueError, match="the file name is empty"):
        Decoder("")


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


@pytest.mark.parametrize("name", [f"{REPO}:tiny.gguf", REPO, f"{REPO}@v1:*Q4*"])
@pytest.mark.parametrize("hangs_up", [True, False])
def test_a_hub_out_of_reach_is_asked_once(
    stand_in: StandInHub,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    name: str,
    *,
    hangs_up: bool,
) -> None:
    line = Silence(hangs_up=hangs_up)
    monkeypatch.setattr(hub, "_PATIENCE", 0.5)
    point_client_at(line.url, monkeypatch)
    with pytest.raises(ModelLoadError, match="not in the cache, and the hub cannot be reached"):
        local_path(name)
    line.close()
    assert line.calls == 1
    assert caplog.records == []
    assert stand_in.requests == []


def test_a_hub_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]  # nobody's, once this is closed
    done = subprocess.run(
        [sys.executable, "-m", "rewardshift.cli", "inspect", f"{REPO}:tiny.gguf"],
        env={
            **os.environ,
            "PYTHONPATH": str(Path(rewardshift.__file__).parents[1]),
            "HF_ENDPOINT": f"http://127.0.0.1:{port}",
            "HF_HOME": str(tmp_path / "home"),
            "HF_HUB_OFFLINE": "0",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"rewardshift: {REPO}:tiny.gguf: not in the cache, and the hub cannot")


def test_a_hub_out_of_order_is_asked_once_and_nothing_but_our_error_is_said(
    stand_in: StandInHub, caplog: pytest.LogCaptureFixture
) -> None:
    stand_in.status = 503
    for name in (f"{REPO}:tiny.gguf", REPO):
        stand_in.requests.clear()
        with pytest.raises(ModelLoadError, match=r"cannot be fetched: .*503"):
            local_path(name)
        assert len(stand_in.requests) == 1
    assert caplog.records == []


def test_what_is_in_the_cache_needs_no_hub(
    stand_in: StandInHub, caplog: pytest.LogCaptureFixture
) -> None:
    stand_in.add(REPO, tiny=b"tiny")
    path = local_path(f"{REPO}:tiny.gguf")
    stand_in.status = 503
    assert local_path(f"{REPO}:tiny.gguf") == path
    stand_in.__exit__()
    assert local_path(f"{REPO}:tiny.gguf") == path
    stand_in.__enter__()
    assert caplog.records == []


def test_a_log_that_was_asked_for_is_not_kept_back(
    stand_in: StandInHub, caplog: pytest.LogCaptureFixture
) -> None:
    from huggingface_hub.utils import logging as chatter

    stand_in.add(REPO, tiny=b"tiny")
    before = chatter.get_verbosity()
    chatter.set_verbosity_debug()
    try:
        local_path(f"{REPO}:tiny.gguf")
        assert chatter.get_verbosity() == chatter.DEBUG
    finally:
        chatter.set_verbosity(before)
    assert any("Request" in record.message for record in caplog.records)
    caplog.clear()
    stand_in.add(REPO, branch="other", tiny=b"other")
    local_path(f"{REPO}@other:tiny.gguf")
    assert caplog.records == []


def test_a_hub_without_lists_still_says_that_there_is_no_such_file(
    stand_in: StandInHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_list(_: HubFile) -> str:
        raise ModelLoadError("no lists")

    stand_in.add(REPO, tiny=b"tiny")
    monkeypatch.setattr(hub, "_choices", no_list)
    with pytest.raises(ModelLoadError, match=r"gone\.gguf: no such file there$"):
        local_path(f"{REPO}:gone.gguf")


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
