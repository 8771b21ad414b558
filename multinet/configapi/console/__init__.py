"""The web console: pages rendered on the server, no script, everything from this server.

``sessions`` keeps who is logged in, ``facts`` gathers what pages show, ``topology`` lays out the drawing,
``pages`` answers requests; texts and markup are in ``templates``.
"""
