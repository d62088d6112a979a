"""Where the images come from, and what says so: the deploy's decisions and the box's."""

import json
import re
import subprocess

import pytest
import yaml
from lettabox import images, letta_base, paths, stack_images
from lettabox.errors import LettaboxError

from deploys import layout, letta_image, revision
from facts.compose import ComposeProject
from facts.fitness import Fitness
from inventory.load import SettingsError, load
from inventory.schema import Settings
from tests.unit.test_preflight import good, ids

D, ID = "sha256:" + "d" * 64, "sha256:" + "1" * 64


def plan(settings):
    return json.loads(letta_image.files(settings)[f"{layout.IMAGE_CONTEXT}/build.json"].content)


# --- the settings ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("letta", "words"),
    [
        ({"source": "oci"}, "letta.source = 'oci': no source of an image; use registry, tar"),
        (
            {"image": "letta/letta:0.16.7", "source": "sdist"},
            "letta.sdist.sha256: no hash is known for the sdist of 0.16.7",
        ),
        ({"source": "sdist", "digest": D}, "letta.digest = 'sha256:"),
        ({"source": "sdist", "sdist": {"sha256": "ABC"}}, "letta.sdist.sha256 = 'ABC': not a SHA-256"),
        (
            {"source": "sdist", "sdist": {"image": "debian:latest"}},
            "letta.sdist.image = 'debian:latest': latest is a moving",
        ),
        ({"sdist": {"sha": "x"}}, "letta.sdist.sha = 'x': unknown key"),
    ],
)
def test_a_source_that_cannot_be_is_refused(tmp_path, letta, words):
    content = {"hosts": {"box": {"address": "192.0.2.1", "user": "a"}}, "groups": {"letta": ["box"]}}
    (tmp_path / "inventory.yml").write_text(yaml.safe_dump(content | {"settings": {"letta": letta}}))
    with pytest.raises(SettingsError, match=re.escape(words)) as error:
        load(tmp_path / "inventory.yml")
    assert len(str(error.value).splitlines()) == 1


def test_another_release_may_be_built_with_its_hash():
    letta = Settings(letta={"image": "letta/letta:0.16.7", "source": "sdist", "sdist": {"sha256": "0" * 64}}).letta
    assert letta.sdist_sha256 == "0" * 64
    assert Settings(letta={"source": "sdist", "sdist": None}).letta.sdist_sha256.startswith("363e2698")


# --- the deploy --------------------------------------------------------------------------------------------


def test_the_base_of_an_sdist_is_named_by_all_it_is_made_from():
    def base(**sdist):
        return letta_image.base(Settings(letta={"source": "sdist", "sdist": sdist}))

    known = base()
    assert re.fullmatch(r"letta-base:0\.16\.8-[0-9a-f]{12}", known)
    # The known hash, written out, is the same sdist.
    assert base(sha256="363e26989e552c859ce2e7961d484acee6fccfc1e7b16e8f644b1ae1ccd754a3") == known
    assert len({known, base(sha256="0" * 64), base(image="debian:bookworm-1"), base(digest=D)}) == 4


def test_a_file_instead_of_the_registry_is_the_same_image():
    """A patched image that was saved on one box is the one that another asks for."""
    assert letta_image.name(Settings(letta={"source": "tar"})) == letta_image.name(Settings())
    assert letta_image.name(Settings(letta={"source": "sdist"})) != letta_image.name(Settings())


def test_the_recipe_is_shipped_only_for_the_sdist():
    for source in ("registry", "tar", "sdist"):
        shipped = [path for path in letta_image.files(Settings(letta={"source": source})) if "/letta_base/" in path]
        assert bool(shipped) == (source == "sdist")
    assert f"{layout.BASE_CONTEXT}/build.sh" in shipped and f"{layout.BASE_CONTEXT}/requirements.txt" in shipped
    assert plan(Settings(letta={"source": "sdist"}))["sdist"]["sha256"].startswith("363e2698")


def test_a_commit_alone_changes_no_image(monkeypatch):
    before = letta_image.name(Settings())
    for commit in ("a" * 40, "b" * 40 + "-dirty", ""):
        monkeypatch.setattr(letta_image, "revision", lambda path, commit=commit: commit)
        assert plan(Settings())["arguments"]["REVISION"] == commit
        assert plan(Settings())["name"] == letta_image.name(Settings()) == before


def test_only_patches_are_in_the_patch_set(monkeypatch):
    files = letta_image.context(Settings())
    before = letta_image.patch_set(Settings())
    monkeypatch.setattr(letta_image, "context", lambda _: files)
    files[f"{layout.IMAGE_CONTEXT}/lettabox/verify.py"] = letta_image.File(b"")
    assert letta_image.patch_set(Settings()) == before
    files[f"{layout.IMAGE_CONTEXT}/lettabox/patches/0009-new.patch"] = letta_image.File(b"")
    assert letta_image.patch_set(Settings()) != before


def test_the_revision_is_the_last_that_touched_the_folder(tmp_path, monkeypatch):
    def git(*words):
        options = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"]
        return subprocess.run(
            ["git", *options, *words], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout

    monkeypatch.setattr(revision, "ROOT", tmp_path)
    look = revision.revision.__wrapped__  # a run remembers what it saw
    (tmp_path / "image").mkdir()
    (tmp_path / "image/a").write_text("1")
    # A folder of its own, or git would look further up.
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert look("image") == "", "no repository"
    git("init", "-q")
    assert look("image") == "", "not in it yet"
    git("add", ".")
    git("commit", "-qm", "one")
    first = git("rev-parse", "HEAD").strip()
    (tmp_path / "other").write_text("1")
    git("add", ".")
    git("commit", "-qm", "two")
    assert look("image") == first
    (tmp_path / "image/a").write_text("2")
    assert look("image") == f"{first}-dirty"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert look("image") == "", "no git"


def test_a_loaded_image_is_known_by_its_digest_to_the_facts():
    line = f"image=redis:8.0 <none> {ID}"
    state = Fitness().process([f'images={{"redis:8.0": "{D}"}}', f'loaded={{"{ID}": "{D}"}}', line])
    assert state.unreadable == [] and D in state.images["redis:8.0"]
    assert ids(good(images=state.images, recorded_images=state.recorded_images)) == []
    assert D not in Fitness().process(["loaded=", line]).images["redis:8.0"]
    answer = ["wanted a 1"]
    answer += [f'record {{"redis:8.0": "{D}"}}', f'loaded {{"{ID}": "{D}"}}', f"image redis:8.0 {ID} <none>"]
    assert D in ComposeProject().process(answer).images["redis:8.0"].digests


def test_preflight_misses_an_image_that_only_a_file_brings():
    tar, engine = {"letta": {"source": "tar"}}, {"engine": "26.1.5", "service": "active"}
    assert ids(good(**engine), **tar) == ["image-missing"]
    assert ids(good(**engine, images={"letta/letta:0.16.8": {D}}), **tar) == []
    assert ids(good(), **tar) == [], "a bare host gets its engine first"
    assert ids(good(**engine)) == []


def test_preflight_knows_the_base_from_the_sdist_by_its_own_name():
    settings = {"letta": {"source": "sdist"}}
    base = letta_image.base(Settings(**settings))
    known = {"recorded_images": {base: f"local:{ID}"}}
    assert ids(good(images={base: {f"local:{ID}"}}, **known), **settings) == []
    assert ids(good(images={base: {"local:sha256:2"}}, **known), **settings) == ["image-changed"]


# --- the box -----------------------------------------------------------------------------------------------


@pytest.fixture
def engine(monkeypatch, tmp_path):
    """A Docker engine's images, {name: id}, none of which has a digest; with the commands that were run."""
    monkeypatch.setattr(paths, "IMAGES", tmp_path / "images.json")
    monkeypatch.setattr(paths, "LOADED", tmp_path / "loaded.json")
    monkeypatch.setattr(paths, "STATE", tmp_path)
    there, ran = {}, []

    def inspect(kind, name):
        return [{"RepoDigests": [], "Id": there[name]}] if name in there else []

    monkeypatch.setattr(images, "inspect", inspect)
    monkeypatch.setattr(letta_base, "inspect", inspect)

    def run(*command, each=None):
        ran.append(command)
        if "docker import" in command[-1] or command[:2] == ("docker", "pull"):
            there[command[-1].rpartition(" ")[2]] = f"sha256:{len(ran)}"

    return there, ran, run


def test_a_tar_source_never_pulls_and_names_the_verb(engine):
    there, ran, _ = engine
    with pytest.raises(LettaboxError, match="make image-load FILE="):
        images.require("letta:1", "")
    there["letta:1"] = ID
    assert images.require("letta:1", "") == f"local:{ID}"
    there["letta:1"] = "sha256:2"
    with pytest.raises(LettaboxError, match="recorded at its first pull"):
        images.require("letta:1", "")
    assert ran == []


def test_a_digest_that_came_with_a_file_counts(engine):
    there, ran, run = engine
    there["redis:8"] = ID
    images.record({ID: D}, paths.LOADED)
    assert images.pull("redis:8", D, run) == images.pull("redis:8", "", run) == D
    assert images.recorded() == {"redis:8": D} and ran == []
    there["redis:8"] = "sha256:2"
    with pytest.raises(LettaboxError):
        images.pull("redis:8", "", run)


def test_what_no_registry_has_is_not_pulled_when_it_is_gone(engine):
    there, ran, run = engine
    there["redis:8"] = ID
    images.pull("redis:8", "", run)
    there.clear()
    with pytest.raises(LettaboxError, match="make image-load"):
        images.pull("redis:8", "", run)
    assert ran == []


SDIST = {"version": "0.16.8", "sha256": "a" * 64, "image": "debian:1", "digest": ""}


@pytest.fixture
def recipe(monkeypatch, tmp_path):
    (tmp_path / "recipe").mkdir()
    for path in letta_image.base_context():
        name = path.rpartition("/")[2]
        (tmp_path / "recipe" / name).write_bytes(letta_image.base_context()[path].content)
    monkeypatch.setattr(paths, "BASE_CONTEXT", tmp_path / "recipe")


def test_the_base_is_built_once_and_held(engine, recipe):
    there, ran, run = engine
    first = letta_base.get("letta-base:1", SDIST, run)
    assert first == f"local:{there['letta-base:1']}" == images.recorded()["letta-base:1"]
    assert images.recorded()["debian:1"].startswith("local:")
    (start,) = [command for command in ran if command[:2] == ("docker", "run")]
    assert start[-2:] == ("0.16.8", "a" * 64) and "debian:1" in start
    count = len(ran)
    assert letta_base.get("letta-base:1", SDIST, run) == first and len(ran) == count
    # Somebody removed it: what is built again is another image of the same name, and right.
    del there["letta-base:1"]
    assert letta_base.get("letta-base:1", SDIST, run) == images.recorded()["letta-base:1"] != first
    there["letta-base:1"] = "sha256:other"
    with pytest.raises(LettaboxError):
        letta_base.get("letta-base:1", SDIST, run)


def test_the_machines_settings_are_mounted_and_neither_copied_nor_passed(engine, recipe):
    _, ran, run = engine
    letta_base.get("letta-base:1", SDIST, run)
    (start,) = [command for command in ran if command[:2] == ("docker", "run")]
    assert not [word for word in start if word.startswith(("-e", "--env"))]
    volumes = [word for word in start if word.startswith("--volume")]
    assert any("/machine/ca-certificates.crt:ro" in word for word in volumes)
    assert all(word.endswith(":ro") and ":/run/" in word for word in volumes)
    assert "--tmpfs=/run" in start


def test_apt_settings_are_those_that_decide_how_a_mirror_is_reached(monkeypatch):
    dump = (
        'APT "";\nAcquire::http::Proxy "http://user:word@proxy:3128";\nAcquire::https::Proxy::example.com "DIRECT";\n'
        'Acquire::Check-Valid-Until "false";\nDPkg::Post-Invoke:: "rm -rf /";\nAcquire::http::User-Agent "x";\n'
    )
    monkeypatch.setattr(letta_base.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0, dump))
    lines = letta_base.apt_settings().splitlines()
    assert [line.split()[0] for line in lines] == [
        "Acquire::http::Proxy",
        "Acquire::https::Proxy::example.com",
        "Acquire::Check-Valid-Until",
        "Acquire::https::CAInfo",
    ]


def test_the_image_says_its_release(recipe):
    said = letta_base.instructions("0.16.8", "a" * 64)
    assert not [line for line in said if "${" in line or line.startswith("#")]
    assert any("LETTA_VERSION=0.16.8" in line for line in said)
    assert f"LABEL org.opencontainers.image.version=0.16.8 lettabox.sdist=sha256:{'a' * 64}" in said


def test_one_line_says_what_the_server_is_made_of():
    labels = {"org.opencontainers.image.version": "0.16.8", "lettabox.patches": "abc"}
    line = stack_images.provenance({"Config": {"Labels": labels}})
    assert line == "Letta 0.16.8, patches abc, revision unknown"
    assert stack_images.provenance(None) == "-"
