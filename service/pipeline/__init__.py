"""Do what core decided: one module per stage of a job."""
