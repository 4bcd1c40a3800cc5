"""What quoting the prompt gains: editing, summarising, and a task where nothing is quoted.

    python benchmarks/prompt_lookup.py
    python benchmarks/prompt_lookup.py -m qwen2.5-coder-1.5b-q4_0.gguf --tokens 192
    python benchmarks/prompt_lookup.py --strength 1          # pi* of the embedded pair

Each task is decoded with and without prompt lookup, in turns, everything else left to the decoder
(draft lengths by measured times). Greedy unless a temperature is given, as edits are; texts end
where the model ends them, alike both ways.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rewardshift import Decoder
from rewardshift.bench import PROMPTS, Task, endless, measure_pairs, one_by_one
from rewardshift.chat.turns import prompt_tokens
from rewardshift.cli.render import stdout
from rewardshift.embedded import default_roles

if TYPE_CHECKING:
    from collections.abc import Callable

    from rewardshift.bench import Sample
    from rewardshift.options import SamplingOptions

CODE = '''def read_orders(path, currency):
    """Reads the orders of a shop from a file with a line for each."""
    orders = []
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            parts = line.strip().split(";")
            if len(parts) != 4:
                raise ValueError(f"line {number} has {len(parts)} parts, not 4")
            customer, article, count, price = parts
            order = {
                "customer": customer,
                "article": article,
                "count": int(count),
                "price": float(price),
                "currency": currency,
            }
            orders.append(order)
    return orders


def total_of(orders, customer):
    """What a customer has to pay."""
    total = 0.0
    for order in orders:
        if order["customer"] == customer:
            total += order["count"] * order["price"]
    return total
'''
LETTER = """Dear Ms Okafor,

thank you for your letter of 3 March about the delivery of the garden furniture that you ordered in
our shop in Harbour Street. I am sorry that the table arrived with a broken leg, and that nobody
answered the telephone when you called on Tuesday and again on Thursday.

We have asked the workshop in Leeds to send you a new table without delay. The driver will bring it
on Monday 14 March between nine and twelve o'clock, and will take the broken one back. You do not
have to pay anything for this. If Monday does not suit you, please call Mr Hughes at the number
above, and he will find another day.

For your trouble we would like to offer you a voucher of twenty pounds, which you can use in any of
our shops until the end of the year.

Yours sincerely,
Daniel Brandt
"""
TASKS = {
    "edit code": "Rename the parameter `path` to `file_name` everywhere in this code, and give "
    f"back all of the code, unchanged otherwise.\n\n{CODE}",
    "edit a letter": "Give back this letter word for word, but with Ms Okafor's name replaced by "
    f"Mr Lindqvist's.\n\n{LETTER}",
    "summarise": f"Summarise this letter in three sentences, in its own words.\n\n{LETTER}",
    "nothing to quote": PROMPTS[5],
    "nothing to quote, either": PROMPTS[13],
}


def main() -> None:
    """Prints tokens/s of each task both ways, and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-m", "--target", type=Path, help="the embedded pair's unless given")
    parser.add_argument("--base", type=Path, help="a draft model to weigh quotations against")
    parser.add_argument("--strength", type=float, default=0.0, help="of the embedded pair's shift")
    parser.add_argument("--only", action="append", choices=tuple(TASKS))
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--tokens", type=int, default=256, help="per answer")
    parser.add_argument("--endless", action="store_true", help="no answer ends before")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("-t", "--threads", type=int)
    options = parser.parse_args()
    if options.target is not None and options.strength:
        parser.error("--strength needs a pair: leave out -m")
    roles = {"target": options.target} if options.target else default_roles()
    if not options.strength:
        roles = {"target": roles["target"]}
    if options.base is not None:
        roles["base"] = options.base
    threads = {} if options.threads is None else {"n_threads": options.threads}
    with Decoder(**roles, n_ctx=2048, **threads) as decoder:
        runs = {
            name: (
                run(decoder, TASKS[name], options, quotes=False),
                run(decoder, TASKS[name], options, quotes=True),
            )
            for name in options.only or TASKS
        }
        ways = ("without", "with prompt lookup")
        report = measure_pairs("prompt lookup", ways, runs, repeat=options.repeat)
    for shown in report.tables():
        stdout().print(shown)


def run(
    decoder: Decoder, text: str, options: argparse.Namespace, *, quotes: bool
) -> Callable[[], Sample]:
    """One way to decode one task; only what is asked for may tell the two ways apart."""
    task = Task(prompt_tokens(decoder, text))
    asked: SamplingOptions = {
        "strength": options.strength,
        "temperature": options.temperature,
        "max_tokens": options.tokens,
        "logit_bias": endless(decoder) if options.endless else None,
        "prompt_lookup": None if quotes else False,  # unasked: on where it pays
    }
    return lambda: one_by_one(decoder, [task], asked)


if __name__ == "__main__":
    main()
