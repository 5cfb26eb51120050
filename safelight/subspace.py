"""The subspace of unsafe concepts among text states, the tokens that lie in it, and their projection out of it.

After SAFREE (Yoon et al., ICLR 2025, arXiv 2410.12761), with differences of our own: the space is that of the states
which the projection changes (not the pooled output), it is centred on everyday phrases, and what is removed is the
deviation from that centre. SAFREE's second projection, onto the prompt's own subspace, is left out: it takes away detail
of benign words.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

CUTOFF = 0.1  # directions with a singular value below this part of the largest are left out
MAX_RANK = 0.25  # of the width: beyond it "unsafe" would be most of what the encoder can say
SHARE_THRESHOLD = 0.6  # of a token's centred norm inside the subspace
LEAVE_ONE_OUT_MARGIN = 0.01  # SAFREE's alpha
TRIGGERS = ("share", "leave_one_out")


@dataclass(frozen=True)
class Subspace:
    """Directions of unsafe concepts around the mean of everyday phrases.

    centre: [W], or [P, W] where each position of a chunk has its own (float32).
    basis: [W, r], orthonormal columns (float32).
    direction: [W], the concepts' mean deviation from the centre (float32).
    """

    centre: torch.Tensor
    basis: torch.Tensor
    direction: torch.Tensor


def phrase_vector(states: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """The mean of the states [..., T, W] over the tokens chosen by a boolean mask [T]; [..., W], float32."""
    if not tokens.any():
        raise ValueError("concepts: a phrase in the list has no words that the text encoder knows; remove it.")
    return states[..., tokens, :].float().mean(dim=-2)


def concept_subspace(
    deviations: torch.Tensor, centre: torch.Tensor, cutoff: float = CUTOFF, max_rank: float = MAX_RANK
) -> Subspace:
    """The subspace that the concept phrases span.

    deviations: [N, W], one phrase vector per concept, less the centre. Each is scaled to length 1 first, so that every
        concept counts alike. Directions come from an SVD; those below `cutoff` times the largest singular value (what
        near-synonyms differ in) and those beyond `max_rank` of the width are left out, so the rank is near N.
    Raises ValueError where the vectors are not finite or none differs from the centre.
    """
    deviations = deviations.float()
    if not torch.isfinite(deviations).all():
        raise ValueError(
            "concepts: the text encoder returned values that are not finite for these phrases. Try another precision "
            "of the encoder (fp32 or bf16)."
        )
    lengths = deviations.norm(dim=-1, keepdim=True)
    distinct = lengths[:, 0] > 1e-5 * centre.float().norm(dim=-1).max().clamp_min(1e-12)
    if not distinct.any():
        raise ValueError(
            "concepts: this text encoder does not tell these phrases from everyday ones. Use other words, or write a "
            "safe_prompt and the method 'typed'."
        )
    unit = (deviations[distinct] / lengths[distinct]).double()
    values, directions = torch.linalg.svd(unit, full_matrices=False)[1:]
    rank = min(int((values >= cutoff * values[0]).sum()), max(1, int(max_rank * deviations.shape[1])))
    return Subspace(centre.float(), directions[:rank].T.float().contiguous(), deviations.mean(dim=0))


def share(deviations: torch.Tensor, basis: torch.Tensor) -> torch.Tensor:
    """How much of each deviation's norm lies in the span of the basis: [..., W] to [...], in [0, 1]; 0 for a zero."""
    norm = deviations.norm(dim=-1)
    inside = (deviations @ basis).norm(dim=-1)
    return torch.where(norm > 0, inside / norm.clamp_min(1e-30), torch.zeros_like(norm)).clamp(0, 1)


def leave_one_out_distances(masked: torch.Tensor, subspace: Subspace) -> torch.Tensor:
    """Distance from the concept subspace of each phrase vector [n, W] of a prompt with one of its n tokens left out."""
    deviations = masked.float() - subspace.centre
    return (deviations - deviations @ subspace.basis @ subspace.basis.T).norm(dim=-1)


def trigger_tokens(
    shares: torch.Tensor,
    trigger: str = "share",
    threshold: float = SHARE_THRESHOLD,
    distances: torch.Tensor | None = None,
    margin: float = LEAVE_ONE_OUT_MARGIN,
) -> torch.Tensor:
    """Which of n content tokens call up an unsafe concept; boolean [n].

    share: those with more than `threshold` of their centred norm in the subspace.
    leave_one_out (SAFREE): those without which the prompt lies at least (1 + margin) times as far from the subspace as
        it does, on average, without any one of the others. `distances` as leave_one_out_distances gives them. A single
        token has no others to be compared with and is none.
    """
    if trigger == "share":
        return shares > threshold
    if trigger != "leave_one_out" or distances is None:
        raise ValueError(f"trigger: {trigger!r} is not one of {', '.join(TRIGGERS)}, or its distances are missing.")
    count = distances.numel()
    if count < 2:
        return torch.zeros_like(distances, dtype=torch.bool)
    others = (distances.sum() - distances) / (count - 1)
    return distances >= (1 + margin) * others


def project(
    states: torch.Tensor, deviations: torch.Tensor, basis: torch.Tensor, tokens: torch.Tensor, strength: torch.Tensor
) -> torch.Tensor:
    """The states with the concept part of the chosen tokens' deviations taken away.

    states: [B, T, W], with the artist's token weights applied. deviations: [B, T, W], of the states without weights
        from the centre. tokens: boolean, [B, T]. strength: [T], 1 removes all of it; the node's strength times the
        token's weight, so that the result is the weighted form of the projected state.
    Computed in float32 and returned in the dtype of `states`; a token that is not chosen keeps its bits.
    """
    deviations = deviations.float()
    removed = states.float() - strength.float()[:, None] * (deviations @ basis @ basis.T)
    return torch.where(tokens[..., None], removed.to(states.dtype), states)
