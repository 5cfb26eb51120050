"""GIE, growth inhibitors for erasure (ICLR 2025, arXiv 2408.01014, whose first version is EIUP): targets out of what
cross-attention finds of them.

Beside the prompt a second text names the targets alone. With A and T, the attention of a picture's places over the
tokens of the prompt and over those of the targets' text, each a softmax of its own, a cross-attention gives

    out = sum_i A_i v_i + scale * sum_{j in words} T_j v_j

where the second sum runs over the targets' words: what start, end and padding have of T counts for nothing, and nothing
is renormalised. A scale of -1 takes away once what the picture finds of the targets. The paper writes this as a prompt
with the targets inserted into it, whose own tokens keep the attention that they had without; the inserted words are
then in no sum but the second, so that the prompt can be left as it is.

Ours: several targets are a text and a softmax each, and each text's sum weighs one over the root of their number.
"""

from __future__ import annotations

import torch
from einops import rearrange
from torch.nn.functional import scaled_dot_product_attention


def weight(count: int) -> float:
    """Of each of so many texts: less than once each, which takes too much, and more than their mean, which takes too
    little of what one of them finds."""
    return count**-0.5


def found(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, words: torch.Tensor, heads: int) -> torch.Tensor:
    """What attention finds of a target: the second sum, [B, N, C], as q in shape and dtype, in float32 at least.

    q: [B, N, C], the queries of a picture's places; k, v: [L, C], of the tokens of one text, heads side by side;
    words: boolean [L], those of its tokens that are words.
    """
    values = v.masked_fill(~words[:, None], 0.0)  # their attention stays in the softmax
    dtype = torch.promote_types(q.dtype, torch.float32)
    queries, keys, values = (rearrange(x.to(dtype), "... n (h d) -> ... h n d", h=heads) for x in (q, k, values))
    everyone = (len(q), -1, -1, -1)
    summed = scaled_dot_product_attention(queries, keys.expand(everyone), values.expand(everyone))
    return rearrange(summed, "b h n d -> b n (h d)").to(q.dtype)
