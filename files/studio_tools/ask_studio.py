def ask_studio(method, path, needs=(), body=None, key=None):
    """Ask the studio; where no answer comes, ask again. What is installed has this before each tool's own function.

    Letta takes the last function of a source for the tool, and counts functions within functions: there are none.
    Only the standard library: a tool may run in a virtual environment that has nothing else.

    Args:
        needs: names that an answer in JSON must have.

    Returns:
        tuple: (answer, headers, ""), where the answer is a dict, or the bytes of a picture; or (None, {}, a sentence
        that says what is wrong and what to do).
    """
    import http.client
    import json
    import os
    import time
    from urllib.parse import urlsplit

    url = urlsplit(os.environ.get("LETTABOX_STUDIO_URL", ""))
    if not url.hostname:
        return None, {}, "This server knows no studio. Tell the operator to run `make studio-tools`."
    headers = {"Accept": "application/json, image/*"}
    if os.environ.get("LETTABOX_STUDIO_TOKEN"):
        headers["Authorization"] = "Bearer " + os.environ["LETTABOX_STUDIO_TOKEN"]
    if key:
        headers["Idempotency-Key"] = key
    data = None
    if body is not None:
        data = json.dumps(body).encode()
        headers["Content-Type"] = "application/json"

    # Letta ends a tool after 180 s, with less to say. Asking again is safe: it changes nothing, or it has a key.
    deadline = time.monotonic() + 75
    for pause in (0, 1, 3, 8, 15):
        if pause and time.monotonic() + pause > deadline - 5:
            break
        time.sleep(pause)
        # No proxy of the environment is asked: this module knows none.
        connection = http.client.HTTPConnection(url.hostname, url.port or 80, timeout=20)
        try:
            connection.request(method, path, data, headers)
            answer = connection.getresponse()
            found = b""
            while chunk := answer.read1(1 << 16):
                found += chunk
                if time.monotonic() > deadline or len(found) > 16_000_000:
                    raise TimeoutError("its answer takes too long")
            if answer.length:
                raise ConnectionError("its answer is cut off")
        except (OSError, http.client.HTTPException) as error:
            problem = f"does not answer ({error or type(error).__name__})"
            continue
        finally:
            connection.close()
        kind = answer.getheader("Content-Type") or ""
        if "json" in kind:
            try:
                found = json.loads(found)
            except ValueError:
                found = None
        good = isinstance(found, dict) and all(name in found for name in needs)
        if answer.status < 300 and not good and not kind.startswith("image/"):
            problem = "sends answers that cannot be read"
            continue
        if answer.status < 300:
            return found, dict(answer.getheaders()), ""
        told = found.get("error") if isinstance(found, dict) else None
        told = told if isinstance(told, dict) else {}
        said = "; ".join(str(told[name]) for name in ("problem", "fix") if told.get(name))
        if answer.status == 401:
            return None, {}, (
                "The studio does not accept this server's token. Asking again does not help: tell the operator to run "
                "`make studio-tools`."
            )
        if answer.status < 500:
            given = f" ({told['field']}: {told.get('value')})" if told.get("field") else ""
            return None, {}, f"The studio refused this{given}: {said or f'HTTP {answer.status}'}."
        problem = f"is not well ({said or f'HTTP {answer.status}'})"
    return None, {}, (
        f"The studio {problem}. Nothing is known of what was asked: try again with the same arguments in a few "
        "minutes; if it stays so, tell the operator (`make studio-status`)."
    )
