"""What waits to be polled, and the sweeps over the account's list of tasks that say what to poll first."""
