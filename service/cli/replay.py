"""`scribe replay`: failures back to requests, under the next unused replay number. A dry run, unless told."""

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Annotated

import typer
from pydantic import JsonValue

from service.app import from_settings
from service.cli import client
from service.cli.arguments import built_by
from service.cli.encoding import encode
from service.cli.exit_codes import ExitCode, sentences
from service.cli.replay_arguments import Asked, asked
from service.cli.replay_evidence import Findings, gather
from service.cli.replay_plan import FailedFile, Plan, PlannedReplay, Rules, make_plan
from service.cli.tables import Output, OutputForm, aligned, plain, print_json
from service.kafka.client.terminal_client import publishing
from service.settings import Settings, load

Most = Annotated[
    int, typer.Option("--max", min=1, metavar="NUMBER", help="Publish at most so many requests.")
]
Publish = Annotated[
    bool, typer.Option("--publish", help="Publish them; each is billed again. Without it: a dry run.")
]


@built_by(asked)
def replay(
    make: Callable[[], Asked],
    most: Most = 100,
    publish: Publish = False,
    form: Output = OutputForm.TEXT,
) -> None:
    """Publish failed files again, under the next replay number.

    First a table of failures by code. A run that ended early goes on where it stopped. Exit code 6 if a part
    of the journal cannot be read: nothing is published then.
    """
    wanted = make()
    with sentences():
        settings = load(os.environ)
        _require_queries(settings, edits_urls=wanted.edits_urls)
        rules = replace(wanted.rules, limits=from_settings.limits_of(settings))
        place = client.config_of(settings)
        found = asyncio.run(gather(place, settings.requests.copied_headers))
        considered = [failed for failed in found.failures if wanted.filter.takes(failed)]
        plan = make_plan([each for each in considered if rules.takes(each)], found.evidence, rules)
        _show(found, considered, plan, rules, most, form, publish=publish)
        if publish and not found.unreadable:
            asyncio.run(_publish(place, plan.replays[:most], form))
    if found.unreadable:
        raise typer.Exit(ExitCode.INCOMPLETE)


def _require_queries(settings: Settings, *, edits_urls: bool) -> None:
    """Refuse to publish URLs that have lost their signatures."""
    if settings.outcomes.original_request == "no_query" and not edits_urls:
        words = (
            "failures keep no URL queries (SCRIBE_OUTCOMES__ORIGINAL_REQUEST=no_query): sign the URLs again"
        )
        raise typer.BadParameter(words, param_hint="--replace-url")


def _show(
    found: Findings,
    considered: Sequence[FailedFile],
    plan: Plan,
    rules: Rules,
    most: int,
    form: OutputForm,
    *,
    publish: bool,
) -> None:
    if form is OutputForm.JSON:
        print_json(_document(found, considered, plan, rules, most, publish=publish))
        return
    for line in aligned(list(_histogram(considered, rules))):
        typer.echo(line)
    for line in _lines(plan, most, found.unreadable, publish=publish):
        typer.echo(plain(line))


def _histogram(considered: Sequence[FailedFile], rules: Rules) -> Iterator[tuple[str, ...]]:
    """A row for each code, the most frequent first."""
    yield ("CODE", "FAILURES", "REQUESTS", "RETRYABLE", "SELECTED")
    for code, number in Counter(failed.code for failed in considered).most_common():
        those = [failed for failed in considered if failed.code == code]
        requests = {failed.request_id for failed in those}
        retryable, selected = sum(failed.retryable for failed in those), sum(map(rules.takes, those))
        yield (code, *map(str, (number, len(requests), retryable, selected)))


def _lines(plan: Plan, most: int, unreadable: Sequence[str], *, publish: bool) -> Iterator[str]:
    yield ""
    for each in plan.replays[:most]:
        files = ", ".join(map(str, each.indexes))
        yield f"{each.request_id}  replay {each.number}  {each.model}  file {files}"
    for why, number in plan.skipped.items():
        yield f"left out: {number} files: {why.value}"
    yield from (f"  {refusal}" for refusal in plan.refusals)
    files_count = sum(len(each.indexes) for each in plan.replays[:most])
    signed = sum("?" in str(url) for each in plan.replays[:most] for url in _urls(each))
    if signed:
        yield f"{signed} URLs have a query: if it is a signature, it may have expired (--replace-url)"
    if len(plan.replays) > most:
        yield f"{len(plan.replays) - most} more requests than --max: run it again for them"
    yield from (f"nothing is published: the journal is not read as a whole: {each}" for each in unreadable)
    what = f"{files_count} files of {len(plan.replays[:most])} requests"
    if not publish:
        yield f"dry run: {what}; --publish publishes them, and each is billed again"


def _urls(planned: PlannedReplay) -> list[JsonValue]:
    urls = planned.body["file_urls"]
    return [urls[index] for index in planned.indexes] if isinstance(urls, list) else []


def _document(
    found: Findings,
    considered: Sequence[FailedFile],
    plan: Plan,
    rules: Rules,
    most: int,
    *,
    publish: bool,
) -> dict[str, JsonValue]:
    head, *rows = _histogram(considered, rules)
    names = [name.lower() for name in head]
    codes: list[JsonValue] = [
        {name: int(cell) if cell.isdecimal() else cell for name, cell in zip(names, row, strict=True)}
        for row in rows
    ]
    replays: list[JsonValue] = [
        {"request_id": each.request_id, "replay": each.number, "file_indexes": [*each.indexes]}
        for each in plan.replays[:most]
    ]
    return {
        "publish": publish and not found.unreadable,
        "codes": codes,
        "replays": replays,
        "left_out": {why.value: number for why, number in plan.skipped.items()},
        "refusals": [*plan.refusals],
        "more": max(0, len(plan.replays) - most),
        "unreadable": [*found.unreadable],
    }


async def _publish(place: client.ClientConfig, replays: Sequence[PlannedReplay], form: OutputForm) -> None:
    if not replays:
        return
    async with publishing(place.cluster, place.topics.requests) as publisher:
        for each in replays:
            headers = (*client.HEADERS, *each.headers)
            await publisher.publish(each.request_id.encode(), encode(each.body), headers)
            typer.echo(f"published {each.request_id}, replay {each.number}", err=form is OutputForm.JSON)
