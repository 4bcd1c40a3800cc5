"""llama-server's own completions: its shapes, over the decoder's answers."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.served import decoder_of, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from httpx import Response
    from starlette.testclient import TestClient

    from rewardshift import Completion
    from tests.conftest import Files

ASKED: dict[str, Any] = {"prompt": "ab cd", "n_predict": 24, "seed": 7}


@pytest.fixture(scope="module")
def client(files: Files) -> Iterator[TestClient]:
    with serving(files) as opened:
        yield opened


@pytest.fixture(scope="module")
def alone(files: Files) -> Completion:
    """What the decoder itself answers."""
    with decoder_of(files) as decoder:
        return decoder.generate("ab cd", max_tokens=24, seed=7, top_logprobs=2)


def post(client: TestClient, **asked: Any) -> Any:
    answer = client.post("/completion", json={**ASKED, **asked})
    assert answer.status_code == 200, answer.text
    return answer.json()


def events_of(answer: Response) -> list[dict[str, Any]]:
    """The data of a stream, which does not end with [DONE]."""
    assert answer.status_code == 200, answer.text
    return [json.loads(line.removeprefix("data: ")) for line in answer.text.split("\n\n") if line]


def test_biases_are_told_and_no_token_is_null(client: TestClient) -> None:
    told = post(client, ignore_eos=True, logit_bias=[[3, 1.5]])["generation_settings"]
    assert told["logit_bias"] == [{"token": 3, "bias": 1.5}, {"token": 2, "bias": None}]
    assert post(client)["generation_settings"]["logit_bias"] == []


def test_an_answer_is_the_decoders(client: TestClient, alone: Completion) -> None:
    told = post(client)
    assert told["content"] == alone.text
    assert (told["stop"], told["stop_type"], told["stopping_word"]) == (True, "limit", "")
    assert (told["tokens"], told["tokens_predicted"]) == ([], 24)
    assert told["tokens_evaluated"] == alone.prompt_tokens
    assert told["prompt"] == "<s>ab cd"
    assert told["has_new_line"] == ("\n" in alone.text)
    assert told["generation_settings"]["n_predict"] == 24
    assert told["generation_settings"]["seed"] == 7
    assert told["timings"]["predicted_n"] == 24
    assert told["timings"]["draft_n_accepted"] == alone.statistics.accepted
    assert told["rewardshift"]["seed"] == 7
    assert "completion_probabilities" not in told
    assert client.post("/completions", json=ASKED).json()["content"] == alone.text
    assert post(client, return_tokens=True)["tokens"] == list(alone.tokens)


def test_a_stream_has_the_same_in_pieces(client: TestClient, alone: Completion) -> None:
    answer = client.post(
        "/completion", json={**ASKED, "stream": True, "n_probs": 2, "timings_per_token": True}
    )
    *pieces, last = events_of(answer)
    assert "".join(piece["content"] for piece in pieces) == alone.text
    ids = [token for piece in pieces for token in piece["tokens"]]
    assert ids == list(alone.tokens[: len(ids)])
    assert not any(piece["stop"] for piece in pieces)
    assert all("timings" in piece for piece in pieces)
    entries = [entry for piece in pieces for entry in piece["completion_probabilities"]]
    assert [entry["id"] for entry in entries] == ids
    assert [entry["logprob"] for entry in entries] == [s.logprob for s in alone.steps[: len(ids)]]
    assert (last["stop"], last["stop_type"], last["content"]) == (True, "limit", "")
    assert last["tokens_predicted"] == 24


def test_probabilities_are_those_of_the_law(client: TestClient, alone: Completion) -> None:
    told = post(client, n_probs=2)["completion_probabilities"]
    assert any(step.origin == "draft" for step in alone.steps)
    for entry, step in zip(told, alone.steps, strict=False):
        assert (entry["id"], entry["logprob"]) == (step.id, step.logprob)
        assert len(entry["top_logprobs"]) >= 2
    after = post(client, n_probs=2, post_sampling_probs=True)["completion_probabilities"]
    assert [entry["prob"] for entry in after] == [math.exp(entry["logprob"]) for entry in told]
    assert "top_logprobs" not in after[0]
    assert after[0]["top_probs"][0]["prob"] <= 1


def test_what_ends_an_answer_is_told(files: Files, client: TestClient, alone: Completion) -> None:
    found = re.search("[ -~]{2}", alone.text)
    assert found is not None
    word = found.group()
    told = post(client, stop=["never such", word])
    assert (told["stop_type"], told["stopping_word"]) == ("word", word)
    assert told["content"] == alone.text[: alone.text.index(word)]
    with decoder_of(files) as decoder:
        end = decoder.end_of_generation[0]
    assert post(client, logit_bias=[[end, 1e4]])["stop_type"] == "eos"
    assert post(client, logit_bias=[[end, 1e4]], ignore_eos=True)["stop_type"] == "limit"


def test_prompts_may_be_ids_mixed_and_many(client: TestClient, files: Files) -> None:
    with decoder_of(files) as decoder:
        ids = decoder.tokenize("ab cd")
        mixed = [*decoder.tokenize("ab"), 5, *decoder.tokenize("cd", add_special=False)]
        texts = [
            decoder.generate(prompt, max_tokens=24, seed=7, substream=i).text
            for i, prompt in enumerate([ids, mixed])
        ]
        alone = decoder.generate(mixed, max_tokens=24, seed=7).text
    assert post(client, prompt=ids)["content"] == post(client)["content"]
    assert post(client, prompt=["ab", 5, "cd"])["content"] == alone
    many = post(client, prompt=["ab cd", ["ab", 5, "cd"]])
    assert [told["content"] for told in many] == texts
    assert [told["index"] for told in many] == [0, 1]
    assert isinstance(post(client, prompt=["ab cd"]), list)
    assert post(client, prompt={"prompt_string": "ab cd"})["content"] == post(client)["content"]


def test_fields_are_chosen(client: TestClient) -> None:
    fields = ["content", "generation_settings/n_predict", "nothing/such"]
    told = post(client, response_fields=fields)
    assert told == {"content": post(client)["content"], "generation_settings/n_predict": 24}
    assert len(post(client, response_fields=[])) > 10


def test_a_form_is_kept(client: TestClient) -> None:
    schema = {"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 2}
    told = post(client, json_schema=schema, n_predict=60)
    assert all(isinstance(value, bool) for value in json.loads(told["content"]))
    told = post(client, grammar='root ::= "ab" | "cd"')
    assert told["content"] in ("ab", "cd")


def test_what_contradicts_itself_is_the_asker_s_fault(client: TestClient) -> None:
    answer = client.post("/completion", json={**ASKED, "regex": "ab", "ignore_eos": True})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "nothing_possible"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [True]}, "prompt"),
        ({"prompt": {"prompt_string": "ab", "multimodal_data": ["x"]}}, "prompt"),
        ({"prompt": [-1]}, "vocabulary"),
        ({"prompt": ["ab", 10**6]}, "vocabulary"),
        ({"prompt": ["a"] * 1000}, "prompts"),
        ({"n": 2}, "n"),
        ({"n_probs": -1}, "n_probs"),
        ({"n_predict": -7}, "max_tokens"),
        ({"grammar": "root ::= ["}, "grammar"),
        ({"response_fields": "content"}, "response_fields"),
    ],
)
def test_what_is_wrong_is_a_400_that_says_so(
    client: TestClient, fields: dict[str, Any], said: str
) -> None:
    answer = client.post("/completion", json={**ASKED, **fields})
    assert answer.status_code == 400, answer.text
    assert said in answer.json()["error"]["message"]
