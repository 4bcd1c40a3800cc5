"""What Sphinx cannot see by itself: options that live in C++, the command line, public names."""

from __future__ import annotations

import dataclasses
import inspect
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
PUBLIC_MODULES = ("rewardshift", "rewardshift.options", "rewardshift.results")


def document_option(
    _app: Sphinx, what: str, name: str, _object: object, _options: object, lines: list[str]
) -> None:
    """Gives a field of an options dictionary the documentation and default of the core's."""
    owner, _, field = name.rpartition(".")
    if what != "attribute" or owner not in STRUCTS or not hasattr(STRUCTS[owner], field):
        return
    struct = STRUCTS[owner]
    lines[:] = (inspect.getdoc(getattr(struct, field)) or "").splitlines()
    if field != "seed":  # the core's is a number, but who gives none has one drawn
        lines += ["", f"Default: ``{getattr(struct(), field)!r}``."]


def hide_constructor(
    _app: Sphinx, _what: str, _name: str, thing: object, *_: object
) -> tuple[str, str] | None:
    """Results are not for users to make."""
    return ("", "") if isinstance(thing, type) and dataclasses.is_dataclass(thing) else None


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
        yield from ("::", "", f"    {shown}", "") if example and not text else (paragraph, "")
    yield from (f".. program:: rewardshift {name}", "")
    parameters = [p for p in command.get_params(context) if p.name != "help"]
    for panel, members in groupby(parameters, key=lambda p: p.rich_help_panel or "Arguments"):
        yield from (f".. rubric:: {panel}", "")
        for parameter in members:
            form, text = parameter.get_help_record(context)
            yield from (f".. option:: {form}", "", f"   {text}", "")


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", document_option)
    app.connect("autodoc-process-signature", hide_constructor)
    app.connect("missing-reference", find_public_name)
    app.add_directive("commands", Commands)
    return {"parallel_read_safe": True}
