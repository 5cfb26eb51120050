"""What the references of Safe Latent Diffusion are made from, for the script that writes them and the tests alike.

All of it comes from numpy's RandomState, whose streams are the same in every release, so nothing of it is stored.
"""

from __future__ import annotations

import zlib

import numpy as np

STEPS = 50
CFG = 7.5
CONTEXT = 32  # width of a text state
TOKENS = 77
_SEQUENCE = (2, 4, 4, 4)
_LATENT = (1, 4, 8, 8)


def sequences() -> np.ndarray:
    """Noise predictions of 50 steps, [50, 3, 2, 4, 4, 4], float64: e_0, e_p and e_S of a batch of two.

    e_p is near e_0. Its distance from e_S is of every size from 1e-5 to 3, in both directions, so that each threshold
    and each clipping point of the four presets lies within. Three elements of a sample differ by just a threshold,
    .01, .025 and 1, and one not at all.
    """
    draw = np.random.RandomState(1105)
    out = np.empty((STEPS, 3, *_SEQUENCE))
    for step in out:
        e_0 = draw.randn(*_SEQUENCE)
        e_p = e_0 + 0.3 * draw.randn(*_SEQUENCE)
        distance = 10.0 ** draw.uniform(-5.0, 0.5, _SEQUENCE)
        e_s = e_p - np.where(draw.rand(*_SEQUENCE) < 0.5, -distance, distance)
        e_p[:, 0, 0, :] = 0.01, 0.025, 1.0, 0.5
        e_s[:, 0, 0, :] = 0.0, 0.0, 0.0, 0.5
        step[:] = e_0, e_p, e_s
    return out


def parameter(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Values of the parameter with diffusers' `name`, float32; of a size that keeps the signal's."""
    values = _stream(name).randn(*shape)
    if len(shape) > 1:
        values /= np.sqrt(np.prod(shape[1:]))
    else:
        values = 0.1 * values + (0.0 if name.endswith("bias") else 1.0)
    return values.astype(np.float32)


def text_state(text: str) -> np.ndarray:
    """What stands for the encoding of `text` ("prompt", "negative" or "safety"), [1, 77, 32], float32."""
    return _stream(text).randn(1, TOKENS, CONTEXT).astype(np.float32)


def start() -> np.ndarray:
    """The run's latent before its first step, [1, 4, 8, 8], float32, of variance 1."""
    return _stream("latent").randn(*_LATENT).astype(np.float32)


def _stream(name: str) -> np.random.RandomState:
    return np.random.RandomState(zlib.crc32(name.encode()))
