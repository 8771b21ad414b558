"""The event log, the run store, and the writers that derive every report from the log."""
