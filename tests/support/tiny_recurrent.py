"""Tiny random GGUF models with a recurrent state, alone or beside attention: seeded and F32.

Shapes are (out, in), as in `tiny_gguf`; what they follow from are the loaders in llama.cpp's
`src/models`. Every layer that an architecture has kinds of occurs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from gguf import GGUFWriter

from .tiny_gguf import TinyVocab, add_vocab, finish, normal, spm_vocab

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

Shapes = dict[str, tuple[int, ...]]
Keys = dict[str, Any]

EMBD, FF, HEADS, KV_HEADS, HEAD = 32, 48, 4, 2, 8
CONV, STATE, GROUPS, EXPERTS, EXPERT_FF = 4, 8, 2, 4, 16
WIDE = 64
"""The width of RWKV's models, which is the only size of a head that ggml computes right."""

RANK = 4
"""Of time steps (mamba), or heads (mamba2 and delta nets)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecurrentSpec:
    """What to write; see `TinySpec` for what has the same name there.

    Attributes:
        arch: One of `ARCHITECTURES`.
        noise, noise_seed: Of every weight, to make models that resemble the one without noise.
    """

    arch: str
    vocab: TinyVocab = field(default_factory=spm_vocab)
    seed: int = 0
    scale: float = 1.5
    noise: float = 0.0
    noise_seed: int = 0
    n_ctx_train: int = 512
    chat_template: str | None = None
    nan_embedding: int | None = None

    @property
    def n_vocab(self) -> int:
        """Number of ids."""
        return len(self.vocab.tokens)


@dataclass(frozen=True, slots=True)
class RecurrentModel:
    """A written model."""

    path: Path
    spec: RecurrentSpec


def write_recurrent(path: Path, spec: RecurrentSpec) -> RecurrentModel:
    """Writes a model that llama.cpp loads."""
    architecture = ARCHITECTURES[spec.arch]
    width = architecture.keys.get("embedding_length", EMBD)
    shapes: Shapes = {f"{name}.weight": (spec.n_vocab, width) for name in ("token_embd", "output")}
    shapes |= {f"{architecture.last_norm}.weight": (width,), **architecture.outside}
    for i, layer in enumerate(architecture.layers):
        shapes |= {f"blk.{i}.{name}": shape for name, shape in layer.items()}
    weights = {name: _weight(spec, name, shape) for name, shape in shapes.items()}
    if spec.nan_embedding is not None:
        weights["token_embd.weight"][spec.nan_embedding] = np.nan
    writer = GGUFWriter(path, spec.arch)
    usual: Keys = {
        "context_length": spec.n_ctx_train,
        "embedding_length": EMBD,
        "block_count": len(architecture.layers),
        "feed_forward_length": FF,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "rope.freq_base": 10000.0,
    }
    for key, value in {**usual, **architecture.keys}.items():
        _add_key(writer, f"{spec.arch}.{key}", value)
    add_vocab(writer, spec.vocab)
    if spec.chat_template is not None:
        writer.add_chat_template(spec.chat_template)
    finish(writer, weights)
    return RecurrentModel(path, spec)


def _add_key(writer: GGUFWriter, key: str, value: float | list[int]) -> None:
    if isinstance(value, list):
        writer.add_array(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    else:
        writer.add_uint32(key, value)


def _weight(spec: RecurrentSpec, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    draw = normal(spec.seed, name, shape)
    if spec.noise:
        draw += spec.noise * normal(spec.noise_seed, f"noise.{name}", shape)
    part = name.removesuffix(".weight").rsplit(".", 1)[-1]
    if part == "ssm_a":  # states decay
        draw = -np.exp(0.3 * draw)
    elif part.endswith(("_norm", "_norm_2", "_ln")):
        draw = 1 + 0.1 * draw
    elif name.endswith(".bias") or len(shape) == 1 or "lerp" in part:
        draw *= 0.3
    elif name == "output.weight":
        draw *= spec.scale / np.sqrt(shape[-1])
    elif name != "token_embd.weight":
        draw /= np.sqrt(shape[-1])
    return draw.astype(np.float32)


# --- what an architecture's layers are made of --------------------------------------------------


@dataclass(frozen=True, slots=True)
class Architecture:
    """Keys without the architecture's name, tensors by layer, and those outside of layers."""

    keys: Keys
    layers: tuple[Shapes, ...]
    outside: Shapes = field(default_factory=dict)
    last_norm: str = "output_norm"


def _norms(*names: str) -> Shapes:
    return {f"{name}.weight": (EMBD,) for name in names}


def _ffn(width: int = FF, *, gated: bool = True) -> Shapes:
    gate: Shapes = {"ffn_gate.weight": (width, EMBD)} if gated else {}
    return gate | {"ffn_up.weight": (width, EMBD), "ffn_down.weight": (EMBD, width)}


def _experts() -> Shapes:
    return {
        "ffn_gate_inp.weight": (EXPERTS, EMBD),
        "ffn_gate_exps.weight": (EXPERTS, EXPERT_FF, EMBD),
        "ffn_up_exps.weight": (EXPERTS, EXPERT_FF, EMBD),
        "ffn_down_exps.weight": (EXPERTS, EMBD, EXPERT_FF),
    }


def _ungated_experts() -> Shapes:
    shared: Shapes = {
        "ffn_up_shexp.weight": (EXPERT_FF, EMBD),
        "ffn_down_shexp.weight": (EMBD, EXPERT_FF),
        "exp_probs_b.bias": (EXPERTS,),
    }
    return {name: shape for name, shape in _experts().items() if "gate_exps" not in name} | shared


def _attention(*, normed: bool = False, gated: bool = False, fused: bool = False) -> Shapes:
    queries, keys = HEADS * HEAD, KV_HEADS * HEAD
    shapes: Shapes = {"attn_output.weight": (EMBD, queries)}
    if fused:
        shapes["attn_qkv.weight"] = (queries + 2 * keys, EMBD)
        shapes |= {"attn_q_norm.weight": (HEADS, HEAD), "attn_k_norm.weight": (KV_HEADS, HEAD)}
        return shapes
    shapes["attn_q.weight"] = (2 * queries if gated else queries, EMBD)
    shapes |= {f"attn_{part}.weight": (keys, EMBD) for part in "kv"}
    if normed:
        shapes |= {f"attn_{part}_norm.weight": (HEAD,) for part in "qk"}
    return shapes


def _mamba(*, normed: bool = False) -> Shapes:
    inner = 2 * EMBD
    shapes: Shapes = {
        "ssm_in.weight": (2 * inner, EMBD),
        "ssm_conv1d.weight": (inner, CONV),
        "ssm_conv1d.bias": (inner,),
        "ssm_x.weight": (RANK + 2 * STATE, inner),
        "ssm_dt.weight": (inner, RANK),
        "ssm_dt.bias": (inner,),
        "ssm_a": (inner, STATE),
        "ssm_d": (inner,),
        "ssm_out.weight": (EMBD, inner),
    }
    if normed:
        norms = {"ssm_dt_norm.weight": RANK, "ssm_b_norm.weight": STATE, "ssm_c_norm.weight": STATE}
        shapes |= {name: (size,) for name, size in norms.items()}
    return shapes


def _mamba2() -> Shapes:
    inner = 2 * EMBD
    mixed = inner + 2 * GROUPS * STATE
    return {
        "ssm_in.weight": (inner + mixed + RANK, EMBD),
        "ssm_conv1d.weight": (mixed, CONV),
        "ssm_conv1d.bias": (mixed,),
        "ssm_dt.bias": (RANK,),
        "ssm_a": (RANK, 1),
        "ssm_d": (RANK, 1),
        "ssm_norm.weight": (GROUPS, inner // GROUPS),
        "ssm_out.weight": (EMBD, inner),
    }


def _delta_net(*, joined: bool) -> Shapes:
    keys, values = DELTA * GROUPS, DELTA * RANK
    both: Shapes = (
        {"ssm_ba.weight": (2 * RANK, EMBD)}
        if joined
        else {f"ssm_{name}.weight": (RANK, EMBD) for name in ("alpha", "beta")}
    )
    return both | {
        "attn_qkv.weight": (2 * keys + values, EMBD),
        "attn_gate.weight": (values, EMBD),
        "ssm_conv1d.weight": (2 * keys + values, CONV),
        "ssm_dt.bias": (RANK,),
        "ssm_a": (RANK,),
        "ssm_norm.weight": (DELTA,),
        "ssm_out.weight": (EMBD, values),
    }


def _short_convolution() -> Shapes:
    return {
        "shortconv.conv.weight": (EMBD, 3),
        "shortconv.in_proj.weight": (3 * EMBD, EMBD),
        "shortconv.out_proj.weight": (EMBD, EMBD),
    }


def _rwkv(*parts: str) -> Shapes:
    """The matrices, norms and the channel mix that versions 6 and 7 have in common."""
    shapes = {f"time_mix_{part}.weight": (WIDE, WIDE) for part in ("key", "value", *parts)}
    shapes |= {f"time_mix_{part}.weight": (WIDE, WIDE) for part in ("receptance", "output")}
    for norm in ("attn_norm", "attn_norm_2", "time_mix_ln"):
        shapes |= {f"{norm}.weight": (WIDE,), f"{norm}.bias": (WIDE,)}
    return shapes | {
        "channel_mix_lerp_k.weight": (1, 1, WIDE),
        "channel_mix_key.weight": (FF, WIDE),
        "channel_mix_value.weight": (WIDE, FF),
    }


def _rwkv6() -> Shapes:
    extra = 4
    return _rwkv("gate") | {
        "time_mix_w1.weight": (5 * extra, WIDE),
        "time_mix_w2.weight": (5, WIDE, extra),
        "time_mix_lerp_x.weight": (1, 1, WIDE),
        "time_mix_lerp_fused.weight": (5, 1, 1, WIDE),
        "time_mix_first.weight": (1, WIDE),
        "time_mix_decay.weight": (WIDE,),
        "time_mix_decay_w1.weight": (extra, WIDE),
        "time_mix_decay_w2.weight": (WIDE, extra),
        "channel_mix_lerp_r.weight": (1, 1, WIDE),
        "channel_mix_receptance.weight": (WIDE, WIDE),
    }


def _rwkv7() -> Shapes:
    extra = 4
    shapes = _rwkv() | {"time_mix_lerp_fused.weight": (6, 1, 1, WIDE)}
    shapes |= {f"time_mix_{part}.weight": (WIDE,) for part in ("w0", "a0", "v0")}
    shapes |= {f"time_mix_{part}1.weight": (extra, WIDE) for part in "wavg"}
    shapes |= {f"time_mix_{part}2.weight": (WIDE, extra) for part in "wavg"}
    return shapes | {f"time_mix_{part}.weight": (WIDE,) for part in ("k_k", "k_a", "r_k")}


def _plamo2_mamba() -> Shapes:
    inner, rank = 2 * EMBD, 64
    return {
        "ssm_in.weight": (2 * inner, EMBD),
        "ssm_conv1d.weight": (inner, CONV),
        "ssm_x.weight": (rank + 2 * STATE, inner),
        "ssm_dt.weight": (RANK, rank),
        "ssm_dt.bias": (RANK,),
        "ssm_a": (RANK,),
        "ssm_d": (RANK,),
        "ssm_out.weight": (EMBD, inner),
        "ssm_dt_norm": (rank,),
        "ssm_b_norm": (STATE,),
        "ssm_c_norm": (STATE,),
    }


def _kimi(*, experts: bool) -> Shapes:
    """A delta net whose keys, values and queries each have a convolution of their own."""
    inner = HEADS * HEAD
    shapes: Shapes = {f"attn_{part}.weight": (inner, EMBD) for part in "qkv"}
    shapes |= {f"ssm_conv1d_{part}.weight": (inner, 1, CONV) for part in "qkv"}
    for gate in "fg":
        shapes |= {f"ssm_{gate}_a.weight": (HEAD, EMBD), f"ssm_{gate}_b.weight": (inner, HEAD)}
    shapes |= {"ssm_beta.weight": (HEADS, EMBD), "ssm_a": (HEADS, 1), "ssm_dt.bias": (inner,)}
    shapes |= {"ssm_norm.weight": (HEAD,), "attn_output.weight": (EMBD, inner)}
    return shapes | _norms("attn_norm", "ffn_norm") | (_kimi_experts() if experts else _ffn())


def _kimi_experts() -> Shapes:
    shared: Shapes = {f"ffn_{part}_shexp.weight": (EXPERT_FF, EMBD) for part in ("gate", "up")}
    shared |= {"ffn_down_shexp.weight": (EMBD, EXPERT_FF), "exp_probs_b.bias": (EXPERTS,)}
    return _experts() | shared


def _kimi_attention() -> Shapes:
    rank, rotated, key = 8, 4, 12
    return {
        "attn_q.weight": (HEADS * key, EMBD),
        "attn_kv_a_mqa.weight": (rank + rotated, EMBD),
        "attn_kv_a_norm.weight": (rank,),
        "attn_k_b.weight": (HEADS, rank, key - rotated),
        "attn_v_b.weight": (HEADS, HEAD, rank),
        "attn_output.weight": (EMBD, HEADS * HEAD),
        **_norms("attn_norm", "ffn_norm"),
        **_kimi_experts(),
    }


DELTA = 16
"""Values of a delta net's head."""

_HEADS: Keys = {"attention.head_count": HEADS, "rope.dimension_count": HEAD}
_KV: Keys = {**_HEADS, "attention.head_count_kv": KV_HEADS}
_ONE_OF_TWO: Keys = {**_HEADS, "attention.head_count_kv": [0, KV_HEADS]}
_SSM: Keys = {
    "ssm.conv_kernel": CONV,
    "ssm.inner_size": 2 * EMBD,
    "ssm.state_size": STATE,
    "ssm.time_step_rank": RANK,
}
_GROUPED: Keys = {**_SSM, "ssm.group_count": GROUPS}
_DELTA: Keys = {
    **_GROUPED,
    **_KV,
    "ssm.inner_size": DELTA * RANK,
    "ssm.state_size": DELTA,
    "full_attention_interval": 2,
    "attention.key_length": HEAD,
    "attention.value_length": HEAD,
}
_EXPERTS: Keys = {
    "expert_count": EXPERTS,
    "expert_used_count": 2,
    "expert_feed_forward_length": EXPERT_FF,
}


def _qwen3next(mixer: Shapes) -> Shapes:
    shared: Shapes = {"ffn_gate_inp_shexp.weight": (EMBD,)}
    shared |= {f"ffn_{part}_shexp.weight": (FF, EMBD) for part in ("gate", "up")}
    shared |= {"ffn_down_shexp.weight": (EMBD, FF)}
    return mixer | _norms("attn_norm", "post_attention_norm") | _experts() | shared


def _plamo2(mixer: Shapes) -> Shapes:
    ffn: Shapes = {"ffn_up.weight": (2 * FF, EMBD), "ffn_down.weight": (EMBD, FF)}
    posts: Shapes = {"post_attention_norm": (EMBD,), "post_ffw_norm": (EMBD,)}
    return mixer | _norms("attn_norm", "ffn_norm") | ffn | posts


_BOTH = _norms("attn_norm", "ffn_norm")
_POST = _norms("attn_norm", "post_attention_norm")
_LAYER_NORM: Shapes = {
    "token_embd_norm.weight": (WIDE,),
    "token_embd_norm.bias": (WIDE,),
    "output_norm.bias": (WIDE,),
}
_RWKV: Keys = {
    "embedding_length": WIDE,
    "wkv.head_size": WIDE,
    "attention.layer_norm_epsilon": 1e-5,
    "attention.head_count": 0,
}

ARCHITECTURES: dict[str, Architecture] = {
    "mamba": Architecture(
        {**_SSM, "attention.head_count": 0}, (_norms("attn_norm") | _mamba(),) * 2
    ),
    "mamba2": Architecture(
        {**_GROUPED, "attention.head_count": 0}, (_norms("attn_norm") | _mamba2(),) * 2
    ),
    "rwkv6": Architecture(
        {**_RWKV, "time_mix_extra_dim": 4, "time_decay_extra_dim": 4},
        (_rwkv6(), _rwkv6()),
        outside=_LAYER_NORM,
    ),
    "rwkv7": Architecture(
        {
            **_RWKV,
            **{f"attention.{part}_lora_rank": 4 for part in ("decay", "iclr", "gate")},
            "attention.value_residual_mix_lora_rank": 4,
        },
        (_rwkv7(), _rwkv7()),
        outside=_LAYER_NORM,
    ),
    "jamba": Architecture(
        {**_SSM, **_ONE_OF_TWO},
        (_mamba(normed=True) | _BOTH | _ffn(), _attention() | _BOTH | _ffn()),
    ),
    "falcon-h1": Architecture(
        {**_GROUPED, **_KV},
        (_mamba2() | _attention() | _norms("attn_norm") | {"ffn_norm": (EMBD,)} | _ffn(),) * 2,
    ),
    "granitehybrid": Architecture(
        {**_GROUPED, **_ONE_OF_TWO},
        (_mamba2() | _BOTH | _ffn(), _attention() | _BOTH | _ffn()),
    ),
    "nemotron_h": Architecture(
        {
            **_GROUPED,
            **_HEADS,
            "attention.head_count_kv": [0, KV_HEADS, 0],
            "feed_forward_length": [0, 0, FF],
            "attention.layer_norm_epsilon": 1e-5,
        },
        tuple(
            _norms("attn_norm") | mixer for mixer in (_mamba2(), _attention(), _ffn(gated=False))
        ),
    ),
    "lfm2": Architecture(
        {**_ONE_OF_TWO, "shortconv.l_cache": 3},
        (_short_convolution() | _BOTH | _ffn(), _attention(normed=True) | _BOTH | _ffn()),
        last_norm="token_embd_norm",
    ),
    "qwen3next": Architecture(
        {**_DELTA, **_EXPERTS},
        (
            _qwen3next(_delta_net(joined=True)),
            _qwen3next(_attention(normed=True, gated=True)),
        ),
    ),
    "qwen35": Architecture(
        {**_DELTA, "rope.dimension_sections": [2, 1, 1, 0]},
        (
            _delta_net(joined=False) | _POST | _ffn(),
            _attention(normed=True, gated=True) | _POST | _ffn(),
        ),
    ),
    "qwen35moe": Architecture(
        {
            **_DELTA,
            **_EXPERTS,
            "expert_shared_feed_forward_length": FF,
            "rope.dimension_sections": [2, 1, 1, 0],
        },
        (
            _qwen3next(_delta_net(joined=False)),
            _qwen3next(_attention(normed=True, gated=True)),
        ),
    ),
    "lfm2moe": Architecture(
        {
            **_ONE_OF_TWO,
            **_EXPERTS,
            "shortconv.l_cache": 3,
            "leading_dense_block_count": 1,
            "expert_gating_func": 2,
        },
        (
            _short_convolution() | _BOTH | _ffn(),
            _attention(normed=True) | _BOTH | _experts() | {"exp_probs_b.bias": (EXPERTS,)},
        ),
        last_norm="token_embd_norm",
    ),
    "nemotron_h_moe": Architecture(
        {
            **_GROUPED,
            **_HEADS,
            **_EXPERTS,
            "attention.head_count_kv": [0, KV_HEADS, 0],
            "feed_forward_length": [0, 0, FF],
            "attention.layer_norm_epsilon": 1e-5,
            "expert_shared_feed_forward_length": EXPERT_FF,
            "expert_shared_count": 1,
            "expert_gating_func": 2,
            "expert_weights_scale": 1.0,
        },
        tuple(
            _norms("attn_norm") | mixer for mixer in (_mamba2(), _attention(), _ungated_experts())
        ),
    ),
    "plamo2": Architecture(
        {
            **_GROUPED,
            **_ONE_OF_TWO,
            "ssm.group_count": 0,
            "attention.key_length": HEAD,
            "attention.value_length": HEAD,
        },
        (_plamo2(_plamo2_mamba()), _plamo2(_attention(fused=True))),
    ),
    "kimi-linear": Architecture(
        {
            **_EXPERTS,
            "attention.head_count": HEADS,
            "attention.head_count_kv": [0, 1],
            "attention.key_length": 12,
            "attention.value_length": 8,
            "attention.key_length_mla": 12,
            "attention.value_length_mla": HEAD,
            "attention.kv_lora_rank": 8,
            "rope.dimension_count": 4,
            "ssm.conv_kernel": CONV,
            "kda.head_dim": HEAD,
            "expert_shared_count": 1,
            "leading_dense_block_count": 1,
            "expert_gating_func": 2,
            "expert_weights_scale": 1.0,
        },
        (_kimi(experts=False), _kimi_attention()),
    ),
}
"""What each architecture is made of."""
