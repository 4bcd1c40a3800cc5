"""Compiles one grammar in a process of its own, which may fail.

llguidance bounds most of what a grammar costs, not all: a few lines can take minutes, gigabytes or
the stack, and there is no stopping it. What ends here in time compiles in the core, too.

Runs as a script under ``python -I -S``, so that it starts in a few hundredths of a second: it
imports nothing but the standard library. The structs are those of ``mask/llguidance/abi.h``; that
the library has them was checked by the core before.

    python rehearsal.py LIBRARY LANGUAGE <GRAMMAR
"""

from __future__ import annotations

import ctypes
import sys
import threading
from ctypes import POINTER, Structure, c_bool, c_char_p, c_size_t, c_uint32, c_uint64, c_void_p
from pathlib import Path

SECONDS = 3
"""Of processor time."""
BYTES = 1 << 30
"""Of address space, beside what the process begins with."""
STACK = 256 << 20
"""Of the thread that compiles, as in the core."""
SMALL_STACK = 4 << 20
"""Of the one that walks: half of what a thread has by default."""
STEPS = 32
"""Tokens that it goes into the grammar."""


class Limits(Structure):
    """LlgParserLimits."""

    _fields_ = (
        ("max_items_in_row", c_size_t),
        ("initial_lexer_fuel", c_uint64),
        ("step_lexer_fuel", c_uint64),
        ("step_max_items", c_size_t),
        ("max_lexer_states", c_size_t),
        ("max_grammar_size", c_size_t),
        ("precompute_large_lexemes", c_bool),
        ("verbose_errors", c_bool),
    )


class ConstraintInit(Structure):
    """LlgConstraintInit."""

    _fields_ = (
        ("tokenizer", c_void_p),
        ("log_buffer_level", c_uint32),
        ("log_stderr_level", c_uint32),
        ("ff_tokens_ok", c_bool),
        ("backtrack_ok", c_bool),
        ("limits", Limits),
    )


class TokenizerInit(Structure):
    """LlgTokenizerInitV2."""

    _fields_ = (
        ("struct_size", c_size_t),
        ("vocab_size", c_uint32),
        ("tok_eos", c_uint32),
        ("token_lens", POINTER(c_uint32)),
        ("token_bytes", c_char_p),
        ("tokenizer_json", c_char_p),
        ("tokenize_assumes_string", c_bool),
        ("tokenize_fn", c_void_p),
        ("use_approximate_greedy_tokenize_fn", c_bool),
        ("tokenize_user_data", c_void_p),
        ("slices", c_void_p),
        ("tok_eos_extra", c_void_p),
        ("tok_eos_extra_count", c_uint32),
    )


def opened(path: str) -> ctypes.CDLL:
    """The library, with the types of what is not an int."""
    library = ctypes.PyDLL(path)  # keeps the lock: nothing else runs
    for name in ("new_tokenizer_v2", "new_matcher", "clone_matcher"):
        getattr(library, f"llg_{name}").restype = c_void_p
    library.llg_matcher_get_error.restype = c_char_p
    library.llg_matcher_is_error.restype = c_bool
    library.llg_matcher_is_stopped.restype = c_bool
    return library


def configured(library: ctypes.CDLL) -> ConstraintInit:
    """As the core compiles, over the vocabulary of single bytes and one token that ends."""
    lengths = (c_uint32 * 256)(*[1] * 255, 0)
    pieces = TokenizerInit(
        struct_size=ctypes.sizeof(TokenizerInit),
        vocab_size=256,
        tok_eos=255,
        token_lens=lengths,
        token_bytes=bytes(range(255)),
        use_approximate_greedy_tokenize_fn=True,
    )
    reason = ctypes.create_string_buffer(256)
    tokenizer = library.llg_new_tokenizer_v2(ctypes.byref(pieces), reason, c_size_t(256))
    init = ConstraintInit()
    library.llg_constraint_init_set_defaults(ctypes.byref(init), c_void_p(tokenizer))
    init.log_stderr_level = 0
    init.limits.max_lexer_states = 50_000
    init.limits.precompute_large_lexemes = False
    init.limits.verbose_errors = False
    return init


def walk(library: ctypes.CDLL, matcher: c_void_p) -> None:
    """Goes into the grammar by the first token allowed; what fails on the way is for the core."""
    mine = c_void_p(library.llg_clone_matcher(matcher))
    mask = (c_uint32 * 8)()
    for step in range(STEPS):
        if library.llg_matcher_is_stopped(mine):
            break
        if library.llg_matcher_compute_mask_into(mine, mask, c_size_t(32)) < 0:
            break
        allowed = [i for i in range(255) if mask[i // 32] >> (i % 32) & 1]
        if not allowed:
            break
        library.llg_matcher_consume_token(mine, c_uint32(allowed[step * 7 % len(allowed)]))
    library.llg_free_matcher(mine)
    library.llg_free_matcher(matcher)


def on_stack(size: int, work: object, *arguments: object) -> None:
    """Calls a function on a thread with a stack of that size."""
    threading.stack_size(size)
    thread = threading.Thread(target=work, args=arguments)  # type: ignore[arg-type]
    thread.start()
    thread.join()


def limit() -> None:
    """Lets the system end this process where it takes too much."""
    try:
        import resource
    except ImportError:  # Windows: who waits for us ends us
        return
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # others do not enforce it
        pages = int(Path("/proc/self/statm").read_bytes().split()[0])
        most = pages * resource.getpagesize() + STACK + BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def main() -> None:
    """Ends with 0 where the grammar compiles or is wrong, and is never heard of again where not."""
    path, language = sys.argv[1:]
    text = sys.stdin.buffer.read()
    library = opened(path)
    limit()
    init = configured(library)
    made: list[c_void_p] = []

    def compile_it() -> None:
        matcher = library.llg_new_matcher(ctypes.byref(init), language.encode(), text)
        made.append(c_void_p(matcher))

    on_stack(STACK, compile_it)
    if not library.llg_matcher_is_error(made[0]):
        on_stack(SMALL_STACK, walk, library, made[0])


if __name__ == "__main__":
    main()
