"""The model vitrine/daylight: the pictures it learns from, its training, its tests."""
