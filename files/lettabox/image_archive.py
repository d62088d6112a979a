"""The stack's images as one file: what `docker save` writes, and at its end a record of their digests.

`docker load` alone would do, but it forgets which digest a registry had given an image, so nothing could be held
to it any more. The record brings the digests along. Everything else in the file vouches for itself: an image is
named by the hash of its configuration, and that names its layers by their hashes.
"""

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Any, NamedTuple

from lettabox import images, paths, stack_images
from lettabox.docker import docker, inspect
from lettabox.errors import LettaboxError

RECORD = "lettabox.json"
CHUNK = 1 << 20
SMALL = 16 << 20  # bytes; no manifest and no configuration comes near it


class Compression(NamedTuple):
    magic: bytes  # the first bytes of such a file
    compress: list[str]
    expand: list[str]


COMPRESSIONS = {
    "gz": Compression(b"\x1f\x8b", ["gzip", "-c", "-1"], ["gzip", "-dc"]),
    "zst": Compression(b"\x28\xb5\x2f\xfd", ["zstd", "-q", "-c", "-T0"], ["zstd", "-q", "-dc"]),
}


class Ended(LettaboxError):
    """A program did not end well."""


class Damaged(Exception):
    """An archive that is not what was saved; says in which way."""


# --- what is in an archive ---------------------------------------------------------------------------------


@dataclass
class Contents:
    """Every file of an archive by its hash, and the content of the few that say what the others are."""

    hashes: dict[str, set[str]] = field(default_factory=dict)  # path -> "sha256:...", as it is and expanded
    links: dict[str, str] = field(default_factory=dict)  # path -> path; how engines before 25 repeat a layer
    texts: dict[str, bytes] = field(default_factory=dict)
    size: int = 0  # bytes, expanded

    def take(self, tar: tarfile.TarFile, entry: tarfile.TarInfo, out: tarfile.TarFile | None = None) -> None:
        """Take in one entry of `tar`, and pass it on to `out`."""
        self.size += entry.size
        if entry.issym() or entry.islnk():
            target = os.path.join(os.path.dirname(entry.name), entry.linkname) if entry.issym() else entry.linkname
            self.links[entry.name] = os.path.normpath(target)
        reader = _Hashing(tar.extractfile(entry)) if entry.isreg() else None
        if out:
            out.addfile(entry, reader)
        elif reader:
            while reader.read(CHUNK):
                pass
        if reader:
            self.hashes[entry.name] = reader.hashes()
            if reader.kept:
                self.texts[entry.name] = bytes(reader.kept)

    def images(self) -> dict[str, str]:
        """{image name: hash of its configuration, "sha256:..."}. Raises Damaged when a hash is not the one it names."""
        with _understood():
            found = {}
            for one in self._json("manifest.json"):
                names = one["RepoTags"] or []
                what = ", ".join(names) or "an image without a name"
                config = "sha256:" + one["Config"].rpartition("/")[2].removesuffix(".json")
                if config not in self._hashes(one["Config"]):
                    raise Damaged(f"the configuration of {what} is not what it is named by")
                layers = self._json(one["Config"])["rootfs"]["diff_ids"]
                if len(layers) != len(one["Layers"]):
                    raise Damaged(f"{what} has not the layers that its configuration names")
                for path, layer in zip(one["Layers"], layers, strict=True):
                    if layer not in self._hashes(path):
                        raise Damaged(f"a layer of {what} is not what its configuration names ({layer})")
                found |= dict.fromkeys(names, config)
            return found

    def record(self) -> dict[str, dict[str, str]]:
        """{image name: {"image": hash of its configuration, "digest": a registry's or ""}}; empty without a record.

        Raises Damaged when it speaks of other images than those in the archive.
        """
        if RECORD not in self.hashes:
            return {}
        with _understood():
            record, there = self._json(RECORD)["images"], self.images()
            if {name: one["image"] for name, one in record.items()} != there:
                raise Damaged(f"its record ({RECORD}) speaks of other images than are in it")
            return {name: {"image": one["image"], "digest": one["digest"]} for name, one in record.items()}

    def _hashes(self, path: str) -> set[str]:
        path = self.links.get(path, path)
        if path not in self.hashes:
            raise Damaged(f"{path} is missing in it, which belongs to an image")
        return self.hashes[path]

    def _json(self, path: str) -> Any:
        if path not in self.texts:
            raise Damaged(f"it has no readable {path}, so it is no file of images")
        return json.loads(self.texts[path])


@contextmanager
def _understood() -> Iterator[None]:
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise Damaged(f"what it says of its images cannot be understood ({error!r})") from None


class _Hashing:
    """A reader that hashes what passes: as it is, what it expands to if it is gzip, and keeps it if it is JSON."""

    def __init__(self, data: IO[bytes]) -> None:
        self.data = data
        self.plain, self.expanded = hashlib.sha256(), hashlib.sha256()
        self.kept: bytearray | None = None
        self.gzip: Any = None  # expands a layer that was saved compressed; the configuration names it expanded
        self.begun = False

    def read(self, size: int = -1) -> bytes:
        got = self.data.read(size)
        if not self.begun and got:
            self.begun = True
            self.kept = bytearray() if got[:1] in (b"{", b"[") else None
            self.gzip = zlib.decompressobj(31) if got.startswith(COMPRESSIONS["gz"].magic) else None
        self.plain.update(got)
        if self.kept is not None:
            self.kept += got
            if len(self.kept) > SMALL:
                self.kept = None
        rest = got if self.gzip else b""
        while rest:
            if self.gzip.eof:  # a gzip file may have several members
                self.gzip = zlib.decompressobj(31)
            try:
                self.expanded.update(self.gzip.decompress(rest))
            except zlib.error as error:
                raise Damaged(f"a layer cannot be expanded ({error})") from None
            rest = self.gzip.unused_data
        return got

    def hashes(self) -> set[str]:
        return {f"sha256:{one.hexdigest()}" for one in (self.plain, *([self.expanded] if self.gzip else []))}


# --- save --------------------------------------------------------------------------------------------------


def save(told: dict[str, Any], compression: str, out: IO[bytes]) -> None:
    """Write all images of the stack to `out`, as the last deploy named them; `told` is settings.json."""
    try:
        _save(told, compression, out)
    except (tarfile.TarError, Damaged) as error:
        raise LettaboxError(f"nothing was saved: docker save broke off ({error})") from None
    except BrokenPipeError:
        raise LettaboxError("nothing was saved: nobody takes it any more") from None


def _save(told: dict[str, Any], compression: str, out: IO[bytes]) -> None:
    names, recorded = list(dict.fromkeys(stack_images.names(told))), images.recorded()
    there = {tag: one for one in inspect("image", *names) for tag in one["RepoTags"]}
    if missing := [name for name in names if name not in there]:
        raise LettaboxError(f"nothing was saved: {', '.join(missing)} not on this box; deploy first (`make deploy`)")
    digests = {}
    for name in names:
        known = images.identities(there[name])
        if name in recorded and recorded[name] not in known:
            raise LettaboxError(
                f"nothing was saved: image {name} is not the one of its first pull ({recorded[name]}); "
                f"it is {known[0]}; deploy again (`make deploy`), which says what to do"
            )
        first = recorded.get(name, known[0])
        digests[name] = first if first.startswith("sha256:") else ""
    with _compressor(compression, out) as sink, _child(["docker", "save", *names], stdout=subprocess.PIPE) as docker:
        contents = Contents()
        with (
            tarfile.open(fileobj=docker.stdout, mode="r|", bufsize=CHUNK) as source,
            tarfile.open(fileobj=sink, mode="w|", bufsize=CHUNK, copybufsize=CHUNK) as target,
        ):
            for entry in source:
                contents.take(source, entry, target)
            saved = contents.images()
            if set(saved) != set(names):
                raise LettaboxError(f"docker save wrote {', '.join(saved)} and not {', '.join(names)}")
            record = {name: {"image": config, "digest": digests[name]} for name, config in saved.items()}
            text = json.dumps({"images": record}, indent=1).encode()
            entry = tarfile.TarInfo(RECORD)
            entry.size = len(text)
            target.addfile(entry, io.BytesIO(text))


@contextmanager
def _child(command: list[str], **streams: Any) -> Iterator[subprocess.Popen]:
    """A program that must end well by itself once the block is through."""
    try:
        child = subprocess.Popen(command, **streams)
    except FileNotFoundError:
        raise LettaboxError(
            f"there is no {command[0]} on this box; apt-get install {command[0]}, or take another ending for FILE"
        ) from None
    try:
        yield child
    except BaseException:
        child.kill()
        child.wait()
        raise
    if child.stdout:
        while child.stdout.read(CHUNK):  # tar files end with filling, which tarfile leaves unread
            pass
    if child.wait():
        raise Ended(f"{' '.join(command[:2])} ended with exit code {child.returncode}")


@contextmanager
def _compressor(compression: str, out: IO[bytes]) -> Iterator[IO[bytes]]:
    if compression == "none":
        yield out
        out.flush()
        return
    with _child(COMPRESSIONS[compression].compress, stdin=subprocess.PIPE, stdout=out) as child:
        child.stdout = None
        yield child.stdin
        child.stdin.close()


# --- load --------------------------------------------------------------------------------------------------


def load(told: dict[str, Any], source: IO[bytes], size: int, sha256: str) -> None:
    """Load an archive of `size` bytes from `source`, after all of it has arrived and was checked.

    `told` is settings.json, `sha256` the file's hash where the operator knows it, or "". Raises LettaboxError,
    with nothing loaded.
    """
    try:
        _load(told, source, size, sha256)
    except Damaged as error:
        raise LettaboxError(
            f"nothing was loaded: the file is damaged: {error}; save the images again (`make image-save FILE=...`)"
        ) from None


def _load(told: dict[str, Any], source: IO[bytes], size: int, sha256: str) -> None:
    root, patched = docker("info", "--format", "{{.DockerRootDir}}").strip(), stack_images.build()["name"]
    room = shutil.disk_usage(paths.STATE).free
    if room < size:
        raise LettaboxError(
            f"nothing was loaded: {room / 1e9:.1f} GB free in {paths.STATE}, the file has {size / 1e9:.1f} GB"
        )
    # Without a name: gone, however this ends.
    with tempfile.TemporaryFile(dir=paths.STATE) as file:
        whole = hashlib.sha256()
        while chunk := source.read(CHUNK):
            whole.update(chunk)
            file.write(chunk)
        file.flush()
        if file.tell() != size:
            raise Damaged(f"{file.tell()} of its {size} bytes arrived")
        if sha256 and whole.hexdigest() != sha256:
            raise Damaged(f"its SHA-256 is {whole.hexdigest()} and not {sha256}")
        print("checking it", flush=True)
        contents = _contents(file)
        found, record = contents.images(), contents.record()
        _check_pins(found, record, told)
        # The engine unpacks all of it to a folder of its own, and from there once more.
        if (room := shutil.disk_usage(root).free) < 2 * contents.size:
            raise LettaboxError(
                f"nothing was loaded: {room / 1e9:.1f} GB free at {root}, needed are {2 * contents.size / 1e9:.1f} GB; "
                "make room; what Docker holds: docker system df"
            )
        print(f"loading {', '.join(found)}", flush=True)
        os.lseek(file.fileno(), 0, os.SEEK_SET)
        done = subprocess.run(["docker", "load", "--quiet"], stdin=file, capture_output=True, text=True)
        if done.returncode:
            raise LettaboxError(f"docker load: {done.stderr.strip()}")
    ids = {name: inspect("image", name)[0]["Id"] for name in found}
    digests = {name: one["digest"] for name, one in record.items() if one["digest"]}
    images.record({ids[name]: digest for name, digest in digests.items()}, paths.LOADED)
    for name in record:
        if name != patched:  # which is named by its content already
            images.hold(name, stack_images.digests(told).get(name, ""))
    for name, config in found.items():
        print(f"loaded {name} {digests.get(name) or config}")
    if not record:
        print("it has no record of digests (plain `docker save`): the next deploy holds its images to what they are")
    print("next: make deploy")


def _contents(file: IO[bytes]) -> Contents:
    """Read the whole archive, compressed or not."""
    first = os.pread(file.fileno(), 4, 0)
    how = next((one for one in COMPRESSIONS.values() if first.startswith(one.magic)), None)
    contents = Contents()
    os.lseek(file.fileno(), 0, os.SEEK_SET)
    try:
        with (
            _child(how.expand if how else ["cat"], stdin=file, stdout=subprocess.PIPE) as reader,
            tarfile.open(fileobj=reader.stdout, mode="r|", bufsize=CHUNK) as tar,
        ):
            for entry in tar:
                contents.take(tar, entry)
    except (tarfile.TarError, Ended) as error:
        raise Damaged(f"it is no tar file, or it was cut short ({error})") from None
    return contents


def _check_pins(found: dict[str, str], record: dict[str, dict[str, str]], told: dict[str, Any]) -> None:
    """Refuse an archive that has other content under a name than this box is held to."""
    recorded, set_ = images.recorded(), stack_images.digests(told)
    for name, config in found.items():
        wanted = set_.get(name) or recorded.get(name)
        known = {f"local:{config}", record[name]["digest"] if record else ""}
        for same in inspect("image", config):  # it is on this box already, under whatever name
            known |= set(images.identities(same))
        if wanted and wanted not in known:
            raise LettaboxError(
                f"nothing was loaded: the file has image {name} as {', '.join(sorted(known - {''}))}, but {wanted} "
                f"{'was set for it' if name in set_ else f'was recorded at its first pull in {paths.IMAGES}'}; "
                "load a file that has that one, or set its digest in the settings and deploy if the change is wanted"
            )
