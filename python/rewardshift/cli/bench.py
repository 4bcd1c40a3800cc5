"""``rewardshift bench``."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Protocol

import typer
from rich.console import Console
from rich.table import Table

from rewardshift import _core
from rewardshift._core import version as __version__
from rewardshift.bench import (
    PROMPTS,
    SpeedReport,
    Task,
    measure_concurrency,
    measure_memory,
    measure_speed,
    require_matplotlib,
    save_plot,
)
from rewardshift.decoder import Decoder
from rewardshift.options import SamplingOptions, target_only
from rewardshift.prompt_files import read_prompts

from .command import command
from .encode import print_json
from .naming import Called
from .options import GoalFlags, LoadFlags, OutputFlags, option
from .prompting import PromptFlags
from .render import stderr, stdout

ALIGNED, LOSSLESS, CONCURRENT, MEMORY = "aligned", "lossless", "concurrent", "memory"
SECTIONS = (ALIGNED, LOSSLESS, CONCURRENT, MEMORY)

_MEASURING = "Measuring"
_FEW = 4  # of the built-in prompts are enough to compare speeds
_LENGTHS, _COUNTS = "1,2,3,5,7,11,15", "1,2,4,8,16"
_TEMPLATE_TOKENS = 64  # more than chat templates add


_option = partial(option, panel=_MEASURING, show_default=True)


@dataclass(frozen=True, kw_only=True)
class BenchFlags(OutputFlags):
    """What is measured, how often, and where it goes."""

    only: Annotated[
        list[str] | None,
        _option("--only", text="Measure just this; may be repeated.", metavar="|".join(SECTIONS)),
    ] = None
    draft_lengths: Annotated[
        str | None,
        _option(
            "--draft-lengths",
            text=f"Fixed draft lengths; {_LENGTHS} unless given.",
            metavar="K,K,...",
        ),
        Called("num_draft_tokens"),
    ] = None
    counts: Annotated[
        str | None,
        _option(
            "--concurrency",
            text=f"Numbers of concurrent requests; {_COUNTS} unless given.",
            metavar="N,N,...",
        ),
        Called("n_seq_max"),
    ] = None
    max_tokens: Annotated[
        int,
        _option(
            "-n",
            "--max-tokens",
            text="Of every response; none ends early.",
            metavar="N",
            least=2,  # the first one's time is the prompt's
        ),
    ] = 128
    repeat: Annotated[
        int, _option("--repeat", text="Measurements of each way, in turns.", metavar="N", least=1)
    ] = 5
    prompts: Annotated[
        Path | None,
        _option(
            "--prompts", text="A file with a prompt a line; else built-in ones.", metavar="FILE"
        ),
    ] = None
    plot: Annotated[
        Path | None,
        _option("--plot", text="Draw tokens/s against K here (PNG, SVG, PDF).", metavar="FILE"),
    ] = None

    def lines(self) -> list[str]:
        """The user's prompts, or the built-in ones."""
        return list(PROMPTS) if self.prompts is None else read_prompts(self.prompts)


class Report(Protocol):
    """What a section measured."""

    def tables(self) -> list[Table]:
        """For people."""
        ...

    def as_object(self) -> dict[str, object]:
        """For programs."""
        ...


def add_to(app: typer.Typer) -> None:
    """Registers the command."""
    app.command()(bench)


@command
def bench(load: LoadFlags, prompting: PromptFlags, goal: GoalFlags, flags: BenchFlags) -> None:
    """Measure how fast your own models decode together, side by side in one run.

    What is measured: pi* and lossless speculation with fixed and adaptive draft lengths against
    plain decoding, where the time goes, concurrent requests, peak memory.

    Example: rewardshift bench -m big.gguf -md small-dpo.gguf --reference small.gguf --plot k.png
    """
    flags.set_up_log()
    load = load.completed()
    sections = _sections(load, flags)
    if flags.plot is not None:
        require_matplotlib(flags.plot)
        if not {ALIGNED, LOSSLESS} & set(sections):
            raise ValueError(f"--plot needs {ALIGNED} or {LOSSLESS}, which draft")
    if flags.draft_lengths is not None and not {ALIGNED, LOSSLESS} & set(sections):
        raise ValueError(f"--draft-lengths needs {ALIGNED} or {LOSSLESS}, which draft")
    if flags.counts is not None and CONCURRENT not in sections:
        raise ValueError(f"--concurrency needs {CONCURRENT}, which --only leaves out")
    lengths = _integers(flags.draft_lengths or _LENGTHS, "--draft-lengths")
    counts = _integers(flags.counts or _COUNTS, "--concurrency")
    lines = flags.lines()
    needed = _context_needed(lines, prompting, max(lengths, default=0), flags.max_tokens)
    requests = max(counts) if CONCURRENT in sections else 1
    arguments = {
        "n_ctx": needed * requests,
        "n_seq_max": max(requests, _core.ContextOptions().n_seq_max),
        **load.arguments(),
    }
    with Decoder(**arguments) as decoder:
        tasks = [Task(*prompting.prompts(decoder, line)) for line in lines]
        bench = _Bench(decoder, load, goal.sampling(), tasks, lengths, counts, flags)
        reports: dict[str, Report] = {}
        console = stderr() if flags.json else stdout()  # it takes long: somebody may be watching
        console.print(_headline(load))
        for section in sections:
            reports[section] = bench.measure(section)
            _show(reports[section], console)
    if flags.json:
        print_json(_as_object(reports, flags, load))
    if flags.plot is not None:
        save_plot([r for r in reports.values() if isinstance(r, SpeedReport)], flags.plot)


@dataclass(frozen=True)
class _Bench:
    """Everything a section needs."""

    decoder: Decoder
    load: LoadFlags
    options: SamplingOptions
    tasks: Sequence[Task]
    lengths: Sequence[int]
    counts: Sequence[int]
    flags: BenchFlags

    def measure(self, section: str) -> Report:
        """Runs one section."""
        measures: dict[str, Callable[[], Report]] = {
            ALIGNED: lambda: self._speed(title="pi*", shifted=True),
            LOSSLESS: lambda: self._speed(title="lossless", shifted=False),
            CONCURRENT: self._concurrency,
            MEMORY: self._memory,
        }
        return measures[section]()

    def _speed(self, *, title: str, shifted: bool) -> Report:
        return measure_speed(
            self.decoder,
            self.tasks if self.flags.prompts else self.tasks[:_FEW],
            title=title,
            shifted=shifted,
            draft_lengths=self.lengths,
            max_tokens=self.flags.max_tokens,
            repeat=self.flags.repeat,
            options=self.options,
        )

    def _concurrency(self) -> Report:
        ways: dict[str, SamplingOptions] = {"target only": target_only(**self.options)}
        if self.load.is_shifted:
            ways["pi*, adaptive"] = {**self.options, "num_draft_tokens": None}
        elif self.load.can_draft:
            ways["lossless, adaptive"] = {**ways["target only"], "num_draft_tokens": None}
        most = max(self.counts)
        tasks = [self.tasks[i % len(self.tasks)] for i in range(most)]
        return measure_concurrency(
            self.decoder,
            tasks,
            ways=ways,
            counts=self.counts,
            max_tokens=self.flags.max_tokens,
            repeat=self.flags.repeat,
        )

    def _memory(self) -> Report:
        return measure_memory(
            self.load.arguments(),
            self.tasks[0],
            max_tokens=self.flags.max_tokens,
            repeat=self.flags.repeat,
        )


def _sections(load: LoadFlags, flags: BenchFlags) -> list[str]:
    """Those asked for, or all that the given models can do."""
    can = {
        ALIGNED: load.is_shifted,
        LOSSLESS: load.can_draft,
        CONCURRENT: True,
        MEMORY: True,
    }
    for section in flags.only or ():
        if section not in can:
            raise ValueError(f"--only {section} is none of {', '.join(SECTIONS)}")
        if not can[section]:
            needs = "a draft and a reference" if section == ALIGNED else "a draft"
            raise ValueError(f"--only {section} needs {needs}")
    return [s for s in SECTIONS if can[s] and (not flags.only or s in flags.only)]


def _integers(text: str, flag: str) -> list[int]:
    try:
        numbers = sorted({int(part) for part in text.split(",")})
    except ValueError:
        raise ValueError(f"{flag} takes numbers with commas between them, not {text!r}") from None
    if numbers[0] < 1:
        raise ValueError(f"{flag} takes numbers above 0, not {numbers[0]}")
    return numbers


def _context_needed(
    lines: Sequence[str], prompting: PromptFlags, draft_length: int, max_tokens: int
) -> int:
    """Tokens enough for any of the requests: no text has more tokens than bytes."""
    systems = (prompting.system or "") + (prompting.draft_system or "")
    prompt = max(len(line.encode()) for line in lines) + len(systems.encode()) + _TEMPLATE_TOKENS
    return prompt + max_tokens + draft_length + 1


def _headline(load: LoadFlags) -> str:
    roles = ("target", "draft", "reference", "base")
    files = {role: Path(path).name for role in roles if (path := vars(load)[role])}
    files |= {"shift": ", ".join(load.shifts())} if load.shift else {}
    names = ", ".join(f"{role} {name}" for role, name in files.items())
    return f"{names}; {load.n_threads or _core.usable_cores()} threads\n"


def _show(report: Report, console: Console) -> None:
    for table in report.tables():
        console.print(table)
        console.print()


def _as_object(reports: dict[str, Report], flags: BenchFlags, load: LoadFlags) -> dict[str, object]:
    return {
        "version": __version__,
        "llama_cpp_commit": _core.llama_cpp_commit,
        "cores": _core.usable_cores(),
        "files": {k: str(v) for k, v in load.arguments().items() if isinstance(v, Path)},
        "shifts": list(load.shift or ()),
        "max_tokens": flags.max_tokens,
        "repeat": flags.repeat,
        "sections": {name: report.as_object() for name, report in reports.items()},
    }
