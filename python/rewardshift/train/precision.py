"""Where bfloat16 is worth its rounding."""

from __future__ import annotations

import torch


def fast_dtype(device: torch.device) -> torch.dtype:
    """The type in which matrices multiply fastest: bfloat16, unless it is only emulated.

    Processors without AVX-512 emulate it, many times slower than float32.
    """
    if device.type == "cuda":
        has = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has = torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    return torch.bfloat16 if has else torch.float32
