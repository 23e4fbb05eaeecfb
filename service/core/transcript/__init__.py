"""From each shape of a provider's result to one transcript, and from that to text and captions."""
