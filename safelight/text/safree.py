"""SAFREE: a prompt's trigger tokens, projected out of the concepts' subspace for the first steps of a run.

Yoon et al., ICLR 2025, arXiv 2410.12761. P_C projects onto the span of the concept phrases' vectors, P_I onto the span
of the vectors of the prompt with one token masked at a time. A token is a trigger if masking it takes the prompt at
least (1 + ALPHA) times as far from the concepts as masking one of the other tokens does on average. The states p of
triggers become (I - P_C) P_I p. How far this turns the prompt decides up to which of 50 steps, t', they are used (the
self-validating filter). Latent re-attention, the third part of the paper, is left out: it has no effect in the released
code for SD 1.4, and it needs the skip features of a UNet.

The released code and the printed paper differ, hence the two VARIANTS. Our own choices: a single token, which has no
others to be compared with, is a trigger (in the released code it never is); each chunk of a longer prompt is treated as
a prompt; of several blocks the largest t' counts; nearly equal vectors span one direction (the released code inverts
rounding errors there).
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
STEPS = 50  # t' is a step of a run of this length
LONGEST = 10  # the largest t' (the released up_t, the printed gamma)
STEEPNESS, MIDDLE = 2.5, 5.333  # k and t0 of the released filter, tuned for nudity and CLIP-L's 768 columns
CUTOFF = 1e-6  # as a share of the Gram matrix's largest eigenvalue; smaller ones are rounding of float32 encoders


def span(vectors: torch.Tensor) -> torch.Tensor:
    """An orthonormal basis [W, r] of the span of the vectors [n, W], float64: Q with Q Q^T = V pinv(V^T V) V^T."""
    v = vectors.double()
    values, directions = torch.linalg.eigh(v @ v.T)
    significant = values > CUTOFF * values[-1].clamp_min(1e-300)
    return torch.linalg.qr(v.T @ (directions[:, significant] / values[significant].sqrt())).Q


def onto(states: torch.Tensor, basis: torch.Tensor) -> torch.Tensor:
    """The part of the states [..., W] that lies in the span of `basis` [W, r]."""
    return states @ basis @ basis.T


def projected(states: torch.Tensor, concepts: torch.Tensor, prompt: torch.Tensor, variant: str) -> torch.Tensor:
    """(I - P_C) P_I p as released, P_I (I - P_C) p as printed: [..., W], float64. concepts, prompt: span bases."""
    p = states.double()
    if variant == "as released":
        p = onto(p, prompt)
        return p - onto(p, concepts)
    return onto(p - onto(p, concepts), prompt)


def triggers(masked: torch.Tensor, concepts: torch.Tensor) -> torch.Tensor:
    """Which tokens are triggers, boolean [n].

    masked: [n, W], the prompt's vector with each token masked; concepts: the basis of their span.
    """
    vectors = masked.double()
    distances = (vectors - onto(vectors, concepts)).norm(dim=-1)
    if distances.numel() == 1:
        return torch.ones(1, dtype=torch.bool)
    others = (distances.sum() - distances) / (distances.numel() - 1)
    return distances >= (1 + ALPHA) * others


def last_step(similarity: float, variant: str) -> int:
    """t', the last (0-based) of 50 steps with the safe embedding, from the mean cosine of p and its projection.

    As released round(10 sigmoid(2 k (10 beta - t0))) with beta = 1 - similarity, 0 to 10; as printed
    round(10 sigmoid(beta)), which is 5 to 9.
    """
    beta = 1.0 - similarity
    x = beta if variant == "as printed" else 2.0 * STEEPNESS * (10.0 * beta - MIDDLE)
    return round(LONGEST / (1.0 + math.exp(-x)))


@dataclass(frozen=True)
class PromptChunk:
    """A chunk of the prompt in one block of its states.

    block, columns: the block and its columns; attended: indices [m] of the rows of start token, words and end token;
    words: indices [n] of the words' rows; masked: [n, W], the chunk's vector with each word masked; concepts: [N, W],
    the concept phrases' vectors.
    """

    block: Key
    columns: slice
    attended: torch.Tensor
    words: torch.Tensor
    masked: torch.Tensor
    concepts: torch.Tensor


@dataclass(frozen=True)
class Filtered:
    """The safe embedding, states [T, W]; triggers: boolean [T]; similarity: the lowest of the blocks; t: t'."""

    states: torch.Tensor
    triggers: torch.Tensor
    similarity: float
    t: int


def filter_prompt(
    weighted: torch.Tensor,
    plain: torch.Tensor,
    weights: torch.Tensor,
    prompt_chunks: Sequence[PromptChunk],
    variant: str,
) -> Filtered:
    """The prompt's safe embedding.

    weighted: [T, W], the states with the artist's token weights, as the model gets them; plain: the same without
        weights; weights: [T]. prompt_chunks: the prompt's chunks that have words, at least one.
    A trigger's new state is the weighted form of its projected plain state. Computed in float64 on the CPU, because not
    every device supports float64. Raises ValueError, naming the input.
    """
    if variant not in VARIANTS:
        raise ValueError(f"variant: unknown variant {variant!r}. Use one of {', '.join(VARIANTS)}.")
    device, weighted, plain = weighted.device, weighted.cpu(), plain.cpu()
    is_trigger = torch.zeros(len(weighted), dtype=torch.bool)
    away = torch.zeros(plain.shape, dtype=torch.float32)
    cosines: dict[Key, list[torch.Tensor]] = {}
    for prompt_chunk in prompt_chunks:
        concepts = span(prompt_chunk.concepts)
        if concepts.shape[1] >= concepts.shape[0]:
            raise ValueError(
                f"concepts: expected phrases that leave something of the prompt, got {len(prompt_chunk.concepts)} that "
                f"span everything this text encoder can say ({concepts.shape[0]} wide). Name fewer."
            )
        before = plain[:, prompt_chunk.columns].double()
        after = projected(before, concepts, span(prompt_chunk.masked), variant)
        if not torch.isfinite(after).all():
            raise ValueError(
                "clip: expected a finite projection of this prompt, got NaN or infinity. Try the encoder in fp32 or "
                "bf16."
            )
        rows = prompt_chunk.words[triggers(prompt_chunk.masked, concepts)]
        away[rows, prompt_chunk.columns] = (before - after)[rows].float()
        is_trigger[rows] = True
        cosine = torch.nn.functional.cosine_similarity(after, before, dim=-1)[prompt_chunk.attended]
        cosines.setdefault(prompt_chunk.block, []).append(cosine)
    states = project(weighted[None], away, is_trigger[None], weights)[0]
    similarity = min(float(torch.cat(block).mean()) for block in cosines.values())
    return Filtered(states.to(device), is_trigger, similarity, last_step(similarity, variant))
