"""Writes docs/json.md from the JSON Schema: `python docs/generate_json.py`. A test checks that it is current."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PAGE = Path(__file__).with_name("json.md")
SCHEMA = Path(__file__).with_name("result.schema.json")
VERDICT = Path(__file__).with_name("verdict.schema.json")
EXAMPLE = Path(__file__).with_name("verdict.example.json")

HEAD = """# JSON

Made from [`result.schema.json`](result.schema.json) by `docs/generate_json.py`. Tests validate real output against it.

`infertune tune --json` prints one document on stdout and nothing else there; the same bytes are in `result.json` in the
run folder. `infertune report RUN --format json` prints the same keys and, beside them, those marked "report only"; its
`files` are named relative to the run folder, so that a copy of the folder gives the same bytes on every machine.

```sh
infertune report runs/m --json > result.json
python -c "import json; print(json.load(open('result.json'))['confirmed'])"
```

What to rely on:

* `format` names the form. Within `infertune-result/1` keys are only added, never removed or changed.
* `confirmed` is null until the winner was measured at least three times on launches that took no part in choosing.
  Figures of the search, which are optimistic by nature, are never put in its place.
* Throughput is samples per second, counted. Latency percentiles are of all requests of all confirmation launches, and
  null below their sample floor (11 requests for p50, 64 for p90, 662 for p99). `p90_at_most_ms` and `p99_at_most_ms`
  are upper bounds of the true percentiles from order statistics, whatever the distribution, for independent requests.
* An interval spans slowest to fastest launch up to seven launches (for six it covers the true median with 96.9 %), and
  from eight on the innermost order statistics that still cover 95 %.
* `speedup` is on the goal's own figure, so for a latency goal it is their latency / ours. It is the median of ratios
  within blocks of launches made side by side, not the ratio of two medians. A value under 1.03, or an interval that
  includes 1.00, is no win: the baseline is recommended then, and `winner.why` says so.
* `device` has no key for what the study does not know; `facts` differ between targets.

"""

OTHERS = """
## Other documents

`infertune measure --json` prints `{"format": "infertune-rows/1", "model": {..}, "simulated": false, "rows": [..]}` with
rows as in `rows[]` above.

`infertune compare RUN_A RUN_B --json` prints

| key | meaning |
| --- | --- |
| `format` | `infertune-comparison/1` |
| `metric` | the figure compared: `throughput`, or the percentile that both goals ask for |
| `a`, `b` | `status`, `goal`, `model` (its name), `winner` (`target`, `point`), `confirmed` as above, `simulated` |
| `ratio` | how many times better B is, its ends from both intervals at their worst; null where that would not be fair |
| `verdict` | in words: better, `no difference`, or why they are not comparable (another model or shape, ..) |
| `differences` | what is not the same in both: `model`, `shapes`, `goal`, `device`, `versions`, `inputs` |
"""

VERIFY = """
## `infertune verify`

`infertune verify BUNDLE --json` prints one document ([`verdict.schema.json`](verdict.schema.json)) and ends with exit
code 0 when the promise is kept. A bundle that is 10 % slower than promised, some keys of `promised` left out:

```json
"""

Json = dict[str, Any]
HEADING = "| key | value | meaning |\n| --- | --- | --- |\n"


def resolved(schema: Json, root: Json) -> Json:
    """A subschema without its references and its null; its own description wins."""
    reference = schema.get("$ref")
    if reference:
        return {**resolved(root["$defs"][reference.rsplit("/", 1)[1]], root), **schema}
    for choice in schema.get("anyOf", ()):
        if choice != {"type": "null"}:
            return {**resolved(choice, root), **schema}
    return schema


def may_be_null(schema: Json, root: Json) -> bool:
    if "$ref" in schema:
        return may_be_null(root["$defs"][schema["$ref"].rsplit("/", 1)[1]], root)
    kinds = schema.get("type", ())
    return "null" in ([kinds] if isinstance(kinds, str) else kinds) or any(
        may_be_null(choice, root) for choice in schema.get("anyOf", ())
    )


def kind(schema: Json, root: Json) -> str:
    """``number or null``, `` `ok`, `interrupted` ``, ``list``."""
    found = resolved(schema, root)
    if "const" in found:
        return f"`{found['const']}`"
    if "enum" in found:
        return ", ".join(f"`{value}`" if value else "empty" for value in found["enum"])
    kinds = found.get("type", "object")
    names = [name for name in ([kinds] if isinstance(kinds, str) else kinds) if name != "null"]
    shown = " or ".join({"array": "list", "integer": "whole number", "string": "text"}.get(n, n) for n in names)
    return f"{shown} or null" if may_be_null(schema, root) else shown


def rows(schema: Json, root: Json, prefix: str) -> Iterator[str]:
    """One row per key, nested keys after their parent."""
    named = dict(schema.get("properties", {}))
    for part in schema.get("patternProperties", {}).values():
        named["over_<baseline>"] = part
    for name, part in named.items():
        found = resolved(part, root)
        path = f"{prefix}{name}"
        yield f"| `{path}` | {kind(part, root)} | {found.get('description', '')} |\n"
        if found.get("type") == "array":
            yield from rows(resolved(found["items"], root), root, f"{path}[].")
        else:
            yield from rows(found, root, f"{path}.")


def page() -> str:
    """The whole page."""
    root, verdict = json.loads(SCHEMA.read_text()), json.loads(VERDICT.read_text())
    table = "## Keys\n\n" + HEADING + "".join(rows(root, root, ""))
    verify = f"{VERIFY}{EXAMPLE.read_text()}```\n\n{HEADING}" + "".join(rows(verdict, verdict, ""))
    return HEAD + table + OTHERS + verify


if __name__ == "__main__":
    PAGE.write_text(page())
