"""What Sphinx cannot see by itself: options that live in C++, the command line, public names."""

from __future__ import annotations

import dataclasses
import inspect
import re
from itertools import groupby
from typing import TYPE_CHECKING, Any

import typer
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode

from rewardshift import _core
from rewardshift.cli.app import app as command_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docutils import nodes
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

STRUCTS = {
    "rewardshift.options.ModelOptions": _core.ModelOptions,
    "rewardshift.options.ContextOptions": _core.ContextOptions,
    "rewardshift.options.SamplingOptions": _core.RequestParams,
}
PUBLIC_MODULES = (
    "rewardshift",
    "rewardshift.check",
    "rewardshift.embedded",
    "rewardshift.evaluate",
    "rewardshift.grammar",
    "rewardshift.methods",
    "rewardshift.options",
    "rewardshift.prompt_files",
    "rewardshift.results",
    "rewardshift.rewards",
    "rewardshift.text.chat_prompt",
    "rewardshift.text.spelling",
)


def list_options(
    _app: Sphinx, what: str, name: str, options: Any, _options: object, lines: list[str]
) -> None:
    """Adds to a dictionary of options what the core says of each: its text and its default."""
    if what != "class" or name not in STRUCTS:
        return
    struct = STRUCTS[name]
    for option, annotation in options.__annotations__.items():
        lines += ["", f".. attribute:: {option}", f"   :type: {annotation.__forward_arg__}"]
        if not hasattr(struct, option):  # echo and logprobs: the class has told of them
            continue
        default = getattr(struct(), option)
        if option != "seed" and default != []:  # without a seed one is drawn
            lines.append(f"   :value: {default!r}")
        lines += ["", f"   {' '.join((inspect.getdoc(getattr(struct, option)) or '').split())}"]


def show_types(
    _app: Sphinx, what: str, _name: str, _object: object, _options: object, lines: list[str]
) -> None:
    """Moves the types of attributes, which napoleon puts below their text, to their names."""
    name = 0
    for i, line in enumerate(lines if what == "class" else ()):
        if line.startswith(".. attribute::"):
            name = i
        elif line.startswith("   :type:"):
            lines[i] = ""
            lines[name] += f"\n{line}"
    lines[:] = "\n".join(lines).split("\n")


def adjust_signature(
    _app: Sphinx, _what: str, _name: str, thing: Any, *_: object
) -> tuple[str, str] | None:
    """Shows no constructor of results."""
    if isinstance(thing, type) and dataclasses.is_dataclass(thing):
        return "", ""
    return None


def find_public_name(
    _app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.Element
) -> nodes.Element | None:
    """Resolves a type by its last name to what is documented, wherever it is defined."""
    if node.get("refdomain") != "py":
        return None
    python = env.get_domain("py")
    for module in PUBLIC_MODULES:
        name = f"{module}.{node['reftarget'].rpartition('.')[2]}"
        if entry := python.objects.get(name):  # type: ignore[attr-defined]
            return make_refnode(
                _app.builder, node["refdoc"], entry.docname, entry.node_id, content, name
            )
    return None


class Commands(SphinxDirective):
    """All commands of the command line with their options, as ``--help`` has them."""

    def run(self) -> list[nodes.Node]:
        root = typer.main.get_command(command_line)
        context = root.make_context("rewardshift", [], resilient_parsing=True)
        lines = [line for name in root.commands for line in describe(name, root, context)]
        return self.parse_text_to_nodes(
            StringList(lines, "command line"), allow_section_headings=True
        )


def describe(name: str, root: Any, parent: Any) -> Iterator[str]:
    """One command in reStructuredText: a section, its usage and its options by panel."""
    command = root.commands[name]
    context = command.make_context(name, [], parent=parent, resilient_parsing=True)
    yield from (name, "-" * len(name), "")
    yield from (f"``{command.get_usage(context).removeprefix('Usage: ')}``", "")
    for paragraph in (command.help or "").split("\n\n"):
        text, example, shown = paragraph.partition("Example: ")
        yield from (
            ("::", "", f"    {shown}", "") if example and not text else (marked(paragraph), "")
        )
    yield from (f".. program:: rewardshift {name}", "")
    parameters = [p for p in command.get_params(context) if p.name != "help"]
    for panel, members in groupby(parameters, key=lambda p: p.rich_help_panel or "Arguments"):
        yield from (f".. rubric:: {panel}", "")
        for parameter in members:
            form, text = parameter.get_help_record(context)
            yield from (f".. option:: {form}", "", f"   {marked(text)}", "")


def marked(text: str) -> str:
    """Text whose flags are code, and no dashes."""
    return re.sub(r"(?<![\w-])(--?[a-z][\w-]*)", r"``\1``", text)


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", show_types)
    app.connect("autodoc-process-docstring", list_options)
    app.connect("autodoc-process-signature", adjust_signature)
    app.connect("missing-reference", find_public_name)
    app.add_directive("commands", Commands)
    return {"parallel_read_safe": True}
