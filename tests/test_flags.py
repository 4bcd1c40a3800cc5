"""Flags over all commands: each has one meaning, its name in errors, and contradicts no other."""

from __future__ import annotations

import json
import re
import shlex
from collections import defaultdict
from typing import TYPE_CHECKING, Any, get_args, get_origin

import pytest
import typer
from typer.testing import CliRunner

from rewardshift import _core
from rewardshift.cli import naming
from rewardshift.cli.align import PairFlags
from rewardshift.cli.align_head import HeadFlags
from rewardshift.cli.app import app
from rewardshift.cli.bench import BenchFlags
from rewardshift.cli.command import _AS_TEXT
from rewardshift.cli.distill import CorpusFlags, ShapeFlags
from rewardshift.cli.evaluate import EvalFlags
from rewardshift.cli.forms import FormFlags
from rewardshift.cli.options import GenerateFlags, LoadFlags
from rewardshift.cli.prompting import PromptFlags
from rewardshift.options import LoadOptions, SamplingOptions
from tests.support.tiny_gguf import CHATML_TEMPLATE, spm_vocab

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Files

VOCAB = spm_vocab(byte_tokens=True)
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
EVERY_PARAMETER = [(name, p) for name, command in COMMANDS.items() for p in command.params]
OPTIONS_OF_PYTHON = {
    name
    for options in (LoadOptions, SamplingOptions)
    for name in options.__annotations__
    if "_" in name
} | {"draft_lora", "draft_lora_scale", "draft_prompt", "allow_requantize"}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., tuple[int, str, str]]:
    """Runs a command line: exit code, stdout, stderr without the frames of typer's boxes."""
    monkeypatch.setenv("COLUMNS", "1000")
    monkeypatch.chdir(tmp_path)

    def invoke(*words: object, stdin: str | bytes | None = None) -> tuple[int, str, str]:
        result = CliRunner().invoke(app, [str(word) for word in words], input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.stdout, re.sub(r"[│╭╮╰╯─\s]+", " ", result.stderr)

    return invoke


@pytest.fixture
def model(files: Files) -> Path:
    return files.model(vocab=VOCAB, chat_template=CHATML_TEMPLATE).path


@pytest.fixture
def roles(files: Files) -> list[str]:
    trio = files.trio(vocab=VOCAB, chat_template=CHATML_TEMPLATE)
    flags = ("-m", "-md", "--reference")
    return [str(word) for pair in zip(flags, trio, strict=True) for word in (pair[0], pair[1].path)]


# --- one meaning --------------------------------------------------------------------------------


def test_every_flag_means_the_same_in_every_command() -> None:
    """Its other spellings, the name of what it sets, and whether it takes a value."""
    meanings: dict[str, set[Any]] = defaultdict(set)
    for _, p in EVERY_PARAMETER:
        if p.param_type_name == "option":
            for flag in (*p.opts, *p.secondary_opts):
                meanings[flag].add((tuple(p.opts), tuple(p.secondary_opts), p.is_flag, p.name))
    assert {flag: found for flag, found in meanings.items() if len(found) > 1} == {}
    assert meanings["-n"] == {(("-n", "--max-tokens"), (), False, "max_tokens")}


def test_no_flag_has_an_opposite_that_would_silently_win() -> None:
    assert [p.opts for _, p in EVERY_PARAMETER if p.secondary_opts] == []


@pytest.mark.parametrize(
    ("words", "instead"),
    [
        ("eval --n 3", "--num-prompts"),
        ("eval --n=3", "--num-prompts"),
        ("eval --count 3", "--num-prompts"),
        ("align a.gguf b.gguf --count 3", "--num-prompts"),
        ("bench -K 1,3", "--draft-lengths"),
        ("bench --json report.json", "bench --json > FILE"),
        ("quantize a.gguf b.gguf --measure", "--no-measure"),
    ],
)
def test_a_former_spelling_says_what_to_use(
    run: Callable[..., tuple[int, str, str]], words: str, instead: str
) -> None:
    code, out, err = run(*shlex.split(words))
    assert (code, out) == (2, "")
    assert instead in err


@pytest.mark.parametrize(
    "words", ["generate -5", "generate '-5 degrees'", "score -5 x", "inspect -x.gguf"]
)
def test_what_begins_with_a_dash_is_told_about_the_double_dash(
    run: Callable[..., tuple[int, str, str]], words: str
) -> None:
    code, _, err = run(*shlex.split(words))
    assert code == 2
    assert f"behind --: -- {shlex.join(shlex.split(words)[1:2])}" in err


def test_a_sentence_whose_beginning_is_a_flag_is_told_too(
    run: Callable[..., tuple[int, str, str]],
) -> None:
    code, _, err = run("generate", "-n is what counts tokens")
    assert code == 2
    assert "behind --: -- '-n is what counts tokens'" in err


def test_behind_the_double_dash_a_prompt_may_begin_with_one(
    run: Callable[..., tuple[int, str, str]], model: Path
) -> None:
    fixed = ("generate", "-m", model, "-t", 1, "-s", 1, "-n", 6)
    given = run(*fixed, "--", "-5 degrees")
    assert given[0] == 0, given
    assert given == run(*fixed, stdin="-5 degrees")


def test_a_prompt_without_quotes_is_told_about_them(
    run: Callable[..., tuple[int, str, str]],
) -> None:
    code, _, err = run("generate", "Once", "upon")
    assert code == 2
    assert "in quotes" in err


# --- paths --------------------------------------------------------------------------------------


def test_every_path_is_read_by_us_and_not_by_typer() -> None:
    """To whom "" is the folder at hand, and "~" a name like others."""
    groups = (
        *(LoadFlags, FormFlags, BenchFlags, EvalFlags),
        *(PairFlags, HeadFlags, CorpusFlags, ShapeFlags),
    )
    declared = [a for group in groups for a in group.__annotations__.values()]
    paths = [get_args(a)[0] for a in declared if "Path" in str(get_args(a)[0])]
    assert len(paths) >= 13
    assert set(paths) <= _AS_TEXT.keys()
    for command, p in EVERY_PARAMETER:
        assert "Path" not in str(getattr(p, "type_descriptor", "")), (command, p.name)


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("generate", "-m", "", "x"), "--target"),
        (("generate", "-m", "a", "-md", "", "x"), "--draft"),
        (("generate", "-m", "a", "--reference", "", "x"), "--reference"),
        (("generate", "-m", "a", "--draft-lora", "", "x"), "--draft-lora"),
        (("generate", "-m", "a", "--base", "", "x"), "--base"),
        (("generate", "--json-schema", "", "x"), "--json-schema"),
        (("generate", "--grammar", "", "x"), "--grammar"),
        (("inspect", ""), "GGUF..."),
        (("quantize", "", "b"), "SOURCE"),
        (("quantize", "a", ""), "DESTINATION"),
        (("align", "", "b"), "REFERENCE"),
        (("distill", "a", ""), "REFERENCE"),
        (("distill", "a", "b", "--from", ""), "--from"),
        (("bench", "-m", "a", "--prompts", ""), "--prompts"),
        (("check-pair", "-m", "a", "--plot", ""), "--plot"),
        (("check-pair", "-m", "a", "--preferences", ""), "--preferences"),
        (("eval", "-m", "a", "--out", ""), "--out"),
        (("eval", "-m", "a", "--beside", ""), "--beside"),
    ],
)
def test_an_empty_file_name_is_said_to_be_empty(
    run: Callable[..., tuple[int, str, str]], words: tuple[str, ...], name: str
) -> None:
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert err.strip() == f"rewardshift: {name}: the file name is empty"


def test_a_tilde_is_the_home_folder_in_every_path(
    run: Callable[..., tuple[int, str, str]],
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    (home / "model.gguf").write_bytes(model.read_bytes())
    (home / "prompts.txt").write_text("ab\n")
    short = ("-t", 1, "-n", 2)
    assert run("generate", "--target=~/model.gguf", *short, "-s", 1, "ab")[0] == 0
    assert run("inspect", "~/model.gguf")[0] == 0
    quantised = run("quantize", "~/model.gguf", "~/small.gguf", "--type", "q8_0", "--no-measure")
    assert quantised[0] == 0, quantised
    assert (home / "small.gguf").exists()
    benched = run(
        *("bench", "-m", "~/model.gguf", "--prompts=~/prompts.txt", "--only", "concurrent"),
        *("--concurrency", 1, "--repeat", 1, *short),
    )
    assert benched[0] == 0, benched
    assert not (tmp_path / "~").exists()


# --- errors name flags --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--top-p 3", "--top-p must be in (0, 1], not 3"),
        ("--top-k -1", "--top-k must be at least 0"),
        ("--min-p 2", "--min-p must be in [0, 1], not 2"),
        ("--temp -1", "--temp must be finite and >= 0, not -1"),
        ("--strength nan", "--strength must be finite, not nan"),
        ("-n -2", "--max-tokens must be -1"),
        ("-K 65", "--num-draft-tokens must be between 0 and 64, not 65"),
        ("-K 3", "--num-draft-tokens needs a draft model, --ngrams, or --prompt-lookup"),
        ("--tree-width 3", "--tree-width 3 needs a draft model, or --ngrams"),
        ("--rule golden", "--rule must be 'exact', 'paper' or 'speculative', not 'golden'"),
        ("--rule paper --ngrams", "leave out --ngrams, --prompt-lookup and --tree-width"),
        ("--rule speculative --strength 1", "--strength 1 needs a draft and a reference"),
        ("--strength 2", "--strength 2 needs a draft and a reference"),
        ("--strength much", "--strength takes NUMBER, or NAME=NUMBER, not 'much'"),
        ("--strength a=1", "--strength names 'a', and of shifts there are none"),
        ("--strength 1 --strength 2", "with a name before each number only"),
        ("--strength a=1 --strength a=2", "--strength a is given twice"),
        ("--strength =1", "--strength takes NUMBER, or NAME=NUMBER, not '=1'"),
        (
            "--shift negative",
            "--shift takes NAME, NAME=DRAFT:REFERENCE, or NAME=HEAD: there is no dial",
        ),
        ("--shift a=b", "--shift a= takes two files with a colon between them"),
        ("--shift a={model}", "is no head, but a model of the architecture 'llama'"),
        ("--shift a=", "--shift takes NAME, NAME=DRAFT:REFERENCE, or NAME=HEAD, not 'a='"),
        ("--shift positive --shift positive", "--shift positive is given twice"),
        (
            "--shift a={model}:{model} --shift b={model}:{model} --strength 1",
            "--strength 1 is for one shift, and here are several (a, b)",
        ),
        ("--verification all", "--verification must be 'block' or 'token', not 'all'"),
        ("--regex '('", "--regex: "),
        ("--stop ''", "--stop must be made of non-empty strings"),
        ("--repeat-penalty 0", "--repeat-penalty must be finite and > 0"),
        ("--frequency-penalty inf", "--frequency-penalty must be finite"),
        ("--presence-penalty inf", "--presence-penalty must be finite"),
        ("--top-logprobs -1 --json", "--top-logprobs must be between 0"),
        ("-s -2", "--seed cannot be -2"),
        ("-c -5", "--n-ctx must be at least 0, not -5"),
        ("-c 3", "(raise --n-ctx)"),
        ("-c 2000000000", "a smaller --n-ctx needs less memory"),
        ("-t -1", "--threads must be at least 0, not -1"),
        ("--draft-lora-scale 2", "--draft-lora-scale needs a --draft-lora"),
        ("--draft-lora {model}", "--draft-lora needs a draft or a reference"),
        ("--reference {model}", "a reference needs a draft, or a --draft-lora"),
        ("--draft-system hi", "--draft-system needs a draft model"),
        ("-md {model} --draft-system hi", "or --strength 0 to draft without a shift"),
    ],
)
def test_an_error_calls_flags_by_their_names(
    run: Callable[..., tuple[int, str, str]], model: Path, words: str, said: str
) -> None:
    flags = [word.format(model=model) for word in shlex.split(words)]
    code, _, err = run("generate", "-m", model, *flags, "hello")
    assert code in (1, 2)
    assert said in err
    named = set(re.findall(r"\w+", err.replace(str(model), "")))
    assert not named & OPTIONS_OF_PYTHON


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("quantize {model} {model}.q --type q8_0 --no-measure", ""),
        ("quantize {model} {model}.q --type q8_0", "exists already; --force replaces it"),
        ("quantize {model}.q {model}.r --type Q4_0", "--allow-requantize allows it"),
        ("check-pair {roles} -n 1", "--max-tokens must be at least 2, not 1"),
        ("check-pair {roles} --temp -1", "--temp must be finite and at least 0, not -1"),
        (
            "check-pair -m {model} --shift a={model}:{model} --base {model}",
            "a pair is checked with drafts of its own: leave out --base",
        ),
        ("check-pair -m {model} -md {model}", "there is no reference, nor a --draft-lora"),
        ("bench {roles} --draft-lengths 99 --only aligned", "--draft-lengths must be between"),
        ("bench -m {model} --concurrency 9999", "--concurrency must be at most 255"),
        ("eval {roles} --temp -1 --methods target", "--temp must be at least 0"),
        ("eval {roles} --methods best-of-n:n=999", "sampled together must be at most 255"),
    ],
)
def test_so_do_errors_of_other_commands(
    run: Callable[..., tuple[int, str, str]],
    files: Files,
    roles: list[str],
    words: str,
    said: str,
) -> None:
    model = files.folder / "named-in-errors.gguf"
    model.write_bytes(files.model(vocab=VOCAB, chat_template=CHATML_TEMPLATE).path.read_bytes())
    if not said:
        (files.folder / "named-in-errors.gguf.q").unlink(missing_ok=True)
    filled = shlex.split(words.format(model=model, roles=shlex.join(roles)))
    code, _, err = run(*filled)
    assert (code == 0) == (not said), err
    assert said in err
    assert not set(re.findall(r"\w+", err)) & OPTIONS_OF_PYTHON


def test_every_option_of_a_command_is_translated_by_its_own_declaration() -> None:
    for flags in (LoadFlags, GenerateFlags, FormFlags, PromptFlags):
        fields = flags.__dataclass_fields__
        names = naming.Names.of([_parameter(name, field.type) for name, field in fields.items()])
        for name in fields:
            declared = {
                flag
                for _, p in EVERY_PARAMETER
                if p.name == name and p.param_type_name == "option"
                for flag in p.opts
            }
            assert names.flags[name] in declared
            assert names.put_into(f"{name} must be 1") == f"{names.flags[name]} must be 1"


def _parameter(name: str, annotation: Any) -> Any:
    import inspect

    assert get_origin(annotation) is not None
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("a draft and its reference", "a draft and its reference"),
        ("/tmp/n_ctx/n_ctx.gguf is no file", "/tmp/n_ctx/n_ctx.gguf is no file"),
        ("~/my_n_ctx: no such file", "~/my_n_ctx: no such file"),
        ("sss:strength=1,rule=paper is new", "sss:strength=1,rule=paper is new"),
        ("begun with n_ctx = 5, not 6", "begun with --n-ctx = 5, not 6"),
        ("use strength=0 or n_ctx=7.", "use --strength 0 or --n-ctx 7."),
        ("n_ctx, n_ctx. (n_ctx)", "--n-ctx, --n-ctx. (--n-ctx)"),
    ],
)
def test_words_and_paths_are_no_options(message: str, said: str) -> None:
    fields = {**LoadFlags.__dataclass_fields__, **GenerateFlags.__dataclass_fields__}
    names = naming.Names.of([_parameter(name, field.type) for name, field in fields.items()])
    assert names.put_into(message) == said


def test_no_help_names_an_option_of_python() -> None:
    for command, p in EVERY_PARAMETER:
        named = set(re.findall(r"\w+", p.help or ""))
        assert not named & OPTIONS_OF_PYTHON, (command, p.name, p.help)


# --- contradictions -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("generate --chat --raw x", "--chat and --raw contradict"),
        ("generate --raw --chat x", "--chat and --raw contradict"),
        ("score --chat --raw x y", "--chat and --raw contradict"),
        ("bench --chat --raw", "--chat and --raw contradict"),
        ("generate --raw --system s x", "not --raw"),
        ("generate --raw --draft-system s x", "not --raw"),
        ("generate --json --show x", "choose one"),
        ("chat --json --show", "choose one"),
        ("generate --top-logprobs 2 x", "with --json only"),
        ("chat --top-logprobs 2", "with --json only"),
        ("generate -K 0 --ngrams x", "--ngrams needs drafts"),
        ("generate -K 0 --tree-width 2 x", "--tree-width needs drafts"),
        ("generate -K 0 --prompt-lookup x", "--prompt-lookup needs drafts"),
        ("generate --prompt-lookup --no-prompt-lookup x", "contradict each other"),
        ("generate --regex a --choice b x", "contradict each other"),
        ("chat --json-schema a.json --grammar b.lark", "contradict each other"),
        ("generate --paper-distance x", "with --show and --json only"),
        ("generate -m a --shift positive -md b x", "--shift takes the place of --draft"),
        ("generate --shift positive x", "need a --target"),
        ("generate --base a.gguf x", "need a --target"),
        ("check-pair -m a --shift a=b.gguf:c.gguf --shift d=b.gguf:c.gguf --plot p.png", "--plot"),
        ("generate -md a.gguf x", "need a --target"),
        ("generate --draft-lora a.gguf x", "need a --target"),
        ("quantize a.gguf b.gguf --compare Q4_0", "it takes no destination"),
        ("quantize a.gguf --compare Q4_0 --type Q4_0", "it takes no --type"),
        ("quantize a.gguf --compare Q4_0 --force", "it takes no --force"),
        ("quantize a.gguf --compare Q4_0 --no-measure", "it takes no --no-measure"),
        ("align a.gguf b.gguf --preferences c.jsonl --reward vader", "leave out --reward"),
        ("align a.gguf b.gguf --preferences c.jsonl --num-prompts 3", "leave out --num-prompts"),
        ("align a.gguf b.gguf --preferences c.jsonl --prompts d.txt", "leave out --prompts"),
        ("align a.gguf b.gguf --preferences c.jsonl -n 3", "leave out --max-tokens"),
        ("distill a.gguf b.gguf --from c.gguf --width 64", "leave them out"),
        ("distill a.gguf b.gguf --from c.gguf --layers 2", "leave them out"),
        ("bench -m a.gguf --only memory --draft-lengths 1", "needs aligned or lossless"),
        ("bench -m a.gguf --only memory --concurrency 1", "needs concurrent"),
        ("eval --question hi", "is for a judge"),
    ],
)
def test_flags_that_contradict_each_other_are_refused_at_once(
    run: Callable[..., tuple[int, str, str]], words: str, said: str
) -> None:
    """Before a model is loaded, or the embedded one fetched: no file of these exists."""
    code, out, err = run(*shlex.split(words))
    assert (code, out) == (2, "")
    assert said in err
    assert "no model given" not in err


@pytest.mark.parametrize(
    ("words", "flag"),
    [
        ("bench -n 1", "--max-tokens"),
        ("bench --repeat 0", "--repeat"),
        ("eval -n 0", "--max-tokens"),
        ("eval --num-prompts 0", "--num-prompts"),
        ("eval --seeds 0", "--seeds"),
        ("check-pair --num-prompts 0", "--num-prompts"),
        ("align a b --samples 1", "--samples"),
        ("align a b --num-prompts 0", "--num-prompts"),
        ("align a b -n 0", "--max-tokens"),
        ("align a b --rank 0", "--rank"),
        ("align a b --epochs 0", "--epochs"),
        ("distill a b --responses 0", "--responses"),
        ("distill a b -n 0", "--max-tokens"),
        ("distill a b --tokens 0", "--tokens"),
        ("distill a b --width 0", "--width"),
        ("distill a b --layers 0", "--layers"),
        ("distill a b --self-fed-steps 0", "--self-fed-steps"),
        ("quantize a b -t 0", "--threads"),
    ],
)
def test_counts_that_leave_nothing_to_do_are_wrong_usage(
    run: Callable[..., tuple[int, str, str]], words: str, flag: str
) -> None:
    code, out, err = run(*shlex.split(words))
    assert (code, out) == (2, "")
    assert flag in err


def test_a_wide_tree_gets_the_room_it_needs(
    run: Callable[..., tuple[int, str, str]], roles: list[str]
) -> None:
    usual = _core.ContextOptions().n_seq_max
    code, out, err = run(
        *("generate", *roles, "-t", 1, "-c", 256, "-s", 1, "-n", 4, "-K", 3),
        *("--tree-width", usual + 1, "--json", "ab"),
    )
    assert code == 0, err
    assert json.loads(out)["text"]


def test_a_warning_is_a_line_that_names_flags(
    run: Callable[..., tuple[int, str, str]], files: Files
) -> None:
    path = files.model(vocab=spm_vocab(), n_ctx_train=64).path
    code, _, said = run("generate", "-m", path, "-c", "2000", "-n", "1", "ab")
    assert code == 0
    assert re.search(r"^rewardshift: --n-ctx 2000 is more than .* 64 tokens", said)
