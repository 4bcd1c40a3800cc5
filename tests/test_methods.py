"""What methods promise besides their laws: seeds, limits, costs, names, and refusals."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from rewardshift import ContextOverflowError, Decoder
from rewardshift.methods import (
    ARGS,
    CARDS,
    GSI,
    METHODS,
    RSD,
    SSS,
    STAND,
    BestOfN,
    Question,
    TargetOnly,
    ThreeModel,
    TreeBoN,
    by_name,
    calibrate,
    soft_best_of_n,
)
from rewardshift.options import target_only

from .support import precision
from .support.engine import EXACT
from .support.tiny_gguf import CHATML_TEMPLATE, TinySpec, bpe_vocab

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rewardshift.methods import Answer, Method

    from .conftest import Files

SPEC: dict[str, Any] = {"vocab": bpe_vocab(), "chat_template": CHATML_TEMPLATE, "seed": 1}
TINY = TinySpec(**SPEC)
PROMPT = "How do you do?"
SPECS = (
    "target",
    "three-model:strength=0.5",
    "sss",
    "sss:strength=0",
    "sss:rule=paper,num_draft_tokens=2",
    "best-of-n:n=3",
    "soft-best-of-n:n=3,beta=2",
    "args:k=3",
    "args:k=3,stochastic=true",
    "cards:r_star=0.6,tau_u=5.2,least=2,most=5,beta=0.1,rejections=3",
    "treebon:n=4,children=2,layers=3",
    "gsi:n=3,step_tokens=4",
    "rsd:n=3,step_tokens=4",
    "stand:n=3,num_draft_tokens=5,tree_width=2",
)


def reward(exchanges: Sequence[tuple[str, str]]) -> list[float]:
    """From 0 to 1, by the letters of a text."""
    return [sum(map(ord, response)) * 7919 % 1009 / 1009 for _, response in exchanges]


@pytest.fixture(scope="module")
def decoder(files: Files) -> Iterator[Decoder]:
    trio = [model.path for model in files.trio(**SPEC)]
    with Decoder(*trio, **EXACT) as d:
        yield d


def ask(method: Method, d: Decoder, *, seed: int = 1, max_tokens: int = 12, **other: Any) -> Answer:
    tokens = d.chat_prompts([{"role": "user", "content": PROMPT}])[0]
    options = {"seed": seed, "max_tokens": max_tokens, "temperature": 0.9, **other}
    return method.answer(d, Question(PROMPT, tokens, **options))


def essence(answer: Answer) -> dict[str, Any]:
    """What the seed fixes: not the time, nor what caches spared or how rounding fell."""
    fields = dataclasses.asdict(answer)
    for name in ("seconds", "evaluated", "calls", "target_logprobs", "goal_logprobs", "log_z"):
        del fields[name]
    return fields


# --- all of them ----------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", SPECS)
def test_the_same_seed_gives_the_same_answer_and_another_another(
    decoder: Decoder, spec: str
) -> None:
    method = by_name(spec, reward)
    answers = [ask(method, decoder, seed=seed) for seed in (1, 1, 2)]
    assert essence(answers[0]) == essence(answers[1])
    if spec != "args:k=3":  # greedy
        assert answers[0].tokens != answers[2].tokens


@pytest.mark.numeric
@pytest.mark.parametrize("spec", SPECS)
def test_an_answer_is_a_response_and_says_what_it_took(decoder: Decoder, spec: str) -> None:
    method = by_name(spec, reward)
    tokens = decoder.chat_prompts([{"role": "user", "content": PROMPT}])[0]
    ends = decoder.end_of_generation
    for seed in range(4):
        before = decoder.work
        answer = ask(method, decoder, seed=seed, max_tokens=7)
        after = decoder.work
        for role, work in after.items():
            spent = work - before[role]
            assert (answer.evaluated[role], answer.calls[role]) == (spent.tokens, spent.batches)
        assert answer.seconds > 0
        has_ended = answer.tokens[-1] in ends
        assert answer.finish_reason == ("stop" if has_ended else "length")
        assert len(answer.tokens) == 7 or (has_ended and len(answer.tokens) < 7)
        assert answer.text == decoder.detokenize(answer.tokens)
        assert not set(answer.tokens[:-1]) & set(ends)
        assert 0 <= answer.accepted <= answer.drafted
        if answer.target_logprobs:
            scores = decoder.score(tokens, answer.tokens).target_logprobs
            close = 2 * precision.of_logprobs(TINY)
            np.testing.assert_allclose(answer.target_logprobs, scores, rtol=0, atol=close)
        else:
            assert spec.startswith("rsd")


@pytest.mark.parametrize("spec", SPECS)
def test_one_token_is_enough(decoder: Decoder, spec: str) -> None:
    assert len(ask(by_name(spec, reward), decoder, max_tokens=1).tokens) == 1


@pytest.mark.parametrize("spec", SPECS)
def test_a_full_context_ends_an_answer_and_a_prompt_beyond_it_is_an_error(
    files: Files, spec: str
) -> None:
    method = by_name(spec, reward)
    with Decoder(*[m.path for m in files.trio(seed=3)], **{**EXACT, "n_ctx": 256}) as d:
        limit = d.context_size
        no_end = [3] * (limit - 5)
        question = Question("", no_end, seed=1, max_tokens=50, temperature=0.5)
        answer = method.answer(d, question)
        assert len(answer.tokens) == 5 or answer.finish_reason == "stop"
        with pytest.raises(ContextOverflowError):
            method.answer(d, dataclasses.replace(question, tokens=[3] * limit))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"tokens": ()}, "the prompt has no tokens"),
        ({"max_tokens": 0}, "max_tokens must be a whole number, at least 1, not 0"),
        ({"max_tokens": 2.5}, "max_tokens must be a whole number, at least 1, not 2.5"),
        ({"seed": -1}, "seed must be a whole number, at least 0, not -1"),
        ({"temperature": -0.5}, "temperature must be at least 0, not -0.5"),
        ({"temperature": float("nan")}, "temperature must be a finite number, not nan"),
    ],
)
def test_what_cannot_be_answered_is_refused(wrong: dict[str, Any], said: str) -> None:
    question = Question("", [3], seed=0, max_tokens=1, temperature=1.0)
    with pytest.raises(ValueError, match=said):
        dataclasses.replace(question, **wrong)


def test_a_question_keeps_its_tokens_and_says_how_they_are_to_be_answered() -> None:
    tokens = np.array([3, 4])
    question = Question("ab", tokens, seed=5, max_tokens=6, temperature=0.0)
    tokens[0] = 9
    assert question.tokens == (3, 4)
    asked = {"seed": 5, "max_tokens": 6, "temperature": 0.0}
    assert question.options == asked | {"deterministic": False}
    assert question == Question("ab", [3, 4], **asked)
    assert len({question, dataclasses.replace(question, seed=7)}) == 2


@pytest.mark.parametrize("spec", SPECS[5:])
def test_a_reward_that_gives_no_number_is_named_with_its_text(decoder: Decoder, spec: str) -> None:
    method = by_name(spec, lambda exchanges: [float("nan")] * len(exchanges))
    with pytest.raises(ValueError, match=r"the reward gave nan for '.*', a response to 'How do"):
        ask(method, decoder)


# --- one by one -----------------------------------------------------------------------------------


@pytest.mark.numeric
def test_without_drafts_and_in_the_cold_all_ways_to_pi_star_agree(decoder: Decoder) -> None:
    answers = [
        ask(method, decoder, temperature=0.0)
        for method in (ThreeModel(), SSS(), SSS(rule="paper"), SSS(num_draft_tokens=1))
    ]
    assert len({answer.tokens for answer in answers}) == 1
    assert answers[0].drafted == 0
    close = 2 * precision.of_goal(TINY)
    assert answers[0].log_z[0] == pytest.approx(answers[1].log_z[0], abs=close)
    assert answers[1].drafted >= answers[1].accepted > 0
    assert len(answers[1].acceptance_by_position) == 3
    assert len(answers[1].goal_logprobs) == len(answers[1].tokens)


def test_the_target_alone_knows_neither_draft_nor_shift(decoder: Decoder) -> None:
    answer = ask(TargetOnly(), decoder)
    assert (answer.evaluated["draft"], answer.evaluated["reference"]) == (0, 0)
    assert (answer.log_z, answer.drafted) == ((), 0)
    assert answer.calls["reward"] == answer.evaluated["reward"] == 0


def test_a_draft_may_see_another_prompt(decoder: Decoder) -> None:
    talk = [{"role": "user", "content": PROMPT}]
    tokens, of_draft = decoder.chat_prompts(talk, draft_system="Be kind.")
    question = Question(PROMPT, tokens, seed=1, max_tokens=12, temperature=0.0)
    shifted = dataclasses.replace(question, draft_tokens=of_draft)
    expected = decoder.chat(talk, draft_system="Be kind.", **question.options, strength=2.0)
    assert SSS(2.0).answer(decoder, shifted).tokens == expected.tokens
    assert ThreeModel(2.0).answer(decoder, shifted).tokens == expected.tokens
    drafted = STAND(reward, n=2, strength=2.0).answer(decoder, shifted)
    assert drafted.tokens == expected.tokens
    assert SSS(2.0).answer(decoder, question).tokens != expected.tokens
    for method in (TargetOnly(), STAND(reward, n=2), BestOfN(reward, n=2)):
        assert method.answer(decoder, shifted).tokens == method.answer(decoder, question).tokens
    for method in (TreeBoN(reward), GSI(reward), RSD(reward)):
        with pytest.raises(ValueError, match="knows no shift by prompt"):
            method.answer(decoder, shifted)


def test_best_of_n_takes_the_best_and_reads_the_prompt_once(files: Files) -> None:
    prompt = [3 + i % 5 for i in range(60)]
    with Decoder(files.model(seed=3).path, **{**EXACT, "n_ctx": 1024}) as d:
        method = BestOfN(reward, n=6)
        question = Question("?", prompt, seed=4, max_tokens=5, temperature=1.0)
        answer = method.answer(d, question)
        assert answer.evaluated["target"] < len(prompt) + 6 * 6
        assert (answer.evaluated["reward"], answer.calls["reward"]) == (6, 1)
        samples = d.generate_batch([prompt] * 6, **target_only(**question.options))
        values = reward([("?", sample.text) for sample in samples])
        assert answer.tokens == samples[int(np.argmax(values))].tokens
        assert answer.details["reward"] == max(values)
        first = TargetOnly().answer(d, question)
        assert first.tokens == samples[0].tokens


def test_args_asks_for_prefixes(decoder: Decoder) -> None:
    asked: list[str] = []

    def remember(exchanges: Sequence[tuple[str, str]]) -> list[float]:
        asked.extend(response for _, response in exchanges)
        return reward(exchanges)

    answer = ask(ARGS(remember, k=4, w=2.0), decoder, max_tokens=5)
    size = len(answer.tokens)
    assert (answer.evaluated["reward"], answer.calls["reward"]) == (4 * size, size)
    for i in range(size):
        assert decoder.detokenize(answer.tokens[: i + 1]) in asked[4 * i : 4 * i + 4]


def test_cards_counts_its_segments_and_keeps_to_their_lengths(decoder: Decoder) -> None:
    asked: list[str] = []

    def remember(exchanges: Sequence[tuple[str, str]]) -> list[float]:
        asked.extend(response for _, response in exchanges)
        return reward(exchanges)

    never = CARDS(remember, r_star=100.0, beta=1e-6, tau_u=100.0, most=3, rejections=2)
    ban = decoder.end_of_generation
    answer = ask(never, decoder, max_tokens=9)
    assert not set(answer.tokens) & set(ban) or answer.finish_reason == "stop"
    segments = int(answer.details["segments"])
    assert segments == -(-len(answer.tokens) // 3) == answer.details["forced"]
    assert answer.details["rejections"] == 2 * segments
    assert len(asked) == answer.evaluated["reward"] == 1 + 3 * segments
    assert asked[0] == ""
    always = CARDS(remember, r_star=-100.0, tau_u=0.0, least=2)
    answer = ask(always, decoder, max_tokens=8)
    assert answer.details["segments"] == -(-len(answer.tokens) // 2)
    assert answer.details["rejections"] == 0


def test_cards_is_calibrated_by_a_quantile_of_the_targets_own_rewards(decoder: Decoder) -> None:
    prompts = [(text, decoder.tokenize(text)) for text in ("ab", "cd ef")]
    how: dict[str, Any] = {"seed": 3, "max_tokens": 6, "temperature": 1.0}
    asked = [tokens for _, tokens in prompts for _ in range(5)]
    samples = decoder.generate_batch(asked, strength=0.0, num_draft_tokens=0, **how)
    values = reward([("", sample.text) for sample in samples])
    found = calibrate(decoder, reward, prompts, quantile=0.5, samples=5, **how)
    assert found == pytest.approx(np.median(values))
    method = CARDS(reward, alpha=0.1).calibrated(decoder, prompts, **how)
    assert method.r_star == calibrate(decoder, reward, prompts, **how)
    assert method.alpha == 0.1
    with pytest.raises(ValueError, match="CARDS needs r_star"):
        ask(CARDS(reward), decoder)
    for wrong, said in [
        ({"quantile": 1.5}, "quantile must be between 0 and 1, not 1.5"),
        ({"samples": 0}, "samples must be a whole number, at least 1, not 0"),
    ]:
        with pytest.raises(ValueError, match=said):
            calibrate(decoder, reward, prompts, **how, **wrong)
    with pytest.raises(ValueError, match="no prompts"):
        calibrate(decoder, reward, [], **how)


def test_treebon_keeps_the_branches_that_a_plain_tree_search_keeps(decoder: Decoder) -> None:
    """The search written out again, on lists, with the same seeds for the same batches."""
    prompt = decoder.chat_prompts([{"role": "user", "content": PROMPT}])[0]
    ends = set(decoder.end_of_generation)
    plain: dict[str, Any] = {"strength": 0.0, "num_draft_tokens": 0, "temperature": 0.9}
    for seed in range(6):
        rng = np.random.default_rng(seed)
        texts: list[list[int]] = [[] for _ in range(6)]
        lengths = [3, 4, 4]  # of 11 tokens in 3 layers
        for layer, length in enumerate(lengths):
            if layer:
                ranked = sorted(texts, key=lambda text: weighted(decoder, prompt, text))[::-1][:2]
                texts = [t for t in ranked for _ in range(1 if t[-1] in ends else 3)]
            open_ones = [
                i for i, text in enumerate(texts) if text[-1:] == [] or text[-1] not in ends
            ]
            pieces = decoder.generate_batch(
                [prompt + texts[i] for i in open_ones],
                max_tokens=length,
                seed=int(rng.integers(2**63)),
                **plain,
            )
            texts = list(texts)
            for i, piece in zip(open_ones, pieces, strict=True):
                texts[i] = texts[i] + list(piece.tokens)
        values = reward([("", decoder.detokenize(text)) for text in texts])
        answer = ask(TreeBoN(reward, n=6, children=3, layers=3), decoder, seed=seed, max_tokens=11)
        assert list(answer.tokens) == texts[int(np.argmax(values))]
        assert answer.evaluated["reward"] == len(texts)


def weighted(d: Decoder, prompt: list[int], response: list[int]) -> float:
    scores = d.score(prompt, response)
    ratios = scores.draft_logprobs - scores.reference_logprobs  # type: ignore[operator]
    return float(np.sum(ratios / np.arange(1, len(ratios) + 1)))


def test_gsi_is_rsd_where_draft_and_target_agree(files: Files) -> None:
    path = files.model(seed=3).path
    with Decoder(path, path, **EXACT) as d:
        for seed in range(5):
            question = Question("?", [3, 4], seed=seed, max_tokens=9, temperature=1.0)
            answers = [
                kind(reward, n=3, beta=5.0, u=0.6, step_tokens=3).answer(d, question)
                for kind in (GSI, RSD)
            ]
            assert answers[0].tokens == answers[1].tokens
            assert answers[0].details == answers[1].details


def test_gsi_writes_steps_that_end_where_they_should(decoder: Decoder) -> None:
    asked: list[str] = []

    def remember(exchanges: Sequence[tuple[str, str]]) -> list[float]:
        asked.extend(response for _, response in exchanges)
        return reward(exchanges)

    accepting = GSI(remember, n=2, u=-1e9, step_tokens=3)
    answer = ask(accepting, decoder, max_tokens=9)
    steps = int(answer.details["steps"])
    assert steps == answer.details["steps_accepted"] == -(-len(answer.tokens) // 3)
    assert answer.drafted == answer.accepted == len(answer.tokens)
    assert len(asked) == answer.evaluated["reward"] == 2 * steps
    refusing = GSI(remember, n=2, u=1e9, step_tokens=3)
    answer = ask(refusing, decoder, max_tokens=9)
    assert (answer.accepted, answer.details["steps_accepted"]) == (0, 0)
    assert answer.calls["reward"] == 2 * answer.details["steps"]


def test_gsi_ends_a_step_at_its_marker(files: Files) -> None:
    """The vocabulary has "a" as a token of its own; the others hold it only as part of more."""
    with Decoder(*[m.path for m in files.trio(seed=3)][:2], **EXACT) as d:
        method = GSI(reward, n=1, u=-1e9, step_end="a")
        first = Question("?", [4], seed=0, max_tokens=40, temperature=1.5)
        found = [method.answer(d, dataclasses.replace(first, seed=seed)) for seed in range(4)]
    for answer in found:
        holding = [i for i, t in enumerate(answer.tokens) if "a" in d_text(t)]
        ended_elsewhere = not holding or holding[-1] != len(answer.tokens) - 1
        assert answer.details["steps"] == len(holding) + ended_elsewhere
    assert any(answer.details["steps"] > 2 for answer in found)


def d_text(token: int) -> str:
    from .support.tiny_gguf import spm_vocab

    return spm_vocab().tokens[token] if token > 2 else ""


def test_stand_takes_the_best_of_samples_that_draft_for_each_other(decoder: Decoder) -> None:
    answer = ask(STAND(reward, n=8), decoder, temperature=0.0)  # four at once, then four more
    plain = ask(BestOfN(reward, n=8), decoder, temperature=0.0)
    assert answer.tokens == plain.tokens
    assert answer.details["drafted"] >= answer.details["accepted"] > 0
    assert answer.details["ngrams"] > 0
    assert answer.evaluated["draft"] == 0
    shifted = ask(STAND(reward, n=4, strength=1.0), decoder, temperature=0.0)
    assert shifted.tokens == ask(ThreeModel(), decoder, temperature=0.0).tokens


def test_methods_that_need_a_pair_say_so(files: Files) -> None:
    question = Question("", [3], seed=0, max_tokens=2, temperature=1.0)
    with Decoder(files.model(seed=3).path, **EXACT) as d:
        for method in (GSI(reward), RSD(reward), TreeBoN(reward)):
            with pytest.raises(ValueError, match="there is no 'draft' here, only target"):
                method.answer(d, question)
        for other in (SSS(), ThreeModel()):
            with pytest.raises(ValueError, match="strength 1 needs a draft and a reference"):
                other.answer(d, question)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: ThreeModel(float("inf")), "strength must be a finite number, not inf"),
        (lambda: SSS(rule="fast"), "rule must be exact, paper or speculative, not 'fast'"),
        (lambda: SSS(rule="speculative"), "strength must be 0 with rule speculative, not 1.0"),
        (lambda: SSS(num_draft_tokens=-1), "num_draft_tokens must be .* at least 0, not -1"),
        (lambda: BestOfN(reward, n=0), "n must be a whole number, at least 1, not 0"),
        (lambda: BestOfN(reward, n=True), "n must be a whole number, at least 1, not True"),
        (lambda: soft_best_of_n(reward, beta=0.0), "beta must be finite and above 0, not 0.0"),
        (lambda: ARGS(reward, k=0), "k must be a whole number, at least 1, not 0"),
        (lambda: ARGS(reward, w=float("nan")), "w must be a finite number, not nan"),
        (lambda: ARGS(reward, stochastic="yes"), "stochastic must be true or false, not 'yes'"),
        (lambda: CARDS(reward, r_star=float("inf")), "r_star must be a finite number, not inf"),
        (lambda: CARDS(reward, alpha=1.5), "alpha must be between 0 and 1, not 1.5"),
        (lambda: CARDS(reward, beta=-1.0), "beta must be finite and above 0, not -1.0"),
        (lambda: CARDS(reward, least=0), "least must be a whole number, at least 1, not 0"),
        (lambda: CARDS(reward, rejections=-1), "rejections must be .* at least 0, not -1"),
        (lambda: TreeBoN(reward, n=6), "n must be a multiple of children=4, not 6"),
        (lambda: TreeBoN(reward, layers=0), "layers must be a whole number, at least 1, not 0"),
        (lambda: GSI(reward, n=0), "n must be a whole number, at least 1, not 0"),
        (lambda: GSI(reward, u=float("nan")), "u must be a number, not nan"),
        (lambda: GSI(reward, step_end=""), "step_end must be some text, not ''"),
        (lambda: GSI(reward, proposer="target"), "proposer must be draft or reference, not 't"),
        (lambda: STAND(reward, tree_width=0), "tree_width must be .* at least 1, not 0"),
        (lambda: STAND(reward, strength=float("nan")), "strength must be a finite number, not nan"),
        (lambda: RSD(reward, beta=0.0), "beta must be finite and above 0, not 0.0"),
    ],
)
def test_wrong_parameters_are_refused_with_their_value(make: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()


# --- names ----------------------------------------------------------------------------------------


def test_every_name_makes_a_method_and_names_differ_as_parameters_do() -> None:
    names = [by_name(name, reward).name for name in METHODS]
    names += [by_name(spec, reward).name for spec in SPECS if ":" in spec]
    assert len(set(names)) == len(names)
    assert by_name("best-of-n", reward).name == "best-of-8"
    assert by_name("sss", reward).name == "sss exact s=1 K=3"
    assert by_name("sss:rule=paper,num_draft_tokens=0").name == "sss paper s=1 K=0"
    assert by_name("args:w=2", reward).name == "args k=10 w=2"
    assert by_name("treebon:layers=2", reward).name == "treebon n=8 layers=2"
    assert by_name("rsd", reward).name == "rsd n=16 beta=20 u=0.7"


def test_a_spec_says_the_parameters() -> None:
    assert by_name("target") == TargetOnly()
    assert by_name("sss: strength=0.5, rule=paper") == SSS(0.5, rule="paper")
    assert by_name("sss:num_draft_tokens=none") == SSS()
    assert by_name("best-of-n:n=16", reward) == BestOfN(reward, n=16)
    assert by_name("soft-best-of-n", reward) == BestOfN(reward, n=8, beta=20.0)
    assert by_name("args:stochastic=True,k=4", reward) == ARGS(reward, k=4, stochastic=True)
    assert by_name("gsi:u=1e-2", reward) == GSI(reward, u=0.01)
    assert by_name("rsd:n=2", reward) == RSD(reward, n=2)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("magic", "there is no method 'magic'; there are target, three-model, sss, best-of-n"),
        ("", "there is no method ''"),
        ("sss:s=1", "'sss' has no parameter 's=1'; there are: strength, rule, num_draft_tokens"),
        ("target:n=1", "the method 'target' has no parameter 'n=1'; there are: none"),
        ("best-of-n:n", "the method 'best-of-n' has no parameter 'n'; there are: n, beta"),
        ("best-of-n:n=1,n=2", "the method 'best-of-n' is given 'n' twice"),
        ("best-of-n:n=2.5", "n must be a whole number, at least 1, not 2.5"),
        ("best-of-n:n=many", "n must be a whole number, at least 1, not 'many'"),
        ("best-of-n:reward=1", "has no parameter 'reward=1'"),
        ("gsi:tilted=false", "has no parameter 'tilted=false'"),
    ],
)
def test_a_spec_that_cannot_be_read_says_what_there_is(spec: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        by_name(spec, reward)


def test_a_method_that_needs_a_reward_says_so() -> None:
    with pytest.raises(ValueError, match="the method 'best-of-n' needs a reward"):
        by_name("best-of-n")
