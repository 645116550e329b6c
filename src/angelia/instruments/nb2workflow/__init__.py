"""Notebook services of the nb2workflow kind: any of them is an instrument, without a program or a declaration of its own."""

from angelia.instruments.nb2workflow.adapter import NotebookInstrument, NotebookSettings

__all__ = ["NotebookInstrument", "NotebookSettings"]
