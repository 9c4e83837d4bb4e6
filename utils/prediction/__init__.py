"""What predict.py does with many inputs: finding them, running them, writing what comes out."""
