"""Shifts of every kind over files: what they share, and what they make together by numpy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from rewardshift import Decoder, Error, Shift, VocabularyMismatchError
from tests.support import enumerate_law as oracle
from tests.support import numpy_forward, precision
from tests.support.engine import EXACT
from tests.support.tiny_gguf import TinyLora, TinyModel, bpe_vocab, write_lora

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.conftest import Files
    from tests.support.enumerate_law import Probs, Response


@dataclass(frozen=True)
class Reading:
    """A reader as numpy sees it."""

    model: TinyModel
    prompt: tuple[int, ...]
    lora: TinyLora | None = None
    lora_scale: float = 1.0

    def last(self, response: Response) -> Probs:
        rows = numpy_forward.logits(
            self.model, (*self.prompt, *response), lora=self.lora, lora_scale=self.lora_scale
        )
        return rows[-1]


@dataclass(frozen=True)
class Kinds:
    """A shift of each kind on one target, two of which are of one file."""

    target: TinyModel
    draft: TinyModel
    small: TinyModel
    lora: TinyLora

    @property
    def shifts(self) -> dict[str, Shift]:
        return {
            "pair": Shift(self.draft.path, self.small.path, strength=0.8),
            "adapted": Shift(reference=self.small.path, lora=self.lora.path, lora_scale=0.6),
            "asked": Shift(self.small.path, draft_system="cab", strength=-0.5),
        }

    def logits(
        self,
        strengths: Mapping[str, float],
        prompt: tuple[int, ...],
        asked: tuple[int, ...],
        response: Response,
    ) -> Probs:
        """Of the goal in float64."""
        z = Reading(self.target, prompt).last(response)
        reference = Reading(self.small, prompt).last(response)
        drafts = {
            "pair": Reading(self.draft, prompt),
            "adapted": Reading(self.small, prompt, self.lora, 0.6),
            "asked": Reading(self.small, asked),
        }
        for name, draft in drafts.items():
            z = z + strengths.get(name, 0.0) * (draft.last(response) - reference)
        return z


TEMPLATE = "{% for m in messages %}{{ m.content }} {% endfor %}"
PROMPT, ASKED = (1, 3, 4, 5), (1, 6, 3, 4, 5)


@pytest.fixture(scope="module")
def kinds(files: Files, tmp_path_factory: pytest.TempPathFactory) -> Kinds:
    target, draft, small = files.trio(chat_template=TEMPLATE)
    path = tmp_path_factory.mktemp("shifts") / "lora.gguf"
    return Kinds(target, draft, small, write_lora(path, small, scale=0.8))


@pytest.fixture(scope="module")
def decoder(kinds: Kinds) -> Any:
    with Decoder(kinds.target.path, shifts=kinds.shifts, **EXACT) as opened:
        yield opened


def test_one_file_has_one_copy_of_weights_and_no_more_contexts_than_it_needs(
    decoder: Decoder, kinds: Kinds
) -> None:
    contexts = decoder._engine.models
    assert list(contexts) == ["target", "pair shift", "adapted shift", "asked shift", "reference"]
    assert contexts["asked shift"] is contexts["reference"]
    assert len({id(context) for context in contexts.values()}) == 4
    models = decoder._models
    assert models["adapted shift"] is models["asked shift"] is models["reference"]
    assert len({id(model) for model in models.values()}) == 3
    assert decoder.shifts == kinds.shifts
    assert decoder.alone("adapted shift").score(PROMPT, [3]).target_logprob < 0
    with pytest.raises(ValueError, match="only target, pair shift, adapted shift"):
        decoder.alone("draft")


def test_references_that_differ_are_named_by_their_shifts(kinds: Kinds, files: Files) -> None:
    other = files.model(noise=0.35, noise_seed=3, chat_template=TEMPLATE).path
    shifts = {
        "a": Shift(kinds.draft.path, kinds.small.path),
        "b": Shift(kinds.draft.path, other),
        "c": Shift(kinds.draft.path, kinds.small.path),
    }
    with Decoder(kinds.target.path, shifts=shifts, base=other, **EXACT) as several:
        contexts = several._engine.models
        drafts = [contexts[f"{name} shift"] for name in shifts]
        panel = several._engine.panel
    assert list(contexts)[4:] == ["reference of a and c", "reference of b"]
    assert drafts[0] is drafts[1] is drafts[2]
    assert panel.names[panel.base or 0] == "reference of b"


@pytest.mark.numeric
@pytest.mark.parametrize(
    "strengths",
    [
        {"pair": 0.8, "adapted": 1.0, "asked": -0.5},
        {"pair": -1.0, "asked": 2.0},
        {"adapted": 1.5},
        {},
    ],
    ids=str,
)
def test_scores_are_what_numpy_computes_of_all_kinds(
    decoder: Decoder, kinds: Kinds, strengths: dict[str, float]
) -> None:
    rng = np.random.default_rng(0)
    tokens = tuple(int(t) for t in rng.integers(3, kinds.target.spec.n_vocab, 30))
    score = decoder.score(PROMPT, tokens, draft_prompt={"asked": ASKED}, strength=strengths)
    close = precision.of_goal(kinds.target.spec, sum(map(abs, strengths.values())))
    for i, token in enumerate(tokens):
        goal = oracle.softmax(kinds.logits(strengths, PROMPT, ASKED, tokens[:i]))
        assert score.goal_logprobs[i] == pytest.approx(math.log(goal[token]), abs=close)


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize(
    "strengths", [{"pair": 0.8, "adapted": 1.0, "asked": -0.5}, {"adapted": -1.0}, {}], ids=str
)
def test_temperature_zero_is_greedy_over_all_kinds(
    decoder: Decoder, kinds: Kinds, strengths: dict[str, float], *, deterministic: bool
) -> None:
    """Of margins that float32 could not bridge: where two are as good, either will do."""
    for k in (0, 3):
        found = decoder.generate(
            PROMPT, draft_prompt={"asked": ASKED}, strength=strengths, temperature=0,
            max_tokens=12, num_draft_tokens=k, deterministic=deterministic, seed=0,
        )  # fmt: skip
        for i, token in enumerate(found.tokens):
            z = kinds.logits(strengths, PROMPT, ASKED, found.tokens[:i])
            assert z[token] > z.max() - 1e-3


def test_a_request_apart_is_the_same_alone_and_after_others(decoder: Decoder, kinds: Kinds) -> None:
    options: dict[str, Any] = {"seed": 5, "max_tokens": 16, "draft_prompt": {"asked": ASKED}}
    first = decoder.generate(PROMPT, **options)
    decoder.generate(PROMPT, strength={"adapted": 2.0}, seed=1, max_tokens=8)
    decoder.generate((1, 4), strength={}, seed=2, max_tokens=8)
    again = decoder.generate(PROMPT, **options)
    with Decoder(kinds.target.path, shifts=kinds.shifts, **EXACT) as other:
        anew = other.generate(PROMPT, **options)
    for same in (again, anew):
        assert (same.tokens, same.logprobs) == (first.tokens, first.logprobs)
        assert [s.shifts for s in same.steps] == [s.shifts for s in first.steps]


def test_chat_shows_each_draft_its_own_system_message(decoder: Decoder) -> None:
    talk: Any = [{"role": "user", "content": "ab"}]
    target, drafts = decoder.chat_prompts_by_shift(talk)
    assert list(drafts) == ["asked"]
    assert "cab" in decoder.detokenize(drafts["asked"])
    assert "cab" not in decoder.detokenize(target)
    options: dict[str, Any] = {"seed": 1, "max_tokens": 8}
    told = decoder.generate(target, draft_prompt=drafts, **options)
    assert decoder.chat(talk, **options).tokens == told.tokens
    assert list(decoder.stream_chat(talk, **options))[-1].completion.tokens == told.tokens
    with pytest.raises(ValueError, match=r"draft_system is for one shift.* pair, adapted, asked"):
        decoder.chat(talk, draft_system="warm")
    with pytest.raises(ValueError, match="chat_prompts is for one shift"):
        decoder.chat_prompts(talk)


def test_a_bare_shift_is_a_pair_like_that_of_draft_and_reference(kinds: Kinds) -> None:
    pair = {"draft": kinds.draft.path, "reference": kinds.small.path}
    options: dict[str, Any] = {"seed": 1, "max_tokens": 12}
    with (
        Decoder(kinds.target.path, **pair, **EXACT) as classic,
        Decoder(kinds.target.path, shift=Shift(**pair), **EXACT) as bare,
        Decoder(kinds.target.path, shift=[Shift(**pair)], **EXACT) as listed,
    ):
        expected = classic.generate(PROMPT, **options)
        for one in (bare, listed):
            found = one.generate(PROMPT, **options)
            assert (found.tokens, found.logprobs) == (expected.tokens, expected.logprobs)
            assert list(one.work) == ["target", "draft", "reference"]
            assert list(one.shifts) == ["shift"]
        assert classic.shifts == {"draft": Shift(**pair)}


def test_a_base_only_drafts(kinds: Kinds) -> None:
    with Decoder(kinds.target.path, base=kinds.small.path, **EXACT) as lossless:
        found = lossless.generate(PROMPT, seed=1, max_tokens=12, num_draft_tokens=3)
        assert found.statistics.drafted > 0
        assert lossless.shifts == {}
        assert list(lossless.work) == ["target", "base"]
        with pytest.raises(ValueError, match="strength 1 needs a draft and a reference"):
            lossless.generate(PROMPT, strength=1.0)


def test_the_vocabulary_of_every_pair_is_checked_by_its_names(kinds: Kinds, files: Files) -> None:
    other = files.model(vocab=bpe_vocab()).path
    shifts = {"good": kinds.shifts["pair"], "bad": Shift(other, kinds.small.path)}
    with pytest.raises(VocabularyMismatchError, match="bad shift"):
        Decoder(kinds.target.path, shifts=shifts, **EXACT)


def test_a_closed_decoder_has_no_shifts(kinds: Kinds) -> None:
    opened = Decoder(kinds.target.path, shifts=kinds.shifts, **EXACT)
    opened.close()
    with pytest.raises(Error, match="closed"):
        _ = opened.shifts
