"""URLs of audio files: those that no downloader takes are refused with the reason, all others are taken."""

import re

import httpx
import pytest
import yarl
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from service.contract.file_url import URL_PATTERN, FileUrl
from service.contract.validation_errors import explain

URLS: TypeAdapter[str] = TypeAdapter(FileUrl)
LABEL = "a" * 63

TAKEN = [
    "https://host:/x",
    "https://host:",
    "https://host:?x=1",
    "https://host:1/x",
    "https://host:65535/x",
    "https://host:00080/x",
    "https://host./x",
    "https://host.:443/x",
    f"https://{LABEL}.example.org/x",
    f"https://{'.'.join([LABEL] * 3)}.{'a' * 61}/x",
    "https://my_host-1.internal/x",
    "https://xn--bcher-kva.example/x",
    "https://10.0.0.1/x",
    "https://255.255.255.255/x",
    "https://10.0.0.1./x",
    "https://0.0.0.0/x",
    "https://1.2.3.com/x",
    "https://1a/x",
    "https://_/x",
    "https://_host_.example/x",
    "https://a--b.example/x",
    "https://a-_.example/x",
    "https://[2001:db8::1]/x",
    "https://[2001:db8::1]:/x",
    "https://[::ffff:10.0.0.1]:8443/x",
    "https://host/%41%2f%C3%BC?q=%25&s=a%2Fb%3D#%20",
    "https://host?x",
    "https://host#x",
    "oss://bucket-1/a%20b.wav",
    "HTTPS://HOST/X",
]

LABEL_FAULT = "has an empty label in its host, as two dots in a row make one"
LONG_FAULT = "has a label of more than 63 characters in its host"
PORT_FAULT = "has a port that is not between 1 and 65535"
ESCAPE_FAULT = "has a percent sign without two hex digits behind it: write %25 for one"
HYPHEN_FAULT = "has a label in its host that begins or ends with a hyphen"
IPV4_FAULT = "has a host that is no IPv4 address"
HYPHENS = [
    "-h.com",
    "h-.com",
    "-",
    "a.-",
    "-.a",
    "a.-b.c",
    "a.b-.c",
    "a-",
    "-a.",
    "a-.",
    "-1.2.3.4",
    "--",
    "_-.a",
]
BARE = ["xn--.com", "xn--", "a.xn--", "XN--.com", "xn---.com", "xn--:80", "a.xn--.b"]
SHORT = [
    "1",
    "1.2",
    "1.2.3",
    "1.2.3.",
    "1.2.3:80",
    "0",
    "2130706433",
    "1.2.3.4.5",
    "01.2.3.4",
    "1.2.3.04",
    "9" * 63,
]
REFUSED = [
    *((f"https://{host}/x", HYPHEN_FAULT) for host in (*HYPHENS, *BARE)),
    *((f"https://{host}/x", IPV4_FAULT) for host in SHORT),
    ("https://a..b/x", LABEL_FAULT),
    ("https://.a/x", LABEL_FAULT),
    ("https://./x", LABEL_FAULT),
    ("https://a../x", LABEL_FAULT),
    ("https://a..:80/x", LABEL_FAULT),
    ("oss://a..b/x", LABEL_FAULT),
    (f"https://{LABEL}a/x", LONG_FAULT),
    (f"https://a.{LABEL}a.org:80/x", LONG_FAULT),
    ("https://host:0/x", PORT_FAULT),
    ("https://host:00000/x", PORT_FAULT),
    ("https://host:65536/x", PORT_FAULT),
    ("https://host:70000", PORT_FAULT),
    ("https://host:99999/x", PORT_FAULT),
    ("https://host:123456/x", PORT_FAULT),
    ("https://host:-1/x", PORT_FAULT),
    ("https://host:+80/x", PORT_FAULT),
    ("https://host:http/x", PORT_FAULT),
    ("https://[::1]:0/x", PORT_FAULT),
    ("https://host/%", ESCAPE_FAULT),
    ("https://host/%4", ESCAPE_FAULT),
    ("https://host/%zz.wav", ESCAPE_FAULT),
    ("https://host/100%.wav", ESCAPE_FAULT),
    ("https://host/a?x=100%&y=1", ESCAPE_FAULT),
    ("https://host/%u00fc", ESCAPE_FAULT),
    ("https://host/%%41", ESCAPE_FAULT),
    ("https://host/a#%", ESCAPE_FAULT),
    ("https://:80/x", "has no host"),
    ("https://host:80:80/x", "is not a valid URL"),
    ("https://256.1.1.1/x", "has a host that is no IPv4 address"),
    ("https://1.2.3.999:80/x", "has a host that is no IPv4 address"),
    (f"https://{'.'.join([LABEL] * 4)}/x", "has a host of 255 characters; at most 253 are allowed"),
]
ADDRESSES = ["[::1", "[1.2.3.4]", "[:]", "[1:2]", "[::1::2]", "[12345::]", "[::1]x"]


def fault(url: str) -> str:
    with pytest.raises(ValidationError) as caught:
        URLS.validate_python(url)
    return explain(caught.value)


@pytest.mark.parametrize("url", TAKEN)
def test_a_url_that_downloaders_take_is_taken(url: str) -> None:
    assert URLS.validate_python(url) == url
    assert re.fullmatch(URL_PATTERN, url)


@pytest.mark.parametrize(("url", "reason"), REFUSED)
def test_a_url_that_no_downloader_takes_is_refused_with_the_reason(url: str, reason: str) -> None:
    assert fault(url) == reason


@pytest.mark.parametrize("host", ADDRESSES)
def test_brackets_without_an_address_are_refused(host: str) -> None:
    assert fault(f"https://{host}/x")


@pytest.mark.timeout(20)
def test_a_long_url_is_judged_in_no_time() -> None:
    for url in ("https://" + "a." * 4_000, "https://h/" + "%41" * 2_700, "https://" + "a" * 8_000):
        for _ in range(100):
            try:
                URLS.validate_python(url + "\\")
            except ValidationError:
                continue
            raise AssertionError(url)


HOSTS = st.lists(st.text("aZ09-_", max_size=66), min_size=1, max_size=5).map(".".join)
PORTS = st.one_of(st.just(""), st.just(":"), st.integers(-1, 70_000).map(lambda port: f":{port}"))
PATHS = st.text("a/%4F?#&=.", max_size=12).map(lambda path: f"/{path}")


@given(st.sampled_from(["http", "https"]), HOSTS, PORTS, PATHS)
def test_what_is_taken_is_taken_by_two_clients_that_others_wrote(
    scheme: str, host: str, port: str, path: str
) -> None:
    url = f"{scheme}://{host}{port}{path}"
    try:
        URLS.validate_python(url)
    except ValidationError:
        return
    assert httpx.URL(url).port in (None, *range(1, 65_536))
    assert yarl.URL(url).host
    labels = host.removesuffix(".").split(".")
    assert all(0 < len(label) <= 63 and label == label.strip("-") for label in labels)
    assert not host.replace(".", "").isdigit() or len(labels) == 4


@given(st.text(max_size=40))
def test_any_text_is_taken_or_refused_with_a_reason(text: str) -> None:
    for url in (text, f"https://{text}", f"https://h/{text}", f"https://h:{text}"):
        try:
            assert URLS.validate_python(url) == url
        except ValidationError as error:
            assert explain(error)
