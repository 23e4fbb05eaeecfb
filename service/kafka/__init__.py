"""The Kafka adapter: the only user of aiokafka."""
