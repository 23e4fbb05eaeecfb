"""Which addresses a result may be fetched from."""

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.provider.http.addresses import (
    AddressRefused,
    CheckedResolver,
    SystemLookup,
    SystemResolver,
    is_public,
)


@pytest.mark.parametrize(
    "address",
    [
        "93.184.216.34",
        "8.8.8.8",
        "47.93.0.1",
        "2606:2800:220:1::1",
        "2400:3200::1",
        "64:ff9b::2f58:101",
        "64:ff9b::8.8.8.8",
        "0064:ff9b:0:0:0:0:5db8:d822",
    ],
)
def test_an_ordinary_address_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.0.0.1",
        "100.64.0.1",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.169.254",
        "172.16.0.1",
        "192.0.0.1",
        "192.0.2.1",
        "192.168.1.1",
        "198.18.0.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",
        "::ffff:10.0.0.1",
        "::ffff:8.8.8.8",
        "64:ff9b::7f00:1",
        "64:ff9b::",
        "64:ff9b::10.0.0.1",
        "64:ff9b::169.254.169.254",
        "64:ff9b::192.168.1.1",
        "64:ff9b::198.18.0.1",
        "64:ff9b::224.0.0.1",
        "64:ff9b::255.255.255.255",
        "64:ff9b::1:5db8:d822",
        "64:ff9b:1::5db8:d822",
        "64:ff9c::5db8:d822",
        "64:ff9b:1::1",
        "100::1",
        "2001::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "fc00::1",
        "fd12:3456::1",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "not an address",
        "",
    ],
)
def test_every_other_address_is_not(address: str) -> None:
    assert not is_public(address)


def resolver(*addresses: str, exempt: frozenset[str] = frozenset()) -> CheckedResolver:
    async def lookup(_host: str, _port: int) -> Sequence[str]:
        return addresses

    return CheckedResolver(exempt, lookup)


async def test_one_private_address_among_many_refuses_the_name() -> None:
    with pytest.raises(AddressRefused):
        await resolver("93.184.216.34", "10.0.0.1").resolve("a.aliyuncs.com", 443)


@given(st.ip_addresses(v=4))
def test_nat64_makes_no_address_public_that_is_private_by_itself(inside: ipaddress.IPv4Address) -> None:
    mapped = ipaddress.IPv6Address(int(ipaddress.IPv6Address("64:ff9b::")) + int(inside))
    assert is_public(str(mapped)) is is_public(str(inside))


@given(st.ip_addresses(network="198.18.0.0/15"))
async def test_a_made_up_address_is_refused_in_words_that_name_it_and_the_setting(
    address: ipaddress.IPv4Address,
) -> None:
    with pytest.raises(AddressRefused) as refused:
        await resolver("93.184.216.34", str(address)).resolve("a.aliyuncs.com", 443)
    said = str(refused.value)
    assert f"a.aliyuncs.com leads to {address}, " in said
    assert "made-up addresses" in said
    assert "SCRIBE_FETCH__PLAIN_HTTP_HOSTS" in said


@pytest.mark.parametrize("address", ["10.0.0.1", "64:ff9b::a00:1", "fe80::1%eth0", "not an address"])
async def test_any_other_address_that_is_refused_is_named_too(address: str) -> None:
    with pytest.raises(AddressRefused) as refused:
        await resolver(address).resolve("a.aliyuncs.com", 443)
    assert f"a.aliyuncs.com leads to {address}, " in str(refused.value)
    assert "made-up" not in str(refused.value)


async def test_checked_addresses_are_given_on_as_they_are() -> None:
    found = await resolver("93.184.216.34", "2606:2800:220:1::1").resolve("a.aliyuncs.com", 443)
    assert [(entry["host"], entry["port"], entry["hostname"]) for entry in found] == [
        ("93.184.216.34", 443, "a.aliyuncs.com"),
        ("2606:2800:220:1::1", 443, "a.aliyuncs.com"),
    ]


async def test_an_exempt_host_may_be_private_and_no_other() -> None:
    private = resolver("127.0.0.1", exempt=frozenset({"simulator"}))
    assert [entry["host"] for entry in await private.resolve("simulator", 80)] == ["127.0.0.1"]
    with pytest.raises(AddressRefused):
        await private.resolve("not-simulator", 80)


async def test_the_systems_resolver_is_asked_for_addresses() -> None:
    assert "127.0.0.1" in await SystemLookup()("localhost", 80)


async def test_a_lookup_that_hangs_costs_one_thread_and_holds_up_no_other_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, gate = list[str](), threading.Event()

    def hang(host: str, _port: int, **_options: object) -> list[object]:
        begun.append(host)
        gate.wait()
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", 443))]

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    resolver = SystemResolver()
    asking = [asyncio.create_task(resolver.resolve("slow.example", 443)) for _ in range(40)]
    given_up = asyncio.create_task(resolver.resolve("slow.example", 443))
    try:
        await asyncio.sleep(0)
        given_up.cancel()
        # The loop's own threads are free.
        assert await asyncio.to_thread(lambda: "done") == "done"
        assert [each.daemon for each in threading.enumerate() if each.name == "read-aside"] == [True]
    finally:
        gate.set()
    found = await asyncio.gather(*asking)
    assert begun == ["slow.example"]
    assert {each["host"] for results in found for each in results} == {"93.184.216.34"}


@pytest.mark.parametrize("host", ["a" * 64 + ".example", "a..example"])
async def test_what_can_be_no_name_has_no_address(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # What getaddrinfo does first; the guard of these tests lets no foreign name reach it.
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *_rest, **_options: host.encode("idna"))
    with pytest.raises(socket.gaierror):
        await SystemResolver().resolve(host, 443)
