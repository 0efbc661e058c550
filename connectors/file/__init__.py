"""Files: lines or XML (formats), hidden until they are whole (writing), in a folder or on an SFTP server (places)."""
