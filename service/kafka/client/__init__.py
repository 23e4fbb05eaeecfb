"""aiokafka's clients: connecting, closing, reading, and the translation of its errors."""
