"""What acts on finished layers and models: moving them over, and finishing them for use."""
