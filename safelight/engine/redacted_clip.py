"""A CLIP of the host whose texts are redacted: its states are read block by block, and others take their place.

The host calls the text encoder's `encode_token_weights`. An object patch takes that name's place while a redacted CLIP
is the loaded one: it lives on the CLIP's patcher, goes along with every clone of it, and the encoder itself stays.
"""

from __future__ import annotations

import copy
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Protocol

import torch

from safelight.edits.redaction import POOLED, START, TAIL, WORD, ChunkStates
from safelight.engine.encoder import encode_tokens
from safelight.engine.token_layout import encoder_named, layout_of, read_tokens, unweighted
from safelight.text.encoding import Part

ENCODE = "encode_token_weights"


class Map(Protocol):
    def apply(self, states: torch.Tensor, kinds: torch.Tensor) -> torch.Tensor: ...


@dataclass(frozen=True)
class EncoderLayout:
    """What kind of text encoder it is. blocks: the widths that lie side by side, for every part of the token states."""

    encoders: tuple[str, ...]
    blocks: tuple[tuple[int, ...], ...]
    pooled: int

    def __str__(self) -> str:
        wide = ", then ".join(" + ".join(map(str, part)) for part in self.blocks)
        pooled = f"pooled output {self.pooled} wide" if self.pooled else "no pooled output"
        return f"{' and '.join(self.encoders)}: states {wide} wide, {pooled}"

    def widths(self) -> dict[str, int]:
        """By block."""
        found = {f"{p}.{b}": width for p, part in enumerate(self.blocks) for b, width in enumerate(part)}
        return {**found, POOLED: self.pooled} if self.pooled else found

    def record(self) -> dict[str, Any]:
        return {"encoders": list(self.encoders), "blocks": [list(part) for part in self.blocks], "pooled": self.pooled}

    @classmethod
    def of_record(cls, known: Any) -> EncoderLayout:
        """Raises TypeError, KeyError or ValueError for anything but a record."""
        blocks = tuple(tuple(int(width) for width in part) for part in known["blocks"])
        return cls(tuple(str(name) for name in known["encoders"]), blocks, int(known["pooled"]))


@dataclass(frozen=True)
class Chunk:
    """A chunk's rows in the token states, its tokens, and what kind each is."""

    rows: slice
    tokens: tuple[Any, ...]
    kinds: torch.Tensor


@dataclass(frozen=True)
class TokenLayout:
    """Where which chunks of a text lie in the token states [B, T, W]."""

    form: EncoderLayout
    parts: tuple[Part, ...]
    chunks: tuple[tuple[tuple[Chunk, ...], ...], ...]  # by part, by block

    def blocks(self) -> Iterator[tuple[str, Chunk, slice]]:
        """Key, chunk and columns of every block of every chunk."""
        for p, (part, blocks) in enumerate(zip(self.parts, self.chunks, strict=True)):
            for b, ((start, stop), chunks) in enumerate(zip(part.blocks, blocks, strict=True)):
                for chunk in chunks:
                    yield f"{p}.{b}", chunk, slice(start, stop)

    def pieces(self, states: torch.Tensor, pooled: torch.Tensor | None) -> dict[str, ChunkStates]:
        """The first chunk of every block, and the pooled output as a text of one word."""
        found: dict[str, ChunkStates] = {}
        for key, chunk, columns in self.blocks():
            found.setdefault(key, ChunkStates(chunk.tokens, chunk.kinds, states[0, chunk.rows, columns].float().cpu()))
        if pooled is not None:
            found[POOLED] = ChunkStates(("",), torch.tensor([WORD]), pooled[:1].float().cpu())
        return found


def read(model: Any, tokens: Any, states: torch.Tensor, pooled: torch.Tensor | None) -> TokenLayout:
    """model: the text encoder; tokens: as the host gives them to it; states [B, T, W] and pooled [B, D]: its answer.

    Raises ValueError where the states are no plain list of token states.
    """
    if not torch.is_tensor(states) or states.ndim != 3:
        raise ValueError("clip: this text encoder gives no plain list of token states, so its texts can't be redacted.")
    tokens = tokens if isinstance(tokens, Mapping) else {"": tokens}
    tokens = {name: chunks for name, chunks in tokens.items() if isinstance(chunks, list) and chunks and chunks[0]}
    clip = SimpleNamespace(cond_stage_model=model)
    length, width = states.shape[1:]
    parts, chunks = [], []
    for name, skip, part in layout_of(clip, tokens, length, width):
        # Side by side lie CLIP-L and CLIP-G, whose texts need not be the same.
        names = [each for each in ("l", "g") if each in tokens] if len(part.blocks) > 1 else [name]
        parts.append(part)
        chunks.append(tuple(_chunks(tokens[each], _special_tokens(clip, each), skip, part) for each in names))
    if not parts:  # every token is a word, in one block
        parts = [Part(0, length, ((0, width),))]
        chunks = [((Chunk(slice(0, length), tuple(range(length)), torch.full((length,), WORD)),),)]
    widths = tuple(tuple(stop - start for start, stop in part.blocks) for part in parts)
    form = EncoderLayout(tuple(sorted(tokens)), widths, 0 if pooled is None else pooled.shape[-1])
    return TokenLayout(form, tuple(parts), tuple(chunks))


def _special_tokens(clip: Any, name: str) -> dict[int, int]:
    """What kind each of an encoder's special tokens is."""
    known = getattr(encoder_named(clip, name), "special_tokens", {})
    return {t: START if what == "start" else TAIL for what, t in known.items() if isinstance(t, int)}


def _chunks(chunks: list[Any], special: dict[int, int], skip: int, part: Part) -> tuple[Chunk, ...]:
    """An encoder's chunks as they lie in a part that its first `skip` tokens are cut off from."""
    found, before = [], -skip
    for chunk in chunks:
        ids = tuple(token[0] if isinstance(token[0], int) else id(token[0]) for token in chunk)
        kinds = [special.get(t, WORD) for t in ids]
        start, stop = max(before, 0), min(before + len(ids), part.stop - part.start)
        if start < stop:
            cut = slice(start - before, stop - before)
            found.append(Chunk(slice(part.start + start, part.start + stop), ids[cut], torch.tensor(kinds[cut])))
        before += len(ids)
    return tuple(found)


def chunks_of(clip: Any, text: str) -> tuple[EncoderLayout, dict[str, ChunkStates]]:
    """The text's states by block, without token weights. Raises ValueError where they are not finite."""
    tokens = unweighted(read_tokens(clip, text))
    states, pooled = encode_tokens(clip, tokens)
    reading = read(clip.cond_stage_model, tokens, states, pooled)
    for each in (states, pooled):
        if each is not None and not bool(torch.isfinite(each).all()):
            raise ValueError(
                "clip: the text encoder returned values that are not finite. Try another precision of the "
                "encoder (fp32 or bf16), or remove the LoRA or embedding that causes it."
            )
    return reading.form, reading.pieces(states, pooled)


class RedactedEncode:
    """Takes the place of a text encoder's `encode_token_weights`. strength: how far states go, 1 all the way."""

    def __init__(self, encode: Any, model: Any, form: EncoderLayout, maps: Mapping[str, Map], strength: float) -> None:
        self.encode, self.model, self.form, self.maps, self.strength = encode, model, form, maps, strength
        self.uuid = uuid.uuid4()  # for what remembers things by encoder

    def __call__(self, tokens: Any, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        states, pooled, *extra = self.encode(tokens, *args, **kwargs)
        reading = read(self.model, tokens, states, pooled)
        if reading.form != self.form:
            raise ValueError(
                f"clip: its redaction is for a text encoder of the form {self.form}; for this text it has "
                f"the form {reading.form}. Take the redaction out."
            )
        result = states.clone()
        for key, chunk, columns in reading.blocks():
            kinds = chunk.kinds.to(states.device)[None].expand(len(states), -1)
            result[:, chunk.rows, columns] = self._moved(key, states[:, chunk.rows, columns], kinds)
        if pooled is not None:
            words = torch.full((len(pooled), 1), WORD, device=pooled.device)
            pooled = self._moved(POOLED, pooled[:, None], words)[:, 0]
        return (result, pooled, *extra)

    def _moved(self, key: str, states: torch.Tensor, kinds: torch.Tensor) -> torch.Tensor:
        moved = torch.lerp(states.float(), self.maps[key].apply(states.float(), kinds), self.strength)
        return moved.to(states.dtype)


def redacted(clip: Any, form: EncoderLayout, maps: Mapping[str, Map], strength: float) -> Any:
    """A clone of the CLIP with its texts redacted; the CLIP itself where strength is 0."""
    if strength == 0:
        return clip
    clip = _clone(clip)
    encode = clip.patcher.get_model_object(ENCODE)  # an earlier redaction's, where there is one
    clip.patcher.add_object_patch(ENCODE, RedactedEncode(encode, clip.cond_stage_model, form, maps, strength))
    return clip


def _clone(clip: Any) -> Any:
    """The host's clone. An old host can't copy the tokenizers of SD3, Flux and T5: all but the patcher is shared then,
    which is all that a redaction changes."""
    try:
        return clip.clone()
    except AttributeError:
        own = copy.copy(clip)
        own.patcher = clip.patcher.clone()
        return own
