"""Whether payments are safe with a worker right now, from what its lane last said of itself."""

from __future__ import annotations

from streams.lane import ACTIVE, FOLLOWING, TAKING_OVER, WAITING, LaneStatus

_SHARE = 2 / 3  # of the session: a worker is told to be out before the group finds it gone
_TAKEOVER_S = 2.0  # behind the session of whoever led; longer than that, nobody takes over


def why_not_ready(status: LaneStatus, now_s: float, session_s: float) -> str:
    """Why not, or "". now_s: by the clock of `status.turn_at_s`.   session_s: the lane's session timeout."""
    patience_s, busy_s = session_s * _SHARE, now_s - status.turn_at_s
    if status.phase == WAITING:
        return f"waiting: {status.last_error}"
    if status.silent_s > patience_s:
        before = f"; the last error was: {status.last_error}" if status.last_error else ""
        return f"waiting: {_silence(status.silent_s)}{before}"
    if status.phase in (ACTIVE, TAKING_OVER) and busy_s > patience_s:
        return f"{status.phase}: it has been busy with one turn for {busy_s:.1f} s"
    if status.phase == FOLLOWING and status.undecided_s > session_s + _TAKEOVER_S:
        return (
            f"waiting for a leader: payments have been at hand for {status.undecided_s:.1f} s, and nobody decides them"
        )
    if status.phase == FOLLOWING and status.apart_s > session_s + _TAKEOVER_S:
        return f"waiting for a leader: the workers' group has not met for {status.apart_s:.1f} s"
    return ""


def _silence(seconds: float) -> str:
    return (
        "no word from the brokers yet" if seconds == float("inf") else f"no word from the brokers for {seconds:.1f} s"
    )
