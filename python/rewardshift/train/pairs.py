"""Pairs of responses of which one is preferred: a user's, or sampled and scored."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from rewardshift.chat.turns import end_of_turn, prompt_tokens
from rewardshift.decoder import Decoder
from rewardshift.files.atomic import replacing
from rewardshift.files.run_options import require_same
from rewardshift.progress import bars, is_shown
from rewardshift.rewards import scores

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from rewardshift.prompt_files import Preference
    from rewardshift.results import Completion
    from rewardshift.rewards import Reward

_AT_ONCE = 32  # requests decoded together
_PROMPT_ROOM = 256  # tokens that a prompt may have on average


@dataclass(frozen=True, slots=True)
class Pair:
    """Two responses to a prompt.

    Attributes:
        prompt: What was asked.
        chosen: The better response.
        rejected: The worse one.
        prompt_ids: The prompt's tokens, chat template included.
        chosen_ids: The better response's tokens, with the one that ended it, if one did.
        rejected_ids: Likewise.
        margin: By how much the reward prefers the better one; None if it was not scored.
    """

    prompt: str
    chosen: str
    rejected: str
    prompt_ids: Sequence[int]
    chosen_ids: Sequence[int]
    rejected_ids: Sequence[int]
    margin: float | None = None


@dataclass(frozen=True, slots=True)
class PairOptions:
    """How pairs are sampled.

    Attributes:
        prompts: How many.
        samples: Responses to each; the best and the worst make the pair.
        max_tokens: Of each response.
        temperature: Of the sampling.
        min_margin: Pairs whose rewards differ by less are left out.
        seed: Of everything.
    """

    prompts: int = 1_500
    samples: int = 6
    max_tokens: int = 64
    temperature: float = 1.0
    min_margin: float = 0.3
    seed: int = 1


def sample_pairs(
    model: Path,
    prompts: Sequence[str],
    reward: Reward,
    path: Path,
    options: PairOptions,
    *,
    progress: bool | None = None,
) -> list[Pair]:
    """Samples from a model, scores, and keeps the best and the worst response to each prompt.

    Args:
        model: GGUF of the reference.
        prompts: Asked in turn; ``options.prompts`` of them.
        reward: Says which response is better.
        path: JSON lines of the pairs, with what was sampled so far; sampling goes on from there.
        options: How.
        progress: Whether to show progress; None shows it on a terminal.

    Raises:
        ValueError: If the reward gives no finite numbers, or the file is of other options.
    """
    done, pairs = _read(path, options)
    group = max(1, _AT_ONCE // options.samples)
    n_ctx = group * options.samples * (_PROMPT_ROOM + options.max_tokens)
    with (
        Decoder(model, n_ctx=n_ctx, n_seq_max=_AT_ONCE, progress=progress) as decoder,
        bars(shown=is_shown(progress), with_time_left=True) as display,
    ):
        task = display.add_task("sampling pairs", total=options.prompts, completed=done)
        while done < options.prompts:
            numbers = range(done, min(done + group, options.prompts))
            asked = [prompts[i % len(prompts)] for i in numbers]
            pairs += _pairs_of(decoder, asked, reward, options, seed=options.seed + done)
            done = numbers.stop
            _write(path, pairs, done, options)
            display.update(task, completed=done)
    return pairs


def _pairs_of(
    decoder: Decoder, asked: Sequence[str], reward: Reward, options: PairOptions, seed: int
) -> Iterator[Pair]:
    tokens = [prompt_tokens(decoder, text) for text in asked]
    completions = decoder.generate_batch(
        [ids for ids in tokens for _ in range(options.samples)],
        max_tokens=options.max_tokens,
        temperature=options.temperature,
        seed=seed,
        deterministic=False,  # many at once
    )
    found = scores(
        reward,
        [(asked[i // options.samples], c.text) for i, c in enumerate(completions)],
    )
    for i, text in enumerate(asked):
        here = slice(i * options.samples, (i + 1) * options.samples)
        responses, values = completions[here], np.array(found[here])
        best, worst = int(values.argmax()), int(values.argmin())
        margin = float(values[best] - values[worst])
        if margin >= options.min_margin:
            yield _pair(text, tokens[i], responses[best], responses[worst], margin)


def _pair(
    text: str, ids: Sequence[int], best: Completion, worst: Completion, margin: float
) -> Pair:
    return Pair(text, best.text, worst.text, tuple(ids), best.tokens, worst.tokens, margin)


def as_tokens(preferences: Sequence[Preference], decoder: Decoder) -> list[Pair]:
    """A user's preferences; responses are taken to be whole: the end of a turn is put after each.

    Raises:
        ChatTemplateError: If the model has no chat template.
    """
    end = end_of_turn(decoder)

    def ids(text: str) -> list[int]:
        return [*decoder.tokenize(text, add_special=False, parse_special=False), end]

    return [
        Pair(
            prompt=p.prompt,
            chosen=p.chosen,
            rejected=p.rejected,
            prompt_ids=tuple(prompt_tokens(decoder, p.prompt)),
            chosen_ids=ids(p.chosen),
            rejected_ids=ids(p.rejected),
        )
        for p in preferences
    ]


# --- files --------------------------------------------------------------------------------------


def write_preferences(path: Path, pairs: Sequence[Pair]) -> None:
    """Writes the texts of pairs as ``rewardshift.prompt_files.read_preferences`` reads them."""
    names = ("prompt", "chosen", "rejected")
    rows = [{name: getattr(pair, name) for name in names} for pair in pairs]
    with replacing(path) as fresh:
        fresh.write_text(_lines(rows), encoding="utf-8")


def _write(path: Path, pairs: Sequence[Pair], done: int, options: PairOptions) -> None:
    """All pairs so far, below a line that says how many prompts they came from."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"done": done, "options": asdict(options)}, *map(asdict, pairs)]
    with replacing(path) as fresh:
        fresh.write_text(_lines(rows), encoding="utf-8")


def _lines(rows: Sequence[object]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _read(path: Path, options: PairOptions) -> tuple[int, list[Pair]]:
    if not path.exists():
        return 0, []
    head, *rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    require_same(asdict(options), head["options"], path)
    return head["done"], [Pair(**row) for row in rows]
