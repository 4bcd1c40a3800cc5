"""Dials: what describes them, where they are found, and how strongly they shift by themselves."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from rewardshift import Decoder, Shift
from rewardshift.cli.app import app
from rewardshift.dials import references
from rewardshift.dials.catalogue import all_dials, dial_named, is_ours, ready_made_shift
from rewardshift.dials.dial import Dial, Strengths, read_dial, write_dial
from rewardshift.dials.references import keep_reference
from rewardshift.sources.folders import dials_root
from tests.support.engine import EXACT
from tests.support.tiny_gguf import CHATML_TEMPLATE, TinyModel, bpe_vocab, spm_vocab, write_lora

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import Files

STRENGTHS = Strengths(0.75, 2.0)
TALK: Any = [{"role": "user", "content": "ab cd"}]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the user's dials are."""
    folder = tmp_path / "dials"
    monkeypatch.setenv("REWARDSHIFT_DIALS_DIR", str(folder))
    return folder


@pytest.fixture
def reference(files: Files) -> TinyModel:
    return files.model(vocab=bpe_vocab(), chat_template=CHATML_TEMPLATE, noise=0.35, noise_seed=2)


@pytest.fixture
def make(root: Path, reference: TinyModel) -> Callable[..., Dial]:
    """Writes a dial of the user's."""

    def write(name: str, **changes: object) -> Dial:
        folder = root / name
        folder.mkdir(parents=True)
        adapter = write_lora(folder / "adapter.gguf", reference, scale=0.8, seed=len(name)).path
        (folder / "card.md").write_text(f"# {name}\n")
        sha256 = keep_reference(reference.path)
        given: dict[str, Any] = {
            "folder": folder,
            "does": f"sounds {name}",
            "strengths": STRENGTHS,
            "licence": "MIT",
            "adapter": adapter,
            "reference_sha256": sha256,
        }
        dial = Dial(**given | changes)
        write_dial(dial)
        return dial

    return write


def describe(dial: Dial, **changes: object) -> None:
    """Changes a description; None takes a key out of it."""
    path = dial.folder / "dial.json"
    told = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in told.items() if value is not None}))


# --- those of the package ------------------------------------------------------------------------


def test_every_dial_of_the_package_belongs_to_its_reference() -> None:
    found, wrong = all_dials()
    assert not wrong
    assert "positive" in [dial.name for dial in found]
    content = hashlib.sha256(references.OURS.read_bytes()).hexdigest()
    for dial in found:
        assert dial.reference_sha256 == content, dial.name
        assert references.reference_of(dial) == references.OURS
        assert dial.adapter.stat().st_size <= 700_000
        assert is_ours(dial.name)


def test_the_card_of_a_dial_states_its_strengths_and_its_licence() -> None:
    for dial in all_dials()[0]:
        card = dial.card.read_text(encoding="utf-8")
        assert card.startswith(f"# The dial {dial.name}\n")
        usual = dial.strengths
        assert f"| strength | {usual.same_vocabulary:g} for targets of the reference's" in card
        assert f"{usual.other_vocabulary:g} for all others" in card
        assert f"| licence | {dial.licence}" in card
        for heading in ("## How it was made", "## What it does", "## Limits"):
            assert heading in card, dial.name


def test_a_dial_is_a_shift_of_its_files() -> None:
    positive = ready_made_shift("positive")
    assert positive.reference == references.OURS
    assert positive.lora == references.OURS.parent / "positive" / "adapter.gguf"
    assert (positive.strength, positive.foreign_strength) == (1.0, 2.5)


# --- a user's own --------------------------------------------------------------------------------


def test_what_is_written_is_read_again(make: Callable[..., Dial]) -> None:
    dial = make("simple")
    assert read_dial(dial.folder) == dial == dial_named("simple")
    assert not is_ours("simple")


def test_dials_of_one_reference_share_its_file(root: Path, make: Callable[..., Dial]) -> None:
    shifts = [ready_made_shift(make(name).name) for name in ("simple", "terse")]
    assert shifts[0].reference == shifts[1].reference
    assert len(list((root / "references").iterdir())) == 1


def test_a_dial_of_the_package_s_reference_uses_that(make: Callable[..., Dial]) -> None:
    dial = make("warm", reference_sha256=keep_reference(references.OURS))
    assert ready_made_shift(dial.name).reference == references.OURS


def test_a_user_s_dial_does_not_shadow_one_of_the_package(
    make: Callable[..., Dial], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    make("simple")
    dial = make("positive")
    with pytest.raises(ValueError, match="two dials 'positive', one of the package and one of"):
        ready_made_shift("positive")
    found, wrong = all_dials()
    assert dial not in found
    assert len(wrong) == 1
    assert str(dial.folder) in wrong[0]
    assert "another name" in wrong[0]
    assert ready_made_shift("simple").lora is not None  # others do not suffer
    monkeypatch.setenv("REWARDSHIFT_DIALS_DIR", str(tmp_path / "elsewhere"))
    assert ready_made_shift("positive").lora is not None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "other"}, "named 'other', and its folder 'simple': rename one"),
        ({"name": "A B"}, "lower-case letters, digits and hyphens, not 'A B'"),
        ({"does": 3}, "does must be text, not 3"),
        ({"licence": None}, "licence must be text, not None"),
        ({"adapter": "../x.gguf"}, "must be a file in the same folder, not '../x.gguf'"),
        ({"adapter": "gone.gguf"}, "its adapter, gone.gguf, is missing"),
        ({"reference_sha256": "12"}, "64 hexadecimal digits, not '12'"),
        ({"strength": 2.0}, "same_vocabulary and other_vocabulary, not be 2.0"),
        ({"strength": {"same_vocabulary": 1}}, "other_vocabulary must be a finite number, not No"),
        (
            {"strength": {"same_vocabulary": True, "other_vocabulary": 1}},
            "same_vocabulary must be a finite number, not True",
        ),
        (
            {"strength": {"same_vocabulary": 1, "other_vocabulary": float("inf")}},
            "other_vocabulary must be a finite number, not inf",
        ),
    ],
    ids=str,
)
def test_a_description_that_is_none_is_named_with_what_is_wrong(
    make: Callable[..., Dial], changes: dict[str, object], said: str
) -> None:
    dial, good = make("simple"), make("good")
    describe(dial, **changes)
    with pytest.raises(ValueError, match=r"dial\.json describes no dial: ") as caught:
        ready_made_shift("simple")
    assert said in str(caught.value)
    found, wrong = all_dials()
    assert good in found
    assert len(wrong) == 1


@pytest.mark.parametrize("content", ["{", "[1]", "[" * 100_000, ""])
def test_a_description_that_is_no_json_object_is_named(
    make: Callable[..., Dial], content: str
) -> None:
    dial = make("simple")
    (dial.folder / "dial.json").write_text(content)
    with pytest.raises(ValueError, match=r"simple.dial\.json describes no dial"):
        dial_named("simple")


def test_a_reference_that_is_not_there_or_damaged_is_named(
    root: Path, make: Callable[..., Dial]
) -> None:
    make("simple")
    (kept,) = (root / "references").iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ValueError, match="is damaged"):
        ready_made_shift("simple")
    kept.unlink()
    with pytest.raises(ValueError, match=r"another reference than the package's.* put it at"):
        ready_made_shift("simple")
    assert "another reference" in all_dials()[1][0]


def test_unknown_names_are_told_what_there_is(root: Path, make: Callable[..., Dial]) -> None:
    make("simple")
    with pytest.raises(
        ValueError, match=r"no dial 'calm'; there are .*positive.*, simple"
    ) as caught:
        ready_made_shift("calm")
    assert str(root) in str(caught.value)


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {"XDG_DATA_HOME": "/data"}, "/data/rewardshift/dials"),
        ("linux", {"HOME": "/me"}, "/me/.local/share/rewardshift/dials"),
        ("darwin", {"HOME": "/me"}, "/me/Library/Application Support/rewardshift/dials"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/rewardshift/dials"),
        ("linux", {"REWARDSHIFT_DIALS_DIR": "/mine"}, "/mine"),
    ],
)
def test_a_user_s_dials_lie_where_the_platform_keeps_data(
    monkeypatch: pytest.MonkeyPatch, platform: str, variables: dict[str, str], expected: str
) -> None:
    for name in ("REWARDSHIFT_DIALS_DIR", "XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.platform", platform)
    assert dials_root().as_posix() == expected


# --- strengths by class of target ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("vocab", "strength"),
    [(bpe_vocab(), STRENGTHS.same_vocabulary), (spm_vocab(18, byte_tokens=True), 2.0)],
    ids=["same vocabulary", "another"],
)
@pytest.mark.filterwarnings("ignore::rewardshift.VocabularyWarning")
def test_the_usual_strength_depends_on_the_target_s_vocabulary(
    files: Files, make: Callable[..., Dial], vocab: Any, strength: float
) -> None:
    make("simple")
    target = files.model(vocab=vocab, chat_template=CHATML_TEMPLATE, scale=1.0)
    fixed: Any = {"seed": 5, "max_tokens": 12}
    with Decoder(target.path, shift="simple", **EXACT) as decoder:
        assert decoder.shifts["simple"].strength == strength
        usual, asked, other = (
            decoder.chat(TALK, strength=s, **fixed) for s in (None, strength, -strength)
        )
        assert (usual.tokens, usual.logprobs) == (asked.tokens, asked.logprobs)
        assert usual.logprobs != other.logprobs


def test_several_dials_multiply_and_share_their_reference(
    files: Files, root: Path, make: Callable[..., Dial]
) -> None:
    dials = {name: make(name) for name in ("simple", "terse")}
    target = files.model(vocab=bpe_vocab(), chat_template=CHATML_TEMPLATE, scale=1.0).path
    files_of = {
        name: Shift(
            reference=root / "references" / f"{dial.reference_sha256}.gguf", lora=dial.adapter
        )
        for name, dial in dials.items()
    }
    asked: Any = {"strength": {"simple": 1.5, "terse": -0.5}}
    with (
        Decoder(target, shift=["simple", "terse"], **EXACT) as named,
        Decoder(target, shifts=files_of, **EXACT) as by_file,
    ):
        assert list(named.work) == ["target", "simple shift", "terse shift", "reference"]
        told, wanted = (d.score([5, 9], [30, 7], **asked) for d in (named, by_file))
        assert told.goal_logprobs.tolist() == wanted.goal_logprobs.tolist()
        for left_out in ("simple", "terse"):
            without = asked["strength"] | {left_out: 0.0}
            assert (
                abs(named.score([5, 9], [30, 7], strength=without).goal_logprob - told.goal_logprob)
                > 0.01
            )


# --- the command line ----------------------------------------------------------------------------


def run(*words: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "200"})
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout, done.stderr


def test_all_dials_are_listed_with_what_is_wrong_with_others(make: Callable[..., Dial]) -> None:
    make("simple")
    describe(make("broken"), does=None)
    code, out, err = run("shifts")
    assert code == 0
    rows = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert "the package" in rows["positive"]
    assert rows["simple"].split()[-2:] == ["MIT", "you"]
    assert "0.75, or 2" in rows["simple"]
    assert "broken" not in rows
    assert "broken/dial.json describes no dial: does must be text" in err.replace("\\", "/")
    told = json.loads(run("shifts", "--json")[1])
    mine = next(one for one in told["shifts"] if one["name"] == "simple")
    assert mine["from"] == "you"
    assert mine["strength"] == {"same_vocabulary": 0.75, "other_vocabulary": 2.0}
    assert len(told["wrong"]) == 1
    assert run("shifts", "simple")[1] == "# simple\n"


def test_dials_are_flags_that_may_be_repeated(files: Files, make: Callable[..., Dial]) -> None:
    for name in ("simple", "terse"):
        make(name)
    target = files.model(vocab=bpe_vocab(), chat_template=CHATML_TEMPLATE, scale=1.0).path
    shared = ("generate", "-m", target, "-t", 1, "-c", 512, "-n", 8, "-s", 1, "--json")
    both = ("--shift", "simple", "--shift", "terse", "ab")
    code, out, err = run(*shared, "--strength", "simple=2", "--strength", "terse=-1", *both)
    assert code == 0, err
    assert json.loads(out)["statistics"]["shifts"].keys() == {"simple", "terse"}
    code, _, err = run(*shared, "--shift", "calm", "ab")
    assert code == 2
    assert "there is no dial 'calm'" in err
