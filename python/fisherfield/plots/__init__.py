# SPDX-License-Identifier: BSD-3-Clause
"""Figures, one module for each kind of picture; matplotlib is imported when one is drawn."""
