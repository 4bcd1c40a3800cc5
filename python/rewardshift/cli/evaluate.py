"""``rewardshift eval``."""

import json
import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from rewardshift import _core
from rewardshift.bench import require_matplotlib, table
from rewardshift.evaluate import (
    EvaluateOptions,
    Judges,
    RunFacts,
    Sample,
    Summary,
    evaluate,
    evaluation_prompts,
    facts_of,
    method_of,
    samples_beside,
    save_plots,
    summarise,
    write_report,
)
from rewardshift.evaluate.report import gained, reached
from rewardshift.files.atomic import replacing
from rewardshift.files.json_values import plain
from rewardshift.methods import GSI, STAND, BestOfN, Method, TreeBoN
from rewardshift.prompt_files import read_prompts

from .command import command
from .encode import print_json
from .naming import Called
from .options import LoadFlags, OutputFlags, option
from .render import stderr, stdout
from .reward_names import REWARDS, require_judge, reward_named

ALONE = ("target", *(f"best-of-n:n={n}" for n in (2, 4, 8, 16)))
"""What a target alone can do; it is Best-of-1 itself."""
SHIFTED = (
    *("three-model", "sss:strength=0.5", "sss:strength=1", "sss:strength=1.5"),
    "sss:strength=1,rule=paper",
)
"""What else a pair can."""


def of_several(names: Sequence[str]) -> tuple[str, ...]:
    """What several shifts can: all of them at their defaults, and each by itself."""
    alone = (f"sss:strength={name}=1" for name in names)
    return ("three-model:strength=none", "sss:strength=none", *alone)


_WHAT, _HOW = "What is evaluated", "How"
_TEMPLATE_TOKENS = 64  # more than chat templates add
_SLACK = 32  # tokens of a request beyond its answer: drafts, and cells given in blocks
_FEWEST_ROOM = 16  # answers sampled together
_SENTIMENT = (
    "answers are judged by their sentiment, afinn and vader: where yours is another aim, choose "
    "judges with --gold and --reward"
)


_option = partial(option, panel=_HOW, show_default=True)


@dataclass(frozen=True, kw_only=True)
class EvalFlags(OutputFlags):
    """What is evaluated, and how."""

    methods: Annotated[
        list[str] | None,
        _option(
            "--methods",
            text="Names with parameters, such as 'target sss:strength=0.5,rule=paper "
            "best-of-n:n=8'; a function of yours that makes one is module.function. May be "
            "repeated. Unless given: the target, Best-of-2 to 16 and, with a pair, three-model "
            "decoding and SSS at several strengths.",
            metavar="M M ...",
            panel=_WHAT,
        ),
    ] = None
    prompts: Annotated[
        Path | None,
        _option(
            "--prompts",
            text="A prompt a line, or JSON lines with one each; built-in ones unless given.",
            metavar="FILE",
            panel=_WHAT,
        ),
    ] = None
    num_prompts: Annotated[
        int,
        _option("--num-prompts", text="Of them, at most.", metavar="N", panel=_WHAT, least=1),
    ] = 300
    seeds: Annotated[
        int,
        _option(
            "--seeds",
            text="Answers to each, by each method.",
            metavar="N",
            panel=_WHAT,
            least=1,
        ),
    ] = 3
    gold: Annotated[
        str,
        _option("--gold", text=f"What is reported: {REWARDS}.", metavar="R", panel=_WHAT),
    ] = "afinn"
    reward: Annotated[
        str,
        _option("--reward", text="What methods may choose by.", metavar="R", panel=_WHAT),
        Called("training"),
    ] = "vader"
    question: Annotated[
        str | None,
        _option(
            "--question", text="For judges, with {prompt} and {response} in it.", metavar="TEXT"
        ),
    ] = None
    against: Annotated[
        str | None,
        _option(
            "--against",
            text="The method that wins and speed-ups are against; Best-of-8 unless given.",
            metavar="M",
        ),
    ] = None
    draft_system: Annotated[
        str | None,
        _option(
            "--draft-system",
            text="System message for the draft alone: shifts by prompt.",
            metavar="TEXT",
        ),
        Called("draft_prompt"),
    ] = None
    temperature: Annotated[float, _option("--temp", text="Of every method.", metavar="X")] = 0.8
    max_tokens: Annotated[
        int, _option("-n", "--max-tokens", text="Of each answer.", metavar="N", least=1)
    ] = 64
    beside: Annotated[
        list[Path] | None,
        _option(
            "--beside",
            text="Folder of another run, of another draft for instance, whose answers to the same "
            "prompts are shown too. May be repeated.",
            metavar="DIR",
        ),
    ] = None
    folder: Annotated[
        Path, _option("--out", text="Where samples and the report go.", metavar="DIR")
    ] = Path("eval-run")

    def specs(self, load: LoadFlags) -> list[str]:
        """The methods asked for, or all that the models can do; each once."""
        given = [spec for part in self.methods or () for spec in part.split()]
        names = list(load.shifts())
        shifted = of_several(names) if len(names) > 1 else SHIFTED if load.is_shifted else ()
        usual = [*ALONE[:1], *shifted, *ALONE[1:]]
        return list(dict.fromkeys(given or usual))

    def asked(self) -> list[str]:
        """The prompts."""
        if self.prompts is not None:
            return read_prompts(self.prompts)[: self.num_prompts]
        return [prompt.prompt for prompt in evaluation_prompts("held_out")][: self.num_prompts]

    def judges(self) -> Judges:
        """The rewards, after a look at their names: a judge takes long to load."""
        require_judge(self.question, self.gold, self.reward)
        if self.gold == self.reward:
            raise ValueError(f"--gold and --reward are both {self.gold}: judge by another reward")
        return Judges(
            gold=reward_named(self.gold, self.question, flag="--gold"),
            training=reward_named(self.reward, self.question, flag="--reward"),
            gold_name=self.gold,
            training_name=self.reward,
        )


def add_to(app: typer.Typer) -> None:
    """Registers the command."""
    app.command("eval")(run)


@command
def run(load: LoadFlags, flags: EvalFlags, context: typer.Context) -> None:
    """Compare methods on your own models: reward, speed, calls and diversity.

    Every method answers every prompt with every seed, in turns. Samples, one JSON object a line, go
    to a folder, and the same command again goes on where it was stopped, or adds methods, prompts
    and seeds. Then it writes report.md, report.html, summary.json and pictures beside them.

    Example: rewardshift eval -m big.gguf -md small-dpo.gguf --reference small.gguf --num-prompts 20
    """
    flags.set_up_log()
    require_matplotlib()
    if _is_given(context, "target") and not (flags.json or _is_given(context, "gold", "reward")):
        stderr().print(_SENTIMENT, soft_wrap=True, markup=False)
    judges, asked = flags.judges(), flags.asked()
    load = load.completed()
    specs = flags.specs(load)
    methods = {spec: method_of(spec, judges.training) for spec in specs}
    if flags.against is not None and flags.against not in methods:
        raise ValueError(f"--against {flags.against} is none of {', '.join(methods)}")
    samples = evaluate(
        {**_room(methods.values(), asked, flags), **load.arguments()},
        methods,
        asked,
        flags.folder,
        judges,
        EvaluateOptions(
            max_tokens=flags.max_tokens,
            temperature=flags.temperature,
            seeds=flags.seeds,
            draft_system=flags.draft_system,
        ),
    )
    for other in flags.beside or ():
        samples += samples_beside(flags.folder, samples, other)
    summary = summarise(samples, baseline=flags.against)
    facts = facts_of(flags.folder, command=_command(load, flags, specs))
    _write(summary, facts, flags, samples)
    if flags.json:
        print_json(summary)
    else:
        _show(summary, facts, flags.folder)


def _room(methods: Collection[Method], asked: Sequence[str], flags: EvalFlags) -> dict[str, int]:
    """A context for the widest method; a prompt has no more tokens than bytes, and is shared."""
    wide = [method.n for method in methods if isinstance(method, (BestOfN, GSI, TreeBoN))]
    wide += [method.n * method.tree_width for method in methods if isinstance(method, STAND)]
    together = max([_FEWEST_ROOM, *wide])
    options = _core.ContextOptions()
    options.n_seq_max = together
    try:
        _core.validate(options)
    except ValueError as error:
        limit = str(error).removeprefix("n_seq_max ")
        raise ValueError(f"--methods: answers that are sampled together {limit}") from None
    prompt = max(len(text.encode()) for text in asked) + _TEMPLATE_TOKENS
    prompt += len((flags.draft_system or "").encode())
    return {
        "n_ctx": 2 * prompt + (together + 1) * (flags.max_tokens + _SLACK),
        "n_seq_max": max(together, _core.ContextOptions().n_seq_max),
    }


def _command(load: LoadFlags, flags: EvalFlags, specs: Sequence[str]) -> str:
    """What repeats the run."""
    given = (
        *(("-m", load.target), ("-md", load.draft), ("--reference", load.reference)),
        *(("--draft-lora", load.draft_lora), ("--draft-lora-scale", load.draft_lora_scale)),
        *(("--shift", shift) for shift in load.shift or ()),
        ("--base", load.base),
        *(("-c", load.n_ctx), ("-ngl", load.n_gpu_layers), ("-t", load.n_threads)),
        ("--refined-tokens", load.refined_tokens),
        *(("--prompts", flags.prompts), ("--question", flags.question)),
        *(("--draft-system", flags.draft_system), ("--against", flags.against)),
        ("--out", None if flags.folder == EvalFlags.folder else flags.folder),
    )
    words = [part for pair in given if pair[1] is not None for part in pair]
    words += ["--methods", " ".join(specs), "--num-prompts", flags.num_prompts]
    words += ["--seeds", flags.seeds]
    words += ["--gold", flags.gold, "--reward", flags.reward]
    words += ["--temp", f"{flags.temperature:g}", "-n", flags.max_tokens]
    words += [part for other in flags.beside or () for part in ("--beside", other)]
    return shlex.join(["rewardshift", "eval", *map(str, words)])


def _is_given(context: typer.Context, *options: str) -> bool:
    """Whether any of these options is in the command, be its value the usual one or not."""
    sources = [context.get_parameter_source(name) for name in options]
    return any(source is not None and source.name == "COMMANDLINE" for source in sources)


def _write(summary: Summary, facts: RunFacts, flags: EvalFlags, samples: Sequence[Sample]) -> None:
    plots = save_plots(summary, flags.folder, gold_name=flags.gold)
    write_report(summary, facts, flags.folder, plots=plots, samples=samples)
    with replacing(flags.folder / "summary.json") as fresh:
        fresh.write_text(json.dumps(plain(summary), indent=2) + "\n", encoding="utf-8")


def _show(summary: Summary, facts: RunFacts, folder: Path) -> None:
    columns = ["method", f"gold ({facts.gold_name})", "wins", "tokens/s", "speed-up", "accepted"]
    rows = [
        [
            row.name,
            f"{row.gold:.3f}",
            "" if row.win_rate is None else f"{row.win_rate.value:.0%}",
            f"{row.tokens_per_second.value:.1f}",
            "" if row.speed_up is None else f"{row.speed_up.value:.2f}",
            "" if row.acceptance is None else f"{row.acceptance:.2f}",
        ]
        for row in summary.rows
    ]
    against = "" if summary.baseline is None else f" against {summary.row(summary.baseline).name}"
    title = f"{summary.prompts} prompts × {summary.seeds}{against}"
    console = stdout()
    note = "in brackets: 95 % intervals over prompts, of 10 and more"
    console.print(table(title, columns, rows, note=note))
    if summary.equal:
        rows = [[summary.row(m).name, reached(e), gained(e)] for m, e in summary.equal.items()]
        console.print()
        console.print(table("at equal gold reward", ["method", "Best-of-N at N", "speed-up"], rows))
    console.print(f"\n{folder / 'report.html'}, {folder / 'report.md'}", soft_wrap=True)
