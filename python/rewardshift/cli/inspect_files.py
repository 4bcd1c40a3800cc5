"""``rewardshift inspect``."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from rewardshift import _core
from rewardshift.errors import ModelLoadError, VocabularyMismatchError
from rewardshift.loading.models import load_model
from rewardshift.sources.hub import StrPath

from .command import command
from .encode import print_json
from .file_types import file_type
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
    """Show what GGUF files are, and whether they can be decoded with together.

    Exits with 1 if several are given and they do not fit together.
    """
    output.set_up_log()
    models = [_Inspected.of(Path(path)) for path in files]
    misfits = _misfits(models)
    if output.json:
        print_json({"files": [model.as_object() for model in models], **_fit_object(misfits)})
    else:
        _show(models, misfits)
    if len(models) > 1 and misfits:
        raise typer.Exit(FAILED)


@dataclass(frozen=True)
class _Inspected:
    """A file and what it says of itself."""

    path: Path
    model: _core.Model
    unusable: str | None

    @classmethod
    def of(cls, path: Path) -> "_Inspected":
        on_cpu = _core.ModelOptions()  # mapped, not read, and no GPU's business
        on_cpu.n_gpu_layers = 0
        model = load_model(path, on_cpu)
        try:
            model.require_decodable()
        except ModelLoadError as error:
            return cls(path, model, str(error))
        return cls(path, model, None)

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

    def _end_texts(self) -> list[str]:
        tokens = self.model.facts.end_of_generation
        return [self.model.detokenize([t], special=True).decode(errors="replace") for t in tokens]


_GOES_BACK = "a state of {} a history, which goes back to checkpoints: a rejected draft costs more"
_MEMORY = {"recurrent": _GOES_BACK, "hybrid": f"attention, and {_GOES_BACK}"}
"""By what a model remembers."""


def _misfits(models: list[_Inspected]) -> list[str]:
    """Why the files cannot be decoded with together; the first is compared with each other one."""
    problems = [f"{m.path}: {m.unusable}" for m in models if m.unusable is not None]
    differences = [_difference(models[0], other) for other in models[1:]]
    return problems + [difference for difference in differences if difference is not None]


def _difference(a: _Inspected, b: _Inspected) -> str | None:
    """How two vocabularies differ."""
    try:
        _core.require_same_vocabulary(a.model, str(a.path), b.model, str(b.path))
    except VocabularyMismatchError as error:
        return str(error)
    return None


def _fit_object(misfits: list[str]) -> dict[str, object]:
    return {"fit": not misfits, "problems": misfits}


def _show(models: list[_Inspected], misfits: list[str]) -> None:
    console = stdout()
    for model in models:
        console.print(str(model.path), style="bold", soft_wrap=True)
        console.print(facts_table(model.rows()))
        console.print()
    if len(models) > 1 and not misfits:
        console.print("These files fit together: one vocabulary.", style="green")
    elif len(models) > 1:
        console.print("These files do not fit together:", style="bold red")
        for problem in misfits:
            console.print(f"  {problem}", soft_wrap=True)
