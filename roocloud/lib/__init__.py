"""What any room may use. Nothing here imports a room."""
