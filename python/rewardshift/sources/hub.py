"""Model files by their name on the Hugging Face hub, such as ``owner/repo:file.gguf``.

``owner/repo@revision:file.gguf`` pins a branch, a tag or a commit; the address of a file's page on
the hub is as good. Files are fetched by huggingface_hub (the extra ``hub``) into its cache, and its
settings hold: HF_TOKEN, HF_HOME, HF_ENDPOINT, HF_HUB_OFFLINE. What was fetched is compared with the
SHA-256 that the hub has published for it.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import threading
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from rewardshift.errors import ModelLoadError
from rewardshift.files.paths import given_path
from rewardshift.progress import bars, is_shown

from .folders import cache_root

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import Progress

StrPath = str | os.PathLike[str]
"""A path to a file, or a name on the hub."""

_NAME = re.compile(
    r"(?P<repo>[\w-][\w.-]*/[\w-][\w.-]*)"  # neither a drive, nor ./ or ../, nor deeper folders
    r"(?:@(?P<revision>[^:]+))?"
    r"(?::(?P<file>.*))?"
)
_PART = re.compile(r"(.*-)\d{5}(-of-(\d{5})\.gguf)")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_WILDCARDS = frozenset("*?[")

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/{2}.*|(?:https?|hf):/.*")
"""An address; of those that a path was made of, one slash is gone."""
_HUB, _HUB_HOSTS = "https://huggingface.co", frozenset(("huggingface.co", "hf.co"))
_PAGE = re.compile(
    r"([^/]+/[^/]+)(?:/(?:blob|raw|resolve|tree)/(refs/(?:pr|convert)/[^/]+|[^/]+)(?:/(.+))?)?"
)
_OTHERS = ("datasets/", "spaces/")

_PATIENCE = 5
"""Seconds to wait for the hub's answer to the question whether there is a file."""
_CHATTER = ("huggingface_hub", "httpx", "httpx2", "httpcore", "httpcore2", "urllib3", "filelock")
"""Loggers of the client, whose lines would stand beside our errors and say the same."""


@dataclass(frozen=True, slots=True)
class HubFile:
    """Where a file is on the hub.

    Attributes:
        repo: Owner and name of the repository.
        file: Its path there; empty where none was named.
        revision: A branch, a tag or a commit; None is the main branch.
        sha256: What the file must have, whatever the hub publishes; None leaves that to the hub.
    """

    repo: str
    file: str = ""
    revision: str | None = None
    sha256: str | None = None

    def __str__(self) -> str:
        """The name that ``parse`` reads."""
        revision = "" if self.revision is None else f"@{self.revision}"
        return f"{self.repo}{revision}{self.file and f':{self.file}'}"

    def parts(self) -> list[HubFile]:
        """All files of a model that is split into several, the first one first; else this one."""
        if (split := _PART.fullmatch(self.file)) is None:
            return [self]
        before, after, count = split.groups()
        names = (f"{before}{number:05}{after}" for number in range(1, int(count) + 1))
        return [replace(self, file=name) for name in names]


def parse(name: StrPath) -> HubFile | None:
    """What a name or an address says, read as one on the hub; None if it can only be a path.

    Raises:
        ModelLoadError: If it is the address of something that is no model on the hub.
    """
    text = os.fspath(name).replace(os.sep, "/")
    if _URL.fullmatch(text):
        return _parse_address(text)
    found = _NAME.fullmatch(text)
    if found is None or (found["file"] is None and text.endswith(".gguf")):
        return None
    return HubFile(found["repo"], found["file"] or "", found["revision"])


def _parse_address(text: str) -> HubFile:
    """The file or repository whose page on the hub an address is of."""
    scheme, _, rest = text.partition(":")
    shown = text if rest.startswith("//") else f"{scheme}://{rest.lstrip('/')}"
    url = urlsplit(shown)
    if scheme.lower() == "hf":  # as the hub's own tools write it: hf://owner/repo@revision/file
        owner, _, rest = f"{url.netloc}{url.path}".partition("/")
        repo, _, file = rest.partition("/")
        name, _, revision = repo.partition("@")
        if owner and name:
            return HubFile(f"{owner}/{name}", file, revision or None)
    endpoint = urlsplit(_endpoint())
    if scheme.lower() in ("http", "https"):
        ours, path = url.netloc.lower() == endpoint.netloc.lower(), unquote(url.path)
        inside = (path.removeprefix(endpoint.path.rstrip("/")) if ours else path).strip("/")
        page = _PAGE.fullmatch(inside)
        if page and (ours or url.hostname in _HUB_HOSTS) and not inside.startswith(_OTHERS):
            repo, revision, file = page.groups()
            return HubFile(repo, file or "", None if revision == "main" else revision)
    raise ModelLoadError(
        f"{shown} is not the address of a model on the hub ({_endpoint()}): download the file and "
        "give its path, or name one on the hub as owner/repo:file.gguf"
    )


def _endpoint() -> str:
    """Where the hub is, as huggingface_hub has it, which need not be installed."""
    try:
        from huggingface_hub import constants
    except ImportError:
        return os.environ.get("HF_ENDPOINT", _HUB).rstrip("/")
    return str(constants.ENDPOINT)


def named_file(name: StrPath) -> Path:
    """The path that a user gave, or the name on the hub, where that was an address.

    Raises:
        ValueError: If it is empty.
        ModelLoadError: If it is an address, but not of a model on the hub.
    """
    text = os.fspath(name)
    return Path(str(_parse_address(text))) if _URL.fullmatch(text) else given_path(text)


def local_path(name: StrPath, *, progress: bool | None = None) -> Path:
    """The file of a name: a path, or what a name on the hub stands for, fetched if need be.

    What exists here wins. A path that does not exist and is no name on the hub is returned too, for
    whoever opens it to complain.

    Args:
        name: The path or name.
        progress: Whether to show progress bars; None shows them on a terminal.

    Raises:
        ValueError: If the name is empty.
        ModelLoadError: As ``fetch``; and for an address that is not on the hub.
    """
    path = given_path(name)
    if path.exists() or (wanted := parse(name)) is None:
        return path
    return fetch(wanted, progress=progress)


def fetch(wanted: HubFile, *, progress: bool | None = None) -> Path:
    """The file in huggingface_hub's cache, put there first if need be, with its checksum verified.

    Of a model that is split into several files, all are fetched; the first stands for them.

    Args:
        wanted: The file.
        progress: Whether to show progress bars; None shows them on a terminal.

    Raises:
        ModelLoadError: If the file cannot be had, or is not what the hub has published.
    """
    _require_client(wanted)
    with _in_silence(), _errors_explained(wanted):
        if not wanted.file or _WILDCARDS & set(wanted.file):
            raise ModelLoadError(f"{wanted} names no file: {_choices(wanted)}")
        with bars(of_bytes=True, shown=is_shown(progress)) as display:
            files = [_fetch_one(part, display) for part in wanted.parts()]
        return files[0]


def require_within_reach(wanted: HubFile, *, seconds: float) -> None:
    """Makes sure that a file is in the cache, or that the hub says without delay that it has it.

    Raises:
        ModelLoadError: If neither is so; it says why.
    """
    _require_client(wanted)
    failures: list[Exception] = []

    def ask() -> None:
        try:
            _require_published(wanted, seconds)
        except Exception as error:  # noqa: BLE001 - raised again where it was asked for
            failures.append(error)

    with _in_silence(), _errors_explained(wanted):
        if _is_cached(wanted):
            return
        # The client's own limits leave out how long it takes to look up the hub's address.
        question = threading.Thread(target=ask, daemon=True)
        question.start()
        question.join(seconds)
        if question.is_alive():
            raise ModelLoadError(
                f"{wanted}: not in the cache, and the hub did not answer within {seconds:g} seconds"
            )
        if failures:
            raise failures[0]


def _require_client(wanted: HubFile) -> None:
    """Raises ModelLoadError unless huggingface_hub is installed; imports the part that asks."""
    try:
        from huggingface_hub import get_hf_file_metadata  # noqa: F401
    except ImportError:
        raise ModelLoadError(
            f"{wanted}: no such file; to fetch it from the hub, pip install 'rewardshift[hub]'"
        ) from None


def _is_cached(wanted: HubFile) -> bool:
    from huggingface_hub import try_to_load_from_cache

    return isinstance(
        try_to_load_from_cache(wanted.repo, wanted.file, revision=wanted.revision), str
    )


def _fetch_one(wanted: HubFile, display: Progress) -> Path:
    from huggingface_hub import hf_hub_download

    if not _is_cached(wanted):
        _require_published(wanted, _patience())
    path = Path(
        hf_hub_download(
            wanted.repo,
            wanted.file,
            revision=wanted.revision,
            etag_timeout=_PATIENCE,
            tqdm_class=_bar_class(display, f"fetching {Path(wanted.file).name}"),
        )
    )
    _verify(path, wanted, display)
    return path


def _require_published(wanted: HubFile, patience: float) -> None:
    """Asks the hub for a file that is not in the cache, once.

    hf_hub_download asks again and again, for 23 seconds, where nobody answers.

    Raises:
        ModelLoadError: If the hub cannot be reached, or something else answers in its place.
        Exception: What huggingface_hub makes of its answer, if that is no.
    """
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url

    with _reaching_the_hub(wanted):
        url = hf_hub_url(wanted.repo, wanted.file, revision=wanted.revision)
        told = get_hf_file_metadata(url, timeout=patience)
    if told.commit_hash is None:
        raise ModelLoadError(
            f"{wanted}: not in the cache, and what answers at {constants.ENDPOINT} is no hub: is "
            "there a page to log in to the network?"
        )


def _patience() -> float:
    """What the user has set (HF_HUB_ETAG_TIMEOUT), or else ours, which is shorter than usual."""
    from huggingface_hub import constants

    chosen = constants.HF_HUB_ETAG_TIMEOUT
    return _PATIENCE if chosen == constants.DEFAULT_ETAG_TIMEOUT else chosen


@contextmanager
def _in_silence() -> Iterator[None]:
    """Keeps the client's log lines and warnings back, unless the user has asked to see them."""
    loggers = [logging.getLogger(name) for name in _CHATTER]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        if logger.level in (logging.NOTSET, logging.WARNING):
            logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="huggingface_hub")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _bar_class(display: Progress, what: str) -> type:
    """A class of bars for huggingface_hub that show in our display."""
    from huggingface_hub.utils.tqdm import tqdm

    class Bar(tqdm):
        monitor_interval = 0  # no thread that watches bars

        def __init__(self, *args: object, **options: object) -> None:
            # A bar "with a GUI" prints nothing; whether anything shows is the display's to say.
            options |= {"gui": True, "disable": False}
            self._task = display.add_task(what, total=None)
            super().__init__(*args, **options)  # type: ignore[no-untyped-call]
            self._shown = True
            self.display()

        def display(self, *_: object, **__: object) -> None:
            display.update(self._task, completed=self.n, total=self.total)

        def close(self) -> None:
            self.disable = True
            if self._shown:  # tqdm closes once more when it is collected
                self._shown = False
                display.remove_task(self._task)

    return Bar


# --- checksums ----------------------------------------------------------------------------------


def _verify(path: Path, wanted: HubFile, display: Progress) -> None:
    """Compares a file with the SHA-256 that the hub has published, and with the one it must have.

    One that has passed before is not read again.

    Raises:
        ModelLoadError: If it differs; it is then removed from the cache.
    """
    what = f"{path}{wanted.sha256 or ''}"
    passed = cache_root() / "verified" / hashlib.sha256(what.encode()).hexdigest()
    state = _state(path)
    if passed.exists() and passed.read_text() == state:
        return
    # The hub publishes none of a small file, which it keeps in git.
    sums = [s for s in (wanted.sha256, _published_sha256(path, wanted)) if s is not None]
    if not sums:
        return
    actual = _sha256(path, display)
    missed = [s for s in sums if s != actual]
    if missed:
        path.resolve().unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        raise ModelLoadError(
            f"{wanted} is damaged: its sha256 should be {missed[0]} and is {actual}. It was "
            "removed from the cache; try again"
        )
    with contextlib.suppress(OSError):  # then it is only checked again
        passed.parent.mkdir(parents=True, exist_ok=True)
        passed.write_text(state)


def _state(path: Path) -> str:
    """What changes when somebody writes to the file."""
    facts = path.stat()
    return f"{facts.st_size} {facts.st_mtime_ns}"


def _published_sha256(path: Path, wanted: HubFile) -> str | None:
    """The sum that the hub gave when the file was fetched: the name of the blob behind the link.

    Where the cache has no links, the hub is asked again.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    if path.is_symlink():
        etag: str | None = path.readlink().name  # one step: the blob may be a link itself
    else:
        url = hf_hub_url(wanted.repo, wanted.file, revision=wanted.revision)
        etag = get_hf_file_metadata(url).etag
    return etag if etag is not None and _SHA256.fullmatch(etag) else None


def _sha256(path: Path, display: Progress) -> str:
    digest = hashlib.sha256()
    task = display.add_task(f"checking {path.name}", total=path.stat().st_size)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
            display.advance(task, len(block))
    display.remove_task(task)
    return digest.hexdigest()


# --- errors -------------------------------------------------------------------------------------


@contextmanager
def _errors_explained(wanted: HubFile) -> Iterator[None]:
    """Makes a ModelLoadError that says what to do of whatever huggingface_hub raises."""
    from huggingface_hub import constants, errors

    try:
        yield
    except ModelLoadError:
        raise
    except errors.GatedRepoError as error:
        raise ModelLoadError(
            f"{wanted}: {wanted.repo} is gated: accept its terms at {constants.ENDPOINT}/"
            f"{wanted.repo}, and set HF_TOKEN to a token of yours"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise ModelLoadError(
            f"{wanted}: no such file here, and the hub shows no repository {wanted.repo}: check "
            "the name; if it is private, set HF_TOKEN"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ModelLoadError(
            f"{wanted}: {wanted.repo} has no branch, tag or commit {wanted.revision!r}"
        ) from error
    except errors.RemoteEntryNotFoundError as error:
        try:
            choices = f": {_choices(wanted)}"
        except Exception:  # noqa: BLE001 - that there is no such file is known without a list
            choices = ""
        raise ModelLoadError(f"{wanted}: no such file there{choices}") from error
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled) as error:
        why = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else "the hub cannot be reached"
        raise ModelLoadError(f"{wanted}: not in the cache, and {why}") from error
    except Exception as error:  # whatever its HTTP library raises
        raise ModelLoadError(f"{wanted} cannot be fetched: {error}") from error


@contextmanager
def _reaching_the_hub(wanted: HubFile) -> Iterator[None]:
    """Within it, whatever is no answer of the hub's says that it cannot be reached."""
    from huggingface_hub import constants, errors

    try:
        yield
    except (errors.HfHubHTTPError, errors.OfflineModeIsEnabled, ValueError):
        raise  # an answer, the user's wish, or a name that cannot be
    except Exception as error:
        raise ModelLoadError(
            f"{wanted}: not in the cache, and the hub cannot be reached ({constants.ENDPOINT}: "
            f"{error})"
        ) from error


def _choices(wanted: HubFile) -> str:
    """Which GGUF files the repository has."""
    from huggingface_hub import HfApi

    # list_repo_files would ask again and again where nobody answers.
    with _reaching_the_hub(wanted):
        info = HfApi().model_info(wanted.repo, revision=wanted.revision, timeout=_patience())
    files = (file.rfilename for file in info.siblings or ())
    names = sorted(name for name in files if name.endswith(".gguf"))
    if not names:
        return f"{wanted.repo} has no GGUF files"
    return f"{wanted.repo} has {', '.join(names)}"
