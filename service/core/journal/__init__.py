"""The records of the journal, and their replay."""
