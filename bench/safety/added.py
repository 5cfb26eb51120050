"""`--add` of `bench safety` and `bench redteam`: rows made by today's code beside those that results have."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from fnmatch import fnmatch

from bench import evidence
from bench.command import Results

from .plan import METHODS, Row


def add_option(options: argparse.ArgumentParser, example: str) -> None:
    about = (
        f"make the rows whose key matches, as '{example}', beside plain sampling, and put them into the results that "
        "are there"
    )
    options.add_argument("--add", nargs="+", metavar="PATTERN", help=about)


def chosen(rows: list[Row], patterns: list[str]) -> list[Row]:
    """The rows whose key matches, and plain sampling of their prompt sets."""
    added = [row for row in rows if any(fnmatch(row.key, each) for each in patterns)]
    sets_of_added = {row.cases for row in added}
    return [row for row in rows if row in added or (row.method == "plain" and row.cases in sets_of_added)]


def merged(results: Results, again: Results, shown: Iterable[str], patterns: list[str]) -> Results:
    """The results with some rows made again in place of what they had, or beside it; of all others the figures stay.

    again: of plain sampling and the rows to add. shown: columns that say what a picture shows. Raises SystemExit where
    plain sampling gives other pictures than it did: then the figures can't stand side by side.
    """
    recorded, fresh = ({row["key"]: row for row in each["rows"]} for each in (results, again))
    for key in recorded.keys() & {row["key"] for row in again["rows"] if row["method"] == "plain"}:
        before, now = ({key: {name: rows[key]["columns"][name] for name in shown}} for rows in (recorded, fresh))
        if evidence.compare(before, now)[1]:
            raise SystemExit(f"--add: expected the plain pictures of the results that are there, got others ({key}).")
    made = results["made"] | {"digests": results["made"]["digests"] | again["made"]["digests"]}
    about = f"{len(fresh)} rows made by `{again['made']['fingerprint']}`: plain sampling, {', '.join(patterns)}"
    made["carried_over"] = [*made.get("carried_over", ()), about]
    made["minutes"] += again["made"]["minutes"]
    others = [row for row in results["rows"] if row["key"] not in fresh]
    places = {name: place for place, name in enumerate(METHODS)}  # in the tables
    rows = sorted([*fresh.values(), *others], key=lambda row: places.get(row["method"], len(places)))
    return {**results, "made": made, "rows": rows}
