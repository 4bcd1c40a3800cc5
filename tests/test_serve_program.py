"""`rewardshift serve` behind real sockets: how it starts, whom it answers, how it ends."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from typer.testing import CliRunner

from rewardshift.cli.app import app
from rewardshift.serve import Settings, build_app
from tests.support.engine import EXACT
from tests.support.gated import GatedDecoder
from tests.support.http_server import Command, listening
from tests.support.served import VOCAB
from tests.support.tiny_gguf import CHATML_TEMPLATE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import Files

URL = "/v1/completions"
ASKED: dict[str, Any] = {"prompt": "ab", "max_tokens": 8, "seed": 1, "ignore_eos": True}


@pytest.fixture
def model(files: Files) -> Path:
    return files.model(vocab=VOCAB, chat_template=CHATML_TEMPLATE).path


@contextmanager
def client_of(command: Command, **options: Any) -> Iterator[httpx.Client]:
    """A client of a command whose model is loaded."""
    with httpx.Client(base_url=command.wait_for_url(), timeout=60, **options) as client:
        wait(lambda: client.get("/health").status_code == 200)
        yield client


def wait(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def requests_in(lines: list[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines if line.startswith("{")]


# --- the command ----------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_answers_end(model: Path, number: signal.Signals) -> None:
    words = ("-m", model, "-t", 1, "--port", 0, "--alias", "tiny", "-c", 4096)
    with Command(*words) as command, client_of(command) as client:
        assert client.get("/v1/models").json()["data"][0]["id"] == "tiny"
        asked = {**ASKED, "stream": True, "max_tokens": 3000}
        with client.stream("POST", URL, json=asked) as answer:
            lines = answer.iter_lines()
            assert next(lines).startswith("data: {")
            command.signal(number)
            said = [line for line in lines if line]
        assert said[-1] == "data: [DONE]"
        last = json.loads(said[-2].removeprefix("data: "))
        assert last["choices"][0]["finish_reason"] == "length"
        assert command.wait() == (130 if number == signal.SIGINT else 0)
    assert not any("Traceback" in line for line in command.lines)
    logged = requests_in(command.lines)[-1]
    assert (logged["path"], logged["completion_tokens"]) == (URL, 3000)


def test_answers_have_so_long_to_end(model: Path) -> None:
    words = ("-m", model, "-t", 1, "--port", 0, "-c", 20000, "--drain-seconds", 0)
    with Command(*words) as command, client_of(command) as client:
        asked = {**ASKED, "stream": True, "max_tokens": 19000}
        with client.stream("POST", URL, json=asked) as answer:
            lines = answer.iter_lines()
            assert next(lines).startswith("data: {")
            command.signal(signal.SIGTERM)
            said = [line for line in lines if line]
        assert "shutting_down" in said[-1]
        command.wait()


def test_a_second_signal_ends_answers_with_an_error(model: Path) -> None:
    words = ("-m", model, "-t", 1, "--port", 0, "-c", 40000, "--drain-seconds", 600)
    with Command(*words) as command, client_of(command) as client:
        asked = {**ASKED, "max_tokens": 19000, "deterministic": False}
        whole: list[httpx.Response] = []
        asking = threading.Thread(target=lambda: whole.append(client.post(URL, json=asked)))
        asking.start()
        with client.stream("POST", URL, json={**asked, "stream": True}) as answer:
            lines = answer.iter_lines()
            assert next(lines).startswith("data: {")
            wait(lambda: client.get("/health").json()["under_way"] == 2)
            command.signal(signal.SIGINT)
            wait(lambda: client.get("/health").json()["status"] == "stopping")
            command.signal(signal.SIGINT)
            said = [line for line in lines if line]
        asking.join()
        assert "shutting_down" in said[-1]
        assert whole[0].status_code == 503
        assert whole[0].json()["error"]["code"] == "shutting_down"
        assert command.wait() == 130
    told = [line for line in command.lines if line[0] != "{" and "--n-ctx" not in line]
    assert told[0].endswith("loading the models")
    assert told[1].startswith("rewardshift: ready after ")
    assert told[2:] == [
        "rewardshift: letting 2 answers end (600 s at most); once more stops now",
        "rewardshift: interrupted",
    ]


_LOADS_FOR_EVER = """
import atexit, os, threading, time
from rewardshift.serve.address import Address
from rewardshift.serve.program import run
from rewardshift.serve.settings import Settings

atexit.register(lambda: os.write(2, b"the interpreter ends"))
run(lambda: time.sleep(600), Settings(), Address(port=0))
"""


def test_sigterm_while_models_load_leaves_the_core_alone() -> None:
    """Its threads must not be destroyed: the process ends without ending the interpreter."""
    with subprocess.Popen(
        [sys.executable, "-c", _LOADS_FOR_EVER], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        assert "loading the models" in process.stderr.readline()
        process.terminate()
        assert process.wait(60) == 0
        assert process.stderr.read() == ""


def test_a_model_that_is_damaged_ends_the_command(tmp_path: Path, model: Path) -> None:
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(model.read_bytes()[:2000])
    with Command("-m", damaged, "--port", 0) as command:
        assert command.wait() == 1
    told = [line for line in command.lines if "listening" not in line]
    assert len(told) == 1
    assert "damaged.gguf" in told[0]


def test_a_port_that_is_taken_ends_the_command(model: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = Command("-m", model, "--port", port)
        assert command.wait() == 1
    assert command.lines == [
        f"rewardshift: cannot listen at 127.0.0.1:{port}: Address already in use"
    ]


def test_keys_come_from_a_file_and_the_environment(model: Path, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("one\n\n two \n")
    words = ("-m", model, "-t", 1, "--port", 0, "--api-key-file", keys)
    command = Command(*words, environment={"REWARDSHIFT_API_KEY": "three"})
    with command, client_of(command) as client:
        assert client.post(URL, json=ASKED).status_code == 401
        for key, status in (("one", 200), ("two", 200), ("three", 200), ("on", 401)):
            answer = client.post(URL, json=ASKED, headers={"Authorization": f"Bearer {key}"})
            assert answer.status_code == status
    assert not any("one" in line for line in command.lines if line.startswith("{"))


def test_it_listens_at_a_unix_socket(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "s"
    with Command("-m", model, "-t", 1, "--uds", path) as command:
        assert command.wait_for_url() == str(path)
        assert path.stat().st_mode & 0o777 == 0o600
        transport = httpx.HTTPTransport(uds=str(path))
        with httpx.Client(transport=transport, base_url="http://localhost", timeout=60) as client:
            wait(lambda: client.get("/health").status_code == 200)
            assert client.post(URL, json=ASKED).status_code == 200


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")
def test_it_speaks_https_with_a_certificate(model: Path, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    words = ("--ssl-keyfile", key, "--ssl-certfile", certificate)
    with Command("-m", model, "-t", 1, "--port", 0, *words) as command:
        assert command.wait_for_url().startswith("https://")
        trusting = ssl.create_default_context(cafile=str(certificate))
        with client_of(command, verify=trusting) as client:
            assert client.post(URL, json=ASKED).status_code == 200


def test_without_keys_a_server_for_all_is_warned_of(model: Path) -> None:
    with Command("-m", model, "-t", 1, "--port", 0, "--host", "0.0.0.0") as command:
        command.wait_for_url()
    assert any("--api-key-file" in line for line in command.lines)


def test_a_warning_is_one_line_of_the_log_however_often(model: Path) -> None:
    words = ("-m", model, "-t", 1, "--port", 0, "-c", 4096)
    with Command(*words) as command, client_of(command) as client:
        for tokens in (600, 601):  # the model was trained for 512
            client.post(URL, json={"prompt": "ab", "max_tokens": tokens, "stop": list("abcdef")})
        command.signal(signal.SIGTERM)
        command.wait()
    told = [json.loads(line) for line in command.lines if "was trained for 512: " in line]
    assert len(told) == 1
    assert "may have 602 tokens" in told[0]["warning"]


def test_flags_are_what_requests_get_that_do_not_say(model: Path) -> None:
    words = ("-m", model, "-t", 1, "--port", 0, "-n", 3, "--temp", 0)
    with Command(*words) as command, client_of(command) as client:
        asked = {"prompt": "ab", "ignore_eos": True}
        answers = [client.post(URL, json=asked).json() for _ in range(2)]
        assert {answer["usage"]["completion_tokens"] for answer in answers} == {3}
        assert len({answer["choices"][0]["text"] for answer in answers}) == 1
        told = client.get("/props").json()["default_generation_settings"]["params"]
        assert (told["max_tokens"], told["temperature"]) == (3, 0)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--ssl-keyfile", "k"), "--ssl-certfile"),
        (("--api-key-file", "/none"), "/none"),
        (("--shift", "positive"), "--target"),
        (("-m", "/none", "-np", "0"), "--parallel"),
        (("-m", "/none", "--temp", "-1"), "--temp"),
        (("-m", "/none", "--strength", "2"), "--strength"),
        (("-m", "/none", "--shift", "positive", "--strength", "formal=1"), "'formal'"),
        (("--strength", "formal=1"), "'formal'"),
    ],
)
def test_wrong_usage_is_told_before_anything_is_loaded(words: tuple[str, ...], said: str) -> None:
    result = CliRunner().invoke(app, ["serve", *words])
    assert result.exit_code in (1, 2)
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("port", [-1, 65536, 99999])
def test_a_port_that_is_none_is_refused(port: int) -> None:
    result = CliRunner().invoke(app, ["serve", "-m", "/none", "--port", str(port)])
    assert result.exit_code == 2
    assert "--port" in result.stderr


# --- clients that leave ---------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
def test_a_connection_that_closes_frees_its_place(model: Path, stream: bool) -> None:
    made: list[GatedDecoder] = []

    def open_decoder() -> GatedDecoder:
        made.append(GatedDecoder(model, **EXACT))
        return made[-1]

    served = build_app(open_decoder, Settings(drain_seconds=0))
    server = served.state.server
    with listening(served) as address:
        wait(lambda: server.health[0] == "ok")
        body = json.dumps({**ASKED, "max_tokens": 200, "stream": stream}).encode()
        head = f"POST {URL} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        with socket.create_connection(address) as connection:
            connection.sendall(head.encode() + body)
            wait(lambda: made[0].arrivals > 0)
            made[0].let(3)
            wait(lambda: made[0].arrivals > 3)
        # The next step is under way; the one after it would be the first without that request.
        time.sleep(0.2)
        made[0].open_gate()
        wait(lambda: server.worker.under_way == 0)
        assert made[0].work["target"].tokens < 20


def test_many_clients_share_batches(model: Path) -> None:
    from rewardshift import Decoder

    served = build_app(lambda: Decoder(model, **{**EXACT, "n_ctx": 2048}), Settings())
    with listening(served) as (host, port):
        url = f"http://{host}:{port}"
        wait(lambda: httpx.get(f"{url}/health").status_code == 200)
        texts: dict[int, str] = {}

        def ask(seed: int) -> None:
            asked = {**ASKED, "seed": seed, "max_tokens": 30}
            texts[seed] = httpx.post(url + URL, json=asked, timeout=60).json()["choices"][0]["text"]

        threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(24)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with Decoder(model, **{**EXACT, "n_ctx": 2048}) as decoder:
            for seed, text in texts.items():
                eos = {VOCAB.eos: float("-inf")}
                alone = decoder.generate("ab", seed=seed, max_tokens=30, logit_bias=eos)
                assert text == alone.text
        assert len(texts) == 24
