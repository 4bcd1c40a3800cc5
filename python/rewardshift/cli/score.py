"""``rewardshift score``."""

from typing import TYPE_CHECKING, Annotated

import typer

from .command import command
from .encode import print_json, score_object
from .forms import FormFlags
from .options import LoadFlags, OutputFlags, ScoreFlags
from .prompting import PromptFlags, read_prompt
from .render import score_table, stdout

if TYPE_CHECKING:
    from rewardshift.options import SamplingOptions


def add_to(app: typer.Typer) -> None:
    """Registers the command."""
    app.command()(score)


@command
def score(
    load: LoadFlags,
    prompting: PromptFlags,
    goal: ScoreFlags,
    form: FormFlags,
    output: OutputFlags,
    prompt: Annotated[str, typer.Argument(help="What comes before; - reads it from stdin.")],
    continuation: Annotated[
        str | None,
        typer.Argument(help="What to score; - reads it from stdin, as does leaving it out there."),
    ] = None,
) -> None:
    """Score a continuation: its log-probabilities under each model and the goal, token by token.

    The last column is log q - log r, the implicit reward; of several shifts, each has one.
    """
    output.set_up_log()
    options: SamplingOptions = {**goal.sampling(), **form.sampling()}
    if prompt == "-" and continuation in (None, "-"):
        raise ValueError("only one of prompt and continuation can come from stdin")
    before, text = read_prompt(prompt), read_prompt(continuation)
    if not text:
        raise ValueError("there is nothing to score: the continuation is empty")
    with load.open() as decoder:
        target_prompt, draft_prompt = prompting.prompts(decoder, before)
        result = decoder.score(
            target_prompt,
            text,
            draft_prompt=draft_prompt,
            parse_special=not (prompting.chat or prompting.any),  # what a message says is text
            **options,
        )
        texts = [decoder.detokenize([token], special=True) for token in result.tokens]
    if output.json:
        print_json(score_object(result, texts))
    else:
        stdout().print(score_table(result, texts))
