"""The studio's HTTP service. routes.py is the table of what it answers; service.py is the way of a request."""
