"""The Contrail config API and the web console on it: faces on the state that the controller keeps.

Not built yet; it belongs here and nowhere else.
"""
