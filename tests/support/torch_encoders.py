"""Tiny encoders as transformers has them: what their authors take for right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import transformers

from .tiny_encoder import EPS, ROPE_BASE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .tiny_encoder import EncoderSpec, TinyEncoder

BERT_NAMES = {
    "token_embd_norm": "embeddings.LayerNorm",
    "token_embd": "embeddings.word_embeddings",
    "token_types": "embeddings.token_type_embeddings",
    "position_embd": "embeddings.position_embeddings",
    "attn_output_norm": "attention.output.LayerNorm",
    "attn_output": "attention.output.dense",
    "attn_q": "attention.self.query",
    "attn_k": "attention.self.key",
    "attn_v": "attention.self.value",
    "ffn_up": "intermediate.dense",
    "ffn_down": "output.dense",
    "layer_output_norm": "output.LayerNorm",
    "blk": "encoder.layer",
}
MODERN_NAMES = {
    "token_embd_norm": "embeddings.norm",
    "token_embd": "embeddings.tok_embeddings",
    "attn_qkv": "attn.Wqkv",
    "attn_output": "attn.Wo",
    "ffn_norm": "mlp_norm",
    "ffn_up": "mlp.Wi",
    "ffn_down": "mlp.Wo",
    "output_norm": "final_norm",
    "blk": "layers",
}
"""Parts of names, GGUF's and transformers'; what is not here has the same in both."""


class TorchEncoder:
    """BERT, XLM-RoBERTa or ModernBERT, with GELU as llama.cpp has it, in float64."""

    def __init__(self, model: TinyEncoder) -> None:
        """With the weights of a written model."""
        self.spec = model.spec
        self.is_roberta = model.spec.arch == "bert" and model.spec.vocab.model != "bert"
        made = self._modern() if model.spec.arch == "modern-bert" else self._bert()
        self.model = made.double().eval()
        weights = {self._name(name): torch.tensor(w) for name, w in model.weights.items()}
        self.model.load_state_dict(weights, strict=True)

    def __call__(self, tokens: Sequence[int], segments: Sequence[int]) -> list[float]:
        """The head's outputs."""
        inputs: dict[str, Any] = {"input_ids": torch.tensor([tokens])}
        if self.spec.arch == "bert":
            inputs["token_type_ids"] = torch.tensor([segments])
            inputs["position_ids"] = torch.arange(len(tokens))[None]
        with torch.no_grad():
            return [float(value) for value in self.model(**inputs).logits[0]]

    def _bert(self) -> Any:
        kind = "XLMRoberta" if self.is_roberta else "Bert"
        config = getattr(transformers, f"{kind}Config")(
            **_sizes(self.spec),
            hidden_act="gelu_new",
            type_vocab_size=self.spec.segments,
            layer_norm_eps=EPS,
        )
        return getattr(transformers, f"{kind}ForSequenceClassification")(config)

    def _modern(self) -> Any:
        rope = {"rope_type": "default", "rope_theta": ROPE_BASE}
        config = transformers.ModernBertConfig(
            **_sizes(self.spec),
            hidden_activation="gelu_new",
            norm_eps=EPS,
            local_attention=self.spec.window,
            rope_parameters={"full_attention": rope, "sliding_attention": rope},
            classifier_pooling="mean" if self.spec.mean else "cls",
            attn_implementation="eager",
        )
        return transformers.ModernBertForSequenceClassification(config)

    def _name(self, name: str) -> str:
        if self.spec.arch == "modern-bert":
            heads = {"cls.output": "classifier", "cls.norm": "head.norm", "cls": "head.dense"}
            names, body = MODERN_NAMES, "model"
        elif self.is_roberta:
            heads = {"cls.output": "classifier.out_proj", "cls": "classifier.dense"}
            names, body = BERT_NAMES, "roberta"
        else:
            heads = {"cls.output": "classifier", "cls": "bert.pooler.dense"}
            names, body = BERT_NAMES, "bert"
        path, _, kind = name.rpartition(".")
        if path in heads:
            return f"{heads[path]}.{kind}"
        parts = (names.get(part, part) for part in path.split("."))
        return f"{body}.{'.'.join(parts)}.{kind}"


def _sizes(spec: EncoderSpec) -> dict[str, int]:
    return {
        "vocab_size": len(spec.vocab.tokens),
        "hidden_size": spec.n_embd,
        "num_hidden_layers": spec.n_layer,
        "num_attention_heads": spec.n_head,
        "intermediate_size": spec.n_ff,
        "max_position_embeddings": spec.n_ctx_train,
        "num_labels": spec.outputs,
        "pad_token_id": 0,
    }
