"""The plots, as inline SVG that takes its colours from the style sheet and prints its values as text.

Every chart has a title and a description for people who do not see it. Coordinates are CSS pixels at full
width, and no chart is wider than a phone needs to keep its text readable.
"""
