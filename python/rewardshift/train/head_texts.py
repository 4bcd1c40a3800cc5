"""The texts that a head learns from: sampled from a target and from what a shift makes of it.

A head is asked wherever either law leads: at the positions of plain text, from which a weak dial
starts, and of aligned text, to which it goes.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from rewardshift.decoder import Decoder
from rewardshift.files.atomic import replacing
from rewardshift.files.run_options import require_same
from rewardshift.progress import bars, is_shown

from .target_states import Text, described_file

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rewardshift.results import Completion
    from rewardshift.shifts import Shift

    from .pairs import Pair

SHIFT = "shift"
"""What the shift is called in the decoder that samples."""

_AT_ONCE = 32  # requests decoded together
_PROMPT_ROOM = 128  # tokens that a prompt may have on average
_READERS = ("draft", "reference")


@dataclass(frozen=True, slots=True)
class TextOptions:
    """How texts are sampled.

    Attributes:
        prompts: How many; each is answered by the target and by the shifted target.
        max_tokens: Of each answer.
        temperature: Of the sampling.
        seed: Of everything.
    """

    prompts: int = 400
    max_tokens: int = 48
    temperature: float = 0.8
    seed: int = 1


def sample_texts(
    target: Path,
    shift: Shift,
    prompts: Sequence[str],
    path: Path,
    options: TextOptions,
    *,
    progress: bool | None = None,
) -> list[Text]:
    """Answers to prompts, of the target and of the shifted target in turn.

    Args:
        target: GGUF with a chat template.
        shift: A pair of any vocabulary, at its usual strength.
        prompts: Asked in turn; ``options.prompts`` of them.
        path: JSON lines of what was sampled so far; sampling goes on from there, also where more
            prompts are to be asked than before.
        options: How.
        progress: Whether to show progress; None shows it on a terminal.

    Raises:
        ChatTemplateError: If a model that reads the conversation in its own words has no template.
        ValueError: If the file is of other options or prompts.
    """
    asked = [prompts[i % len(prompts)] for i in range(options.prompts)]
    begun_with = {
        **{name: value for name, value in asdict(options).items() if name != "prompts"},
        "target": described_file(target),
        "shift": {name: str(value) for name, value in asdict(shift).items()},
    }
    texts = _read(path, begun_with, asked)
    done = len(texts) // 2
    if done == len(asked):
        return texts
    n_ctx = _AT_ONCE * (_PROMPT_ROOM + options.max_tokens)
    with (
        Decoder(
            target, shifts={SHIFT: shift}, n_ctx=n_ctx, n_seq_max=_AT_ONCE, progress=progress
        ) as decoder,
        bars(shown=is_shown(progress), with_time_left=True) as display,
    ):
        task = display.add_task("sampling", total=len(asked), completed=done)
        while done < len(asked):
            group = asked[done : done + _AT_ONCE]
            texts += _answers(decoder, group, options, seed=options.seed + done)
            done += len(group)
            _write(path, begun_with, asked, texts)
            display.update(task, completed=done)
    return texts


def _answers(
    decoder: Decoder, asked: Sequence[str], options: TextOptions, *, seed: int
) -> list[Text]:
    """The target's answer and the shifted target's to each prompt, one behind the other."""
    conversations = [
        decoder.chat_prompts([{"role": "user", "content": question}]) for question in asked
    ]

    def answers(strength: float | None) -> list[Completion]:
        return decoder.generate_batch(
            [prompt for prompt, _ in conversations],
            draft_prompts=[draft for _, draft in conversations],
            max_tokens=options.max_tokens,
            temperature=options.temperature,
            strength=strength,
            seed=seed,
            deterministic=False,  # many at once
        )

    texts = []
    for (prompt, draft), *both in zip(conversations, answers(0.0), answers(None), strict=True):
        prompts = {"target": list(prompt)}
        for reader in _READERS:
            own = draft if reader == "draft" and draft is not None else prompt.seen_by(reader)
            if list(own) != prompts["target"]:
                prompts[reader] = list(own)
        texts += [Text(prompts, completion.tokens) for completion in both]
    return texts


def texts_of(pairs: Sequence[Pair], *, max_tokens: int) -> list[Text]:
    """The better response and the worse one of each pair, one behind the other.

    Args:
        pairs: Preferences, as tokens of the target.
        max_tokens: Of prompt and response together; longer ones lose their end.

    Raises:
        ValueError: If a prompt leaves no room for a response.
    """
    texts = []
    for number, pair in enumerate(pairs, 1):
        room = max_tokens - len(pair.prompt_ids)
        if room < 1:
            raise ValueError(
                f"the prompt of pair {number} has {len(pair.prompt_ids)} tokens, and prompt and "
                f"response may have {max_tokens}: shorten it, or leave the pair out"
            )
        prompts = {"target": list(pair.prompt_ids)}
        texts += [Text(prompts, list(ids)[:room]) for ids in (pair.chosen_ids, pair.rejected_ids)]
    return texts


# --- the file -----------------------------------------------------------------------------------


def _write(
    path: Path, begun_with: dict[str, object], asked: Sequence[str], texts: Sequence[Text]
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    said = [{"asked": asked[i // 2], **asdict(text)} for i, text in enumerate(texts)]
    rows = [{"options": begun_with}, *said]
    with replacing(path) as fresh:
        fresh.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _read(path: Path, begun_with: dict[str, object], asked: Sequence[str]) -> list[Text]:
    """The texts of a file, as far as these prompts go."""
    if not path.exists():
        return []
    head, *rows = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    require_same(begun_with, head["options"], path)
    rows = rows[: 2 * len(asked)]
    for i, row in enumerate(rows):
        require_same({"prompt": asked[i // 2]}, {"prompt": row.pop("asked")}, path)
    return [Text(**row) for row in rows]
