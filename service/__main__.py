"""`python -m service` is `scribe`."""

from service.cli import main

if __name__ == "__main__":
    main()
