"""The stack: Postgres, Redis, the Letta server and its SSE proxy, as one Compose project."""

from pyinfra import host
from pyinfra.api import deploy

from deploys import layout, letta_image, llm_router, sources
from inventory.schema import Settings, size
from operations import compose, docker_objects, secrets, tree
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
        "TOOL_SANDBOX_TIMEOUT": str(settings.letta.tool_timeout),
        # Tools call this server with its password (entrypoint.sh: LETTA_API_KEY). letta-client reads the
        # first; without it the password would go to api.letta.com. Letta's multi-agent tools read the second.
        "LETTA_BASE_URL": "http://127.0.0.1:8283",
        "LETTA_SERVER_URL": "http://127.0.0.1:8283",
        # What an agent gets whose model has a larger window; `lettabox letta context` looks at the agents.
        "GLOBAL_MAX_CONTEXT_WINDOW_LIMIT": str(settings.letta.context_window_limit),
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


def volumes(settings: Settings) -> list[str]:
    """The named volumes of the services that run."""
    return [*layout.VOLUMES, *(["letta-ollama"] if settings.ollama.enabled else [])]


def project(settings: Settings) -> dict[str, File]:
    """The files of the Compose project: {path on the box: File}."""
    nginx = {f"{layout.PROJECT}/nginx.conf": sources.template("letta_stack/nginx.conf.j2", s=settings)}
    if settings.router.enabled:
        nginx[f"{layout.PROJECT}/router.conf"] = llm_router.nginx(settings)
    return {
        **nginx,
        f"{layout.PROJECT}/init.sql": sources.file("files/letta_stack/init.sql"),
        f"{layout.PROJECT}/compose.yml": sources.template(
            "letta_stack/compose.yml.j2",
            s=settings,
            publish=publish,
            environment=environment(settings),
            image=letta_image.name(settings),
            nginx_hash="-".join(one.sha256[:16] for one in nginx.values()),
            # The rest is for Redis' own work.
            redis_maxmemory=size(settings.redis.memory) * 3 // 4,
            volumes=volumes(settings),
            secrets=layout.SECRETS,
        ),
    }


@deploy("Letta stack")
def letta_stack() -> None:
    settings = host.data.settings
    secrets.created(name="Secrets", names=layout.SECRETS)
    docker_objects.present(
        name="Volumes and network", volumes=volumes(settings), networks={layout.NETWORK: settings.network.subnet}
    )
    files = tree.present(
        name="Compose project",
        files=project(settings),
        directories={layout.PROJECT: Directory()},
        exact=(layout.PROJECT,),
    )
    compose.up(
        name="Images and containers",
        directory=layout.PROJECT,
        project=layout.COMPOSE_PROJECT,
        command=f"{layout.COMMAND} letta start",
        wanted=letta_image.others(settings),
        built=letta_image.name(settings),
        files=files,
    )
