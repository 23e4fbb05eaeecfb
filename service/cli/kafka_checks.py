"""The checks of `scribe doctor` at Kafka.

They join no group and write nothing; only `transactions` opens a producer, as the service does at its start.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import replace

from service.app import from_settings
from service.cli.findings import Finding, Report, Result
from service.cli.replica_status import member_at
from service.cli.tables import time_of
from service.errors import ConfigError
from service.kafka.admin.acls import Operation, require_acls, require_operations
from service.kafka.admin.creation import SIZE
from service.kafka.admin.inspection import REQUEST_TIMEOUT_MS, Inspection
from service.kafka.admin.topics import Extent, Topics, misfit, require_safe, risks, small_limits
from service.kafka.client.cluster import ClusterConfig
from service.kafka.client.group_members import GroupDescription
from service.kafka.group.duplicate_members import MemberStamp
from service.kafka.writing.producer import Producer
from service.kafka.writing.transactional_producer import require_transactions
from service.settings import Settings

TRANSACTION_SECONDS = 20.0
"""Bound of the check for transactions: a new broker makes the topic of all transactions first."""
LATER = (
    "permissions",
    "topics",
    "partitions",
    "journal",
    "sizes",
    "pages",
    "transactions",
    "group",
    "instance",
)


async def check_kafka(settings: Settings, report: Report) -> None:
    """Report what an operator must know of Kafka; every wait is bounded."""
    try:
        cluster = replace(from_settings.cluster_of(settings), request_timeout_ms=REQUEST_TIMEOUT_MS)
        async with Inspection(cluster) as inspection:
            report(Finding("kafka", Result.OK, f"{cluster.bootstrap_servers} answers{_login(cluster)}"))
            await _Checks(settings, cluster, inspection, report).run()
    except ConfigError as error:
        report(Finding("kafka", Result.FAILED, str(error)))
        for check in LATER:
            report(Finding(check, Result.SKIPPED, "Kafka is not reached"))


def _login(cluster: ClusterConfig) -> str:
    if cluster.credentials.tokens is not None:
        return " and takes our token"
    if cluster.sasl_username:
        return f" and lets {cluster.sasl_username} in"
    return " and takes our client certificate" if cluster.credentials.files.has_own else ""


class _Checks:
    """The checks of one cluster that answers."""

    def __init__(
        self, settings: Settings, cluster: ClusterConfig, inspection: Inspection, report: Report
    ) -> None:
        self._settings = settings
        self._cluster = cluster
        self._inspection = inspection
        self._report = report
        self._topics: Topics = from_settings.topics_of(settings)

    async def run(self) -> None:
        """Run all checks: one that fails does not hide the next."""
        await self._reported("permissions", self._permissions)
        has_all = await self._check_topics()
        await self._reported("pages", self._pages)
        if has_all:
            await self._reported("transactions", self._producing)
        else:
            # A producer asks for the topics by name, and a broker may then create them with its own defaults.
            self._report(Finding("transactions", Result.SKIPPED, "a topic is missing"))
        await self._check_members()

    async def _reported(self, check: str, examine: Callable[[], Awaitable[Finding]]) -> None:
        try:
            self._report(await examine())
        except ConfigError as error:
            self._report(Finding(check, Result.FAILED, str(error)))

    async def _permissions(self) -> Finding:
        await require_acls(self._cluster, self._topics)
        return Finding("permissions", Result.OK, "the topics' permissions are enough, or the broker has none")

    async def _check_topics(self) -> bool:
        """Check the topics; return whether there are all."""
        try:
            extents = await self._inspection.extents(self._topics)
        except ConfigError as error:
            self._report(Finding("topics", Result.FAILED, str(error)))
            return False
        lacking = [name for name in self._topics.all() if name not in extents]
        complaint = misfit(extents, self._topics)
        if lacking:
            self._report(Finding("topics", Result.FAILED, f"{complaint}{self._creation()}"))
            self._report(Finding("partitions", Result.SKIPPED, "a topic is missing"))
        else:
            self._report(Finding("topics", Result.OK, ", ".join(self._topics.all())))
            self._report(self._partitions(extents[self._topics.requests].partitions, complaint))
        if self._topics.journal in extents:
            await self._reported("journal", lambda: self._journal(extents))
        else:
            self._report(Finding("journal", Result.SKIPPED, "the topic is missing"))
        outcomes = [name for name in (self._topics.results, self._topics.failures) if name in extents]
        await self._reported("sizes", lambda: self._sizes(outcomes))
        return not lacking

    async def _sizes(self, names: Collection[str]) -> Finding:
        """Whether the brokers take outcomes of every size."""
        limits: dict[str, int] = {}
        for name in names:
            limit = (await self._inspection.settings_of(name) or {}).get(SIZE, "")
            if limit.isdigit():
                limits[name] = int(limit)
        small = list(small_limits(self._topics, limits))
        if small:
            return Finding("sizes", Result.WARNING, "; ".join(small))
        if len(limits) < len(names) or not names:
            words = "the limits of outcomes are not shown: the service learns them from a refusal"
            return Finding("sizes", Result.OK, words)
        return Finding("sizes", Result.OK, "results and failures may have every size that Scribe makes")

    def _creation(self) -> str:
        return "; the service makes them at its start" if self._settings.topics.create else ""

    def _partitions(self, partitions: int, complaint: str | None) -> Finding:
        if complaint is not None:
            return Finding("partitions", Result.FAILED, complaint)
        return Finding(
            "partitions", Result.OK, f"{partitions} of {self._topics.requests}, and of the journal"
        )

    async def _journal(self, extents: Mapping[str, Extent]) -> Finding:
        name = self._topics.journal
        found = require_safe(name, await self._inspection.settings_of(name))
        journal = extents[name]
        requests = extents.get(self._topics.requests, journal)
        warnings = list(risks(self._topics, requests, journal, found))
        if warnings:
            return Finding("journal", Result.WARNING, "; ".join(warnings))
        return Finding("journal", Result.OK, f"{name} is compacted and has {journal.replicas} replicas")

    async def _pages(self) -> Finding:
        name = self._topics.pages
        if not await self._inspection.has(name):
            words = f"no topic {name}: each replica reads the whole task list; `scribe topics` makes it"
            return Finding("pages", Result.WARNING, words)
        try:
            await require_operations(self._cluster, {name: (Operation.READ, Operation.WRITE)})
        except ConfigError as error:
            return Finding("pages", Result.WARNING, f"replicas cannot share the task list: {error}")
        return Finding("pages", Result.OK, f"replicas share the provider's task list through {name}")

    async def _producing(self) -> Finding:
        kafka = self._settings.kafka
        if kafka.delivery == "exactly_once":
            try:
                async with asyncio.timeout(TRANSACTION_SECONDS):
                    await require_transactions(self._cluster, self._topics)
            except TimeoutError:
                raise ConfigError("the broker begins no transaction in time; look into its log") from None
            return Finding("transactions", Result.OK, f"a transaction can begin as {self._topics.journal}.…")
        producer = Producer(self._cluster, idempotent=kafka.idempotent, bound_seconds=TRANSACTION_SECONDS)
        try:
            await producer.start()
        finally:
            await producer.kill()
        words = "not used: SCRIBE_KAFKA__DELIVERY=at_least_once repeats outcomes at times"
        return Finding("transactions", Result.OK, words)

    async def _check_members(self) -> None:
        """Check the group and our name in it, by one question."""
        group_id = self._settings.kafka.group_id
        try:
            group = await self._inspection.group(group_id)
        except ConfigError as error:
            self._report(Finding("group", Result.FAILED, str(error)))
            self._report(Finding("instance", Result.SKIPPED, "the group cannot be asked"))
            return
        state = f"{len(group.members)} members, {group.state.lower()}" if group.members else "nobody is in it"
        self._report(Finding("group", Result.OK, f"{group_id} may be joined: {state}"))
        self._report(await self._instance(group))

    async def _instance(self, group: GroupDescription) -> Finding:
        name = self._settings.kafka.group_instance_id
        if name is None:
            words = "SCRIBE_KAFKA__GROUP_INSTANCE_ID is not set: each restart moves partitions"
            return Finding("instance", Result.OK, words)
        holders = [member for member in group.members if member.is_named(name)]
        if not holders:
            return Finding("instance", Result.OK, f"nobody else is {name}")
        began = ", ".join(sorted({_since(each.user_data) for each in holders}))
        who = f"a process at {holders[0].host}, which runs since {began}"
        if await member_at(self._settings.http.port) == name:
            return Finding("instance", Result.OK, f"{name} is the service on this machine: {who}")
        words = (
            f"{name} is taken by {who}: a service that starts here with this name would oust it, or end;"
            " in Kubernetes let the name hold the namespace too"
        )
        return Finding("instance", Result.WARNING, words)


def _since(user_data: bytes) -> str:
    return time_of(MemberStamp.decode(user_data).began_ms or None) or "an unknown time"
