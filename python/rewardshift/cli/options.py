"""The options that commands share, each declared once.

Defaults and help come from the core's structs; what the user leaves out stays None and is not
passed on, so no default is written a second time.
"""

import inspect
import re
from dataclasses import dataclass, replace
from typing import Annotated, Any, get_args

import numpy as np
import typer

from rewardshift import _core
from rewardshift._core import NgramTable
from rewardshift.decoder import Decoder
from rewardshift.embedded import default_roles
from rewardshift.loading.log import show_log
from rewardshift.options import (
    LoadOptions,
    RuleName,
    SamplingOptions,
    VerificationName,
    split_load_options,
)
from rewardshift.shifts import Shift
from rewardshift.sources.hub import StrPath

from .naming import Called
from .shifting import shifts_of, strength_of

_SAMPLING, _LOADING, _OUTPUT = "Sampling", "Models", "Output"


def _core_option(
    struct: type, name: str, *flags: str, panel: str, metavar: str | None = None
) -> Any:  # noqa: ANN401 - typer's own type
    """An option whose help and default are those of a field of the core."""
    text = " ".join((inspect.getdoc(getattr(struct, name)) or "").split())
    default = getattr(struct(), name)
    if default is not None and name != "seed":
        text = f"{text} (default {default})"
    text = re.sub(r" \(\w+_\w+\)", "", text)  # other options of Python's, which are no flags
    return typer.Option(
        *flags,
        help=text.replace("None", "unset"),
        metavar=metavar,
        rich_help_panel=panel,
        show_default=False,
    )


def _request_option(name: str, *flags: str, metavar: str | None = None) -> Any:  # noqa: ANN401
    return _core_option(_core.RequestParams, name, *flags, panel=_SAMPLING, metavar=metavar)


def option(
    *flags: str,
    panel: str,
    text: str,
    metavar: str | None = None,
    least: int | None = None,
    most: int | None = None,
    show_default: bool = False,
) -> Any:  # noqa: ANN401 - typer's own type
    """A flag of a command, in a panel of its help."""
    return typer.Option(
        *flags,
        help=text,
        rich_help_panel=panel,
        show_default=show_default,
        metavar=metavar,
        min=least,
        max=most,
    )


def _file(*flags: str, text: str) -> Any:  # noqa: ANN401
    return option(*flags, panel=_LOADING, text=text, metavar="GGUF")


def _given(**options: object) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class LoadFlags:
    """Which models, and how to load them."""

    target: Annotated[
        StrPath | None,
        _file("-m", "--target", text="p, the model to sample from; the embedded default if none."),
    ] = None
    draft: Annotated[
        StrPath | None,
        _file("-md", "--draft", text="q, a small aligned model."),
    ] = None
    reference: Annotated[
        StrPath | None, _file("--reference", text="r, the draft before its alignment.")
    ] = None
    draft_lora: Annotated[
        StrPath | None,
        _file("--draft-lora", text="An adapter that makes the reference into the draft."),
    ] = None
    draft_lora_scale: Annotated[
        float | None, option("--draft-lora-scale", panel=_LOADING, text="Factor on the adapter.")
    ] = None
    shift: Annotated[
        list[str] | None,
        option(
            "--shift",
            panel=_LOADING,
            text="In place of draft and reference: a shift that ships with the package (see "
            "`rewardshift shifts`), or a pair of yours. May be repeated: shifts multiply.",
            metavar="NAME|NAME=DRAFT:REFERENCE",
        ),
    ] = None
    base: Annotated[
        StrPath | None,
        _file(
            "--base",
            text="A small model like the target, or a head of it: drafts, and shifts nothing.",
        ),
    ] = None
    n_ctx: Annotated[
        int | None, _core_option(_core.ContextOptions, "n_ctx", "-c", "--n-ctx", panel=_LOADING)
    ] = None
    n_gpu_layers: Annotated[
        int | None,
        _core_option(_core.ModelOptions, "n_gpu_layers", "-ngl", "--n-gpu-layers", panel=_LOADING),
    ] = None
    n_threads: Annotated[
        int | None,
        _core_option(_core.ContextOptions, "n_threads", "-t", "--threads", panel=_LOADING),
    ] = None
    refined_tokens: Annotated[
        int | None,
        _core_option(_core.DecoderOptions, "refined_tokens", "--refined-tokens", panel=_LOADING),
    ] = None

    def __post_init__(self) -> None:
        """Refuses roles without a target, and a pair beside shifts."""
        pair = (self.draft, self.reference, self.draft_lora)
        if self.target is None and (*pair, self.shift, self.base) != (None,) * 5:
            raise ValueError(
                "--draft, --reference, --draft-lora, --shift and --base need a --target"
            )
        if self.shift and pair != (None, None, None):
            raise ValueError(
                "--shift takes the place of --draft, --reference and --draft-lora: choose one; "
                "what only drafts is a --base"
            )
        self.shifts()  # says now what is wrong with them

    def completed(self) -> "LoadFlags":
        """With the embedded models, if none is given: once all else is right, for that may take."""
        return self if self.target is not None else replace(self, **default_roles())

    @property
    def is_shifted(self) -> bool:
        """Whether there is a pair to shift by."""
        return bool(self.shift) or self.draft_lora is not None or self.reference is not None

    @property
    def can_draft(self) -> bool:
        """Whether there is a model beside the target."""
        return self.is_shifted or self.draft is not None or self.base is not None

    def shifts(self) -> dict[str, Shift]:
        """The shifts that the user named."""
        return shifts_of(self.shift or ())

    def arguments(self) -> dict[str, Any]:
        """The arguments of ``Decoder`` that the user gave."""
        return _given(**(vars(self) | {"shift": None, "shifts": self.shifts() or None}))

    def open(self, *, branches: int | None = None) -> Decoder:
        """Loads the models, with a progress bar on a terminal.

        Args:
            branches: Of the widest tree of drafts; each takes the place of a request.
        """
        wide = branches is not None and branches > _core.ContextOptions().n_seq_max
        room: dict[str, Any] = {"n_seq_max": branches} if wide else {}
        return Decoder(**self.completed().arguments(), **room)


@dataclass(frozen=True, kw_only=True)
class ServingLoadFlags(LoadFlags):
    """The same, for many requests at once, from a program that also does other things."""

    n_seq_max: Annotated[
        int | None,
        _core_option(_core.ContextOptions, "n_seq_max", "-np", "--parallel", panel=_LOADING),
    ] = None
    cache_ram: Annotated[
        int | None,
        _core_option(_core.ContextOptions, "cache_ram", "-cram", "--cache-ram", panel=_LOADING),
    ] = None

    def arguments(self) -> dict[str, Any]:
        """Likewise; threads that are done leave the processor to what serves."""
        return {"poll": 0, **super().arguments()}

    def require(self, defaults: SamplingOptions) -> None:
        """Loads nothing, and says what could not be served.

        Args:
            defaults: What requests that do not say are decoded with.

        Raises:
            TypeError: For values of a wrong type.
            ValueError: For values out of range, and strengths of shifts that there are not.
        """
        given = self.arguments()
        split_load_options({k: given[k] for k in given if k in LoadOptions.__annotations__})
        with self._stand_in() as decoder:
            decoder.submit([0], **defaults)

    def _stand_in(self) -> Decoder:
        """A decoder of the same roles over tables, which takes the options that this one takes."""

        def table() -> _core.TableModel:
            return _core.TableModel(np.zeros((1, 2), np.float32))

        if self.shift:
            pairs = {name: (table(), table()) for name in self.shifts()}
            return Decoder.from_models(table(), shifts=pairs)
        if self.is_shifted or self.target is None:
            return Decoder.from_models(table(), table(), table())
        return Decoder.from_models(table())


@dataclass(frozen=True, kw_only=True)
class GoalFlags:
    """What shapes the goal distribution."""

    temperature: Annotated[float | None, _request_option("temperature", "--temp")] = None
    top_k: Annotated[int | None, _request_option("top_k", "--top-k")] = None
    top_p: Annotated[float | None, _request_option("top_p", "--top-p")] = None
    min_p: Annotated[float | None, _request_option("min_p", "--min-p")] = None
    strength: Annotated[
        list[str] | None,
        option(
            "--strength",
            panel=_SAMPLING,
            text="The exponent s of the shift, of any sign; where there are several, of each, and "
            "0 of those that are not named. Unset: each shift's default.",
            metavar="NUMBER|NAME=NUMBER",
        ),
    ] = None
    rule: Annotated[
        str | None, _request_option("rule", "--rule", metavar="|".join(get_args(RuleName)))
    ] = None

    def sampling(self) -> SamplingOptions:
        """What the user gave."""
        given = vars(self) | {"strength": strength_of(self.strength or ())}
        return _given(**given)  # type: ignore[return-value]  # the fields' names are these


@dataclass(frozen=True, kw_only=True)
class ScoreFlags(GoalFlags):
    """The same, where another temperature is usual."""

    temperature: Annotated[
        float | None,
        option("--temp", panel=_SAMPLING, text="Of the goal distribution; 1 unless given."),
    ] = None


@dataclass(frozen=True, kw_only=True)
class LengthFlags(GoalFlags):
    """The same, and how long responses may be."""

    max_tokens: Annotated[int | None, _request_option("max_tokens", "-n", "--max-tokens")] = None


@dataclass(frozen=True, kw_only=True)
class SamplingFlags(LengthFlags):
    """What a request asks for."""

    num_draft_tokens: Annotated[
        int | None, _request_option("num_draft_tokens", "-K", "--num-draft-tokens")
    ] = None
    tree_width: Annotated[int | None, _request_option("tree_width", "--tree-width")] = None
    verification: Annotated[
        str | None,
        _request_option(
            "verification", "--verification", metavar="|".join(get_args(VerificationName))
        ),
    ] = None
    prompt_lookup: Annotated[
        bool,
        option(
            "--prompt-lookup",
            panel=_SAMPLING,
            text="Draft what followed the last words where they stood before, in prompt or "
            "response; so it is anyway where the decoder chooses what is drafted.",
        ),
    ] = False
    no_prompt_lookup: Annotated[
        bool, option("--no-prompt-lookup", panel=_SAMPLING, text="Never do so.")
    ] = False
    seed: Annotated[int | None, _request_option("seed", "-s", "--seed")] = None
    repeat_penalty: Annotated[
        float | None, _request_option("repeat_penalty", "--repeat-penalty")
    ] = None
    frequency_penalty: Annotated[
        float | None, _request_option("frequency_penalty", "--frequency-penalty")
    ] = None
    presence_penalty: Annotated[
        float | None, _request_option("presence_penalty", "--presence-penalty")
    ] = None
    top_logprobs: Annotated[int | None, _request_option("top_logprobs", "--top-logprobs")] = None
    paper_distance: Annotated[
        bool,
        option(
            "--paper-distance",
            panel=_SAMPLING,
            text="Also report how far the paper's rule would be from pi*.",
        ),
    ] = False
    stop: Annotated[
        list[str] | None,
        option("--stop", panel=_SAMPLING, text="End before this string; may be repeated."),
    ] = None

    def __post_init__(self) -> None:
        """Refuses a tree without drafts, and contradictions."""
        if self.prompt_lookup and self.no_prompt_lookup:
            raise ValueError(
                "--prompt-lookup and --no-prompt-lookup contradict each other: choose one"
            )
        if self.num_draft_tokens == 0 and self.prompt_lookup:
            raise ValueError("-K 0 drafts nothing: --prompt-lookup needs drafts")
        if self.num_draft_tokens == 0 and (self.tree_width or 1) > 1:
            raise ValueError(
                "-K 0 drafts nothing: there is no tree then, --tree-width needs drafts"
            )

    def sampling(self) -> SamplingOptions:
        """What the user gave."""
        found = super().sampling()
        del found["prompt_lookup"], found["no_prompt_lookup"]  # type: ignore[typeddict-item]
        if self.prompt_lookup or self.no_prompt_lookup:
            found["prompt_lookup"] = self.prompt_lookup
        return found


@dataclass(frozen=True, kw_only=True)
class GenerateFlags(SamplingFlags):
    """The same of a response that stands alone."""

    ngrams: Annotated[
        bool,
        option(
            "--ngrams",
            panel=_SAMPLING,
            text="Draft what followed the same words before, instead of asking the draft.",
        ),
        Called("a table as drafter", "drafter"),
    ] = False

    def __post_init__(self) -> None:
        """Refuses a table that drafts nothing."""
        super().__post_init__()
        if self.num_draft_tokens == 0 and self.ngrams:
            raise ValueError("-K 0 drafts nothing: --ngrams needs drafts")

    def sampling(self) -> SamplingOptions:
        """What the user gave."""
        found = super().sampling()
        del found["ngrams"]  # type: ignore[typeddict-item]
        if self.ngrams:
            found["drafter"] = NgramTable()
        return found


@dataclass(frozen=True, kw_only=True)
class LogFlags:
    """What is said besides the result."""

    verbose: Annotated[
        bool, option("--verbose", panel=_OUTPUT, text="Show llama.cpp's log on stderr.")
    ] = False

    def set_up_log(self) -> None:
        """Shows the log on stderr, if that is asked for."""
        if self.verbose:
            show_log()


@dataclass(frozen=True, kw_only=True)
class OutputFlags(LogFlags):
    """What is printed."""

    json: Annotated[
        bool, option("--json", panel=_OUTPUT, text="Print one JSON object and nothing else.")
    ] = False


@dataclass(frozen=True, kw_only=True)
class ResponseFlags(OutputFlags):
    """What is printed of a response."""

    show: Annotated[
        bool,
        option("--show", panel=_OUTPUT, text="Colour tokens by origin, with statistics below."),
    ] = False

    def __post_init__(self) -> None:
        """Refuses what cannot be both."""
        if self.json and self.show:
            raise ValueError("--show is for people, --json prints nothing else: choose one")

    def require_shown(self, options: SamplingOptions) -> None:
        """Raises ValueError if something is asked for that would not be printed."""
        if options.get("top_logprobs") and not self.json:
            raise ValueError("--top-logprobs are printed with --json only: add it")
        if options.get("paper_distance") and not (self.json or self.show):
            raise ValueError("--paper-distance is printed with --show and --json only: add one")
