"""How long deploys take, and what they send: `make bench` writes docs/benchmarks.md."""
