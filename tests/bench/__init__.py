"""`make bench`: what chaoskit costs next to its peers, paired in one run on one cluster."""

import os

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # a channel that is idle between two measurements is no news
