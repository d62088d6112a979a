# What only the login user can tell of a host; then $look does the rest as root, with one sudo for all of it:
# each costs some 20 ms. $gpu is yes where the GPU matters.
echo "clock=$(date +%s)"
# Whom the answers go to: an address that must stay reachable.
echo "client=${SSH_CONNECTION%% *}"
login=$(id -u)
if [ "$login" = 0 ]; then
    sh -c "$look" sh yes "$gpu"
else
    sudo -n sh -c "$look" sh yes "$gpu" "$HOME" "${DOCKER_HOST:-}" "${DOCKER_CONTEXT:-}" 2>/dev/null ||
        sh -c "$look" sh no "$gpu" "$HOME"
fi
:
