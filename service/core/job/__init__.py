"""Requests, jobs and submissions, their events, and the two tables that decide each transition."""
