# SPDX-License-Identifier: BSD-3-Clause
"""`python -m fisherfield`: the command line."""

from .command_line import main

if __name__ == "__main__":
    main()
