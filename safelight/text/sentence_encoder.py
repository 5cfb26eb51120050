"""The first layers of a small sentence encoder, in torch alone.

The layers and the token embeddings are those of all-MiniLM-L6-v2 (sentence-transformers, Apache License 2.0), a BERT of
width 384 (Devlin et al., arXiv 1810.04805; Wang et al., "MiniLM", arXiv 2002.10957), with the word pieces that English
prompts use, in eight bits, and trained further.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

HEADS = 12
EPSILON = 1e-12  # of the layer norms
LONGEST = 64  # word pieces of a clause, with the two at its ends
PAD, UNKNOWN, FIRST, LAST = "[PAD]", "[UNK]", "[CLS]", "[SEP]"

Weights = Mapping[str, torch.Tensor]


def make_tokenizer(pieces: Sequence[str]) -> Tokenizer:
    """A WordPiece tokenizer, without accents and capitals. pieces: the vocabulary, in the order of the embeddings."""
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocab=vocabulary, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.BertNormalizer(strip_accents=True, lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    ends = {name: vocabulary[name] for name in (FIRST, LAST)}
    tokenizer.post_processor = processors.BertProcessing((LAST, ends[LAST]), (FIRST, ends[FIRST]))
    tokenizer.enable_truncation(LONGEST)
    tokenizer.enable_padding(pad_id=vocabulary[PAD], pad_token=PAD)
    return tokenizer


def encode(weights: Weights, ids: torch.Tensor, attended: torch.Tensor) -> list[torch.Tensor]:
    """The states after the embeddings and after every layer, each [B, T, W].

    ids: word pieces [B, T]; attended: boolean [B, T], False at padding.
    """
    positions = weights["positions"][: ids.shape[1]]
    x = F.embedding(ids, weights["pieces"]) + positions + weights["kind"]
    states = [_norm(weights, "embedded", x)]
    mask = attended[:, None, None, :]
    for layer in range(depth(weights)):
        x = states[-1]
        query, key, value = (_heads(_linear(weights, f"{layer}.{part}", x)) for part in ("query", "key", "value"))
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask).transpose(1, 2).flatten(2)
        x = _norm(weights, f"{layer}.attended", x + _linear(weights, f"{layer}.out", mixed))
        wide = F.gelu(_linear(weights, f"{layer}.wide", x))
        states.append(_norm(weights, f"{layer}.done", x + _linear(weights, f"{layer}.narrow", wide)))
    return states


def depth(weights: Weights) -> int:
    """The number of layers."""
    return sum(name.endswith(".query.weight") for name in weights)


def _heads(x: torch.Tensor) -> torch.Tensor:
    return x.unflatten(-1, (HEADS, -1)).transpose(1, 2)


def _linear(weights: Weights, name: str, x: torch.Tensor) -> torch.Tensor:
    return F.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])


def _norm(weights: Weights, name: str, x: torch.Tensor) -> torch.Tensor:
    return F.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], EPSILON)


def to_eight_bits(weights: Weights) -> dict[str, torch.Tensor]:
    """The matrices as int8 with a scale per row, "NAME.scale"; everything else as it is, in float16."""
    result: dict[str, torch.Tensor] = {}
    for name, tensor in weights.items():
        if tensor.ndim == 2 and tensor.numel() > 50_000:
            scale = tensor.abs().amax(dim=1, keepdim=True).clamp_min(1e-8) / 127
            result[name] = (tensor / scale).round().to(torch.int8)
            result[f"{name}.scale"] = scale.half()
        else:
            result[name] = tensor.half()
    return result


def from_eight_bits(stored: Weights) -> dict[str, torch.Tensor]:
    """The inverse of to_eight_bits, in float32."""
    return {
        name: tensor.float() * stored[f"{name}.scale"].float() if f"{name}.scale" in stored else tensor.float()
        for name, tensor in stored.items()
        if not name.endswith(".scale")
    }
