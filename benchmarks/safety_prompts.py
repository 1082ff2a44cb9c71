"""CPU time of screening a prompt of 640 characters with 5,000 terms, beside a floor; and the bypass rate of every disguise.

    python -m benchmarks.safety_prompts            # latency
    python -m benchmarks.safety_prompts --bypass   # every term under every disguise: minutes

The floor is the least that a scan of words costs: split the text, look each word up in one dictionary. Both are measured
on the same prompts in alternation, as CPU time of this process, so that other processes disturb them alike.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from importlib.resources import files
from string import ascii_lowercase
from typing import Any

from safety.evaluation.mutations import listed_terms, mutate, ordinary_texts
from safety.policy import STRICT
from safety.prompt_screen import PromptScreen
from safety.rule_pack import RulePack, TermGroup, built_in_packs
from safety.rules import compile_rules

TERMS, CHARS, PROMPTS, ROUNDS = 5000, 640, 200, 5


def measure(*, terms: int = TERMS, prompts: int = PROMPTS, rounds: int = ROUNDS) -> dict[str, Any]:
    """Milliseconds of CPU per prompt: the screen over ordinary and over near-miss prompts, and the floor."""
    packs = filled_packs(terms)
    started = time.process_time()
    screen = PromptScreen(STRICT, packs)
    compiled = time.process_time() - started
    vocabulary = {term.text for term in listed_terms(packs)}

    def floor(text: str) -> object:
        return [word for word in text.lower().split() if word in vocabulary]

    near, plain = near_miss_prompts(prompts), plain_prompts(prompts)
    return {
        "terms": len(listed_terms(packs)),
        "characters": CHARS,
        "compile_seconds": round(compiled, 2),
        "screen_ms": timed(screen.check, plain, rounds),
        "screen_of_near_misses_ms": timed(screen.check, near, rounds),
        "floor_ms": timed(floor, plain, rounds),
    }


def filled_packs(terms: int) -> tuple[RulePack, ...]:
    """The built-in packs, and as many made-up words as are missing."""
    rng = random.Random(1)
    packs = built_in_packs()
    missing = max(1, terms - len(listed_terms(packs)))
    words = {"".join(rng.choices(ascii_lowercase, k=rng.randint(5, 11))) for _ in range(missing)}
    group = TermGroup(kind="word", category="illicit", terms=tuple(sorted(words)))
    return (*packs, RulePack(id="filled", version="1", language="mul", groups=(group,)))


def plain_prompts(count: int) -> list[str]:
    """Catalogue prompts, as long as asked for."""
    from models.catalogue.world import BACKGROUNDS, COLOURS, KINDS, LAYOUTS, MATERIALS

    rng = random.Random(2)

    def caption() -> str:
        made, colour, kind = rng.choice(list(MATERIALS)), rng.choice(list(COLOURS)), rng.choice(list(KINDS))
        return f"a {made} {colour} {kind} on a {rng.choice(list(BACKGROUNDS))} background, {rng.choice(list(LAYOUTS))}"

    return [_long(caption) for _ in range(count)]


def near_miss_prompts(count: int) -> list[str]:
    """The worst case: full of words that are listed, whose contexts must be looked at."""
    rng = random.Random(3)
    lines = (files("safety") / "evaluation" / "suites" / "near_miss.jsonl").read_text("utf-8").splitlines()
    texts = [json.loads(line)["text"] for line in lines]
    return [_long(lambda: rng.choice(texts)) for _ in range(count)]


def _long(part: Callable[[], str]) -> str:
    text = part()
    while len(text) < CHARS:
        text += f", {part()}"
    return text[:CHARS]


def timed(call: Callable[[str], object], prompts: Sequence[str], rounds: int) -> dict[str, float]:
    """p50 and p95 of the CPU time of one call: of each prompt the best round, which others have disturbed least."""
    best = [float("inf")] * len(prompts)
    for _ in range(rounds):
        for number, prompt in enumerate(prompts):
            started = time.process_time_ns()
            call(prompt)
            best[number] = min(best[number], (time.process_time_ns() - started) / 1e6)
    best.sort()
    return {"p50": round(best[len(best) // 2], 3), "p95": round(best[int(len(best) * 0.95)], 3)}


def bypass() -> dict[str, Any]:
    """Of each disguise: how many terms it was tried on, and how many it hid."""
    packs = built_in_packs()
    rules, ordinary = compile_rules(packs), ordinary_texts(packs)
    tried, hidden = Counter[tuple[str, bool]](), Counter[tuple[str, bool]]()
    for number, term in enumerate(listed_terms(packs)):
        for made in mutate(term.text, number, ordinary):
            found = rules.screen(f"picture: {made.text}, detailed")
            missed = (term.category is not None and term.category not in found.scores) or not set(
                term.marks
            ) <= found.marks
            tried[made.mutator, made.covered] += 1
            hidden[made.mutator, made.covered] += missed
    return {
        "covered": {"disguises": sum(n for (_, covered), n in tried.items() if covered), "bypassed": sum(n for (_, covered), n in hidden.items() if covered)},
        "bypassed": {name: [n, tried[name, covered]] for (name, covered), n in hidden.items() if n},
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--bypass", action="store_true", help="every term under every disguise, instead of latency"
    )
    print(json.dumps(bypass() if parser.parse_args().bypass else measure(), indent=2))


if __name__ == "__main__":
    main()
