"""Frames per interface: probes with controls, captures, the interface matrix."""
