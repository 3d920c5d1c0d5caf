"""``python -m sklperturb``, and the program of that name."""

import sys


def main():
    """Run the command line, and end in one line if stopped while it is loaded."""
    try:
        from sklperturb.cli import main as program

        program()
    except KeyboardInterrupt:
        print("stopped; no output was written", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
