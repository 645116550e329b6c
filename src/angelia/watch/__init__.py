"""The watcher: follows the logs of an instrument and reports what its rules find. A light process without a database."""
