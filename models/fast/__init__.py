"""Equal forms of the layers that run faster or in less memory."""
