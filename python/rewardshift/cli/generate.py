"""``rewardshift generate``."""

from typing import TYPE_CHECKING

import typer

from .command import command
from .encode import completion_object, print_json
from .forms import FormFlags
from .options import GenerateFlags, LoadFlags, ResponseFlags
from .program import INTERRUPTED
from .prompting import Prompt, PromptFlags, read_prompt
from .respond import respond

if TYPE_CHECKING:
    from rewardshift.options import SamplingOptions


def add_to(app: typer.Typer) -> None:
    """Registers the command."""
    app.command()(generate)


@command
def generate(
    load: LoadFlags,
    prompting: PromptFlags,
    sampling: GenerateFlags,
    form: FormFlags,
    output: ResponseFlags,
    prompt: Prompt = None,
) -> None:
    """Generate text from a prompt; with -md and --reference, or --shift, aligned as those are.

    Example: rewardshift generate -m big.gguf -md small-dpo.gguf --reference small.gguf "Once"
    """
    output.set_up_log()
    options: SamplingOptions = {**sampling.sampling(), **form.sampling()}
    output.require_shown(options)
    text = read_prompt(prompt)
    with load.open(branches=sampling.tree_width) as decoder:
        target_prompt, draft_prompt = prompting.prompts(decoder, text)
        request = decoder.submit(target_prompt, draft_prompt=draft_prompt, **options)
        completion = respond(decoder, request, output)
    if output.json:
        print_json(completion_object(completion))
    if completion.finish_reason == "cancelled":
        raise typer.Exit(INTERRUPTED)
