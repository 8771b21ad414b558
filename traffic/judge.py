"""From what was seen to an outcome. Pure: no sockets, no clock.

The rule behind it: *reached* and *wrong-path* rest on frames that were seen; *not-reached* is said only
when the frame was seen leaving, neither capture lost frames, and a control frame was seen on the
destination interface in the same window. Everything else is *unknown*, with the reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from traffic import frames
from traffic.endpoint import Endpoint, Place, label
from traffic.observation import Observation, Outcome, Reason
from traffic.plan import AskProbe, Planner, Probe, owns
from traffic.tally import Tally


@dataclass(frozen=True, slots=True)
class Window:
    """What is known about the captures during one batch of probes.

    ``controlled``: places whose capture was proven, and by what. ``lossy``: namespaces whose capture lost
    frames. ``failed``: namespaces that could not be captured, and why.
    """

    controlled: Mapping[Place, str]
    lossy: frozenset[str]
    failed: Mapping[str, str]

    def both(self, other: Window) -> Window:
        """What holds for both windows."""
        return Window(
            {place: text for place, text in self.controlled.items() if place in other.controlled},
            self.lossy | other.lossy,
            {**self.failed, **other.failed},
        )


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that a verdict on a probe may rest on."""

    tally: Tally
    planner: Planner
    endpoints: Mapping[Place, Endpoint]
    faults: Mapping[Place, Reason]


def judge(probe: Probe, evidence: Evidence, window: Window, check: Probe | None = None) -> Observation:
    """The observation of one probe.

    ``check`` is the UDP probe over the same pair that shows where an answer to ARP or ND leads.
    """
    if probe.problem:
        text = (
            f"{_where(probe, probe.problem, evidence)}: {probe.problem.replace('-', ' ')}; nothing was sent"
        )
        return _observe(probe, window, "unknown", text, reason=probe.problem)
    if probe.protocol in frames.RESOLVERS:
        return _judge_arp(probe, evidence, window, check)
    return _judge_routed(probe, evidence, window)


def judge_ask(probe: AskProbe, evidence: Evidence, window: Window) -> Observation:
    """The observation of one probe of an address that the network itself answers for."""
    tally, source, ask = evidence.tally, probe.source, probe.ask
    if probe.problem:
        text = f"{source.label}: {probe.problem.replace('-', ' ')}; nothing was sent"
        return _observe(probe, window, "unknown", text, reason=probe.problem)
    answers = tally.arp_answers.get((source.place, ask.address), [])
    wrong = [mac for mac in answers if ask.mac and mac != ask.mac]
    if wrong:
        text = f"{ask.address} was answered with the MAC {wrong[0]}, not {ask.mac}"
        owners = [one.label for one in evidence.planner.owners(wrong[0])]
        return _observe(probe, window, "wrong-path", text, seen_at=tuple(owners), replied=True)
    if probe.replied(tally):
        text = f"{ask.address} answered" + (
            f" with {answers[0]}" if probe.protocol in frames.RESOLVERS else ""
        )
        return _observe(probe, window, "reached", text, replied=True)
    if not probe.shots:
        text = f"nobody answered for {ask.address}, so nothing was sent to it"
        return _observe(probe, window, "not-reached", text)
    blind = _blind(probe, source, evidence, window)
    text = f"{ask.address} did not answer"
    return _observe(probe, window, "unknown" if blind else "not-reached", text, reason=blind)


def _judge_arp(probe: Probe, evidence: Evidence, window: Window, check: Probe | None) -> Observation:
    tally, destination = evidence.tally, probe.destination
    answers = tally.arp_answers.get((probe.source.place, probe.target_ip), [])
    arrived = probe.arrived(tally)
    leads = check is not None and check.arrived(tally)
    here = (destination.label,)
    if destination.mac in answers and (arrived or leads):
        text = "answered by its own MAC" if arrived else "answered on its behalf with its own MAC"
        others = [mac for mac in answers if mac != destination.mac]
        text += f"; also answered by {', '.join(others)}" if others else ""
        return _observe(probe, window, "reached", text, seen_at=here, replied=True)
    if not answers and arrived:
        return _one_way(probe, evidence, window, here)
    other = next((mac for mac in answers if mac != destination.mac), "")
    owners = evidence.planner.owners(other)
    twins = [one.label for one in owners if owns(one, probe.target_ip)]
    if other and leads:
        text = f"answered by proxy MAC {other}, which leads to it"
        return _observe(probe, window, "reached", text, seen_at=here, replied=True)
    if owners and not twins:
        text = f"{probe.target_ip} was answered by {owners[0].label} with its MAC {other}"
        seen = tuple(sorted({one.label for one in owners} | set(here if arrived else ())))
        return _observe(probe, window, "wrong-path", text, seen_at=seen, replied=True)
    if twins:
        text = f"{probe.target_ip} was answered by {twins[0]}, which has the same address"
    elif answers:
        text = f"{answers[0]} answered, but frames sent there did not arrive"
    else:
        text = "nobody answered"
    return _silent(probe, evidence, window, text)


def _judge_routed(probe: Probe, evidence: Evidence, window: Window) -> Observation:
    tally, here = evidence.tally, probe.destination.place
    strays, twins = _elsewhere(probe, evidence)
    arrived, replied = probe.arrived(tally), probe.replied(tally)
    via = _via(probe, tally)
    if strays:
        seen = tuple(sorted(label(place) for place in {*strays, *((here,) if arrived else ())}))
        text = f"sent to {label(here)}, arrived on {', '.join(label(place) for place in sorted(strays))}"
        return _observe(probe, window, "wrong-path", text, seen_at=seen, replied=replied)
    if arrived and (replied or probe.protocol in ("udp", "udp6")):
        return _observe(probe, window, "reached", f"arrived {via}", seen_at=(label(here),), replied=replied)
    if arrived:
        return _one_way(probe, evidence, window, (label(here),))
    text = "nothing arrived"
    if twins:
        text += f"; {probe.target_ip} also belongs to {label(twins[0])}, which got it"
    elif replied:
        text += f", yet an answer came back: somebody else has {probe.target_ip}"
    errors = [error for shot in probe.shots for error in tally.errors.get(shot.probe_id, ())]
    if errors:
        text += f"; answer: {frames.describe(errors[0])}"
    return _silent(probe, evidence, window, text, replied=replied)


def _elsewhere(probe: Probe, evidence: Evidence) -> tuple[list[Place], list[Place]]:
    """Places other than the destination that accepted it: strays, and those that rightly own the address."""
    strays: set[Place] = set()
    twins: set[Place] = set()
    for shot in probe.shots:
        for arrival in evidence.tally.arrivals.get(shot.probe_id, ()):
            endpoint = evidence.endpoints.get(arrival.place)
            if not arrival.accepted or arrival.place == probe.destination.place:
                continue
            if shot.way == "gateway" and endpoint is not None and endpoint.mac == shot.target_mac:
                continue  # the gateway itself is captured: this is the first hop
            owner = endpoint is not None and owns(endpoint, probe.target_ip)
            (twins if owner else strays).add(arrival.place)
    return sorted(strays), sorted(twins)


def _via(probe: Probe, tally: Tally) -> str:
    for shot in probe.shots:
        places = [one.place for one in tally.arrivals.get(shot.probe_id, ()) if one.accepted]
        if probe.destination.place in places:
            if shot.way == "gateway":
                return f"by way of the gateway {shot.target_mac}"
            if shot.target_mac != probe.destination.mac:
                return f"by way of {shot.target_mac}, which answered ARP"
            return "straight, though nobody answered ARP" if shot.way == "direct" else "straight"
    return ""


def _one_way(probe: Probe, evidence: Evidence, window: Window, seen: tuple[str, ...]) -> Observation:
    """It arrived and no answer was seen: a broken way back, unless the capture may have missed it."""
    blind = _blind(probe, probe.source, evidence, window)
    if blind:
        text = "it arrived, and whether an answer came back can't be told"
        return _observe(probe, window, "unknown", text, seen_at=seen, reason=blind)
    text = f"it arrived, but no answer came back to {probe.source.label}"
    strange = _answered_elsewhere(probe, evidence.tally)
    if strange:
        text += f"; the answer went to {', '.join(strange)}"
    return _observe(probe, window, "wrong-path", text, seen_at=seen)


def _answered_elsewhere(probe: Probe, tally: Tally) -> list[str]:
    places: set[Place] = set()
    for shot in probe.shots:
        places |= tally.replies.get(shot.probe_id, set())
    for key in probe.tcp_keys():
        places |= tally.tcp_replies.get(key, set())
    return sorted(label(place) for place in places - {probe.source.place})


def _silent(
    probe: Probe, evidence: Evidence, window: Window, text: str, *, replied: bool = False
) -> Observation:
    """Nothing arrived: that counts only if it would have been seen."""
    destination = probe.destination
    reason: Reason = evidence.faults.get(destination.place, "")
    if not reason:
        reason = _blind(probe, probe.source, evidence, window)
    if not reason:
        reason = _blind(probe, destination, evidence, window)
    if not reason and destination.place not in window.controlled:
        reason = "no-control"
    if not reason:
        return _observe(probe, window, "not-reached", text, replied=replied)
    failure = window.failed.get(destination.name) or window.failed.get(probe.source.name)
    why = {
        "interface-missing": f"{destination.label} does not exist",
        "interface-down": f"{destination.label} is down",
        "send-failed": f"sending failed: {probe.send_error}",
        "no-departure": f"the probe was not seen leaving {probe.source.label}",
        "capture-failed": f"the capture failed: {failure}",
        "capture-dropped": "the capture lost frames",
        "no-control": f"no control frame was seen on {destination.label}",
    }[reason]
    return _observe(probe, window, "unknown", f"{text}, but {why}", reason=reason)


def _blind(probe: Probe, endpoint: Endpoint, evidence: Evidence, window: Window) -> Reason:
    """Why the capture at ``endpoint`` may have missed frames of this probe; empty if it can't have."""
    if endpoint.name in window.failed:
        return "capture-failed"
    if endpoint is probe.source:
        if probe.send_error:
            return "send-failed"
        left = evidence.tally.departures
        if not all(probe.source.place in left.get(shot.probe_id, ()) for shot in probe.shots):
            return "no-departure"
    return "capture-dropped" if endpoint.name in window.lossy else ""


def _where(probe: Probe, reason: Reason, evidence: Evidence) -> str:
    source_is_it = evidence.faults.get(probe.source.place, "") == reason
    if reason == "no-address":
        source_is_it = not probe.source.of(frames.version_of(probe.protocol))
    return (probe.source if source_is_it else probe.destination).label


def _observe(
    probe: Probe,
    window: Window,
    outcome: Outcome,
    detail: str,
    *,
    seen_at: tuple[str, ...] = (),
    replied: bool = False,
    reason: Reason = "",
) -> Observation:
    controlled_by = window.controlled.get(probe.destination.place, "")
    return Observation(
        *probe.key,
        outcome=outcome,
        seen_at=seen_at,
        replied=replied,
        control=bool(controlled_by),
        detail=detail,
        reason=reason,
        controlled_by=controlled_by,
        attempts=probe.attempts,
    )
