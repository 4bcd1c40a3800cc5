"""Plain completions over HTTP: echo with scores, several prompts, forms, llama-server's fields."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from rewardshift.serve.wire.forms import lark_of
from tests.support.served import VOCAB, decoder_of, events_of, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.testclient import TestClient

    from rewardshift import Decoder
    from tests.conftest import Files

ASKED: dict[str, Any] = {"prompt": "ab cd", "max_tokens": 12, "seed": 3}
URL = "/v1/completions"
A, B = VOCAB.tokens.index("a"), VOCAB.tokens.index("b")


@pytest.fixture(scope="module")
def client(files: Files) -> Iterator[TestClient]:
    with serving(files) as opened:
        yield opened


@pytest.fixture(scope="module")
def decoder(files: Files) -> Iterator[Decoder]:
    with decoder_of(files) as opened:
        yield opened


def asked_of(client: TestClient, **fields: Any) -> dict[str, Any]:
    answer = client.post(URL, json={**ASKED, **fields})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert isinstance(found, dict)
    return found


def texts_of(answer: dict[str, Any]) -> list[str]:
    assert [choice["index"] for choice in answer["choices"]] == list(range(len(answer["choices"])))
    return [choice["text"] for choice in answer["choices"]]


def streamed(client: TestClient, choices: int = 1, **fields: Any) -> list[str]:
    texts = [""] * choices
    for event in events_of(client.post(URL, json={**ASKED, **fields, "stream": True})):
        assert event["object"] == "text_completion"
        for choice in event["choices"]:
            texts[choice["index"]] += choice["text"]
    return texts


# --- prompts --------------------------------------------------------------------------------------


def test_a_text_and_its_ids_are_one_prompt(client: TestClient, decoder: Decoder) -> None:
    alone = decoder.generate("ab cd", max_tokens=12, seed=3).text
    for prompt in ("ab cd", decoder.tokenize("ab cd"), ["ab cd"], [decoder.tokenize("ab cd")]):
        assert texts_of(asked_of(client, prompt=prompt)) == [alone]
    assert streamed(client) == [alone]


def test_several_prompts_are_a_batch(client: TestClient, decoder: Decoder) -> None:
    prompts = ["ab", "cd ab", "b"]
    batch = decoder.generate_batch(prompts, max_tokens=12, seed=3)
    answer = asked_of(client, prompt=prompts)
    assert texts_of(answer) == [completion.text for completion in batch]
    assert answer["usage"]["prompt_tokens"] == sum(c.prompt_tokens for c in batch)
    assert streamed(client, 3, prompt=prompts) == texts_of(answer)


def test_several_choices_of_several_prompts_come_prompt_by_prompt(
    client: TestClient, decoder: Decoder
) -> None:
    batch = decoder.generate_batch(["ab", "ab", "cd", "cd"], max_tokens=12, seed=3)
    answer = asked_of(client, prompt=["ab", "cd"], n=2)
    assert texts_of(answer) == [completion.text for completion in batch]
    assert answer["usage"]["prompt_tokens"] == batch[0].prompt_tokens + batch[2].prompt_tokens


def test_the_best_of_several_are_the_most_probable(client: TestClient, decoder: Decoder) -> None:
    batch = decoder.generate_batch(["ab"] * 6, max_tokens=12, seed=3)
    means = [sum(c.logprobs) / len(c.logprobs) for c in batch]
    best = sorted(sorted(range(6), key=lambda i: -means[i])[:2])
    answer = asked_of(client, prompt="ab", n=2, best_of=6)
    assert texts_of(answer) == [batch[i].text for i in best]
    assert answer["usage"]["completion_tokens"] == sum(len(c.steps) for c in batch)


# --- echo and log-probabilities -------------------------------------------------------------------


def test_an_echo_has_the_scores_of_its_prompt(client: TestClient, decoder: Decoder) -> None:
    """As lm-eval's local-completions asks for them; its "greedy" compares floats for equality."""
    likely = decoder.generate("ab cd", temperature=0, max_tokens=6).tokens
    ids = [*decoder.tokenize("ab cd"), *likely, A, B]
    fields = {"temperature": 0, "max_tokens": 1, "logprobs": 1, "echo": True}
    told = asked_of(client, prompt=ids, **fields)["choices"][0]["logprobs"]
    score = decoder.score(ids[:1], ids[1:], temperature=0, top_logprobs=1)
    assert told["token_logprobs"][0] is None
    assert told["token_logprobs"][1:-1] == pytest.approx(list(score.goal_logprobs), abs=1e-4)
    greedy = [
        logprob == max(top.values())
        for logprob, top in zip(
            told["token_logprobs"][1:-1], told["top_logprobs"][1:-1], strict=True
        )
    ]
    best = [next(iter(top)) for top in score.top_logprobs]
    assert greedy == [b == t for b, t in zip(best, ids[1:], strict=True)]
    assert any(greedy)
    assert not all(greedy)
    assert told["token_logprobs"][-1] == max(told["top_logprobs"][-1].values())


def test_an_echo_without_new_tokens_is_a_score(client: TestClient, decoder: Decoder) -> None:
    answer = asked_of(client, max_tokens=0, logprobs=2, echo=True, temperature=1)
    ids = decoder.tokenize("ab cd")
    score = decoder.score(ids[:1], ids[1:])
    choice = answer["choices"][0]
    assert choice["text"] == "ab cd"
    assert choice["logprobs"]["token_logprobs"][0] is None
    scores = choice["logprobs"]["token_logprobs"][1:]
    assert scores == pytest.approx(list(score.goal_logprobs), abs=1e-4)
    assert answer["usage"]["completion_tokens"] == 0
    for entry, top in zip(
        choice["logprobs"]["token_logprobs"][1:],
        choice["logprobs"]["top_logprobs"][1:],
        strict=True,
    ):
        assert entry in top.values()
        assert 2 <= len(top) <= 3


def test_an_echo_comes_first_in_a_stream(client: TestClient) -> None:
    whole = asked_of(client, echo=True, logprobs=1)["choices"][0]
    events = events_of(
        client.post(URL, json={**ASKED, "echo": True, "logprobs": 1, "stream": True})
    )
    told = [event["choices"][0] for event in events]
    assert told[0]["text"] == "ab cd"
    assert "".join(choice["text"] for choice in told) == whole["text"]
    for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset"):
        parts = [choice["logprobs"][name] for choice in told if choice["logprobs"]]
        assert [entry for part in parts for entry in part] == whole["logprobs"][name]


@pytest.mark.parametrize(("name", "finish"), [("</s>", "stop"), ("<s>", "length")])
def test_a_last_token_without_text_has_its_log_probability(
    client: TestClient, decoder: Decoder, name: str, finish: str
) -> None:
    bias = {str(VOCAB.tokens.index(name)): 100}
    asked = {"echo": True, "logprobs": 1, "logit_bias": bias, "max_tokens": 1}
    [choice] = asked_of(client, **asked)["choices"]
    assert (choice["text"], choice["finish_reason"]) == (ASKED["prompt"], finish)
    assert len(choice["logprobs"]["tokens"]) == len(decoder.tokenize(ASKED["prompt"])) + 1
    assert choice["logprobs"]["tokens"][-1] == name
    assert choice["logprobs"]["token_logprobs"][-1] == pytest.approx(0)
    events = events_of(client.post(URL, json={**ASKED, **asked, "stream": True}))
    last = events[-1]["choices"][0]
    assert last["finish_reason"] == finish
    assert last["logprobs"]["tokens"] == [name]


def test_text_offsets_point_into_the_text(client: TestClient) -> None:
    choice = asked_of(client, echo=True, logprobs=0, prompt="ab cd", logit_bias={str(A): 100})
    choice = choice["choices"][0]
    told = choice["logprobs"]
    assert choice["text"] == "ab cd" + "a" * 12
    assert told["top_logprobs"] is None
    for token, offset in zip(told["tokens"][1:], told["text_offset"][1:], strict=True):
        assert choice["text"][offset : offset + len(token)] == token


# --- forms ----------------------------------------------------------------------------------------


def test_a_schema_comes_in_three_spellings(client: TestClient) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]}
    schema["additionalProperties"] = False
    spelled: tuple[dict[str, Any], ...] = (
        {"response_format": {"type": "json_schema", "json_schema": {"schema": schema}}},
        {"response_format": {"type": "json_object", "schema": schema}},
        {"json_schema": schema},
    )
    found = [asked_of(client, max_tokens=200, **form)["choices"][0] for form in spelled]
    assert len({choice["text"] for choice in found}) == 1
    assert isinstance(json.loads(found[0]["text"])["a"], bool)


@pytest.mark.parametrize(
    ("grammar", "answers"),
    [
        ('root ::= "ab" | "cd"', {"ab", "cd"}),
        ('root ::= ("a" | "b"){2}\n', {"aa", "ab", "ba", "bb"}),
        ('root ::= x "\\u0063"\nx ::= [ab]', {"ac", "bc"}),
        ('start: "ab" | "cd"', {"ab", "cd"}),
    ],
)
def test_a_grammar_is_gbnf_or_lark(client: TestClient, grammar: str, answers: set[str]) -> None:
    for seed in range(4):
        assert asked_of(client, grammar=grammar, seed=seed)["choices"][0]["text"] in answers


@pytest.mark.parametrize(
    "grammar",
    ["root ::= (", "root ::= nobody", "root = 1", "nonsense", 'root ::= "a" ! "b"', "root ::= [a"],
)
def test_a_grammar_that_cannot_be_read_is_refused(client: TestClient, grammar: str) -> None:
    answer = client.post(URL, json={**ASKED, "grammar": grammar})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["code"] == "invalid_grammar"


def test_characters_of_gbnf_are_those_that_it_names() -> None:
    assert '"AB"' in lark_of('root ::= "\\u0041B"')
    assert '"\N{GRINNING FACE}"' in lark_of('root ::= "\\U0001F600"')
    assert r'"\\u0041"' in lark_of(r'root ::= "\\u0041"')
    assert r'"\x22"' in lark_of(r'root ::= "\u0022"')


def test_two_forms_at_once_are_refused(client: TestClient) -> None:
    answer = client.post(URL, json={**ASKED, "regex": "a", "choice": ["b"]})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "choice"


# --- fields ---------------------------------------------------------------------------------------


def test_a_pace_is_that_of_the_tokens_after_the_first(client: TestClient) -> None:
    many = asked_of(client, ignore_eos=True)["timings"]
    assert many["predicted_n"] == 12
    assert many["predicted_per_second"] == pytest.approx(1000 * 11 / many["predicted_ms"])
    one = asked_of(client, max_tokens=1)["timings"]
    assert (one["predicted_per_second"], one["predicted_per_token_ms"]) == (0, 0)


def test_biases_come_in_two_spellings(client: TestClient) -> None:
    for bias in ({str(A): 100}, [[A, 100]]):
        assert texts_of(asked_of(client, logit_bias=bias)) == ["a" * 12]
    never = [[token, False] for token in range(len(VOCAB.tokens)) if token != B]
    assert texts_of(asked_of(client, logit_bias=never)) == ["b" * 12]


def test_what_ends_an_answer_can_be_ignored(client: TestClient) -> None:
    ended = asked_of(client, logit_bias={str(VOCAB.eos): 100})["choices"][0]
    assert (ended["text"], ended["finish_reason"]) == ("", "stop")
    going = asked_of(client, ignore_eos=True, logit_bias={str(VOCAB.eos): 100})
    assert going["choices"][0]["finish_reason"] == "length"
    assert going["usage"]["completion_tokens"] == 12


def test_a_stop_string_ends_the_text_and_its_log_probabilities(client: TestClient) -> None:
    bias = [[A, 100]]
    choice = asked_of(client, logit_bias=bias, stop="aaaa", logprobs=0)["choices"][0]
    assert (choice["text"], choice["finish_reason"]) == ("", "stop")
    assert choice["logprobs"]["tokens"] == []


@pytest.mark.parametrize("name", ["n_predict", "max_tokens"])
def test_the_length_has_two_names(client: TestClient, name: str) -> None:
    asked = {**ASKED, "ignore_eos": True}
    del asked["max_tokens"]
    answer = client.post(URL, json={**asked, name: 5}).json()
    assert answer["usage"]["completion_tokens"] == 5


def test_a_request_that_does_not_say_gets_a_quarter_of_the_context(client: TestClient) -> None:
    asked = {**ASKED, "ignore_eos": True}
    del asked["max_tokens"]
    assert client.post(URL, json=asked).json()["usage"]["completion_tokens"] == 128


def test_llama_servers_extras(client: TestClient, decoder: Decoder) -> None:
    alone = decoder.generate("ab cd", max_tokens=12, seed=3)
    fields = {"return_tokens": True, "timings_per_token": True, "return_progress": True}
    whole = asked_of(client, **fields, cache_prompt=True)
    assert whole["choices"][0]["tokens"] == list(alone.tokens)
    timings = whole["timings"]
    assert (timings["prompt_n"], timings["predicted_n"]) == (alone.prompt_tokens, len(alone.steps))
    assert timings["draft_n"] == alone.statistics.drafted
    assert timings["prompt_ms"] > 0
    events = events_of(client.post(URL, json={**ASKED, **fields, "stream": True}))
    assert all("timings" in event for event in events if "prompt_progress" in event)
    assert events[0]["timings"]["prompt_ms"] == 0  # nothing is read yet
    progress = [e["prompt_progress"]["processed"] for e in events if "prompt_progress" in e]
    assert progress == [0, alone.prompt_tokens]
    tokens = [t for e in events for c in e["choices"] for t in c.get("tokens", [])]
    assert tokens == list(alone.tokens)
    counts = [e["timings"]["predicted_n"] for e in events if "timings" in e]
    assert counts == sorted(counts)
    assert counts[-1] == len(alone.steps)


def test_unknown_fields_are_ignored_unless_the_server_is_strict(
    client: TestClient, files: Files
) -> None:
    assert texts_of(asked_of(client, mirostat=2, nobody_knows=1)) == texts_of(asked_of(client))
    with serving(files, strict=True) as strict:
        refused = strict.post(URL, json={**ASKED, "nobody_knows": 1})
        assert refused.status_code == 400
        assert refused.json()["error"]["param"] == "nobody_knows"
        assert strict.post(URL, json={**ASKED, "cache_prompt": True}).status_code == 200
        assert strict.post(URL, json={**ASKED, "user": "x", "store": True}).status_code == 200


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"suffix": "x"}, "suffix"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [[]]}, "no tokens"),
        ({"prompt": ["a", 1]}, "prompt"),
        ({"prompt": [-1]}, "vocabulary"),
        ({"prompt": None}, "prompt"),
        ({"best_of": 0}, "best_of"),
        ({"best_of": 2, "n": 3}, "best_of"),
        ({"best_of": 2, "stream": True}, "best_of"),
        ({"prompt": ["a"] * 30, "n": 10}, "answers"),
        ({"logprobs": -1}, "logprobs"),
        ({"logprobs": 10**6}, "logprobs"),
        ({"logit_bias": {"a": 1}}, "logit_bias"),
        ({"logit_bias": {"9" * 30: 1}}, "logit_bias"),
        ({"logit_bias": [[1]]}, "logit_bias"),
        ({"logit_bias": [[10**6, 1]]}, "logit_bias"),
        ({"stop": "a" * 2000}, "stop"),
        ({"max_tokens": -7}, "max_tokens"),
        ({"response_format": {"type": "poem"}}, "poem"),
        ({"response_format": {"type": "json_object", "schema": 123}}, "schema"),
        ({"tree_width": 10**6}, "tree_width"),
    ],
)
def test_what_is_wrong_is_a_400_that_says_so(
    client: TestClient, fields: dict[str, Any], said: str
) -> None:
    answer = client.post(URL, json={**ASKED, **fields})
    assert answer.status_code == 400, answer.text
    assert said in answer.json()["error"]["message"]
