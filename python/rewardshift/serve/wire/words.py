"""What each field of a request means, in a few words, for whoever reads the API's description."""

from __future__ import annotations

from typing import Any

WORDS = {
    # of most requests
    "model": "Any name: there is one model.",
    "stream": "Whether the answer comes as it is made, as server-sent events.",
    "stream_options": "include_usage sends a last chunk about usage.",
    "n": "Answers: the substreams 0, 1, ... of one seed.",
    "max_tokens": "Of an answer; -1 is what fits. Unset: -n, or a quarter of the context.",
    "temperature": "At 0, the most probable token. Unset: the server's default.",
    "top_p": "Only the most probable tokens, with this share of the mass together.",
    "stop": "An answer ends before this text, or any of these.",
    "seed": "Fixes the text: such answers are decoded one after another, unless deterministic is "
    "false.",
    "logit_bias": "Added to logits by token id; or a list of pairs, in which false forbids.",
    "frequency_penalty": "For each time that a token stands in the last penalty_last_n tokens.",
    "presence_penalty": "For tokens that stand in the last penalty_last_n tokens.",
    "response_format": "json_object, or json_schema with a schema.",
    "logprobs": "Log-probabilities of the law that was sampled from, of drafted tokens, too.",
    "top_logprobs": "Alternatives of each token whose log-probabilities are told.",
    # as llama-server has them
    "n_predict": "Another name of max_tokens.",
    "n_probs": "Another name of top_logprobs.",
    "grammar": "GBNF, or llguidance's dialect of Lark.",
    "cache_prompt": "What is cached changes no answer.",
    "top_k": "Only so many of the most probable tokens; 0 is all.",
    "min_p": "Only tokens with this share of the most probable one's probability.",
    "repeat_penalty": "Weakens the last penalty_last_n tokens; 1 does nothing.",
    "repeat_last_n": "Another name of penalty_last_n.",
    "json_schema": "What the answer must be, like response_format's.",
    "ignore_eos": "Goes on until max_tokens.",
    "timings_per_token": "Timings in each chunk; whole answers and last chunks have them anyway.",
    "return_tokens": "The ids of each choice's tokens.",
    "return_progress": "How much of the prompt is read, before and after.",
    "post_sampling_probs": "Probabilities in place of their logarithms.",
    "response_fields": "Only these fields of the answer, by their paths.",
    # ours
    "regex": "What the answer must be, as a regular expression.",
    "choice": "Texts of which the answer must be one.",
    "strength": 'The exponent of the shift, of any sign; of several by name, {"positive": 1}, in '
    "which those that are not named are 0. Unset: each shift's default.",
    "rule": "How drafts are judged: exactly (exact), as the paper does, or without a shift.",
    "verification": "Whether drafts are judged as a block, or token by token.",
    "num_draft_tokens": "Tokens drafted at a time. Unset: chosen by what was measured.",
    "tree_width": "Alternatives drafted at each place.",
    "prompt_lookup": "Whether to draft what followed the last words where they stood before.",
    "penalty_last_n": "Tokens over which penalties look back.",
    "deterministic": "Whether the text follows from the request alone. Unset: if it has a seed.",
    "continue_from": "Token ids that the answer begins with; they are not repeated.",
    "return_token_info": "Each token with what the models thought of it, in rewardshift.tokens.",
    # conversations
    "messages": "The conversation: texts, or lists of text parts.",
    "max_completion_tokens": "Another name of max_tokens.",
    "tools": "Functions that the answer may call.",
    "tool_choice": "auto, none, required, or a function that must be called.",
    "parallel_tool_calls": "False is one call, where calls are required.",
    "chat_template_kwargs": "What else the chat template is to know.",
    "add_generation_prompt": "Whether the conversation ends where the model is to speak.",
    # plain completions
    "prompt": "A text, token ids, or several of either.",
    "echo": "The prompt comes back, with its scores if logprobs asks for them.",
    "best_of": "Of so many answers, the n most probable by token are shown.",
    "suffix": "Refused.",
    # responses
    "input": "A text, or items: messages, function_call and function_call_output.",
    "instructions": "Come before the conversation.",
    "max_output_tokens": "Another name of max_tokens.",
    "text": "Its format is what response_format is elsewhere, flatter.",
    "include": "message.output_text.logprobs.",
    "previous_response_id": "Refused: send the whole conversation.",
    "conversation": "Refused: send the whole conversation.",
    "background": "Refused.",
    "store": "Accepted; nothing is stored.",
    "metadata": "Comes back.",
    "reasoning": "Accepted, and ignored.",
    "truncation": "Accepted, and ignored.",
    "user": "Comes back.",
    # scores and tokens
    "continuation": "What is scored, a text or token ids, after prompt or messages.",
    "add_special": "Whether texts get the tokens that they begin with.",
    "parse_special": "Whether control tokens are recognised in texts.",
    "content": "A text, or pieces of text and token ids.",
    "with_pieces": "Whether each id comes with its text.",
    "add_special_tokens": "Whether the text gets the tokens that it begins with.",
    "return_token_strs": "Whether the texts of tokens come, too.",
    "tokens": "Token ids.",
}


def describe(schema: dict[str, Any]) -> None:
    """Adds the words to a request's JSON schema."""
    for name, told in schema.get("properties", {}).items():
        if name in WORDS:
            told["description"] = WORDS[name]
