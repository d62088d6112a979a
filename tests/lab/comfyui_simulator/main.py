"""Start the render simulator as ComfyUI's main.py is started, with its flags."""

import asyncio
import sys

from simulator import arguments, server

if __name__ == "__main__":
    sys.exit(asyncio.run(server.serve(arguments.parse(sys.argv[1:]))))
