"""What the readers share: bytes and text, lines, tables, databases, and the records that become of their rows."""
