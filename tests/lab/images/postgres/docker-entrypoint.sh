#!/bin/bash
# First start: make the cluster, its user and database, run /docker-entrypoint-initdb.d. Then run the command.
set -euo pipefail
umask 0077

fail() {
    echo "postgres entrypoint: $*" >&2
    exit 1
}

# NAME, or the contents of the file that NAME_FILE names.
setting() {
    local name=$1 file_name=${1}_FILE
    if [[ -n ${!name:-} && -n ${!file_name:-} ]]; then
        fail "both $name and $file_name are set"
    fi
    if [[ -n ${!file_name:-} ]]; then
        printf -v "$name" '%s' "$(<"${!file_name}")"
        unset "$file_name"
        export "${name?}"
    fi
}

# The cluster is made in a folder of its own and moved into place at the end, PG_VERSION last:
# an interrupted first start leaves no PG_VERSION, and the next start begins again.
new="$PGDATA/.first-start"

make_cluster() {
    local user=${POSTGRES_USER:-postgres} host_method=${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}
    local database=${POSTGRES_DB:-$user}
    if [[ -z ${POSTGRES_PASSWORD:-} && $host_method != trust ]]; then
        fail "the database is new and has no password: set POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE"
    fi
    if [[ -d $new ]]; then
        echo "postgres entrypoint: the first start was interrupted, beginning again"
        find "$PGDATA" -mindepth 1 -delete
    elif [[ -n $(find "$PGDATA" -mindepth 1 -maxdepth 1 -print -quit) ]]; then
        fail "$PGDATA is neither empty nor a cluster"
    fi

    local initdb_args=()
    read -r -a initdb_args <<< "${POSTGRES_INITDB_ARGS:-}"
    if [[ -n ${POSTGRES_PASSWORD:-} ]]; then
        initdb_args+=(--pwfile=/dev/fd/3)
    fi
    mkdir "$new"
    initdb --username="$user" "${initdb_args[@]}" -D "$new" 3< <(printf '%s\n' "${POSTGRES_PASSWORD:-}")
    printf '\nhost all all all %s\n' "$host_method" >> "$new/pg_hba.conf"

    # Nobody may connect over the network before the init scripts are through.
    PGDATA="$new" pg_ctl -D "$new" -w start -o "$(printf '%q ' "$@" -c listen_addresses=)"
    export PGHOST=/var/run/postgresql PGUSER="$user"
    local psql=(psql --no-psqlrc --no-password --set ON_ERROR_STOP=1)
    if [[ $database != postgres ]]; then
        "${psql[@]}" --dbname postgres --set db="$database" <<< 'CREATE DATABASE :"db";'
    fi
    local script
    for script in /docker-entrypoint-initdb.d/*; do
        case $script in
            *.sql) echo "postgres entrypoint: $script" && "${psql[@]}" --dbname "$database" --file "$script" ;;
            *.sql.gz) echo "postgres entrypoint: $script" && gunzip -c "$script" | "${psql[@]}" --dbname "$database" ;;
            *.sh)
                echo "postgres entrypoint: $script"
                if [[ -x $script ]]; then
                    POSTGRES_USER=$user POSTGRES_DB=$database "$script"
                else
                    POSTGRES_USER=$user POSTGRES_DB=$database bash -e "$script"
                fi
                ;;
        esac
    done
    pg_ctl -D "$new" -w -m fast stop
    unset PGHOST PGUSER

    find "$new" -mindepth 1 -maxdepth 1 ! -name PG_VERSION -exec mv -t "$PGDATA" {} +
    sync
    mv "$new/PG_VERSION" "$PGDATA/"
    rmdir "$new"
    echo "postgres entrypoint: the database is ready"
}

if [[ ${1:-} == -* ]]; then
    set -- postgres "$@"
fi
if [[ ${1:-} == postgres ]]; then
    # While still root: a secret's file need not be readable by postgres.
    setting POSTGRES_PASSWORD
    setting POSTGRES_USER
    setting POSTGRES_DB
    setting POSTGRES_INITDB_ARGS
    if [[ $(id -u) == 0 ]]; then
        mkdir -p "$PGDATA"
        find "$PGDATA" ! -user postgres -exec chown postgres:postgres {} +
        chmod 700 "$PGDATA"
        exec setpriv --reuid postgres --regid postgres --init-groups "$BASH_SOURCE" "$@"
    fi
    if [[ ! -s $PGDATA/PG_VERSION ]]; then
        make_cluster "${@:2}"
    fi
    # An init that was cut between the last two steps leaves only the empty folder.
    if [[ -d $new ]]; then
        rmdir "$new"
    fi
    unset POSTGRES_PASSWORD
fi
exec "$@"
