"""aiokafka's clients: connecting, closing, reading, and its errors in words of ours."""
