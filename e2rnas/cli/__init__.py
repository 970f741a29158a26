"""The command line: the one package that knows Hydra."""

import sys

if sys.platform == "win32":  # before what it lacks is imported: fcntl, and signals that ask for a checkpoint
    sys.stderr.write("error: Windows is not supported; use the Windows Subsystem for Linux\n")
    sys.exit(2)
