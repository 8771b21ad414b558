"""The tests: one module per part of a document, each test naming the rows that it decides.

Rules, so that they are fair to everybody: no implementation's name; interfaces are found by their addresses,
never by a name or a place in a list; more interfaces than asked for are accepted unless the row says
otherwise; where words and examples of the standard differ, both are accepted and what was seen is noted.
"""
