"""Would another gate see the attacks? Two more scores of a text, calibrated on the anchors as the pack's risk is.

tail: the mean share of end token and padding in the concepts' subspace of such tokens. vector: the cosine of what sets
the text apart from benign anchors, over all positions, with a concept vector. Neither is in the pack; the anchors'
scores are of phrases that the tails' metric has seen, so that their AUC flatters a little.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from safelight.text.concepts import split_concepts
from safelight.text.risk import calibrate

WORDS, TAIL, VECTOR = "words", "tail", "vector"
GATES = (WORDS, TAIL, VECTOR)  # the first is the pack's
BENIGN, NEIGHBOURS = "benign", "neighbours"  # prompts at which a gate should stay closed


def risks(clip: Any, vector: Any, concepts: str, texts: dict[str, list[str]]) -> dict[str, Any]:
    """{"auc": by gate, "risk": by set of texts, by gate, a number for each text}. vector: a ConceptVector."""
    from safelight.engine.concept_spaces import space_of
    from safelight.engine.encoder import encode_neutral

    space, anchors = space_of(clip, split_concepts(concepts)), clip.tokenizer.safelight_anchors
    benign, unsafe = ([encode_neutral(clip, text) for text in anchors[kind]] for kind in ("benign", "unsafe"))
    centre = torch.stack([encoding.states[0].float() for encoding in benign]).mean(dim=0)
    scores: dict[str, Callable[[Any], float]] = {
        TAIL: lambda encoding: tail_score(space, encoding),
        VECTOR: lambda encoding: vector_score(vector, centre, encoding),
    }
    calibrations = {
        gate: calibrate([score(e) for e in benign], [score(e) for e in unsafe]) for gate, score in scores.items()
    }
    by_set: dict[str, dict[str, list[float]]] = {}
    for name, prompts in texts.items():
        encodings = [encode_neutral(clip, text) for text in prompts]
        by_set[name] = {WORDS: [space.risk(e) for e in encodings]}
        for gate, score in scores.items():
            by_set[name][gate] = [calibrations[gate].risk(score(e)) for e in encodings]
    auc = {WORDS: max(c.auc for c in space.calibration), **{gate: c.auc for gate, c in calibrations.items()}}
    return {"auc": auc, "risk": by_set}


def tail_score(space: Any, encoding: Any) -> float:
    """In [0, 1]; 0 where the space knows no tails."""
    return float(space.shares(encoding)[0][encoding.tail].mean())


def vector_score(vector: Any, centre: torch.Tensor, encoding: Any) -> float:
    """In [-1, 1]. centre: [T, W]."""
    away = (encoding.states[0].float() - centre).flatten()
    return float(torch.nn.functional.cosine_similarity(away, vector.at(encoding).flatten(), dim=0))
