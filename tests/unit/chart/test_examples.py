"""The examples for Strimzi say what the service does itself and what docs/security.md lists."""

from collections import defaultdict

import yaml

from service.kafka.admin.topics import PAGES_CONFIG, Creation, Topics, configs
from service.settings import Settings
from tests.permissions import listed
from tests.unit.chart.rendering import Manifest
from tools.chart.lint import HELM


def examples(name: str) -> list[Manifest]:
    return list(yaml.safe_load_all((HELM / "examples" / name).read_text("utf-8")))


def test_the_topics_are_those_that_the_service_would_create() -> None:
    names = Settings().topics
    topics = Topics(names.requests, names.results, names.failures, names.journal)
    wanted = {**configs(topics, Creation()), topics.pages: PAGES_CONFIG}
    shown = {
        each["metadata"]["name"]: {name: str(value) for name, value in each["spec"]["config"].items()}
        for each in examples("strimzi-topics.yaml")
    }
    assert shown == wanted
    sizes = {each["metadata"]["name"]: each["spec"]["partitions"] for each in examples("strimzi-topics.yaml")}
    assert sizes == {**dict.fromkeys(topics.all(), Creation().partitions), topics.pages: 1}


def test_the_user_may_do_exactly_what_the_page_of_permissions_lists() -> None:
    kinds = {"transactional-id": "transactionalId"}
    wanted = defaultdict(set)
    for row in listed():
        grant = row.grant
        kind = kinds.get(grant.resource, grant.resource)
        wanted[kind, grant.name, grant.is_prefix].add(grant.operation)
    (user,) = examples("strimzi-user.yaml")
    shown = {
        (
            acl["resource"]["type"],
            acl["resource"]["name"],
            acl["resource"].get("patternType") == "prefix",
        ): set(acl["operations"])
        for acl in user["spec"]["authorization"]["acls"]
    }
    assert shown == wanted
