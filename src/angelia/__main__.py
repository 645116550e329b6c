"""`angelia` and `python -m angelia`."""

from angelia.cli.main import main

if __name__ == "__main__":
    main()
