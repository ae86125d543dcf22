"""`python -m tesp.runner`, and what the zipapp starts."""

import gc
import os
import sys

from tesp.runner.main import main

gc.enable()
code = main(sys.argv[1:])
sys.stdout.flush()
sys.stderr.flush()
os._exit(code)  # nothing is left to clean up, and that takes time
