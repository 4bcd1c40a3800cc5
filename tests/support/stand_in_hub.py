"""Stand-ins for the Hugging Face hub: as much of its HTTP interface as fetching takes, or none."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import socket
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    import pytest
    from typing_extensions import Self

_FILE = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
_REPO = re.compile(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?")


@dataclass(frozen=True)
class Request:
    """What a client asked for."""

    method: str
    path: str
    range: str | None


@dataclass
class StandInHub:
    """Serves repositories on this machine.

    Attributes:
        repos: Files by repository, commit and path.
        branches: Commits by repository and branch.
        gated: Repositories that want a token.
        published: Checksums that the hub gives instead of a file's own, by path.
        cut_after: Bytes of a file after which connections break, each value for one response.
        status: What everything is answered with, unless that is None.
        requests: All that came.
    """

    repos: dict[str, dict[str, dict[str, bytes]]] = field(default_factory=dict)
    branches: dict[tuple[str, str], str] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    published: dict[str, str] = field(default_factory=dict)
    cut_after: list[int] = field(default_factory=list)
    status: int | None = None
    requests: list[Request] = field(default_factory=list)

    def add(self, repo: str, branch: str = "main", **files: bytes) -> str:
        """Commits files, whose names are given without ``.gguf``, and returns the commit."""
        contents = {f"{name}.gguf": content for name, content in files.items()}
        commit = hashlib.sha1(b"".join(contents.values())).hexdigest()
        self.repos.setdefault(repo, {})[commit] = contents
        self.branches[repo, branch] = commit
        return commit

    def ranges(self, path_end: str) -> list[str | None]:
        """The ranges of a file that were asked for."""
        return [r.range for r in self.requests if r.method == "GET" and r.path.endswith(path_end)]

    @property
    def url(self) -> str:
        """What HF_ENDPOINT is set to."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        hub = self

        class Handler(_Handler):
            pass

        Handler.hub = hub
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: StandInHub

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(Request(self.command, path, self.headers.get("Range")))
        if self.hub.status is not None:
            self._refuse(self.hub.status, "")
        elif found := _FILE.fullmatch(path):
            self._file(*found.groups())
        elif found := _REPO.fullmatch(path):
            self._repo(found[1], found[2] or "main")
        else:
            self._refuse(404, "EntryNotFound")

    def _files(self, repo: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """Commit and files; None after a refusal."""
        if repo not in self.hub.repos:
            return self._refuse(404, "RepoNotFound")
        if repo in self.hub.gated and "Authorization" not in self.headers:
            return self._refuse(401, "GatedRepo")
        commit = self.hub.branches.get((repo, revision), revision)
        if commit not in self.hub.repos[repo]:
            return self._refuse(404, "RevisionNotFound")
        return commit, self.hub.repos[repo][commit]

    def _repo(self, repo: str, revision: str) -> None:
        if (found := self._files(repo, revision)) is None:
            return
        commit, files = found
        siblings = [{"rfilename": name} for name in files]
        facts = {"id": repo, "sha": commit, "siblings": siblings, "tags": [], "private": False}
        body = json.dumps({**facts, "downloads": 0, "likes": 0}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _file(self, repo: str, revision: str, name: str) -> None:
        if (found := self._files(repo, revision)) is None:
            return
        commit, files = found
        if name not in files:
            self._refuse(404, "EntryNotFound")
            return
        content = files[name]
        sha256 = self.hub.published.get(name, hashlib.sha256(content).hexdigest())
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if start else 200)
        self.send_header("X-Repo-Commit", commit)
        self.send_header("X-Linked-Etag", f'"{sha256}"')
        self.send_header("X-Linked-Size", str(len(content)))
        self.send_header("ETag", f'"{sha256}"')
        self.send_header("Accept-Ranges", "bytes")
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.hub.cut_after:
            self.wfile.write(content[start : start + self.hub.cut_after.pop(0)])
            self.close_connection = True
            return
        self.wfile.write(content[start:])

    def _refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()


def point_client_at(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the client of this process take an address for the hub's."""
    from huggingface_hub import constants

    template = f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)


class Silence:
    """A port at which somebody takes up, and hangs up or says nothing."""

    def __init__(self, *, hangs_up: bool) -> None:
        self.calls = 0
        self._hangs_up = hangs_up
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        kept = []
        with contextlib.suppress(OSError):  # closed
            while True:
                call, _ = self._socket.accept()
                self.calls += 1
                if self._hangs_up:
                    call.close()
                else:
                    kept.append(call)
        for call in kept:
            call.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # what waits in accept() does not hear close()
        self._socket.close()
        self._thread.join()
