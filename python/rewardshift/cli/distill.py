"""``rewardshift distill``."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from rewardshift.hub import local_path
from rewardshift.prompt_files import read_prompts
from rewardshift.sources.hub import StrPath

from .command import command
from .extras import require_train
from .options import LogFlags, option
from .program import importing
from .render import amount, stdout


def add_to(app: typer.Typer) -> None:
    """Registers the command."""
    app.command()(distill)


_SAMPLING, _TRAINING = "Sampling the target", "Training"


@dataclass(frozen=True, kw_only=True)
class CorpusFlags:
    """What is asked, and how much."""

    prompts: Annotated[
        Path | None,
        option(
            "--prompts",
            text="A prompt a line, or JSON lines with one each; built-in ones unless given.",
            metavar="FILE",
            panel=_SAMPLING,
        ),
    ] = None
    responses: Annotated[
        int | None,
        option(
            "--responses",
            text="How many; 8000 unless given.",
            metavar="N",
            panel=_SAMPLING,
            least=2,
        ),
    ] = None
    max_tokens: Annotated[
        int | None,
        option(
            "-n",
            "--max-tokens",
            text="Of each; 128 unless given.",
            metavar="N",
            panel=_SAMPLING,
            least=1,
        ),
    ] = None


@dataclass(frozen=True, kw_only=True)
class ShapeFlags:
    """What is trained, and for how long."""

    tokens: Annotated[
        int | None,
        option(
            "--tokens",
            text="To learn from, repetitions counted; 6 million unless given.",
            metavar="N",
            panel=_TRAINING,
            least=1,
        ),
    ] = None
    start: Annotated[
        Path | None,
        option(
            "--from",
            text="GGUF of a student made before, to train on; a new one unless given.",
            metavar="FILE",
            panel=_TRAINING,
        ),
    ] = None
    width: Annotated[
        int | None,
        option(
            "--width",
            text="Of the student; 256 unless given.",
            metavar="N",
            panel=_TRAINING,
            least=1,
        ),
    ] = None
    layers: Annotated[
        int | None,
        option(
            "--layers",
            text="Of the student; 4 unless given.",
            metavar="N",
            panel=_TRAINING,
            least=1,
        ),
    ] = None
    vocabulary: Annotated[
        int | None,
        option(
            "--vocabulary",
            text="Tokens of the student: the target's commonest, such as 16384; all unless given.",
            metavar="N",
            panel=_TRAINING,
            least=1,
        ),
    ] = None
    self_fed_steps: Annotated[
        int | None,
        option(
            "--self-fed-steps",
            text="Length of the drafts that are trained for; 1 turns that off, 4 unless given.",
            metavar="N",
            panel=_TRAINING,
            least=1,
        ),
    ] = None

    def __post_init__(self) -> None:
        """Refuses a second shape for a student that has one."""
        if self.start is not None and (self.width is not None or self.layers is not None):
            raise ValueError(
                "--from is a student that has its --width and --layers: leave them out"
            )


@command
def distill(
    target: Annotated[StrPath, typer.Argument(help="GGUF to distil.", metavar="TARGET")],
    destination: Annotated[Path, typer.Argument(help="GGUF to write.", metavar="REFERENCE")],
    corpus: CorpusFlags,
    shape: ShapeFlags,
    log: LogFlags,
    kind: Annotated[
        str, typer.Option("--type", help="Of the weights written.", metavar="T")
    ] = "Q4_0",
    run: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the run; REFERENCE-run unless given.",
            metavar="DIR",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option("-s", "--seed", help="Of everything.", metavar="N")] = 1,
) -> None:
    """Make a small reference model that speaks like a target, for drafting.

    The target answers prompts, and a student with its vocabulary learns from the answers. With
    --vocabulary it has part of that only, which is smaller and faster. The same command again goes
    on where it was stopped. Needs the extra train.

    Example: rewardshift distill big.gguf small.gguf
    """
    log.set_up_log()
    with importing():
        require_train()
        from rewardshift.train.corpus import CorpusOptions, sample_corpus
        from rewardshift.train.distill import DistillOptions, distill_target, require_vocabulary
        from rewardshift.train.export import WEIGHT_TYPES
        from rewardshift.train.student import Shape

    kind = kind.upper()
    if kind not in WEIGHT_TYPES:
        raise ValueError(f"there is no type {kind!r}; choose one of {', '.join(WEIGHT_TYPES)}")
    sampling = replace(
        CorpusOptions(seed=seed),
        **_set({"responses": corpus.responses, "max_tokens": corpus.max_tokens}),
    )
    options = replace(
        DistillOptions(
            shape=replace(Shape(), **_set({"width": shape.width, "layers": shape.layers})),
            kind=kind,
            seed=seed,
        ),
        **_set(
            {
                "tokens": shape.tokens,
                "vocabulary": shape.vocabulary,
                "self_fed_steps": shape.self_fed_steps,
            }
        ),
    )
    asked = None if corpus.prompts is None else read_prompts(corpus.prompts)
    folder = run or destination.with_name(f"{destination.stem}-run")
    path = local_path(target)
    require_vocabulary(path, shape.vocabulary, shape.start)
    sample_corpus(path, folder / "corpus", sampling, prompts=asked)
    acceptance = distill_target(path, folder, destination, options, start=shape.start)
    stdout().print(f"{destination}: {kind}, {amount(destination.stat().st_size, 'B')}")
    for temperature, share in acceptance.items():
        stdout().print(f"held-out acceptance at temperature {temperature:g}: {share:.3f}")
    stdout().print(f"curves and figures: {folder}")


def _set(values: dict[str, int | None]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
