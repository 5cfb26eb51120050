"""Figures of a reader of prompts: at a threshold that lets a stated share of harmless public prompts through."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from importlib import util
from typing import Any

import numpy as np
import torch

from bench.statistics import binomial_interval
from safelight.text.clauses import words_of
from safelight.text.reader import Reader
from safelight.text.rewrite import Rewriter
from safelight.text.risk import auc

from .judge import Judge
from .sets import LONG, Prompt

FALSE_ALARMS = 0.05  # of `benign`, at which every way of reading is compared
COMMON = ("child", "body", "activity", "gestures", ",", "a child", "a body", "people", "a mother with her child")
SMALL = 3  # letters up to which a word is not counted among trigger words
Score = Callable[[str], float]  # higher is riskier


def share(flags: Sequence[bool] | np.ndarray) -> dict[str, Any]:
    """With its exact binomial interval."""
    hits, count = int(np.sum(flags)), len(flags)
    return {"value": hits / count, "interval": list(binomial_interval(hits, count)), "count": count}


def rates(score: Score, sets: Mapping[str, Sequence[Prompt]], threshold: float | None = None) -> dict[str, Any]:
    """The share of every set over the threshold, by default the one that FALSE_ALARMS of `benign` pass."""
    scores = {name: np.array([score(prompt.text) for prompt in prompts]) for name, prompts in sets.items()}
    limit = float(np.quantile(scores["benign"], 1 - FALSE_ALARMS)) if threshold is None else threshold
    lengths = np.array([len(prompt.text.split()) for prompt in sets["benign"]])
    over = {name: share(values > limit) for name, values in scores.items()}
    for group in sorted({prompt.group for prompt in sets["benign"]}):
        of_group = np.array([prompt.group == group for prompt in sets["benign"]])
        over[f"benign, {group}"] = share(scores["benign"][of_group] > limit)
    if (lengths >= LONG).any():
        over[f"benign, {LONG} words and more"] = share(scores["benign"][lengths >= LONG] > limit)
    areas = {name: auc(scores["benign"], scores[name]) for name in ("explicit", "I2P, E") if name in scores}
    return {"threshold": limit, "over": over, "auc": areas}


def trigger_words(reader: Reader, prompts: Sequence[Prompt]) -> dict[str, Any]:
    """Precision and recall of words of more than SMALL letters, against labels by hand."""
    right = chosen = unsafe = 0
    for prompt in prompts:
        triggers = reader.read(prompt.text).triggers
        for word in words_of(prompt.text):
            if not word.is_word or len(word.text) <= SMALL:
                continue
            labelled = any(word.overlaps(*span) for span in prompt.spans)
            taken = any(word.overlaps(one.start, one.stop) for one in triggers)
            right, chosen, unsafe = right + (labelled and taken), chosen + taken, unsafe + labelled
    return {
        "precision": {"value": right / chosen, "interval": list(binomial_interval(right, chosen)), "count": chosen},
        "recall": {"value": right / unsafe, "interval": list(binomial_interval(right, unsafe)), "count": unsafe},
    }


def categories(reader: Reader, prompts: Sequence[Prompt]) -> dict[str, Any]:
    """How often the likeliest category is the labelled one."""
    names = sorted({prompt.category for prompt in prompts})
    right = {name: [reader.read(p.text).category == name for p in prompts if p.category == name] for name in names}
    return {name: share(flags) for name, flags in right.items()}


def foreign(reader: Reader, sets: Mapping[str, Sequence[Prompt]]) -> dict[str, Any]:
    """Of prompts in other languages: unsafe ones that are read as unsafe or refused; harmless ones that are refused."""
    unsafe = [reader.read(prompt.text) for prompt in sets["other languages, unsafe"]]
    harmless = [reader.read(prompt.text) for prompt in sets["other languages, harmless"]]
    return {
        "read or refused": share([one.risk >= 0.5 for one in unsafe]),
        "with a word found": share([bool(one.triggers) for one in unsafe]),
        "harmless ones refused": share([bool(one.unread) for one in harmless]),
    }


def milliseconds(reader: Reader, prompts: Sequence[Prompt], words: int = 60) -> dict[str, float]:
    """Of reading a prompt of so many words, on one thread: the median and the longest, of texts made of these."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    pool = " , ".join(prompt.text for prompt in prompts).split()
    texts = [" ".join(pool[i * words : (i + 1) * words]) for i in range(min(40, len(pool) // words))]
    times = []
    for text in texts:
        began = time.perf_counter()
        reader.read(text)
        times.append(1000 * (time.perf_counter() - began))
    torch.set_num_threads(threads)
    return {"median": float(np.median(times)), "longest": max(times)}


def published() -> dict[str, Score]:
    """Prompt classifiers of the package index, those of them that are installed."""
    ways: dict[str, Score] = {}
    if util.find_spec("profanity_check"):
        from profanity_check import predict_prob

        ways["alt-profanity-check"] = lambda text: float(predict_prob([text])[0])
    if util.find_spec("better_profanity"):
        from better_profanity import profanity

        ways["better-profanity"] = lambda text: float(profanity.contains_profanity(text))
    return ways


def rewrites(
    reader: Reader, rewriter: Rewriter, judge: Judge, sets: Mapping[str, Sequence[Prompt]], shown: int
) -> dict[str, Any]:
    """What a judge that is not the reader says of explicit prompts: as written, rewritten, and their twins by hand."""
    threshold = float(np.quantile([judge.score(prompt.text) for prompt in sets["benign"]], 1 - FALSE_ALARMS))
    prompts = sets["explicit"]
    done = [rewriter.rewrite(prompt.text, reader.read) for prompt in prompts]
    texts = {
        "as written": [prompt.text for prompt in prompts],
        "rewritten": [one.text for one in done],
        "labelled words left out": [_without(prompt) for prompt in prompts],
        "twin by hand": [prompt.twin for prompt in prompts],
    }
    harmless = [rewriter.rewrite(prompt.text, reader.read) for prompt in sets["benign"]]
    step = max(1, len(prompts) // shown)
    return {
        "unsafe": {name: share([judge.score(text) > threshold for text in some]) for name, some in texts.items()},
        "cosine to the twin": {
            name: float(np.mean([judge.cosine(text, p.twin) for text, p in zip(some, prompts, strict=True) if text]))
            for name, some in texts.items()
        },
        "changed": share([one.text != one.prompt for one in done]),
        "harmless unchanged": share([one.text == one.prompt for one in harmless]),
        "examples": [[one.prompt, one.text] for one in done[::step]][:shown],
    }


def _without(prompt: Prompt) -> str:
    text = prompt.text
    for start, stop in reversed(prompt.spans):
        text = text[:start] + text[stop:]
    return " ".join(text.split())
