"""A CLIP whose texts are redacted: its token states are replaced block by block.

The host calls the text encoder's `encode_token_weights`. An object patch replaces that method while a redacted CLIP is
loaded. The patch belongs to the CLIP's patcher, so clones have it too, and the encoder itself stays as it is.
"""

from __future__ import annotations

import copy
import uuid
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Protocol

import torch

from safelight.edits.redaction import POOLED, START, TAIL, WORD, ChunkStates
from safelight.engine.encoder import encode_tokens
from safelight.engine.token_layout import encoder_named, layout_of, read_tokens, unweighted
from safelight.text.encoding import Part
from safelight.text.inherit import side_texts

if TYPE_CHECKING:
    from collections.abc import Callable

    from comfy.sd import CLIP

ENCODE = "encode_token_weights"
# A text's tokens as the host gives them to a text encoder: chunks, by the name of an encoder where there are several.
HostTokens = Mapping[str, Any] | list[Any]


class Map(Protocol):
    @property
    def width(self) -> int: ...

    def apply(self, states: torch.Tensor, kinds: torch.Tensor) -> torch.Tensor: ...

    def tensors(self) -> dict[str, torch.Tensor]: ...


@dataclass(frozen=True)
class EncoderLayout:
    """The kind of a text encoder. blocks: for every part of the token states, the widths side by side in it."""

    encoders: tuple[str, ...]
    blocks: tuple[tuple[int, ...], ...]
    pooled: int

    def __str__(self) -> str:
        wide = ", then ".join(" + ".join(map(str, part)) for part in self.blocks)
        pooled = f"pooled output {self.pooled} wide" if self.pooled else "no pooled output"
        return f"{' and '.join(self.encoders)}: states {wide} wide, {pooled}"

    def widths(self) -> dict[str, int]:
        """By block."""
        widths = {f"{p}.{b}": width for p, part in enumerate(self.blocks) for b, width in enumerate(part)}
        return {**widths, POOLED: self.pooled} if self.pooled else widths

    def record(self) -> dict[str, Any]:
        return {"encoders": list(self.encoders), "blocks": [list(part) for part in self.blocks], "pooled": self.pooled}

    @classmethod
    def of_record(cls, record: Any) -> EncoderLayout:
        """Raises TypeError, KeyError, ValueError or OverflowError for anything but a record."""
        blocks = tuple(tuple(int(width) for width in part) for part in record["blocks"])
        return cls(tuple(str(name) for name in record["encoders"]), blocks, int(record["pooled"]))


@dataclass(frozen=True)
class Chunk:
    """A chunk's rows in the token states, its tokens and their kinds."""

    rows: slice
    tokens: tuple[Hashable, ...]
    kinds: torch.Tensor


@dataclass(frozen=True)
class TokenLayout:
    """Where the chunks of a text are in the token states [B, T, W]."""

    encoder: EncoderLayout
    parts: tuple[Part, ...]
    chunks: tuple[tuple[tuple[Chunk, ...], ...], ...]  # by part, by block

    def blocks(self) -> Iterator[tuple[str, Chunk, slice]]:
        """Key, chunk and columns of every block of every chunk."""
        for p, (part, blocks) in enumerate(zip(self.parts, self.chunks, strict=True)):
            for b, ((start, stop), chunks) in enumerate(zip(part.blocks, blocks, strict=True)):
                for chunk in chunks:
                    yield f"{p}.{b}", chunk, slice(start, stop)

    def chunk_states(self, states: torch.Tensor, pooled: torch.Tensor | None) -> dict[str, ChunkStates]:
        """The first chunk of every block, and the pooled output as a text of one word."""
        by_block: dict[str, ChunkStates] = {}
        for key, chunk, columns in self.blocks():
            chunk_states = states[0, chunk.rows, columns].float().cpu()
            by_block.setdefault(key, ChunkStates(chunk.tokens, chunk.kinds, chunk_states))
        if pooled is not None:
            by_block[POOLED] = ChunkStates(("",), torch.tensor([WORD]), pooled[:1].float().cpu())
        return by_block


def token_layout(
    model: torch.nn.Module, host_tokens: HostTokens, states: torch.Tensor, pooled: torch.Tensor | None
) -> TokenLayout:
    """The layout of what the text encoder `model` made of a text: states [B, T, W] and pooled output [B, D].

    Raises ValueError where the states are not a list of token states.
    """
    if not torch.is_tensor(states) or states.ndim != 3:
        raise ValueError(
            "clip: expected a list of token states, got another form from this text encoder, whose texts can't be "
            "redacted. Use another text encoder."
        )
    by_name = host_tokens if isinstance(host_tokens, Mapping) else {"": host_tokens}
    tokens = {name: chunks for name, chunks in by_name.items() if isinstance(chunks, list) and chunks and chunks[0]}
    clip = SimpleNamespace(cond_stage_model=model)  # all that is read of a CLIP here
    length, width = states.shape[1:]
    parts, chunks = [], []
    for name, skip, part in layout_of(clip, tokens, length, width):
        # Blocks side by side are those of CLIP-L and CLIP-G, whose texts may differ.
        names = [each for each in ("l", "g") if each in tokens] if len(part.blocks) > 1 else [name]
        parts.append(part)
        chunks.append(tuple(_chunks(tokens[each], _special_tokens(clip, each), skip, part) for each in names))
    if not parts:  # every token is a word, in one block
        parts = [Part(0, length, ((0, width),))]
        chunks = [((Chunk(slice(0, length), tuple(range(length)), torch.full((length,), WORD)),),)]
    widths = tuple(tuple(stop - start for start, stop in part.blocks) for part in parts)
    encoder = EncoderLayout(tuple(sorted(tokens)), widths, 0 if pooled is None else pooled.shape[-1])
    return TokenLayout(encoder, tuple(parts), tuple(chunks))


def _special_tokens(clip: CLIP | SimpleNamespace, name: str) -> dict[int, int]:
    """The kind of each of an encoder's special tokens."""
    special = getattr(encoder_named(clip, name), "special_tokens", {})
    return {t: START if meaning == "start" else TAIL for meaning, t in special.items() if isinstance(t, int)}


def _chunks(chunks: list[Any], special: dict[int, int], skip: int, part: Part) -> tuple[Chunk, ...]:
    """An encoder's chunks in a part of the token states, from which its first `skip` tokens are cut off."""
    in_part, before = [], -skip
    for chunk in chunks:
        ids = tuple(token[0] if isinstance(token[0], int) else id(token[0]) for token in chunk)
        kinds = [special.get(t, WORD) for t in ids]
        start, stop = max(before, 0), min(before + len(ids), part.stop - part.start)
        if start < stop:
            cut = slice(start - before, stop - before)
            in_part.append(Chunk(slice(part.start + start, part.start + stop), ids[cut], torch.tensor(kinds[cut])))
        before += len(ids)
    return tuple(in_part)


def chunks_of(clip: CLIP, text: str) -> tuple[EncoderLayout, dict[str, ChunkStates]]:
    """The encoder's layout, and the text's states by block, without token weights.

    Raises ValueError where they are not finite.
    """
    tokens = unweighted(read_tokens(clip, text))
    states, pooled = encode_tokens(clip, tokens)
    layout = token_layout(clip.cond_stage_model, tokens, states, pooled)
    for each in (states, pooled):
        if each is not None and not bool(torch.isfinite(each).all()):
            raise ValueError(
                f"clip: expected finite states from the text encoder, got others for {text!r}. Try another precision "
                "of the encoder (fp32 or bf16), or remove the LoRA or embedding that causes it."
            )
    return layout.encoder, layout.chunk_states(states, pooled)


class RedactedEncode:
    """Replaces a text encoder's `encode_token_weights`. strength: how far states move, 1 all the way."""

    def __init__(
        self,
        encode: Callable[..., tuple[Any, ...]],
        model: torch.nn.Module,
        encoder: EncoderLayout,
        maps: Mapping[str, Map],
        strength: float,
    ) -> None:
        self.encode, self.model, self.encoder, self.maps, self.strength = encode, model, encoder, maps, strength
        self.uuid = uuid.uuid4()  # by which concept_spaces tells redactions apart

    def __call__(self, tokens: HostTokens, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        states, pooled, *extra = self.encode(tokens, *args, **kwargs)
        further = [key for extras in extra if isinstance(extras, dict) for key in side_texts(extras)]
        if further:
            raise ValueError(
                f"clip: expected a text encoder with one kind of states, got one whose network also reads "
                f"{', '.join(further)}, which a redaction can't change. Take the redaction out."
            )
        layout = token_layout(self.model, tokens, states, pooled)
        if layout.encoder != self.encoder:
            raise ValueError(
                f"clip: expected a text with the layout of its redaction ({self.encoder}), got one with another "
                f"({layout.encoder}). Take the redaction out."
            )
        result = states.clone()
        for key, chunk, columns in layout.blocks():
            kinds = chunk.kinds.to(states.device)[None].expand(len(states), -1)
            result[:, chunk.rows, columns] = self._moved(key, states[:, chunk.rows, columns], kinds)
        if pooled is not None:
            words = torch.full((len(pooled), 1), WORD, device=pooled.device)
            pooled = self._moved(POOLED, pooled[:, None], words)[:, 0]
        return (result, pooled, *extra)

    def _moved(self, key: str, states: torch.Tensor, kinds: torch.Tensor) -> torch.Tensor:
        moved = torch.lerp(states.float(), self.maps[key].apply(states.float(), kinds), self.strength)
        return moved.to(states.dtype)


def redacted(clip: CLIP, encoder: EncoderLayout, maps: Mapping[str, Map], strength: float) -> CLIP:
    """A clone of the CLIP with its texts redacted; the CLIP itself where strength is 0."""
    if strength == 0:
        return clip
    clip = _clone(clip)
    encode = clip.patcher.get_model_object(ENCODE)  # an earlier redaction's, where there is one
    clip.patcher.add_object_patch(ENCODE, RedactedEncode(encode, clip.cond_stage_model, encoder, maps, strength))
    return clip


def _clone(clip: CLIP) -> CLIP:
    """The host's clone. An old host can't copy the tokenizers of SD3, Flux and T5; there the clone shares all but the
    patcher, the only part that a redaction changes."""
    try:
        return clip.clone()
    except AttributeError:
        clone = copy.copy(clip)
        clone.patcher = clip.patcher.clone()
        return clone
