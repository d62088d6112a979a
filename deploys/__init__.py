"""One module per step of deploy.py, named after the thing on the box."""
