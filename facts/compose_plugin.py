"""Compose, called as the program it is."""

# Through `docker compose` the client asks each of its plugins what it is before it starts one, which costs more than
# the answer. These are the folders where the client looks, in its order.
COMPOSE = (
    'compose() { for one in "${DOCKER_CONFIG:-$HOME/.docker}" /usr/local/lib/docker /usr/local/libexec/docker '
    "/usr/lib/docker /usr/libexec/docker; do one=$one/cli-plugins/docker-compose; "
    'if [ -x "$one" ]; then "$one" "$@"; return; fi; done; docker compose "$@"; }; '
)
