"""The wire: bytes to sheets, decisions to bytes. Pure; used by streams and replay alike."""
