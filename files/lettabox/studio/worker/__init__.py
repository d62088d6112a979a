"""The render worker of a GPU box: takes a job, has ComfyUI render it, records the file. One at a time.

It keeps nothing to itself: what it does is in the ledger before it does it, and in ComfyUI. So it may be killed
anywhere, and is stopped like that, too.
"""
