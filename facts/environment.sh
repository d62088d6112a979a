# What surrounds the stack: memory, control groups, whom `docker` talks to, what old set-ups left, the GPU.
# Follows fitness.sh, as root where $sudo is yes; changes nothing. Few processes: most of it is read by the shell.
tab=$(printf '\t')

if [ -e /run/systemd/timesync/synchronized ]; then echo "timesync=yes"; fi
sed -n 's/^nameserver[[:space:]]*/name_server=/p' /etc/resolv.conf /run/systemd/resolve/resolv.conf 2>/dev/null
sed -n 's/^\(MemTotal\|MemAvailable\|SwapTotal\|SwapFree\):[[:space:]]*\([0-9]*\) kB/memory=\1 \2/p' /proc/meminfo
sed -n 's/^[^ ]* \(\/sys\/fs\/cgroup[^ ]*\) \(cgroup2*\) \([^ ]*\) .*/cgroup=\1 \2 \3/p' /proc/self/mounts
if [ -r /sys/fs/cgroup/cgroup.controllers ]; then
    read -r controllers < /sys/fs/cgroup/cgroup.controllers
    echo "controllers=$controllers"
fi

# The command `docker`, and where from. A shim that starts podman is a script, or a link to podman itself.
command=$(command -v docker)
if [ "$command" ]; then
    real=$command
    if [ -L "$command" ]; then real=$(readlink -f "$command"); fi
    read -r first < "$real"
    case $first in '#!'*) if grep -q podman "$real"; then real=podman; fi ;; esac
    case $real in *podman) echo "podman=$command" ;; esac
    echo "client_command=$command"
fi
dockerd=$(PATH=$PATH:/usr/sbin:/sbin command -v dockerd)
echo "dockerd=$dockerd"
for package in docker.io docker-ce docker-cli docker-ce-cli docker-compose docker-compose-v2 docker-compose-plugin; do
    if [ -e "/var/lib/dpkg/info/$package.list" ]; then echo "package=$package"; fi
done
if [ "$dockerd" ] && { [ ! "$command" ] || [ ! "$compose" ]; }; then
    # Is that so for ever, or was an installation cut off, or is still going on?
    dpkg-query -W -f 'unfinished=${db:Status-Status} ${Package}\n' 2>/dev/null |
        grep -v -E '=(installed|not-installed|config-files) '
    find /var/lib/dpkg/updates -type f 2>/dev/null | sed 's/^/unfinished=/'
fi

if [ "$sudo" = yes ]; then
    # Stray folders of Letta's clients: in homes, in /opt, and where Compose projects were started from.
    folder() {
        if [ -d "$1/.letta" ]; then echo "dot_letta=$1/.letta/$(ls -A "$1/.letta" | head -8 | tr '\n' '/')"; fi
    }
    folder /root
    folder /opt
    if [ "$login_home" ] && [ "$login_home" != /root ]; then folder "$login_home"; fi
    grep -ohs '"com.docker.compose.project.working_dir":"[^"]*"' "$root"/containers/*/config.v2.json |
        while IFS='"' read -r _ _ _ there _; do folder "$there"; done

    if [ -r "$root/volumes/letta-postgres/_data/PG_VERSION" ]; then
        read -r version < "$root/volumes/letta-postgres/_data/PG_VERSION"
        echo "postgres_data=$version"
    fi
    # Volumes that may hold the agents of an older Letta: by name, or by what is in them. The names of its
    # databases stand in Postgres' file global/1262.
    databases=$(grep -lsi letta "$root"/volumes/*/_data/global/1262)
    for there in "$root"/volumes/*/_data; do
        name=${there%/_data}
        name=${name##*/}
        case $name in letta-postgres | letta-data | letta-home | letta-ollama | '*') continue ;; esac
        kind=""
        case $name in *[Ll][Ee][Tt][Tt][Aa]* | *[Mm][Ee][Mm][Gg][Pp][Tt]*) kind=named ;; esac
        if [ -d "$there/system_prompts" ] || [ -e "$there/logs/Letta.log" ]; then kind=home; fi
        if [ -e "$there/sqlite.db" ]; then kind=${kind:+sqlite}; fi
        case "/$databases/" in *"$there/global/1262"*) kind=database ;; esac
        if [ "$kind" ]; then
            # One that a container has, running or not, is no leftover: the container is told of.
            if grep -qs "\"Name\":\"$name\"" "$root"/containers/*/config.v2.json; then continue; fi
            version=""
            if [ -r "$there/PG_VERSION" ]; then read -r version < "$there/PG_VERSION"; fi
            last=$there
            if [ -e "$there/global/pg_control" ]; then last=$there/global/pg_control; fi
            size=$(timeout 1 du -sk "$there" | cut -f1)
            about=$(docker volume inspect --format \
                '{{.CreatedAt}} {{index .Labels "com.docker.compose.project"}}' "$name" 2>/dev/null)
            printf 'leftover=%s\t%s\t%s\t%s\t%s\t%s\n' \
                "$there" "$kind" "$version" "$size" "$(stat -c %Y "$last")" "$about"
        fi
    done
fi

if [ "$gpu" = yes ]; then
    for device in /sys/bus/pci/devices/*; do
        if [ ! -r "$device/vendor" ]; then continue; fi
        read -r vendor < "$device/vendor"
        read -r class < "$device/class"
        case $vendor$class in
        0x10de0x03*)
            driver=none
            if [ -L "$device/driver" ]; then driver=$(readlink "$device/driver"); fi
            echo "gpu_device=${device##*/} ${driver##*/}"
            ;;
        esac
    done
    if [ -r /sys/module/nvidia/version ]; then
        read -r loaded < /sys/module/nvidia/version
        echo "gpu_loaded=$loaded"
    else
        echo "gpu_installed=$(modinfo -F version nvidia 2>/dev/null)"
    fi
    if command -v nvidia-smi > /dev/null; then
        said=$(timeout 20 nvidia-smi --query-gpu=index,name,memory.total,driver_version,compute_cap \
            --format=csv,noheader,nounits 2>&1)
        echo "gpu_code=$?"
        printf '%s\n' "$said" | sed 's/^/gpu_said=/'
    fi
    for tool in nvidia-container-runtime-hook nvidia-container-toolkit nvidia-ctk; do
        if command -v $tool > /dev/null; then echo "gpu_toolkit=$tool"; fi
    done
fi
