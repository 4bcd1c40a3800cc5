"""``rewardshift bench``."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Protocol

import typer
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
from rewardshift.files.json_values import plain
from rewardshift.options import SamplingOptions, target_only
from rewardshift.prompt_files import read_prompts

from .command import command
from .options import GoalFlags, LoadFlags, LogFlags, PromptFlags, option
from .render import stdout

ALIGNED, LOSSLESS, CONCURRENT, MEMORY = "aligned", "lossless", "concurrent", "memory"
SECTIONS = (ALIGNED, LOSSLESS, CONCURRENT, MEMORY)

_MEASURING = "Measuring"
_FEW = 4  # of the built-in prompts are enough to compare speeds
_TEMPLATE_TOKENS = 64  # more than chat templates add


_option = partial(option, panel=_MEASURING, show_default=True)


@dataclass(frozen=True, kw_only=True)
class BenchFlags(LogFlags):
    """What is measured, how often, and where it goes."""

    only: Annotated[
        list[str] | None,
        _option("--only", text="Measure just this; may be repeated.", metavar="|".join(SECTIONS)),
    ] = None
    draft_lengths: Annotated[
        str, _option("-K", "--draft-lengths", text="Fixed draft lengths.", metavar="K,K,...")
    ] = "1,2,3,5,7,11,15"
    counts: Annotated[
        str, _option("--concurrency", text="Numbers of concurrent requests.", metavar="N,N,...")
    ] = "1,2,4,8,16"
    max_tokens: Annotated[
        int, _option("-n", "--max-tokens", text="Of every response; none ends early.", metavar="N")
    ] = 128
    repeat: Annotated[
        int, _option("--repeat", text="Measurements of each way, in turns.", metavar="N")
    ] = 5
    prompts: Annotated[
        Path | None,
        _option("--prompts", text="A file with a prompt a line; else built-in ones.", metavar="F"),
    ] = None
    json: Annotated[
        Path | None, _option("--json", text="Also write all measurements here.", metavar="FILE")
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
    sections = _sections(load, flags)
    if flags.plot is not None:
        require_matplotlib()
        if not {ALIGNED, LOSSLESS} & set(sections):
            raise ValueError(f"--plot needs {ALIGNED} or {LOSSLESS}, which draft")
    lengths, counts = _integers(flags.draft_lengths, "-K"), _integers(flags.counts, "--concurrency")
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
        stdout().print(_headline(load))
        for section in sections:
            reports[section] = bench.measure(section)
            _show(reports[section])
    _save(reports, flags, load)


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
        elif self.load.draft is not None:
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
        LOSSLESS: load.draft is not None or load.draft_lora is not None,
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
    files = {role: path for role in ("target", "draft", "reference") if (path := vars(load)[role])}
    names = ", ".join(f"{role} {path.name}" for role, path in files.items())
    return f"{names}; {load.n_threads or _core.usable_cores()} threads\n"


def _show(report: Report) -> None:
    for table in report.tables():
        stdout().print(table)
        stdout().print()


def _save(reports: dict[str, Report], flags: BenchFlags, load: LoadFlags) -> None:
    if flags.json is not None:
        files = {k: str(v) for k, v in load.arguments().items() if isinstance(v, Path)}
        result = {
            "version": __version__,
            "llama_cpp_commit": _core.llama_cpp_commit,
            "cores": _core.usable_cores(),
            "files": files,
            "max_tokens": flags.max_tokens,
            "repeat": flags.repeat,
            "sections": {name: report.as_object() for name, report in reports.items()},
        }
        flags.json.write_text(json.dumps(plain(result), indent=1, allow_nan=False) + "\n")
    speeds = [report for report in reports.values() if isinstance(report, SpeedReport)]
    if flags.plot is not None:
        save_plot(speeds, flags.plot)
