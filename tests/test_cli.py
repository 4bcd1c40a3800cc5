"""The command line: what each command prints, where, and how it ends."""

from __future__ import annotations

import io
import json
import math
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

import rewardshift
from rewardshift import Decoder, NgramTable
from rewardshift.cli import doctor, render
from rewardshift.cli.app import app
from rewardshift.cli.file_types import file_type
from rewardshift.cli.origins import OriginTracker, pieces
from rewardshift.results import TokenInfo
from tests.support.heads import BaseHead, Head
from tests.support.mutate_gguf import GgufFile
from tests.support.precision import DOUBLE
from tests.support.tiny_encoder import EncoderSpec, write_encoder
from tests.support.tiny_gguf import (
    CHATML_TEMPLATE,
    TinySpec,
    bpe_vocab,
    spm_vocab,
    write_lora,
    write_model,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.conftest import Files

VOCAB = spm_vocab(byte_tokens=True)
SMALL = ("-c", "256", "-t", "1")
SECONDS = 120
"""More than any step of these tests takes; a hang ends there."""


@dataclass(frozen=True)
class Trio:
    """Files of three roles, and the flags that name them."""

    target: Path
    draft: Path
    reference: Path

    @property
    def load_flags(self) -> tuple[str, ...]:
        return (
            *("-m", str(self.target), "-md", str(self.draft), "--reference", str(self.reference)),
            *SMALL,
        )

    @property
    def flags(self) -> tuple[str, ...]:
        return (*self.load_flags, "-s", "1")


@pytest.fixture
def trio(files: Files) -> Trio:
    models = files.trio(vocab=VOCAB, chat_template=CHATML_TEMPLATE)
    return Trio(*(model.path for model in models))


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def run() -> Callable[..., Outcome]:
    """Runs a command in this process."""

    def invoke(*arguments: object, stdin: str | bytes | None = None) -> Outcome:
        result = CliRunner().invoke(app, [str(a) for a in arguments], input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Outcome(result.exit_code, result.stdout, result.stderr)

    return invoke


def command_line(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "rewardshift.cli", *map(str, arguments)]


def environment(**variables: str) -> dict[str, str]:
    package = str(Path(rewardshift.__file__).parents[1])
    return {**os.environ, "PYTHONPATH": package, "PYTHONUNBUFFERED": "1", **variables}


def run_process(*arguments: object, stdin: str = "", **variables: str) -> Outcome:
    """Runs a command as a user does."""
    process = subprocess.run(
        command_line(*arguments),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        env=environment(**variables),
    )
    return Outcome(process.returncode, process.stdout, process.stderr)


# --- the program ------------------------------------------------------------------------------


def test_help_and_version(run: Callable[..., Outcome]) -> None:
    assert run("--version").out == f"rewardshift {rewardshift.__version__}\n"
    shown = run("--help").out
    for command in ("generate", "chat", "score", "inspect", "doctor"):
        assert command in shown
        assert run(command, "--help").code == 0


def test_help_shows_the_cores_defaults(run: Callable[..., Outcome]) -> None:
    defaults = rewardshift._core.RequestParams()
    shown = " ".join(re.sub(r"[│\s]+", " ", run("generate", "--help").out).split())
    assert f"(default {defaults.temperature})" in shown
    assert f"(default {defaults.max_tokens})" in shown


def test_importing_the_package_imports_no_command_line() -> None:
    code = "import sys, rewardshift; print(*[m for m in ('rich', 'typer') if m in sys.modules])"
    process = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
        env=environment(),
    )
    assert process.stdout.strip() == ""


@pytest.mark.parametrize("command", ["generate", "score", "inspect"])
def test_a_missing_option_is_wrong_usage(run: Callable[..., Outcome], command: str) -> None:
    outcome = run(command)
    assert (outcome.code, outcome.out) == (2, "")


@pytest.mark.parametrize("command", ["generate", "score", "chat"])
def test_a_missing_file_is_one_line_on_stderr(run: Callable[..., Outcome], command: str) -> None:
    prompts = {"generate": ["a"], "score": ["a", "b"], "chat": []}[command]
    outcome = run(command, "-m", "no-such.gguf", *prompts, stdin="a")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.count("\n") == 1
    assert "no-such.gguf" in outcome.err


def test_a_bad_value_is_wrong_usage(run: Callable[..., Outcome], trio: Trio) -> None:
    outcome = run("generate", *trio.flags, "--top-p", "3", "ab")
    assert outcome.code == 2
    assert "--top-p must be in (0, 1], not 3" in outcome.err
    assert run("generate", *trio.flags, "--rule", "golden", "ab").code == 2


def test_too_long_a_prompt_says_what_makes_room(run: Callable[..., Outcome], trio: Trio) -> None:
    outcome = run("generate", *trio.flags, "abc" * 200)
    assert outcome.code == 1
    assert "(raise --n-ctx)" in outcome.err


def test_verbose_shows_the_log(trio: Trio) -> None:
    quiet = run_process("generate", *trio.flags, "-n", "2", "ab")
    loud = run_process("generate", *trio.flags, "-n", "2", "--verbose", "ab")
    assert quiet.err == ""
    assert "llama" in loud.err
    assert quiet.out == loud.out


def test_importing_the_package_imports_next_to_nothing() -> None:
    """Ctrl-C before the command line listens is a traceback: what is imported by then is little."""
    code = "import sys; before = set(sys.modules); import rewardshift.cli; print(*sys.modules)"
    imported = subprocess.run(
        [sys.executable, "-S", "-c", code],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
        env=environment(),
    ).stdout.split()
    assert not {"numpy", "typing", "pathlib", "typer", "rewardshift._core"} & set(imported)


# --- what cannot be encoded -------------------------------------------------------------------


ODD = "é∝🙂"
"""Characters that are not in ASCII, and of which cp1252 has the first."""


@pytest.fixture
def odd(tmp_path: Path) -> tuple[object, ...]:
    """Flags for a model with such a name, half of whose tokens are bytes beyond ASCII."""
    path = write_model(tmp_path / f"{ODD}.gguf", TinySpec(vocab=bpe_vocab())).path
    return ("-m", path, *SMALL, "-s", 3, "-n", 40)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1"])
@pytest.mark.parametrize("shown", [(), ("--show",), ("--json",)])
def test_what_stdout_cannot_encode_does_not_cut_the_answer(
    odd: tuple[object, ...], encoding: str, shown: tuple[str, ...]
) -> None:
    arguments = ("generate", *odd, *shown, "ab")
    whole = run_bytes(*arguments, PYTHONIOENCODING="utf-8")
    poor = run_bytes(*arguments, PYTHONIOENCODING=encoding)
    assert (whole.code, poor.code, poor.err) == (0, 0, "")
    assert not whole.out.isascii()
    if "--json" in shown:
        assert timeless(json.loads(poor.out)) == timeless(json.loads(whole.out))
        return
    answer, _, statistics = poor.out.partition("\n\n")
    expected = whole.out.partition("\n\n")[0]
    assert answer == expected.encode(encoding, errors="replace").decode(encoding)
    assert "?" in answer
    assert ("finish" in statistics) == bool(shown)


def timeless(result: dict[str, Any]) -> dict[str, Any]:
    statistics = result["statistics"]
    return {
        **result,
        "statistics": {k: v for k, v in statistics.items() if "second" not in k},
    }


def run_bytes(*arguments: object, PYTHONIOENCODING: str) -> Outcome:  # noqa: N803
    """Runs a command whose output need not be UTF-8."""
    done = subprocess.run(
        command_line(*arguments),
        capture_output=True,
        timeout=SECONDS,
        check=False,
        env=environment(PYTHONIOENCODING=PYTHONIOENCODING),
    )
    encoding = PYTHONIOENCODING.partition(":")[0]
    return Outcome(done.returncode, done.stdout.decode(encoding), done.stderr.decode(encoding))


def test_tables_and_help_are_whole_where_they_cannot_be_encoded(
    odd: tuple[object, ...], trio: Trio
) -> None:
    model = odd[:2]
    for arguments in (
        ("inspect", model[1]),
        ("score", *model, *SMALL, ODD, ODD),
        ("--help",),
        ("eval", "--help"),
        ("check-pair", *trio.load_flags[:6], "-c", 512, "-n", 2, "--num-prompts", 1),
    ):
        done = run_bytes(*arguments, PYTHONIOENCODING="ascii")
        assert done.code == 0, done.err
        assert done.out.isascii()
        assert "?" in done.out or arguments[0] in ("--help", "eval")


def test_an_error_that_cannot_be_encoded_is_no_wrong_usage() -> None:
    done = run_bytes("generate", "-m", f"{ODD}.gguf", "x", PYTHONIOENCODING="ascii")
    assert (done.code, done.out) == (1, "")
    assert ".gguf: no such file" in done.err
    assert done.err.isascii()


def test_another_way_with_what_cannot_be_encoded_may_be_chosen(odd: tuple[object, ...]) -> None:
    done = run_bytes(
        "score", *odd[:2], *SMALL, "a", ODD, PYTHONIOENCODING="ascii:xmlcharrefreplace"
    )
    assert done.code == 0
    assert "&#65533;" in done.out


@pytest.mark.skipif(sys.platform == "win32", reason="there arguments are Unicode")
def test_arguments_that_are_no_text_are_wrong_usage(trio: Trio) -> None:
    for flags, name in ((("--system", b"\xff", b"x"), "--system"), ((b"\xff",), "PROMPT")):
        done = subprocess.run(
            [*command_line("generate", *trio.flags), *flags],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
            env=environment(),
        )
        assert done.returncode == 2
        assert f"{name} is not UTF-8 text" in done.stderr


# --- generate ---------------------------------------------------------------------------------


def test_generate_prints_what_the_decoder_says(run: Callable[..., Outcome], trio: Trio) -> None:
    outcome = run("generate", *trio.flags, "-n", "20", "ab cd")
    roles = (trio.target, trio.draft, trio.reference)
    with Decoder(*roles, n_ctx=256, n_threads=1) as decoder:
        expected = decoder.generate("ab cd", seed=1, max_tokens=20)
    assert outcome.code == 0
    assert outcome.out == expected.text + "\n"


@pytest.mark.parametrize("arguments", [["-"], []])
def test_generate_reads_stdin(
    run: Callable[..., Outcome], trio: Trio, arguments: list[str]
) -> None:
    given = run("generate", *trio.flags, "-n", "12", "ab cd")
    piped = run("generate", *trio.flags, "-n", "12", *arguments, stdin="ab cd\n")
    assert piped == given


def test_stdin_that_is_no_text_is_wrong_usage(run: Callable[..., Outcome], trio: Trio) -> None:
    outcome = run("generate", *trio.flags, "-", stdin=b"\xff\xfe")
    assert outcome.code == 2
    assert "UTF-8" in outcome.err


def test_stdin_may_begin_with_a_byte_order_mark(run: Callable[..., Outcome], trio: Trio) -> None:
    given = run("generate", *trio.flags, "-n", "12", "ab cd")
    piped = run("generate", *trio.flags, "-n", "12", "-", stdin=b"\xef\xbb\xbfab cd\r\n")
    assert piped == given


def test_generate_json_is_one_object(run: Callable[..., Outcome], trio: Trio) -> None:
    outcome = run("generate", *trio.flags, "-n", "20", "-K", "2", "--json", "ab cd")
    result = json.loads(outcome.out)
    assert outcome.err == ""
    assert result["seed"] == 1
    assert result["finish_reason"] in ("stop", "length")
    assert result["statistics"]["tokens"] == len(result["tokens"])
    assert len(result["statistics"]["acceptance_by_position"]) == 2
    assert {token["origin"] for token in result["tokens"]} <= {"draft", "correction", "bonus"}
    assert result["usage"]["completion_tokens"] == len(result["tokens"])


def test_every_flag_reaches_the_decoder(
    run: Callable[..., Outcome], trio: Trio, files: Files, tmp_path: Path
) -> None:
    base = files.model(vocab=VOCAB, chat_template=CHATML_TEMPLATE)
    lora = write_lora(tmp_path / "lora.gguf", base).path
    outcome = run(
        *("generate", "-m", trio.target, "--reference", base.path, "--draft-lora", lora),
        *("--draft-lora-scale", 0.5, "-c", 128, "-ngl", 0, "-t", 1, "-s", 7, "--temp", 0.9),
        *("--top-k", 40, "--top-p", 0.9, "--min-p", 0.01, "-n", 9, "--strength", 1.5, "-K", 3),
        *("--rule", "exact", "--stop", "zzz", "--stop", "yyy", "--json", "ab"),
    )
    with Decoder(
        *(trio.target, None, base.path),
        draft_lora=lora,
        draft_lora_scale=0.5,
        n_ctx=128,
        n_gpu_layers=0,
        n_threads=1,
    ) as decoder:
        expected = decoder.generate(
            "ab",
            seed=7,
            temperature=0.9,
            top_k=40,
            top_p=0.9,
            min_p=0.01,
            max_tokens=9,
            strength=1.5,
            num_draft_tokens=3,
            rule="exact",
            stop=["zzz", "yyy"],
        )
    result = json.loads(outcome.out)
    assert [token["id"] for token in result["tokens"]] == list(expected.tokens)
    assert result["statistics"]["drafted"] == expected.statistics.drafted


@pytest.mark.parametrize("from_table", [False, True])
def test_drafts_may_be_trees_or_what_was_said_before(
    run: Callable[..., Outcome], trio: Trio, *, from_table: bool
) -> None:
    ngrams = ["--ngrams"] if from_table else []
    outcome = run(
        "generate", *trio.flags, "-n", 60, "-K", 6, "--tree-width", 3, *ngrams, "--json", "ab"
    )
    with Decoder(trio.target, trio.draft, trio.reference, n_ctx=256, n_threads=1) as decoder:
        expected = decoder.generate(
            "ab",
            seed=1,
            max_tokens=60,
            num_draft_tokens=6,
            tree_width=3,
            drafter=NgramTable() if from_table else None,
        )
    result = json.loads(outcome.out)
    assert [token["id"] for token in result["tokens"]] == list(expected.tokens)
    assert result["statistics"]["drafted"] == expected.statistics.drafted > 0


def test_a_system_message_means_the_chat_template(run: Callable[..., Outcome], trio: Trio) -> None:
    arguments = ("generate", *trio.flags, "-n", "8", "--json")
    chat = json.loads(run(*arguments, "--chat", "ab").out)
    raw = json.loads(run(*arguments, "--raw", "ab").out)
    system = json.loads(run(*arguments, "--system", "cd", "ab").out)
    shifted = json.loads(run(*arguments, "--draft-system", "cd", "ab").out)
    prompts = [answer["usage"]["prompt_tokens"] for answer in (raw, chat, system, shifted)]
    assert prompts[0] < prompts[1] < prompts[2]
    assert prompts[3] == prompts[1]
    assert run(*arguments, "--raw", "--system", "cd", "ab").code == 2


def test_a_missing_chat_template_says_what_to_do(run: Callable[..., Outcome], files: Files) -> None:
    outcome = run("generate", "-m", files.model(vocab=VOCAB).path, *SMALL, "--chat", "ab")
    assert outcome.code == 1
    assert "--raw" in outcome.err


def test_vocabularies_that_differ_point_to_inspect(
    run: Callable[..., Outcome], trio: Trio, files: Files
) -> None:
    other = files.model(vocab=VOCAB.renamed(260, "other")).path
    pair = ("-md", other, "--reference", trio.reference)
    outcome = run("generate", "-m", trio.target, *pair, "ab")
    assert outcome.code == 1
    assert "260" in outcome.err
    assert "rewardshift inspect" in outcome.err


def test_show_reads_well_in_a_log(run: Callable[..., Outcome], trio: Trio) -> None:
    plain = run("generate", *trio.flags, "-n", "20", "ab cd")
    shown = run("generate", *trio.flags, "-n", "20", "--show", "--paper-distance", "ab cd")
    unseen = str.maketrans("", "", "\a\b\v\f\r")  # a terminal would obey them
    assert shown.out.startswith(plain.out.translate(unseen))
    for word in ("rounds", "acceptance", "by position", "tokens/s", "Z", "paper's law", "reward"):
        assert word in shown.out
    assert "\x1b" not in shown.out


# --- what a terminal shows ----------------------------------------------------------------------


def token(text: str, origin: str = "draft") -> TokenInfo:
    return TokenInfo(0, text, origin, -1.0, -1.0, None, None, None, None)  # type: ignore[arg-type]


def terminal(**options: Any) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=80, highlight=False, **options)


def printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_terminal_shows_origins_in_colours(trio: Trio) -> None:
    with Decoder(trio.target, trio.draft, trio.reference, n_ctx=256, n_threads=1) as decoder:
        chunks = list(decoder.stream("ab cd", seed=1, max_tokens=20))
    completion = chunks[-1].completion
    assert completion is not None
    console = terminal(color_system="standard", _environ={})
    write = render.coloured_writer(console)
    for chunk in chunks:
        write(chunk)
    console.print(render.summary(completion, console))
    assert "\x1b[" in printed(console)
    assert "statistics" in printed(console)


def test_no_color_leaves_no_colours(trio: Trio) -> None:
    with Decoder(trio.target, trio.draft, trio.reference, n_ctx=256, n_threads=1) as decoder:
        completion = decoder.generate("ab cd", seed=1, max_tokens=20)
    console = terminal(_environ={"NO_COLOR": "1", "TERM": "xterm-256color"})
    console.print(render.coloured(pieces(completion.text, completion.steps)))
    console.print(render.summary(completion, console))
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]", printed(console))


def test_pieces_are_the_text_cut_at_tokens() -> None:
    tokens = [token("Hello"), token(", ", "bonus"), token("you", "correction")]
    expected = [("Hello", "draft"), (", ", "bonus"), ("you", "correction")]
    assert pieces("Hello, you", tokens) == expected


def test_pieces_may_come_later_than_their_tokens() -> None:
    tracker = OriginTracker()
    first = list(tracker.feed("Hel", [token("Hello"), token("!", "bonus")]))
    rest = list(tracker.feed("lo!", []))
    assert first + rest == [("Hel", "draft"), ("lo", "draft"), ("!", "bonus")]


def test_text_that_was_dropped_is_not_shown() -> None:
    tokens = [token("ab"), token("STOP"), token("</s>", "bonus")]
    assert pieces("ab", tokens) == [("ab", "draft")]


@pytest.mark.parametrize(
    ("text", "texts"),
    [("a🙂b", ["a", "\ufffd", "\ufffd", "b"]), ("éü!", ["\ufffd", "\ufffd\ufffd", "\ufffd", "!"])],
)
def test_characters_of_several_tokens_are_shown_once(text: str, texts: Sequence[str]) -> None:
    cut = pieces(text, [token(t) for t in texts])
    assert "".join(piece for piece, _ in cut) == text


# --- chat ---------------------------------------------------------------------------------------


def test_chat_answers_one_message_from_stdin(run: Callable[..., Outcome], trio: Trio) -> None:
    outcome = run("chat", *trio.flags, "-n", "12", stdin="ab cd\n")
    with Decoder(trio.target, trio.draft, trio.reference, n_ctx=256, n_threads=1) as decoder:
        answer = decoder.chat([{"role": "user", "content": "ab cd"}], seed=1, max_tokens=12)
    assert (outcome.code, outcome.out) == (0, answer.text + "\n")


def test_chat_without_a_message_is_wrong_usage(run: Callable[..., Outcome], trio: Trio) -> None:
    outcome = run("chat", *trio.flags, stdin="")
    assert (outcome.code, outcome.out) == (2, "")
    assert "no message" in outcome.err


def test_chat_json_holds_the_conversation(run: Callable[..., Outcome], trio: Trio) -> None:
    outcome = run("chat", *trio.flags, "-n", "5", "--system", "cd", "--json", stdin="ab")
    result = json.loads(outcome.out)
    assert [message["role"] for message in result["messages"]] == ["system", "user", "assistant"]
    assert len(result["responses"]) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_chat_keeps_the_conversation_on_a_terminal(trio: Trio) -> None:
    import pty

    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command_line("chat", *trio.flags, "-n", "4", "--json"),
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    os.close(theirs)
    os.write(ours, b"ab\n/clear\ncd\nab\n/exit\n")
    out, err = process.communicate(timeout=SECONDS)
    os.close(ours)
    assert process.returncode == 0, err
    result = json.loads(out)
    contents = [m["content"] for m in result["messages"] if m["role"] == "user"]
    assert contents == ["cd", "ab"]
    assert len(result["responses"]) == 2


# --- score --------------------------------------------------------------------------------------


def test_score_prints_a_row_for_each_token(run: Callable[..., Outcome], trio: Trio) -> None:
    outcome = run("score", *trio.load_flags, "ab", "cd ab")
    with Decoder(trio.target, trio.draft, trio.reference, n_ctx=256, n_threads=1) as decoder:
        expected = decoder.score("ab", "cd ab")
    lines = outcome.out.strip().splitlines()
    assert len(lines) == len(expected.tokens) + 2
    assert expected.implicit_reward is not None
    assert f"{expected.implicit_reward:.3f}" in lines[-1]


def test_score_json_has_every_role(run: Callable[..., Outcome], trio: Trio) -> None:
    result = json.loads(run("score", *trio.load_flags, "--json", "ab", "cd").out)
    rewards = [
        q - r for q, r in zip(result["draft_logprobs"], result["reference_logprobs"], strict=True)
    ]
    assert math.isclose(math.fsum(rewards), result["implicit_reward"], abs_tol=DOUBLE)
    assert result["texts"] == ["cd"]


def test_score_writes_what_is_no_number_as_null(run: Callable[..., Outcome], trio: Trio) -> None:
    result = json.loads(
        run("score", *trio.load_flags, "--top-k", "1", "--json", "ab", "cd ab d").out
    )
    assert None in result["goal_logprobs"]


# --- inspect ------------------------------------------------------------------------------------


def test_inspect_tells_what_a_file_is(run: Callable[..., Outcome], trio: Trio) -> None:
    outcome = run("inspect", trio.target)
    assert outcome.code == 0
    for fact in ("llama", "F32", "268 tokens", "512 tokens", "</s> (2)", "chat template  yes"):
        assert fact in outcome.out


@pytest.mark.parametrize(
    ("described", "name"),
    [
        ("all F32", "F32"),
        ("F16", "F16"),
        ("BF16", "BF16"),
        ("Q1_0", "Q1_0"),
        ("Q4_0", "Q4_0"),
        ("Q5_1", "Q5_1"),
        ("Q8_0", "Q8_0"),
        ("MXFP4 MoE", "MXFP4_MOE"),
        ("NVFP4", "NVFP4"),
        ("Q2_K - Medium", "Q2_K"),
        ("Q2_K - Small", "Q2_K_S"),
        ("Q3_K - Small", "Q3_K_S"),
        ("Q3_K - Medium", "Q3_K_M"),
        ("Q3_K - Large", "Q3_K_L"),
        ("Q4_K - Small", "Q4_K_S"),
        ("Q4_K - Medium", "Q4_K_M"),
        ("Q5_K - Small", "Q5_K_S"),
        ("Q5_K - Medium", "Q5_K_M"),
        ("Q6_K", "Q6_K"),
        ("TQ1_0 - 1.69 bpw ternary", "TQ1_0"),
        ("IQ2_XXS - 2.0625 bpw", "IQ2_XXS"),
        ("IQ3_S - 3.4375 bpw", "IQ3_S"),
        ("IQ3_S mix - 3.66 bpw", "IQ3_M"),
        ("IQ4_NL - 4.5 bpw", "IQ4_NL"),
        ("unknown, may not work", "unknown"),
    ],
)
def test_types_of_files_are_called_as_everybody_does(described: str, name: str) -> None:
    """What llama.cpp calls llama_ftype, behind the architecture and a size that may have spaces."""
    assert file_type(f"llama 17Bx16E (Scout) {described}") == name
    guessed = f"{name} (guessed)" if name != "unknown" else name
    assert file_type(f"qwen3 ?B (guessed) {described}") == guessed


def test_inspect_says_that_files_fit(run: Callable[..., Outcome], trio: Trio) -> None:
    outcome = run("inspect", trio.target, trio.draft, trio.reference, "--json")
    result = json.loads(outcome.out)
    assert outcome.code == 0
    assert result["fit"]
    assert [file["usable"] for file in result["files"]] == [True] * 3
    assert result["files"][0]["vocab_size"] == len(VOCAB.tokens)


def test_inspect_says_how_much_of_the_first_one_another_vocabulary_has(
    run: Callable[..., Outcome], trio: Trio, files: Files
) -> None:
    token = VOCAB.tokens.index("ab")
    other = files.model(vocab=VOCAB.renamed(token, "other")).path
    outcome = run("inspect", trio.target, trio.draft, other)
    assert outcome.code == 0
    told = ("several vocabularies", "of the tokens that the first usually says", f"token {token}")
    for fact in told:
        assert fact in outcome.out
    foreign = files.model(vocab=bpe_vocab()).path
    result = json.loads(run("inspect", trio.target, trio.draft, other, foreign, "--json").out)
    assert result["fit"]
    near, far = result["other_vocabularies"]
    assert (near["path"], far["path"]) == (str(other), str(foreign))
    assert 0.95 < near["share"] < 1
    assert 0.9 < near["usual_share"] <= 1
    assert far["difference"] != near["difference"]


def test_inspect_says_what_cannot_be_decoded_with(
    run: Callable[..., Outcome], files: Files, new_file: Callable[[bytes], Path]
) -> None:
    file = GgufFile.parse(files.model().path.read_bytes())
    file.rename_architecture("deepseek4")
    outcome = run("inspect", new_file(bytes(file)))
    assert outcome.code == 1
    assert "never seen to go back" in outcome.err


@pytest.mark.parametrize(("arch", "memory"), [("mamba", "a state of"), ("lfm2", "attention, and")])
def test_inspect_says_what_a_rejected_draft_costs(
    run: Callable[..., Outcome], files: Files, arch: str, memory: str
) -> None:
    outcome = run("inspect", files.recurrent(arch).path)
    assert outcome.code == 0
    assert memory in outcome.out
    assert "checkpoints" in outcome.out


@pytest.mark.parametrize(("arch", "said"), [("kimi-linear", "kda.head_dim is 8"), ("mamba", None)])
def test_inspect_says_what_cuda_lacks(
    run: Callable[..., Outcome], files: Files, arch: str, said: str | None
) -> None:
    outcome = run("inspect", files.recurrent(arch).path)
    assert outcome.code == 0
    assert ("on CUDA" in outcome.out) == (said is not None)
    assert said is None or said in " ".join(outcome.out.split())


def test_inspect_says_what_can_be_a_reward(
    run: Callable[..., Outcome], trio: Trio, files: Files, tmp_path: Path
) -> None:
    encoder = write_encoder(tmp_path / "reward.gguf", EncoderSpec(classes=("no", "yes"))).path
    decoder = files.model(arch="qwen3", classes=("a", "b"), vocab=bpe_vocab()).path
    told = run("inspect", encoder)
    assert told.code == 0
    for fact in ("no: ", "is an encoder", "yes: 2 outputs, no, yes", "WordPiece"):
        assert fact in " ".join(told.out.split())
    outcome = run("inspect", trio.target, encoder, decoder, "--json")
    result = json.loads(outcome.out)
    said = [(f["usable"], f["usable_as_reward"], f["reward_labels"]) for f in result["files"]]
    assert said == [(True, False, []), (False, True, ["no", "yes"]), (True, True, ["a", "b"])]
    assert outcome.code == 1
    assert [other["path"] for other in result["other_vocabularies"]] == [str(decoder)]


def test_inspect_tells_what_a_head_is_and_whose(
    run: Callable[..., Outcome], trio: Trio, tmp_path: Path
) -> None:
    facts = Decoder(trio.target, n_ctx=64, progress=False)._models["target"].facts
    ours = Head.random(facts.embedding_size, facts.vocab_size).write(tmp_path / "ours.gguf")
    theirs = Head.random(facts.embedding_size, 7).write(tmp_path / "theirs.gguf")
    alone = run("inspect", ours)
    assert alone.code == 0
    for fact in ("a head, which shifts its target", "a tiny model", f"{facts.vocab_size} tokens"):
        assert fact in alone.out
    assert "fit together" in run("inspect", trio.target, ours).out
    misfit = run("inspect", trio.target, theirs, "--json")
    assert misfit.code == 1
    told = json.loads(misfit.out)
    assert [file["architecture"] for file in told["files"]] == ["llama", "head"]
    assert "is a head for a target of 7 tokens" in told["problems"][0]
    base = BaseHead.random(facts.embedding_size, facts.vocab_size, known=9)
    drafts = run("inspect", base.write(tmp_path / "base.gguf"))
    assert "drafts for its target: --base FILE" in drafts.out
    assert "of which it drafts 9" in drafts.out


def test_a_head_drafts_where_it_is_the_base(
    run: Callable[..., Outcome], trio: Trio, tmp_path: Path
) -> None:
    facts = Decoder(trio.target, n_ctx=64, progress=False)._models["target"].facts
    base = BaseHead.random(facts.embedding_size, facts.vocab_size).write(tmp_path / "base.gguf")
    asked = ("generate", "--json", "-n", "12", "-K", "3", "--seed", "1", "ab cd")
    told = json.loads(run(*asked, "--target", trio.target, "--base", base).out)
    assert told["statistics"]["drafted"] > 0


def test_inspect_of_what_is_no_gguf_fails(
    run: Callable[..., Outcome], new_file: Callable[[bytes], Path]
) -> None:
    outcome = run("inspect", new_file(b"hello"))
    assert (outcome.code, outcome.out) == (1, "")


# --- doctor -------------------------------------------------------------------------------------


def test_doctor_tells_about_the_build(run: Callable[..., Outcome]) -> None:
    outcome = run("doctor")
    assert outcome.code == 0
    assert rewardshift.__version__ in outcome.out
    assert rewardshift._core.llama_cpp_commit in outcome.out
    result = json.loads(run("doctor", "--json").out)
    assert "CPU" in result["backends"]
    assert result["cores"] >= 1
    assert result["compiled_for"] == rewardshift._core.cpu


def plant(root: Path, path: str, content: str = "") -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)


@pytest.mark.parametrize(
    ("path", "content", "vendor", "define"),
    [
        ("proc/driver/nvidia/version", "NVRM", "NVIDIA", "GGML_CUDA"),
        ("dev/nvidia0", "", "NVIDIA", "GGML_CUDA"),
        ("sys/class/drm/card0/device/vendor", "0x10de\n", "NVIDIA", "GGML_CUDA"),
        ("sys/class/drm/card1/device/vendor", "0x1002\n", "AMD", "GGML_VULKAN"),
        ("sys/class/drm/card0/device/vendor", "0x8086\n", "Intel", "GGML_VULKAN"),
    ],
)
def test_doctor_says_how_to_use_an_idle_gpu(
    tmp_path: Path, path: str, content: str, vendor: str, define: str
) -> None:
    plant(tmp_path, path, content)
    (gpu,) = doctor.find_gpus(tmp_path, system="linux", machine="x86_64")
    (problem,) = doctor.gpu_problems([gpu], ["CPU"], ["CPU"])
    assert vendor in problem
    assert f"cmake.define.{define}=ON" in problem
    assert str(tmp_path) in problem


def test_doctor_finds_each_vendor_once(tmp_path: Path) -> None:
    plant(tmp_path, "dev/nvidia0")
    plant(tmp_path, "sys/class/drm/card0/device/vendor", "0x10de\n")
    plant(tmp_path, "sys/class/drm/card1/device/vendor", "0x10de\n")
    plant(tmp_path, "sys/class/drm/card2/device/vendor", "0x1af4\n")
    gpus = list(doctor.find_gpus(tmp_path, system="linux", machine="x86_64"))
    assert [gpu.vendor for gpu in gpus] == ["NVIDIA"]


def test_doctor_knows_apple_silicon(tmp_path: Path) -> None:
    (gpu,) = doctor.find_gpus(tmp_path, system="darwin", machine="arm64")
    assert "GGML_METAL" in next(doctor.gpu_problems([gpu], ["CPU"], ["CPU"]))


def test_doctor_tells_a_lacking_driver_from_a_lacking_backend(tmp_path: Path) -> None:
    plant(tmp_path, "dev/nvidia0")
    gpus = list(doctor.find_gpus(tmp_path, system="linux", machine="x86_64"))
    assert "driver" in next(doctor.gpu_problems(gpus, ["CPU", "CUDA"], ["CPU"]))
    assert not list(doctor.gpu_problems(gpus, ["CPU", "CUDA"], ["CPU", "CUDA"]))


@pytest.mark.parametrize("chosen", ["always", "madvise", "never"])
def test_doctor_says_how_to_get_huge_pages(tmp_path: Path, chosen: str) -> None:
    setting = tmp_path / "sys/kernel/mm/transparent_hugepage/enabled"
    setting.parent.mkdir(parents=True)
    setting.write_text("always madvise never\n".replace(chosen, f"[{chosen}]"))
    problems = doctor.examine(tmp_path).problems
    assert ["echo madvise | sudo tee /sys/" in problem for problem in problems] == [True] * (
        chosen == "never"
    )


def test_doctor_reports_an_idle_gpu(tmp_path: Path) -> None:
    plant(tmp_path, "sys/class/drm/card0/device/vendor", "0x1002\n")
    report = doctor.examine(tmp_path)
    assert any("AMD" in gpu.vendor for gpu in report.gpus)


# --- Ctrl-C -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def roomy_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose context is long enough to be busy for minutes."""
    spec = TinySpec(vocab=VOCAB, n_ctx_train=1 << 17, chat_template=CHATML_TEMPLATE)
    return write_model(tmp_path_factory.mktemp("roomy") / "roomy.gguf", spec).path


def interrupt(arguments: Sequence[object], *, stdin: str, when: Callable[[Any], None]) -> Outcome:
    """Runs a command and sends it Ctrl-C once ``when`` returns."""
    process = subprocess.Popen(
        command_line(*arguments),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    watchdog = threading.Timer(SECONDS, process.kill)
    watchdog.start()
    try:
        assert process.stdin is not None
        process.stdin.write(stdin)
        process.stdin.close()
        process.stdin = None
        when(process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
    finally:
        watchdog.cancel()
        process.kill()
    return Outcome(process.returncode, out, err)


def first_output(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    process.stdout.read(1)


def interrupt_prefill(*arguments: object) -> Outcome:
    """Sends Ctrl-C while a long prompt is evaluated.

    How long after the first line of its log that is depends on the machine: half a second, or ever
    longer where Ctrl-C came before the evaluation.
    """
    for seconds in (0.5, 2, 8):

        def evaluating(process: subprocess.Popen[str], wait: float = seconds) -> None:
            assert process.stderr is not None
            process.stderr.readline()
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(wait)

        outcome = interrupt(arguments, stdin="ab cd " * 15_000, when=evaluating)
        if "rewardshift: interrupted" not in outcome.err or outcome.out:
            break
    return outcome


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGINT")
def test_ctrl_c_ends_a_long_prefill(roomy_model: Path) -> None:
    outcome = interrupt_prefill(
        "generate", "-m", roomy_model, "-t", 1, "-c", 100_000, "--verbose", "-"
    )
    assert outcome.code == 130
    assert outcome.out.strip() == ""
    assert "Traceback" not in outcome.err
    assert "cancelled" in outcome.err


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGINT")
@pytest.mark.parametrize("command", ["generate", "chat"])
def test_ctrl_c_ends_a_response_and_prints_its_statistics(roomy_model: Path, command: str) -> None:
    arguments = [command, "-m", roomy_model, "-t", 1, "-c", 60_000, "--temp", 0, "-n", -1]
    outcome = interrupt(arguments, stdin="ab cd", when=first_output)
    assert outcome.code == 130
    assert outcome.out.endswith("\n")
    assert "Traceback" not in outcome.err
    assert "cancelled" in outcome.err
    assert "tokens/s" in outcome.err


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGINT")
def test_ctrl_c_leaves_whole_json(roomy_model: Path) -> None:
    outcome = interrupt_prefill(
        "generate", "-m", roomy_model, "-t", 1, "-c", 100_000, "--verbose", "--json", "-"
    )
    assert outcome.code == 130
    assert json.loads(outcome.out)["finish_reason"] == "cancelled"


PROGRAMS = {
    "module": ("-m", "rewardshift.cli", "doctor"),
    "script": (
        "-c",
        "import sys; sys.argv[1:] = ['doctor']; from rewardshift.cli import main; main()",
    ),
    "demo": ("-m", "rewardshift.cli", "demo", "--help"),
}


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGINT")
@pytest.mark.parametrize("program", PROGRAMS)
def test_ctrl_c_during_the_imports_is_one_line(program: str) -> None:
    """From the first import after our own on, at many moments: numpy, the core, typer, rich."""
    ends = set()
    for after in range(1, 600, 60):
        process = subprocess.Popen(
            [sys.executable, "-X", "importtime", *PROGRAMS[program]],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        assert process.stderr is not None
        lines = iter(process.stderr.readline, "")
        next(line for line in lines if line.endswith("rewardshift.cli.program\n"))
        for _, _line in zip(range(after), lines, strict=False):
            pass
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=SECONDS)
        said = [line for line in err.splitlines() if not line.startswith("import time:")]
        ends.add(process.returncode)
        if process.returncode == 130:
            assert said == ["rewardshift: interrupted"]
        else:  # it was done already, or Python's own end was interrupted
            assert process.returncode in (0, -signal.SIGINT)
            assert said == []
    assert 130 in ends


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGINT")
def test_ctrl_c_again_and_again_is_one_line(roomy_model: Path) -> None:
    """Greedy, as a sampled response may end before the first Ctrl-C."""
    arguments = ["generate", "-m", roomy_model, "-t", 1, "-c", 60_000, "--temp", 0, "-n", -1]
    with subprocess.Popen(
        command_line(*arguments, "--json", "ab cd"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        for _ in range(200):
            process.send_signal(signal.SIGINT)
            if process.poll() is not None:
                break
        _, err = process.communicate(timeout=SECONDS)
    assert process.returncode in (130, -signal.SIGINT)
    assert "Traceback" not in err
    assert err.count("interrupted") <= 1


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGINT")
def test_ctrl_c_amid_the_answer_to_ctrl_c_is_one_line() -> None:
    """The second comes when the line of the first is written, and the process has not ended yet."""
    program = """
import os, signal
from rewardshift.cli import start

write = os.write

def interrupted_write(*args):
    write(*args)
    signal.raise_signal(signal.SIGINT)

def begin():
    os.write = interrupted_write
    signal.raise_signal(signal.SIGINT)

os.begin = begin
start("os", "begin")
"""
    process = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (process.returncode, process.stderr) == (130, "rewardshift: interrupted\n")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell that closes streams")
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_streams_that_are_closed_are_empty(trio: Trio, closed: str) -> None:
    for arguments, code in (
        (("generate", *trio.flags, "-n", 2, "ab"), 0),
        (("generate", *trio.flags, "-n", 2, "--json", "ab"), 0),
        (("inspect", trio.target), 0),
        (("--version",), 0),
        (("chat", *trio.flags), 2),
        (("generate", "-m", "no-such.gguf", "ab"), 1),
    ):
        command = f"{shlex.join(command_line(*arguments))} {closed}"
        done = subprocess.run(
            ["sh", "-c", command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
            env=environment(),
        )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a full disk")
def test_a_full_disk_is_one_line(trio: Trio) -> None:
    for arguments in (
        *(("generate", *trio.flags, "-n", 2, *shown, "ab") for shown in ((), ("--show",))),
        ("generate", *trio.flags, "-n", 2, "--json", "ab"),
        ("inspect", trio.target),
        ("--help",),
        ("--version",),
    ):
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(
                command_line(*arguments),
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                timeout=SECONDS,
                check=False,
                env=environment(),
            )
        assert done.returncode == 1
        assert done.stderr == "rewardshift: [Errno 28] No space left on device\n"


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_line_that_cannot_be_decoded_is_not_said(trio: Trio) -> None:
    import pty

    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command_line("chat", *trio.flags, "-n", "4", "--json"),
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(PYTHONIOENCODING="ascii"),
    )
    os.close(theirs)
    os.write(ours, "é\n".encode())
    assert process.stderr is not None
    assert "not ascii text" in process.stderr.readline()
    os.write(ours, b"ab\n/exit\n")
    out, err = process.communicate(timeout=SECONDS)
    os.close(ours)
    assert process.returncode == 0, err
    messages = json.loads(out)["messages"]
    assert [m["content"] for m in messages if m["role"] == "user"] == ["ab"]


def test_where_ctrl_c_is_ignored_it_stays_so() -> None:
    """As in a shell's background."""
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "import sys; sys.argv = ['rewardshift', 'doctor']\n"
        "from rewardshift.cli import main\n"
        "try: main()\n"
        "finally: print(signal.getsignal(signal.SIGINT) == signal.SIG_IGN)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
        env=environment(),
    )
    assert done.stdout.endswith("True\n")


def test_a_package_that_is_missing_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("raise ImportError('no typer here')")
    path = os.pathsep.join((str(tmp_path), environment()["PYTHONPATH"]))
    done = run_process("doctor", PYTHONPATH=path)
    assert (done.code, done.out, done.err) == (1, "", "rewardshift: no typer here\n")


def test_the_command_line_needs_the_runtime_alone() -> None:
    names = ("gguf", "huggingface_hub", "matplotlib", "scipy", "torch", "transformers", "trl")
    missing = f"sys.modules.update(dict.fromkeys({names}))"
    program = f"import sys; {missing}; from rewardshift.cli.app import app; app(['demo', '--help'])"
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
