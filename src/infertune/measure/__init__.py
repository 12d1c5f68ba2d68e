"""Measuring: driving a session, watching the host meanwhile, planning and racing launches."""
