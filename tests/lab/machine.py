"""What images must know of the machine that builds them: package mirror, certificates, pip's settings, name servers.

Read at run time, so that nothing of it stands in the repository.
"""

import functools
import importlib.util
import ipaddress
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.lab.report import LabError

APT = Path("/etc/apt")
DISTRIBUTION_CERTIFICATES = Path("/usr/share/ca-certificates")
IMAGE_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"


@dataclass(frozen=True)
class AptSource:
    uri: str
    suite: str
    components: tuple[str, ...]


def apt_sources() -> list[AptSource]:
    found = []
    for path in [APT / "sources.list", *sorted((APT / "sources.list.d").glob("*"))]:
        if not path.is_file():
            continue
        if path.suffix == ".list":
            found += _one_line_style(path.read_text())
        elif path.suffix == ".sources":
            found += _deb822_style(path.read_text())
    return found


def _one_line_style(text: str) -> list[AptSource]:
    found = []
    for line in text.splitlines():
        words = re.sub(r"\[.*?\]", "", line.split("#")[0]).split()
        if len(words) >= 4 and words[0] == "deb":
            found.append(AptSource(words[1], words[2], tuple(words[3:])))
    return found


def _deb822_style(text: str) -> list[AptSource]:
    found = []
    text = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for paragraph in re.split(r"\n\s*\n", text):
        joined = re.sub(r"\n[ \t]+", " ", paragraph)
        fields = dict(line.split(":", 1) for line in joined.splitlines() if ":" in line)
        value = {name.strip().lower(): words.split() for name, words in fields.items()}
        if "deb" not in value.get("types", []) or value.get("enabled") == ["no"]:
            continue
        for uri in value.get("uris", []):
            found += [AptSource(uri, suite, tuple(value.get("components", []))) for suite in value.get("suites", [])]
    return found


@functools.cache
def debian_sources(release: str) -> tuple[AptSource, ...]:
    """The machine's Debian mirror, its updates and its security suite, for another release; the mirror first."""
    here = _os_release("VERSION_CODENAME")
    by_suite: dict[str, AptSource] = {}
    for source in apt_sources():
        if source.uri.startswith(("http://", "https://")) and "main" in source.components:
            by_suite.setdefault(source.suite, source)
    if _os_release("ID") != "debian" or here not in by_suite:
        raise LabError(
            "no image registry answers, and the base images cannot be made either: "
            f"the apt sources ({APT}) name no Debian mirror.\nRun the lab on Debian, or give it a registry."
        )
    wanted = [by_suite[suite] for suite in (here, f"{here}-updates", f"{here}-security") if suite in by_suite]
    return tuple(AptSource(source.uri, source.suite.replace(here, release, 1), ("main",)) for source in wanted)


def _os_release(key: str) -> str:
    for line in Path("/etc/os-release").read_text().splitlines():
        name, _, value = line.partition("=")
        if name == key:
            return value.strip('"')
    return ""


@functools.cache
def base_files() -> dict[str, bytes]:
    """Files for every image: the machine's own certificates, apt settings and pip settings."""
    files = {f"usr/local/share/ca-certificates/machine-{n}.crt": pem for n, pem in enumerate(own_certificates())}
    files["etc/apt/apt.conf.d/90-machine"] = apt_settings().encode()
    files["etc/pip.conf"] = pip_conf().encode()
    return files


def own_certificates() -> list[bytes]:
    """Certificates that this machine trusts beyond the distribution's: those of a proxy that inspects TLS."""
    bundle = Path(os.environ.get("SSL_CERT_FILE", IMAGE_BUNDLE))
    if not bundle.is_file():
        return []
    usual = {pem for path in DISTRIBUTION_CERTIFICATES.rglob("*.crt") for pem in _certificates(path)}
    return [pem for pem in _certificates(bundle) if pem not in usual]


def _certificates(path: Path) -> list[bytes]:
    found = re.findall(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", path.read_bytes(), re.DOTALL)
    return list(dict.fromkeys(b"\n".join(pem.split(b"\n")) + b"\n" for pem in found))


def apt_settings() -> str:
    """How this machine's apt reaches its mirror (a proxy, a frozen mirror with old dates)."""
    if shutil.which("apt-config") is None:
        return ""
    dump = subprocess.run(["apt-config", "dump"], check=True, capture_output=True, text=True).stdout
    wanted = re.compile(r'Acquire::(Check-Valid-Until|Check-Date|https?::Proxy) "[^"]+";$')
    return "".join(line + "\n" for line in dump.splitlines() if wanted.match(line))


def pip_conf() -> str:
    settings = _pip_settings()
    lines = ["[global]", f"cert = {IMAGE_BUNDLE}", f"timeout = {settings.get('default-timeout', '60')}"]
    for key in ("index-url", "extra-index-url"):
        # A folder of this machine means nothing inside a container.
        urls = [word for word in settings.get(key, "").split() if word.startswith(("http://", "https://"))]
        if urls:
            lines.append(f"{key} = {' '.join(urls)}")
    if "trusted-host" in settings:
        lines.append(f"trusted-host = {settings['trusted-host']}")
    return "\n".join(lines) + "\n"


def _pip_settings() -> dict[str, str]:
    if importlib.util.find_spec("pip"):
        pip = [sys.executable, "-m", "pip"]
    elif path := shutil.which("pip3"):
        pip = [path]
    else:
        return {
            name[4:].lower().replace("_", "-"): value for name, value in os.environ.items() if name.startswith("PIP_")
        }
    listing = subprocess.run([*pip, "config", "list"], check=True, capture_output=True, text=True).stdout
    layers: dict[str, dict[str, str]] = {"global": {}, "install": {}, ":env:": {}}
    for line in listing.splitlines():
        name, _, value = line.partition("=")
        layer, _, key = name.rpartition(".")
        if layer in layers:
            layers[layer][key] = " ".join(shlex.split(value)).replace("\\n", " ")
    return {**layers["global"], **layers["install"], **layers[":env:"]}


def name_servers() -> list[str]:
    """Those that a container can reach too: a resolver on the machine's loopback is none of them."""
    path = Path("/etc/resolv.conf")
    if not path.is_file():
        return []
    words = [line.split() for line in path.read_text().splitlines()]
    servers = [line[1] for line in words if len(line) == 2 and line[0] == "nameserver"]
    return [server for server in servers if not ipaddress.ip_address(server.split("%")[0]).is_loopback]


def routes() -> list[ipaddress.IPv4Network]:
    """The networks that this machine has a route to, the default route left out."""
    found = []
    for line in Path("/proc/net/route").read_text().splitlines()[1:]:
        words = line.split()
        target, mask = (int.from_bytes(bytes.fromhex(words[n]), "little") for n in (1, 7))
        if mask:
            found.append(ipaddress.IPv4Network((target, bin(mask).count("1"))))
    return found
