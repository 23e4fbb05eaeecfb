"""What clients show to Kafka to be let in, replaced while the process runs."""
