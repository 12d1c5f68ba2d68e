"""``python -m infertune``: the console command, where no script is on the path."""

import sys

from infertune.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
