"""What a head keeps of the dial that it was made from, and what it costs, on its target.

    rewardshift align --head -m a.gguf --from-shift positive a.positive.head.gguf
    python benchmarks/heads.py measure -m a.gguf --dial positive --head a.positive.head.gguf
    python benchmarks/heads.py speed -m a.gguf --dial positive --head a.positive.head.gguf
    python benchmarks/heads.py rows

- measure: answers to held-out prompts of the target, of Best-of-8, and of dial and head at several
  strengths, nothing drafted; goes on where it was stopped (--out). Intervals are 95 % bootstrap
  intervals over prompts, perplexities the target's.
- speed: tokens/s of the target alone, with the head, and with the dial, in turns, nothing drafted.
  Nothing else should run meanwhile.
- rows: what a row costs heads of several ranks and vocabularies, and heads that draft, with nothing
  between rows that would drive their weights out of the caches.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
from dial_recipes import RECIPES
from dials import BEST_OF, TARGET, complete, named_target, report

from rewardshift import Decoder, Shift, TableModel, _core
from rewardshift.bench import PROMPTS, Range, Task, endless, interleave, one_by_one, ratios, table
from rewardshift.cli.render import stdout
from rewardshift.cli.reward_names import reward_named
from rewardshift.dials.catalogue import ready_made_shift
from rewardshift.evaluate import EvaluateOptions, Judges, evaluate, evaluation_prompts
from rewardshift.methods import BestOfN, TargetOnly, ThreeModel

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from rewardshift.methods import Method
    from rewardshift.options import SamplingOptions

STRENGTHS = (1.0, 1.5, 2.0, 2.5, 4.0)


def measure(args: argparse.Namespace) -> None:
    """Prints the table of what was sampled."""
    recipe = next(recipe for recipe in RECIPES if recipe.name == args.dial)
    name, target = named_target(args.target)
    shifts = {"dial": ready_made_shift(args.dial), "head": Shift(head=args.head)}
    methods: dict[str, Method] = {
        TARGET: TargetOnly(),
        f"best-of-n:n={BEST_OF}": BestOfN(
            reward_named(recipe.reward, None, flag="reward"), n=BEST_OF
        ),
        **{
            f"{shift}:strength={s:g}": ThreeModel({shift: s})
            for s in args.strengths
            for shift in shifts
        },
    }
    gold = recipe.golds[0]
    judges = Judges(
        gold=reward_named(gold, None, flag="gold"),
        training=reward_named(recipe.reward, None, flag="reward"),
        gold_name=gold,
        training_name=recipe.reward,
    )
    max_tokens = recipe.max_tokens
    requests = 2 * BEST_OF
    roles = {
        "target": target,
        "shifts": shifts,
        "n_ctx": requests * (max_tokens + 128),
        "n_seq_max": requests,
    }
    asked = [prompt.prompt for prompt in evaluation_prompts("held_out")][: args.num_prompts]
    samples = evaluate(
        roles,
        methods,
        asked,
        args.out / name / args.dial,
        judges,
        EvaluateOptions(max_tokens, 0.8, 1),
        at_once=BEST_OF,
    )
    print(report(recipe, name, complete(samples)))


def speed(args: argparse.Namespace) -> None:
    """Prints tokens/s, and where the time went."""
    target = named_target(args.target)[1]
    ways = {
        "target": Decoder(target, n_ctx=1024),
        "head": Decoder(target, shift=Shift(head=args.head), n_ctx=1024),
        "dial": Decoder(target, shift=args.dial, n_ctx=1024),
    }
    runs = {}
    for name, decoder in ways.items():
        prompts = (
            decoder.chat_prompts_by_shift([{"role": "user", "content": text}])
            for text in PROMPTS[: args.num_prompts]
        )
        options: SamplingOptions = {
            "max_tokens": args.tokens,
            "num_draft_tokens": 0,
            "logit_bias": endless(decoder),
        }
        tasks = [Task(prompt, by_draft or None) for prompt, by_draft in prompts]
        runs[name] = partial(one_by_one, decoder, tasks, options)
    found = interleave(runs, repeat=args.repeat, what="speeds")
    plain = [sample.speed for sample in found["target"]]
    rows = []
    for name, samples in found.items():
        speeds = [sample.speed for sample in samples]
        rows.append([name, f"{Range.of(speeds):.4g}", f"{Range.of(ratios(speeds, plain)):.3f}"])
    note = "Median (range) after the first chunk; each decoder has loaded what it needs, no more."
    stdout().print(table("nothing drafted", ["", "tokens/s", "÷ target"], rows, note=note))


def rows(args: argparse.Namespace) -> None:
    """Prints milliseconds a row of random heads."""
    lines = []
    for tokens, width in ((49_152, 576), (151_936, 1536)):
        for rank in (16, 32, 64):
            model = random_head(tokens, width, rank)
            history = [(0, [0], 1)]
            model.logits(history)
            taken = [1e3 * seconds(partial(model.logits, history)) for _ in range(50 * args.repeat)]
            lines.append([f"{tokens:,}", str(rank), f"{min(taken):.2f}"])
    note = "The fastest, with a copy of the row for Python."
    stdout().print(table("a row of a head", ["tokens", "rank", "ms"], lines, note=note))
    drafting = []
    for tokens, width, known, hidden in (
        (49_152, 576, 4096, 576),
        (49_152, 576, 8192, 1152),
        (151_936, 1536, 4096, 1536),
        (151_936, 1536, 8192, 3072),
    ):
        model = random_base_head(tokens, width, known, hidden)
        ((_, taken),) = _core.measure_costs(model, [1], 50 * args.repeat)
        drafting.append([f"{tokens:,}", f"{known:,}", f"{hidden:,}", f"{1e3 * taken:.2f}"])
    columns = ["tokens", "known", "width", "ms"]
    stdout().print(table("a row of a head that drafts", columns, drafting, note="The fastest."))


def random_head(tokens: int, width: int, rank: int) -> _core.ShiftHeadModel:
    """A head on a target of one state."""
    draw = np.random.default_rng(rank)
    features = draw.normal(size=(1, width)).astype(np.float32)
    target = TableModel(np.zeros((1, tokens), np.float32), features=features)
    head = _core.ShiftHead(
        draw.normal(size=(rank, width)).astype(np.float32),
        np.zeros(rank, np.float32),
        draw.integers(-127, 128, size=(rank, tokens)).astype(np.int8),
        np.full(tokens, 1e-3, np.float32),
    )
    return _core.ShiftHeadModel(target, head)


def random_base_head(tokens: int, width: int, known: int, hidden: int) -> _core.BaseHeadModel:
    """A head that drafts, on a target of one state."""
    draw = np.random.default_rng(known)

    def matrix(rows: int, columns: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
        numbers = draw.integers(-127, 128, size=(rows, columns)).astype(np.int8)
        return numbers, np.full(columns, 1e-3, np.float32)

    head = _core.BaseHead(
        tokens,
        np.arange(known, dtype=np.int32),
        output=matrix(width, known),
        input_scale=np.ones(2 * width, np.float32),
        mix=matrix(2 * width, hidden),
        mix_bias=np.zeros(hidden, np.float32),
        out=matrix(hidden, width),
        out_bias=np.zeros(width, np.float32),
        keep=np.full(width, 0.5, np.float32),
    )
    features = draw.normal(size=(1, width)).astype(np.float32)
    return _core.BaseHeadModel(
        TableModel(np.zeros((1, tokens), np.float32), features=features), head
    )


def seconds(work: Callable[[], object]) -> float:
    """Wall time of a call."""
    start = perf_counter()
    work()
    return perf_counter() - start


def main() -> None:
    """Measures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("step", choices=("measure", "speed", "rows"))
    parser.add_argument("-m", "--target", default="smollm2", help="a GGUF file")
    parser.add_argument("--dial", default="positive")
    parser.add_argument("--head", type=Path)
    parser.add_argument("--strengths", type=float, nargs="+", default=STRENGTHS)
    parser.add_argument("--out", type=Path, default=Path("build/heads"))
    parser.add_argument("--num-prompts", type=int, help="60 to measure, 2 for speed")
    parser.add_argument("--tokens", type=int, default=128, help="per answer, for speed")
    parser.add_argument("--repeat", type=int, default=7)
    args = parser.parse_args()
    if args.head is None and args.step != "rows":
        parser.error(f"{args.step} needs a --head")
    if args.num_prompts is None:
        args.num_prompts = 60 if args.step == "measure" else 2
    {"measure": measure, "speed": speed, "rows": rows}[args.step](args)


if __name__ == "__main__":
    main()
