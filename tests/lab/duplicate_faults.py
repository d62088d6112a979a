"""The fault table's rows for duplicates: a second Letta, or whoever uses our data, names or ports."""

import json

from tests.lab.faults import Fault

LETTA = "letta/letta:0.16.8"
VOLUMES = "/var/lib/docker/volumes"
HOME = "/home/operator/.local/share"
USER = 1000
SOCKET = f"/run/user/{USER}/docker.sock"
UNIT = "systemd-run --quiet --collect --unit"
# A program's name and arguments as those of another one, for as long as somebody looks.
AS = "exec -a {0!r} sleep 600"


def compose(name: str, folder: str, service: str) -> str:
    """A Compose project of one service, created and not started."""
    return (
        f"mkdir -p {folder} && cd {folder} && printf %s {json.dumps(f'name: {name}')!r} | tr -d '\"' > compose.yml && "
        f"printf '\\nservices: {{{service}}}\\n' >> compose.yml && docker compose create 2>&1"
    )


def rootless(*then: str) -> str:
    """An engine at the places of a user's rootless one, with an image of Letta's name in it that is empty."""
    return " && ".join(
        [
            f"mkdir -p /run/user/{USER} {HOME}/docker /srv/tiny && chown {USER} /run/user/{USER}",
            # In a network of its own: a second engine takes the first one's bridge away.
            f"{UNIT} lab-rootless -p PrivateNetwork=yes dockerd --data-root {HOME}/docker "
            f"--exec-root /run/user/{USER}/docker --pidfile /run/user/{USER}/docker.pid "
            f"-H unix://{SOCKET} --bridge none --iptables=false "
            "--ip6tables=false --storage-driver vfs --containerd-namespace lab-rootless "
            "--containerd-plugins-namespace lab-rootless-plugins",
            f"for i in $(seq 150); do docker -H unix://{SOCKET} version >/dev/null 2>&1 && break; sleep 0.1; done",
            f"docker -H unix://{SOCKET} version > /dev/null",
            *(one.replace("DOCKER", f"docker -H unix://{SOCKET}") for one in then),
        ]
    )


UNDO_ROOTLESS = (
    "systemctl stop lab-rootless 2>/dev/null; umount -R /run/user/1000/docker/netns/* 2>/dev/null; "
    f"rm -rf /run/user/{USER} {HOME}/docker /srv/tiny; rmdir -p {HOME} 2>/dev/null; true"
)
IMPORT = "tar -C /srv/tiny -c . | DOCKER import - {0} > /dev/null"


def podman(storage: str, name: str, image: str) -> str:
    """What Podman keeps of a container that was made and does not run."""
    meta = {"image-name": f"docker.io/{image}", "image-id": "a" * 64, "name": name, "created-at": 1767323045}
    one = {
        "id": "b" * 64,
        "names": [name],
        "image": "a" * 64,
        "layer": "c" * 64,
        "metadata": json.dumps(meta),
        "created": "2026-01-02T03:04:05.678901234Z",
        "flags": {"MountLabel": "", "ProcessLabel": ""},
    }
    return (
        f"mkdir -p {storage}/overlay-containers && cat > {storage}/overlay-containers/containers.json <<'END'\n"
        f"{json.dumps([one])}\nEND"
    )


def container(options: str, image: str = "redis:8.0", command: str = "", verb: str = "create") -> tuple[str, str]:
    """Make and undo of a container called `foo`."""
    return f"docker {verb} --name foo {options} {image} {command} 2>&1", "docker rm -f -v foo 2>&1"


FAULTS = [
    Fault(
        "a running copy under another name",
        *container("--entrypoint sleep", LETTA, "600", "run -d"),
        ["duplicate-container"],
        (
            "container foo (",
            "running",
            f"image {LETTA}",
            "by hand",
            "docker stop foo && sudo docker rm foo",
            "'container:",
        ),
    ),
    Fault(
        "a stopped copy",
        *container("--entrypoint true", LETTA, "", "run"),
        ["duplicate-container"],
        ("container foo (", "exited", "stopped 20", ":stopped'"),
    ),
    Fault(
        "a paused copy",
        "docker run -d --name foo --entrypoint sleep letta/letta:0.16.8 600 && docker pause foo",
        "docker rm -f -v foo",
        ["duplicate-container"],
        ("container foo (", "paused"),
    ),
    Fault(
        "another project's Letta, created and never started",
        compose("thoth", "/srv/thoth", f"letta: {{image: '{LETTA}', container_name: thoth-dev-letta}}"),
        "cd /srv/thoth && docker compose down -v 2>&1; rm -r /srv/thoth",
        ["duplicate-container"],
        ("thoth-dev-letta", "Compose project thoth, service letta, in /srv/thoth", "created", "never started"),
    ),
    Fault(
        "a project of our name elsewhere",
        compose("letta", "/srv/copy", f"letta: {{image: '{LETTA}', container_name: foo}}"),
        "docker rm -f -v foo 2>&1; rm -r /srv/copy; docker network rm letta_default 2>&1",
        ["duplicate-container"],
        ("Compose project letta, service letta, in /srv/copy",),
    ),
    Fault(
        "the all-in-one image with its internal Postgres",
        *container("", LETTA),
        ["duplicate-container"],
        ("its database is inside, on ", "volume "),
    ),
    Fault(
        "the image under another name",
        f"docker tag {LETTA} shop/backend:1 && docker create --name foo shop/backend:1",
        "docker rm -f -v foo; docker rmi shop/backend:1",
        ["duplicate-container"],
        ("image shop/backend:1, which is letta/letta:0.16.8",),
    ),
    Fault(
        "an image built on Letta's",
        f"printf 'FROM {LETTA}\\nENTRYPOINT []\\nCMD sleep 600\\n' | docker build -q -t crm:2 - 2>&1 && "
        "docker create --name foo crm:2",
        "docker rm -f -v foo; docker rmi crm:2",
        ["duplicate-container"],
        ("image crm:2, made from letta",),
    ),
    Fault(
        "a command like Letta's",
        *container("", command="sh -c 'cd /srv; exec letta server --port 9000'"),
        ["duplicate-container"],
        ("image redis:8.0, whose command has 'letta server'",),
    ),
    Fault(
        "an environment like Letta's",
        *container("-e LETTA_PG_URI=postgresql://letta:topsecret@db/letta", "nginx:1.26"),
        ["duplicate-container"],
        ("image nginx:1.26, with a server's variables (LETTA_PG_URI)",),
    ),
    Fault(
        "a server that somebody started in a container of theirs",
        "docker run -d --name foo redis:8.0 sleep 600 && docker exec -d foo "
        "bash -c 'exec -a \"python3 /srv/letta server\" sleep 600'",
        "docker rm -f -v foo",
        ["duplicate-container"],
        ("container foo (", "process ", "'python3 /srv/letta server'"),
    ),
    Fault(
        "a server as a process of the host",
        "mkdir -p /srv/old && printf 'import time; time.sleep(600)' > /srv/old/letta && "
        f"{UNIT} lab-old-letta --working-directory=/srv/old python3 /srv/old/letta server --port 9283",
        "systemctl stop lab-old-letta; rm -r /srv/old",
        ["duplicate-process"],
        (
            "python3 /srv/old/letta server, in /srv/old",
            "the unit lab-old-letta.service, as root",
            "started 20",
            "sudo systemctl disable --now lab-old-letta.service",
            "'process:",
        ),
    ),
    Fault(
        "a server as a process of another user",
        f"{UNIT} lab-old-letta --uid=operator --working-directory=/home/operator bash -c "
        "'exec -a \"uvicorn letta.server.rest_api.app:app --port 9283\" sleep 600'",
        "systemctl stop lab-old-letta",
        ["duplicate-process"],
        ("uvicorn letta.server.rest_api.app:app", "as operator", "/home/operator"),
    ),
    Fault(
        "a container on our volume, by its name",
        *container("-v letta-postgres:/theirs"),
        ["duplicate-data"],
        ("container foo (", "it can write to letta-postgres"),
    ),
    Fault(
        "a container on our volume, by its path",
        *container(f"-v {VOLUMES}/letta-data/_data/files:/theirs"),
        ["duplicate-data"],
        ("it can write to letta-data", f"folder {VOLUMES}/letta-data/_data"),
    ),
    Fault(
        "a container on a volume of its own that shows ours",
        f"docker volume create -o type=none -o o=bind -o device={VOLUMES}/letta-home/_data theirs && "
        "docker create --name foo -v theirs:/theirs redis:8.0",
        "docker rm -f -v foo; docker volume rm theirs",
        ["duplicate-data"],
        ("it can write to letta-home",),
    ),
    Fault(
        "a process that has our volume mounted elsewhere",
        f"mkdir -p /srv/bound && {UNIT} lab-bound -p BindPaths={VOLUMES}/letta-data/_data:/srv/bound sleep 600",
        "systemctl stop lab-bound; rmdir /srv/bound",
        ["duplicate-data"],
        ("it can write to letta-data", "the unit lab-bound.service"),
    ),
    Fault(
        "a second Postgres in our database's folder",
        f"cp /bin/sleep /srv/postgres && {UNIT} lab-postgres --working-directory={VOLUMES}/letta-postgres/_data "
        "/srv/postgres 600",
        "systemctl stop lab-postgres; rm /srv/postgres",
        ["duplicate-data"],
        ("another Postgres on the data of Letta", f"{VOLUMES}/letta-postgres/_data", "lab-postgres.service"),
    ),
    Fault(
        "a container that answers to our name",
        *container("--network letta-network --network-alias letta-server", "nginx:1.26"),
        ["duplicate-name"],
        ("container foo (", "answers to the name letta-server"),
    ),
    Fault(
        "a process on a port that we need",
        f"{UNIT} lab-squatter --working-directory=/srv python3 -m http.server --bind 127.0.0.1 9484 && "
        "for i in $(seq 100); do ss -Hltn | grep -q 127.0.0.1:9484 && exit 0; sleep 0.1; done; exit 1",
        "systemctl stop lab-squatter",
        ["port"],
        (
            "port 9484, wanted for letta-nginx, is taken by process python3 (",
            "in /srv)",
            "started 20",
            "the unit lab-squatter.service, as root",
            "sudo ss -ltnp 'sport = :9484'",
            "settings.nginx.port",
        ),
        settings={"nginx": {"port": 9484}},
    ),
    Fault(
        "a container on a port that we need",
        *container(
            "--label com.docker.compose.project=shop --label com.docker.compose.project.working_dir=/srv/shop "
            "-p 127.0.0.1:9484:80",
            "nginx:1.26",
            verb="run -d",
        ),
        ["port"],
        ("is taken by container foo of project shop in /srv/shop", "started 20", "docker stop foo"),
        settings={"nginx": {"port": 9484}},
    ),
    Fault(
        "a copy in a user's rootless engine",
        rootless(IMPORT.format(LETTA), f"DOCKER create --name foo --network host {LETTA} sleep 600"),
        UNDO_ROOTLESS,
        ["duplicate-container"],
        ("of user operator's rootless Docker", f"sudo docker -H unix://{SOCKET} logs"),
    ),
    Fault(
        "a copy in a user's rootless engine that does not run",
        rootless(
            IMPORT.format(LETTA),
            f"DOCKER create --name foo --network host {LETTA} sleep 600",
            "systemctl stop lab-rootless",
        ),
        UNDO_ROOTLESS,
        ["duplicate-container"],
        (f"of the Docker engine in {HOME}/docker, which does not answer", "sudo -iu operator systemctl --user start"),
    ),
    Fault(
        "a copy in a user's Podman",
        podman(f"{HOME}/containers/storage", "foo", LETTA),
        f"rm -r {HOME}/containers; rmdir -p {HOME} 2>/dev/null; true",
        ["duplicate-container"],
        ("container foo (", "of user operator's Podman", "created 2026-01-02 03:04:05", "sudo -iu operator podman rm"),
    ),
    Fault(
        "a copy in root's Podman",
        podman("/var/lib/containers/storage", "foo", LETTA),
        "rm -r /var/lib/containers",
        ["duplicate-container"],
        ("of user root's Podman in /var/lib/containers/storage", "sudo podman rm foo"),
    ),
    Fault(
        "a rootless engine that nobody can look into",
        f"cp /bin/sleep /srv/dockerd && {UNIT} lab-hidden --uid=operator /srv/dockerd 600",
        "systemctl stop lab-hidden; rm /srv/dockerd",
        ["duplicate-unseen"],
        ("operator's dockerd", "sudo -iu operator docker ps -a"),
        "warning",
    ),
]

# What is nobody's business, or ours: nothing may be said of it.
FINE = [
    Fault(
        "a neighbour's Postgres, Redis and nginx",
        "docker run -d --name shop-postgres -e POSTGRES_PASSWORD=x -v shop-postgres:/var/lib/postgresql/data "
        "pgvector/pgvector:0.8.0-pg17 && docker run -d --name shop-redis redis:8.0 && "
        "docker run -d --name shop-web -p 127.0.0.1:9485:80 nginx:1.26",
        "docker rm -f -v shop-postgres shop-redis shop-web; docker volume rm shop-postgres",
        [],
    ),
    Fault(
        "a client on letta-network",
        *container(
            "--network letta-network -e LETTA_BASE_URL=http://letta-server:8283 -e LETTA_API_KEY=x "
            "-e LETTA_SERVER_PASSWORD=x",
            "nginx:1.26",
            verb="run -d",
        ),
        [],
    ),
    Fault("a backup that reads our data", *container("-v letta-postgres:/theirs:ro -v letta-data:/more:ro"), []),
    Fault("a monitor that sees the whole machine", *container("-v /:/host:ro -v /var/lib/docker:/docker:ro"), []),
    Fault("a look into the image without a network", *container("--network none", LETTA), []),
    Fault(
        "processes that only speak of Letta",
        f"{UNIT} lab-client bash -c 'exec -a \"node /usr/bin/letta server\" sleep 600' && "
        f"{UNIT} lab-grep bash -c 'exec -a \"grep -r letta server\" sleep 600' && "
        f"{UNIT} lab-editor bash -c 'exec -a \"vim letta/server/startup.sh\" sleep 600'",
        "systemctl stop lab-client lab-grep lab-editor",
        [],
    ),
    Fault(
        "a neighbour's Podman",
        podman(f"{HOME}/containers/storage", "shop-db", "postgres:17"),
        f"rm -r {HOME}/containers; rmdir -p {HOME} 2>/dev/null; true",
        [],
    ),
    Fault(
        "our own stack, half made",
        "docker rm -f letta-nginx && docker pause letta-redis",
        "docker unpause letta-redis",  # the deploy after the row does the rest
        [],
    ),
]
