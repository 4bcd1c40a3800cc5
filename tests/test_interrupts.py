"""Ctrl-C inside each phase of a step: nothing is lost, and nothing is left behind."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.engine import run_python

if TYPE_CHECKING:
    from tests.conftest import Files

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs SIGINT")

PROGRAM = """
import json, os, random, signal, threading, time
from types import SimpleNamespace
from rewardshift import Decoder
from support.engine import open_context

K, PROMPT = 16, [1, *[3 + i * i % 7 for i in range(200)]]
PREFILL = len(PROMPT) - 1
settings = dict(max_tokens=6 * (K + 1), num_draft_tokens=K, strength=1.0, logit_bias={2: -50})

def open_roles():
    model = SimpleNamespace(path=PATH)
    return [open_context(model, n_ctx=1024) for _ in range(3)]

def essence(completion):
    return completion.tokens, completion.text, completion.finish_reason

def phase(before, contexts):
    "Where a step broke off: the contexts count what they evaluated."
    target, draft, reference = (c.evaluated_tokens - b for c, b in zip(contexts, before))
    if contexts[0].evaluated_tokens < PREFILL:
        return "prefill"
    if before[0] == 0:  # the step that ended the prefill
        target, draft, reference = target - PREFILL, draft - PREFILL, reference - PREFILL
    if draft < K:
        return "draft"
    return "verify" if target == 0 else "later"

def evaluated(contexts):
    return [c.evaluated_tokens for c in contexts]

contexts = open_roles()
fresh = Decoder.from_models(*contexts)
expected = essence(fresh.generate(PROMPT, seed=1, **settings))
other = essence(fresh.generate([1, 5, 4], seed=2, max_tokens=8))
anew = Decoder.from_models(*open_roles())
start = time.perf_counter()
anew.score(PROMPT[:-1], PROMPT[-1:])
prefill_seconds = time.perf_counter() - start
start = time.perf_counter()
anew.generate(PROMPT, seed=1, **settings)
rounds_seconds = time.perf_counter() - start

random.seed(0)
seen, wrong = {}, []
while not all(seen.get(name, 0) >= 3 for name in ("prefill", "draft", "verify")):
    contexts = open_roles()
    decoder = Decoder.from_models(*contexts)
    request = decoder.submit(PROMPT, seed=1, **settings)
    into_prefill = seen.get("prefill", 0) < 3
    while not into_prefill and contexts[0].evaluated_tokens < PREFILL:
        decoder.step()
    delay = random.random() * (prefill_seconds if into_prefill else rounds_seconds)
    timer = threading.Timer(delay, os.kill, (os.getpid(), signal.SIGINT))
    completion, before = None, evaluated(contexts)
    try:
        timer.start()
        while decoder.has_work:
            before = evaluated(contexts)
            for chunk in decoder.step():
                completion = chunk.completion or completion
        timer.join()
        time.sleep(0.01)  # the signal, if it comes so late
        # Too late; the models may have been timed in a slow moment.
        prefill_seconds, rounds_seconds = 0.9 * prefill_seconds, 0.9 * rounds_seconds
        continue
    except KeyboardInterrupt:
        pass
    name = phase(before, contexts)
    seen[name] = seen.get(name, 0) + 1
    if seen[name] % 2:  # given up: the next request knows nothing of it
        decoder.cancel(request)
        if essence(decoder.generate([1, 5, 4], seed=2, max_tokens=8)) != other:
            wrong.append(("next", name))
        if essence(decoder.generate(PROMPT, seed=1, **settings)) != expected:
            wrong.append(("same again", name))
        continue
    while decoder.has_work:  # resumed: as if it had never been interrupted
        for chunk in decoder.step():
            completion = chunk.completion or completion
    if completion is None or essence(completion) != expected:
        wrong.append(("resumed", name))
print(json.dumps({"seen": seen, "wrong": wrong}))
"""


def test_ctrl_c_in_prefill_draft_and_verify_loses_nothing(files: Files) -> None:
    """Signals come at random times until each phase was hit; which one it was is known afterwards,
    from what the contexts have evaluated."""
    path = files.model(n_embd=256, n_ff=1024, n_layer=4, n_ctx_train=1024).path
    process = run_python(f"PATH = {str(path)!r}\n{PROGRAM}", timeout=500)
    assert process.returncode == 0, process.stderr[-2000:]
    outcome = json.loads(process.stdout)
    assert outcome["wrong"] == []
    assert {"prefill", "draft", "verify"} <= set(outcome["seen"])
