"""What a call must pass before it is sent: quota, holds, circuit breaker, spend limit."""
