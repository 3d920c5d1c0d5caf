"""``python -m sklperturb`` is the command line."""

from sklperturb.cli import main

if __name__ == "__main__":
    main()
