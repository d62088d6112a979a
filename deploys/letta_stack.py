"""The stack: Postgres, Redis, the Letta server and its SSE proxy, as one Compose project."""

from pyinfra import host
from pyinfra.api import deploy

from deploys import layout, letta_image, sources
from inventory.schema import Settings, size
from operations import compose, docker_objects, images, secrets, tree
from operations.tree import Directory, File


def environment(settings: Settings) -> dict[str, str]:
    """The server's environment, without the secrets (files/letta_image/entrypoint.sh adds them)."""
    ours = {
        # Read by startup.sh alone; LETTA_SERVER_SECURE would work too, but not for its messages.
        "SECURE": "true",
        "LETTA_REDIS_HOST": "letta-redis",
        "LETTA_REDIS_PORT": "6379",
        # The image's own conf.yaml makes it 50 s, close to what proxies cut.
        "LETTA_KEEPALIVE_INTERVAL": str(settings.letta.keepalive_interval),
        # What tools write outlives the container: the volume letta-data.
        "TOOL_EXEC_DIR": "/var/lib/letta/tools",
    }
    # Raw requests and responses of every model call, kept for ever in Postgres, unless asked for.
    defaults = {"LETTA_TRACK_PROVIDER_TRACE": "false"}
    extra = {name: _text(value) for name, value in settings.letta.environment.items()}
    return dict(sorted((defaults | extra | ours).items()))


def _text(value: object) -> str:
    """A value as Compose wants it: it reads `$x` as a variable of its own."""
    return str(value).lower() if isinstance(value, bool) else str(value).replace("$", "$$")


def publish(service: object) -> str:
    """The host side of a published port, `127.0.0.1:8283` or `[::1]:8283`."""
    bind = f"[{service.bind}]" if ":" in service.bind else service.bind
    return f"{bind}:{service.port}"


def project(settings: Settings) -> dict[str, File]:
    """The files of the Compose project: {path on the box: File}."""
    nginx = sources.template("letta_stack/nginx.conf.j2", s=settings)
    return {
        f"{layout.PROJECT}/nginx.conf": nginx,
        f"{layout.PROJECT}/init.sql": sources.file("files/letta_stack/init.sql"),
        f"{layout.PROJECT}/compose.yml": sources.template(
            "letta_stack/compose.yml.j2",
            s=settings,
            publish=publish,
            environment=environment(settings),
            image=letta_image.name(settings),
            nginx_hash=nginx.sha256[:16],
            # The rest is for Redis' own work.
            redis_maxmemory=size(settings.redis.memory) * 3 // 4,
            volumes=layout.VOLUMES,
            secrets=layout.SECRETS,
        ),
    }


@deploy("Letta stack")
def letta_stack() -> None:
    settings = host.data.settings
    others = (settings.postgres, settings.redis, settings.nginx)
    images.pulled(name="Images", images={one.image: one.digest for one in others})
    secrets.created(name="Secrets", names=layout.SECRETS)
    docker_objects.present(
        name="Volumes and network", volumes=layout.VOLUMES, networks={layout.NETWORK: settings.network.subnet}
    )
    files = tree.present(
        name="Compose project",
        files=project(settings),
        directories={layout.PROJECT: Directory()},
        exact=(layout.PROJECT,),
    )
    compose.up(
        name="Containers",
        directory=layout.PROJECT,
        project=layout.COMPOSE_PROJECT,
        command=f"{layout.COMMAND} letta start",
        files=files,
    )
