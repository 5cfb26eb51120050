"""A text encoder's concept space: one subspace for every block of its states, and what becomes of a prompt there.

Blocks: encoders put their states side by side along the width (SDXL: L, then G) or one after another along the tokens
(SD3: L and G, then T5). Each has a space of its own. Within a block, words and tail are kept apart. The tail is what
follows the words of a chunk, the end token and the padding: in a causal encoder these carry the meaning of the whole
prompt, and they differ from words far more than one prompt differs from another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import torch

from . import risk as risks
from .subspace import SHARE_THRESHOLD, Subspace, concept_subspace, leave_one_out_distances, phrase_vector, project
from .subspace import share as share_of
from .subspace import trigger_tokens
from .subtract import subtract

TAILS = ("follow", "share", "keep")


@dataclass(frozen=True)
class Part:
    """A run of token positions, and the blocks (start, stop along the width) that its encoders wrote there."""

    start: int
    stop: int
    blocks: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Encoding:
    """A text as its encoder sees it.

    states: [B, T, W], without token weights; pooled: [B, D] or None.
    content: boolean [T], the words; tail: boolean [T], end tokens and padding. The start token is neither: in a causal
        encoder it is the same for every prompt.
    chunk: [T], the number of the encoder call's chunk a position belongs to; position: [T], its place in that chunk.
    weights: [T], the artist's token weights; words: [T], the text of each token ("" for none).
    without: by part, for every word the place in that part [n] and the phrase vector of the text without it [n, W];
        None where these were not encoded (only the trigger "leave_one_out" needs them).
    """

    states: torch.Tensor
    pooled: torch.Tensor | None
    content: torch.Tensor
    tail: torch.Tensor
    chunk: torch.Tensor
    position: torch.Tensor
    weights: torch.Tensor
    words: tuple[str, ...]
    parts: tuple[Part, ...]
    without: tuple[tuple[torch.Tensor, torch.Tensor], ...] | None = None

    def check(self, what: str) -> Encoding:
        """Itself; a ValueError that names `what` where a state is not finite."""
        if not torch.isfinite(self.states).all() or (
            self.pooled is not None and not torch.isfinite(self.pooled).all()
        ):
            raise ValueError(
                f"clip: the text encoder returned values that are not finite for {what}. Try another precision of the "
                "encoder (fp32 or bf16), or remove the LoRA or embedding that causes it."
            )
        return self


Key = tuple[int, int]  # part, block


def _blocks(encoding: Encoding) -> Iterable[tuple[Key, slice, slice]]:
    for p, part in enumerate(encoding.parts):
        for b, (start, stop) in enumerate(part.blocks):
            yield (p, b), slice(part.start, part.stop), slice(start, stop)


def _words_of(encoding: Encoding) -> dict[Key, torch.Tensor]:
    """The words' states [n, W] by block."""
    return {
        key: encoding.states[0, rows, columns][encoding.content[rows]].float().cpu()
        for key, rows, columns in _blocks(encoding)
    }


@dataclass(frozen=True)
class Anchors:
    """What is kept of the encoded anchor phrases: the centres, and the words' states for calibration."""

    centre: dict[Key, torch.Tensor]  # [W]
    tail_centre: dict[Key, torch.Tensor]  # [P, W]; a position that no phrase's tail reached has the mean
    pooled_centre: torch.Tensor | None
    words: dict[str, dict[Key, torch.Tensor]]  # phrase -> [n, W] by block


def read_anchors(
    benign: Sequence[str], unsafe: Sequence[str], encode: Callable[[str], Encoding]
) -> Anchors:
    """Encodes every anchor phrase once. The benign ones give the centres."""
    vectors: dict[Key, list[torch.Tensor]] = {}
    sums: dict[Key, torch.Tensor] = {}
    counts: dict[Key, torch.Tensor] = {}
    pooled: list[torch.Tensor] = []
    words: dict[str, dict[Key, torch.Tensor]] = {}
    for phrase in (*benign, *unsafe):
        encoding = encode(phrase).check(f"the calibration phrase {phrase!r}")
        words[phrase] = _words_of(encoding)
        if phrase not in benign:
            continue
        if encoding.pooled is not None:
            pooled.append(encoding.pooled[0].float().cpu())
        for key, rows, columns in _blocks(encoding):
            vectors.setdefault(key, []).append(words[phrase][key].mean(dim=0))
            tail = encoding.tail[rows]
            places = encoding.position[rows][tail]
            longest = int(encoding.position[rows].max()) + 1
            width = columns.stop - columns.start
            if key not in sums or sums[key].shape[0] < longest:
                grown, grown_counts = torch.zeros(longest, width), torch.zeros(longest)
                if key in sums:
                    grown[: sums[key].shape[0]], grown_counts[: counts[key].shape[0]] = sums[key], counts[key]
                sums[key], counts[key] = grown, grown_counts
            sums[key].index_add_(0, places, encoding.states[0, rows, columns][tail].float().cpu())
            counts[key].index_add_(0, places, torch.ones(len(places)))
    tail_centre = {}
    for key, total in sums.items():
        mean = total.sum(dim=0) / counts[key].sum().clamp_min(1)
        known = counts[key][:, None] > 0
        tail_centre[key] = torch.where(known, total / counts[key][:, None].clamp_min(1), mean)
    centre = {key: torch.stack(found).mean(dim=0) for key, found in vectors.items()}
    return Anchors(centre, tail_centre, torch.stack(pooled).mean(dim=0) if pooled else None, words)


@dataclass(frozen=True)
class ConceptSpace:
    """The concepts' subspaces by block, for words and for tails, for the pooled output, and risk's calibration by part.

    calibration: one for every part; empty until `calibrated` has run.
    """

    words: dict[Key, Subspace]
    tails: dict[Key, Subspace]
    pooled: Subspace | None
    calibration: tuple[risks.Calibration, ...] = ()
    reduction: str = "max"

    # -- reading a prompt ---------------------------------------------------------------------------------------------

    def deviations(self, encoding: Encoding, key: Key, rows: slice, columns: slice, tail: bool) -> torch.Tensor:
        """[B, T of the part, W of the block], float32, from the words' or the tails' centre."""
        states = encoding.states[:, rows, columns].float()
        if not tail:
            return states - self.words[key].centre.to(states.device)
        centre = self.tails[key].centre.to(states.device)
        places = encoding.position[rows].clamp_max(centre.shape[0] - 1).to(states.device)
        return states - centre[places]

    def shares(self, encoding: Encoding) -> torch.Tensor:
        """[B, T]: the part of each token's centred norm that is unsafe; the largest over its blocks. 0 elsewhere."""
        result = torch.zeros(encoding.states.shape[:2])
        for key, rows, columns in _blocks(encoding):
            for tail, spaces, chosen in ((False, self.words, encoding.content), (True, self.tails, encoding.tail)):
                if key not in spaces:
                    continue
                basis = spaces[key].basis.to(encoding.states.device)
                found = share_of(self.deviations(encoding, key, rows, columns, tail), basis).cpu()
                result[:, rows] = torch.where(chosen[rows], torch.maximum(result[:, rows], found), result[:, rows])
        return result

    def risk(self, encoding: Encoding) -> float:
        """The highest over the parts and rows whose anchors can be told apart; 1 where none can, or without words."""
        shares = self.shares(encoding)
        found = [
            calibration.risk(risks.prompt_score(row[part.start : part.stop][words], self.reduction))
            for part, calibration in zip(encoding.parts, self.calibration, strict=True)
            if calibration.can_tell
            for words in [encoding.content[part.start : part.stop]]
            for row in shares
        ]
        return max(found, default=1.0)

    def triggers(
        self, encoding: Encoding, trigger: str = "share", threshold: float = SHARE_THRESHOLD
    ) -> torch.Tensor:
        """Boolean [B, T]: the words that call up an unsafe concept, in any block of their part."""
        shares = self.shares(encoding)
        if trigger == "share" or encoding.without is None:
            return trigger_tokens(shares, "share", threshold) & encoding.content
        result = torch.zeros_like(shares, dtype=torch.bool)
        for p, part in enumerate(encoding.parts):
            index, vectors = encoding.without[p]
            for b, (start, stop) in enumerate(part.blocks):
                distances = leave_one_out_distances(vectors[:, start:stop].cpu(), self.words[(p, b)])
                for chunk in encoding.chunk[part.start + index].unique():
                    own = encoding.chunk[part.start + index] == chunk
                    found = trigger_tokens(shares, trigger, distances=distances[own])
                    result[:, part.start + index[own][found]] = True
        return result

    # -- changing it --------------------------------------------------------------------------------------------------

    def project(
        self,
        encoding: Encoding,
        states: torch.Tensor,
        pooled: torch.Tensor | None,
        strength: float = 1.0,
        risk: float = 1.0,
        trigger: str = "share",
        threshold: float = SHARE_THRESHOLD,
        tail: str = "follow",
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]:
        """A prompt's states [B, T, W] and pooled output without the unsafe part of its trigger tokens.

        encoding: the same prompt without token weights. A part without any trigger has all its words projected where
            risk >= 0.5 (fail closed).
        tail: "follow" also projects the end token and the padding of every chunk where a word is projected; "share"
            projects those with more than `threshold` of their own norm in the tails' subspace; "keep" leaves them.
        Returns new states, new pooled output, and which tokens changed, boolean [B, T]. The pooled output is projected
        where any word is.
        """
        words = self.triggers(encoding, trigger, threshold)
        if risk >= risks.DECISION:
            for part in encoding.parts:
                here = words[:, part.start : part.stop]
                here |= ~here.any(dim=1, keepdim=True) & encoding.content[part.start : part.stop]
        tails = torch.zeros_like(words)
        if tail == "share":
            tails = trigger_tokens(self.shares(encoding), "share", threshold) & encoding.tail
        elif tail == "follow":
            for number in encoding.chunk.unique():
                own = encoding.chunk == number
                tails |= (words & own).any(dim=1, keepdim=True) & own & encoding.tail
        amount = (strength * encoding.weights).to(states.device)
        result = states.clone()
        for key, rows, columns in _blocks(encoding):
            block = result[:, rows, columns]
            for is_tail, spaces, chosen in ((False, self.words, words), (True, self.tails, tails)):
                if key in spaces and chosen[:, rows].any():
                    away = self.deviations(encoding, key, rows, columns, is_tail).to(states.device)
                    basis = spaces[key].basis.to(states.device)
                    block = project(block, away, basis, chosen[:, rows].to(states.device), amount[rows])
            result[:, rows, columns] = block
        if pooled is not None and self.pooled is not None and words.any():
            away = pooled.float() - self.pooled.centre.to(pooled.device)
            basis = self.pooled.basis.to(pooled.device)
            changed = words.any(dim=1).to(pooled.device)[: pooled.shape[0], None]
            pooled = torch.where(changed, (pooled.float() - strength * (away @ basis @ basis.T)).to(pooled.dtype), pooled)
        return result, pooled, words | tails

    def subtract(
        self, encoding: Encoding, states: torch.Tensor, pooled: torch.Tensor | None, strength: float = 1.0
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """A prompt's states [B, T, W] and pooled output less `strength` times the concepts' mean deviation.

        Words, tails and the pooled output each have their own vector; a token's weight scales it.
        """
        amount = (strength * encoding.weights).to(states.device)
        result = states.clone()
        for key, rows, columns in _blocks(encoding):
            for spaces, chosen in ((self.words, encoding.content), (self.tails, encoding.tail)):
                if key in spaces:
                    direction = spaces[key].direction.to(states.device)
                    tokens = chosen[rows].to(states.device)
                    result[:, rows, columns] = subtract(result[:, rows, columns], direction, tokens, amount[rows])
        if pooled is not None and self.pooled is not None:
            pooled = (pooled.float() - strength * self.pooled.direction.to(pooled.device)).to(pooled.dtype)
        return result, pooled


def concept_space(
    anchors: Anchors,
    benign: Sequence[str],
    unsafe: Sequence[str],
    concepts: Sequence[str],
    encode: Callable[[str], Encoding],
    reduction: str = "max",
) -> ConceptSpace:
    """The space of the given concept phrases on the encoder behind `anchors` and `encode`, with calibrated risk.

    benign, unsafe: the anchor phrases that calibrate it; those which `anchors` lacks are encoded here.
    """
    words: dict[Key, list[torch.Tensor]] = {}
    tails: dict[Key, list[torch.Tensor]] = {}
    pooled: list[torch.Tensor] = []
    parts = 0
    for phrase in concepts:
        encoding = encode(phrase).check(f"the concept {phrase!r}")
        parts = len(encoding.parts)
        for key, rows, columns in _blocks(encoding):
            states = encoding.states[0, rows, columns].float().cpu()
            words.setdefault(key, []).append(phrase_vector(states, encoding.content[rows]) - anchors.centre[key])
            tail = encoding.tail[rows]
            if tail.any():
                centre = anchors.tail_centre[key]
                places = encoding.position[rows].clamp_max(centre.shape[0] - 1)
                tails.setdefault(key, []).append(phrase_vector(states - centre[places], tail))
        if encoding.pooled is not None and anchors.pooled_centre is not None:
            pooled.append(encoding.pooled[0].float().cpu() - anchors.pooled_centre)
    space = ConceptSpace(
        {key: concept_subspace(torch.stack(found), anchors.centre[key]) for key, found in words.items()},
        {key: s for key, found in tails.items() if (s := _subspace_if_any(found, anchors.tail_centre[key]))},
        _subspace_if_any(pooled, anchors.pooled_centre) if pooled and anchors.pooled_centre is not None else None,
        reduction=reduction,
    )
    states_of = {
        phrase: anchors.words.get(phrase) or _words_of(encode(phrase).check(f"the phrase {phrase!r}"))
        for phrase in (*benign, *unsafe)
    }
    scores = [
        [[_anchor_score(space, states_of[phrase], part) for phrase in phrases] for phrases in (benign, unsafe)]
        for part in range(parts)
    ]
    return replace(space, calibration=tuple(risks.calibrate(good, bad) for good, bad in scores))


def _subspace_if_any(deviations: list[torch.Tensor], centre: torch.Tensor) -> Subspace | None:
    """None where tails or pooled outputs say nothing of the prompt (masked padding, no pooled output)."""
    stacked = torch.stack(deviations)
    if torch.isfinite(stacked).all() and stacked.norm(dim=-1).max() <= 1e-5 * centre.norm(dim=-1).max().clamp_min(1e-12):
        return None
    return concept_subspace(stacked, centre)


def _anchor_score(space: ConceptSpace, words: dict[Key, torch.Tensor], part: int) -> float:
    shares = [
        share_of(states - space.words[key].centre, space.words[key].basis)
        for key, states in words.items()
        if key[0] == part
    ]
    return risks.prompt_score(torch.stack(shares).amax(dim=0), space.reduction)
