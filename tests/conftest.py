"""Settings of every test."""

import os

# Tests run side by side: threads that wait in a loop for each other would hold up those of other tests.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
