"""Before the first deploy: what is refused leaves the box as it was."""

import socket

import yaml

FINGERPRINT = (
    "find /etc /opt /usr/local /var/lib -xdev -not -path '/var/lib/systemd/*' -not -path '/etc/ld.so.cache' "
    "\\( -type f -printf '%p %T@ %s %m\\n' -o -printf '%p %m\\n' \\) | sort"
)


def two_hosts(lab, laptop, port):
    """The lab's box, and a host on a port of this machine."""
    content = yaml.safe_load(lab.inventory_path.read_text())
    ((name, one),) = content["hosts"].items()
    content["hosts"]["gone"] = one | {"port": port}
    one["private_address"] = "192.0.2.1"  # where a GPU box of its own would reach it
    content["groups"]["gpu"] = ["gone"]
    return name, laptop.write(content)


def test_an_unreachable_host_stops_all(lab, laptop, box):
    with socket.socket() as closed:  # bound and not listening: a connection is refused
        closed.bind(("127.0.0.1", 0))
        name, inventory = two_hosts(lab, laptop, closed.getsockname()[1])
        before = box.check(FINGERPRINT)
        for options in (["-y"], [], ["--dry"]):
            done = laptop.pyinfra(*options, inventory=inventory)
            assert done.code == 1, done.text
            assert "nothing was changed on any host" in done.text
            assert "gone: cannot be reached" in done.text
            assert "Traceback" not in done.text
            assert box.check(FINGERPRINT) == before
        # Without it the other host is fine: the refusal was about the whole run.
        for done in (
            laptop.pyinfra("--dry", "--limit", name, inventory=inventory),
            laptop.make("plan", f"HOST={name}", inventory=inventory),
        ):
            assert done.code == 0, done.text
        assert box.check(FINGERPRINT) == before


def test_all_findings_come_together_and_nothing_is_changed(lab, laptop, box):
    listener = "systemd-run --unit=lab-squatter python3 -m http.server --bind 127.0.0.1 8283"
    box.check(listener)
    try:
        box.check("for i in $(seq 100); do ss -Hltn | grep -q 127.0.0.1:8283 && exit 0; sleep 0.1; done; exit 1")
        box.check("cp /etc/docker/daemon.json /root/daemon.json; echo '{' > /etc/docker/daemon.json")
        before = box.check(FINGERPRINT)
        done = laptop.pyinfra("-y")
        assert done.code == 1
        assert "2 to fix first" in done.text
        assert "port 8283, wanted for letta-server, is taken by process python3 (" in done.text
        assert "[port]" in done.text
        assert "[daemon-json]" in done.text
        assert "Traceback" not in done.text
        assert box.check(FINGERPRINT) == before
    finally:
        box.check("systemctl stop lab-squatter; mv /root/daemon.json /etc/docker/daemon.json")
