"""``rewardshift serve``."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rewardshift.files.text import read_lines
from rewardshift.serve import require_extra

from .command import command
from .options import LengthFlags, LogFlags, ServingLoadFlags, _request_option, option

if TYPE_CHECKING:
    from rewardshift.serve.settings import Settings

_SERVER = "Server"
_KEY_VARIABLE = "REWARDSHIFT_API_KEY"


def add_to(app: typer.Typer) -> None:
    """Registers the command."""
    app.command()(serve)


@dataclass(frozen=True, kw_only=True)
class DefaultFlags(LengthFlags):
    """What requests that do not say are decoded with."""

    max_tokens: Annotated[
        int | None,
        option(
            "-n",
            "--max-tokens",
            panel="Sampling",
            text="Most tokens of an answer; -1 is what fits (unset: a quarter of the context).",
        ),
    ] = None
    seed: Annotated[int | None, _request_option("seed", "-s", "--seed")] = None


@dataclass(frozen=True, kw_only=True)
class ServeFlags:
    """Where and whom to serve."""

    host: Annotated[
        str, option("--host", panel=_SERVER, text="Address to listen at.", show_default=True)
    ] = "127.0.0.1"
    port: Annotated[
        int,
        option(
            "--port",
            panel=_SERVER,
            text="Port; 0 is any that is free.",
            least=0,
            most=65535,
            show_default=True,
        ),
    ] = 8080
    uds: Annotated[
        Path | None,
        option("--uds", panel=_SERVER, text="Unix socket, in place of a port.", metavar="FILE"),
    ] = None
    api_key_file: Annotated[
        Path | None,
        option(
            "--api-key-file",
            panel=_SERVER,
            text=f"Keys, one a line, of which requests must bring one; {_KEY_VARIABLE} in the "
            "environment is one more.",
            metavar="FILE",
        ),
    ] = None
    alias: Annotated[
        str | None, option("--alias", panel=_SERVER, text="What to call the model.")
    ] = None
    strict: Annotated[
        bool, option("--strict", panel=_SERVER, text="Refuse fields that are not known.")
    ] = False
    allow_origin: Annotated[
        list[str] | None,
        option(
            "--allow-origin",
            panel=_SERVER,
            text="Pages from there may call this server from a browser; * is from anywhere.",
            metavar="URL",
        ),
    ] = None
    allow_host: Annotated[
        list[str] | None,
        option(
            "--allow-host",
            panel=_SERVER,
            text="A name by which clients address this server, beside localhost; * is any.",
            metavar="NAME",
        ),
    ] = None
    ssl_keyfile: Annotated[
        Path | None, option("--ssl-keyfile", panel=_SERVER, text="Of HTTPS.", metavar="FILE")
    ] = None
    ssl_certfile: Annotated[
        Path | None, option("--ssl-certfile", panel=_SERVER, text="Of HTTPS.", metavar="FILE")
    ] = None
    max_queue: Annotated[
        int | None,
        option("--max-queue", panel=_SERVER, text="Answers that may wait for a place.", least=0),
    ] = None
    drain_seconds: Annotated[
        float | None,
        option(
            "--drain-seconds",
            panel=_SERVER,
            text="How long answers may go on when the server is told to stop.",
        ),
    ] = None
    keep_alive_seconds: Annotated[
        float | None,
        option(
            "--keep-alive-seconds",
            panel=_SERVER,
            text="Send a comment where a stream says nothing for so long, as some proxies want; "
            "some clients take it for data.",
        ),
    ] = None
    log_prompts: Annotated[
        bool, option("--log-prompts", panel=_SERVER, text="Log what was asked, too.")
    ] = False

    def __post_init__(self) -> None:
        """Refuses half a certificate."""
        if (self.ssl_keyfile is None) != (self.ssl_certfile is None):
            raise ValueError("--ssl-keyfile and --ssl-certfile go together: give both")

    @property
    def is_local(self) -> bool:
        """Whether nobody else's machine can reach it."""
        return self.uds is not None or self.host in ("127.0.0.1", "::1", "localhost")

    def settings(self, defaults: dict[str, Any]) -> "Settings":
        """What the application is told."""
        from rewardshift.serve import Settings

        given = {"max_queue": self.max_queue, "drain_seconds": self.drain_seconds}
        return Settings(
            alias=self.alias,
            api_keys=self._keys(),
            defaults=defaults,
            allowed_origins=tuple(self.allow_origin or ()),
            allowed_hosts=(self.host, *(self.allow_host or ())),
            strict=self.strict,
            keep_alive_seconds=self.keep_alive_seconds,
            log_prompts=self.log_prompts,
            **{name: value for name, value in given.items() if value is not None},  # type: ignore[arg-type]
        )

    def _keys(self) -> tuple[bytes, ...]:
        lines = [] if self.api_key_file is None else read_lines(self.api_key_file)
        keys = [line.strip() for line in (*lines, os.environ.get(_KEY_VARIABLE, ""))]
        if self.api_key_file is not None and not any(keys[:-1]):
            raise ValueError(f"{self.api_key_file} has no key")
        return tuple(key.encode() for key in keys if key)


@command
def serve(
    load: ServingLoadFlags, defaults: DefaultFlags, flags: ServeFlags, output: LogFlags
) -> None:
    """Serve a model over HTTP, as OpenAI and llama-server spell it, with a page to look at.

    Ctrl-C, or SIGTERM, lets answers under way end first; a second one does not.
    """
    require_extra()
    from rewardshift.serve.address import Address
    from rewardshift.serve.program import run

    output.set_up_log()
    load.require(defaults.sampling())
    settings = flags.settings(dict(defaults.sampling()))
    if not (flags.is_local or settings.api_keys):
        sys.stderr.write(
            f"rewardshift: whoever can reach {flags.host} can use this server; --api-key-file "
            "lets in only those who have a key\n"
        )
    address = Address(
        host=flags.host,
        port=flags.port,
        uds=flags.uds,
        ssl_keyfile=flags.ssl_keyfile,
        ssl_certfile=flags.ssl_certfile,
    )
    run(load.open, settings, address)
