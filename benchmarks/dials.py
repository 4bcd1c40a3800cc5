"""Makes the package's dials from their recipes, chooses their strengths, and measures them.

    python benchmarks/dials.py train --reference python/rewardshift/embedded/reference.gguf
    python benchmarks/dials.py calibrate measure report --targets smollm2 small.gguf big.gguf
    make dials TARGETS="smollm2 small.gguf big.gguf"  # all of it

Each step goes on where it was stopped, and nothing is done twice: all of it is kept in OUT.
It runs at the lowest priority unless --nice says otherwise. ``smollm2`` is the package's target.

- train: for each recipe of ``dial_recipes.py`` OUT/NAME, with adapter, description and card. A dial
  of the package that belongs to the same reference is taken as it is.
- calibrate: each dial on the package's calibration prompts at several strengths. The usual strength
  for a class of targets (the reference's vocabulary, or another) is the strongest at which no
  target of the class has more than PERPLEXITY times its own perplexity; it goes into dial.json.
- measure: on held-out prompts, beside the target as it is, the target with a system message that
  asks for the same, and Best-of-8 by the reward that trained. Nothing is drafted but in the row
  that leaves it to the policy. Perplexities are the target's, without the system message.
- report: OUT/report.md. Intervals are 95 % bootstrap intervals over prompts.

Copy OUT/NAME/{adapter.gguf,dial.json,card.md} to python/rewardshift/embedded/NAME, and put what the
report says into the card.
"""

from __future__ import annotations

import argparse
import os
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dial_recipes import RECIPES, Recipe

from rewardshift import Shift, _core
from rewardshift.cli.reward_names import reward_named
from rewardshift.dials.catalogue import is_ours
from rewardshift.dials.dial import DESCRIPTION, Dial, Strengths, read_dial, write_dial
from rewardshift.dials.references import OURS, sha256_of
from rewardshift.evaluate import (
    EvaluateOptions,
    Judges,
    Sample,
    evaluate,
    evaluation_prompts,
    summarise,
)
from rewardshift.loading.models import ModelCache
from rewardshift.loading.vocabularies import different
from rewardshift.methods import BestOfN, TargetOnly, ThreeModel
from rewardshift.methods.meter import Meter
from rewardshift.models import smollm2_q4_0
from rewardshift.options import target_only
from rewardshift.rewards import scores

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rewardshift import Decoder
    from rewardshift.evaluate import Row
    from rewardshift.methods import Answer, Method, Question

BEST_OF = 8
PERPLEXITY = 1.5
CANDIDATES = {True: (0.5, 0.75, 1.0, 1.25, 1.5, 2.0), False: (1.0, 1.5, 2.0, 2.5, 3.0, 4.0)}
"""Strengths that are tried, for targets of the reference's vocabulary and for others."""
REPORTED = (0.5, 0.75, 1.0, 1.5, -1.0)
"""Times the usual strength."""
TARGET, SYSTEM, POLICY = "target", "system message", "drafts by the policy"
_TEMPLATE_TOKENS, _SLACK = 128, 64


@dataclass(frozen=True)
class SystemMessage:
    """The target, asked by a system message for what a dial does."""

    text: str

    @property
    def name(self) -> str:
        return SYSTEM

    def answer(self, decoder: Decoder, question: Question) -> Answer:
        prompt = decoder.chat_prompts(
            [{"role": "system", "content": self.text}, {"role": "user", "content": question.prompt}]
        )[0]
        decoder.score(prompt, prompt[-1:], strength=0.0)  # as for all others: it has seen it
        meter = Meter(decoder)
        return meter.answer_with(decoder.generate(prompt, **{**target_only(), **question.options}))


@dataclass(frozen=True)
class ByThePolicy:
    """pi* with as many drafts as the decoder thinks fast: a seed would settle that."""

    strength: float

    @property
    def name(self) -> str:
        return f"{POLICY} s={self.strength:g}"

    def answer(self, decoder: Decoder, question: Question) -> Answer:
        meter = Meter(decoder)
        options: dict[str, Any] = dict(question.options)
        del options["seed"], options["deterministic"]
        return meter.answer_with(
            decoder.generate(question.tokens, strength=self.strength, **options)
        )


# --- the steps ----------------------------------------------------------------------------------


def train(recipe: Recipe, reference: Path, out: Path, *, licence: str, seed: int = 1) -> None:
    """Makes a dial."""
    from rewardshift.train.align import AlignOptions, align
    from rewardshift.train.corpus import everyday_prompts
    from rewardshift.train.dial import ADAPTER, Facts, write_user_dial
    from rewardshift.train.pairs import PairOptions, sample_pairs

    folder, run = out / recipe.name, out / "runs" / recipe.name
    if (folder / DESCRIPTION).exists():
        return
    shipped = OURS.parent / recipe.name
    if is_ours(recipe.name) and read_dial(shipped).reference_sha256 == sha256_of(reference):
        shutil.copytree(shipped, folder)
        return
    sampling = PairOptions(
        prompts=recipe.prompts,
        max_tokens=recipe.max_tokens,
        min_margin=recipe.margin,
        seed=seed,
    )
    options = AlignOptions(beta=recipe.beta, epochs=recipe.epochs, seed=seed)
    reward = reward_named(recipe.reward, None, flag="reward")
    asked = everyday_prompts(sampling.prompts, seed)
    pairs = sample_pairs(reference, asked, reward, run / "pairs.jsonl", sampling)
    folder.mkdir(parents=True, exist_ok=True)
    accuracy = align(reference, pairs, run, folder / ADAPTER, options)
    facts = Facts(
        command=f"python benchmarks/dials.py train --only {recipe.name}",
        preferred_by=recipe.reward,
        asked="the package's everyday ones",
        sampling=sampling,
        pairs=pairs,
        training=options,
        accuracy=accuracy,
    )
    write_user_dial(folder, reference, does=recipe.does, licence=licence, facts=facts)
    print(f"{recipe.name}: {len(pairs)} pairs, held-out accuracy {accuracy:.3f}", flush=True)


def calibrate(
    recipes: Sequence[Recipe], reference: Path, targets: Mapping[str, Path], out: Path, how: How
) -> None:
    """Chooses the usual strength of each dial for the classes of these targets."""
    asked = [prompt.prompt for prompt in evaluation_prompts("calibration")][: how.prompts]
    for recipe in recipes:
        dial = read_dial(out / recipe.name)
        allowed: dict[bool, list[float]] = {}
        for name, target in targets.items():
            is_own = has_vocabulary_of(target, reference)
            methods: dict[str, Method] = {TARGET: TargetOnly()}
            methods |= {method_of(s): ThreeModel(s) for s in CANDIDATES[is_own]}
            rows = measured(
                recipe, dial, reference, target, methods, asked, out / "calibrated" / name, how
            )
            mild = [
                s
                for s in CANDIDATES[is_own]
                if (ratio := rows[method_of(s)].perplexity_ratio) and ratio.value <= PERPLEXITY
            ]
            allowed.setdefault(is_own, []).append(max(mild, default=min(CANDIDATES[is_own])))
        known = dial.strengths
        chosen = Strengths(
            same_vocabulary=min(allowed.get(True, [known.same_vocabulary])),
            other_vocabulary=min(allowed.get(False, [known.other_vocabulary])),
        )
        write_dial(replace(dial, strengths=chosen))
        print(f"{recipe.name}: {chosen}", flush=True)


def measure(
    recipe: Recipe, dial: Dial, reference: Path, target: Path, folder: Path, how: How
) -> list[Sample]:
    """Answers of all ways to held-out prompts."""
    usual = usual_strength(dial, target, reference)
    methods: dict[str, Method] = {
        TARGET: TargetOnly(),
        SYSTEM: SystemMessage(recipe.system),
        f"best-of-n:n={BEST_OF}": BestOfN(
            reward_named(recipe.reward, None, flag="reward"), n=BEST_OF
        ),
        **{method_of(usual * times): ThreeModel(usual * times) for times in REPORTED},
        POLICY: ByThePolicy(usual),
    }
    asked = [prompt.prompt for prompt in evaluation_prompts("held_out")][: how.prompts]
    return sampled(recipe, dial, reference, target, methods, asked, folder, how)


def report(recipe: Recipe, name: str, samples: Sequence[Sample]) -> str:
    """A table of a dial on a target."""
    by_target, by_best = (
        summarise(samples, baseline=baseline) for baseline in (TARGET, f"best-of-n:n={BEST_OF}")
    )
    others = {gold: summarise(judged_by(gold, samples)) for gold in recipe.golds[1:]}
    heads = (
        *(
            "way",
            f"gold ({recipe.golds[0]})",
            f"above Best-of-{BEST_OF}",
            "wins against the target",
        ),
        *(f"also {gold}" for gold in others),
        *("perplexity", "speed", "tokens", "distinct-2"),
    )
    lines = [
        f"## {recipe.name} on {name}\n",
        f"{by_target.prompts} prompts; trained by {recipe.reward}.\n",
        f"| {' | '.join(heads)} |",
        f"|{'---|' * len(heads)}",
    ]
    for ours, best in zip(by_target.rows, by_best.rows, strict=True):
        cells = (
            *(ours.name, f"{ours.gold:.3f}", _interval(best.gain), _interval(ours.win_rate)),
            *(f"{summary.row(ours.method).gold:.3f}" for summary in others.values()),
            *(_interval(ours.perplexity_ratio, " ×"), _interval(ours.speed_up, " ×")),
            *(f"{ours.tokens:.0f}", f"{ours.distinct_2:.2f}"),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


# --- what the steps share -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class How:
    """How answers are sampled: so many prompts at most, tokens and answers to each."""

    prompts: int = 126
    max_tokens: int = 64
    temperature: float = 0.8
    seeds: int = 1


def method_of(strength: float) -> str:
    return f"three-model:strength={strength:g}"


def has_vocabulary_of(target: Path, reference: Path) -> bool:
    models = ModelCache(_core.ModelOptions(), progress=False)
    return not different(models.get(target), models.get(reference))


def usual_strength(dial: Dial, target: Path, reference: Path) -> float:
    usual = dial.strengths
    is_own = has_vocabulary_of(target, reference)
    return usual.same_vocabulary if is_own else usual.other_vocabulary


def sampled(
    recipe: Recipe,
    dial: Dial,
    reference: Path,
    target: Path,
    methods: Mapping[str, Method],
    asked: Sequence[str],
    folder: Path,
    how: How,
) -> list[Sample]:
    """Answers of methods; those that are in the folder are not sampled again."""
    if sha256_of(reference) != dial.reference_sha256:
        raise SystemExit(f"{dial.folder} was made for another reference than {reference}")
    prompt = max(len(text.encode()) for text in asked) + len(recipe.system) + _TEMPLATE_TOKENS
    max_tokens = max(how.max_tokens, recipe.max_tokens)  # what was trained on is to be seen
    shift = Shift(reference=reference, lora=dial.adapter)
    roles: dict[str, Any] = {
        "target": target,
        "shifts": {recipe.name: shift},
        "n_ctx": 2 * prompt + (BEST_OF + 1) * (max_tokens + _SLACK),
        "n_seq_max": 2 * BEST_OF,
    }
    gold, training = recipe.golds[0], recipe.reward
    judges = Judges(
        gold=reward_named(gold, None, flag="gold"),
        training=reward_named(training, None, flag="reward"),
        gold_name=gold,
        training_name=training,
    )
    options = EvaluateOptions(max_tokens, how.temperature, how.seeds)
    return evaluate(roles, methods, asked, folder / recipe.name, judges, options)


def measured(*args: Any) -> dict[str, Row]:
    """The same as rows, by method."""
    return {row.method: row for row in summarise(sampled(*args), baseline=TARGET).rows}


def judged_by(gold: str, samples: Sequence[Sample]) -> list[Sample]:
    """The same answers under another gold reward."""
    found = scores(reward_named(gold, None, flag="gold"), [(s.prompt, s.text) for s in samples])
    return [replace(sample, gold=score) for sample, score in zip(samples, found, strict=True)]


def _interval(found: Any, unit: str = "") -> str:
    return "" if found is None else found.shown(lambda x: f"{x:.2f}", unit)


def steps_of(args: argparse.Namespace) -> dict[str, Callable[[], None]]:
    recipes = [recipe for recipe in RECIPES if args.only is None or recipe.name in args.only]
    how = How(args.num_prompts, args.max_tokens, seeds=args.seeds)
    out: Path = args.out
    targets = dict(map(named_target, args.targets))

    def everywhere(recipe: Recipe, name: str) -> list[Sample]:
        folder = out / "measured" / name
        return measure(
            recipe, read_dial(out / recipe.name), args.reference, targets[name], folder, how
        )

    def train_all() -> None:
        for recipe in recipes:
            train(recipe, args.reference, out, licence=args.licence)

    def report_all() -> None:
        parts = [report(r, name, everywhere(r, name)) for name in targets for r in recipes]
        (out / "report.md").write_text("# Dials\n\n" + "\n".join(parts), encoding="utf-8")
        print(out / "report.md")

    def measure_all() -> None:
        for name in targets:
            for recipe in recipes:
                everywhere(recipe, name)

    return {
        "train": train_all,
        "calibrate": lambda: calibrate(recipes, args.reference, targets, out, how),
        "measure": measure_all,
        "report": report_all,
    }


def named_target(word: str) -> tuple[str, Path]:
    return (word, smollm2_q4_0()) if word == "smollm2" else (Path(word).stem, Path(word))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("steps", nargs="+", choices=("train", "calibrate", "measure", "report"))
    parser.add_argument("--out", type=Path, default=Path("build/dials"))
    parser.add_argument("--reference", type=Path, default=OURS, help="the package's unless given")
    parser.add_argument("--targets", nargs="*", default=["smollm2"], help="GGUF files")
    parser.add_argument("--only", nargs="+", choices=[recipe.name for recipe in RECIPES])
    parser.add_argument("--licence", default="Apache-2.0", help="of the dials, for their cards")
    parser.add_argument("--num-prompts", type=int, default=How.prompts)
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--nice", type=int, default=19)
    args = parser.parse_args()
    os.nice(args.nice)
    args.out = args.out.absolute()
    args.out.mkdir(parents=True, exist_ok=True)
    os.environ["REWARDSHIFT_DIALS_DIR"] = str(args.out)  # where references are kept
    steps = steps_of(args)
    for step in args.steps:
        print(f"--- {step}", flush=True)
        steps[step]()


if __name__ == "__main__":
    main()
