"""Every key that the host writes into a CONDITIONING, or that a model of the host reads there, is known to the pack.

A new key of a new host fails here, until somebody says whether it passes to the safe prompt: safelight/text/inherit.py.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import comfy.model_base
import host
from host import base_nodes

from safelight.text.inherit import PASSES, SIDE_TEXTS, TEXT_KEYS

# What the host's sampler gives a model beside the conditioning.
OF_THE_RUN = {"denoise_mask", "device", "latent_image", "latent_shapes", "noise", "seed"}
# Keys of other dicts in the same functions: latents, guiders' lists, values of a key, model options.
OF_OTHERS = set(
    [
        "samples",
        "noise_mask",
        "batch_index",
        "type",
        "image",
        "ui",
        "result",
        "model",
        "positive",
        "middle",
        "negative",
        "empty_negative_prompt",
        "latent_shape",
        "pixel_mask",
        "pre_filter_count",
        "strength_model",
        "tokens",
        "audio_latent",
        "audio_embeds",
        "data",
        "kind",
        "latent",
        "latent_h",
        "latent_t",
        "latent_w",
        "ref_audio_t",
        "resolved_frame_index",
        "timestamps",
        "output_block_patch",
        "patches",
        "transformer_options",
        "point_coords",
        "point_labels",
        "score",
        "x",
        "y",
    ]
)


def functions(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name not in ("INPUT_TYPES", "define_schema"):
            yield node


def texts(tree: ast.AST) -> Iterator[str]:
    """Constant keys of dicts that are written there."""
    for node in ast.walk(tree):
        keys = node.keys if isinstance(node, ast.Dict) else []
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
            keys = [node.slice]
        yield from (key.value for key in keys if isinstance(key, ast.Constant) and isinstance(key.value, str))


def read_of_kwargs(tree: ast.AST) -> Iterator[str]:
    """Constant keys by which a function reads its `kwargs`."""
    for node in ast.walk(tree):
        key, of = None, None
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "get"
            and node.args
        ):
            key, of = node.args[0], node.func.value
        elif isinstance(node, ast.Subscript):
            key, of = node.slice, node.value
        elif isinstance(node, ast.Compare) and isinstance(node.ops[0], (ast.In, ast.NotIn)):
            key, of = node.left, node.comparators[0]
        if isinstance(key, ast.Constant) and isinstance(of, ast.Name) and of.id == "kwargs":
            yield key.value


def writes_conditionings(function: ast.FunctionDef) -> bool:
    source = ast.unparse(function)
    marks = ("conditioning_set_values", "pooled_output", "append([", "n[1]", "c[1]", "t[1].copy()")
    return "conditioning" in source.lower() and any(mark in source for mark in marks)


def node_files() -> list[Path]:
    package = importlib.import_module("comfy_extras.nodes" if host.IS_INDEX_BUILD else "comfy_extras")
    return [Path(base_nodes.__file__), *sorted(p for each in package.__path__ for p in Path(each).glob("nodes_*.py"))]


def test_every_key_that_a_node_of_the_host_writes_into_a_conditioning_is_classified():
    written = {
        (path.name, key)
        for path in node_files()
        for function in functions(ast.parse(path.read_text(encoding="utf-8")))
        if writes_conditionings(function)
        for key in texts(function)
    }
    known = PASSES | TEXT_KEYS | OF_OTHERS
    assert {"control", "area", "pooled_output", "gligen"} <= {key for _, key in written}, "the walk finds nothing"
    assert sorted((name, key) for name, key in written if key not in known) == []


def test_every_key_that_a_model_of_the_host_reads_in_a_conditioning_is_classified():
    read = set(read_of_kwargs(ast.parse(Path(comfy.model_base.__file__).read_text(encoding="utf-8"))))
    assert {"cross_attn", "pooled_output", "concat_latent_image"} <= read, "the walk finds nothing"
    assert sorted(read - PASSES - TEXT_KEYS - OF_THE_RUN) == []


def test_no_key_both_passes_and_stays():
    assert not PASSES & TEXT_KEYS and SIDE_TEXTS <= TEXT_KEYS
