"""Where the provider is asked: a base URL, or a region and a workspace, and no key in the clear."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.app.from_settings import provider_of
from service.errors import ConfigError
from service.settings import load
from service.settings.base_url import is_in_the_clear

BASE_URL, REGION = "SCRIBE_PROVIDER__BASE_URL", "SCRIBE_PROVIDER__REGION"
WORKSPACE, PLAIN = "SCRIBE_PROVIDER__WORKSPACE", "SCRIBE_FETCH__PLAIN_HTTP_HOSTS"


def refusal(**environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(environ)
    return str(caught.value)


@pytest.mark.parametrize(
    ("given", "right"),
    [
        ("https://h.example/compatible-mode/v1", "https://h.example/api/v1"),
        ("https://h.example/compatible-mode/v1/", "https://h.example/api/v1"),
        ("https://h.example/compatible-mode/v1/chat/completions", "https://h.example/api/v1"),
        ("https://h.example/compatible-mode", "https://h.example/api/v1"),
        ("https://h.example", "https://h.example/api/v1"),
        ("https://h.example/", "https://h.example/api/v1"),
        ("https://h.example/api", "https://h.example/api/v1"),
        ("https://h.example/api/v2", "https://h.example/api/v1"),
        ("https://h.example/api/v10", "https://h.example/api/v1"),
        ("https://h.example/v1", "https://h.example/api/v1"),
        ("https://h.example/API/V1", "https://h.example/api/v1"),
        ("https://h.example/api/v1/tasks", "https://h.example/api/v1"),
        ("https://h.example/api/v1/services/audio/asr/transcription", "https://h.example/api/v1"),
        ("https://h.example:8443/compatible-mode/v1", "https://h.example:8443/api/v1"),
        ("https://h.example/dashscope/compatible-mode/v1", "https://h.example/dashscope/api/v1"),
        ("https://h.example/dashscope/api/v1/tasks", "https://h.example/dashscope/api/v1"),
        ("http://127.0.0.1:9/v1", "http://127.0.0.1:9/api/v1"),
        ("https://[2001:db8::1]/v1", "https://[2001:db8::1]/api/v1"),
        (
            "https://llm-1.cn-beijing.maas.aliyuncs.com/compatible-mode/v1",
            "https://llm-1.cn-beijing.maas.aliyuncs.com/api/v1",
        ),
        ("https://h.example/sk-canary", "https://h.example/api/v1"),
    ],
)
def test_a_base_url_of_another_api_is_refused_with_the_right_one(given: str, right: str) -> None:
    assert refusal(**{BASE_URL: given}) == f"{BASE_URL} must end in /api/v1: {right}"
    assert load({BASE_URL: right}).provider.url == right


@pytest.mark.parametrize(
    "given",
    [
        "h.example/api/v1",
        "ftp://h.example/api/v1",
        "https:///api/v1",
        "https://.h.example/api/v1",
        "https://h..example/api/v1",
        f"https://{'a' * 64}.example/api/v1",
        "https://sk-canary@h.example/api/v1",
        "https://u:sk-canary@h.example/api/v1",
        "https://h.example/api/v1?key=sk-canary",
        "https://h.example/api/v1?",
        "https://h.example/api/v1#sk-canary",
        "https://h.example:port/api/v1",
        "https://h.example:70000/api/v1",
        "https://h.example:0/api/v1",
        "https://[::1/api/v1",
        "https://h.example/sk canary/api/v1",
        "https://höst.example/api/v1",
    ],
)
def test_a_base_url_that_is_none_is_one_sentence_that_does_not_repeat_it(given: str) -> None:
    said = refusal(**{BASE_URL: given})
    assert said == f"{BASE_URL} must be an http or https URL without user, password, query and fragment"


@given(st.text(max_size=40).map(lambda rest: f"https://{rest}") | st.text(max_size=40))
def test_no_base_url_ends_in_anything_but_settings_or_one_sentence(given: str) -> None:
    try:
        url = load({BASE_URL: given}).provider.url
    except ConfigError as error:
        assert str(error).startswith(BASE_URL)
    else:
        assert url.endswith("/api/v1")


IN_THE_CLEAR = [
    "dashscope.aliyuncs.com",
    "dashscope-intl.aliyuncs.com",
    "8.8.8.8",
    "47.88.1.1",
    "[2606:4700::1111]",
    "[::ffff:8.8.8.8]",
    "[64:ff9b::808:808]",
    "[2002:808:808::1]",
    "[2001:0:808:808::1]",
    "simulator",
    "simulator.local",
    "gateway.corp.example",
    "localhost.example.org",
    "notlocalhost",
    "127.0.0.1.nip.io",
    "10.example",
    "2130706433",
    "0x7f000001",
    "127.1",
    "224.0.0.1",
]
AT_HOME = [
    "localhost",
    "LOCALHOST",
    "localhost.",
    "127.0.0.1",
    "127.8.9.10",
    "10.1.2.3",
    "172.16.0.1",
    "172.31.255.254",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.1.1",
    "[::1]",
    "[fd00::7]",
    "[fe80::1]",
    "[::ffff:10.0.0.1]",
]


@pytest.mark.parametrize("host", IN_THE_CLEAR)
def test_the_key_is_not_sent_unencrypted_to_a_host_that_is_not_set(host: str) -> None:
    said = refusal(**{BASE_URL: f"http://{host}:8080/api/v1"})
    assert said == (f"{BASE_URL} would send the key in the clear: use https, or name the host in {PLAIN}")
    load({BASE_URL: f"https://{host}:8080/api/v1"})


@pytest.mark.parametrize("host", IN_THE_CLEAR)
def test_plain_http_is_for_a_host_that_the_operator_names(host: str) -> None:
    url = f"http://{host}/api/v1"
    assert load({BASE_URL: url, PLAIN: f"other.example,{host}"}).provider.url == url
    with pytest.raises(ConfigError):
        load({BASE_URL: url, PLAIN: "other.example"})


@pytest.mark.parametrize("host", AT_HOME)
def test_plain_http_is_for_addresses_that_the_internet_does_not_carry(host: str) -> None:
    assert load({BASE_URL: f"http://{host}:1/api/v1"}).provider.url == f"http://{host}:1/api/v1"


def test_a_subdomain_of_a_named_host_is_not_named() -> None:
    assert is_in_the_clear("http://a.simulator/api/v1", ("simulator",))


def test_a_region_alone_means_its_shared_host() -> None:
    assert load({REGION: "cn-beijing"}).provider.url == "https://dashscope.aliyuncs.com/api/v1"
    assert load({REGION: "us-east-1"}).provider.url == "https://dashscope-us.aliyuncs.com/api/v1"


def test_a_region_with_a_workspace_means_the_workspaces_host_and_no_header() -> None:
    provider = load({REGION: "eu-central-1", WORKSPACE: "llm-Ab1"}).provider
    assert provider.url == "https://llm-ab1.eu-central-1.maas.aliyuncs.com/api/v1"
    assert provider.workspace_header is None


def test_a_workspace_without_a_region_is_named_in_a_header() -> None:
    provider = load({WORKSPACE: "llm-1"}).provider
    assert provider.url == "https://dashscope-intl.aliyuncs.com/api/v1"
    assert provider.workspace_header == "llm-1"


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({REGION: "mars"}, f"{REGION} must be 'cn-beijing', 'ap-southeast-1'"),
        ({REGION: "CN-BEIJING"}, f"{REGION} must be"),
        (
            {REGION: "cn-beijing", BASE_URL: "https://dashscope.aliyuncs.com/api/v1"},
            f"{BASE_URL} and {REGION} exclude each other",
        ),
        (
            {REGION: "ap-northeast-1"},
            f"{WORKSPACE} must fit: ap-northeast-1 has no host that workspaces share",
        ),
        ({REGION: "eu-central-1"}, f"{WORKSPACE} must fit: eu-central-1 has no host"),
        ({REGION: "cn-beijing", WORKSPACE: "a.evil.example/"}, f"{WORKSPACE} must fit: a workspace's id has"),
    ],
)
def test_a_place_that_is_not_one_is_a_sentence(environ: dict[str, str], words: str) -> None:
    said = refusal(**environ)
    assert said.startswith(words)
    assert "evil" not in said


async def test_the_provider_is_asked_at_the_place_that_the_settings_give() -> None:
    settings = load({REGION: "cn-hongkong", WORKSPACE: "llm-1", "SCRIBE_PROVIDER__API_KEY": "sk-1"})
    async with provider_of(settings) as provider:
        request = provider._request("GET", "/tasks/t", {}, b"")
    assert request.url.host == "llm-1.cn-hongkong.maas.aliyuncs.com"
    assert request.extensions["target"] == b"/api/v1/tasks/t"
    assert not any(re.search("workspace", name, re.IGNORECASE) for name in request.headers)
