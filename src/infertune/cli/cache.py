"""`infertune cache`: what the artifact cache holds, and removing some of it."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from infertune.cli.options import Json
from infertune.core.errors import UsageError

if TYPE_CHECKING:
    from infertune.build.cache import ArtifactCache, CacheEntry


class Action(StrEnum):
    list = "list"
    prune = "prune"


def command(
    action: Annotated[Action, typer.Argument(help="What to do with the cache.")] = Action.list,
    max_size: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE", help="prune: remove what was not used for longest until this is left, as in 20GB."
        ),
    ] = None,
    older_than: Annotated[
        str | None, typer.Option(metavar="TIME", help="prune: remove what was not used for this long: 30d.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="prune: remove all that no running study uses.")] = False,
    json: Json = False,
) -> None:
    """List or prune the cache of built artifacts."""
    from infertune.build.cache import ArtifactCache
    from infertune.cli.output import print_json

    with ArtifactCache() as cache:
        if action is Action.list:
            if max_size or older_than or everything:
                raise UsageError("cache-option", "`list` takes no limits", hint="say `infertune cache prune ...`")
            entries: Sequence[CacheEntry] = cache.entries()
        else:
            entries = _prune(cache, max_size, older_than, everything)
        if json:
            print_json({"folder": str(cache.root), "action": str(action), "entries": [_plain(e) for e in entries]})
        else:
            _show(cache, action, entries)


def _prune(
    cache: ArtifactCache, max_size: str | None, older_than: str | None, everything: bool
) -> Sequence[CacheEntry]:
    from infertune.core.duration import parse_duration
    from infertune.core.sizes import parse_size

    match max_size, older_than, everything:
        case str(), None, False:
            return cache.prune_to(parse_size(max_size))
        case None, str(), False:
            return cache.prune_older(parse_duration(older_than))
        case None, None, True:
            return cache.prune_all()
    raise UsageError(
        "cache-option",
        "`prune` needs exactly one of --max-size, --older-than and --all",
        hint="for example `infertune cache prune --older-than 30d`",
    )


def _plain(entry: CacheEntry) -> dict[str, object]:
    return {
        "key": entry.key,
        "what": entry.what,
        "size_bytes": entry.size_bytes,
        "build_s": round(entry.build_s, 3),
        "made_at": entry.made_at or None,
        "idle_s": round(entry.idle_s, 1),
        "in_use": entry.in_use,
        "facts": dict(entry.facts),
    }


def _age(idle_s: float) -> str:
    hours = idle_s / 3600
    return f"{idle_s / 60:.0f} min" if hours < 1 else f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.0f} days"


def _show(cache: ArtifactCache, action: Action, entries: Sequence[CacheEntry]) -> None:
    from infertune.cli.output import bytes_text, stderr_console, stdout_console, table
    from infertune.core import words

    rows = [
        (
            entry.key[:12],
            entry.what,
            bytes_text(entry.size_bytes),
            words.seconds(entry.build_s),
            f"{_age(entry.idle_s)} ago",
            "yes" if entry.in_use else "",
        )
        for entry in entries
    ]
    if rows:
        stdout_console().print(table(("key", "what", "size", "built in", "used", "in use"), rows))
    total = bytes_text(sum(entry.size_bytes for entry in entries))
    count = f"{len(entries)} {'entry' if len(entries) == 1 else 'entries'}"
    done = f"{count} in {cache.root}, {total}" if action is Action.list else f"removed {count}, {total}"
    stderr_console().print(done)
