"""The promises on SmolLM2: greedy decoding is what plain three-model decoding says.

Quantised models round activations to 8 bits, and any difference in the order of a sum, as between
batches of different shapes, flips some of those roundings: on this model the same history differs
by up to 1.1 in a logit. So equality token for token is proved on the same weights widened to
float32, where no tie is met. On the quantised files, where two decodings part, the two tokens must
be within ``TIE`` in goal log-probability, measured on the history they share; what follows is
another text and is not compared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from rewardshift import Decoder, _core
from tests.support import precision

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

pytestmark = pytest.mark.real_model

Prompt = tuple[list[int], list[int]]
"""What target and reference see, and what the draft sees."""

LAYERS, HIDDEN, SPREAD = 30, 1536, 3.5
"""Of SmolLM2-135M; the last is the standard deviation of its logits."""
OF_LOGIT = precision.of_activations(LAYERS, SPREAD)
"""How far a logit is from the one of exact activations, as the root of the mean square."""
TIE = 5 * 6**0.5 * OF_LOGIT
"""2.7: two tokens, three roles, and five deviations, as texts part a hundred times.

Where the target has seen one token less, what it takes for the best is 11 below the best, by the
median."""
WARM = "You are warm and cheerful."
QUESTIONS = (
    "Name three colours.",
    "Why is the sky blue? Answer in one sentence.",
    "Write a short poem about rain.",
)
LENGTH = 24
GREEDY: dict[str, Any] = {"temperature": 0.0, "max_tokens": LENGTH}
LOADING: dict[str, Any] = {"n_ctx": 2048, "n_threads": 1}
FLOAT32: dict[str, Any] = {"type_k": "f32", "type_v": "f32", "flash_attn": False}


@pytest.fixture(scope="module")
def decoder(smollm2: tuple[str, str]) -> Iterator[Decoder]:
    """Target as distributed; draft and reference are its cheaper re-quantisation."""
    target, small = smollm2
    with Decoder(target, small, small, **LOADING) as made:
        yield made


@pytest.fixture(scope="module")
def prompts(decoder: Decoder) -> list[Prompt]:
    """The questions; only the draft is told to be warm."""
    talks: list[Any] = [[{"role": "user", "content": question}] for question in QUESTIONS]
    return [decoder.chat_prompts(talk, draft_system=WARM) for talk in talks]


@pytest.fixture(scope="module")
def plain(decoder: Decoder, prompts: list[Prompt]) -> list[tuple[int, ...]]:
    """Plain three-model greedy decoding, one prompt at a time."""
    return [decode(decoder, [prompt], 0)[0] for prompt in prompts]


@pytest.fixture(scope="module")
def wide(
    smollm2: tuple[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, str]]:
    """The same weights in float32: 540 MB a file, gone afterwards."""
    folder: Path = tmp_path_factory.mktemp("wide")
    paths = [folder / "target.gguf", folder / "small.gguf"]
    for source, path in zip(smollm2, paths, strict=True):
        _core.quantize(source, str(path), "F32", 2, True, None)
    yield str(paths[0]), str(paths[1])
    for path in paths:
        path.unlink()


def decode(decoder: Decoder, prompts: Sequence[Prompt], k: int) -> list[tuple[int, ...]]:
    targets, drafts = ([prompt[i] for prompt in prompts] for i in (0, 1))
    completions = decoder.generate_batch(
        targets, draft_prompts=drafts, num_draft_tokens=k, **GREEDY
    )
    return [completion.tokens for completion in completions]


def open_context(path: str, **options: object) -> _core.Context:
    settings = _core.ContextOptions()
    for name, value in {**LOADING, **options}.items():
        setattr(settings, name, value)
    model = _core.Model.load(path, _core.ModelOptions(), None)
    return _core.Context(model, settings, _core.Threadpool(1))


def by_numpy(
    contexts: Sequence[_core.Context], prompt: Prompt, length: int
) -> tuple[list[int], list[float]]:
    """Argmax decoding of z_p + z_q - z_r from rows of logits, and the margins of its choices."""
    tokens: list[int] = []
    margins: list[float] = []
    histories = prompt[0], prompt[1], prompt[0]
    while len(tokens) < length and (not tokens or tokens[-1] != END):
        p, q, r = (
            context.logits([(0, [*history, *tokens], 1)])[0].astype(np.float64)
            for context, history in zip(contexts, histories, strict=True)
        )
        second, first = np.sort(p + q - r)[-2:]
        tokens.append(int(np.argmax(p + q - r)))
        margins.append(float(first - second))
    return tokens, margins


END = 2  # <|im_end|>


def test_greedy_decoding_equals_plain_three_model_decoding_token_for_token(
    wide: tuple[str, str], prompts: list[Prompt]
) -> None:
    """Every draft length from 0 to 8, all in one batch, against numpy, in float32."""
    paths, length = (wide[0], wide[1], wide[1]), 10
    contexts = [open_context(path, **FLOAT32) for path in paths]
    wanted = [by_numpy(contexts, prompt, length) for prompt in prompts[1:]]
    del contexts
    close = precision.of_sums(8 * LAYERS + 2, HIDDEN) * SPREAD * 6**0.5  # as for TIE
    assert min(min(margins) for _, margins in wanted) > close  # no tie is met
    with Decoder(*paths, **LOADING, **FLOAT32) as decoder:
        asked = {
            decoder.submit(
                target, draft_prompt=draft, num_draft_tokens=k, temperature=0.0, max_tokens=length
            ): (i, k)
            for k in range(9)
            for i, (target, draft) in enumerate(prompts[1:])
        }
        accepted = 0
        while decoder.has_work:
            for chunk in decoder.step():
                if chunk.completion is not None:
                    question, k = asked.pop(chunk.id)
                    assert list(chunk.completion.tokens) == wanted[question][0], f"k = {k}"
                    accepted += chunk.completion.statistics.accepted
    assert not asked
    assert accepted > 0


def ties(
    decoder: Decoder,
    prompts: Sequence[Prompt],
    found: Sequence[Sequence[int]],
    wanted: Sequence[Sequence[int]],
) -> list[float]:
    """The margins at which texts part; fails where one of them is no tie."""
    margins = []
    for (target, draft), a, b in zip(prompts, found, wanted, strict=True):
        if tuple(a) == tuple(b):
            continue
        at = next(i for i, pair in enumerate(zip(a, b, strict=False)) if pair[0] != pair[1])
        first, second = (
            decoder.score([*target, *a[:at]], [x[at]], draft_prompt=[*draft, *a[:at]]).goal_logprob
            for x in (a, b)
        )
        margins.append(abs(first - second))
        assert margins[-1] < TIE, f"token {at}: {a[at]} ({first}) and {b[at]} ({second})"
    return margins


@pytest.mark.parametrize("k", range(1, 9))
def test_greedy_decoding_of_quantised_models_parts_from_the_plain_one_at_ties_only(
    decoder: Decoder,
    prompts: list[Prompt],
    plain: list[tuple[int, ...]],
    k: int,
    record_property: Callable[[str, object], None],
) -> None:
    alone = [decode(decoder, [prompt], k)[0] for prompt in prompts[:1]]
    together = decode(decoder, prompts, k)
    met = ties(decoder, prompts[:1], alone, plain[:1]) + ties(decoder, prompts, together, plain)
    record_property("ties", met)
    print(f"k = {k}: parted {len(met)} times in 4, at margins", [round(m, 3) for m in met])


@pytest.mark.numeric
def test_plain_decoding_in_a_batch_parts_from_plain_decoding_alone_at_ties_only(
    decoder: Decoder, prompts: list[Prompt], plain: list[tuple[int, ...]]
) -> None:
    ties(decoder, prompts, decode(decoder, prompts, 0), plain)


def test_greedy_decoding_is_the_argmax_of_the_shifted_logits(
    smollm2: tuple[str, str],
    decoder: Decoder,
    prompts: list[Prompt],
    plain: list[tuple[int, ...]],
) -> None:
    contexts = [open_context(path) for path in (smollm2[0], smollm2[1], smollm2[1])]
    ties(decoder, prompts, [by_numpy(contexts, p, LENGTH)[0] for p in prompts], plain)


def test_the_shift_changes_what_is_said(
    decoder: Decoder, prompts: list[Prompt], plain: list[tuple[int, ...]]
) -> None:
    unshifted = [decoder.generate(t, strength=0.0, **GREEDY).tokens for t, _ in prompts]
    assert unshifted != plain


def test_the_same_seed_gives_the_same_text(smollm2: tuple[str, str], prompts: list[Prompt]) -> None:
    texts = []
    for _ in range(2):
        with Decoder(smollm2[0], smollm2[1], smollm2[1], **LOADING) as fresh:
            target, draft = prompts[2]
            completion = fresh.generate(target, draft_prompt=draft, seed=7, max_tokens=LENGTH)
            texts.append(completion.text)
    assert texts[0] == texts[1]


def test_the_next_turn_evaluates_only_what_is_new(
    smollm2: tuple[str, str], decoder: Decoder
) -> None:
    contexts = [open_context(path) for path in (smollm2[0], smollm2[1], smollm2[1])]
    talk: list[Any] = [{"role": "user", "content": QUESTIONS[1]}]
    with Decoder.from_models(*contexts) as chat:
        target, draft = decoder.chat_prompts(talk, draft_system=WARM)
        answer = chat.generate(target, draft_prompt=draft, **GREEDY)
        text = decoder.detokenize(answer.tokens)
        talk += [{"role": "assistant", "content": text}, {"role": "user", "content": "Go on."}]
        longer, longer_draft = decoder.chat_prompts(talk, draft_system=WARM)
        before = [context.evaluated_tokens for context in contexts]
        chat.generate(longer, draft_prompt=longer_draft, max_tokens=1)
        spent = [c.evaluated_tokens - b for c, b in zip(contexts, before, strict=True)]
    new = len(longer) - len(target) - len(answer.tokens)
    assert longer[: len(target)] == target
    assert max(spent) <= new + 4  # how the answer's end is tokenised again may differ


@pytest.mark.numeric
def test_rows_from_the_cache_resemble_rows_from_scratch(
    smollm2: tuple[str, str], prompts: list[Prompt]
) -> None:
    warm, fresh = open_context(smollm2[0]), open_context(smollm2[0])
    tokens = prompts[1][0]
    warm.logits([(0, [*tokens, 5, 6, 7], 4), (1, tokens[:10], 1)])
    found, wanted = (context.logits([(1, tokens, 3)]) for context in (warm, fresh))
    off = np.square(found.astype(np.float64) - wanted).mean() ** 0.5
    assert off < 3 * OF_LOGIT  # another history's are SPREAD apart
