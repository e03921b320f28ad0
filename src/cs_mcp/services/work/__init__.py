"""What a CSM does: tasks and meetings."""
