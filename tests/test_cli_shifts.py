"""Several shifts, bases and forms on the command line: what is printed tells them apart."""

from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from rewardshift.cli.app import app
from rewardshift.cli.shifting import shifts_of, strength_of
from rewardshift.shifts import Shift

from .support.tiny_gguf import CHATML_TEMPLATE, bpe_vocab, spm_vocab

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Files

VOCAB = spm_vocab(byte_tokens=True)


@pytest.fixture
def invoke(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., tuple[int, str, str]]:
    """Runs a command line: exit code, stdout, stderr."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> tuple[int, str, str]:
        result = CliRunner().invoke(app, [str(word) for word in words])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.stdout, result.stderr

    return run


@pytest.fixture
def target(files: Files) -> list[str]:
    path = files.model(vocab=VOCAB, chat_template=CHATML_TEMPLATE).path
    return ["-m", str(path), "-t", "1", "-c", "512"]


@pytest.fixture
def two(files: Files, target: list[str]) -> list[str]:
    """A target and two shifts with one reference."""
    _, draft, reference = files.trio(vocab=VOCAB, chat_template=CHATML_TEMPLATE)
    other = files.model(vocab=VOCAB, chat_template=CHATML_TEMPLATE, noise=0.35, noise_seed=3)
    named = [f"ours={draft.path}:{reference.path}", f"plain={other.path}:{reference.path}"]
    return [*target, *(word for pair in named for word in ("--shift", pair))]


# --- words ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "draft", "reference"),
    [
        ("a=d.gguf:r.gguf", "d.gguf", "r.gguf"),
        ("a=me/repo:d.gguf:me/repo:r.gguf", "me/repo:d.gguf", "me/repo:r.gguf"),
        ("a=me/repo@v1:d.GGUF:r.gguf", "me/repo@v1:d.GGUF", "r.gguf"),
        ("a=draft:reference", "draft", "reference"),
    ],
)
def test_a_pair_is_two_files_with_a_colon_between_them(
    word: str, draft: str, reference: str
) -> None:
    found = shifts_of([word])["a"]
    assert (str(found.draft), str(found.reference)) == (draft, reference)


def test_a_name_alone_is_a_shift_of_the_package() -> None:
    (shift,) = shifts_of(["positive"]).values()
    assert isinstance(shift, Shift)
    assert shift.lora is not None


@pytest.mark.parametrize(
    ("words", "strength"),
    [
        ([], None),
        (["1.5"], 1.5),
        (["-0.5"], -0.5),
        (["a=1.5", "b=-2"], {"a": 1.5, "b": -2.0}),
        (["x=y=3"], {"x=y": 3.0}),
    ],
)
def test_strengths_are_a_number_or_numbers_by_name(words: list[str], strength: object) -> None:
    assert strength_of(words) == strength


# --- what is printed -----------------------------------------------------------------------------


def test_json_tells_shifts_apart_by_name(
    invoke: Callable[..., tuple[int, str, str]], two: list[str]
) -> None:
    fixed = ("--json", "-s", "1", "-n", "8", "ab")
    code, out, err = invoke("generate", *two, *fixed)
    assert code == 0, err
    found = json.loads(out)
    assert all(token["shifts"].keys() == {"ours", "plain"} for token in found["tokens"])
    assert found["statistics"]["shifts"].keys() == {"ours", "plain"}
    assert found["statistics"]["seconds"]["readers"].keys() >= {"target", "ours shift"}
    one = json.loads(invoke("generate", *two, "--strength", "ours=2", *fixed)[1])
    assert one["statistics"]["shifts"].keys() == {"ours"}


def test_what_is_shown_names_the_shifts(
    invoke: Callable[..., tuple[int, str, str]], two: list[str]
) -> None:
    code, out, err = invoke("generate", *two, "--show", "-s", "1", "-n", "8", "ab")
    assert code == 0, err
    assert "reward of ours" in out
    assert "reward of plain" in out
    assert "drafts from" in out


def test_scores_have_a_column_for_each_shift(
    invoke: Callable[..., tuple[int, str, str]], two: list[str]
) -> None:
    code, out, err = invoke("score", *two, "ab", "cd")
    assert code == 0, err
    assert out.splitlines()[0].split() == ["token", "target", "goal", "ours", "plain"]
    found = json.loads(invoke("score", *two, "--json", "ab", "cd")[1])
    assert found["rewards"].keys() == {"ours", "plain"}
    for name, total in found["rewards"].items():
        assert sum(found["shifts"][name]) == pytest.approx(total)


def test_how_many_tokens_are_weighed_by_all_their_pieces_can_be_said(
    invoke: Callable[..., tuple[int, str, str]], target: list[str], files: Files
) -> None:
    letters = bpe_vocab(merges=("x y",))
    _, draft, reference = files.trio(vocab=letters, chat_template=CHATML_TEMPLATE)
    shift = f"ours={draft.path}:{reference.path}"

    def goal(refined: int) -> str:
        flags = ["--shift", shift, "--refined-tokens", str(refined), "--json"]
        code, out, err = invoke("score", *target, *flags, "ab", " cd ab", "--strength", "2")
        assert code == 0, err
        return str(json.loads(out)["goal_logprob"])

    assert goal(0) != goal(16) == goal(16)
    flags = ["--shift", shift, "--refined-tokens", "-1"]
    code, _, err = invoke("score", *target, *flags, "ab", " cd ab")
    assert code == 2
    assert "--refined-tokens must be between 0" in err


def test_a_base_drafts_and_shifts_nothing(
    invoke: Callable[..., tuple[int, str, str]], two: list[str], files: Files
) -> None:
    base = files.model(vocab=VOCAB, chat_template=CHATML_TEMPLATE, noise=0.35, noise_seed=2).path
    greedy = ("--temp", "0", "-K", "3", "--json", "-n", "12", "ab")
    plain, based = (
        json.loads(invoke("generate", *two, *more, *greedy)[1]) for more in ((), ("--base", base))
    )
    assert plain["text"] == based["text"]
    assert based["statistics"]["drafted"] > 0


def test_ways_to_draft_and_to_verify_leave_greedy_text_alone(
    invoke: Callable[..., tuple[int, str, str]], two: list[str]
) -> None:
    ways = ("", "--verification token", "--prompt-lookup -K 4", "--no-prompt-lookup")
    texts = {
        invoke("generate", *two, *shlex.split(way), "--temp", "0", "-n", "12", "abab ab")[1]
        for way in ways
    }
    assert len(texts) == 1


# --- forms ---------------------------------------------------------------------------------------


def test_forced_tokens_are_counted_in_the_legend(
    invoke: Callable[..., tuple[int, str, str]], target: list[str]
) -> None:
    code, out, err = invoke("generate", *target, "--show", "-s", "1", "--regex", "a{3}b{3}", "ab")
    assert code == 0, err
    assert out.startswith("aaabbb\n")
    assert "forced by the grammar" in out


def test_files_say_what_a_response_may_be(
    invoke: Callable[..., tuple[int, str, str]], target: list[str], tmp_path: Path
) -> None:
    (tmp_path / "s.json").write_text('\ufeff{"enum": ["a", "b"]}', encoding="utf-8")
    (tmp_path / "g.lark").write_text('start: "c" | "d"\n', encoding="utf-8")
    fixed = (*target, "-s", "1", "ab")
    assert invoke("generate", "--json-schema", "s.json", *fixed)[1] in ('"a"\n', '"b"\n')
    assert invoke("generate", "--grammar", "g.lark", *fixed)[1] in ("c\n", "d\n")
    assert invoke("generate", "--choice", "no", "--choice", "yes", *fixed)[1] in ("no\n", "yes\n")


@pytest.mark.parametrize(
    ("content", "flag", "said"),
    [
        ("{", "--json-schema", "is no JSON"),
        ('{"type": "nonsense"}', "--json-schema", "--json-schema: "),
        ("start: /(/", "--grammar", "--grammar: "),
        ("[" * 100_000, "--json-schema", "nested too deep"),
        ("3", "--json-schema", "must be a mapping"),
    ],
)
def test_a_file_that_says_nothing_of_sense_is_wrong_usage(
    invoke: Callable[..., tuple[int, str, str]],
    target: list[str],
    tmp_path: Path,
    content: str,
    flag: str,
    said: str,
) -> None:
    (tmp_path / "f").write_text(content, encoding="utf-8")
    code, out, err = invoke("generate", *target, flag, "f", "ab")
    assert (code, out) == (2, ""), err
    assert said in re.sub(r"\s+", " ", err)


def test_a_score_heeds_the_form(
    invoke: Callable[..., tuple[int, str, str]], target: list[str]
) -> None:
    found = json.loads(invoke("score", *target, "--regex", "a+", "--json", "ab", "aa")[1])
    assert found["goal_logprobs"][0] == pytest.approx(0.0, abs=1.0)
    code, _, err = invoke("score", *target, "--regex", "b", "ab", "ccc")
    assert code == 2
    assert "left its grammar" in err


# --- what ships, and what else has shifts by name ------------------------------------------------


def test_the_shifts_that_ship_are_listed_with_card_and_licence(
    invoke: Callable[..., tuple[int, str, str]],
) -> None:
    out = invoke("shifts")[1]
    assert "positive" in out
    assert "Apache-2.0" in out
    listed = json.loads(invoke("shifts", "--json")[1])["shifts"]
    assert {"positive", "concise"} <= {one["name"] for one in listed}
    for one in listed:
        assert one["licence"] == "Apache-2.0"
        assert 100_000 < one["bytes"] < 1_000_000
        assert invoke("shifts", one["name"])[1].startswith(f"# The dial {one['name']}\n")
    code, _, err = invoke("shifts", "negative")
    assert code == 2
    assert f"there are {', '.join(one['name'] for one in listed)}" in err


def test_check_pair_checks_each_shift_by_itself(
    invoke: Callable[..., tuple[int, str, str]], two: list[str]
) -> None:
    short = ("--num-prompts", "2", "-n", "6", "--strengths", "1")
    code, out, err = invoke("check-pair", *two, *short, "--json")
    assert code == 0, err
    found = json.loads(out)["shifts"]
    assert found.keys() == {"ours", "plain"}
    assert found["plain"]["report"]["shift"] == "plain"
    assert "the shift 'plain'" in found["plain"]["verdict"]["sentences"][0].lower()
    one = [word for word in two if not word.startswith("plain=")]
    del one[-1]
    shown = invoke("check-pair", *one, *short)[1]
    assert "ours: accepted drafts" in shown


def test_the_evaluation_takes_strengths_by_name(
    invoke: Callable[..., tuple[int, str, str]], two: list[str]
) -> None:
    methods = "target sss:strength=ours=1+plain=-0.5 three-model:strength=none"
    short = ("--num-prompts", "2", "--seeds", "1", "-n", "4", "--methods", methods, "--json")
    code, out, err = invoke("eval", *two, *short)
    assert code == 0, err
    rows = {row["method"]: row for row in json.loads(out)["rows"]}
    shifted = rows["sss:strength=ours=1+plain=-0.5"]
    assert shifted["name"] == "sss exact s=ours 1, plain -0.5 K=3"
    assert shifted["calls"].keys() >= {"target", "ours shift", "plain shift", "reference"}
    assert rows["target"]["calls"]["ours shift"] == 0


def test_the_bench_measures_the_memory_of_shifts(
    invoke: Callable[..., tuple[int, str, str]], two: list[str]
) -> None:
    code, out, err = invoke("bench", *two, "--only", "memory", "--repeat", "1", "-n", "2", "--json")
    assert code == 0, err
    assert json.loads(out)["sections"]["memory"]["files"] > 0
