"""A target that needs nothing and claims little, for tests of the plugin."""

from conformance.profiles import Feature, Profile
from conformance.target import Claim, Implementation, Limit
from multinet.errors import LabError


def make(argument):
    return SampleTarget(argument)


class SampleTarget:
    isolated = False

    def __init__(self, argument):
        self.argument = argument
        self.facts = None
        limits = (Limit("NPWG-4.2-a", "one attachment per network", "its manual, section 3"),)
        self.claim = Claim(
            Implementation("nobody", "sample", "about:blank", "1"),
            frozenset({Profile.CORE, Profile.STATUS}),
            frozenset({Feature.STATUS}),
            limits=limits if argument == "limited" else (),
        )

    def start(self, folder):
        assert folder.is_dir()
        if self.argument == "broken":
            raise LabError("it does not start", next_step="mend it")
        return {"answer": 42}

    def attach(self, facts):
        self.facts = facts

    def stop(self):
        pass
