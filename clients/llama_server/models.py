"""A stand-in for the toy model of llama.cpp's tests: as small, and it cuts texts as finely."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gguf import TokenType

from tests.support.tiny_gguf import CHATML_TEMPLATE, SPACE, TinySpec, TinyVocab, write_model

if TYPE_CHECKING:
    from pathlib import Path

_LETTERS = "etaoinshrdlcumwfgypbvkjxqzETAOINSHRDLCUMWFGYPBVKJXQZ.,?!'0123456789"
_PAIRS = (
    "th he in er an re nd on en at ou ed ha to or it is hi es ng st ar te se me ve ll ea ri ro us "
    "ow ui ck br fo ox um ps ju la zy do og qu em ip su ol lo si am nt co ct ad pi sc el od iu mp"
)


def vocabulary() -> TinyVocab:
    """Bytes, letters, common pairs of letters, and letters that begin a word."""
    special = ["<unk>", "<s>", "</s>"]
    raw_bytes = [f"<0x{i:02X}>" for i in range(256)]
    pieces = [
        SPACE,
        *_LETTERS,
        *dict.fromkeys(_PAIRS.split()),
        *(SPACE + letter for letter in _LETTERS[:26]),
    ]
    kinds = [TokenType.UNKNOWN, TokenType.CONTROL, TokenType.CONTROL]
    kinds += [TokenType.BYTE] * len(raw_bytes) + [TokenType.NORMAL] * len(pieces)
    return TinyVocab(
        model="llama",
        tokens=(*special, *raw_bytes, *pieces),
        types=tuple(kinds),
        bos=1,
        eos=2,
        add_bos=True,
        add_space_prefix=True,
    )


def write_stand_in(folder: Path) -> list[str]:
    """Our flags for a target and a pair: all that is tested is aligned decoding."""
    flags = []
    for flag, seed in (("--target", 0), ("--draft", 1), ("--reference", 2)):
        path = folder / f"{flag.strip('-')}.gguf"
        spec = TinySpec(
            vocab=vocabulary(),
            chat_template=CHATML_TEMPLATE,
            n_ctx_train=4096,
            scale=4.0,
            mute_outputs=(0, 1, 2),  # all answers are as long as they may be, and text
            noise=0.35 if seed else 0.0,
            noise_seed=seed,
        )
        write_model(path, spec)
        flags += [flag, str(path)]
    return flags
