# What the preflight needs to know of a host, in one command and without changing anything.
# Plain POSIX sh: a bare host has no Python. Prints key=value lines; lists repeat their key.
if [ "$(id -u)" = 0 ]; then as_root=""; sudo=yes
elif sudo -n true 2>/dev/null; then as_root="sudo -n"; sudo=yes
else as_root=""; sudo=no
fi
echo "sudo=$sudo"
if [ -r /etc/os-release ]; then . /etc/os-release; fi
echo "os=${ID:-unknown} ${VERSION_ID:-}"
echo "os_name=${PRETTY_NAME:-an unknown system}"
echo "arch=$(uname -m)"
if [ -d /run/systemd/system ]; then echo "init=systemd"; else echo "init=other"; fi
if command -v ss >/dev/null 2>&1; then
    echo "ss=yes"
    $as_root ss -Hltnp | sed 's/^/listen=/'
else
    echo "ss=no"
fi
# What the engine's own bridges carry is told by the engine, below.
ip -4 -o route show 2>/dev/null | grep -v -E ' dev (docker0|br-)' | sed 's/^/route=/'

root=/var/lib/docker
if [ "$sudo" = yes ]; then
    one_line() { $as_root sh -c 'if [ -f "$1" ]; then tr -d "\n" < "$1"; fi' sh "$1"; }
    daemon_json=$(one_line /etc/docker/daemon.json)
    moved=$(printf %s "$daemon_json" | sed -n 's/.*"data-root"[[:space:]]*:[[:space:]]*"\([^"]*\)".*/\1/p')
    root=${moved:-$root}
    echo "daemon_json=$daemon_json"
    echo "images=$(one_line /var/lib/lettabox/images.json)"
    echo "secrets=$($as_root find /etc/lettabox/secrets -type f -size +0 -printf '%f ' 2>/dev/null)"
    if command -v docker >/dev/null 2>&1 && $as_root docker info >/dev/null 2>&1; then
        echo "engine=$($as_root docker version --format '{{.Server.Version}}')"
        echo "service=$(systemctl is-active docker.service 2>/dev/null)"
        root=$($as_root docker info --format '{{.DockerRootDir}}')
        # Chosen fields only: an inspection in full shows other projects' environment.
        $as_root docker ps -aq --no-trunc | while read -r id; do
            $as_root docker inspect --format 'container={"name": {{json .Name}}, "state": {{json .State.Status}}, "project": {{json (index .Config.Labels "com.docker.compose.project")}}, "folder": {{json (index .Config.Labels "com.docker.compose.project.working_dir")}}, "ports": {{json .NetworkSettings.Ports}}}' "$id"
        done
        $as_root docker volume ls --format 'volume={{.Name}}'
        $as_root docker network ls --format '{{.Name}}' | while read -r network; do
            $as_root docker network inspect --format 'network={{.Name}} {{range .IPAM.Config}}{{.Subnet}} {{end}}' "$network"
        done
        $as_root docker image ls --digests --no-trunc --format 'image={{.Repository}}:{{.Tag}} {{.Digest}} {{.ID}}'
    fi
    # By folder too: an engine that is stopped cannot be asked, and its data must be seen all the same.
    $as_root ls "$root/volumes" 2>/dev/null | sed 's/^/volume=/'
fi

# Free kilobytes where the engine's data and our code land: on the nearest parent that exists.
room() {
    path=$2
    while ! $as_root test -d "$path"; do path=$(dirname "$path"); done
    $as_root df -Pk "$path" | awk -v role="$1" 'NR == 2 {
        free = $4; $1 = $2 = $3 = $4 = $5 = ""; sub(/^ +/, ""); print "disk=" role " " free " " $0 }'
}
room docker "$root"
room code /opt
:
