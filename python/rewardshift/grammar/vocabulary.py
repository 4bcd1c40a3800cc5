"""A vocabulary's grammars, compiled when they are asked for and remembered."""

from __future__ import annotations

import hashlib
import importlib.util
import subprocess
import sys
import threading
from collections import OrderedDict
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from rewardshift import _core
from rewardshift.errors import Error, GrammarError

from . import rehearsal
from .languages import Source, source_of, visible_tokens_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

Key = TypeVar("Key")
Value = TypeVar("Value")

REQUIREMENT = "llguidance>=1.8,<1.10"
"""What the core was written for; it checks what it loads."""

_KEPT_VOCABULARIES = 4
_KEPT_GRAMMARS = 64
_LONGEST_REASON = 1000
_PLAIN = 10_000
"""Characters of a list of literals that need no rehearsal."""
_WAIT = 60.0
"""Seconds that a rehearsal may take beside other work; it may use the processor for less."""


class _Remembered(Generic[Key, Value]):
    """The last few values that were made, by key. Safe to use from several threads."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[Key, Value] = OrderedDict()
        self._lock = threading.Lock()
        self._making = threading.Lock()

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        """The value of a key, made if it is not remembered: by one thread at a time.

        Who asks for a remembered one does not wait for another to be made.
        """
        if (found := self._remembered(key)) is not None:
            return found[0]
        with self._making:
            if (found := self._remembered(key)) is not None:
                return found[0]
            value = make()
        with self._lock:
            self._values[key] = value
            if len(self._values) > self._size:
                self._values.popitem(last=False)
        return value

    def _remembered(self, key: Key) -> tuple[Value] | None:
        with self._lock:
            if key not in self._values:
                return None
            self._values.move_to_end(key)
            return (self._values[key],)


_vocabularies: _Remembered[bytes, _core.GrammarVocabulary] = _Remembered(_KEPT_VOCABULARIES)


class Vocabulary:
    """The tokens of a model, for the grammars over them.

    Making one costs nothing; the first grammar reads the vocabulary, which takes about a second for
    150,000 tokens. Vocabularies that are alike share that work.
    """

    def __init__(self, model: _core.LanguageModel, n_known: int | None = None) -> None:
        """Remembers whose vocabulary it is.

        Args:
            model: Whose tokens they are.
            n_known: Tokens from this id on are never allowed, as some model lacks them; None allows
                all.
        """
        self._model = model
        self._n_known = model.vocab_size if n_known is None else n_known
        self._tokens: _Remembered[frozenset[int], _core.GrammarVocabulary] = _Remembered(
            _KEPT_VOCABULARIES
        )
        self._grammars: _Remembered[tuple[Source, frozenset[int]], _core.Grammar] = _Remembered(
            _KEPT_GRAMMARS
        )

    def compile(self, source: Source, visible: Iterable[int] = ()) -> _core.Grammar:
        """A grammar over this vocabulary, as remembered or compiled.

        Args:
            source: What it says.
            visible: Control tokens that are text here, as they are spelled.

        Raises:
            GrammarError: If it cannot be compiled, with the option's name.
            Error: If llguidance is missing, or of a version that is not known.
        """
        shown = frozenset(visible)
        return self._grammars.get((source, shown), lambda: self._compiled(source, shown))

    def _compiled(self, source: Source, visible: frozenset[int]) -> _core.Grammar:
        try:
            tokens = self._tokens.get(visible, lambda: self._read(visible))
            if not (source.option == "choice" and len(source.text) < _PLAIN):
                rehearse(source)
            return tokens.compile(source.language, source.text)
        except GrammarError as error:
            reason = str(error)
            if len(reason) > _LONGEST_REASON:
                reason = reason[:_LONGEST_REASON] + "…"
            raise GrammarError(f"{source.option}: {reason}") from None

    def _read(self, visible: frozenset[int]) -> _core.GrammarVocabulary:
        n, model = self._model.vocab_size, self._model
        pieces = [model.piece(i) if i < self._n_known else b"" for i in range(n)]
        for token in visible.intersection(range(self._n_known)):
            pieces[token] = model.spelling(token)
        ends = {i for i in range(self._n_known) if model.is_end_of_generation(i)}
        digest = hashlib.sha256(repr(sorted(ends)).encode())
        for piece in pieces:
            digest.update(len(piece).to_bytes(4, "little") + piece)
        return _vocabularies.get(
            digest.digest(), lambda: _core.GrammarVocabulary(library_path(), pieces, ends)
        )


def grammar_of(options: Mapping[str, Any], vocabulary: Vocabulary) -> _core.Grammar | None:
    """The grammar that a request's options ask for.

    Args:
        options: Of a request; others than ``GRAMMAR_OPTIONS`` and ``visible_tokens`` are ignored.
        vocabulary: Whose tokens the response is of.

    Returns:
        None where any text may follow.

    Raises:
        TypeError: If a value is of the wrong type; it names the value.
        ValueError: If more than one grammar is asked for, or a value is not one of those known.
        GrammarError: If the grammar is wrong, or too costly; it says where.
        Error: If llguidance is missing, or of a version that is not known.
    """
    source = source_of(options)
    visible = visible_tokens_of(options)
    return None if source is None else vocabulary.compile(source, visible)


def rehearse(source: Source) -> None:
    """Compiles a grammar in a process of its own first, as nothing else can stop that.

    Raises:
        GrammarError: If it takes more than its share of time, memory or stack there.
        Error: If this Python does not know its own executable.
    """
    if not sys.executable:
        raise Error("grammars are compiled in a process first: sys.executable must name Python")
    script = Path(__file__).with_name("rehearsal.py")
    command = [sys.executable, "-I", "-S", str(script), library_path(), _NAMES[source.language]]
    try:
        done = subprocess.run(  # noqa: S603 - our own script
            command,
            input=source.text.encode(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_WAIT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        done = None
    if done is None or done.returncode != 0:
        raise GrammarError(
            f"compiling it takes more than {rehearsal.SECONDS} s of processor time, "
            f"{rehearsal.BYTES >> 20} MiB of memory, or the stack"
        )


_NAMES = {
    _core.GrammarLanguage.LARK: "lark",
    _core.GrammarLanguage.JSON_SCHEMA: "json_schema",
    _core.GrammarLanguage.REGEX: "regex",
}
"""llguidance's own."""


def library_path() -> str:
    """The file of llguidance's extension module, which the core opens.

    Raises:
        Error: If there is none; it says what to install.
    """
    found = importlib.util.find_spec("llguidance")
    for folder in () if found is None else found.submodule_search_locations or ():
        for suffix in EXTENSION_SUFFIXES:
            path = Path(folder) / f"_lib{suffix}"
            if path.is_file():
                return str(path)
    raise Error(
        f"grammars need {REQUIREMENT} (pip install '{REQUIREMENT}'), which is not installed"
    )
