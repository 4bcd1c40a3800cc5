"""Types of GGUF files, as everybody calls them."""

import re

_SIZES = {"Small": "S", "Medium": "M", "Large": "L"}
_ODD = {"all F32": "F32", "MXFP4 MoE": "MXFP4_MOE", "Q2_K - Medium": "Q2_K", "IQ3_S mix": "IQ3_M"}
_TYPE = re.compile(
    r"(?P<guess>\(guessed\) )?"
    r"(?P<name>all F32|MXFP4 MoE|IQ3_S mix|[A-Z]+\d+(?:_\w+)?)"
    r"(?: - (?:(?P<size>Small|Medium|Large)|[\d.]+ bpw(?: ternary)?))?$"
)
"""How a description ends: llama.cpp's names of ``llama_ftype`` ("Q4_K - Medium")."""


def file_type(description: str) -> str:
    """The type at the end of llama.cpp's description of a model: Q4_K_M of "... Q4_K - Medium".

    That is what the file says of itself (``general.file_type``), or else llama.cpp's guess by its
    tensors, which is called one.
    """
    found = _TYPE.search(description)
    if found is None:
        return "unknown"
    name, size = found["name"], found["size"]
    whole = f"{name} - {size}" if size else name
    short = _ODD.get(whole) or (f"{name}_{_SIZES[size]}" if size else name)
    return f"{short} (guessed)" if found["guess"] else short
