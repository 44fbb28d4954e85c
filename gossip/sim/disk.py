"""Disk: where a simulated member keeps its snapshot. It survives the member, unless it is wiped."""

from moot.gossip.serf.snapshot import Recorder, Restored, replay


class Disk:
    """One member's snapshot, as the bytes that a real one would write.

    While it is full nothing is written; then, as with a real one, the file is written anew.
    """

    def __init__(self) -> None:
        self.content = b""
        self._recorder = Recorder()
        self._broken = False

    def open(self) -> Restored:
        """What it says, for a member that starts."""
        was = replay([self.content], rejoin_after_leave=False)
        self._recorder = Recorder(was)
        self._broken = False
        return was

    def record(self, event: object, member_time: int, *, full: bool) -> None:
        """Something happened to its member."""
        lines = self._recorder.record(event, member_time)
        if full:
            self._broken = self._broken or bool(lines)
        elif self._broken:
            self._broken = False
            self.content = self._recorder.content()
        else:
            self.content += lines

    def leave(self) -> None:
        """The member leaves on purpose."""
        self.content += self._recorder.leave()

    def wipe(self) -> None:
        """Forget everything."""
        self.content = b""
        self.open()
