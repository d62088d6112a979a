"""The studio: the videos of all GPU boxes, frames of them, and the queue of what is to be rendered.

It runs in a virtual environment of its own (requirements/studio.txt), as services that systemd keeps:
`python -m lettabox.studio serve` on the box of Letta, `work` and, where that is another box, `files` on each GPU box.
"""
