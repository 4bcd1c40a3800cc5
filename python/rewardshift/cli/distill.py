"""``rewardshift distill``."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from rewardshift.hub import local_path
from rewardshift.prompt_files import read_prompts
from rewardshift.sources.hub import StrPath

from .command import command
from .distill_head import DraftHeadFlags, distill_head
from .extras import require_train
from .options import LogFlags, option
from .program import importing
from .render import amount, stdout


def add_to(app: typer.Typer) -> None:
    """Registers the command."""
    app.command()(distill)


_SAMPLING, _TRAINING = "Sampling the target", "Training"
_USUAL_TYPE = "Q4_0"


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
            text="How many; 8000 unless given, 2000 with --head.",
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

    def lengths(self) -> dict[str, Any]:
        """What the user gave of ``CorpusOptions``."""
        return _set({"responses": self.responses, "max_tokens": self.max_tokens})


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
            text="Of the student, 256 unless given; of a head, twice the target's.",
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
            text="Tokens of the student: the target's commonest, such as 16384; all unless given, "
            "8192 with --head.",
            metavar="N",
            panel=_TRAINING,
            least=1,
        ),
    ] = None
    self_fed_steps: Annotated[
        int | None,
        option(
            "--self-fed-steps",
            text="Length of the drafts that are trained for; 1 turns that off, 4 unless given, 3 "
            "with --head.",
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

    def of_students(self) -> dict[str, object]:
        """What no head has, by flag."""
        return {"--tokens": self.tokens, "--from": self.start, "--layers": self.layers}

    def of_a_head(self) -> dict[str, Any]:
        """What the user gave of ``BaseHeadOptions``."""
        given = {
            "width": self.width,
            "vocabulary": self.vocabulary,
            "self_fed_steps": self.self_fed_steps,
        }
        return _set(given)


@command
def distill(
    target: Annotated[StrPath, typer.Argument(help="GGUF to distil.", metavar="TARGET")],
    destination: Annotated[Path, typer.Argument(help="GGUF to write.", metavar="REFERENCE")],
    corpus: CorpusFlags,
    shape: ShapeFlags,
    own: DraftHeadFlags,
    log: LogFlags,
    kind: Annotated[
        str | None,
        typer.Option(
            "--type",
            help=f"Of the weights written; {_USUAL_TYPE} unless given.",
            metavar="T",
            show_default=False,
        ),
    ] = None,
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
    """Make a small reference model that speaks like a target, for drafting; or a head that drafts.

    The target answers prompts, and a student with its vocabulary learns from the answers. With
    --vocabulary it has part of that only, which is smaller and faster. With --head what learns is
    no model of its own, but reads the target's states. The same command again goes on where it was
    stopped. Needs the extra train.

    Example: rewardshift distill big.gguf small.gguf
    """
    log.set_up_log()
    own.require({**shape.of_students(), "--type": kind})
    with importing():
        require_train()
        from rewardshift.train.corpus import CorpusOptions, sample_corpus
        from rewardshift.train.distill import DistillOptions, distill_target, require_vocabulary
        from rewardshift.train.export import WEIGHT_TYPES
        from rewardshift.train.student import Shape

    folder = run or destination.with_name(f"{destination.stem}-run")
    asked = None if corpus.prompts is None else read_prompts(corpus.prompts)
    if own.head:
        distill_head(
            local_path(target),
            destination,
            folder,
            asked,
            sampling=corpus.lengths(),
            training=shape.of_a_head() | _set({"epochs": own.epochs}),
            seed=seed,
        )
        return
    kind = (kind or _USUAL_TYPE).upper()
    if kind not in WEIGHT_TYPES:
        raise ValueError(f"there is no type {kind!r}; choose one of {', '.join(WEIGHT_TYPES)}")
    sampling = replace(CorpusOptions(seed=seed), **corpus.lengths())
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
