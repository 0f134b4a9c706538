"""What every test shares."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("busy machine", deadline=None)  # an example's time says how busy the machine is, not more
settings.load_profile("busy machine")
