"""Twenty JSON schemas of every kind, each with a question that asks for such an answer.

    python benchmarks/json_schemas.py answers.jsonl            # 1,000 answers by SmolLM2, validated
    python benchmarks/json_schemas.py answers.jsonl --n 40 --strength 0

The answers are sampled with speculation by the embedded pair and kept in the file, a JSON object a
line; the same command goes on where it was stopped. Whole answers must parse, and validate by the
package jsonschema; those that were cut must say so. It exits with 1 if one does not.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from jsonschema import Draft202012Validator

from rewardshift import Decoder, embedded
from rewardshift.files.json_lines import json_rows
from rewardshift.progress import bars, is_shown


class Asked(NamedTuple):
    """A question, and what the answer must be."""

    name: str
    question: str
    schema: dict[str, Any]


def record(**properties: object) -> dict[str, Any]:
    """An object that has all of these properties and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


TEXT: dict[str, Any] = {"type": "string", "maxLength": 40}
WHOLE: dict[str, Any] = {"type": "integer", "minimum": 0, "maximum": 120}
NUMBER: dict[str, Any] = {"type": "number"}
TRUTH: dict[str, Any] = {"type": "boolean"}


def some(items: dict[str, Any], most: int = 3) -> dict[str, Any]:
    """One to a few of them."""
    return {"type": "array", "items": items, "minItems": 1, "maxItems": most}


SCHEMAS = (
    Asked("person", "Make up a person.", record(name=TEXT, age=WHOLE)),
    Asked(
        "nested",
        "Make up a person with an address.",
        record(name=TEXT, address=record(street=TEXT, city=record(name=TEXT, country=TEXT))),
    ),
    Asked("colours", "Name some colours.", some(TEXT)),
    Asked("enum", "Is the sky blue?", record(answer={"enum": ["yes", "no", "perhaps"]})),
    Asked("enum of kinds", "Pick one.", record(value={"enum": ["a", 1, 2.5, True, None]})),
    Asked("numbers", "How warm is it?", record(low=NUMBER, high=NUMBER)),
    Asked(
        "bounds",
        "Rate the film.",
        record(stars={"type": "integer", "minimum": 1, "maximum": 5}, sure=TRUTH),
    ),
    Asked(
        "null",
        "Have you a middle name?",
        record(middle={"type": ["string", "null"], "maxLength": 20}),
    ),
    Asked(
        "ref",
        "Name two cities and the road between them.",
        {
            "$defs": {
                "city": record(
                    name=TEXT, inhabitants={"type": "integer", "minimum": 0, "maximum": 40_000_000}
                )
            },
            **record(start={"$ref": "#/$defs/city"}, end={"$ref": "#/$defs/city"}),
        },
    ),
    Asked(
        "recursive",
        "Draw a small family tree.",
        {
            "$defs": {
                "person": record(
                    name={"type": "string", "maxLength": 12},
                    children={"type": "array", "items": {"$ref": "#/$defs/person"}, "maxItems": 1},
                )
            },
            "$ref": "#/$defs/person",
        },
    ),
    Asked("unicode", "Grüße auf Japanisch?", record(größe=TEXT, 名前=TEXT)),
    Asked("unicode enum", "Which one?", record(choice={"enum": ["über", "日本", "🙂", "naïve"]})),
    Asked(
        "pattern",
        "A product code, please.",
        record(code={"type": "string", "pattern": "^[A-Z]{3}-[0-9]{4}$"}),
    ),
    Asked("any of", "A number or a word.", record(value={"anyOf": [WHOLE, TEXT]})),
    Asked("const", "Confirm it.", record(kind={"const": "confirmation"}, by=TEXT)),
    Asked(
        "pairs",
        "Some points.",
        some(
            {
                "type": "array",
                "prefixItems": [WHOLE, WHOLE],
                "items": False,
                "minItems": 2,
                "maxItems": 2,
            }
        ),
    ),
    Asked(
        "optional",
        "Describe a book.",
        {
            "type": "object",
            "properties": {"title": TEXT, "year": WHOLE, "pages": WHOLE},
            "required": ["title"],
            "additionalProperties": False,
        },
    ),
    Asked("matrix", "A table of numbers.", some(some(WHOLE))),
    Asked(
        "records",
        "What should I buy?",
        record(items=some(record(what=TEXT, count=WHOLE, urgent=TRUTH)), total=NUMBER),
    ),
    Asked("date", "When was it?", record(day={"type": "string", "format": "date"}, note=TEXT)),
)


def main() -> None:
    """Samples what is missing, then counts what holds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("answers", type=Path, help="JSON lines, which are added to")
    parser.add_argument(
        "--n", type=int, default=1000, help="answers in all, spread over the schemas"
    )
    parser.add_argument("--tokens", type=int, default=256, help="of an answer, at most")
    parser.add_argument("--strength", type=float, default=1.0)
    parser.add_argument("--temperature", type=float, default=0.8)
    options = parser.parse_args()
    planned = [(SCHEMAS[i % len(SCHEMAS)], i) for i in range(options.n)]
    known = (
        {row["seed"] for _, row in json_rows(options.answers)}
        if options.answers.exists()
        else set()
    )
    missing = [(asked, seed) for asked, seed in planned if seed not in known]
    if missing:
        sample(missing, options)
    sys.exit(count(options.answers))


def sample(missing: list[tuple[Asked, int]], options: argparse.Namespace) -> None:
    """Adds an answer for each."""
    with (
        Decoder(**embedded(), n_ctx=2048) as decoder,
        options.answers.open("a", encoding="utf-8") as file,
        bars(shown=is_shown(None), with_time_left=True) as display,
    ):
        task = display.add_task("answering", total=len(missing))
        for asked, seed in missing:
            answer = decoder.chat(
                [{"role": "user", "content": f"{asked.question} Answer in JSON."}],
                response_format={"type": "json_schema", "json_schema": {"schema": asked.schema}},
                strength=options.strength,
                temperature=options.temperature,
                max_tokens=options.tokens,
                seed=seed,
            )
            s = answer.statistics
            row = {
                "schema": asked.name,
                "seed": seed,
                "text": answer.text,
                "finish_reason": answer.finish_reason,
                "tokens": s.tokens,
                "forced": sum(step.origin == "forced" for step in answer.steps),
                "drafted": s.drafted,
                "accepted": s.accepted,
            }
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            file.flush()
            display.advance(task)


def count(path: Path) -> int:
    """Prints what was found; returns 1 if an answer is not what it should be."""
    by_name = {asked.name: asked for asked in SCHEMAS}
    found: Counter[str] = Counter()
    wrong = []
    for where, row in json_rows(path):
        found["answers"] += 1
        for name in ("tokens", "forced", "drafted", "accepted"):
            found[name] += row[name]
        if row["finish_reason"] == "length":
            found["cut, and say so"] += 1
            continue
        try:
            Draft202012Validator(by_name[row["schema"]].schema).validate(json.loads(row["text"]))
            found["whole, and valid"] += 1
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it
            wrong.append(f"{where}: {row['schema']}: {error}")
    for name, number in found.items():
        print(f"{name}: {number}")
    print(f"invalid: {len(wrong)}")
    print("\n".join(wrong[:10]))
    return 1 if wrong else 0


if __name__ == "__main__":
    main()
