"""When a running task is polled: what the account's list shows of it, and whether it is to be trusted."""
