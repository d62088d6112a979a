def ask_letta(method, path, body=None, timeout=20):
    """Ask Letta's own API, as the tool's server lets it; reads are asked again where no answer comes.

    Returns:
        tuple: (answer, status, ""); or (None, status, a sentence that says what is wrong), where the status is 0 when
        no answer came: what was asked may be done all the same.
    """
    import http.client
    import json
    import os
    import time
    from urllib.parse import urlsplit

    url = urlsplit(os.environ.get("LETTA_BASE_URL", ""))
    if not url.hostname:
        return None, 0, "This tool does not know where Letta is. Tell the operator to run `make deploy`."
    headers = {"Accept": "application/json", "Content-Type": "application/json"}
    if os.environ.get("LETTA_API_KEY"):
        headers["Authorization"] = "Bearer " + os.environ["LETTA_API_KEY"]
    data = None if body is None else json.dumps(body).encode()
    for pause in (0, 1, 3) if method == "GET" else (0,):
        time.sleep(pause)
        # No proxy of the environment is asked: this module knows none.
        connection = http.client.HTTPConnection(url.hostname, url.port or 80, timeout=timeout)
        try:
            connection.request(method, path, data, headers)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status >= 500:
                problem = f"is not well (HTTP {answer.status})"
                continue
            if answer.status < 300:
                return json.loads(text) if text else None, answer.status, ""
            said = text[:200].decode(errors="replace")
            return None, answer.status, f"Letta refused this (HTTP {answer.status} {said})."
        except (OSError, http.client.HTTPException, ValueError) as error:
            problem = f"does not answer ({error or type(error).__name__})"
        finally:
            connection.close()
    return None, 0, f"Letta {problem}. Try again in a minute; if it stays so, tell the operator (`make letta-status`)."
