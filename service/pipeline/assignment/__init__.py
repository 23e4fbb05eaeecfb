"""The partitions assigned to this process: take over, restore, suspend, resume, drain, close."""
