"""Settings of every test."""

import os

# Tests run side by side: threads that wait for each other in a long loop would hold up those of other tests.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
