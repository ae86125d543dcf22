"""`python -m tesp.runner`, and what the zipapp starts."""

import sys

from tesp.runner.main import main

sys.exit(main(sys.argv[1:]))
