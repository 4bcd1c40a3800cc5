"""Makes the package's dials from their recipes, chooses their strengths, and measures them.

    python benchmarks/dials.py train --reference python/rewardshift/embedded/reference.gguf
    python benchmarks/dials.py calibrate choose measure report --targets smollm2 a.gguf b.gguf
    make dials TARGETS="smollm2 small.gguf big.gguf"  # all of it

Each step goes on where it was stopped, and nothing is done twice: all of it is kept in OUT. Several
processes may work side by side, each on dials (--only) or targets of its own.
It runs at the lowest priority unless --nice says otherwise. ``smollm2`` is the package's target.

- train: for each recipe of ``dial_recipes.py`` OUT/NAME, with adapter, description and card. A dial
  of the package that belongs to the same reference is taken as it is.
- calibrate: each dial on the package's calibration prompts at several strengths.
- choose: of that, the usual strength for a class of targets (the reference's vocabulary, or
  another): the strongest at which no target of the class has more than PERPLEXITY times its own
  perplexity. It goes into dial.json.
- measure: at the same strengths on held-out prompts, beside the target as it is, the target with a
  system message that asks for the same, and Best-of-8 by the reward that trained. Perplexities are
  the target's, without the system message.
- time: a few of these prompts, one at a time: the target, the usual strength with nothing drafted,
  and with drafts as the policy has them. Nothing else should run meanwhile.
- report: OUT/report.md of what was measured, on any machine. Intervals are 95 % bootstrap intervals
  over prompts.

Copy OUT/NAME/{adapter.gguf,dial.json,card.md} to python/rewardshift/embedded/NAME, and put what the
report says into the card.
"""

from __future__ import annotations

import argparse
import os
import shutil
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

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
    read_samples,
    summarise,
)
from rewardshift.evaluate.run import SAMPLES
from rewardshift.loading.models import ModelCache
from rewardshift.loading.vocabularies import different
from rewardshift.methods import BestOfN, TargetOnly, ThreeModel
from rewardshift.methods.meter import Meter
from rewardshift.models import smollm2_q4_0
from rewardshift.options import target_only
from rewardshift.rewards import scores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from rewardshift import Decoder
    from rewardshift.methods import Answer, Method, Question

STEPS = ("train", "calibrate", "choose", "measure", "time", "report")
BEST_OF = 8
PERPLEXITY = 1.5
STRENGTHS = {True: (0.5, 1.0, 1.5, 2.0), False: (1.0, 1.5, 2.0, 2.5, 4.0)}
"""What is tried and measured, for targets of the reference's vocabulary and for others."""
TURNED = {True: -1.0, False: -2.0}
"""Likewise measured: the dial turned round."""
TIMED = 12
"""Prompts that are timed."""
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


def calibrate(work: Work) -> list[Sample]:
    """Answers to calibration prompts at several strengths."""
    methods: dict[str, Method] = {TARGET: TargetOnly()}
    methods |= {method_of(s): ThreeModel(s) for s in STRENGTHS[work.is_own]}
    return sampled(work, methods, "calibration", "calibrated")


def choose(recipe: Recipe, targets: Mapping[str, Path], reference: Path, out: Path) -> None:
    """Sets the usual strength of a dial for the classes of targets it was calibrated on."""
    dial = read_dial(out / recipe.name)
    allowed: dict[bool, list[float]] = {}
    for name, target in targets.items():
        samples = complete(read_samples(out / "calibrated" / name / recipe.name / SAMPLES))
        if not samples:
            continue
        rows = {row.method: row for row in summarise(samples, baseline=TARGET).rows}
        tried = STRENGTHS[has_vocabulary_of(target, reference)]
        mild = [
            s
            for s in tried
            if (ratio := rows[method_of(s)].perplexity_ratio) and ratio.value <= PERPLEXITY
        ]
        is_own = tried is STRENGTHS[True]
        allowed.setdefault(is_own, []).append(max(mild, default=min(tried)))
    known = dial.strengths
    chosen = Strengths(
        same_vocabulary=min(allowed.get(True, [known.same_vocabulary])),
        other_vocabulary=min(allowed.get(False, [known.other_vocabulary])),
    )
    write_dial(replace(dial, strengths=chosen))
    print(f"{recipe.name}: {chosen}", flush=True)


def measure(work: Work) -> list[Sample]:
    """Answers of all ways to held-out prompts."""
    strengths = (*STRENGTHS[work.is_own], TURNED[work.is_own])
    methods: dict[str, Method] = {
        TARGET: TargetOnly(),
        SYSTEM: SystemMessage(work.recipe.system),
        f"best-of-n:n={BEST_OF}": BestOfN(
            reward_named(work.recipe.reward, None, flag="reward"), n=BEST_OF
        ),
        **{method_of(s): ThreeModel(s) for s in strengths},
    }
    return sampled(work, methods, "held_out", "measured")


def measure_time(work: Work) -> list[Sample]:
    """Answers to some of these prompts, one at a time."""
    usual = work.dial.strengths
    strength = usual.same_vocabulary if work.is_own else usual.other_vocabulary
    methods: dict[str, Method] = {
        TARGET: TargetOnly(),
        method_of(strength): ThreeModel(strength),
        POLICY: ByThePolicy(strength),
    }
    how = replace(work.how, prompts=min(TIMED, work.how.prompts), at_once=1)
    return sampled(replace(work, how=how), methods, "held_out", "timed")


def report(
    recipe: Recipe, name: str, samples: Sequence[Sample], timed: Sequence[Sample] = ()
) -> str:
    """A table of a dial on a target, and what was timed."""
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
        *("perplexity", "tokens", "distinct-2"),
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
            _interval(ours.perplexity_ratio, " ×"),
            *(f"{ours.tokens:.0f}", f"{ours.distinct_2:.2f}"),
        )
        lines.append(f"| {' | '.join(cells)} |")
    if timed:
        speeds = summarise(timed, baseline=TARGET)
        lines.append(f"\nTokens a second over the target's, {speeds.prompts} prompts one by one:\n")
        lines += [f"- {row.name}: {_interval(row.speed_up, ' ×')}" for row in speeds.rows[1:]]
    return "\n".join(lines) + "\n"


def report_all(recipes: Sequence[Recipe], names: Iterable[str], out: Path) -> None:
    """A page of the tables of what was measured."""
    parts = ["# Dials\n"]
    for name, recipe in product(names, recipes):
        answers, timed = (
            complete(read_samples(out / kind / name / recipe.name / SAMPLES))
            for kind in ("measured", "timed")
        )
        if answers:
            parts.append(report(recipe, name, answers, timed))
    (out / "report.md").write_text("\n".join(parts), encoding="utf-8")
    print(out / "report.md")


# --- what the steps share -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class How:
    """How answers are sampled: so many prompts at most, tokens and answers to each.

    So many together: what they took is only known where that is one.
    """

    prompts: int = 126
    max_tokens: int = 64
    temperature: float = 0.8
    seeds: int = 1
    at_once: int = 1


@dataclass(frozen=True)
class Work:
    """A dial to measure on a target."""

    recipe: Recipe
    name: str
    target: Path
    reference: Path
    out: Path
    how: How

    @cached_property
    def dial(self) -> Dial:
        return read_dial(self.out / self.recipe.name)

    @cached_property
    def is_own(self) -> bool:
        """Whether the target has the reference's vocabulary."""
        return has_vocabulary_of(self.target, self.reference)


def method_of(strength: float) -> str:
    return f"three-model:strength={strength:g}"


def has_vocabulary_of(target: Path, reference: Path) -> bool:
    options = _core.ModelOptions()
    options.n_gpu_layers = 0
    models = ModelCache(options, progress=False)
    return not different(models.get(target), models.get(reference))


def sampled(
    work: Work, methods: Mapping[str, Method], prompts: Literal["calibration", "held_out"], to: str
) -> list[Sample]:
    """Answers of methods; those that are there are not sampled again."""
    recipe, how = work.recipe, work.how
    if sha256_of(work.reference) != work.dial.reference_sha256:
        raise SystemExit(f"{work.dial.folder} was made for another reference than {work.reference}")
    asked = [prompt.prompt for prompt in evaluation_prompts(prompts)][: how.prompts]
    longest = max(len(text.encode()) for text in asked) + len(recipe.system) + _TEMPLATE_TOKENS
    max_tokens = max(how.max_tokens, recipe.max_tokens)  # what was trained on is to be seen
    requests = 2 * max(BEST_OF, how.at_once)
    roles: dict[str, Any] = {
        "target": work.target,
        "shifts": {recipe.name: Shift(reference=work.reference, lora=work.dial.adapter)},
        "n_ctx": 2 * longest + requests * (max_tokens + _SLACK),
        "n_seq_max": requests,
    }
    gold, training = recipe.golds[0], recipe.reward
    judges = Judges(
        gold=reward_named(gold, None, flag="gold"),
        training=reward_named(training, None, flag="reward"),
        gold_name=gold,
        training_name=training,
    )
    options = EvaluateOptions(max_tokens, how.temperature, how.seeds)
    folder = work.out / to / work.name / recipe.name
    return evaluate(roles, methods, asked, folder, judges, options, at_once=how.at_once)


def complete(samples: Sequence[Sample]) -> list[Sample]:
    """Those of prompts that every way has answered."""
    ways = {sample.method for sample in samples}
    answered: dict[str, set[str]] = {}
    for sample in samples:
        answered.setdefault(sample.prompt, set()).add(sample.method)
    order = [TARGET, SYSTEM, f"best-of-n:n={BEST_OF}"]
    return sorted(
        (sample for sample in samples if answered[sample.prompt] == ways),
        key=lambda s: (order.index(s.method) if s.method in order else len(order), _strength(s)),
    )


def _strength(sample: Sample) -> float:
    return float(sample.method.rpartition("strength=")[2]) if "strength=" in sample.method else 0.0


def judged_by(gold: str, samples: Sequence[Sample]) -> list[Sample]:
    """The same answers under another gold reward."""
    found = scores(reward_named(gold, None, flag="gold"), [(s.prompt, s.text) for s in samples])
    return [replace(sample, gold=score) for sample, score in zip(samples, found, strict=True)]


def _interval(found: Any, unit: str = "") -> str:
    return "" if found is None else found.shown(lambda x: f"{x:.2f}", unit)


def steps_of(args: argparse.Namespace) -> dict[str, Callable[[], None]]:
    recipes = [recipe for recipe in RECIPES if args.only is None or recipe.name in args.only]
    how = How(args.num_prompts, args.max_tokens, seeds=args.seeds, at_once=args.at_once)
    reference: Path = args.reference
    out: Path = args.out
    targets = dict(map(named_target, args.targets))

    def of_each(step: Callable[[Recipe], object]) -> Callable[[], None]:
        def run() -> None:
            for recipe in recipes:
                step(recipe)

        return run

    def on_each(step: Callable[[Work], object]) -> Callable[[], None]:
        def run() -> None:
            for (name, target), recipe in product(targets.items(), recipes):
                step(Work(recipe, name, target, reference, out, how))

        return run

    return {
        "train": of_each(lambda r: train(r, reference, out, licence=args.licence)),
        "calibrate": on_each(calibrate),
        "choose": of_each(lambda r: choose(r, targets, reference, out)),
        "measure": on_each(measure),
        "time": on_each(measure_time),
        "report": lambda: report_all(recipes, targets, out),
    }


def named_target(word: str) -> tuple[str, Path]:
    return (word, smollm2_q4_0()) if word == "smollm2" else (Path(word).stem, Path(word))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("steps", nargs="+", choices=STEPS)
    parser.add_argument("--out", type=Path, default=Path("build/dials"))
    parser.add_argument("--reference", type=Path, default=OURS, help="the package's unless given")
    parser.add_argument("--targets", nargs="*", default=["smollm2"], help="GGUF files")
    parser.add_argument("--only", nargs="+", choices=[recipe.name for recipe in RECIPES])
    parser.add_argument("--licence", default="Apache-2.0", help="of the dials, for their cards")
    parser.add_argument("--num-prompts", type=int, default=How().prompts)
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--at-once", type=int, default=16, help="answers sampled together")
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
