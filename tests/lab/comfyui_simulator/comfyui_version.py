# The version whose answers are played; the deploy's tests publish a second one.
__version__ = "0.33.0"
