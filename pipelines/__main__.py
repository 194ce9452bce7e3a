"""`python -m pipelines run pipelines/ccnews.py …`, for where the name `beam` is taken."""

import sys

from pipelines.cli import main

if __name__ == "__main__":
    sys.exit(main())
