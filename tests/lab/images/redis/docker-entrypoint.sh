#!/bin/sh
set -eu
case "${1:-}" in
    -* | *.conf) set -- redis-server "$@" ;;
esac
if [ "${1:-}" = redis-server ]; then
    shift
    # The official build answers other containers without a password; a setting of the caller, coming later, wins.
    case "${1:-}" in
        '' | -?*) set -- redis-server --protected-mode no "$@" ;;
        *)
            config=$1
            shift
            set -- redis-server "$config" --protected-mode no "$@"
            ;;
    esac
    if [ "$(id -u)" = 0 ]; then
        find /data ! -user redis -exec chown redis:redis {} +
        exec setpriv --reuid redis --regid redis --init-groups "$@"
    fi
fi
exec "$@"
