"""How the street scenes of `data.scenes` are drawn."""
