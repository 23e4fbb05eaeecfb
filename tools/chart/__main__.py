"""`python -m tools.chart` lints the chart."""

import sys

from tools.chart.lint import main

sys.exit(main())
