"""The node agent: forwarding state of one node, programmed through netlink, and the server of CNI calls."""
