"""Which addresses and URLs the hub may call: the table of what has fooled others."""

from ipaddress import ip_address

import pytest

from angelia.outbound import fault_of, is_allowed, networks

FORBIDDEN = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.127.255.254",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.1.1",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.254",
    "192.0.0.8",
    "192.0.0.170",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.19.255.254",
    "198.51.100.7",
    "203.0.113.9",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:10::1",
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:a00:1::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd12::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
    "2000::1%eth0",
]
PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.215.14", "100.63.255.255", "100.128.0.1", "172.15.0.1", "172.32.0.1", "192.0.1.1", "198.17.0.1", "198.20.0.1", "223.255.255.254", "2606:4700::1111", "2a00:1450::1", "2003::1"]  # fmt: skip


@pytest.mark.parametrize("text", FORBIDDEN)
def test_not_there(text):
    assert not is_allowed(ip_address(text))


@pytest.mark.parametrize("text", PUBLIC)
def test_there(text):
    assert is_allowed(ip_address(text))


def test_what_the_operator_allows_and_no_more():
    allowed = networks("10.20.0.0/16, 127.0.0.2/32,fd00::/8")
    assert all(is_allowed(ip_address(text), allowed) for text in ("10.20.3.4", "127.0.0.2", "fd12::1", "8.8.8.8"))
    assert not any(is_allowed(ip_address(text), allowed) for text in ("10.21.0.1", "127.0.0.1", "fe80::1", "::ffff:127.0.0.2"))


BAD = [
    "file:///etc/passwd", "gopher://x.example/", "ftp://x.example/", "unix:/x", "data:,x", "javascript:alert(1)", "", "x.example", "//x.example/",
    "http:///x", "http://", "http://a@127.0.0.1@ok.example/", "http://user:pw@ok.example/", "http://ok.example#@127.0.0.1", "http://ok.example/#x",
    "http://ok.example\\@127.0.0.1", "http://ok.example/%0d%0aX: y", "http://ok.example/%00", "http://ok.example/a b", "http://ok.example/\r\nX: y",
    "http://ok.example:0/", "http://ok.example:22/", "http://ok.example:25/", "http://ok.example:65536/", "http://ok.example:x/",
    "http://ok.example./", "http://ok..example/", "http://" + "a" * 64 + ".example/", "http://ok.example/" + "x" * 5_000, "http://exämple.org/",
    "http://①②⑦.⓪.⓪.①/", "http://127。0。0。1/", "http://127.1/", "http://2130706433/", "http://0x7f000001/", "http://0177.0.0.1/", "http://0/",
    "http://1.2.3.4.5/", "http://0x7f.1/", "http://x.0x7f/", "http://[::1]/", "http://[::]/", "http://[::ffff:127.0.0.1]/", "http://[fe80::1%25eth0]/",
    "http://[64:ff9b::7f00:1]/", "http://127.0.0.1:8080/", "http://100.64.0.1/", "http://192.88.99.1/", "http://255.255.255.255/", "http://[::1/",
]  # fmt: skip


@pytest.mark.parametrize("url", BAD)
def test_urls_that_are_refused_when_they_are_saved(url):
    assert fault_of(url)


@pytest.mark.parametrize(
    "url",
    ["https://hub.example.org/x?y=%2F&z=1", "http://hub.example.org:8080/", "https://xn--exmple-cua.org/", "https://8.8.8.8/", "http://[2606:4700::1111]/",
     "https://_x.example.org/", "http://localhost:8080/"],
)  # fmt: skip
def test_urls_that_may_be_saved(url):
    assert fault_of(url) == ""


def test_a_literal_that_the_operator_allows():
    assert fault_of("http://127.0.0.2:8080/", networks("127.0.0.2/32")) == ""
