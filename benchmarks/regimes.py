"""Adaptive draft lengths against each fixed one, for pairs from every corner.

The pairs are SmolLM2 and stand-ins made of it (see slice_layers.py), kept in ``--folder``:

    dear, alike      SmolLM2 and its Q4_0: the draft costs as much, nearly all is accepted
    dear, unlike     SmolLM2 and 24 of its 30 layers: costs as much, hardly anything is accepted
    cheap, unlike    SmolLM2 and 6 of its 30 layers
    cheap, alike     SmolLM2's Q4_0 made four times as deep, and that Q4_0: speculation wins
    costly rows      SmolLM2 (Q4_1) made three times as deep, and its Q4_0: nearly as cheap,
                     but Q4_1 verifies two rows at almost twice the cost of one
    prototype        SmolLM2 and --prototype, a small model trained to draft for it

    python benchmarks/regimes.py --prototype draft.gguf --json regimes.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from slice_layers import deepened, sliced

from rewardshift import Decoder
from rewardshift.bench import (
    ADAPTIVE,
    PROMPTS,
    TARGET_ONLY,
    THREE_MODELS,
    SpeedReport,
    Task,
    measure_speed,
    save_plot,
    table,
)
from rewardshift.cli.render import stdout
from rewardshift.files.atomic import replacing
from rewardshift.files.json_values import plain
from rewardshift.models import smollm2, smollm2_q4_0

if TYPE_CHECKING:
    from collections.abc import Callable

WARM = "You are a warm, cheerful assistant who loves to encourage people."
GOAL = 0.97  # adaptive over the best fixed length, and over no drafts at all


def main() -> None:
    """Measures the pairs, one after another."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prototype", type=Path, help="GGUF of a small draft for SmolLM2")
    parser.add_argument("--folder", type=Path, help="for the stand-ins; else beside SmolLM2")
    parser.add_argument("--only", action="append", help="a pair; may be repeated")
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
        target, draft = pairs[name]()
        reports[name] = measured(name, target, draft, options)
        for report in reports[name]:
            for shown in report.tables():
                stdout().print(shown)
                stdout().print()
        if options.plots is not None:
            options.plots.mkdir(parents=True, exist_ok=True)
            save_plot(reports[name], options.plots / f"{name.replace(', ', '-')}.png")
    everything = [report for pair in reports.values() for report in pair]
    stdout().print(summary(everything))
    if options.json is not None:
        found = {name: [r.as_object() for r in pair] for name, pair in reports.items()}
        options.json.write_text(json.dumps(plain(found), indent=1) + "\n")


def pairs_in(folder: Path, prototype: Path | None) -> dict[str, Callable[[], tuple[Path, Path]]]:
    """Target and draft by name; stand-ins are written when asked for."""

    def stand_in(source: Path, write: Callable[[Path, Path, int], object], n_layers: int) -> Path:
        path = folder / f"{source.stem}-{n_layers}-layers.gguf"
        if not path.exists():
            with replacing(path) as fresh:
                write(source, fresh, n_layers)
        return path

    pairs: dict[str, Callable[[], tuple[Path, Path]]] = {
        "dear, alike": lambda: (smollm2(), smollm2_q4_0()),
        "dear, unlike": lambda: (smollm2(), stand_in(smollm2(), sliced, 24)),
        "cheap, unlike": lambda: (smollm2(), stand_in(smollm2(), sliced, 6)),
        "cheap, alike": lambda: (stand_in(smollm2_q4_0(), deepened, 120), smollm2_q4_0()),
        "costly rows": lambda: (stand_in(smollm2(), deepened, 90), smollm2_q4_0()),
    }
    if prototype is not None:
        pairs["prototype"] = lambda: (smollm2(), prototype)
    return pairs


def measured(
    name: str, target: Path, draft: Path, options: argparse.Namespace
) -> list[SpeedReport]:
    """Lossless, and shifted by prompt."""
    threads = {} if options.threads is None else {"n_threads": options.threads}
    modes = {"lossless": [False], "aligned": [True], "both": [False, True]}[options.mode]
    with Decoder(target, draft, draft, n_ctx=2048, **threads) as decoder:
        tasks = [
            Task(*decoder.chat_prompts([{"role": "user", "content": p}], draft_system=WARM))
            for p in PROMPTS[: options.num_prompts]
        ]
        alike = [Task(task.prompt) for task in tasks]
        return [
            measure_speed(
                decoder,
                tasks if shifted else alike,
                title=f"{name}: {'pi*' if shifted else 'lossless'}",
                shifted=shifted,
                draft_lengths=options.draft_lengths,
                max_tokens=options.tokens,
                repeat=options.repeat,
            )
            for shifted in modes
        ]


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


if __name__ == "__main__":
    main()
