"""Engines: functions that take a specification and data and return a `Fit`."""
