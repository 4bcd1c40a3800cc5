"""What responses must not depend on, and what is reported of them: the engine over small tables."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from scipy import stats

from rewardshift import (
    Completion,
    ContextOverflowError,
    Decoder,
    Error,
    EvaluationError,
    TableModel,
    _core,
)
from tests.support import enumerate_law as oracle
from tests.support.precision import (
    DOUBLE,
    of_float_weights,
    of_goal_logprobs,
    of_log_z,
    of_normaliser,
    of_paper_law,
)

VOCAB, ORDER, EOG = 6, 2, 0
PIECES = ["", "a", "b", "ab", "ba", "é"]
OPTIONS: tuple[dict[str, Any], ...] = (
    {"temperature": 1.0},
    {"temperature": 0.7, "top_p": 0.9, "num_draft_tokens": 5},
    {"temperature": 1.2, "strength": 2.0, "num_draft_tokens": 0},
    {"temperature": 0.0, "num_draft_tokens": 2},
    {"rule": "paper", "temperature": 1.0, "num_draft_tokens": 4},
    {"rule": "speculative", "temperature": 0.9, "num_draft_tokens": 1},
    {"presence_penalty": 0.5, "repeat_penalty": 1.2, "penalty_last_n": 3, "stop": ["aba", "bb"]},
    {"min_p": 0.1, "logit_bias": {2: 1.0}, "num_draft_tokens": 8, "max_tokens": 7},
)


def tables(seed: int = 0, *, end: float = -2.0, vocab: int = VOCAB) -> list[np.ndarray]:
    """Logits of target, draft and reference after two tokens; `end` is the logit of EOG."""
    rng = np.random.default_rng(seed)
    small = rng.normal(size=(vocab,) * (ORDER + 1))
    rows = np.stack([*(small + 0.8 * rng.normal(size=(2, *small.shape))), small])
    rows[..., EOG] = end
    return list(rows.astype(np.float32))


def models(rows: list[np.ndarray], **facts: Any) -> list[TableModel]:
    facts = {"end_of_generation": {EOG}, "pieces": PIECES, **facts}
    return [TableModel(t.reshape(-1, t.shape[-1]), order=ORDER, **facts) for t in rows]


def decoder(seed: int = 0, *, end: float = -2.0, **facts: Any) -> Decoder:
    return Decoder.from_models(*models(tables(seed, end=end), **facts))


def finish(d: Decoder) -> dict[int, Completion]:
    """Steps until nothing is left; the completions by request."""
    done = {}
    while d.has_work:
        for chunk in d.step():
            assert chunk.error is None
            if chunk.completion is not None:
                done[chunk.id] = chunk.completion
    return done


def essence(completion: Completion) -> tuple[Any, ...]:
    """All of a completion but the time it took."""
    statistics = dataclasses.replace(completion.statistics, seconds=None)  # type: ignore[arg-type]
    fields = dataclasses.replace(completion, steps=(), statistics=statistics)
    # NaN-free, hence comparable.
    return (*dataclasses.astuple(fields), completion.steps)


# --- random numbers ---------------------------------------------------------------------------


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_same_seed_gives_the_same_response(options):
    options = {"max_tokens": 20, **options}
    first = decoder().generate([1, 2], seed=7, **options)
    assert essence(first) == essence(decoder().generate([1, 2], seed=7, **options))
    d = decoder()
    d.generate([3, 4, 5], seed=1, max_tokens=9)  # what came before does not matter either
    assert essence(first) == essence(d.generate([1, 2], seed=7, **options))


def test_other_seeds_and_no_seed_give_other_responses_and_the_reported_seed_repeats_them():
    d = decoder(end=-20)
    options = {"max_tokens": 30, "temperature": 1.0}
    completions = [d.generate([1], seed=seed, **options) for seed in (0, 1, 2**63, None, None)]
    assert len({c.tokens for c in completions}) == 5
    for completion in completions:
        again = d.generate([1], seed=completion.seed, **options)
        assert again.tokens == completion.tokens


def test_samples_of_a_batch_differ_and_their_first_is_the_single_one():
    d = decoder(end=-20)
    options = {"max_tokens": 30, "temperature": 1.0, "seed": 5}
    batch = d.generate_batch([[1]] * 5, **options)
    assert len({c.tokens for c in batch}) == 5
    assert essence(batch[0]) == essence(d.generate([1], **options))


@pytest.mark.parametrize("sequences", [2, 3, 40])
def test_responses_do_not_depend_on_their_neighbours(sequences):
    """Alone or in a crowd that shares batches, waits, and comes and goes: the same tokens."""
    prompts = [[1, 2], [3], [4, 5, 1, 2, 2], [5, 5]]
    asks = [(prompt, options) for prompt in prompts for options in OPTIONS]
    crowd = decoder(max_sequences=sequences)
    requests = [
        crowd.submit(prompt, **{"max_tokens": 5 + i % 13, **options, "seed": i})
        for i, (prompt, options) in enumerate(asks)
    ]
    done = finish(crowd)
    for i, (prompt, options) in enumerate(asks):
        alone = decoder().generate(prompt, **{"max_tokens": 5 + i % 13, **options, "seed": i})
        assert essence(done[requests[i]]) == essence(alone), (prompt, options)


@pytest.mark.parametrize("prefill_chunk", [1, 2, 5, 512])
def test_responses_do_not_depend_on_the_prefill_chunk(prefill_chunk):
    def tokens(chunk: int) -> dict[int, list[int]]:
        options = _core.DecoderOptions()
        options.prefill_chunk = chunk
        roles = models(tables())
        names = ("target", "draft", "reference")
        core = _core.Decoder(
            list(zip(names, roles, strict=True)), [_core.Shift("draft", 1, 2)], None, options
        )
        for i, prompt in enumerate(([1, 2, 3, 4, 5, 1, 2, 3], [1, 2, 3, 4, 2], [5])):
            params = _core.RequestParams()
            params.seed, params.max_tokens = i, 12
            core.submit([prompt, prompt[::-1] if i else []], params)
        seen: dict[int, list[int]] = {}
        while core.has_work:
            core.step()
            for event in core.take_events():
                seen.setdefault(event.id, []).extend(token.id for token in event.tokens)
        return seen

    assert tokens(prefill_chunk) == tokens(512)


@pytest.mark.statistical
def test_law_of_the_text_does_not_depend_on_the_draft_length():
    """Homogeneity of the texts, cut at stop strings, under shifts, cuts and penalties."""
    options = {"max_tokens": 6, "temperature": 0.9, "top_p": 0.95, "presence_penalty": 0.4}
    counts = []
    for k in (0, 1, 2, 3, 4, 6, 8):
        d = decoder(end=0.0, max_sequences=65)
        texts = [
            (completion.text, completion.finish_reason)
            for seed in range(3)
            for completion in d.generate_batch(
                [[1, 2]] * 1000,
                num_draft_tokens=k,
                stop=["ab", "ba"],
                seed=1000 * k + seed,
                **options,
            )
        ]
        counts.append(Counter(texts))
    total = sum(counts, Counter())
    common = [text for text, n in total.items() if n >= 70]  # 10 or more expected of each K
    table = [[c[text] for text in common] + [3000 - sum(c[t] for t in common)] for c in counts]
    assert len(common) > 10
    assert stats.chi2_contingency(table).pvalue > 1e-7


# --- streams and steps ---------------------------------------------------------------------------


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("stop", [None, "b", ["aba", "éb", "bb"]], ids=str)
def test_stream_is_generate_in_pieces(options, stop):
    options = {"max_tokens": 25, "stop": stop, **options}
    for seed in range(10):
        whole = decoder().generate([1, 2], seed=seed, **options)
        chunks = list(decoder().stream([1, 2], seed=seed, **options))
        assert [chunk.is_last for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
        assert essence(chunks[-1].completion) == essence(whole)
        assert "".join(chunk.text for chunk in chunks) == whole.text
        steps = [token for chunk in chunks for token in chunk.tokens]
        assert tuple(steps) == whole.steps


def test_lossless_decoding_reports_the_draft_where_it_drafted():
    target, draft, _ = tables(5)
    d = Decoder.from_models(*models([target, draft]))
    c = d.generate([1, 2], max_tokens=12, num_draft_tokens=2, temperature=0.7, seed=3)
    history = [1, 2]
    for step in c.steps:
        row = draft[history[-2], history[-1]].astype(float)
        own = row[step.id] - np.log(np.exp(row).sum())
        known = pytest.approx(own, abs=of_normaliser(VOCAB))
        assert step.draft_logprob == (None if step.origin == "bonus" else known)
        assert step.reference_logprob is None
        history.append(step.id)
    assert {step.origin for step in c.steps} == {"draft", "correction", "bonus"}


def test_streams_read_one_after_the_other_get_all_their_chunks():
    d, options = decoder(end=-20), {"max_tokens": 15, "temperature": 1.0}
    streams = [d.stream([1 + i], seed=i, **options) for i in range(3)]
    for i, stream in enumerate(streams):
        expected = decoder(end=-20).generate([1 + i], seed=i, **options)
        chunks = list(stream)
        assert tuple(t.id for chunk in chunks for t in chunk.tokens) == expected.tokens
        assert essence(chunks[-1].completion) == essence(expected)


def test_interleaved_streams_and_calls_get_just_their_own_chunks():
    d, options = decoder(end=-20), {"max_tokens": 15, "temperature": 1.0}
    expected = [decoder(end=-20).generate([1 + i], seed=i, **options) for i in range(4)]
    left, right = (d.stream([1 + i], seed=i, **options) for i in (0, 1))
    submitted = d.submit([3], seed=2, **options)
    chunks: dict[int, list] = {0: [next(left)], 1: [next(right)], 3: []}
    assert essence(d.generate([4], seed=3, **options)) == essence(expected[3])
    for a, b in itertools.zip_longest(left, right):
        chunks[0] += [a] if a else []
        chunks[1] += [b] if b else []
    for i in (0, 1):
        assert essence(chunks[i][-1].completion) == essence(expected[i])
        tokens = [token.id for chunk in chunks[i] for token in chunk.tokens]
        assert tuple(tokens) == expected[i].tokens
    assert d.has_work  # the submitted request's chunks were held for its asker
    held = [chunk for chunk in d.step() if chunk.id == submitted]
    assert essence(held[-1].completion) == essence(expected[2])
    assert tuple(t.id for chunk in held for t in chunk.tokens) == expected[2].tokens
    assert not d.has_work
    assert d.step() == []


def test_step_tells_of_every_request_in_order_of_submission():
    d = decoder(end=-20)
    requests = [d.submit([1], max_tokens=4, num_draft_tokens=0, seed=i) for i in range(3)]
    for step in range(4):
        chunks = d.step()
        assert [chunk.id for chunk in chunks] == requests
        assert all(len(chunk.tokens) == 1 for chunk in chunks)
        assert all(chunk.is_last == (step == 3) for chunk in chunks)
    assert not d.has_work


@pytest.mark.parametrize("steps", range(8))
def test_cancel_in_any_phase_leaves_the_others_alone(steps):
    """One decoder holds two requests at a time; the prompts take several steps to prefill."""
    long = [1 + i % 5 for i in range(1300)]
    asks = [([1, 2], 30), (long, 6), ([3], 9), ([4], 9)]
    expected = [
        decoder(end=-20).generate(prompt, seed=i, max_tokens=n, stop="éé")
        for i, (prompt, n) in enumerate(asks)
    ]
    for victim in range(4):
        d = decoder(end=-20, max_sequences=3)
        requests = [
            d.submit(prompt, seed=i, max_tokens=n, stop="éé") for i, (prompt, n) in enumerate(asks)
        ]
        done = {}
        for chunk in itertools.chain.from_iterable(d.step() for _ in range(steps)):
            done |= {chunk.id: chunk.completion} if chunk.completion else {}
        over = requests[victim] in done
        d.cancel(requests[victim])
        d.cancel(requests[victim])
        d.cancel(12345)
        done |= finish(d)
        for i, request in enumerate(requests):
            if i != victim or over:
                assert essence(done[request]) == essence(expected[i])
                continue
            assert done[request].finish_reason == "cancelled"
            assert expected[i].tokens[: len(done[request].tokens)] == done[request].tokens
            assert expected[i].text.startswith(done[request].text)
            origins = Counter(token.origin for token in done[request].steps)
            rounds = origins["correction"] + origins["bonus"]
            assert done[request].statistics.rounds == rounds  # and none after the cancel
            pieces = "".join(PIECES[token] for token in done[request].tokens)
            assert done[request].text == pieces  # held text is given out too


def test_the_place_of_a_cancelled_request_is_free_at_once():
    d = decoder(end=-20, max_sequences=2)  # one for requests, one for scores
    first, second = (d.submit([1, 2], max_tokens=1000, num_draft_tokens=2) for _ in range(2))
    assert {chunk.id for chunk in d.step()} == {first}
    d.cancel(first)
    assert {chunk.id for chunk in d.step()} == {first, second}


def test_closing_a_stream_cancels_its_request():
    d = decoder(end=-20)
    other = d.submit([2], max_tokens=10, seed=1)
    with_one_chunk = d.stream([1], max_tokens=1000, seed=0)
    next(with_one_chunk)
    with_one_chunk.close()
    done = finish(d)
    assert essence(done[other]) == essence(decoder(end=-20).generate([2], max_tokens=10, seed=1))
    assert list(done) == [other]


def test_closing_a_stream_before_its_first_chunk_cancels_its_request():
    d = decoder(end=-20)
    d.stream([1], max_tokens=1000, seed=0).close()
    d.step()
    assert not d.has_work


def test_stream_of_a_closed_decoder_raises():
    d = decoder(end=-20)
    stream = d.stream([1], max_tokens=10, seed=0)
    next(stream)
    d.close()
    with pytest.raises(Error, match="closed"):
        next(stream)


def test_more_requests_than_sequences_or_context_wait_their_turn():
    expected = [decoder().generate([1, 2], seed=i, max_tokens=8) for i in range(20)]
    for facts in ({"max_sequences": 2}, {"max_sequences": 4}, {"context_size": 25}):
        d = decoder(**facts)
        requests = [d.submit([1, 2], seed=i, max_tokens=8) for i in range(20)]
        widest, done = 0, {}
        while d.has_work:
            chunks = d.step()
            widest = max(widest, len(chunks))
            done |= {c.id: c.completion for c in chunks if c.completion}
        assert widest == facts.get("max_sequences", 3) - 1
        assert [essence(done[r]) for r in requests] == [essence(c) for c in expected]


# --- where responses end -------------------------------------------------------------------------


@pytest.mark.parametrize("num_draft_tokens", [None, 0, 1, 5])
def test_max_tokens_is_never_exceeded_and_drafts_are_not_wasted(num_draft_tokens):
    d = decoder(end=-20)
    for longest in range(12):
        c = d.generate([1], max_tokens=longest, num_draft_tokens=num_draft_tokens, seed=longest)
        assert (len(c.tokens), c.finish_reason) == (longest, "length")
        assert c.text == "".join(PIECES[token] for token in c.tokens)
        assert c.statistics.rounds <= longest
        if longest < 2:
            assert c.statistics.drafted == 0
    assert [c.completion.tokens for c in d.stream([1], max_tokens=0)] == [()]


@pytest.mark.parametrize("num_draft_tokens", [0, 3, 8])
@pytest.mark.parametrize("max_tokens", [None, 100])
def test_response_ends_where_the_context_is_full(num_draft_tokens, max_tokens):
    d = decoder(end=-20, context_size=10)
    options = {"num_draft_tokens": num_draft_tokens, "max_tokens": max_tokens, "seed": 3}
    c = d.generate([1, 2, 3, 4], **options)
    assert (len(c.tokens), c.finish_reason) == (6, "length")
    c = d.generate([1], draft_prompt=[1] * 9, **options)  # the longest prompt counts
    assert (len(c.tokens), c.finish_reason) == (1, "length")
    with pytest.raises(ContextOverflowError):
        d.generate([1] * 10, **options)


@pytest.mark.parametrize("num_draft_tokens", [0, 1, 3, 8])
def test_end_of_generation_is_in_the_tokens_and_not_in_the_text(num_draft_tokens):
    d = decoder(end=0.5, pieces=["END", *PIECES[1:]])
    reasons = Counter()
    for seed in range(200):
        c = d.generate([1, 2], max_tokens=6, seed=seed, num_draft_tokens=num_draft_tokens)
        reasons[c.finish_reason] += 1
        ended = c.finish_reason == "stop"
        assert [t == EOG for t in c.tokens] == [False] * (len(c.tokens) - 1) + [ended]
        assert c.text == "".join(PIECES[t] for t in c.tokens)
    assert min(reasons["stop"], reasons["length"]) > 10


def cut_at_stop(tokens: tuple[int, ...], stop: list[str]) -> tuple[int, str] | None:
    """Where a response with stop strings ends: tokens and text, if any string occurs."""
    text = ""
    for count, token in enumerate(tokens, 1):
        text += PIECES[token]
        found = [text.find(s) for s in stop if s in text]
        if found:
            return count, text[: min(found)]
    return None


@pytest.mark.parametrize("num_draft_tokens", [0, 2, 8])
@pytest.mark.parametrize(
    "stop", [["bb"], ["aba", "baab"], ["ébé", "a" * 5], ["abab", "b"]], ids=str
)
def test_stop_strings_are_found_across_tokens_and_inside_drafts(num_draft_tokens, stop):
    d = decoder(end=-4)
    options = {"max_tokens": 25, "num_draft_tokens": num_draft_tokens, "temperature": 1.0}
    found = 0
    for seed in range(60):
        free = d.generate([1, 2], seed=seed, **options)
        c = d.generate([1, 2], seed=seed, stop=stop, **options)
        cut = cut_at_stop(free.tokens, stop)
        if cut is None:
            assert essence(c) == essence(free)
            continue
        found += 1
        assert (len(c.tokens), c.text, c.finish_reason) == (*cut, "stop")
        assert c.tokens == free.tokens[: len(c.tokens)]
    assert found > 5


@pytest.mark.parametrize("num_draft_tokens", [0, 3])
def test_stream_never_shows_what_may_become_a_stop_string(num_draft_tokens):
    stop, held = ["abab", "éab"], 0
    prefixes = {s[:n] for s in stop for n in range(1, len(s))}
    options = {"max_tokens": 25, "num_draft_tokens": num_draft_tokens, "stop": stop}
    for seed in range(60):
        shown, pieces = "", ""
        for chunk in decoder(end=-4).stream([1, 2], seed=seed, temperature=1.0, **options):
            shown += chunk.text
            pieces += "".join(PIECES[t.id] for t in chunk.tokens)
            if chunk.is_last:
                assert shown == chunk.completion.text
                continue
            # All of the text is shown but its longest end that may become a stop string.
            tail = max((len(p) for p in prefixes if pieces.endswith(p)), default=0)
            assert shown == pieces[: len(pieces) - tail]
            held += tail > 0
    assert held > 20


# --- greedy --------------------------------------------------------------------------------------


@pytest.mark.parametrize("strength", [0.0, 1.0, 1.7])
@pytest.mark.parametrize("rule", ["exact", "paper"])
def test_temperature_zero_is_plain_three_model_greedy(rule, strength):
    for seed in range(5):
        p, q, r = (t.astype(np.float64) for t in tables(seed))
        expected = [1, 2]
        while len(expected) < 32 and expected[-1] != EOG:
            at = tuple(expected[-2:])
            expected.append(int((p[at] + strength * (q[at] - r[at])).argmax()))
        d = decoder(seed)
        requests = [
            d.submit([1, 2], temperature=0, max_tokens=30, num_draft_tokens=k, rule=rule,
                     strength=strength, seed=k)
            for k in range(9)
        ]  # fmt: skip
        done = finish(d)
        assert [done[request].tokens for request in requests] == [tuple(expected[2:])] * 9


# --- what is reported ----------------------------------------------------------------------------


def log(x: float) -> float:
    return math.log(x) if x > 0 else -math.inf


@pytest.mark.numeric
@pytest.mark.parametrize("rule", ["exact", "paper"])
@pytest.mark.parametrize("num_draft_tokens", [0, 1, 3, 8])
@pytest.mark.parametrize(
    "shaping", [{}, {"temperature": 0.7, "strength": 1.5}, {"top_k": 4, "top_p": 0.9}], ids=str
)
def test_reported_log_probabilities_are_those_of_the_law(rule, num_draft_tokens, shaping):
    shaping = {"temperature": 1.0, "strength": 1.0, **shaping}
    t, s = shaping["temperature"], shaping["strength"]
    of_role, of_z = of_normaliser(VOCAB), of_log_z(VOCAB, s)
    rows = tables(3)
    d = Decoder.from_models(*models(rows))
    for seed in range(4):
        c = d.generate(
            [1, 2], max_tokens=20, rule=rule, num_draft_tokens=num_draft_tokens, seed=seed,
            top_logprobs=3, paper_distance=True, **shaping,
        )  # fmt: skip
        history = (1, 2, *c.tokens)
        for i, step in enumerate(c.steps):
            zp, zq, zr = (table[history[i : i + 2]].astype(np.float64) for table in rows)
            p, q, r = (oracle.softmax(z / t) for z in (zp, zq, zr))
            goal = oracle.goal(zp, zq, zr, **shaping)
            weight = oracle.shifted(p, q, r, s)
            paper = oracle.emission(weight * (goal > 0), q, goal).law
            of_goal = of_goal_logprobs(goal)
            of_paper = of_paper_law(of_z + of_goal.max(), weight * (goal > 0), q)
            of_paper += of_float_weights(q)
            if rule == "paper" and step.origin != "bonus":
                assert math.exp(step.logprob) == pytest.approx(
                    paper[step.id], abs=of_paper[step.id]
                )
            else:
                assert step.logprob == pytest.approx(log(goal[step.id]), abs=of_goal[step.id])
            own = [np.log(oracle.softmax(z))[step.id] for z in (zp, zq, zr)]
            reported = [step.target_logprob, step.draft_logprob, step.reference_logprob]
            assert reported == pytest.approx(own, abs=of_role)
            assert step.implicit_reward == pytest.approx(own[1] - own[2], abs=2 * of_role)
            assert math.exp(step.log_z) == pytest.approx(weight.sum(), rel=of_z)
            best = [x for x in np.argsort(-goal, kind="stable")[:3] if goal[x] > 0]
            assert list(step.top_logprobs) == best
            expected = [log(goal[x]) for x in best]
            assert list(step.top_logprobs.values()) == pytest.approx(expected, abs=of_goal.max())
            if step.origin == "bonus":
                assert step.paper_distance is None
            elif rule == "paper" or not {"top_k", "top_p"} & set(shaping):
                distance = 0.5 * np.abs(paper - goal).sum()
                assert step.paper_distance == pytest.approx(distance, abs=of_paper.sum())
        z = [math.exp(step.log_z) for step in c.steps]
        assert c.statistics.z.mean == pytest.approx(np.mean(z))
        rewards = sum(step.implicit_reward for step in c.steps)
        assert c.statistics.implicit_reward == pytest.approx(rewards)


def test_paper_distance_is_that_of_the_papers_rule_whatever_rule_decodes():
    options = {"max_tokens": 2, "num_draft_tokens": 1, "seed": 0, "top_k": 3}
    unasked = decoder(0).generate([1, 2], **options)
    assert {step.paper_distance for step in unasked.steps} == {None}
    assert unasked.statistics.paper_distance is None
    options["paper_distance"] = True
    for seed in range(10):
        exact, paper = (
            decoder(seed).generate([1, 2], rule=rule, **options).steps[0].paper_distance
            for rule in ("exact", "paper")
        )
        assert exact == pytest.approx(paper)


@pytest.mark.numeric
@pytest.mark.parametrize("rule", ["exact", "paper"])
def test_greedy_log_probabilities_are_those_of_the_goal_at_temperature_one(rule):
    rows = tables(3)
    d = Decoder.from_models(*models(rows))
    c = d.generate([1, 2], temperature=0, max_tokens=10, num_draft_tokens=2, rule=rule)
    history = (1, 2, *c.tokens)
    for i, step in enumerate(c.steps):
        goal = oracle.goal(*(table[history[i : i + 2]] for table in rows))
        of_goal = of_goal_logprobs(goal)
        assert step.logprob == pytest.approx(log(goal[step.id]), abs=of_goal[step.id])


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_statistics_add_up(options):
    for seed in range(20):
        d = decoder(end=-1.0)
        options = {"max_tokens": 20, **options, "stop": None}
        c = d.generate([1, 2], seed=seed, **options)
        s, origins = c.statistics, Counter(step.origin for step in c.steps)
        assert s.tokens == len(c.tokens) == origins.total()
        assert s.accepted == origins["draft"]
        # Every round ends with a correction or a bonus, but for an accepted end.
        ended_by_draft = c.steps[-1].origin == "draft"
        assert s.rounds == origins["correction"] + origins["bonus"] + ended_by_draft
        assert not ended_by_draft or c.tokens[-1] == EOG
        assert s.drafted >= s.accepted + origins["correction"]
        assert s.drafted <= s.rounds * options.get("num_draft_tokens", 3)
        assert all(0 <= share <= 1 for share in s.acceptance_by_position)
        if origins["correction"] == 0 and not ended_by_draft:
            assert s.drafted == s.accepted
        assert c.usage["completion_tokens_details"] == {
            "accepted_prediction_tokens": s.accepted,
            "rejected_prediction_tokens": s.drafted - s.accepted,
        }
        assert c.usage["total_tokens"] == 2 + len(c.tokens)


def test_drafts_behind_a_stop_string_are_not_counted_as_accepted():
    for seed in range(40):
        c = decoder(end=-4).generate([1, 2], stop="b", num_draft_tokens=8, seed=seed)
        assert c.statistics.accepted == sum(step.origin == "draft" for step in c.steps)


def test_low_temperatures_do_not_overflow():
    rows = [20 * table for table in tables(0)]
    d = Decoder.from_models(*models(rows))
    c = d.generate([1, 2], max_tokens=20, temperature=0.01, seed=0)
    greedy = Decoder.from_models(*models(rows)).generate([1, 2], max_tokens=20, temperature=0)
    assert c.tokens == greedy.tokens


@pytest.mark.numeric
@pytest.mark.parametrize(
    "shaping", [{}, {"temperature": 0.6, "strength": 2.0, "top_k": 4}], ids=str
)
def test_score_gives_each_roles_and_the_goals_log_probabilities(shaping):
    rows, options = tables(4), {"temperature": 1.0, "strength": 1.0, **shaping}
    of_z = of_log_z(VOCAB, options["strength"])
    d = Decoder.from_models(*models(rows))
    queued = d.submit([1, 2], max_tokens=10, seed=1)
    d.step()
    continuation = [int(t) for t in np.random.default_rng(0).integers(0, VOCAB, size=150)]
    score = d.score([1, 2], continuation, draft_prompt=[3, 4], **shaping)
    for i, token in enumerate(continuation):
        starts = ((1, 2), (3, 4), (1, 2))
        at = [(*start, *continuation)[i : i + 2] for start in starts]
        p, q, r = (table[k].astype(np.float64) for table, k in zip(rows, at, strict=True))
        goal = oracle.goal(p, q, r, **options)
        of_goal = of_goal_logprobs(goal)[token]
        assert score.goal_logprobs[i] == pytest.approx(log(goal[token]), abs=of_goal)
        t = options["temperature"]
        z = oracle.shifted(*(oracle.softmax(row / t) for row in (p, q, r)), options["strength"])
        assert score.log_z[i] == pytest.approx(math.log(z.sum()), abs=of_z)
        names = ("target_logprobs", "draft_logprobs", "reference_logprobs")
        for name, row in zip(names, (p, q, r), strict=True):
            expected = np.log(oracle.softmax(row))[token]
            assert getattr(score, name)[i] == pytest.approx(expected, abs=of_normaliser(VOCAB))
    alone = Decoder.from_models(*models(rows)).generate([1, 2], max_tokens=10, seed=1)
    assert essence(finish(d)[queued]) == essence(alone)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"top_p": 0.9, "logit_bias": {3: 1.0}},
        {"presence_penalty": 0.7, "repeat_penalty": 1.3, "penalty_last_n": 3},
    ],
    ids=str,
)
def test_score_of_a_response_is_what_was_reported_of_it(options):
    d, options = decoder(end=-20), {"temperature": 0.9, **options}
    c = d.generate([1, 2], max_tokens=100, seed=2, draft_prompt=[3, 4], **options)
    score = d.score([1, 2], c.tokens, draft_prompt=[3, 4], **options)
    assert score.goal_logprobs == pytest.approx(c.logprobs, abs=DOUBLE)
    assert score.implicit_reward == pytest.approx(
        c.statistics.implicit_reward, abs=len(c.steps) * DOUBLE
    )


def test_scores_of_tokens_that_are_all_but_impossible_are_right():
    """Their logits are far below what a row's exponentials may be relative to."""
    rows = tables(4)
    for row in rows:
        row[..., 3] = -300.0
    score = Decoder.from_models(*models(rows)).score([1, 2], [3], temperature=0.8)
    p, q, r = (row[1, 2].astype(np.float64) for row in rows)
    names = ("target_logprobs", "draft_logprobs", "reference_logprobs")
    for name, row in zip(names, (p, q, r), strict=True):
        expected = np.log(oracle.softmax(row))[3]
        assert getattr(score, name)[0] == pytest.approx(expected, abs=of_normaliser(VOCAB))
    z = oracle.shifted(*(oracle.softmax(row / 0.8) for row in (p, q, r)), 1.0)
    assert score.log_z[0] == pytest.approx(math.log(z.sum()), abs=of_log_z(VOCAB))


# --- failures ------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [0, 1, 2])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_that_are_no_distribution_end_only_their_own_request(role, bad):
    rows = tables(5, end=-20)
    for table in rows:
        table[..., 5] = -np.inf  # nobody but the prompt says 5
    rows[role][5, 3, 1] = bad
    d = Decoder.from_models(*models(rows))
    good = d.submit([1, 2], max_tokens=12, seed=1)
    spoilt = d.submit([5, 3], max_tokens=12, seed=2)
    late = d.submit([2, 5], logit_bias={3: 50.0}, max_tokens=12, seed=3)  # 3 comes, then NaN
    chunks = []
    while d.has_work:
        chunks += d.step()
    errors = {chunk.id: chunk.error for chunk in chunks if chunk.error}
    assert set(errors) == {spoilt, late}
    for error in errors.values():
        assert ("target", "draft", "reference")[role] in error
        assert "position 2" in error or "position 3" in error
    clean = Decoder.from_models(*models(rows))
    expected = clean.generate([1, 2], max_tokens=12, seed=1)
    (done,) = [c.completion for c in chunks if c.id == good and c.completion]
    assert essence(done) == essence(expected)
    with pytest.raises(EvaluationError, match=("target", "draft", "reference")[role]):
        d.generate([5, 3])
    assert essence(d.generate([1, 2], max_tokens=12, seed=1)) == essence(expected)


@pytest.mark.parametrize("role", [0, 1, 2])
@pytest.mark.parametrize("num_draft_tokens", [0, 1, 4])
def test_an_evaluation_that_fails_ends_only_its_own_request(role, num_draft_tokens):
    """A batch fails as a whole: in the prompt's prefill, at the first token, and later."""
    rows = tables(5, end=-20)
    for table in rows:
        table[..., 5] = -np.inf  # nobody but prompts and biases says 5
    roles = models(rows)
    facts = {"end_of_generation": {EOG}, "pieces": PIECES, "fails_on": {5}}
    roles[role] = TableModel(rows[role].reshape(-1, VOCAB), order=ORDER, **facts)
    d = Decoder.from_models(*roles)
    settings = {"num_draft_tokens": num_draft_tokens, "max_tokens": 12}
    asks = [[1, 2], [5, 3, 1], [2, 4, 1], [1, 5], [3]]
    requests = [d.submit(prompt, seed=i, **settings) for i, prompt in enumerate(asks)]
    chunks = list(itertools.chain.from_iterable(d.step() for _ in range(50)))
    assert not d.has_work
    errors = {chunk.id: chunk.error for chunk in chunks if chunk.error}
    assert errors == dict.fromkeys((requests[1], requests[3]), "this TableModel fails on token 5")
    done = {chunk.id: chunk.completion for chunk in chunks if chunk.completion}
    for i in (0, 2, 4):
        expected = Decoder.from_models(*models(rows)).generate(asks[i], seed=i, **settings)
        assert essence(done[requests[i]]) == essence(expected)
    with pytest.raises(EvaluationError, match="fails on token 5"):
        d.generate_batch([asks[1], asks[0]], seed=0, **settings)
    assert essence(d.generate(asks[0], seed=0, **settings)) == essence(done[requests[0]])


def test_a_request_that_fails_in_the_middle_keeps_what_it_had_said():
    """It says 5 after some tokens, which the reference cannot evaluate; its neighbour goes on."""
    rows = tables(5, end=-20)
    roles = models(rows)
    facts = {"end_of_generation": {EOG}, "pieces": PIECES, "fails_on": {5}}
    roles[2] = TableModel(rows[2].reshape(-1, VOCAB), order=ORDER, **facts)
    never = {5: -np.inf}
    d = Decoder.from_models(*roles)
    good = d.submit([1, 2], seed=1, max_tokens=40, logit_bias=never)
    bad = d.submit([3], seed=2, max_tokens=40)
    chunks = list(itertools.chain.from_iterable(d.step() for _ in range(60)))
    assert [c.error for c in chunks if c.error] == ["this TableModel fails on token 5"]
    said = [token.id for c in chunks if c.id == bad for token in c.tokens]
    expected = Decoder.from_models(*models(rows)).generate([3], seed=2, max_tokens=40)
    assert 0 < len(said) < 40
    assert list(expected.tokens[: len(said)]) == said
    (completion,) = [c.completion for c in chunks if c.id == good and c.completion]
    alone = Decoder.from_models(*models(rows))
    assert essence(completion) == essence(
        alone.generate([1, 2], seed=1, max_tokens=40, logit_bias=never)
    )


@pytest.mark.parametrize("num_draft_tokens", [0, 1, 4])
def test_banning_all_that_the_draft_proposes_does_not_stop_the_target(num_draft_tokens):
    draft = np.full((1, 3), -np.inf, dtype=np.float32)
    draft[0, 1] = 0
    roles = [TableModel(np.zeros((1, 3), dtype=np.float32)), TableModel(draft)]
    d = Decoder.from_models(*roles)
    options = {"num_draft_tokens": num_draft_tokens, "max_tokens": 5, "seed": 0}
    c = d.generate([1], logit_bias={1: -np.inf}, **options)
    assert len(c.tokens) == 5
    assert 1 not in c.tokens
