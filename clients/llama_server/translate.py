"""llama-server's command line, as its tests write it, becomes ours."""

from __future__ import annotations

import os
import sys

MODEL = "REWARDSHIFT_SUITE_MODEL"
"""The variable with our flags for the models, in place of whatever is asked for from the hub."""

SAME = {
    "--alias": "--alias",
    "--host": "--host",
    "--n-predict": "--max-tokens",
    "--parallel": "--parallel",
    "--port": "--port",
    "--seed": "--seed",
    "--temp": "--temp",
    "--threads": "--threads",
}
WITHOUT_EFFECT = {
    # how llama-server computes what it answers; what is answered is the same
    *("--batch-size", "--ubatch-size", "--n-gpu-layers"),
    # where its model comes from
    *("--hf-repo", "--hf-file"),
}
SWITCHES_WITHOUT_EFFECT = {
    *("--cont-batching", "--offline"),
    # it says more in its log, and in answers, where ours says the same
    *("--verbose",),
    # here always on, and a choice there
    *("--jinja", "--metrics", "--slots"),
    # and of these, nothing hangs on it here
    *("--no-jinja", "--no-slots"),
}


def translated(arguments: list[str]) -> tuple[list[str], dict[str, str]]:
    """Our arguments and variables for those of llama-server.

    Raises:
        ValueError: For a flag that has no counterpart.
    """
    found = ["--allow-origin", "*"]  # as it does by itself
    variables: dict[str, str] = {}
    context, shares, is_shared = 0, 1, False
    words = iter(arguments)
    for word in words:
        if word in SWITCHES_WITHOUT_EFFECT:
            continue
        if word in WITHOUT_EFFECT:
            next(words)
        elif word == "--api-key":
            variables["REWARDSHIFT_API_KEY"] = next(words)
        elif word == "--ctx-size":
            context = int(next(words))
        elif word == "--kv-unified":
            is_shared = True
        elif word in SAME:
            found += [SAME[word], value := next(words)]
            shares = int(value) if word == "--parallel" else shares
        else:
            raise ValueError(f"{word} has no counterpart here")
    # Its slots have a share each, ours share: so this is what a request finds at most.
    return [*found, "--n-ctx", str(context if is_shared else context // shares)], variables


def main() -> None:
    """Becomes our server."""
    arguments, variables = translated(sys.argv[1:])
    command = [sys.executable, "-m", "rewardshift.cli", "serve", *os.environ[MODEL].split("\n")]
    os.execve(sys.executable, [*command, *arguments], os.environ | variables)
