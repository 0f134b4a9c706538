"""`make bench`: what chaoskit costs next to its peers, paired in one run on one cluster."""
