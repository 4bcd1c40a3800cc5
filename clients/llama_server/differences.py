"""What llama.cpp's tests of its server ask for that ours does not do, and why. The whole list."""

from __future__ import annotations

UNITS = (
    *("test_security", "test_tokenize", "test_basic", "test_completion", "test_chat_completion"),
    *("test_ctx_shift", "test_metrics", "test_ignore_eos"),
)

TOY_TEXTS = {
    "(Aside|she|felter|alonger)+",
    "(Suddenly)+",
    '(Suddenly)+|\\{ " Sarax.',
    "(going|bed)+",
    "(princesses|everyone|kids|Anna|forest)+",
    "But she couldn't",
    "Whillicter",
    "[ -3000 ]",
    "^ blue",
}
"""Patterns of what the toy model says; another model says something else."""

LEFT_OUT = {
    **dict.fromkeys(
        (
            "test_security::test_cors_origins_localhost_reflects",
            "test_security::test_cors_origins_localhost_rejects",
            "test_security::test_cors_origins_defaults_to_localhost_with_tools_enabled",
        ),
        "One process serves one model: there is no router. Origins are allowed one by one, with "
        "their port",
    ),
    "test_security::test_cors_proxy_only_forwards_explicit_proxy_headers": "There is no proxy",
    "test_security::test_local_media_file": "No model here sees pictures",
    "test_basic::test_load_split_model": "The file is on the hub",
    "test_completion::test_n_probs_post_backend_sampling": "There is one way to sample",
    "test_metrics::test_metrics_embedding_prompt_is_counted": "No model here embeds",
}
"""Tests that are not run: what they are about is not there."""

_TEMPLATES = "Chat templates come from the model's file: none is chosen by name or file"
_FIRST_CHUNK = (
    "The first chunk of a chat has the content \"\", as OpenAI's has; llama-server's null"
)
_CACHED = "How much of a prompt was cached is not known: it is null, or not told"
_ALWAYS = "`/metrics`, `/slots` and `/` are always there, without a flag"
_METRICS = "Metrics are `rewardshift:…`, and some of llama-server's are missing"
_OVERFLOW = (
    'A prompt too long is OpenAI\'s "context_length_exceeded", with its counts in the message'
)
_PREFLIGHT = "A preflight is answered by 204, and allows what was asked for"
_BIAS = "`logit_bias` is of token ids; texts are refused"

DIFFERENT = {
    "test_security::test_access_static_assets_without_api_key": "There is no service worker",
    "test_security::test_cors_options": _PREFLIGHT,
    "test_basic::test_server_multiple_addresses": "It listens at one address",
    "test_basic::test_server_slots": _ALWAYS,
    "test_basic::test_no_ui": _ALWAYS,
    "test_basic::test_server_model_aliases_and_tags": "A model has one name, and no tags",
    "test_completion::test_completion_stream": "`generation_settings` names our parameters, not "
    "those of llama.cpp's samplers",
    "test_completion::test_n_probs_stream": "A chunk may have several tokens, each with its "
    "probabilities: several drafts are accepted at once",
    "test_completion::test_logit_bias[False-False]": _BIAS,
    "test_completion::test_logit_bias[False-True]": _BIAS,
    "test_completion::test_completion_prompt_cache": _CACHED,
    "test_chat_completion::test_chat_completion[None-Book-What is the best book-8-(Suddenly)+|"
    '\\\\{ " Sarax.-77-8-length-True-chatml]': _TEMPLATES,
    "test_chat_completion::test_chat_completion[None-Book-What is the best book-8-^ blue-23-8-"
    "length-True-This is not a chat template, it is]": _TEMPLATES,
    "test_chat_completion::test_chat_completion_cached_tokens": _CACHED,
    "test_chat_completion::test_chat_completion_stream": _FIRST_CHUNK,
    "test_chat_completion::test_chat_completion_with_timings_per_token": _FIRST_CHUNK,
    "test_chat_completion::test_logprobs_stream": _FIRST_CHUNK,
    "test_chat_completion::test_chat_template": _TEMPLATES,
    "test_chat_completion::test_chat_template_assistant_prefill": _TEMPLATES,
    "test_chat_completion::test_chat_template_continue_final_message_vllm_compat": _TEMPLATES,
    "test_chat_completion::test_chat_template_continue_final_message_mutual_exclusion": _TEMPLATES,
    "test_chat_completion::test_apply_chat_template": _TEMPLATES,
    "test_chat_completion::test_invalid_chat_completion_req[messages7]": "Two answers in a row are "
    "the template's affair",
    "test_chat_completion::test_context_size_exceeded": _OVERFLOW,
    "test_chat_completion::test_context_size_exceeded_stream": _OVERFLOW,
    "test_chat_completion::test_return_progress": _CACHED,
    "test_chat_completion::test_verbose_debug": "Answers do not repeat the prompt",
    "test_ctx_shift::test_ctx_shift_enabled": "The context is never shifted: an answer ends there",
    "test_ctx_shift::test_ctx_shift_disabled_short_prompt[-1-248-True]": "An answer that fills the "
    'context ends with "length"; none is called truncated, and the length is of other tokens',
    "test_metrics::test_metrics_disabled": _ALWAYS,
    "test_metrics::test_metrics_prometheus_format": _METRICS,
    "test_metrics::test_metrics_prompt_processed_and_cached": _CACHED,
    "test_metrics::test_metrics_predicted_total_matches_requests": _METRICS,
}
"""Tests that fail, and must."""
