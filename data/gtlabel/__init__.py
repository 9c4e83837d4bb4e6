"""Making edge labels: what the label scripts share, and the one for anybody's label maps."""
