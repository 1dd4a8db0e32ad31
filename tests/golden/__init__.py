"""What outsiders rely on, as it is now: files that tests compare byte for byte with what is made today."""
