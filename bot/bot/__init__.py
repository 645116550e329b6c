"""A drop-in for the package bot of Sonix+: `from bot import messangers; messangers.send_message("text")`."""

__version__ = "0.1.0"
