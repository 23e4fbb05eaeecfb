"""`scribe doctor`: whether a service with these settings could work, line by line, and what to do if not.

It joins no group, bills nothing, and needs only the permissions of the service.
"""

import asyncio
import os

import typer

from service.app.tracing import exporter_of
from service.cli import client
from service.cli.exit_codes import ExitCode
from service.cli.findings import Finding, Report, Result, document_of, has_failed
from service.cli.kafka_checks import check_kafka
from service.cli.provider_checks import check_provider, check_way
from service.cli.tables import Output, OutputForm, print_json
from service.errors import ConfigError
from service.settings import Settings, load


def doctor(form: Output = OutputForm.TEXT) -> None:
    """Check the settings, Kafka and the provider; say what to do.

    It joins no group and bills nothing. Exit code 3 if a check failed.
    """
    findings: list[Finding] = []

    def report(finding: Finding) -> None:
        findings.append(finding)
        if form is OutputForm.TEXT:
            typer.echo(str(finding))

    settings = read_settings(report)
    if settings is not None:
        client.silence_library()
        asyncio.run(examine(settings, report))
    if form is OutputForm.JSON:
        print_json(document_of(findings))
    if has_failed(findings):
        raise typer.Exit(ExitCode.UNHEALTHY)


def read_settings(report: Report) -> Settings | None:
    """The settings, if they can be read."""
    try:
        settings = load(os.environ)
        exporter_of(settings)
    except ConfigError as error:
        for line in str(error).splitlines():
            report(Finding("settings", Result.FAILED, line))
        return None
    return settings


async def examine(settings: Settings, report: Report) -> None:
    """Report what Kafka and the provider show."""
    # First what needs no network: it is cheapest to see, and to mend.
    may_call = check_way(settings, os.environ, report)
    await check_kafka(settings, report)
    await check_provider(settings, report, may_call=may_call)
