"""``rewardshift align``."""

import shlex
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from rewardshift.decoder import Decoder
from rewardshift.hub import local_path
from rewardshift.prompt_files import Preference, read_preferences, read_prompts
from rewardshift.sources.hub import StrPath

from .align_head import HeadFlags, HeadToMake
from .command import command
from .extras import require_train
from .options import LogFlags, option
from .program import importing
from .render import amount, stdout
from .reward_names import REWARDS, require_judge, reward_named

_SAMPLING = "Sampling preferences"
_USUAL_REWARD = "vader"

_option = partial(option, panel=_SAMPLING)
_dial_option = partial(option, panel="A dial")


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
        _option(
            "--num-prompts",
            text="Of them, at most; 1500 unless given, 400 with --from-shift.",
            metavar="N",
            least=1,
        ),
    ] = None
    samples: Annotated[
        int | None,
        _option("--samples", text="Responses to each; 6 unless given.", metavar="N", least=2),
    ] = None
    max_tokens: Annotated[
        int | None,
        _option(
            "-n",
            "--max-tokens",
            text="Of each response; 64 unless given, 48 with --from-shift.",
            metavar="N",
            least=1,
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

    def require_texts_only(self) -> None:
        """Raises ValueError, naming a flag, if responses would be compared."""
        of_texts = ("prompts", "num_prompts", "max_tokens")
        others = [n for n, value in vars(self).items() if value is not None and n not in of_texts]
        if others:
            raise ValueError(f"--from-shift compares no responses: leave out --{others[0]}")

    def preferred(self) -> list[Preference] | None:
        """The user's preferences."""
        return None if self.preferences is None else read_preferences(self.preferences)

    def asked(self) -> list[str] | None:
        """The user's prompts; None are the built-in ones."""
        return None if self.prompts is None else read_prompts(self.prompts)

    def sampling(self) -> dict[str, Any]:
        """What the user gave of ``PairOptions``."""
        given = {
            "prompts": self.num_prompts,
            "samples": self.samples,
            "max_tokens": self.max_tokens,
            "min_margin": self.margin,
        }
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class DialFlags:
    """What else a dial needs than an adapter."""

    dial: Annotated[
        str | None,
        _dial_option(
            "--dial",
            text="Make a dial of that name, in the folder of yours (`rewardshift shifts` says "
            "where), in place of ADAPTER.",
            metavar="NAME",
        ),
    ] = None
    does: Annotated[
        str | None,
        _dial_option(
            "--does",
            text='What a target does more with it, as in "sounds positive".',
            metavar="TEXT",
        ),
    ] = None
    licence: Annotated[
        str | None,
        _dial_option("--licence", text="Of its files; the card says so.", metavar="TEXT"),
    ] = None

    def __post_init__(self) -> None:
        """Refuses what is said of no dial."""
        if self.dial is None and (self.does or self.licence):
            flag = "--does" if self.does else "--licence"
            raise ValueError(f"{flag} is for a dial: --dial NAME")


@dataclass(frozen=True)
class _Places:
    """What is aligned, and where the adapter and the run go."""

    reference: StrPath
    adapter: Path
    run: Path

    @classmethod
    def of(
        cls,
        reference: StrPath | None,
        adapter: Path | None,
        run: Path | None,
        dial: str | None,
        head: HeadFlags,
    ) -> "_Places":
        """What the user's words come to.

        Raises:
            ValueError: If they do not go together.
        """
        if head.target is not None:
            if dial is not None:
                raise ValueError("a dial is an adapter, for any target: leave out --dial or --head")
            if reference is None or adapter is not None:
                raise ValueError("align --head takes one file, the HEAD to write, besides -m")
            path = Path(reference)
            return cls(head.target, path, run or path.with_name(f"{path.stem}-run"))
        if dial is None:
            if reference is None or adapter is None:
                raise ValueError("align takes REFERENCE and ADAPTER, or --dial NAME")
            return cls(reference, adapter, run or adapter.with_name(f"{adapter.stem}-run"))
        if adapter is not None:
            raise ValueError("--dial puts the adapter among your dials: leave out ADAPTER")
        from rewardshift.dials.references import OURS
        from rewardshift.train.dial import ADAPTER, folders_of

        folder, usual_run = folders_of(dial)
        return cls(reference or OURS, folder / ADAPTER, run or usual_run)


def add_to(app: typer.Typer) -> None:
    """Registers the command."""
    app.command()(align)


@command
def align(
    log: LogFlags,
    flags: PairFlags,
    about: DialFlags,
    own: HeadFlags,
    reference: Annotated[
        StrPath | None,
        typer.Argument(
            help="GGUF to align; for a dial, the package's unless given.",
            metavar="REFERENCE",
            show_default=False,
        ),
    ] = None,
    destination: Annotated[
        Path | None,
        typer.Argument(help="Adapter to write.", metavar="ADAPTER", show_default=False),
    ] = None,
    beta: Annotated[
        float, typer.Option(help="DPO's beta: smaller shifts further.", metavar="X")
    ] = 0.1,
    rank: Annotated[
        int | None,
        typer.Option(
            help="Of the LoRA, 16 unless given; of a head, 32.",
            metavar="N",
            min=1,
            show_default=False,
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            help="At most: 3 unless given; of a head, 8.", metavar="N", min=1, show_default=False
        ),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the run; ADAPTER-run, or runs/NAME among your dials, unless given.",
            metavar="DIR",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option("-s", "--seed", help="Of everything.", metavar="N")] = 1,
) -> None:
    """Align a model by DPO: an adapter of a small one, a dial, or a head of a target of yours.

    Several responses to each prompt are sampled and scored; the best and the worst make a pair. A
    head may learn from a dial in place of pairs. The same command again goes on where it was
    stopped. Needs the extra train.

    Example: rewardshift align small.gguf small-aligned.gguf --preferences liked.jsonl
    """
    log.set_up_log()
    with importing():
        require_train()
        from rewardshift.train.align import AlignOptions
        from rewardshift.train.align import align as train
        from rewardshift.train.corpus import everyday_prompts
        from rewardshift.train.dial import Facts, write_user_dial
        from rewardshift.train.pairs import PairOptions, as_tokens, sample_pairs

    places = _Places.of(reference, destination, run, about.dial, own)
    reward = flags.reward or _USUAL_REWARD
    require_judge(flags.question, reward)
    shift = own.shift()
    if shift is not None:
        flags.require_texts_only()
    preferred, asked = flags.preferred(), flags.asked()
    path = local_path(places.reference)
    places.adapter.parent.mkdir(parents=True, exist_ok=True)
    lengths = {n: v for n, v in {"rank": rank, "epochs": epochs}.items() if v is not None}
    head = HeadToMake(path, places.adapter, places.run, beta=beta, seed=seed, lengths=lengths)
    if shift is not None:
        head.learn_shift(*shift, asked, **flags.sampling())
        return
    sampling = PairOptions(seed=seed, **flags.sampling())
    if preferred is not None:
        with Decoder(path, n_ctx=256) as decoder:
            pairs = as_tokens(preferred, decoder)
    else:
        scored_by = reward_named(reward, flags.question, flag="--reward")
        asked = asked or everyday_prompts(sampling.prompts, seed)
        pairs = sample_pairs(path, asked, scored_by, places.run / "pairs.jsonl", sampling)
    preferred_by = reward if flags.preferences is None else flags.preferences.name
    if own.head:
        head.learn_preferences(pairs, preferred_by)
        return
    options = replace(AlignOptions(), beta=beta, seed=seed, **lengths)
    accuracy = train(path, pairs, places.run, places.adapter, options)
    size = amount(places.adapter.stat().st_size, "B")
    stdout().print(f"{places.adapter}: {size}, from {len(pairs)} pairs")
    stdout().print(f"held-out preference accuracy: {accuracy:.3f}")
    stdout().print(f"curves and figures: {places.run}")
    if about.dial is None:
        return
    told = {"beta": beta, "rank": options.rank, "epochs": options.epochs, "seed": seed}
    facts = Facts(
        command=_command_of(flags, about, places, **told),
        preferred_by=preferred_by,
        asked="the package's everyday ones" if flags.prompts is None else flags.prompts.name,
        sampling=sampling if flags.preferences is None else None,
        pairs=pairs,
        training=options,
        accuracy=accuracy,
    )
    dial, card = write_user_dial(
        places.adapter.parent,
        path,
        does=about.does or f"is preferred by {facts.preferred_by}",
        licence=about.licence or "not stated",
        facts=facts,
    )
    stdout().print(f"the dial {dial.name}: --shift {dial.name}; its card: {card}", soft_wrap=True)


def _command_of(flags: PairFlags, about: DialFlags, places: _Places, **options: float | int) -> str:
    """What made a dial."""
    given = {
        "--dial": about.dial,
        "--does": about.does,
        "--licence": about.licence,
        "--preferences": flags.preferences,
        "--reward": flags.reward or (None if flags.preferences else _USUAL_REWARD),
        "--question": flags.question,
        "--prompts": flags.prompts,
        "--num-prompts": flags.num_prompts,
        "--samples": flags.samples,
        "-n": flags.max_tokens,
        "--margin": flags.margin,
        **{f"--{name}": f"{value:g}" for name, value in options.items()},
    }
    words = [part for pair in given.items() if pair[1] is not None for part in pair]
    return shlex.join(["rewardshift", "align", Path(str(places.reference)).name, *map(str, words)])
