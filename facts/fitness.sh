# What the preflight needs to know of a host, in one command and without changing anything.
# Plain POSIX sh: a bare host has no Python. Prints key=value lines; lists repeat their key.
if [ "$(id -u)" = 0 ]; then as_root=""; sudo=yes
elif sudo -n true 2>/dev/null; then as_root="sudo -n"; sudo=yes
else as_root=""; sudo=no
fi
echo "sudo=$sudo"
. /etc/os-release
echo "os=$ID $VERSION_ID"
echo "os_name=$PRETTY_NAME"
echo "arch=$(uname -m)"
echo "init=$(cat /proc/1/comm)"
if command -v ss >/dev/null 2>&1; then
    echo "ss=yes"
    $as_root ss -Hltnp | sed 's/^/listen=/'
else
    echo "ss=no"
fi
for path in /var/lib/docker /var/lib /opt; do
    # Until it exists, what will be written there lands on its parent.
    while ! [ -d "$path" ]; do path=$(dirname "$path"); done
    echo "disk=$path $(df -Pk "$path" | awk 'NR == 2 { print $4, $6 }')"
done
awk '/^MemTotal:/ { print "memory_kb=" $2 }' /proc/meminfo
if [ "$sudo" = yes ]; then
    echo "secrets=$($as_root find /etc/lettabox/secrets -type f -size +0 -printf '%f ' 2>/dev/null)"
    $as_root sh -c '[ ! -f /var/lib/lettabox/images.json ] || tr -d "\n" < /var/lib/lettabox/images.json | sed "s/^/images=/; s/\$/\n/"'
    $as_root sh -c '[ ! -f /etc/docker/daemon.json ] || tr -d "\n" < /etc/docker/daemon.json | sed "s/^/daemon_json=/; s/\$/\n/"'
    # By folder: an engine that is stopped cannot be asked, and its data must be seen all the same.
    $as_root ls /var/lib/docker/volumes 2>/dev/null | sed 's/^/volume=/'
    if command -v docker >/dev/null 2>&1 && $as_root docker info >/dev/null 2>&1; then
        echo "engine=$($as_root docker version --format '{{.Server.Version}}')"
        $as_root docker ps -a --no-trunc --format 'container={{.Names}}|{{.Label "com.docker.compose.project"}}|{{.Label "com.docker.compose.project.working_dir"}}|{{.Ports}}|{{.State}}'
        $as_root docker volume ls --format 'volume={{.Name}}'
        $as_root docker network ls --format '{{.Name}}' | while read -r network; do
            $as_root docker network inspect --format 'network={{.Name}} {{range .IPAM.Config}}{{.Subnet}} {{end}}' "$network"
        done
        $as_root docker image ls --digests --format '{{.Repository}}:{{.Tag}} {{.Digest}} {{.ID}}' --no-trunc | sed 's/^/image=/'
    fi
fi
:
