"""Whether the other side still lives, from what was heard and when. Pure: time is handed in."""

from __future__ import annotations

PATROL_S = 0.5
"""How often to look."""

PING = "ping"

_PING_AFTER_S = (
    5.0  # of silence with streams open: etcd counts more frequent pings, and those without streams, as abuse
)
_PING_ANSWER_S = 2.0
_FRAME_S = (
    15.0  # a frame that takes longer is none: its length was damaged, and all that follows is taken for its content
)
_STOOD_STILL_S = 3 * PATROL_S


class Pulse:
    """Of one connection. The connection sets `heard`, `framed` and, when a ping was answered, `pinged` to 0."""

    def __init__(self, now: float) -> None:
        self.heard = now  # the last byte came
        self.framed = now  # the last frame was complete
        self.pinged = 0.0  # the ping that waits for its answer was sent
        self._looked = now

    def look(self, now: float, *, busy: bool, mid_frame: bool) -> str:
        """PING when it is time for one, "" when all is well, else why the connection is dead."""
        before, self._looked = self._looked, now
        if now - before > _STOOD_STILL_S:  # this process stood still, so silence proves nothing
            self.heard = self.framed = now
            self.pinged = 0.0
        if not mid_frame:
            self.framed = now
        if now - self.framed > _FRAME_S:
            return f"no whole frame within {_FRAME_S:g} s"
        if self.heard > self.pinged:
            self.pinged = 0.0
        if self.pinged and now - self.pinged > _PING_ANSWER_S:
            return f"no answer to a ping within {_PING_ANSWER_S:g} s"
        if not self.pinged and busy and now - self.heard > _PING_AFTER_S:
            self.pinged = now
            return PING
        return ""
