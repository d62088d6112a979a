"""The strict patcher of the image build: exact, all or nothing, safe to repeat."""

import importlib.util
from pathlib import Path

import pytest

SOURCE = Path("files/letta_image")
_spec = importlib.util.spec_from_file_location("apply", SOURCE / "apply.py")
apply = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(apply)

PATCH = """Why.

--- a/one.py
+++ b/one.py
@@ -1,3 +1,3 @@
 a
-b
+B
 c
@@ -5,3 +5,4 @@
 e
 f
+F
 g
--- a/two.sh
+++ b/two.sh
@@ -1,2 +1 @@
-gone
 stays
"""


@pytest.fixture
def base(tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "patches").mkdir()
    (tmp_path / "root/one.py").write_text("a\nb\nc\nd\ne\nf\ng\n")
    (tmp_path / "root/two.sh").write_text("gone\nstays\n")
    (tmp_path / "patches/0001-x.patch").write_text(PATCH)
    return tmp_path


def run(base):
    return apply.main(base / "root", base / "patches")


def content(base):
    return {path.name: path.read_text() for path in sorted((base / "root").iterdir())}


def test_applies_and_repeats_without_change(base):
    assert run(base) == 0
    after = content(base)
    assert after == {"one.py": "a\nB\nc\nd\ne\nf\nF\ng\n", "two.sh": "stays\n"}
    assert run(base) == 0
    assert content(base) == after


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a\nx\nc\nd\ne\nf\ng\n", "one.py, line 2: expected 'b', found 'x'"),
        ("\na\nb\nc\nd\ne\nf\ng\n", "one.py, line 1: expected 'a', found ''"),  # shifted: no offsets
        ("a\nb\nc\nd\ne\n", "expected 'f'"),
        ("a\nB\nc\nd\ne\nf\ng\n", "carries 1 of the patch's 2 changes"),
    ],
)
def test_refuses_another_base_and_writes_nothing(base, capsys, text, said):
    (base / "root/one.py").write_text(text)
    before = content(base)
    assert run(base) == 1
    assert said in capsys.readouterr().err
    assert content(base) == before


def test_refuses_a_missing_file_and_no_patches(base, capsys):
    (base / "root/two.sh").unlink()
    assert run(base) == 1
    assert "0001-x.patch" in capsys.readouterr().err
    (base / "patches/0001-x.patch").unlink()
    assert run(base) == 1


def test_a_removed_line_may_look_like_a_header():
    assert apply.parse("--- a/x.sql\n+++ b/x.sql\n@@ -1,2 +1 @@\n--- comment\n stays\n") == {
        "x.sql": [(1, ["-- comment", "stays"], ["stays"])]
    }


def test_every_shipped_patch_says_why():
    patches = sorted((SOURCE / "patches").glob("*.patch"))
    assert patches
    for patch in patches:
        reason = patch.read_text().split("--- a/")[0]
        assert len(reason.split()) > 10, patch
        assert apply.parse(patch.read_text())
