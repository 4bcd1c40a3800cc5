"""``rewardshift inspect``."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from rewardshift import _core
from rewardshift.errors import ModelLoadError, VocabularyMismatchError
from rewardshift.loading.models import load_model
from rewardshift.loading.vocabularies import LEAST_SHARE, different, map_between, usual_share
from rewardshift.sources.hub import StrPath

from .command import command
from .encode import print_json
from .file_types import file_type
from .inspect_heads import InspectedHead
from .options import OutputFlags
from .program import FAILED
from .render import amount, facts_table, stdout

_TEXTS = 60  # characters of a description


def add_to(app: typer.Typer) -> None:
    """Registers the command."""
    app.command(name="inspect")(inspect)


@command
def inspect(
    files: Annotated[list[StrPath], typer.Argument(help="GGUF files.", metavar="GGUF...")],
    output: OutputFlags,
) -> None:
    """Show what GGUF files are, and how they can be decoded with together.

    The first is taken for the target. What has another vocabulary can shift it, or draft for it, as
    well: the more so, the more of the tokens that the target usually says are in it.

    Exits with 1 if several are given and one cannot be decoded with.
    """
    output.set_up_log()
    paths = [Path(file) for file in files]
    heads = [InspectedHead.of(path) for path in paths if InspectedHead.is_one(path)]
    models = [_Inspected.of(p) for p in paths if p not in {head.path for head in heads}]
    misfits = [f"{model.path}: {model.unusable}" for model in models if model.unusable is not None]
    misfits += filter(None, (head.misfit(models[0].model) for head in heads if models))
    everything: list[_Inspected | InspectedHead] = [*models, *heads]
    others = [
        _Other.of(models[0], other)
        for other in models[1:]
        if models[0].unusable is None
        and other.unusable is None
        and different(models[0].model, other.model)
    ]
    if output.json:
        print_json(
            {
                "files": [file.as_object() for file in everything],
                "fit": not misfits,
                "problems": misfits,
                "other_vocabularies": [asdict(other) for other in others],
            }
        )
    else:
        _show(everything, misfits, others)
    if len(files) > 1 and misfits:
        raise typer.Exit(FAILED)


@dataclass(frozen=True)
class _Inspected:
    """A file and what it says of itself."""

    path: Path
    model: _core.Model
    unusable: str | None
    is_reward: bool

    @classmethod
    def of(cls, path: Path) -> "_Inspected":
        on_cpu = _core.ModelOptions()  # mapped, not read, and no GPU's business
        on_cpu.n_gpu_layers = 0
        model = load_model(path, on_cpu)
        refusal = _refusal(model.require_classifying)
        return cls(path, model, _refusal(model.require_decodable), is_reward=refusal is None)

    def as_object(self) -> dict[str, object]:
        facts = self.model.facts
        return {
            "path": str(self.path),
            **{name: getattr(facts, name) for name in dir(type(facts)) if name[0] != "_"},
            "file_type": file_type(facts.description),
            "end_of_generation_texts": self._end_texts(),
            "name": self.model.metadata.get("general.name"),
            "license": self.model.metadata.get("general.license"),
            "has_chat_template": self.model.chat_template is not None,
            "usable": self.unusable is None,
            "problem": self.unusable,
            "usable_as_reward": self.is_reward,
            "reward_labels": list(self.model.class_labels) if self.is_reward else [],
        }

    def rows(self) -> Iterator[tuple[str, str]]:
        """What a person wants to know."""
        facts, metadata = self.model.facts, self.model.metadata
        if name := metadata.get("general.name"):
            yield "name", name
        yield (
            "architecture",
            f"{facts.architecture}, {facts.layers} layers of {facts.embedding_size}",
        )
        yield "quantisation", file_type(facts.description)
        yield "parameters", amount(facts.parameters)
        yield "size", amount(facts.bytes, "B")
        yield "vocabulary", f"{facts.vocab_size} tokens, {facts.vocabulary_type}"
        yield "context", f"{facts.context_size_trained} tokens"
        if facts.state_bytes:
            yield "memory", _MEMORY[facts.memory].format(amount(facts.state_bytes, "B"))
        if facts.sliding_window:
            yield "window", f"{facts.sliding_window} tokens"
        yield "chat template", "yes" if self.model.chat_template is not None else "no"
        ends = zip(facts.end_of_generation, self._end_texts(), strict=True)
        yield "ends with", ", ".join(f"{text} ({token})" for token, text in ends) or "nothing"
        if licence := metadata.get("general.license"):
            yield "licence", licence
        yield "usable", "yes" if self.unusable is None else f"no: {self.unusable}"
        if lacking := _core.cuda_lacks(str(self.path)):
            yield "on CUDA", f"no, its kernels lack what this needs: {lacking}"
        if self.is_reward:
            labels = ", ".join(self.model.class_labels) or "without names"
            yield "as a reward", f"yes: {self.model.class_outputs} outputs, {labels}"

    def _end_texts(self) -> list[str]:
        tokens = self.model.facts.end_of_generation
        return [self.model.detokenize([t], special=True).decode(errors="replace") for t in tokens]


def _refusal(require: Callable[[], None]) -> str | None:
    try:
        require()
    except ModelLoadError as error:
        return str(error)
    return None


_GOES_BACK = "a state of {} a history, which goes back to checkpoints: a rejected draft costs more"
_MEMORY = {"recurrent": _GOES_BACK, "hybrid": f"attention, and {_GOES_BACK}"}
"""By what a model remembers."""


@dataclass(frozen=True)
class _Other:
    """A file whose vocabulary is not the first one's.

    Attributes:
        path: The file.
        difference: The first token that differs.
        usual_share: Of the first one's tokens in a usual text, those that it has as well.
        share: Of all of the first one's text tokens.
    """

    path: str
    difference: str
    usual_share: float
    share: float

    @classmethod
    def of(cls, first: _Inspected, other: _Inspected) -> "_Other":
        known = map_between(first.model, other.model)
        try:
            _core.require_same_vocabulary(
                first.model, str(first.path), other.model, str(other.path)
            )
        except VocabularyMismatchError as error:
            difference = str(error)
        usual = usual_share(first.model, known)
        return cls(str(other.path), difference, usual, known.share)

    def __str__(self) -> str:
        """What a person wants to know."""
        worth = "" if self.usual_share >= LEAST_SHARE else ", which is little to go by"
        return (
            f"{self.path} has another vocabulary: {self.usual_share:.0%} of the tokens that the "
            f"first usually says, {self.share:.0%} of all{worth}. {self.difference}"
        )


def _show(
    files: list[_Inspected | InspectedHead], misfits: list[str], others: list[_Other]
) -> None:
    console = stdout()
    for file in files:
        console.print(str(file.path), style="bold", soft_wrap=True)
        console.print(facts_table(file.rows()))
        console.print()
    if len(files) < 2:
        return
    if misfits:
        console.print("These files do not fit together:", style="bold red")
    elif others:
        console.print("These files fit together, in several vocabularies:", style="green")
    else:
        console.print("These files fit together: one vocabulary.", style="green")
    for line in (*misfits, *map(str, others)):
        console.print(f"  {line}", soft_wrap=True)
