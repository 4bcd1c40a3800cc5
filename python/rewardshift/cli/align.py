"""``rewardshift align``."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from rewardshift.decoder import Decoder
from rewardshift.hub import local_path
from rewardshift.prompt_files import read_preferences, read_prompts

from .command import command
from .extras import require_train
from .options import LogFlags
from .render import amount, stdout
from .reward_names import REWARDS, require_judge, reward_named


def add_to(app: typer.Typer) -> None:
    """Registers the command."""
    app.command()(align)


@command
def align(
    reference: Annotated[Path, typer.Argument(help="GGUF to align.", metavar="REFERENCE")],
    destination: Annotated[Path, typer.Argument(help="Adapter to write.", metavar="ADAPTER")],
    log: LogFlags,
    preferences: Annotated[
        Path | None,
        typer.Option(
            help="JSON lines with prompt, chosen and rejected; sampled and scored unless given.",
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    reward: Annotated[
        str,
        typer.Option(
            help=f"{REWARDS}, which takes (prompt, response) pairs.",
            metavar="R",
        ),
    ] = "vader",
    question: Annotated[
        str | None,
        typer.Option(
            help="For the judge, with {prompt} and {response} in it.",
            metavar="TEXT",
            show_default=False,
        ),
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(
            help="What to ask, a line each; built-in prompts unless given.",
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    count: Annotated[int, typer.Option("--count", help="Prompts asked.", metavar="N")] = 1500,
    samples: Annotated[int, typer.Option(help="Responses to each.", metavar="N")] = 6,
    max_tokens: Annotated[
        int, typer.Option("-n", "--max-tokens", help="Of each response.", metavar="N")
    ] = 64,
    margin: Annotated[
        float, typer.Option(help="Least difference of rewards in a pair.", metavar="X")
    ] = 0.3,
    beta: Annotated[
        float, typer.Option(help="DPO's beta: smaller shifts further.", metavar="X")
    ] = 0.1,
    rank: Annotated[int, typer.Option(help="Of the LoRA.", metavar="N")] = 16,
    epochs: Annotated[int, typer.Option(help="At most.", metavar="N")] = 3,
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
    require_train()
    from rewardshift.train.align import AlignOptions
    from rewardshift.train.align import align as train
    from rewardshift.train.corpus import everyday_prompts
    from rewardshift.train.pairs import PairOptions, as_tokens, sample_pairs

    require_judge(question, reward)
    scored_by = reward_named(reward, question, flag="--reward")
    folder = run or destination.with_name(f"{destination.stem}-run")
    path = local_path(reference)
    if preferences is not None:
        with Decoder(path, n_ctx=256) as decoder:
            pairs = as_tokens(read_preferences(preferences), decoder)
    else:
        asked = everyday_prompts(count, seed) if prompts is None else read_prompts(prompts)
        sampling = PairOptions(
            prompts=count, samples=samples, max_tokens=max_tokens, min_margin=margin, seed=seed
        )
        pairs = sample_pairs(path, asked, scored_by, folder / "pairs.jsonl", sampling)
    options = replace(AlignOptions(), beta=beta, rank=rank, epochs=epochs, seed=seed)
    accuracy = train(path, pairs, folder, destination, options)
    size = amount(destination.stat().st_size, "B")
    stdout().print(f"{destination}: {size}, from {len(pairs)} pairs")
    stdout().print(f"held-out preference accuracy: {accuracy:.3f}")
    stdout().print(f"curves and figures: {folder}")
