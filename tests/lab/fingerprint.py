"""Everything of a box that a refused run must leave as it was."""

# Journals, login records and /run are not in it. Mounts are in HostConfig; .Mounts has no fixed order.
FILES = (
    "find /etc /opt /usr/local /var/lib/lettabox /var/spool/cron /root -xdev -not -path '/etc/ld.so.cache' "
    "\\( -type f -printf '%p %T@ %s %m %u\\n' -o -printf '%p %m %u %l\\n' \\) 2>/dev/null | sort | sha256sum; "
    "find /etc /usr/local /var/lib/lettabox -xdev -type f -exec sha256sum {} + 2>/dev/null | sort | sha256sum; "
    "systemctl list-unit-files --no-legend | sha256sum"
)
ENGINE = (
    "if command -v docker >/dev/null && docker info >/dev/null 2>&1; then "
    "docker ps -aq --no-trunc | sort | xargs -r docker inspect --format "
    "'{{.Id}} {{.Name}} {{.Created}} {{.State.Status}} {{.State.StartedAt}} {{.RestartCount}} {{json .Config}} "
    "{{json .HostConfig}}'; "
    "docker image ls -a --no-trunc --format '{{.Repository}}:{{.Tag}} {{.ID}}' | sort; "
    "docker volume ls -q | sort | xargs -r docker volume inspect; "
    "docker network ls -q --no-trunc | sort | xargs -r docker network inspect; fi"
)


def fingerprint(box) -> str:
    """Files with time, size, mode, owner and content; units; containers, images, volumes and networks."""
    return box.check(f"{FILES}; {{ {ENGINE}; }}")
