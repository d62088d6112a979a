"""Turn a workflow in UI form into the API form: {"workflow", "object_info"} on stdin, the graph on stdout.

A program of its own, run by the Python of /opt/lettabox/workflow-tools/venv alone, without a network: the converter is
comfy-cli's, under the GPL-3.0, and is part of nothing else here.
"""

import json
import logging
import sys


def main() -> int:
    from comfy_cli.workflow_to_api import WorkflowConversionError, convert_ui_to_api  # noqa: PLC0415

    # It logs what it leaves out, to standard error.
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    told = json.load(sys.stdin)
    try:
        graph = convert_ui_to_api(told["workflow"], told["object_info"])
    except WorkflowConversionError as error:
        print(error, file=sys.stderr)
        return 1
    json.dump(graph, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
