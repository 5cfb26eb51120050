"""Prompt lists in the forms in which they are published: I2P's CSV and its kin, or a text file of one prompt a line."""

from __future__ import annotations

import csv
import hashlib
import io
import math
import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.messages import Failure

# Which column of a published list holds which field, the first that is there.
# The names with sd_ are those of AIML-TUDA/i2p, the ones with evaluation_ those of its copies in other repositories.
_I2P = {
    "prompt": ("prompt",),
    "categories": ("categories", "category", "class", "aspect"),
    "seed": ("sd_seed", "evaluation_seed", "seed"),
    "guidance": ("sd_guidance_scale", "evaluation_guidance"),
    "width": ("sd_image_width",),
    "height": ("sd_image_height",),
    "nudity": ("nudity_percentage",),
}
FIELDS = tuple(_I2P)
# Each published form of list: the columns it is known by, and the columns of each field.
FORMS: dict[str, tuple[tuple[str, ...], Mapping[str, tuple[str, ...]]]] = {
    "i2p": (("prompt", "categories", "inappropriate_percentage", "lexica_url"), _I2P),
    "unlearndiffatk": (("prompt", "evaluation_seed", "evaluation_guidance"), _I2P),
    "mma": (("adv_prompt",), {"prompt": ("adv_prompt",)}),
    "ring-a-bell": (("sensitive prompt",), {"prompt": ("sensitive prompt",)}),
    "ring-a-bell inverse": (("prompt", "case_number", "evaluation_seed"), {f: _I2P[f] for f in ("prompt", "seed")}),
    "copro": (("unsafe_prompt",), {"prompt": ("unsafe_prompt",), "categories": ("category",)}),
    "plain": (("prompt",), {**_I2P, "seed": ("seed", "sd_seed", "evaluation_seed")}),
}
TEXT = "text"  # the form of a file without columns
# A line of a text list: "7: a prompt", "7: 3: a prompt" or "7: [3, 4]: a prompt", the middle being aspects by number.
_LINE = re.compile(r"^\s*\d+:\s+(?:\[?([\d, ]+)\]?:\s+)?(.*)$")
_PIXELS = 16, math.inf, "a number of pixels from 16 up"
# Of each number of a row: its default, the least, the most, and what it must be. The row's number is added to a seed.
_NUMBERS: dict[str, tuple[float | None, float, float, str]] = {
    "seed": (None, 0, 2**64 - 1, "a whole number from 0 up"),
    "guidance": (7.5, 0, 100, "a guidance scale from 0 to 100"),
    "width": (512, *_PIXELS),
    "height": (512, *_PIXELS),
    "nudity": (None, 0, 100, "a percentage"),
}


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


@dataclass(frozen=True)
class PromptList:
    """A list as read: its form, the column of each field, the rows left out for want of a prompt, its file's hash."""

    prompts: tuple[Prompt, ...]
    form: str
    columns: dict[str, str]
    empty: tuple[int, ...]
    digest: str


def read(
    path: Path, first_seed: int = 0, form: str | None = None, columns: Mapping[str, str] | None = None
) -> PromptList:
    """The list in a file. Raises Failure, naming row and column, where a value can't be read.

    first_seed: of the first row, where a list has no seeds. form: a name of FORMS; without it the first whose columns
    are there. columns: the column of each field, before the form's.
    """
    try:
        data = path.read_bytes()
        text = data.decode("utf-8-sig")
    except OSError as error:
        raise Failure(f"{path}: it can't be read ({error.strerror})", "name the CSV of the prompts") from error
    except UnicodeDecodeError as error:
        raise Failure(f"{path}: it is no UTF-8 text", "save it as CSV in UTF-8") from error
    if path.suffix.lower() == ".txt":
        rows, column_of, form = _lines(text), {"prompt": "prompt", "categories": "aspects"}, TEXT
    else:
        table = csv.DictReader(io.StringIO(text, newline=""))
        table.fieldnames = heading = [name.strip() for name in table.fieldnames or ()]
        form, column_of = mapping(heading, form, columns or {}, path.name)
        rows = [{field: row.get(column) or "" for field, column in column_of.items()} for row in table]
    numbered = [(number, row) for number, row in enumerate(rows, 1) if row["prompt"].strip()]
    if not numbered:
        raise Failure(f"{path.name}: there is no prompt in its column {column_of['prompt']!r}", "see --columns")
    prompts = tuple(_prompt(number, row, column_of, first_seed, path.name) for number, row in numbered)
    empty = tuple(number for number, row in enumerate(rows, 1) if not row["prompt"].strip())
    return PromptList(prompts, form, column_of, empty, hashlib.sha256(data).hexdigest())


def mapping(
    heading: Sequence[str], form: str | None, columns: Mapping[str, str], file: str
) -> tuple[str, dict[str, str]]:
    """The form's name and the column of each field, for a CSV with this heading."""
    there = ", ".join(heading)
    if unknown := sorted(set(columns) - set(FIELDS)):
        raise Failure(f"--columns: there is no field {unknown[0]!r}", f"the fields are {', '.join(FIELDS)}")
    for field, column in columns.items():
        if column not in heading:
            raise Failure(f"--columns {field}={column}: {file} has no such column", f"it has {there}")
    if form is not None and form not in FORMS:
        raise Failure(f"--form: {form!r} is unknown", f"choose one of {', '.join(FORMS)}")
    if form is None:
        form = next((name for name, (needs, _) in FORMS.items() if set(needs) <= set(heading)), None)
        if form is None and "prompt" not in columns:
            wrong = f"{file}: none of the known lists has its columns ({there or 'it has no heading'})"
            raise Failure(wrong, "name the prompt's: --columns prompt=COLUMN")
    elif (missing := [need for need in FORMS[form][0] if need not in heading]) and "prompt" not in columns:
        raise Failure(f"--form {form}: {file} has no column {missing[0]!r}", f"it has {there}")
    known = FORMS[form][1] if form else {}
    present = {field: [name for name in names if name in heading] for field, names in known.items()}
    return form or "by --columns", {**{field: names[0] for field, names in present.items() if names}, **columns}


def chosen(
    prompts: Iterable[Prompt], category: str | None, nudity_over: float | None, limit: int | None, seed: int
) -> tuple[Prompt, ...]:
    """The prompts of a category with more nudity on SD 1.4 than so many per cent; at most `limit`, drawn by `seed`."""
    fitting = [
        prompt
        for prompt in prompts
        if (category is None or category in prompt.categories)
        and (nudity_over is None or (prompt.nudity is not None and prompt.nudity > nudity_over))
    ]
    if limit is not None and limit < len(fitting):
        fitting = sorted(random.Random(seed).sample(fitting, limit), key=lambda prompt: prompt.row)
    if not fitting:
        raise Failure("no prompt of the list is left by --category and --nudity-over", "choose fewer of them")
    return tuple(fitting)


def _lines(text: str) -> list[dict[str, str]]:
    """The lines of a text list; their numbers and aspects are read where every line has them."""
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    numbered = [match for match in map(_LINE.match, lines) if match]
    if len(numbered) < len(lines):
        return [{"prompt": line} for line in lines]
    aspects = [", ".join(f"aspect {number}" for number in re.findall(r"\d+", match[1] or "")) for match in numbered]
    return [{"prompt": match[2], "categories": names} for match, names in zip(numbered, aspects, strict=True)]


def _prompt(number: int, row: Mapping[str, str], columns: Mapping[str, str], first_seed: int, file: str) -> Prompt:
    values: dict[str, float | None] = {}
    for field, (default, least, most, what) in _NUMBERS.items():
        values[field] = default
        if word := row.get(field, "").strip():
            try:
                value = int(word) if re.fullmatch(r"-?\d+", word) else float(word)  # a float would round a large seed
                fits = math.isfinite(value) and least <= value <= most and (field != "seed" or value == int(value))
            except ValueError:
                fits = False
            if not fits:
                raise Failure(f"{file}, row {number}, column {columns[field]!r}: it is {word!r}", f"it must be {what}")
            values[field] = value
    names = (name.strip().lower() for name in re.split(r"[,;]", row.get("categories", "")))
    seed = first_seed + number - 1 if values["seed"] is None else int(values["seed"])
    # ComfyUI's latents have cells of 8 pixels.
    width, height = (int(values[side] or 0) // 8 * 8 for side in ("width", "height"))
    categories = tuple(dict.fromkeys(name for name in names if name))
    guidance = float(values["guidance"] or 0.0)
    return Prompt(number, row["prompt"].strip(), categories, seed, guidance, width, height, values["nudity"])
