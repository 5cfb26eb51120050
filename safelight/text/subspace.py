"""The subspace that unsafe concepts span among text states, and the projection of tokens out of it.

After SAFREE (Yoon et al., ICLR 2025, arXiv 2410.12761), with our own changes: the subspace lies among the states that
the projection changes, not among pooled outputs; it is centred on everyday phrases, and the projection acts on the
deviation from that centre. SAFREE's second projection, onto the prompt's own subspace, is left out because it removes
detail from benign words. The metric is that of LEACE (Belrose et al., NeurIPS 2023, arXiv 2306.03819), which erases a
concept with the least change to everything else.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

CUTOFF = 0.1  # directions with a singular value below this share of the largest are left out
MAX_RANK = 0.25  # as a share of the width; with more, "unsafe" would be most of what the encoder can express
RIDGE = 1.0  # as a share of the mean variance of everyday words, see everyday_metric
SHARE_THRESHOLD = 0.6  # the share of a token's centred norm that lies in the subspace


@dataclass(frozen=True)
class Metric:
    """A scaling of deviations [..., W] that shortens the ones that everyday words show anyway.

    directions: [W, k], orthonormal columns; gains: [k] in (0, 1], the factor along each. Other directions keep their
    length.
    """

    directions: torch.Tensor
    gains: torch.Tensor

    def apply(self, deviations: torch.Tensor) -> torch.Tensor:
        return deviations + ((deviations @ self.directions) * (self.gains - 1)) @ self.directions.T

    def undo(self, deviations: torch.Tensor) -> torch.Tensor:
        return deviations + ((deviations @ self.directions) * (1 / self.gains - 1)) @ self.directions.T

    def to(self, device: torch.device) -> Metric:
        return Metric(self.directions.to(device), self.gains.to(device))


def everyday_metric(deviations: torch.Tensor) -> Metric:
    """(S + r)^(-1/2), up to a factor, for the covariance S of everyday words' deviations [n, W].

    r is RIDGE times the mean of the nonzero eigenvalues of S. Without words it changes nothing.
    """
    count, width = deviations.shape
    if count == 0:
        return Metric(torch.zeros(width, 0), torch.zeros(0))
    values, directions = torch.linalg.svd(deviations.double(), full_matrices=False)[1:]
    variance = values**2 / count
    floor = (RIDGE * variance.mean()).clamp_min(1e-30)
    return Metric(directions.T.float().contiguous(), (floor / (variance + floor)).sqrt().float())


@dataclass(frozen=True)
class Subspace:
    """The directions of unsafe concepts around the mean of everyday phrases; float32.

    centre: [W], or [P, W] with one for each position of a chunk.
    basis: [W, r], orthonormal columns, among deviations scaled by `metric`.
    direction: [W], the concepts' mean deviation from the centre, unscaled.
    """

    centre: torch.Tensor
    basis: torch.Tensor
    direction: torch.Tensor
    metric: Metric

    def to(self, device: torch.device) -> Subspace:
        return Subspace(
            self.centre.to(device), self.basis.to(device), self.direction.to(device), self.metric.to(device)
        )

    def share(self, deviations: torch.Tensor) -> torch.Tensor:
        """The share of each deviation's norm that lies in the subspace: [..., W] to [...], in [0, 1]; 0 for zero."""
        scaled = self.metric.apply(deviations.float())
        norm = scaled.norm(dim=-1)
        inside = (scaled @ self.basis).norm(dim=-1)
        return torch.where(norm > 0, inside / norm.clamp_min(1e-30), torch.zeros_like(norm)).clamp(0, 1)

    def unsafe_part(self, deviations: torch.Tensor) -> torch.Tensor:
        """The part of each deviation [..., W] that lies in the subspace. Without it the share is 0."""
        scaled = self.metric.apply(deviations.float())
        return self.metric.undo(scaled @ self.basis @ self.basis.T)


def phrase_vector(states: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """The mean of the states [..., T, W] over the tokens chosen by a boolean mask [T]; [..., W], float32."""
    if not tokens.any():
        raise ValueError(
            "concepts: expected words that the text encoder knows, got a phrase without any. Remove that phrase."
        )
    return states[..., tokens, :].float().mean(dim=-2)


def concept_subspace(deviations: torch.Tensor, centre: torch.Tensor, metric: Metric) -> Subspace:
    """The subspace that the concept phrases span.

    deviations: [N, W], one phrase vector per concept, less the centre.

    Each is scaled by the metric and brought to length 1, so that all concepts have the same weight. The directions come
    from an SVD, without those below CUTOFF times the largest singular value (in which near-synonyms differ) and those
    beyond MAX_RANK of the width, so the rank is near N.
    Raises ValueError where the vectors are not finite or none differs from the centre.
    """
    deviations = deviations.float()
    if not torch.isfinite(deviations).all():
        raise ValueError(
            "concepts: expected finite states for these phrases, got NaN or infinity from the text encoder. Try the "
            "encoder in fp32 or bf16."
        )
    lengths = deviations.norm(dim=-1)
    distinct = lengths > 1e-5 * centre.float().norm(dim=-1).max().clamp_min(1e-12)
    if not distinct.any():
        raise ValueError(
            "concepts: expected phrases that this text encoder can tell from everyday ones, got none. Use other words, "
            "or write a safe_prompt and choose the method 'typed'."
        )
    scaled = metric.apply(deviations[distinct]).double()
    values, directions = torch.linalg.svd(scaled / scaled.norm(dim=-1, keepdim=True), full_matrices=False)[1:]
    rank = min(int((values >= CUTOFF * values[0]).sum()), max(1, int(MAX_RANK * deviations.shape[1])))
    basis = directions[:rank].T.float().contiguous()
    return Subspace(centre.float(), basis, deviations.mean(dim=0), metric)


def project(states: torch.Tensor, away: torch.Tensor, tokens: torch.Tensor, strength: torch.Tensor) -> torch.Tensor:
    """The states less `strength` times `away`, at the chosen tokens.

    states: [B, T, W], with the artist's token weights applied. away: [B, T, W], computed from the states without
        weights. tokens: boolean, [B, T]. strength: [T], the node's strength times the token's weight, so that the
        result is the weighted form of the projected state; 1 removes all of `away`.
    Computed in float32 and returned in the dtype of `states`. Other tokens keep their bits.
    """
    moved = states.float() - strength.float()[:, None] * away
    return torch.where(tokens[..., None], moved.to(states.dtype), states)
