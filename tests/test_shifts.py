"""Several shifts by name: what makes one, what they share, the law they have together, results."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from rewardshift import Decoder, NgramTable, Shift, TableModel
from tests.support import enumerate_law as oracle
from tests.support import precision
from tests.support.worlds import Ask, observe

if TYPE_CHECKING:
    from collections.abc import Mapping


FALSE_ALARM = 1e-8  # of one test; there are fewer than 60
VOCAB, EOG = 4, 0

# --- what makes a shift --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"draft": "d", "reference": "r"},
        {"draft": "d", "lora": "l"},
        {"reference": "r", "lora": "l", "lora_scale": -0.5},
        {"reference": "r", "draft_system": "Be kind."},
        {"draft": "d", "reference": "r", "lora": "l", "draft_system": ""},
    ],
)
def test_what_goes_together_is_a_shift(fields: dict[str, Any]) -> None:
    shift = Shift(**fields, strength=-2)
    assert {name: getattr(shift, name) for name in fields} == fields
    assert shift == Shift(**fields, strength=-2)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "needs a draft and a reference.* not nothing"),
        ({"draft": "d"}, "or one of them with a lora.* not draft"),
        ({"reference": "r"}, "or one of them with a draft_system, or a head alone, not reference"),
        ({"reference": "r", "head": "h"}, "or a head alone, not reference and head"),
        ({"head": "h", "draft_system": "Hi"}, "or a head alone, not draft_system and head"),
        ({"lora": "l"}, "not lora"),
        ({"lora": "l", "draft_system": "x"}, "not lora and draft_system"),
        ({"draft": "d", "reference": "r", "lora_scale": 2.0}, "lora_scale needs a lora"),
        ({"draft": "d", "reference": "r", "strength": math.nan}, "strength must be finite, not"),
    ],
)
def test_what_does_not_is_an_error_that_says_what_would(
    fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Shift(**fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"draft": 3, "reference": "r"}, "draft must be a file, .* not 3"),
        ({"draft": "d", "reference": "r", "strength": "much"}, "strength must be a number"),
        ({"draft": "d", "draft_system": 3}, "draft_system must be text, not 3"),
    ],
)
def test_a_value_of_a_wrong_type_is_named(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Shift(**fields)


PAIR = Shift("d.gguf", "r.gguf")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shift": "negative"}, "no dial 'negative'; there are .*positive"),
        ({"shift": [PAIR, PAIR]}, "two shifts named 'shift'; give them names"),
        ({"shift": PAIR, "shifts": {"a": PAIR}}, "give shift or shifts, not both"),
        ({"shifts": {"": PAIR}}, "names of shifts cannot be empty"),
        ({"shift": PAIR, "draft": "d.gguf"}, "one of the three"),
        ({"shifts": {}, "draft": "d.gguf", "reference": "r.gguf"}, "one of the three"),
        ({"base": "b.gguf", "draft": "d.gguf"}, "give draft or base"),
    ],
)
def test_arguments_that_exclude_each_other_say_so(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Decoder("target.gguf", **arguments)
    with pytest.raises(ValueError, match="need a target"):
        Decoder(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shift": 3}, "shift must be a name, a Shift, or a list of them, not 3"),
        ({"shift": [3]}, "shift must be a name, a Shift, or a list of them, not 3"),
        ({"shifts": [PAIR]}, "shifts must map names to Shifts, not be"),
        ({"shifts": {"a": "positive"}}, "shifts must map names to Shifts, not 'a' to 'positive'"),
        ({"shifts": {1: PAIR}}, "names of shifts must be text, not 1"),
        ({"base": 3}, "base must be a file"),
    ],
)
def test_arguments_of_a_wrong_type_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Decoder("target.gguf", **arguments)


# --- several shifts over tables: the law ---------------------------------------------------------


@dataclass(frozen=True)
class Several:
    """Random tables of order 1: a target, drafts and references of shifts, and a base."""

    shifts: Mapping[str, tuple[str, str]]  # names of tables
    defaults: Mapping[str, float]
    base: str | None = None

    def table(self, name: str) -> np.ndarray:
        """Logits after each token; alike enough for drafts to be accepted now and then."""
        common = np.random.default_rng(0).normal(size=(VOCAB, VOCAB))
        own = np.random.default_rng(sum(name.encode())).normal(size=(VOCAB, VOCAB))
        return (common + 0.6 * own).astype(np.float32)

    def decoder(self, **facts: Any) -> Decoder:
        facts = {
            "order": 1, "end_of_generation": {EOG}, "max_sequences": 65, "context_size": 10**6,
            **facts,
        }  # fmt: skip
        names = {"target", *itertools.chain(*self.shifts.values()), *filter(None, [self.base])}
        models = {name: TableModel(self.table(name), **facts) for name in names}
        return Decoder.from_models(
            models["target"],
            shifts={name: (models[q], models[r]) for name, (q, r) in self.shifts.items()},
            base=None if self.base is None else models[self.base],
            strengths=self.defaults,
        )

    def logits(self, strengths: Mapping[str, float], last: int) -> np.ndarray:
        """Of the goal, in float64."""
        z = self.table("target")[last].astype(np.float64)
        for name, (q, r) in self.shifts.items():
            z = z + strengths.get(name, 0.0) * (
                self.table(q)[last].astype(np.float64) - self.table(r)[last]
            )
        return np.asarray(z)

    def law(self, ask: Ask) -> oracle.Law:
        strengths = ask.options.get("strength", self.defaults)
        return oracle.enumerate_law(
            lambda prefix: oracle.softmax(self.logits(strengths, (*ask.prompt, *prefix)[-1])),
            {EOG},
            ask.options["max_tokens"],
        )


APART = {"a": ("qa", "ra"), "b": ("qb", "rb")}
SHARED = {"a": ("qa", "r"), "b": ("qb", "r"), "c": ("qc", "r")}
DEFAULTS = {"a": 1.0, "b": -0.5}
WORLDS = {
    "one": Several({"a": ("qa", "ra")}, {"a": 1.2}),
    "two": Several(APART, DEFAULTS),
    "three of one reference": Several(SHARED, {**DEFAULTS, "c": 0.7}),
    "one draft of two": Several({"a": ("q", "ra"), "b": ("q", "rb")}, {"a": 1, "b": 1}),
    "a base of its own": Several(APART, DEFAULTS, base="base"),
    "the reference as base": Several(SHARED, {**DEFAULTS, "c": 0.7}, base="r"),
}
WAYS: tuple[dict[str, Any], ...] = (
    {"num_draft_tokens": 0},
    {"num_draft_tokens": 3},
    {"num_draft_tokens": 2, "verification": "token"},
    {"num_draft_tokens": 4, "tree_width": 3},
    {"num_draft_tokens": 3, "prompt_lookup": True},
)


@pytest.mark.statistical
@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("world", WORLDS)
def test_responses_follow_the_law_of_all_shifts_together(world: str, way: dict[str, Any]) -> None:
    """Defaults, mixed signs and no shift at all, in the same batches."""
    several, n = WORLDS[world], 2500
    common = {**way, "max_tokens": 4}
    mixed = dict(zip(several.shifts, (-0.7, 1.5, 0.4), strict=False))
    asks = [
        Ask(common, prompt=(1, 2, 1)),
        Ask({**common, "strength": mixed}, prompt=(2,)),
        Ask({**common, "strength": {"a": 0.8}}, prompt=(3, 1, 3)),
        Ask({**common, "strength": {}}, prompt=(1, 1, 1)),
    ]
    with several.decoder() as decoder:
        for ask, count in zip(asks, observe(decoder, asks, n), strict=True):
            assert oracle.chi_square(count, several.law(ask), n) > FALSE_ALARM, ask


@pytest.mark.statistical
def test_that_sample_would_notice_a_shift_of_the_wrong_sign() -> None:
    several, n = WORLDS["two"], 2500
    ask = Ask({"max_tokens": 4, "num_draft_tokens": 3, "strength": {"a": 1.0, "b": -0.5}})
    wrong = Ask({**ask.options, "strength": {"a": 1.0, "b": 0.5}})
    with several.decoder() as decoder:
        (count,) = observe(decoder, [ask], n)
    assert oracle.chi_square(count, several.law(wrong), n) < FALSE_ALARM


@pytest.mark.parametrize("world", WORLDS)
def test_temperature_zero_is_plain_greedy_of_all_models(world: str) -> None:
    several = WORLDS[world]
    for strengths in (several.defaults, {"a": -1.3}, {}):
        expected = [1]
        while len(expected) < 16 and expected[-1] != EOG:
            expected.append(int(several.logits(strengths, expected[-1]).argmax()))
        with several.decoder() as decoder:
            for way in WAYS:
                found = decoder.generate(
                    [1], temperature=0, max_tokens=15, strength=strengths, **way
                )
                assert [1, *found.tokens] == expected


def test_one_batch_serves_what_each_request_wants_and_nothing_else() -> None:
    """A request's text is the same alone and beside others of other strengths."""
    several = WORLDS["three of one reference"]
    wanted = [{"a": 1.0}, {"b": 2.0, "c": -1.0}, {}, dict(several.defaults)]
    options: dict[str, Any] = {"max_tokens": 12, "temperature": 1.0, "logit_bias": {EOG: -50}}
    with several.decoder() as crowd:
        requests = [
            crowd.submit([1 + i % 3], strength=strength, seed=i, **options)
            for i, strength in enumerate(wanted)
        ]
        done = {}
        while crowd.has_work:
            for chunk in crowd.step():
                if chunk.completion is not None:
                    done[chunk.id] = chunk.completion.tokens
    for i, strength in enumerate(wanted):
        with several.decoder() as alone:
            found = alone.generate([1 + i % 3], strength=strength, seed=i, **options)
        assert done[requests[i]] == found.tokens


# --- strengths -----------------------------------------------------------------------------------


def test_a_shift_of_strength_zero_is_not_evaluated() -> None:
    with WORLDS["two"].decoder() as decoder:
        before = decoder.work
        found = decoder.generate([1], strength={"a": 1.0}, max_tokens=8, seed=0)
        after = decoder.work
    moved = {name for name in after if after[name].tokens > before[name].tokens}
    assert moved == {"target", "a shift", "reference of a"}
    assert set(found.statistics.shifts) == {"a"}
    assert all(set(step.shifts) == {"a"} for step in found.steps)


def test_no_shift_at_all_leaves_the_target_to_itself() -> None:
    with WORLDS["two"].decoder() as decoder:
        for strength in (0, {}, {"a": 0, "b": 0.0}):
            found = decoder.generate([1], strength=strength, max_tokens=5, num_draft_tokens=0)
            assert found.statistics.shifts == {}
            assert {step.log_z for step in found.steps} == {None}
        work = decoder.work
    assert {name for name in work if work[name].tokens} == {"target"}


def test_a_number_is_for_one_shift_and_names_must_be_known() -> None:
    with WORLDS["two"].decoder() as decoder:
        for call in (decoder.generate, decoder.submit, lambda p, **o: decoder.score(p, [1], **o)):
            with pytest.raises(ValueError, match=r"strength 1 is for one shift, .*a, b.*name them"):
                call([1], strength=1.0)
            with pytest.raises(ValueError, match=r"strength names 'z', .*only a, b"):
                call([1], strength={"z": 1.0})
        assert not decoder.has_work
    with WORLDS["one"].decoder() as decoder:
        by_number = decoder.generate([1], strength=0.5, seed=1, max_tokens=9)
        by_name = decoder.generate([1], strength={"a": 0.5}, seed=1, max_tokens=9)
        assert by_number.tokens == by_name.tokens
        assert by_number.logprobs == by_name.logprobs


def test_the_papers_rule_is_for_one_shift() -> None:
    with WORLDS["one"].decoder() as decoder:
        assert decoder.generate([1], rule="paper", max_tokens=3).tokens
    with (
        WORLDS["two"].decoder() as decoder,
        pytest.raises(ValueError, match=r"rule 'paper' is defined for one shift.*use rule 'exact'"),
    ):
        decoder.generate([1], rule="paper")


def test_defaults_are_those_of_the_shifts_and_their_names_are_checked() -> None:
    several = WORLDS["two"]
    with several.decoder() as decoder:
        assert {name: shift.strength for name, shift in decoder.shifts.items()} == DEFAULTS
        options: dict[str, Any] = {"max_tokens": 9, "seed": 3}
        unasked = decoder.generate([1], **options)
        asked = decoder.generate([1], strength=DEFAULTS, **options)
        assert unasked.tokens == asked.tokens
        assert unasked.logprobs == asked.logprobs
    with pytest.raises(ValueError, match=r"strengths names 'z', .*only a, b"):
        Several(APART, {"z": 1.0}).decoder()


def test_models_that_do_not_go_together_are_refused() -> None:
    a, b, c = (TableModel(np.zeros((1, 3), dtype=np.float32)) for _ in range(3))
    with pytest.raises(ValueError, match="draft and reference, or shifts, not both"):
        Decoder.from_models(a, b, c, shifts={"x": (b, c)})
    with pytest.raises(ValueError, match="a reference needs a draft"):
        Decoder.from_models(a, None, b)
    with pytest.raises(ValueError, match="give draft or base"):
        Decoder.from_models(a, b, base=c)
    with pytest.raises(TypeError, match="shifts must map names to pairs of models, not 'x'"):
        Decoder.from_models(a, shifts={"x": b})  # type: ignore[dict-item]
    with pytest.raises(TypeError, match="the x shift must be a model"):
        Decoder.from_models(a, shifts={"x": ("d", b), "y": (c, b)})  # type: ignore[dict-item]


# --- results -------------------------------------------------------------------------------------


def test_results_tell_the_shifts_apart() -> None:
    several = WORLDS["three of one reference"]
    strengths = {"a": 1.0, "b": -0.5, "c": 0.25}
    with several.decoder() as decoder:
        options: dict[str, Any] = {"strength": strengths, "temperature": 1.0}
        found = decoder.generate(
            [1], max_tokens=20, seed=2, logit_bias={EOG: -50}, num_draft_tokens=3, **options
        )
        score = decoder.score([1], found.tokens, strength=strengths)
    history = [1, *found.tokens]
    for i, step in enumerate(found.steps):
        for name, (q, r) in several.shifts.items():
            own = [math.log(oracle.softmax(several.table(x)[history[i]])[step.id]) for x in (q, r)]
            close = 2 * precision.of_normaliser(VOCAB)
            assert step.shifts[name] == pytest.approx(own[0] - own[1], abs=close)
            assert score.shifts[name][i] == pytest.approx(own[0] - own[1], abs=close)
        assert (step.draft_logprob, step.reference_logprob, step.implicit_reward) == (None,) * 3
    for name, shift in found.statistics.shifts.items():
        ratios = [step.shifts[name] for step in found.steps]
        assert shift.implicit_reward == pytest.approx(sum(ratios))
        assert shift.mean_abs_log_ratio == pytest.approx(np.mean(np.abs(ratios)))
        assert score.shifts[name].dtype == np.float64
    assert list(found.statistics.shifts) == list(several.shifts)
    assert found.statistics.implicit_reward is None
    assert (score.draft_logprobs, score.reference_logprobs, score.implicit_reward) == (None,) * 3


def test_what_a_single_shift_says_is_also_found_without_its_name() -> None:
    with WORLDS["one"].decoder() as decoder:
        found = decoder.generate([1], max_tokens=9, seed=1)
        score = decoder.score([1], found.tokens)
    assert found.statistics.implicit_reward == found.statistics.shifts["a"].implicit_reward
    assert [step.implicit_reward for step in found.steps] == [s.shifts["a"] for s in found.steps]
    assert score.implicit_reward == pytest.approx(score.shifts["a"].sum())
    assert np.array_equal(score.draft_logprobs - score.reference_logprobs, score.shifts["a"])


def test_drafts_are_counted_by_their_source() -> None:
    options: dict[str, Any] = {"max_tokens": 30, "seed": 1, "logit_bias": {EOG: -50}}
    with WORLDS["two"].decoder() as decoder:
        for source, how in {
            "shifted": {"num_draft_tokens": 3},
            "table": {"num_draft_tokens": 3, "drafter": NgramTable()},
            "plain": {"num_draft_tokens": 3, "strength": 0},
        }.items():
            s = decoder.generate([1], **{**options, **how}).statistics
            assert s.sources[source].drafted == s.drafted > 0
            assert s.sources[source].accepted == s.accepted
        s = decoder.generate([1, 2, 3] * 6, prompt_lookup=True, **options).statistics
    assert s.sources["quote"].drafted > 0
    assert sum(source.drafted for source in s.sources.values()) == s.drafted


def test_seconds_are_told_by_reader_and_add_up_by_role() -> None:
    with WORLDS["a base of its own"].decoder() as decoder:
        seconds = decoder.generate([1], max_tokens=30, num_draft_tokens=3).statistics.seconds
    assert set(seconds.readers) == {
        *("target", "a shift", "b shift", "reference of a", "reference of b", "base")
    }
    assert sum(seconds.readers.values()) + seconds.own == pytest.approx(seconds.total)
    drafting = sum(seconds.readers[name] for name in ("a shift", "b shift", "base"))
    assert seconds.draft == pytest.approx(drafting)


# --- prompts -------------------------------------------------------------------------------------


def test_each_draft_may_see_a_prompt_of_its_own() -> None:
    several = WORLDS["two"]
    with several.decoder() as decoder:
        score = decoder.score([1], [2], draft_prompt={"b": [3]}, strength={"a": 1.0, "b": 2.0})
        z = several.table("target")[1].astype(np.float64)
        z = z + (several.table("qa")[1].astype(np.float64) - several.table("ra")[1])
        z = z + 2 * (several.table("qb")[3].astype(np.float64) - several.table("rb")[1])
        goal = oracle.softmax(z)
        close = precision.of_goal_logprobs(goal)[2]
        assert score.goal_logprobs[0] == pytest.approx(math.log(goal[2]), abs=close)
        with pytest.raises(ValueError, match=r"draft_prompt is for one shift.* a, b"):
            decoder.generate([1], draft_prompt=[3])
        with pytest.raises(ValueError, match=r"draft_prompt names 'z'.* a, b"):
            decoder.generate([1], draft_prompt={"z": [3]})
        with pytest.raises(ValueError, match=r"reference_prompt is for one shift.* a, b"):
            decoder.generate([1], reference_prompt=[3])
        with pytest.raises(ValueError, match="the b shift's prompt has no tokens"):
            decoder.generate([1], draft_prompt={"b": []})
        batch = decoder.generate_batch([[1]] * 2, draft_prompts=[None, {"a": [2]}], max_tokens=2)
        assert len(batch) == 2
    with WORLDS["one"].decoder() as decoder:
        options: dict[str, Any] = {"seed": 1, "max_tokens": 9}
        by_name = decoder.generate([1], draft_prompt={"a": [3]}, **options)
        assert by_name.tokens == decoder.generate([1], draft_prompt=[3], **options).tokens
