"""What a server's owner asks of every node, and what the server's log says of each picture."""
