"""The inside of a load worker's process: gevent-patched, with Locust. Only the locustfile imports from here."""
