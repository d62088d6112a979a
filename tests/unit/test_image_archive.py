"""Images as a file: what is written, and what is refused before anything is loaded."""

import gzip
import hashlib
import io
import json
import os
import tarfile
from types import SimpleNamespace

import pytest
from lettabox import image_archive, images, paths
from lettabox.errors import LettaboxError

D = "sha256:" + "d" * 64
TOLD = {part: {"image": f"{part}:1", "digest": ""} for part in ("letta", "postgres", "redis", "nginx")}
TOLD["ollama"] = {"enabled": False}
NAMES = ["letta:1", "patched:1", "postgres:1", "redis:1", "nginx:1"]

DOCKER = """#!/bin/sh
# Stands in for docker: images are files ID below $HERE/there, named by their config's hash, $HERE/tags/NAME -> ID.
case "$1 $2" in
  "info --format") echo "$HERE" ;;
  "save "*) cat "$HERE/saved.tar" ;;
  "load --quiet") cat > "$HERE/loaded.tar" ;;
  "image inspect") shift 2; echo "["; comma=""
     for n; do f="$HERE/tags/$n"; [ -e "$f" ] || { echo "Error: No such image: $n" >&2; continue; }
       echo "$comma"; cat "$f"; comma=","; done; echo "]" ;;
esac
"""


def sha(data):
    return hashlib.sha256(data).hexdigest()


def archive(contents, change=None):
    """A tar file as docker (25 and later) writes it: {name: layers}; `change` gets {path: bytes} and may edit it."""
    files, manifest = {}, []
    for name, layers in contents.items():
        config = json.dumps({"for": name, "rootfs": {"diff_ids": [f"sha256:{sha(one)}" for one in layers]}}).encode()
        paths_ = [f"blobs/sha256/{sha(one)}" for one in layers]
        files |= dict(zip(paths_, layers, strict=True)) | {f"blobs/sha256/{sha(config)}": config}
        manifest.append({"Config": f"blobs/sha256/{sha(config)}", "RepoTags": [name], "Layers": paths_})
    files["manifest.json"] = json.dumps(manifest).encode()
    if change:
        change(files)
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path, data in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def config_of(name, layers):
    return "sha256:" + sha(
        json.dumps({"for": name, "rootfs": {"diff_ids": [f"sha256:{sha(one)}" for one in layers]}}).encode()
    )


LAYERS = {name: [name.encode() * 1000, b"shared" * 1000] for name in NAMES}


@pytest.fixture
def box(tmp_path, monkeypatch):
    (tmp_path / "docker").write_text(DOCKER)
    (tmp_path / "docker").chmod(0o755)
    (tmp_path / "tags").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("HERE", str(tmp_path))
    for name, file in (("IMAGES", "images.json"), ("LOADED", "loaded.json"), ("BUILD", "build.json")):
        monkeypatch.setattr(paths, name, tmp_path / file)
    monkeypatch.setattr(paths, "STATE", tmp_path)
    paths.BUILD.write_text(json.dumps({"name": "patched:1", "base": "letta:1", "arguments": {}}))
    return tmp_path


def tag(box, name, id_, *digests):
    for one in (name, id_):
        (box / "tags" / one).write_text(
            json.dumps({"Id": id_, "RepoTags": [name], "RepoDigests": [f"x@{digest}" for digest in digests]})
        )


def saved(box, compression="none"):
    (box / "saved.tar").write_bytes(archive(LAYERS))
    for name in NAMES:
        tag(box, name, config_of(name, LAYERS[name]), *([D] if name == "letta:1" else []))
    images.record({"letta:1": D})
    with (box / "out").open("wb") as out:
        image_archive.save(TOLD, compression, out)
    paths.IMAGES.unlink()
    for name in NAMES:
        tag(box, name, config_of(name, LAYERS[name]))  # as after a load: no digest
    return (box / "out").read_bytes()


def load(data, told=TOLD, sha256=""):
    image_archive.load(told, io.BytesIO(data), len(data), sha256)


def nothing_loaded(box):
    return not (box / "loaded.tar").exists() and not paths.LOADED.exists() and not list(box.glob("tmp*"))


@pytest.mark.parametrize("compression", ["none", "gz"])
def test_what_was_saved_is_loaded_with_its_digests(box, compression, capsys):
    data = saved(box, compression)
    assert data[:2] == b"\x1f\x8b" if compression == "gz" else tarfile.is_tarfile(io.BytesIO(data))
    load(data, sha256=sha(data))
    assert (box / "loaded.tar").read_bytes() == data
    assert json.loads(paths.LOADED.read_text()) == {config_of("letta:1", LAYERS["letta:1"]): D}
    held = images.recorded()
    assert held["letta:1"] == D and held["redis:1"] == f"local:{config_of('redis:1', LAYERS['redis:1'])}"
    assert "patched:1" not in held
    assert "letta:1 " + D in capsys.readouterr().out


def test_save_wants_every_image_and_the_recorded_one(box):
    saved(box)
    images.record({"redis:1": D})
    with (box / "again").open("wb") as out:
        with pytest.raises(LettaboxError, match="redis:1 is not the one of its first pull"):
            image_archive.save(TOLD, "none", out)
        (box / "tags/nginx:1").unlink()
        with pytest.raises(LettaboxError, match="nginx:1 not on this box"):
            image_archive.save(TOLD, "none", out)


def test_save_fails_when_docker_does(box):
    saved(box)
    whole = (box / "saved.tar").read_bytes()
    with (box / "again").open("wb") as out:
        for part in (b"", whole[: len(whole) // 2]):
            (box / "saved.tar").write_bytes(part)
            with pytest.raises(LettaboxError, match="broke off"):
                image_archive.save(TOLD, "none", out)
        (box / "saved.tar").write_bytes(whole)
        (box / "docker").write_text(DOCKER.replace('saved.tar" ;;', 'saved.tar"; exit 3 ;;'))
        with pytest.raises(LettaboxError, match="docker save ended with exit code 3"):
            image_archive.save(TOLD, "none", out)


def _swap(name, data):
    def change(files):
        files[name] = data

    return change


def _in_layer(files):
    path = next(path for path, data in files.items() if data.startswith(b"redis:1"))
    files[path] = b"X" + files[path][1:]


def _in_config(files):
    path = next(path for path, data in files.items() if b'"for": "redis:1"' in data)
    files[path] = files[path].replace(b"redis", b"rebis")


def _without_layer(files):
    del files[next(path for path, data in files.items() if data.startswith(b"redis:1"))]


def _fewer_layers(files):
    manifest = json.loads(files["manifest.json"])
    manifest[0]["Layers"].pop()
    files["manifest.json"] = json.dumps(manifest).encode()


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (_in_layer, "a layer of redis:1"),
        (_in_config, "the configuration of redis:1"),
        (_without_layer, "is missing in it"),
        (_fewer_layers, "has not the layers"),
        (_swap("manifest.json", b"{"), "cannot be understood"),
        (_swap("manifest.json", b"[1]"), "cannot be understood"),
        (_swap("manifest.json", b"x"), "no file of images"),
        (_swap("lettabox.json", b'{"images": {}}'), "speaks of other images"),
    ],
)
def test_a_changed_file_is_refused_before_anything_is_loaded(box, change, what):
    with pytest.raises(LettaboxError, match=f"nothing was loaded.*{what}"):
        load(archive(LAYERS, change))
    assert nothing_loaded(box)


@pytest.mark.parametrize("compression", ["none", "gz"])
def test_a_file_that_was_cut_or_is_something_else_is_refused(box, compression):
    data = saved(box, compression)
    for part in (b"", data[:100], data[: len(data) // 2], b"not a tar file" * 100):
        with pytest.raises(LettaboxError, match="nothing was loaded"):
            load(part)
    with pytest.raises(LettaboxError, match=f"1000 of its {len(data)} bytes"):
        image_archive.load(TOLD, io.BytesIO(data[:1000]), len(data), "")
    with pytest.raises(LettaboxError, match="its SHA-256 is"):
        load(data, sha256="0" * 64)
    assert nothing_loaded(box)


def test_other_content_than_the_box_is_held_to_is_refused(box):
    data = saved(box)
    other = "sha256:" + "e" * 64
    for held in (other, f"local:{other}"):
        images.record({"letta:1": held})
        with pytest.raises(LettaboxError, match=f"nothing was loaded.*letta:1.*{held} was recorded"):
            load(data)
    paths.IMAGES.unlink()
    told = TOLD | {"letta": {"image": "letta:1", "digest": other}}
    with pytest.raises(LettaboxError, match="was set for it"):
        load(data, told)
    assert nothing_loaded(box)
    images.record({"letta:1": f"local:{config_of('letta:1', LAYERS['letta:1'])}"})
    load(data, TOLD | {"letta": {"image": "letta:1", "digest": D}})
    assert images.recorded()["letta:1"] == D


def test_a_plain_docker_save_is_taken_and_a_compressed_layer_too(box, capsys):
    """As an engine with the containerd image store writes it; several members, as some builders make them."""
    for name in NAMES:
        tag(box, name, config_of(name, LAYERS[name]))

    def compress(files):
        for path, data in files.items():
            if data.startswith(b"redis:1"):
                files[path] = gzip.compress(data[:100]) + gzip.compress(data[100:])

    load(archive(LAYERS, compress))
    assert (box / "loaded.tar").exists() and not paths.LOADED.exists() and images.recorded() == {}
    assert "no record of digests" in capsys.readouterr().out


def test_layers_of_older_engines_may_be_links(box):
    """Before 25: <hash>.json, and a layer that is in two images is a link the second time."""
    layer = b"shared" * 1000
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        manifest = []
        for name in ("one:1", "two:1"):
            config = json.dumps({"for": name, "rootfs": {"diff_ids": [f"sha256:{sha(layer)}"]}}).encode()
            tag(box, name, f"sha256:{sha(config)}")
            manifest.append({"Config": f"{sha(config)}.json", "RepoTags": [name], "Layers": [f"{name}/layer.tar"]})
            for path, data in ((f"{sha(config)}.json", config), (f"{name}/layer.tar", layer)):
                entry = tarfile.TarInfo(path)
                if path == "two:1/layer.tar":
                    entry.type, entry.linkname = tarfile.SYMTYPE, "../one:1/layer.tar"
                    tar.addfile(entry)
                else:
                    entry.size = len(data)
                    tar.addfile(entry, io.BytesIO(data))
        text = json.dumps(manifest).encode()
        entry = tarfile.TarInfo("manifest.json")
        entry.size = len(text)
        tar.addfile(entry, io.BytesIO(text))
    load(out.getvalue())
    assert (box / "loaded.tar").exists()


def test_a_box_without_room_is_refused(box, monkeypatch):
    data = saved(box)
    monkeypatch.setattr(image_archive.shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(LettaboxError, match=r"nothing was loaded.*GB free"):
        load(data)
    assert nothing_loaded(box)
