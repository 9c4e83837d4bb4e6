"""A page to look through the results of many images, in a browser and from disk."""
