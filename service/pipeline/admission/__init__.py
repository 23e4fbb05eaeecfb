"""What a call must pass before it leaves: quota, holds, circuit breaker, spend limit."""
