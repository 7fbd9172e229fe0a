"""Ctrl-C works in the tests, and in what they start, wherever pytest itself was started from."""

import signal

# A shell starts its background jobs with SIGINT ignored, and children inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
