"""Files that users bring, from whatever system and program."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rewardshift.files.json_lines import json_rows
from rewardshift.files.paths import given_path, require_folder
from rewardshift.prompt_files import read_preferences, read_prompts

MARK = b"\xef\xbb\xbf"


@pytest.mark.parametrize("mark", [b"", MARK])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_byte_order_mark_and_windows_line_ends_are_no_text(
    tmp_path: Path, mark: bytes, end: bytes
) -> None:
    text = tmp_path / "prompts.txt"
    text.write_bytes(mark + end.join((b"caf\xc3\xa9", b"", b"b", b"")))
    assert read_prompts(text) == ["café", "b"]
    lines = tmp_path / "prompts.JSONL"
    rows = (b'{"prompt": "caf\xc3\xa9"}', b"", b'{"prompt": "b"}')
    lines.write_bytes(mark + end.join(rows))
    assert read_prompts(lines) == ["café", "b"]
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_bytes(mark + b'{"prompt": "a", "chosen": "b", "rejected": "c"}' + end)
    assert [pair.chosen for pair in read_preferences(pairs)] == ["b"]


def test_only_line_feeds_end_lines(tmp_path: Path) -> None:
    """JSON's strings may hold other separators as they are."""
    path = tmp_path / "rows.jsonl"
    odd = "a\u2028b\u0085c"
    path.write_text(json.dumps({"prompt": odd}, ensure_ascii=False) + "\n", encoding="utf-8")
    assert read_prompts(path) == [odd]
    assert [where for where, _ in json_rows(path)] == [f"{path}:1"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a\n".encode("utf-16"), "is UTF-16: save it as UTF-8"),
        (b"caf\xe9\n", r"is not UTF-8 \(.* at byte 3\): save it as UTF-8"),
    ],
)
def test_what_is_not_utf_8_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    for name in ("prompts.txt", "prompts.jsonl"):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"{name} {message}"):
            read_prompts(path)


def test_paths_are_read_as_shells_read_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "prompts.txt").write_text("a\n")
    assert read_prompts(Path("~/prompts.txt")) == ["a"]
    assert given_path("~/x") == tmp_path / "x"
    assert given_path("./~/x") == Path("~/x")
    assert given_path("~nobody-of-that-name/x") == Path("~nobody-of-that-name/x")
    with pytest.raises(ValueError, match="the file name is empty"):
        given_path("")


def test_a_folder_to_write_to_is_asked_for_before_the_work(tmp_path: Path) -> None:
    require_folder(tmp_path / "x.gguf")
    require_folder(Path("x.gguf"))
    with pytest.raises(FileNotFoundError, match=r"no folder .*gone to write x\.gguf to"):
        require_folder(tmp_path / "gone" / "x.gguf")
