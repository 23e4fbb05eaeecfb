"""Limits on calls: backoff, schedules, time slots, circuit breaker, holds, retry budget, spend limit."""
