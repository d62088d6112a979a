"""letta-network: the one that is there, and what its addresses would cut off."""

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_network

from deploys import layout
from deploys.finding import Finding
from facts.fitness import HostState
from inventory.schema import DOCKER_BRIDGE, Settings

Taken = list[tuple[str, IPv4Network | IPv6Network]]
# Where a free subnet is looked for, in this order: where Docker makes its own, beside the default, first.
ROOM = [ip_network(one) for one in ("172.16.0.0/12", "10.0.0.0/8", "192.168.0.0/16")]
ASIDE = ip_network("172.22.0.0/15")  # the first to be tried


def findings(name: str, now: HostState, settings: Settings) -> Iterator[Finding]:
    """letta-network has other addresses than wanted, or the wanted ones are in use for something else."""
    wanted = ip_network(settings.network.subnet)
    subnets = now.networks.get(layout.NETWORK)
    if subnets is not None and wanted not in subnets:
        theirs = ", ".join(map(str, subnets)) or "no subnet"
        yield Finding(
            name,
            "network",
            f"network {layout.NETWORK} exists with {theirs}, settings say {wanted}",
            f"set settings.network.subnet to what it has; to change it, stop everything on it, "
            f"docker network rm {layout.NETWORK}, and deploy",
        )
    taken = _taken(now)
    for what, subnet in taken:
        # Over a route of the host it would cut the host off from whatever is there.
        if subnet.version == wanted.version and subnet.overlaps(wanted):
            free = free_subnet(wanted.prefixlen, taken)
            yield Finding(
                name,
                "subnet",
                f"subnet {wanted} overlaps {what} ({subnet})",
                f"set settings.network.subnet to one that is free there: {free}"
                if free
                else "set settings.network.subnet to a free one; none of that size is, so take a smaller one",
            )


def free_subnet(prefix: int, taken: Taken) -> IPv4Network | None:
    """A private subnet of that length that overlaps nothing in `taken`, nor Docker's own bridge; None without one."""
    others = [one for _, one in taken if one.version == 4] + [DOCKER_BRIDGE]
    for room in (ASIDE, *ROOM):
        start = int(room.network_address)
        end = int(room.broadcast_address)
        while start < end:
            one = IPv4Network((start, max(prefix, room.prefixlen)))
            if one.prefixlen != prefix:
                break
            in_the_way = [other for other in others if one.overlaps(other)]
            if not in_the_way:
                return one
            # On to the first multiple of its size behind what is in the way.
            behind = max(int(other.broadcast_address) for other in in_the_way) + 1
            start = -(-behind // one.num_addresses) * one.num_addresses
    return None


def _taken(now: HostState) -> Taken:
    ours = now.networks.get(layout.NETWORK)
    taken: Taken = [
        (f"network {other}", one) for other, all_ in now.networks.items() if other != layout.NETWORK for one in all_
    ]
    # The route of letta-network itself, where its bridge has a name of its own.
    taken += [("a route of the host", one) for one in now.routes if ours is None or one not in ours]
    if ours is None:
        # Reached by the default route until the network is there, and not afterwards.
        if now.environment.client:
            taken.append(("the address that this deploy comes from", ip_network(now.environment.client)))
        taken += [("a name server of the host", ip_network(one)) for one in now.environment.name_servers]
    # A single address is no news where a route or network that holds it is told of.
    return [
        (what, one)
        for what, one in taken
        if one.num_addresses > 1
        or not any(one.version == other.version and one != other and one.subnet_of(other) for _, other in taken)
    ]
