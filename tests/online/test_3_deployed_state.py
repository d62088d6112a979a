"""What is on the box is what this checkout and these settings would deploy."""

from deploys import layout, letta_image, letta_stack, sources


def test_nothing_is_undeployed(host, settings):
    wanted = {
        **letta_stack.project(settings),
        **letta_image.files(settings),
        **sources.folder("files/lettabox", f"{layout.CODE}/src/lettabox", (".py",)),
    }
    sums = host.check_output("sha256sum " + " ".join(wanted))
    found = {path: digest for digest, path in (line.split(None, 1) for line in sums.splitlines())}
    differing = sorted(path for path, one in wanted.items() if found.get(path) != one.sha256)
    assert not differing, "deploy again: these differ from the checkout"
