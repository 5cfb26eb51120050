"""SAFREE: a prompt's trigger tokens, projected out of the concepts' subspace for the first steps of a run.

Yoon et al., ICLR 2025, arXiv 2410.12761. P_C projects onto the span of the concept phrases' vectors, P_I onto that of
the vectors of the prompt with one token masked at a time. A token is a trigger where masking it takes the prompt at
least (1 + ALPHA) times as far from the concepts as masking one of the others does on average. Triggers' states p become
(I - P_C) P_I p; how far that turns the prompt decides until which of 50 steps t' they are used (the self-validating
filter). Latent re-attention, the third part of the paper, is left out: in the released code for SD 1.4 it has no
effect, and it needs the skip features of a UNet.

The released code and the printed paper differ; VARIANTS are the two. Of our own: a token without others to compare it
with is a trigger (the released comparison is one with nothing, and never true); a chunk of a longer prompt is a prompt
by itself; of several blocks the largest t' counts; near-equal vectors span one direction (the released code inverts
what is only rounding there).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from safelight.text.encoding import Key
from safelight.text.subspace import project

VARIANTS = ("as released", "as printed")
ALPHA = 0.01
STEPS = 50  # of the run that t' counts in
LONGEST = 10  # of them: t' is at most this (the released up_t, the printed gamma)
STEEPNESS, MIDDLE = 2.5, 5.333  # k and t0 of the released filter, set there for nudity and CLIP-L's 768 columns
CUTOFF = 1e-6  # of the largest eigenvalue of the Gram matrix: below it lies what float32 encoders round


def span(vectors: torch.Tensor) -> torch.Tensor:
    """An orthonormal basis [W, r] of the span of the vectors [n, W], float64: Q with Q Q^T = V pinv(V^T V) V^T."""
    v = vectors.double()
    values, directions = torch.linalg.eigh(v @ v.T)
    kept = values > CUTOFF * values[-1].clamp_min(1e-300)
    return torch.linalg.qr(v.T @ (directions[:, kept] / values[kept].sqrt())).Q


def onto(states: torch.Tensor, basis: torch.Tensor) -> torch.Tensor:
    """The part of the states [..., W] that lies in the span of `basis` [W, r]."""
    return states @ basis @ basis.T


def projected(states: torch.Tensor, concepts: torch.Tensor, prompt: torch.Tensor, variant: str) -> torch.Tensor:
    """(I - P_C) P_I p as released, P_I (I - P_C) p as printed: [..., W], float64. concepts, prompt: bases."""
    p = states.double()
    if variant == "as released":
        p = onto(p, prompt)
        return p - onto(p, concepts)
    return onto(p - onto(p, concepts), prompt)


def triggers(masked: torch.Tensor, concepts: torch.Tensor) -> torch.Tensor:
    """Which tokens are triggers, boolean [n]. masked: [n, W], the prompt's vector without each; concepts: a basis."""
    vectors = masked.double()
    distances = (vectors - onto(vectors, concepts)).norm(dim=-1)
    if distances.numel() == 1:
        return torch.ones(1, dtype=torch.bool)
    others = (distances.sum() - distances) / (distances.numel() - 1)
    return distances >= (1 + ALPHA) * others


def last_step(similarity: float, variant: str) -> int:
    """t', the last (0-based) of 50 steps that the safe embedding steers, from the mean cosine of p and its projection.

    As released round(10 sigmoid(2 k (10 beta - t0))) with beta = 1 - similarity, 0 to 10; as printed
    round(10 sigmoid(beta)), which is 5 to 9.
    """
    beta = 1.0 - similarity
    x = beta if variant == "as printed" else 2.0 * STEEPNESS * (10.0 * beta - MIDDLE)
    return round(LONGEST / (1.0 + math.exp(-x)))


@dataclass(frozen=True)
class PromptChunk:
    """A chunk of the prompt in one block of its states.

    block: which one; columns: where it lies; attended: the rows of start token, words and end token, [m] (indices);
    words: the rows of the words, [n]; masked: [n, W], the chunk's vector with each word masked; concepts: [N, W], the
    concept phrases' vectors.
    """

    block: Key
    columns: slice
    attended: torch.Tensor
    words: torch.Tensor
    masked: torch.Tensor
    concepts: torch.Tensor


@dataclass(frozen=True)
class Filtered:
    """states: [T, W], the safe embedding; triggers: boolean [T]; similarity: the least of the blocks; t: t'."""

    states: torch.Tensor
    triggers: torch.Tensor
    similarity: float
    t: int


def filter_prompt(
    written: torch.Tensor,
    plain: torch.Tensor,
    weights: torch.Tensor,
    prompt_chunks: Sequence[PromptChunk],
    variant: str,
) -> Filtered:
    """The prompt's safe embedding.

    written: [T, W], the states as the model gets them, with the artist's token weights; plain: the same without;
    weights: [T]. prompt_chunks: those of the prompt's chunks that have words; at least one.
    A trigger's weighted state is that of its projected one. Computed on the CPU, in float64, since not every device has
    that. Raises ValueError, naming the input.
    """
    if variant not in VARIANTS:
        raise ValueError(f"variant: {variant!r} is unknown; choose one of {', '.join(VARIANTS)}.")
    device, written, plain = written.device, written.cpu(), plain.cpu()
    found = torch.zeros(len(written), dtype=torch.bool)
    away = torch.zeros(plain.shape, dtype=torch.float32)
    cosines: dict[Key, list[torch.Tensor]] = {}
    for prompt_chunk in prompt_chunks:
        concepts = span(prompt_chunk.concepts)
        if concepts.shape[1] >= concepts.shape[0]:
            raise ValueError(
                f"concepts: {len(prompt_chunk.concepts)} phrases span everything that this text encoder can say "
                f"({concepts.shape[0]} wide), so nothing would be left of the prompt; name fewer."
            )
        before = plain[:, prompt_chunk.columns].double()
        after = projected(before, concepts, span(prompt_chunk.masked), variant)
        if not torch.isfinite(after).all():
            raise ValueError("clip: SAFREE's projection of this prompt is not finite; try the encoder in fp32 or bf16.")
        here = prompt_chunk.words[triggers(prompt_chunk.masked, concepts)]
        away[here, prompt_chunk.columns] = (before - after)[here].float()
        found[here] = True
        cosine = torch.nn.functional.cosine_similarity(after, before, dim=-1)[prompt_chunk.attended]
        cosines.setdefault(prompt_chunk.block, []).append(cosine)
    states = project(written[None], away, found[None], weights)[0]
    similarity = min(float(torch.cat(block).mean()) for block in cosines.values())
    return Filtered(states.to(device), found, similarity, last_step(similarity, variant))
