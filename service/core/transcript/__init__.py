"""Turn every form of a provider's result into one transcript, and the transcript into text and captions."""
