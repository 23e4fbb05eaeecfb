"""`python -m service` is `scribe`."""

from service.cli.commands import main

if __name__ == "__main__":
    main()
