"""The command line: a group of commands a module, each loaded when it is called."""
