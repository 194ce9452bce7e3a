"""The file that the Flex Template's launcher runs (FLEX_TEMPLATE_PYTHON_PY_FILE); the work is the package's."""

import sys

from pipelines.flex_template import main

if __name__ == "__main__":
    sys.exit(main())
