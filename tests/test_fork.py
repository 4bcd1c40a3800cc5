"""A forked child has its parent's memory but not its threads: it is told so, and never hangs."""

from __future__ import annotations

import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

from tests.support.engine import THREADS_SANITIZED, run_python

if TYPE_CHECKING:
    from tests.conftest import Files

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
starts_threads_in_the_child = pytest.mark.skipif(
    THREADS_SANITIZED, reason="ThreadSanitizer ends a child of fork() that starts threads"
)

PREAMBLE = """
import gc, os, sys, threading, time, warnings
import rewardshift
from rewardshift import _core
from support.engine import open_context

warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12: a fork with threads around
path = {path!r}
options = {{"n_threads": 2, "n_ctx": 128}}
decoder = rewardshift.Decoder(path, path, path, **options)
expected = decoder.generate([1, 3], max_tokens=4, seed=1).tokens

def said(call):
    try:
        return repr(call())
    except rewardshift.Error as error:
        return f"{{type(error).__name__}}: {{error}}"

def in_child(work):
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, str(work()).encode())
        os._exit(0)
    os.close(writer)
    text = b""
    while part := os.read(reader, 4096):
        text += part
    assert os.waitpid(child, 0)[1] == 0
    return text.decode()
"""


def run_forking(files: Files, code: str) -> str:
    """What a program prints that has a decoder with worker threads and forks."""
    path = str(files.model().path)
    process = run_python(PREAMBLE.format(path=path) + textwrap.dedent(code), timeout=60)
    assert process.returncode == 0, process.stderr
    return process.stdout.strip()


CALLS = (
    "decoder.generate([1, 3])",
    "decoder.generate_batch([[1, 3]])",
    "decoder.stream([1, 3])",
    "decoder.submit([1, 3])",
    "decoder.step()",
    "decoder.cancel(0)",
    "decoder.score([1], [3])",
    "decoder.tokenize('ab')",
    "decoder.detokenize([3])",
    "decoder.has_work",
    "decoder.vocab_size",
    "decoder.context_size",
)


def test_every_call_in_a_child_says_that_the_models_are_elsewhere(files: Files) -> None:
    said = run_forking(
        files,
        f"""
        for call in {CALLS!r}:
            print(in_child(lambda: said(lambda: eval(call))))
        """,
    )
    assert len(said.splitlines()) == len(CALLS)
    for line in said.splitlines():
        assert line.startswith("Error: this Decoder was loaded before fork()"), line
        assert "load it in the child" in line


def test_the_core_says_so_too(files: Files) -> None:
    said = run_forking(
        files,
        """
        model = _core.Model.load(path, _core.ModelOptions(), None)
        context = _core.Context(model, _core.ContextOptions(), _core.Threadpool(2))
        context.logits([(0, [1, 3], 1)])
        print(in_child(lambda: said(lambda: context.logits([(0, [1, 3, 4], 1)]))))
        """,
    )
    assert said.startswith("Error: this model was loaded before fork()"), said


def test_a_child_that_closes_and_drops_everything_ends(files: Files) -> None:
    """Nothing waits for threads that are not there, and the parent goes on."""
    said = run_forking(
        files,
        """
        stream = decoder.stream([1, 3], max_tokens=50, logit_bias={2: -50})
        next(stream)
        time.sleep(0.5)  # the worker threads go to sleep
        def drop():
            global decoder, stream
            decoder.close()
            stream.close()
            del decoder, stream
            gc.collect()
            return "ended"
        print(in_child(drop), decoder.generate([1, 3], max_tokens=4, seed=1).tokens == expected)
        """,
    )
    assert said == "ended True"


def test_a_child_that_only_exits_ends(files: Files) -> None:
    """With all that an interpreter tears down at its end."""
    said = run_forking(
        files,
        """
        time.sleep(0.5)
        sys.stdout.flush()
        if (child := os.fork()) == 0:
            sys.exit(0)
        print(os.waitpid(child, 0)[1])
        """,
    )
    assert said == "0"


def test_a_child_ends_though_another_thread_was_decoding(files: Files) -> None:
    """The lock that the thread held at the fork is held for ever in the child."""
    said = run_forking(
        files,
        """
        over = threading.Event()
        def decode():
            while not over.is_set():
                decoder.generate([1, 3], max_tokens=60, logit_bias={2: -50})
        thread = threading.Thread(target=decode)
        thread.start()
        def attempt():
            said(lambda: decoder.generate([1, 3]))
            decoder.close()
            return said(lambda: decoder.generate([1, 3]))
        print(all("loaded before fork()" in in_child(attempt) for _ in range(20)))
        over.set()
        thread.join()
        """,
    )
    assert said == "True"


@starts_threads_in_the_child
def test_a_child_may_load_its_own(files: Files) -> None:
    said = run_forking(
        files,
        """
        def load():
            with rewardshift.Decoder(path, path, path, **options) as own:
                return own.generate([1, 3], max_tokens=4, seed=1).tokens == expected
        print(in_child(load), decoder.generate([1, 3], max_tokens=4, seed=1).tokens == expected)
        """,
    )
    assert said == "True True"


@starts_threads_in_the_child
def test_multiprocessing_by_fork_ends_and_reports(files: Files) -> None:
    said = run_forking(
        files,
        """
        import multiprocessing
        def work(queue):
            queue.put(said(lambda: decoder.generate([1, 3])))
        context = multiprocessing.get_context("fork")
        queue = context.Queue()
        process = context.Process(target=work, args=(queue,))
        process.start()
        print(queue.get(timeout=20))
        process.join(20)
        print(process.exitcode)
        """,
    )
    assert said.startswith("Error: this Decoder was loaded before fork()")
    assert said.endswith("\n0")


def test_tables_go_on_in_the_child_though_their_decoder_had_threads() -> None:
    code = """
    import os, signal
    from support.panels import Readers, Wish, play, submit

    readers = Readers(("p", "q", "r"), (("a", "q", "r", 1.0),), seed=1)
    core = readers.decoder(n_threads=3)
    for seed in range(6):
        submit(core, readers, Wish({"max_tokens": 40}), seed)
    for _ in range(3):
        core.step()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        ended = len(play(core))
        del core
        os.write(writer, b"ended" if ended == 6 else b"lost")
        os._exit(0)
    os.close(writer)
    print(os.read(reader, 10).decode(), os.waitpid(child, 0)[1], len(play(core)))
    """
    process = run_python(code, timeout=60)
    assert process.stdout.split() == ["ended", "0", "6"], process.stderr
