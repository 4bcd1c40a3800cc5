"""A reference in vocabularies of several sizes: what each weighs, costs, and still does.

    python benchmarks/trimmed.py train measure                  # the embedded pair
    python benchmarks/trimmed.py train measure -m big.gguf --reference small.gguf \\
        --draft-lora small-aligned.gguf --sizes 16384 --out trimmed

Each step goes on where it was stopped; all of it is kept in OUT.

- train: the target is sampled once. The reference is trained on with that, as it is and in each
  of the SIZES, for as many tokens each. A LoRA on all linear layers leaves the embedding alone, so
  that the reference's adapter can be put on each as it is; with --pairs each also gets one of its
  own, by DPO on the same pairs, sampled once from the reference.
- measure: bytes of the file; microseconds of a row, of the model alone and as the target sees it,
  in turns; the share of the target's mass that has twins, and of its positions that are refined;
  acceptance, lossless and aligned, and rewards of held-out prompts with 95 % bootstrap intervals.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from alignment import AT_ONCE, PROMPTS, answers, row

from rewardshift import Decoder, _core, embedded
from rewardshift.bench import table
from rewardshift.cli.render import amount, stdout
from rewardshift.loading.models import load_model
from rewardshift.loading.vocabularies import different, map_between
from rewardshift.options import split_load_options, target_only

if TYPE_CHECKING:
    from collections.abc import Sequence

STEPS = ("train", "measure")
TURNS, PASSES = 15, 7
REFINED = 16  # the default of refined_tokens


@dataclass(frozen=True)
class Version:
    """The reference in a vocabulary of a size, and adapters for it by where they come from."""

    name: str
    reference: Path
    adapters: dict[str, Path]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("steps", nargs="+", choices=STEPS)
    parser.add_argument("-m", "--target", type=Path)
    parser.add_argument("--reference", type=Path)
    parser.add_argument("--draft-lora", type=Path)
    parser.add_argument("--out", type=Path, default=Path("trimmed"))
    parser.add_argument("--sizes", type=int, nargs="+", default=[16_384, 8_192])
    parser.add_argument("--responses", type=int, default=600, help="sampled, all together")
    parser.add_argument("--tokens", type=int, default=500_000, help="that each is trained on")
    parser.add_argument("--type", default="Q4_0", help="of the weights written")
    parser.add_argument("--pairs", type=int, default=0, help="prompts that pairs are sampled for")
    parser.add_argument("--prompts", type=Path, default=PROMPTS)
    parser.add_argument("--seeds", type=int, default=1, help="responses to each prompt")
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--temperature", type=float, default=0.8)
    parser.add_argument("--strength", type=float, default=1.0)
    args = parser.parse_args()
    given = [args.target, args.reference, args.draft_lora]
    if None in given and any(given):
        parser.error("-m, --reference and --draft-lora go together")
    if None in given:
        roles = embedded()
        args.target, args.reference, args.draft_lora = (
            Path(roles[role]) for role in ("target", "reference", "draft_lora")
        )
    return args


# --- train --------------------------------------------------------------------------------------


def train(args: argparse.Namespace) -> None:
    """Makes all versions."""
    from rewardshift.train.corpus import CorpusOptions, sample_corpus
    from rewardshift.train.distill import DistillOptions, begun_with, distill
    from rewardshift.train.export import write_student

    corpus = args.out / "corpus"
    sample_corpus(args.target, corpus, CorpusOptions(responses=args.responses, shard=100))
    for size in (None, *args.sizes):
        folder = folder_of(args, size)
        reference = folder / "reference.gguf"
        if not reference.exists():
            options = DistillOptions(vocabulary=size, tokens=args.tokens, kind=args.type)
            student = distill(args.target, corpus, folder, options, start=args.reference)
            begun = begun_with(folder)
            vocabulary_of = begun if begun.exists() else args.target
            write_student(student, vocabulary_of, reference, args.type)
        if args.pairs:
            align(args, folder)


def align(args: argparse.Namespace, folder: Path) -> None:
    """Gives a version an adapter of its own."""
    from rewardshift.prompt_files import read_preferences
    from rewardshift.rewards import VaderReward
    from rewardshift.train.align import AlignOptions
    from rewardshift.train.align import align as train_adapter
    from rewardshift.train.corpus import everyday_prompts
    from rewardshift.train.pairs import PairOptions, as_tokens, sample_pairs, write_preferences

    adapter, preferences = folder / "adapter.gguf", args.out / "preferences.jsonl"
    if adapter.exists():
        return
    options = PairOptions(prompts=args.pairs, max_tokens=48, min_margin=0.5)
    asked = everyday_prompts(args.pairs, options.seed)
    found = sample_pairs(args.reference, asked, VaderReward(), args.out / "pairs.jsonl", options)
    write_preferences(preferences, found)
    with Decoder(folder / "reference.gguf", n_ctx=256) as decoder:
        pairs = as_tokens(read_preferences(preferences), decoder)
    how = AlignOptions(beta=0.25, epochs=2)
    train_adapter(folder / "reference.gguf", pairs, folder / "align", adapter, how)


def folder_of(args: argparse.Namespace, size: int | None) -> Path:
    return args.out / ("whole" if size is None else str(size))


def versions(args: argparse.Namespace) -> list[Version]:
    """As given, and those that were made of it."""
    found = [Version("as given", args.reference, {"its own": args.draft_lora})]
    for size in (None, *args.sizes):
        folder = folder_of(args, size)
        adapters = {"the reference's": args.draft_lora}
        if (folder / "adapter.gguf").exists():
            adapters["its own"] = folder / "adapter.gguf"
        found.append(Version(folder.name, folder / "reference.gguf", adapters))
    return found


# --- measure ------------------------------------------------------------------------------------


def measure(args: argparse.Namespace) -> None:
    """Prints the tables."""
    made = versions(args)
    texts = args.prompts.read_text(encoding="utf-8").splitlines()
    options: dict[str, Any] = {"max_tokens": args.max_tokens, "temperature": args.temperature}
    window = AT_ONCE * (args.max_tokens + 128)
    seeds = range(1, args.seeds + 1)
    with Decoder(args.target, n_ctx=window) as decoder:
        prompts = [decoder.chat_prompts([{"role": "user", "content": t}])[0] for t in texts]
        likely = likely_tokens(decoder, prompts)
        plain = [a for s in seeds for a in answers(decoder, prompts, s, **target_only(**options))]
    costs = costs_of(args.target, [version.reference for version in made])
    rows = [
        [version.name, *facts_of(args.target, version.reference, likely), *cost]
        for version, cost in zip(made, costs, strict=True)
    ]
    heads = ["version", "size", "tokens", "twins", "refined", "µs a row", "µs through the map"]
    note = (
        f"Twins: share of the target's mass, of its {REFINED} most probable tokens, on its own "
        f"answers; refined: share of positions where one of them has none. Medians of {TURNS} turns"
    )
    stdout().print(table("what each is", heads, rows, note=note))
    print(f"{len(texts)} prompts x {args.seeds}, temperature {args.temperature:g}")
    print(f"{'':24} {'VADER':>22} {'AFINN / 100 words':>22} perplexity, distinct-2")
    base = row("target", texts, plain, None)
    lossless = {**options, "strength": 0.0, "num_draft_tokens": 3}
    shifted = {**lossless, "strength": args.strength}
    for version in made:
        with Decoder(args.target, draft=version.reference, n_ctx=window) as decoder:
            prompts = [decoder.chat_prompts([{"role": "user", "content": t}])[0] for t in texts]
            found = [a for s in seeds for a in answers(decoder, prompts, s, **lossless)]
        row(f"{version.name}, lossless", texts, found, base)
        for origin, adapter in version.adapters.items():
            pair = {"reference": version.reference, "draft_lora": adapter}
            with Decoder(args.target, **pair, n_ctx=window) as decoder:
                prompts = [decoder.chat_prompts([{"role": "user", "content": t}])[0] for t in texts]
                found = [a for s in seeds for a in answers(decoder, prompts, s, **shifted)]
            row(f"{version.name}, {origin}", texts, found, base)


def likely_tokens(decoder: Decoder, prompts: Sequence[list[int]]) -> list[dict[int, float]]:
    """The most probable tokens and their log-probabilities, at each position of its answers."""
    found = []
    for i, prompt in enumerate(prompts[:AT_ONCE]):
        told = decoder.generate(
            prompt, **target_only(max_tokens=64, temperature=1.0, top_logprobs=REFINED, seed=i)
        )
        found += [dict(step.top_logprobs) for step in told.steps]
    return found


def facts_of(target: Path, reference: Path, likely: Sequence[dict[int, float]]) -> list[str]:
    """Bytes, tokens, the share of mass that has twins, and of positions that are refined."""
    ours, theirs = (load_model(path, progress=False) for path in (target, reference))
    size = amount(reference.stat().st_size, "B")
    tokens = str(theirs.facts.vocab_size)
    if not different(ours, theirs):
        return [size, tokens, "1", "0"]
    known = map_between(ours, theirs)
    mass = [
        sum(np.exp(p) for x, p in row.items() if known.has_twin(x)) / np.exp([*row.values()]).sum()
        for row in likely
    ]
    refined = [any(len(known.pieces(x)) > 1 for x in row) for row in likely]
    return [size, tokens, f"{np.mean(mass):.4f}", f"{np.mean(refined):.3f}"]


def costs_of(target: Path, references: Sequence[Path]) -> list[list[str]]:
    """Microseconds of a row of each, alone and through its map: they take turns."""
    ours = load_model(target, progress=False)
    models, seen = [], []
    for path in references:
        model = load_model(path, progress=False)
        options, how = split_load_options({"n_ctx": 256, "n_seq_max": 1})
        del options
        how.n_threads = _core.usable_cores()
        models.append(_core.Context(model, how, _core.Threadpool(how.n_threads)))
        is_foreign = different(ours, model)
        seen.append(
            _core.MappedModel(models[-1], map_between(ours, model)) if is_foreign else models[-1]
        )
    taken = np.zeros((TURNS, 2, len(references)))
    for turn in range(TURNS):
        for kind, group in enumerate((models, seen)):
            for i, model in enumerate(group):
                ((_, taken[turn, kind, i]),) = _core.measure_costs(model, [1], PASSES)
    return [[f"{1e6 * x:.0f}" for x in np.median(taken, axis=0)[:, i]] for i in range(len(models))]


def main() -> None:
    args = parse()
    for step, run in (("train", train), ("measure", measure)):
        if step in args.steps:
            run(args)


if __name__ == "__main__":
    main()
