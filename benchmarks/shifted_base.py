"""How often drafts of a base are accepted, as it is and shifted: 1 − TV to pi*, by strength.

    python benchmarks/shifted_base.py
    python benchmarks/shifted_base.py -m coder-1.5b.gguf --base coder-0.5b.gguf \\
        --reference coder-0.5b.gguf --draft-system "You answer like a pirate." --strengths 0 1 2.5

The first is the embedded pair, its reference the base: q against r (q/r)^s is there, too. The
second is a base of the target's family and a shift by prompt of a small model: a stand-in for a
pair that was made for something else. Positions are those of texts sampled from pi*; laws are
computed from the models' logits, in full, so that the only noise is which texts there are.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rewardshift import Decoder, Shift, embedded
from rewardshift.bench import PROMPTS, table
from rewardshift.cli.render import stdout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Rows = NDArray[np.float64]


def main() -> None:
    """Prints a line for each strength."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-m", "--target", type=Path, help="the embedded pair's target unless given")
    parser.add_argument("--base", type=Path, help="the reference unless given")
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--draft-system", default="You are a warm, cheerful assistant.")
    parser.add_argument(
        "--strengths", type=float, nargs="+", default=[0.0, 0.5, 1.0, 1.5, 2.0, 3.0]
    )
    parser.add_argument("--temperature", type=float, default=0.8)
    parser.add_argument("--tokens", type=int, default=40, help="per answer")
    parser.add_argument("--num-prompts", type=int, default=8)
    parser.add_argument("-t", "--threads", type=int)
    options = parser.parse_args()
    if (options.target is None) != (options.reference is None):
        parser.error("-m and --reference go together")
    threads = {} if options.threads is None else {"n_threads": options.threads}
    target, shift = pair_of(options)
    with Decoder(
        target, shifts={"pair": shift}, base=options.base or shift.reference, n_ctx=2048, **threads
    ) as decoder:
        rows = [row(decoder, s, options) for s in options.strengths]
    heads = ["s", "shifted base", "plain base", "q", "± (shifted)", "positions"]
    note = "Mean of 1 − TV between pi* and each; the error is of the mean over texts."
    title = f"acceptance at temperature {options.temperature:g}"
    stdout().print(table(title, heads, rows, note=note))


def pair_of(options: argparse.Namespace) -> tuple[Path, Shift]:
    """The target and what shifts it."""
    if options.target is not None:
        return options.target, Shift(reference=options.reference, draft_system=options.draft_system)
    roles = embedded()
    return roles["target"], Shift(reference=roles["reference"], lora=roles["draft_lora"])


def row(decoder: Decoder, strength: float, options: argparse.Namespace) -> list[str]:
    """A line of the table."""
    found: dict[str, list[float]] = {"shifted": [], "plain": [], "q": []}
    positions = 0
    for i, text in enumerate(PROMPTS[: options.num_prompts]):
        prompt, by_draft = decoder.chat_prompts_by_shift([{"role": "user", "content": text}])
        answer = decoder.generate(
            prompt,
            draft_prompt=by_draft or None,
            strength={"pair": strength},
            temperature=options.temperature,
            max_tokens=options.tokens,
            seed=i,
        )
        seen = by_draft.get("pair", prompt)
        shares = acceptances(
            decoder, prompt, seen, answer.tokens, strength, temperature=options.temperature
        )
        positions += len(answer.tokens)
        for name, values in shares.items():
            found[name].append(float(values.mean()))
    error = np.std(found["shifted"], ddof=1) / len(found["shifted"]) ** 0.5
    means = [f"{np.mean(found[name]):.3f}" for name in ("shifted", "plain", "q")]
    return [f"{strength:g}", *means, f"{error:.3f}", str(positions)]


def acceptances(
    decoder: Decoder,
    prompt: list[int],
    draft_prompt: list[int],
    answer: Sequence[int],
    strength: float,
    *,
    temperature: float,
) -> dict[str, NDArray[np.float64]]:
    """1 − TV at each position of an answer, by what proposes."""
    p, q, r = (
        logits(decoder, reader, draft_prompt if reader == "draft" else prompt, answer)
        for reader in ("target", "draft", "reference")
    )
    b = r if "base" not in decoder._engine.models else logits(decoder, "base", prompt, answer)
    shift = strength * (q - r)
    goal = law(p + shift, temperature)
    proposals = {"shifted": b + shift, "plain": b, "q": q}
    return {
        name: np.minimum(goal, law(z, temperature)).sum(axis=-1) for name, z in proposals.items()
    }


def logits(decoder: Decoder, reader: str, prompt: list[int], answer: Sequence[int]) -> Rows:
    """What a reader says at each position of an answer: float64 of shape (tokens, vocab_size)."""
    history = [*prompt, *answer[:-1]]
    rows = decoder._engine.models[reader].logits([(0, history, len(answer))])
    return np.asarray(rows, dtype=np.float64)[:, : decoder.vocab_size]


def law(z: Rows, temperature: float) -> Rows:
    """softmax(z / T)."""
    scaled = z / temperature
    weights = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)


if __name__ == "__main__":
    main()
