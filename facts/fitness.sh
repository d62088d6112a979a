# What the preflight needs to know of a host, in one command and without changing anything. What runs there and who
# listens is told by files/lettabox/look.sh, which facts/fitness.py puts at the end of this.
# Plain POSIX sh: a bare host has no Python. Prints key=value lines; lists repeat their key.
# Run by enter.sh, as root where the first argument is yes; the others are of the login user, if that is not root.
# $link is yes on the host of Letta where GPU boxes of their own come in by SSH.
sudo=$1 gpu=$2 login_home=${3:-}
echo "sudo=$sudo"
# Where somebody's `docker` goes: DOCKER_HOST, or else the context in use. Of config.json only
# that: it may hold passwords.
target() {
    via=DOCKER_HOST there=$3
    if [ -z "$there" ]; then
        via=${4:+DOCKER_CONTEXT} context=$4
        if [ -z "$context" ] && [ -f "$2/.docker/config.json" ]; then
            via=$2/.docker/config.json
            context=$(sed -n 's/.*"currentContext"[[:space:]]*:[[:space:]]*"\([^"]*\)".*/\1/p' "$via")
        fi
        if [ -z "$context" ] || [ "$context" = default ]; then return; fi
        there=$(grep -hsF "\"Name\":\"$context\"" "$2"/.docker/contexts/meta/*/meta.json |
            sed -n 's/.*"Host":"\([^"]*\)".*/\1/p')
        via="context $context, $via"
    fi
    echo "docker_of=$1;$via;$there"
}
if [ "$sudo" = yes ]; then
    target root "$HOME" "${DOCKER_HOST:-}" "${DOCKER_CONTEXT:-}"
    if [ "$login_home" ]; then target login "$login_home" "${4:-}" "${5:-}"; fi
    # Whatever that is: what follows is about the engine of this host.
    export DOCKER_HOST=unix:///var/run/docker.sock
fi
if [ -r /etc/os-release ]; then . /etc/os-release; fi
echo "os=${ID:-unknown} ${VERSION_ID:-}"
echo "os_name=${PRETTY_NAME:-an unknown system}"
echo "arch=$(uname -m)"
if [ -d /run/systemd/system ]; then echo "init=systemd"; else echo "init=other"; fi
# What the engine's own bridges carry is told by the engine, below.
ip -4 -o route show 2>/dev/null | grep -v -E ' dev (docker0|br-)' | sed 's/^/route=/'

root=/var/lib/docker compose=""
if [ "$sudo" = yes ]; then
    one_line() { if [ -f "$1" ]; then tr -d '\n' < "$1"; fi; }
    daemon_json=$(one_line /etc/docker/daemon.json)
    moved=$(printf %s "$daemon_json" | sed -n 's/.*"data-root"[[:space:]]*:[[:space:]]*"\([^"]*\)".*/\1/p')
    root=${moved:-$root}
    echo "daemon_json=$daemon_json"
    echo "images=$(one_line /var/lib/lettabox/images.json)"
    echo "loaded=$(one_line /var/lib/lettabox/loaded.json)"
    # By control group, in the place of version 2 or 1: whoever of a unit's processes listens.
    pids_of() {
        cat "/sys/fs/cgroup/system.slice/$1/cgroup.procs" "/sys/fs/cgroup/systemd/system.slice/$1/cgroup.procs" \
            2>/dev/null | tr '\n' ' '
    }
    echo "router_pids=$(pids_of lettabox-router.service)"
    if [ -e /opt/lettabox/studio/venv/requirements.txt ]; then echo "studio_venv=yes"; fi
    echo "comfyui_pids=$(pids_of comfyui.service)"
    ls /opt/lettabox/comfyui 2>/dev/null | sed -n 's/^\(.*\)\.complete$/release=\1/p'
    for unit in studio.socket studio.service worker.service files.service link.service; do
        unit=/etc/systemd/system/lettabox-$unit
        if [ ! -e "$unit" ]; then continue; fi
        if ! grep -q '^# Written by lettabox' "$unit"; then echo "foreign_studio=$unit"; fi
        case $unit in
        # systemd itself holds what our socket listens on.
        *.socket) if [ "$(systemctl is-active lettabox-studio.socket)" = active ]; then echo "studio_socket=yes"; fi ;;
        esac
    done
    if [ "$link" = yes ]; then
        # Whom sshd would let in as the user that GPU boxes come in as.
        /usr/sbin/sshd -T -C user=lettabox-link,host=gpu,addr=192.0.2.1 2>/dev/null |
            grep -E '^(allow|deny)(users|groups) ' | sed 's/^/sshd=/'
        if ! grep -qsiE '^[[:space:]]*Include[[:space:]].*/etc/ssh/sshd_config\.d/\*' /etc/ssh/sshd_config; then
            echo "sshd=include none"
        fi
    fi
    unit=/etc/systemd/system/comfyui.service
    if [ -e $unit ] && ! grep -q '^# Written by lettabox' $unit; then echo "foreign_unit=$unit"; fi
    echo "secrets=$(find /etc/lettabox/secrets -type f -size +0 -printf '%f ' 2>/dev/null)"
    find /var/lib/comfyui/models -type f -printf 'model=%s %P\n' 2>/dev/null
    info=$(docker info --format '{{.ServerVersion}} {{.DockerRootDir}};{{range .ClientInfo.Plugins}}{{if eq .Name "compose"}}{{.Version}};{{.Path}}{{end}}{{end}}' 2>/dev/null)
    engine=${info%%;*}
    compose=${info#*;}
    echo "compose=$compose"
    if [ "${engine%% *}" ]; then
        echo "engine=${engine%% *}"
        root=${engine#* }
        echo "service=$(systemctl is-active docker.service 2>/dev/null)"
        docker network ls -q | xargs -r docker network inspect --format 'network={{.Name}} {{range .IPAM.Config}}{{.Subnet}} {{end}}'
    fi
    # By folder too: an engine that is stopped cannot be asked, and its data must be seen all the same.
    ls "$root/volumes" 2>/dev/null | sed 's/^/volume=/'
fi

# The system's Python is a link to python3.13, or whatever its version is; a bare host has none.
python=$(readlink -f /usr/bin/python3 2>/dev/null)
case $python in */python3.*) echo "python=${python##*/python}" ;; esac

# Free kilobytes and inodes where things land, on the nearest parent that exists: the engine's data, our
# code, packages, their downloads, ComfyUI's base directory, and its models, which may have a disk of their own.
set --
for path in "$root" /opt /usr /var/cache/apt /var/lib/comfyui /var/lib/comfyui/models; do
    while [ ! -d "$path" ]; do path=${path%/*}; path=${path:-/}; done
    set -- "$@" "$path"
done
df -k --output=avail,iavail,target "$@" 2>/dev/null | sed '1d; s/^ */disk=/'
