"""multinet: the reference implementation of Kubernetes multi-networking after Contrail's "multi-net".

What runs under test by default: controller, config API, node agent, CNI plugin, and the stand-ins that an
emulated cluster needs (Kubernetes API, kubelet). It never imports the harness around it; only
:mod:`multinet.cli` sits above everything.
"""

__version__ = "0.1.0"
