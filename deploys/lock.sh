# Hold a host's lock for one deploy, run as root at the other end of an SSH channel (deploys/lock.py).
# bash and flock are essential packages of Debian and Ubuntu: a bare host has both.
#
# The lock is flock(2) on deploy.lock, so the kernel frees it however this process ends. `deploy` tells who has it
# and means nothing while the lock is free. Every command of a deploy holds work.lock, shared, and begins only
# while `deploy` has its token: what a dead deploy left running is waited for, and it can begin nothing new.
#
# Arguments: seconds to wait for the lock; seconds to wait for work; seconds without a word from the client after
# which it is dead; the client's address; the first lines of `deploy`.
# Standard input: from time to time, the number of seconds within which the next line will come.
# Standard output: a word a line; `busy` and `work` are followed by lines that end with a dot.
set -u
umask 077
wait=$1 patience=$2 alive=$3 address=$4 who=$5
folder=/run/lettabox
[ -d $folder ] || mkdir -m 755 $folder || exit

holder() {
    echo busy
    cat $folder/deploy
    echo "now=$(date +%s)"
    echo .
}

# The processes that have work.lock open, except this one.
work() {
    echo work
    for pid in $(exec 8>&-; find /proc/[0-9]*/fd -lname $folder/work.lock 2>/dev/null | cut -d/ -f3 | sort -un); do
        command=$(tr '\0\n' '  ' 2>/dev/null < "/proc/$pid/cmdline")
        [ "$pid" = $$ ] || [ -z "$command" ] || echo "$pid $command"
    done
    echo .
}

exec 9>>$folder/deploy.lock || exit
if ! flock -n 9; then
    holder
    if ! flock -w "$wait" 9; then
        holder
        echo refused
        exit 75
    fi
fi
printf '%s\naddress=%s\nholder=%s\nbegan=%s\nsince=%s\n' \
    "$who" "$address" $$ "$(date +%s)" "$(date '+%F %T %Z')" > $folder/deploy.new &&
    mv -f $folder/deploy.new $folder/deploy || exit

exec 8>>$folder/work.lock || exit
if ! flock -n 8; then
    work
    if ! flock -w "$patience" 8 9>&-; then
        work
        echo refused
        exit 75
    fi
fi
exec 8>&-

echo held
while IFS= read -r -t "$alive" next && [[ $next =~ ^[0-9]+$ ]]; do
    alive=$next
done
# Whatever that deploy still sends finds no token.
: > $folder/deploy
