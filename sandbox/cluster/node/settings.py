"""What the node is told."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """As the JSON file that its command line names has them."""

    node: str
    server: str
    ca_file: str
    token: str
    folder: str
    images_file: str
    subnet: str
    """Where the addresses of pods come from, such as 127.9.8.0/24."""
    given: dict[str, str]
