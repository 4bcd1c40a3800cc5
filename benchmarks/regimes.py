"""Ways to draft and to verify against each other, for pairs from every corner.

The pairs are SmolLM2 and stand-ins made of it (see stand_ins.py), kept in ``--folder``:

    dear, alike      SmolLM2 and its Q4_0: the draft costs as much, nearly all is accepted
    dear, unlike     SmolLM2 and 24 of its 30 layers: costs as much, hardly anything is accepted
    cheap, unlike    SmolLM2 and 6 of its 30 layers
    cheap, alike     SmolLM2's Q4_0 made four times as deep, and that Q4_0: speculation wins
    costly rows      SmolLM2 (Q4_1) made three times as deep, and its Q4_0: nearly as cheap,
                     but Q4_1 verifies two rows at almost twice the cost of one
    embedded         the pair that comes with the package, and its target
    prototype        SmolLM2 and --prototype, a small model trained to draft for it

What is compared, by --compare:

    lengths          adaptive draft lengths against each fixed one
    verification     chains verified token by token, and as blocks
    proposals        the aligned draft q as it is, and the shifted reference r (q/r)^s, by s
    shifts           one shift, and two at once

    python benchmarks/regimes.py --prototype draft.gguf --json regimes.json
    python benchmarks/regimes.py --compare verification --draft-lengths 3 7
    python benchmarks/regimes.py --compare proposals --only embedded --draft-lengths 3
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from stand_ins import deepened, sliced

from rewardshift import Decoder, Shift, embedded
from rewardshift.bench import (
    ADAPTIVE,
    PROMPTS,
    TARGET_ONLY,
    THREE_MODELS,
    PairedReport,
    SpeedReport,
    Task,
    endless,
    measure_pairs,
    measure_speed,
    one_by_one,
    save_plot,
    table,
)
from rewardshift.cli.render import stdout
from rewardshift.files.atomic import replacing
from rewardshift.files.json_values import plain
from rewardshift.models import smollm2, smollm2_q4_0

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rewardshift.options import SamplingOptions

    Roles = Mapping[str, Path]

STRENGTHS = (0.5, 1.0, 1.5, 2.0)
WARM = "You are a warm, cheerful assistant who loves to encourage people."
BRIEF = "You answer in as few plain words as you can."
GOAL = 0.97  # adaptive over the best fixed length, and over no drafts at all


def main() -> None:
    """Measures the pairs, one after another."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prototype", type=Path, help="GGUF of a small draft for SmolLM2")
    parser.add_argument("--folder", type=Path, help="for the stand-ins; else beside SmolLM2")
    parser.add_argument("--only", action="append", help="a pair; may be repeated")
    parser.add_argument("--compare", choices=tuple(COMPARED), default="lengths")
    parser.add_argument("--mode", choices=("lossless", "aligned", "both"), default="both")
    parser.add_argument("--draft-lengths", type=int, nargs="+", default=[1, 2, 3, 5, 7, 11, 15])
    parser.add_argument("--tokens", type=int, default=96, help="per answer")
    parser.add_argument("--num-prompts", type=int, default=4, help="how many of the built-in ones")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("-t", "--threads", type=int)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plots", type=Path, help="folder for a picture of each pair")
    options = parser.parse_args()

    pairs = pairs_in(options.folder or smollm2().parent, options.prototype)
    unknown = set(options.only or ()) - set(pairs)
    if unknown:
        parser.error(f"--only {', '.join(unknown)}: the pairs are {', '.join(pairs)}")
    reports = {}
    for name in options.only or pairs:
        reports[name] = COMPARED[options.compare](name, pairs[name](), options)
        for report in reports[name]:
            for shown in report.tables():
                stdout().print(shown)
                stdout().print()
        if options.plots is not None and options.compare == "lengths":
            options.plots.mkdir(parents=True, exist_ok=True)
            save_plot(reports[name], options.plots / f"{name.replace(', ', '-')}.png")
    everything = [report for pair in reports.values() for report in pair]
    if options.compare == "lengths":
        stdout().print(summary(everything))
    if options.json is not None:
        found = {name: [r.as_object() for r in pair] for name, pair in reports.items()}
        options.json.write_text(json.dumps(plain(found), indent=1) + "\n")


def pairs_in(folder: Path, prototype: Path | None) -> dict[str, Callable[[], Roles]]:
    """Arguments of a decoder by name; stand-ins are written when asked for.

    But for the embedded pair, draft and reference are one file: shifts are by prompt.
    """

    def stand_in(source: Path, write: Callable[[Path, Path, int], object], n_layers: int) -> Path:
        path = folder / f"{source.stem}-{n_layers}-layers.gguf"
        if not path.exists():
            with replacing(path) as fresh:
                write(source, fresh, n_layers)
        return path

    def alike(target: Path, draft: Path) -> Roles:
        return {"target": target, "draft": draft, "reference": draft}

    pairs: dict[str, Callable[[], Roles]] = {
        "dear, alike": lambda: alike(smollm2(), smollm2_q4_0()),
        "dear, unlike": lambda: alike(smollm2(), stand_in(smollm2(), sliced, 24)),
        "cheap, unlike": lambda: alike(smollm2(), stand_in(smollm2(), sliced, 6)),
        "cheap, alike": lambda: alike(stand_in(smollm2_q4_0(), deepened, 120), smollm2_q4_0()),
        "costly rows": lambda: alike(stand_in(smollm2(), deepened, 90), smollm2_q4_0()),
        "embedded": lambda: dict(embedded()),
    }
    if prototype is not None:
        pairs["prototype"] = lambda: alike(smollm2(), prototype)
    return pairs


def opened(roles: Roles, options: argparse.Namespace, **more: object) -> Decoder:
    """A decoder with room enough."""
    threads = {} if options.threads is None else {"n_threads": options.threads}
    return Decoder(**{**roles, **more, "n_ctx": 2048, **threads})


def tasks_of(decoder: Decoder, roles: Roles, options: argparse.Namespace) -> list[Task]:
    """The prompts, as target and draft see them."""
    system = WARM if "draft" in roles else None
    return [
        Task(*decoder.chat_prompts([{"role": "user", "content": p}], draft_system=system))
        for p in PROMPTS[: options.num_prompts]
    ]


def modes_of(options: argparse.Namespace) -> list[bool]:
    """Whether it is shifted, for all that are asked for."""
    return {"lossless": [False], "aligned": [True], "both": [False, True]}[options.mode]


def title_of(name: str, *, shifted: bool) -> str:
    return f"{name}: {'pi*' if shifted else 'lossless'}"


def lengths(name: str, roles: Roles, options: argparse.Namespace) -> list[SpeedReport]:
    """Lossless, and shifted: every draft length."""
    with opened(roles, options) as decoder:
        tasks = tasks_of(decoder, roles, options)
        alike = [Task(task.prompt) for task in tasks]
        return [
            measure_speed(
                decoder,
                tasks if shifted else alike,
                title=title_of(name, shifted=shifted),
                shifted=shifted,
                draft_lengths=options.draft_lengths,
                max_tokens=options.tokens,
                repeat=options.repeat,
            )
            for shifted in modes_of(options)
        ]


def verification(name: str, roles: Roles, options: argparse.Namespace) -> list[PairedReport]:
    """Lossless, and shifted: chains verified token by token, and as blocks."""
    with opened(roles, options) as decoder:
        tasks = tasks_of(decoder, roles, options)
        alike = [Task(task.prompt) for task in tasks]

        def run(how: str, k: int, *, shifted: bool) -> Callable[[], object]:
            asked: SamplingOptions = {
                **({} if shifted else {"strength": 0.0}),
                "verification": how,
                "num_draft_tokens": k,
                "max_tokens": options.tokens,
                "logit_bias": endless(decoder),
            }
            return lambda: one_by_one(decoder, tasks if shifted else alike, asked)

        return [
            measure_pairs(
                f"{title_of(name, shifted=shifted)}, verification",
                ("token by token", "as a block"),
                {
                    f"K={k}": (run("token", k, shifted=shifted), run("block", k, shifted=shifted))
                    for k in options.draft_lengths
                },
                repeat=options.repeat,
            )
            for shifted in modes_of(options)
        ]


def proposals(name: str, roles: Roles, options: argparse.Namespace) -> list[PairedReport]:
    """Drafts from q as it is, and from r (q/r)^s: with r as the base, that is what drafts."""
    with (
        opened(roles, options) as plainly,
        opened(roles, options, base=roles["reference"]) as apart,
    ):
        tasks = tasks_of(plainly, roles, options)

        def run(decoder: Decoder, strength: float, k: int) -> Callable[[], object]:
            asked: SamplingOptions = {
                "strength": strength,
                "num_draft_tokens": k,
                "max_tokens": options.tokens,
                "logit_bias": endless(decoder),
            }
            return lambda: one_by_one(decoder, tasks, asked)

        runs = {
            f"s={s:g}, K={k}": (run(plainly, s, k), run(apart, s, k))
            for s in STRENGTHS
            for k in options.draft_lengths
        }
        ways = ("q", "r (q/r)^s")
        return [measure_pairs(f"{name}: proposals", ways, runs, repeat=options.repeat)]


def shifts(name: str, roles: Roles, options: argparse.Namespace) -> list[PairedReport]:
    """One shift, and two at once; the second is a system message for the reference's model."""
    small = roles["reference"]
    lora = {"lora": roles["draft_lora"]} if "draft_lora" in roles else {"draft_system": WARM}
    named = {
        "first": Shift(reference=small, **lora),
        "second": Shift(reference=small, draft_system=BRIEF),
    }
    with opened({"target": roles["target"]}, options, shifts=named) as decoder:
        seen = [
            decoder.chat_prompts_by_shift([{"role": "user", "content": p}])
            for p in PROMPTS[: options.num_prompts]
        ]
        tasks = [Task(prompt, by_shift) for prompt, by_shift in seen]

        def run(strength: dict[str, float], k: int | None) -> Callable[[], object]:
            asked: SamplingOptions = {
                "strength": strength,
                "num_draft_tokens": k,
                "max_tokens": options.tokens,
                "logit_bias": endless(decoder),
            }
            return lambda: one_by_one(decoder, tasks, asked)

        one, two = {"first": 1.0}, {"first": 1.0, "second": 1.0}
        ks = {"no drafts": 0, **{f"K={k}": k for k in options.draft_lengths}, ADAPTIVE: None}
        runs = {how: (run(one, k), run(two, k)) for how, k in ks.items()}
        ways = ("one shift", "two shifts")
        return [measure_pairs(f"{name}: shifts", ways, runs, repeat=options.repeat)]


def summary(reports: list[SpeedReport]) -> object:
    """One line a pair: what adapting costs against knowing the best length beforehand."""
    rows = []
    for report in reports:
        best = report.best_fixed
        plain_way = THREE_MODELS if THREE_MODELS in report.samples else TARGET_ONLY
        against_best = report.ratio(ADAPTIVE, best)
        against_plain = report.ratio(ADAPTIVE, plain_way)
        reached = min(against_best.median, against_plain.median) >= GOAL
        rows.append(
            [
                report.title,
                best,
                f"{report.total(ADAPTIVE).drafted_per_round:.1f}",
                f"{report.total(best).acceptance:.2f}",
                f"{against_best:.2f}",
                f"{against_plain:.2f}",
                "yes" if reached else "no",
            ]
        )
    heads = ["pair", "best K", "chosen", "accepted", "÷ best K", "÷ no drafts", f"≥ {GOAL}"]
    note = "No drafts: the target alone (lossless), all three models at every token (pi*)."
    return table("adaptive draft lengths", heads, rows, note=note)


COMPARED = {
    "lengths": lengths,
    "verification": verification,
    "proposals": proposals,
    "shifts": shifts,
}


if __name__ == "__main__":
    main()
