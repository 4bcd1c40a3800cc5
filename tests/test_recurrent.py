"""Recurrent and hybrid models: what is kept of a history is a state, and rows are right anyway."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewardshift import EvaluationError
from tests.support import precision
from tests.support.engine import open_context, rows, run_python, tokens_of
from tests.support.one_by_one import Oracles
from tests.support.tiny_recurrent import ARCHITECTURES, RecurrentSpec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from rewardshift import _core
    from tests.conftest import Files
    from tests.support.engine import History
    from tests.support.tiny_recurrent import RecurrentModel

pytestmark = pytest.mark.numeric

STATES_ONLY = ("mamba", "mamba2", "rwkv6", "rwkv7")
KINDS = ("mamba2", "falcon-h1", "lfm2", "qwen35")
"""A state alone; beside attention in one layer; of a convolution; of a delta net."""

SNAPSHOTS = ("lfm2", "qwen35")
"""Of those, the ones that llama.cpp keeps snapshots of."""

LONGEST = 200
TOLERANCE = precision.of_recurrent_logits(RecurrentSpec(arch="mamba").scale, LONGEST)


@pytest.fixture(scope="module")
def oracles() -> Oracles:
    """They know what they were asked before."""
    return Oracles()


def check(context: _core.Context, model: RecurrentModel, oracles: Oracles, *asked: History) -> None:
    compare(rows(context, *asked), model, oracles, *asked)


def compare(
    got: NDArray[np.float32], model: RecurrentModel, oracles: Oracles, *asked: History
) -> None:
    oracle = oracles.of(model)
    wanted = [oracle.rows(tokens, n) for _, tokens, n in asked if n > 0]
    assert len(got) == sum(len(w) for w in wanted)
    if wanted:
        np.testing.assert_allclose(got, np.concatenate(wanted), rtol=0, atol=TOLERANCE)


def evaluated(context: _core.Context, *asked: History, drafts: Sequence[int] = ()) -> int:
    """How many tokens it took to answer."""
    before = context.evaluated_tokens
    context.drafted_logits([(s, [int(t) for t in tokens], n) for s, tokens, n in asked], drafts)
    return context.evaluated_tokens - before


# --- what is answered --------------------------------------------------------------------------


@pytest.mark.parametrize("n_batch", [1, 3, 16, 512])
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_rows_of_several_sequences_are_those_of_one_token_at_a_time(
    files: Files, oracles: Oracles, arch: str, n_batch: int
) -> None:
    model = files.recurrent(arch)
    context = open_context(model, n_batch=n_batch)
    asked = [(0, tokens_of(9, 1), 9), (2, [4], 1), (1, tokens_of(40, 3), 3), (4, tokens_of(7), 2)]
    check(context, model, oracles, *asked)
    check(context, model, oracles, *asked)


@st.composite
def walks(draw: st.DrawFn) -> list[list[tuple[History, int]]]:
    """Calls for up to three sequences, each history derived from an earlier one of any of them, and
    how many tokens of it are said to be drafts."""
    known: list[list[int]] = [tokens_of(12)]
    calls: list[list[tuple[History, int]]] = []
    for _ in range(draw(st.integers(1, 8))):
        call: list[tuple[History, int]] = []
        for sequence in draw(st.lists(st.integers(0, 3), min_size=1, max_size=3, unique=True)):
            base = draw(st.sampled_from(known))
            kept = base[: draw(st.integers(0, len(base)))]
            added = draw(st.lists(st.integers(3, 11), max_size=8))
            history = (kept + added or [5])[:40]
            known.append(history)
            n_rows = draw(st.integers(0, min(4, len(history))))
            call.append(((sequence, history, n_rows), draw(st.integers(0, min(4, len(history))))))
        calls.append(call)
    return calls


@pytest.mark.parametrize("arch", ARCHITECTURES)
@settings(max_examples=15, deadline=None, derandomize=True)
@given(calls=walks(), n_batch=st.sampled_from([5, 512]))
def test_any_walk_through_histories_is_answered_right(
    files: Files,
    oracles: Oracles,
    arch: str,
    n_batch: int,
    calls: list[list[tuple[History, int]]],
) -> None:
    model = files.recurrent(arch)
    context = open_context(model, n_ctx=120, n_seq_max=3, n_batch=n_batch)
    for call in calls:
        asked = [history for history, _ in call]
        got = context.drafted_logits(asked, [drafts for _, drafts in call])
        compare(got, model, oracles, *asked)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_tree_of_histories_is_answered_right(files: Files, oracles: Oracles, arch: str) -> None:
    model, prompt = files.recurrent(arch), tokens_of(20)
    context = open_context(model)
    for start in (prompt, [*prompt, 4, 8]):
        rows(context, (0, start[:-1], 0))
        check(
            context,
            model,
            oracles,
            (0, [*start, 4, 5, 6], 4),
            (3, [*start, 4, 5, 7], 1),
            (1, [*start, 4, 8, 9], 2),
            (2, [*start, 10], 1),
        )


@pytest.mark.parametrize("arch", sorted(set(ARCHITECTURES) - set(STATES_ONLY)))
def test_a_full_context_is_an_error_and_leaves_the_context_usable(
    files: Files, oracles: Oracles, arch: str
) -> None:
    model, a, b = files.recurrent(arch), tokens_of(200, 1), tokens_of(200, 2)
    context = open_context(model, n_ctx=256)
    check(context, model, oracles, (0, a[:50], 1))
    with pytest.raises(EvaluationError, match="context"):
        rows(context, (0, a, 1), (1, b, 1))
    check(context, model, oracles, (0, a, 2))
    check(context, model, oracles, (1, b, 2))


@pytest.mark.parametrize("arch", STATES_ONLY)
def test_a_state_takes_no_cells(files: Files, oracles: Oracles, arch: str) -> None:
    model, context = files.recurrent(arch), open_context(files.recurrent(arch), n_ctx=LONGEST)
    histories = [(i, tokens_of(LONGEST, i), 1) for i in range(5)]
    check(context, model, oracles, *histories)
    assert evaluated(context, *((i, [*t[:-1], 3], 1) for i, t, _ in histories)) == 5
    assert context.context_size == LONGEST


# --- what is evaluated -------------------------------------------------------------------------


@pytest.mark.parametrize("arch", KINDS)
def test_a_longer_history_costs_only_its_new_tokens(files: Files, arch: str) -> None:
    context, history = open_context(files.recurrent(arch)), tokens_of(50)
    assert evaluated(context, (0, history[:39], 0)) == 39
    assert evaluated(context, (0, history[:40], 1)) == 1
    assert evaluated(context, (0, history, 3)) == 10


@pytest.mark.parametrize("arch", KINDS)
@pytest.mark.parametrize("accepted", [0, 1, 3, 4])
def test_going_back_into_a_block_reads_again_from_where_it_began(
    files: Files, oracles: Oracles, arch: str, accepted: int
) -> None:
    """The target: four drafts in one block, of which some are accepted, five times over."""
    model = files.recurrent(arch)
    context, history = open_context(model), tokens_of(30)
    rows(context, (0, history[:-1], 0))
    to_read_again = 0
    for step in range(5):
        drafts = tokens_of(4, step)
        block = (0, [*history, *drafts], 5)
        assert evaluated(context, block, drafts=[4]) == to_read_again + 5
        other = 3 + (drafts[min(accepted, 3)] - 2) % 9
        history = [*history, *drafts[:accepted], other]
        is_much = to_read_again > 4  # read in a batch of its own, and remembered
        to_read_again = 0 if accepted == 4 else accepted + 1 + (0 if is_much else to_read_again)
        if arch in SNAPSHOTS:
            to_read_again = 0
    check(context, model, oracles, (0, history, 3))


@pytest.mark.parametrize("arch", SNAPSHOTS)
def test_a_sequence_that_ends_before_others_of_its_batch_goes_back_right(
    files: Files, oracles: Oracles, arch: str
) -> None:
    """llama.cpp reads such a batch in parts, and the later ones may move the state that the first
    left, away from its snapshots."""
    model = files.recurrent(arch)
    context = open_context(model, n_ctx=120, n_seq_max=3)
    rows(context, (0, [10, 8], 0))
    rows(context, (1, [3, 4], 0))
    rows(context, (2, [10, 3, 3, 3], 0), (0, [10, 8, 7, 3], 0), (1, [3, 3, 3, 3, 3], 0))
    check(context, model, oracles, (0, [10, 8, 7, 3], 1))


@pytest.mark.parametrize("arch", SNAPSHOTS)
@pytest.mark.parametrize("sequences", [(0, 1, 2), (0, 2, 4), (3,)])
def test_sequences_of_equal_blocks_all_go_back_at_no_cost(
    files: Files, oracles: Oracles, arch: str, sequences: tuple[int, ...]
) -> None:
    model = files.recurrent(arch)
    context = open_context(model)
    histories = {s: tokens_of(20, s) for s in sequences}
    rows(context, *((s, h[:-1], 0) for s, h in histories.items()))
    for step in range(4):
        asked = [(s, [*h, *tokens_of(4, step)], 5) for s, h in histories.items()]
        assert evaluated(context, *asked, drafts=[4] * len(asked)) == 5 * len(asked)
        check(context, model, oracles, *asked)
        histories = {s: [*h, tokens_of(4, step)[0], 11] for s, h in histories.items()}


@pytest.mark.parametrize("arch", SNAPSHOTS)
def test_snapshots_lead_not_far_from_a_checkpoint(
    files: Files, oracles: Oracles, arch: str
) -> None:
    """A hundred blocks of which nothing is accepted: no state between them may be shared, and yet
    whoever goes back further than snapshots reach finds a checkpoint near."""
    model = files.recurrent(arch)
    context, history = open_context(model), tokens_of(30)
    rows(context, (0, history[:-1], 0))
    spent = 0
    for step in range(100):
        spent += evaluated(context, (0, [*history, *tokens_of(4, step)], 5), drafts=[4])
        history = [*history, 3 + (tokens_of(4, step)[0] - 2) % 9]
    assert spent <= 100 * 5 + 100  # each token once more
    asked = (0, [*history[:-12], 7, 7], 1)
    assert evaluated(context, asked) <= 64 + 14
    check(context, model, oracles, asked)


@pytest.mark.parametrize("arch", KINDS)
def test_a_drafter_reads_again_only_what_was_drafted(
    files: Files, oracles: Oracles, arch: str
) -> None:
    model = files.recurrent(arch)
    context, history = open_context(model), tokens_of(30)
    rows(context, (0, history[:-1], 0))
    for step in range(4):
        drafts = [3 + step, 4 + step, 5 + step]
        turns = [evaluated(context, (0, [*history, *drafts[:n]], 1), drafts=[n]) for n in range(3)]
        assert turns == [1 if step == 0 else 2, 1, 1]  # the accepted one, and the correction
        history = [*history, drafts[0], 11]
    check(context, model, oracles, (0, history, 2))


@pytest.mark.parametrize("arch", KINDS)
def test_samples_of_a_prompt_evaluate_it_once(files: Files, oracles: Oracles, arch: str) -> None:
    model, prompt = files.recurrent(arch), tokens_of(60)
    context = open_context(model)
    assert evaluated(context, (0, prompt[:-1], 0)) == 59
    assert evaluated(context, *((i, prompt[:-1], 0) for i in range(1, 6))) == 0
    assert evaluated(context, *((i, [*prompt, 3 + i], 2) for i in range(6))) == 12
    assert evaluated(context, (7, prompt, 1)) == 1  # when all the others have gone on
    check(context, model, oracles, *((i, [*prompt, 3 + i, 5], 2) for i in range(6)))


@pytest.mark.parametrize("arch", KINDS)
def test_a_conversation_goes_on_from_the_end_of_its_prompt(
    files: Files, oracles: Oracles, arch: str
) -> None:
    """Even if its last answer is not what the next prompt has in its place."""
    model, prompt = files.recurrent(arch), tokens_of(60)
    context = open_context(model)
    for chunk in (25, 50, 59):
        rows(context, (0, prompt[:chunk], 0))
    for length in range(5):
        rows(context, (0, prompt + tokens_of(length, 1), 1))
    other = [*prompt[:-1], *tokens_of(6, 2)]
    assert evaluated(context, (0, other, 1)) == 6
    check(context, model, oracles, (0, other, 2))
    elsewhere = [*prompt[:55], *tokens_of(6, 3)]
    assert evaluated(context, (0, elsewhere, 1)) == 5 + 6  # from the end of the chunk before


@pytest.mark.parametrize("arch", KINDS)
def test_what_is_scored_again_and_again_reads_its_prompt_once(
    files: Files, oracles: Oracles, arch: str
) -> None:
    model, prompt = files.recurrent(arch), tokens_of(60)
    context = open_context(model)
    for i in range(4):
        text = [*prompt, *tokens_of(7, i)]
        assert evaluated(context, (0, text, 7)) == (67 if i == 0 else 7)
        check(context, model, oracles, (0, text, 7))


@pytest.mark.parametrize("arch", KINDS)
def test_an_empty_history_frees_all_that_a_sequence_holds(files: Files, arch: str) -> None:
    context, prompt = open_context(files.recurrent(arch)), tokens_of(60)
    rows(context, (0, prompt[:-1], 0))
    rows(context, (0, prompt, 1))
    assert evaluated(context, (0, [], 0)) == 0
    assert evaluated(context, (1, prompt, 1)) == 60


# --- what goes wrong ---------------------------------------------------------------------------

NAN_TOKEN = 9


@pytest.mark.parametrize("arch", KINDS)
def test_a_nan_that_a_history_left_behind_shows_in_no_other(
    files: Files, oracles: Oracles, arch: str
) -> None:
    """Even if nobody saw it: what is only prepared yields no rows."""
    good, bad = files.recurrent(arch), files.recurrent(arch, nan_embedding=NAN_TOKEN)
    context, history = open_context(bad, n_seq_max=2), [4, 5, 6, 3, 4, 5]
    for sequence in (0, 1, 2, 0):
        rows(context, (sequence, [4, NAN_TOKEN, 5], 0))
        rows(context, (sequence, [], 0))
        check(context, good, oracles, (sequence, history, 2))
        assert np.isnan(rows(context, (sequence, [4, NAN_TOKEN, 5], 1))).all()
        check(context, good, oracles, (sequence, [*history, 7], 1))
    if arch in STATES_ONLY:  # attention sees what it masks; the engine asks each alone, then
        got = rows(context, (0, [4, NAN_TOKEN], 1), (1, history, 1))
        assert np.isnan(got[0]).all()
        compare(got[1:], good, oracles, (1, history, 1))


INTERRUPTED = """
import json, os, random, signal, threading, time
from types import SimpleNamespace
import numpy as np
from rewardshift import CancelledError
from support.engine import open_context, rows

def opened():
    return open_context(SimpleNamespace(path=PATH), n_ctx=2048, n_batch=16)

prompts = [[3 + (i * i + j) % 9 for i in range(300)] for j in range(4)]
whole = [(j, prompts[j], 2) for j in range(4)]
others = [(j, prompts[j][:150] + [5, 6], 2) for j in range(4)]
wanted = [rows(opened(), *asked) for asked in (whole, others)]
context = opened()
start = time.perf_counter()
rows(context, *whole)
seconds = time.perf_counter() - start
random.seed(0)
hits, worst = 0, 0.0
while hits < 10:
    context.forget()
    rows(context, *((j, prompts[j][:150], 0) for j in range(4)))
    timer = threading.Timer(random.random() * seconds, os.kill, (os.getpid(), signal.SIGINT))
    is_done = False
    try:
        timer.start()
        rows(context, *whole)
        is_done = True
        timer.join()
        time.sleep(0.01)  # the signal, if it comes so late
    except (KeyboardInterrupt, CancelledError):
        pass
    hits += not is_done
    for asked, right in zip((whole, others), wanted, strict=True):
        worst = max(worst, float(np.abs(rows(context, *asked) - right).max()))
print(json.dumps(worst))
"""


@pytest.mark.parametrize("arch", KINDS)
def test_what_ctrl_c_broke_off_shows_nowhere(files: Files, arch: str) -> None:
    path = files.recurrent(arch).path
    process = run_python(f"PATH = {str(path)!r}\n{INTERRUPTED}", timeout=300)
    assert process.returncode == 0, process.stderr[-2000:]
    assert float(process.stdout) < 2 * precision.of_recurrent_logits(1.5, 300)
