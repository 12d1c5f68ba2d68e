"""Public fakes and contract suites for people who write targets, strategies and stores."""
