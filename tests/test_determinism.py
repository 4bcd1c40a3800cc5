"""A request with a seed is decoded the same to the last bit, whatever else its decoder does.

Compared are not texts, which bear some rounding, but the log-probabilities of every token, which
bear none. Cache types are those of use (f16), weights are F32 and tiny.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from rewardshift import Decoder, NgramTable
from rewardshift.engine.lanes import CHUNK, reusable
from tests.support.engine import run_python
from tests.support.tiny_gguf import spm_vocab, write_lora

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from rewardshift import Completion
    from tests.conftest import Files

SPEC: dict[str, Any] = {
    "vocab": spm_vocab(30),
    "n_embd": 64,
    "n_head": 2,
    "n_head_kv": 1,
    "n_ctx_train": 1024,
}
OPTIONS: dict[str, Any] = {"max_tokens": 24, "temperature": 1.0, "logit_bias": {2: -float("inf")}}
"""A text that goes on."""

Fingerprint = tuple[Any, ...]


def fingerprint(completion: Completion) -> Fingerprint:
    """All that a user can see of how a text came about, unrounded."""
    return (
        completion.text,
        completion.tokens,
        tuple(
            (step.origin, step.logprob, step.target_logprob, step.draft_logprob, step.log_z)
            for step in completion.steps
        ),
    )


def prompt_of(length: int, *, seed: int = 0) -> list[int]:
    """Random ids; prompts of one seed begin alike."""
    draws = random.Random(seed)
    return [1, *(draws.randrange(3, 30) for _ in range(length - 1))]


def roles(kind: str, files: Files, folder: Path) -> dict[str, Any]:
    """Arguments of a Decoder of some kind."""
    target, draft, reference = files.trio(**SPEC)
    if kind == "lora":
        adapter = write_lora(folder / "adapter.gguf", reference, scale=0.5)
        return {"target": target.path, "reference": reference.path, "draft_lora": adapter.path}
    return {
        "alone": {"target": target.path},
        "lossless": {"target": target.path, "draft": draft.path},
        "pair": {"target": target.path, "draft": draft.path, "reference": reference.path},
        "prompt": {"target": target.path, "draft": draft.path, "reference": draft.path},
    }[kind]


def disturb(decoder: Decoder, draws: random.Random) -> None:
    """What may have gone before: other prompts, batches, scores, an unfinished request."""
    act = draws.choice(("one", "batch", "score", "seeded", "cancelled"))
    prompt = prompt_of(draws.randrange(2, 300), seed=draws.randrange(2))
    if act == "one":
        decoder.generate(prompt, **OPTIONS)
    elif act == "batch":
        decoder.generate_batch([prompt[: 2 + i] for i in range(4)], **OPTIONS)
    elif act == "score":
        decoder.score(prompt[:1], prompt[1:])
    elif act == "seeded":
        decoder.generate(prompt, seed=draws.randrange(9), **OPTIONS)
    else:
        request = decoder.submit(prompt, seed=5, **OPTIONS)
        for _ in range(draws.randrange(5)):
            decoder.step()
        decoder.cancel(request)
        while decoder.has_work:
            decoder.step()


@pytest.mark.parametrize("kind", ["alone", "lossless", "pair", "lora", "prompt"])
@pytest.mark.parametrize("length", [2, 40, CHUNK, CHUNK + 1, 2 * CHUNK + 37])
def test_whatever_came_before(kind: str, length: int, files: Files, tmp_path: Path) -> None:
    models = roles(kind, files, tmp_path)
    prompt = prompt_of(length)
    shift = {"draft_prompt": [*prompt[:5], *prompt]} if kind == "prompt" else {}
    with Decoder(**models) as fresh:
        wanted = fingerprint(fresh.generate(prompt, seed=3, **shift, **OPTIONS))
    draws = random.Random(length)
    with Decoder(**models) as decoder:
        for _ in range(6):
            disturb(decoder, draws)
            assert fingerprint(decoder.generate(prompt, seed=3, **shift, **OPTIONS)) == wanted


@pytest.mark.parametrize(
    "options",
    [
        {"flash_attn": True},
        {"flash_attn": False},
        {"type_k": "q8_0", "type_v": "q8_0"},
        {"kv_unified": False, "n_ctx": 16384},
        {"n_batch": 50, "n_ubatch": 20},
        {"n_seq_max": 1},
    ],
    ids=str,
)
def test_however_it_was_loaded(options: dict[str, Any], files: Files, tmp_path: Path) -> None:
    models = roles("pair", files, tmp_path)
    prompt = prompt_of(600)
    found = set()
    for _ in range(2):
        with Decoder(**models, **options) as decoder:
            for seed in range(3):
                decoder.generate(prompt_of(100 + 70 * seed), **OPTIONS)
                found.add(fingerprint(decoder.generate(prompt, seed=3, **OPTIONS)))
    assert len(found) == 1


def neighbours(decoder: Decoder) -> None:
    """Requests of every kind, under way."""
    for i in range(3):
        decoder.submit(prompt_of(20 + 50 * i), **OPTIONS)
        decoder.submit(prompt_of(20 + 50 * i), seed=i, deterministic=False, **OPTIONS)
    decoder.submit(prompt_of(9), seed=8, **OPTIONS)


def test_whoever_is_decoded_beside_it(files: Files, tmp_path: Path) -> None:
    models = roles("pair", files, tmp_path)
    with Decoder(**models) as decoder:
        wanted = fingerprint(decoder.generate(prompt_of(200), seed=3, **OPTIONS))
        for steps in range(4):
            neighbours(decoder)
            for _ in range(steps):
                decoder.step()
            mine = decoder.submit(prompt_of(200), seed=3, **OPTIONS)
            done = {}
            while decoder.has_work:
                for chunk in decoder.step():
                    if chunk.completion is not None:
                        done[chunk.id] = chunk.completion
            assert len(done) == 8
            assert fingerprint(done[mine]) == wanted


def test_a_neighbour_that_fails_changes_nothing(files: Files) -> None:
    sound, broken = files.model(**SPEC), files.model(**SPEC, nan_embedding=7)
    del sound
    clean = [token for token in prompt_of(60) if token != 7]
    with Decoder(broken.path) as decoder:
        options = {**OPTIONS, "logit_bias": {2: -float("inf"), 7: -float("inf")}}
        wanted = fingerprint(decoder.generate(clean, seed=3, **options))
        for seed in (None, 4):
            bad = decoder.submit([1, 7, 5], seed=seed, **options)
            mine = decoder.submit(clean, seed=3, **options)
            ends = {}
            while decoder.has_work:
                ends |= {chunk.id: chunk for chunk in decoder.step() if chunk.is_last}
            assert ends[bad].error is not None
            completion = ends[mine].completion
            assert completion is not None
            assert fingerprint(completion) == wanted


def test_a_request_of_a_batch_is_repeated_alone(files: Files, tmp_path: Path) -> None:
    with Decoder(**roles("pair", files, tmp_path)) as decoder:
        prompts = [prompt_of(30 + i) for i in range(4)]
        batch = decoder.generate_batch(prompts, seed=11, **OPTIONS)
        assert [item.substream for item in batch] == [0, 1, 2, 3]
        for prompt, item in reversed(list(zip(prompts, batch, strict=True))):
            again = decoder.generate(prompt, seed=item.seed, substream=item.substream, **OPTIONS)
            assert fingerprint(again) == fingerprint(item)
        shifted = decoder.generate_batch(prompts[:1], seed=11, substream=3, **OPTIONS)
        assert shifted[0].substream == 3


def test_a_drawn_seed_repeats_what_was_asked_to_be_deterministic(
    files: Files, tmp_path: Path
) -> None:
    with Decoder(**roles("pair", files, tmp_path)) as decoder:
        first = decoder.generate(prompt_of(30), deterministic=True, **OPTIONS)
        decoder.generate(prompt_of(70), **OPTIONS)
        again = decoder.generate(prompt_of(30), seed=first.seed, **OPTIONS)
        assert fingerprint(again) == fingerprint(first)


def test_trees_and_tables_are_repeated_too(files: Files, tmp_path: Path) -> None:
    with Decoder(**roles("pair", files, tmp_path)) as decoder:
        found = set()
        for length in (10, 200, 30):
            decoder.generate(prompt_of(length), tree_width=2, seed=1, **OPTIONS)
            tree = decoder.generate(prompt_of(150), tree_width=3, seed=3, **OPTIONS)
            drafter = NgramTable()
            table = decoder.generate(prompt_of(150), drafter=drafter, seed=3, **OPTIONS)
            found.add((fingerprint(tree), fingerprint(table)))
        assert len(found) == 1


def test_a_role_alone_is_repeated_too(files: Files, tmp_path: Path) -> None:
    with Decoder(**roles("lora", files, tmp_path)) as decoder, decoder.alone("draft") as draft:
        found = set()
        for seed in range(3):
            draft.generate(prompt_of(20 + 90 * seed), seed=seed, **OPTIONS)
            decoder.generate(prompt_of(33), seed=seed, **OPTIONS)
            found.add(fingerprint(draft.generate(prompt_of(50), seed=3, **OPTIONS)))
        assert len(found) == 1


INTERRUPTED = """
import json, os, random, signal, threading, time
from rewardshift import Decoder

def opinions(completion):
    return [(step.id, step.logprob, step.draft_logprob) for step in completion.steps]

draws, found, breaks = random.Random(0), set(), 0
with Decoder(*PATHS) as decoder:
    def play():
        request, completion, breaks = decoder.submit(PROMPT, seed=3, **OPTIONS), None, 0
        while completion is None:
            try:
                for chunk in decoder.step():
                    completion = chunk.completion
            except KeyboardInterrupt:
                breaks += 1
        return completion, breaks

    play()
    start = time.perf_counter()
    wanted = opinions(play()[0])
    seconds = time.perf_counter() - start
    while breaks < 20:
        decoder.forget()
        timer = threading.Timer(draws.random() * seconds, os.kill, (os.getpid(), signal.SIGINT))
        try:
            timer.start()
            completion, broken = play()
            timer.join()
            time.sleep(0.01)  # the signal, if it comes so late
        except KeyboardInterrupt:  # between two steps
            while decoder.has_work:
                decoder.step()
            continue
        breaks += broken
        found.add(opinions(completion) == wanted)
print(json.dumps(sorted(found)))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGINT")
def test_interrupted_and_gone_on_with(files: Files) -> None:
    big = {"n_embd": 256, "n_ff": 1024, "n_layer": 6}  # whose rounds take long enough to be hit
    models = files.trio(**SPEC | big)
    given = {
        "PATHS": [str(model.path) for model in models],
        "PROMPT": prompt_of(20),
        "OPTIONS": {"max_tokens": 40, "temperature": 1.0, "num_draft_tokens": 1, "strength": 0},
    }
    constants = "".join(f"{name} = {value!r}\n" for name, value in given.items())
    process = run_python(constants + INTERRUPTED)
    assert process.returncode == 0, process.stderr[-2000:]
    assert json.loads(process.stdout) == [True]


@pytest.fixture
def busy_machine() -> Iterator[None]:
    """Other programs that want every core."""
    spin = [sys.executable, "-c", "while True: pass"]
    programs = [subprocess.Popen(spin) for _ in range(3)]
    yield
    for program in programs:
        program.kill()
        program.wait()


@pytest.mark.slow
@pytest.mark.usefixtures("busy_machine")
def test_on_a_busy_machine(files: Files, tmp_path: Path) -> None:
    with Decoder(**roles("pair", files, tmp_path), n_threads=2) as decoder:
        wanted = fingerprint(decoder.generate(prompt_of(700), seed=3, **OPTIONS))
        for _ in range(10):
            assert fingerprint(decoder.generate(prompt_of(700), seed=3, **OPTIONS)) == wanted


@pytest.mark.slow
@pytest.mark.real_model
@pytest.mark.parametrize("options", [{}, {"flash_attn": False, "n_threads": 1}], ids=str)
def test_a_real_model_says_the_same_again(
    options: dict[str, Any], smollm2: tuple[str, str]
) -> None:
    target, small = smollm2
    prompt = "Once upon a time there was a fox who could not sleep. " * 14  # some 180 tokens
    with Decoder(target, small, small, n_ctx=1024, **options) as decoder:
        found = set()
        for i in range(6):
            decoder.generate(prompt[: 100 * i + 7], seed=i, max_tokens=3)
            found.add(fingerprint(decoder.generate(prompt, max_tokens=16, seed=3)))
            decoder.generate(prompt[: 110 * i + 5], max_tokens=3)
        assert len(found) == 1


# --- who is apart, and what that costs --------------------------------------------------------


def evaluated(decoder: Decoder) -> int:
    return decoder.work["target"].tokens


def test_the_prompt_that_was_read_last_is_not_read_again(files: Files, tmp_path: Path) -> None:
    with Decoder(**roles("alone", files, tmp_path)) as decoder:
        prompt = prompt_of(3 * CHUNK)
        decoder.generate(prompt, seed=1, max_tokens=1)
        before = evaluated(decoder)
        decoder.generate(prompt, seed=2, max_tokens=1)
        assert evaluated(decoder) - before == 1
        before = evaluated(decoder)
        decoder.generate([*prompt, 5, 6, 7], seed=2, max_tokens=1)  # 3 C - 1 of it were in chunks
        assert evaluated(decoder) - before == CHUNK + 3


@pytest.mark.parametrize(
    ("before", "now", "kept"),
    [
        (prompt_of(50), prompt_of(50), 49),
        (prompt_of(50), [*prompt_of(49), 0], 49),  # whose last token no chunk has seen
        (prompt_of(50), prompt_of(51), 0),
        (prompt_of(CHUNK), prompt_of(CHUNK + 1), 0),  # its last token was in a round
        (prompt_of(CHUNK + 1), prompt_of(CHUNK + 2), CHUNK),
        (prompt_of(3 * CHUNK), prompt_of(2 * CHUNK), CHUNK),
        (prompt_of(3 * CHUNK), [0, *prompt_of(3 * CHUNK)[1:]], 0),
        ([], prompt_of(5), 0),
        (prompt_of(1), prompt_of(1), 0),
    ],
    ids=str,
)
def test_only_what_would_be_evaluated_in_the_same_batches_is_kept(
    before: Sequence[int], now: Sequence[int], kept: int
) -> None:
    assert reusable(before, now) == kept


def test_apart_or_not_there_is_as_much_room(files: Files, tmp_path: Path) -> None:
    asked = OPTIONS | {"max_tokens": None}
    for options in ({"n_ctx": 300}, {"n_ctx": 4096, "n_seq_max": 7, "kv_unified": False}):
        with Decoder(**roles("pair", files, tmp_path), **options) as decoder:
            for seed in (None, 1):
                found = decoder.generate([1], seed=seed, **asked)
                assert len(found.tokens) == decoder.context_size - 1


def test_requests_that_are_apart_wait_for_each_other_and_for_nobody_else(
    files: Files, tmp_path: Path
) -> None:
    with Decoder(**roles("pair", files, tmp_path)) as decoder:
        ids = [decoder.submit(prompt_of(9), seed=i, **OPTIONS) for i in range(3)]
        shared = decoder.submit(prompt_of(9), **OPTIONS)
        ends: list[int] = []
        while decoder.has_work:
            ends += [chunk.id for chunk in decoder.step() if chunk.is_last]
        assert [i for i in ends if i != shared] == ids
        assert ends[-1] != shared


def test_cancelling_one_that_waits_ends_it_with_the_next_step(files: Files, tmp_path: Path) -> None:
    with Decoder(**roles("pair", files, tmp_path)) as decoder:
        wanted = fingerprint(decoder.generate(prompt_of(9), seed=0, **OPTIONS))
        first, second, third = (decoder.submit(prompt_of(9), seed=i, **OPTIONS) for i in range(3))
        decoder.step()
        decoder.cancel(second)
        decoder.cancel(second)
        decoder.cancel(999)
        ended = {c.id: c.completion for c in decoder.step() if c.completion is not None}
        assert list(ended) == [second]
        assert ended[second].finish_reason == "cancelled"
        done = {}
        while decoder.has_work:
            done |= {c.id: c.completion for c in decoder.step() if c.completion is not None}
        assert list(done) == [first, third]
        assert fingerprint(done[first]) == wanted


def test_a_request_that_is_wrong_is_refused_when_it_is_submitted(
    files: Files, tmp_path: Path
) -> None:
    with Decoder(**roles("pair", files, tmp_path)) as decoder:
        with pytest.raises(ValueError, match="temperature"):
            decoder.submit(prompt_of(9), seed=1, temperature=-1.0)
        with pytest.raises(TypeError, match="deterministic cannot be 'yes'"):
            decoder.submit(prompt_of(9), deterministic="yes")  # type: ignore[arg-type]
        assert not decoder.has_work


def test_forgetting_changes_nothing_but_work(files: Files, tmp_path: Path) -> None:
    with Decoder(**roles("pair", files, tmp_path)) as decoder:
        prompt = prompt_of(60)
        wanted = fingerprint(decoder.generate(prompt, seed=3, **OPTIONS))
        decoder.forget()
        before = evaluated(decoder)
        assert fingerprint(decoder.generate(prompt, seed=3, **OPTIONS)) == wanted
        assert evaluated(decoder) - before > len(prompt)
