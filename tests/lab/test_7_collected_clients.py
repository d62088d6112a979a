"""Clients that Letta leaves to the garbage collector: what becomes of the connections made after them."""

from concurrent.futures import ThreadPoolExecutor

PYTHON = "docker run --rm --network none --entrypoint /app/.venv/bin/python"
PROGRAM = "/run/ours/verify_collected_clients.py"


def test_stock_cuts_off_a_later_connection_and_patched_does_not(deployed, box):
    def verify(image):
        ours = "-v /opt/lettabox/letta_image/lettabox:/run/ours:ro"
        return deployed.exec(["sh", "-c", f"{PYTHON} {ours} {image} {PROGRAM} 2>&1"])

    images = ("letta/letta:0.16.8", box.check("docker inspect --format '{{.Config.Image}}' letta-server").strip())
    with ThreadPoolExecutor() as pool:  # most of it is the start of Letta
        (stock, why), (patched, said) = pool.map(verify, images)
    assert stock == 1, why
    for kind in ("openai", "anthropic"):
        assert f"{kind}: a connection that got the number of a collected client's socket waits for ever" in why
    assert patched == 0 and "no connection suffers from a collected client" in said, said
