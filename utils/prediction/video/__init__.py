"""Videos and cameras: frames through a net and into a video that browsers play."""
