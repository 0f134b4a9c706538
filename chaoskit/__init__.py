"""chaoskit breaks a cluster on purpose, under load, and says what it cost."""

__version__ = "0.1.0"
