"""The SSH connection that pyinfra has opened."""

import socket

from pyinfra import host


def without_delay() -> None:
    """Send every packet at once: paramiko leaves Nagle's algorithm on, which costs some 40 ms a command."""
    client = getattr(host.connector, "client", None)
    transport = client.get_transport() if client else None
    # Behind a ProxyJump there is a channel in the place of a socket.
    if transport and isinstance(transport.sock, socket.socket):
        transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
