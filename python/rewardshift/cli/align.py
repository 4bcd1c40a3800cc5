"""``rewardshift align``."""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from rewardshift.decoder import Decoder
from rewardshift.hub import local_path
from rewardshift.prompt_files import read_preferences, read_prompts
from rewardshift.sources.hub import StrPath

from .command import command
from .extras import require_train
from .options import LogFlags, option
from .program import importing
from .render import amount, stdout
from .reward_names import REWARDS, require_judge, reward_named

_SAMPLING = "Sampling preferences"
_USUAL_REWARD = "vader"

_option = partial(option, panel=_SAMPLING)


@dataclass(frozen=True, kw_only=True)
class PairFlags:
    """Where what is preferred comes from: a file, or responses that a reward compares."""

    preferences: Annotated[
        Path | None,
        _option(
            "--preferences",
            text="JSON lines with prompt, chosen and rejected, in place of all of these.",
            metavar="FILE",
        ),
    ] = None
    reward: Annotated[
        str | None,
        _option(
            "--reward",
            text=f"{REWARDS}, which takes (prompt, response) pairs; {_USUAL_REWARD} unless given.",
            metavar="R",
        ),
    ] = None
    question: Annotated[
        str | None,
        _option(
            "--question",
            text="For the judge, with {prompt} and {response} in it.",
            metavar="TEXT",
        ),
    ] = None
    prompts: Annotated[
        Path | None,
        _option(
            "--prompts",
            text="A prompt a line, or JSON lines with one each; built-in ones unless given.",
            metavar="FILE",
        ),
    ] = None
    num_prompts: Annotated[
        int | None,
        _option("--num-prompts", text="Of them, at most; 1500 unless given.", metavar="N", least=1),
    ] = None
    samples: Annotated[
        int | None,
        _option("--samples", text="Responses to each; 6 unless given.", metavar="N", least=2),
    ] = None
    max_tokens: Annotated[
        int | None,
        _option(
            "-n", "--max-tokens", text="Of each response; 64 unless given.", metavar="N", least=1
        ),
    ] = None
    margin: Annotated[
        float | None,
        _option(
            "--margin",
            text="Least difference of rewards in a pair; 0.3 unless given.",
            metavar="X",
        ),
    ] = None

    def __post_init__(self) -> None:
        """Refuses to sample what is given."""
        others = [name for name, value in vars(self).items() if value is not None]
        if self.preferences is not None and len(others) > 1:
            flag = next(name for name in others if name != "preferences").replace("_", "-")
            raise ValueError(f"--preferences are given, nothing is sampled: leave out --{flag}")

    def sampling(self) -> dict[str, Any]:
        """What the user gave of ``PairOptions``."""
        given = {
            "prompts": self.num_prompts,
            "samples": self.samples,
            "max_tokens": self.max_tokens,
            "min_margin": self.margin,
        }
        return {name: value for name, value in given.items() if value is not None}


def add_to(app: typer.Typer) -> None:
    """Registers the command."""
    app.command()(align)


@command
def align(
    reference: Annotated[StrPath, typer.Argument(help="GGUF to align.", metavar="REFERENCE")],
    destination: Annotated[Path, typer.Argument(help="Adapter to write.", metavar="ADAPTER")],
    log: LogFlags,
    flags: PairFlags,
    beta: Annotated[
        float, typer.Option(help="DPO's beta: smaller shifts further.", metavar="X")
    ] = 0.1,
    rank: Annotated[int, typer.Option(help="Of the LoRA.", metavar="N", min=1)] = 16,
    epochs: Annotated[int, typer.Option(help="At most.", metavar="N", min=1)] = 3,
    run: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the run; ADAPTER-run unless given.", metavar="DIR", show_default=False
        ),
    ] = None,
    seed: Annotated[int, typer.Option("-s", "--seed", help="Of everything.", metavar="N")] = 1,
) -> None:
    """Align a small model by DPO: an adapter that prefers what a reward prefers.

    Several responses to each prompt are sampled and scored; the best and the worst make a pair. The
    same command again goes on where it was stopped. Needs the extra train.

    Example: rewardshift align small.gguf small-aligned.gguf --preferences liked.jsonl
    """
    log.set_up_log()
    with importing():
        require_train()
        from rewardshift.train.align import AlignOptions
        from rewardshift.train.align import align as train
        from rewardshift.train.corpus import everyday_prompts
        from rewardshift.train.pairs import PairOptions, as_tokens, sample_pairs

    reward = flags.reward or _USUAL_REWARD
    require_judge(flags.question, reward)
    preferred = None if flags.preferences is None else read_preferences(flags.preferences)
    asked = None if flags.prompts is None else read_prompts(flags.prompts)
    folder = run or destination.with_name(f"{destination.stem}-run")
    path = local_path(reference)
    if preferred is not None:
        with Decoder(path, n_ctx=256) as decoder:
            pairs = as_tokens(preferred, decoder)
    else:
        scored_by = reward_named(reward, flags.question, flag="--reward")
        sampling = PairOptions(seed=seed, **flags.sampling())
        if asked is None:
            asked = everyday_prompts(sampling.prompts, seed)
        pairs = sample_pairs(path, asked, scored_by, folder / "pairs.jsonl", sampling)
    options = replace(AlignOptions(), beta=beta, rank=rank, epochs=epochs, seed=seed)
    accuracy = train(path, pairs, folder, destination, options)
    size = amount(destination.stat().st_size, "B")
    stdout().print(f"{destination}: {size}, from {len(pairs)} pairs")
    stdout().print(f"held-out preference accuracy: {accuracy:.3f}")
    stdout().print(f"curves and figures: {folder}")
