"""What settings.studio may say, and how the hosts of the studio reach each other."""

import ipaddress
import re

PRIVATE = [
    ipaddress.ip_network(net)
    # The last but one is what overlay networks such as Tailscale give out; the last is IPv6's unique local addresses.
    for net in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
]
FIRST_PORT = 18190  # of the letta host's loopback, where the tunnels of the GPU boxes end


def checked_name(value: str) -> str:
    """A name that URLs may have for the studio."""
    labels = value.split(".")
    if len(value) > 253 or not all(re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", one) for one in labels):
        raise ValueError(
            "not a host name; write just that in lower case, such as studio.example.lan, without http:// and port"
        )
    if re.fullmatch(r"[0-9.]+", value):
        raise ValueError("an address needs no mention here; leave it out")
    return value


def checked_names(value: list[str]) -> list[str]:
    """Each name once."""
    if twice := next((name for i, name in enumerate(value) if name in value[:i]), None):
        raise ValueError(f"{twice} is named twice; remove one")
    return value


def is_private(address: str) -> bool:
    """Whether this is an IP address of a private network."""
    try:
        one = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(one in net for net in PRIVATE)


def is_loopback(address: str) -> bool:
    """Whether an address or name means the machine itself."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


def tunnel_ports(boxes: list[str], taken: set[int]) -> dict[str, int]:
    """{GPU box: port of the letta host's loopback where its tunnel ends}, none of those that are `taken`."""
    free = (port for port in range(FIRST_PORT, 65536) if port not in taken)
    return dict(zip(boxes, free, strict=False))
