# What runs on this machine, or lies there to be run again, that may be a second Letta or uses the data of ours.
# `sh look.sh [ENGINE]`, as root; anybody else sees less. ENGINE is what `docker info --format '{{.ServerVersion}}
# {{.DockerRootDir}}'` says, "" where it said nothing; left out, it is asked. Changes nothing, starts nothing.
# Prints key=value lines for lettabox/neighbours.py. Plain POSIX sh, because a bare host has no Python; a few programs
# that read much each, because a program for every process or container would take seconds.
# Of commands and environments, which hold other people's secrets, only what tells Letta is let out.
look() {
    tried=no
    if [ $# = 0 ] && command -v docker >/dev/null 2>&1; then
        tried=yes limit=
        if command -v timeout >/dev/null 2>&1; then limit="timeout 20"; fi # an engine that hangs never answers
        # shellcheck disable=SC2086
        set -- "$($limit docker info --format '{{.ServerVersion}} {{.DockerRootDir}}' 2>/dev/null)"
    fi
    case ${1:-} in
        [0-9a-z]*\ /*) asked=yes root=${1#* } ;;
        *) asked=no root=/var/lib/docker ;;
    esac
    echo "looked=$(id -u) $root"
    listeners
    processes
    if [ "$asked" = yes ] && ask_docker; then
        echo "own-engine=answered"
    else
        own_engine
        stored_docker "$root" 0
    fi
    others
    owner=/var/lib/lettabox/owner.json
    if [ -r $owner ]; then echo "owner=$(tr -d '\n' < $owner)"; fi
}

own_engine() { # what can be known of the containers of this machine's engine, which was not asked or said nothing
    socket=/var/run/docker.sock
    if [ -r "$root/containers" ]; then
        echo "own-engine=stored"
    elif [ -S $socket ] && [ ! -w $socket ]; then
        echo "own-engine=forbidden"
    elif [ $tried = yes ] || { [ "$(id -u)" != 0 ] && [ -d "$root" ]; }; then
        echo "own-engine=silent"
    else
        echo "own-engine=none"
    fi
}

listeners() {
    listening=
    if command -v ss >/dev/null 2>&1; then
        echo "ss=yes"
        heard=$(ss -Hltnp 2>/dev/null)
        printf '%s\n' "$heard" | sed '/./s/^/listen=/'
        listening=$(printf '%s\n' "$heard" | grep -o 'pid=[0-9]*' | cut -d= -f2 | sort -u)
    else
        echo "ss=no"
    fi
}

# How a Letta server is started; for commands whose words are separated by blanks.
# Not `node letta server`: the command line client has a verb of the same name.
python='^([^ ]*/)?python[0-9.]*( -[^ ]+)* '
letta="$python([^ ]*/)?(letta|memgpt)([.]main)? server( |\$)"
letta="$letta|^([^ ]*/)?(letta|memgpt) server( |\$)"
letta="$letta|^([^ ]*/)?(sh|bash|dash)( -[^ ]+)* [^ ]*(letta|memgpt)/server/startup[.]sh( |\$)"
letta="$letta|$python([^ ]* )?[^ ]*(letta|memgpt)[.]server[.]rest_api[^ ]*"
letta="$letta|^([^ ]*/)?(uvicorn|gunicorn|granian) ([^ ]+ )*(letta|memgpt)[.]server[.]rest_api[^ ]*"
# The same within the text of a shell command.
in_shell='(^|[ /;&|(])(letta|memgpt)([.]main)? server([ ;&|)]|$)|(letta|memgpt)/server/startup[.]sh|(letta|memgpt)[.]server[.]rest_api'
database='^([^ ]*/)?(postgres|postmaster)( |$)'
engine='^([^ ]*/)?(dockerd|rootlesskit|conmon)( |$)|^([^ ]*/)?podman system service'

processes() {
    if ! head -v -c 1 /proc/self/stat >/dev/null 2>&1; then
        echo "lacks=processes (there is no /proc, or no head -v)"
        return
    fi
    if [ ! -e /proc/1/stat ]; then echo "lacks=processes of other users (/proc hides them)"; fi
    volumes=$(readlink -f "$root/volumes" 2>/dev/null || echo "$root/volumes")
    # Directories by device and inode: the same one has other paths in a container.
    stat -c 'data=%d:%i %n' "$volumes"/letta-postgres/_data "$volumes"/letta-data/_data "$volumes"/letta-home/_data 2>/dev/null
    # One process for each mount namespace, and what of our volumes is mounted there but not in the first one.
    uses=$(
        stat -L -c '%i %n' /proc/[0-9]*/ns/mnt 2>/dev/null | awk '!($1 in seen) { seen[$1]; sub("/ns/mnt", "/mountinfo", $2); print $2 }' |
            xargs awk -v volumes="$volumes" '
                FILENAME == "/proc/1/mountinfo" {
                    first[$4 " " $5]
                    if (length($5) > length(best) && index(volumes "/", ($5 == "/" ? "" : $5) "/") == 1) {
                        best = $5; device = $3; inside = $4
                    }
                    next
                }
                device && $3 == device && !(($4 " " $5) in first) {
                    top = (inside == "/" ? "" : inside) substr(volumes, best == "/" ? 1 : length(best) + 1) "/letta-"
                    if (index($4, top) != 1) next
                    split(substr($4, length(top) + 1), part, "/")
                    if (part[1] != "postgres" && part[1] != "data" && part[1] != "home") next
                    # At its own place: a unit that declares which folders it writes to.
                    if (index($5, volumes "/") == 1) next
                    split(FILENAME, path, "/"); split($6, option, ",")
                    print path[3], "letta-" part[1], option[1]
                }' 2>/dev/null
    )
    printf '%s\n' "$uses" | sed '/./s/^/uses=/'
    signs=$(
        head -v -c 4096 /proc/[0-9]*/cmdline 2>/dev/null | tr '\0\t' '  ' | awk -v letta="$letta" -v database="$database" -v engine="$engine" '
            function tell() {
                if (command == "") return
                if (match(command, letta)) print pid "\tletta\t" substr(command, RSTART, RLENGTH)
                else if (match(command, database) && command !~ /^[^ ]*postgres: /) print pid "\tpostgres\t" substr(command, 1, RLENGTH)
                else if (match(command, engine)) {
                    text = substr(command, 1, RLENGTH)
                    # conmon says of which container it is the keeper.
                    if (text ~ /conmon/ && match(command, / -c [0-9a-f]+/)) text = text substr(command, RSTART, RLENGTH)
                    print pid "\tengine\t" text
                }
            }
            /^==> \/proc\/[0-9]+\/cmdline <==$/ { tell(); split($2, path, "/"); pid = path[3]; command = ""; next }
            { command = command (command == "" ? "" : " ") $0 }
            END { tell() }'
    )
    pids=$(printf '%s\n%s\n%s\n' "$(printf '%s\n' "$signs" | cut -f1)" "$(printf '%s\n' "$uses" | cut -d' ' -f1)" "$listening" | grep . | sort -un)
    if [ -z "$pids" ]; then return; fi
    files=$(for one in $pids; do echo "/proc/$one/status /proc/$one/cgroup /proc/$one/stat"; done)
    tick=$(getconf CLK_TCK 2>/dev/null || echo 100)
    # Where each is, by path and by device and inode.
    places=$(for one in $pids; do echo "/proc/$one/cwd"; done | { xargs stat -L -c 'inode %d:%i %n' 2>/dev/null; })
    paths=$(for one in $pids; do echo "/proc/$one/cwd"; done | { xargs stat -c 'path %N' 2>/dev/null; } | sed -n "s/^path '\\([^']*\\)' -> [\"']\\(.*\\)[\"']\$/path \\1 \\2/p")
    { printf '%s\n' "$signs" | sed '/./s/^/sign\t/'; printf '%s\n%s\n' "$places" "$paths"; head -n 1 /proc/stat; grep '^btime' /proc/stat
      # shellcheck disable=SC2086
      head -v -n 40 $files 2>/dev/null; } | awk -v tick="$tick" '
        BEGIN {
            while ((getline line < "/etc/passwd") > 0) { split(line, field, ":"); user[field[3]] = field[1] }
        }
        function tell() {
            if (pid == "" || !(pid in uid)) return
            who = uid[pid] in user ? user[uid[pid]] : uid[pid]
            printf "process=%s\t%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\n", pid, parent[pid], uid[pid], who, began[pid], group[pid], sign[pid], told[pid] == "" ? name[pid] : told[pid], cwd[pid], inode[pid], name[pid]
        }
        /^sign\t/ { split($0, field, "\t"); sign[field[2]] = field[3]; told[field[2]] = field[4]; next }
        /^inode / { split($3, path, "/"); inode[path[3]] = $2; next }
        /^path / { split($2, path, "/"); sub(/^path [^ ]* /, ""); gsub(/\t/, " "); cwd[path[3]] = $0; next }
        /^btime / { booted = $2; next }
        /^==> \/proc\/[0-9]+\/[a-z]+ <==$/ {
            split($2, path, "/")
            if (path[3] != pid) { tell(); pid = path[3] }
            kind = path[4]; next
        }
        kind == "status" && /^Name:/ { sub(/^Name:[\t ]*/, ""); gsub(/\t/, " "); name[pid] = $0 }
        kind == "status" && /^PPid:/ { parent[pid] = $2 }
        kind == "status" && /^Uid:/ { uid[pid] = $2 }
        kind == "cgroup" && /:name=systemd:|^0::/ { sub(/^[^\/]*/, ""); if (length($0) > length(group[pid])) group[pid] = $0 }
        kind == "stat" && /\)/ { sub(/^.*\) /, ""); began[pid] = booted + $20 / tick }
        END { tell() }'
}

ask_docker() { # [SOCKET]: what an engine that answers has
    # Chosen fields only: an inspection in full shows other projects' environment. By their names in Docker's code, such
    # as ID: with those of its JSON a field that is empty would be an error.
    containers=$(docker ${1:+-H "unix://$1"} ps -aq --no-trunc </dev/null 2>/dev/null) || return 1
    listed=$(docker ${1:+-H "unix://$1"} image ls --digests --no-trunc --format '{{.Repository}}:{{.Tag}} {{.Digest}} {{.ID}}' </dev/null 2>/dev/null)
    if [ -z "${1:-}" ]; then printf '%s\n' "$listed" | sed '/./s/^/image=/'; fi
    images=$(printf '%s\n' "$listed" | grep -iE '^([^ ]*/)?(letta|letta[-_]server|letta-patched|letta-base|memgpt|memgpt-server):' | cut -d' ' -f3)
    if [ "$containers" ]; then
        # shellcheck disable=SC2086
        found=$(docker ${1:+-H "unix://$1"} inspect --type container --format 'container={"id": {{json .ID}}, "name": {{json .Name}}, "state": {{json .State.Status}}, "image": {{json .Config.Image}}, "image_id": {{json .Image}}, "project": {{json (index .Config.Labels "com.docker.compose.project")}}, "service": {{json (index .Config.Labels "com.docker.compose.service")}}, "folder": {{json (index .Config.Labels "com.docker.compose.project.working_dir")}}, "created": {{json .Created}}, "started": {{json .State.StartedAt}}, "finished": {{json .State.FinishedAt}}, "restart": {{json .HostConfig.RestartPolicy.Name}}, "network": {{json .HostConfig.NetworkMode}}, "exposed": {{json .Config.ExposedPorts}}, "mounts": {{json .Mounts}}, "joined": {{json (index .NetworkSettings.Networks "letta-network")}}, "ports": {{json .NetworkSettings.Ports}}, "bound": {{json .HostConfig.PortBindings}}}
variables={{.ID}} {{range .Config.Env}}{{index (split . "=") 0}} {{end}}
command={{.ID}} {{json .Path}} {{json .Args}}' $containers </dev/null 2>/dev/null | signs_only)
        printf '%s\n' "$found"
        for one in $containers; do
            case $found in *"\"id\": \"$one\""*) ;; *) echo "missed=$one" ;; esac
        done
        images="$images $(printf '%s\n' "$found" | sed -n 's/.*"image_id": "\([^"]*\)".*/\1/p')"
    fi
    images=$(printf '%s\n' $images | sort -u)
    if [ "$images" ]; then
        # shellcheck disable=SC2086
        docker ${1:+-H "unix://$1"} image inspect --format 'made={{.ID}} {{json .RepoTags}} {{range .RootFS.Layers}}{{printf "%.23s" .}} {{end}}' $images </dev/null 2>/dev/null
    fi
    if [ -z "${1:-}" ]; then
        known=$(docker volume ls -q </dev/null 2>/dev/null)
        # shellcheck disable=SC2086
        if [ "$known" ]; then docker volume inspect --format 'stores={"name": {{json .Name}}, "created": {{json .CreatedAt}}, "mountpoint": {{json .Mountpoint}}, "device": {{json (index .Options "device")}}, "project": {{json (index .Labels "com.docker.compose.project")}}}' $known </dev/null 2>/dev/null; fi
    fi
    return 0
}

signs_only() { # of commands what tells Letta, of environments the names of Letta's variables
    awk -v letta="$letta" -v shell="$in_shell" '
        /^variables=/ {
            split($1, pair, "="); names = ""
            for (i = 2; i <= NF; i++) if ($i ~ /^(LETTA|MEMGPT)_[A-Z0-9_]+$/) names = names " " $i
            if (names) print "variables=" pair[2] names
            next
        }
        /^command=/ {
            id = $1; sub(/^command=/, "", id); sub(/^[^ ]* /, "")
            gsub(/\\n|\\t|\\u0026|\\u003[ce]/, " "); gsub(/[][",]+/, " "); gsub(/ +/, " "); sub(/^ /, "")
            if (match($0, letta)) print "sign=" id " " substr($0, RSTART, RLENGTH)
            else if ($0 !~ /^([^ ]*\/)?node / && match($0, shell)) {
                text = substr($0, RSTART, RLENGTH); gsub(/^[ \/;&|(]+|[ ;&|)]+$/, "", text); print "sign=" id " " text
            }
            next
        }
        { print }'
}

stored_docker() { # ROOT UID: the containers of an engine that does not answer, as they lie there
    if [ ! -d "$1/containers" ]; then return; fi
    if [ ! -r "$1/containers" ]; then echo "closed=$2 $1"; return; fi
    echo "from=docker-stored $2 $1"
    for one in "$1"/containers/*/config.v2.json; do
        if [ -r "$one" ]; then printf '%s\n' "$one"; fi
    done | xargs -r -d '\n' awk -v shell="$in_shell" '
        function value(key,  text) {
            if (!match($0, "\"" key "\":\"[^\"]*\"")) return ""
            text = substr($0, RSTART, RLENGTH); sub(/^"[^"]*":"/, "", text); sub(/"$/, "", text); return text
        }
        {
            id = value("ID"); image = ""; rest = $0
            while (match(rest, /"Image":"[^"]*"/)) {
                text = substr(rest, RSTART + 9, RLENGTH - 10); rest = substr(rest, RSTART + RLENGTH)
                if (text !~ /^sha256:/ || image == "") image = text
            }
            name = match($0, /"Name":"\/[^"]*"/) ? substr($0, RSTART + 8, RLENGTH - 9) : ""
            command = match($0, /"Path":"[^"]*","Args":\[[^]]*\]/) ? substr($0, RSTART, RLENGTH) : ""
            gsub(/"(Path|Args)":|\\n|\\u0026/, " ", command); gsub(/[][",]+/, " ", command)
            sign = match(command, shell) ? substr(command, RSTART, RLENGTH) : ""; gsub(/^[ \/;&|(]+|[ ;&|)]+$/, "", sign)
            names = ""; rest = $0
            while (match(rest, /"LETTA_[A-Z0-9_]+=/)) {
                names = names " " substr(rest, RSTART + 1, RLENGTH - 2); rest = substr(rest, RSTART + RLENGTH)
            }
            data = ""; rest = $0
            while (match(rest, /"(Source|Name)":"([^"]*\/volumes\/)?letta-(postgres|data|home)(\/[^"]*)?"/)) {
                text = substr(rest, RSTART, RLENGTH); rest = substr(rest, RSTART + RLENGTH)
                sub(/^"[A-Za-z]*":"/, "", text); sub(/"$/, "", text); data = data " " text
            }
            printf "stored={\"id\": \"%s\", \"name\": \"%s\", \"image\": \"%s\", \"created\": \"%s\", \"project\": \"%s\", \"service\": \"%s\", \"folder\": \"%s\", \"sign\": \"%s\", \"variables\": \"%s\", \"data\": \"%s\"}\n", id, name, image, value("Created"), value("com.docker.compose.project"), value("com.docker.compose.service"), value("com.docker.compose.project.working_dir"), sign, names, data
        }' 2>/dev/null
}

stored_podman() { # STORAGE UID
    for folder in "$1"/*-containers; do
        if [ ! -d "$folder" ]; then continue; fi
        echo "from=podman $2 $1"
        for one in "$folder"/containers.json "$folder"/volatile-containers.json; do
            if [ -s "$one" ]; then echo "podman-containers=$(tr -d '\n' < "$one")"; fi
        done
        for one in "$folder"/*/userdata/config.json; do
            if [ -r "$one" ]; then printf '%s\n' "$one"; fi
        done | xargs -r -d '\n' awk -v shell="$in_shell" '
            {
                n = split(FILENAME, path, "/"); id = path[n - 2]
                command = match($0, /"args": ?\[[^]]*\]/) ? substr($0, RSTART + 8, RLENGTH - 8) : ""
                gsub(/\\n|\\u0026/, " ", command); gsub(/[][",]+/, " ", command)
                if (match(command, shell)) {
                    text = substr(command, RSTART, RLENGTH); gsub(/^[ \/;&|(]+|[ ;&|)]+$/, "", text); print "sign=" id " " text
                }
                names = ""; rest = $0
                while (match(rest, /"LETTA_[A-Z0-9_]+=/)) {
                    names = names " " substr(rest, RSTART + 1, RLENGTH - 2); rest = substr(rest, RSTART + RLENGTH)
                }
                if (names) print "variables=" id names
                rest = $0
                while (match(rest, /"source": ?"[^"]*\/volumes\/letta-(postgres|data|home)(\/[^"]*)?"/)) {
                    text = substr(rest, RSTART, RLENGTH); rest = substr(rest, RSTART + RLENGTH)
                    sub(/^"source": ?"/, "", text); sub(/"$/, "", text); print "mounted=" id " " text
                }
            }' 2>/dev/null
        for one in "$1/${folder##*/}"; do
            images="${one%-containers}-images/images.json"
            if [ -s "$images" ]; then echo "podman-images=$(tr -d '\n' < "$images")"; fi
        done
    done
}

others() { # engines of other users, and Podman's of root
    if [ ! -d /proc/self ]; then return; fi # only Linux has them in folders
    if ! printf 'a\n' | xargs -r -d '\n' true 2>/dev/null; then
        echo "lacks=what lies in the folders of engines (xargs knows no -d here)"
        return
    fi
    stored_podman /var/lib/containers/storage 0
    if [ "$root" != /var/snap/docker/common/var-lib-docker ]; then stored_docker /var/snap/docker/common/var-lib-docker 0; fi
    while IFS=: read -r user _ uid _ _ home _; do
        if [ "$uid" != 0 ] && [ "$uid" -lt 1000 ] 2>/dev/null; then continue; fi
        if [ ! -d "$home" ] || [ "$home" = / ]; then continue; fi
        echo "user=$uid $user"
        of_user "$uid" "$home"
    done < /etc/passwd
    for folder in /run/user/*; do # those that /etc/passwd does not name
        uid=${folder##*/}
        if [ "$uid" != '*' ] && ! grep -q "^[^:]*:[^:]*:$uid:" /etc/passwd; then
            home=$(getent passwd "$uid" | cut -d: -f6)
            of_user "$uid" "${home:-/nonexistent}"
        fi
    done
}

of_user() { # UID HOME
    if [ -d "$2" ] && { [ ! -r "$2" ] || [ ! -x "$2" ]; }; then echo "closed=$1 $2"; fi
    store=$2/.local/share/docker
    if [ -r "$2/.config/docker/daemon.json" ]; then
        moved=$(tr -d '\n' < "$2/.config/docker/daemon.json" | sed -n 's/.*"data-root"[[:space:]]*:[[:space:]]*"\([^"]*\)".*/\1/p')
        store=${moved:-$store}
    fi
    socket=/run/user/$1/docker.sock
    if [ "$store" = "$root" ]; then
        : # asked already, as what `docker` means here
    elif [ -S "$socket" ] && command -v docker >/dev/null 2>&1 && [ "$(timeout 5 docker -H "unix://$socket" version --format '{{.Server.Version}}' </dev/null 2>/dev/null)" ]; then
        echo "from=docker $1 $socket"
        ask_docker "$socket"
    else
        if [ -S "$socket" ] && [ ! -d "$store/containers" ]; then echo "closed=$1 $socket"; fi
        stored_docker "$store" "$1"
    fi
    store=$2/.local/share/containers/storage
    if [ -r "$2/.config/containers/storage.conf" ]; then
        moved=$(sed -n 's/^[[:space:]]*\(rootless_storage_path\|graphroot\)[[:space:]]*=[[:space:]]*"\([^"$]*\)".*/\2/p' "$2/.config/containers/storage.conf" | head -n 1)
        store=${moved:-$store}
    fi
    stored_podman "$store" "$1"
}

look "$@" </dev/null
