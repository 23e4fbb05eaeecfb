"""Requests, jobs and submissions, their events, and the two tables that say what answers each event."""
