"""`python -m vltool` is the command line."""

from vltool.cli.app import main

if __name__ == "__main__":
    main()
