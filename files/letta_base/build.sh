#!/bin/sh
# Put the Letta server of one release into /app, from its sdist on the package index: sh build.sh VERSION SHA256
#
# For a plain Debian 12. The sdist is the whole repository, so its own uv.lock says what is installed, and every
# archive is checked against a hash: the sdist's, the lock's, and those of the tools in requirements.txt beside this.
# What a machine needs to reach apt and the package index (proxies, certificates, pip's settings) is read from
# the folder machine/ beside it, where there is one, and from the image's own settings otherwise.
# All in one go, so that no build tool and no cache stays in the image.
set -eu
version=$1 sha256=$2
here=$(dirname "$(readlink -f "$0")")
work=$(mktemp -d)
export HOME="$work" TMPDIR="$work" UV_CACHE_DIR="$work/uv" UV_NO_PROGRESS=1 UV_LINK_MODE=hardlink DEBIAN_FRONTEND=noninteractive
SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
if [ -d "$here/machine" ]; then
    export APT_CONFIG="$here/machine/apt.conf" PIP_CONFIG_FILE="$here/machine/pip.conf"
    export PIP_CERT="$here/machine/ca-certificates.crt"
    SSL_CERT_FILE=$PIP_CERT
fi
export SSL_CERT_FILE

echo "step: Debian packages"
apt-get -q update
# gcc and the headers are for psycopg2, which has no wheel in the lock.
apt-get -q install -y --no-install-recommends \
    ca-certificates curl libpq-dev postgresql-client python3 python3-venv redis-server gcc libc6-dev python3-dev
python3 -m venv "$work/tools"
tools="$work/tools/bin"
"$tools/pip" install --quiet --disable-pip-version-check --no-cache-dir --require-hashes -r "$here/requirements.txt"

echo "step: Letta $version from its sdist"
# pip checks the hash before it opens the archive.
echo "letta==$version --hash=sha256:$sha256" > "$work/sdist.txt"
"$tools/pip" download --quiet --disable-pip-version-check --no-cache-dir --no-deps --no-binary letta \
    --require-hashes --requirement "$work/sdist.txt" --dest "$work/sdist"
mkdir -p /app
tar -xzf "$work/sdist/letta-$version.tar.gz" -C /app --strip-components=1 --no-same-owner
cd /app

echo "step: its locked requirements"
# The lock names the public index; through an exported list with hashes the index that pip uses serves as well.
of_pip() {
    "$tools/pip" config list | sed -n "s/^global\.$1='\(.*\)'\$/\1/p"
}
index=$(of_pip index-url)
if [ -n "$index" ]; then export UV_DEFAULT_INDEX="$index"; fi
proxy=$(of_pip proxy)
# Source that becomes a package is built by tools with a hash, too.
export UV_BUILD_CONSTRAINT="$here/requirements.txt"
if [ -n "$proxy" ]; then export ALL_PROXY="$proxy"; fi
"$tools/uv" export --quiet --frozen --no-dev --extra postgres --extra redis --extra server \
    --no-emit-project --output-file "$work/requirements.txt"
"$tools/uv" venv --quiet --python /usr/bin/python3 /app/.venv
export VIRTUAL_ENV=/app/.venv
"$tools/uv" pip install --quiet --require-hashes --requirement "$work/requirements.txt"
"$tools/uv" pip install --quiet --no-deps --editable /app

echo "step: files around it"
mkdir -p /etc/otel /docker-entrypoint-initdb.d
cp otel/otel-collector-config-file.yaml /etc/otel/config-file.yaml
cp otel/otel-collector-config-clickhouse.yaml /etc/otel/config-clickhouse.yaml
cp otel/otel-collector-config-signoz.yaml /etc/otel/config-signoz.yaml
cp init.sql /docker-entrypoint-initdb.d/
chmod 755 letta/server/startup.sh
install -m 755 "$here/docker-entrypoint.sh" "$here/otelcol-contrib.sh" /usr/local/bin/
mv /usr/local/bin/otelcol-contrib.sh /usr/local/bin/otelcol-contrib
# Compile now what the server imports: each new container would do it again, for seconds.
/app/.venv/bin/python -c 'import letta.server.rest_api.app, letta.main' > "$work/import.log" 2>&1 || {
    cat "$work/import.log"
    exit 1
}
apt-get -q purge -y --auto-remove gcc libc6-dev python3-dev
rm -rf "$work" /var/lib/apt/lists/*
