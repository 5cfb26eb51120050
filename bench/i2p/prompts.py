"""Prompt lists in the forms in which they are published: I2P's CSV and its kin, or a text file of one prompt a line."""

from __future__ import annotations

import hashlib
import math
import random
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from runner.messages import Failure

# The columns in which published lists have each field, the first that is there. The names with sd_ are those of
# AIML-TUDA/i2p, the ones with evaluation_ those of its copies in other repositories.
COLUMNS = {
    "prompt": ("adv_prompt", "sensitive prompt", "unsafe_prompt", "prompt"),
    "categories": ("categories", "category", "class", "aspect"),
    "seed": ("sd_seed", "evaluation_seed", "seed"),
    "guidance": ("sd_guidance_scale", "evaluation_guidance"),
    "width": ("sd_image_width",),
    "height": ("sd_image_height",),
    "nudity": ("nudity_percentage",),
}
LIMITS = {"seed": (0, 2**64 - 1), "guidance": (0, 100), "width": (16, 2**14), "height": (16, 2**14), "nudity": (0, 100)}
# A line of a text list: "7: a prompt", "7: 3: a prompt" or "7: [3, 4]: a prompt", the middle being aspects by number.
_LINE = r"^\s*\d+:\s+(?:\[?(?P<aspect>[\d, ]+)\]?:\s+)?(?P<prompt>.*)$"


@dataclass(frozen=True)
class Prompt:
    """One row of a list. row: its number, from 1, without the heading. nudity: I2P's percentage on SD 1.4."""

    row: int
    text: str
    categories: tuple[str, ...]
    seed: int
    guidance: float
    width: int
    height: int
    nudity: float | None = None


def read(
    path: Path, first_seed: int = 0, columns: Mapping[str, str] | None = None
) -> tuple[tuple[Prompt, ...], dict[str, Any]]:
    """The prompts of a file, and what the results say of it; `left_out`: the rows without a prompt.

    Raises Failure, naming row and column, where a value can't be read. first_seed: of the first row, where a list has
    no seeds. columns: of each field, before those of COLUMNS.
    """
    columns = columns or {}
    try:
        table = READERS.get(path.suffix.lower(), _csv)(path)
    except (OSError, ValueError, ImportError) as error:
        raise Failure(f"{path}: expected a list of prompts ({error})", "name a CSV in UTF-8 with --csv") from error
    table.columns = heading = [str(name).strip() for name in table.columns]
    if unknown := sorted(set(columns) - set(COLUMNS)):
        raise Failure(f"--columns: there is no field {unknown[0]!r}", f"the fields are {', '.join(COLUMNS)}")
    if lacking := sorted(set(columns.values()) - set(heading)):
        raise Failure(f"--columns: {path.name} has no such column: {lacking[0]}", f"it has {', '.join(heading)}")
    usual = {field: name for field, names in COLUMNS.items() for name in reversed(names) if name in heading}
    column_of = {**usual, **columns}
    if "prompt" not in column_of:
        wrong = f"{path.name}: none of the known lists has its columns ({', '.join(heading)})"
        raise Failure(wrong, "name the prompt's: --columns prompt=COLUMN")
    cells = table[list(column_of.values())].set_axis(list(column_of), axis=1).astype(object)
    rows = cells.where(cells.notna(), "").map(lambda cell: str(cell).strip()).to_dict("records")
    left_out = [number for number, row in enumerate(rows, 1) if not row["prompt"]]
    if len(left_out) == len(rows):
        raise Failure(f"{path.name}: there is no prompt in its column {column_of['prompt']!r}", "see --columns")
    prompts = tuple(_prompt(n, row, column_of, first_seed, path.name) for n, row in enumerate(rows, 1) if row["prompt"])
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return prompts, {"file": path.name, "sha256": digest, "columns": column_of, "left_out": left_out}


def chosen(
    prompts: Iterable[Prompt], category: str | None, nudity_over: float | None, limit: int | None, seed: int
) -> tuple[Prompt, ...]:
    """The prompts of a category with more nudity on SD 1.4 than so many per cent; at most `limit`, drawn by `seed`."""
    fitting = [prompt for prompt in prompts if category is None or category in prompt.categories]
    if nudity_over is not None:
        fitting = [prompt for prompt in fitting if prompt.nudity is not None and prompt.nudity > nudity_over]
    if not fitting:
        raise Failure("no prompt of the list is left by --category and --nudity-over", "choose fewer of them")
    if limit is not None and limit < len(fitting):
        fitting = sorted(random.Random(seed).sample(fitting, limit), key=lambda prompt: prompt.row)
    return tuple(fitting)


def _text_lines(path: Path) -> pd.DataFrame:
    """The lines of a text list; their numbers and aspects are read where every line has them."""
    lines = pd.Series([line for line in path.read_text("utf-8-sig").splitlines() if line.strip()], dtype=str)
    parts = lines.str.extract(_LINE)
    if parts["prompt"].isna().any():
        return lines.to_frame("prompt")
    return parts.assign(aspect=parts["aspect"].str.replace(r"(\d+)", r"aspect \1", regex=True))


# By the ending of a file's name; every other one is read as CSV.
_csv = partial(pd.read_csv, dtype=str, keep_default_na=False, index_col=False)
READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".tsv": partial(_csv, sep="\t"),
    ".json": partial(pd.read_json, dtype=False),
    ".jsonl": partial(pd.read_json, dtype=False, lines=True),
    ".parquet": pd.read_parquet,
    ".txt": _text_lines,
}


def _prompt(number: int, row: Mapping[str, str], columns: Mapping[str, str], first_seed: int, file: str) -> Prompt:
    values: dict[str, Any] = {"seed": first_seed + number - 1, "guidance": 7.5, "width": 512, "height": 512}
    for field, (least, most) in LIMITS.items():
        if word := row.get(field):
            whole = field not in ("guidance", "nudity")
            try:
                value = int(word.removesuffix(".0")) if whole else float(word)  # 7.0: pandas, of a column with gaps
            except ValueError:
                value = math.nan
            if not least <= value <= most:
                expected = f"expected a {'whole number' if whole else 'number'} from {least} to {most}"
                raise Failure(f"{file}, row {number}, column {columns[field]!r}: {expected}, got {word!r}")
            values[field] = value // 8 * 8 if field in ("width", "height") else value  # latents have cells of 8 pixels
    names = (name.strip().lower() for name in re.split(r"[,;]", row.get("categories", "")))
    return Prompt(number, row["prompt"], tuple(dict.fromkeys(filter(None, names))), **values)
