"""The guard against server-side request forgery, form by form."""
# ruff: noqa: RUF001 - full-width digits and the like are what is tested

from __future__ import annotations

import socket

import pytest

from cloudeye.services.netguard import RefusedAddress, check_url, judge_address

LOOPBACK_IN_DISGUISE = [
    "http://2130706433/",
    "http://017700000001/",
    "http://0x7f000001/",
    "http://0x7F.1/",
    "http://127.1/",
    "http://127.0.1/",
    "http://0177.0.0.1/",
    "http://127.0.0.01/",
    "http://0x7f.0x0.0x0.0x1/",
    "http://127.0.0.1./",
    "http://1/",
    "http://0/",
    "http://0x/",
    "http://127.0.0.256/",
    "http://1.2.3.4.5/",
    "http://foo.0x7f/",
    "http://１２７.０.０.１/",
    "http://127。0。0。1/",
    "http://①②⑦.⓪.⓪.①/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[0:0:0:0:0:ffff:7f00:0001]/",
    "http://[::127.0.0.1]/",
    "http://[64:ff9b::127.0.0.1]/",
    "http://[64:ff9b::a00:1]/",
    "http://[2002:7f00:1::]/",
    "http://[2001:0:4136:e378:8000:63bf:80ff:fffe]/",
    "http://[2a00:1450::5efe:127.0.0.1]/",
    "http://[fe80::5efe:8.8.8.8]/",
    "http://localhost/",
    "http://LOCALHOST./",
    "http://a.localhost:8080/",
]
OTHER_REFUSED = [
    "http://10.1.2.3/",
    "http://172.31.255.255/",
    "http://192.168.0.1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://[::ffff:169.254.169.254]/",
    "http://[fd00:ec2::254]/",
    "http://100.100.100.200/",
    "http://168.63.129.16/",
    "http://100.64.0.1/",
    "http://0.0.0.0/",
    "http://224.0.0.1/",
    "http://255.255.255.255/",
    "http://198.18.0.1/",
    "http://203.0.113.9/",
    "http://[::1]/",
    "http://[::]/",
    "http://[fe80::1]/",
    "http://[fe80::1%25eth0]/",
    "http://[fc00::1]/",
    "http://[ff02::1]/",
    "http://[2001:db8::1]/",
    "http://[5f00::1]/",
    "http://[fec0::1]/",
    "file:///etc/passwd",
    "gopher://example.com:6379/_FLUSHALL",
    "ftp://example.com/",
    "dict://example.com:11211/stat",
    "javascript:alert(1)",
    "//example.com/",
    "example.com",
    "",
    "http://",
    "http:///path",
    "http://user:secret@example.com/",
    "http://example.com@127.0.0.1/",
    "http://127.0.0.1#@example.com/",
    "http://@example.com/",
    "http://example.com:0/",
    "http://example.com:65536/",
    "http://example.com:80:80/",
    "http://example.com:+80/",
    "http://example.com:８０/",
    "http://127.0.0.1\\@example.com/",
    "http://example.com\\.evil.test/",
    "http://exa\tmple.com/",
    "http://example.com/\r\nX-Evil: 1",
    "http://example.com/a b",
    " http://example.com/",
    "http://example.com\x00.evil.test/",
    "http://example.com\u200b/",
    "http://127.0.0.1%2f.example.com/",
    "http://%31%32%37.0.0.1/",
    "http://[127.0.0.1]/",
    "http://[::1/",
    "http://::1/",
    "http://[v1.a:b]/",
    "http://-a.example.com/",
    "http://a..example.com/",
    "http://example.com../",
    "http://" + "a" * 64 + ".com/",
    "http://" + "a." * 130 + "com/",
    "http://example.com/" + "a" * 2048,
    "http://a\u2044b.example/",
]


@pytest.mark.parametrize("url", LOOPBACK_IN_DISGUISE + OTHER_REFUSED)
def test_it_refuses(url: str) -> None:
    with pytest.raises(RefusedAddress) as refused:
        check_url(url, allow_private=False)
    assert refused.value.code in {"bad_url", "bad_scheme", "bad_host", "bad_port", "refused_address"}
    assert str(refused.value)


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        ("http://example.com", "http://example.com/"),
        ("HTTP://Example.COM./a?b=c#d", "http://example.com/a?b=c"),
        ("https://example.com:443/", "https://example.com/"),
        ("http://example.com:443/", "http://example.com:443/"),
        ("http://bücher.example/", "http://xn--bcher-kva.example/"),
        ("http://例え.テスト/", "http://xn--r8jz45g.xn--zckzah/"),
        ("http://example.com/ü?q=ü", "http://example.com/%C3%BC?q=%C3%BC"),
        ("http://example.com/%7Euser/%zz", "http://example.com/%7Euser/%zz"),
        ("http://93.184.215.14:8080/", "http://93.184.215.14:8080/"),
        ("http://[2606:2800:21F:CB07:6820:80DA:AF6B:8B2C]/", "http://[2606:2800:21f:cb07:6820:80da:af6b:8b2c]/"),
        ("http://[::ffff:93.184.215.14]:81/", "http://[::ffff:5db8:d70e]:81/"),
        ("http://_dmarc.example.com/", "http://_dmarc.example.com/"),
        ("http://3com.com/", "http://3com.com/"),
        ("http://1.example.0x7g/", "http://1.example.0x7g/"),
    ],
)
def test_it_lets_public_sites_through_in_one_normal_form(url: str, normal: str) -> None:
    target = check_url(url, allow_private=False)
    assert target.url in {normal, normal.replace("[::ffff:5db8:d70e]", "[::ffff:93.184.215.14]")}
    assert check_url(target.url, allow_private=False) == target


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000/", "http://localhost/", "http://[::1]/", "http://10.0.0.1/"])
def test_private_addresses_are_let_through_when_they_are_allowed(url: str) -> None:
    assert check_url(url, allow_private=True).url == url


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/",
        "http://[::ffff:a9fe:a9fe]/",
        "http://[64:ff9b::169.254.169.254]/",
        "http://[fd00:ec2::254]/",
        "http://0.0.0.0/",
        "http://[::]/",
        "http://[2002:a00:1::]/",
        "http://239.1.1.1/",
        "http://2130706433/",
        "file:///etc/passwd",
        "http://u:p@10.0.0.1/",
    ],
)
def test_some_are_refused_even_when_private_addresses_are_allowed(url: str) -> None:
    with pytest.raises(RefusedAddress):
        check_url(url, allow_private=True)


@pytest.mark.parametrize("form", ["2130706433", "0x7f.1", "017700000001", "127.1", "0x7f000001", "1", "127.0.0.01"])
def test_every_other_way_to_write_an_address_that_the_system_accepts_is_refused(form: str) -> None:
    assert socket.inet_aton(form)  # the system's own resolver would connect to it
    with pytest.raises(RefusedAddress, match="disguise"):
        check_url(f"http://{form}/", allow_private=True)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "2606:4700:4700::1111", "64:ff9b::8.8.8.8", "172.32.0.1", "100.128.0.1"]
)
def test_public_addresses_pass(address: str) -> None:
    judge_address(address, allow_private=False)


def test_nothing_in_a_target_can_break_a_request_line_or_a_header() -> None:
    target = check_url('http://bücher.example:81/ü"<>^`{}?ü"<>^`{}', allow_private=False)
    sent = target.authority + target.path
    assert sent.isascii()
    assert sent.isprintable()
    assert " " not in sent
