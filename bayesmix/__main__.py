"""`python -m bayesmix` is the command line."""

from .cli import app

app(prog_name="bayesmix")
