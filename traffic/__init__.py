"""Frames per interface: probes with controls, captures, the interface matrix.

Knows interfaces and network namespaces, not Kubernetes. ``endpoint.inspect`` is the kernel oracle,
``probe.Prober`` sends and looks, ``matrix.build`` lays what it observed beside what was expected. The way of
one run::

    endpoints -> plan (frames, next hops) -> batch (controls, sends, window) -> capture -> tally (sightings)
              -> judge (outcome per probe) -> Observation -> matrix (verdict per cell)
"""
