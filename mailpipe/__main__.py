"""`python -m mailpipe`, the same as the command `mailpipe`.

Never here: anything but the call.
"""

import sys

from mailpipe.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
