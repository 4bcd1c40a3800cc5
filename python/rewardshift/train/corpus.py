"""What a target says, with the most probable tokens at each position: what a student learns from.

Prompts come from a file, or from two built-in sources: everyday questions, and questions that the
target makes up itself when it is shown the beginning of a user's turn (Xu et al., "Magpie",
ICLR 2025).
"""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from rewardshift.chat.turns import opening_of_user_turn, prompt_tokens
from rewardshift.decoder import Decoder
from rewardshift.errors import EvaluationError
from rewardshift.files.atomic import replacing
from rewardshift.files.run_options import keep_options
from rewardshift.progress import bars, is_shown
from rewardshift.results import target_logprobs_of

from .topics import everyday_prompt

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from rewardshift.results import Completion

_LONGEST_PROMPT = 96  # tokens that the target may take for a question of its own
_TRIES = 4  # requests for each question of its own, on average; then everyday ones take over
_AT_ONCE = 32  # requests decoded together


@dataclass(frozen=True, slots=True)
class CorpusOptions:
    """How to sample.

    Attributes:
        responses: How many.
        max_tokens: Of each response.
        temperatures: Drawn from in turn, a response each.
        top_k: Most probable tokens kept at each position.
        self_prompted: Share of the prompts that the target makes up.
        shard: Responses that are saved together; what is saved is not sampled again.
        seed: Of everything.
    """

    responses: int = 8_000
    max_tokens: int = 128
    temperatures: tuple[float, ...] = (0.8, 1.0)
    top_k: int = 32
    self_prompted: float = 0.25
    shard: int = 512
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Response:
    """A prompt with a response, and the target's opinion at each position of the response.

    Attributes:
        tokens: Prompt and response, [n].
        prompt_length: Tokens of the prompt, m.
        top_ids: The target's most probable tokens, [n − m, k], most probable first.
        top_logprobs: Their natural logarithms at temperature 1, [n − m, k].
    """

    tokens: NDArray[np.int32]
    prompt_length: int
    top_ids: NDArray[np.int32]
    top_logprobs: NDArray[np.float16]


def sample_corpus(
    target: Path,
    folder: Path,
    options: CorpusOptions,
    *,
    prompts: Sequence[str] | None = None,
    progress: bool | None = None,
) -> None:
    """Samples responses into ``folder``, a file for each shard; goes on where it was stopped.

    Args:
        target: GGUF with a chat template.
        folder: Made if it is not there.
        options: How.
        prompts: What to ask, in turn; None asks the built-in prompts.
        progress: Whether to show progress; None shows it on a terminal.

    Raises:
        ModelLoadError: If the target cannot be loaded.
        ChatTemplateError: If it has no chat template.
        ValueError: If the folder was begun with other options.
    """
    begun_with = {**asdict(options), "prompts": None if prompts is None else _digest(prompts)}
    keep_options(folder / "options.json", begun_with, may_change=("responses",))
    starts = range(0, options.responses, options.shard)
    missing = [start for start in starts if not shard_path(folder, start).exists()]
    if not missing:
        return
    window = _AT_ONCE * (2 * _LONGEST_PROMPT + options.max_tokens)
    with (
        Decoder(
            target, n_ctx=window, n_seq_max=_AT_ONCE, kv_unified=False, progress=progress
        ) as decoder,
        bars(shown=is_shown(progress), with_time_left=True) as display,
    ):
        for start in display.track(missing, description="sampling the target"):
            count = min(options.shard, options.responses - start)
            rng = np.random.default_rng([options.seed, start])
            asked = _asked(prompts, start, count, options, rng)
            save(shard_path(folder, start), _responses(decoder, asked, options, rng))


def _digest(prompts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(prompts).encode()).hexdigest()


def shard_path(folder: Path, start: int) -> Path:
    """Where the responses from number ``start`` on are kept."""
    return folder / f"responses-{start:06}.npz"


# --- prompts ------------------------------------------------------------------------------------


def everyday_prompts(count: int, seed: int) -> list[str]:
    """Built-in prompts that need no target."""
    rng = np.random.default_rng(seed)
    return [everyday_prompt(rng) for _ in range(count)]


def _asked(
    prompts: Sequence[str] | None,
    start: int,
    count: int,
    options: CorpusOptions,
    rng: np.random.Generator,
) -> list[str | None]:
    """What to ask; None stands for a prompt that the target makes up."""
    if prompts is not None:
        return [prompts[i % len(prompts)] for i in range(start, start + count)]
    own = round(count * options.self_prompted)
    built_in: list[str | None] = [everyday_prompt(rng) for _ in range(count - own)] + [None] * own
    return [built_in[i] for i in rng.permutation(count)]


# --- responses ----------------------------------------------------------------------------------


def _responses(
    decoder: Decoder, asked: Sequence[str | None], options: CorpusOptions, rng: np.random.Generator
) -> Iterator[Response]:
    """The target's responses, as they end.

    A prompt of the target's own is asked as soon as it is made up. Targets that seldom end a user's
    turn make up fewer; everyday prompts take their place.
    """
    opening = opening_of_user_turn(decoder) if None in asked else []
    tries = _TRIES * sum(text is None for text in asked)
    temperatures = itertools.cycle(options.temperatures)
    waiting = list(reversed(asked))
    questions: set[int] = set()
    answers: dict[int, tuple[list[int], float]] = {}
    while waiting or questions or answers:
        while waiting and len(questions) + len(answers) < _AT_ONCE:
            text, seed = waiting.pop(), int(rng.integers(2**63))
            if text is None and tries > 0:
                tries -= 1
                request = decoder.submit(
                    opening,
                    max_tokens=_LONGEST_PROMPT,
                    temperature=1.0,
                    seed=seed,
                    deterministic=False,  # many at once
                )
                questions.add(request)
                continue
            tokens = prompt_tokens(decoder, everyday_prompt(rng) if text is None else text)
            temperature = next(temperatures)
            request = decoder.submit(
                tokens,
                max_tokens=options.max_tokens,
                temperature=temperature,
                top_logprobs=options.top_k,
                seed=seed,
                deterministic=False,
            )
            answers[request] = tokens, temperature
        for chunk in decoder.step():
            if chunk.error is not None:
                raise EvaluationError(chunk.error)
            if chunk.completion is None:
                continue
            if chunk.id in answers:
                yield _response(*answers.pop(chunk.id), chunk.completion)
            else:
                questions.remove(chunk.id)
                text = chunk.completion.text.strip()
                whole = chunk.completion.finish_reason == "stop" and text != ""
                waiting.append(text if whole else None)


def _response(prompt: list[int], temperature: float, completion: Completion) -> Response:
    steps = completion.steps
    # At temperature T the law's logarithms are z / T less a constant, and the chosen token is known
    # at temperature 1 too: that tells the constant, and so all of them at temperature 1.
    laws = np.array(completion.logprobs)
    shifts = np.array(target_logprobs_of(steps)) - temperature * laws
    tops = [step.top_logprobs for step in steps]
    top_logprobs = temperature * np.array([list(top.values()) for top in tops]) + shifts[:, None]
    return Response(
        tokens=np.array([*prompt, *completion.tokens], np.int32),
        prompt_length=len(prompt),
        top_ids=np.array([list(top) for top in tops], np.int32),
        top_logprobs=top_logprobs.astype(np.float16),
    )


# --- files --------------------------------------------------------------------------------------


def save(path: Path, responses: Iterable[Response]) -> None:
    """Writes responses to one file."""
    responses = list(responses)
    with replacing(path) as fresh:
        np.savez(
            fresh,
            tokens=np.concatenate([r.tokens for r in responses]),
            lengths=np.array([len(r.tokens) for r in responses], np.int32),
            prompt_lengths=np.array([r.prompt_length for r in responses], np.int32),
            top_ids=np.concatenate([r.top_ids for r in responses]),
            top_logprobs=np.concatenate([r.top_logprobs for r in responses]),
        )


def load_all(folder: Path) -> list[Response]:
    """Reads all that ``sample_corpus`` wrote."""
    return [response for path in sorted(folder.glob("*.npz")) for response in load(path)]


def load(path: Path) -> list[Response]:
    """Reads what ``save`` wrote."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    tokens_before = np.concatenate([[0], np.cumsum(arrays["lengths"])])
    counts = arrays["lengths"] - arrays["prompt_lengths"]
    rows_before = np.concatenate([[0], np.cumsum(counts)])
    return [
        Response(
            tokens=arrays["tokens"][tokens_before[i] : tokens_before[i + 1]],
            prompt_length=int(arrays["prompt_lengths"][i]),
            top_ids=arrays["top_ids"][rows_before[i] : rows_before[i + 1]],
            top_logprobs=arrays["top_logprobs"][rows_before[i] : rows_before[i + 1]],
        )
        for i in range(len(counts))
    ]
